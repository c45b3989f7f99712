// The timeline: what happened in the cluster, newest first.

import { attribute, button, drawGlyph, element, glyph, hide, text } from "./dom.js";
import { eventMatches, isFiltering, parseFilter } from "./filter.js";
import { rowKey } from "./row.js";
import { sentenceWithTime, setTime } from "./time-elements.js";
import { endOfEvents } from "./transitions.js";
import { WindowedList } from "./window.js";
import { FILTER, TIMELINE } from "./words.js";

/** The tones of events that have another one than their severity has. */
const EVENT_TONES = { stale: "warn", machine_silent: "warn" };

export class Timeline {
  /** @param {HTMLElement} panel @param {import("./units.js").Actions} actions */
  constructor(panel, actions) {
    const label = { "aria-label": TIMELINE.label };
    this.body = element("div", { role: "list", class: "lines timeline", ...label });
    this.empty = element("p", { class: "empty", hidden: "" });
    this.end = element("p", { class: "end" });
    panel.append(this.body, this.empty, this.end);

    this.list = new WindowedList(this.body, {
      create: (line) => createEvent(line.event, actions),
      update: (node, line, index) => this.update(node, line.event, index),
    });
  }

  /**
   * @param {import("./cluster.js").Cluster} cluster
   * @param {import("./address.js").PageState} view
   * @param {boolean} isRead whether the units were ever read
   * @returns {string} how many events pass the filter
   */
  show(cluster, view, isRead) {
    const filter = parseFilter(view.query);
    const { all } = cluster.transitions;
    const isFound = (event) => eventMatches(filter, event, cluster);
    const found = isFiltering(filter) ? all.filter(isFound) : all;

    hide(this.body, !found.length);
    hide(this.empty, found.length || !all.length);
    text(this.empty, TIMELINE.noMatch);
    this.showEnd(cluster.transitions, isRead);
    this.list.show(found.map((event) => ({ key: String(event.number), event })));
    return FILTER.events(found.length, all.length);
  }

  /** Puts all events into the document, for printing, or only the visible ones. */
  showAll(isAll) {
    this.list.showAll(isAll);
  }

  /** Says below the events since when they are complete. */
  showEnd({ all, beginning }, isRead) {
    const sentence = endOfEvents(beginning, !all.length);
    hide(this.end, !sentence || !isRead);
    this.end.toggleAttribute("data-dropped", Boolean(beginning?.isDropped));

    const signature = JSON.stringify([sentence, beginning]);
    if (!sentence || this.end.signature === signature) return;
    this.end.signature = signature;
    this.end.replaceChildren(sentenceWithTime(sentence, beginning?.time));
  }

  /** @param {import("./transitions.js").Transition} event */
  update(node, event, index) {
    const { parts } = node;
    const isWarning = event.severity === "warning";

    attribute(node, "aria-posinset", index + 1);
    attribute(node, "aria-setsize", this.list.lines.length);
    attribute(node, "data-tone", EVENT_TONES[event.event] ?? (isWarning ? "bad" : "idle"));
    attribute(node, "title", event.text);

    drawGlyph(parts.glyph, isWarning ? "warning" : "info");
    text(parts.severity, isWarning ? TIMELINE.warning : "");
    updateText(node, event);
    setTime(parts.time, event.time, { form: "pair" });
  }
}

function createEvent(event, actions) {
  const parts = {
    time: element("time"),
    glyph: glyph("info"),
    severity: element("span", { class: "visually-hidden" }),
    unit: button({ class: "name link-like" }),
    rest: element("span", { class: "rest" }),
  };
  const node = element(
    "div",
    { role: "listitem", class: "event", "data-event": event.event },
    parts.glyph,
    parts.severity,
    element("p", {}, parts.unit, parts.rest),
    parts.time,
  );
  parts.unit.addEventListener("click", () => actions.reveal(node.unitKey));
  return Object.assign(node, { parts });
}

/** The text. A unit at its beginning is a button that shows the unit. */
function updateText(node, { unit, machine, text: words }) {
  const { parts } = node;
  const startsWithUnit = unit != null && words.startsWith(unit);

  hide(parts.unit, !startsWithUnit);
  text(parts.unit, startsWithUnit ? unit : "");
  text(parts.rest, startsWithUnit ? words.slice(unit.length) : words);
  if (startsWithUnit) node.unitKey = rowKey(unit, machine);
}
