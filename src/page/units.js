// The table of units.

import { age, attribute, drawGlyph, element, glyph, setAge, text } from "./dom.js";
import { COLUMNS, VERDICTS, groupKey, parseSort, shortHash, shortId, unitLines } from "./model.js";
import { WindowedList } from "./window.js";

const RECENT = 8; // transitions in an open row

export class UnitTable {
  /** `actions`: `sort(sort)`, `toggle(key)`, `go(view)` and `covered()`, the pixels at the top that are sticky. */
  constructor(panel, actions) {
    this.actions = actions;
    this.active = null;
    this.headers = COLUMNS.map((column) => {
      const button = element("button", { type: "button", onclick: () => this.sortBy(column) }, column.title);
      return element("div", { role: "columnheader", class: cellClass(column.name) }, button);
    });
    const head = element("div", { role: "row", class: "columns", "aria-rowindex": 1 }, ...this.headers);
    this.body = element("div", { role: "rowgroup", class: "lines", onkeydown: (event) => this.key(event), onclick: (event) => this.click(event) });
    this.body.addEventListener("focusin", (event) => this.focused(event));
    this.table = element("div", { role: "treegrid", class: "units", "aria-label": "Units", "aria-colcount": COLUMNS.length },
      element("div", { role: "rowgroup", class: "head" }, head), this.body);
    this.empty = element("p", { class: "empty", hidden: "" });
    panel.append(this.table, this.empty);
    this.list = new WindowedList(this.body, {
      create: (line) => (line.kind === "detail" ? createDetail() : createRow()),
      update: (node, line, index) => this.update(node, line, index),
      measured: (line) => line.kind === "detail",
    });
  }

  show(cluster, view) {
    this.cluster = cluster;
    this.sort = parseSort(view.sort);
    const { lines, found } = unitLines(cluster, view);
    COLUMNS.forEach((column, index) => {
      const sorted = this.sort.name === column.name && (this.sort.descending ? "descending" : "ascending");
      attribute(this.headers[index], "aria-sort", sorted || "none");
    });
    attribute(this.table, "aria-rowcount", lines.length + 1);
    attribute(this.table, "hidden", !found && "");
    attribute(this.empty, "hidden", (!!found || !view.read) && "");
    if (!found) text(this.empty, cluster.rows.length ? "No unit matches the filter." : "There are no units in the cluster.");
    if (!lines.some((line) => line.key === this.active)) this.active = lines[0]?.key;
    this.list.show(lines);
  }

  /** Brings a row into sight and puts the focus on it. */
  focus(key) {
    const node = this.list.reveal(key, this.actions.covered());
    if (!node) return;
    this.activate(key);
    node.focus({ preventScroll: true });
  }

  sortBy(column) {
    const first = column.newestFirst ? `-${column.name}` : column.name;
    const second = column.newestFirst ? column.name : `-${column.name}`;
    const current = (this.sort.descending ? "-" : "") + this.sort.name;
    this.actions.sort(current === first ? second : first);
  }

  update(node, line, index) {
    attribute(node, "aria-rowindex", index + 2);
    attribute(node, "aria-level", line.level);
    if (line.kind === "detail") return this.updateDetail(node, line.row);
    const { row, opened } = line;
    const { parts } = node;
    attribute(node, "tabindex", line.key === this.active ? 0 : -1);
    attribute(node, "aria-expanded", String(opened));
    attribute(node, "data-tone", row.tone);
    attribute(node, "data-level", line.level);
    attribute(node, "data-wrong", row.verdict !== "ok" && "");
    attribute(node, "data-submitted", row.submitted && "");
    const inGroup = line.level === 2;
    text(parts.unit, row.unit);
    attribute(parts.unit, "title", row.description ?? row.unit);
    text(parts.tag, line.kind === "group" ? "global" : row.global && !inGroup ? "global" : "");
    drawGlyph(parts.stateGlyph, row.glyph);
    text(parts.state, row.stateText);
    drawGlyph(parts.verdictGlyph, row.submitted ? "submitted" : row.verdict);
    text(parts.verdict, row.submitted ? "not wanted" : (VERDICTS[row.verdict]?.word ?? row.verdict));
    text(parts.machine, row.where ?? "no machine");
    attribute(parts.machine, "data-none", row.where == null && "");
    text(parts.note, row.onlyTarget ? "target" : row.ip && row.place ? shortId(row.place) : "");
    setAge(parts.since, row.submitted ? null : row.since, "short", row.since_seen);
  }

  updateDetail(node, row) {
    const transitions = (this.cluster.transitionsOf.get(row.unit) ?? []).filter((transition) => !transition.machine || !row.machine || transition.machine === row.machine);
    const signature = JSON.stringify([row.reason, row.stateText, row.load, row.since, row.desired, row.target, row.hash, row.file_hash, row.description, row.requirements, row.stale_since, transitions[0]?.number]);
    if (node.signature === signature) return;
    node.signature = signature;
    node.content.replaceChildren(...this.detail(row, transitions));
  }

  detail(row, transitions) {
    const { machines } = this.cluster;
    const facts = element("dl", { class: "facts" });
    const fact = (name, ...values) => {
      if (values.some((value) => value != null)) facts.append(element("div", {}, element("dt", {}, name), element("dd", {}, ...values)));
    };
    const place = (id) => id && [machines.get(id)?.ip, shortId(id)].filter(Boolean).join(" · ");
    const code = (value) => value && element("code", {}, value);
    fact("Fleet wants", row.desired ?? (row.file_hash || row.description ? null : "nothing: it has no unit file"));
    fact("State", row.active && `${row.load ?? "?"}, ${row.stateText} `, row.source.since && !row.submitted ? age(row.source.since, "for", row.source.since_seen) : null);
    fact("Not reported", row.stale_since ? age(row.stale_since, "for") : null);
    fact("Machine", place(row.machine));
    if (row.global) fact("Target", "every machine that meets its requirements");
    else if (row.target !== row.machine) fact("Target", place(row.target) ?? "none");
    if (row.hash && row.file_hash && row.hash !== row.file_hash) {
      fact("Version", "the machine has ", code(shortHash(row.hash)), ", fleet has ", code(shortHash(row.file_hash)));
    } else {
      fact("Version", code(shortHash(row.hash ?? row.file_hash)));
    }
    fact("Description", row.description);
    if (row.requirements?.length) fact("Requirements", ...row.requirements.flatMap((requirement) => [code(requirement), element("br")]));
    const history = element("ol", { class: "history" }, ...transitions.slice(0, RECENT).map((transition) =>
      element("li", {}, age(transition.time, "ago"), " ", element("span", {}, withoutUnit(transition)))));
    const button = (label, view) => element("button", { type: "button", class: "quiet", onclick: () => this.actions.go(view) }, label);
    return [
      row.reason ? element("p", { class: "reason", "data-tone": row.tone }, glyph(row.submitted ? "submitted" : row.verdict), element("span", {}, row.reason)) : null,
      element("div", { class: "two" }, facts,
        element("div", {}, element("h3", {}, "What happened"),
          transitions.length ? history : element("p", { class: "none" }, "Nothing since watching began."))),
      element("p", { class: "more" },
        button("Its timeline", { tab: "timeline", q: row.unit }),
        row.where ? button(`All units on ${row.where}`, { tab: "units", q: `machine:${row.where}`, open: new Set() }) : null),
    ].filter(Boolean);
  }

  // --- the keyboard, as the ARIA practices have it for a tree of rows

  key(event) {
    const row = event.target.closest(".line");
    if (!row || event.altKey || event.ctrlKey || event.metaKey) return;
    const line = this.list.lines[this.list.indexes.get(row.lineKey)];
    if (event.key === "Escape") {
      const key = line.kind === "detail" ? line.row.key : line.key;
      if (this.isOpen(key)) this.actions.toggle(key);
      else if (line.level === 2 && line.kind !== "detail") this.actions.toggle(groupKey(line.row.unit));
      else return;
      this.focus(this.list.indexes.has(key) ? key : groupKey(line.row.unit));
      event.preventDefault();
      return;
    }
    if (event.target !== row || line.kind === "detail") return;
    const page = Math.max(1, Math.floor((innerHeight - this.actions.covered()) / this.list.row) - 1);
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    if (event.key in steps) this.move(line.key, steps[event.key]);
    else if (event.key === "Enter" || event.key === " ") this.actions.toggle(line.key);
    else if (event.key === "ArrowRight" && !line.opened) this.actions.toggle(line.key);
    else if (event.key === "ArrowLeft" && line.opened) this.actions.toggle(line.key);
    else if (event.key === "ArrowLeft" && line.level === 2) this.focus(groupKey(line.row.unit));
    else return;
    event.preventDefault();
  }

  move(key, step) {
    const { lines, indexes } = this.list;
    const direction = Math.sign(step);
    let index = Math.min(lines.length - 1, Math.max(0, indexes.get(key) + step));
    while (lines[index]?.kind === "detail") index += index + direction < lines.length ? direction : -1;
    if (lines[index]) this.focus(lines[index].key);
  }

  isOpen(key) {
    return this.list.lines[this.list.indexes.get(key)]?.opened ?? false;
  }

  focused(event) {
    const row = event.target.closest(".line");
    if (row?.getAttribute("aria-expanded")) this.activate(row.lineKey);
  }

  activate(key) {
    if (this.active === key) return;
    const before = this.list.nodes.get(this.active);
    if (before?.hasAttribute("tabindex")) attribute(before, "tabindex", -1);
    this.active = key;
    const now = this.list.nodes.get(key);
    if (now) attribute(now, "tabindex", 0);
  }

  click(event) {
    const row = event.target.closest(".line[aria-expanded]");
    if (!row || String(getSelection())) return;
    this.activate(row.lineKey);
    this.actions.toggle(row.lineKey);
  }
}

const withoutUnit = ({ unit, ip, text: said }) => {
  for (const start of [`${unit} on ${ip}`, unit]) if (said.startsWith(start)) return said.slice(start.length).replace(/^:?\s*/, "");
  return said;
};

const cellClass = (column) => `cell ${column === "unit" ? "name-cell" : column}`;

function createRow() {
  const parts = {
    unit: element("span", { class: "name" }),
    tag: element("span", { class: "tag" }),
    stateGlyph: glyph("active"),
    state: element("span"),
    verdictGlyph: glyph("ok"),
    verdict: element("span"),
    machine: element("span", { class: "ip" }),
    note: element("span", { class: "id" }),
    since: element("time"),
  };
  const cell = (name, ...children) => element("div", { role: "gridcell", class: cellClass(name) }, ...children);
  const row = element("div", { role: "row", class: "unit" },
    cell("unit", glyph("open"), parts.unit, parts.tag),
    cell("state", parts.stateGlyph, parts.state),
    cell("verdict", parts.verdictGlyph, parts.verdict),
    cell("machine", parts.machine, parts.note),
    cell("since", parts.since));
  return Object.assign(row, { parts });
}

function createDetail() {
  const content = element("div", { role: "gridcell", class: "detail", "aria-colspan": COLUMNS.length });
  return Object.assign(element("div", { role: "row", class: "opened" }, content), { content });
}
