// Links to units that are not where the link says.

import assert from "node:assert/strict";
import { test } from "node:test";

import { followKeys, missingUnits, withoutUnit } from "../../src/page/links.js";
import { DB, OLD, WEB, clusterOf, submitted, unit } from "./clusters.mjs";

const follow = (cluster, ...keys) => {
  const { open, moved } = followKeys(new Set(keys), cluster);
  return { open: [...open], moved: [...moved] };
};

test("a key of a row that is there stays as it is", () => {
  const key = `web.service/${WEB}`;
  const cluster = clusterOf([unit("web.service", WEB), unit("web.service", DB)]);
  assert.deepEqual(follow(cluster, key), { open: [key], moved: [] });
});

test("a unit that has moved is opened where it is now", () => {
  const now = `web.service/${DB}`;
  const cluster = clusterOf([unit("web.service", DB), unit("api.service")]);
  assert.deepEqual(follow(cluster, `web.service/${WEB}`), { open: [now], moved: [[now, WEB]] });
});

test("of two machines that report a unit, its target is the one where it is", () => {
  const cluster = clusterOf([unit("web.service", OLD, { target: DB }), unit("web.service", DB)]);
  assert.deepEqual(follow(cluster, `web.service/${WEB}`).open, [`web.service/${DB}`]);
});

test("a unit that is on no machine now is opened there, and one that was on none where it is", () => {
  const nowhere = clusterOf([submitted("web.service")]);
  assert.deepEqual(follow(nowhere, `web.service/${WEB}`).moved, [["web.service/", WEB]]);

  const key = `web.service/${WEB}`;
  const somewhere = clusterOf([unit("web.service")]);
  assert.deepEqual(follow(somewhere, "web.service/").moved, [[key, ""]]);
});

test("a global unit that is on several other machines is opened as a group", () => {
  const rows = [WEB, DB].map((id) => unit("agent.service", id, { global: true }));
  const moved = [["agent.service/*", OLD]];
  const expected = { open: ["agent.service/*"], moved };
  assert.deepEqual(follow(clusterOf(rows), `agent.service/${OLD}`), expected);
});

test("a unit that is nowhere in the cluster is missing, until it is there", () => {
  const key = `gone.service/${WEB}`;
  const cluster = clusterOf([unit("web.service")]);
  assert.deepEqual(follow(cluster, key), { open: [key], moved: [] });
  const open = new Set([key, `gone.service/${DB}`, "lost.service/*", `web.service/${WEB}`]);
  assert.deepEqual(missingUnits(open, cluster), ["gone.service", "lost.service"]);
  assert.deepEqual([...withoutUnit(open, "gone.service")], ["lost.service/*", `web.service/${WEB}`]);
});
