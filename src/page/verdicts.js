// The verdicts on units and their active states: their order and colours. It must not know the
// document, nor any text.

/**
 * A colour of the style sheet.
 * @typedef {"bad" | "warn" | "busy" | "good" | "idle" | "note"} Tone
 */

/**
 * The verdicts, the worst first.
 * @type {Record<string, Tone>}
 */
export const VERDICTS = {
  failed: "bad",
  crash_loop: "bad",
  machine_lost: "bad",
  unreported: "bad",
  unscheduled: "warn",
  ghost: "warn",
  stale: "warn",
  outdated: "warn",
  ok: "good",
};

/**
 * The active states, in the order of their chips.
 * @type {Record<string, Tone>}
 */
export const STATES = {
  failed: "bad",
  activating: "busy",
  deactivating: "busy",
  reloading: "busy",
  active: "good",
  inactive: "idle",
  submitted: "idle",
};

const RANKS = new Map(Object.keys(VERDICTS).map((verdict, rank) => [verdict, rank]));

/** The place of a unit that is only submitted: after all others. */
export const SUBMITTED_RANK = RANKS.size;

// A server that is newer than this page may have verdicts and states that are not known here.

/** The place of a verdict in the order, the worst first. */
export const verdictRank = (verdict) => RANKS.get(verdict) ?? RANKS.get("outdated");

export const verdictTone = (verdict) => VERDICTS[verdict] ?? "warn";

export const stateTone = (state) => STATES[state] ?? "idle";

/** The symbol of an active state. */
export const stateGlyph = (state) => (state === "reloading" ? "activating" : state);
