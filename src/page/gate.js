// The gate: what the page shows in place of the cluster while it has none, is asked for a token, or
// is refused.

import { attribute, byId, hide, text } from "./dom.js";
import { GATE, reconnecting } from "./words.js";

/**
 * @param {import("./feed.js").Link} link
 * @param {boolean} isOpen whether the cluster is shown, and not the gate
 */
export function drawGate(link, isOpen) {
  hide(byId("cluster"), !isOpen);
  hide(byId("gate"), isOpen);
  if (isOpen) return;

  const [title, words] = textsOf(link);
  attribute(byId("gate"), "data-kind", link.kind);
  byId("gate").toggleAttribute("data-rejected", Boolean(link.rejected));
  text(byId("gate-title"), title);
  text(byId("gate-text"), words);
  drawForm(link.kind === "token");
}

function textsOf({ kind, reason, rejected }) {
  const [title, words] = GATE[rejected ? "wrongToken" : kind];
  if (kind === "disconnected") return [title, reconnecting(reason)];
  return [title, words ?? reason];
}

function drawForm(isShown) {
  const form = byId("token-form");
  const wasHidden = form.hidden;
  hide(form, !isShown);
  if (isShown && wasHidden) byId("token").focus();
}

/** @param {(token: string) => void} offer */
export function listenForToken(offer) {
  byId("token-form").addEventListener("submit", (event) => {
    event.preventDefault();
    offer(byId("token").value);
    byId("token").value = "";
  });
}
