// What is wrong, by its causes.

import assert from "node:assert/strict";
import { test } from "node:test";

import { NEW_FOR, problemsOf } from "../../src/page/problems.js";
import {
  DB,
  OLD,
  WEB,
  clusterOf,
  failed,
  machine,
  names,
  unit,
  unscheduled,
  wrong,
} from "./clusters.mjs";

const MACHINES = [machine(WEB), machine(DB), machine(OLD)];
const NOW = NEW_FOR;

const causesOf = (units, { machines = MACHINES, now = NOW } = {}) =>
  problemsOf(clusterOf(units, machines), now).causes;

/** The causes, as `shape kind: units`. */
const shown = (units, options) =>
  causesOf(units, options).map(({ shape, kind, rows }) => `${shape} ${kind}: ${names(rows)}`);

const many = (count, make) => Array.from({ length: count }, (_, number) => make(number));

test("a lost machine is one cause, with all units that are wrong because of it", () => {
  const machines = [machine(WEB), machine(DB, { lost_since: 1000 })];
  const units = [
    wrong("a.service", "machine_lost", DB),
    wrong("b.service", "stale", DB),
    failed("c.service", DB),
    wrong("d.service", "stale", WEB),
  ];
  assert.deepEqual(shown(units, { machines }), [
    "machine machine_lost: a.service b.service",
    "unit failed: c.service",
    "unit stale: d.service",
  ]);
});

test("a machine that is lost or silent is named although none of its units is wrong", () => {
  const machines = [machine(WEB, { silent_since: 1000 }), machine(DB, { lost_since: 1000 })];
  const causes = causesOf([unit("a.service")], { machines });
  const found = causes.map(({ kind, where, tone, view }) => [kind, where, tone, view]);
  assert.deepEqual(found, [
    ["machine_lost", "10.0.0.2", "bad", { tab: "machines", query: "machine:10.0.0.2" }],
    ["machine_silent", "10.0.0.1", "warn", { tab: "machines", query: "machine:10.0.0.1" }],
  ]);
});

test("units with the same verdict on one machine are one cause", () => {
  const units = [
    ...["a.service", "b.service", "c.service"].map((name) => failed(name, DB)),
    wrong("d.service", "stale", DB),
    failed("e.service", WEB),
  ];
  assert.deepEqual(shown(units), [
    "place failed: a.service b.service c.service",
    "unit failed: e.service",
    "unit stale: d.service",
  ]);
  const [{ where, view }] = causesOf(units);
  assert.equal(where, "10.0.0.2");
  assert.deepEqual(view, { tab: "units", query: "machine:10.0.0.2 verdict:failed" });
});

test("units that are on no machine are one cause too", () => {
  const units = [unscheduled("a.service"), unscheduled("b.service")];
  assert.deepEqual(shown(units), ["place unscheduled: a.service b.service"]);
  const [{ where, view }] = causesOf(units);
  assert.deepEqual([where, view.query], [null, "verdict:unscheduled"]);
});

test("a template, or a global unit, that fails on several machines is one cause", () => {
  const instances = [failed("web@1.service", WEB), failed("web@2.service", DB)];
  assert.deepEqual(shown(instances), ["template failed: web@1.service web@2.service"]);
  const [{ template, view }] = causesOf(instances);
  assert.equal(template, "web@.service");
  assert.equal(view.query, "unit:web@*.service verdict:failed");

  const everywhere = [WEB, DB, OLD].map((id) => failed("agent.service", id));
  const [cause] = causesOf(everywhere);
  assert.deepEqual([cause.shape, cause.rows.length], ["template", 3]);
  assert.equal(cause.view.query, "unit:agent.service verdict:failed");
});

test("a row is in the largest group that it belongs to, and in no other", () => {
  const here = many(4, (number) => failed(`app-${number}.service`, WEB));
  const units = [...here, failed("agent.service", WEB), failed("agent.service", DB)];
  const found = causesOf(units).map(({ shape, rows }) => [shape, rows.length]);
  assert.deepEqual(found, [
    ["place", 5],
    ["unit", 1],
  ]);
});

test("two machines with the same address are told apart by their IDs", () => {
  const machines = [machine(WEB, { ip: "10.0.0.9" }), machine(DB, { ip: "10.0.0.9", lost_since: 1 })];
  const [{ view }] = causesOf([], { machines });
  assert.equal(view.query, `machine:${DB.slice(0, 8)}`);
});

test("new causes come first, then the worst, then the largest, then the latest", () => {
  const units = [
    failed("old.service", WEB, 0),
    wrong("stale.service", "stale", WEB),
    failed("early.service", WEB, 3000),
    failed("late.service", DB, 4000),
    ...["a.service", "b.service"].map((name) => failed(name, OLD, 2000)),
  ];
  assert.deepEqual(shown(units), [
    "place failed: a.service b.service",
    "unit failed: late.service",
    "unit failed: early.service",
    "unit stale: stale.service",
    "unit failed: old.service",
  ]);
});

test("what the monitor found when it started is not new", () => {
  const found = { ...failed("a.service"), verdict_since_seen: false };
  const [cause] = causesOf([found], { now: 1001 });
  assert.equal(cause.isNew, false);
});

test("one more unit does not make the others new", () => {
  const before = ["a.service", "b.service"].map((name) => failed(name, DB, 0));
  const units = [...before, failed("c.service", DB, 5000)];
  const found = causesOf(units).map(({ isNew, rows }) => [isNew, names(rows)]);
  assert.deepEqual(found, [
    [true, "c.service"],
    [false, "a.service b.service"],
  ]);
});

test("nothing changes its place until something is too old to be new", () => {
  const units = [failed("a.service", WEB, 1000), wrong("b.service", "stale", DB)];
  const cluster = clusterOf(units, MACHINES);
  const { until } = problemsOf(cluster, NOW);
  assert.equal(until, 1000 + NEW_FOR);
  const order = (now) => problemsOf(cluster, now).causes.map(({ kind }) => kind);
  assert.deepEqual(order(until - 1), ["failed", "stale"]);
  assert.deepEqual(order(until), ["stale", "failed"]);
  assert.equal(problemsOf(cluster, 10 * NEW_FOR).until, Infinity);
});

test("five thousand wrong units are grouped at once", () => {
  const machines = many(50, (number) => ({ machine: `m${number}`, ip: `10.0.1.${number}` }));
  const units = many(5000, (number) => failed(`app-${number}.service`, `m${number % 50}`));
  const causes = causesOf(units, { machines });
  assert.equal(causes.length, 50);
  assert.ok(causes.every(({ rows }) => rows.length === 100));
});
