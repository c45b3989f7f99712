// Elements whose text is an age, which grows while they are in the document.

import { attribute, element, text } from "./dom.js";
import { AGES, alreadySo, duration } from "./words.js";

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

/** Changes the age in an element, or, if `since` is null or undefined, removes it. */
export function setAge(node, since, wording, isExact = true) {
  attribute(node, "data-since", since);
  attribute(node, "data-wording", wording);
  node.toggleAttribute("data-unseen", !isExact);
  if (since == null) text(node, "");
  else writeAge(node);
}

/** Brings all ages in the document up to date. */
export function updateAges() {
  for (const node of document.querySelectorAll("[data-since]")) writeAge(node);
}

function writeAge(node) {
  const since = Number(node.dataset.since);
  const isExact = !("unseen" in node.dataset);
  text(node, AGES[node.dataset.wording](duration(clock.now() - since), isExact));

  if (node.absolute === since) return;
  node.absolute = since;
  const date = new Date(since);
  node.dateTime = date.toISOString();
  node.title = isExact ? date.toLocaleString() : alreadySo(date.toLocaleString());
}
