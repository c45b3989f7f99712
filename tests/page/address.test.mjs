// What the page shows, as its address.

import assert from "node:assert/strict";
import { test } from "node:test";

import { formatAddress, parseAddress } from "../../src/page/address.js";

test("an address without fields is the table of units, the worst first", () => {
  const view = {
    tab: "units",
    query: "",
    sort: "verdict",
    open: new Set(),
    muted: new Set(),
    times: null,
  };
  for (const hash of ["", "#", "#tab=nonsense", "#times=nonsense"]) assert.deepEqual(parseAddress(hash), view);
  assert.equal(formatAddress(view), "#tab=units");
});

test("an address leads to the view that it was made of", () => {
  const views = [
    {
      tab: "machines",
      query: "a+b c&d=e #100%",
      sort: "-since",
      open: new Set(),
      muted: new Set(["failed/web.service/3f1a", "failed/web@.service/*", "source_failing/"]),
      times: "utc",
    },
    {
      tab: "units",
      query: "",
      sort: "unit",
      open: new Set(["db@1:x.service/3f1a", "a.service/*"]),
      muted: new Set(),
      times: null,
    },
  ];
  for (const view of views) assert.deepEqual(parseAddress(formatAddress(view)), view);
});

test("an address stays readable", () => {
  const open = new Set(["web@1.service/3f1a"]);
  const muted = new Set(["failed/web@.service/*"]);
  const query = "state:failed machine:10.0.0.1";
  assert.equal(
    formatAddress({ tab: "units", query, sort: "-since", open, muted, times: "local" }),
    "#tab=units&q=state:failed+machine:10.0.0.1&sort=-since&open=web@1.service/3f1a" +
      "&muted=failed/web@.service/*&times=local",
  );
});
