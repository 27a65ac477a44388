/**
 * The numbered log between producer and server: items get their number once, leave in order, and are kept until the
 * server acknowledges them. No sockets here, so that it can be tested as arithmetic.
 */

export class NumberedLog<T> {
  /** The first number that is not yet acknowledged. */
  acknowledged: number;
  #next: number;
  #sent: number;
  #stored: number;
  #items = new Map<number, T>();

  constructor(next = 0, pending: readonly (readonly [number, T])[] = []) {
    this.#next = next;
    for (const [seq, item] of pending) this.#items.set(seq, item);
    this.acknowledged = pending.length > 0 ? Math.min(...pending.map(([seq]) => seq)) : next;
    this.#sent = this.acknowledged;
    this.#stored = next;
  }

  get next(): number {
    return this.#next;
  }

  get pending(): number {
    return this.#next - this.acknowledged;
  }

  /** Everything not yet acknowledged, numbered. */
  entries(): [number, T][] {
    return this.#range(this.acknowledged, this.#next);
  }

  push(item: T): number {
    this.#items.set(this.#next, item);
    return this.#next++;
  }

  /** Items that still have to be stored on this computer. */
  unstored(): [number, T][] {
    return this.#range(this.#stored, this.#next);
  }

  stored(next: number): void {
    this.#stored = Math.max(this.#stored, next);
  }

  /** The next batch to send, only of what is stored. */
  batch(limit: number): { from: number; items: T[] } | null {
    const rows = this.#range(this.#sent, Math.min(this.#stored, this.#sent + limit));
    if (rows.length === 0) return null;
    this.#sent += rows.length;
    return { from: rows[0]![0], items: rows.map(([, item]) => item) };
  }

  /** The server has everything below `next`. */
  acknowledge(next: number): void {
    for (let seq = this.acknowledged; seq < Math.min(next, this.#next); seq++) this.#items.delete(seq);
    this.acknowledged = Math.max(this.acknowledged, Math.min(next, this.#next));
    this.#sent = Math.max(this.#sent, this.acknowledged);
  }

  /** A new connection: what was sent but not acknowledged is sent again. */
  rewind(): void {
    this.#sent = this.acknowledged;
  }

  /**
   * The server already holds numbers this browser has no memory of (its store was cleared): move everything held
   * here behind them. Returns how far the numbers moved.
   */
  rebase(serverNext: number): number {
    const by = serverNext - this.acknowledged;
    return by > 0 ? this.renumber(serverNext) : 0;
  }

  /** Give everything held here new numbers, from `first` on. Returns how far the numbers moved. */
  renumber(first: number): number {
    const by = first - this.acknowledged;
    this.#items = new Map([...this.#items].map(([seq, item]) => [seq + by, item]));
    this.acknowledged += by;
    this.#next += by;
    this.#sent = this.acknowledged;
    this.#stored = this.acknowledged;
    return by;
  }

  #range(from: number, to: number): [number, T][] {
    const rows: [number, T][] = [];
    for (let seq = from; seq < to; seq++) rows.push([seq, this.#items.get(seq)!]);
    return rows;
  }
}
