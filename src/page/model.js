// What the page says of a cluster, computed from what it knows: pure functions, no document and no network.

/** The verdicts, the worst first, with the words for "3 units …" and the tone to show them in. */
export const VERDICTS = {
  failed: { word: "failed", tone: "bad" },
  crash_loop: { word: "crash loop", tone: "bad", said: "in a crash loop" },
  machine_lost: { word: "machine lost", tone: "bad", said: "on a lost machine" },
  unreported: { word: "unreported", tone: "bad", said: "not reported by any machine" },
  unscheduled: { word: "unscheduled", tone: "warn", said: "taken by no machine" },
  ghost: { word: "ghost", tone: "warn", said: "running without a unit file" },
  stale: { word: "stale", tone: "warn", said: "not reported any more" },
  outdated: { word: "outdated", tone: "warn", said: "running an old version" },
  ok: { word: "ok", tone: "good" },
};

/** The active states in the order of their chips, with their tone. */
export const STATES = {
  failed: "bad",
  activating: "busy",
  deactivating: "busy",
  reloading: "busy",
  active: "good",
  inactive: "idle",
  submitted: "idle",
};

/** The order of names. */
export const names = new Intl.Collator("en", { numeric: true });

/** An age in words. */
export function duration(milliseconds) {
  const seconds = Math.max(0, Math.round(milliseconds / 1000));
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86400)} d`;
}

/** The wordings of an age. What was so before watching began has lasted longer than we know. */
export const AGES = {
  short: (age, seen) => (seen ? age : `> ${age}`),
  for: (age, seen) => (seen ? `for ${age}` : `for more than ${age}`),
  ago: (age) => `${age} ago`,
};

/** As the beginning of a sentence. fleet is written small there too. */
export const capital = (sentence) => (sentence.startsWith("fleet") ? sentence : sentence.charAt(0).toUpperCase() + sentence.slice(1));
export const plural = (count, noun) => `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
export const shortId = (id) => id?.slice(0, 8);
export const shortHash = (hash) => hash?.slice(0, 7);

/** What is read of fleet, as words. */
export const TOPICS = { units: "units", machines: "machines", unit_files: "unit files" };

/** Whether a topic has ever been read. */
export const isRead = (health, topic) => health.topics[topic].age != null;

/** What cannot be read, as `{what, reason}`: topics that fail for the same reason together. */
export function failures(health) {
  const reasons = new Map();
  for (const [topic, { failing_for, reason }] of Object.entries(health.topics)) {
    if (failing_for != null) reasons.set(reason, [...(reasons.get(reason) ?? []), topic]);
  }
  return [...reasons].map(([reason, topics]) => ({ what: listed(topics), reason }));
}

/** Why what is shown may not be what is: null while there is no reason. It begins a sentence that ends in an age. */
export function doubt(health) {
  if (health.state === "suspect") return "fleet's list is suspect";
  if (health.state === "overdue") return "fleet is not being read";
  if (health.state !== "failing") return null;
  const failing = Object.keys(health.topics).filter((topic) => health.topics[topic].failing_for != null);
  return failing.length === Object.keys(TOPICS).length ? "fleet cannot be read" : `the ${listed(failing)} cannot be read`;
}

/** "units, machines and unit files" */
const listed = (topics) => topics.map((topic) => TOPICS[topic] ?? topic).join(", ").replace(/, ([^,]*)$/, " and $1");

/** How often each value is among these. */
function tally(values) {
  const counts = new Map();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return counts;
}

/** What an address is sorted by. */
export function ipNumber(ip) {
  const parts = /^(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(ip ?? "");
  if (!parts) return Infinity;
  return parts.slice(1).reduce((number, part) => number * 256 + Number(part), 0);
}

/** The key of a unit on a machine, as in the address. Neither a unit's name nor an ID can have a `/`. */
export const rowKey = (unit, machine) => `${unit}/${machine ?? ""}`;
/** The key of a global unit's group. */
export const groupKey = (unit) => `${unit}/*`;

/** The words of a filter: text, or `state:`, `machine:` or `verdict:` with a value, each maybe with `-` before it. */
export function parseFilter(query) {
  return query.toLowerCase().split(/\s+/).filter(Boolean).map((word) => {
    const negated = word.length > 1 && word.startsWith("-");
    const term = negated ? word.slice(1) : word;
    const [, field, value] = /^(state|machine|verdict):(.+)$/.exec(term) ?? [null, "text", term];
    return { field, value, negated };
  });
}

const FIELDS = {
  text: (subject, value) => subject.words().includes(value),
  state: (subject, value) => subject.states.some((state) => state?.startsWith(value)),
  verdict: (subject, value) => subject.verdict?.startsWith(value.replaceAll("-", "_")) ?? false,
  // A whole address, since 10.0.0.1 must not find 10.0.0.10; a network where it ends in a dot.
  machine: (subject, value) =>
    (subject.ip != null && (subject.ip === value || (value.endsWith(".") && subject.ip.startsWith(value)))) ||
    (subject.machine?.startsWith(value.replace(/[….]+$/, "")) && !value.startsWith(".")) ||
    (value.includes("=") && (subject.metadata?.toLowerCase().includes(value) ?? false)),
};

const matches = (terms, subject) => terms.every(({ field, value, negated }) => FIELDS[field](subject, value) !== negated);

/** Whether a row passes the filter. */
export function rowMatches(terms, row) {
  if (!terms.length) return true;
  row.subject ??= {
    words: () => (row.words ??= [row.unit, row.ip, row.place, row.description].join("\n").toLowerCase()),
    states: [row.state, row.sub, row.load, row.stateText],
    verdict: row.verdict,
    ip: row.ip,
    machine: row.place,
    metadata: row.metadata,
  };
  return matches(terms, row.subject);
}

/** Whether a transition passes the filter. `verdict:` looks at what the unit is now. */
export function transitionMatches(terms, transition, cluster) {
  return matches(terms, {
    words: () => `${transition.text}\n${transition.machine ?? ""}`.toLowerCase(),
    states: [transition.from, transition.to, ...[transition.from, transition.to].map((state) => state?.split("/")[1])],
    verdict: transition.unit && cluster.units.get(rowKey(transition.unit, transition.machine))?.verdict,
    ip: transition.ip,
    machine: transition.machine,
    metadata: cluster.machines.get(transition.machine)?.metadata,
  });
}

/** The query with `term` chosen: in place of other states and verdicts, or taken out if it was chosen. */
export function toggleTerm(query, term) {
  const words = query.split(/\s+/).filter(Boolean);
  const others = words.filter((word) => !/^-?(state|verdict):/i.test(word));
  return (words.includes(term) ? others : [...others, term]).join(" ");
}

const byText = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
/** The order of rows: by name, then by machine. No two rows are equal in it. */
export const byName = (a, b) => a.name.rank - b.name.rank || Math.min(a.ipRank, last) - Math.min(b.ipRank, last) || byText(a.key, b.key);
/** The worst first, of rows that are in the order of names, as they stay otherwise. */
export const byVerdict = (a, b) => a.rank - b.rank;
const last = Number.MAX_VALUE;

/**
 * The columns that can be sorted by; what is equal in one stays in the order of names. `newestFirst` sorts downwards at
 * the first click.
 */
export const COLUMNS = [
  { name: "unit", title: "Unit", order: () => 0 },
  { name: "state", title: "State", order: (a, b) => (a.stateText === b.stateText ? 0 : names.compare(a.stateText, b.stateText)) },
  { name: "verdict", title: "Verdict", order: byVerdict },
  {
    name: "machine",
    title: "Machine",
    order: (a, b) => Math.min(a.ipRank, last) - Math.min(b.ipRank, last) || byText(a.place ?? "~", b.place ?? "~"),
  },
  { name: "since", title: "Since", order: (a, b) => (a.since ?? 0) - (b.since ?? 0), newestFirst: true },
];

/** The lines of the table: units and groups in order, with what is open beneath them. */
export function unitLines(cluster, { query, sort, open }) {
  const terms = parseFilter(query);
  const found = terms.length ? cluster.rows.filter((row) => rowMatches(terms, row)) : cluster.rows;
  const groups = groupGlobals(cluster.rows, found);
  const entries = [];
  for (const row of found) {
    const group = row.global && groups.get(row.unit);
    if (!group) entries.push(row);
    else if (group.found[0] === row) entries.push(group);
  }
  const { name, descending } = parseSort(sort);
  const sorted = entries.sort(COLUMNS.find((column) => column.name === name).order);
  if (descending) sorted.reverse();
  const lines = [];
  const add = (row, level) => {
    if (open.has(row.key)) {
      lines.push({ kind: "unit", key: row.key, row, level, opened: true }, { kind: "detail", key: `${row.key}#`, row, level: level + 1 });
    } else {
      // Nearly all lines of a long table are such: they are made once.
      lines.push((row.lines[level] ??= { kind: "unit", key: row.key, row, level, opened: false }));
    }
  };
  for (const entry of sorted) {
    if (!entry.members) add(entry, 1);
    else {
      const opened = open.has(entry.key);
      lines.push({ kind: "group", key: entry.key, row: entry, level: 1, opened });
      if (opened) entry.found.sort(byVerdict).forEach((row) => add(row, 2));
    }
  }
  return { lines, found: found.length };
}

// A global unit of which only one row is to be seen is that row: a group of one would only hide it.
function groupGlobals(rows, found) {
  const groups = new Map();
  for (const row of found) {
    if (!row.global || row.place == null) continue;
    const group = groups.get(row.unit);
    if (group) group.found.push(row);
    else groups.set(row.unit, { found: [row], members: [] });
  }
  for (const [unit, group] of groups) if (group.found.length === 1) groups.delete(unit);
  if (groups.size) for (const row of rows) if (row.global) groups.get(row.unit)?.members.push(row);
  for (const group of groups.values()) Object.assign(group, describeGroup(group.members));
  return groups;
}

function describeGroup(members) {
  const worst = members.reduce((a, b) => (byVerdict(b, a) < 0 ? b : a));
  const wrong = members.filter((row) => row.verdict !== "ok");
  const count = (state) => members.filter((row) => row.verdict === "ok" && row.stateText === state).length;
  const usual = members.every((row) => row.verdict !== "ok" || row.state !== "active") ? worst.stateText : "active/running";
  const running = members.filter((row) => row.verdict === "ok" && row.state === "active").length;
  const word = running && count(usual) === running ? "running" : "active";
  return {
    key: groupKey(worst.unit),
    unit: worst.unit,
    description: worst.description,
    verdict: worst.verdict,
    tone: worst.tone,
    glyph: worst.glyph,
    rank: worst.rank,
    name: worst.name,
    ipRank: worst.ipRank,
    stateText: `${running} of ${plural(members.length, "machine")} ${word}`,
    where: wrong.length === 1 ? worst.where : wrong.length ? `${wrong.length} of ${plural(members.length, "machine")}` : plural(members.length, "machine"),
    since: worst.verdict === "ok" ? Math.max(...members.map((row) => row.since ?? 0)) : worst.since,
    since_seen: worst.verdict === "ok" ? members.reduce((a, b) => ((b.since ?? 0) > (a.since ?? 0) ? b : a)).since_seen : worst.since_seen,
  };
}

/** `unit` or `-unit` as a column and a direction. */
export function parseSort(sort) {
  const descending = sort.startsWith("-");
  const name = descending ? sort.slice(1) : sort;
  return COLUMNS.some((column) => column.name === name) ? { name, descending } : { name: "verdict", descending: false };
}

/** How often each version of fleet is there, the most frequent first; of those that are equally so, the newest. */
export function fleetVersions(machines) {
  const present = [...machines.values()].filter((machine) => machine.version && !machine.lost_since);
  const counts = [...tally(present.map((machine) => machine.version))];
  return counts.sort(([a, countOfA], [b, countOfB]) => countOfB - countOfA || names.compare(b, a));
}

/**
 * The machines with their units: lost ones first, then silent ones, then by address; last, the units that are on no
 * machine. `usual` is the version of fleet that most machines have.
 */
export function machineCards(cluster, query) {
  const terms = parseFilter(query);
  const cards = new Map([...cluster.machines].map(([key, machine]) => [key, { ...machine, key, units: [], found: [] }]));
  const nowhere = { key: "", units: [], found: [] };
  for (const row of cluster.rows) {
    if (row.place && !cards.has(row.place)) cards.set(row.place, { key: row.place, machine: row.place, ip: row.ip, unknown: true, units: [], found: [] });
    const card = row.place ? cards.get(row.place) : nowhere;
    card.units.push(row);
    if (rowMatches(terms, row)) card.found.push(row);
  }
  const busiest = Math.max(1, ...[...cards.values()].map((card) => card.units.length));
  const [[usual] = []] = fleetVersions(cluster.machines);
  const away = (card) => (card.lost_since || card.unknown ? 0 : card.silent_since ? 1 : 2);
  const sorted = [...cards.values()].sort((a, b) => away(a) - away(b) || Math.min(ipNumber(a.ip), last) - Math.min(ipNumber(b.ip), last) || a.key.localeCompare(b.key));
  if (nowhere.units.length) sorted.push(nowhere);
  const shown = terms.length ? sorted.filter((card) => card.found.length || matches(terms, machineSubject(card))) : sorted;
  for (const card of shown) {
    card.found.sort(byVerdict);
    card.usual = usual;
    card.share = card.units.length / busiest;
    card.tones = [...tally(card.units.map((row) => row.tone))].map(([tone, count]) => ({ tone, count }));
  }
  return shown;
}

function machineSubject(card) {
  return {
    words: () => [card.ip, card.machine, card.metadata, card.version].join("\n").toLowerCase(),
    states: [],
    verdict: null,
    ip: card.ip,
    machine: card.machine,
    metadata: card.metadata,
  };
}

/**
 * The headline: what is wrong, the worst first, or that nothing is. While fleet cannot be read, that comes first, with
 * `since`; what was known before is the `rest`.
 */
export function headline(cluster, health) {
  const doubtful = doubt(health);
  if (!isRead(health, "units")) {
    if (!doubtful) return { title: "Nothing has been read yet", rest: "", tone: "idle", glyph: "stale" };
    return { title: capital(doubtful), since: health.since, rest: "nothing has been read yet", tone: "warn", glyph: "warning" };
  }
  const said = judgement(cluster);
  if (!doubtful) return said;
  const tone = said.tone === "bad" ? "bad" : "warn";
  if (health.state === "failing" && health.topics.units.failing_for == null) {
    return { ...said, rest: [said.rest, doubtful].filter(Boolean).join(", "), tone, glyph: said.glyph === "ok" ? "warning" : said.glyph };
  }
  const before = [said.title.charAt(0).toLowerCase() + said.title.slice(1), said.rest].filter(Boolean).join(", ");
  return { title: capital(doubtful), since: health.since, rest: health.state === "failing" ? `as of then: ${before}` : before, tone, glyph: "warning" };
}

function judgement(cluster) {
  const counts = tally(cluster.wrong.map((row) => row.verdict));
  const machines = [...cluster.machines.values()];
  const lost = machines.filter((machine) => machine.lost_since).length;
  const silent = machines.filter((machine) => machine.silent_since).length;
  const wanted = cluster.wanted;
  const [worst, ...others] = [...counts];
  const rest = others.map(([verdict, count]) => `${count} ${verdict === "machine_lost" ? VERDICTS.machine_lost.said : (VERDICTS[verdict]?.word ?? verdict)}`);
  if (lost && worst) rest.push(`${plural(lost, "machine")} lost`);
  if (silent && (lost || worst)) rest.push(`${plural(silent, "machine")} silent`);
  if (worst) {
    const [verdict, count] = worst;
    const said = VERDICTS[verdict]?.said ?? verdict;
    const verb = said === "failed" ? "" : count === 1 ? "is " : "are ";
    return { title: `${plural(count, "unit")} ${verb}${said}`, rest: rest.join(", "), tone: VERDICTS[verdict]?.tone ?? "warn", glyph: verdict };
  }
  const good = `all ${plural(wanted, "unit")} as fleet wants them`;
  if (lost) return { title: `${plural(lost, "machine")} lost`, rest: [...rest, good].join(", "), tone: "bad", glyph: "machine_lost" };
  if (silent) return { title: `${plural(silent, "machine")} silent`, rest: good, tone: "warn", glyph: "machine_silent" };
  if (!wanted) return { title: "No units in the cluster", rest: "", tone: "idle", glyph: "inactive" };
  const title = wanted === 1 ? "The one unit is as fleet wants it" : `All ${plural(wanted, "unit")} as fleet wants them`;
  return { title, rest: "", tone: "good", glyph: "ok" };
}
