// A long list of which only the visible part is in the document. Lines have one height, from `--row` in the style sheet,
// but for those that say `measured`: their height is what their content needs.

import { attribute } from "./dom.js";

const OVERSCAN = 6; // lines beyond each edge, so that a small scroll shows no gap
const UNMEASURED = 240;

export class WindowedList {
  /**
   * `body` is the element that the lines go into; it scrolls with the page. `create(line)` makes a line's element and
   * `update(node, line, index)` brings it up to date. Lines have a `key` of their own and may be `measured`.
   */
  constructor(body, { create, update, measured = () => false }) {
    Object.assign(this, { body, create, update, measured });
    this.lines = [];
    this.tops = [0];
    this.nodes = new Map();
    this.heights = new Map();
    this.found = null;
    this.request = 0;
    this.sizes = new ResizeObserver((entries) => this.resized(entries));
    addEventListener("scroll", () => this.schedule(), { passive: true });
    new ResizeObserver(() => this.layout()).observe(body);
  }

  /** Shows these lines. If the one with the focus is not among them, the tab panel gets it, or it would be lost. */
  show(lines) {
    const focused = this.body.contains(document.activeElement);
    this.lines = lines;
    this.found = null;
    for (const key of this.heights.keys()) if (!this.indexes.has(key)) this.heights.delete(key);
    this.layout();
    if (focused && (!lines.length || !this.body.contains(document.activeElement))) this.body.closest("[role=tabpanel]").focus({ preventScroll: true });
  }

  /** The index of each line by its key; made when it is asked for, which for most changes of the lines it never is. */
  get indexes() {
    return (this.found ??= new Map(this.lines.map((line, index) => [line.key, index])));
  }

  /** Scrolls as little as needed to have a line in sight, `above` pixels of it being covered by what is sticky. */
  reveal(key, above) {
    const index = this.indexes.get(key);
    if (index === undefined) return null;
    const top = this.body.getBoundingClientRect().top + this.tops[index];
    const height = this.tops[index + 1] - this.tops[index];
    if (top < above) scrollBy({ top: top - above, behavior: "instant" });
    else if (top + height > innerHeight) scrollBy({ top: top + height - innerHeight, behavior: "instant" });
    this.render();
    return this.nodes.get(key);
  }

  layout() {
    if (!this.body.isConnected || this.body.closest("[hidden]")) return;
    this.row = parseFloat(getComputedStyle(this.body).getPropertyValue("--row"));
    const tops = new Float64Array(this.lines.length + 1);
    this.lines.forEach((line, index) => {
      tops[index + 1] = tops[index] + (this.measured(line) ? (this.heights.get(line.key) ?? UNMEASURED) : this.row);
    });
    this.tops = tops;
    this.body.style.height = `${tops[this.lines.length]}px`;
    this.render();
  }

  resized(entries) {
    let changed = false;
    for (const { target } of entries) {
      const height = target.offsetHeight;
      if (height && this.heights.get(target.lineKey) !== height) {
        this.heights.set(target.lineKey, height);
        changed = true;
      }
    }
    if (changed) requestAnimationFrame(() => this.layout());
  }

  schedule() {
    this.request ||= requestAnimationFrame(() => {
      this.request = 0;
      this.render();
    });
  }

  render() {
    if (this.body.closest("[hidden]")) return;
    const offset = -this.body.getBoundingClientRect().top;
    const first = Math.max(0, this.indexAt(offset) - OVERSCAN);
    const end = Math.min(this.lines.length, this.indexAt(offset + innerHeight) + 1 + OVERSCAN);
    const shown = [];
    for (let index = first; index < end; index++) shown.push(index);
    // The line with the focus stays, or the focus would fall back to the top of the page.
    const focused = document.activeElement?.closest?.(".line");
    const kept = focused && this.body.contains(focused) ? this.indexes.get(focused.lineKey) : undefined;
    if (kept !== undefined && kept < first) shown.unshift(kept);
    if (kept !== undefined && kept >= end) shown.push(kept);
    const keys = new Set(shown.map((index) => this.lines[index].key));
    for (const [key, node] of this.nodes) if (!keys.has(key)) this.remove(key, node);
    let position = this.body.firstElementChild;
    for (const index of shown) {
      const node = this.nodeOf(this.lines[index]);
      this.update(node, this.lines[index], index);
      node.style.transform = `translateY(${this.tops[index]}px)`;
      if (node === position) position = position.nextElementSibling;
      else this.body.insertBefore(node, position);
      if (this.measured(this.lines[index])) this.sizes.observe(node);
    }
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

  indexAt(offset) {
    let [low, high] = [0, this.lines.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.tops[middle + 1] <= offset) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
