// The badge: how far the page can be relied on.

import assert from "node:assert/strict";
import { test } from "node:test";

import { badge } from "../../src/page/badge.js";
import { failing, health } from "./clusters.mjs";

const LIVE = { kind: "live", reason: "" };
const TIMES = { now: 103_000, silence: 3_000 };

const badgeOf = (source, { link = LIVE, ...times } = {}) =>
  badge(link, source, { ...TIMES, ...times });

const kindOf = (...given) => badgeOf(...given).kind;

const all = { units: failing(), machines: failing(), unit_files: failing() };

test("it is live only while fleet is read, and its list is trusted", () => {
  assert.deepEqual([kindOf(health()), badgeOf(health()).tone], ["live", "good"]);
  const doubtful = {
    failing: "stale",
    overdue: "stale",
    suspect: "suspect",
    starting: "starting",
  };
  for (const [state, kind] of Object.entries(doubtful)) {
    const { kind: shown, tone } = badgeOf(health(state, state === "failing" ? all : {}));
    assert.equal(shown, kind);
    assert.notEqual(tone, "good");
  }
});

test("what is stale or suspect says since when", () => {
  for (const source of [health("failing", all), health("overdue"), health("suspect")]) {
    assert.equal(badgeOf(source).since, TIMES.now - 13_000);
  }
  assert.equal(badgeOf(health()).since, null);
});

test("a list that fails while the units are read is not the whole", () => {
  const some = badgeOf(health("failing", { machines: failing() }));
  assert.equal(some.kind, "stale");
  assert.notEqual(some.words, badgeOf(health("failing", all)).words);
  const unread = badgeOf(health("failing", { units: { ...failing(), age: null } }));
  assert.notEqual(unread.words, badgeOf(health("failing", all)).words);
});

test("a server that is silent makes all stale", () => {
  const silent = badgeOf(health(), { silence: 21_000 });
  assert.equal(silent.kind, "stale");
  assert.equal(silent.since, TIMES.now - 21_000);
});

test("a recording is not live, and its outages are shown as those of a cluster", () => {
  const recorded = (state, lists) => ({ ...health(state, lists), recording: true });
  assert.equal(kindOf(recorded("ok")), "recording");
  assert.equal(kindOf(recorded("ended")), "ended");
  assert.equal(kindOf(recorded("failing", all)), "stale");
});

test("without a connection, that is the badge, whatever the source was", () => {
  for (const kind of ["connecting", "disconnected", "token", "refused"]) {
    const link = { kind, reason: "the reason" };
    for (const source of [null, health(), health("suspect")]) {
      assert.equal(kindOf(source, { link }), kind);
    }
  }
  const link = { kind: "disconnected", reason: "the reason" };
  assert.equal(badgeOf(health(), { link, silence: 7_000 }).since, TIMES.now - 7_000);
  assert.equal(badgeOf(null, { link }).since, null);
  assert.match(badgeOf(health(), { link }).note, /the reason/i);
});

test("polling is shown whatever the data are", () => {
  const link = { ...LIVE, polling: true };
  for (const source of [health(), health("suspect"), health("failing", all)]) {
    const { isPolling, note } = badgeOf(source, { link });
    assert.ok(isPolling && !badgeOf(source).isPolling);
    assert.ok(note);
  }
});
