// The page as a whole: it keeps the state, passes what users do and what arrives to the other
// modules, and decides when something is drawn.

import { TABS, formatAddress, parseAddress } from "./address.js";
import { healthAnnouncement, joinSentences, problemsAnnouncement } from "./announcement.js";
import { MachineCards } from "./cards.js";
import { Cluster } from "./cluster.js";
import { attribute, byId, hide, text } from "./dom.js";
import { Feed } from "./feed.js";
import { FilterField } from "./filter-field.js";
import { parseFilter, rowMatches, toggleTerm } from "./filter.js";
import { drawGate, listenForToken } from "./gate.js";
import { headline } from "./headline.js";
import { Histories } from "./histories.js";
import { healthSignature, isComplete, isRead, problem } from "./health.js";
import { listenForHelp, listenForTimes, listenToFilter, listenToTabs } from "./keys.js";
import { followKeys } from "./links.js";
import { Mutes } from "./mutes.js";
import { Notifications } from "./notifications.js";
import { listenToPrinting } from "./print.js";
import { ProblemChanges, stillMuted } from "./problem-changes.js";
import { causeKey, isOfSource, isWaitingFor } from "./problems.js";
import { ReplayBar } from "./replay.js";
import { groupKey, unitOfKey } from "./row.js";
import { drawStatus } from "./status.js";
import { Summary } from "./summary.js";
import { drawTab } from "./tab.js";
import { clock, updateTimes } from "./time-elements.js";
import { drawTimeSwitch, keepFormat, listenToTimeSwitch, ownFormat } from "./time-switch.js";
import { Timeline } from "./timeline.js";
import { nextFormat } from "./times.js";
import { UnitTable } from "./units.js";
import { ANNOUNCEMENTS, inFull } from "./words.js";

/** Windows in which the summary and the beginning of a list can be visible at once. */
const roomy = matchMedia("(min-width: 641px) and (min-height: 481px)");

// --- what the page knows

/** @type {?Cluster} */
let cluster = null;
/** @type {?import("./health.js").Health} */
let health = null;
/** @type {import("./feed.js").Link} */
let link = { kind: "connecting", reason: "" };
const mutes = new Mutes((before, own) => {
  // What another tab has muted or not muted any more.
  const others = [...view.muted].filter((key) => !before.has(key));
  mute(new Set([...others, ...own]));
});
/** @type {import("./address.js").PageState} */
let view = ownView();
const problemChanges = new ProblemChanges();

/** What has changed since the page was last drawn: the cluster or its health, or the view. */
let changed = { data: true, view: true };
/** The animation frame in which the page will be drawn, or 0. */
let frame = 0;

/** Marks a place in the browser's history that this page has made, or has been at. */
const OWN = { isOwn: true };

/** @type {import("./units.js").Actions} */
const actions = {
  sort: (sort) => go({ sort }, { replace: true }),
  filter,
  toggle,
  go,
  reveal,
  mute: (key, isMuted) => {
    mutes.set(key, isMuted);
    const muted = new Set(view.muted);
    if (isMuted) muted.add(key);
    else muted.delete(key);
    mute(muted);
  },
  covered,
  view: () => view,
  openLog: (log, listener) => feed.openLog(log, listener),
  nextSteps: () => feed.actions(),
  announce,
  historyOf: (row) => histories.of(row, cluster),
  unitFile: (unit) => feed.unitFile(unit),
};
const histories = new Histories(
  (unit, machine) => feed.history(unit, machine),
  () => {
    changed.view = true;
    draw();
  },
);
const panels = {
  units: new UnitTable(byId("units"), actions),
  machines: new MachineCards(byId("machines"), actions),
  timeline: new Timeline(byId("timeline"), actions),
};
const summary = new Summary(actions);
const notifications = new Notifications(announce);
const filterField = new FilterField((found) => announce(found));

// --- what users do

/** What the address says, with what is muted and how times are written in this browser. */
function ownView() {
  const given = parseAddress(location.hash);
  return { ...given, muted: mutes.join(given.muted), times: given.times ?? ownFormat() };
}

/**
 * Writes what is muted and how times are written into the address of the place in the history
 * where the page is.
 */
function writeOwn() {
  const given = parseAddress(location.hash);
  const address = formatAddress(view);
  history.replaceState(OWN, "", address === formatAddress(given) ? undefined : address);
}

const isEqual = (a, b) => a.size === b.size && [...a].every((key) => b.has(key));

/** Makes these the causes that are muted, in the address too. */
function mute(muted) {
  if (isEqual(muted, view.muted)) return;
  go({ muted }, { replace: true });
  changed.data = true;
  notifications.update([], loudProblems(), health?.recording);
  updateTab();
}

/** The problems that are not muted, by ID. */
function loudProblems() {
  const all = [...(cluster?.problems ?? [])];
  return new Map(all.filter(([, problem]) => !view.muted.has(causeKey(problem))));
}

/** Changes what is shown, and writes it into the address. */
function go(change, { replace = false } = {}) {
  const before = view;
  view = { ...view, ...change };

  const address = formatAddress(view);
  if (address !== formatAddress(before)) {
    if (replace) history.replaceState(OWN, "", address);
    else history.pushState(OWN, "", address);
  }
  viewChanged();

  const isOther = before.tab !== view.tab || before.query !== view.query;
  if (isOther || before.sort !== view.sort) panels.units.forgetOrder();
  if (isOther && scrollY > barTop()) scrollToBar();
}

function viewChanged() {
  const filter = byId("filter");
  if (filter.value.trim() !== view.query.trim()) filter.value = view.query;
  changed.view = true;
  draw();
}

/** Shows a tab, and scrolls to its list unless that begins in the upper half of the window. */
function choose(tab) {
  panels.units.forgetOrder();
  go({ tab });
  drawNow();

  const { top } = byId(tab).getBoundingClientRect();
  const isInView = roomy.matches && scrollY <= barTop() && top < innerHeight / 2;
  if (!isInView) scrollToBar();
}

/** Shows the units, and puts the focus on the row that the Tab key moves to. */
function skipToUnits(event) {
  // Its address would be taken for a view.
  event.preventDefault();
  choose("units");
  byId("units").focus({ preventScroll: true });
  // There may be no row.
  panels.units.focus(panels.units.active);
}

/** Adds a term to the filter, or removes it. From the timeline it leads to the table of units. */
function filter(term) {
  const tab = view.tab === "timeline" ? "units" : view.tab;
  go({ query: toggleTerm(view.query, term), tab });
}

/** Writes all times as the viewer has chosen. */
function writeTimes(times) {
  keepFormat(times);
  go({ times }, { replace: true });
}

function toggle(key) {
  const open = new Set(view.open);
  panels.units.detail.moved.delete(key);
  if (!open.delete(key)) open.add(key);
  go({ open });
  drawNow();
}

/** Opens a row in the table. If the filter hides it, the filter is removed. */
function reveal(key) {
  const row = cluster.units.get(key);
  const unit = unitOfKey(key);
  if (!row) return go({ tab: "units", query: `unit:${unit}` });

  const query = rowMatches(parseFilter(view.query), row) ? view.query : "";
  const open = new Set(view.open).add(key);
  if (row.global) open.add(groupKey(unit));
  go({ tab: "units", query, open });
  drawNow();
  panels.units.focus(key);
}

/** How many pixels at the top of the window are covered by what is sticky. */
function covered() {
  const bars = [byId("bar"), document.querySelector(".head")];
  const sticky = bars.filter((bar) => getComputedStyle(bar).position === "sticky");
  return Math.max(0, ...sticky.map((bar) => bar.getBoundingClientRect().bottom));
}

/** Where the bar is in the page while it does not stick: below the summary. */
function barTop() {
  return scrollY + document.querySelector(".summary").getBoundingClientRect().bottom;
}

const scrollToBar = () => scrollTo({ top: barTop(), behavior: "instant" });

addEventListener("popstate", ({ state }) => {
  const { muted, times } = view;
  view = ownView();
  // A place where this page has been has an older address. One that was typed or pasted has not.
  if (state?.isOwn) Object.assign(view, { muted, times });
  writeOwn();
  changed.data = true;
  panels.units.forgetOrder();
  viewChanged();
  if (cluster && isRead(health, "units")) followLink();
});

/** Opens units where they are now, if that is not where the address says. */
function followLink() {
  const { open, moved } = followKeys(view.open, cluster);
  if (!moved.size) return;
  for (const [key, machine] of moved) panels.units.detail.moved.set(key, machine);

  go({ open }, { replace: true });
  drawNow();
  panels.units.list.reveal([...moved.keys()][0], covered());
}

writeOwn();
byId("filter").value = view.query;
listenToFilter(go);
listenToTabs(() => view.tab, choose);
listenForHelp();
listenToTimeSwitch(writeTimes);
listenForTimes(() => {
  writeTimes(nextFormat(view.times));
  drawNow();
  announce(byId("times").selectedOptions[0].textContent);
});
byId("skip").addEventListener("click", skipToUnits);
listenForToken((token) => feed.offerToken(token));
listenToPrinting(Object.values(panels), () => {
  const { found } = panels.units;
  return { ...view, counts: cluster && view.tab === "units" ? [found, cluster.rows.length] : null };
});

// --- what arrives

const feed = new Feed({ messages: messagesArrived, link: linkChanged });
clock.now = () => feed.now();
const replay = new ReplayBar(
  {
    events: () => feed.replayEvents(),
    change: (change) => feed.changeReplay(change),
    now: () => feed.now(),
  },
  (words) => announce(words),
);

function messagesArrived(messages) {
  cluster ??= new Cluster();
  const gone = cluster.apply(messages);
  histories.add(messages);

  const status = messages.findLast((message) => message.type === "status");
  const ofHealth = status ? healthArrived(status.health) : "";
  announce(ofHealth, problemsArrived());

  if (isRead(health, "units")) {
    closeAll(gone);
    followLink();
  }
  if (messages.some((message) => message.type !== "status")) changed.data = true;
  updateTab();
  draw();
}

/** Applies the health. Returns what to announce of it, or "". */
function healthArrived(next) {
  const before = health;
  health = next;
  replay.show(next);
  if (healthSignature(before) === healthSignature(next)) return "";
  changed.data = true;
  return healthAnnouncement(before, next);
}

/** Follows which problems there are. Returns what to announce of them, or "". */
function problemsArrived() {
  const { waiting } = cluster.problemsAt(clock.now());
  const isAllKnown = isComplete(health) && !cluster.expected;
  const mayOpen = (kind) => !isAllKnown || isWaitingFor(waiting, kind);
  const { opened, closed } = problemChanges.update(cluster, mayOpen);

  const isLoud = (problem) => !view.muted.has(causeKey(problem));
  const announcement = problemsAnnouncement(opened.filter(isLoud), closed.filter(isLoud));

  const muted = stillMuted(view.muted, closed, cluster.problems, mayOpen);
  mutes.keep(muted);
  mute(muted);
  notifications.update(opened, loudProblems(), health.recording);
  return announcement;
}

/** Closes rows and groups that are gone: removes their keys from the address. */
function closeAll(gone) {
  const open = [...view.open].filter((key) => !gone.has(key));
  if (open.length < view.open.size) go({ open: new Set(open) }, { replace: true });
  // The table closes them itself when it is shown.
  if (view.tab !== "units") panels.units.detail.keep(view.open);
}

function linkChanged(next) {
  const before = link;
  link = next;
  if (before.kind === "live" && next.kind === "disconnected") announce(ANNOUNCEMENTS.disconnected);
  if (before.kind === "disconnected" && next.kind === "live") announce(ANNOUNCEMENTS.reconnected);
  updateTab();
  draw();
}

function announce(...sentences) {
  const words = joinSentences(...sentences);
  if (words) text(byId("announcement"), words);
}

// Not in an animation frame: browsers run none while the page is in the background.
function updateTab() {
  const loud = loudProblems();
  const isSourceMuted = [...(cluster?.problems ?? [])].some(
    ([id, problem]) => isOfSource(problem) && !loud.has(id),
  );
  const isSourceDoubtful = health && problem(health) && !isSourceMuted;
  const isKnown = link.kind === "live" && cluster;
  const tone = isKnown ? headline(cluster, health, clock.now(), view.muted).tone : null;
  drawTab(loud.size, link.kind === "disconnected" || isSourceDoubtful, tone);
}

// --- drawing

function draw() {
  frame ||= requestAnimationFrame(drawNow);
}

function drawNow() {
  cancelAnimationFrame(frame);
  frame = 0;
  clock.format = view.times;

  const isShown = Boolean(cluster) && link.kind !== "token" && link.kind !== "refused";
  drawGate(link, isShown);
  if (isShown) {
    const keepPlace = panels.units.keepPlace();
    if (changed.data) {
      summary.draw(cluster, health, clock.now(), view.muted);
      drawCounts();
    }
    if (changed.data || changed.view) drawView();
    // The order that is held may have details of rows that are gone.
    histories.keep(new Set([...view.open, ...panels.units.detail.sections.keys()]));
    changed = { data: false, view: false };
    keepPlace();
  }
  drawTimes();
}

/** The counts in the tabs. */
function drawCounts() {
  const { software, rows, machines, transitions } = cluster;
  attribute(byId("source"), "title", software ? `${software.name} ${software.version}` : null);

  const counts = {
    units: rows.length,
    machines: machines.size,
    timeline: transitions.all.length,
  };
  for (const tab of TABS) {
    const badge = byId(`tab-${tab}`).querySelector(".count");
    hide(badge, !counts[tab] && !isTabRead(tab));
    text(badge, inFull(counts[tab]));
  }
}

/** Whether what a tab shows was ever read. If not, its content is unknown, not empty. */
const isTabRead = (tab) => isRead(health, tab === "machines" ? "machines" : "units");

function drawView() {
  summary.markChips(view.query);
  for (const tab of TABS) {
    const isSelected = tab === view.tab;
    attribute(byId(`tab-${tab}`), "aria-selected", isSelected);
    attribute(byId(`tab-${tab}`), "tabindex", isSelected ? 0 : -1);
    hide(byId(tab), !isSelected);
  }
  const found = panels[view.tab].show(cluster, view, isTabRead(view.tab));
  filterField.draw(view, found);
}

/** Draws what changes although no message arrives: the times, and the badge. */
function drawTimes() {
  drawTimeSwitch(view.times, clock.now());
  drawStatus(link, health, { now: clock.now(), silence: feed.silence() });
  updateTimes();
}

function timePassed() {
  drawTimes();
  if (clock.now() < summary.until) return;
  changed.data = true;
  draw();
}
setInterval(timePassed, 1000);
drawNow();
