// The last hour of a row: its states, how often they changed, and whether it is flapping. It must
// not know the document, nor any text. `src/report/last_hour.rs` computes the same, and
// tests/fixtures/history/cases.json tests both.

export const HOUR = 3600_000;
/** A unit that went down so often in the last hour is flapping, */
const MIN_FALLS = 4;
/** if it last went down within this time, in milliseconds. */
const RECENT = 1200_000;

/**
 * What a state means for a unit. `up`: it runs. `moving`: it starts or stops. `loop`: it is in a
 * crash loop. `absent`: it is not on the machine. `unreported`: its state is not known.
 * @typedef {"up" | "moving" | "down" | "failed" | "loop" | "absent" | "unreported"} StateKind
 */

/**
 * The time in which a row was in one state, in milliseconds since 1970.
 * @typedef {object} Segment
 * @property {number} from
 * @property {number} to
 * @property {?string} state as events have it; null for kinds that are no state of systemd
 * @property {StateKind} kind
 */

/**
 * @typedef {object} LastHour
 * @property {number} begin since when it is known, an hour ago at the earliest
 * @property {Segment[]} segments from `begin` to now, without gaps
 * @property {number} changes how often the state changed
 * @property {number} falls how often it went down
 * @property {boolean} isFlapping
 * @property {boolean} isLooping whether it is in a crash loop now
 */

/** The kinds from the most to the least telling. */
export const KINDS = ["failed", "loop", "unreported", "absent", "down", "moving", "up"];

const LOOP = { state: null, kind: "loop" };
const ABSENT = { state: null, kind: "absent" };
const UNREPORTED = { state: null, kind: "unreported" };

const CHANGES = new Set(["appeared", "changed", "stale", "back", "gone"]);
const RUNNING = new Set(["active", "reloading", "refreshing"]);
/** Units that start the service of the same name, which ends by itself. */
const STARTERS = [".timer", ".path", ".socket"];

/**
 * Whether another unit starts this one now and then. Its end is no failure.
 * @param {(unit: string) => boolean} exists
 */
export function isStartedByAnother(unit, exists) {
  if (!unit.endsWith(".service")) return false;
  const stem = unit.slice(0, -".service".length);
  return STARTERS.some((suffix) => exists(stem + suffix));
}

/**
 * @param {object} row as the server sent it
 * @param {import("./transitions.js").Transition[]} events of the row, oldest first
 * @param {?number} completeSince since when they are complete
 * @param {boolean} isStarted whether another unit starts it; see `isStartedByAnother`
 * @returns {LastHour}
 */
export function lastHour(row, events, completeSince, isStarted, now) {
  const begin = Math.min(now, Math.max(now - HOUR, completeSince ?? events[0]?.time ?? now));
  const recent = events.filter(({ time }) => time >= begin);
  const falls = fallsOf(events, isStarted).filter((time) => time >= begin);
  const isLooping = row.verdict === "crash_loop";
  return {
    begin,
    segments: segmentsOf(row, events, begin, now),
    changes: recent.filter(({ event }) => CHANGES.has(event)).length,
    falls: falls.length,
    isFlapping: !isLooping && falls.length >= MIN_FALLS && falls.at(-1) >= now - RECENT,
    isLooping,
  };
}

// --- the states

function segmentsOf(row, events, begin, now) {
  const segments = [];
  const add = (from, to, shown) => {
    const last = segments.at(-1);
    if (to <= Math.max(from, begin)) return;
    if (last && last.kind === shown.kind && last.state === shown.state) last.to = to;
    else segments.push({ from: Math.max(from, begin), to, ...shown });
  };

  let shown = events.length ? before(events[0]) : current(row);
  let since = begin;
  let isLoop = events.find(isOfLoop)?.event === "crash_loop_over";
  for (const event of events) {
    // The server's clock may have been set back.
    const time = Math.min(event.time, now);
    add(since, time, isLoop && shown.state ? LOOP : shown);
    since = time;
    shown = after(event) ?? shown;
    if (isOfLoop(event)) isLoop = event.event === "crash_loop";
  }

  // Neither the loss of a machine nor a report that is overdue is an event of the unit.
  const lost = unreportedSince(row);
  if (lost != null) add(since, Math.max(since, lost), isLoop && shown.state ? LOOP : shown);
  const last = isLoop && shown.state ? LOOP : shown;
  add(Math.max(since, lost ?? 0), now, lost != null ? UNREPORTED : last);
  return segments;
}

const isOfLoop = ({ event }) => event === "crash_loop" || event === "crash_loop_over";

function before({ event, from, to }) {
  if (event === "appeared") return ABSENT;
  if (event === "back") return UNREPORTED;
  return stateAs(from ?? to);
}

/** What is shown after an event, or null if that is as before. */
function after({ event, to }) {
  if (event === "gone") return ABSENT;
  if (event === "stale") return UNREPORTED;
  return to == null ? null : stateAs(to);
}

function current({ active, sub, verdict }) {
  if (verdict === "crash_loop") return LOOP;
  return active == null ? ABSENT : stateAs(`${active}/${sub ?? "-"}`);
}

/** Since when the state of a row has not been known, or null if it is. */
function unreportedSince({ verdict, stale_since, verdict_since }) {
  if (stale_since != null) return stale_since;
  return verdict === "machine_lost" ? verdict_since : null;
}

const stateAs = (state) => (state == null ? ABSENT : { state, kind: kindOf(state) });

/** @returns {StateKind} */
export function kindOf(state) {
  const [active] = state.split("/");
  if (RUNNING.has(active)) return "up";
  if (active === "activating" || active === "deactivating") return "moving";
  // Behind the state is a load state other than `loaded`, such as `(not-found)`.
  return active === "failed" || state.endsWith(")") ? "failed" : "down";
}

// --- how often it went down

/** The times at which it went down. */
function fallsOf(events, isStarted) {
  const falls = [];
  let isDown = false;
  for (const { event, time, from, to } of events) {
    if (event !== "changed") continue;
    const [was, is] = [from, to].map(phaseOf);
    const hasFailed = is === "failed" || is === "waiting";
    const hasStopped = was === "up" && is !== "up" && !isStarted;

    if (!isDown && (hasFailed || hasStopped)) falls.push(time);
    if (hasFailed || hasStopped) isDown = true;
    if (is === "up" || is === "starting") isDown = false;
  }
  return falls;
}

function phaseOf(state) {
  const [active, sub] = (state ?? "").split("/");
  if (RUNNING.has(active)) return "up";
  if (active === "failed") return "failed";
  if (active !== "activating") return "stopped";
  return sub?.startsWith("auto-restart") ? "waiting" : "starting";
}
