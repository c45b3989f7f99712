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
export const snapshot = (units, machines = [], events = []) => [
  { type: "snapshot", topic: "units", rows: units },
  { type: "snapshot", topic: "machines", rows: machines },
  { type: "snapshot", topic: "events", rows: events },
];

export function clusterOf(units, machines = [machine(WEB), machine(DB)], events = []) {
  const cluster = new Cluster();
  cluster.apply(snapshot(units, machines, events));
  return cluster;
}

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
