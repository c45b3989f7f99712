// How the data arrives. The only file that knows: no other sees a URL, a socket or the protocol.
//
// Everything is read from /v2/state. The WebSocket only says that something has changed, and then the state is read again.

const CHECK = 5_000; // between readings while nothing changes, for the ages
const SPACING = 500; // between readings while everything changes
const ANSWER = 10_000; // until a reading is given up
const BACKOFF = { first: 500, most: 15_000 };
const TOKEN = "fleet-monitor-token";

/**
 * Keeps `listener` informed until the page is left:
 * `state(state)` when the state of the cluster is another one, `health(health)` at least every few seconds, and
 * `link({kind, reason})` with the kinds `live` (`polling` tells whether without a WebSocket), `disconnected`, `token`
 * (one is needed; `rejected` tells whether one was wrong) and `refused` (with the server's text).
 */
export function openFeed(listener) {
  let attempt = 0; // counts connections, so that the end of an old one is not taken for the end of the new
  let failures = 0;
  let socket = null;
  let listened = 0; // when a socket was last tried
  let asking = new AbortController();
  let reading = null;
  let again = false;
  let etag = null;
  let lastRead = -Infinity;
  let timer = null;
  let kind = null;
  let skew = 0;

  const link = (next) => {
    kind = next.kind;
    listener.link({ reason: "", ...next });
  };
  const later = (action, delay) => {
    clearTimeout(timer);
    timer = setTimeout(action, delay);
  };

  async function connect() {
    drop();
    const mine = attempt;
    await reading; // that of before, which has been told to end
    if (mine === attempt) await read(mine);
    if (mine === attempt) listen(mine);
  }

  /** Ends whatever is under way. */
  function drop() {
    attempt++;
    clearTimeout(timer);
    again = false;
    asking.abort();
    asking = new AbortController();
    socket?.close();
    socket = null;
  }

  function disconnect(reason) {
    drop();
    link({ kind: "disconnected", reason });
    const longest = Math.min(BACKOFF.most, BACKOFF.first * 2 ** failures++);
    later(connect, longest * (0.5 + Math.random() / 2));
  }

  // Asks for a socket. While there is none, since the server has as many clients as it may have or a proxy lets none
  // through, the state is still read every few seconds.
  function listen(mine) {
    const opening = new WebSocket(socketAddress());
    const patience = setTimeout(() => opening.close(), ANSWER);
    let opened = false;
    socket = opening;
    listened = performance.now();
    opening.onopen = () => {
      if (mine !== attempt) return;
      opened = true;
      failures = 0;
      clearTimeout(patience);
      link({ kind: "live" });
    };
    opening.onmessage = () => mine === attempt && changed(mine);
    opening.onclose = () => {
      clearTimeout(patience);
      if (mine !== attempt) return;
      if (opened) return disconnect("the connection was closed");
      socket = null;
      failures = 0;
      link({ kind: "live", polling: true });
    };
  }

  function changed(mine) {
    if (reading) again = true;
    else later(() => read(mine), Math.max(0, lastRead + SPACING - performance.now()));
  }

  async function read(mine) {
    lastRead = performance.now();
    reading = ask(mine).catch(() => mine === attempt && disconnect("the server cannot be reached"));
    await reading;
    reading = null;
    if (mine !== attempt) return;
    later(() => read(mine), CHECK);
    if (again) {
      again = false;
      changed(mine);
    }
    if (kind === "live" && !socket && performance.now() - listened > BACKOFF.most) listen(mine);
  }

  async function ask(mine) {
    const headers = {};
    const token = sessionStorage.getItem(TOKEN);
    if (token) headers.Authorization = `Bearer ${token}`;
    if (etag) headers["If-None-Match"] = etag;
    const patience = setTimeout(() => mine === attempt && disconnect("no answer"), ANSWER);
    try {
      const sent = Date.now();
      const response = await fetch("/v2/state", { headers, cache: "no-store", signal: asking.signal });
      const received = Date.now();
      if (mine !== attempt) return;
      if (response.status === 401) {
        drop();
        return link({ kind: "token", rejected: token != null });
      }
      if (response.status === 403) return refuse(mine, await explanation(response));
      if (response.status !== 200 && response.status !== 304) {
        return disconnect(`the server answers ${response.status} ${response.statusText}`.trim());
      }
      const state = response.status === 200 ? await response.json() : null;
      if (mine !== attempt) return;
      const health = JSON.parse(response.headers.get("Fleet-Monitor-Status"));
      skew = health.time - (sent + received) / 2;
      if (state) {
        etag = response.headers.get("ETag");
        listener.state(state);
      }
      listener.health(health);
    } finally {
      clearTimeout(patience);
    }
  }

  // Whoever runs the server may let this page in: it is asked again.
  function refuse(mine, reason) {
    if (mine !== attempt) return;
    drop();
    link({ kind: "refused", reason });
    later(connect, BACKOFF.most);
  }

  const hurry = () => {
    if (["disconnected", "refused"].includes(kind) && document.visibilityState === "visible") {
      failures = 0;
      connect();
    }
  };
  document.addEventListener("visibilitychange", hurry);
  addEventListener("online", hurry);
  connect();

  return {
    /** The server's clock, in milliseconds since the epoch. */
    now: () => Date.now() + skew,
    /** Tries again with this token, and keeps it in the tab. */
    offerToken(token) {
      sessionStorage.setItem(TOKEN, token);
      connect();
    },
  };
}

function socketAddress() {
  const address = new URL("/", location.href);
  address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  const token = sessionStorage.getItem(TOKEN);
  if (token) address.searchParams.set("token", token);
  return address;
}

async function explanation(response) {
  const body = await response.text();
  try {
    const answer = JSON.parse(body);
    return answer.error?.message ?? answer.message ?? answer.error ?? body;
  } catch {
    return body;
  }
}
