// What can be done next about a unit or a machine: commands to copy, and links. The server sends
// templates, and the commands of the terminal put values into them in the same way. It must not
// know the document.

/**
 * What an action is about.
 * @typedef {object} Subject
 * @property {?string} [unit] the unit's name; none for a machine
 * @property {?string} [machine] the machine's ID; none for a unit on no machine
 * @property {?string} [ip] the machine's address
 * @property {boolean} [isGlobal] whether the unit is a global one
 * @property {boolean} [isLost] whether the machine has left the cluster
 * @property {boolean} [hasFile] whether fleet has the unit file
 */

/**
 * The answer of /v2/actions.
 * @typedef {object} Actions
 * @property {{unit: CommandTemplate[], machine: CommandTemplate[]}} commands
 * @property {{name: string, url: string}[]} links
 * @property {boolean} logs whether the server has the logs of units
 * @property {?string} unit_files how much of unit files it shows, null if none
 */

/** @typedef {{name: string, command: string, when?: string[]}} CommandTemplate */

/** What a command can require of its subject. Any other word, of a newer server, is never so. */
const CONDITIONS = {
  single: ({ isGlobal }) => !isGlobal,
  global: ({ isGlobal }) => Boolean(isGlobal),
  present: ({ machine, isLost }) => machine != null && !isLost,
  lost: ({ machine, isLost }) => machine != null && Boolean(isLost),
  nowhere: ({ machine }) => machine == null,
  file: ({ hasFile }) => Boolean(hasFile),
  no_file: ({ hasFile }) => !hasFile,
};

/** The value of a placeholder; null if it is not known. */
const VALUES = {
  unit: ({ unit }) => unit,
  machine: ({ machine }) => machine,
  ip: ({ ip }) => ip,
  prefix: ({ unit }) => unit && prefixAndInstance(unit)[0],
  instance: ({ unit }) => unit && prefixAndInstance(unit)[1],
};

/** What moves the cursor of a terminal, or ends a line (the Unicode category Cc). */
const CONTROLS = /[\u0000-\u001f\u007f-\u009f]/;

/** @param {import("./row.js").Row} row @returns {Subject} */
export function unitSubject({ source }, machines) {
  const { unit, machine, global, verdict, desired, file_hash } = source;
  const known = machine == null ? null : machines.get(machine);
  return {
    unit,
    machine,
    ip: source.ip ?? known?.ip,
    isGlobal: Boolean(global),
    isLost: verdict === "machine_lost" || known?.lost_since != null,
    hasFile: desired != null || file_hash != null,
  };
}

/** @param {import("./machines.js").Card} card @returns {Subject} */
export const machineSubject = ({ machine, ip, lost_since, isUnknown }) => ({
  machine,
  ip,
  isLost: lost_since != null || Boolean(isUnknown),
});

/**
 * The commands that apply to a subject, the most useful first.
 * @param {Actions} actions @param {Subject} subject
 */
export function commandsFor({ commands }, subject) {
  const templates = (subject.unit == null ? commands?.machine : commands?.unit) ?? [];
  const expanded = templates.map((template) => ({
    name: template.name,
    command: expandCommand(template, subject),
  }));
  return expanded.filter(({ command }) => command != null);
}

/**
 * The links that apply to a subject.
 * @param {Actions} actions @param {Subject} subject
 */
export function linksFor({ links }, subject) {
  const expanded = (links ?? []).map(({ name, url }) => ({ name, url: expandUrl(url, subject) }));
  return expanded.filter(({ url }) => url != null);
}

/**
 * The command for a subject; null if it does not apply to it, if a value is not known, or if a
 * value could mean something else to a shell or a terminal. What is within single quotes is a
 * command for the shell of another machine, which reads the value once more.
 * @param {CommandTemplate} template @param {Subject} subject
 */
export function expandCommand({ command, when = [] }, subject) {
  if (!when.every((condition) => CONDITIONS[condition]?.(subject))) return null;

  let isQuoted = false;
  return expand(command, (name, before, text) => {
    const quotes = text.split("'").length - 1;
    if (quotes % 2 === 1) isQuoted = !isQuoted;

    const value = valueOf(name, subject);
    if (!value || CONTROLS.test(value)) return null;
    const beginsWord = before === "" || /[ ']$/.test(before);
    if (beginsWord && value.startsWith("-")) return null;

    const word = quoted(value);
    return isQuoted ? escapeQuotes(word) : word;
  });
}

/**
 * The URL for a subject; null if a value is not known, or if a value in the host or a part of the
 * path could lead elsewhere.
 */
export function expandUrl(url, subject) {
  const [, scheme, host, rest] = /^(https?:\/\/)([^/?#]*)(.*)$/s.exec(url) ?? [];
  if (!scheme) return null;

  const expandedHost = expand(host, (name) => hostValue(name, subject));
  const expandedRest = expand(rest, (name) => escapeForUrl(valueOf(name, subject)));
  if (expandedHost == null || expandedRest == null || hasDots(expandedRest)) return null;
  return scheme + expandedHost + expandedRest;
}

/**
 * Replaces each placeholder; null if there is a brace without its partner, or no value.
 * @param {(name: string, before: string, text: string) => ?string} value the value that is put in,
 *   by its name, all that comes before it, and the part of the template since the one before
 */
function expand(template, value) {
  let expanded = "";
  // The texts, and between them the names of the placeholders.
  const parts = template.split(/\{([^{}]*)\}/);
  for (let index = 0; index < parts.length; index += 2) {
    const [text, name] = parts.slice(index, index + 2);
    if (/[{}]/.test(text)) return null;
    expanded += text;
    if (name === undefined) break;

    const inserted = value(name, expanded, text);
    if (inserted == null) return null;
    expanded += inserted;
  }
  return expanded;
}

const valueOf = (name, subject) =>
  (Object.hasOwn(VALUES, name) ? VALUES[name](subject) : null) ?? null;

/**
 * The prefix and the instance of a unit's name, as systemd has them (`%p` and `%i`): what is before
 * the first `@`, and what is between it and the suffix.
 */
function prefixAndInstance(unit) {
  const dot = unit.lastIndexOf(".");
  const name = dot < 0 ? unit : unit.slice(0, dot);
  const at = name.indexOf("@");
  return at < 0 ? [name, ""] : [name.slice(0, at), name.slice(at + 1)];
}

const quoted = (value) =>
  /^[A-Za-z0-9.\-_@:]+$/.test(value) ? value : `'${escapeQuotes(value)}'`;

/** A text within single quotes: the quotes are closed, and opened again, for each quote in it. */
const escapeQuotes = (value) => value.replaceAll("'", "'\\''");

/** Escapes all but the unreserved characters (RFC 3986, section 2.3). */
function escapeForUrl(value) {
  if (value == null) return null;
  const escape = (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`;
  return encodeURIComponent(value).replace(/[!'()*]/g, escape);
}

/** A value in the host: an address, or an ID of a machine. */
function hostValue(name, subject) {
  const value = valueOf(name, subject) ?? "";
  if (name === "machine") return /^[A-Za-z0-9]+$/.test(value) ? value : null;
  if (name !== "ip") return null;

  const octet = "(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)";
  if (new RegExp(`^${octet}(?:\\.${octet}){3}$`).test(value)) return value;
  return isIpv6(value) ? `[${value}]` : null;
}

function isIpv6(value) {
  if (!/^[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*$/.test(value)) return false;
  try {
    return Boolean(new URL(`http://[${value}]/`));
  } catch {
    return false;
  }
}

/** Whether a part of the path is `.` or `..`, be it escaped: a browser resolves these. */
function hasDots(rest) {
  const [path] = rest.split(/[?#]/);
  const parts = path.replaceAll(/%2e/gi, ".").split("/");
  return parts.some((part) => part === "." || part === "..");
}
