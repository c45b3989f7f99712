// The events of the cluster that the page knows, newest first. It must not know the document.

import { HISTORY } from "./words.js";

/** How many events are kept: as many as the server keeps. */
const KEPT = 1000;

/**
 * Something that happened, as the server sent it; see `transitions` in docs/protocol.md.
 * @typedef {object} Transition
 * @property {number} number
 * @property {number} time in milliseconds since 1970
 * @property {string} event its name
 * @property {"warning" | "info"} severity
 * @property {string} text
 * @property {?string} unit
 * @property {?string} machine
 * @property {?string} ip
 * @property {?string} from the state before
 * @property {?string} to the state after
 */

/**
 * The time from which on all events are known, in milliseconds since 1970. `isDropped`: there were
 * older events, and they are no longer kept. Then events at that very time may be missing too.
 * @typedef {{time: number, isDropped: boolean}} Beginning
 */

export class Transitions {
  /** @type {Transition[]} */
  all = [];
  /**
   * Since when the server has noticed all events, in milliseconds since 1970, or null while it has
   * not read everything.
   * @type {?number}
   */
  noticedSince = null;
  /** @type {Map<string, Transition[]>} */
  #byUnit = new Map();

  /** @returns {?Beginning} or null if any event may be missing */
  get beginning() {
    if (this.noticedSince == null) return null;
    const oldest = this.all.at(-1);
    const isDropped = oldest?.number > 1 && oldest.time >= this.noticedSince;
    return { time: isDropped ? oldest.time : this.noticedSince, isDropped };
  }

  /** Those of a unit, newest first. */
  of(unit) {
    return this.#byUnit.get(unit) ?? [];
  }

  /** Adds one that is newer than all others. */
  add(transition) {
    this.all.unshift(transition);
    if (transition.unit) this.#listOf(transition.unit).unshift(transition);
    if (this.all.length > KEPT) this.#dropOldest();
  }

  /** @param {Transition[]} transitions oldest first */
  replace(transitions) {
    this.all = [...transitions].reverse();
    this.#byUnit = new Map();
    for (const transition of this.all) {
      if (transition.unit) this.#listOf(transition.unit).push(transition);
    }
  }

  #listOf(unit) {
    let list = this.#byUnit.get(unit);
    if (!list) this.#byUnit.set(unit, (list = []));
    return list;
  }

  #dropOldest() {
    const { unit } = this.all.pop();
    const list = this.#byUnit.get(unit);
    list?.pop();
    if (list?.length === 0) this.#byUnit.delete(unit);
  }
}

/**
 * What is said at the end of a list of events, or in place of a list without events.
 * @param {?Beginning} beginning
 * @returns {?string[]} the text before the time of the beginning, and behind it
 */
export function endOfEvents(beginning, isEmpty) {
  if (!beginning) return isEmpty ? HISTORY.noneKnown : null;
  if (isEmpty) return beginning.isDropped ? HISTORY.noneAfter : HISTORY.noneSince;
  return beginning.isDropped ? HISTORY.completeAfter : HISTORY.completeSince;
}
