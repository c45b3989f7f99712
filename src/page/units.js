// The table of units, and its keyboard.

import { attribute, button, element, hide, text } from "./dom.js";
import { holdOrder } from "./held-order.js";
import { Hold } from "./hold.js";
import { tableLines } from "./lines.js";
import { drawLinkNotes } from "./link-notes.js";
import { UnitSteps } from "./next-steps.js";
import { groupKey } from "./row.js";
import { COLUMNS, nextSort, parseSort } from "./sorting.js";
import { clock } from "./time-elements.js";
import { zoneName } from "./times.js";
import { UnitDetail } from "./unit-detail.js";
import { UnitFileSection } from "./unit-file.js";
import { UnitHistory } from "./unit-history.js";
import { UnitLogs } from "./unit-logs.js";
import { cellClass, createRow, updateRow } from "./unit-row.js";
import { WindowedList } from "./window.js";
import { COLUMN_TITLES, FILTER, TABLE, withZone } from "./words.js";

/**
 * The functions of the page that the table calls.
 * @typedef {object} Actions
 * @property {(sort: string) => void} sort
 * @property {(key: string) => void} toggle opens or closes a row
 * @property {(key: string) => void} reveal opens a row, whatever is shown now
 * @property {(change: Partial<import("./address.js").PageState>, options?: object) => void} go
 * @property {() => import("./address.js").PageState} view what the page shows
 * @property {() => Promise<?import("./actions.js").Actions>} nextSteps what can be done next; null
 *   if the server does not say
 * @property {(words: string) => void} announce to screen readers
 * @property {(row: import("./row.js").Row) => import("./histories.js").History} historyOf
 * @property {(unit: string) => Promise<{file?: object, reason?: string}>} unitFile reads a file
 * @property {() => number} covered how many pixels at the top of the window something sticky covers
 * @property {import("./feed.js").Feed["openLog"]} openLog
 */

const isDetail = (line) => line.kind === "detail";

export class UnitTable {
  /** @param {HTMLElement} panel @param {Actions} actions */
  constructor(panel, actions) {
    this.actions = actions;
    this.detail = new UnitDetail(actions, [
      () => new UnitHistory(actions),
      () => new UnitSteps(actions, () => this.detail.cluster.machines),
      () => new UnitLogs(actions),
      () => new UnitFileSection(actions),
    ]);
    /** The key of the row that the Tab key moves to. */
    this.active = null;

    this.headers = COLUMNS.map((column) => this.createHeader(column));
    this.body = element("div", { role: "rowgroup", class: "lines" });
    this.table = this.createTable();
    this.empty = element("p", { class: "empty", hidden: "" });
    this.notes = element("div", { class: "link-notes", hidden: "" });
    this.hold = new Hold(panel, this.body, (byKeyboard) => this.release(byKeyboard));
    panel.append(this.notes, this.table, this.empty, this.hold.mark);

    /** The arguments of `show` that are shown now. */
    this.shown = null;
    /** Whether the next `show` shows the order as it is, although somebody reads. */
    this.isReleased = true;

    this.body.addEventListener("keydown", (event) => this.keyPressed(event));
    this.body.addEventListener("click", (event) => this.clicked(event));
    this.body.addEventListener("focusin", (event) => this.focused(event));

    this.list = new WindowedList(this.body, {
      create: (line) => (isDetail(line) ? this.detail.create() : createRow()),
      update: (node, line, index) => this.update(node, line, index),
      measured: isDetail,
    });
  }

  createHeader(column) {
    const onclick = () => this.actions.sort(nextSort(column, this.sort));
    return element(
      "div",
      { role: "columnheader", class: cellClass(column.name) },
      button({ onclick }, COLUMN_TITLES[column.name]),
    );
  }

  createTable() {
    const titles = { role: "row", class: "columns", "aria-rowindex": 1 };
    const head = element("div", titles, ...this.headers);
    return element(
      "div",
      {
        role: "treegrid",
        class: "units",
        "aria-label": TABLE.label,
        "aria-colcount": COLUMNS.length,
      },
      element("div", { role: "rowgroup", class: "head" }, head),
      this.body,
    );
  }

  /**
   * @param {import("./cluster.js").Cluster} cluster
   * @param {import("./address.js").PageState} view
   * @param {boolean} isRead whether the units were ever read
   * @returns {string} how many units pass the filter
   */
  show(cluster, view, isRead) {
    this.shown = [cluster, view, isRead];
    this.detail.cluster = cluster;
    this.sort = parseSort(view.sort);
    const lines = this.nextLines(cluster, view);

    this.markSorted();
    this.nameZone();
    drawLinkNotes(this.notes, isRead ? view : null, cluster, this);
    attribute(this.table, "aria-rowcount", lines.length + 1);
    hide(this.table, !lines.length);
    hide(this.empty, lines.length || !isRead);
    if (!lines.length) text(this.empty, cluster.rows.length ? TABLE.noMatch : TABLE.noUnits);

    if (!lines.some((line) => line.key === this.active)) this.active = lines[0]?.key;
    this.list.show(lines);
    this.detail.keep(new Set(lines.filter(isDetail).map(({ row }) => row.key)));
    return FILTER.units(this.found, cluster.rows.length);
  }

  /** The lines to show. While somebody reads the table, those that are shown keep their places. */
  nextLines(cluster, view) {
    const { lines, found } = tableLines(cluster, view);
    this.found = found;
    const isHeld = this.hold.isHeld && !this.isReleased;
    this.isReleased = false;
    if (!isHeld) {
      this.hold.show(0);
      return lines;
    }
    const held = holdOrder(this.list.lines, lines, cluster, view.open);
    this.hold.show(held.waiting);
    return held.lines;
  }

  /** Keeps the rows where they are in the window while somebody reads them; see hold.js. */
  keepPlace() {
    return this.isReleased ? () => {} : this.hold.keepPlace();
  }

  /** Forgets the order that is held: users have chosen another one. */
  forgetOrder() {
    this.isReleased = true;
    this.hold.restorePage();
  }

  /** Shows what waits. */
  release(byKeyboard = false) {
    this.isReleased = true;
    this.show(...this.shown);
    // The button that was pressed is hidden now.
    if (byKeyboard && this.active) this.focus(this.active);
  }

  /** Puts all lines into the document, for printing, or only the visible ones. */
  showAll(isAll) {
    this.list.showAll(isAll);
  }

  /** Names the zone of the times in the rows, if they are not ages. */
  nameZone() {
    const title = COLUMN_TITLES.since;
    const isRelative = clock.format === "relative";
    const name = isRelative ? title : withZone(title, zoneName(clock.now(), clock.format));
    const index = COLUMNS.findIndex((column) => column.name === "since");
    text(this.headers[index].firstElementChild, name);
  }

  markSorted() {
    const direction = this.sort.descending ? "descending" : "ascending";
    COLUMNS.forEach(({ name }, index) => {
      attribute(this.headers[index], "aria-sort", name === this.sort.name ? direction : "none");
    });
  }

  update(node, line, index) {
    attribute(node, "aria-rowindex", index + 2);
    attribute(node, "aria-level", line.level);
    if (isDetail(line)) this.detail.update(node, line.row);
    else updateRow(node, line, line.key === this.active);
  }

  /** Makes a row visible and puts the focus on it. */
  focus(key) {
    if (!this.list.indexes.has(key)) this.release();
    const node = this.list.reveal(key, this.actions.covered());
    if (!node) return;
    this.activate(key);
    node.focus({ preventScroll: true });
  }

  activate(key) {
    if (this.active === key) return;
    const before = this.list.nodes.get(this.active);
    if (before?.hasAttribute("tabindex")) attribute(before, "tabindex", -1);
    this.active = key;
    const now = this.list.nodes.get(key);
    if (now) attribute(now, "tabindex", 0);
  }

  focused(event) {
    const row = event.target.closest(".line");
    if (row?.getAttribute("aria-expanded")) this.activate(row.lineKey);
  }

  clicked(event) {
    const row = event.target.closest(".line[aria-expanded]");
    // A click at the end of a text selection does not open the row.
    if (!row || String(getSelection())) return;
    this.activate(row.lineKey);
    this.toggle(this.lineOf(row));
  }

  lineOf(node) {
    return this.list.lines[this.list.indexes.get(node.lineKey)];
  }

  /** Opens or closes a row, unless it is gone. */
  toggle({ key, leaving }) {
    if (leaving !== "gone") this.actions.toggle(key);
  }

  // --- the keyboard, as the ARIA Authoring Practices describe it for a treegrid

  keyPressed(event) {
    const row = event.target.closest(".line");
    if (!row || event.altKey || event.ctrlKey || event.metaKey) return;

    const line = this.lineOf(row);
    const isInRow = event.target === row && !isDetail(line);
    const isHandled =
      event.key === "Escape" ? this.close(line) : isInRow && this.rowKeyPressed(event.key, line);
    if (isHandled) event.preventDefault();
  }

  /** Closes the row, or the group that it is in, and returns whether one was open. */
  close(line) {
    if (line.leaving === "gone") return false;
    const key = isDetail(line) ? line.row.key : line.key;
    if (this.isOpen(key)) this.actions.toggle(key);
    else if (this.isInGroup(line)) this.actions.toggle(groupKey(line.row.unit));
    else return false;

    this.focus(this.list.indexes.has(key) ? key : groupKey(line.row.unit));
    return true;
  }

  /** Handles a key in a row. Returns whether the key has a meaning there. */
  rowKeyPressed(key, line) {
    const page = this.rowsInWindow();
    const steps = {
      ArrowDown: 1,
      ArrowUp: -1,
      PageDown: page,
      PageUp: -page,
      Home: -Infinity,
      End: Infinity,
    };
    const toggles =
      key === "Enter" ||
      key === " " ||
      (key === "ArrowRight" && !line.opened) ||
      (key === "ArrowLeft" && line.opened);

    if (key in steps) this.move(line.key, steps[key]);
    else if (toggles) this.toggle(line);
    else if (key === "ArrowLeft" && this.isInGroup(line)) this.focus(groupKey(line.row.unit));
    else return false;
    return true;
  }

  rowsInWindow() {
    const height = innerHeight - this.actions.covered();
    return Math.max(1, Math.floor(height / this.list.rowHeight) - 1);
  }

  /** Moves the focus by so many lines. Details of open rows are skipped. */
  move(key, step) {
    const { lines, indexes } = this.list;
    const direction = Math.sign(step);
    let index = Math.min(lines.length - 1, Math.max(0, indexes.get(key) + step));
    while (lines[index] && isDetail(lines[index])) {
      index += index + direction < lines.length ? direction : -1;
    }
    if (lines[index]) this.focus(lines[index].key);
  }

  isOpen(key) {
    return this.list.lines[this.list.indexes.get(key)]?.opened ?? false;
  }

  isInGroup(line) {
    return !isDetail(line) && line.level === 2;
  }
}
