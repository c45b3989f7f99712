// What to do next about a unit or a machine: commands with a button that copies each of them, and
// links to elsewhere.

import { commandsFor, linksFor, machineSubject, unitSubject } from "./actions.js";
import { copyButton } from "./copy.js";
import { element, hide } from "./dom.js";
import { NEXT_STEPS } from "./words.js";

/**
 * The commands and links below an open row.
 * @implements {import("./unit-detail.js").Section}
 */
export class UnitSteps {
  /**
   * @param {import("./units.js").Actions} actions
   * @param {() => Map<string, object>} machines the machines of the cluster, by ID
   */
  constructor(actions, machines) {
    this.actions = actions;
    this.machines = machines;
    this.list = new StepList(actions);
    this.node = element(
      "section",
      { class: "next-steps", hidden: "" },
      element("h3", {}, NEXT_STEPS.title),
      this.list.node,
    );
  }

  async update(row) {
    const subject = unitSubject(row, this.machines());
    this.subject = subject;
    const known = await this.actions.nextSteps();
    // Another update has begun meanwhile.
    if (this.subject !== subject) return;

    this.list.show(known, subject);
    hide(this.node, this.list.isEmpty);
  }

  close() {}
}

/** The commands and links of a machine, which its card shows on request. */
export class MachineSteps {
  /** @param {import("./units.js").Actions} actions */
  constructor(actions) {
    this.actions = actions;
    this.list = new StepList(actions);
    this.node = element(
      "details",
      { class: "next-steps", hidden: "", ontoggle: () => this.draw() },
      element("summary", {}, NEXT_STEPS.title),
      this.list.node,
    );
  }

  /** @param {import("./machines.js").Card} card */
  async update(card) {
    this.subject = card.key ? machineSubject(card) : null;
    this.known = await this.actions.nextSteps();
    hide(this.node, !this.subject || !hasSteps(this.known));
    this.draw();
  }

  draw() {
    if (this.node.open && this.subject) this.list.show(this.known, this.subject);
  }
}

const hasSteps = (known) => Boolean(known?.commands?.machine?.length || known?.links?.length);

/** A list of commands, and a line of links. */
class StepList {
  /** @param {import("./units.js").Actions} actions */
  constructor(actions) {
    this.actions = actions;
    this.commands = element("ul", { class: "commands" });
    this.links = element("p", { class: "links" });
    this.node = element("div", {}, this.commands, this.links);
    this.isEmpty = true;
  }

  /**
   * @param {?import("./actions.js").Actions} known null if the server has not said it
   * @param {import("./actions.js").Subject} subject
   */
  show(known, subject) {
    const commands = known ? commandsFor(known, subject) : [];
    const links = known ? linksFor(known, subject) : [];
    const signature = JSON.stringify([commands, links]);
    if (signature === this.signature) return;
    this.signature = signature;

    this.isEmpty = !commands.length && !links.length;
    this.commands.replaceChildren(...commands.map((step) => this.command(step)));
    this.links.replaceChildren(...links.map(createLink));
    hide(this.commands, !commands.length);
    hide(this.links, !links.length);
  }

  command({ name, command }) {
    const code = element("code", {}, command);
    const copy = copyButton(code, { name, announce: this.actions.announce });
    return element("li", {}, element("span", { class: "step-name" }, name), code, copy);
  }
}

/** A link that opens elsewhere, and does not tell the other site about this page. */
const createLink = ({ name, url }) =>
  element("a", { href: url, target: "_blank", rel: "noreferrer noopener" }, name);
