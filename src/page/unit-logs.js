// The log of a unit in the details of its row: a button that opens it, and then its lines as they
// are written, the newest at the bottom.
//
// The log follows the newest line while the reader is at its end. Above that, or while it is
// paused, it is held: nothing in it moves, and a button says how much is new.

import { attribute, button, element, hide, text } from "./dom.js";
import { LogLines, narrowing, programOf } from "./log-lines.js";
import { clock, setFixedTime } from "./time-elements.js";
import { zoneName } from "./times.js";
import { LOG, LOG_NOTES, LOG_STATES, PRIORITIES } from "./words.js";

/** How long the page may be hidden before it stops reading, in milliseconds. */
const HIDDEN_TIMEOUT = 60_000;
/** Why lines are missed, as far as there are words for it. */
const MISSED_BECAUSE = ["slow", "rate"];
/** So many pixels above its end, the log is still at its end. */
const AT_END = 4;

/**
 * Whether a log is read: the state of its connection, or that it was never opened, that somebody
 * has stopped it, or that the page was hidden for too long.
 * @typedef {import("./feed.js").LogLink | {kind: "unopened" | "stopped" | "hidden"}} ReadState
 */

/** A section of `UnitDetail`. */
export class UnitLogs {
  /** @type {?import("./row.js").Row} */
  #row = null;
  /** The answer to whether there are logs, so that each is looked at once. */
  #asked = null;
  /** @type {?{close: () => void}} */
  #stream = null;
  /** @type {ReadState} */
  #state = { kind: "unopened" };
  #lines = new LogLines();
  /** The element of each entry that is shown. */
  #nodes = new Map();
  #isShown = narrowing("");
  #isPaused = false;
  #isAtEnd = true;
  /** Where the reader is in the log. An element that leaves the document forgets that. */
  #top = 0;
  /** The animation frame in which the log will be drawn, or 0. */
  #frame = 0;
  /** How the times of its lines are written. */
  #format = null;
  /** When it may be drawn again. */
  #due = 0;
  #hiddenTimer = null;
  #listeners = new AbortController();
  #sizes = new ResizeObserver(() => this.#resized());

  /** @param {import("./units.js").Actions} actions */
  constructor(actions) {
    this.actions = actions;
    this.node = this.#create();
    this.#drawState();
    this.#sizes.observe(this.list);
    const { signal } = this.#listeners;
    document.addEventListener("visibilitychange", () => this.#visibilityChanged(), { signal });
  }

  /** @param {import("./row.js").Row} row */
  update(row) {
    this.#row = row;
    attribute(this.list, "aria-label", LOG.label(row.unit));
    this.#drawTimes();

    const asked = this.actions.nextSteps();
    if (asked === this.#asked) return;
    this.#asked = asked;
    // A log that is open stays.
    asked.then((answer) => hide(this.node, !answer?.logs && this.#state.kind === "unopened"));
  }

  close() {
    this.#stream?.close();
    this.#stream = null;
    this.#listeners.abort();
    this.#sizes.disconnect();
    cancelAnimationFrame(this.#frame);
    clearTimeout(this.#hiddenTimer);
  }

  #create() {
    const onclick = () => (this.#stream ? this.#stop("stopped") : this.#openAnew());
    this.opener = button({ class: "quiet", "data-log": "opener", onclick });
    const onpause = () => this.#pause(!this.#isPaused);
    this.pauser = button({ class: "quiet", "data-log": "pauser", onclick: onpause });
    this.field = element("input", {
      type: "search",
      autocomplete: "off",
      autocapitalize: "off",
      spellcheck: "false",
      "aria-label": LOG.narrow,
      placeholder: LOG.placeholder,
      oninput: () => this.#narrow(),
      onkeydown: (event) => this.#keyPressed(event),
    });
    this.count = element("span", { class: "log-count" });
    this.zone = element("span", { class: "log-zone" });
    this.status = element("p", { class: "log-state", role: "status" });
    this.dropped = element("p", { class: "log-note", "data-log": "dropped", hidden: "" });
    this.empty = element("p", { class: "log-note", hidden: "" }, LOG.noMatch);
    this.list = element("div", {
      class: "log",
      role: "log",
      tabindex: 0,
      onscroll: () => this.#scrolled(),
      onwheel: ({ deltaY }) => this.#wheelTurned(deltaY),
    }, this.dropped, this.empty);
    this.newer = button({ class: "log-newer", hidden: "", onclick: () => this.#goToEnd() });
    this.tools = element("div", { class: "log-tools" }, this.pauser, this.count, this.field);
    this.frame = element("div", { class: "log-frame" }, this.list, this.newer);

    const bar = element(
      "div",
      { class: "log-bar" },
      element("h3", {}, LOG.title),
      this.zone,
      this.opener,
      this.tools,
    );
    return element("div", { class: "unit-log", hidden: "" }, bar, this.status, this.frame);
  }

  // --- opening and closing

  #open() {
    const { unit, global, machine } = this.#row;
    if (this.#state.kind !== "unopened") this.#lines.addGap();
    // The rows of a global unit are on a machine each; any other unit is followed when it moves.
    this.#stream = this.actions.openLog({ unit, machine: global ? machine : null }, {
      messages: (messages) => this.#receive(messages),
      link: (link) => this.#linkChanged(link),
    });
  }

  #openAnew() {
    this.#open();
    this.#pause(false);
  }

  #stop(kind) {
    this.#stream?.close();
    this.#stream = null;
    this.#changeState({ kind });
  }

  #receive(messages) {
    const now = performance.now();
    for (const message of messages) this.#lines.receive(message, now);
    this.#schedule();
  }

  /** @param {import("./feed.js").LogLink} link */
  #linkChanged(link) {
    if (link.kind === "disconnected") this.#lines.addGap();
    if (["refused", "ended", "crowded"].includes(link.kind)) this.#stream = null;
    this.#changeState(link);
  }

  #changeState(state) {
    this.#state = state;
    this.#drawState();
    this.#schedule();
  }

  #visibilityChanged() {
    clearTimeout(this.#hiddenTimer);
    if (document.visibilityState === "hidden") {
      this.#hiddenTimer = setTimeout(() => this.#stream && this.#stop("hidden"), HIDDEN_TIMEOUT);
    } else if (this.#state.kind === "hidden") {
      this.#open();
    }
  }

  // --- what the reader does

  #pause(isPaused) {
    this.#isPaused = isPaused;
    this.#drawState();
    this.#schedule();
  }

  #goToEnd() {
    this.#isAtEnd = true;
    this.#pause(false);
    this.#draw();
    // The button is hidden now.
    this.list.focus({ preventScroll: true });
  }

  #narrow() {
    this.#isShown = narrowing(this.field.value);
    for (const node of this.#nodes.values()) node.remove();
    this.#nodes.clear();
    this.#append(this.#lines.entries);

    if (this.#isAtEnd) this.#scrollToEnd();
    this.#drawCounts();
  }

  #keyPressed(event) {
    if (event.key !== "Escape" || !this.field.value) return;
    // Without a text in the field, the key closes the row.
    event.stopPropagation();
    event.preventDefault();
    this.field.value = "";
    this.#narrow();
  }

  #scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.list;
    if (!clientHeight) return;
    const isUp = scrollTop < this.#top;
    this.#top = scrollTop;

    const below = scrollHeight - scrollTop - clientHeight;
    if (isUp && below >= 1) this.#isAtEnd = false;
    if (!isUp && below < AT_END) this.#isAtEnd = true;
    this.#schedule();
  }

  // The first step of a wheel is smaller than a pixel, and the next lines would undo it.
  #wheelTurned(deltaY) {
    if (deltaY < 0 && this.list.scrollTop > 0) this.#isAtEnd = false;
  }

  #resized() {
    if (!this.list.clientHeight) return;
    if (this.#isAtEnd) this.#scrollToEnd();
    else this.list.scrollTop = this.#top;
  }

  #scrollToEnd() {
    this.list.scrollTop = this.list.scrollHeight;
    this.#top = this.list.scrollTop;
  }

  // --- drawing

  #schedule() {
    this.#frame ||= requestAnimationFrame((now) => this.#drawIfDue(now));
  }

  // In a flood, two thirds of the time are left for everything else on the page.
  #drawIfDue(now) {
    this.#frame = 0;
    if (now < this.#due) return this.#schedule();
    this.#draw();
    const end = performance.now();
    this.#due = end + 2 * (end - now);
  }

  #draw() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;

    if (!this.#isPaused && this.#isAtEnd) this.#drawEntries();
    this.#drawState();
    this.#drawCounts();
    // At last, because all of it may change the height of the log.
    if (this.#isAtEnd) this.#scrollToEnd();
  }

  #drawEntries() {
    if (!this.#lines.waiting) return;
    // Nobody can listen to a flood.
    attribute(this.list, "aria-live", this.#lines.isCalm(performance.now()) ? "polite" : "off");

    const { added, removed } = this.#lines.take();
    for (const entry of removed) {
      this.#nodes.get(entry)?.remove();
      this.#nodes.delete(entry);
    }
    this.list.toggleAttribute("data-several", this.#lines.isOfSeveral);
    // Of very many, the first were dropped at once.
    this.#append(added.slice(-this.#lines.entries.length));
  }

  #append(entries) {
    const nodes = document.createDocumentFragment();
    for (const entry of entries) {
      if (!this.#isShown(entry)) continue;
      const node = entry.kind === "line" ? this.#line(entry) : this.#note(entry);
      this.#nodes.set(entry, node);
      nodes.append(node);
    }
    this.list.append(nodes);
  }

  #line(entry) {
    const { time, machine, priority, message, truncated, binary } = entry;
    const part = (name, ...content) => element("span", { class: `log-${name}` }, ...content, " ");
    const marks = [truncated ? LOG.truncated : null, binary ? LOG.binary : null].filter(Boolean);
    const program = programOf(entry);
    const at = element("time", { class: "log-time" });
    setFixedTime(at, time);

    return element(
      "div",
      { class: "log-line", "data-priority": priority },
      at,
      " ",
      part("machine", this.#lines.name(machine)),
      part("priority", PRIORITIES[priority] ?? ""),
      part("program", program ? `${program}:` : ""),
      element("span", { class: "log-message" }, message),
      marks.length ? part("marks", ` ${marks.join(" ")}`) : null,
    );
  }

  /** Writes the times of all lines, if the viewer has chosen another format. */
  #drawTimes() {
    text(this.zone, LOG.zone(zoneName(clock.now(), clock.format)));
    if (this.#format === clock.format) return;
    this.#format = clock.format;
    for (const [{ kind, time }, node] of this.#nodes) {
      if (kind === "line") setFixedTime(node.firstElementChild, time);
    }
  }

  #note(entry) {
    return element("div", { class: "log-note", "data-kind": entry.kind }, this.#noteText(entry));
  }

  #noteText({ kind, machine, lines, reason }) {
    const name = this.#lines.name(machine);
    const { unit } = this.#row;
    switch (kind) {
      case "missed":
        return LOG_NOTES[MISSED_BECAUSE.includes(reason) ? reason : kind](lines, name);
      case "moved":
      case "previous":
        return LOG_NOTES[kind](unit, name);
      case "gap":
        return LOG_NOTES.gap;
      default:
        return LOG_NOTES[kind](name, reason ?? "");
    }
  }

  #drawState() {
    const { kind } = this.#state;
    const isOpened = kind !== "unopened";
    const isRead = ["connecting", "live", "disconnected"].includes(kind);

    attribute(this.node, "data-state", kind);
    text(this.opener, isRead ? LOG.stop : isOpened ? LOG.showAgain : LOG.show);
    text(this.pauser, this.#isPaused ? LOG.goOn : LOG.pause);
    hide(this.pauser, !isRead);
    for (const part of [this.zone, this.tools, this.status, this.frame]) hide(part, !isOpened);
    if (!isOpened) return;

    const isHeld = this.#isPaused || !this.#isAtEnd;
    const waiting = isHeld ? this.#lines.waiting : 0;
    hide(this.newer, !waiting);
    text(this.newer, waiting ? LOG.newLines(waiting) : "");
    const sentences = [this.#stateText(), this.#isPaused ? LOG_STATES.paused : null];
    text(this.status, sentences.filter(Boolean).join(" "));
  }

  #stateText() {
    const { kind, reason, most } = this.#state;
    if (kind === "crowded") return LOG_STATES.crowded(most);
    if (kind === "live") return this.#machinesText();
    const words = LOG_STATES[kind];
    return typeof words === "function" ? words(reason) : words;
  }

  #machinesText() {
    const machines = [...this.#lines.machines.values()];
    const names = (isOne) =>
      machines.filter(isOne).map(({ machine }) => this.#lines.name(machine));
    const sentences = [
      ["live", names(({ state }) => state === "connected")],
      ["waiting", names(({ state, problem }) => state === "connecting" && problem === null)],
      ["unread", names(({ state, problem }) => state !== "ended" && problem !== null)],
    ];

    const said = sentences.filter(([, names]) => names.length);
    if (!said.length) return LOG_STATES.opened;
    return said.map(([words, names]) => LOG_STATES[words](names)).join(" ");
  }

  #drawCounts() {
    const { dropped, entries } = this.#lines;
    hide(this.dropped, !dropped);
    text(this.dropped, dropped ? LOG.dropped(dropped) : "");

    const isNarrow = this.field.value.trim() !== "";
    const found = this.#nodes.size;
    text(this.count, isNarrow ? LOG.found(found, entries.length) : "");
    hide(this.empty, !isNarrow || found || !entries.length);
  }
}
