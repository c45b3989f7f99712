// The filter language: how a text is parsed, and which rows, machines and events it selects. It
// must not know the document.
//
// The server has the same language in src/feed/filter.rs, and tests/fixtures/filter/cases.json has
// the cases for both.

import { rowKey } from "./row.js";

/** The keys that a term can have. */
export const KEYS = ["unit", "machine", "state", "verdict", "meta"];

/** Those that only a unit has. */
const KEYS_OF_UNITS = ["unit", "state", "verdict"];

/** How many characters of an ID are enough to name a machine. */
const MIN_ID_PREFIX = 4;

/**
 * One word of a filter.
 * @typedef {object} Term
 * @property {?string} key null for a bare word, which is compared with everything
 * @property {string} pattern in lower case
 * @property {?string[]} glob the characters of the pattern; null if none of them is `*` or `?`
 * @property {boolean} excludes
 */

/**
 * A word that is not a term: its key is unknown, or there is nothing behind it.
 * @typedef {{kind: "unknown" | "empty", key: string}} FilterError
 */

/**
 * @typedef {object} Filter
 * @property {Term[][]} required of each of these lists one term must match
 * @property {Term[]} excluded none of these may match
 * @property {?FilterError} error the first word that is not a term. Such words are ignored.
 */

/**
 * What terms are compared with: by key the values of what is filtered, in lower case. A key that is
 * null does not apply to it.
 * @typedef {object} Subject
 * @property {string[]} texts what a bare word is compared with
 * @property {?string[]} unit
 * @property {?string[]} machine
 * @property {?string[]} state
 * @property {?string[]} verdict
 * @property {?string[]} meta
 * @property {string} id of the machine, or ""
 * @property {string} ip of the machine, or ""
 */

/** @returns {Filter} */
export function parseFilter(query) {
  const words = lowercase(query).split(/\s+/).filter(Boolean).map(parseTerm);
  const terms = words.filter(({ kind }) => !kind);
  const error = words.find(({ kind }) => kind) ?? null;

  const excluded = terms.filter((term) => term.excludes);
  const positive = terms.filter((term) => !term.excludes);
  const bare = positive.filter((term) => !term.key).map((term) => [term]);
  const keyed = KEYS.map((key) => positive.filter((term) => term.key === key));
  return { required: [...bare, ...keyed.filter((list) => list.length)], excluded, error };
}

/** Whether a filter has any terms. */
export const isFiltering = ({ required, excluded }) => required.length + excluded.length > 0;

/** Whether a filter is about units: no machine passes it by itself. */
export const isAboutUnits = ({ required, excluded }) =>
  [...required.flat(), ...excluded].some(({ key }) => KEYS_OF_UNITS.includes(key));

/** @returns {Term | FilterError} */
function parseTerm(word) {
  const excludes = word.length > 1 && word.startsWith("-");
  const term = excludes ? word.slice(1) : word;
  const key = keyOf(term);
  if (key === null) return createTerm(null, term, excludes);

  const pattern = term.slice(key.length + 1);
  if (!KEYS.includes(key)) return { kind: "unknown", key };
  if (!pattern) return { kind: "empty", key };
  return createTerm(key, key === "verdict" ? pattern.replaceAll("-", "_") : pattern, excludes);
}

function createTerm(key, pattern, excludes) {
  const glob = /[*?]/.test(pattern) ? [...pattern] : null;
  return { key, pattern, glob, excludes };
}

// A key consists of letters. `dead:beef::1` has none: nothing but hexadecimal digits, dots and glob
// characters around two colons or more is an IPv6 address.
function keyOf(term) {
  const isAddress = term.split(":").length > 2 && /^[0-9a-f:.*?]*$/.test(term);
  return isAddress ? null : (/^([a-z]+):/.exec(term)?.[1] ?? null);
}

// --- rows, machines and events

/** Whether a row of the table passes the filter. */
export function rowMatches(filter, row) {
  // Cached in the row, since each letter that is typed into the filter compares all rows.
  return !isFiltering(filter) || passes(filter, (row.subject ??= subjectOfRow(row)));
}

function subjectOfRow({ unit, description, verdict, load, active, sub, ...row }) {
  const both = active && sub && `${active}/${sub}`;
  const lastKnown = values(load, active ?? row.lastState, sub, both);
  return {
    texts: [...values(unit, description, verdict, row.place, row.ip, row.metadata), ...lastKnown],
    unit: values(unit),
    state: [...values(...row.states), ...values(verdict)],
    verdict: values(verdict),
    meta: pairsOf(row.metadata),
    ...machineOf(row.place, row.ip),
  };
}

/** Whether a machine itself, its units aside, passes the filter. */
export function machineMatches(filter, { machine, ip, metadata, version }) {
  return passes(filter, {
    texts: values(machine, ip, metadata, version),
    meta: pairsOf(metadata),
    ...machineOf(machine, ip),
  });
}

/**
 * Whether an event passes the filter. `verdict:` and `meta:` are compared with what the unit and
 * the machine have at present, if they are still known. The server sends also events to which a key
 * does not apply; a timeline is easier to read without them.
 */
export function eventMatches(filter, event, cluster) {
  const { unit, machine, ip, from, to } = event;
  const states = values(from, to);
  const row = cluster.units.get(rowKey(unit, machine));
  const known = cluster.machines.get(machine);
  const subject = {
    texts: values(event.event, unit, machine, ip, event.text),
    unit: unit ? values(unit) : null,
    state: states.length ? states.flatMap((state) => [state, ...state.split(/[/ ()]/)]) : null,
    verdict: row ? values(row.verdict) : null,
    meta: known ? pairsOf(known.metadata) : null,
    ...(unit || machine ? machineOf(machine, ip) : {}),
  };
  const applies = ([{ key }]) => key === null || Boolean(subject[key]);
  return filter.required.every(applies) && passes(filter, subject);
}

/** The values that there are, in lower case. */
const values = (...texts) => texts.filter(Boolean).map(lowercase);

const machineOf = (id, ip) => ({
  machine: values(id, ip),
  id: lowercase(id ?? ""),
  ip: lowercase(ip ?? ""),
});

/** The pairs of metadata and their keys. */
function pairsOf(metadata) {
  const pairs = lowercase(metadata ?? "").split(",").filter(Boolean);
  return pairs.flatMap((pair) => [pair, pair.split("=", 1)[0]]);
}

// --- terms

/**
 * Whether something passes. A term that does not apply to it neither requires nor excludes it.
 * @param {Filter} filter
 * @param {Partial<Subject>} subject
 */
function passes({ required, excluded }, subject) {
  const allows = (term) => matches(term, subject) !== false;
  return (
    required.every((terms) => terms.some(allows)) &&
    !excluded.some((term) => matches(term, subject))
  );
}

/** Whether a term matches; null if it does not apply. */
function matches(term, subject) {
  if (!term.key) return subject.texts.some((text) => isIn(term, text));
  const own = subject[term.key];
  if (!own) return null;
  return own.some((value) => is(term, value)) || (term.key === "machine" && names(term, subject));
}

/** Whether a term matches the whole of a text. */
const is = ({ glob, pattern }, text) => (glob ? globMatches(glob, [...text]) : pattern === text);

/** Whether a term is a part of a text; a glob must match the whole of it. */
const isIn = (term, text) => (term.glob ? is(term, text) : text.includes(term.pattern));

/**
 * Whether a term names a machine otherwise than by its ID or address: by the beginning of the ID,
 * maybe with an ellipsis behind it; by the beginning of the address, with a dot at the end; or by a
 * pair of its metadata.
 */
function names(term, { id, ip, meta }) {
  const { glob, pattern } = term;
  if (pattern.includes("=") && meta?.some((value) => is(term, value))) return true;
  if (glob) return false;

  const prefix = pattern.replace(/[….]+$/, "");
  const beginsId = prefix.length >= MIN_ID_PREFIX && id.startsWith(prefix);
  return beginsId || (pattern.endsWith(".") && ip.startsWith(pattern));
}

// Not a regular expression, which may take very long for a pattern with many stars.
function globMatches(glob, characters) {
  let at = 0;
  let position = 0;
  let star = null;
  while (position < characters.length) {
    if (glob[at] === "*") {
      star = { at, position };
      at += 1;
    } else if (glob[at] === "?" || glob[at] === characters[position]) {
      at += 1;
      position += 1;
    } else if (star) {
      // The last star takes one more character.
      star.position += 1;
      at = star.at + 1;
      position = star.position;
    } else {
      return false;
    }
  }
  return glob.slice(at).every((character) => character === "*");
}

/** The text in lower case, as far as it is ASCII. */
function lowercase(text) {
  return text.replace(/[A-Z]+/g, (letters) => letters.toLowerCase());
}

// --- the text

/** The filter with `term` in place of all its states and verdicts; if it has `term`, without it. */
export function toggleTerm(query, term) {
  const words = query.split(/\s+/).filter(Boolean);
  const others = words.filter((word) => !/^-?(state|verdict):/i.test(word));
  return (words.includes(term) ? others : [...others, term]).join(" ");
}
