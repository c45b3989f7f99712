// The cards of the machines: their order, and which units they show. It must not know the document.

import { isAboutUnits, isFiltering, machineMatches, parseFilter, rowMatches } from "./filter.js";
import { byVerdict, compareNames, ipNumber } from "./sorting.js";

/**
 * A machine with its units, or, with the key "", the units that are on no machine. It has all
 * fields of the machine as the server sent it, if it sent one.
 * @typedef {object} Card
 * @property {string} key the machine's ID, or ""
 * @property {boolean} [isUnknown] units are on it, but it is not in the cluster
 * @property {import("./row.js").Row[]} units
 * @property {import("./row.js").Row[]} found those that pass the filter
 * @property {string} [usual] the version of fleet that most machines have
 * @property {number} share its number of units, as a part of that of the machine with most units
 * @property {{tone: import("./verdicts.js").Tone, count: number}[]} tones of its units
 * @property {Moved[]} moved the units that ran there when it was lost
 */

const TONES = ["bad", "warn", "busy", "good", "idle"];

/** How often each value occurs. */
export function tally(values) {
  const counts = new Map();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return counts;
}

/**
 * The versions of fleet and how many machines have them, the most frequent first. If two are equal,
 * the newest is first.
 * @returns {[string, number][]}
 */
export function fleetVersions(machines) {
  const present = [...machines.values()].filter((machine) => !machine.lost_since);
  const versions = present.map((machine) => machine.version).filter(Boolean);
  const counts = [...tally(versions)];
  return counts.sort(([a, aCount], [b, bCount]) => bCount - aCount || compareNames(b, a));
}

/**
 * The cards that pass the filter: lost machines, then silent ones, then the others by address. The
 * units that are on no machine come last.
 * @returns {Card[]}
 */
export function machineCards(cluster, query) {
  const filter = parseFilter(query);
  const { cards, nowhere } = distribute(cluster, filter);
  const busiest = Math.max(1, ...cards.map((card) => card.units.length));
  const [[usual] = []] = fleetVersions(cluster.machines);

  const sorted = cards.sort(byAbsence);
  if (nowhere.units.length) sorted.push(nowhere);
  const isShown = isFiltering(filter) ? (card) => isFound(filter, card) : () => true;
  const shown = sorted.filter(isShown);

  for (const card of shown) {
    card.found.sort(byVerdict);
    card.usual = usual;
    card.share = card.units.length / busiest;
    card.tones = tonesOf(card.units);
    card.moved = card.lost_since ? unitsThatRan(cluster.rows, card) : [];
  }
  return shown;
}

/** Whether one of its units passes the filter, or the machine itself does. */
const isFound = (filter, card) =>
  card.found.length > 0 || (!isAboutUnits(filter) && machineMatches(filter, card));

/**
 * What became of a unit that ran on a machine when that was lost: it is on others now, or it has
 * not been seen elsewhere, or there is no such unit any more.
 * @typedef {{unit: string, key: ?string, names: string[]}} Moved with the key of a row that shows
 *   it, or null if there is none, and the machines where it is now
 */

/**
 * The units that ran on a machine when it was lost.
 * @param {import("./row.js").Row[]} rows of all units
 * @param {{machine: string, ran?: string[]}} machine
 * @returns {Moved[]}
 */
export function unitsThatRan(rows, { machine, ran = [] }) {
  const byUnit = new Map(ran.map((unit) => [unit, []]));
  for (const row of rows) byUnit.get(row.unit)?.push(row);

  return ran.map((unit) => {
    const rows = byUnit.get(unit);
    const elsewhere = rows.filter((row) => row.machine && row.machine !== machine);
    const [row] = elsewhere.length ? elsewhere : rows;
    const names = elsewhere.map(({ where }) => where);
    return { unit, key: row?.key ?? null, names };
  });
}

/** Puts each row on its card. */
function distribute(cluster, filter) {
  const cards = new Map();
  for (const [key, machine] of cluster.machines) {
    cards.set(key, { ...machine, key, units: [], found: [] });
  }
  const nowhere = { key: "", units: [], found: [] };

  for (const row of cluster.rows) {
    if (row.place && !cards.has(row.place)) cards.set(row.place, unknownMachine(row));
    const card = row.place ? cards.get(row.place) : nowhere;
    card.units.push(row);
    if (rowMatches(filter, row)) card.found.push(row);
  }
  return { cards: [...cards.values()], nowhere };
}

const unknownMachine = ({ place, ip }) => ({
  key: place,
  machine: place,
  ip,
  isUnknown: true,
  units: [],
  found: [],
});

function absence(card) {
  if (card.lost_since || card.isUnknown) return 0;
  return card.silent_since ? 1 : 2;
}

function byAbsence(a, b) {
  return absence(a) - absence(b) || ipNumber(a.ip) - ipNumber(b.ip) || a.key.localeCompare(b.key);
}

/** How many units have each tone, the worst first. */
function tonesOf(units) {
  const counts = tally(units.map((row) => row.tone));
  const present = TONES.filter((tone) => counts.has(tone));
  return present.map((tone) => ({ tone, count: counts.get(tone) }));
}
