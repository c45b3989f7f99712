// What stands in the filter field besides the filter: an error, and how much the filter finds.

import { attribute, byId, text } from "./dom.js";
import { KEYS, isFiltering, parseFilter } from "./filter.js";
import { FILTER } from "./words.js";

/** How long nobody types before what the filter finds is announced, in milliseconds. */
const PAUSE = 700;

export class FilterField {
  /** @param {(sentence: string) => void} announce */
  constructor(announce) {
    this.announce = announce;
    this.field = byId("filter");
    this.error = byId("filter-error");
    this.count = byId("filter-count");
    /** What was announced last, and is not announced again: the filter and the tab. */
    this.known = "";
    this.timer = 0;
  }

  /**
   * @param {import("./address.js").PageState} view
   * @param {string} found how much the filter finds in the tab
   */
  draw({ query, tab }, found) {
    const filter = parseFilter(query);
    const words = filter.error ? errorText(filter.error) : "";
    text(this.error, words);
    attribute(this.field, "aria-invalid", words ? "true" : null);

    const count = isFiltering(filter) ? found : "";
    text(this.count, count);
    this.field.toggleAttribute("data-counted", Boolean(count));
    this.announceOf(count && `${tab} ${query}`);
  }

  // Only what the user changes is announced, not each change of the cluster.
  announceOf(shown) {
    if (shown === this.known) return;
    this.known = shown;
    clearTimeout(this.timer);
    if (!shown) return;
    this.timer = setTimeout(() => this.announce(this.count.textContent), PAUSE);
  }
}

const errorText = ({ kind, key }) =>
  kind === "unknown" ? FILTER.unknown(key, KEYS) : FILTER.empty(key);
