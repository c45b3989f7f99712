// The badge at the top right: how far what the page shows can be relied on. There is one for all
// that can be wrong on the way from fleet to the page. It must not know the document.

import { isRead, isSilent, unitsFail } from "./health.js";
import { BADGE, reconnecting } from "./words.js";

/**
 * @typedef {object} Badge
 * @property {"live" | "starting" | "stale" | "suspect" | "recording" | "ended" | "connecting" |
 *   "disconnected" | "token" | "refused"} kind
 * @property {import("./verdicts.js").Tone} tone
 * @property {string} words
 * @property {?number} since when that began, if it has to be said
 * @property {boolean} isPolling
 * @property {?string} note more about it
 */

/** @type {Record<string, import("./verdicts.js").Tone>} */
const TONES = {
  live: "good",
  starting: "idle",
  stale: "warn",
  suspect: "warn",
  recording: "note",
  ended: "note",
  connecting: "idle",
  disconnected: "bad",
  token: "idle",
  refused: "bad",
};

/**
 * @param {import("./feed.js").Link} link
 * @param {?import("./health.js").Health} health
 * @param {{now: number, silence: number}} times the server's time, and for how long it has been
 *   silent, both in milliseconds
 * @returns {Badge}
 */
export function badge(link, health, times) {
  const { kind, words = BADGE[kind], since = null } = stateOf(link, health, times);
  return {
    kind,
    tone: TONES[kind],
    words,
    since,
    isPolling: link.kind === "live" && Boolean(link.polling),
    note: noteOf(link),
  };
}

/** What is worst: the connection, then the data, then that they are of a recording. */
function stateOf(link, health, { now, silence }) {
  if (link.kind !== "live") {
    const isKnown = link.kind === "disconnected" && health;
    return { kind: link.kind, since: isKnown ? now - silence : null };
  }
  if (!health) return { kind: "connecting" };
  if (isSilent(silence)) return { kind: "stale", since: now - silence };

  const { state, since, recording } = health;
  switch (state) {
    case "failing":
      return { kind: "stale", words: staleWords(health), since };
    case "overdue":
      return { kind: "stale", since };
    case "suspect":
      return { kind: "suspect", since };
    case "starting":
    case "ended":
      return { kind: state };
    default:
      return { kind: recording ? "recording" : "live" };
  }
}

function staleWords(health) {
  if (!isRead(health, "units")) return BADGE.unread;
  return unitsFail(health) ? BADGE.stale : BADGE.partly;
}

function noteOf({ kind, reason, polling }) {
  if (kind === "disconnected") return reconnecting(reason);
  return kind === "live" && polling ? BADGE.pollingNote : null;
}
