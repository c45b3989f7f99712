// The switch of how times are written. What a viewer has chosen is kept in his browser; an address
// that says something else is followed, and not kept.

import { attribute, byId, text } from "./dom.js";
import { recall, remember } from "./storage.js";
import { TIME_FORMATS, zoneName } from "./times.js";
import { TIME_SWITCH } from "./words.js";

const NAME = "times";

/** The format that the viewer has chosen in this browser. */
export function ownFormat() {
  const kept = recall(NAME);
  return TIME_FORMATS.includes(kept) ? kept : TIME_FORMATS[0];
}

/** @param {(format: import("./times.js").TimeFormat) => void} choose */
export function listenToTimeSwitch(choose) {
  byId("times").addEventListener("change", ({ target }) => choose(target.value));
}

/** Keeps what was chosen. */
export const keepFormat = (format) =>
  remember(NAME, format === TIME_FORMATS[0] ? null : format);

/** Shows the format in force, and what the viewer's zone is now. */
export function drawTimeSwitch(format, now) {
  attribute(document.body, "data-times", format);
  const node = byId("times");
  if (node.value !== format) node.value = format;
  text(node.querySelector("[value=local]"), TIME_SWITCH.local(zoneName(now, "local")));
}
