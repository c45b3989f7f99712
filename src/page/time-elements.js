// Elements whose text is a time, which changes while they are in the document: as ages grow, at
// midnight, and when the viewer chooses another format. Each has its time for programs, and a
// tooltip with the whole of it in the viewer's zone and in UTC.

import { attribute, element, text } from "./dom.js";
import {
  inBothZones,
  inCell,
  inSentence,
  timeOfDay,
  timeWithZone,
  withBothZones,
} from "./times.js";
import { alreadySo, orEarlier } from "./words.js";

/** The clock by which times are written, and how. app.js sets both. */
export const clock = {
  /** By the server's clock, in milliseconds since 1970. */
  now: () => Date.now(),
  /** @type {import("./times.js").TimeFormat} */
  format: "relative",
};

/**
 * How much is written of a time:
 * - `sentence`: in words, as the viewer has chosen, such as "for 12 s"
 * - `cell`: as short as possible, as the viewer has chosen
 * - `pair`: the age, and the time
 * - `full`: the age, and the time in the viewer's zone and in UTC, whatever he has chosen
 * - `time`: the time alone
 * @typedef {"sentence" | "cell" | "pair" | "full" | "time"} TimeForm
 */

/**
 * An element with a time.
 * @param {number} time in milliseconds since 1970
 * @param {object} [how]
 * @param {TimeForm} [how.form]
 * @param {keyof import("./words.js").AGES} [how.wording] of the sentence, or of the age
 * @param {boolean} [how.isExact] false if it was already so when the monitor started, at that time
 */
export function timeElement(time, how) {
  const node = element("time");
  setTime(node, time, how);
  return node;
}

/** Changes the time in an element, or, if it is null or undefined, removes it. */
export function setTime(node, time, { form = "sentence", wording = "ago", isExact = true } = {}) {
  attribute(node, "data-since", time);
  attribute(node, "data-form", form);
  attribute(node, "data-wording", wording);
  node.toggleAttribute("data-unseen", !isExact);
  if (time == null) text(node, "");
  else write(node);
}

/** A sentence with a time, of its text before and behind the time. */
export function sentenceWithTime([before, behind], time) {
  const node = time == null ? null : timeElement(time, { form: "time" });
  return element("span", {}, before, node, behind);
}

/**
 * Shows a sentence with times in an element. The times in it stay the same elements while the
 * text around them does.
 * @param {(string | {time: number, form?: TimeForm, wording?: string})[]} parts
 */
export function drawSentence(node, parts) {
  const isText = (part) => typeof part === "string";
  const shape = JSON.stringify(parts.map((part) => (isText(part) ? part : null)));
  if (node.shape !== shape) {
    node.shape = shape;
    node.replaceChildren(...parts.map((part) => (isText(part) ? part : element("time"))));
  }

  const times = parts.filter((part) => !isText(part));
  times.forEach(({ time, ...how }, index) => setTime(node.children[index], time, how));
}

/**
 * Writes a time of day into an element that is not brought up to date any more: there may be
 * thousands of them. Its zone is named elsewhere.
 */
export function setFixedTime(node, time) {
  text(node, timeOfDay(time, clock.now(), clock.format));
  writeAttributes(node, time, true);
}

/** Brings all times in the document up to date. */
export function updateTimes() {
  for (const node of document.querySelectorAll("[data-since]")) write(node);
}

function write(node) {
  const time = Number(node.dataset.since);
  const isExact = !("unseen" in node.dataset);
  const { form, wording } = node.dataset;
  WRITERS[form](node, time, isExact, wording, clock.now(), clock.format);
  writeAttributes(node, time, isExact);
}

/** @type {Record<TimeForm, (node: HTMLElement, ...how: any[]) => void>} */
const WRITERS = {
  sentence(node, time, isExact, wording, now, format) {
    text(node, inSentence(time, wording, isExact, now, format));
  },
  cell(node, time, isExact, wording, now, format) {
    const short = inCell(time, isExact, now, format);
    if (isExact) return text(node, short);
    // Screen readers read words in place of the symbol.
    const [shown, read] = spansOf(node, ["short", "visually-hidden"]);
    attribute(shown, "aria-hidden", true);
    text(shown, short);
    text(read, inSentence(time, "for", isExact, now, format));
  },
  pair(node, time, isExact, wording, now, format) {
    const at = timeWithZone(time, now, format);
    writeSpans(node, time, isExact, wording, now, [at]);
  },
  full(node, time, isExact, wording, now) {
    writeSpans(node, time, isExact, wording, now, withBothZones(time, now));
  },
  time(node, time, isExact, wording, now, format) {
    const at = timeWithZone(time, now, format);
    text(node, isExact ? at : orEarlier(at));
  },
};

/** Writes the age, and behind it times. */
function writeSpans(node, time, isExact, wording, now, times) {
  const spans = spansOf(node, ["age", ...times.map(() => "at")]);
  text(spans[0], inSentence(time, wording, isExact, now, "relative"));
  times.forEach((at, index) => {
    const isLast = index === times.length - 1;
    text(spans[index + 1], isLast && !isExact ? orEarlier(at) : at);
  });
}

/** The elements in a node, by their classes. They are made unless the node has them. */
function spansOf(node, classes) {
  const isMade =
    node.childElementCount === classes.length &&
    classes.every((name, index) => node.children[index].className === name);
  if (!isMade) {
    const spans = classes.flatMap((name) => [element("span", { class: name }), " "]);
    node.replaceChildren(...spans.slice(0, -1));
  }
  return node.children;
}

/** The time for programs, and the tooltip. */
function writeAttributes(node, time, isExact) {
  const signature = `${time} ${isExact}`;
  if (node.signature === signature) return;
  node.signature = signature;

  const date = new Date(time);
  const isValid = !Number.isNaN(date.getTime());
  const both = isValid ? inBothZones(time).join("\n") : null;
  attribute(node, "datetime", isValid ? date.toISOString() : null);
  attribute(node, "title", both && !isExact ? alreadySo(both) : both);
}
