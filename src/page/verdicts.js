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
 * The states that rows are counted by: systemd's active states, and two of rows that no machine has
 * reported, see row.js. In the order of their chips.
 * @type {Record<string, Tone>}
 */
export const STATES = {
  failed: "bad",
  expected: "busy",
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

const STATE_GLYPHS = { reloading: "activating", expected: "activating" };

/** The symbol of a state. */
export const stateGlyph = (state) => STATE_GLYPHS[state] ?? state;

const BELIEVED = new Set(["failed", "crash_loop", "outdated", "ok"]);

/**
 * Whether a unit with this verdict is in its reported state now. With any other verdict that state
 * is only the last known one, or a machine reports what should not be there.
 */
export const isBelieved = (verdict) => BELIEVED.has(verdict);
