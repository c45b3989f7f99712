// The order of the table while somebody reads it.

import assert from "node:assert/strict";
import { test } from "node:test";

import { holdOrder } from "../../src/page/held-order.js";
import { tableLines } from "../../src/page/lines.js";
import { DB, OLD, WEB, clusterOf, machine, unit, wrong } from "./clusters.mjs";

const isGlobal = { global: true };
const GROUP = "agent.service/*";

/** A table whose order is held from its first lines on. */
class Table {
  constructor(units, view = {}) {
    this.view = { query: "", sort: "verdict", open: new Set(), ...view };
    this.cluster = clusterOf(units, [machine(WEB), machine(DB), machine(OLD)]);
    this.lines = this.next();
    this.waiting = 0;
  }

  next() {
    return tableLines(this.cluster, this.view).lines;
  }

  /** Units change, come, or go, as `{unit, machine}`. */
  change(upsert, remove = []) {
    this.cluster.apply([{ type: "delta", topic: "units", upsert, remove }]);
    this.hold();
  }

  open(...keys) {
    this.view.open = new Set(keys);
    this.hold();
  }

  hold() {
    const held = holdOrder(this.lines, this.next(), this.cluster, this.view.open);
    Object.assign(this, held);
  }

  get shown() {
    return this.lines.map(({ kind, row, leaving }) =>
      [kind === "unit" ? "" : kind, row.unit.replace(".service", ""), leaving]
        .filter(Boolean)
        .join(" "),
    );
  }

  verdictOf(unit) {
    return this.lines.find((line) => line.row.unit === unit).row.verdict;
  }
}

const three = () => ["a.service", "b.service", "c.service"].map((name) => unit(name));

test("a row that gets another place keeps its own, with its new content", () => {
  const table = new Table(three());
  table.change([wrong("c.service", "failed")]);
  assert.deepEqual(table.shown, ["a", "b", "c"]);
  assert.equal(table.verdictOf("c.service"), "failed");
  assert.equal(table.waiting, 1, "one row moves, although three have other places then");
});

test("a row that is as it was again does not wait any more", () => {
  const table = new Table(three());
  table.change([wrong("c.service", "failed")]);
  table.change([unit("c.service")]);
  assert.equal(table.waiting, 0);
  assert.deepEqual(table.lines, table.next());
});

test("a new row waits", () => {
  const table = new Table(three());
  table.change([unit("aa.service")]);
  assert.deepEqual(table.shown, ["a", "b", "c"]);
  assert.equal(table.waiting, 1);
});

test("a row that is gone stays in its place, marked, and can come back", () => {
  const table = new Table(three());
  table.change([], [{ unit: "b.service", machine: WEB }]);
  assert.deepEqual(table.shown, ["a", "b gone", "c"]);
  assert.equal(table.waiting, 1);

  table.change([unit("b.service", WEB, { active: "inactive" })]);
  assert.deepEqual(table.shown, ["a", "b", "c"]);
  assert.equal(table.waiting, 0);
});

test("a row that the filter does not find any more stays, marked, as it is now", () => {
  const table = new Table([wrong("a.service", "failed"), wrong("b.service", "failed")], {
    query: "verdict:failed",
  });
  table.change([unit("a.service")]);
  assert.deepEqual(table.shown, ["a unmatched", "b"]);
  assert.equal(table.verdictOf("a.service"), "ok");
  assert.equal(table.waiting, 1);

  table.open(`a.service/${WEB}`);
  assert.deepEqual(table.shown, ["a unmatched", "detail a unmatched", "b"]);
});

test("what users open and close shows at once, in the order that is held", () => {
  const table = new Table(three());
  table.change([wrong("c.service", "failed"), unit("d.service")]);
  table.open(`b.service/${WEB}`);
  assert.deepEqual(table.shown, ["a", "b", "detail b", "c"]);
  table.open();
  assert.deepEqual(table.shown, ["a", "b", "c"]);
  assert.equal(table.waiting, 2);
});

test("the details of a row that is gone stay too", () => {
  const table = new Table(three(), { open: new Set([`b.service/${WEB}`]) });
  table.change([], [{ unit: "b.service", machine: WEB }]);
  table.open();
  assert.deepEqual(table.shown, ["a", "b gone", "detail b gone", "c"]);
});

test("the rows of an open group keep their places in it", () => {
  const rows = [unit("agent.service", WEB, isGlobal), unit("agent.service", DB, isGlobal)];
  const table = new Table([...rows, unit("z.service")], { open: new Set([GROUP]) });
  const addresses = () => table.lines.map(({ row }) => row.where).slice(1, 3);
  assert.deepEqual(addresses(), ["10.0.0.1", "10.0.0.2"]);

  table.change([
    unit("agent.service", DB, { ...isGlobal, verdict: "failed" }),
    unit("agent.service", OLD, isGlobal),
  ]);
  assert.deepEqual(table.shown, ["group agent", "agent", "agent", "z"]);
  assert.deepEqual(addresses(), ["10.0.0.1", "10.0.0.2"]);
  assert.equal(table.waiting, 2, "one row is new, and one moves");
});

test("a group that a user opens shows all its rows", () => {
  const rows = [WEB, DB, OLD].map((id) => unit("agent.service", id, isGlobal));
  const table = new Table([...rows, unit("a.service")]);
  table.change([wrong("a.service", "failed")]);
  table.open(GROUP);
  assert.equal(table.shown.filter((line) => line === "agent").length, 3);
});

test("a row that becomes one of a group gives it its place, and takes it back", () => {
  const row = unit("agent.service", WEB, isGlobal);
  const table = new Table([unit("a.service"), row, unit("z.service")]);
  table.change([unit("agent.service", DB, isGlobal)]);
  assert.deepEqual(table.shown, ["a", "group agent", "z"]);
  table.change([], [{ unit: "agent.service", machine: WEB }]);
  assert.deepEqual(table.shown, ["a", "agent", "z"]);
  assert.equal(table.waiting, 0);
});

test("a group of which nothing is left stays, marked as gone", () => {
  const table = new Table([WEB, DB].map((id) => unit("agent.service", id, isGlobal)));
  table.change([], [WEB, DB].map((machine) => ({ unit: "agent.service", machine })));
  assert.deepEqual(table.shown, ["group agent gone"]);
});

test("whatever happens, each line is there once, and what is released is what is", () => {
  const random = randomNumbers(7);
  const pick = (list) => list[Math.floor(random() * list.length)];
  const names = [..."abcdefgh"].map((letter) => `${letter}.service`);
  const fields = (name) => (name < "c" ? isGlobal : {});

  for (let round = 0; round < 100; round++) {
    const table = new Table(names.map((name) => unit(name, WEB, fields(name))), {
      sort: pick(["unit", "verdict", "-since"]),
      query: pick(["", "verdict:ok"]),
    });
    for (let step = 0; step < 10; step++) {
      const name = pick(names);
      const id = pick([WEB, DB]);
      const verdict = pick(["ok", "failed"]);
      if (random() < 0.3) table.change([], [{ unit: name, machine: id }]);
      else table.change([unit(name, id, { ...fields(name), verdict, since: step })]);
      if (random() < 0.3) table.open(`${pick(names)}/*`, `${pick(names)}/${WEB}`);

      const keys = table.lines.map((line) => line.key);
      assert.equal(new Set(keys).size, keys.length, keys.join(" "));
      if (table.waiting === 0) assert.deepEqual(table.lines, table.next());
    }
  }
});

/** Numbers from 0 to 1 that are the same in each run. */
function randomNumbers(seed) {
  let state = seed;
  return () => (state = (state * 16807) % 2147483647) / 2147483647;
}
