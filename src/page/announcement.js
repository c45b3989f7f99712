// What screen readers announce when the cluster or its source changes. It must not know the
// document.

import { problem } from "./health.js";
import { isOfSource } from "./problems.js";
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
 * Which problems have begun, and which are over, or "". A problem of the source is announced with
 * the state of the source.
 * @param {import("./problems.js").Problem[]} opened
 * @param {import("./problems.js").Problem[]} closed
 */
export function problemsAnnouncement(opened, closed) {
  return joinSentences(
    few(opened, ANNOUNCEMENTS.opened, ANNOUNCEMENTS.manyOpened),
    few(closed, ANNOUNCEMENTS.closed, ANNOUNCEMENTS.manyClosed),
  );
}

function few(problems, sentence, summary) {
  const ofCluster = problems.filter((problem) => !isOfSource(problem));
  if (ofCluster.length > NAMED) return summary(ofCluster.length);
  return joinSentences(...ofCluster.map(({ text }) => sentence(text)));
}

export const joinSentences = (...sentences) => sentences.filter(Boolean).join(" ");
