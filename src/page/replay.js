// The time line of a recording that is played: where it is, and what goes to another place. All
// viewers see the same recording, so the server has its state, and this changes it there.

import { attribute, byId, drawGlyph, drawing, hide, text } from "./dom.js";
import { dateAndTime } from "./times.js";
import { REPLAY } from "./words.js";

/** How often the place is drawn, in milliseconds. */
const INTERVAL = 250;
/** How long a drag rests before the recording goes there. */
const REST = 150;
/** How long after an event a step back leads to the one before it. */
const NEAR = 1500;
/** How often the events are asked for until all have been found. */
const SEARCHING = 2000;

/**
 * How a recording is played, in milliseconds since its beginning. `rate` is how fast time passes in
 * it now; `clock` says whether it has a wall clock.
 * @typedef {object} Replay
 * @property {number} begin
 * @property {number} end
 * @property {number} position
 * @property {boolean} paused
 * @property {number} rate
 * @property {number} speed
 * @property {boolean} clock
 */

/** The place at a time after the status arrived. */
export const placeAt = ({ position, end, rate }, elapsed) =>
  Math.min(position + elapsed * rate, Math.max(end, position));

/** The event before a place, or undefined. One that is hardly over does not count. */
export const eventBefore = (events, place, isRunning) =>
  events.findLast((event) => event < place - (isRunning ? NEAR : 0));

/** The event after a place, or undefined. */
export const eventAfter = (events, place) => events.find((event) => event > place);

/** The bar with the time line. It is only shown while a recording is played with --replay. */
export class ReplayBar {
  /** @type {?Replay} */
  #replay = null;
  /** When it arrived, by the clock of this browser. */
  #received = 0;
  /** The places of events. */
  #events = [];
  #isSearched = false;
  #asked = -Infinity;
  /** The place to which somebody is dragging, or has gone, until the server is there. */
  #target = null;
  #timer = null;

  #parts = {
    bar: byId("replay"),
    previous: byId("replay-previous"),
    play: byId("replay-play"),
    next: byId("replay-next"),
    marks: byId("replay-marks"),
    slider: byId("replay-position"),
    time: byId("replay-time"),
    speed: byId("replay-speed"),
  };

  /**
   * @param {object} server
   * @param {() => Promise<?{events: number[], complete: boolean}>} server.events
   * @param {(change: object) => Promise<boolean>} server.change whether the server accepts it
   * @param {() => number} server.now the wall clock of the recording
   * @param {(words: string) => void} announce
   */
  constructor(server, announce) {
    this.server = server;
    this.announce = announce;
    const { previous, play, next, slider, speed } = this.#parts;

    previous.addEventListener("click", () => this.#step(eventBefore));
    next.addEventListener("click", () => this.#step(eventAfter));
    play.addEventListener("click", () => this.#togglePause());
    speed.addEventListener("change", () => this.#change({ speed: speed.value }));
    slider.addEventListener("input", () => {
      this.#target = Number(slider.value);
      this.#draw();
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.#go(this.#target), REST);
    });
    setInterval(() => this.#draw(), INTERVAL);
  }

  /** Shows how the recording is played, as the server says it in a status. */
  show(health) {
    const replay = health.replay ?? null;
    if (replay && this.#timer == null) this.#target = null;

    this.#replay = replay;
    this.#received = Date.now();
    hide(this.#parts.bar, !replay);
    this.#draw();
  }

  #place() {
    return this.#target ?? placeAt(this.#replay, Date.now() - this.#received);
  }

  #isAtEnd() {
    return this.#place() >= this.#replay.end;
  }

  #togglePause() {
    const { begin, paused } = this.#replay;
    if (this.#isAtEnd()) this.#change({ position: begin, paused: 0 });
    else this.#change({ paused: paused ? 0 : 1 });
  }

  #step(find) {
    const event = find(this.#events, this.#place(), this.#replay.rate > 0);
    if (event == null || event < this.#replay.begin || event > this.#replay.end) return;
    this.#go(event);
    this.announce(this.#wordsAt(event));
  }

  async #go(position) {
    clearTimeout(this.#timer);
    this.#timer = null;
    this.#target = position;
    this.#draw();
    await this.#change({ position: Math.round(position) });
  }

  async #change(change) {
    const isAccepted = await this.server.change(change).catch(() => false);
    if (isAccepted) return;
    this.#target = null;
    this.announce(REPLAY.refused);
    this.#draw();
  }

  /** The place in words: the time if there is one, and how far it is. */
  #wordsAt(place) {
    const { begin, end, clock } = this.#replay;
    const progress = REPLAY.progress(span(place - begin), span(end - begin));
    if (!clock) return progress;
    const now = placeAt(this.#replay, Date.now() - this.#received);
    return `${dateAndTime(this.server.now() + place - now, "local")}, ${progress}`;
  }

  #draw() {
    if (!this.#replay) return;
    const { begin, end, paused, speed: factor } = this.#replay;
    const { previous, play, next, slider, time, speed } = this.#parts;
    const place = this.#place();
    const words = this.#wordsAt(place);

    attribute(slider, "min", begin);
    attribute(slider, "max", end);
    // A key moves it by a second, or by a part of the recording that can be seen.
    attribute(slider, "step", Math.max(1000, Math.round((end - begin) / 500)));
    if (Math.round(Number(slider.value)) !== Math.round(place)) slider.value = place;
    attribute(slider, "aria-valuetext", words);
    text(time, words);

    const isStopped = paused || this.#isAtEnd();
    attribute(play, "aria-label", isStopped ? REPLAY.play : REPLAY.pause);
    attribute(play, "title", isStopped ? REPLAY.play : REPLAY.pause);
    drawGlyph(play.querySelector("svg"), isStopped ? "play" : "pause");
    const before = eventBefore(this.#events, place, this.#replay.rate > 0);
    attribute(previous, "aria-disabled", before == null);
    attribute(next, "aria-disabled", eventAfter(this.#events, place) == null);

    const isListed = [...speed.options].some((option) => Number(option.value) === factor);
    if (!isListed) speed.add(new Option(`${factor}×`, factor));
    if (document.activeElement !== speed) speed.value = factor;
    this.#askForEvents();
  }

  async #askForEvents() {
    if (this.#isSearched || Date.now() - this.#asked < SEARCHING) return;
    this.#asked = Date.now();

    const found = await this.server.events().catch(() => null);
    if (!found) return;
    this.#events = found.events;
    this.#isSearched = found.complete;
    this.#drawMarks();
  }

  #drawMarks() {
    const { begin, end } = this.#replay;
    const length = Math.max(end - begin, 1);
    // As many as can be seen.
    const places = new Set(
      this.#events
        .filter((event) => event >= begin && event <= end)
        .map((event) => Math.round(((event - begin) / length) * 1000)),
    );
    const mark = (x) => drawing("rect", { x, y: 0, width: 2, height: 1 });
    this.#parts.marks.replaceChildren(...[...places].map(mark));
  }
}

/** A span of time: "2:03", "1:02:03". */
export function span(milliseconds) {
  const seconds = Math.max(0, Math.round(milliseconds / 1000));
  const parts = [Math.floor(seconds / 60) % 60, seconds % 60];
  const hours = Math.floor(seconds / 3600);
  if (hours) parts.unshift(hours);
  return parts.map((part, index) => (index ? String(part).padStart(2, "0") : part)).join(":");
}
