// Which problems have begun and which are over since the page was loaded, however the connection
// was lost in between and the server restarted. It must not know the document, nor who is informed.
//
// A server that restarts has no problem at first, and opens them again when they have lasted for
// long enough once more. They are neither over nor new then: what the page knew of them goes on
// until nothing is left from which one of them could be opened again.

import { causeKey, kindOfKey } from "./problems.js";

/** @typedef {import("./problems.js").Problem} Problem */

export class ProblemChanges {
  /** The run of the server that the problems are of; null before the first. */
  #epoch = null;
  /** @type {Map<string, Problem>} those that are open, by ID */
  #open = new Map();
  /** The causes of problems that an earlier run of the server had open. */
  #earlier = new Set();

  /**
   * @param {{epoch: string, problems: Map<string, Problem>}} cluster
   * @param {(kind: string) => boolean} mayOpen whether something that is no problem yet may become
   *   one of this kind
   * @returns {{opened: Problem[], closed: Problem[]}}
   */
  update({ epoch, problems }, mayOpen) {
    const isFirst = this.#epoch == null;
    const isRestart = !isFirst && epoch !== this.#epoch;
    const missing = [...this.#open.values()].filter(({ id }) => !problems.has(id));
    const fresh = [...problems.values()].filter(({ id }) => !this.#open.has(id));

    if (isRestart) for (const problem of missing) this.#earlier.add(causeKey(problem));
    // The condition has an effect: each cause counts once.
    const opened = fresh.filter((problem) => !this.#earlier.delete(causeKey(problem)));
    for (const key of this.#earlier) if (!mayOpen(kindOfKey(key))) this.#earlier.delete(key);

    this.#epoch = epoch;
    this.#open = new Map(problems);
    return { opened: isFirst ? [] : opened, closed: isRestart ? [] : missing };
  }
}

/**
 * The causes that stay muted. A mute ends with its problem. Without a problem it is kept as long as
 * one may still be opened.
 * @param {Set<string>} muted keys of causes
 * @param {Problem[]} closed what is over now
 * @param {Map<string, Problem>} problems those that are open
 * @param {(kind: string) => boolean} mayOpen as above
 */
export function stillMuted(muted, closed, problems, mayOpen) {
  const over = new Set(closed.map(causeKey));
  const open = new Set([...problems.values()].map(causeKey));
  const isKept = (key) => !over.has(key) && (open.has(key) || mayOpen(kindOfKey(key)));
  return new Set([...muted].filter(isKept));
}
