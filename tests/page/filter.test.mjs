// What a filter finds.

import assert from "node:assert/strict";
import { test } from "node:test";

import {
  eventMatches,
  machineMatches,
  parseFilter,
  rowMatches,
  toggleTerm,
} from "../../src/page/filter.js";
import { DB, OLD, WEB, clusterOf, event, machine, names, unit, wrong } from "./clusters.mjs";

const cluster = clusterOf(
  [
    unit("api.service"),
    unit("cron.timer", DB, { sub: "waiting" }),
    unit("old.service", OLD),
    wrong("web.service", "machine_lost"),
  ],
  [machine(WEB, { metadata: "role=web,Region=us" }), machine(DB), machine(OLD)],
);

const found = (query) => names(cluster.rows.filter((row) => rowMatches(parseFilter(query), row)));

const EXPECTED = {
  "": "api.service cron.timer old.service web.service",
  ap: "api.service",
  API: "api.service",
  "what timer": "cron.timer",
  "state:active": "api.service cron.timer old.service web.service",
  "state:wait": "cron.timer",
  "state:active/run": "api.service old.service web.service",
  "verdict:machine-lost": "web.service",
  "verdict:machine_lost": "web.service",
  "machine:10.0.0.1": "api.service web.service",
  "machine:10.0.0.10": "old.service",
  "machine:10.0.0.": "api.service cron.timer old.service web.service",
  "machine:10.0.": "api.service cron.timer old.service web.service",
  "machine:9c4b": "cron.timer",
  "machine:9c4b7a2e…": "cron.timer",
  "machine:.": "",
  "machine:region=us": "api.service web.service",
  "machine:10.0.0.1 -verdict:machine_lost": "api.service",
  "-service": "cron.timer",
  "-": "",
  "state:": "",
};

for (const [query, expected] of Object.entries(EXPECTED)) {
  test(`the filter '${query}' finds '${expected}'`, () => assert.equal(found(query), expected));
}

test("an event is found by its text, its states and the unit's present verdict", () => {
  const failed = event(1, {
    unit: "web.service",
    machine: WEB,
    ip: "10.0.0.1",
    text: "web.service on 10.0.0.1: active/running → failed/failed",
    from: "active/running",
    to: "failed/failed",
  });
  const finds = (query) => eventMatches(parseFilter(query), failed, cluster);
  const positive = ["web", "state:failed", "state:running", "machine:10.0.0.1", "machine:region="];
  for (const query of [...positive, "verdict:machine_lost", WEB]) assert.ok(finds(query), query);
  for (const query of ["api", "state:waiting", "machine:10.0.0.2", "verdict:ok"]) {
    assert.ok(!finds(query), query);
  }
});

test("a machine is found by what is on its card", () => {
  const finds = (query) => machineMatches(parseFilter(query), machine(DB, { version: "0.11.8" }));
  for (const query of ["10.0.0.2", "0.11.8", "9c4b", "machine:role=9c"]) assert.ok(finds(query));
  for (const query of ["10.0.0.1", "state:active", "verdict:ok"]) assert.ok(!finds(query));
});

test("a chip replaces other states and verdicts, and its second click removes it", () => {
  assert.equal(toggleTerm("", "state:active"), "state:active");
  assert.equal(toggleTerm("web -verdict:ok", "state:active"), "web state:active");
  assert.equal(toggleTerm("web state:active", "state:active"), "web");
});
