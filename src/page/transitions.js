// The events of the cluster that the page knows, newest first. It must not know the document.

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

export class Transitions {
  /** @type {Transition[]} */
  all = [];
  /** @type {Map<string, Transition[]>} */
  #byUnit = new Map();

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
