// The filter: how its text is parsed, and which rows, events and machines it matches. It must not
// know the document.

import { rowKey } from "./row.js";

/**
 * One word of a filter. `isNegated`: what it matches is left out.
 * @typedef {{field: "text" | "state" | "machine" | "verdict", value: string, isNegated: boolean}}
 *   Term
 */

/**
 * What terms are compared with. `text` is a function, since it is only needed for some terms.
 * @typedef {object} Subject
 * @property {() => string} text in lower case
 * @property {(?string)[]} states
 * @property {?string} verdict
 * @property {?string} ip
 * @property {?string} machine its ID
 * @property {?string} metadata
 */

/**
 * Reads a filter: words, or `state:`, `machine:` or `verdict:` with a value. A `-` negates.
 * @returns {Term[]}
 */
export function parseFilter(query) {
  return query.toLowerCase().split(/\s+/).filter(Boolean).map(parseTerm);
}

function parseTerm(word) {
  const isNegated = word.length > 1 && word.startsWith("-");
  const term = isNegated ? word.slice(1) : word;
  const [, field, value] = /^(state|machine|verdict):(.+)$/.exec(term) ?? [null, "text", term];
  return { field, value, isNegated };
}

/** @type {Record<string, (subject: Subject, value: string) => boolean>} */
const FIELDS = {
  text: (subject, value) => subject.text().includes(value),
  state: (subject, value) => subject.states.some((state) => state?.startsWith(value)),
  verdict: ({ verdict }, value) => verdict?.startsWith(value.replaceAll("-", "_")) ?? false,
  machine: (subject, value) =>
    isAddress(subject, value) || isId(subject, value) || isMetadata(subject, value),
};

// Compares whole addresses, since 10.0.0.1 must not find 10.0.0.10. A value that ends with a dot is
// a network, such as 10.0.
function isAddress({ ip }, value) {
  return ip != null && (ip === value || (value.endsWith(".") && ip.startsWith(value)));
}

// Compares the beginning. The value may be copied from a shortened ID, with dots at its end.
function isId({ machine }, value) {
  return !value.startsWith(".") && (machine?.startsWith(value.replace(/[….]+$/, "")) ?? false);
}

function isMetadata({ metadata }, value) {
  return value.includes("=") && (metadata?.toLowerCase().includes(value) ?? false);
}

/** @param {Term[]} terms @param {Subject} subject */
const matches = (terms, subject) =>
  terms.every(({ field, value, isNegated }) => FIELDS[field](subject, value) !== isNegated);

/** Whether a row of the table passes the filter. */
export function rowMatches(terms, row) {
  if (!terms.length) return true;

  // Cached in the row, since each letter that is typed into the filter compares all rows.
  row.subject ??= {
    text: () => (row.text ??= textOf([row.unit, row.ip, row.place, row.description])),
    states: [row.state, row.sub, row.load, row.stateText],
    verdict: row.verdict,
    ip: row.ip,
    machine: row.place,
    metadata: row.metadata,
  };
  return matches(terms, row.subject);
}

/** Whether an event passes the filter. `verdict:` is compared with the unit's present verdict. */
export function eventMatches(terms, event, cluster) {
  const { from, to, unit, machine, ip } = event;
  const subStates = [from, to].map((state) => state?.split("/")[1]);
  return matches(terms, {
    text: () => textOf([event.text, machine]),
    states: [from, to, ...subStates],
    verdict: unit && cluster.units.get(rowKey(unit, machine))?.verdict,
    ip,
    machine,
    metadata: cluster.machines.get(machine)?.metadata,
  });
}

/** Whether a machine itself, its units aside, passes the filter. */
export function machineMatches(terms, { ip, machine, metadata, version }) {
  return matches(terms, {
    text: () => textOf([ip, machine, metadata, version]),
    states: [],
    verdict: null,
    ip,
    machine,
    metadata,
  });
}

const textOf = (parts) => parts.join("\n").toLowerCase();

/** The filter with `term` in place of all its states and verdicts; if it has `term`, without it. */
export function toggleTerm(query, term) {
  const words = query.split(/\s+/).filter(Boolean);
  const others = words.filter((word) => !/^-?(state|verdict):/i.test(word));
  return (words.includes(term) ? others : [...others, term]).join(" ");
}
