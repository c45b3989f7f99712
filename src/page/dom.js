// Making and changing elements. All text goes in as text, never as HTML: names and descriptions come from strangers.

import { AGES, duration } from "./model.js";

const SVG = "http://www.w3.org/2000/svg";

/** An element with attributes (`on…` are listeners) and children: nodes, strings, or null for nothing. */
export function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else attribute(node, name, value);
  }
  node.append(...children.filter((child) => child != null));
  return node;
}

/** Sets an attribute, or removes it where the value is null, undefined or false; touches nothing that is so already. */
export function attribute(node, name, value) {
  if (value == null || value === false) {
    if (node.hasAttribute(name)) node.removeAttribute(name);
  } else if (node.getAttribute(name) !== String(value)) {
    node.setAttribute(name, value);
  }
}

/** Sets the text, unless it is so already. */
export function text(node, value) {
  if (node.textContent !== value) node.textContent = value;
}

/** One of the symbols of the page, in the colour of the text around it. */
export function glyph(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "glyph");
  svg.setAttribute("aria-hidden", "true");
  svg.append(document.createElementNS(SVG, "use"));
  return drawGlyph(svg, name);
}

/** Makes a glyph another one. */
export function drawGlyph(svg, name) {
  attribute(svg.firstElementChild, "href", `#${name}`);
  return svg;
}

/** What ages are counted by: set once, to the server's clock. */
export const clock = { now: () => Date.now() };

/** An element whose text is an age that `tick` lets go on; `wording` is a key of `AGES`. */
export function age(since, wording, seen = true) {
  const node = element("time");
  setAge(node, since, wording, seen);
  return node;
}

/** Makes an age another one. */
export function setAge(node, since, wording, seen = true) {
  attribute(node, "data-since", since);
  attribute(node, "data-wording", wording);
  attribute(node, "data-unseen", !seen && "");
  if (since == null) text(node, "");
  else writeAge(node);
}

/** Lets all ages that are in the document go on. */
export function tick() {
  for (const node of document.querySelectorAll("[data-since]")) writeAge(node);
}

function writeAge(node) {
  const since = Number(node.dataset.since);
  const seen = !("unseen" in node.dataset);
  text(node, AGES[node.dataset.wording](duration(clock.now() - since), seen));
  if (node.absolute === since) return;
  node.absolute = since;
  const date = new Date(since);
  node.dateTime = date.toISOString();
  node.title = (seen ? "" : "Already so when watching began, ") + date.toLocaleString();
}
