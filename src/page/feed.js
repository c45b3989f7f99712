// How the data arrives. The only file that knows: no other sees a URL, a socket or how a connection is taken up again.
//
// The second protocol over a WebSocket, or, while there is none, /v2/state every few seconds, turned into its messages.

const PROTOCOL = "fleet-monitor.v2";
const SILENCE = 40_000; // until a socket on which nothing comes is given up: something comes every 15 s
const ANSWER = 10_000; // until a socket that does not open, or a reading that is not answered, is
const POLL = 5_000; // between readings while there is no socket
const TICK = 16; // in which messages are gathered
const BACKOFF = { first: 500, most: 15_000 };
const BASE = new URL("./", import.meta.url); // where this file is, which may be below a path of a proxy
const TOKEN = `fleet-monitor-token ${BASE.pathname}`; // monitors below several paths have one storage

/**
 * Keeps `listener` informed until the page is left:
 * `messages(messages)` with those of the second protocol, in order: the first have all that is known, with a `status`
 * at the end; and `link({kind, reason})` with the kinds `live` (`polling` tells whether without a WebSocket),
 * `disconnected`, `token` (one is needed; `rejected` tells whether one was wrong) and `refused` (with the server's text).
 */
export function openFeed(listener) {
  let attempt = 0; // counts connections, so that the end of an old one is not taken for the end of the new
  let failures = 0;
  let socket = null;
  let sought = 0; // when a socket was last tried
  let complete = false; // whether on this socket all that there was at the beginning has come
  let pending = []; // messages that the listener does not have yet
  let epoch = null;
  let point = null; // what the listener has, as {epoch, revision}: from there on it goes on
  let asking = new AbortController();
  let etag = null;
  let timer = null;
  let tick = null;
  let kind = null;
  let skew = 0;
  let heard = 0;

  const link = (next) => {
    kind = next.kind;
    listener.link({ reason: "", ...next });
  };
  const later = (action, delay) => {
    clearTimeout(timer);
    timer = setTimeout(action, delay);
  };

  function connect() {
    drop();
    listen(attempt);
  }

  /** Ends whatever is under way. What the listener does not have yet will be sent again. */
  function drop() {
    attempt++;
    clearTimeout(timer);
    clearTimeout(tick);
    tick = null;
    pending = [];
    complete = false;
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

  function listen(mine) {
    const opening = new WebSocket(socketAddress(point), PROTOCOL);
    let opened = false;
    socket = opening;
    sought = Date.now();
    later(() => opening.close(), ANSWER);
    const hear = () => {
      heard = Date.now();
      later(() => disconnect("nothing has come for too long"), SILENCE);
    };
    opening.onopen = () => {
      if (mine !== attempt) return;
      opened = true;
      hear();
    };
    opening.onmessage = ({ data }) => {
      if (mine !== attempt) return;
      hear();
      receive(JSON.parse(data));
    };
    opening.onclose = () => {
      if (mine !== attempt) return;
      socket = null;
      if (opened) disconnect("the connection was closed");
      else ask(mine);
    };
  }

  // The listener gets what there was at the beginning all at once, and later what comes in one tick together.
  function receive(message) {
    pending.push(message);
    if (complete) {
      tick ??= setTimeout(deliver, TICK);
    } else if (message.type === "status" && message.revision >= pending[0].revision) {
      complete = true; // an older one is among what was missed
      failures = 0;
      etag = null;
      deliver();
      link({ kind: "live" });
    }
  }

  function deliver() {
    clearTimeout(tick);
    tick = null;
    const messages = pending;
    pending = [];
    for (const { type, revision, ...message } of messages) {
      if (type === "hello") epoch = message.epoch;
      else if (type === "resync") point = null;
      else if (type !== "snapshot") point = { epoch, revision };
      if (type === "status") skew = message.health.time - heard;
    }
    listener.messages(messages);
  }

  // A browser does not say why a socket does not open, so it is asked here. If the server has as many clients as it may
  // have, or a proxy lets no socket through, this goes on as long as there is none.
  async function ask(mine) {
    later(() => disconnect("no answer"), ANSWER);
    const token = sessionStorage.getItem(TOKEN);
    const answer = await read(token).catch(() => null);
    if (mine !== attempt) return;
    if (!answer) return disconnect("the server cannot be reached");
    const { response, body } = answer;
    if (response.status === 401) {
      drop();
      return link({ kind: "token", rejected: token != null });
    }
    if (response.status === 403) return refuse(explanation(body));
    if (response.status !== 200 && response.status !== 304) {
      return disconnect(`the server answers ${response.status} ${response.statusText}`.trim());
    }
    heard = Date.now();
    failures = 0;
    etag = response.headers.get("ETag");
    if (response.status === 200) pending = asMessages(JSON.parse(body));
    const { revision } = pending[0] ?? point;
    pending.push({ type: "status", revision, health: JSON.parse(response.headers.get("Fleet-Monitor-Status")) });
    deliver();
    link({ kind: "live", polling: true });
    later(() => (Date.now() - sought > BACKOFF.most ? listen(mine) : ask(mine)), POLL);
  }

  async function read(token) {
    const headers = {};
    if (token) headers.Authorization = `Bearer ${token}`;
    if (etag) headers["If-None-Match"] = etag;
    const response = await fetch(new URL("v2/state", BASE), { headers, cache: "no-store", signal: asking.signal });
    return { response, body: await response.text() };
  }

  // Whoever runs the server may let this page in: it is asked again.
  function refuse(reason) {
    drop();
    link({ kind: "refused", reason });
    later(connect, BACKOFF.most);
  }

  // A line that has been silent for too long is dead, though no timer ran while the machine slept.
  const hurry = () => {
    const dead = kind === "live" && Date.now() - heard > SILENCE;
    if ((dead || ["disconnected", "refused"].includes(kind)) && document.visibilityState === "visible") {
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
    /** For how many milliseconds nothing has been heard of the server. */
    silence: () => Date.now() - heard,
    /** Tries again with this token, and keeps it in the tab. */
    offerToken(token) {
      sessionStorage.setItem(TOKEN, token);
      connect();
    },
  };
}

function socketAddress(point) {
  const address = new URL(BASE);
  address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  const token = sessionStorage.getItem(TOKEN);
  if (token) address.searchParams.set("token", token);
  for (const [name, value] of Object.entries(point ?? {})) address.searchParams.set(name, value);
  return address;
}

const asMessages = ({ epoch, revision, software, units, machines, transitions }) => [
  { type: "hello", revision, epoch, software },
  { type: "snapshot", topic: "units", revision, rows: units },
  { type: "snapshot", topic: "machines", revision, rows: machines },
  { type: "snapshot", topic: "events", revision, rows: transitions.reverse() },
];

function explanation(body) {
  try {
    const answer = JSON.parse(body);
    return answer.error?.message ?? answer.message ?? answer.error ?? body;
  } catch {
    return body;
  }
}
