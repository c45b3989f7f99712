// Whether somebody reads the table: the mouse is over it, or it has the focus of the keyboard. Then
// its order is held, it stays where it is in the window, and a mark says how many rows wait.
//
// A touch holds nothing: it has no end at which the order could be released.

import { attribute, button, element, hide, text } from "./dom.js";
import { TABLE } from "./words.js";

export class Hold {
  #isPointed = false;
  /** How many rows wait. */
  #waiting = 0;

  /**
   * @param {HTMLElement} panel what the rows are in
   * @param {HTMLElement} body the rows
   * @param {(byKeyboard: boolean) => void} release called when nobody reads any more, or when a
   *   user wants to see what waits
   */
  constructor(panel, body, release) {
    Object.assign(this, { panel, body, release });
    this.status = element("span", { role: "status" });
    const onclick = (event) => release(event.detail === 0);
    this.button = button({ class: "quiet", onclick }, TABLE.showNow);
    this.mark = element("div", { class: "waiting" }, this.status, this.button);
    this.parts = [body, this.mark];

    for (const part of this.parts) {
      part.addEventListener("pointerenter", (event) => this.pointerEntered(event));
      part.addEventListener("pointerleave", (event) => this.pointerLeft(event));
      part.addEventListener("focusin", () => this.releaseIfOver());
      part.addEventListener("focusout", (event) => this.focusLeft(event));
    }
    this.show(0);
  }

  get isHeld() {
    const focused = document.activeElement;
    return this.#isPointed || (this.contains(focused) && focused.matches(":focus-visible"));
  }

  contains(node) {
    return this.parts.some((part) => part.contains(node));
  }

  /** Says how many rows wait. */
  show(waiting) {
    // Screen readers announce that rows wait, but not each row.
    attribute(this.status, "aria-live", this.#waiting ? "off" : "polite");
    this.#waiting = waiting;
    text(this.status, waiting ? TABLE.waiting(waiting) : "");
    this.mark.toggleAttribute("data-empty", !waiting);
    hide(this.button, !waiting);
  }

  /**
   * Remembers where the rows are in the window. Returns a function that moves them there again if
   * what is above them has become higher or lower, as when a unit has failed. Without it, the mouse
   * would be on another row.
   * @returns {() => void}
   */
  keepPlace() {
    if (!this.isHeld) return () => {};
    // Browsers have something like this, which would do it a second time.
    document.documentElement.style.overflowAnchor = "none";
    const before = this.body.getBoundingClientRect().top;
    return () => this.#moveBy(this.body.getBoundingClientRect().top - before);
  }

  #moveBy(shift) {
    if (!shift || !this.isHeld) return;
    // The page is scrolled as far as it can be. The rest becomes space above the rows.
    const space = parseFloat(this.panel.style.paddingTop) || 0;
    const top = shift > 0 ? Math.max(0, shift - space) : Math.max(shift, -scrollY);
    this.panel.style.paddingTop = `${space + top - shift}px`;
    if (top > 0) {
      const height = scrollY + top + innerHeight;
      document.documentElement.style.minHeight = `${height}px`;
    }
    scrollBy({ top, behavior: "instant" });
  }

  /** Undoes what has kept the rows in their place. */
  restorePage() {
    document.documentElement.style.overflowAnchor = "";
    document.documentElement.style.minHeight = "";
    this.panel.style.paddingTop = "";
  }

  pointerEntered({ pointerType }) {
    if (pointerType === "mouse") this.#isPointed = true;
  }

  pointerLeft({ relatedTarget }) {
    this.#isPointed = this.#isPointed && this.contains(relatedTarget);
    this.releaseIfOver();
  }

  focusLeft({ target, relatedTarget }) {
    // A window that is left keeps its focus, and so does the mark if the focus goes there.
    const stays = this.contains(relatedTarget) || document.activeElement === target;
    if (!stays && !this.#isPointed) this.#end();
  }

  releaseIfOver() {
    if (!this.isHeld) this.#end();
  }

  #end() {
    this.restorePage();
    if (this.#waiting) this.release(false);
  }
}
