// Creates and changes elements. All text is inserted as text, never as HTML: names and descriptions
// of units are not trusted.

const SVG = "http://www.w3.org/2000/svg";

export const byId = (id) => document.getElementById(id);

/**
 * An element with attributes and children: nodes, strings, or null for nothing. An attribute whose
 * name starts with `on` is a listener.
 */
export function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else attribute(node, name, value);
  }
  node.append(...children.filter((child) => child != null));
  return node;
}

/** An element of a drawing (SVG). */
export function drawing(tag, attributes = {}) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) attribute(node, name, value);
  return node;
}

/** A button that submits no form. */
export const button = (attributes, ...children) =>
  element("button", { type: "button", ...attributes }, ...children);

/** Sets an attribute unless it has this value, or removes it if the value is null or undefined. */
export function attribute(node, name, value) {
  if (value == null) {
    if (node.hasAttribute(name)) node.removeAttribute(name);
  } else if (node.getAttribute(name) !== String(value)) {
    node.setAttribute(name, value);
  }
}

/** Hides an element, or shows it. */
export const hide = (node, isHidden) => node.toggleAttribute("hidden", Boolean(isHidden));

/** Sets the text, unless it has it already. */
export function text(node, value) {
  if (node.textContent !== value) node.textContent = value;
}

/** One of the symbols in index.html, in the colour of the text around it. */
export function glyph(name) {
  const svg = drawing("svg", { class: "glyph", "aria-hidden": "true" });
  svg.append(drawing("use"));
  drawGlyph(svg, name);
  return svg;
}

/** Makes an element of `glyph` show another symbol. */
export function drawGlyph(svg, name) {
  attribute(svg.firstElementChild, "href", `#${name}`);
}
