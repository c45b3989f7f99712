// The latest events of each row that is open. The events of the whole cluster that the page knows
// reach back for less than a minute on a busy cluster, so those of an open row are requested once,
// and what happens afterwards is added. It must not know the document, nor how events are
// requested.

import { isStartedByAnother } from "./last-hour.js";

/** So many events are added before all are requested again: as many as the server keeps. */
const KEPT = 50;

/**
 * What is known of the events of a row.
 * @typedef {object} History
 * @property {import("./transitions.js").Transition[]} events newest first
 * @property {?import("./transitions.js").Beginning} beginning
 * @property {boolean} isPending whether more may be known in a moment
 * @property {boolean} isStarted see `isStartedByAnother`
 */

/**
 * The answer of the server; see `/v2/history` in docs/protocol.md.
 * @typedef {{complete_since: ?number, dropped: boolean, events: object[]}} Answer
 */

/** The events of one row. */
class OpenHistory {
  /** @type {?Answer} */
  answer = null;
  /** Events since the last request, oldest first. */
  arrived = [];
  isRequested = false;
  /** Whether there may be events that neither the answer has nor have arrived. */
  isStale = true;

  constructor({ unit, machine }) {
    this.unit = unit;
    this.machine = machine;
  }

  concerns(event) {
    return event.unit === this.unit && isOn(this.machine, event);
  }

  /** Oldest first. */
  get events() {
    const newest = newestNumber(this.answer.events);
    return [...this.answer.events, ...this.arrived.filter(({ number }) => number > newest)];
  }
}

export class Histories {
  /** @type {Map<string, OpenHistory>} by the key of the row */
  #open = new Map();
  #epoch = null;

  /**
   * @param {(unit: string, machine: ?string) => Promise<?Answer>} request null if the server has
   *   no answer
   * @param {() => void} onChange is called after an answer
   */
  constructor(request, onChange) {
    this.request = request;
    this.onChange = onChange;
  }

  /**
   * @param {import("./row.js").Row} row
   * @param {import("./cluster.js").Cluster} cluster
   * @returns {History}
   */
  of(row, cluster) {
    let opened = this.#open.get(row.key);
    if (!opened) this.#open.set(row.key, (opened = new OpenHistory(row)));
    if (opened.isStale && !opened.isRequested) this.#read(opened);

    const isStarted = isStartedByAnother(row.unit, (unit) => cluster.hasUnit(unit));
    if (!opened.answer) {
      const events = cluster.transitions.of(row.unit).filter((event) => isOn(row.machine, event));
      const { beginning } = cluster.transitions;
      return { events, beginning, isPending: opened.isRequested, isStarted };
    }
    const { complete_since, dropped } = opened.answer;
    return {
      events: opened.events.reverse(),
      beginning: complete_since == null ? null : { time: complete_since, isDropped: dropped },
      isPending: false,
      isStarted,
    };
  }

  /** Forgets the rows that are closed. */
  keep(keys) {
    for (const key of this.#open.keys()) {
      if (!keys.has(key)) this.#open.delete(key);
    }
  }

  /** Adds what has happened. `messages` are those of the second protocol. */
  add(messages) {
    for (const message of messages) {
      if (message.type === "hello") this.#connected(message.epoch);
      // Some events may have been missed.
      else if (message.topic === "events") this.#each((opened) => (opened.isStale = true));
      else if (message.type === "event") this.#each((opened) => this.#addEvent(opened, message));
    }
  }

  #each(action) {
    for (const opened of this.#open.values()) action(opened);
  }

  /** Another run of the server numbers its events anew. */
  #connected(epoch) {
    if (epoch !== this.#epoch) {
      this.#each((opened) => Object.assign(opened, { answer: null, arrived: [], isStale: true }));
    }
    this.#epoch = epoch;
  }

  #addEvent(opened, event) {
    if (!opened.concerns(event)) return;
    opened.arrived.push(event);
    // After a request that failed, this is the moment to ask again.
    const hasFailed = !opened.answer && !opened.isRequested;
    if (hasFailed || opened.arrived.length > KEPT) opened.isStale = true;
  }

  async #read(opened) {
    opened.isRequested = true;
    opened.isStale = false;
    const epoch = this.#epoch;
    const answer = await this.request(opened.unit, opened.machine).catch(() => null);
    opened.isRequested = false;

    if (epoch !== this.#epoch) opened.isStale = true;
    else if (answer) {
      opened.answer = answer;
      const newest = newestNumber(answer.events);
      opened.arrived = opened.arrived.filter(({ number }) => number > newest);
    }
    this.onChange();
  }
}

/** The highest number: events of another monitor are not in the order of their numbers. */
const newestNumber = (events) => Math.max(0, ...events.map(({ number }) => number));

/** Whether an event of a unit belongs to its row on this machine. */
const isOn = (row, { machine }) => !machine || !row || machine === row;
