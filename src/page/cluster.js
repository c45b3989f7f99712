// The state of the cluster, built from the messages of the second protocol. It must not know the
// document, nor how messages arrive.

import { problemsOf } from "./problems.js";
import { isGroupKey, groupKey, readRow, rowKey, unitOfKey } from "./row.js";
import { byName, byVerdict, compareNames } from "./sorting.js";
import { Transitions } from "./transitions.js";
import { STATES, VERDICTS, isBelieved, stateGlyph, stateTone, verdictTone } from "./verdicts.js";
import { verdictWord } from "./words.js";

/** @typedef {import("./row.js").Row} Row */

/**
 * The number of rows with a state, or with a verdict, as a button that filters by it.
 * @typedef {object} Chip
 * @property {string} term of the filter
 * @property {string} word
 * @property {string} glyph
 * @property {number} count
 * @property {import("./verdicts.js").Tone} tone
 */

/** The terms of the chips, in their order: what failed, then other verdicts, then other states. */
const CHIP_TERMS = [
  "state:failed",
  ...Object.keys(VERDICTS)
    .filter((verdict) => !isBelieved(verdict))
    .map((verdict) => `verdict:${verdict}`),
  ...Object.keys(STATES)
    .filter((state) => state !== "failed")
    .map((state) => `state:${state}`),
];

/** If more rows than this change at a time, sorting all is faster than inserting each. */
const MANY = 100;

export class Cluster {
  /** The server: its `name` and `version`. */
  software = null;
  /** Identifies the run of the server: after a restart it is another. */
  epoch = null;
  /** The machines by ID, as the server sent them. */
  machines = new Map();
  /** @type {Map<string, import("./problems.js").Problem>} those that are open, by ID */
  problems = new Map();
  /** @type {Map<string, Row>} by key */
  units = new Map();
  /** @type {Row[]} by name, then machine */
  rows = [];
  /** @type {Row[]} those that are not ok, the worst first */
  wrong = [];
  /** How many rows are neither `submitted` nor `expected`; see row.js. */
  wanted = 0;
  /** How many rows are `expected`. */
  expected = 0;
  transitions = new Transitions();
  /** @type {Map<string, import("./row.js").Name>} by name */
  #names = new Map();
  /** How many rows are counted by each term of the filter; see row.js. */
  #counts = Object.fromEntries(CHIP_TERMS.map((term) => [term, 0]));
  /** @type {?import("./problems.js").Problems} as they were last computed */
  #shown = null;

  /**
   * Applies messages, in their order.
   * @returns {Set<string>} keys of rows and groups that are gone
   */
  apply(messages) {
    const moved = new Set();
    const gone = new Set();

    // The machines before the units, because a row shows what is known of its machine.
    for (const message of messages) {
      if (message.topic === "machines") this.#applyMachines(message, moved);
    }
    for (const message of messages) {
      if (message.topic === "units") this.#applyUnits(message, gone);
    }
    if (moved.size) this.#readAgain(moved);
    for (const message of messages) this.#applyOther(message);

    const changes = (topic) => messages.some((message) => message.topic === topic);
    if (moved.size || changes("units")) {
      this.wrong = this.rows.filter((row) => row.verdict !== "ok").sort(byVerdict);
    }
    if (["units", "machines", "problems"].some(changes)) this.#shown = null;
    return gone;
  }

  /** Whether there is a unit of this name, on any machine or on none. */
  hasUnit(unit) {
    return this.#names.has(unit);
  }

  /** Whether there is a row, or a group of a global unit, with this key. */
  has(key) {
    return this.units.has(key) || (isGroupKey(key) && this.#names.has(unitOfKey(key)));
  }

  /**
   * What is wrong, as it is to be shown at this time, in milliseconds since 1970.
   * @returns {import("./problems.js").Problems}
   */
  problemsAt(now) {
    const isCurrent = this.#shown && now < this.#shown.until;
    if (!isCurrent) this.#shown = problemsOf(this, now);
    return this.#shown;
  }

  /**
   * What the rows are, so that each row is counted once.
   * @returns {Chip[]}
   */
  get chips() {
    const counts = Object.entries(this.#counts).filter(([, count]) => count);
    return counts.map(([term, count]) => ({ ...looksOf(term), term, count }));
  }

  #applyMachines(message, moved) {
    const { upsert, remove } = changes(message, this.machines, machineKey);

    for (const id of remove) {
      if (this.machines.delete(id)) moved.add(id);
    }
    for (const machine of upsert) {
      const before = this.machines.get(machine.machine);
      const isSame = before?.ip === machine.ip && before?.metadata === machine.metadata;
      if (!isSame) moved.add(machine.machine);
      this.machines.set(machine.machine, machine);
    }
  }

  #applyUnits(message, gone) {
    const { upsert, remove } = changes(message, this.units, unitKey);
    const many = upsert.length + remove.length > MANY;

    for (const key of remove) {
      const row = this.#remove(key, many);
      if (!row) continue;
      gone.add(key);
      if (!this.#names.has(row.unit)) gone.add(groupKey(row.unit));
    }
    for (const unit of upsert) {
      const key = unitKey(unit);
      gone.delete(key);
      gone.delete(groupKey(unit.unit));
      const before = this.units.get(key);
      if (!before || !isEqual(before.source, unit)) this.#insert(unit, key, many);
    }

    if (many) this.#sort();
  }

  #applyProblems(message) {
    const { upsert, remove } = changes(message, this.problems, problemKey);

    for (const id of remove) this.problems.delete(id);
    for (const problem of upsert) this.problems.set(problem.id, problem);
  }

  #applyOther(message) {
    if (message.topic === "problems") this.#applyProblems(message);
    else if (message.type === "event") this.transitions.add(message);
    else if (message.topic === "events") this.transitions.replace(message.rows);
    else if (message.type === "status") {
      this.transitions.noticedSince = message.health.events_since ?? null;
    } else if (message.type === "hello") {
      this.software = message.software;
      this.epoch = message.epoch;
    }
  }

  /** Computes the rows of these machines again. */
  #readAgain(machines) {
    const rows = this.rows.filter((row) => machines.has(row.place));
    const many = rows.length > MANY;
    for (const row of rows) this.#insert(row.source, row.key, many);
    if (many) this.#sort();
  }

  #remove(key, many) {
    const row = this.units.get(key);
    if (!row) return null;

    this.units.delete(key);
    if (!many) this.rows.splice(this.#placeOf(row), 1);
    this.#count(row, -1);
    if (row.name.rows === 0) this.#names.delete(row.unit);
    return row;
  }

  /** Adds a row, or replaces the one with its key. With `many`, `#sort` must follow. */
  #insert(unit, key, many) {
    const known = this.#names.get(unit.unit);
    this.#remove(key, many);
    const name = known ?? { rank: many ? NaN : this.#rankOf(unit.unit), rows: 0 };
    this.#names.set(unit.unit, name);

    const row = readRow(unit, key, this.machines.get(unit.machine ?? unit.target), name);
    this.#count(row, 1);
    this.units.set(key, row);
    if (!many) this.rows.splice(this.#placeOf(row), 0, row);
  }

  #count(row, change) {
    row.name.rows += change;
    if (row.expected) this.expected += change;
    else if (!row.submitted) this.wanted += change;
    this.#counts[row.counted] = (this.#counts[row.counted] ?? 0) + change;
  }

  #placeOf(row) {
    return this.#find((other) => byName(other, row));
  }

  /** The index of the first row for which `order` is not negative. */
  #find(order) {
    let low = 0;
    let high = this.rows.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (order(this.rows[middle]) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  // The rank of a new name is between those of its neighbours, which keep theirs. If there is no
  // number between them, all names get new ranks.
  #rankOf(unit) {
    const index = this.#find((row) => compareNames(row.unit, unit));
    const before = () => this.rows[index - 1]?.name.rank;
    const after = () => this.rows[index]?.name.rank;

    const rank = between(before(), after());
    if (rank !== before() && rank !== after()) return rank;

    const names = new Set(this.rows.map((row) => row.name));
    [...names].forEach((name, position) => (name.rank = position));
    return between(before(), after());
  }

  #sort() {
    const isUnranked = (name) => Number.isNaN(name.rank);
    if ([...this.#names.values()].some(isUnranked)) {
      const units = [...this.#names.keys()].sort(compareNames);
      units.forEach((unit, position) => (this.#names.get(unit).rank = position));
    }
    this.rows = [...this.units.values()].sort(byName);
  }
}

const unitKey = ({ unit, machine }) => rowKey(unit, machine);

const machineKey = ({ machine }) => machine;

const problemKey = ({ id }) => id;

/** The word, the symbol and the colour of a chip. */
function looksOf(term) {
  const [field, name] = term.split(":");
  if (field === "state") return { word: name, glyph: stateGlyph(name), tone: stateTone(name) };
  return { word: verdictWord(name), glyph: name, tone: verdictTone(name) };
}

function between(before, after) {
  if (before == null) return (after ?? 0) - 1;
  return after == null ? before + 1 : (before + after) / 2;
}

/** What a message changes. A snapshot removes all that it does not contain. */
function changes(message, known, keyOf) {
  if (message.type !== "snapshot") {
    return { upsert: message.upsert, remove: message.remove.map(keyOf) };
  }
  const kept = new Set(message.rows.map(keyOf));
  return { upsert: message.rows, remove: [...known.keys()].filter((key) => !kept.has(key)) };
}

// Field by field, since it runs for each row of a snapshot: a loop over the names takes ten times
// as long.
function isEqual(a, b) {
  return (
    a.ip === b.ip &&
    a.load === b.load &&
    a.active === b.active &&
    a.sub === b.sub &&
    a.hash === b.hash &&
    a.stale_since === b.stale_since &&
    a.desired === b.desired &&
    a.target === b.target &&
    a.global === b.global &&
    a.description === b.description &&
    a.file_hash === b.file_hash &&
    a.verdict === b.verdict &&
    a.reason === b.reason &&
    a.since === b.since &&
    a.since_seen === b.since_seen &&
    a.verdict_since === b.verdict_since &&
    a.verdict_since_seen === b.verdict_since_seen &&
    a.requirements?.join() === b.requirements?.join()
  );
}
