// The status at the top right: the source, the age of its data, and the badge.

import { badge } from "./badge.js";
import { attribute, byId, element } from "./dom.js";
import { ageOfData } from "./health.js";
import { drawSentence } from "./time-elements.js";
import { BADGE, FACT_SEPARATOR } from "./words.js";

/**
 * @param {import("./feed.js").Link} link
 * @param {?import("./health.js").Health} health
 * @param {{now: number, silence: number}} times the server's time, and how long it has been silent
 */
export function drawStatus(link, health, times) {
  const { kind, tone, words, since, isPolling, note } = badge(link, health, times);
  attribute(document.body, "data-link", link.kind);
  const pill = byId("link");
  attribute(pill, "data-kind", kind);
  attribute(pill, "data-tone", tone);
  attribute(pill, "title", note);
  pill.toggleAttribute("data-polling", Boolean(link.polling));
  if (!pill.firstElementChild) pill.append(element("span"));
  drawSentence(pill.firstElementChild, [
    words,
    ...(since ? [" ", { time: since, wording: "for" }] : []),
    ...(isPolling ? [` ${BADGE.polling}`] : []),
  ]);

  const age = ageOfData(health, { isLive: link.kind === "live", ...times });
  const source = byId("source");
  attribute(source, "data-old", age.old.map(({ list }) => list).join(" "));
  // While the page is disconnected, the badge has the age of all that is shown.
  const isShown = link.kind !== "disconnected";
  drawSentence(source, health ? [health.source, ...(isShown ? ageParts(age) : [])] : []);
}

/** What stands behind the source. */
function ageParts({ words, old }) {
  if (words) return [FACT_SEPARATOR, words];
  return old.flatMap(({ words, since }, index) => [
    `${index ? ", " : FACT_SEPARATOR}${words} `,
    { time: since, wording: "old" },
  ]);
}
