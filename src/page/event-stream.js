// Decodes server-sent events (HTML Standard, section "Parsing an event stream"), as far as this
// server uses them. It must not know the document, nor what the events mean.

/** How many characters an event may have. */
const MAX_LENGTH = 1 << 20;

/** Text may come in pieces of any size. */
export class EventStreamDecoder {
  /** The beginning of a line that is not complete yet. */
  #pending = "";
  /** The data of the event that is not complete yet, and how many characters that is. */
  #data = [];
  #length = 0;

  /**
   * @param {string} piece
   * @returns {string[]} the data of the events that are complete with this piece
   * @throws {SyntaxError} if an event does not end
   */
  decode(piece) {
    const lines = (this.#pending + piece).split("\n");
    this.#pending = lines.pop();

    const events = [];
    for (const line of lines) this.#line(line.replace(/\r$/, ""), events);
    if (this.#pending.length + this.#length > MAX_LENGTH) throw new SyntaxError("too long");
    return events;
  }

  #line(line, events) {
    if (line) {
      const data = /^data: ?(.*)$/s.exec(line)?.[1];
      if (data === undefined) return;
      this.#data.push(data);
      this.#length += data.length;
      return;
    }

    if (this.#data.length) events.push(this.#data.join("\n"));
    this.#data = [];
    this.#length = 0;
  }
}
