// The lines of the table of units.

import assert from "node:assert/strict";
import { test } from "node:test";

import { tableLines } from "../../src/page/lines.js";
import { DB, OLD, WEB, clusterOf, machine, submitted, unit, wrong } from "./clusters.mjs";

const isGlobal = { global: true };
const GROUP = "agent.service/*";

const linesOf = (cluster, { query = "", sort = "unit", open = [] } = {}) =>
  tableLines(cluster, { query, sort, open: new Set(open) });

const shown = (cluster, view) =>
  linesOf(cluster, view).lines.map(({ kind, level, row }) => `${kind} ${level} ${row.unit}`);

/** What a text says in numbers. */
const numbers = (text) => text.match(/\d+/g).map(Number);

function globalOn(...ids) {
  return clusterOf(
    [...ids.map((id) => unit("agent.service", id, isGlobal)), unit("web.service")],
    [machine(WEB), machine(DB), machine(OLD)],
  );
}

test("a row is one line, and an open row is two", () => {
  const cluster = clusterOf([unit("api.service"), unit("web.service")]);
  assert.deepEqual(shown(cluster), ["unit 1 api.service", "unit 1 web.service"]);
  assert.deepEqual(shown(cluster, { open: [`api.service/${WEB}`] }), [
    "unit 1 api.service",
    "detail 2 api.service",
    "unit 1 web.service",
  ]);
});

test("the line of a closed row is made once", () => {
  const cluster = clusterOf([unit("web.service")]);
  assert.equal(linesOf(cluster).lines[0], linesOf(cluster).lines[0]);
});

test("the rows of a global unit are one group, which opens to them", () => {
  const cluster = globalOn(WEB, DB);
  assert.deepEqual(shown(cluster), ["group 1 agent.service", "unit 1 web.service"]);
  assert.deepEqual(shown(cluster, { open: [GROUP] }), [
    "group 1 agent.service",
    "unit 2 agent.service",
    "unit 2 agent.service",
    "unit 1 web.service",
  ]);
});

test("a global unit of which one row is found is that row", () => {
  assert.deepEqual(shown(globalOn(WEB)), ["unit 1 agent.service", "unit 1 web.service"]);
  const view = { query: "machine:10.0.0.2" };
  assert.deepEqual(shown(globalOn(WEB, DB), view), ["unit 1 agent.service"]);
});

test("a group counts all its machines, also those that the filter hides", () => {
  const [{ row }] = linesOf(globalOn(WEB, DB, OLD), { query: "-machine:10.0.0.2" }).lines;
  assert.equal(row.found.length, 2);
  assert.deepEqual(numbers(row.stateText), [3, 3]);
});

test("a group is as its worst row, and names the machine of a single problem", () => {
  const cluster = clusterOf(
    [
      unit("agent.service", WEB, isGlobal),
      unit("agent.service", DB, { ...isGlobal, verdict: "failed", active: "failed" }),
    ],
    [machine(WEB), machine(DB)],
  );
  const [{ row }] = linesOf(cluster).lines;
  assert.equal(row.verdict, "failed");
  assert.equal(row.tone, "bad");
  assert.equal(row.where, "10.0.0.2");
  assert.equal(row.since, 2000);
  assert.deepEqual(numbers(row.stateText), [1, 2]);
});

test("what is only submitted is after all others, and counts as found", () => {
  const cluster = clusterOf([
    submitted("a.service"),
    unit("b.service"),
    wrong("c.service", "stale"),
  ]);
  const view = { sort: "verdict" };
  const order = ["unit 1 c.service", "unit 1 b.service", "unit 1 a.service"];
  assert.deepEqual(shown(cluster, view), order);
  assert.equal(linesOf(cluster).found, 3);
});

test("the rows of a group have the order of the table: by name, no verdict moves them", () => {
  const cluster = clusterOf(
    [
      unit("agent.service", WEB, isGlobal),
      unit("agent.service", DB, { ...isGlobal, verdict: "failed" }),
    ],
    [machine(WEB), machine(DB)],
  );
  const order = (sort) => {
    const { lines } = linesOf(cluster, { sort, open: [GROUP] });
    return lines.slice(1).map(({ row }) => row.where);
  };
  assert.deepEqual(order("unit"), ["10.0.0.1", "10.0.0.2"]);
  assert.deepEqual(order("-unit"), ["10.0.0.2", "10.0.0.1"]);
  assert.deepEqual(order("verdict"), ["10.0.0.2", "10.0.0.1"]);
});
