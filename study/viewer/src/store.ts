/**
 * What has been logged but not yet acknowledged, in IndexedDB: a reload, a crash or a lost server loses none of it.
 * An item is stored before it is sent, so a number that the server has seen is never given away twice.
 */

export type Kind = "states" | "clock";
export const KINDS: readonly Kind[] = ["states", "clock"];

export interface Resumed {
  /** The first page's time origin, Unix ms: all times of this recording count from it. */
  readonly origin: number;
  readonly next: Record<Kind, number>;
  readonly pending: Record<Kind, [seq: number, item: unknown][]>;
}

export interface Store {
  resume(origin: number): Promise<Resumed>;
  append(kind: Kind, items: readonly [seq: number, item: unknown][]): Promise<void>;
  /** Items below `next` are safe on the server. */
  acknowledge(kind: Kind, next: number): Promise<void>;
  /** Forget the recording. */
  clear(): Promise<void>;
}

interface Meta {
  readonly recording: string;
  readonly origin: number;
  readonly next: Record<Kind, number>;
}

function wait<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error ?? new Error("The browser's store failed."));
  });
}

function done(transaction: IDBTransaction): Promise<void> {
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve();
    transaction.onabort = () => reject(transaction.error ?? new Error("The browser's store is full or closed."));
  });
}

export async function openStore(recording: string): Promise<Store> {
  const opening = indexedDB.open("gazeroom-capture", 1);
  opening.onupgradeneeded = () => {
    opening.result.createObjectStore("meta", { keyPath: "recording" });
    opening.result.createObjectStore("items");
  };
  const database = await wait(opening);
  let meta: Meta | null = null;
  const range = (kind: Kind, below = Infinity): IDBKeyRange => IDBKeyRange.bound([recording, kind, -1], [recording, kind, below], false, true);

  return {
    async resume(origin) {
      const read = database.transaction(["meta", "items"], "readwrite");
      meta = ((await wait(read.objectStore("meta").get(recording))) as Meta | undefined)
        ?? { recording, origin, next: { states: 0, clock: 0 } };
      const pending: Record<Kind, [number, unknown][]> = { states: [], clock: [] };
      for (const kind of KINDS) {
        const items = read.objectStore("items");
        const [keys, values] = await Promise.all([wait(items.getAllKeys(range(kind))), wait(items.getAll(range(kind)))]);
        pending[kind] = keys.map((key, i) => [(key as [string, Kind, number])[2], values[i]]);
      }
      read.objectStore("meta").put(meta);
      await done(read);
      return { origin: meta.origin, next: { ...meta.next }, pending };
    },
    async append(kind, items) {
      if (!meta || items.length === 0) return;
      const write = database.transaction(["meta", "items"], "readwrite");
      for (const [seq, item] of items) write.objectStore("items").put(item, [recording, kind, seq]);
      meta = { ...meta, next: { ...meta.next, [kind]: Math.max(meta.next[kind], items[items.length - 1]![0] + 1) } };
      write.objectStore("meta").put(meta);
      await done(write);
    },
    async acknowledge(kind, next) {
      const write = database.transaction("items", "readwrite");
      write.objectStore("items").delete(range(kind, next));
      await done(write);
    },
    async clear() {
      const write = database.transaction(["meta", "items"], "readwrite");
      write.objectStore("meta").delete(recording);
      for (const kind of KINDS) write.objectStore("items").delete(range(kind));
      await done(write);
    },
  };
}

/** Where the browser has no IndexedDB (private windows of some): the log lives in memory only. */
export function memoryStore(): Store {
  return {
    resume: (origin) => Promise.resolve({ origin, next: { states: 0, clock: 0 }, pending: { states: [], clock: [] } }),
    append: () => Promise.resolve(),
    acknowledge: () => Promise.resolve(),
    clear: () => Promise.resolve(),
  };
}
