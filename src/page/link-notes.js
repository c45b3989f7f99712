// The notes above the table about links to units that are not where the links say.

import { button, element, hide } from "./dom.js";
import { missingUnits, withoutUnit } from "./links.js";
import { isGroupKey, unitOfKey } from "./row.js";
import { TABLE } from "./words.js";

/**
 * @param {HTMLElement} notes the element for them
 * @param {?import("./address.js").PageState} view null while it is not known which units there are
 * @param {import("./cluster.js").Cluster} cluster
 * @param {import("./units.js").UnitTable} table
 */
export function drawLinkNotes(notes, view, cluster, { detail, actions }) {
  const missing = view ? missingUnits(view.open, cluster) : [];
  const isOpenGroup = ([key, machine]) => machine && isGroupKey(key) && view.open.has(key);
  // The details of a row have this note themselves, but a group has no details.
  const moved = view ? [...detail.moved].filter(isOpenGroup) : [];

  const signature = JSON.stringify([missing, moved]);
  if (notes.signature === signature) return;
  notes.signature = signature;

  const dismiss = (unit) => () =>
    actions.go({ open: withoutUnit(actions.view().open, unit) }, { replace: true });
  notes.replaceChildren(
    ...missing.map((unit) => {
      const attributes = { class: "quiet", onclick: dismiss(unit) };
      return note("missing", TABLE.missing(unit), button(attributes, TABLE.dismiss));
    }),
    ...moved.map(([key, machine]) =>
      note("moved", TABLE.noLongerOn(unitOfKey(key), detail.machineOf(machine))),
    ),
  );
  hide(notes, !missing.length && !moved.length);
}

const note = (kind, words, ...others) =>
  element("p", { "data-note": kind }, element("span", {}, words), ...others);
