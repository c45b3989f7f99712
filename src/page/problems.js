// What is wrong in the cluster, as causes to show: the server's problems, each with its place in
// the order, what to call it and the filter that finds its rows. It must not know the document, nor
// any sentence, and it does not decide what a problem is: only the server does.

import { groupKey, rowKey } from "./row.js";
import { verdictRank } from "./verdicts.js";
import { shortId } from "./words.js";

/** @typedef {import("./row.js").Row} Row */

/**
 * When something began, in milliseconds since 1970. If `isExact` is false, the monitor found it so
 * when it started.
 * @typedef {{since: ?number, isExact: boolean}} Start
 */

/**
 * A problem as the server sends it. Times are in milliseconds since 1970.
 * @typedef {object} Problem
 * @property {string} id unlike that of any other problem
 * @property {string} kind a verdict, `machine_lost` or `machine_silent`, or one that begins with
 *   `source_`
 * @property {"critical" | "warning"} severity
 * @property {number} since
 * @property {boolean} since_seen
 * @property {number} opened
 * @property {string} [unit]
 * @property {string} [template]
 * @property {string} [machine]
 * @property {string} [ip] of that machine
 * @property {number} count how many units have it
 * @property {Record<string, number>} verdicts how many of them have which verdict
 * @property {{unit: string, machine?: string}[]} units the first of them
 * @property {string} text a summary in one line, for people
 * @property {string} [detail]
 */

/**
 * A problem to show.
 * @typedef {object} Cause
 * @property {Problem} problem
 * @property {"source" | "machine" | "place" | "template" | "unit"} shape what it is about: the
 *   source; a machine that is lost or silent; several units on one machine, or on none; several
 *   instances of a template, or rows of a global unit; or one unit
 * @property {string} key the same for each problem that is about the same
 * @property {string} kind that of the problem
 * @property {import("./verdicts.js").Tone} tone
 * @property {number} count how many units have it
 * @property {Row[]} rows the rows of those units, as far as they are named
 * @property {?Set<string | undefined>} places the IDs of their machines; null if not all of them
 *   are named
 * @property {?string} where how people name the machine of all units; null if they have none, or
 *   several
 * @property {?string} template such as `web@.service`
 * @property {boolean} isNew whether it was seen to begin, and opened less than `NEW_FOR` ago,
 *   as `src/report/problems.rs` has it
 * @property {Start} start
 * @property {{tab: string, query: string}} view what shows its rows
 */

/**
 * What is wrong, and has not been so for long enough to be a problem: how many units there are, how
 * many of them with each verdict, and how many machines are lost or silent, by kind.
 * @typedef {{units: number, verdicts: Map<string, number>, machines: Map<string, number>}} Waiting
 */

/**
 * @typedef {object} Problems
 * @property {Cause[]} causes new ones first, then the worst, then those with most units, then the
 *   latest to be opened
 * @property {Waiting} waiting
 * @property {number} until when the first of the new ones becomes old, in milliseconds since 1970
 */

/** For how many milliseconds a problem is new. */
export const NEW_FOR = 600_000;

/**
 * @param {import("./cluster.js").Cluster} cluster
 * @param {number} now by the server's clock
 * @returns {Problems}
 */
export function problemsOf(cluster, now) {
  const causes = [...cluster.problems.values()].map((problem) => causeOf(problem, cluster, now));
  causes.sort(byImportance);

  const opened = causes.filter(({ isNew }) => isNew).map(({ problem }) => problem.opened);
  const first = opened.reduce((a, b) => Math.min(a, b), Infinity);
  return { causes, waiting: waitingOf(cluster), until: first + NEW_FOR };
}

/** Whether a problem, or a cause, is about the source. */
export const isOfSource = ({ kind }) => kind.startsWith("source_");

/**
 * The same text for problems that are about the same, such as `failed/web.service/3f1a…`. What is
 * behind the kind is the key of a row or of a group, or the ID of a machine.
 * @param {Problem} problem
 */
export function causeKey({ kind, unit, template, machine }) {
  if (unit != null) return `${kind}/${rowKey(unit, machine)}`;
  if (template != null) return `${kind}/${groupKey(template)}`;
  return `${kind}/${machine ?? ""}`;
}

/** The kind of the problems with a key. */
export const kindOfKey = (key) => key.slice(0, key.indexOf("/"));

/**
 * When several things of the same age began: if they are new, the first of them, or else the last,
 * since when all of them have been so.
 * @param {Start[]} starts at least one
 */
export function startOf(starts, isNew) {
  const isBefore = (a, b) => (a.since ?? 0) < (b.since ?? 0);
  return starts.reduce((a, b) => (isBefore(a, b) === isNew ? a : b));
}

function causeOf(problem, { units, machines }, now) {
  const { kind, severity, since, since_seen, opened } = problem;
  const { machine, ip, template, count } = problem;
  const shape = shapeOf(problem);
  const named = problem.units.map(({ unit, machine }) => units.get(rowKey(unit, machine)));
  const rows = named.filter(Boolean);

  return {
    problem,
    shape,
    key: causeKey(problem),
    kind,
    tone: severity === "critical" ? "bad" : "warn",
    count,
    rows,
    places: placesOf(problem, shape, rows),
    where: machine == null ? null : (ip ?? shortId(machine)),
    template: template ?? null,
    isNew: since_seen && now - opened < NEW_FOR,
    start: { since, isExact: since_seen },
    view: viewOf(problem, shape, machines),
  };
}

function shapeOf({ kind, unit, template, machine }) {
  if (isOfSource({ kind })) return "source";
  if (unit != null) return "unit";
  if (template != null) return "template";
  return machine != null && isOfMachine(kind) ? "machine" : "place";
}

function placesOf({ machine, count }, shape, rows) {
  if (shape === "place" || shape === "machine") return new Set([machine]);
  return rows.length === count ? new Set(rows.map((row) => row.place)) : null;
}

const isOfMachine = (kind) => kind === "machine_lost" || kind === "machine_silent";

// --- the order

function byImportance(a, b) {
  return (
    b.isNew - a.isNew ||
    rankOf(a) - rankOf(b) ||
    b.count - a.count ||
    b.problem.opened - a.problem.opened ||
    (a.key < b.key ? -1 : 1)
  );
}

/** The source, then a lost machine, then the verdicts. A silent machine follows the bad ones. */
function rankOf({ shape, kind }) {
  if (shape === "source") return -2;
  if (shape !== "machine") return verdictRank(kind);
  return kind === "machine_lost" ? -1 : verdictRank("unscheduled") - 0.5;
}

// --- what is not a problem yet

/** @returns {Waiting} */
function waitingOf({ problems, wrong, machines }) {
  const verdicts = new Map();
  const count = (verdict, change) => verdicts.set(verdict, (verdicts.get(verdict) ?? 0) + change);
  let units = wrong.length;

  for (const row of wrong) count(row.verdict, 1);
  for (const problem of problems.values()) {
    units -= problem.count;
    for (const [verdict, of] of Object.entries(problem.verdicts)) count(verdict, -of);
  }
  for (const [verdict, left] of verdicts) if (left <= 0) verdicts.delete(verdict);

  return { units: Math.max(0, units), verdicts, machines: waitingMachines(machines, problems) };
}

function waitingMachines(machines, problems) {
  const known = new Set();
  for (const problem of problems.values()) {
    if (shapeOf(problem) === "machine") known.add(problem.machine);
  }

  const waiting = new Map();
  for (const { machine, lost_since, silent_since } of machines.values()) {
    if ((lost_since ?? silent_since) == null || known.has(machine)) continue;
    const kind = lost_since != null ? "machine_lost" : "machine_silent";
    waiting.set(kind, (waiting.get(kind) ?? 0) + 1);
  }
  return waiting;
}

/** Whether something is wrong that is not a problem yet. */
export const isWaiting = ({ units, machines }) => units > 0 || machines.size > 0;

/** Whether something is wrong that may become a problem of this kind. */
export const isWaitingFor = ({ verdicts, machines }, kind) =>
  verdicts.has(kind) || machines.has(kind);

// --- the filter that finds the rows

function viewOf({ machine, ip, template, count, verdicts }, shape, machines) {
  if (shape === "source") return { tab: "timeline", query: "" };

  const terms = [];
  if (shape === "template") terms.push(`unit:${template.replace("@", "@*")}`);
  else if (shape !== "unit" && machine != null) terms.push(machineTerm(machine, ip, machines));

  const isOfMachineAlone = shape === "machine" && !count;
  if (!isOfMachineAlone) terms.push(verdictTerm(verdicts));
  return { tab: isOfMachineAlone ? "machines" : "units", query: terms.join(" ") };
}

/** By its address, as people know it, unless another machine has or had the same. */
function machineTerm(id, ip, machines) {
  const isOther = (machine) => machine.ip === ip && machine.machine !== id;
  const isUnique = ip != null && ![...machines.values()].some(isOther);
  return `machine:${isUnique ? ip : shortId(id)}`;
}

function verdictTerm(verdicts) {
  const [verdict, ...others] = Object.keys(verdicts);
  return verdict != null && !others.length ? `verdict:${verdict}` : "-verdict:ok";
}
