// What screen readers announce.

import assert from "node:assert/strict";
import { test } from "node:test";

import { healthAnnouncement, unitsAnnouncement } from "../../src/page/announcement.js";
import { clusterOf, health, unit, wrong } from "./clusters.mjs";

const wrongOf = (...units) => clusterOf(units).wrong;

const many = (count, make) =>
  Array.from({ length: count }, (_, number) => make(`app-${number}.service`));

test("a unit is announced when it gets a problem, another one, and when it recovers", () => {
  const failed = wrongOf(wrong("web.service", "failed"));
  const stale = wrongOf(wrong("web.service", "stale"));
  const sentences = [
    unitsAnnouncement([], failed),
    unitsAnnouncement(failed, stale),
    unitsAnnouncement(stale, []),
  ];
  for (const sentence of sentences) assert.match(sentence, /web\.service.* 10\.0\.0\.1/);
  assert.equal(new Set(sentences).size, 3);
});

test("nothing is announced while nothing changes", () => {
  const before = wrongOf(wrong("web.service", "failed"));
  const after = wrongOf(wrong("web.service", "failed"), unit("api.service"));
  assert.equal(unitsAnnouncement(before, before), "");
  assert.equal(unitsAnnouncement(before, after), "");
});

test("of many units only the number is announced", () => {
  const failed = wrongOf(...many(4, (name) => wrong(name, "failed")));
  for (const sentence of [unitsAnnouncement([], failed), unitsAnnouncement(failed, [])]) {
    assert.match(sentence, /\b4\b/);
    assert.doesNotMatch(sentence, /app-/);
  }
  const few = wrongOf(...many(3, (name) => wrong(name, "failed")));
  assert.match(unitsAnnouncement([], few), /app-0.*app-1.*app-2/);
});

test("a problem of the source is announced when it begins and when it is over", () => {
  assert.notEqual(healthAnnouncement(health(), health("suspect")), "");
  assert.notEqual(healthAnnouncement(health("suspect"), health()), "");
  assert.notEqual(healthAnnouncement(health(), health("ended")), "");
  assert.equal(healthAnnouncement(health("starting"), health()), "");
  assert.equal(healthAnnouncement(health("suspect"), health("suspect")), "");
  assert.equal(healthAnnouncement(null, health("suspect")), "");
});
