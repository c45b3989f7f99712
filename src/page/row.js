// A row: one unit on one machine, or on none, as the table shows it. It must not know other rows
// nor the document.

import { ipNumber } from "./sorting.js";
import {
  STATES,
  SUBMITTED_RANK,
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
 * @property {boolean} submitted no machine has reported the unit, and its verdict is ok: fleet does
 *   not want it started, or the time in which a machine has to report it is not over
 * @property {?string} state
 * @property {string} stateText
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
 * A name of a unit: its place in the order of names, and how many rows have it.
 * @typedef {{rank: number, rows: number}} Name
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
  const submitted = unit.active == null && unit.verdict === "ok";
  const place = unit.machine ?? unit.target;
  const ip = (unit.machine && unit.ip) ?? machine?.ip;
  const state = unit.active ?? (submitted ? "submitted" : null);
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
    submitted,
    state,
    stateText: stateText(unit, submitted),
    glyph: rowGlyph(unit, submitted),
    tone: unit.verdict === "ok" ? stateTone(state) : verdictTone(unit.verdict),
    rank: submitted ? SUBMITTED_RANK : verdictRank(unit.verdict),
    name,
    ipRank: ipNumber(ip),
    lines: [],
  };
}

// Since when what the row shows has been so: the problem, if there is one, or else the state. A
// stale row counts from when it disappeared.
function since({ verdict, since, since_seen, verdict_since, verdict_since_seen, stale_since }) {
  if (verdict === "ok") return { since, since_seen };
  if (verdict === "stale" && stale_since != null) return { since: stale_since, since_seen: true };
  return { since: verdict_since, since_seen: verdict_since_seen };
}

function stateText({ active, sub }, submitted) {
  if (submitted) return TABLE.submitted;
  if (active == null) return TABLE.noState;
  return sub ? `${active}/${sub}` : active;
}

function rowGlyph({ active, verdict }, submitted) {
  if (submitted) return "submitted";
  if (active in STATES) return stateGlyph(active);
  return verdict === "ok" ? "inactive" : verdict;
}
