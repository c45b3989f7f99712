// The files of the page as a whole.

import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";

const PAGE = new URL("../../src/page/", import.meta.url);
const read = (file) => readFileSync(new URL(file, PAGE), "utf8");
const files = readdirSync(PAGE).filter((file) => file !== "package.json");
const modules = files.filter((file) => file.endsWith(".js"));

/** The modules that compute what is shown. All others may know the document. */
const PURE = [
  "actions.js",
  "address.js",
  "announcement.js",
  "badge.js",
  "cluster.js",
  "event-stream.js",
  "filter.js",
  "headline.js",
  "health.js",
  "held-order.js",
  "histories.js",
  "last-hour.js",
  "lines.js",
  "links.js",
  "log-lines.js",
  "machines.js",
  "notices.js",
  "problem-changes.js",
  "problems.js",
  "row.js",
  "sorting.js",
  "times.js",
  "transitions.js",
  "verdicts.js",
  "words.js",
];

const importsOf = (module) =>
  [...read(module).matchAll(/from "\.\/(.+?)";/g)].map(([, imported]) => imported);

test("pure modules know no document, and import only each other", () => {
  const names = "document|window|location|history|localStorage|sessionStorage|fetch|WebSocket|node";
  const browser = new RegExp(`\\b(${names})\\.`);
  for (const module of PURE) {
    const code = read(module).replaceAll(/\/\*.*?\*\/|\/\/.*?$/gms, "");
    assert.doesNotMatch(code, browser, module);
    for (const imported of importsOf(module)) {
      assert.ok(PURE.includes(imported), `${module} imports ${imported}`);
    }
  }
});

test("the server has each file of the page", () => {
  const server = readFileSync(new URL("../server/page.rs", PAGE), "utf8");
  for (const file of files) {
    const path = file === "index.html" ? "/" : `/${file}`;
    assert.ok(server.includes(`include_bytes!("../page/${file}")`), file);
    assert.ok(server.includes(`("${path}", `), path);
  }
});

test("index.html loads each module and each style sheet but that of the plain page", () => {
  const html = read("index.html");
  for (const file of files.filter((file) => !["index.html", "plain.css"].includes(file))) {
    assert.match(html, new RegExp(`(src|href)="${file}"`), file);
  }
});

test("without scripts index.html claims no connection and leads to the plain page", () => {
  const html = read("index.html");
  for (const id of ["link", "gate-title", "gate-text"]) {
    assert.match(html, new RegExp(`id="${id}"[^>]*></`), id);
  }
  const [head] = html.split("</head>");
  assert.match(head, /<noscript><meta http-equiv="refresh" content="0;url=plain"><\/noscript>/);
});

test("each module is imported, and no import is unused", () => {
  const imported = new Set(["app.js", ...modules.flatMap(importsOf)]);
  for (const module of modules) {
    assert.ok(imported.has(module), module);
    const code = read(module);
    for (const [statement, list] of code.matchAll(/^import \{([^}]*)\} from .*;$/gm)) {
      const rest = code.replace(statement, "");
      for (const name of list.match(/\w+/g)) {
        assert.match(rest, new RegExp(`\\b${name}\\b`), `${module} does not use ${name}`);
      }
    }
  }
});

test("the list of keys has each key that the page listens to", () => {
  const signs = {
    "←": "ArrowLeft",
    "→": "ArrowRight",
    "↑": "ArrowUp",
    "↓": "ArrowDown",
    Esc: "Escape",
    PgDn: "PageDown",
    PgUp: "PageUp",
    Space: " ",
  };
  const [list] = read("index.html").match(/<dialog id="keys".*?<\/dialog>/s);
  const listed = [...list.matchAll(/<kbd>(.*?)<\/kbd>/g)].map(([, sign]) => signs[sign] ?? sign);

  const code = modules.map(read).join("\n");
  const names = /\b(?:Arrow(?:Down|Left|Right|Up)|Page(?:Down|Up)|Home|End|Enter|Escape)\b/g;
  const compared = [...code.matchAll(/\bkey [!=]== "(.)"/g)].map(([, key]) => key);
  const handled = [...code.replaceAll(/\/\*.*?\*\/|\/\/.*?$/gms, "").match(names), ...compared];
  assert.deepEqual(new Set(listed), new Set(handled));
});

test("times are written in one place", () => {
  const writers = modules.filter((module) => read(module).includes("new Date("));
  assert.deepEqual(writers, ["time-elements.js", "times.js"]);
  for (const module of modules.filter((module) => read(module).includes('element("time"'))) {
    assert.match(read(module), /\bset(Fixed)?Time\(/, module);
  }
});

test("each text of words.js is used", () => {
  const others = modules.filter((module) => module !== "words.js");
  const code = others.map(read).join("\n");
  // Their texts are chosen by a name that is computed.
  const chosen = ["AGES", "COLUMN_TITLES", "GATE", "PROBLEMS", "TIMES"];
  for (const [, group, body] of read("words.js").matchAll(
    /^export const (\w+) = \{$(.*?)^\};$/gms,
  )) {
    if (chosen.includes(group)) continue;
    for (const [, name] of body.matchAll(/^  (\w+):/gm)) {
      const isUsed = code.includes(`${group}.${name}`) || code.includes(`${group}[kind]`);
      assert.ok(isUsed, `${group}.${name}`);
    }
  }
});

test("lines have at most 100 columns", () => {
  const sources = files.map((file) => [file, read(file)]);
  for (const [file, text] of sources) {
    const long = text.split("\n").filter((line) => line.length > 100);
    assert.deepEqual(long, [], file);
  }
});
