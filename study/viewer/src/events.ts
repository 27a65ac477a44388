/** The read's events (what the reader did, when), numbered and posted in the background; the server keeps each once. */

import { postJson, Refused } from "./http.ts";
import { NumberedLog } from "./log.ts";

export interface ReadEvent {
  readonly kind: string;
  /** Browser milliseconds. */
  readonly t: number;
  readonly payload: Record<string, unknown>;
}

export class EventLog {
  readonly #url: string;
  readonly #csrf: string;
  readonly #time: () => number;
  readonly #log: NumberedLog<ReadEvent>;
  readonly #remember: (next: number, pending: [number, ReadEvent][]) => void;
  #busy: Promise<void> | null = null;
  #closed = false;

  /**
   * `next` and `pending`: the first free number and what was not acknowledged before a reload; `remember` keeps both
   * before anything is sent.
   */
  constructor(options: {
    url: string;
    csrfToken: string;
    next: number;
    pending: readonly [number, ReadEvent][];
    time: () => number;
    remember: (next: number, pending: [number, ReadEvent][]) => void;
  }) {
    this.#url = options.url;
    this.#csrf = options.csrfToken;
    this.#time = options.time;
    this.#remember = options.remember;
    this.#log = new NumberedLog(options.next, options.pending);
    setInterval(() => void this.flush(), 1000);
    window.addEventListener("pagehide", () => void this.#send(true));
  }

  add(kind: string, payload: Record<string, unknown> = {}, t = this.#time()): void {
    this.#log.push({ kind, t, payload });
    this.#keep();
    this.#log.stored(this.#log.next);
  }

  /** The number of the last event, -1 when there is none. */
  get last(): number {
    return this.#log.next - 1;
  }

  /** Post what is waiting; a failure is tried again with the next second. */
  flush(): Promise<void> {
    this.#busy ??= this.#send(false).finally(() => {
      this.#busy = null;
    });
    return this.#busy;
  }

  /** Post what is waiting, and nothing after it until `open`: a read that has been submitted takes no more events. */
  async close(): Promise<void> {
    // A round that has begun already does not hold the latest events.
    await this.flush();
    await this.flush();
    this.#closed = true;
  }

  /** The read goes on after all: send what is waiting and what comes. */
  open(): void {
    this.#closed = false;
  }

  async #send(leaving: boolean): Promise<void> {
    if (this.#closed) return;
    const batch = this.#log.batch(200);
    if (!batch) return;
    const { from, items } = batch;
    try {
      const events = items.map((event, i) => ({ seq: from + i, ...event }));
      const { next } = await postJson<{ next: number }>(this.#url, { events }, this.#csrf, leaving);
      if (from === this.#log.acknowledged && (next < from || next > from + items.length)) {
        // Another tab used these numbers, or events were lost with one: ours follow on what the server has.
        this.#log.renumber(next);
        this.#log.stored(this.#log.next);
      } else {
        this.#log.acknowledge(next);
      }
    } catch (error) {
      // What the server refuses for good is not sent for ever; an unreachable server is asked again.
      if (error instanceof Refused && error.status === 400) this.#log.acknowledge(from + items.length);
    }
    this.#log.rewind();
    this.#keep();
  }

  #keep(): void {
    this.#remember(this.#log.next, this.#log.entries());
  }
}
