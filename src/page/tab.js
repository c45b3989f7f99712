// The title and the icon in the browser's tab, which are visible even while the page is not.

import { attribute } from "./dom.js";

const COLOURS = { bad: "#d92d20", warn: "#dc8a00", good: "#1f9d4d" };
const GRAY = "#7a8494";

const TICK = "M5 8.400 7.200 10.600 11.200 6";
const CROSS = "M5.500 5.500l5 5m0-5-5 5";
const EXCLAMATION_MARK = "M8 4.500v4.200m0 2v.8";
const SHAPES = { good: TICK, bad: CROSS };

/**
 * @param {number} problems how many there are, but for those that are muted
 * @param {boolean} isDoubtful whether the data may be old or wrong
 * @param {?string} tone of the headline; null if nothing is known
 */
export function drawTab(problems, isDoubtful, tone) {
  const mark = isDoubtful ? "(?) " : problems ? `(${problems}) ` : "";
  const title = `${mark}fleet-monitor`;
  if (document.title !== title) document.title = title;

  const link = document.querySelector("link[rel=icon]");
  attribute(link, "href", `data:image/svg+xml,${encodeURIComponent(iconOf(tone))}`);
}

function iconOf(tone) {
  const colour = COLOURS[tone] ?? GRAY;
  const shape = SHAPES[tone] ?? EXCLAMATION_MARK;
  return (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16">' +
    `<path d="M8 .5 14.800 4.300v7.400L8 15.500 1.200 11.700V4.300z" fill="${colour}"/>` +
    `<path d="${shape}" fill="none" stroke="#fff" stroke-width="1.800" stroke-linecap="round"/>` +
    "</svg>"
  );
}
