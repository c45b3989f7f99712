// Clusters as the server sends them, for tests.

import { Cluster } from "../../src/page/cluster.js";

export const WEB = "3f1a8c5e9b2d4f60a7c1d2e3b4f50617";
export const DB = "9c4b7a2e1d3f48568e0f1a2b3c4d5e6f";
export const OLD = "d2e8f4a10b6c4973b5d7e9f1a3c5b7d9";

const IPS = { [WEB]: "10.0.0.1", [DB]: "10.0.0.2", [OLD]: "10.0.0.10" };

/** A machine. */
export const machine = (id, fields = {}) => ({
  machine: id,
  ip: IPS[id],
  metadata: `role=${id.slice(0, 2)}`,
  version: "1.0.0",
  ...fields,
});

/** A unit that runs, unless `fields` say something else. */
export const unit = (name, id = WEB, fields = {}) => ({
  unit: name,
  machine: id,
  target: id,
  ip: IPS[id],
  load: "loaded",
  active: "active",
  sub: "running",
  desired: "launched",
  global: false,
  description: `What ${name} is for`,
  verdict: "ok",
  since: 1000,
  since_seen: true,
  verdict_since: 2000,
  verdict_since_seen: true,
  ...fields,
});

/** A unit with this verdict. */
export const wrong = (name, verdict, id = WEB) => unit(name, id, { verdict });

/** A unit that fails at this time, by a monitor that sees it. */
export const failed = (name, id = WEB, time = 1000) =>
  unit(name, id, {
    active: "failed",
    sub: "failed",
    verdict: "failed",
    since: time,
    verdict_since: time,
  });

/** A unit that no machine has reported. */
const unreported = (name, desired, fields = {}) =>
  unit(name, undefined, {
    machine: undefined,
    target: undefined,
    ip: undefined,
    load: undefined,
    active: undefined,
    sub: undefined,
    desired,
    ...fields,
  });

/** A unit that fleet has, but does not want started. */
export const submitted = (name) => unreported(name, "inactive");

/** A unit that fleet has just begun to want, so that no machine can have reported it yet. */
export const expected = (name) => unreported(name, "launched", { target: WEB });

/** A unit that fleet cannot schedule. */
export const unscheduled = (name) => unreported(name, "launched", { verdict: "unscheduled" });

/** An event. */
export const event = (number, fields = {}) => ({
  type: "event",
  number,
  time: number,
  event: "state",
  severity: "info",
  text: `event ${number}`,
  ...fields,
});

/** The messages of a whole state. */
export const snapshot = (units, machines = [], events = [], problems = []) => [
  { type: "snapshot", topic: "units", rows: units },
  { type: "snapshot", topic: "machines", rows: machines },
  { type: "snapshot", topic: "problems", rows: problems },
  { type: "snapshot", topic: "events", rows: events },
];

const MACHINES = [machine(WEB), machine(DB)];

export function clusterOf(units, machines = MACHINES, events = [], problems = []) {
  const cluster = new Cluster();
  cluster.apply(snapshot(units, machines, events, problems));
  return cluster;
}

/** A cluster with these units, and these problems. */
export const troubled = (units, problems, machines = MACHINES) =>
  clusterOf(units, machines, [], problems);

// --- problems

const CRITICAL = ["failed", "crash_loop", "machine_lost", "unreported"];

/** A problem of these units, of which the first 20 are named. It was opened when it began. */
function problem(kind, units, fields) {
  const verdicts = {};
  for (const { verdict } of units) verdicts[verdict] = (verdicts[verdict] ?? 0) + 1;
  const since = Math.min(...units.map((unit) => unit.verdict_since), fields.since ?? Infinity);
  const isCritical = CRITICAL.includes(kind) || kind.startsWith("source_");
  const about = fields.unit ?? fields.template ?? "";
  return {
    id: [kind, about, fields.machine ?? "", since].join(" "),
    kind,
    severity: isCritical ? "critical" : "warning",
    since,
    since_seen: units.every((unit) => unit.verdict_since_seen),
    opened: since,
    count: units.length,
    verdicts,
    units: units.slice(0, 20).map(({ unit, machine }) => ({ unit, machine })),
    text: `${kind} ${about} ${fields.machine ?? ""}`,
    ...fields,
  };
}

const placeOf = (unit) => ({ machine: unit.machine ?? unit.target, ip: unit.ip });

/** The problem of one unit. */
export const unitProblem = (unit, fields = {}) =>
  problem(unit.verdict, [unit], { unit: unit.unit, ...placeOf(unit), ...fields });

/** The problem of units on one machine, or on none. */
export const placeProblem = (units, fields = {}) =>
  problem(units[0].verdict, units, { ...placeOf(units[0]), ...fields });

/** The problem of instances of a template, or of rows of a global unit. */
export const templateProblem = (template, units, fields = {}) =>
  problem(units[0].verdict, units, { template, ...fields });

/** The problem of a machine that is lost or silent. */
export function machineProblem({ machine, ip, lost_since, silent_since }, units = [], fields = {}) {
  const kind = lost_since ? "machine_lost" : "machine_silent";
  return problem(kind, units, { machine, ip, since: lost_since ?? silent_since, ...fields });
}

/** A problem of the source. */
export const sourceProblem = (kind = "source_failing", fields = {}) =>
  problem(kind, [], { since: 90_000, ...fields });

const list = (fields) => ({ age: 1, failing_for: null, reason: null, ...fields });

/** A source that can be read. `lists` are fields of some lists. */
export const health = (state = "ok", lists = {}) => ({
  state,
  time: 100_000,
  since: 90_000,
  reason: null,
  source: "etcd",
  recording: false,
  topics: {
    units: list(lists.units),
    machines: list(lists.machines),
    unit_files: list(lists.unit_files),
  },
});

export const failing = (reason = "etcd has no leader") => ({ failing_for: 10, reason });

export const names = (rows) => rows.map((row) => row.unit).join(" ");
