// The machines with their units, and the timeline.

import { age, attribute, drawGlyph, element, glyph, setAge, text } from "./dom.js";
import { machineCards, parseFilter, plural, rowKey, shortId, transitionMatches } from "./model.js";
import { WindowedList } from "./window.js";

const UNITS_IN_CARD = 24;
const EVENT_TONES = { stale: "warn", machine_silent: "warn" };

export class MachineCards {
  /** `actions`: `go(view)` and `reveal(key)`, which opens a unit in the table. */
  constructor(panel, actions) {
    this.actions = actions;
    this.grid = element("ul", { class: "machines", "aria-label": "Machines" });
    this.empty = element("p", { class: "empty", hidden: "" });
    panel.append(this.grid, this.empty);
    this.nodes = new Map();
    // A card's units are put in when it comes near the window: a big cluster has more than a document should hold.
    this.near = new IntersectionObserver((entries) => entries.forEach((entry) => this.approached(entry)), { rootMargin: "400px" });
  }

  show(cluster, view) {
    const cards = machineCards(cluster, view.q);
    const keys = new Set(cards.map((card) => card.key));
    for (const [key, node] of this.nodes) {
      if (keys.has(key)) continue;
      this.near.unobserve(node);
      node.remove();
      this.nodes.delete(key);
    }
    let position = this.grid.firstElementChild;
    for (const card of cards) {
      let node = this.nodes.get(card.key);
      if (!node) this.nodes.set(card.key, (node = this.create()));
      if (node === position) position = position.nextElementSibling;
      else this.grid.insertBefore(node, position);
      node.card = card;
      this.update(node);
    }
    attribute(this.grid, "hidden", !cards.length && "");
    attribute(this.empty, "hidden", (!!cards.length || !view.read) && "");
    text(this.empty, cluster.machines.size ? "No machine has a unit that matches the filter." : "There are no machines in the cluster.");
  }

  create() {
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
      more: element("button", { type: "button", class: "quiet" }),
    };
    const node = element("li", { class: "card" },
      element("div", { class: "title" }, parts.glyph, parts.title, parts.id),
      parts.away, parts.tags, parts.metadata, element("div", { class: "share" }, parts.bar, parts.count), parts.units, parts.more);
    parts.more.addEventListener("click", () => this.actions.go({ tab: "units", q: `machine:${node.card.ip ?? shortId(node.card.machine)}` }));
    Object.assign(node, { parts, isNear: false });
    this.near.observe(node);
    return node;
  }

  approached({ target, isIntersecting }) {
    if (target.isNear === isIntersecting) return;
    target.isNear = isIntersecting;
    // The card keeps its height while its units are out, or everything below would jump.
    target.style.minHeight = isIntersecting ? "" : `${target.offsetHeight}px`;
    this.updateUnits(target);
  }

  update(node) {
    const { card, parts } = node;
    const nowhere = !card.key;
    const lost = card.lost_since || card.unknown;
    const silent = !lost && card.silent_since;
    attribute(node, "data-away", lost ? "lost" : silent ? "silent" : null);
    attribute(node, "data-tone", lost ? "bad" : silent ? "warn" : null);
    attribute(node, "data-nowhere", nowhere && "");
    drawGlyph(parts.glyph, lost ? "machine_lost" : silent ? "machine_silent" : nowhere ? "unscheduled" : "fleet");
    text(parts.title, nowhere ? "On no machine" : (card.ip ?? shortId(card.machine)));
    text(parts.id, card.ip ? shortId(card.machine) : "");
    attribute(parts.id, "title", card.machine);
    const away = card.lost_since ? ["left the cluster ", card.lost_since, "ago"] : lost ? ["not in the cluster"] : silent ? ["silent ", silent, "for"] : null;
    attribute(parts.away, "hidden", !away && "");
    if (away && parts.away.signature !== String(away)) {
      const [said, since, wording] = away;
      parts.away.signature = String(away);
      parts.away.replaceChildren(said, ...(since ? [age(since, wording)] : []));
    }
    this.updateTags(node);
    text(parts.metadata, nowhere ? "Submitted only, or no machine takes them" : (card.metadata ?? "no metadata").replaceAll(",", ", "));
    const wrong = card.units.filter((row) => row.verdict !== "ok").length;
    text(parts.count, plural(card.units.length, "unit") + (wrong ? `, ${wrong} in trouble` : ""));
    const shape = JSON.stringify([card.share, card.tones]);
    if (parts.bar.shape !== shape) {
      parts.bar.shape = shape;
      const order = ["bad", "warn", "busy", "good", "idle"];
      const tones = card.tones.sort((a, b) => order.indexOf(a.tone) - order.indexOf(b.tone));
      parts.bar.replaceChildren(...tones.map(({ tone, count }) => {
        const part = element("span", { "data-tone": tone });
        part.style.width = `${(100 * card.share * count) / card.units.length}%`;
        return part;
      }));
    }
    this.updateUnits(node);
  }

  updateTags({ card: { leader, version, usual }, parts: { tags } }) {
    const odd = usual != null && version !== usual;
    const signature = JSON.stringify([leader, version, odd && usual]);
    if (tags.signature === signature) return;
    tags.signature = signature;
    attribute(tags, "hidden", !leader && !version && "");
    const shown = [
      leader && element("span", { class: "tag", "data-tone": "note", title: "Its engine decides where units go" }, "engine leader"),
      version && (odd
        ? element("span", { class: "tag", "data-tone": "warn" }, glyph("warning"), `fleet ${version}, not ${usual}`)
        : element("span", { class: "tag" }, `fleet ${version}`)),
    ];
    tags.replaceChildren(...shown.filter(Boolean));
  }

  updateUnits(node) {
    const { card, parts, isNear } = node;
    const shown = isNear ? card.found.slice(0, UNITS_IN_CARD) : [];
    const signature = shown.map((row) => `${row.key} ${row.glyph} ${row.tone} ${row.stateText}`).join("\n");
    if (parts.units.signature !== signature) {
      parts.units.signature = signature;
      parts.units.replaceChildren(...shown.map((row) => element("li", {},
        element("button", { type: "button", class: "unit-name", "data-tone": row.tone, title: `${row.unit}: ${row.stateText}`, onclick: () => this.actions.reveal(row.key) },
          glyph(row.verdict === "ok" ? row.glyph : row.verdict), element("span", { class: "name" }, row.unit),
          element("span", { class: row.state === "active" && row.verdict === "ok" ? "visually-hidden" : "state" }, row.verdict === "ok" ? row.state : row.verdict.replace("_", " "))))));
    }
    const hidden = card.found.length - UNITS_IN_CARD;
    attribute(parts.more, "hidden", (hidden <= 0 || !card.key) && "");
    text(parts.more, `and ${hidden} more`);
  }
}

export class Timeline {
  /** `actions`: `reveal(key)`, which opens a unit in the table. */
  constructor(panel, actions) {
    this.actions = actions;
    this.body = element("div", { role: "list", class: "lines timeline", "aria-label": "What happened, newest first" });
    this.empty = element("p", { class: "empty", hidden: "" });
    panel.append(this.body, this.empty);
    this.list = new WindowedList(this.body, { create: () => this.create(), update: (node, line, index) => this.update(node, line, index) });
  }

  show(cluster, view) {
    const terms = parseFilter(view.q);
    const { transitions } = cluster;
    const found = terms.length ? transitions.filter((transition) => transitionMatches(terms, transition, cluster)) : transitions;
    attribute(this.body, "hidden", !found.length && "");
    attribute(this.empty, "hidden", (!!found.length || !view.read) && "");
    text(this.empty, transitions.length ? "Nothing that happened matches the filter." : "Nothing has happened since watching began.");
    this.list.show(found.map((transition) => ({ key: String(transition.number), transition })));
  }

  create() {
    const parts = {
      time: element("time"),
      glyph: glyph("info"),
      severity: element("span", { class: "visually-hidden" }),
      unit: element("button", { type: "button", class: "name link-like" }),
      said: element("span", { class: "said" }),
    };
    const node = element("div", { role: "listitem", class: "event" }, parts.glyph, parts.severity, element("p", {}, parts.unit, parts.said), parts.time);
    parts.unit.addEventListener("click", () => this.actions.reveal(node.unitKey));
    return Object.assign(node, { parts });
  }

  update(node, { transition }, index) {
    const { parts } = node;
    attribute(node, "aria-posinset", index + 1);
    attribute(node, "aria-setsize", this.list.lines.length);
    const tone = EVENT_TONES[transition.event] ?? (transition.severity === "warning" ? "bad" : "idle");
    attribute(node, "data-tone", tone);
    drawGlyph(parts.glyph, transition.severity === "warning" ? "warning" : "info");
    text(parts.severity, transition.severity === "warning" ? "Warning: " : "");
    const named = transition.unit != null && transition.text.startsWith(transition.unit);
    attribute(parts.unit, "hidden", !named && "");
    text(parts.unit, named ? transition.unit : "");
    text(parts.said, named ? transition.text.slice(transition.unit.length) : transition.text);
    attribute(node, "title", transition.text);
    if (named) node.unitKey = rowKey(transition.unit, transition.machine);
    setAge(parts.time, transition.time, "ago");
  }
}
