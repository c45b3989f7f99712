// The summary above the tabs: the headline, a card for each cause of problems, and chips to filter
// by.

import { attribute, button, byId, drawGlyph, element, glyph, hide } from "./dom.js";
import { failures, isRead, unitsFail } from "./health.js";
import { headline } from "./headline.js";
import { fleetVersions } from "./machines.js";
import { isOfSource } from "./problems.js";
import { timeElement } from "./time-elements.js";
import { BANNERS, CAUSES, HEADLINE, andMore, inFull, verdictWord } from "./words.js";

/** @typedef {import("./problems.js").Cause} Cause */

/** How many causes are shown. Of those that are muted all are, so that each can be unmuted. */
const MAX_CAUSES = 4;

export class Summary {
  /**
   * @param {import("./units.js").Actions & {
   *   filter: (term: string) => void,
   *   mute: (key: string, isMuted: boolean) => void,
   * }} actions
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

  /**
   * @param {number} now by the server's clock
   * @param {Set<string>} muted keys of causes
   */
  draw(cluster, health, now, muted) {
    const { causes, until } = cluster.problemsAt(now);
    /** When something that is new becomes old, so that the summary has to be drawn again. */
    this.until = until;

    const shown = headline(cluster, health, now, muted);
    this.drawHeadline(shown);
    byId("subline").replaceChildren(...sublineOf(cluster, health, shown));
    byId("banners").replaceChildren(...bannersOf(health));
    this.drawCauses(causes, muted);
    this.drawChips(cluster.chips);
  }

  /** @param {import("./headline.js").Headline} headline */
  drawHeadline({ kind, title, since, tone, glyph }) {
    attribute(this.panel, "data-tone", tone);
    attribute(this.panel, "data-headline", kind);
    drawGlyph(byId("headline-glyph"), glyph);
    byId("headline").replaceChildren(title, ...(since ? [" ", timeOf(since, "for")] : []));
  }

  /** @param {Cause[]} causes @param {Set<string>} muted */
  drawCauses(causes, muted) {
    const isMuted = ({ key }) => muted.has(key);
    const loud = causes.filter((cause) => !isMuted(cause));
    const shown = loud.slice(0, MAX_CAUSES);
    const quiet = causes.filter(isMuted);
    const signature = JSON.stringify([...[shown, quiet].map(signaturesOf), loud.length]);
    if (this.troubles.signature === signature) return;
    this.troubles.signature = signature;

    const focused = focusedIn(this.troubles);
    const items = shown.map((cause) => createCard(cause, false));
    const more = loud.length - shown.length;
    if (more > 0) items.push(element("li", {}, button({ class: "quiet" }, andMore(more))));
    items.push(...quiet.map((cause) => createCard(cause, true)));
    this.troubles.replaceChildren(...items);
    hide(this.troubles, !items.length);
    if (focused) this.troubles.querySelector(focused)?.focus();
  }

  troubleClicked(event) {
    const target = event.target.closest("button");
    if (!target) return;
    const { mute, unit, tab = "units", query = "-verdict:ok" } = target.dataset;
    if (mute) this.actions.mute(mute, target.ariaPressed !== "true");
    else if (unit) this.actions.reveal(unit);
    else this.actions.go({ tab, query });
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

const timeOf = ({ since, isExact }, wording) => timeElement(since, { wording, isExact });

/** What stands below the headline: what else is wrong, and facts about the cluster as a whole. */
function sublineOf({ machines, transitions }, health, shown) {
  const { began, rest, lasting, waiting, muted } = shown;
  const facts = [];
  const fact = (name, ...children) =>
    facts.push(element("span", { "data-fact": name }, ...children));

  if (began) fact("began", HEADLINE.began, timeOf(began, "ago"));
  if (rest) fact("rest", rest);
  if (lasting) {
    const { words, start, more } = lasting;
    fact("lasting", `${words} `, timeOf(start, "for"), more && `, ${more}`);
  }
  if (waiting) fact("waiting", waiting);
  if (muted) fact("muted", muted);
  if (isRead(health, "machines")) {
    const present = [...machines.values()].filter((machine) => !machine.lost_since);
    fact("machines", HEADLINE.machines(present.length));
  }
  const versions = fleetVersions(machines).length;
  if (versions > 1) fact("versions", HEADLINE.fleetVersions(versions));
  if (isRead(health, "units")) {
    const [latest] = transitions.all;
    if (latest) fact("change", HEADLINE.lastChange, timeElement(latest.time));
    else fact("change", HEADLINE.noChange);
  }
  return facts;
}

// --- the causes

/** All that is drawn of causes, apart from their ages, to compare it with the next. */
const signaturesOf = (causes) =>
  causes.map((cause) => [
    cause.key,
    cause.isNew,
    cause.tone,
    cause.start,
    cause.view,
    nameOf(cause),
    whereOf(cause),
    whatOf(cause),
  ]);

/** A selector of what has the focus in the list, or null. */
function focusedIn(list) {
  const focused = document.activeElement;
  if (!list.contains(focused)) return null;
  const { cause, mute } = focused.dataset;
  if (mute) return `[data-mute="${CSS.escape(mute)}"]`;
  return cause ? `[data-cause="${CSS.escape(cause)}"]` : null;
}

/** @param {Cause} cause @param {boolean} isMuted */
function createCard(cause, isMuted) {
  const { key, shape, tone, start, rows, view } = cause;
  const isNew = cause.isNew && !isMuted;
  const [row] = rows;
  const attributes = {
    class: "trouble",
    "data-cause": key,
    "data-shape": shape,
    "data-unit": shape === "unit" && row ? row.key : null,
    "data-tab": view.tab,
    "data-query": view.query,
  };
  const card = button(
    attributes,
    element(
      "strong",
      {},
      glyph(isOfSource(cause) ? "warning" : cause.kind),
      element("span", { class: "name" }, nameOf(cause)),
      isNew ? element("span", { class: "tag", "data-tone": tone }, CAUSES.isNew) : null,
      isMuted ? element("span", { class: "tag" }, CAUSES.muted) : null,
    ),
    element("span", { class: "where" }, whereOf(cause)),
    element("span", { class: "what" }, `${whatOf(cause)} `),
    start.since ? timeOf(start, "for") : null,
  );
  card.toggleAttribute("data-new", isNew);
  return element("li", { "data-tone": isMuted ? "idle" : tone }, card, createMute(cause, isMuted));
}

function createMute(cause, isMuted) {
  const attributes = {
    class: "mute",
    "data-mute": cause.key,
    "aria-pressed": isMuted,
    "aria-label": CAUSES.mute(`${nameOf(cause)}, ${whatOf(cause)}`),
    title: isMuted ? CAUSES.unmuteNote : CAUSES.muteNote,
  };
  return button(attributes, glyph("muted"));
}

/** @param {Cause} cause */
function nameOf({ shape, problem, count, where, template }) {
  switch (shape) {
    case "source":
      return CAUSES.source;
    case "machine":
      return where;
    case "place":
      return CAUSES.units(count);
    case "template":
      return template;
    default:
      return problem.unit;
  }
}

/** @param {Cause} cause */
function whereOf({ shape, count, rows, places, where }) {
  switch (shape) {
    case "source":
      return CAUSES.lastKnown;
    case "machine":
      return count ? CAUSES.units(count) : CAUSES.noUnits;
    case "template":
      return places ? CAUSES.spread(count, places.size) : CAUSES.units(count);
    case "place":
      return where ? CAUSES.unitsOn(count, where) : CAUSES.nowhere;
    default:
      if (!where) return CAUSES.nowhere;
      return rows[0]?.onlyTarget ? CAUSES.target(where) : CAUSES.on(where);
  }
}

/** The state of a failed unit says more than the verdict. */
function whatOf({ shape, kind, rows: [row] }) {
  if (shape === "machine" || shape === "source") return CAUSES[kind] ?? kind;
  if (shape !== "unit" || kind !== "failed" || !row) return verdictWord(kind);
  const { load, stateText } = row;
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
