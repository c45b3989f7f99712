// What is wrong, as causes to show.

import assert from "node:assert/strict";
import { test } from "node:test";

import { NEW_FOR, causeKey, isWaiting, problemsOf } from "../../src/page/problems.js";
import {
  DB,
  OLD,
  WEB,
  failed,
  machine,
  machineProblem,
  names,
  placeProblem,
  sourceProblem,
  templateProblem,
  troubled,
  unit,
  unitProblem,
  unscheduled,
  wrong,
} from "./clusters.mjs";

const MACHINES = [machine(WEB), machine(DB), machine(OLD)];
const NOW = NEW_FOR;
const LOST = machine(DB, { lost_since: 1000 });
const SILENT = machine(WEB, { silent_since: 1000 });

function shownOf(units, problems, { machines = MACHINES, now = NOW } = {}) {
  return problemsOf(troubled(units, problems, machines), now);
}

const causesOf = (...given) => shownOf(...given).causes;
const waitingOf = (...given) => shownOf(...given).waiting;

const many = (count, make) => Array.from({ length: count }, (_, number) => make(number));

test("a lost machine is one cause, whose rows are found by its address", () => {
  const units = [wrong("a.service", "machine_lost", DB), wrong("b.service", "stale", DB)];
  const machines = [machine(WEB), LOST];
  const [cause] = causesOf(units, [machineProblem(LOST, units)], { machines });
  assert.deepEqual([cause.shape, cause.tone, cause.where], ["machine", "bad", "10.0.0.2"]);
  assert.deepEqual([cause.count, names(cause.rows)], [2, "a.service b.service"]);
  assert.deepEqual(cause.view, { tab: "units", query: "machine:10.0.0.2 -verdict:ok" });
});

test("a machine whose units are all fine is shown among the machines", () => {
  const machines = [SILENT, LOST];
  const problems = machines.map((machine) => machineProblem(machine));
  const causes = causesOf([unit("a.service")], problems, { machines });
  const found = causes.map(({ kind, where, tone, view }) => [kind, where, tone, view]);
  assert.deepEqual(found, [
    ["machine_lost", "10.0.0.2", "bad", { tab: "machines", query: "machine:10.0.0.2" }],
    ["machine_silent", "10.0.0.1", "warn", { tab: "machines", query: "machine:10.0.0.1" }],
  ]);
});

test("a unit that was lost with its machine is a unit", () => {
  const lost = wrong("a.service", "machine_lost", DB);
  const [cause] = causesOf([lost], [unitProblem(lost)]);
  assert.deepEqual([cause.shape, names(cause.rows)], ["unit", "a.service"]);
});

test("units with the same verdict at one place are one cause", () => {
  const there = ["a.service", "b.service"].map((name) => failed(name, DB));
  const nowhere = [unscheduled("c.service"), unscheduled("d.service")];
  const problems = [placeProblem(there), placeProblem(nowhere)];
  const found = causesOf([...there, ...nowhere], problems);
  assert.deepEqual(
    found.map(({ shape, where, view }) => [shape, where, view.query]),
    [
      ["place", "10.0.0.2", "machine:10.0.0.2 verdict:failed"],
      ["place", null, "verdict:unscheduled"],
    ],
  );
});

test("the rows of a template, or of a global unit, are found by their name", () => {
  const instances = [failed("web@1.service", WEB), failed("web@2.service", DB)];
  const [web] = causesOf(instances, [templateProblem("web@.service", instances)]);
  assert.deepEqual([web.shape, web.places], ["template", new Set([WEB, DB])]);
  assert.equal(web.view.query, "unit:web@*.service verdict:failed");

  const everywhere = [WEB, DB, OLD].map((id) => failed("agent.service", id));
  const [agent] = causesOf(everywhere, [templateProblem("agent.service", everywhere)]);
  assert.equal(agent.view.query, "unit:agent.service verdict:failed");
});

test("on how many machines units are is not claimed unless all of them are named", () => {
  const units = many(21, (number) => failed(`web@${number}.service`, number ? WEB : DB));
  const [cause] = causesOf(units, [templateProblem("web@.service", units)]);
  assert.deepEqual([cause.count, cause.places], [21, null]);
  const [here] = causesOf(units, [placeProblem(units)]);
  assert.deepEqual(here.places, new Set([DB]));
});

test("units of one cause that have other verdicts meanwhile are found by being wrong", () => {
  const units = [failed("a.service"), wrong("b.service", "crash_loop")];
  const [{ view }] = causesOf(units, [placeProblem(units)]);
  assert.equal(view.query, "machine:10.0.0.1 -verdict:ok");
});

test("the source comes before all that it says", () => {
  const unit = failed("a.service", WEB, 5000);
  const source = sourceProblem("source_suspect", { since: 1000 });
  const [first, second] = causesOf([unit], [unitProblem(unit), source]);
  assert.deepEqual([first.shape, first.tone, first.where], ["source", "bad", null]);
  assert.equal(second.shape, "unit");
});

test("two machines with the same address are told apart by their IDs", () => {
  const lost = machine(DB, { ip: "10.0.0.9", lost_since: 1 });
  const machines = [machine(WEB, { ip: "10.0.0.9" }), lost];
  const [{ view }] = causesOf([], [machineProblem(lost)], { machines });
  assert.equal(view.query, `machine:${DB.slice(0, 8)}`);
});

test("new causes come first, then the worst, then the largest, then the latest", () => {
  const together = ["a.service", "b.service"].map((name) => failed(name, OLD, 2000));
  const single = [
    failed("old.service", WEB, 0),
    wrong("stale.service", "stale", WEB),
    failed("early.service", WEB, 3000),
    failed("late.service", DB, 4000),
  ];
  const problems = [...single.map((unit) => unitProblem(unit)), placeProblem(together)];
  const found = causesOf([...single, ...together], problems).map(({ rows }) => names(rows));
  assert.deepEqual(found, [
    "a.service b.service",
    "late.service",
    "early.service",
    "stale.service",
    "old.service",
  ]);
});

test("what the monitor found when it started is not new", () => {
  const found = { ...failed("a.service"), verdict_since_seen: false };
  const [cause] = causesOf([found], [unitProblem(found)], { now: 1001 });
  assert.deepEqual([cause.isNew, cause.start.isExact], [false, false]);
});

test("a problem that was opened long after it began is new then", () => {
  const slow = failed("a.service", WEB, 1000);
  const opened = 1000 + NEW_FOR;
  const problems = [unitProblem(slow, { opened })];
  const { causes, until } = shownOf([slow], problems, { now: opened + 1 });
  assert.deepEqual([causes[0].isNew, until], [true, opened + NEW_FOR]);
});

test("nothing changes its place until something is too old to be new", () => {
  const units = [failed("a.service", WEB, 1000), wrong("b.service", "stale", DB)];
  const cluster = troubled(
    units,
    units.map((unit) => unitProblem(unit)),
  );
  const { until } = problemsOf(cluster, NOW);
  assert.equal(until, 1000 + NEW_FOR);
  const order = (now) => problemsOf(cluster, now).causes.map(({ kind }) => kind);
  assert.deepEqual(order(until - 1), ["failed", "stale"]);
  assert.deepEqual(order(until), ["stale", "failed"]);
  assert.equal(problemsOf(cluster, 10 * NEW_FOR).until, Infinity);
});

test("what is wrong and is no problem is counted by its verdict", () => {
  const [a, b, c] = [failed("a.service"), failed("b.service"), wrong("c.service", "stale")];
  const waiting = waitingOf([a, b, c, unit("d.service")], [unitProblem(a)]);
  assert.equal(waiting.units, 2);
  assert.deepEqual([...waiting.verdicts], [["failed", 1], ["stale", 1]]);
  assert.ok(isWaiting(waiting));
  assert.ok(!isWaiting(waitingOf([a], [unitProblem(a)])));
});

test("a machine that has just been lost waits, and one that is a problem does not", () => {
  const machines = [LOST, SILENT];
  const waiting = waitingOf([], [machineProblem(LOST)], { machines });
  assert.deepEqual([...waiting.machines], [["machine_silent", 1]]);
  assert.ok(isWaiting(waiting));
});

test("a problem whose units the page does not have does not count below zero", () => {
  const waiting = waitingOf([], [unitProblem(failed("a.service"))]);
  assert.equal(waiting.units, 0);
  assert.ok(!isWaiting(waiting));
});

test("what a problem is about has a key, whenever it began", () => {
  const units = [failed("a@1.service", WEB), failed("a@2.service", WEB)];
  const [first] = units;
  const problems = [
    unitProblem(first),
    placeProblem(units),
    templateProblem("a@.service", units),
    machineProblem(LOST),
    placeProblem([unscheduled("b.service"), unscheduled("c.service")]),
    sourceProblem(),
  ];
  assert.deepEqual(problems.map(causeKey), [
    `failed/a@1.service/${WEB}`,
    `failed/${WEB}`,
    "failed/a@.service/*",
    `machine_lost/${DB}`,
    "unscheduled/",
    "source_failing/",
  ]);
  const later = unitProblem(first, { since: 99, id: "other" });
  assert.equal(causeKey(later), causeKey(problems[0]));
});
