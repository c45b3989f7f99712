// The headline: whether the cluster is fine, and what is worst if it is not. What is new comes
// before what has been so for long. It must not know the document.

import { isRead, problem, unitsFail } from "./health.js";
import { startOf } from "./problems.js";
import {
  HEADLINE,
  allAsDesired,
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

/** @typedef {import("./problems.js").Cause} Cause */

/** @typedef {import("./problems.js").Start} Start */

/**
 * @typedef {object} Headline
 * @property {string} kind what it is about: a verdict, or one of `machine_silent`, `expected`,
 *   `empty`, `no_data` and `problem`, which is one of the source
 * @property {string} title
 * @property {string} brief the same, but not about how long it has been so
 * @property {?Start} since of what lasts: the age is shown after the title
 * @property {?Start} began of what is new
 * @property {string} rest what else there is, or ""
 * @property {?{words: string, start: Start, more: string}} lasting what has been wrong for long, if
 *   the title is about something new; the age is shown after `words`
 * @property {import("./verdicts.js").Tone} tone that of the worst problem there is now
 * @property {string} glyph
 */

/**
 * The headline. While the data may be wrong, it says so first, and then what was last known.
 * @param {import("./cluster.js").Cluster} cluster
 * @param {import("./health.js").Health} health
 * @param {number} now by the server's clock
 * @returns {Headline}
 */
export function headline(cluster, health, now) {
  const sourceProblem = problem(health);
  if (!isRead(health, "units")) {
    return sourceProblem ? problemHeadline(sourceProblem, health, HEADLINE.neverRead) : NO_DATA;
  }

  const known = clusterHeadline(cluster, now);
  if (!sourceProblem) return known;

  const tone = known.tone === "bad" ? "bad" : "warn";
  if (health.state === "failing" && !unitsFail(health)) {
    const glyph = known.glyph === "ok" ? "warning" : known.glyph;
    return { ...known, rest: joinParts(known.rest, sourceProblem), tone, glyph };
  }

  const before = joinParts(uncapitalize(known.brief), known.rest);
  const rest = health.state === "failing" ? HEADLINE.lastKnown(before) : before;
  return { ...problemHeadline(sourceProblem, health, rest), lasting: known.lasting, tone };
}

const PLAIN = { rest: "", since: null, began: null, lasting: null };

const plain = (kind, title, tone, glyph) => ({ ...PLAIN, kind, title, brief: title, tone, glyph });

/** @type {Headline} */
const NO_DATA = plain("no_data", HEADLINE.noData, "idle", "stale");

function problemHeadline(problem, health, rest) {
  const since = health.since ? { since: health.since, isExact: true } : null;
  return { ...plain("problem", capitalize(problem), "warn", "warning"), since, rest };
}

function clusterHeadline(cluster, now) {
  const { causes } = cluster.problemsAt(now);
  return causes.length ? causesHeadline(causes, cluster) : fineHeadline(cluster);
}

function fineHeadline({ wanted, expected }) {
  const waiting = expected ? HEADLINE.expected(expected) : "";
  if (wanted) return { ...plain("ok", allAsDesired(wanted), "good", "ok"), rest: waiting };
  if (expected) return plain("expected", capitalize(waiting), "busy", "activating");
  return plain("empty", HEADLINE.noUnits, "idle", "inactive");
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
    tone: causes.some(({ tone }) => tone === "bad") ? "bad" : "warn",
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
  const isMost = first.shape !== "unit" && 2 * first.rows.length > unitsIn(alike);
  const lead = isMachine || !isMost ? alike : [first];
  return [lead, causes.filter((cause) => !lead.includes(cause))];
}

const startOfAll = (causes) =>
  startOf(
    causes.map((cause) => cause.start),
    causes[0].isNew,
  );

const unitsIn = (causes) => causes.reduce((count, { rows }) => count + rows.length, 0);

/** What all rows of some causes of the same kind have in common; see words.js. */
function commonOf(causes) {
  const [{ shape, where, template }] = causes;
  if (causes.length === 1) return { template, machine: shape === "place" ? where : null };

  const rows = causes.flatMap((cause) => cause.rows);
  const machines = new Set(rows.map((row) => row.place).filter(Boolean));
  return { machines: rows.length > 2 * machines.size ? machines.size : null };
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
