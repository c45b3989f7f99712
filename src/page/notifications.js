// The browser's notifications of new problems, for a viewer who has asked for them, and the button
// that he asks with. It must not know what a problem is.

import { attribute, byId, hide } from "./dom.js";
import { Notices } from "./notices.js";
import { listenToStorage, recall, remember } from "./storage.js";
import { NOTIFICATIONS } from "./words.js";

const NAME = "notifications";

export class Notifications {
  /** @type {?Notification} */
  #current = null;
  /** Whether the viewer wants them. */
  #isOn = recall(NAME) === "on";
  /** Why there can be none, or null. */
  #reason = reasonWithout();

  /** @param {(sentence: string) => void} announce */
  constructor(announce) {
    this.announce = announce;
    this.button = byId("notify");
    this.notices = new Notices(
      (notice) => this.show(notice),
      () => this.withdraw(),
    );
    this.button.addEventListener("click", () => this.clicked());
    listenToStorage(NAME, () => this.turn(recall(NAME) === "on"));
    this.draw();
  }

  /**
   * @param {import("./problems.js").Problem[]} opened what has begun
   * @param {Map<string, import("./problems.js").Problem>} open all that is not muted, by ID
   * @param {boolean} isRecording whether the problems are of the past
   */
  update(opened, open, isRecording) {
    if (isRecording) this.give(NOTIFICATIONS.recording);
    else if (this.isActive) this.notices.update(opened, open);
  }

  get isActive() {
    return this.#isOn && !this.#reason && Notification.permission === "granted";
  }

  async clicked() {
    const isWanted = !this.isActive;
    // Only here: a page that asks without having been asked is refused for ever.
    if (isWanted && Notification.permission === "default") await Notification.requestPermission();

    const isOn = isWanted && Notification.permission === "granted";
    if (isWanted && !isOn) this.announce(`${NOTIFICATIONS.refused}.`);
    remember(NAME, isOn ? "on" : null);
    this.turn(isOn);
  }

  turn(isOn) {
    this.#isOn = isOn;
    if (!isOn) this.notices.stop();
    this.draw();
  }

  /** There can be no notifications, for this reason. */
  give(reason) {
    if (this.#reason) return;
    this.#reason = reason;
    this.draw();
  }

  draw() {
    hide(this.button, this.#reason);
    const isRefused = !this.#reason && Notification.permission === "denied";
    const words = this.isActive ? NOTIFICATIONS.on : NOTIFICATIONS.off;
    attribute(this.button, "title", this.#reason ?? (isRefused ? NOTIFICATIONS.refused : words));
    attribute(this.button, "aria-pressed", this.isActive);
    this.button.toggleAttribute("data-refused", isRefused);
  }

  /** @param {import("./notices.js").Notice} notice */
  show({ title, ...options }) {
    let notification;
    try {
      notification = new Notification(title, options);
    } catch {
      // Some browsers of phones have the interface and no notifications.
      return this.give(NOTIFICATIONS.missing);
    }

    this.#current = notification;
    notification.onclick = () => {
      focus();
      notification.close();
    };
    notification.onclose = () => {
      if (this.#current === notification) this.notices.dismissed();
    };
  }

  withdraw() {
    const notification = this.#current;
    this.#current = null;
    notification?.close();
  }
}

function reasonWithout() {
  if (!("Notification" in window)) return NOTIFICATIONS.missing;
  return isSecureContext ? null : NOTIFICATIONS.insecure;
}
