// Copies the text of an element.

/**
 * Copies the text of an element. Over plain http to another host there is no clipboard API, so the
 * older way is tried too. If that fails as well, the text stays selected, to be copied by hand.
 * @param {HTMLElement} node
 * @returns {Promise<boolean>} whether it was copied
 */
export async function copyText(node) {
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
