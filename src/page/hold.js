// Whether somebody reads the table: the mouse is over it, or it has the focus of the keyboard. Then
// its order is held, and a mark says how many rows wait.
//
// A touch holds nothing: it has no end at which the order could be released.

import { attribute, button, element, hide, text } from "./dom.js";
import { TABLE } from "./words.js";

export class Hold {
  #isPointed = false;
  /** How many rows wait. */
  #waiting = 0;

  /**
   * @param {HTMLElement} body the rows
   * @param {(byKeyboard: boolean) => void} release called when nobody reads any more, or when a
   *   user wants to see what waits
   */
  constructor(body, release) {
    this.status = element("span", { role: "status" });
    const onclick = (event) => release(event.detail === 0);
    this.button = button({ class: "quiet", onclick }, TABLE.showNow);
    this.mark = element("div", { class: "waiting" }, this.status, this.button);
    this.release = release;
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
    if (!stays && !this.#isPointed) this.releaseIfWaiting();
  }

  releaseIfOver() {
    if (!this.isHeld) this.releaseIfWaiting();
  }

  releaseIfWaiting() {
    if (this.#waiting) this.release(false);
  }
}
