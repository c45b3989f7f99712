// The headline: whether the cluster is fine, and what is worst if it is not. What is new comes
// before what has been so for long, and what has not been so for long enough to be a problem stands
// behind. It must not know the document.

import { isRead, problem, unitsFail } from "./health.js";
import { isOfSource, isWaiting, startOf } from "./problems.js";
import {
  HEADLINE,
  allAsDesired,
  asDesired,
  capitalize,
  joinParts,
  machineCount,
  machinesAre,
  machinesHaveBeen,
  uncapitalize,
  unitsAre,
  unitsHaveBeen,
  verdictCount,
} from "./words.js";

/** @typedef {import("./cluster.js").Cluster} Cluster */

/** @typedef {import("./problems.js").Cause} Cause */

/** @typedef {import("./problems.js").Start} Start */

/**
 * @typedef {object} Headline
 * @property {string} kind what it is about: the kind of a problem of units or machines, or one of
 *   `ok`, `waiting`, `muted`, `expected`, `empty`, `no_data` and `problem`, which is one of the
 *   source
 * @property {string} title
 * @property {string} brief the same, but not about how long it has been so
 * @property {?Start} since of what lasts: the age is shown after the title
 * @property {?Start} began of what is new
 * @property {string} rest what else there is, or ""
 * @property {?{words: string, start: Start, more: string}} lasting what has been wrong for long, if
 *   the title is about something new; the age is shown after `words`
 * @property {string} waiting what is wrong and not a problem yet, or ""
 * @property {string} muted how many problems are muted, if there are others, or ""
 * @property {import("./verdicts.js").Tone} tone that of the worst problem there is now
 * @property {string} glyph
 */

/**
 * The headline. While the data may be wrong, it says so first, and then what was last known.
 * @param {Cluster} cluster
 * @param {import("./health.js").Health} health
 * @param {number} now by the server's clock
 * @param {Set<string>} [muted] the keys of the causes that are muted
 * @returns {Headline}
 */
export function headline(cluster, health, now, muted = new Set()) {
  if (!isRead(health, "units")) {
    const doubt = problem(health);
    return doubt ? sourceHeadline(doubt, health, HEADLINE.neverRead) : NO_DATA;
  }

  const { causes } = cluster.problemsAt(now);
  const loud = causes.filter(({ key }) => !muted.has(key));
  const source = loud.find(isOfSource);
  const ofCluster = loud.filter((cause) => !isOfSource(cause));
  const known = clusterHeadline(cluster, now, ofCluster, causes.length - loud.length);

  const doubt = problem(health) ?? (source ? uncapitalize(source.problem.text) : null);
  if (!doubt) return known;

  // A fault of a moment must not move what is known from its place, and neither must one that
  // concerns another list.
  if (!source || (health.state === "failing" && !unitsFail(health))) {
    const tone = worstTone(known.tone);
    const glyph = known.glyph === "ok" ? "warning" : known.glyph;
    return { ...known, rest: joinParts(known.rest, doubt), tone, glyph };
  }

  const before = joinParts(uncapitalize(known.brief), known.rest);
  const rest = health.state === "failing" ? HEADLINE.lastKnown(before) : before;
  const { lasting, waiting, muted: mutedCount } = known;
  const tone = worstTone(known.tone, source.tone);
  return { ...sourceHeadline(doubt, health, rest), lasting, waiting, muted: mutedCount, tone };
}

const PLAIN = { rest: "", since: null, began: null, lasting: null, waiting: "", muted: "" };

const plain = (kind, title, tone, glyph) => ({ ...PLAIN, kind, title, brief: title, tone, glyph });

/** @type {Headline} */
const NO_DATA = plain("no_data", HEADLINE.noData, "idle", "stale");

const worstTone = (...tones) => (tones.includes("bad") ? "bad" : "warn");

function sourceHeadline(doubt, health, rest) {
  const since = health.since ? { since: health.since, isExact: true } : null;
  return { ...plain("problem", capitalize(doubt), "warn", "warning"), since, rest };
}

/**
 * @param {Cluster} cluster
 * @param {Cause[]} causes those that are about the cluster, and are not muted
 * @param {number} mutedCount how many are muted
 */
function clusterHeadline(cluster, now, causes, mutedCount) {
  const { waiting } = cluster.problemsAt(now);
  const words = isWaiting(waiting) ? HEADLINE.waiting(waitingCounts(waiting)) : "";

  if (causes.length) {
    const muted = mutedCount ? HEADLINE.muted(mutedCount) : "";
    return { ...causesHeadline(causes, cluster), waiting: words, muted };
  }
  if (mutedCount) return { ...mutedHeadline(cluster, mutedCount), waiting: words };
  return words ? { ...waitingHeadline(cluster), waiting: words } : fineHeadline(cluster);
}

function fineHeadline({ wanted, expected }) {
  const rest = notReportedYet(expected);
  if (wanted) return { ...plain("ok", allAsDesired(wanted), "good", "ok"), rest };
  if (expected) return plain("expected", capitalize(rest), "busy", "activating");
  return plain("empty", HEADLINE.noUnits, "idle", "inactive");
}

/** Nothing is a problem yet, but not everything is fine. */
function waitingHeadline(cluster) {
  const title = unitsAsDesired(cluster);
  const rest = notReportedYet(cluster.expected);
  return { ...plain("waiting", title, "busy", "activating"), rest };
}

function mutedHeadline(cluster, count) {
  const rest = joinParts(uncapitalize(unitsAsDesired(cluster)), notReportedYet(cluster.expected));
  return { ...plain("muted", HEADLINE.allMuted(count), "idle", "muted"), rest };
}

/** "39 of 40 units are in their desired state" */
const unitsAsDesired = ({ wanted, wrong }) =>
  wanted ? asDesired(wanted - wrong.length, wanted) : HEADLINE.noUnits;

const notReportedYet = (expected) => (expected ? HEADLINE.expected(expected) : "");

/** "1 machine lost, 3 failed, 1 stale" */
function waitingCounts({ verdicts, machines }) {
  const ofMachines = [...machines].map(([kind, count]) => machineCount(count, kind));
  const ofUnits = [...verdicts].map(([verdict, count]) => verdictCount(count, verdict));
  return joinParts(...ofMachines, ...ofUnits);
}

/** @param {Cause[]} causes at least one */
function causesHeadline(causes, { wrong, wanted }) {
  const [lead, others] = withItsLike(causes);
  const [{ kind, isNew }] = lead;
  const alike = others.filter((cause) => cause.isNew === isNew);
  const older = others.filter((cause) => cause.isNew !== isNew);

  const start = startOfAll(lead);
  return {
    kind,
    title: isNew ? briefTitle(lead) : lastingTitle(lead),
    brief: briefTitle(lead),
    since: isNew ? null : start,
    began: isNew ? start : null,
    rest: joinParts(alsoThese(alike), wrong.length ? "" : uncapitalize(allAsDesired(wanted))),
    lasting: older.length ? lastingOf(older) : null,
    tone: worstTone(...causes.map(({ tone }) => tone)),
    glyph: kind,
  };
}

/**
 * The first cause together with those that the same sentence can name, and the others. These are
 * machines that are lost like it, or units with the same verdict unless most of these have more in
 * common.
 */
function withItsLike(causes) {
  const [first] = causes;
  const isMachine = first.shape === "machine";
  const alike = causes.filter(
    ({ shape, kind, isNew }) =>
      (shape === "machine") === isMachine && kind === first.kind && isNew === first.isNew,
  );
  const isMost = first.shape !== "unit" && 2 * first.count > unitsIn(alike);
  const lead = isMachine || !isMost ? alike : [first];
  return [lead, causes.filter((cause) => !lead.includes(cause))];
}

const startOfAll = (causes) =>
  startOf(
    causes.map((cause) => cause.start),
    causes[0].isNew,
  );

const unitsIn = (causes) => causes.reduce((sum, { count }) => sum + count, 0);

/** What all units of some causes of the same kind have in common; see words.js. */
function commonOf(causes) {
  const [{ shape, where, template }] = causes;
  if (causes.length === 1) return { template, machine: shape === "place" ? where : null };

  if (causes.some(({ places }) => !places)) return {};
  const machines = new Set(causes.flatMap(({ places }) => [...places]).filter(Boolean));
  return { machines: unitsIn(causes) > 2 * machines.size ? machines.size : null };
}

/** "20 units failed, all on 10.0.1.19" */
function briefTitle(causes) {
  const [{ shape, kind }] = causes;
  const count = unitsIn(causes);
  if (shape === "machine") return machinesAre(wheresOf(causes), kind, count);
  return unitsAre(count, kind, commonOf(causes));
}

/** "20 units on 10.0.1.19 have been failed", which an age follows. */
function lastingTitle(causes) {
  const [{ shape, kind }] = causes;
  const count = unitsIn(causes);
  if (shape === "machine") return machinesHaveBeen(wheresOf(causes), kind, count);
  return unitsHaveBeen(count, kind, commonOf(causes));
}

const wheresOf = (causes) => causes.map(({ where }) => where);

function lastingOf(causes) {
  const [lead, others] = withItsLike(causes);
  return { words: lastingTitle(lead), start: startOfAll(lead), more: alsoThese(others) };
}

/** "also 1 machine silent, 5 stale", or "" */
function alsoThese(causes) {
  const groups = new Map();
  for (const cause of causes) {
    const name = `${cause.shape === "machine"} ${cause.kind}`;
    groups.set(name, [...(groups.get(name) ?? []), cause]);
  }
  const counts = [...groups.values()].map((those) => {
    const [{ shape, kind }] = those;
    if (shape === "machine") return machineCount(those.length, kind);
    return verdictCount(unitsIn(those), kind);
  });
  return counts.length ? HEADLINE.also(joinParts(...counts)) : "";
}
