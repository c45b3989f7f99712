// What screen readers announce when the cluster or its source changes. It must not know the
// document.

import { problem } from "./health.js";
import { ANNOUNCEMENTS } from "./words.js";

/** Up to so many changes at a time are named. Of more, only the number is announced. */
const NAMED = 3;

/** What changed in the state of the source, or "". */
export function healthAnnouncement(before, health) {
  if (!before) return "";
  const isSame = before.state === health.state && problem(before) === problem(health);
  if (isSame) return "";

  if (problem(health)) return ANNOUNCEMENTS.problem(problem(health));
  if (problem(before)) return ANNOUNCEMENTS.problemOver;
  return health.state === "ended" ? ANNOUNCEMENTS.recordingEnded : "";
}

/**
 * Which units got a problem, another one, or recovered, or "".
 * @param {import("./row.js").Row[]} before those that were wrong
 * @param {import("./row.js").Row[]} wrong those that are
 */
export function unitsAnnouncement(before, wrong) {
  if (before === wrong) return "";
  const verdicts = new Map(before.map((row) => [row.key, row.verdict]));
  const keys = new Set(wrong.map((row) => row.key));
  const fresh = wrong.filter((row) => verdicts.get(row.key) !== row.verdict);
  const over = before.filter((row) => !keys.has(row.key));

  const named = ({ unit, where }) => ANNOUNCEMENTS.unitOn(unit, where);
  const wrongOf = (row) => ANNOUNCEMENTS.wrong(named(row), row.verdict);
  const recoveredOf = (row) => ANNOUNCEMENTS.recovered(named(row));
  return joinSentences(
    few(fresh, wrongOf, ANNOUNCEMENTS.manyWrong),
    few(over, recoveredOf, ANNOUNCEMENTS.manyRecovered),
  );
}

function few(rows, sentence, summary) {
  return rows.length > NAMED ? summary(rows.length) : joinSentences(...rows.map(sentence));
}

export const joinSentences = (...sentences) => sentences.filter(Boolean).join(" ");
