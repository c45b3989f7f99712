// The events of open rows: what is requested, what arrives, and what is done without an answer.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Histories } from "../../src/page/histories.js";
import { DB, WEB, clusterOf, event, unit } from "./clusters.mjs";

const row = { ...unit("web.service"), key: `web.service/${WEB}` };
const changed = (number, fields) => event(number, { unit: "web.service", machine: WEB, ...fields });
const numbers = ({ events }) => events.map(({ number }) => number);

/** Histories whose requests are answered by the test. */
function asked() {
  const requests = [];
  let changes = 0;
  const request = (...wanted) =>
    new Promise((resolve, reject) => requests.push({ wanted, resolve, reject }));
  const histories = new Histories(request, () => changes++);
  histories.add([{ type: "hello", epoch: "e" }]);

  const answer = async (events, fields = {}) => {
    requests.at(-1).resolve({ complete_since: 5, dropped: false, events, ...fields });
    await new Promise(setImmediate);
  };
  return { histories, requests, answer, changes: () => changes };
}

test("the events of a row are requested once, and then added as they arrive", async () => {
  const { histories, requests, answer, changes } = asked();
  const cluster = clusterOf([unit("web.service")], [], [changed(7)]);

  const first = histories.of(row, cluster);
  assert.deepEqual([numbers(first), first.isPending], [[7], true]);
  assert.deepEqual(requests[0].wanted, ["web.service", WEB]);
  histories.add([changed(8)]);
  await answer([changed(3), changed(7), changed(8)]);
  assert.equal(changes(), 1);

  histories.add([changed(9), changed(10, { unit: "db.service" }), changed(11, { machine: DB })]);
  const known = histories.of(row, cluster);
  assert.deepEqual(numbers(known), [9, 8, 7, 3]);
  assert.deepEqual(known.beginning, { time: 5, isDropped: false });
  assert.deepEqual([known.isPending, requests.length], [false, 1]);
});

test("without an answer, the newest events of the cluster are shown", async () => {
  const { histories, requests } = asked();
  const cluster = clusterOf([unit("web.service")], [], [changed(7), changed(8, { machine: DB })]);
  histories.of(row, cluster);
  requests[0].reject(new Error("no server"));
  await new Promise(setImmediate);

  const known = histories.of(row, cluster);
  assert.deepEqual([numbers(known), known.isPending], [[7], false]);
  assert.equal(requests.length, 1, "it is not asked again and again");
  histories.add([changed(9)]);
  histories.of(row, cluster);
  assert.equal(requests.length, 2, "but when something happens");
});

test("after a gap the events are requested again, and shown until the answer comes", async () => {
  const { histories, requests, answer } = asked();
  const cluster = clusterOf([unit("web.service")]);
  histories.of(row, cluster);
  await answer([changed(3)]);

  histories.add([{ type: "snapshot", topic: "events", rows: [] }]);
  assert.deepEqual(numbers(histories.of(row, cluster)), [3]);
  assert.equal(requests.length, 2);
  await answer([changed(3), changed(4)]);
  assert.deepEqual(numbers(histories.of(row, cluster)), [4, 3]);
});

test("events of another run of the server are forgotten", async () => {
  const { histories, requests, answer } = asked();
  const cluster = clusterOf([unit("web.service")]);
  histories.of(row, cluster);
  await answer([changed(300)]);

  histories.add([{ type: "hello", epoch: "other" }]);
  assert.deepEqual(numbers(histories.of(row, cluster)), []);
  await answer([changed(1)]);
  histories.add([changed(2)]);
  assert.deepEqual(numbers(histories.of(row, cluster)), [2, 1]);
  assert.equal(requests.length, 2);
});

test("a row that was closed is forgotten, and requested again when it is opened", async () => {
  const { histories, requests, answer } = asked();
  const cluster = clusterOf([unit("web.service")]);
  histories.of(row, cluster);
  await answer([changed(3)]);
  histories.keep(new Set());
  assert.ok(histories.of(row, cluster).isPending);
  assert.equal(requests.length, 2);
});

test("a unit that changes often while its row is open does not fill the memory", async () => {
  const { histories, requests, answer } = asked();
  const cluster = clusterOf([unit("web.service")]);
  histories.of(row, cluster);
  await answer([]);
  for (let number = 1; number <= 51; number++) histories.add([changed(number)]);
  histories.of(row, cluster);
  assert.equal(requests.length, 2);
  await answer([changed(51)], { dropped: true });
  assert.deepEqual(numbers(histories.of(row, cluster)), [51]);
});

test("a service with a timer is started by another unit", () => {
  const { histories } = asked();
  assert.ok(!histories.of(row, clusterOf([unit("web.service")])).isStarted);
  const withTimer = clusterOf([unit("web.service"), unit("web.timer")]);
  assert.ok(histories.of(row, withTimer).isStarted);
});
