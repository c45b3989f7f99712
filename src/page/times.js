// Times as text: how long ago they were, and when that was, in the viewer's time zone or in UTC.
// All times on the page pass here. It must not know the document, nor which format is chosen.

import { AGES, MONTHS, TIMES, duration, orEarlier } from "./words.js";

/**
 * How a viewer wants times to be written: how long ago they were, in his own zone, or in UTC.
 * @typedef {"relative" | "local" | "utc"} TimeFormat
 */

/** @type {TimeFormat[]} the one that is in force unless another is chosen comes first */
export const TIME_FORMATS = ["relative", "local", "utc"];

export const nextFormat = (format) =>
  TIME_FORMATS[(TIME_FORMATS.indexOf(format) + 1) % TIME_FORMATS.length];

/**
 * The zone at a time: "UTC", or how far it is from that: "+02:00". The one of ages is the viewer's.
 * @param {number} time in milliseconds since 1970
 * @param {TimeFormat} format
 */
export function zoneName(time, format) {
  const minutes = offsetOf(time, format);
  if (!minutes) return "UTC";
  const distance = Math.abs(minutes);
  const clock = [Math.floor(distance / 60), distance % 60].map(twoDigits).join(":");
  return (minutes < 0 ? "-" : "+") + clock;
}

/** A time with its date, unless that is today's: "14:03:22". */
export function timeOfDay(time, now, format) {
  const { date, clock } = partsOf(time, format);
  return date === partsOf(now, format).date ? clock : `${date} ${clock}`;
}

/** A time with its zone, and with its date unless that is today's: "14:03:22 +02:00". */
export const timeWithZone = (time, now, format) =>
  `${timeOfDay(time, now, format)} ${zoneName(time, format)}`;

/** A time with its date and its zone: "2015-06-30 14:03:22 +02:00". */
export function dateAndTime(time, format) {
  const { date, clock } = partsOf(time, format);
  return `${date} ${clock} ${zoneName(time, format)}`;
}

/** A time with its date in the viewer's zone and in UTC, or once if these are the same. */
export function inBothZones(time) {
  return [...new Set(["local", "utc"].map((format) => dateAndTime(time, format)))];
}

/** A time with its zone, in the viewer's zone and in UTC, or once if these are the same. */
export function withBothZones(time, now) {
  return [...new Set(["local", "utc"].map((format) => timeWithZone(time, now, format)))];
}

/**
 * When something began, or happened, in a sentence: "for 12 s", or "since 14:03:22 +02:00".
 * @param {number} time
 * @param {keyof AGES} wording
 * @param {boolean} isExact false if it was already so at that time
 */
export function inSentence(time, wording, isExact, now, format) {
  if (format === "relative") return AGES[wording](duration(now - time), isExact);
  const at = timeWithZone(time, now, format);
  return TIMES[wording](isExact ? at : orEarlier(at));
}

/**
 * Since when something has been so, for a cell of a table whose zone is named elsewhere. An older
 * time is less exact, as `ls -l` writes it: "14:03:22", "Jun 29 14:03", "2014-06-30".
 */
export function inCell(time, isExact, now, format) {
  if (format === "relative") return `${isExact ? "" : "≥ "}${duration(now - time)}`;
  return `${isExact ? "" : "≤ "}${shortTime(time, now, format)}`;
}

function shortTime(time, now, format) {
  const { date, clock } = partsOf(time, format);
  const today = partsOf(now, format).date;
  if (date === today) return clock;
  const [year, month, day] = date.split("-");
  if (year !== today.split("-")[0]) return date;
  return `${MONTHS[month - 1]} ${day} ${clock.slice(0, 5)}`;
}

/** The date and the time of day in the zone of a format. */
function partsOf(time, format) {
  // What is the time in the zone, as if that were UTC.
  const shifted = new Date(time + 60_000 * offsetOf(time, format));
  if (Number.isNaN(shifted.getTime())) return { date: "?", clock: "?" };
  const [date, clock] = shifted.toISOString().split("T");
  return { date, clock: clock.slice(0, 8) };
}

/** How many minutes the zone of a format is ahead of UTC at a time. */
const offsetOf = (time, format) =>
  format === "utc" ? 0 : -new Date(time).getTimezoneOffset() || 0;

const twoDigits = (number) => String(number).padStart(2, "0");
