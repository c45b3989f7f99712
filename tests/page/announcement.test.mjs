// What screen readers announce.

import assert from "node:assert/strict";
import { test } from "node:test";

import { healthAnnouncement, problemsAnnouncement } from "../../src/page/announcement.js";
import { failed, health, sourceProblem, unitProblem } from "./clusters.mjs";

const many = (count) =>
  Array.from({ length: count }, (_, number) => unitProblem(failed(`app-${number}.service`)));

test("a problem is announced when it has begun, and when it is over", () => {
  const problems = [unitProblem(failed("web.service"), { text: "web.service failed" })];
  const sentences = [problemsAnnouncement(problems, []), problemsAnnouncement([], problems)];
  for (const sentence of sentences) assert.match(sentence, /web\.service failed/);
  assert.notEqual(...sentences);
  assert.equal(problemsAnnouncement([], []), "");
});

test("of many problems only the number is announced", () => {
  for (const sentence of [problemsAnnouncement(many(4), []), problemsAnnouncement([], many(4))]) {
    assert.match(sentence, /\b4\b/);
    assert.doesNotMatch(sentence, /app-/);
  }
  assert.match(problemsAnnouncement(many(3), []), /app-0.*app-1.*app-2/);
});

test("a problem of the source is announced with its state, and not twice", () => {
  assert.equal(problemsAnnouncement([sourceProblem()], [sourceProblem()]), "");
});

test("a problem of the source is announced when it begins and when it is over", () => {
  assert.notEqual(healthAnnouncement(health(), health("suspect")), "");
  assert.notEqual(healthAnnouncement(health("suspect"), health()), "");
  assert.notEqual(healthAnnouncement(health(), health("ended")), "");
  assert.equal(healthAnnouncement(health("starting"), health()), "");
  assert.equal(healthAnnouncement(health("suspect"), health("suspect")), "");
  assert.equal(healthAnnouncement(null, health("suspect")), "");
});
