// The page: its state, its address, and what is drawn when.

import { Cluster } from "./cluster.js";
import { age, attribute, clock, drawGlyph, element, glyph, text, tick } from "./dom.js";
import { openFeed } from "./feed.js";
import { TOPICS, VERDICTS, capital, doubt, duration, failures, fleetVersions, groupKey, headline, isRead, parseFilter, plural, rowMatches, toggleTerm } from "./model.js";
import { MachineCards, Timeline } from "./panels.js";
import { UnitTable } from "./units.js";

const TABS = ["units", "machines", "timeline"];
const DEFAULT_SORT = "verdict";
const TROUBLES_IN_HEADER = 4;
const OLD = 20; // seconds, from which on the age of the data is told: more than passes between what the server says

const $ = (id) => document.getElementById(id);
const wide = matchMedia("(min-width: 641px)");

let cluster = null;
let health = null;
let link = { kind: "connecting", reason: "" };
let view = readAddress();
let drawing = 0;
let stale = { data: true, view: true };
let typing = false;

const actions = {
  sort: (sort) => go({ sort }, { replace: true }),
  toggle,
  go,
  reveal,
  covered: () => $("bar").getBoundingClientRect().bottom + (wide.matches && view.tab === "units" ? 34 : 0),
};
const views = {
  units: new UnitTable($("units"), actions),
  machines: new MachineCards($("machines"), actions),
  timeline: new Timeline($("timeline"), actions),
};

// --- the address: #tab=units&q=state:failed&sort=-since&open=web.service/3f1a…

function readAddress() {
  const fields = new URLSearchParams(location.hash.slice(1));
  const tab = fields.get("tab");
  return {
    tab: TABS.includes(tab) ? tab : "units",
    q: fields.get("q") ?? "",
    sort: fields.get("sort") ?? DEFAULT_SORT,
    open: new Set((fields.get("open") ?? "").split(",").filter(Boolean)),
  };
}

function addressOf({ tab, q, sort, open }) {
  const readable = (value) => encodeURIComponent(value).replace(/%3A/g, ":").replace(/%2F/g, "/").replace(/%40/g, "@").replace(/%2C/g, ",").replace(/%3D/g, "=").replace(/%20/g, "+");
  const fields = [["tab", tab]];
  if (q.trim()) fields.push(["q", q.trim()]);
  if (sort !== DEFAULT_SORT) fields.push(["sort", sort]);
  if (open.size) fields.push(["open", [...open].join(",")]);
  return "#" + fields.map(([name, value]) => `${name}=${readable(value)}`).join("&");
}

/** Shows another view of the cluster, and writes it into the address. */
function go(change, { replace = false } = {}) {
  const before = view;
  view = { ...view, ...change };
  const address = addressOf(view);
  if (address !== addressOf(before)) history[replace ? "replaceState" : "pushState"](null, "", address);
  viewChanged(before);
}

function viewChanged(before) {
  if ($("filter").value.trim() !== view.q.trim()) $("filter").value = view.q;
  stale.view = true;
  draw();
  const top = $("bar").offsetTop;
  if ((before.tab !== view.tab || before.q !== view.q) && scrollY > top) scrollTo({ top, behavior: "instant" });
}

function toggle(key) {
  const open = new Set(view.open);
  if (!open.delete(key)) open.add(key);
  go({ open });
  drawNow();
}

/** Opens a unit in the table, whatever the filter was. */
function reveal(key) {
  const row = cluster.units.get(key);
  const unit = key.slice(0, key.lastIndexOf("/"));
  if (!row) return go({ tab: "units", q: unit });
  const q = rowMatches(parseFilter(view.q), row) ? view.q : "";
  const open = new Set(view.open).add(key);
  if (row.global) open.add(groupKey(unit));
  go({ tab: "units", q, open });
  drawNow();
  views.units.focus(key);
}

addEventListener("popstate", () => {
  const before = view;
  view = readAddress();
  viewChanged(before);
});

$("filter").value = view.q;

// --- what arrives

const feed = openFeed({
  messages(messages) {
    const before = cluster?.wrong;
    cluster ??= new Cluster();
    const gone = cluster.fold(messages);
    const status = messages.findLast((message) => message.type === "status");
    const said = status && noteHealth(status.health);
    const wrong = before && isRead(health, "units") ? troublesSince(before) : "";
    announce(said, wrong);
    const open = [...view.open].filter((key) => !gone.has(key));
    if (open.length < view.open.size && isRead(health, "units")) go({ open: new Set(open) }, { replace: true });
    if (messages.some((message) => message.type !== "status")) stale.data = true;
    showInTab();
    draw();
  },
  link(next) {
    const before = link;
    link = next;
    if (next.kind === "disconnected" && before.kind === "live") announce("Disconnected from fleet-monitor.");
    if (next.kind === "live" && before.kind === "disconnected") announce("Connected again.");
    showInTab();
    draw();
  },
});

clock.now = feed.now;

/** Takes over the state of the source; the sentence to say if it is another one now. */
function noteHealth(next) {
  const before = health;
  health = next;
  if (seen(before) === seen(next)) return null;
  stale.data = true;
  if (!before || (before.state === next.state && doubt(before) === doubt(next))) return null;
  if (doubt(next)) return `${capital(doubt(next))}.`;
  if (doubt(before)) return "fleet can be read again.";
  return next.state === "ended" ? "The recording has come to its end." : null;
}

/** What of the state of the source is drawn, its ages aside. */
const seen = (health) =>
  health && JSON.stringify([health.state, health.since, health.reason, failures(health), Object.keys(health.topics).filter((topic) => isRead(health, topic))]);

/** The title and the icon. They are seen when the page is not, so they do not wait for it to be drawn. */
function showInTab() {
  const wrong = cluster?.wrong.length ?? 0;
  const mark = link.kind === "disconnected" || (health && doubt(health)) ? "(?) " : wrong ? `(${wrong}) ` : "";
  const title = `${mark}fleet-monitor`;
  if (document.title !== title) document.title = title;
  const tone = link.kind !== "live" || !cluster ? "gray" : headline(cluster, health).tone;
  const colour = { bad: "#d92d20", warn: "#dc8a00", good: "#1f9d4d" }[tone] ?? "#7a8494";
  const shape = tone === "good" ? "M5 8.400 7.200 10.600 11.200 6" : tone === "bad" ? "M5.500 5.500l5 5m0-5-5 5" : "M8 4.500v4.200m0 2v.8";
  const icon = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><path d="M8 .5 14.800 4.300v7.400L8 15.500 1.200 11.700V4.300z" fill="${colour}"/><path d="${shape}" fill="none" stroke="#fff" stroke-width="1.800" stroke-linecap="round"/></svg>`;
  attribute(document.querySelector("link[rel=icon]"), "href", `data:image/svg+xml,${encodeURIComponent(icon)}`);
}

/** What has come to be wrong, or not to be, since `before` was all that is wrong. */
function troublesSince(before) {
  if (before === cluster.wrong) return "";
  const known = new Map(before.map((row) => [row.key, row.verdict]));
  const now = new Set(cluster.wrong.map((row) => row.key));
  const fresh = cluster.wrong.filter((row) => known.get(row.key) !== row.verdict);
  const over = before.filter((row) => !now.has(row.key));
  const name = (row) => row.unit + (row.where ? ` on ${row.where}` : "");
  return [
    fresh.length > 3 ? `${fresh.length} more units in trouble.` : fresh.map((row) => `${name(row)}: ${VERDICTS[row.verdict]?.word ?? row.verdict}.`).join(" "),
    over.length > 3 ? `${over.length} units are out of trouble.` : over.map((row) => `${name(row)} is out of trouble.`).join(" "),
  ].filter(Boolean).join(" ");
}

function announce(...sentences) {
  const said = sentences.filter(Boolean).join(" ");
  if (said) text($("announcement"), said);
}

// --- drawing

function draw() {
  drawing ||= requestAnimationFrame(drawNow);
}

function drawNow() {
  cancelAnimationFrame(drawing);
  drawing = 0;
  drawGate();
  if (cluster && ["live", "disconnected", "connecting"].includes(link.kind)) {
    if (stale.data) {
      drawSummary();
      drawBanners();
    }
    if (stale.data || stale.view) drawView();
    stale = { data: false, view: false };
  }
  drawAges();
}

function drawGate() {
  const open = cluster && link.kind !== "token" && link.kind !== "refused";
  attribute($("cluster"), "hidden", !open && "");
  attribute($("gate"), "hidden", open && "");
  if (open) return;
  const [title, said] = {
    connecting: ["Connecting", "Asking for the state of the cluster."],
    live: ["Connected", "Waiting for the state of the cluster."],
    disconnected: ["Disconnected", `${capital(link.reason)}. Trying again.`],
    token: ["A token is needed", link.rejected ? "The token was not accepted." : "This fleet-monitor shows the cluster to those who have its token."],
    refused: ["Access refused", link.reason],
  }[link.kind];
  text($("gate-title"), title);
  text($("gate-text"), said);
  const form = $("token-form");
  if (link.kind === "token" && form.hidden) {
    form.hidden = false;
    $("token").focus();
  } else if (link.kind !== "token") {
    form.hidden = true;
  }
}

function drawSummary() {
  const said = headline(cluster, health);
  const { machines, transitions, software } = cluster;
  attribute(document.querySelector(".summary"), "data-tone", said.tone);
  drawGlyph($("headline-glyph"), said.glyph);
  $("headline").replaceChildren(said.title, ...(said.since ? [" ", age(said.since, "for")] : []));
  const subline = $("subline");
  const present = [...machines.values()].filter((machine) => !machine.lost_since).length;
  const versions = fleetVersions(machines);
  const latest = transitions[0];
  subline.replaceChildren(
    ...(said.rest ? [element("span", {}, said.rest)] : []),
    ...(isRead(health, "machines") ? [element("span", {}, plural(present, "machine"))] : []),
    ...(versions.length > 1 ? [element("span", {}, `${versions.length} versions of fleet`)] : []),
    ...(isRead(health, "units") ? [latest ? element("span", {}, "last change ", age(latest.time, "ago")) : element("span", {}, "no change since watching began")] : []),
  );
  attribute($("source"), "title", software ? `${software.name} ${software.version}` : null);
  drawTroubles();
  drawChips();
  for (const [tab, count] of [["units", cluster.rows.length], ["machines", machines.size], ["timeline", transitions.length]]) {
    const badge = document.querySelector(`[data-tab=${tab}] .count`);
    attribute(badge, "hidden", !count && !isRead(health, topicOf(tab)) && "");
    text(badge, count.toLocaleString("en"));
  }
}

const topicOf = (tab) => (tab === "machines" ? "machines" : "units");

function drawTroubles() {
  const shown = cluster.wrong.slice(0, TROUBLES_IN_HEADER);
  const signature = JSON.stringify([shown.map((row) => [row.key, row.verdict, row.stateText, row.where, row.since, row.since_seen]), cluster.wrong.length]);
  const list = $("troubles");
  if (list.signature === signature) return;
  list.signature = signature;
  const items = shown.map((row) => {
    const what = row.verdict === "failed" ? (row.load && row.load !== "loaded" ? row.load : row.stateText) : (VERDICTS[row.verdict]?.word ?? row.verdict);
    const since = row.since ? age(row.since, "for", row.since_seen) : null;
    return element("li", {}, element("button", { type: "button", class: "trouble", "data-tone": row.tone, onclick: () => reveal(row.key) },
      element("strong", {}, glyph(row.verdict), element("span", { class: "name" }, row.unit)),
      element("span", { class: "where" }, row.where ? `${row.onlyTarget ? "meant for" : "on"} ${row.where}` : "on no machine"),
      element("span", { class: "what" }, `${what} `), since));
  });
  const more = cluster.wrong.length - shown.length;
  if (more > 0) items.push(element("li", {}, element("button", { type: "button", class: "quiet", onclick: () => go({ tab: "units", q: "-verdict:ok" }) }, `and ${more.toLocaleString("en")} more`)));
  list.replaceChildren(...items);
  attribute(list, "hidden", !items.length && "");
}

function drawChips() {
  const list = $("chips");
  const { chips } = cluster;
  const signature = JSON.stringify(chips);
  if (list.signature !== signature) {
    const focused = document.activeElement?.dataset?.term;
    list.signature = signature;
    list.replaceChildren(...chips.map(({ term, word, glyph: name, count, tone }) => element("li", {},
      element("button", { type: "button", class: "chip", "data-tone": tone, "data-term": term, onclick: () => chosen(term) },
        glyph(name), element("b", {}, count.toLocaleString("en")), ` ${word}`))));
    if (focused) list.querySelector(`[data-term="${CSS.escape(focused)}"]`)?.focus();
  }
}

const chosen = (term) => go({ q: toggleTerm(view.q, term), tab: view.tab === "timeline" ? "units" : view.tab });

function drawView() {
  const words = view.q.split(/\s+/);
  for (const chip of document.querySelectorAll(".chip")) attribute(chip, "aria-pressed", String(words.includes(chip.dataset.term)));
  for (const tab of TABS) {
    const selected = tab === view.tab;
    attribute($(`tab-${tab}`), "aria-selected", String(selected));
    attribute($(`tab-${tab}`), "tabindex", selected ? 0 : -1);
    attribute($(tab), "hidden", !selected && "");
  }
  views[view.tab].show(cluster, { query: view.q, ...view, read: isRead(health, topicOf(view.tab)) });
}

function drawBanners() {
  const banners = [];
  const say = (tone, name, ...parts) => banners.push(element("p", { class: "banner", "data-tone": tone }, glyph(name), element("span", {}, ...parts)));
  if (health.recording) {
    say("note", "info", element("b", {}, "This is a recording of a real cluster, not a live one."), health.state === "ended" ? " It has come to its end." : "");
  }
  for (const { what, reason } of failures(health)) {
    say(health.topics.units.failing_for == null ? "warn" : "bad", "warning", element("b", {}, `${capital(what)} cannot be read`), `: ${reason}`);
  }
  if (health.state === "suspect") {
    say("warn", "warning", "More than a third of the units vanished from fleet's list at once. All are kept as they were.");
  } else if (health.state === "overdue") {
    say("bad", "warning", element("b", {}, "The monitor does not read fleet as it should"), `: ${health.reason}.`);
  } else if (health.state === "starting") {
    say("note", "stale", "Waiting for fleet's first complete answer.");
  }
  $("banners").replaceChildren(...banners);
}

/** How old what is shown is. As long as all goes well, no more is known than that it is not old. */
function agesOfData() {
  if (!health || !isRead(health, "units")) return "no data yet";
  const { units } = health.topics;
  const others = Object.keys(TOPICS).filter((topic) => units.failing_for == null && health.topics[topic].failing_for != null && isRead(health, topic));
  const current = link.kind === "live" && units.failing_for == null && secondsOld(units) <= OLD;
  const said = (seconds) => `${duration(1000 * seconds)} old`;
  return [
    current ? `${others.length ? "units " : ""}up to date` : `data ${said(secondsOld(units))}`,
    ...others.map((topic) => `${TOPICS[topic]} ${said(secondsOld(health.topics[topic]))}`),
  ].join(", ");
}

/** A topic that can be read has aged since the server said so only if it has been silent: it says when that changes. */
const secondsOld = ({ age, failing_for }) => age + (failing_for == null ? feed.silence() : clock.now() - health.time) / 1000;

function drawAges() {
  const old = agesOfData();
  const read = health && isRead(health, "units");
  const words = {
    live: link.polling ? "live (polling)" : "live",
    connecting: "connecting",
    disconnected: read ? `disconnected, ${old}` : "disconnected",
    token: "token needed",
    refused: "refused",
  };
  attribute($("link"), "data-kind", link.kind);
  attribute($("link"), "title", { disconnected: `${capital(link.reason)}. Trying again.`, live: link.polling && "The server takes no more connections that stay: it is asked every few seconds." }[link.kind]);
  text($("link"), words[link.kind]);
  attribute(document.body, "data-link", link.kind);
  text($("source"), health ? [health.source, link.kind === "disconnected" ? null : old].filter(Boolean).join(" · ") : "");
  tick();
}
setInterval(drawAges, 1000);

// --- what the viewer does

for (const tab of TABS) $(`tab-${tab}`).addEventListener("click", () => go({ tab }));

document.querySelector("[role=tablist]").addEventListener("keydown", (event) => {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  const index = { Home: 0, End: TABS.length - 1 }[event.key] ?? (step && (TABS.indexOf(view.tab) + step + TABS.length) % TABS.length);
  if (index === undefined) return;
  go({ tab: TABS[index] });
  $(`tab-${TABS[index]}`).focus();
  event.preventDefault();
});

// One entry in the history for a filter that is typed, not one for each letter.
$("filter").addEventListener("input", (event) => {
  go({ q: event.target.value }, { replace: typing });
  typing = true;
});
$("filter").addEventListener("blur", () => (typing = false));
$("filter").addEventListener("keydown", (event) => {
  if (event.key === "Escape" && event.target.value) {
    go({ q: "" }, { replace: true });
    event.preventDefault();
  } else if (event.key === "Escape" || event.key === "Enter") {
    event.target.blur();
  }
});

addEventListener("keydown", (event) => {
  const writing = event.target.closest?.("input, textarea, [contenteditable]");
  if (event.key !== "/" || writing || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  $("filter").focus();
  $("filter").select();
});

$("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  feed.offerToken($("token").value);
  $("token").value = "";
});
