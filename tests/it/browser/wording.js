// What the page says, for the snapshots of its wording.

// What the texts of words.js are made with, by the names of their parameters.
const SAMPLES = {
  after: "…",
  age: "5 min",
  all: 3,
  before: "…",
  count: 2,
  counts: "1 failed, 2 stale",
  date: "DATE",
  found: 2,
  isExact: false,
  key: "stat",
  keys: ["unit", "state"],
  list: "machines",
  lists: ["units", "machines"],
  machine: "10.0.0.1",
  now: "on 10.0.0.2",
  machines: 3,
  names: ["10.0.0.1", "10.0.0.2"],
  name: "journal",
  problem: "no data from fleet",
  query: "state:failed",
  reason: "the reason",
  status: 502,
  text: "Bad Gateway",
  time: "TIME",
  unit: "web.service",
  usual: "1.0.0",
  verdict: "failed",
  version: "0.11.8",
  word: "running",
  words: "stale",
  zone: "+02:00",
  wrong: 1,
};

function sample(name) {
  if (!(name in SAMPLES)) throw new Error(`no sample for the parameter ${name}`);
  return SAMPLES[name];
}

// The names of the parameters of a function, from its source.
function parametersOf(make) {
  const [, arrow, other] = make.toString().match(/^\(?([^)=]*)\)? =>|\(([^)]*)\)/);
  return (arrow ?? other).match(/\w+/g) ?? [];
}

function textOf(text) {
  if (typeof text === "function") {
    const made = text(...parametersOf(text).map(sample));
    return Array.isArray(made) ? made.join("") : String(made);
  }
  return Array.isArray(text) ? text.join("\n") : text;
}

// All texts of words.js, as [name, text].
function catalogue(words, verdicts) {
  const texts = [];
  for (const [group, entries] of Object.entries(words)) {
    if (typeof entries !== "object") continue;
    for (const [name, text] of Object.entries(entries)) {
      texts.push([`${group}.${name}`, textOf(text)]);
    }
  }
  const withArguments =
    ["alreadySo", "andMore", "listName", "orEarlier", "reconnecting", "withZone"];
  for (const name of withArguments) {
    texts.push([name, textOf(words[name])]);
  }
  const desired = [[40, 40], [39, 40], [1, 40], [0, 40], [1, 1], [0, 1]];
  texts.push(["asDesired", desired.map(([good, all]) => words.asDesired(good, all)).join("\n")]);
  for (const verdict of Object.keys(verdicts)) {
    const common = [{}, { machine: "10.0.0.1" }, { template: "web@.service" }, { machines: 3 }];
    const forms = [
      words.unitsAre(1, verdict),
      ...common.map((given, index) => words.unitsAre(2 + index, verdict, given)),
      words.unitsHaveBeen(1, verdict),
      ...common.map((given, index) => words.unitsHaveBeen(2 + index, verdict, given)),
      words.verdictCount(2, verdict),
      words.verdictWord(verdict),
    ];
    texts.push([verdict, forms.join("\n")]);
  }
  for (const kind of ["machine_lost", "machine_silent"]) {
    const machines = [["10.0.0.1"], ["10.0.0.1", "10.0.0.2"]];
    const forms = machines.flatMap((names) => [
      words.machinesAre(names, kind, 0),
      words.machinesAre(names, kind, 20),
      words.machinesHaveBeen(names, kind, 0),
      words.machinesHaveBeen(names, kind, 20),
      words.machineCount(names.length, kind),
    ]);
    texts.push([`machines: ${kind}`, forms.join("\n")]);
  }
  return texts;
}

// The visible text and the labels of a part of the page. What the server says is left out, and so
// are ages and times.
function shownTexts(selector) {
  const part = document.querySelector(selector);
  for (const node of part.querySelectorAll(".reason span, .event .rest, .history span")) {
    node.textContent = "…";
  }

  const labels = [...part.querySelectorAll("[aria-label], [placeholder]")]
    .filter((node) => node.checkVisibility())
    .flatMap((node) => [node.ariaLabel, node.placeholder])
    .filter(Boolean);
  const lines = part.innerText
    .split("\n")
    .map((line) => line.trim())
    .filter(Boolean);
  const text = [...lines, "", "labels:", ...labels].join("\n");
  const withoutAges = text.replace(/\b\d+ (s|min|h|d)\b/g, "N s");
  const withoutTimes = withoutAges.replace(/\b\d\d:\d\d:\d\d\b/g, "TIME");
  return withoutTimes.replace(/\b\d:\d\d of\b/g, "TIME of");
}
