// The lines of the table of units: which rows it shows, in which order, and the rows of a global
// unit as one group. It must not know the document.

import { isFiltering, parseFilter, rowMatches } from "./filter.js";
import { groupKey } from "./row.js";
import { byVerdict, sortEntries } from "./sorting.js";
import { TABLE } from "./words.js";

/** @typedef {import("./row.js").Row} Row */

/**
 * A line of the table: a row, a group, or the details below an open row.
 * @typedef {object} Line
 * @property {"unit" | "group" | "detail"} kind
 * @property {string} key
 * @property {Row | Group} row
 * @property {number} level in the tree, from 1 on
 * @property {boolean} [opened] only of rows and groups
 * @property {"gone" | "unmatched"} [leaving] why it is not among the lines any more, if it is only
 *   shown because the order is held; see held-order.js
 */

/**
 * The rows of a global unit. For the table it is a row; `found` are those that pass the filter.
 * @typedef {Partial<Row> & {members: Row[], found: Row[]}} Group
 */

/**
 * @param {import("./cluster.js").Cluster} cluster
 * @param {import("./address.js").PageState} view
 * @returns {{lines: Line[], found: number}} with the number of rows that pass the filter
 */
export function tableLines(cluster, { query, sort, open }) {
  const filter = parseFilter(query);
  const isFound = (row) => rowMatches(filter, row);
  const found = isFiltering(filter) ? cluster.rows.filter(isFound) : cluster.rows;
  const entries = withGroups(found, groupsOf(cluster.rows, found));

  const lines = [];
  for (const entry of sortEntries(entries, sort)) {
    if (entry.members) addGroup(lines, entry, sort, open);
    else addRow(lines, entry, 1, open);
  }
  return { lines, found: found.length };
}

function addRow(lines, row, level, open) {
  const { key } = row;
  if (open.has(key)) {
    lines.push({ kind: "unit", key, row, level, opened: true });
    lines.push({ kind: "detail", key: `${key}#`, row, level: level + 1 });
  } else {
    // Nearly all lines of a long table are closed rows. They are cached.
    lines.push((row.lines[level] ??= { kind: "unit", key, row, level, opened: false }));
  }
}

function addGroup(lines, group, sort, open) {
  const opened = open.has(group.key);
  lines.push({ kind: "group", key: group.key, row: group, level: 1, opened });
  if (!opened) return;
  for (const row of sortEntries(group.found, sort)) addRow(lines, row, 2, open);
}

/** The rows, with each group in the place of its first row. */
function withGroups(found, groups) {
  const entries = [];
  for (const row of found) {
    const group = row.global && groups.get(row.unit);
    if (!group) entries.push(row);
    else if (group.found[0] === row) entries.push(group);
  }
  return entries;
}

/** @returns {Map<string, Group>} by unit */
function groupsOf(rows, found) {
  const groups = new Map();
  for (const row of found) {
    if (!row.global || row.place == null) continue;
    const group = groups.get(row.unit);
    if (group) group.found.push(row);
    else groups.set(row.unit, { found: [row], members: [] });
  }

  // A group of one would only hide its row.
  for (const [unit, group] of groups) {
    if (group.found.length === 1) groups.delete(unit);
  }
  if (!groups.size) return groups;

  for (const row of rows) {
    if (row.global) groups.get(row.unit)?.members.push(row);
  }
  for (const group of groups.values()) Object.assign(group, describe(group.members));
  return groups;
}

/** The fields of a group as a row: mostly those of its worst member. */
function describe(members) {
  const worst = members.reduce((a, b) => (byVerdict(b, a) < 0 ? b : a));
  const newest = members.reduce((a, b) => ((b.since ?? 0) > (a.since ?? 0) ? b : a));
  const { unit, description, verdict, tone, glyph, rank, name, ipRank } = worst;
  const { since, since_seen } = verdict === "ok" ? newest : worst;
  return {
    key: groupKey(unit),
    unit,
    description,
    verdict,
    tone,
    glyph,
    rank,
    name,
    ipRank,
    stateText: stateText(members),
    where: where(members, worst),
    since,
    since_seen,
  };
}

/** "2 of 3 machines running", or "active" if not all that are active are running. */
function stateText(members) {
  const active = members.filter((row) => row.verdict === "ok" && row.state === "active");
  const isRunning = active.length && active.every((row) => row.stateText === "active/running");
  return TABLE.groupState(active.length, members.length, isRunning ? "running" : "active");
}

/** The machine with the problem, if only one has any; otherwise how many machines. */
function where(members, worst) {
  const wrong = members.filter((row) => row.verdict !== "ok").length;
  if (wrong === 1) return worst.where;
  if (wrong) return TABLE.someMachines(wrong, members.length);
  return TABLE.machines(members.length);
}
