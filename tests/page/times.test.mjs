// Times as text, in each format.

import assert from "node:assert/strict";
import { test } from "node:test";

import {
  dateAndTime,
  inBothZones,
  inCell,
  inSentence,
  nextFormat,
  timeWithZone,
  withBothZones,
  zoneName,
} from "../../src/page/times.js";

const MINUTE = 60_000;
const DAY = 86_400_000;
const NOW = Date.UTC(2023, 10, 14, 22, 13, 20);

/** Runs a test for a viewer in a zone. */
function inZone(zone, run) {
  const before = process.env.TZ;
  process.env.TZ = zone;
  try {
    run();
  } finally {
    if (before === undefined) delete process.env.TZ;
    else process.env.TZ = before;
  }
}

const berlin = (run) => inZone("Europe/Berlin", run);

test("a sentence has the age, or the time with its zone", () => {
  const time = NOW - 2 * MINUTE;
  const forms = (format) =>
    ["for", "ago", "old"].map((wording) => inSentence(time, wording, true, NOW, format));
  berlin(() => {
    assert.deepEqual(forms("relative"), ["for 2 min", "2 min ago", "2 min old"]);
    assert.deepEqual(forms("local"), [
      "since 23:11:20 +01:00",
      "at 23:11:20 +01:00",
      "of 23:11:20 +01:00",
    ]);
    assert.deepEqual(forms("utc"), ["since 22:11:20 UTC", "at 22:11:20 UTC", "of 22:11:20 UTC"]);
  });
});

test("what was already so when the monitor started is at least so old in every format", () => {
  const time = NOW - 2 * MINUTE;
  berlin(() => {
    const forms = { relative: "for at least 2 min", utc: "since 22:11:20 UTC or earlier" };
    for (const [format, words] of Object.entries(forms)) {
      assert.equal(inSentence(time, "for", false, NOW, format), words);
    }
    const cells = { relative: "≥ 2 min", local: "≤ 23:11:20", utc: "≤ 22:11:20" };
    for (const [format, words] of Object.entries(cells)) {
      assert.equal(inCell(time, false, NOW, format), words);
    }
  });
});

test("a time has a date unless it is today's, and a day begins in the zone that is written", () => {
  const now = NOW + 60 * MINUTE;
  berlin(() => {
    assert.equal(timeWithZone(NOW, now, "local"), "2023-11-14 23:13:20 +01:00");
    assert.equal(timeWithZone(NOW, now, "utc"), "22:13:20 UTC");
    assert.deepEqual(withBothZones(NOW, now), ["2023-11-14 23:13:20 +01:00", "22:13:20 UTC"]);
  });
});

test("a time has the offset that its zone had then", () => {
  berlin(() => {
    assert.equal(dateAndTime(NOW - 30 * DAY, "local"), "2023-10-16 00:13:20 +02:00");
    assert.equal(zoneName(NOW, "local"), "+01:00");
  });
  inZone("America/St_Johns", () => assert.equal(zoneName(NOW, "local"), "-03:30"));
});

test("a viewer whose zone is UTC is told each time once", () => {
  inZone("UTC", () => {
    assert.deepEqual(inBothZones(NOW), ["2023-11-14 22:13:20 UTC"]);
    assert.deepEqual(withBothZones(NOW, NOW), ["22:13:20 UTC"]);
  });
  berlin(() => assert.equal(inBothZones(NOW).length, 2));
});

test("an old time in a cell is less exact", () => {
  const cells = { 0: "22:13:20", 1: "Nov 13 22:13", 365: "2022-11-14" };
  for (const [days, words] of Object.entries(cells)) {
    assert.equal(inCell(NOW - days * DAY, true, NOW, "utc"), words);
  }
});

test("what is no time is none, and breaks nothing", () => {
  assert.match(timeWithZone(NaN, NOW, "local"), /\?/);
});

test("the formats follow each other", () => {
  const next = ["relative", "local", "utc"].map(nextFormat);
  assert.deepEqual(next, ["local", "utc", "relative"]);
});
