// How the data arrives. The only file that knows: no other sees a URL, a socket or the protocol.
//
// Everything is read from /v2/state. The WebSocket only says that something has changed, and then the state is read again.

const CHECK = 5_000; // between readings while nothing changes, for the ages
const SPACING = 500; // between readings while everything changes
const ANSWER = 10_000; // until a reading is given up
const BACKOFF = { first: 500, most: 15_000 };
const CLOCK_JUMP = 1_000;
const TOKEN = "fleet-monitor-token";

/**
 * Keeps `listener` informed until the page is left:
 * `state(state)` when the state of the cluster is another one, `health(health)` at least every few seconds, and
 * `link({kind, reason})` with the kinds `connecting`, `live`, `disconnected`, `token` (one is needed; `rejected`
 * tells whether one was wrong) and `refused` (with the server's text).
 */
export function openFeed(listener) {
  let attempt = 0; // counts connections, so that the end of an old one is not taken for the end of the new
  let failures = 0;
  let socket = null;
  let asking = new AbortController();
  let reading = false;
  let again = false;
  let etag = null;
  let lastRead = -Infinity;
  let timer = null;
  let kind = null;
  const clock = { skew: 0, drift: null };
  let healthAt = Date.now();

  const link = (next, reason = "", rejected = false) => {
    kind = next;
    listener.link({ kind, reason, rejected });
  };
  const later = (action, delay) => {
    clearTimeout(timer);
    timer = setTimeout(action, delay);
  };

  async function connect() {
    const mine = ++attempt;
    clearTimeout(timer);
    if (kind !== "disconnected") link("connecting");
    again = false;
    await read(mine);
    if (mine !== attempt) return;
    socket = new WebSocket(socketAddress());
    socket.onopen = () => {
      if (mine !== attempt) return;
      failures = 0;
      link("live");
      later(() => read(mine), CHECK);
    };
    socket.onmessage = () => mine === attempt && changed(mine);
    socket.onclose = () => mine === attempt && disconnect("the connection was closed");
    later(() => mine === attempt && disconnect("no answer"), ANSWER);
  }

  function disconnect(reason) {
    attempt++;
    drop();
    link("disconnected", reason);
    const longest = Math.min(BACKOFF.most, BACKOFF.first * 2 ** failures++);
    later(connect, longest * (0.5 + Math.random() / 2));
  }

  function stop(next, reason, rejected) {
    attempt++;
    drop();
    clearTimeout(timer);
    link(next, reason, rejected);
  }

  function drop() {
    asking.abort();
    asking = new AbortController();
    socket?.close();
    socket = null;
  }

  function changed(mine) {
    if (reading) again = true;
    else later(() => read(mine), Math.max(0, lastRead + SPACING - performance.now()));
  }

  async function read(mine) {
    if (reading) return;
    reading = true;
    lastRead = performance.now();
    try {
      await ask(mine);
    } catch (error) {
      if (mine === attempt) disconnect(error.name === "TimeoutError" ? "no answer" : "the server cannot be reached");
    } finally {
      reading = false;
    }
    if (mine !== attempt || !socket) return;
    if (again) {
      again = false;
      changed(mine);
    } else {
      later(() => read(mine), CHECK);
    }
  }

  async function ask(mine) {
    const headers = {};
    const token = sessionStorage.getItem(TOKEN);
    if (token) headers.Authorization = `Bearer ${token}`;
    if (etag && !clockJumped()) headers["If-None-Match"] = etag;
    const signal = AbortSignal.any([asking.signal, AbortSignal.timeout(ANSWER)]);
    const sent = Date.now();
    const response = await fetch("/v2/state", { headers, cache: "no-store", signal });
    const received = Date.now();
    if (mine !== attempt) return;
    if (response.status === 401) return stop("token", "", token != null);
    if (response.status === 403) return stop("refused", await explanation(response));
    if (response.status !== 200 && response.status !== 304) {
      return disconnect(`the server answers ${response.status} ${response.statusText}`.trim());
    }
    if (response.status === 200) {
      const state = await response.json();
      if (mine !== attempt) return;
      etag = response.headers.get("ETag");
      clock.skew = state.time - (sent + received) / 2;
      clock.drift = Date.now() - performance.now();
      healthAt = received;
      listener.state(state);
    }
    const status = response.headers.get("Fleet-Monitor-Status");
    if (status) {
      healthAt = received;
      listener.health(JSON.parse(status));
    }
  }

  // The viewer's clock was set, or the machine slept: the server's time has to be read anew.
  const clockJumped = () => Math.abs(Date.now() - performance.now() - clock.drift) > CLOCK_JUMP;

  const hurry = () => {
    if (kind === "disconnected" && document.visibilityState === "visible") {
      failures = 0;
      connect();
    }
  };
  document.addEventListener("visibilitychange", hurry);
  addEventListener("online", hurry);
  connect();

  return {
    /** The server's clock, in milliseconds since the epoch. */
    now: () => Date.now() + clock.skew,
    /** Milliseconds since the last health: what its ages have grown by. */
    sinceHealth: () => Math.max(0, Date.now() - healthAt),
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
