// Which notification there is: one for all problems that begin within a moment, until they are
// over. It must not know the document, nor how a browser shows a notification.

import { NOTIFICATIONS, andMore, capitalize } from "./words.js";

/** @typedef {import("./problems.js").Problem} Problem */

/**
 * @typedef {object} Notice
 * @property {string} tag the same for all that replace each other
 * @property {string} title
 * @property {string} body
 * @property {boolean} silent whether the viewer knows of it already
 */

/** For how many milliseconds after the first problem others count as of the same burst. */
export const BURST = 2000;

/** How many problems of a burst are named. */
const NAMED = 3;

export class Notices {
  /** @type {Map<string, Problem>} that have begun, and of which nobody was notified yet, by ID */
  #pending = new Map();
  /** @type {?{tag: string, problems: Map<string, Problem>}} what is shown now */
  #shown = null;
  #timer = null;

  /**
   * @param {(notice: Notice) => void} show
   * @param {() => void} withdraw takes away what is shown
   */
  constructor(show, withdraw) {
    Object.assign(this, { show, withdraw });
  }

  /**
   * @param {Problem[]} opened what has begun
   * @param {Map<string, Problem>} open all that the viewer wants to know of, by ID
   */
  update(opened, open) {
    for (const problem of opened) {
      if (open.has(problem.id)) this.#pending.set(problem.id, problem);
    }
    update(this.#pending, open);
    if (this.#pending.size) this.#timer ??= setTimeout(() => this.#flush(), BURST);

    const isChanged = this.#shown && update(this.#shown.problems, open);
    if (!isChanged) return;
    if (this.#shown.problems.size) this.show(noticeOf(this.#shown, true));
    else this.#clear();
  }

  /** The viewer has taken away what is shown. */
  dismissed() {
    this.#shown = null;
  }

  /** Nobody wants to be notified any more. */
  stop() {
    clearTimeout(this.#timer);
    this.#timer = null;
    this.#pending.clear();
    this.#clear();
  }

  #flush() {
    this.#timer = null;
    if (!this.#pending.size) return;

    this.#clear();
    // Each tab that is open has the same first one, although its burst may have ended sooner. So
    // its notification replaces that of the others.
    const tag = [...this.#pending.values()].sort(byAge)[0].id;
    this.#shown = { tag, problems: this.#pending };
    this.#pending = new Map();
    this.show(noticeOf(this.#shown, false));
  }

  #clear() {
    if (this.#shown) this.withdraw();
    this.#shown = null;
  }
}

/** Takes problems as they are now, without those that are over. Returns whether there are any. */
function update(problems, open) {
  const before = problems.size;
  for (const id of problems.keys()) {
    if (open.has(id)) problems.set(id, open.get(id));
    else problems.delete(id);
  }
  return problems.size < before;
}

/** @returns {Notice} */
function noticeOf({ tag, problems }, silent) {
  const sorted = [...problems.values()].sort(byImportance);
  if (sorted.length === 1) {
    const [only] = sorted;
    return { tag, title: summaryOf(only), body: only.detail ?? "", silent };
  }

  const lines = sorted.slice(0, NAMED).map(summaryOf);
  if (sorted.length > NAMED) lines.push(andMore(sorted.length - NAMED));
  return { tag, title: NOTIFICATIONS.problems(sorted.length), body: lines.join("\n"), silent };
}

/** IDs are random: the first of them would be another one if the burst was longer. */
const byAge = (a, b) => a.opened - b.opened || (a.id < b.id ? -1 : 1);

/** The name of a unit has no capital letter. */
const summaryOf = ({ unit, text }) => (unit == null ? capitalize(text) : text);

/** "critical" is before "warning". */
const byImportance = (a, b) =>
  a.severity.localeCompare(b.severity) || b.count - a.count || (a.text < b.text ? -1 : 1);
