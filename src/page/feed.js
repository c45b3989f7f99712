// The connection to the server: the second protocol over a WebSocket. While no WebSocket opens, it
// polls /v2/state every few seconds, and turns each answer into messages of the second protocol.
// What is needed only now and then, such as the events or the log of one unit, it requests on
// demand. No other file knows a URL of the server, a socket or a retry.

import { EventStreamDecoder } from "./event-stream.js";
import { DISCONNECTS } from "./words.js";

const PROTOCOL = "fleet-monitor.v2";
// All in milliseconds. The server sends something every 15 s.
const SILENCE_TIMEOUT = 40_000;
const ANSWER_TIMEOUT = 10_000; // of the WebSocket handshake, and of a request
const POLL_INTERVAL = 5_000;
const BATCH = 16; // messages that arrive within this time are delivered together
const MIN_BACKOFF = 500;
const MAX_BACKOFF = 15_000;
// How many logs are read at a time: a browser has six connections to a server, and needs some for
// everything else.
const MAX_LOGS = 4;
const FIRST_LINES = 200;
// The URL of the page's directory. Behind a proxy it may have a path.
const BASE = new URL("./", import.meta.url);
// The key of the token in the storage. It has the path, because monitors below different paths of
// one host share the storage.
const TOKEN = `fleet-monitor-token ${BASE.pathname}`;

/**
 * The state of the connection.
 * @typedef {object} Link
 * @property {"connecting" | "live" | "disconnected" | "token" | "refused"} kind
 * @property {string} reason why it is disconnected or refused, or ""
 * @property {boolean} [polling] whether it is live without a WebSocket
 * @property {boolean} [rejected] whether a token was wrong
 */

/**
 * @typedef {object} Listener
 * @property {(messages: object[]) => void} messages gets messages of the second protocol, in order.
 *   The first call has the whole state, with a `status` at the end.
 * @property {(link: Link) => void} link
 */

/**
 * The state of the connection of a log.
 * @typedef {object} LogLink
 * @property {"connecting" | "live" | "disconnected" | "refused" | "ended" | "crowded"} kind
 * @property {string} [reason] why it is disconnected or refused
 * @property {number} [most] if it is crowded, how many logs can be read at a time
 */

/**
 * @typedef {object} LogListener
 * @property {(messages: object[]) => void} messages gets messages of /v2/logs, in order. After a
 *   lost connection the last lines come again.
 * @property {(link: LogLink) => void} link
 */

/** The connection to the server. It reconnects until the page is closed. */
export class Feed {
  /** @type {Listener} */
  #listener;
  /** Counts connections, so that callbacks of an old one are ignored. */
  #attempt = 0;
  /** Attempts in a row that failed. */
  #failures = 0;
  /** @type {?WebSocket} */
  #socket = null;
  /** When a socket was last opened. */
  #socketTried = 0;
  /** Whether the whole state has arrived over this socket. */
  #isComplete = false;
  /** Messages that have not been delivered to the listener yet. */
  #pending = [];
  #epoch = null;
  /** The last position that was delivered, {epoch, revision}. A new socket resumes from there. */
  #position = null;
  #request = new AbortController();
  #etag = null;
  #timer = null;
  #batchTimer = null;
  #kind = null;
  /**
   * The server's clock at a time of this one, and how fast it runs: that of a recording runs at the
   * speed of the recording.
   */
  #clock = { server: 0, local: 0, rate: 1 };
  /** When something last arrived, by this clock. */
  #received = 0;
  /** @type {Set<LogStream>} those that are open, the oldest first */
  #logs = new Set();
  /** The last answer of /v2/actions, and the attempt to connect for which it was asked. */
  #actions = { attempt: null, answer: Promise.resolve(null) };

  /** @param {Listener} listener */
  constructor(listener) {
    this.#listener = listener;
    document.addEventListener("visibilitychange", () => this.#hurry());
    addEventListener("online", () => this.#hurry());
    this.#connect();
  }

  /** The server's clock, in milliseconds since 1970. */
  now() {
    const { server, local, rate } = this.#clock;
    return server + (Date.now() - local) * rate;
  }

  /** For how many milliseconds nothing has arrived. */
  silence() {
    return Date.now() - this.#received;
  }

  /**
   * The latest events of a unit.
   * @param {?string} machine the ID of its machine
   * @returns {Promise<?import("./histories.js").Answer>} null if the server has no answer: an older
   *   one has none, and neither has one without a history
   */
  async history(unit, machine) {
    const { response, body } = await request("v2/history", { unit, ...(machine && { machine }) });
    return response.ok ? JSON.parse(body) : null;
  }

  /** Where there are events in the recording that is played; null if none is. */
  async replayEvents() {
    const { response, body } = await request("v2/replay");
    return response.ok ? JSON.parse(body) : null;
  }

  /** Changes how the recording is played. Returns whether the server accepts it. */
  async changeReplay(change) {
    const { response } = await request("v2/replay", change, "POST");
    return response.ok;
  }

  /** Connects with this token, and stores it until the tab is closed. */
  offerToken(token) {
    sessionStorage.setItem(TOKEN, token);
    this.#connect();
  }

  /**
   * Reads the log of a unit. If too many are read, the oldest is closed.
   * @param {{unit: string, machine: ?string}} log `machine` is the ID of the only machine whose log
   *   is read
   * @param {LogListener} listener
   * @returns {{close: () => void}}
   */
  openLog(log, listener) {
    if (this.#logs.size >= MAX_LOGS) {
      const [oldest] = this.#logs;
      oldest.end({ kind: "crowded", most: MAX_LOGS });
    }
    const stream = new LogStream(log, listener, () => this.#logs.delete(stream));
    this.#logs.add(stream);
    return stream;
  }

  /**
   * What can be done next; null if the server does not say. It is asked once after each connect.
   * @returns {Promise<?import("./actions.js").Actions>}
   */
  actions() {
    const attempt = this.#attempt;
    if (this.#kind === "live" && this.#actions.attempt !== attempt) {
      const before = this.#actions.answer;
      const answer = fetchActions().catch(() => before);
      this.#actions = { attempt, answer };
    }
    return this.#actions.answer;
  }

  /**
   * The file of a unit, or the reason why there is none.
   * @returns {Promise<{file?: object, reason?: string}>}
   */
  async unitFile(unit) {
    try {
      const { response, body } = await request("v2/unit-file", { unit });
      return response.ok ? { file: JSON.parse(body) } : { reason: reasonIn(response, body) };
    } catch (error) {
      const isLate = error.name === "TimeoutError";
      return { reason: isLate ? DISCONNECTS.unanswered : DISCONNECTS.unreachable };
    }
  }

  #connect() {
    this.#drop();
    this.#open(this.#attempt);
  }

  /** Cancels everything. Messages that were not delivered are lost; the server sends them again. */
  #drop() {
    this.#attempt++;
    clearTimeout(this.#timer);
    clearTimeout(this.#batchTimer);
    this.#batchTimer = null;
    this.#pending = [];
    this.#isComplete = false;
    this.#request.abort();
    this.#request = new AbortController();
    this.#socket?.close();
    this.#socket = null;
  }

  #disconnect(reason) {
    this.#drop();
    this.#report({ kind: "disconnected", reason });

    this.#after(backoff(this.#failures++), () => this.#connect());
  }

  // It tries again, because an operator may let this page in at any time.
  #refuse(link) {
    this.#drop();
    this.#report(link);
    this.#after(MAX_BACKOFF, () => this.#connect());
  }

  #report(link) {
    this.#kind = link.kind;
    this.#listener.link({ reason: "", ...link });
  }

  /** Runs an action after a delay, in place of the one that waits now. */
  #after(delay, action) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(action, delay);
  }

  /** Reconnects at once when a user looks at the page, or the computer is online again. */
  #hurry() {
    // No timer runs while a computer sleeps, so a dead connection may still count as live.
    const isDead = this.#kind === "live" && this.silence() > SILENCE_TIMEOUT;
    const isWaiting = ["disconnected", "token", "refused"].includes(this.#kind);
    if ((isDead || isWaiting) && document.visibilityState === "visible") {
      this.#failures = 0;
      this.#connect();
    }
  }

  // --- with a WebSocket

  #open(attempt) {
    const socket = new WebSocket(socketAddress(this.#position), PROTOCOL);
    const isCurrent = () => attempt === this.#attempt;
    let wasOpen = false;

    this.#socket = socket;
    this.#socketTried = Date.now();
    this.#after(ANSWER_TIMEOUT, () => socket.close());

    socket.onopen = () => {
      if (!isCurrent()) return;
      wasOpen = true;
      this.#noteReceived();
    };
    socket.onmessage = ({ data }) => {
      if (!isCurrent()) return;
      this.#noteReceived();
      this.#receive(JSON.parse(data));
    };
    socket.onclose = () => {
      if (!isCurrent()) return;
      this.#socket = null;
      if (wasOpen) this.#disconnect(DISCONNECTS.closed);
      else this.#poll(attempt);
    };
  }

  #noteReceived() {
    this.#received = Date.now();
    this.#after(SILENCE_TIMEOUT, () => this.#disconnect(DISCONNECTS.silent));
  }

  // Until the whole state has arrived, nothing is delivered. After that, messages that arrive
  // within BATCH are delivered together.
  #receive(message) {
    this.#pending.push(message);
    if (this.#isComplete) {
      this.#batchTimer ??= setTimeout(() => this.#deliver(), BATCH);
      return;
    }

    // The messages after a connect end with a status. A status with an older revision is one of the
    // missed messages that are sent again.
    const isEnd = message.type === "status" && message.revision >= this.#pending[0].revision;
    if (!isEnd) return;
    this.#isComplete = true;
    this.#failures = 0;
    this.#etag = null;
    this.#deliver();
    this.#report({ kind: "live" });
  }

  #deliver() {
    clearTimeout(this.#batchTimer);
    this.#batchTimer = null;
    const messages = this.#pending;
    this.#pending = [];

    for (const { type, revision, ...message } of messages) {
      if (type === "hello") this.#epoch = message.epoch;
      else if (type === "resync") this.#position = null;
      else if (type !== "snapshot") this.#position = { epoch: this.#epoch, revision };
      if (type === "status") this.#setClock(message.health);
    }
    this.#listener.messages(messages);
  }

  #setClock({ time, replay }) {
    this.#clock = { server: time, local: this.#received, rate: replay?.clock ? replay.rate : 1 };
  }

  // --- without a WebSocket

  // A browser does not say why a socket does not open, but the answer to this request does. If the
  // server has too many clients, or a proxy lets no WebSocket through, the page goes on polling.
  async #poll(attempt) {
    this.#after(ANSWER_TIMEOUT, () => this.#disconnect(DISCONNECTS.unanswered));
    const hadToken = sessionStorage.getItem(TOKEN) != null;
    const answer = await this.#fetchState().catch(() => null);
    if (attempt !== this.#attempt) return;
    if (!answer) return this.#disconnect(DISCONNECTS.unreachable);

    const { response, body } = answer;
    switch (response.status) {
      case 200:
      case 304:
        return this.#polled(attempt, response, body);
      case 401:
        return this.#refuse({ kind: "token", rejected: hadToken });
      case 403:
        return this.#refuse({ kind: "refused", reason: reasonIn(response, body) });
      default:
        this.#disconnect(DISCONNECTS.status(response.status, response.statusText));
    }
  }

  async #fetchState() {
    const headers = authorization();
    if (this.#etag) headers["If-None-Match"] = this.#etag;

    const { signal } = this.#request;
    const response = await fetch(new URL("v2/state", BASE), { headers, cache: "no-store", signal });
    return { response, body: await response.text() };
  }

  #polled(attempt, response, body) {
    this.#received = Date.now();
    this.#failures = 0;
    this.#etag = response.headers.get("ETag");

    if (response.status === 200) this.#pending = asMessages(JSON.parse(body));
    const { revision } = this.#pending[0] ?? this.#position;
    const health = JSON.parse(response.headers.get("Fleet-Monitor-Status"));
    this.#pending.push({ type: "status", revision, health });
    this.#deliver();
    this.#report({ kind: "live", polling: true });

    this.#after(POLL_INTERVAL, () => {
      const isSocketDue = Date.now() - this.#socketTried > MAX_BACKOFF;
      if (isSocketDue) this.#open(attempt);
      else this.#poll(attempt);
    });
  }
}

/** The log of a unit, until it is closed. It reconnects. */
class LogStream {
  /** Attempts in a row that failed. */
  #failures = 0;
  /** Whether something has arrived. */
  #hasBegun = false;
  #request = new AbortController();
  #timer = null;

  /** @param {LogListener} listener @param {() => void} closed called when nothing follows */
  constructor(log, listener, closed) {
    Object.assign(this, { log, listener, closed });
    this.#connect();
  }

  close() {
    clearTimeout(this.#timer);
    this.#request.abort();
    this.#request = null;
    this.closed();
  }

  /** Closes it for another reason than that nobody reads it any more. */
  end(link) {
    this.close();
    this.listener.link(link);
  }

  async #connect() {
    const request = new AbortController();
    this.#request = request;
    this.listener.link({ kind: "connecting" });

    let reason = DISCONNECTS.closed;
    try {
      await this.#read(request);
    } catch (error) {
      // What a request is aborted with is a reason.
      reason = typeof error === "string" ? error : reasonOf(error);
    }
    if (this.#request !== request) return;

    clearTimeout(this.#timer);
    request.abort();
    this.listener.link({ kind: "disconnected", reason });
    this.#timer = setTimeout(() => this.#connect(), backoff(this.#failures++));
  }

  async #read(request) {
    this.#abortAfter(ANSWER_TIMEOUT, request, DISCONNECTS.unanswered);
    const { signal } = request;
    const headers = authorization();
    const response = await fetch(logAddress(this.log), { headers, cache: "no-store", signal });
    if (response.status !== 200) return this.#refuse(request, response);

    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    const decoder = new EventStreamDecoder();
    this.listener.link({ kind: "live" });
    while (true) {
      this.#abortAfter(SILENCE_TIMEOUT, request, DISCONNECTS.silent);
      const { value, done } = await reader.read();
      if (done || this.#request !== request) return;
      this.#receive(decoder.decode(value).map(parseLogMessage));
    }
  }

  #receive(messages) {
    if (!messages.length) return;
    this.#hasBegun = true;
    this.#failures = 0;
    this.listener.messages(messages);
    if (messages.some(({ type }) => type === "end")) this.end({ kind: "ended" });
  }

  // A server that has just been restarted may not know the unit yet, so only the first answer is
  // final.
  async #refuse(request, response) {
    const body = await response.text();
    const isFinal = !this.#hasBegun && [400, 401, 403, 404].includes(response.status);
    const reason = reasonIn(response, body);
    if (!isFinal) throw reason;
    if (this.#request === request) this.end({ kind: "refused", reason });
  }

  #abortAfter(delay, request, reason) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => request.abort(reason), delay);
  }
}

/** The headers with the token, if there is one. */
function authorization() {
  const token = sessionStorage.getItem(TOKEN);
  return token ? { Authorization: `Bearer ${token}` } : {};
}

/** The time until the next attempt after so many that failed. */
function backoff(failures) {
  const longest = Math.min(MAX_BACKOFF, MIN_BACKOFF * 2 ** failures);
  return longest * (0.5 + Math.random() / 2);
}

function parseLogMessage(data) {
  const message = JSON.parse(data);
  if (typeof message?.type !== "string") throw new SyntaxError("no message");
  return message;
}

const reasonOf = (error) =>
  error instanceof SyntaxError ? DISCONNECTS.invalid : DISCONNECTS.unreachable;

function logAddress({ unit, machine }) {
  const address = new URL("v2/logs", BASE);
  const query = { unit, lines: FIRST_LINES, follow: "yes", ...(machine ? { machine } : {}) };
  address.search = new URLSearchParams(query);
  return address;
}

/** An older server has no actions. */
async function fetchActions() {
  const { response, body } = await request("v2/actions");
  return response.ok ? JSON.parse(body) : null;
}

/** Requests a resource once. */
async function request(path, query = {}, method = "GET") {
  const url = new URL(path, BASE);
  url.search = new URLSearchParams(query);
  const headers = authorization();

  const signal = AbortSignal.timeout(ANSWER_TIMEOUT);
  const response = await fetch(url, { method, headers, cache: "no-store", signal });
  return { response, body: await response.text() };
}

/** @param {?{epoch: string, revision: number}} position */
function socketAddress(position) {
  const address = new URL(BASE);
  address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  const token = sessionStorage.getItem(TOKEN);
  if (token) address.searchParams.set("token", token);
  for (const [name, value] of Object.entries(position ?? {})) {
    address.searchParams.set(name, value);
  }
  return address;
}

/** The answer of /v2/state as messages of the second protocol. */
const asMessages = ({ epoch, revision, software, units, machines, problems, transitions }) => [
  { type: "hello", revision, epoch, software },
  { type: "snapshot", topic: "units", revision, rows: units },
  { type: "snapshot", topic: "machines", revision, rows: machines },
  { type: "snapshot", topic: "problems", revision, rows: problems },
  { type: "snapshot", topic: "events", revision, rows: transitions.reverse() },
];

/** The message in the body of an error. */
function explanation(body) {
  try {
    const answer = JSON.parse(body);
    return answer.error?.message ?? answer.message ?? answer.error ?? body;
  } catch {
    // The page of a proxy is no sentence.
    return body.trimStart().startsWith("<") ? "" : body;
  }
}

/** Why a request was refused. */
const reasonIn = (response, body) =>
  explanation(body) || DISCONNECTS.status(response.status, response.statusText);
