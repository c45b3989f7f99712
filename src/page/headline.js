// The headline: whether the cluster is fine, and what is worst if it is not. It must not know the
// document.

import { isRead, problem, unitsFail } from "./health.js";
import { tally } from "./machines.js";
import { verdictTone } from "./verdicts.js";
import {
  HEADLINE,
  allAsDesired,
  capitalize,
  joinParts,
  uncapitalize,
  unitsWithVerdict,
  verdictCount,
} from "./words.js";

/**
 * @typedef {object} Headline
 * @property {string} kind what it is about: a verdict, or one of `machine_silent`, `empty`,
 *   `no_data` and `problem`, which is one of the source
 * @property {string} title
 * @property {string} rest what else there is, or ""
 * @property {number} [since] when the problem in the title began, in milliseconds since 1970; the
 *   age is shown after the title
 * @property {import("./verdicts.js").Tone} tone
 * @property {string} glyph
 */

/**
 * The headline. While the data may be wrong, it says so first, and then what was last known.
 * @returns {Headline}
 */
export function headline(cluster, health) {
  const sourceProblem = problem(health);
  if (!isRead(health, "units")) {
    return sourceProblem ? problemHeadline(sourceProblem, health, HEADLINE.neverRead) : NO_DATA;
  }

  const known = clusterHeadline(cluster);
  if (!sourceProblem) return known;

  const tone = known.tone === "bad" ? "bad" : "warn";
  if (health.state === "failing" && !unitsFail(health)) {
    const glyph = known.glyph === "ok" ? "warning" : known.glyph;
    return { ...known, rest: joinParts(known.rest, sourceProblem), tone, glyph };
  }

  const before = joinParts(uncapitalize(known.title), known.rest);
  const rest = health.state === "failing" ? HEADLINE.lastKnown(before) : before;
  return { ...problemHeadline(sourceProblem, health, rest), tone };
}

/** @type {Headline} */
const NO_DATA = { kind: "no_data", title: HEADLINE.noData, rest: "", tone: "idle", glyph: "stale" };

function problemHeadline(problem, { since }, rest) {
  const title = capitalize(problem);
  return { kind: "problem", title, since, rest, tone: "warn", glyph: "warning" };
}

function clusterHeadline(cluster) {
  const machines = [...cluster.machines.values()];
  const lost = machines.filter((machine) => machine.lost_since).length;
  const silent = machines.filter((machine) => machine.silent_since).length;
  const [worst, ...others] = tally(cluster.wrong.map((row) => row.verdict));

  const machinesLost = lost && HEADLINE.machinesLost(lost);
  const machinesSilent = silent && HEADLINE.machinesSilent(silent);
  if (worst) {
    const [verdict, count] = worst;
    const counts = others.map(([verdict, count]) => verdictCount(count, verdict));
    const title = unitsWithVerdict(count, verdict);
    const rest = joinParts(...counts, machinesLost, machinesSilent);
    return { kind: verdict, title, rest, tone: verdictTone(verdict), glyph: verdict };
  }

  const good = allAsDesired(cluster.wanted);
  if (lost) {
    const rest = joinParts(machinesSilent, uncapitalize(good));
    const title = machinesLost;
    return { kind: "machine_lost", title, rest, tone: "bad", glyph: "machine_lost" };
  }
  if (silent) {
    const rest = uncapitalize(good);
    const title = machinesSilent;
    return { kind: "machine_silent", title, rest, tone: "warn", glyph: "machine_silent" };
  }
  if (!cluster.wanted) {
    return { kind: "empty", title: HEADLINE.noUnits, rest: "", tone: "idle", glyph: "inactive" };
  }
  return { kind: "ok", title: good, rest: "", tone: "good", glyph: "ok" };
}
