// What the page keeps of a log, and what it says about it.

import assert from "node:assert/strict";
import { test } from "node:test";

import { LogLines, MAX_LINES, narrowing, programOf } from "../../src/page/log-lines.js";
import { DB, WEB } from "./clusters.mjs";

const line = (number, more = {}) => ({
  type: "line",
  machine: WEB,
  time: 1_700_000_000_000 + number,
  priority: 6,
  pid: 4711,
  identifier: "docker",
  message: `line ${number}`,
  cursor: `s=${number}`,
  ...more,
});
const machine = (id, state, more = {}) => ({
  type: "machine",
  machine: id,
  ip: id === WEB ? "10.0.0.1" : "10.0.0.2",
  state,
  role: "current",
  reason: state === "failed" ? "connection refused" : null,
  ...more,
});

function linesOf(...messages) {
  const lines = new LogLines();
  for (const message of messages) lines.receive(message, 0);
  return lines;
}

const range = (from, to) => Array.from({ length: to - from }, (_, index) => from + index);
const kinds = (lines) => lines.take().added.map(({ kind }) => kind);

test("what arrives waits until it is taken", () => {
  const lines = linesOf(line(1), line(2));
  assert.equal(lines.waiting, 2);
  assert.deepEqual(lines.entries, []);

  const { added, removed } = lines.take();
  assert.deepEqual(added.map(({ message }) => message), ["line 1", "line 2"]);
  assert.deepEqual(removed, []);
  assert.equal(lines.waiting, 0);
});

test("of a long log the latest lines are kept, and the others are counted", () => {
  const lines = linesOf(...range(0, MAX_LINES).map((number) => line(number)));
  lines.take();
  for (const number of range(MAX_LINES, MAX_LINES + 3)) lines.receive(line(number), 0);

  const { added, removed } = lines.take();
  assert.equal(added.length, 3);
  assert.deepEqual(removed.map(({ message }) => message), ["line 0", "line 1", "line 2"]);
  assert.equal(lines.entries.length, MAX_LINES);
  assert.equal(lines.dropped, 3);
});

test("a log that nobody takes from is bounded, and nothing that was dropped is forgotten", () => {
  const lines = linesOf(line(0));
  lines.take();
  const count = 7 * MAX_LINES;
  for (const number of range(1, count)) lines.receive(line(number), 0);
  assert.equal(lines.waiting, count - 1);

  const { added, removed } = lines.take();
  assert.ok(added.length <= 2 * MAX_LINES, `${added.length}`);
  assert.equal(lines.entries.length, MAX_LINES);
  assert.equal(lines.entries.at(-1).message, `line ${count - 1}`);
  assert.equal(lines.dropped, count - MAX_LINES);
  assert.ok(removed.every((entry) => !lines.entries.includes(entry)));
});

test("lines that are sent again after a lost connection are not repeated", () => {
  const lines = linesOf(line(1), line(2));
  lines.take();
  lines.addGap();
  lines.addGap();
  for (const number of range(1, 5)) lines.receive(line(number), 0);
  lines.receive(line(2, { machine: DB }), 0);

  const { added } = lines.take();
  const shown = added.map(({ kind, message }) => message ?? kind);
  assert.deepEqual(shown, ["gap", "line 3", "line 4", "line 2"]);
});

test("a log that was empty has no gap", () => {
  const lines = new LogLines();
  lines.addGap();
  assert.equal(lines.waiting, 0);
});

test("a machine that cannot be read is told of once, until it can be read", () => {
  const lines = linesOf(
    machine(WEB, "connecting"),
    machine(WEB, "failed"),
    machine(WEB, "connecting"),
    machine(WEB, "failed"),
    machine(WEB, "failed", { reason: "timed out" }),
    machine(WEB, "connected"),
    machine(WEB, "connected"),
    machine(WEB, "failed"),
  );
  assert.deepEqual(kinds(lines), ["failed", "failed", "readable", "failed"]);
});

test("moves, earlier machines and missed lines have their place between the lines", () => {
  const lines = linesOf(
    machine(WEB, "connected", { role: "previous" }),
    machine(WEB, "ended", { role: "previous" }),
    line(1),
    { type: "moved", machine: DB },
    machine(DB, "connected"),
    { type: "missed", machine: DB, lines: 120, reason: "slow" },
    machine(DB, "ended", { reason: "the machine left the cluster" }),
    { type: "of_a_newer_server" },
    { type: "end" },
  );
  assert.deepEqual(kinds(lines), ["previous", "line", "moved", "missed", "ended"]);
  assert.ok(lines.isOfSeveral);
  assert.equal(lines.name(DB), "10.0.0.2");
  assert.equal(lines.name("d2e8f4a10b6c4973"), "d2e8f4a1");
});

test("lines are read aloud only while there are few", () => {
  const lines = new LogLines();
  assert.ok(lines.isCalm(0));

  for (const number of range(0, 4)) lines.receive(line(number), 1000 * number);
  assert.ok(lines.isCalm(3000));
  lines.receive(line(4), 3000);
  assert.ok(!lines.isCalm(3000));
  assert.ok(lines.isCalm(9000));
});

test("a log is narrowed to lines with all words and without those after a minus", () => {
  const entry = { kind: "line", ...line(1, { priority: 3, message: "GET /a?level=Error: 500" }) };
  const isShown = (query) => narrowing(query)(entry);

  for (const query of ["", " ", "error", "get 500", "docker[4711]", "err", "level=error:", "-"]) {
    assert.equal(isShown(query), query !== "-", query);
  }
  for (const query of ["404", "get 404", "-get", "500 -docker"]) assert.ok(!isShown(query), query);
  assert.ok(narrowing("nothing")({ kind: "moved", machine: DB }), "notes are always shown");
});

test("a program is named with its process, as far as they are known", () => {
  assert.equal(programOf({ identifier: "docker", pid: 4711 }), "docker[4711]");
  assert.equal(programOf({ identifier: "docker", pid: null }), "docker");
  assert.equal(programOf({ identifier: null, pid: 1 }), "[1]");
});
