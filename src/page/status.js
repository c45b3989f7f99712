// The status at the top right: the source, the age of its data, and the badge.

import { badge } from "./badge.js";
import { attribute, byId, text } from "./dom.js";
import { ageOfData } from "./health.js";
import { joinFacts } from "./words.js";

/**
 * @param {import("./feed.js").Link} link
 * @param {?import("./health.js").Health} health
 * @param {{now: number, silence: number}} times the server's time, and how long it has been silent
 */
export function drawStatus(link, health, times) {
  const { kind, tone, words, note } = badge(link, health, times);
  attribute(document.body, "data-link", link.kind);
  const pill = byId("link");
  attribute(pill, "data-kind", kind);
  attribute(pill, "data-tone", tone);
  attribute(pill, "title", note);
  pill.toggleAttribute("data-polling", Boolean(link.polling));
  text(pill, words);

  const age = ageOfData(health, { isLive: link.kind === "live", ...times });
  const source = byId("source");
  attribute(source, "data-old", age.old.join(" "));
  // While the page is disconnected, the badge has the age of all that is shown.
  const shownAge = link.kind === "disconnected" ? "" : age.words;
  text(source, health ? joinFacts(health.source, shownAge) : "");
}
