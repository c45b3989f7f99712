// What the server says about its source: which lists of fleet it reads, and how old they are. It
// must not know the document.

import { AGE_OF_DATA, PROBLEMS, listName } from "./words.js";

/**
 * One list of fleet. `age` is in seconds at the time of the status, and null if the list was never
 * read. `failing_for`, in seconds, and `reason` are set while it cannot be read.
 * @typedef {{age: ?number, failing_for: ?number, reason: ?string}} List
 */

/**
 * The last status of the server. `time` and `since` are in milliseconds since 1970, by the server's
 * clock; `since` says when `state` began.
 * @typedef {object} Health
 * @property {"starting" | "ok" | "failing" | "overdue" | "suspect" | "ended"} state
 * @property {number} time
 * @property {?number} since
 * @property {?string} reason
 * @property {string} source
 * @property {boolean} recording
 * @property {Record<string, List>} topics by name: units, machines and unit_files
 */

/** Data up to this age, in seconds, counts as up to date. The server sends something every 15 s. */
const OLD = 20;

const isFailing = (list) => list.failing_for != null;

/** Whether a list was ever read. */
export const isRead = (health, list) => health.topics[list].age != null;

/** Whether everything was read, and can be relied on. */
export const isComplete = ({ state }) => state === "ok" || state === "ended";

/** Whether the list of units cannot be read. */
export const unitsFail = (health) => isFailing(health.topics.units);

const listsThat = (health, condition) =>
  Object.keys(health.topics).filter((list) => condition(health.topics[list]));

/**
 * The errors of the source. Lists that fail for the same reason are one error.
 * @returns {{lists: string[], reason: string}[]}
 */
export function failures(health) {
  const listsByReason = new Map();
  for (const list of listsThat(health, isFailing)) {
    const { reason } = health.topics[list];
    listsByReason.set(reason, [...(listsByReason.get(reason) ?? []), list]);
  }
  return [...listsByReason].map(([reason, lists]) => ({ lists, reason }));
}

/** Why the data may be wrong, as a phrase that an age can follow; null if there is no reason. */
export function problem(health) {
  return PROBLEMS[health.state]?.(listsThat(health, isFailing)) ?? null;
}

/** All that is drawn of the health, apart from ages, as a string to compare. */
export function healthSignature(health) {
  if (!health) return null;
  const { state, since, reason } = health;
  const read = listsThat(health, (list) => list.age != null);
  return JSON.stringify([state, since, reason, failures(health), read]);
}

/**
 * A list whose age is to be shown.
 * @typedef {{list: string, words: string, since: number}} OldList
 */

/**
 * The age of the data, if there is something to say about it. While all goes well, only its upper
 * bound is known: "up to date". That is not said while anything is doubtful.
 *
 * @param {?Health} health
 * @param {{isLive: boolean, now: number, silence: number}} connection with the server's time, and
 *   for how long it has been silent, both in milliseconds
 * @returns {{words: string, old: OldList[]}}
 */
export function ageOfData(health, { isLive, now, silence }) {
  if (!health || !isRead(health, "units")) return { words: AGE_OF_DATA.none, old: [] };
  if (health.state === "ended" && isLive) return { words: "", old: [] };

  // A list that can be read is read again and again, without a new status each time. So only the
  // time since anything arrived is added to its age. A list that cannot be read grows older all the
  // time.
  const age = ({ age, failing_for }) =>
    age + (failing_for == null ? silence : now - health.time) / 1000;
  const oldList = (list, words) => ({ list, words, since: now - 1000 * age(health.topics[list]) });

  const { units } = health.topics;
  const isCurrent = isLive && !isFailing(units) && age(units) <= OLD;
  const failing = isFailing(units) ? [] : listsThat(health, isFailing);
  const others = failing.filter((list) => isRead(health, list));

  const old = isCurrent ? [] : [oldList("units", AGE_OF_DATA.data)];
  old.push(...others.map((list) => oldList(list, listName(list))));
  const isGood = !old.length && health.state === "ok";
  return { words: isGood ? AGE_OF_DATA.current : "", old };
}

/** Whether the server has been silent for so long that the data count as old. */
export const isSilent = (silence) => silence > 1000 * OLD;
