// The machines, as cards with their units.

import { attribute, button, drawGlyph, element, glyph, hide, text } from "./dom.js";
import { machineCards } from "./machines.js";
import { MachineSteps } from "./next-steps.js";
import { timeElement } from "./time-elements.js";
import { FILTER, MACHINES, andMore, shortId, verdictWord } from "./words.js";

/** How many units a card names. */
const UNITS_IN_CARD = 24;

export class MachineCards {
  /** @param {HTMLElement} panel @param {import("./units.js").Actions} actions */
  constructor(panel, actions) {
    this.actions = actions;
    this.grid = element("ul", { class: "machines", "aria-label": MACHINES.label });
    this.empty = element("p", { class: "empty", hidden: "" });
    panel.append(this.grid, this.empty);

    /** The elements of the cards, by their keys. */
    this.nodes = new Map();
    // The units of a card are in the document only while the card is near the visible part of the
    // page: a big cluster has more units than a document should hold.
    this.near = new IntersectionObserver((entries) => entries.forEach(approached), {
      rootMargin: "400px",
    });
    this.grid.addEventListener("click", (event) => this.clicked(event));
  }

  /**
   * @param {import("./cluster.js").Cluster} cluster
   * @param {import("./address.js").PageState} view
   * @param {boolean} isRead whether the machines were ever read
   * @returns {string} how many machines pass the filter
   */
  show(cluster, view, isRead) {
    const cards = machineCards(cluster, view.query);
    this.removeOthers(cards);

    let position = this.grid.firstElementChild;
    for (const card of cards) {
      const node = this.nodeOf(card);
      if (node === position) position = position.nextElementSibling;
      else this.grid.insertBefore(node, position);
      node.card = card;
      updateCard(node);
    }

    hide(this.grid, !cards.length);
    hide(this.empty, cards.length || !isRead);
    text(this.empty, cluster.machines.size ? MACHINES.noMatch : MACHINES.noMachines);
    const found = cards.filter((card) => cluster.machines.has(card.key)).length;
    return FILTER.machines(found, cluster.machines.size);
  }

  /** Shows the units of all cards, for printing, or only of those near the visible part. */
  showAll(isAll) {
    for (const node of this.nodes.values()) updateUnits(node, isAll);
  }

  removeOthers(cards) {
    const keys = new Set(cards.map((card) => card.key));
    for (const [key, node] of this.nodes) {
      if (keys.has(key)) continue;
      this.near.unobserve(node);
      node.remove();
      this.nodes.delete(key);
    }
  }

  nodeOf({ key }) {
    let node = this.nodes.get(key);
    if (!node) {
      node = createCard(this.actions);
      this.nodes.set(key, node);
      this.near.observe(node);
    }
    return node;
  }

  clicked(event) {
    const target = event.target.closest("button");
    if (!target || target.closest(".next-steps")) return;
    if (target.dataset.unit) return this.actions.reveal(target.dataset.unit);
    const { ip, machine } = target.closest(".card").card;
    this.actions.go({ tab: "units", query: `machine:${ip ?? shortId(machine)}` });
  }
}

function createCard(actions) {
  const parts = {
    glyph: glyph("active"),
    title: element("h3"),
    id: element("span", { class: "id" }),
    away: element("p", { class: "away", hidden: "" }),
    tags: element("p", { class: "tags", hidden: "" }),
    metadata: element("p", { class: "metadata" }),
    count: element("span", { class: "count" }),
    bar: element("div", { class: "load", "aria-hidden": "true" }),
    units: element("ul", { class: "names" }),
    more: button({ class: "quiet" }),
    moved: element("details", { class: "moved-units", hidden: "" }),
    steps: new MachineSteps(actions),
  };
  const node = element(
    "li",
    { class: "card" },
    element("div", { class: "title" }, parts.glyph, parts.title, parts.id),
    parts.away,
    parts.tags,
    parts.metadata,
    element("div", { class: "share" }, parts.bar, parts.count),
    parts.units,
    parts.more,
    parts.moved,
    parts.steps.node,
  );
  return Object.assign(node, { parts, isNear: false });
}

/** Called when a card has come near the visible part of the page, or has left it. */
function approached({ target, isIntersecting }) {
  if (target.isNear === isIntersecting) return;
  target.isNear = isIntersecting;
  // The card keeps its height without its units, or everything below would jump.
  target.style.minHeight = isIntersecting ? "" : `${target.offsetHeight}px`;
  updateUnits(target);
}

function updateCard(node) {
  const { card, parts } = node;
  const isNowhere = !card.key;
  const { title, id, metadata, count } = parts;

  updateAbsence(node);
  node.toggleAttribute("data-nowhere", isNowhere);

  text(title, isNowhere ? MACHINES.nowhere : (card.ip ?? shortId(card.machine)));
  text(id, card.ip ? shortId(card.machine) : "");
  attribute(id, "title", card.machine);
  text(metadata, isNowhere ? MACHINES.nowhereNote : metadataOf(card));
  updateTags(node);

  const wrong = card.units.filter((row) => row.verdict !== "ok").length;
  text(count, MACHINES.units(card.units.length, wrong));
  updateBar(node);
  updateUnits(node);
  updateMoved(node);
  parts.steps.update(card);
}

const metadataOf = ({ metadata }) => metadata?.replaceAll(",", ", ") ?? MACHINES.noMetadata;

const LOOKS = {
  lost: { tone: "bad", glyph: "machine_lost" },
  silent: { tone: "warn", glyph: "machine_silent" },
};

/** Shows whether the machine is lost or silent, and for how long. */
function updateAbsence(node) {
  const { card, parts } = node;
  const isLost = card.lost_since || card.isUnknown;
  const absence = isLost ? "lost" : card.silent_since ? "silent" : null;
  const look = LOOKS[absence] ?? { tone: null, glyph: card.key ? "fleet" : "unscheduled" };

  attribute(node, "data-away", absence);
  attribute(node, "data-tone", look.tone);
  drawGlyph(parts.glyph, look.glyph);

  hide(parts.away, !absence);
  const signature = [absence, card.lost_since, card.silent_since].join();
  if (!absence || parts.away.signature === signature) return;
  parts.away.signature = signature;
  parts.away.replaceChildren(...absenceOf(card));
}

function absenceOf({ lost_since, isUnknown, silent_since }) {
  if (lost_since) return [MACHINES.leftCluster, timeElement(lost_since, { form: "full" })];
  if (isUnknown) return [MACHINES.notInCluster];
  return [MACHINES.silent, timeElement(silent_since, { form: "full", wording: "for" })];
}

/** Shows the badge of the leader, and the version of fleet. */
function updateTags({ card: { leader, version, usual }, parts: { tags } }) {
  const isOdd = Boolean(version) && usual != null && version !== usual;
  const signature = JSON.stringify([leader, version, isOdd && usual]);
  if (tags.signature === signature) return;
  tags.signature = signature;

  const shown = [];
  if (leader) {
    const attributes = { class: "tag", "data-tone": "note", title: MACHINES.leaderNote };
    shown.push(element("span", attributes, MACHINES.leader));
  }
  if (isOdd) {
    const words = MACHINES.otherVersion(version, usual);
    shown.push(element("span", { class: "tag", "data-tone": "warn" }, glyph("warning"), words));
  } else if (version) {
    shown.push(element("span", { class: "tag" }, MACHINES.version(version)));
  }
  tags.replaceChildren(...shown);
  hide(tags, !shown.length);
}

/** Draws the bar: its length is the number of units of the machine, its colours are their tones. */
function updateBar({ card: { units, share, tones }, parts: { bar } }) {
  const signature = JSON.stringify([share, tones]);
  if (bar.signature === signature) return;
  bar.signature = signature;

  const pieces = tones.map(({ tone, count }) => {
    const piece = element("span", { "data-tone": tone });
    piece.style.width = `${(100 * share * count) / units.length}%`;
    return piece;
  });
  bar.replaceChildren(...pieces);
}

function updateUnits({ card, parts, isNear }, isPrinted = false) {
  const shown = isNear || isPrinted ? card.found.slice(0, UNITS_IN_CARD) : [];
  const signature = shown.map(signatureOf).join("\n");
  if (parts.units.signature !== signature) {
    parts.units.signature = signature;
    parts.units.replaceChildren(...shown.map(createUnit));
  }

  const hidden = card.found.length - UNITS_IN_CARD;
  hide(parts.more, hidden <= 0 || !card.key);
  text(parts.more, andMore(hidden));
}

/** Shows which units ran on a machine when it was lost, and where they are now. */
function updateMoved({ card: { moved }, parts }) {
  hide(parts.moved, !moved.length);
  const signature = JSON.stringify(moved);
  if (!moved.length || parts.moved.signature === signature) return;
  parts.moved.signature = signature;

  parts.moved.replaceChildren(
    element("summary", {}, MACHINES.ran(moved.length)),
    element("ul", { class: "names" }, ...moved.map(createMoved)),
  );
}

/** @param {import("./machines.js").Moved} moved */
function createMoved({ unit, key, names }) {
  const name = element("span", { class: "name" }, unit);
  const whatBecame = names.length ? MACHINES.nowOn(names) : MACHINES.stillHere;
  const place = element("span", { class: "place" }, key ? whatBecame : MACHINES.notInFleet);
  const attributes = { class: "unit-name", "data-unit": key };
  const line = key ? button(attributes, name, place) : element("p", attributes, name, place);
  return element("li", {}, line);
}

const signatureOf = ({ key, glyph, tone, stateText }) => `${key} ${glyph} ${tone} ${stateText}`;

function createUnit(row) {
  const isOk = row.verdict === "ok";
  const isPlain = isOk && row.state === "active";
  const attributes = {
    class: "unit-name",
    "data-tone": row.tone,
    "data-unit": row.key,
    title: `${row.unit}: ${row.stateText}`,
  };
  const unit = button(
    attributes,
    glyph(isOk ? row.glyph : row.verdict),
    element("span", { class: "name" }, row.unit),
    element(
      "span",
      { class: isPlain ? "visually-hidden" : "state" },
      isOk ? row.state : verdictWord(row.verdict),
    ),
  );
  return element("li", {}, unit);
}
