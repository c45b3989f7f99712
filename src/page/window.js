// A long list of which only the visible lines are in the document (a virtual list). It must not
// know what its lines show.
//
// All lines have one height, `--row` in the style sheet, except those that are measured: they have
// the height of their content.

import { attribute } from "./dom.js";

/** How many lines beyond each edge are in the document, so that a small scroll shows no gap. */
const OVERSCAN = 6;
/** The assumed height of a measured line that has not been in the document yet, in pixels. */
const UNMEASURED = 240;

/**
 * @typedef {object} Drawing
 * @property {(line: object) => HTMLElement} create makes a line's element
 * @property {(node: HTMLElement, line: object, index: number) => void} update brings it up to date
 * @property {(line: object) => boolean} [measured] whether the line has its own height
 */

export class WindowedList {
  /**
   * @param {HTMLElement} body what the lines are put into; it scrolls with the page
   * @param {Drawing} drawing
   */
  constructor(body, { create, update, measured = () => false }) {
    Object.assign(this, { body, create, update, measured });
    this.lines = [];
    this.tops = [0];
    this.nodes = new Map();
    this.heights = new Map();
    this.indexCache = null;
    this.request = 0;
    /** Whether all lines are in the document. */
    this.isWhole = false;

    this.sizes = new ResizeObserver((entries) => this.resized(entries));
    addEventListener("scroll", () => this.schedule(), { passive: true });
    new ResizeObserver(() => this.layout()).observe(body);
  }

  /** Shows these lines. Each has a `key` of its own. */
  show(lines) {
    const hadFocus = this.hasFocus();
    this.lines = lines;
    this.indexCache = null;
    for (const key of this.heights.keys()) {
      if (!this.indexes.has(key)) this.heights.delete(key);
    }
    this.layout();

    // If the line with the focus is gone, the focus would be lost.
    if (hadFocus && (!lines.length || !this.hasFocus())) {
      this.body.closest("[role=tabpanel]").focus({ preventScroll: true });
    }
  }

  /** Puts all lines into the document, or only the visible ones. */
  showAll(isAll) {
    this.isWhole = isAll;
    this.render();
  }

  hasFocus() {
    return this.body.contains(document.activeElement);
  }

  /** The index of each line by its key. Computed on demand: most updates do not need it. */
  get indexes() {
    return (this.indexCache ??= new Map(this.lines.map((line, index) => [line.key, index])));
  }

  /**
   * Scrolls as little as needed to make a line visible.
   * @param {number} above pixels at the top of the window that are covered
   * @returns {?HTMLElement} the line's element
   */
  reveal(key, above) {
    const index = this.indexes.get(key);
    if (index === undefined) return null;

    const top = this.body.getBoundingClientRect().top + this.tops[index];
    const bottom = top + this.tops[index + 1] - this.tops[index];
    if (top < above) scrollBy({ top: top - above, behavior: "instant" });
    else if (bottom > innerHeight) scrollBy({ top: bottom - innerHeight, behavior: "instant" });

    this.render();
    return this.nodes.get(key);
  }

  /** Computes where each line is. */
  layout() {
    if (!this.body.isConnected || this.body.closest("[hidden]")) return;
    this.rowHeight = parseFloat(getComputedStyle(this.body).getPropertyValue("--row"));

    const tops = new Float64Array(this.lines.length + 1);
    this.lines.forEach((line, index) => {
      tops[index + 1] = tops[index] + this.heightOf(line);
    });
    this.tops = tops;
    this.body.style.height = `${tops[this.lines.length]}px`;
    this.render();
  }

  heightOf(line) {
    if (!this.measured(line)) return this.rowHeight;
    return this.heights.get(line.key) ?? UNMEASURED;
  }

  resized(entries) {
    let hasChanged = false;
    for (const { target } of entries) {
      const height = target.offsetHeight;
      if (height && this.heights.get(target.lineKey) !== height) {
        this.heights.set(target.lineKey, height);
        hasChanged = true;
      }
    }
    if (hasChanged) requestAnimationFrame(() => this.layout());
  }

  schedule() {
    this.request ||= requestAnimationFrame(() => {
      this.request = 0;
      this.render();
    });
  }

  /** Puts the visible lines into the document, in order, and takes the others out. */
  render() {
    if (this.body.closest("[hidden]")) return;
    const visible = this.visibleIndexes();

    const keys = new Set(visible.map((index) => this.lines[index].key));
    for (const [key, node] of this.nodes) {
      if (!keys.has(key)) this.remove(key, node);
    }

    let position = this.body.firstElementChild;
    for (const index of visible) {
      const line = this.lines[index];
      const node = this.nodeOf(line);
      this.update(node, line, index);
      node.style.transform = `translateY(${this.tops[index]}px)`;
      if (node === position) position = position.nextElementSibling;
      else this.body.insertBefore(node, position);
      if (this.measured(line)) this.sizes.observe(node);
    }
  }

  visibleIndexes() {
    if (this.isWhole) return this.lines.map((_, index) => index);

    const offset = -this.body.getBoundingClientRect().top;
    const first = Math.max(0, this.indexAt(offset) - OVERSCAN);
    const last = this.indexAt(offset + innerHeight) + OVERSCAN;
    const end = Math.min(this.lines.length, last + 1);
    const visible = [];
    for (let index = first; index < end; index++) visible.push(index);

    // The line with the focus stays, or the focus would fall back to the top of the page.
    const focused = document.activeElement?.closest?.(".line");
    const isOurs = focused && this.body.contains(focused);
    const kept = isOurs ? this.indexes.get(focused.lineKey) : undefined;
    if (kept < first) visible.unshift(kept);
    if (kept >= end) visible.push(kept);
    return visible;
  }

  nodeOf(line) {
    let node = this.nodes.get(line.key);
    if (!node) {
      node = this.create(line);
      node.classList.add("line");
      node.lineKey = line.key;
      attribute(node, "data-key", line.key);
      this.nodes.set(line.key, node);
    }
    return node;
  }

  remove(key, node) {
    this.sizes.unobserve(node);
    node.remove();
    this.nodes.delete(key);
  }

  /** The index of the line at this distance from the list's top. */
  indexAt(offset) {
    let low = 0;
    let high = this.lines.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.tops[middle + 1] <= offset) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
