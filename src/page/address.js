// What the page shows of the cluster, as the part of its address behind the `#`:
// #tab=units&q=state:failed&sort=-since&open=web.service/3f1a…&muted=failed/web.service/3f1a…
// &times=utc
// It must not know the document.

import { DEFAULT_SORT } from "./sorting.js";
import { TIME_FORMATS } from "./times.js";

/**
 * What the page shows.
 * @typedef {object} PageState
 * @property {"units" | "machines" | "timeline"} tab
 * @property {string} query the filter
 * @property {string} sort a column, maybe with a `-` before it
 * @property {Set<string>} open keys of rows and groups
 * @property {Set<string>} muted keys of causes, see problems.js
 * @property {?import("./times.js").TimeFormat} times how they are written; null if an address does
 *   not say
 */

export const TABS = ["units", "machines", "timeline"];

const CHARACTERS = { "%3A": ":", "%2F": "/", "%40": "@", "%2C": ",", "%3D": "=", "%20": "+" };

/** @returns {PageState} */
export function parseAddress(hash) {
  const fields = new URLSearchParams(hash.slice(1));
  const tab = fields.get("tab");
  const times = fields.get("times");
  const keys = (name) => new Set((fields.get(name) ?? "").split(",").filter(Boolean));
  return {
    tab: TABS.includes(tab) ? tab : TABS[0],
    query: fields.get("q") ?? "",
    sort: fields.get("sort") ?? DEFAULT_SORT,
    open: keys("open"),
    muted: keys("muted"),
    times: TIME_FORMATS.includes(times) ? times : null,
  };
}

/** @param {PageState} view */
export function formatAddress({ tab, query, sort, open, muted, times }) {
  const fields = [["tab", tab]];
  if (query.trim()) fields.push(["q", query.trim()]);
  if (sort !== DEFAULT_SORT) fields.push(["sort", sort]);
  if (open.size) fields.push(["open", [...open].join(",")]);
  if (muted.size) fields.push(["muted", [...muted].join(",")]);
  if (times && times !== TIME_FORMATS[0]) fields.push(["times", times]);
  return "#" + fields.map(([name, value]) => `${name}=${encode(value)}`).join("&");
}

// People read and type addresses: what is allowed behind a `#` stays as it is.
function encode(value) {
  return encodeURIComponent(value).replace(/%(3A|2F|40|2C|3D|20)/g, (code) => CHARACTERS[code]);
}
