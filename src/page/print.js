// Printing: the whole list on paper, not only the lines that the window shows, and above it when
// that was so and which filter it has. How it looks is in print.css.

import { byId, text } from "./dom.js";
import { clock } from "./time-elements.js";
import { dateAndTime } from "./times.js";
import { PRINT } from "./words.js";

/**
 * @param {{showAll: (isAll: boolean) => void}[]} panels
 * @param {() => {query: string, counts: ?number[]}} shown the filter, and how many rows there are
 *   with it and without
 */
export function listenToPrinting(panels, shown) {
  addEventListener("beforeprint", () => {
    text(byId("printed"), describe(shown()));
    for (const panel of panels) panel.showAll(true);
  });
  addEventListener("afterprint", () => {
    for (const panel of panels) panel.showAll(false);
  });
}

function describe({ query, counts }) {
  const filter = query.trim();
  const parts = [
    dateAndTime(clock.now(), clock.format),
    filter ? PRINT.filter(filter) : null,
    counts ? PRINT.rows(...counts) : null,
  ];
  return parts.filter(Boolean).join(" · ");
}
