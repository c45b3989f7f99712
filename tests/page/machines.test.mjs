// The cards of the machines.

import assert from "node:assert/strict";
import { test } from "node:test";

import { fleetVersions, machineCards, unitsThatRan } from "../../src/page/machines.js";
import { DB, OLD, WEB, clusterOf, machine, names, submitted, unit, wrong } from "./clusters.mjs";

const keys = (cards) => cards.map((card) => card.key);

test("lost machines come first, then silent ones, and units on none come last", () => {
  const cluster = clusterOf(
    [unit("web.service"), submitted("sub.service"), wrong("x.service", "machine_lost", "away")],
    [machine(WEB), machine(DB, { silent_since: 1 }), machine(OLD, { lost_since: 1 })],
  );
  const cards = machineCards(cluster, "");
  assert.deepEqual(keys(cards), [OLD, "away", DB, WEB, ""]);
  assert.ok(cards[1].isUnknown);
});

test("a card shows the worst unit first, and all its units count", () => {
  const cluster = clusterOf([
    unit("a.service"),
    wrong("b.service", "failed"),
    unit("c.service", DB),
  ]);
  const [web, db] = machineCards(cluster, "");
  assert.equal(names(web.found), "b.service a.service");
  assert.deepEqual([web.share, db.share], [1, 0.5]);
  assert.deepEqual(web.tones, [
    { tone: "bad", count: 1 },
    { tone: "good", count: 1 },
  ]);
});

test("a filter hides the machines that neither match nor have a unit that does", () => {
  const cluster = clusterOf([unit("web.service"), unit("db.service", DB)]);
  assert.deepEqual(keys(machineCards(cluster, "web")), [WEB]);
  const [card] = machineCards(cluster, "machine:role=9c");
  assert.equal(card.key, DB);
  assert.equal(card.units.length, 1);
});

test("the usual version is the most frequent one, and of two equal ones the newest", () => {
  const versions = (...given) =>
    fleetVersions(new Map(given.map((version, id) => [id, { version }]))).map(([one]) => one);
  assert.deepEqual(versions("0.9.2", "0.11.8", "0.9.2", undefined), ["0.9.2", "0.11.8"]);
  assert.deepEqual(versions("0.9.2", "0.11.8"), ["0.11.8", "0.9.2"]);

  const lost = new Map([[1, machine(WEB, { lost_since: 1 })]]);
  assert.deepEqual(fleetVersions(lost), []);
});

test("of a lost machine it is known which units ran there, and where they are now", () => {
  const ran = ["a.service", "b.service", "c.service", "d.service"];
  const cluster = clusterOf(
    [
      unit("a.service", WEB),
      unit("a.service", DB),
      wrong("b.service", "machine_lost", OLD),
      submitted("c.service"),
    ],
    [machine(WEB), machine(DB), machine(OLD, { lost_since: 1, ran })],
  );
  const [lost, web] = machineCards(cluster, "");

  assert.deepEqual(
    lost.moved.map(({ unit, names, key }) => [unit, names.join(), key !== null]),
    [
      ["a.service", "10.0.0.1,10.0.0.2", true],
      ["b.service", "", true],
      ["c.service", "", true],
      ["d.service", "", false],
    ],
  );
  assert.deepEqual(web.moved, []);
  assert.deepEqual(unitsThatRan(cluster.rows, { machine: OLD }), []);
});
