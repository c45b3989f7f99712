// The details below an open row: the reason for its verdict, facts about the unit, and its events.

import { button, element, glyph } from "./dom.js";
import { COLUMNS } from "./sorting.js";
import { sentenceWithTime, timeElement } from "./time-elements.js";
import { endOfEvents } from "./transitions.js";
import { DETAIL, shortHash, shortId, verdictWord } from "./words.js";

/** How many events are shown at first. */
const RECENT = 8;

/**
 * A part of the details that changes on its own, such as a log that grows. It stays as it is when
 * its row is scrolled out of the window, until the row is closed.
 * @typedef {object} Section
 * @property {HTMLElement} node
 * @property {(row: import("./row.js").Row) => void} update
 * @property {() => void} close releases what it holds, such as a connection
 */

export class UnitDetail {
  /** @type {import("./cluster.js").Cluster} */
  cluster = null;
  /**
   * The rows that a link opened although they were elsewhere when the link was made: the IDs of
   * the machines where they were, by the rows' keys.
   * @type {Map<string, ?string>}
   */
  moved = new Map();
  /** The keys of the rows of which all events are shown. */
  whole = new Set();
  /**
   * The sections of each open row, by its key.
   * @type {Map<string, Section[]>}
   */
  sections = new Map();

  /**
   * @param {import("./units.js").Actions} actions
   * @param {(() => Section)[]} createSections makes the sections below the facts
   */
  constructor(actions, createSections = []) {
    this.actions = actions;
    this.createSections = createSections;
  }

  create() {
    const columns = { "aria-colspan": COLUMNS.length };
    const summary = element("div");
    const content = element("div", { role: "gridcell", class: "detail", ...columns }, summary);
    const node = element("div", { role: "row", class: "opened" }, content);
    return Object.assign(node, { content, summary });
  }

  /** @param {import("./row.js").Row} row */
  update(node, row) {
    this.updateSummary(node, row);

    const sections = this.sectionsOf(row.key);
    if (node.content.childElementCount === 1) {
      node.content.append(...sections.map((section) => section.node));
    }
    for (const section of sections) section.update(row);
  }

  sectionsOf(key) {
    let sections = this.sections.get(key);
    if (!sections) {
      sections = this.createSections.map((create) => create());
      this.sections.set(key, sections);
    }
    return sections;
  }

  /** Closes the sections of all rows but these. */
  keep(keys) {
    for (const key of this.whole) {
      if (!keys.has(key)) this.whole.delete(key);
    }
    for (const [key, sections] of this.sections) {
      if (keys.has(key)) continue;
      for (const section of sections) section.close();
      this.sections.delete(key);
    }
  }

  updateSummary(node, row) {
    const history = this.actions.historyOf(row);
    const moved = this.movedOf(row);
    const isWhole = this.whole.has(row.key);
    const signature = signatureOf(row, history, moved, isWhole);
    if (node.signature === signature) return;
    node.signature = signature;

    const parts = [
      moved ? element("p", { class: "moved" }, moved) : null,
      row.reason ? reasonOf(row) : null,
      element("div", { class: "two" }, this.facts(row), this.history(node, row, history)),
      this.links(row),
    ];
    node.summary.replaceChildren(...parts.filter(Boolean));
  }

  /** That the row was elsewhere when the link that opened it was made, or null. */
  movedOf({ key, machine }) {
    if (!this.moved.has(key)) return null;
    const place = (machine) => (machine ? DETAIL.on(machine) : DETAIL.nowhere);
    const before = this.machineOf(this.moved.get(key));
    return DETAIL.moved(place(before), place(this.machineOf(machine)));
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
      [DETAIL.verdict, ...verdictOf(row)],
      [DETAIL.notReported, row.stale_since ? lasting(row.stale_since) : null],
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

  history(node, row, { events, beginning, isPending }) {
    const isWhole = this.whole.has(row.key);
    const items = (isWhole ? events : events.slice(0, RECENT)).map((event) => {
      const what = element("span", {}, textWithoutUnit(event));
      return element("li", {}, timeElement(event.time, { form: "pair" }), " ", what);
    });
    const isLong = events.length > RECENT;
    const parts = [
      element("h3", {}, DETAIL.events),
      items.length ? element("ol", { class: "history" }, ...items) : changeOf(row),
      isLong ? this.more(node, row, events.length) : null,
      (isLong && !isWhole) || isPending ? null : endOfHistory(events, beginning),
    ];
    const isBusy = isPending ? "true" : null;
    return element("div", { "aria-busy": isBusy }, ...parts.filter(Boolean));
  }

  /** The button that shows all events, or only the newest ones again. */
  more(node, row, count) {
    const isWhole = this.whole.has(row.key);
    const onclick = () => {
      if (!this.whole.delete(row.key)) this.whole.add(row.key);
      this.updateSummary(node, row);
      // The button that was pressed is not in the document any more.
      node.summary.querySelector(".all-events")?.focus();
    };
    const label = isWhole ? DETAIL.fewerEvents : DETAIL.allEvents(count);
    return button({ class: "quiet all-events", onclick }, label);
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
function signatureOf(row, { events, beginning, isPending }, moved, isWhole) {
  return JSON.stringify([
    row.verdict,
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
    events.length,
    beginning,
    isPending,
    isWhole,
    moved,
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
  return [states, since && !row.submitted ? lasting(since, since_seen) : null];
}

/** The verdict with its age. That of a row that is not reported is the age of its last report. */
function verdictOf({ verdict, since, since_seen, stale_since }) {
  if (verdict === "ok" || stale_since || since == null) return [];
  return [`${verdictWord(verdict)} `, lasting(since, since_seen)];
}

function versionOf({ hash, file_hash }) {
  if (!hash || !file_hash || hash === file_hash) return [code(shortHash(hash ?? file_hash))];
  return [DETAIL.machineHas, code(shortHash(hash)), DETAIL.fleetHas, code(shortHash(file_hash))];
}

/** The last change of the state, which the row knows although its event is no longer kept. */
function changeOf({ source, submitted }) {
  if (!source.since_seen || source.since == null || submitted) return null;
  const time = timeElement(source.since, { form: "full" });
  return element("p", { class: "changed" }, DETAIL.changed, time);
}

/** For how long something has been so, and since when. */
const lasting = (since, isExact = true) =>
  timeElement(since, { form: "full", wording: "for", isExact });

function endOfHistory(events, beginning) {
  const sentence = endOfEvents(beginning, !events.length);
  if (!sentence) return null;
  return element("p", { class: "none" }, sentenceWithTime(sentence, beginning?.time));
}

/** The text of an event, without the unit that it begins with. */
function textWithoutUnit({ unit, ip, text }) {
  const start = [`${unit} on ${ip}`, unit].find((start) => text.startsWith(start));
  return start ? text.slice(start.length).replace(/^:?\s*/, "") : text;
}

const code = (value) => (value ? element("code", {}, value) : null);

const br = () => element("br");
