// The texts of the page: words, and the sentences made of them. Fixed labels are in index.html, and
// reasons come from the server. It must not know the document, nor where a text is shown.

// `word` stands alone, `predicate` completes "2 units are …", and `lasting`, if there is one, "2
// units have been …". `on` comes before their machine.
const VERDICTS = {
  failed: { word: "failed", predicate: "failed" },
  crash_loop: { word: "crash loop", predicate: "in a crash loop" },
  machine_lost: { word: "machine lost", predicate: "on a lost machine" },
  unreported: {
    word: "unreported",
    predicate: "not reported by any machine",
    lasting: "unreported",
    on: "expected on",
  },
  unscheduled: {
    word: "unscheduled",
    predicate: "not scheduled to any machine",
    lasting: "unscheduled",
  },
  ghost: { word: "ghost", predicate: "running without a unit file" },
  stale: { word: "stale", predicate: "no longer reported", lasting: "stale" },
  outdated: { word: "outdated", predicate: "running an old version" },
  ok: { word: "ok", predicate: "ok" },
};

// The lists that the monitor reads from fleet, by their names in the JSON.
const LISTS = { units: "units", machines: "machines", unit_files: "unit files" };

/** The columns of the table of units. */
export const COLUMN_TITLES = {
  unit: "Unit",
  state: "State",
  verdict: "Verdict",
  machine: "Machine",
  since: "Since",
};

/**
 * An age in a sentence, by its wording. If `isExact` is false, the age is only a lower bound: what
 * it describes was already so when the monitor started.
 */
export const AGES = {
  for: (age, isExact) => (isExact ? `for ${age}` : `for at least ${age}`),
  ago: (age) => `${age} ago`,
  old: (age) => `${age} old`,
};

/** A time in the place of such an age. */
export const TIMES = {
  for: (time) => `since ${time}`,
  ago: (time) => `at ${time}`,
  old: (time) => `of ${time}`,
};

export const MONTHS = [
  "Jan",
  "Feb",
  "Mar",
  "Apr",
  "May",
  "Jun",
  "Jul",
  "Aug",
  "Sep",
  "Oct",
  "Nov",
  "Dec",
];

/** The switch of how times are written. Its other words are in index.html. */
export const TIME_SWITCH = {
  local: (zone) => `local ${zone}`,
};

/** The title of a column with times, if it has no ages. */
export const withZone = (word, zone) => `${word} (${zone})`;

// --- words

export const verdictWord = (verdict) => VERDICTS[verdict]?.word ?? verdict;

/** "units, machines and unit files" */
export const listNames = (lists) => enumerate(lists.map(listName));

/** A count with separators: "10,000". */
export const inFull = (count) => count.toLocaleString("en");

export const plural = (count, noun) => `${inFull(count)} ${noun}${count === 1 ? "" : "s"}`;

export const shortId = (id) => id?.slice(0, 8);

export const shortHash = (hash) => hash?.slice(0, 7);

/** The sentence with a capital letter at its beginning, unless it begins with "fleet". */
export function capitalize(sentence) {
  if (sentence.startsWith("fleet")) return sentence;
  return sentence.charAt(0).toUpperCase() + sentence.slice(1);
}

/** The sentence with a small letter at its beginning, to be used within another one. */
export const uncapitalize = (sentence) => sentence.charAt(0).toLowerCase() + sentence.slice(1);

/** The parts that are not empty, separated by commas. */
export const joinParts = (...parts) => parts.filter(Boolean).join(", ");

/** Between facts in one line. */
export const FACT_SEPARATOR = " · ";

export function duration(milliseconds) {
  const seconds = Math.max(0, Math.round(milliseconds / 1000));
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86400)} d`;
}

function enumerate(words) {
  return words.join(", ").replace(/, ([^,]*)$/, " and $1");
}

/** The time of something of which only the latest possible time is known. */
export const orEarlier = (time) => `${time} or earlier`;

/** The tooltip of something of which only the latest possible time is known. */
export const alreadySo = (date) => `Already so when fleet-monitor started:\n${date}`;

export const andMore = (count) => `and ${inFull(count)} more`;

// --- the headline, and what stands below it

export const HEADLINE = {
  noData: "No data from fleet yet",
  neverRead: "nothing read since fleet-monitor started",
  noUnits: "No units in the cluster",
  lastKnown: (before) => `last known: ${before}`,
  expected: (count) => `${plural(count, "unit")} not reported yet`,
  waiting: (counts) => `not a problem yet: ${counts}`,
  muted: (count) => `${plural(count, "problem")} muted`,
  allMuted: (count) => `${plural(count, "problem")}, ${count === 1 ? "" : "all "}muted`,
  began: "began ",
  also: (counts) => `also ${counts}`,
  machines: (count) => plural(count, "machine"),
  fleetVersions: (count) => `${count} versions of fleet`,
  lastChange: "last change ",
  noChange: "no change since fleet-monitor started",
};

/**
 * What several units have in common: their machine, their template, or so many machines.
 * @typedef {{machine?: ?string, template?: ?string, machines?: ?number}} Common
 */

/**
 * "2 units are in a crash loop, both on 10.0.1.19"
 * @param {Common} common
 */
export function unitsAre(count, verdict, { machine, template, machines } = {}) {
  const { predicate, on = "on" } = VERDICTS[verdict] ?? { predicate: verdict };
  const verb = verdict === "failed" ? "" : count === 1 ? "is " : "are ";
  const words = `${plural(count, "unit")} ${verb}${predicate}`;
  if (machine) return `${words}, ${allOf(count)} ${on} ${machine}`;
  if (template) return `${words}, ${allOf(count)} of ${template}`;
  return machines ? `${words}, ${on} ${plural(machines, "machine")}` : words;
}

/**
 * "20 units on 10.0.1.19 have been failed", which an age follows.
 * @param {Common} common
 */
export function unitsHaveBeen(count, verdict, { machine, template, machines } = {}) {
  const { predicate, lasting } = VERDICTS[verdict] ?? { predicate: verdict };
  const place = machine ?? (machines && plural(machines, "machine"));
  const common = place ? ` on ${place}` : template ? ` of ${template}` : "";
  return `${plural(count, "unit")}${common} ${has(count)} been ${lasting ?? predicate}`;
}

const allOf = (count) => (count === 2 ? "both" : "all");

// A predicate of machines, by what the problem is.
const MACHINES_ARE = { machine_lost: "lost", machine_silent: "silent" };

const machinesNamed = (names) =>
  names.length === 1 ? `Machine ${names[0]}` : plural(names.length, "machine");

const has = (count) => (count === 1 ? "has" : "have");

const withUnits = (words, count) => (count ? `${words}, with ${plural(count, "unit")}` : words);

/** "Machine 10.0.1.19 lost, with 20 units" */
export const machinesAre = (names, kind, units) =>
  withUnits(`${machinesNamed(names)} ${MACHINES_ARE[kind]}`, units);

/** "Machine 10.0.1.19, with 20 units, has been lost", which an age follows. */
export function machinesHaveBeen(names, kind, units) {
  const machines = withUnits(machinesNamed(names), units) + (units ? "," : "");
  return `${machines} ${has(names.length)} been ${MACHINES_ARE[kind]}`;
}

/** "1 machine silent" */
export const machineCount = (count, kind) => `${plural(count, "machine")} ${MACHINES_ARE[kind]}`;

/** "2 stale". A unit on a lost machine must not be taken for a lost machine. */
export function verdictCount(count, verdict) {
  const { word, predicate } = VERDICTS[verdict] ?? { word: verdict };
  return `${count} ${verdict === "machine_lost" ? predicate : word}`;
}

export function allAsDesired(count) {
  if (count === 1) return "The only unit is in its desired state";
  return `All ${plural(count, "unit")} are in their desired state`;
}

/** "39 of 40 units are in their desired state" */
export function asDesired(good, all) {
  if (good === all) return allAsDesired(all);
  if (all === 1) return "The only unit is not in its desired state";
  if (good < 1) return `None of ${plural(all, "unit")} is in its desired state`;
  const predicate = good === 1 ? "is in its desired state" : "are in their desired state";
  return `${inFull(good)} of ${plural(all, "unit")} ${predicate}`;
}

/** Why the data of fleet may be wrong. An age may follow: "No data from fleet for 6 s". */
export const PROBLEMS = {
  suspect: () => "incomplete list of units from fleet",
  overdue: () => "no new data from fleet",
  failing: (lists) => {
    if (lists.length === Object.keys(LISTS).length) return "no data from fleet";
    return `no data about ${listNames(lists)}`;
  },
};

// --- the time line of a recording

export const REPLAY = {
  play: "Play",
  pause: "Pause",
  progress: (age, all) => `${age} of ${all}`,
  refused: "The recording cannot be changed now.",
};

// --- the boxes above the headline

export const BANNERS = {
  recording: "This is a recording of a cluster, not a live cluster.",
  recordingEnded: "The recording has ended.",
  failing: (lists) => `${capitalize(listNames(lists))} cannot be read`,
  suspect:
    "More than a third of the units disappeared from fleet's list at once, so the list is " +
    "probably incomplete. All units are shown as they were.",
  overdue: "No new data from fleet",
  starting: "Waiting for the first complete data from fleet.",
};

// --- what is wrong, by its cause

export const CAUSES = {
  isNew: "new",
  muted: "muted",
  mute: (name) => `Mute: ${name}`,
  muteNote: "Mute until it is over: not in the headline, the title and notifications",
  unmuteNote: "Unmute: in the headline, the title and notifications again",
  source: "fleet",
  lastKnown: "last known state only",
  source_failing: "cannot be read",
  source_overdue: "no new data",
  source_suspect: "incomplete list of units",
  machine_lost: "machine lost",
  machine_silent: "machine silent",
  noUnits: "no unit affected",
  units: (count) => plural(count, "unit"),
  unitsOn: (count, machine) => `${allOf(count)} on ${machine}`,
  spread: (count, machines) => `${plural(count, "unit")} on ${plural(machines, "machine")}`,
  on: (machine) => `on ${machine}`,
  target: (machine) => `target ${machine}`,
  nowhere: "on no machine",
};

// --- the filter

export const FILTER = {
  unknown: (key, keys) =>
    `There is no key “${key}:”. The keys are ${enumerate(keys.map((name) => `${name}:`))}.`,
  empty: (key) => `Something has to follow “${key}:”.`,
  units: (found, all) => foundOf(found, all, "unit"),
  machines: (found, all) => foundOf(found, all, "machine"),
  events: (found, all) => foundOf(found, all, "event"),
};

/** "3 of 34 units" */
const foundOf = (found, all, noun) => `${inFull(found)} of ${plural(all, noun)}`;

// --- the table of units

export const TABLE = {
  label: "Units",
  noMatch: "No unit matches the filter.",
  noUnits: "There are no units in the cluster.",
  global: "global",
  noState: "no state",
  submitted: "submitted",
  notStarted: "not started",
  expected: "expected",
  notYet: "not reported yet",
  lastKnown: "Last known state",
  noMachine: "no machine",
  target: "target",
  machines: (count) => plural(count, "machine"),
  someMachines: (count, all) => `${count} of ${plural(all, "machine")}`,
  groupState: (count, all, word) => `${count} of ${plural(all, "machine")} ${word}`,
  gone: "gone",
  unmatched: "no longer matches",
  waiting: (count) => (count === 1 ? "1 row waits" : `${inFull(count)} rows wait`),
  showNow: "Show now",
  missing: (unit) => `The unit of this link is not in the cluster: ${unit}`,
  noLongerOn: (unit, machine) =>
    `This link is from when ${unit} was on ${machine}. It is on other machines now.`,
  dismiss: "Dismiss",
};

export const DETAIL = {
  desired: "Desired state",
  noUnitFile: "none: there is no unit file",
  state: "State",
  verdict: "Verdict",
  notReported: "Not reported",
  machine: "Machine",
  target: "Target",
  everyMachine: "every machine that meets the requirements",
  noTarget: "none",
  version: "Version",
  machineHas: "the machine has ",
  fleetHas: ", fleet has ",
  description: "Description",
  requirements: "Requirements",
  events: "Events",
  allEvents: (count) => `Show all ${inFull(count)} events`,
  fewerEvents: "Show fewer events",
  changed: "The state changed ",
  moved: (before, now) =>
    `This link is from when the unit was ${before}. The unit is ${now} now.`,
  on: (machine) => `on ${machine}`,
  nowhere: "on no machine",
  toTimeline: "Show in timeline",
  toMachine: (machine) => `All units on ${machine}`,
};

// --- the log of a unit

/** The priorities of lines, as syslog numbers and journalctl names them. */
export const PRIORITIES = [
  "emerg",
  "alert",
  "crit",
  "err",
  "warning",
  "notice",
  "info",
  "debug",
];

export const LOG = {
  title: "Log",
  zone: (zone) => `times in ${zone}`,
  label: (unit) => `Log of ${unit}, newest last`,
  show: "Show the log",
  showAgain: "Follow again",
  stop: "Stop",
  pause: "Pause",
  goOn: "Continue",
  narrow: "Narrow the log: words, or -words to leave out",
  placeholder: "Narrow: error -GET",
  found: (found, all) => `${inFull(found)} of ${plural(all, "line")}`,
  noMatch: "No line matches.",
  newLines: (count) => `${plural(count, "new line")}`,
  dropped: (count) => `${plural(count, "older line")} no longer kept here`,
  truncated: "[truncated]",
  binary: "[binary]",
};

/** Whether a log is read, and from where. */
export const LOG_STATES = {
  connecting: "Connecting.",
  disconnected: (reason) => reconnecting(reason),
  refused: (reason) => `${capitalize(reason)}.`,
  ended: "Nothing follows.",
  stopped: "Stopped.",
  hidden: "Stopped while this tab was in the background.",
  crowded: (count) => `Stopped: no more than ${count} logs are read at a time.`,
  live: (names) => `Live from ${enumerate(names)}.`,
  waiting: (names) => `Waiting for ${enumerate(names)}.`,
  unread: (names) => `${enumerate(names)} cannot be read.`,
  opened: "Connected.",
  paused: "Paused.",
};

/** What happens between the lines of a log. */
export const LOG_NOTES = {
  slow: (count, machine) =>
    `${plural(count, "line")} of ${machine} missed: they came faster than this page reads`,
  rate: (count, machine) =>
    `${plural(count, "line")} of ${machine} missed: the unit writes more than is passed on`,
  missed: (count, machine) => `${plural(count, "line")} of ${machine} missed`,
  moved: (unit, machine) => `${unit} moved to ${machine}`,
  previous: (unit, machine) => `${machine} ran ${unit} before`,
  failed: (machine, reason) => `The log on ${machine} cannot be read: ${reason}`,
  readable: (machine) => `The log on ${machine} can be read again`,
  ended: (machine, reason) => `The log on ${machine} has ended: ${reason}`,
  gap: "Nothing was read for a while: lines may be missing here",
};

// --- what to do next

export const NEXT_STEPS = {
  title: "Next steps",
};

/** Buttons that copy. */
export const COPY = {
  copy: "Copy",
  copyOf: (name) => `Copy: ${name}`,
  copied: "Copied",
  selected: "Selected",
  announced: (name, words) => `${name}: ${words}`,
};

/** The last hour of a unit. */
export const LAST_HOUR = {
  title: "Last hour",
  label: "States in the last hour",
  begin: "an hour ago",
  now: "now",
  changes: (count) => (count ? plural(count, "change") : "no changes"),
  changesIn: (count, age) => `${LAST_HOUR.changes(count)} in the ${age} that are known`,
  flapping: (count) => `flapping: it went down ${plural(count, "time")}`,
  looping: "in a crash loop",
  allTheTime: (words, age) => [`${words} for all of the ${age}`],
  until: (words, time) => [`${words} until `, time],
  since: (words, time, age) => [`${words} since `, time, `, for ${age}`],
  between: (words, time, before, age) => [
    `${words} from `,
    time,
    " to ",
    before,
    `, for ${age}`,
  ],
};

/** What is shown in place of a state of systemd. */
export const STATE_WORDS = {
  absent: "not on a machine",
  unreported: "not reported",
  loop: "in a crash loop",
};

// --- the unit file

export const UNIT_FILE = {
  show: "Show the unit file",
  hide: "Hide the unit file",
  again: "Read it again: it has changed",
  reading: "Reading the unit file.",
  failed: (reason) => `The unit file cannot be shown: ${reason}`,
  masked: "Values that look like secrets are masked.",
  title: (version) => `Unit file, version ${version}`,
  deleted: "fleet does not have the unit file any more.",
  runs: (machine, version) => `${machine} runs version ${version}`,
  differs: (machine, version, usual) =>
    `From version ${version}, which ${machine} runs (-), to version ${usual} of fleet (+)`,
  unknown: (machine, version) => `${machine} runs version ${version}, which is not kept anywhere.`,
};

// --- the machines

export const MACHINES = {
  label: "Machines",
  noMatch: "No machine and no unit matches the filter.",
  noMachines: "There are no machines in the cluster.",
  nowhere: "On no machine",
  nowhereNote: "Only submitted, or not scheduled to any machine",
  noMetadata: "no metadata",
  leftCluster: "left the cluster ",
  ran: (count) => `${plural(count, "unit")} ran here when it was lost`,
  nowOn: (names) => `now on ${enumerate(names)}`,
  stillHere: "not seen elsewhere",
  notInFleet: "no longer in fleet",
  notInCluster: "not in the cluster",
  silent: "silent ",
  leader: "engine leader",
  leaderNote: "Its engine schedules the units",
  version: (version) => `fleet ${version}`,
  otherVersion: (version, usual) => `fleet ${version}, most have ${usual}`,
  units: (count, wrong) => plural(count, "unit") + (wrong ? `, ${inFull(wrong)} not ok` : ""),
};

// --- the timeline

export const TIMELINE = {
  label: "Events, newest first",
  noMatch: "No event matches the filter.",
  warning: "Warning: ",
};

/** Which events are known, as `[before the time, behind the time]`. */
export const HISTORY = {
  noneKnown: ["No events are known yet: fleet has not been read completely.", ""],
  noneSince: ["No events since ", ", when fleet-monitor began to watch."],
  noneAfter: ["No events after ", ". Older ones are no longer kept."],
  completeSince: ["Complete since ", ", when fleet-monitor began to watch."],
  completeAfter: ["Older events were dropped. Complete after ", "."],
};

// --- on paper

export const PRINT = {
  filter: (query) => `Filter: ${query}`,
  rows: (count, all) =>
    count === all ? plural(all, "row") : `${inFull(count)} of ${plural(all, "row")}`,
};

// --- the connection to the server, and the age of the data

/** What the badge says of the data. Some are followed by a time: "stale for 12 s". */
export const BADGE = {
  live: "live",
  starting: "starting",
  stale: "stale",
  partly: "partly stale",
  unread: "no data",
  suspect: "suspect",
  recording: "recording",
  ended: "recording ended",
  connecting: "connecting",
  disconnected: "disconnected",
  token: "token required",
  refused: "access denied",
  polling: "(polling)",
  pollingNote: "There is no WebSocket connection. The page polls the server every 5 seconds.",
};

/** Why there is no connection. */
export const DISCONNECTS = {
  silent: "the server has sent nothing for 40 s",
  closed: "the connection was closed",
  unanswered: "the server did not answer within 10 s",
  unreachable: "the server cannot be reached",
  status: (status, text) => `the server answered ${status} ${text}`.trim(),
  invalid: "the server sent something else than a log",
};

export const reconnecting = (reason) => `${capitalize(reason)}. Reconnecting.`;

/** Of lists that are old, each is followed by its age: "machines 12 s old". */
export const AGE_OF_DATA = {
  none: "no data yet",
  current: "up to date",
  data: "data",
};

/** "machines", as the beginning of what is said of the list. */
export const listName = (list) => LISTS[list] ?? list;

/** What is shown in place of the cluster, as `[title, text]`. */
export const GATE = {
  connecting: ["Connecting", "Loading the state of the cluster."],
  live: ["Connected", "Waiting for the state of the cluster."],
  disconnected: ["Disconnected"],
  token: [
    "Token required",
    "Access to this fleet-monitor is protected. Enter its token to see the cluster.",
  ],
  wrongToken: ["Token required", "This token is wrong. Enter the token of this fleet-monitor."],
  refused: ["Access denied"],
};

// --- what screen readers announce

export const ANNOUNCEMENTS = {
  disconnected: "Disconnected from fleet-monitor.",
  reconnected: "Reconnected.",
  problem: (problem) => `${capitalize(problem)}.`,
  problemOver: "fleet can be read again.",
  recordingEnded: "The recording has ended.",
  opened: (problem) => `Problem: ${problem}.`,
  manyOpened: (count) => `${inFull(count)} new problems.`,
  closed: (problem) => `Over: ${problem}.`,
  manyClosed: (count) => `${inFull(count)} problems are over.`,
};

// --- notifications

export const NOTIFICATIONS = {
  off: "Notify of new problems",
  on: "Notifications of new problems are on",
  refused: "Notifications are blocked for this page in the browser",
  missing: "This browser has no notifications",
  insecure: "Browsers have notifications only for pages over HTTPS, or from this machine",
  recording: "There are no notifications of a recording",
  problems: (count) => plural(count, "problem"),
};
