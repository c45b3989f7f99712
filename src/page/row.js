// A row: one unit on one machine, or on none, as the table shows it. It must not know other rows
// nor the document.

import { ipNumber } from "./sorting.js";
import {
  STATES,
  SUBMITTED_RANK,
  isBelieved,
  stateGlyph,
  stateTone,
  verdictRank,
  verdictTone,
} from "./verdicts.js";
import { TABLE, shortId } from "./words.js";

/**
 * A row of `/v2/state`, and what is computed from it. Times are in milliseconds since 1970.
 * @typedef {object} Row
 * @property {object} source the row as the server sent it
 * @property {string} key
 * @property {?string} place the ID of its machine, or of its target
 * @property {?string} ip of that machine
 * @property {?string} where how people name that machine: its address, or a short ID
 * @property {boolean} onlyTarget fleet has chosen the machine, but no machine reports the unit
 * @property {?string} metadata of that machine
 * @property {boolean} submitted no machine has reported the unit, and as far as is known, fleet
 *   does not want it started
 * @property {boolean} expected fleet wants it, and the time in which a machine has to report it is
 *   not over
 * @property {?string} state the active state that it is believed to be in now, `failed` if systemd
 *   cannot load it, `submitted` or `expected`; null if its state is only the last known one
 * @property {?string} lastState the same, but also if it is only the last known one
 * @property {string[]} states what `state:` in a filter is compared with: its present states
 * @property {string} counted the term of the filter by which it is counted in a chip. It is either
 *   that of its state, or, without one, that of its verdict.
 * @property {string} stateText its last known state as text
 * @property {string} glyph of its state, or of its verdict if it has no state
 * @property {import("./verdicts.js").Tone} tone
 * @property {number} rank its place in the order of verdicts
 * @property {Name} name
 * @property {number} ipRank its place in the order of addresses
 * @property {?number} since when it came into this state, or got this verdict
 * @property {boolean} since_seen whether the monitor saw that, or found it so when it started
 * @property {object[]} lines its lines in the table, cached by level
 */

/**
 * A name of a unit: its place in the order of names, how many rows have it, and, once it is
 * computed, its template.
 * @typedef {{rank: number, rows: number, template?: string}} Name
 */

// As in the page's address. Neither the name of a unit nor an ID can contain a `/`.

export const rowKey = (unit, machine) => `${unit}/${machine ?? ""}`;

/** The key of the group that shows the rows of a global unit as one. */
export const groupKey = (unit) => `${unit}/*`;

export const isGroupKey = (key) => key.endsWith("/*");

export const unitOfKey = (key) => key.slice(0, key.lastIndexOf("/"));

/** The ID in the key of a row, or "" if the row is on no machine. */
export const machineOfKey = (key) => key.slice(key.lastIndexOf("/") + 1);

/**
 * @param {object} unit a row as the server sent it
 * @param {?object} machine its machine, if it is known
 * @param {Name} name
 * @returns {Row}
 */
export function readRow(unit, key, machine, name) {
  const { verdict } = unit;
  const absence = absenceOf(unit);
  const place = unit.machine ?? unit.target;
  const ip = (unit.machine && unit.ip) ?? machine?.ip;
  const lastState = unit.active ?? absence;
  const state = believedState(verdict, lastState);
  return {
    ...unit,
    source: unit,
    ...since(unit),
    key,
    place,
    ip,
    where: ip ?? shortId(place),
    onlyTarget: unit.machine == null && place != null,
    metadata: machine?.metadata,
    submitted: absence === "submitted",
    expected: absence === "expected",
    state,
    lastState,
    states: statesOf(unit, state),
    counted: state ? `state:${state}` : `verdict:${verdict}`,
    stateText: stateText(unit, absence),
    glyph: rowGlyph(verdict, lastState),
    tone: verdict === "ok" ? stateTone(state) : verdictTone(verdict),
    rank: absence === "submitted" ? SUBMITTED_RANK : verdictRank(verdict),
    name,
    ipRank: ipNumber(ip),
    lines: [],
  };
}

/** Why no machine reports a unit although nothing is wrong with it; null if one does. */
function absenceOf({ active, verdict, desired }) {
  if (active != null || verdict !== "ok") return null;
  return desired == null || desired === "inactive" ? "submitted" : "expected";
}

function believedState(verdict, lastState) {
  if (!isBelieved(verdict)) return null;
  return verdict === "failed" ? "failed" : lastState;
}

/** Without the active state of a unit that cannot be loaded: it is counted as failed alone. */
function statesOf({ active, sub, load }, state) {
  if (!state) return [];
  const full = state === active && sub ? `${active}/${sub}` : null;
  return [state, full, sub, load].filter(Boolean);
}

// Since when what the row shows has been so: the problem, if there is one, or else the state. A
// stale row counts from when it disappeared.
function since({ verdict, since, since_seen, verdict_since, verdict_since_seen, stale_since }) {
  if (verdict === "ok") return { since, since_seen };
  if (verdict === "stale" && stale_since != null) return { since: stale_since, since_seen: true };
  return { since: verdict_since, since_seen: verdict_since_seen };
}

function stateText({ active, sub }, absence) {
  if (absence) return absence === "submitted" ? TABLE.submitted : TABLE.expected;
  if (active == null) return TABLE.noState;
  return sub ? `${active}/${sub}` : active;
}

function rowGlyph(verdict, lastState) {
  if (lastState in STATES) return stateGlyph(lastState);
  return verdict === "ok" ? "inactive" : verdict;
}
