// The details below an open row: the reason for its verdict, facts about the unit, and its events.

import { age } from "./age.js";
import { button, element, glyph } from "./dom.js";
import { COLUMNS } from "./sorting.js";
import { DETAIL, shortHash, shortId } from "./words.js";

/** How many events are shown. */
const RECENT = 8;

export class UnitDetail {
  /** @type {import("./cluster.js").Cluster} */
  cluster = null;

  /** @param {import("./units.js").Actions} actions */
  constructor(actions) {
    this.actions = actions;
  }

  create() {
    const columns = { "aria-colspan": COLUMNS.length };
    const content = element("div", { role: "gridcell", class: "detail", ...columns });
    return Object.assign(element("div", { role: "row", class: "opened" }, content), { content });
  }

  /** @param {import("./row.js").Row} row */
  update(node, row) {
    const events = this.eventsOf(row);
    const signature = signatureOf(row, events);
    if (node.signature === signature) return;
    node.signature = signature;

    const parts = [
      row.reason ? reasonOf(row) : null,
      element("div", { class: "two" }, this.facts(row), history(events)),
      this.links(row),
    ];
    node.content.replaceChildren(...parts.filter(Boolean));
  }

  eventsOf(row) {
    const isHere = ({ machine }) => !machine || !row.machine || machine === row.machine;
    return this.cluster.transitions.of(row.unit).filter(isHere);
  }

  facts(row) {
    const facts = element("dl", { class: "facts" });
    for (const [name, ...values] of this.factsOf(row)) {
      if (values.every((value) => value == null)) continue;
      facts.append(element("div", {}, element("dt", {}, name), element("dd", {}, ...values)));
    }
    return facts;
  }

  factsOf(row) {
    return [
      [DETAIL.desired, desiredOf(row)],
      [DETAIL.state, ...stateOf(row)],
      [DETAIL.notReported, row.stale_since ? age(row.stale_since, "for") : null],
      [DETAIL.machine, this.machineOf(row.machine)],
      [DETAIL.target, this.targetOf(row)],
      [DETAIL.version, ...versionOf(row)],
      [DETAIL.description, row.description],
      [DETAIL.requirements, ...(row.requirements ?? []).flatMap((one) => [code(one), br()])],
    ];
  }

  machineOf(id) {
    if (!id) return null;
    return [this.cluster.machines.get(id)?.ip, shortId(id)].filter(Boolean).join(" · ");
  }

  targetOf({ global, target, machine }) {
    if (global) return DETAIL.everyMachine;
    if (target === machine) return null;
    return this.machineOf(target) ?? DETAIL.noTarget;
  }

  links({ unit, where }) {
    const link = (label, view) =>
      button({ class: "quiet", onclick: () => this.actions.go(view) }, label);
    const toTimeline = link(DETAIL.toTimeline, { tab: "timeline", query: `unit:${unit}` });
    if (!where) return element("p", { class: "more" }, toTimeline);

    const view = { tab: "units", query: `machine:${where}`, open: new Set() };
    return element("p", { class: "more" }, toTimeline, link(DETAIL.toMachine(where), view));
  }
}

/** All that is shown, apart from ages, as a string to compare. */
function signatureOf(row, events) {
  return JSON.stringify([
    row.reason,
    row.stateText,
    row.load,
    row.since,
    row.desired,
    row.target,
    row.hash,
    row.file_hash,
    row.description,
    row.requirements,
    row.stale_since,
    events[0]?.number,
  ]);
}

function reasonOf({ reason, tone, submitted, verdict }) {
  return element(
    "p",
    { class: "reason", "data-tone": tone },
    glyph(submitted ? "submitted" : verdict),
    element("span", {}, reason),
  );
}

function desiredOf({ desired, file_hash, description }) {
  if (desired != null) return desired;
  return file_hash || description ? null : DETAIL.noUnitFile;
}

function stateOf(row) {
  if (!row.active) return [];
  const { since, since_seen } = row.source;
  const states = `${row.load ?? "?"}, ${row.stateText} `;
  return [states, since && !row.submitted ? age(since, "for", since_seen) : null];
}

function versionOf({ hash, file_hash }) {
  if (!hash || !file_hash || hash === file_hash) return [code(shortHash(hash ?? file_hash))];
  return [DETAIL.machineHas, code(shortHash(hash)), DETAIL.fleetHas, code(shortHash(file_hash))];
}

function history(events) {
  const title = element("h3", {}, DETAIL.events);
  if (!events.length) {
    return element("div", {}, title, element("p", { class: "none" }, DETAIL.noEvents));
  }

  const items = events.slice(0, RECENT).map((event) => {
    const what = element("span", {}, textWithoutUnit(event));
    return element("li", {}, age(event.time, "ago"), " ", what);
  });
  return element("div", {}, title, element("ol", { class: "history" }, ...items));
}

/** The text of an event, without the unit that it begins with. */
function textWithoutUnit({ unit, ip, text }) {
  const start = [`${unit} on ${ip}`, unit].find((start) => text.startsWith(start));
  return start ? text.slice(start.length).replace(/^:?\s*/, "") : text;
}

const code = (value) => (value ? element("code", {}, value) : null);

const br = () => element("br");
