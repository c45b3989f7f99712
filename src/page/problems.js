// What is wrong in the cluster, by its causes: a machine that is lost or silent with all units that
// suffer from it, several units that are wrong in the same way at one place, or a single unit. It
// must not know the document, nor any sentence.

import { verdictRank, verdictTone } from "./verdicts.js";
import { shortId } from "./words.js";

/** @typedef {import("./row.js").Row} Row */

/**
 * When something began, in milliseconds since 1970. If `isExact` is false, the monitor found it so
 * when it started.
 * @typedef {{since: ?number, isExact: boolean}} Start
 */

/**
 * One cause, with the rows that are wrong because of it.
 * @typedef {object} Cause
 * @property {"machine" | "place" | "template" | "unit"} shape what the rows have in common: their
 *   machine, which is lost or silent; the place where all of them have the same verdict, a machine
 *   or none; the template, or the global unit, that has the same verdict on several machines; or
 *   nothing, since there is one row only
 * @property {string} kind a verdict, or `machine_lost` or `machine_silent` of a machine
 * @property {import("./verdicts.js").Tone} tone
 * @property {Row[]} rows only those of a machine may be none
 * @property {?string} where how people name the machine of all rows; null if they have none, or
 *   several
 * @property {?string} template such as `web@.service`
 * @property {string} key unlike that of all others
 * @property {boolean} isNew whether it was seen to begin at most `NEW_FOR` ago
 * @property {Start} start when it began; if it is not new, since when all its rows have been so
 * @property {{tab: string, query: string}} view what shows its rows
 */

/**
 * @typedef {object} Problems
 * @property {Cause[]} causes new ones first, then the worst, then those with most rows, then the
 *   latest
 * @property {number} until when the first of the new ones becomes old, in milliseconds since 1970
 */

/** For how many milliseconds a problem is new. */
export const NEW_FOR = 600_000;

/** Verdicts that a unit has because its machine is lost or silent. */
const OF_MACHINE = new Set(["machine_lost", "stale", "unreported"]);

/**
 * @param {import("./cluster.js").Cluster} cluster
 * @param {number} now by the server's clock
 * @returns {Problems}
 */
export function problemsOf({ machines, wrong }, now) {
  const { causes, others } = machineCauses(machines, wrong, now);
  const fresh = [];
  const lasting = [];
  for (const row of others) {
    const isNew = isRecent(row.verdict_since, row.verdict_since_seen, now);
    (isNew ? fresh : lasting).push(row);
  }

  // Apart, or one more unit would make all that has been wrong for days look new.
  for (const rows of [fresh, lasting]) {
    for (const group of groupsOf(rows)) causes.push(unitsCause(group, rows === fresh, machines));
  }
  causes.sort(byImportance);

  const newMachines = causes.filter(({ shape, isNew }) => shape === "machine" && isNew);
  const starts = [
    ...fresh.map((row) => row.verdict_since),
    ...newMachines.map(({ start }) => start.since),
  ];
  const first = starts.reduce((a, b) => Math.min(a, b), Infinity);
  return { causes, until: first + NEW_FOR };
}

/**
 * When several things of the same age began: if they are new, the first of them, or else the last,
 * since when all of them have been so.
 * @param {Start[]} starts at least one
 */
export function startOf(starts, isNew) {
  const isBefore = (a, b) => (a.since ?? 0) < (b.since ?? 0);
  return starts.reduce((a, b) => (isBefore(a, b) === isNew ? a : b));
}

const isRecent = (since, wasSeen, now) => Boolean(wasSeen) && now - since < NEW_FOR;

function byImportance(a, b) {
  return (
    b.isNew - a.isNew ||
    rankOf(a) - rankOf(b) ||
    b.rows.length - a.rows.length ||
    (b.start.since ?? 0) - (a.start.since ?? 0) ||
    (a.key < b.key ? -1 : 1)
  );
}

/** A lost machine comes before all verdicts. A silent one comes after those that are bad. */
function rankOf({ shape, kind }) {
  if (shape !== "machine") return verdictRank(kind);
  return kind === "machine_lost" ? -1 : verdictRank("unscheduled") - 0.5;
}

// --- machines

/** The machines that are lost or silent, and the rows that are wrong for another reason. */
function machineCauses(machines, wrong, now) {
  const absent = [...machines.values()].filter(absentSince);
  if (!absent.length) return { causes: [], others: wrong };

  const rowsOf = new Map(absent.map(({ machine }) => [machine, []]));
  const others = [];
  for (const row of wrong) {
    const rows = OF_MACHINE.has(row.verdict) ? rowsOf.get(row.place) : null;
    (rows ?? others).push(row);
  }

  const causeOf = (machine) => machineCause(machine, rowsOf.get(machine.machine), machines, now);
  return { causes: absent.map(causeOf), others };
}

const absentSince = ({ lost_since, silent_since }) => lost_since ?? silent_since;

function machineCause(machine, rows, machines, now) {
  const since = absentSince(machine);
  const isLost = machine.lost_since != null;
  const term = machineTerm(machine.machine, machine.ip, machines);
  const table = { tab: "units", query: `${term} ${verdictTerm(rows)}` };
  return {
    shape: "machine",
    key: machine.machine,
    kind: isLost ? "machine_lost" : "machine_silent",
    tone: isLost ? "bad" : "warn",
    rows,
    where: machine.ip ?? shortId(machine.machine),
    template: null,
    isNew: isRecent(since, true, now),
    start: { since, isExact: true },
    view: rows.length ? table : { tab: "machines", query: term },
  };
}

// --- units

/**
 * Rows with the same verdict that have their place or their template in common. The largest group
 * is formed first; what is left of smaller ones follows, and in the end single rows.
 * @returns {{shape: "place" | "template" | "unit", rows: Row[]}[]}
 */
function groupsOf(rows) {
  const candidates = [
    ...candidatesOf(rows, "place", (row) => row.place ?? ""),
    ...candidatesOf(rows, "template", templateOf),
  ];
  candidates.sort((a, b) => b.rows.length - a.rows.length);

  const grouped = new Set();
  const groups = [];
  for (const candidate of candidates) {
    const left = candidate.rows.filter((row) => !grouped.has(row));
    if (!isGroup(candidate.shape, left)) continue;
    for (const row of left) grouped.add(row);
    groups.push({ shape: candidate.shape, rows: left });
  }

  const single = rows.filter((row) => !grouped.has(row));
  return [...groups, ...single.map((row) => ({ shape: "unit", rows: [row] }))];
}

function candidatesOf(rows, shape, commonOf) {
  const byVerdict = new Map();
  for (const row of rows) {
    const byCommon = entryOf(byVerdict, row.verdict, () => new Map());
    entryOf(byCommon, commonOf(row), () => []).push(row);
  }
  return [...byVerdict.values()]
    .flatMap((byCommon) => [...byCommon.values()])
    .filter((those) => isGroup(shape, those))
    .map((those) => ({ shape, rows: those }));
}

/** The value of a key, which is made if there is none. */
function entryOf(map, key, make) {
  let value = map.get(key);
  if (value === undefined) map.set(key, (value = make()));
  return value;
}

function isGroup(shape, rows) {
  if (rows.length < 2) return false;
  return shape === "place" || rows.some((row) => row.place !== rows[0].place);
}

/** `web@.service` of `web@1.service`, and the name itself of all others. Cached by name. */
const templateOf = ({ unit, name }) => (name.template ??= unit.replace(/@.*(?=\.)/, "@"));

function unitsCause({ shape, rows }, isNew, machines) {
  const [first] = rows;
  const starts = rows.map((row) => ({ since: row.since, isExact: row.since_seen }));
  const template = templateOf(first);
  const isPlaced = shape !== "template" && first.place != null;
  const terms = {
    unit: [],
    template: [`unit:${template.replace("@", "@*")}`],
    place: first.place ? [machineTerm(first.place, first.ip, machines)] : [],
  };
  return {
    shape,
    key: first.key,
    kind: first.verdict,
    tone: verdictTone(first.verdict),
    rows,
    where: isPlaced ? first.where : null,
    template: shape === "template" ? template : null,
    isNew,
    start: startOf(starts, isNew),
    view: { tab: "units", query: [...terms[shape], verdictTerm(rows)].join(" ") },
  };
}

// --- the terms of the filter that find the rows

/** By its address, as people know it, unless another machine has or had the same. */
function machineTerm(id, ip, machines) {
  const isOther = (machine) => machine.ip === ip && machine.machine !== id;
  const isUnique = ip != null && ![...machines.values()].some(isOther);
  return `machine:${isUnique ? ip : shortId(id)}`;
}

function verdictTerm(rows) {
  const verdicts = new Set(rows.map((row) => row.verdict));
  return verdicts.size === 1 ? `verdict:${[...verdicts][0]}` : "-verdict:ok";
}
