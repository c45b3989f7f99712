// Server-sent events, however their bytes are split.

import assert from "node:assert/strict";
import { test } from "node:test";

import { EventStreamDecoder } from "../../src/page/event-stream.js";

const STREAM = 'retry: 2000\n\ndata: {"a":1}\n\n: a comment\n\r\ndata: ä: b\r\n\r\ndata: c\ndata:d\n\n';
const EXPECTED = ['{"a":1}', "ä: b", "c\nd"];

test("events are decoded however the text is split", () => {
  for (let size = 1; size < STREAM.length; size++) {
    const decoder = new EventStreamDecoder();
    const events = [];
    for (let start = 0; start < STREAM.length; start += size) {
      events.push(...decoder.decode(STREAM.slice(start, start + size)));
    }
    assert.deepEqual(events, EXPECTED, `pieces of ${size}`);
  }
});

test("an event without its end waits", () => {
  const decoder = new EventStreamDecoder();
  assert.deepEqual(decoder.decode("data: a\n"), []);
  assert.deepEqual(decoder.decode("\n"), ["a"]);
});

test("an event that does not end is an error", () => {
  for (const piece of ["data: a\n", "a"]) {
    const decoder = new EventStreamDecoder();
    assert.throws(() => {
      for (let count = 0; count < 100; count++) decoder.decode(piece.repeat(20_000));
    }, SyntaxError);
  }
});
