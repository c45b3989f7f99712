// What a filter finds. The cases of the language are those of the server, too.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import {
  eventMatches,
  isAboutUnits,
  isFiltering,
  machineMatches,
  parseFilter,
  rowMatches,
  toggleTerm,
} from "../../src/page/filter.js";
import { readRow, rowKey } from "../../src/page/row.js";
import { WEB, clusterOf, event, machine, unit, wrong } from "./clusters.mjs";

const CASES = new URL("../fixtures/filter/cases.json", import.meta.url);
const { units, machines, events, cases, errors } = JSON.parse(readFileSync(CASES, "utf8"));

const rows = units.map(({ ip, metadata, ...unit }) => {
  const own = unit.machine && unit.verdict !== "machine_lost" ? { ip } : {};
  return readRow({ ...unit, ...own }, rowKey(unit.unit, unit.machine), { ip, metadata }, {});
});
const nothingKnown = clusterOf([], []);

for (const expected of cases) {
  test(`the filter '${expected.filter}' selects as on the server`, () => {
    const filter = parseFilter(expected.filter);
    assert.equal(filter.error, null);

    const found = rows.filter((row) => rowMatches(filter, row)).map((row) => row.unit);
    assert.deepEqual(found, expected.units);
    if (expected.machines) {
      const own = machines.filter((machine) => machineMatches(filter, machine));
      assert.deepEqual(own.map(({ machine }) => machine.slice(0, 4)), expected.machines);
    }
    if (expected.events) {
      const happened = events.filter((event) => eventMatches(filter, event, nothingKnown));
      assert.deepEqual(happened.map(({ event }) => event), expected.events);
    }
  });
}

for (const { filter, unknown, empty } of errors) {
  test(`the filter '${filter}' has an error, and its other words apply`, () => {
    const kind = unknown ? "unknown" : "empty";
    assert.deepEqual(parseFilter(filter).error, { kind, key: unknown ?? empty });

    const { required, excluded } = parseFilter(`web ${filter} -db`);
    assert.deepEqual(required, parseFilter("web").required);
    assert.deepEqual(excluded, parseFilter("-db").excluded);
  });
}

test("a filter of many stars is compared as fast as any other", () => {
  const slow = parseFilter(`unit:${"*a".repeat(100)}b`);
  const [row] = clusterOf([unit("a".repeat(200))]).rows;
  assert.equal(rowMatches(slow, row), false);
});

test("verdicts and metadata of an event are those that its unit and machine have now", () => {
  const cluster = clusterOf([wrong("web.service", "failed")], [machine(WEB)]);
  const failed = event(1, { unit: "web.service", machine: WEB });
  const gone = event(2, { unit: "old.service", machine: "away" });
  const finds = (query, happened) => eventMatches(parseFilter(query), happened, cluster);

  for (const query of ["verdict:failed", "meta:role=3f", "-verdict:ok"]) {
    assert.ok(finds(query, failed), query);
  }
  for (const query of ["verdict:ok", "meta:role=9c", "-meta:role"]) {
    assert.ok(!finds(query, failed), query);
  }
  assert.ok(finds("-meta:role", gone));
  assert.ok(!finds("verdict:ok", gone), "nothing is known of it any more");
});

test("a filter has terms, which may be about units", () => {
  assert.ok(!isFiltering(parseFilter("  ")));
  assert.ok(!isFiltering(parseFilter("stat:failed")));
  for (const query of ["web", "-web", "machine:10.0.0.1"]) {
    assert.ok(isFiltering(parseFilter(query)), query);
    assert.ok(!isAboutUnits(parseFilter(query)), query);
  }
  for (const query of ["state:failed", "-verdict:ok", "unit:web*"]) {
    assert.ok(isAboutUnits(parseFilter(query)), query);
  }
});

test("a chip replaces other states and verdicts, and its second click removes it", () => {
  assert.equal(toggleTerm("", "state:active"), "state:active");
  assert.equal(toggleTerm("web -verdict:ok", "state:active"), "web state:active");
  assert.equal(toggleTerm("web state:active", "state:active"), "web");
});
