// What becomes of commands and links. The cases are those of the terminal, too.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import {
  commandsFor,
  expandCommand,
  expandUrl,
  linksFor,
  machineSubject,
  unitSubject,
} from "../../src/page/actions.js";
import { readRow, rowKey } from "../../src/page/row.js";

const CASES = new URL("../fixtures/actions/cases.json", import.meta.url);
const { subjects, commands, urls } = JSON.parse(readFileSync(CASES, "utf8"));

/** A subject of the cases, which have the names of the other language. */
function subjectOf(name) {
  const { is_global, is_lost, has_file, ...values } = subjects[name];
  return { ...values, isGlobal: is_global, isLost: is_lost, hasFile: has_file };
}

for (const { command, when, subject, expanded } of commands) {
  test(`the command '${command}' ${when ?? ""} of '${subject}' is that of the terminal`, () => {
    assert.equal(expandCommand({ command, when }, subjectOf(subject)), expanded);
  });
}

for (const { url, subject, expanded } of urls) {
  test(`the URL '${url}' of '${subject}' is that of the terminal`, () => {
    assert.equal(expandUrl(url, subjectOf(subject)), expanded);
  });
}

test("a unit has the commands for units, and a machine those for machines", () => {
  const template = (command) => ({ name: "a", command });
  const actions = {
    commands: { unit: [template("u {unit}")], machine: [template("m {machine}")] },
    links: [
      { name: "Unit", url: "http://a/{unit}" },
      { name: "Machine", url: "http://a/{machine}" },
    ],
  };
  const names = (links) => links.map(({ name }) => name).join();

  const nowhere = subjectOf("nowhere");
  assert.deepEqual(commandsFor(actions, nowhere), [{ name: "a", command: "u batch.timer" }]);
  assert.equal(names(linksFor(actions, nowhere)), "Unit");

  const machine = subjectOf("machine");
  assert.deepEqual(commandsFor(actions, machine), [{ name: "a", command: "m 9c4b7a2e" }]);
  assert.equal(names(linksFor(actions, machine)), "Machine");

  assert.deepEqual(commandsFor({}, machine), []);
  assert.deepEqual(linksFor({}, machine), []);
});

test("a row is on a lost machine if its verdict or its machine says so", () => {
  const row = (unit) => readRow(unit, rowKey(unit.unit, unit.machine), null, {});
  const machines = new Map([["m1", { ip: "10.0.0.1", lost_since: 1 }], ["m2", {}]]);
  const of = (unit) => unitSubject(row({ unit: "a.service", verdict: "ok", ...unit }), machines);

  assert.deepEqual(of({ machine: "m1", desired: "launched", global: true }), {
    unit: "a.service",
    machine: "m1",
    ip: "10.0.0.1",
    isGlobal: true,
    isLost: true,
    hasFile: true,
  });
  assert.equal(of({ machine: "m2" }).isLost, false);
  assert.equal(of({ machine: "m2", verdict: "machine_lost" }).isLost, true);
  assert.equal(of({ machine: "m2" }).hasFile, false);
  // The target is no machine of the unit yet.
  const nowhere = of({ target: "m1", desired: "launched" });
  assert.deepEqual([nowhere.machine, nowhere.ip, nowhere.isLost], [undefined, undefined, false]);

  assert.equal(machineSubject({ machine: "m1", lost_since: 1 }).isLost, true);
  assert.equal(machineSubject({ machine: "m1", isUnknown: true }).isLost, true);
  assert.equal(machineSubject({ machine: "m1" }).isLost, false);
});
