// What a viewer has chosen, kept in his browser for this page. It must not know what is chosen.

// Monitors below different paths of one host share the storage.
const PATH = new URL("./", import.meta.url).pathname;

const keyOf = (name) => `fleet-monitor-${name} ${PATH}`;

/** The text that is kept, or null. */
export function recall(name) {
  try {
    return localStorage.getItem(keyOf(name));
  } catch {
    // A browser may keep nothing at all.
    return null;
  }
}

/** Keeps a text, or with null no text any more. */
export function remember(name, text) {
  try {
    if (text == null) localStorage.removeItem(keyOf(name));
    else localStorage.setItem(keyOf(name), text);
  } catch {
    // It is known until the page is closed.
  }
}

/** Calls a listener when another tab has changed what is kept. */
export function listenToStorage(name, listener) {
  addEventListener("storage", ({ key }) => {
    if (key === keyOf(name)) listener();
  });
}
