/**
 * The recording of one read, from the page's side: the agent through its worker, the log through the page socket,
 * and one indicator that says whether gaze is being recorded.
 */

import { toScreen } from "./affine.ts";
import { connectAgent } from "./agent-client.ts";
import type { AgentClient, Entry, Status } from "./agent-client.ts";
import type { CaptureConfig } from "./config.ts";
import { postJson } from "./http.ts";
import { PageSocket } from "./page-socket.ts";
import { refusal } from "./screen.ts";
import { memoryStore, openStore } from "./store.ts";
import type { Resumed, Store } from "./store.ts";
import type { Presented } from "./viewport.ts";

export interface Indicator {
  readonly recording: boolean;
  readonly sentence: string;
}

export class Capture {
  onIndicator: (indicator: Indicator) => void = () => {};
  onEvent: (kind: string, payload: Record<string, unknown>) => void = () => {};

  readonly #config: CaptureConfig;
  readonly #csrf: string;
  readonly #store: Store;
  readonly #socket: PageSocket;
  readonly #origin: number;
  /** Which page of the recording this is: a reload is another, and its clock is tied to the agent's anew. */
  readonly #page = performance.timeOrigin;
  readonly #next: number;
  #agent: AgentClient | null = null;
  #status: Status | null = null;
  #started = false;
  #starting: Promise<void> | null = null;
  #connecting = false;
  #trouble: string | null = "connecting to the station agent.";
  #serverTrouble: string | null = null;
  #magnified: string | null = null;
  #ended = false;
  #shown: { seq: number; a: readonly number[] } | null = null;
  #size: { rows: number; columns: number };
  #waiting: ((started: boolean) => void)[] = [];

  static async open(
    config: CaptureConfig, csrf: string, size: { rows: number; columns: number }, origin: number,
  ): Promise<Capture> {
    const store = await openStore(config.recording).catch(() => memoryStore());
    return new Capture(config, csrf, size, store, await store.resume(origin));
  }

  private constructor(
    config: CaptureConfig, csrf: string, size: { rows: number; columns: number }, store: Store, resumed: Resumed,
  ) {
    this.#config = config;
    this.#csrf = csrf;
    this.#size = { rows: size.rows, columns: size.columns };
    this.#store = store;
    this.#origin = resumed.origin;
    this.#next = resumed.next.states;
    const url = new URL(config.pageSocket, location.href);
    url.protocol = url.protocol.replace("http", "ws");
    this.#socket = new PageSocket(url.href, store, resumed.next, resumed.pending);
    window.visualViewport?.addEventListener("resize", () => {
      const magnified = refusal();
      if (magnified === this.#magnified) return;
      this.#magnified = magnified;
      if (this.#started) this.onEvent("page_magnified", { scale: window.visualViewport?.scale ?? 1 });
      else void this.#start();
      this.#indicate();
    });
    this.#socket.onTrouble = (sentence) => {
      this.#serverTrouble = sentence;
      this.#indicate();
    };
  }

  /** The time origin of this recording: the first page's, kept over reloads. */
  get origin(): number {
    return this.#origin;
  }

  /** The number the first frame of this page gets. */
  get nextState(): number {
    return this.#next;
  }

  /** Begin: resolves true once the agent records, false when that needs a person (the indicator says what). */
  begin(): Promise<boolean> {
    void this.#connect();
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  retry(): Promise<boolean> {
    if (this.#started) return Promise.resolve(true);
    if (this.#agent?.connected) void this.#start();
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** Resolves as soon as the agent records, however long that takes. */
  whenStarted(): Promise<void> {
    return new Promise((resolve) => {
      const ask = async (): Promise<void> => {
        while (!this.#started) if (await new Promise<boolean>((settle) => this.#waiting.push(settle))) break;
        resolve();
      };
      void ask();
    });
  }

  /** One drawn frame; its time is on the recording's origin already. */
  presented(state: Presented): void {
    const { cx, cy, scale, rotation, flip = 1, invert, wc, ww, voi } = state.view;
    this.#socket.push("states", { ...state, view: { cx, cy, scale, rotation, flip, invert, wc, ww, voi }, page: this.#page });
    const a = toScreen(state.a, state.screenX, state.screenY, state.dpr);
    const same = this.#shown !== null && a.every((value, i) => value === this.#shown!.a[i]);
    if (!state.visible) {
      this.#agent?.stimulus({ kind: "blank" });
      this.#shown = null;
      return;
    }
    if (same) return;
    this.#shown = { seq: state.seq, a };
    this.#tell();
  }

  /** Stop the agent, then wait until everything logged is on the server. Says in sentences what was left behind. */
  async finish(timeoutMs = 5000): Promise<string[]> {
    const left: string[] = [];
    this.#ended = true;
    // A start that is on its way would otherwise run on after the stop.
    await this.#starting;
    const until = performance.now() + timeoutMs;
    if (this.#agent?.connected && this.#started) {
      this.#agent.stimulus({ kind: "blank" });
      try {
        await this.#agent.stop(timeoutMs);
      } catch (error) {
        left.push(error instanceof Error ? error.message : String(error));
      }
    } else {
      left.push(`Gaze was not being recorded at submission: ${this.#trouble ?? "the agent had not started."}`);
    }
    this.#started = false;
    this.#trouble = "the read is being submitted.";
    this.#indicate();
    const remaining = Math.max(until - performance.now(), 1000);
    if (!(await this.#socket.flushed(remaining))) {
      left.push(`${this.#socket.pending} entries of the viewing log were not acknowledged in time.`);
    }
    return left;
  }

  /** After a refused submission: the reader reads on, so record on, as another epoch of the same recording. */
  resume(): void {
    if (!this.#ended) return;
    this.#ended = false;
    this.#trouble = "the recording starts again.";
    this.#indicate();
    if (this.#agent) void this.#start();
    else if (!this.#connecting) void this.#connect();
  }

  /** After a successful submission: close everything; forget the log if the server has all of it. */
  async close(): Promise<void> {
    this.#agent?.close();
    const complete = this.#socket.pending === 0;
    this.#socket.close();
    if (complete) await this.#store.clear().catch(() => {});
  }

  async #connect(): Promise<void> {
    this.#connecting = true;
    try {
      await this.#reach();
    } finally {
      this.#connecting = false;
    }
  }

  async #reach(): Promise<void> {
    while (!this.#ended) {
      try {
        const agent = await connectAgent({
          url: this.#config.agent,
          enter: (station) => postJson<Entry>(this.#config.enter, { station, recording: this.#config.recording }, this.#csrf),
          origin: this.#origin,
        });
        this.#agent = agent;
        agent.onExchange = (exchange) => this.#socket.push("clock", [...exchange, this.#page]);
        for (const exchange of agent.exchanges) this.#socket.push("clock", [...exchange, this.#page]);
        agent.onStatus = (status) => {
          // The tracker was switched on meanwhile: what was refused without it is asked for again.
          const arrived = status.tracker && !this.#status?.tracker;
          this.#status = status;
          if (arrived && !this.#started && !this.#ended) void this.#start();
          if (this.#started && !status.recording && !this.#ended) {
            this.#started = false;
            this.#say("the station agent stopped recording.");
            this.onEvent("recording_lost", { sentence: this.#trouble });
            void this.#start();
          }
          this.#indicate();
        };
        agent.onClosed = (sentence) => {
          if (this.#ended) return;
          if (this.#started) this.onEvent("recording_lost", { sentence });
          this.#started = false;
          this.#status = null;
          this.#say(sentence);
        };
        agent.onWelcome = () => void this.#start();
        await this.#start();
        return;
      } catch (error) {
        this.#say(error instanceof Error ? error.message : String(error));
        this.#settle(false);
        await new Promise((resolve) => setTimeout(resolve, 3000));
      }
    }
  }

  async #start(): Promise<void> {
    const agent = this.#agent;
    if (!agent || this.#ended || this.#starting) return;
    this.#starting = this.#ask(agent);
    await this.#starting;
    this.#starting = null;
  }

  /** Ask the agent to record; a refusal is shown, never thrown. */
  async #ask(agent: AgentClient): Promise<void> {
    const magnified = refusal();
    if (magnified) {
      this.#magnified = magnified;
      this.#say(magnified);
      return this.#settle(false);
    }
    try {
      const { recording, ingestSocket } = this.#config;
      const { token = "", display: planned } = agent.entry;
      const { epoch } = await agent.start({ recording, token, socket: ingestSocket });
      this.#started = true;
      this.#trouble = null;
      const { display } = agent.welcome;
      this.onEvent("recording_started", { epoch, station: agent.entry.name, tracker: agent.welcome.tracker, display });
      if (planned && (planned.width_px !== display.width_px || planned.height_px !== display.height_px)) {
        this.onEvent("display_changed", { calibrated: planned, now: display });
      }
      this.#tell();
      this.#indicate();
      this.#settle(true);
    } catch (error) {
      this.#say(error instanceof Error ? error.message : String(error));
      this.#settle(false);
    }
  }

  #tell(): void {
    if (!this.#shown) return;
    this.#agent?.stimulus({ kind: "viewport", seq: this.#shown.seq, a: this.#shown.a, ...this.#size });
  }

  #say(sentence: string): void {
    this.#trouble = sentence;
    this.#indicate();
  }

  #settle(started: boolean): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve(started);
  }

  #indicate(): void {
    const { pending_frames: pending = 0 } = this.#status ?? {};
    if (!this.#started) {
      this.onIndicator({ recording: false, sentence: this.#trouble ?? "the agent has not started." });
    } else if (this.#status && !this.#status.tracker) {
      this.onIndicator({ recording: false, sentence: "the eye tracker was disconnected." });
    } else {
      const waiting = this.#magnified ?? this.#serverTrouble ?? (pending > 50 ? `${pending} pieces wait on this computer to be sent.` : "");
      this.onIndicator({ recording: true, sentence: waiting });
    }
  }
}
