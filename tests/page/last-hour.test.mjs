// The last hour of a row, with the cases that the server has to agree with.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { isStartedByAnother, lastHour } from "../../src/page/last-hour.js";

/** When all cases are, so that their times can be relative. */
const NOW = 1_700_000_000_000;
const table = new URL("../fixtures/history/cases.json", import.meta.url);
const cases = JSON.parse(readFileSync(table, "utf8"));

const at = (seconds) => (seconds == null ? null : NOW + seconds * 1000);
const relative = (time) => (time - NOW) / 1000;

for (const { name, row, events, complete_since, started_by_another, expected } of cases) {
  test(`the last hour: ${name}`, () => {
    const times = { stale_since: at(row.stale_since), verdict_since: at(row.verdict_since) };
    const timed = events.map((event) => ({ ...event, time: at(event.at) }));
    const source = { ...row, ...times };
    const found = lastHour(source, timed, at(complete_since), started_by_another, NOW);

    const segments = found.segments.map(({ from, to, kind, state }) => [
      relative(from),
      relative(to),
      kind,
      state,
    ]);
    assert.deepEqual(segments, expected.segments);
    assert.deepEqual(
      [found.changes, found.falls, found.isFlapping, found.isLooping],
      [expected.changes, expected.falls, expected.flapping, expected.looping],
    );
  });
}

test("a service may be started by a unit of its name", () => {
  const exists = (unit) => ["job.timer", "a@1.path"].includes(unit);
  assert.ok(isStartedByAnother("job.service", exists));
  assert.ok(isStartedByAnother("a@1.service", exists));
  assert.ok(!isStartedByAnother("web.service", exists));
  assert.ok(!isStartedByAnother("job.timer", exists));
});
