// The order of units and machines. It must not know the document.

const compareTexts = (a, b) => (a < b ? -1 : a > b ? 1 : 0);

const { compare } = new Intl.Collator("en", { numeric: true });

/**
 * Compares names as people expect: app-2 is before app-10. No two names are equal, not even app-1
 * and app-01.
 */
export const compareNames = (a, b) => compare(a, b) || compareTexts(a, b);

/** An IPv4 address as a number to sort by. All others come last. */
export function ipNumber(ip) {
  const parts = /^(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(ip ?? "");
  if (!parts) return Number.MAX_VALUE;
  return parts.slice(1).reduce((number, part) => number * 256 + Number(part), 0);
}

/** By name, then by machine. No two rows are equal in this order. */
export const byName = (a, b) =>
  a.name.rank - b.name.rank || a.ipRank - b.ipRank || compareTexts(a.key, b.key);

/** The worst first. */
export const byVerdict = (a, b) => a.rank - b.rank;

const byState = (a, b) =>
  a.stateText === b.stateText ? 0 : compareNames(a.stateText, b.stateText);

const byMachine = (a, b) => a.ipRank - b.ipRank || compareTexts(a.place ?? "~", b.place ?? "~");

const bySince = (a, b) => (a.since ?? 0) - (b.since ?? 0);

/**
 * The columns of the table. Rows that are equal in a column stay in the order of their names, or in
 * the reverse order if the column is sorted in descending order.
 * `newestFirst`: the first click sorts in descending order.
 */
export const COLUMNS = [
  { name: "unit", order: () => 0 },
  { name: "state", order: byState },
  { name: "verdict", order: byVerdict },
  { name: "machine", order: byMachine },
  { name: "since", order: bySince, newestFirst: true },
];

export const DEFAULT_SORT = "verdict";

/**
 * Reads `unit`, or `-unit` for the descending order.
 * @returns {{name: string, descending: boolean}}
 */
export function parseSort(sort) {
  const descending = sort.startsWith("-");
  const name = descending ? sort.slice(1) : sort;
  const isKnown = COLUMNS.some((column) => column.name === name);
  return isKnown ? { name, descending } : { name: DEFAULT_SORT, descending: false };
}

/** The sort after a click on this column's title. */
export function nextSort(column, { name, descending }) {
  const [up, down] = [column.name, `-${column.name}`];
  const [first, second] = column.newestFirst ? [down, up] : [up, down];
  const current = descending ? `-${name}` : name;
  return current === first ? second : first;
}

/** Sorts entries, which are in the order of their names, in place. */
export function sortEntries(entries, sort) {
  const { name, descending } = parseSort(sort);
  entries.sort(COLUMNS.find((column) => column.name === name).order);
  if (descending) entries.reverse();
  return entries;
}
