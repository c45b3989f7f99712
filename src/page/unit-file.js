// The unit file of an open row, and what differs on its machine if that runs another version. It is
// shown only where the monitor shows unit files, and fetched only when somebody asks for it.

import { copyButton } from "./copy.js";
import { button, element, hide, text } from "./dom.js";
import { UNIT_FILE, shortHash } from "./words.js";

// The elements of lines that were removed and added, by what the lines begin with.
const CHANGES = { "-": "del", "+": "ins" };

/** A section of the details of a unit. */
export class UnitFileSection {
  /** @type {?import("./row.js").Row} */
  row = null;
  /** The answer that says whether unit files are shown. */
  asked = null;
  isOpen = false;
  /** Counts what users asked for, so that an old answer is ignored. */
  request = 0;
  /** The hashes that the row had when its file was read. */
  readAt = null;

  /** @param {import("./units.js").Actions} actions */
  constructor(actions) {
    this.actions = actions;
    const onclick = () => this.toggle();
    this.button = button({ class: "quiet", onclick }, UNIT_FILE.show);
    this.again = button({ class: "quiet", onclick: () => this.read() }, UNIT_FILE.again);
    this.note = element("p", { class: "file-note", role: "status" });
    this.content = element("div");

    const head = element("p", { class: "more" }, this.button, this.again);
    const parts = [head, this.note, this.content];
    this.node = element("section", { class: "unit-file", hidden: "" }, ...parts);
    this.draw();
  }

  /** @param {import("./row.js").Row} row */
  update(row) {
    this.row = row;
    const asked = this.actions.nextSteps();
    if (this.asked !== asked) {
      this.asked = asked;
      asked.then((allowed) => {
        if (this.asked === asked) hide(this.node, !allowed?.unit_files);
      });
    }
    this.draw();
  }

  close() {
    this.request++;
  }

  toggle() {
    this.isOpen = !this.isOpen;
    if (this.isOpen) this.read();
    else {
      this.request++;
      this.showNothing("");
    }
  }

  async read() {
    const request = ++this.request;
    this.readAt = hashesOf(this.row);
    if (!this.content.childElementCount) this.showNothing(UNIT_FILE.reading);

    const { file, reason } = await this.actions.unitFile(this.row.unit);
    if (request !== this.request) return;
    if (file) this.show(file);
    else this.showNothing(UNIT_FILE.failed(reason));
  }

  showNothing(note) {
    text(this.note, note);
    this.content.replaceChildren();
    this.draw();
  }

  show({ hash, content, masked, running }) {
    text(this.note, masked ? UNIT_FILE.masked : "");
    const machine = this.row.where ?? "";
    const others = running.filter(({ machines }) => machines.includes(this.row.machine));

    const { announce } = this.actions;
    const parts = others.map((other) => differenceOf(machine, other, hash, announce));
    if (content == null) parts.push(element("p", { class: "none" }, UNIT_FILE.deleted));
    else parts.unshift(fileOf(UNIT_FILE.title(shortHash(hash)), content, announce));
    this.content.replaceChildren(...parts);
    this.draw();
  }

  draw() {
    text(this.button, this.isOpen ? UNIT_FILE.hide : UNIT_FILE.show);
    const isOld = this.row && hashesOf(this.row) !== this.readAt;
    const isHidden = !this.isOpen || !isOld;
    // Otherwise the focus would be lost.
    if (isHidden && document.activeElement === this.again) this.button.focus();
    hide(this.again, isHidden);
  }
}

/** The versions of the file that a row knows. If they change, the file was read too early. */
const hashesOf = ({ hash, file_hash }) => `${hash} ${file_hash}`;

/** A file with its title, and a button to copy it. */
function fileOf(title, content, announce) {
  const lines = element("pre", { tabindex: "0", role: "region", "aria-label": title }, content);
  return element("div", {}, titleOf(title, copyButton(lines, { name: title, announce })), lines);
}

/** What differs between the version of a machine and that of fleet, or all of the former. */
function differenceOf(machine, { hash, content, diff }, ofFleet, announce) {
  const version = shortHash(hash);
  if (content == null) {
    return element("p", { class: "none" }, UNIT_FILE.unknown(machine, version));
  }
  if (diff == null) return fileOf(UNIT_FILE.runs(machine, version), content, announce);

  const title = UNIT_FILE.differs(machine, version, shortHash(ofFleet));
  const lines = diff.map((line) => element(CHANGES[line[0]] ?? "span", {}, `${line}\n`));
  const labels = { tabindex: "0", role: "region", "aria-label": title };
  return element("div", {}, titleOf(title), element("pre", { class: "diff", ...labels }, ...lines));
}

const titleOf = (title, ...children) =>
  element("div", { class: "file-title" }, element("h3", {}, title), ...children);
