import assert from "node:assert/strict";
import { test } from "node:test";

globalThis.document = { getElementById: () => null };
const { eventAfter, eventBefore, placeAt, span } = await import("../../src/page/replay.js");

test("the place moves on at the rate of the recording, up to its end", () => {
  const replay = { position: 1000, end: 5000, rate: 2 };
  assert.equal(placeAt(replay, 500), 2000);
  assert.equal(placeAt(replay, 60_000), 5000);
  assert.equal(placeAt({ ...replay, rate: 0 }, 60_000), 1000);
});

test("a step leads to the next event, or to the one before", () => {
  const events = [1000, 5000, 9000];
  assert.equal(eventAfter(events, 1000), 5000);
  assert.equal(eventAfter(events, 9000), undefined);
  assert.equal(eventBefore(events, 5000, false), 1000);
  assert.equal(eventBefore(events, 1000, false), undefined);
});

test("a step back while it plays does not lead to the event that was just reached", () => {
  assert.equal(eventBefore([1000, 5000], 5800, true), 1000);
  assert.equal(eventBefore([1000, 5000], 7000, true), 5000);
});

test("a span is written with hours if it has any", () => {
  assert.equal(span(0), "0:00");
  assert.equal(span(123_400), "2:03");
  assert.equal(span(3_723_000), "1:02:03");
});
