// Buttons that copy the text of an element.

import { button, text } from "./dom.js";
import { COPY } from "./words.js";

/** How long a button says that it has copied, in milliseconds. */
const COPIED = 2_000;

/**
 * A button that copies the text of an element.
 * @param {HTMLElement} shown
 * @param {{name: string, announce: (words: string) => void}} about `name` is what is copied, for
 *   screen readers
 */
export function copyButton(shown, { name, announce }) {
  const attributes = { class: "quiet copy", "aria-label": COPY.copyOf(name) };
  const node = button(attributes, COPY.copy);
  let timer = null;

  node.addEventListener("click", async () => {
    const words = (await copyText(shown)) ? COPY.copied : COPY.selected;
    text(node, words);
    announce(COPY.announced(name, words));

    clearTimeout(timer);
    timer = setTimeout(() => text(node, COPY.copy), COPIED);
  });
  return node;
}

/**
 * Copies the text of an element. Over plain http to another host there is no clipboard API, so the
 * older way is tried too. If that fails as well, the text stays selected, to be copied by hand.
 * @param {HTMLElement} node
 * @returns {Promise<boolean>} whether it was copied
 */
async function copyText(node) {
  try {
    await navigator.clipboard.writeText(node.textContent);
    return true;
  } catch {
    return copySelected(node);
  }
}

function copySelected(node) {
  const selection = getSelection();
  selection.selectAllChildren(node);
  const isCopied = document.execCommand("copy");
  if (isCopied) selection.removeAllRanges();
  return isCopied;
}
