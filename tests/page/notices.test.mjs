// Which notification there is.

import assert from "node:assert/strict";
import { test } from "node:test";

import { BURST, Notices } from "../../src/page/notices.js";
import { failed, unitProblem, wrong } from "./clusters.mjs";

const problemOf = (name, unit = failed(name)) =>
  unitProblem(unit, { id: name, text: `${name} failed` });
const [A, B, C] = ["a.service", "b.service", "c.service"].map((name) => problemOf(name));

const openOf = (...problems) => new Map(problems.map((problem) => [problem.id, problem]));

/** What is shown, in a test whose clock stands still until it is moved on. */
function noticing({ mock }) {
  mock.timers.enable({ apis: ["setTimeout"] });
  const shown = [];
  const notices = new Notices(
    (notice) => shown.push(notice),
    () => shown.push(null),
  );
  return { notices, shown, pass: (time) => mock.timers.tick(time) };
}

test("there is one notification for all that begins within a moment", (context) => {
  const { notices, shown, pass } = noticing(context);
  notices.update([A], openOf(A));
  pass(BURST - 1);
  notices.update([B], openOf(A, B));
  assert.deepEqual(shown, []);
  pass(1);
  assert.equal(shown.length, 1);
  assert.match(shown[0].title, /\b2\b/);
  assert.match(shown[0].body, /a\.service failed\n.*b\.service failed/);
  assert.equal(shown[0].silent, false);
});

test("a single problem is named, with its details", (context) => {
  const { notices, shown, pass } = noticing(context);
  const problem = { ...A, detail: "why" };
  notices.update([problem], openOf(problem));
  pass(BURST);
  assert.deepEqual([shown[0].title, shown[0].body], ["a.service failed", "why"]);
});

test("what is over or muted before it is shown is not shown", (context) => {
  const { notices, shown, pass } = noticing(context);
  notices.update([A, B], openOf(A));
  notices.update([], openOf());
  pass(BURST);
  assert.deepEqual(shown, []);
});

test("a notification is changed without a sound, and goes with the last of its problems", (context) => {
  const { notices, shown, pass } = noticing(context);
  notices.update([A, B], openOf(A, B));
  pass(BURST);
  notices.update([], openOf(B));
  const [first, second] = shown;
  assert.deepEqual([second.tag, second.silent], [first.tag, true]);
  assert.match(second.title, /b\.service/);

  notices.update([], openOf());
  assert.deepEqual(shown.slice(2), [null]);
});

test("a later burst takes the place of the one before", (context) => {
  const { notices, shown, pass } = noticing(context);
  notices.update([A], openOf(A));
  pass(BURST);
  notices.update([B], openOf(A, B));
  pass(BURST);
  assert.deepEqual(
    shown.map((notice) => notice?.title),
    ["a.service failed", undefined, "b.service failed"],
  );
  assert.equal(shown[2].silent, false);
});

test("what the viewer has taken away does not come again", (context) => {
  const { notices, shown, pass } = noticing(context);
  notices.update([A, B], openOf(A, B));
  pass(BURST);
  notices.dismissed();
  notices.update([], openOf(B));
  notices.update([], openOf());
  assert.equal(shown.length, 1);
});

test("nothing follows when nobody wants notifications any more", (context) => {
  const { notices, shown, pass } = noticing(context);
  notices.update([A], openOf(A));
  pass(BURST);
  notices.update([B], openOf(A, B));
  notices.stop();
  pass(BURST);
  assert.deepEqual(shown.slice(1), [null]);
});

test("of many problems the worst are named", (context) => {
  const { notices, shown, pass } = noticing(context);
  const stale = problemOf("stale.service", wrong("stale.service", "stale"));
  const all = [stale, A, B, C];
  notices.update(all, openOf(...all));
  pass(BURST);
  assert.match(shown[0].title, /\b4\b/);
  const lines = shown[0].body.split("\n");
  assert.equal(lines.length, 4);
  assert.doesNotMatch(shown[0].body, /stale/);
});

test("each tab shows the same notification, in whatever order it knows the problems", (context) => {
  const { notices, shown, pass } = noticing(context);
  const other = new Notices(
    (notice) => shown.push(notice),
    () => {},
  );
  notices.update([A, B], openOf(A, B));
  other.update([B, A], openOf(B, A));
  pass(BURST);
  assert.deepEqual(shown[0], shown[1]);
});

test("two tabs have the same tag although one of them has a longer burst", (context) => {
  const { notices, shown, pass } = noticing(context);
  const first = { ...B, opened: 1000 };
  const later = { ...A, opened: 2000 };
  notices.update([later, first], openOf(later, first));
  pass(BURST);
  assert.equal(shown[0].tag, first.id);
});
