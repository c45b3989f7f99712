// The order of the table while somebody reads it: lines keep their places, and what would move them
// waits. It must not know the document, nor why the order is held.

import { groupKey } from "./row.js";

/** @typedef {import("./lines.js").Line} Line */

/**
 * A row or a group with all lines that belong to it, which move together.
 * @typedef {object} Block
 * @property {string} key
 * @property {Line} head the line of the row or of the group
 * @property {Line[]} rest the lines below it: its details, or the rows of the group
 */

/**
 * The lines of `next` in the order in which they were held. New rows are left out. Rows that are
 * not in `next` stay: those that are gone as they were, others as they are now.
 *
 * @param {Line[]} held the lines that are shown
 * @param {Line[]} next the lines as they are without being held
 * @param {import("./cluster.js").Cluster} cluster
 * @param {Set<string>} open the keys of open rows and groups
 * @returns {{lines: Line[], waiting: number}} with the number of rows that wait: to come, to go, or
 *   to move
 */
export function holdOrder(held, next, cluster, open) {
  return holdBlocks(blocksOf(held, 1), blocksOf(next, 1), (block) => leave(block, cluster, open));
}

/** @param {(block: Block) => Block} leave what is shown of a block that is not in `next` */
function holdBlocks(held, next, leave) {
  const indexes = new Map(next.map((block, index) => [block.key, index]));
  const taken = new Set(held.map(({ key }) => indexes.get(key)));
  const lines = [];
  const order = [];
  let waiting = 0;

  for (const block of held) {
    const index = indexes.get(block.key) ?? successor(block, next, taken);
    if (index !== undefined) {
      taken.add(index);
      order.push(index);
      waiting += addBlock(lines, block, next[index], leave);
      continue;
    }

    // Another row of its unit has given its place to the group in which this row is now.
    const { row } = block.head;
    if (row.global && indexes.has(groupKey(row.unit))) continue;

    const leaving = leave(block);
    waiting += 1;
    lines.push(leaving.head, ...leaving.rest);
  }

  const fresh = next.length - order.length;
  const moved = order.length - longestRun(order);
  return { lines, waiting: waiting + fresh + moved };
}

/**
 * A row of a global unit gives its place to the group that it is now in, and a group gives it to
 * the only row that is left of it.
 * @returns {number | undefined} the index of that block
 */
function successor({ key, head }, next, taken) {
  if (head.kind === "unit" && !head.row.global) return undefined;
  const group = groupKey(head.row.unit);
  const isOther = (block) => block.key === group || (key === group && block.head.row.global);
  const isNext = (block, index) =>
    block.head.row.unit === head.row.unit && isOther(block) && !taken.has(index);
  const index = next.findIndex(isNext);
  return index < 0 ? undefined : index;
}

/** Adds a block with its lines. Returns how many of the rows in it wait. */
function addBlock(lines, held, next, leave) {
  lines.push(next.head);
  // What users open or close shows at once.
  const wasOpen = held.head.kind === "group" && held.head.opened;
  if (next.head.kind !== "group" || !next.head.opened || !wasOpen) {
    lines.push(...next.rest);
    return 0;
  }

  const rows = holdBlocks(blocksOf(held.rest, 2), blocksOf(next.rest, 2), leave);
  lines.push(...rows.lines);
  return rows.waiting;
}

/** What is shown of a row or group that is not among the next lines. */
function leave({ key, head, rest }, cluster, open) {
  const mark = (leaving) => (line) => ({ ...line, leaving });
  if (!cluster.has(key)) {
    return { head: mark("gone")(head), rest: rest.map(mark("gone")) };
  }
  if (head.kind === "group") return { head: mark("unmatched")(head), rest: [] };

  const row = cluster.units.get(key);
  const opened = open.has(key);
  const detail = { kind: "detail", key: `${key}#`, row, level: head.level + 1 };
  return {
    head: mark("unmatched")({ ...head, row, opened }),
    rest: opened ? [mark("unmatched")(detail)] : [],
  };
}

/** @returns {Block[]} the rows and groups of this level in the tree */
function blocksOf(lines, level) {
  const blocks = [];
  for (const line of lines) {
    const isHead = line.level === level && line.kind !== "detail";
    if (isHead) blocks.push({ key: line.key, head: line, rest: [] });
    else blocks.at(-1)?.rest.push(line);
  }
  return blocks;
}

/** The length of the longest part of a list, maybe with gaps, that is in ascending order. */
function longestRun(numbers) {
  // For each length, the smallest number that ends such a part.
  const ends = [];
  for (const number of numbers) {
    let low = 0;
    let high = ends.length;
    if (high && ends[high - 1] < number) low = high;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (ends[middle] < number) low = middle + 1;
      else high = middle;
    }
    ends[low] = number;
  }
  return ends.length;
}
