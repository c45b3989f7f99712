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
  machineProblem,
  placeProblem,
  sourceProblem,
  submitted,
  templateProblem,
  troubled,
  unit,
  unitProblem,
  wrong,
} from "./clusters.mjs";

// What began at 1000 or later, as most of it here, is new at this time.
const NOW = NEW_FOR + 500;
const LATER = NOW + NEW_FOR;
const headlineOf = (cluster, source = health(), now = NOW, muted = new Set()) =>
  headline(cluster, source, now, muted);

const fine = clusterOf([unit("web.service")]);

/** A cluster in which each of these units is a problem of its own. */
const each = (units, ...more) =>
  troubled(
    units,
    units.map((unit) => unitProblem(unit)),
    ...more,
  );

test("the worst verdict is the headline, with how many units have it", () => {
  const cluster = each([
    wrong("a.service", "stale"),
    wrong("b.service", "failed"),
    wrong("c.service", "failed", DB),
  ]);
  const { kind, title, rest, tone, glyph } = headlineOf(cluster);
  assert.deepEqual([kind, tone, glyph], ["failed", "bad", "failed"]);
  assert.match(title, /\b2\b/);
  assert.match(rest, /\b1\b/);
});

test("what is new leads, and what has been wrong for long stands behind with its age", () => {
  const cluster = each([failed("old.service", WEB, 1), wrong("new.service", "stale", DB)]);
  const shown = headlineOf(cluster);
  assert.deepEqual([shown.kind, shown.since], ["stale", null]);
  assert.deepEqual(shown.began, { since: 2000, isExact: true });
  assert.match(shown.lasting.words, /^1 unit .*failed/);
  assert.equal(shown.lasting.start.since, 1);
  assert.equal(shown.tone, "bad", "there is something bad");
});

test("what has been wrong for long is said to be so, with its age", () => {
  const cluster = each([failed("old.service", WEB, 1)]);
  const fresh = headlineOf(cluster, health(), 2);
  const old = headlineOf(cluster, health(), LATER);
  assert.deepEqual([fresh.kind, old.kind], ["failed", "failed"]);
  assert.notEqual(fresh.title, old.title);
  assert.deepEqual([fresh.since, old.since], [null, { since: 1, isExact: true }]);
  assert.equal(old.lasting, null);
});

test("a unit that has just become wrong is no problem, and the cluster is not fine", () => {
  const units = [failed("a.service"), unit("b.service"), unit("c.service")];
  const shown = headlineOf(clusterOf(units));
  assert.deepEqual([shown.kind, shown.tone], ["waiting", "busy"]);
  assert.match(shown.title, /^2 of 3 units/);
  assert.match(shown.waiting, /\b1 failed/);
});

test("what has just become wrong does not change the title beside problems", () => {
  const [old, blink] = [failed("a.service"), failed("b.service", DB)];
  const before = headlineOf(troubled([old, unit("b.service", DB)], [unitProblem(old)]));
  const during = headlineOf(troubled([old, blink], [unitProblem(old)]));
  assert.deepEqual([during.title, during.rest, during.tone], [before.title, before.rest, "bad"]);
  assert.deepEqual([before.waiting, during.waiting.match(/\d/g)], ["", ["1"]]);
});

test("a machine that has just been lost is not fine either", () => {
  const shown = headlineOf(clusterOf([unit("a.service")], [machine(DB, { lost_since: 2000 })]));
  assert.deepEqual([shown.kind, shown.tone], ["waiting", "busy"]);
  assert.match(shown.waiting, /1 machine lost/);
});

const keysOf = (cluster) => cluster.problemsAt(NOW).causes.map(({ key }) => key);

test("what is muted leaves the headline, and is counted behind it", () => {
  const cluster = each([failed("a.service"), wrong("b.service", "stale", DB)]);
  const [worst] = keysOf(cluster);
  const { kind, tone, rest, muted } = headlineOf(cluster, health(), NOW, new Set([worst]));
  assert.deepEqual([kind, tone, rest], ["stale", "warn", ""]);
  assert.match(muted, /^1 /);
  assert.equal(headlineOf(cluster).muted, "");
});

test("when everything is muted the headline says so, and not that all is fine", () => {
  const bad = [failed("a.service"), wrong("b.service", "stale", DB)];
  const problems = bad.map((unit) => unitProblem(unit));
  const cluster = troubled([...bad, unit("c.service")], problems);
  const shown = headlineOf(cluster, health(), NOW, new Set(keysOf(cluster)));
  assert.deepEqual([shown.kind, shown.tone], ["muted", "idle"]);
  assert.match(shown.title, /^2 problems/);
  assert.match(shown.rest, /^1 of 3 units/);
});

test("several units of one cause are named with what they have in common", () => {
  const titleOf = (units, problem, now) =>
    headlineOf(troubled(units, [problem]), health(), now).title;
  const together = ["a.service", "b.service", "c.service"].map((name) => failed(name, DB));
  const instances = [failed("web@1.service", WEB), failed("web@2.service", DB)];
  for (const now of [NOW, LATER]) {
    assert.match(titleOf(together, placeProblem(together), now), /^3 .*10\.0\.0\.2/);
    const template = templateProblem("web@.service", instances);
    assert.match(titleOf(instances, template, now), /^2 .*web@\.service/);
  }
});

test("units that several machines have are counted together, unless most are on one", () => {
  const on = (id, count) =>
    Array.from({ length: count }, (_, number) => failed(`${id.slice(0, 2)}-${number}.service`, id));
  const titleOf = (groups, now) => {
    const problems = groups.map((units) => placeProblem(units));
    return headlineOf(troubled(groups.flat(), problems), health(), now).title;
  };
  for (const now of [NOW, LATER]) {
    assert.match(titleOf([on(WEB, 5), on(DB, 5)], now), /^10 .*\b2 machines/);
    assert.match(titleOf([on(WEB, 5), on(DB, 2)], now), /^5 .*10\.0\.0\.1/);
    assert.match(titleOf([on(WEB, 50), on(DB, 50)], now), /^100 .*\b2 machines/);
  }
});

test("a lost machine leads with its name and its units", () => {
  const units = ["a.service", "b.service"].map((name) => wrong(name, "machine_lost", DB));
  const lost = machine(DB, { lost_since: 2000 });
  const other = failed("c.service");
  const problems = [machineProblem(lost, units), unitProblem(other)];
  const cluster = troubled([...units, other], problems, [machine(WEB), lost]);
  const { kind, title, rest } = headlineOf(cluster);
  assert.equal(kind, "machine_lost");
  assert.match(title, /10\.0\.0\.2.*\b2\b/);
  assert.match(rest, /^also 1 /);
});

test("several machines that are lost at once are one sentence", () => {
  const lost = [WEB, DB].map((id) => machine(id, { lost_since: 2000 }));
  const units = [wrong("a.service", "machine_lost", WEB), wrong("b.service", "machine_lost", DB)];
  const problems = lost.map((machine, index) => machineProblem(machine, [units[index]]));
  for (const now of [NOW, LATER]) {
    const { title, rest } = headlineOf(troubled(units, problems, lost), health(), now);
    assert.match(title, /^2 machines.* 2 units/);
    assert.equal(rest, "");
  }
});

test("each verdict has a headline of its own", () => {
  const verdicts = Object.keys(VERDICTS).filter((verdict) => verdict !== "ok");
  const titles = verdicts.map(
    (verdict) => headlineOf(each([wrong("a.service", verdict)])).title,
  );
  assert.equal(new Set(titles).size, verdicts.length);
});

test("a verdict that this page does not know is a warning", () => {
  const { kind, title, tone } = headlineOf(each([wrong("a.service", "new_one")]));
  assert.deepEqual([kind, tone], ["new_one", "warn"]);
  assert.match(title, /new_one/);
});

test("without a wrong unit, lost machines come before silent ones", () => {
  const silent = machine(DB, { silent_since: 1 });
  const lost = machine(WEB, { lost_since: 1 });
  const kind = (...machines) => {
    const problems = machines.map((machine) => machineProblem(machine));
    return headlineOf(troubled([unit("a.service", "x")], problems, machines)).kind;
  };
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
  const unread = troubled([unit("web.service")], [sourceProblem()]);
  for (const doubtful of [health("failing", all), health("suspect"), health("overdue")]) {
    const { kind, since, rest, tone } = headlineOf(unread, doubtful);
    assert.deepEqual([kind, since.since, tone], ["problem", 90_000, "bad"]);
    assert.notEqual(rest, "");
  }
});

test("a source that fails for a moment leaves the headline in its place", () => {
  const all = { units: failing(), machines: failing(), unit_files: failing() };
  for (const doubtful of [health("failing", all), health("suspect"), health("overdue")]) {
    const { kind, title, rest, tone, glyph } = headlineOf(fine, doubtful);
    assert.deepEqual([kind, tone, glyph], ["ok", "warn", "warning"]);
    assert.equal(title, headlineOf(fine).title);
    assert.notEqual(rest, "");
  }
});

test("a source that is muted is doubtful behind what is known, which is not called fine", () => {
  const unread = troubled([unit("web.service")], [sourceProblem("source_suspect")]);
  const shown = headlineOf(unread, health("suspect"), NOW, new Set(["source_suspect/"]));
  assert.deepEqual([shown.kind, shown.tone], ["muted", "warn"]);
  assert.match(shown.title, /^1 problem/);
  assert.match(shown.rest, /list of units/);
});

test("while another list cannot be read, the units stay the headline, as a warning", () => {
  const machines = health("failing", { machines: failing() });
  const moment = headlineOf(fine, machines);
  assert.deepEqual([moment.kind, moment.tone, moment.glyph], ["ok", "warn", "warning"]);
  const lasting = headlineOf(troubled([unit("web.service")], [sourceProblem()]), machines);
  assert.deepEqual([lasting.kind, lasting.tone, lasting.glyph], ["ok", "warn", "warning"]);
});
