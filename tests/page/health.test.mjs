// What the page makes of the state of the source.

import assert from "node:assert/strict";
import { test } from "node:test";

import { ageOfData, failures, healthSignature, problem } from "../../src/page/health.js";
import { failing, health } from "./clusters.mjs";

const listsOf = ({ old }) => old.map(({ list }) => list);

const connection = { isLive: true, now: 103_000, silence: 3_000 };

test("lists that fail for the same reason are one failure", () => {
  const some = health("failing", {
    units: failing("a"),
    machines: failing("b"),
    unit_files: failing("a"),
  });
  assert.deepEqual(failures(some), [
    { lists: ["units", "unit_files"], reason: "a" },
    { lists: ["machines"], reason: "b" },
  ]);
  assert.deepEqual(failures(health()), []);
});

test("only a source that fails, lags or is suspect is a problem", () => {
  for (const state of ["starting", "ok", "ended"])
    assert.equal(problem(health(state)), null, state);
  const problems = [
    health("suspect"),
    health("overdue"),
    health("failing", { machines: failing() }),
    health("failing", { units: failing(), machines: failing(), unit_files: failing() }),
  ].map(problem);
  assert.ok(problems.every(Boolean));
  assert.equal(new Set(problems).size, problems.length);
});

test("the signature changes with what is drawn, and not with ages", () => {
  const older = health("ok", { units: { age: 5 } });
  assert.equal(healthSignature(older), healthSignature(health()));
  const others = [health("suspect"), health("ok", { units: { age: null } })];
  for (const other of others) assert.notEqual(healthSignature(other), healthSignature(health()));
  assert.equal(healthSignature(null), null);
});

test("data are up to date until the server has been silent for long", () => {
  assert.deepEqual(listsOf(ageOfData(health(), connection)), []);
  const silent = ageOfData(health(), { ...connection, silence: 900_000 });
  assert.deepEqual(listsOf(silent), ["units"]);
  assert.equal(Math.round((connection.now - silent.old[0].since) / 60_000), 15);
  const disconnected = ageOfData(health(), { ...connection, isLive: false });
  assert.deepEqual(listsOf(disconnected), ["units"]);
});

test("nothing is up to date while anything fails or is doubtful", () => {
  const good = ageOfData(health(), connection).words;
  assert.notEqual(good, "");
  for (const state of ["suspect", "overdue", "starting", "ended"]) {
    const doubtful = ageOfData(health(state), connection);
    assert.deepEqual(doubtful, { words: "", old: [] }, state);
  }
  const some = health("failing", { machines: { ...failing(), age: 7 } });
  assert.ok(!ageOfData(some, connection).words.includes(good));
});

test("a list that fails while the units are read has an age of its own", () => {
  const some = health("failing", { machines: { ...failing(), age: 7 } });
  const { old } = ageOfData(some, connection);
  assert.deepEqual(
    old.map(({ list, since }) => [list, since]),
    [["machines", connection.now - 10_000]],
  );
});

test("a list that was never read has no age", () => {
  const some = health("failing", { machines: { ...failing(), age: null } });
  assert.deepEqual(ageOfData(some, connection).old, []);
  assert.deepEqual(ageOfData(health("failing", { units: { age: null } }), connection).old, []);
  assert.deepEqual(ageOfData(null, connection).old, []);
});
