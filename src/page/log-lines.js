// The log of a unit, as far as the page keeps it: the latest lines, and what happened between them.
// It must not know the document, nor how the log arrives.
//
// What arrives waits until it is taken, so that a reader can hold the log still. Not more than
// MAX_LINES are kept of what was taken, and not more than twice as many of what waits.

import { PRIORITIES, shortId } from "./words.js";

/** How many lines are kept. */
export const MAX_LINES = 2000;

/** So many lines within so many milliseconds can be read aloud. */
const CALM_LINES = 5;
const CALM_TIME = 5000;

/**
 * What happens between lines: some are missing, the unit has moved to a machine, it was on a
 * machine before, the log on a machine cannot be read, can be read again, has ended, or nothing was
 * read for a while.
 * @typedef {"missed" | "moved" | "previous" | "failed" | "readable" | "ended" | "gap"} NoteKind
 */

/**
 * Something in the log.
 * @typedef {object} LogEntry
 * @property {"line" | NoteKind} kind
 * @property {string} [machine] its ID
 * @property {string} [reason] of `failed` and `ended`, and `slow` or `rate` of `missed`
 * @property {number} [lines] how many are missing
 * @property {number} [time] of a line, as are all that follow
 * @property {?number} [priority] as syslog numbers it
 * @property {?number} [pid]
 * @property {?string} [identifier]
 * @property {string} [message]
 * @property {boolean} [truncated]
 * @property {boolean} [binary]
 */

/**
 * A machine that has the log.
 * @typedef {object} LogMachine
 * @property {string} machine its ID
 * @property {?string} ip
 * @property {"connecting" | "connected" | "ended" | "failed"} state
 * @property {"current" | "previous"} role
 * @property {?string} reason
 * @property {?string} problem why it cannot be read, or null
 */

export class LogLines {
  /** @type {LogEntry[]} what was taken, the oldest first */
  entries = [];
  /** How many entries arrived since something was last taken. Not all of them are kept. */
  waiting = 0;
  /** How many entries were dropped because newer ones came. */
  dropped = 0;
  /** @type {Map<string, LogMachine>} by ID */
  machines = new Map();

  /** @type {LogEntry[]} */
  #waiting = [];
  /** Identifies each line that is kept, since a new connection sends some again. */
  #known = new Set();
  /** When the last lines arrived. */
  #arrivals = [];

  /** Applies a message of the server, which arrived at this time. */
  receive({ type, ...message }, now) {
    switch (type) {
      case "line":
        return this.#line(message, now);
      case "machine":
        return this.#machine(message);
      case "missed":
      case "moved":
        return this.#add({ kind: type, ...message });
    }
  }

  /** Notes that nothing was read for a while: lines may be missing. */
  addGap() {
    // Those that are still read are named again.
    for (const machine of this.machines.values()) machine.state = "ended";
    const last = this.#waiting.at(-1) ?? this.entries.at(-1);
    if (last && last.kind !== "gap") this.#add({ kind: "gap" });
  }

  /**
   * Moves what waits to the entries.
   * @returns {{added: LogEntry[], removed: LogEntry[]}} what is new there, and what was dropped
   */
  take() {
    const added = this.#waiting;
    this.#waiting = [];
    this.waiting = 0;

    this.entries.push(...added);
    const removed = this.entries.splice(0, Math.max(0, this.entries.length - MAX_LINES));
    this.#forget(removed);
    return { added, removed };
  }

  /** Whether so few lines arrive that each can be read aloud. */
  isCalm(now) {
    const [oldest] = this.#arrivals;
    return this.#arrivals.length < CALM_LINES || now - oldest > CALM_TIME;
  }

  /** Whether lines have to say which machine they are from. */
  get isOfSeveral() {
    return this.machines.size > 1;
  }

  /** The name of a machine. */
  name(id) {
    return this.machines.get(id)?.ip ?? shortId(id);
  }

  #line(line, now) {
    const key = keyOf(line);
    if (this.#known.has(key)) return;
    this.#known.add(key);

    this.#arrivals.push(now);
    if (this.#arrivals.length > CALM_LINES) this.#arrivals.shift();
    this.#add({ kind: "line", ...line });
  }

  /** @param {LogMachine} message */
  #machine(message) {
    const { machine, state, role, reason } = message;
    const before = this.machines.get(machine);
    // While it is tried again, it still has its problem.
    const lasting = state === "connected" ? null : (before?.problem ?? null);
    const problem = state === "failed" ? (reason ?? "") : lasting;
    this.machines.set(machine, { ...message, problem });

    const wasPrevious = before?.role === "previous";
    const isNewProblem = problem !== null && problem !== (before?.problem ?? null);
    const isReadable = problem === null && before?.problem != null;
    if (role === "previous" && !wasPrevious) this.#add({ kind: "previous", machine });
    if (isNewProblem) this.#add({ kind: "failed", machine, reason });
    if (isReadable) this.#add({ kind: "readable", machine });
    if (state === "ended" && before?.state !== "ended" && reason) {
      this.#add({ kind: "ended", machine, reason });
    }
  }

  #add(entry) {
    this.#waiting.push(entry);
    this.waiting++;
    // Not at each entry: that would move all others each time.
    if (this.#waiting.length > 2 * MAX_LINES) this.#dropWaiting();
  }

  #dropWaiting() {
    this.#forget(this.#waiting.splice(0, this.#waiting.length - MAX_LINES));
  }

  #forget(entries) {
    this.dropped += entries.length;
    for (const entry of entries) this.#known.delete(keyOf(entry));
  }
}

const keyOf = ({ machine, cursor }) => `${machine} ${cursor}`;

/** The program that wrote a line, and its process: "docker[4711]". */
export function programOf({ identifier, pid }) {
  return (identifier ?? "") + (pid == null ? "" : `[${pid}]`);
}

/**
 * Whether a line has all of these words, and none of those after a minus sign, whatever the case.
 * What happened between the lines is always shown.
 * @param {string} query
 * @returns {(entry: LogEntry) => boolean}
 */
export function narrowing(query) {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  const isExcluding = (word) => word.length > 1 && word.startsWith("-");
  const excluded = words.filter(isExcluding).map((word) => word.slice(1));
  const required = words.filter((word) => !isExcluding(word));

  return (entry) => {
    if (entry.kind !== "line" || !words.length) return true;
    const parts = [PRIORITIES[entry.priority], `${programOf(entry)}:`, entry.message];
    const text = parts.filter(Boolean).join(" ").toLowerCase();
    return required.every((word) => text.includes(word)) &&
      !excluded.some((word) => text.includes(word));
  };
}
