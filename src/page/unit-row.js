// The element of a row in the table of units.

import { attribute, drawGlyph, element, glyph, text } from "./dom.js";
import { setTime } from "./time-elements.js";
import { TABLE, shortId, verdictWord } from "./words.js";

const LEAVING = { gone: TABLE.gone, unmatched: TABLE.unmatched };

export const cellClass = (column) => `cell ${column === "unit" ? "name-cell" : column}`;

export function createRow() {
  const parts = {
    unit: element("span", { class: "name" }),
    tag: element("span", { class: "tag" }),
    leaving: element("span", { class: "tag leaving" }),
    stateGlyph: glyph("active"),
    state: element("span"),
    verdictGlyph: glyph("ok"),
    verdict: element("span"),
    machine: element("span", { class: "ip" }),
    note: element("span", { class: "id" }),
    since: element("time"),
  };

  const cell = (column, ...children) =>
    element("div", { role: "gridcell", class: cellClass(column) }, ...children);
  const row = element(
    "div",
    { role: "row", class: "unit" },
    cell("unit", glyph("open"), parts.unit, parts.tag, parts.leaving),
    cell("state", parts.stateGlyph, parts.state),
    cell("verdict", parts.verdictGlyph, parts.verdict),
    cell("machine", parts.machine, parts.note),
    cell("since", parts.since),
  );
  return Object.assign(row, { parts });
}

/** @param {import("./lines.js").Line} line @param {boolean} isActive whether Tab moves to it */
export function updateRow(node, line, isActive) {
  const { row, level, opened, leaving } = line;
  const { parts } = node;

  attribute(node, "tabindex", isActive ? 0 : -1);
  attribute(node, "aria-expanded", opened);
  attribute(node, "data-tone", row.tone);
  attribute(node, "data-level", level);
  node.toggleAttribute("data-wrong", row.verdict !== "ok");
  const isLast = row.active != null && row.state == null;
  node.toggleAttribute("data-last", isLast);
  node.toggleAttribute("data-submitted", Boolean(row.submitted));
  attribute(node, "data-leaving", leaving);

  text(parts.unit, row.unit);
  attribute(parts.unit, "title", row.description ?? row.unit);
  text(parts.tag, tagOf(line));
  text(parts.leaving, LEAVING[leaving] ?? "");

  drawGlyph(parts.stateGlyph, row.glyph);
  text(parts.state, row.stateText);
  attribute(parts.state, "title", isLast ? TABLE.lastKnown : null);
  drawGlyph(parts.verdictGlyph, verdictGlyphOf(row));
  text(parts.verdict, verdictOf(row));

  text(parts.machine, row.where ?? TABLE.noMachine);
  parts.machine.toggleAttribute("data-none", row.where == null);
  text(parts.note, noteOf(row));
  const since = row.submitted ? null : row.since;
  setTime(parts.since, since, { form: "cell", isExact: row.since_seen });
}

/** What a unit that no machine has reported is waiting for stands in place of `ok`. */
function verdictGlyphOf({ submitted, expected, verdict, glyph }) {
  return submitted || expected ? glyph : verdict;
}

function verdictOf({ submitted, expected, verdict }) {
  if (submitted) return TABLE.notStarted;
  return expected ? TABLE.notYet : verdictWord(verdict);
}

/** Rows in a group need no tag: the group has it. */
function tagOf({ kind, level, row }) {
  const isGlobal = kind === "group" || (row.global && level !== 2);
  return isGlobal ? TABLE.global : "";
}

/** What stands behind the address of the machine. */
function noteOf({ onlyTarget, ip, place }) {
  if (onlyTarget) return TABLE.target;
  return ip && place ? shortId(place) : "";
}
