// The status at the top right: the source, the age of its data, and the connection to the server.

import { attribute, byId, text } from "./dom.js";
import { ageOfData, isRead } from "./health.js";
import { CONNECTION, reconnecting } from "./words.js";

/**
 * @param {import("./feed.js").Link} link
 * @param {?import("./health.js").Health} health
 * @param {{now: number, silence: number}} times the server's time, and how long it has been silent
 */
export function drawStatus(link, health, times) {
  const { words, old } = ageOfData(health, { isLive: link.kind === "live", ...times });

  attribute(document.body, "data-link", link.kind);
  const pill = byId("link");
  attribute(pill, "data-kind", link.kind);
  attribute(pill, "title", titleOf(link));
  pill.toggleAttribute("data-polling", Boolean(link.polling));
  text(pill, pillText(link, health, words));

  const source = byId("source");
  attribute(source, "data-old", old.join(" "));
  text(source, sourceText(link, health, words));
}

function titleOf({ kind, reason, polling }) {
  if (kind === "disconnected") return reconnecting(reason);
  return kind === "live" && polling ? CONNECTION.pollingNote : null;
}

function pillText({ kind, polling }, health, age) {
  if (kind === "live" && polling) return CONNECTION.polling;
  const isStale = kind === "disconnected" && health && isRead(health, "units");
  return isStale ? `${CONNECTION.disconnected}, ${age}` : CONNECTION[kind];
}

/** The source and the age of its data. While disconnected, `pillText` has the age instead. */
function sourceText({ kind }, health, age) {
  if (!health) return "";
  return kind === "disconnected" ? health.source : `${health.source} · ${age}`;
}
