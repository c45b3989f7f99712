// Elements whose text is an age, which grows while they are in the document, or a time.

import { attribute, element, text } from "./dom.js";
import { AGES, alreadySo, duration, localTime, orEarlier } from "./words.js";

/** The clock by which ages are computed. app.js sets it to the server's clock. */
export const clock = { now: () => Date.now() };

/**
 * @param {number} since in milliseconds since 1970
 * @param {keyof AGES} wording
 * @param {boolean} isExact false if it began before the monitor started, so that it is older
 */
export function age(since, wording, isExact = true) {
  const node = element("time");
  setAge(node, since, wording, isExact);
  return node;
}

/** Like `age`, with the time behind the age: "12 s ago · 14:03:22". */
export function ageAndTime(since, wording, isExact = true) {
  const node = element("time");
  setAgeAndTime(node, since, wording, isExact);
  return node;
}

/** A sentence with a time, of its text before and behind the time. */
export function sentenceWithTime([before, behind], time) {
  const node = element("time", { "data-time": "" });
  setAge(node, time, "ago");
  return element("span", {}, before, time == null ? null : node, behind);
}

/** Changes the age in an element, or, if `since` is null or undefined, removes it. */
export function setAge(node, since, wording, isExact = true) {
  attribute(node, "data-since", since);
  attribute(node, "data-wording", wording);
  node.toggleAttribute("data-unseen", !isExact);
  if (since == null) text(node, "");
  else writeAge(node);
}

/** Changes the age and the time in an element of `ageAndTime`. */
export function setAgeAndTime(node, since, wording, isExact = true) {
  attribute(node, "data-and-time", "");
  setAge(node, since, wording, isExact);
}

/** Brings all ages in the document up to date. */
export function updateAges() {
  for (const node of document.querySelectorAll("[data-since]")) writeAge(node);
}

function writeAge(node) {
  const { wording } = node.dataset;
  const since = Number(node.dataset.since);
  const isExact = !("unseen" in node.dataset);
  const age = duration(clock.now() - since);
  const words = AGES[wording](age, isExact);

  if ("time" in node.dataset) text(node, localTime(since, clock.now()));
  else if ("andTime" in node.dataset) writeAgeAndTime(node, words, since, isExact);
  else if (wording === "short" && !isExact) writeSymbol(node, words, AGES.for(age, isExact));
  else text(node, words);

  if (node.absolute === since) return;
  node.absolute = since;
  const date = new Date(since);
  node.dateTime = date.toISOString();
  node.title = isExact ? date.toLocaleString() : alreadySo(date.toLocaleString());
}

function writeAgeAndTime(node, words, since, isExact) {
  const [age, time] = partsOf(node, () => [
    element("span", { class: "age" }),
    element("span", { class: "at" }),
  ]);
  const at = localTime(since, clock.now());
  text(age, words);
  text(time, isExact ? at : orEarlier(at));
}

/** Writes an age with a symbol, and in its place words for screen readers. */
function writeSymbol(node, symbol, words) {
  const [shown, read] = partsOf(node, () => [
    element("span", { "aria-hidden": "true" }),
    element("span", { class: "visually-hidden" }),
  ]);
  text(shown, symbol);
  text(read, words);
}

/** The two elements in a node. They are made unless the node has them. */
function partsOf(node, make) {
  if (node.childElementCount === 2) return node.children;
  const [first, second] = make();
  node.replaceChildren(first, " ", second);
  return [first, second];
}
