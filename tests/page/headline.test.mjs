// The headline: what it is about.

import assert from "node:assert/strict";
import { test } from "node:test";

import { headline } from "../../src/page/headline.js";
import { VERDICTS } from "../../src/page/verdicts.js";
import {
  DB,
  WEB,
  clusterOf,
  failing,
  health,
  machine,
  submitted,
  unit,
  wrong,
} from "./clusters.mjs";

const fine = clusterOf([unit("web.service")]);

test("the worst verdict is the headline, with how many units have it", () => {
  const cluster = clusterOf([
    wrong("a.service", "stale"),
    wrong("b.service", "failed"),
    wrong("c.service", "failed"),
  ]);
  const { kind, title, rest, tone, glyph } = headline(cluster, health());
  assert.deepEqual([kind, tone, glyph], ["failed", "bad", "failed"]);
  assert.match(title, /\b2\b/);
  assert.match(rest, /\b1\b/);
});

test("each verdict has a headline of its own", () => {
  const verdicts = Object.keys(VERDICTS).filter((verdict) => verdict !== "ok");
  const titles = verdicts.map(
    (verdict) => headline(clusterOf([wrong("a.service", verdict)]), health()).title,
  );
  assert.equal(new Set(titles).size, verdicts.length);
});

test("a verdict that this page does not know is a warning", () => {
  const { kind, title, tone } = headline(clusterOf([wrong("a.service", "new_one")]), health());
  assert.deepEqual([kind, tone], ["new_one", "warn"]);
  assert.match(title, /new_one/);
});

test("without a wrong unit, lost machines come before silent ones", () => {
  const silent = machine(DB, { silent_since: 1 });
  const lost = machine(WEB, { lost_since: 1 });
  const kind = (...machines) =>
    headline(clusterOf([unit("a.service", "x")], machines), health()).kind;
  assert.equal(kind(silent), "machine_silent");
  assert.equal(kind(silent, lost), "machine_lost");
});

test("a cluster in which fleet wants nothing is empty, not fine", () => {
  assert.equal(headline(clusterOf([submitted("a.service")]), health()).kind, "empty");
  assert.equal(headline(fine, health()).kind, "ok");
});

test("before the first reading nothing is claimed about the cluster", () => {
  const unread = { units: { age: null } };
  assert.equal(headline(clusterOf([]), health("starting", unread)).kind, "no_data");
  const { kind, since } = headline(
    clusterOf([]),
    health("failing", { units: { ...failing(), age: null } }),
  );
  assert.deepEqual([kind, since], ["problem", 90_000]);
});

test("while units cannot be read, that is the headline, and what is known stands behind", () => {
  const all = { units: failing(), machines: failing(), unit_files: failing() };
  for (const doubtful of [health("failing", all), health("suspect"), health("overdue")]) {
    const { kind, since, rest, tone } = headline(fine, doubtful);
    assert.deepEqual([kind, since, tone], ["problem", 90_000, "warn"]);
    assert.notEqual(rest, "");
  }
  const failed = clusterOf([wrong("a.service", "failed")]);
  assert.equal(headline(failed, health("failing", all)).tone, "bad");
});

test("while another list cannot be read, the units stay the headline, as a warning", () => {
  const { kind, tone, glyph } = headline(fine, health("failing", { machines: failing() }));
  assert.deepEqual([kind, tone, glyph], ["ok", "warn", "warning"]);
});
