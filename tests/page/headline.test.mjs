// The headline: what it is about.

import assert from "node:assert/strict";
import { test } from "node:test";

import { headline } from "../../src/page/headline.js";
import { VERDICTS } from "../../src/page/verdicts.js";
import { NEW_FOR } from "../../src/page/problems.js";
import {
  DB,
  WEB,
  clusterOf,
  expected,
  failed,
  failing,
  health,
  machine,
  submitted,
  unit,
  wrong,
} from "./clusters.mjs";

// What began at 1000 or later, as most of it here, is new at this time.
const NOW = NEW_FOR + 500;
const LATER = NOW + NEW_FOR;
const headlineOf = (cluster, source, now = NOW) => headline(cluster, source, now);

const fine = clusterOf([unit("web.service")]);

test("the worst verdict is the headline, with how many units have it", () => {
  const cluster = clusterOf([
    wrong("a.service", "stale"),
    wrong("b.service", "failed"),
    wrong("c.service", "failed", DB),
  ]);
  const { kind, title, rest, tone, glyph } = headlineOf(cluster, health());
  assert.deepEqual([kind, tone, glyph], ["failed", "bad", "failed"]);
  assert.match(title, /\b2\b/);
  assert.match(rest, /\b1\b/);
});

test("what is new leads, and what has been wrong for long stands behind with its age", () => {
  const cluster = clusterOf([failed("old.service", WEB, 1), wrong("new.service", "stale", DB)]);
  const shown = headlineOf(cluster, health());
  assert.deepEqual([shown.kind, shown.since], ["stale", null]);
  assert.deepEqual(shown.began, { since: 2000, isExact: true });
  assert.match(shown.lasting.words, /^1 unit .*failed/);
  assert.equal(shown.lasting.start.since, 1);
  assert.equal(shown.tone, "bad", "there is something bad");
});

test("what has been wrong for long is said to be so, with its age", () => {
  const cluster = clusterOf([failed("old.service", WEB, 1)]);
  const fresh = headlineOf(cluster, health(), 2);
  const old = headlineOf(cluster, health(), LATER);
  assert.deepEqual([fresh.kind, old.kind], ["failed", "failed"]);
  assert.notEqual(fresh.title, old.title);
  assert.deepEqual([fresh.since, old.since], [null, { since: 1, isExact: true }]);
  assert.equal(old.lasting, null);
});

test("several units of one cause are named with what they have in common", () => {
  const titleOf = (units, now) => headlineOf(clusterOf(units), health(), now).title;
  const together = ["a.service", "b.service", "c.service"].map((name) => failed(name, DB));
  const instances = [failed("web@1.service", WEB), failed("web@2.service", DB)];
  for (const now of [NOW, LATER]) {
    assert.match(titleOf(together, now), /^3 .*10\.0\.0\.2/);
    assert.match(titleOf(instances, now), /^2 .*web@\.service/);
  }
});

test("units that several machines have are counted together, unless most are on one", () => {
  const on = (id, count) =>
    Array.from({ length: count }, (_, number) => failed(`${id.slice(0, 2)}-${number}.service`, id));
  const titleOf = (units, now) => headlineOf(clusterOf(units), health(), now).title;
  for (const now of [NOW, LATER]) {
    assert.match(titleOf([...on(WEB, 5), ...on(DB, 5)], now), /^10 .*\b2 machines/);
    assert.match(titleOf([...on(WEB, 5), ...on(DB, 2)], now), /^5 .*10\.0\.0\.1/);
  }
});

test("a lost machine leads with its name and its units", () => {
  const units = ["a.service", "b.service"].map((name) => wrong(name, "machine_lost", DB));
  const lost = [machine(WEB), machine(DB, { lost_since: 2000 })];
  const cluster = clusterOf([...units, failed("c.service")], lost);
  const { kind, title, rest } = headlineOf(cluster, health());
  assert.equal(kind, "machine_lost");
  assert.match(title, /10\.0\.0\.2.*\b2\b/);
  assert.match(rest, /^also 1 /);
});

test("several machines that are lost at once are one sentence", () => {
  const lost = [WEB, DB].map((id) => machine(id, { lost_since: 2000 }));
  const units = [wrong("a.service", "machine_lost", WEB), wrong("b.service", "machine_lost", DB)];
  for (const now of [NOW, LATER]) {
    const { title, rest } = headlineOf(clusterOf(units, lost), health(), now);
    assert.match(title, /^2 machines.* 2 units/);
    assert.equal(rest, "");
  }
});

test("each verdict has a headline of its own", () => {
  const verdicts = Object.keys(VERDICTS).filter((verdict) => verdict !== "ok");
  const titles = verdicts.map(
    (verdict) => headlineOf(clusterOf([wrong("a.service", verdict)]), health()).title,
  );
  assert.equal(new Set(titles).size, verdicts.length);
});

test("a verdict that this page does not know is a warning", () => {
  const { kind, title, tone } = headlineOf(clusterOf([wrong("a.service", "new_one")]), health());
  assert.deepEqual([kind, tone], ["new_one", "warn"]);
  assert.match(title, /new_one/);
});

test("without a wrong unit, lost machines come before silent ones", () => {
  const silent = machine(DB, { silent_since: 1 });
  const lost = machine(WEB, { lost_since: 1 });
  const kind = (...machines) =>
    headlineOf(clusterOf([unit("a.service", "x")], machines), health()).kind;
  assert.equal(kind(silent), "machine_silent");
  assert.equal(kind(silent, lost), "machine_lost");
});

test("a cluster in which fleet wants nothing is empty, not fine", () => {
  assert.equal(headlineOf(clusterOf([submitted("a.service")]), health()).kind, "empty");
  assert.equal(headlineOf(fine, health()).kind, "ok");
});

test("a unit that is not reported yet is not in its desired state, nor a problem", () => {
  const some = headlineOf(clusterOf([unit("a.service"), expected("b.service")]), health());
  assert.equal(some.kind, "ok");
  assert.match(some.rest, /^1 /);
  const only = headlineOf(clusterOf([expected("b.service")]), health());
  assert.deepEqual([only.kind, only.tone], ["expected", "busy"]);
});

test("before the first reading nothing is claimed about the cluster", () => {
  const unread = { units: { age: null } };
  assert.equal(headlineOf(clusterOf([]), health("starting", unread)).kind, "no_data");
  const { kind, since } = headlineOf(
    clusterOf([]),
    health("failing", { units: { ...failing(), age: null } }),
  );
  assert.deepEqual([kind, since.since], ["problem", 90_000]);
});

test("while units cannot be read, that is the headline, and what is known stands behind", () => {
  const all = { units: failing(), machines: failing(), unit_files: failing() };
  for (const doubtful of [health("failing", all), health("suspect"), health("overdue")]) {
    const { kind, since, rest, tone } = headlineOf(fine, doubtful);
    assert.deepEqual([kind, since.since, tone], ["problem", 90_000, "warn"]);
    assert.notEqual(rest, "");
  }
  const broken = clusterOf([wrong("a.service", "failed")]);
  assert.equal(headlineOf(broken, health("failing", all)).tone, "bad");
});

test("while another list cannot be read, the units stay the headline, as a warning", () => {
  const { kind, tone, glyph } = headlineOf(fine, health("failing", { machines: failing() }));
  assert.deepEqual([kind, tone, glyph], ["ok", "warn", "warning"]);
});
