// A section below the details of a unit: the last hour as a strip, and in words. The height of a
// state in the strip says what it is, with or without colours.

import { attribute, drawing, element, hide, text } from "./dom.js";
import { HOUR, KINDS, lastHour } from "./last-hour.js";
import { clock, drawSentence } from "./time-elements.js";
import { timeWithZone } from "./times.js";
import { LAST_HOUR, STATE_WORDS, duration, joinParts } from "./words.js";

/** The strip moves on with time. */
const INTERVAL = 60_000;
/** By how many milliseconds the page's idea of the server's clock may lag. */
const MAX_LAG = 10_000;
/** The height of the strip, and the least width of a state in it, in its own units. */
const HEIGHT = 32;
const LEAST = 14;
/** The width of the strip: one second is one unit. */
const WIDTH = HOUR / 1000;

/** Where the bars of each kind of state are: `[top, height]`. */
const BARS = {
  up: [[0, 9]],
  moving: [[11, 9]],
  down: [[23, 9]],
  failed: [[0, 32]],
  loop: [
    [0, 11],
    [21, 11],
  ],
  unreported: [[15, 2]],
  absent: [],
};

const TONES = {
  up: "good",
  moving: "busy",
  down: "idle",
  failed: "bad",
  loop: "bad",
  unreported: "warn",
};

/** @implements {import("./unit-detail.js").Section} */
export class UnitHistory {
  /** When the state began that is described, or null for the present one. */
  #chosen = null;
  #signature = "";
  /** @type {import("./last-hour.js").LastHour} */
  #hour = null;
  #row = null;

  /** @param {import("./units.js").Actions} actions */
  constructor(actions) {
    this.actions = actions;
    this.summary = element("span");
    this.drawing = drawing("svg", {
      viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
      preserveAspectRatio: "none",
      "aria-hidden": "true",
    });
    this.strip = element(
      "div",
      {
        class: "strip",
        role: "slider",
        tabindex: 0,
        "aria-label": LAST_HOUR.label,
        "aria-valuemin": 1,
        onkeydown: (event) => this.#keyPressed(event),
        onpointermove: (event) => this.#pointed(event),
        onpointerdown: (event) => this.#pointed(event),
        onpointerleave: ({ pointerType }) => {
          // What a finger has chosen stays.
          if (pointerType === "mouse") this.#choose(this.#hour.segments.length - 1);
        },
      },
      this.drawing,
    );
    this.chosen = element("p", { class: "chosen" });
    this.begin = element("span");
    this.node = element(
      "section",
      { class: "last-hour", hidden: "" },
      element("h3", {}, LAST_HOUR.title, " ", this.summary),
      this.strip,
      element("p", { class: "axis" }, this.begin, element("span", {}, LAST_HOUR.now)),
      this.chosen,
    );
    this.timer = setInterval(() => this.#draw(), INTERVAL);
  }

  update(row) {
    this.#row = row;
    const { events, beginning } = this.actions.historyOf(row);
    const { source } = row;
    const signature = JSON.stringify([
      row.stateText,
      row.verdict,
      source.stale_since,
      source.verdict_since,
      events.length,
      events[0]?.number,
      beginning,
      clock.format,
    ]);
    if (signature === this.#signature) return;
    this.#signature = signature;
    this.#draw();
  }

  close() {
    clearInterval(this.timer);
  }

  #draw() {
    const { events, beginning, isStarted } = this.actions.historyOf(this.#row);
    const now = present(events);
    const oldestFirst = [...events].reverse();
    this.#hour = lastHour(this.#row.source, oldestFirst, beginning?.time, isStarted, now);

    const { segments } = this.#hour;
    hide(this.node, !segments.length);
    if (!segments.length) return;
    attribute(this.node, "data-flapping", this.#hour.isFlapping || this.#hour.isLooping || null);
    text(this.summary, inWords(this.#hour, now));
    attribute(this.strip, "aria-valuemax", segments.length);
    const isRelative = clock.format === "relative";
    const hourAgo = { time: now - HOUR, form: "cell" };
    drawSentence(this.begin, [isRelative ? LAST_HOUR.begin : hourAgo]);
    this.#drawStrip(now);
    this.#describe();
  }

  #drawStrip(now) {
    const start = now - HOUR;
    const { begin, segments } = this.#hour;
    const known = drawing("rect", { class: "known", ...span(begin, now, start), height: HEIGHT });
    // What matters most is on top, and wide enough to be seen.
    const byKind = [...segments].sort((a, b) => KINDS.indexOf(b.kind) - KINDS.indexOf(a.kind));
    const bars = byKind.flatMap(({ kind, from, to }) =>
      BARS[kind].map(([y, height]) =>
        drawing("rect", { "data-tone": TONES[kind], ...span(from, to, start), y, height }),
      ),
    );
    this.mark = drawing("rect", { class: "mark", y: 0, height: HEIGHT });
    this.drawing.replaceChildren(known, ...bars, this.mark);
  }

  // --- the state that is described

  get #index() {
    const index = this.#hour.segments.findIndex(({ to }) => this.#chosen < to);
    return this.#chosen == null || index < 0 ? this.#hour.segments.length - 1 : index;
  }

  #choose(index) {
    const { segments } = this.#hour;
    // It is hidden then, and a pointer that was over it leaves it.
    if (!segments.length) return;
    const isLast = index >= segments.length - 1;
    this.#chosen = isLast ? null : segments[Math.max(0, index)].from;
    this.#describe();
  }

  #describe() {
    const { segments } = this.#hour;
    const index = this.#index;
    const parts = describe(segments[index], index === 0, index === segments.length - 1);
    attribute(this.strip, "aria-valuenow", index + 1);
    attribute(this.strip, "aria-valuetext", parts.map(textOf).join(""));
    drawSentence(this.chosen, parts);

    const { from, to } = segments[index];
    const { x, width } = span(from, to, segments.at(-1).to - HOUR);
    attribute(this.mark, "x", x);
    attribute(this.mark, "width", width);
    this.mark.toggleAttribute("hidden", this.#chosen == null);
  }

  #keyPressed(event) {
    const { key } = event;
    const index = this.#index;
    if (key === "ArrowLeft" || key === "ArrowDown") this.#choose(index - 1);
    else if (key === "ArrowRight" || key === "ArrowUp") this.#choose(index + 1);
    else if (key === "Home") this.#choose(0);
    else if (key === "End") this.#choose(Infinity);
    else return;
    event.preventDefault();
  }

  #pointed({ clientX }) {
    const { left, width } = this.strip.getBoundingClientRect();
    const { segments } = this.#hour;
    if (!segments.length) return;
    const time = segments.at(-1).to - HOUR + ((clientX - left) / width) * HOUR;
    // A short state is drawn wider than it lasted.
    const least = LEAST * 1000;
    const isAt = ({ from, to }) => time >= from && time < Math.max(to, from + least);
    const hits = segments.filter(isAt);
    const found = hits.sort((a, b) => KINDS.indexOf(a.kind) - KINDS.indexOf(b.kind))[0];
    if (found) this.#choose(segments.indexOf(found));
  }
}

/**
 * The present by the server's clock. What the page knows of that clock may lag a little, but an
 * event is in the past, so that the state after it is shown.
 */
function present(newestFirst) {
  const now = clock.now();
  const latest = newestFirst[0]?.time ?? 0;
  return latest - now < MAX_LAG ? Math.max(now, latest + 1) : now;
}

/** Where a time is in the strip. */
function span(from, to, start) {
  const x = (from - start) / 1000;
  const width = Math.max(LEAST, (to - from) / 1000);
  return { x: Math.max(0, Math.min(x, WIDTH - width)), width };
}

/** "14 changes, flapping: it went down 5 times" */
function inWords({ begin, changes, falls, isFlapping, isLooping }, now) {
  const known = begin > now - HOUR ? LAST_HOUR.changesIn(changes, duration(now - begin)) : null;
  const trouble = isLooping ? LAST_HOUR.looping : isFlapping ? LAST_HOUR.flapping(falls) : null;
  return joinParts(known ?? LAST_HOUR.changes(changes), trouble);
}

/** "active/running from 14:03:22 +02:00 to 14:05:10 +02:00, for 108 s", as parts of a sentence. */
function describe({ state, kind, from, to }, isFirst, isLast) {
  const what = state ?? STATE_WORDS[kind];
  const [begin, end] = [from, to].map((time) => ({ time, form: "time" }));
  const age = duration(to - from);
  if (isFirst && isLast) return LAST_HOUR.allTheTime(what, age);
  if (isFirst) return LAST_HOUR.until(what, end);
  return isLast ? LAST_HOUR.since(what, begin, age) : LAST_HOUR.between(what, begin, end, age);
}

/** A part of such a sentence as text. */
const textOf = (part) =>
  typeof part === "string" ? part : timeWithZone(part.time, clock.now(), clock.format);
