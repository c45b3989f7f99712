// The input of the filter box and the tabs, and the list of keys: what typing, clicks and keys do
// there. The keys of the table of units are in units.js. index.html lists them all.

import { TABS } from "./address.js";
import { byId } from "./dom.js";

/** @param {(change: object, options?: {replace: boolean}) => void} go */
export function listenToFilter(go) {
  const filter = byId("filter");
  let isTyping = false;

  // A filter that is typed is one entry in the history, not one for each letter.
  filter.addEventListener("input", () => {
    go({ query: filter.value }, { replace: isTyping });
    isTyping = true;
  });
  filter.addEventListener("blur", () => (isTyping = false));

  filter.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && filter.value) {
      go({ query: "" }, { replace: true });
      event.preventDefault();
    } else if (event.key === "Escape" || event.key === "Enter") {
      filter.blur();
    }
  });

  addEventListener("keydown", (event) => {
    if (event.key !== "/" || isTyped(event)) return;
    event.preventDefault();
    filter.focus();
    filter.select();
  });
}

/** Whether a key goes into a field, or may be a command to the browser. */
function isTyped(event) {
  const isInField = event.target.closest?.("input, select, textarea, [contenteditable]");
  return isInField || event.ctrlKey || event.metaKey || event.altKey;
}

/** Listens to the key that writes times in the next format. @param {() => void} next */
export function listenForTimes(next) {
  addEventListener("keydown", (event) => {
    if (event.key === "t" && !isTyped(event)) next();
  });
}

/** Listens to what shows and closes the list of keys. Escape closes it too, without this. */
export function listenForHelp() {
  const keys = byId("keys");
  const toggle = () => (keys.open ? keys.close() : keys.showModal());

  byId("show-keys").addEventListener("click", toggle);
  addEventListener("keydown", (event) => {
    if (event.key !== "?" || isTyped(event)) return;
    event.preventDefault();
    toggle();
  });
}

/**
 * @param {() => string} current the tab that is shown
 * @param {(tab: string) => void} choose
 */
export function listenToTabs(current, choose) {
  for (const tab of TABS) byId(`tab-${tab}`).addEventListener("click", () => choose(tab));

  document.querySelector("[role=tablist]").addEventListener("keydown", (event) => {
    const tab = tabAfter(event.key, current());
    if (!tab) return;
    choose(tab);
    byId(`tab-${tab}`).focus({ preventScroll: true });
    event.preventDefault();
  });
}

/** The tab that a key moves to, or undefined. */
function tabAfter(key, current) {
  const index = TABS.indexOf(current);
  const last = TABS.length - 1;
  switch (key) {
    case "ArrowRight":
      return TABS[index === last ? 0 : index + 1];
    case "ArrowLeft":
      return TABS[index === 0 ? last : index - 1];
    case "Home":
      return TABS[0];
    case "End":
      return TABS[last];
  }
}
