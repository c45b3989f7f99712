// The summary above the tabs: the headline, the worst units, and chips to filter by.

import { age } from "./age.js";
import { attribute, button, byId, drawGlyph, element, glyph, hide } from "./dom.js";
import { failures, isRead, unitsFail } from "./health.js";
import { headline } from "./headline.js";
import { fleetVersions } from "./machines.js";
import { BANNERS, HEADLINE, TROUBLE, andMore, inFull, verdictWord } from "./words.js";

/** How many units with problems are shown. */
const MAX_TROUBLES = 4;

export class Summary {
  /**
   * @param {import("./units.js").Actions & {filter: (term: string) => void}} actions
   */
  constructor(actions) {
    this.actions = actions;
    this.panel = document.querySelector(".summary");
    this.troubles = byId("troubles");
    this.chips = byId("chips");

    this.troubles.addEventListener("click", (event) => this.troubleClicked(event));
    this.chips.addEventListener("click", (event) => {
      const chip = event.target.closest(".chip");
      if (chip) actions.filter(chip.dataset.term);
    });
  }

  draw(cluster, health) {
    this.drawHeadline(cluster, health);
    byId("subline").replaceChildren(...sublineOf(cluster, health, this.rest));
    byId("banners").replaceChildren(...bannersOf(health));
    this.drawTroubles(cluster.wrong);
    this.drawChips(cluster.chips);
  }

  drawHeadline(cluster, health) {
    const { kind, title, rest, since, tone, glyph } = headline(cluster, health);
    this.rest = rest;
    attribute(this.panel, "data-tone", tone);
    attribute(this.panel, "data-headline", kind);
    drawGlyph(byId("headline-glyph"), glyph);
    byId("headline").replaceChildren(title, ...(since ? [" ", age(since, "for")] : []));
  }

  drawTroubles(wrong) {
    const shown = wrong.slice(0, MAX_TROUBLES);
    const signature = JSON.stringify([shown.map(signatureOf), wrong.length]);
    if (this.troubles.signature === signature) return;
    this.troubles.signature = signature;

    const items = shown.map(createTrouble);
    const more = wrong.length - shown.length;
    if (more > 0) items.push(element("li", {}, button({ class: "quiet" }, andMore(more))));
    this.troubles.replaceChildren(...items);
    hide(this.troubles, !items.length);
  }

  troubleClicked(event) {
    const target = event.target.closest("button");
    if (!target) return;
    const { unit } = target.dataset;
    if (unit) this.actions.reveal(unit);
    else this.actions.go({ tab: "units", query: "-verdict:ok" });
  }

  drawChips(chips) {
    const signature = JSON.stringify(chips);
    if (this.chips.signature === signature) return;
    this.chips.signature = signature;

    const focused = document.activeElement?.dataset?.term;
    this.chips.replaceChildren(...chips.map(createChip));
    if (focused) this.chips.querySelector(`[data-term="${CSS.escape(focused)}"]`)?.focus();
  }

  /** Marks the chips whose terms are in the filter. */
  markChips(query) {
    const words = query.split(/\s+/);
    for (const chip of this.chips.querySelectorAll(".chip")) {
      attribute(chip, "aria-pressed", words.includes(chip.dataset.term));
    }
  }
}

/** What stands below the headline: facts about the cluster as a whole. */
function sublineOf({ machines, transitions }, health, rest) {
  const facts = [];
  const fact = (name, ...children) =>
    facts.push(element("span", { "data-fact": name }, ...children));

  if (rest) fact("rest", rest);
  if (isRead(health, "machines")) {
    const present = [...machines.values()].filter((machine) => !machine.lost_since);
    fact("machines", HEADLINE.machines(present.length));
  }
  const versions = fleetVersions(machines).length;
  if (versions > 1) fact("versions", HEADLINE.fleetVersions(versions));
  if (isRead(health, "units")) {
    const [latest] = transitions.all;
    if (latest) fact("change", HEADLINE.lastChange, age(latest.time, "ago"));
    else fact("change", HEADLINE.noChange);
  }
  return facts;
}

/** All that is drawn of a unit with a problem, apart from its age, to compare it with the next. */
const signatureOf = ({ key, verdict, stateText, where, since, since_seen }) => [
  key,
  verdict,
  stateText,
  where,
  since,
  since_seen,
];

function createTrouble(row) {
  const { key, tone, verdict, unit, since, since_seen } = row;
  const trouble = button(
    { class: "trouble", "data-tone": tone, "data-unit": key },
    element("strong", {}, glyph(verdict), element("span", { class: "name" }, unit)),
    element("span", { class: "where" }, whereOf(row)),
    element("span", { class: "what" }, `${problemOf(row)} `),
    since ? age(since, "for", since_seen) : null,
  );
  return element("li", {}, trouble);
}

function whereOf({ where, onlyTarget }) {
  if (!where) return TROUBLE.nowhere;
  return onlyTarget ? TROUBLE.target(where) : TROUBLE.on(where);
}

/** The state of a failed unit says more than the verdict. */
function problemOf({ verdict, load, stateText }) {
  if (verdict !== "failed") return verdictWord(verdict);
  return load && load !== "loaded" ? load : stateText;
}

/** @param {import("./cluster.js").Chip} chip */
function createChip({ term, word, glyph: name, count, tone }) {
  const chip = button(
    { class: "chip", "data-tone": tone, "data-term": term },
    glyph(name),
    element("b", {}, inFull(count)),
    ` ${word}`,
  );
  return element("li", {}, chip);
}

// --- the boxes above the headline

function bannersOf(health) {
  const banners = [];
  if (health.recording) {
    const end = health.state === "ended" ? ` ${BANNERS.recordingEnded}` : "";
    banners.push(banner("recording", "note", "info", bold(BANNERS.recording), end));
  }
  for (const { lists, reason } of failures(health)) {
    const tone = unitsFail(health) ? "bad" : "warn";
    const box = banner("failing", tone, "warning", bold(BANNERS.failing(lists)), `: ${reason}`);
    box.dataset.lists = lists.join(" ");
    banners.push(box);
  }

  const { state, reason } = health;
  if (state === "suspect") {
    banners.push(banner(state, "warn", "warning", BANNERS.suspect));
  } else if (state === "overdue") {
    banners.push(banner(state, "bad", "warning", bold(BANNERS.overdue), `: ${reason}.`));
  } else if (state === "starting") {
    banners.push(banner(state, "note", "stale", BANNERS.starting));
  }
  return banners;
}

function banner(kind, tone, symbol, ...children) {
  return element(
    "p",
    { class: "banner", "data-banner": kind, "data-tone": tone },
    glyph(symbol),
    element("span", {}, ...children),
  );
}

const bold = (words) => element("b", {}, words);
