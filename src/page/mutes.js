// The causes that are muted: those that the viewer has muted in this browser, and those that the
// address has, which may be of somebody else. Only his own are kept in his browser. It must not
// know what a cause is.

import { listenToStorage, recall, remember } from "./storage.js";

const NAME = "muted";

export class Mutes {
  /** @type {Set<string>} keys of causes */
  #own = read();

  /** @param {(before: Set<string>, own: Set<string>) => void} changed in another tab */
  constructor(changed) {
    listenToStorage(NAME, () => {
      const before = this.#own;
      this.#own = read();
      changed(before, this.#own);
    });
  }

  /** What an address has, together with his own. */
  join(muted) {
    return new Set([...muted, ...this.#own]);
  }

  /** Mutes a cause for good, or not any more. */
  set(key, isMuted) {
    if (isMuted) this.#own.add(key);
    else this.#own.delete(key);
    this.#write();
  }

  /** Forgets his own that are not among these. */
  keep(muted) {
    const left = [...this.#own].filter((key) => muted.has(key));
    if (left.length === this.#own.size) return;
    this.#own = new Set(left);
    this.#write();
  }

  #write() {
    remember(NAME, this.#own.size ? JSON.stringify([...this.#own]) : null);
  }
}

function read() {
  try {
    const keys = JSON.parse(recall(NAME) ?? "[]");
    return new Set(keys.filter((key) => typeof key === "string"));
  } catch {
    return new Set();
  }
}
