// Numbers and lists in words.

import assert from "node:assert/strict";
import { test } from "node:test";

import { VERDICTS } from "../../src/page/verdicts.js";
import {
  asDesired,
  capitalize,
  duration,
  listNames,
  plural,
  uncapitalize,
  unitsAre,
  unitsHaveBeen,
  verdictWord,
} from "../../src/page/words.js";

test("an age has one unit of time, rounded down", () => {
  const ages = {
    0: "0 s",
    119: "119 s",
    120: "2 min",
    7199: "119 min",
    7200: "2 h",
    172800: "2 d",
  };
  for (const [seconds, words] of Object.entries(ages))
    assert.equal(duration(seconds * 1000), words);
  assert.equal(duration(-5000), "0 s");
});

test("counts have a plural and separators", () => {
  assert.deepEqual(
    [0, 1, 10_000].map((count) => plural(count, "unit")),
    ["0 units", "1 unit", "10,000 units"],
  );
});

test("however many units are in their desired state, it is a sentence", () => {
  const pairs = [[40, 40], [39, 40], [1, 40], [0, 40], [1, 1], [0, 1]];
  const sentences = pairs.map(([good, all]) => asDesired(good, all));
  assert.equal(new Set(sentences).size, pairs.length);
  assert.match(sentences[1], /^39 of 40 units are /);
  assert.match(sentences[2], /^1 of 40 units is /);
});

test("lists are enumerated", () => {
  assert.equal(listNames(["units"]), "units");
  assert.equal(listNames(["units", "machines"]), "units and machines");
  assert.equal(listNames(["units", "machines", "unit_files"]), "units, machines and unit files");
});

test("fleet is written small at the beginning of a sentence too", () => {
  assert.equal(capitalize("fleet is there"), "fleet is there");
  assert.equal(capitalize("all is well"), "All is well");
  assert.equal(uncapitalize("All is well"), "all is well");
});

test("each verdict has a word and a sentence, and one that is unknown is its own", () => {
  for (const verdict of Object.keys(VERDICTS)) {
    assert.doesNotMatch(verdictWord(verdict), /_|undefined/);
    assert.doesNotMatch(unitsAre(2, verdict), /_|undefined/);
    assert.doesNotMatch(unitsHaveBeen(2, verdict), /_|undefined/);
  }
  assert.equal(verdictWord("new_one"), "new_one");
  assert.match(unitsAre(1, "new_one"), /^1 unit .*new_one$/);
});
