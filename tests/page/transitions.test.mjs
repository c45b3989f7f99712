// Since when the events are complete.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Cluster } from "../../src/page/cluster.js";
import { endOfEvents } from "../../src/page/transitions.js";
import { HISTORY } from "../../src/page/words.js";
import { event, health, snapshot } from "./clusters.mjs";

function clusterWith(events, events_since) {
  const cluster = new Cluster();
  const status = { type: "status", health: { ...health(), events_since } };
  cluster.apply([...snapshot([], [], events), status]);
  return cluster;
}

test("all events are known since everything was read, if the first one is there", () => {
  const expected = { time: 500, isDropped: false };
  assert.deepEqual(clusterWith([], 500).transitions.beginning, expected);
  const events = [event(1, { time: 600 }), event(2, { time: 700 })];
  assert.deepEqual(clusterWith(events, 500).transitions.beginning, expected);
});

test("if the first event is no longer there, they are known from the oldest one on", () => {
  const { transitions } = clusterWith([event(4, { time: 600 }), event(5, { time: 700 })], 500);
  assert.deepEqual(transitions.beginning, { time: 600, isDropped: true });
});

test("events that the page itself drops count as dropped", () => {
  const cluster = clusterWith([], 500);
  for (let number = 1; number <= 1001; number++) {
    cluster.apply([event(number, { time: 1000 + number })]);
  }
  assert.deepEqual(cluster.transitions.beginning, { time: 1002, isDropped: true });
});

test("after a new beginning, older events say nothing about it", () => {
  const { transitions } = clusterWith([event(4, { time: 300 })], 500);
  assert.deepEqual(transitions.beginning, { time: 500, isDropped: false });
});

test("before everything was read, no time is known", () => {
  assert.equal(clusterWith([event(1)], undefined).transitions.beginning, null);
});

test("a list without events never says that nothing happened when that is unknown", () => {
  assert.equal(endOfEvents(null, true), HISTORY.noneKnown);
  assert.equal(endOfEvents(null, false), null);
  assert.equal(endOfEvents({ time: 1, isDropped: true }, true), HISTORY.noneAfter);
  assert.equal(endOfEvents({ time: 1, isDropped: false }, true), HISTORY.noneSince);
  assert.equal(endOfEvents({ time: 1, isDropped: true }, false), HISTORY.completeAfter);
  assert.equal(endOfEvents({ time: 1, isDropped: false }, false), HISTORY.completeSince);
});
