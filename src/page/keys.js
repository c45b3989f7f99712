// The input of the filter box and the tabs: what typing, clicks and keys do there.

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
    const isWriting = event.target.closest?.("input, textarea, [contenteditable]");
    const hasModifier = event.ctrlKey || event.metaKey || event.altKey;
    if (event.key !== "/" || isWriting || hasModifier) return;
    event.preventDefault();
    filter.focus();
    filter.select();
  });
}

/**
 * @param {() => string} current the tab that is shown
 * @param {(change: object) => void} go
 */
export function listenToTabs(current, go) {
  for (const tab of TABS) byId(`tab-${tab}`).addEventListener("click", () => go({ tab }));

  document.querySelector("[role=tablist]").addEventListener("keydown", (event) => {
    const tab = tabAfter(event.key, current());
    if (!tab) return;
    go({ tab });
    byId(`tab-${tab}`).focus();
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
