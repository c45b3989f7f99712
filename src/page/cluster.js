// What the page knows of a cluster: the messages of the second protocol, folded together. No document and no network.

import { STATES, VERDICTS, byName, byVerdict, ipNumber, names, rowKey, shortId } from "./model.js";

const RANK = Object.fromEntries(Object.keys(VERDICTS).map((verdict, rank) => [verdict, rank]));
const SUBMITTED_RANK = RANK.ok + 1;
const KEPT = 1000; // transitions, as many as the server keeps
const MANY = 100; // changes at a time, from which on sorting anew is faster than putting each in its place

export class Cluster {
  /** The program that says all this: `name` and `version`. */
  software = null;
  /** The machines by ID, as they were sent. */
  machines = new Map();
  /** The rows by key; see `readRow`. */
  units = new Map();
  /** The rows by name, then machine. */
  rows = [];
  /** The rows that are not ok, the worst first. */
  wrong = [];
  /** How many rows are of units that fleet wants. */
  wanted = 0;
  /** What happened, newest first, and the same for each unit. */
  transitions = [];
  transitionsOf = new Map();
  /** For each name of a unit, its place in the order of names and how many rows have it. */
  #names = new Map();
  /** How many rows have each verdict, and each state. */
  #verdicts = Object.fromEntries(Object.keys(VERDICTS).map((verdict) => [verdict, 0]));
  #states = Object.fromEntries(Object.keys(STATES).map((state) => [state, 0]));

  /** Takes messages over, in their order. Returns the keys of `open` that name nothing any more; see `knows`. */
  fold(messages) {
    const gone = new Set();
    const moved = new Set();
    // Topic by topic: what is said of units is read with what is known of machines.
    for (const message of messages) if (message.topic === "machines") this.#changeMachines(changes(message, this.machines, machineKey), moved);
    for (const message of messages) if (message.topic === "units") this.#changeUnits(changes(message, this.units, unitKey), gone);
    if (moved.size) this.#readAgain(moved);
    for (const message of messages) {
      if (message.type === "event") this.#happened(message);
      else if (message.topic === "events") this.#replaceTransitions(message.rows);
      else if (message.type === "hello") this.software = message.software;
    }
    if (moved.size || messages.some((message) => message.topic === "units")) {
      this.wrong = this.rows.filter((row) => row.verdict !== "ok").sort(byVerdict);
    }
    return gone;
  }

  /** Whether there is what a key of `open` names: a unit on a machine, or the group of a global unit. */
  knows(key) {
    return this.units.has(key) || (key.endsWith("/*") && this.#names.has(key.slice(0, -2)));
  }

  /** How many rows have each verdict and each state, to filter by. */
  get chips() {
    // Whatever is in the failed state has the verdict failed, or a worse excuse: one chip for both would count twice.
    const wrong = Object.entries(this.#verdicts)
      .filter(([name, count]) => name !== "ok" && count)
      .map(([name, count]) => ({ term: `verdict:${name}`, word: VERDICTS[name]?.word ?? name, glyph: name, count, tone: VERDICTS[name]?.tone ?? "warn" }));
    const others = Object.entries(this.#states)
      .filter(([name, count]) => name !== "failed" && count)
      .map(([name, count]) => ({ term: `state:${name}`, word: name, glyph: name === "reloading" ? "activating" : name, count, tone: STATES[name] ?? "idle" }));
    return [...wrong, ...others];
  }

  #changeMachines({ upsert, remove }, moved) {
    for (const id of remove) if (this.machines.delete(id)) moved.add(id);
    for (const machine of upsert) {
      const before = this.machines.get(machine.machine);
      if (before?.ip !== machine.ip || before?.metadata !== machine.metadata) moved.add(machine.machine);
      this.machines.set(machine.machine, machine);
    }
  }

  #changeUnits({ upsert, remove }, gone) {
    const many = upsert.length + remove.length > MANY;
    for (const key of remove) {
      const row = this.#take(key, many);
      if (!row) continue;
      gone.add(key);
      if (!this.#names.has(row.unit)) gone.add(`${row.unit}/*`);
    }
    for (const unit of upsert) {
      const key = unitKey(unit);
      gone.delete(key);
      gone.delete(`${unit.unit}/*`);
      const before = this.units.get(key);
      if (!before || !equal(before.source, unit)) this.#put(unit, key, many);
    }
    if (many) this.#sort();
  }

  #readAgain(machines) {
    const rows = this.rows.filter((row) => machines.has(row.place));
    const many = rows.length > MANY;
    for (const row of rows) this.#put(row.source, row.key, many);
    if (many) this.#sort();
  }

  #take(key, many) {
    const row = this.units.get(key);
    if (!row) return null;
    this.units.delete(key);
    if (!many) this.rows.splice(this.#find((other) => byName(other, row)), 1);
    this.#count(row, -1);
    if (row.name.rows === 0) this.#names.delete(row.unit);
    return row;
  }

  #put(unit, key, many) {
    const known = this.#names.get(unit.unit);
    this.#take(key, many);
    const name = known ?? { rank: many ? NaN : this.#rank(unit.unit), rows: 0 };
    this.#names.set(unit.unit, name);
    const row = readRow(unit, key, this.machines.get(unit.machine ?? unit.target), name);
    this.#count(row, 1);
    this.units.set(key, row);
    if (!many) this.rows.splice(this.#find((other) => byName(other, row)), 0, row);
  }

  #count(row, change) {
    row.name.rows += change;
    if (!row.submitted) this.wanted += change;
    this.#verdicts[row.verdict] = (this.#verdicts[row.verdict] ?? 0) + change;
    if (row.state) this.#states[row.state] = (this.#states[row.state] ?? 0) + change;
  }

  /** The index of the first row that is not before what is sought. */
  #find(order) {
    let [low, high] = [0, this.rows.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (order(this.rows[middle]) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  // The rank of a new name is between those of its neighbours, so that they keep theirs. Where no number is between
  // them, all get new ones.
  #rank(unit) {
    const index = this.#find((row) => names.compare(row.unit, unit));
    const between = () => {
      const before = this.rows[index - 1]?.name.rank;
      const after = this.rows[index]?.name.rank;
      return before == null ? (after ?? 0) - 1 : after == null ? before + 1 : (before + after) / 2;
    };
    const rank = between();
    if (rank !== this.rows[index - 1]?.name.rank && rank !== this.rows[index]?.name.rank) return rank;
    [...new Set(this.rows.map((row) => row.name))].forEach((name, position) => (name.rank = position));
    return between();
  }

  #sort() {
    if ([...this.#names.values()].some((name) => Number.isNaN(name.rank))) {
      [...this.#names.keys()].sort(names.compare).forEach((unit, position) => (this.#names.get(unit).rank = position));
    }
    this.rows = [...this.units.values()].sort(byName);
  }

  #happened(transition) {
    this.transitions.unshift(transition);
    if (transition.unit) {
      const list = this.transitionsOf.get(transition.unit);
      if (list) list.unshift(transition);
      else this.transitionsOf.set(transition.unit, [transition]);
    }
    if (this.transitions.length > KEPT) {
      const { unit } = this.transitions.pop();
      const list = this.transitionsOf.get(unit);
      list?.pop();
      if (list?.length === 0) this.transitionsOf.delete(unit);
    }
  }

  #replaceTransitions(rows) {
    this.transitions = [...rows].reverse();
    this.transitionsOf = new Map();
    for (const transition of this.transitions) {
      if (!transition.unit) continue;
      const list = this.transitionsOf.get(transition.unit);
      if (list) list.push(transition);
      else this.transitionsOf.set(transition.unit, [transition]);
    }
  }
}

const unitKey = ({ unit, machine }) => rowKey(unit, machine);
const machineKey = ({ machine }) => machine;

/** What a message changes. A snapshot removes all that it does not have. */
function changes(message, known, keyOf) {
  if (message.type !== "snapshot") return { upsert: message.upsert, remove: message.remove.map(keyOf) };
  const kept = new Set(message.rows.map(keyOf));
  return { upsert: message.rows, remove: [...known.keys()].filter((key) => !kept.has(key)) };
}

// Written out, since it is asked for each unit at each change: a loop over the names takes ten times as long.
function equal(a, b) {
  return (
    a.ip === b.ip && a.load === b.load && a.active === b.active && a.sub === b.sub && a.hash === b.hash &&
    a.stale_since === b.stale_since && a.desired === b.desired && a.target === b.target && a.global === b.global &&
    a.description === b.description && a.file_hash === b.file_hash && a.verdict === b.verdict && a.reason === b.reason &&
    a.since === b.since && a.since_seen === b.since_seen && a.verdict_since === b.verdict_since &&
    a.requirements?.join() === b.requirements?.join()
  );
}

/** A unit as the table has it: what was sent, and what is read from it. `name` is the place of its name among all. */
function readRow(unit, key, machine, name) {
  const submitted = unit.active == null && unit.verdict === "ok";
  const place = unit.machine ?? unit.target;
  const ip = (unit.machine && unit.ip) ?? machine?.ip;
  const state = unit.active ?? (submitted ? "submitted" : null);
  return {
    ...unit,
    source: unit,
    ...since(unit),
    key,
    place,
    ip,
    where: ip ?? shortId(place),
    onlyTarget: unit.machine == null && place != null,
    metadata: machine?.metadata,
    submitted,
    state,
    stateText: state == null ? "no state" : submitted ? "submitted" : unit.sub ? `${unit.active}/${unit.sub}` : unit.active,
    glyph: stateGlyph(unit, submitted),
    tone: unit.verdict === "ok" ? (STATES[state] ?? "idle") : (VERDICTS[unit.verdict]?.tone ?? "warn"),
    rank: submitted ? SUBMITTED_RANK : (RANK[unit.verdict] ?? RANK.outdated),
    name,
    ipRank: ipNumber(ip),
    lines: [],
  };
}

// What is wrong is wrong since it was judged so, but a stale row is as old as it is; what is right is as it is since its
// state changed.
function since({ verdict, since, since_seen, verdict_since, verdict_since_seen, stale_since }) {
  if (verdict === "ok") return { since, since_seen };
  if (verdict === "stale" && stale_since != null) return { since: stale_since, since_seen: true };
  return { since: verdict_since, since_seen: verdict_since_seen };
}

function stateGlyph(unit, submitted) {
  if (submitted) return "submitted";
  if (unit.active === "reloading") return "activating";
  if (unit.active in STATES) return unit.active;
  return unit.verdict === "ok" ? "inactive" : unit.verdict;
}
