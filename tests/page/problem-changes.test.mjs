// Which problems begin and end, across lost connections and restarts of the server.

import assert from "node:assert/strict";
import { test } from "node:test";

import { ProblemChanges, stillMuted } from "../../src/page/problem-changes.js";
import { causeKey } from "../../src/page/problems.js";
import { failed, unitProblem } from "./clusters.mjs";

const problemOf = (name, fields) => unitProblem(failed(name), { id: name, ...fields });
const WEB = problemOf("web.service");
const DB = problemOf("db.service");

const openOf = (...problems) => new Map(problems.map((problem) => [problem.id, problem]));

/** Nothing is wrong but the problems; and units have failed that are no problem yet. */
const never = () => false;
const failing = (kind) => kind === "failed";

/** Follows the problems of one page. */
function following() {
  const changes = new ProblemChanges();
  return (problems, { epoch = "first", mayOpen = never } = {}) => {
    const { opened, closed } = changes.update({ epoch, problems: openOf(...problems) }, mayOpen);
    return [opened, closed].map((those) => those.map(({ id }) => id).join(" "));
  };
}

test("what is open when the page is loaded has not begun", () => {
  const follow = following();
  assert.deepEqual(follow([WEB]), ["", ""]);
  assert.deepEqual(follow([WEB, DB]), ["db.service", ""]);
  assert.deepEqual(follow([DB]), ["", "web.service"]);
});

test("what began and ended while the connection was lost has begun and ended", () => {
  const follow = following();
  follow([WEB]);
  const again = problemOf("web.service", { id: "other", since: 99 });
  assert.deepEqual(follow([again]), ["other", "web.service"], "the same cause, another problem");
});

test("a server that has been restarted opens again what is neither over nor new", () => {
  const follow = following();
  follow([WEB]);
  const restarted = { epoch: "second", mayOpen: failing };
  assert.deepEqual(follow([], restarted), ["", ""]);
  const again = problemOf("web.service", { id: "other", since: 99 });
  assert.deepEqual(follow([again, DB], restarted), ["db.service", ""]);

  follow([], restarted);
  assert.deepEqual(follow([WEB], restarted), ["web.service", ""], "it was over in between");
});

test("what has recovered while the server was restarted is new when it comes back", () => {
  const follow = following();
  follow([WEB]);
  follow([], { epoch: "second" });
  assert.deepEqual(follow([WEB], { epoch: "second" }), ["web.service", ""]);
});

test("a mute ends with its problem", () => {
  const muted = new Set([WEB, DB].map(causeKey));
  const still = (closed, ...open) => [...stillMuted(muted, closed, openOf(...open), failing)];
  assert.deepEqual(still([], WEB, DB), [...muted]);
  assert.deepEqual(still([WEB], DB), [causeKey(DB)]);
  const again = problemOf("web.service", { id: "other" });
  assert.deepEqual(still([WEB], again, DB), [causeKey(DB)], "that is another one");
});

test("a mute without a problem is kept while the problem may be opened again", () => {
  const muted = new Set([causeKey(WEB)]);
  assert.deepEqual(stillMuted(muted, [], openOf(), failing), muted);
  assert.equal(stillMuted(muted, [], openOf(), (kind) => kind === "stale").size, 0);
  assert.equal(stillMuted(muted, [], openOf(), never).size, 0);
});
