/**
 * The page's log to the server: viewport states and clock exchanges, stored here, sent, acknowledged, sent again after
 * a lost connection. The server writes them to its disk before it acknowledges.
 */

import { NumberedLog } from "./log.ts";
import { KINDS } from "./store.ts";
import type { Kind, Store } from "./store.ts";

const FLUSH_MS = 250;
const BATCH = 400;
const PROBE_MS = 2000;

interface Ack {
  readonly op: string;
  readonly kind: Kind;
  readonly next: number;
  readonly sentence?: string;
}

export class PageSocket {
  /** A sentence while the server cannot be reached, null when it can. */
  onTrouble: (sentence: string | null) => void = () => {};

  readonly #url: string;
  readonly #store: Store;
  readonly #logs: Record<Kind, NumberedLog<unknown>>;
  #socket: WebSocket | null = null;
  #agreed = new Set<Kind>();
  #attempts = 0;
  #closed = false;
  #persisting: Promise<void> = Promise.resolve();
  #timer: ReturnType<typeof setInterval>;
  #watchers: (() => void)[] = [];

  constructor(url: string, store: Store, next: Record<Kind, number>, pending: Record<Kind, [number, unknown][]>) {
    this.#url = url;
    this.#store = store;
    this.#logs = {
      states: new NumberedLog(next.states, pending.states),
      clock: new NumberedLog(next.clock, pending.clock),
    };
    this.#connect();
    this.#timer = setInterval(() => void this.#flush(), FLUSH_MS);
    // The page may be about to go: put what there is onto the disk now.
    window.addEventListener("pagehide", () => void this.#persist());
  }

  push(kind: Kind, item: unknown): number {
    return this.#logs[kind].push(item);
  }

  get pending(): number {
    return this.#logs.states.pending + this.#logs.clock.pending;
  }

  /** Resolves true when everything logged so far is acknowledged, false when that took too long. */
  async flushed(timeoutMs: number): Promise<boolean> {
    const target = KINDS.map((kind) => this.#logs[kind].next);
    const complete = (): boolean => KINDS.every((kind, i) => this.#logs[kind].acknowledged >= target[i]!);
    await this.#flush();
    if (complete()) return true;
    return new Promise((resolve) => {
      const finish = (answer: boolean): void => {
        clearTimeout(timer);
        this.#watchers = this.#watchers.filter((other) => other !== watcher);
        resolve(answer);
      };
      const watcher = (): void => {
        if (complete()) finish(true);
      };
      const timer = setTimeout(() => finish(complete()), timeoutMs);
      this.#watchers.push(watcher);
    });
  }

  close(): void {
    this.#closed = true;
    clearInterval(this.#timer);
    this.#socket?.close();
  }

  #connect(): void {
    const socket = new WebSocket(this.#url);
    this.#socket = socket;
    socket.onopen = () => {
      this.#agreed.clear();
      // An empty batch asks where the server stands: it may know numbers this browser has forgotten.
      for (const kind of KINDS) socket.send(JSON.stringify({ op: kind, from: 0, items: [] }));
      setTimeout(() => {
        if (socket !== this.#socket) return;
        for (const kind of KINDS) this.#agree(kind);
      }, PROBE_MS);
    };
    socket.onmessage = (event: MessageEvent<string>) => {
      const ack = JSON.parse(event.data) as Ack;
      if (ack.op === "error") this.onTrouble(ack.sentence ?? "The server refused the viewing log.");
      if (ack.op !== "ack" || !KINDS.includes(ack.kind)) return;
      const log = this.#logs[ack.kind];
      if (!this.#agreed.has(ack.kind)) {
        if (ack.next > log.next) log.rebase(ack.next);
        log.acknowledge(ack.next);
        this.#agree(ack.kind);
      } else {
        log.acknowledge(ack.next);
      }
      void this.#store.acknowledge(ack.kind, ack.next).catch(() => {});
      for (const watcher of [...this.#watchers]) watcher();
    };
    socket.onclose = () => {
      if (socket !== this.#socket || this.#closed) return;
      this.#agreed.clear();
      this.#attempts += 1;
      this.onTrouble("The server cannot be reached; everything is kept on this computer and sent when it is back.");
      setTimeout(() => {
        if (!this.#closed) this.#connect();
      }, Math.min(250 * 2 ** Math.min(this.#attempts, 5), 5000));
    };
  }

  #agree(kind: Kind): void {
    if (this.#agreed.has(kind)) return;
    this.#agreed.add(kind);
    this.#logs[kind].rewind();
    if (this.#agreed.size === KINDS.length) {
      this.#attempts = 0;
      this.onTrouble(null);
      void this.#flush();
    }
  }

  #persist(): Promise<void> {
    this.#persisting = this.#persisting.then(async () => {
      for (const kind of KINDS) {
        const log = this.#logs[kind];
        const items = log.unstored();
        if (items.length === 0) continue;
        try {
          await this.#store.append(kind, items);
        } catch {
          // A full disk must not stop the log: what cannot be kept here is still sent.
        }
        log.stored(items[items.length - 1]![0] + 1);
      }
    });
    return this.#persisting;
  }

  async #flush(): Promise<void> {
    await this.#persist();
    const socket = this.#socket;
    if (!socket || socket.readyState !== WebSocket.OPEN) return;
    for (const kind of KINDS) {
      if (!this.#agreed.has(kind)) continue;
      for (let batch = this.#logs[kind].batch(BATCH); batch; batch = this.#logs[kind].batch(BATCH)) {
        const { from, items } = batch;
        // A state carries its number; the log decides it last.
        const numbered = kind === "states" ? items.map((item, i) => ({ ...(item as object), seq: from + i })) : items;
        socket.send(JSON.stringify({ op: kind, from, items: numbered }));
      }
    }
  }
}
