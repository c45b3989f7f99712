// The order of rows.

import assert from "node:assert/strict";
import { test } from "node:test";

import { COLUMNS, ipNumber, nextSort, parseSort, sortEntries } from "../../src/page/sorting.js";
import { DB, OLD, WEB, clusterOf, machine, names, unit, wrong } from "./clusters.mjs";

const rows = () =>
  clusterOf(
    [
      unit("app-10.service", OLD, { since: 3 }),
      unit("app-2.service", DB, { since: 1 }),
      wrong("web.service", "ghost"),
      wrong("zoo.service", "failed"),
    ],
    [machine(WEB), machine(DB), machine(OLD)],
  ).rows;

const EXPECTED = {
  unit: "app-2.service app-10.service web.service zoo.service",
  "-unit": "zoo.service web.service app-10.service app-2.service",
  verdict: "zoo.service web.service app-2.service app-10.service",
  machine: "web.service zoo.service app-2.service app-10.service",
  since: "app-2.service app-10.service web.service zoo.service",
  nonsense: "zoo.service web.service app-2.service app-10.service",
};

for (const [sort, expected] of Object.entries(EXPECTED)) {
  test(`sorted by '${sort}'`, () => assert.equal(names(sortEntries(rows(), sort)), expected));
}

test("whatever is no IPv4 address is after those that are", () => {
  assert.ok(ipNumber("10.0.0.2") < ipNumber("10.0.0.10"));
  for (const other of [undefined, "", "fe80::1", "host"]) {
    assert.ok(ipNumber("255.255.255.255") < ipNumber(other));
    assert.equal(ipNumber(other) - ipNumber(undefined), 0);
  }
});

test("a second click on a title reverses the order", () => {
  for (const column of COLUMNS) {
    const first = nextSort(column, parseSort("-state"));
    const second = nextSort(column, parseSort(first));
    assert.deepEqual([first, second].sort(), [`-${column.name}`, column.name]);
    assert.equal(first.startsWith("-"), column.newestFirst ?? false);
    assert.equal(nextSort(column, parseSort(second)), first);
  }
});

test("sorted by name, no row moves when states change, not even among names that look equal", () => {
  const all = ["app-01.service", "app-1.service", "app-001.service", "b.service"];
  const cluster = clusterOf(all.flatMap((name) => [unit(name, DB), unit(name, OLD)]));
  const keys = () => sortEntries([...cluster.rows], "unit").map((row) => row.key);
  const before = keys();

  const changes = [
    [wrong("app-1.service", "failed", OLD)],
    all.map((name) => wrong(name, "crash_loop", DB)),
    // So many that all rows are sorted again.
    Array.from({ length: 200 }, (_, number) => unit(`z-${number}.service`)),
  ];
  for (const upsert of changes) {
    cluster.apply([{ type: "delta", topic: "units", upsert, remove: [] }]);
    assert.deepEqual(keys().slice(0, before.length), before);
  }

  const removed = { unit: "app-01.service" };
  const remove = [DB, OLD].map((machine) => ({ ...removed, machine }));
  cluster.apply([{ type: "delta", topic: "units", upsert: [], remove }]);
  const upsert = [DB, OLD].map((id) => unit("app-01.service", id));
  cluster.apply([{ type: "delta", topic: "units", upsert, remove: [] }]);
  assert.deepEqual(keys().slice(0, before.length), before);
});
