/**
 * The station agent, as a page sees it. `connectAgent` answers once the agent has said welcome; afterwards the worker
 * keeps the connection and says when it is lost (`onClosed`) and when it is back (`onWelcome`).
 */

import type {
  Entry, Exchange, FromWorker, Json, Samples, Started, Status, Stopped, ToWorker, Welcome,
} from "./agent-protocol.ts";
import { Refused } from "./http.ts";

export type { Display, Entry, Exchange, Samples, Started, Status, Stopped, Welcome } from "./agent-protocol.ts";

export interface AgentOptions {
  readonly url: string;
  /** Asks the server for the key of the station that was found; rejects with a sentence when it says no. */
  readonly enter: (station: string) => Promise<Entry>;
  /** Where clock-worker.js is served; beside this module unless told. */
  readonly workerUrl?: string;
  /** The time origin of all reported browser times, Unix ms; this page's own unless told (a reload keeps the first page's). */
  readonly origin?: number;
  /** How long to wait for the agent's welcome. */
  readonly timeoutMs?: number;
}

export type Stimulus =
  | { readonly kind: "target"; readonly x: number; readonly y: number }
  | { readonly kind: "viewport"; readonly seq: number; readonly a: readonly number[]; readonly rows: number; readonly columns: number }
  | { readonly kind: "blank" };

interface Waiter {
  readonly op: string;
  readonly resolve: (message: Json) => void;
  readonly reject: (error: Error) => void;
}

export class AgentClient {
  welcome!: Welcome;
  /** What the server said of this station, the last time the agent was reached. */
  entry!: Entry;
  /** Every exchange of this page, oldest first; times on the chosen origin. */
  readonly exchanges: Exchange[] = [];
  connected = false;
  onStatus: (status: Status) => void = () => {};
  onExchange: (exchange: Exchange, index: number) => void = () => {};
  onWelcome: (welcome: Welcome) => void = () => {};
  onClosed: (sentence: string) => void = () => {};

  #worker: Worker;
  #waiters: Waiter[] = [];
  #first: { resolve: () => void; reject: (error: Error) => void } | null;

  constructor(options: AgentOptions, ready: { resolve: () => void; reject: (error: Error) => void }) {
    this.#first = ready;
    const besides = "./clock-worker.js";
    this.#worker = new Worker(options.workerUrl ?? new URL(besides, import.meta.url), { type: "module", name: "gazeroom-clock" });
    const origin = options.origin ?? performance.timeOrigin;
    const asked = performance.now() + (performance.timeOrigin - origin);
    this.#worker.onerror = () => this.#failed("The clock worker could not be loaded, so gaze cannot be timed: reload the page.");
    this.#worker.onmessage = ({ data }: MessageEvent<FromWorker>) => {
      switch (data.type) {
        case "ready": {
          // The worker's converted time must lie between asking and hearing: the two clocks have one origin.
          const heard = performance.now() + (performance.timeOrigin - origin);
          if (data.now < asked - 1 || data.now > heard + 1) {
            this.#worker.terminate();
            this.#failed(`The clock worker's time is ${(data.now - heard).toFixed(1)} ms off the page's: restart the browser.`);
          }
          break;
        }
        case "station":
          void this.#enter(options.enter, data.station);
          break;
        case "exchange":
          this.exchanges.push(data.exchange);
          this.onExchange(data.exchange, this.exchanges.length - 1);
          break;
        case "closed":
          this.connected = false;
          this.#failed(data.sentence);
          this.onClosed(data.sentence);
          break;
        case "message":
          this.#heard(data.message);
          break;
      }
    };
    this.#post({ type: "connect", url: options.url, origin });
    setTimeout(
      () => this.#first && this.#failed("The station agent does not answer on this computer: start gazeroom-agent."),
      options.timeoutMs ?? 5000,
    );
  }

  /** Tell the simulator and any LSL recorder what is on the screen. */
  stimulus(stimulus: Stimulus): void {
    this.#post({ type: "send", message: { op: "stimulus", ...stimulus } });
  }

  /** The raw samples of the next `seconds`. */
  async collect(seconds: number): Promise<Samples> {
    return (await this.#ask({ op: "collect", seconds }, "samples", seconds * 1000 + 5000)) as unknown as Samples;
  }

  async start(recording: { recording: string; token: string; socket: string }): Promise<Started> {
    return (await this.#ask({ op: "start", ...recording }, "started", 5000)) as unknown as Started;
  }

  /** Answers once the last frame is on the station's disk. */
  async stop(timeoutMs = 5000): Promise<Stopped> {
    return (await this.#ask({ op: "stop" }, "stopped", timeoutMs)) as unknown as Stopped;
  }

  close(): void {
    this.connected = false;
    this.#post({ type: "close" });
  }

  async #enter(enter: AgentOptions["enter"], station: string): Promise<void> {
    try {
      this.entry = await enter(station);
      this.#post({ type: "hello", key: this.entry.key });
    } catch (error) {
      if (error instanceof Refused && error.status === 0 && this.entry?.station === station) {
        // The server is away, the agent is back: what the server said before goes on to hold.
        this.#post({ type: "hello", key: this.entry.key });
        return;
      }
      this.#post({ type: "refused", sentence: error instanceof Error ? error.message : String(error) });
    }
  }

  #heard(message: Json): void {
    if (message.op === "welcome") {
      this.welcome = message as unknown as Welcome;
      this.connected = true;
      const first = this.#first;
      this.#first = null;
      if (first) first.resolve();
      else this.onWelcome(this.welcome);
    } else if (message.op === "status") {
      this.onStatus(message as unknown as Status);
    } else if (message.op === "error") {
      const sentence = String(message.sentence ?? "The station agent refused without saying why.");
      const answer = ({ start: "started", stop: "stopped", collect: "samples" } as Record<string, string>)[String(message.for)];
      const index = this.#waiters.findIndex((waiter) => waiter.op === answer);
      if (index >= 0) this.#waiters.splice(index, 1)[0]!.reject(new Error(sentence));
    } else {
      const index = this.#waiters.findIndex((waiter) => waiter.op === message.op);
      if (index >= 0) this.#waiters.splice(index, 1)[0]!.resolve(message);
    }
  }

  #ask(message: Json, answer: string, timeoutMs: number): Promise<Json> {
    if (!this.connected) return Promise.reject(new Error("The station agent is not connected."));
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiters = this.#waiters.filter((other) => other !== waiter);
        reject(new Error(`The station agent did not answer "${String(message.op)}" within ${Math.round(timeoutMs / 1000)} seconds.`));
      }, timeoutMs);
      const waiter: Waiter = {
        op: answer,
        resolve: (value) => {
          clearTimeout(timer);
          resolve(value);
        },
        reject: (error) => {
          clearTimeout(timer);
          reject(error);
        },
      };
      this.#waiters.push(waiter);
      this.#post({ type: "send", message });
    });
  }

  #failed(sentence: string): void {
    const first = this.#first;
    this.#first = null;
    first?.reject(new Error(sentence));
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const waiter of waiters) waiter.reject(new Error(sentence));
  }

  #post(message: ToWorker): void {
    this.#worker.postMessage(message);
  }
}

/** Find out which station this is, ask the server for its key and say hello. Rejects with one sentence when the agent is missing, refuses or does not answer in time. */
export function connectAgent(options: AgentOptions): Promise<AgentClient> {
  return new Promise((resolve, reject) => {
    let client: AgentClient | null = null;
    const ready = {
      resolve: () => resolve(client!),
      reject: (error: Error) => {
        client?.close();
        reject(error);
      },
    };
    client = new AgentClient(options, ready);
  });
}
