// What the page knows of a cluster, from messages.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Cluster } from "../../src/page/cluster.js";
import { isGroupKey } from "../../src/page/row.js";
import { Transitions } from "../../src/page/transitions.js";
import {
  DB,
  WEB,
  clusterOf,
  event,
  expected,
  failed,
  machine,
  names,
  snapshot,
  submitted,
  unit,
  unitProblem,
  unscheduled,
  wrong,
} from "./clusters.mjs";

const delta = (topic, upsert, remove = []) => ({ type: "delta", topic, upsert, remove });

test("a row has the address of its machine, whichever of the two arrives first", () => {
  const there = unit("web.service", WEB, { ip: undefined });
  const cluster = new Cluster();
  cluster.apply([delta("units", [there])]);
  assert.equal(cluster.rows[0].where, WEB.slice(0, 8));
  cluster.apply([delta("machines", [machine(WEB)])]);
  assert.equal(cluster.rows[0].where, "10.0.0.1");
});

test("a row that is sent again as it was stays the same object", () => {
  const cluster = clusterOf([unit("web.service")]);
  const [row] = cluster.rows;
  cluster.apply([delta("units", [unit("web.service")])]);
  assert.equal(cluster.rows[0], row);
  cluster.apply([delta("units", [unit("web.service", WEB, { sub: "exited" })])]);
  assert.notEqual(cluster.rows[0], row);
});

test("keys of rows and groups that are gone are returned, and others are not", () => {
  const isGlobal = { global: true };
  const [web, db] = [WEB, DB].map((id) => unit("agent.service", id, isGlobal));
  const cluster = clusterOf([web, db]);
  assert.deepEqual(cluster.apply([delta("units", [], [web])]), new Set([`agent.service/${WEB}`]));
  assert.ok(cluster.has("agent.service/*"));

  const gone = cluster.apply([delta("units", [], [db])]);
  assert.deepEqual([...gone].filter(isGroupKey), ["agent.service/*"]);
  assert.ok(!cluster.has("agent.service/*"));
  assert.deepEqual(cluster.apply(snapshot([web])), new Set());
});

test("a row that is removed and sent again at once is not gone", () => {
  const web = unit("web.service");
  const cluster = clusterOf([web]);
  const gone = cluster.apply([delta("units", [], [web]), delta("units", [web])]);
  assert.deepEqual(gone, new Set());
});

const MIXED = [
  unit("active.service"),
  failed("failed.service"),
  wrong("outdated.service", "outdated"),
  unit("looping.service", WEB, { verdict: "crash_loop", active: "activating", sub: "auto-restart" }),
  unit("broken.service", WEB, { verdict: "failed", load: "bad-setting", active: "inactive" }),
  wrong("stale.service", "stale"),
  wrong("lost.service", "machine_lost", DB),
  wrong("lost-too.service", "machine_lost", DB),
  wrong("ghost.service", "ghost"),
  unscheduled("unscheduled.service"),
  submitted("submitted.service"),
  expected("expected.service"),
  unit("new.service", WEB, { verdict: "new_one" }),
];

test("chips count each row once, and what is only last known by its verdict", () => {
  const cluster = clusterOf(MIXED);
  const chips = cluster.chips.map(({ term, count }) => `${term} ${count}`);
  assert.deepEqual(chips, [
    "state:failed 2",
    "verdict:machine_lost 2",
    "verdict:unscheduled 1",
    "verdict:ghost 1",
    "verdict:stale 1",
    "state:expected 1",
    "state:activating 1",
    "state:active 2",
    "state:submitted 1",
    "verdict:new_one 1",
  ]);
  const sum = cluster.chips.reduce((sum, { count }) => sum + count, 0);
  assert.equal(sum, cluster.rows.length);
});

test("the states of a row are those that the chip of its state finds, and no others", () => {
  const { rows, chips } = clusterOf(MIXED);
  for (const { term, count } of chips) {
    const [field, value] = term.split(":");
    const isFound = (row) =>
      field === "state"
        ? row.states.some((state) => state.startsWith(value))
        : row.verdict === value;
    assert.equal(rows.filter(isFound).length, count, term);
  }
});

test("the last known state of a row is shown, but is not its state", () => {
  const { rows } = clusterOf([wrong("web.service", "machine_lost")]);
  const [{ state, lastState, states, stateText }] = rows;
  assert.deepEqual([state, lastState, states, stateText], [null, "active", [], "active/running"]);
});

test("what fleet wants and no machine has reported yet is expected, not submitted", () => {
  const cluster = clusterOf([
    unit("a.service"),
    failed("b.service"),
    submitted("c.service"),
    expected("d.service"),
  ]);
  const states = cluster.rows.map(({ state, submitted, expected }) => [state, submitted, expected]);
  assert.deepEqual(states.slice(2), [
    ["submitted", true, false],
    ["expected", false, true],
  ]);
  assert.deepEqual([cluster.wanted, cluster.expected], [2, 1]);
  assert.equal(names(cluster.wrong), "b.service");
});

test("a problem is replaced by its ID, and removed by it", () => {
  const cluster = clusterOf([]);
  const problem = unitProblem(failed("web.service"));
  cluster.apply([delta("problems", [problem])]);
  cluster.apply([delta("problems", [{ ...problem, count: 2 }])]);
  assert.deepEqual([...cluster.problems.values()].map(({ count }) => count), [2]);
  assert.equal(cluster.problemsAt(0).causes.length, 1);

  cluster.apply([delta("problems", [], [{ id: problem.id }])]);
  assert.deepEqual(cluster.problemsAt(0).causes, []);
});

test("the newest thousand events are kept", () => {
  const transitions = new Transitions();
  for (let number = 1; number <= 1200; number++) {
    transitions.add(event(number, { unit: number === 1 ? "old.service" : "web.service" }));
  }
  assert.equal(transitions.all.length, 1000);
  assert.equal(transitions.all[0].number, 1200);
  assert.equal(transitions.of("web.service").length, 1000);
  assert.deepEqual(transitions.of("old.service"), []);
});

// --- at random

/** Random numbers, which are the same at each run. */
function random(seed) {
  return (count) => (seed = (seed * 48271) % 2147483647) % count;
}

/** A server whose cluster changes at random. */
class Server {
  units = new Map();
  machines = new Map();
  problems = new Map();
  events = [];
  #any = random(7);

  #choice(...values) {
    return values[this.#any(values.length)];
  }

  #unit() {
    return {
      unit: `${this.#choice("a", "b", "é", "Z")}-${this.#any(12)}.service`,
      machine: this.#choice("m1", "m2", undefined),
      target: "m1",
      ip: this.#choice("10.0.0.1", "10.0.0.20"),
      active: this.#choice("active", "failed", undefined),
      sub: "x",
      verdict: this.#choice("ok", "ok", "failed", "stale"),
      global: false,
      desired: this.#choice("launched", "inactive"),
      verdict_since: this.#any(3),
      verdict_since_seen: this.#choice(true, false),
      since: this.#any(3),
    };
  }

  #machine() {
    const ip = this.#choice("10.0.0.1", "10.0.0.2", undefined);
    const silent_since = this.#choice(1, 2, undefined, undefined);
    return { machine: this.#choice("m1", "m2", "m3"), ip, silent_since };
  }

  #problem() {
    const id = this.#any(9);
    const machine = this.#choice("m1", "m2", undefined);
    const opened = this.#any(3);
    const problem = unitProblem(failed(`a-${id}.service`), { id, machine, opened });
    return { ...problem, since_seen: this.#choice(true, false), count: 1 + this.#any(2) };
  }

  #change(topic, known, make, count, keyOf = ({ unit, machine }) => `${unit}/${machine ?? ""}`) {
    const remove = [...known.values()].filter(() => !this.#any(12)).slice(0, count);
    const made = new Map(Array.from({ length: count }, make).map((row) => [keyOf(row), row]));
    for (const row of remove) known.delete(keyOf(row));
    for (const [key, row] of made) known.set(key, row);
    return delta(topic, [...made.values()], remove);
  }

  /** The messages of one step: mostly few changes, sometimes many. */
  step() {
    const count = this.#any(40) ? this.#any(4) : 300;
    const messages = [this.#change("units", this.units, () => this.#unit(), count)];
    if (!this.#any(5)) {
      messages.push(this.#change("machines", this.machines, () => this.#machine(), 1));
    }
    if (!this.#any(3)) {
      const make = () => this.#problem();
      messages.push(this.#change("problems", this.problems, make, 2, ({ id }) => id));
    }
    for (let left = this.#any(8); left > 0; left--) {
      const unit = this.#choice("a.service", "b.service", undefined);
      const happened = event(this.events.length + 1, { unit });
      messages.push(happened);
      this.events.push(happened);
    }
    return messages;
  }

  snapshot() {
    const events = this.events.slice(-1000);
    const [units, machines, problems] = [this.units, this.machines, this.problems];
    return snapshot([...units.values()], [...machines.values()], events, [...problems.values()]);
  }
}

/** All that the page shows of a cluster. */
function shown(cluster) {
  const { rows, wrong, chips, wanted, expected, machines, transitions } = cluster;
  const { causes, waiting, until } = cluster.problemsAt(600_002);
  return JSON.stringify([
    rows.map(({ lines, name, ...row }) => row),
    wrong.map((row) => row.key),
    chips,
    [wanted, expected],
    causes.map(({ problem, shape, isNew, rows }) => [problem, shape, isNew, names(rows)]),
    [waiting.units, [...waiting.verdicts].sort(), [...waiting.machines].sort(), until],
    [...machines].sort(),
    transitions.all,
    ["a.service", "b.service"].map((unit) => transitions.of(unit)),
    ["a-1.service/*", "b-2.service/*"].map((key) => cluster.has(key)),
  ]);
}

test("what is applied bit by bit is what is read at once", () => {
  const server = new Server();
  const cluster = new Cluster();
  for (let step = 1; step <= 600; step++) {
    cluster.apply(server.step());
    const anew = new Cluster();
    anew.apply(server.snapshot());
    assert.equal(shown(cluster), shown(anew), `step ${step}`);
  }
  assert.ok(cluster.rows.length > 20, "there were rows");
  assert.ok(server.events.length > 1000, "there were more events than are kept");
});
