// What the address of a link opens, although the cluster has changed since the link was made. It
// must not know the document.

import { groupKey, isGroupKey, machineOfKey, unitOfKey } from "./row.js";

/**
 * Finds the units that are no longer where the keys say.
 * @param {Set<string>} open keys of rows and groups
 * @param {import("./cluster.js").Cluster} cluster
 * @returns {{open: Set<string>, moved: Map<string, string>}} the keys of where they are now; and by
 *   those keys, the IDs of the machines where they were, or "". Units that are nowhere keep theirs.
 */
export function followKeys(open, cluster) {
  const followed = new Set();
  const moved = new Map();
  for (const key of open) {
    const now = cluster.has(key) ? key : (placeOf(unitOfKey(key), cluster) ?? key);
    followed.add(now);
    if (now !== key && !isGroupKey(key)) moved.set(now, machineOfKey(key));
  }
  return { open: followed, moved };
}

/** The units that are not in the cluster, although the keys name them. */
export function missingUnits(open, cluster) {
  const missing = [...open].filter((key) => !cluster.has(key)).map(unitOfKey);
  return [...new Set(missing)];
}

/** The keys without those of a unit. */
export const withoutUnit = (open, unit) =>
  new Set([...open].filter((key) => unitOfKey(key) !== unit));

/** The key of the row or the group of a unit; undefined if it has none. */
function placeOf(unit, cluster) {
  const rows = cluster.rows.filter((row) => row.unit === unit);
  if (rows.length > 1 && rows[0].global) return groupKey(unit);
  // A unit may still be reported by a machine that it leaves.
  const isSettled = (row) => row.machine != null && row.machine === row.target;
  return (rows.find(isSettled) ?? rows.find((row) => row.machine != null) ?? rows[0])?.key;
}
