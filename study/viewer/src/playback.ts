/** What a moving gaze shows at one moment: a short window of it, not everything at once. */

export interface Timed {
  readonly onset: number;
  readonly duration: number;
}

export interface Shown<T> {
  readonly item: T;
  readonly index: number;
  /** How much of the item's duration has passed, 0 to 1. */
  readonly progress: number;
  /** 1 now, falling to 0 at the window's far end. */
  readonly strength: number;
}

/** The items that overlap the `span` before `t`, oldest first. `items` are ordered by onset. */
export function windowAt<T extends Timed>(items: readonly T[], t: number, span: number): Shown<T>[] {
  const shown: Shown<T>[] = [];
  for (let index = upper(items, t, (item) => item.onset) - 1; index >= 0; index--) {
    const item = items[index]!;
    const end = item.onset + item.duration;
    if (t - end >= span) {
      // Items follow one another: what lies further back ended earlier still.
      break;
    }
    const progress = item.duration > 0 ? Math.min((t - item.onset) / item.duration, 1) : 1;
    shown.push({ item, index, progress, strength: t <= end ? 1 : 1 - (t - end) / span });
  }
  return shown.reverse();
}

/** How many of the ordered items have a key ≤ `t`. */
export function upper<T>(items: readonly T[], t: number, key: (item: T) => number): number {
  let low = 0;
  let high = items.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (key(items[middle]!) <= t) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Durations one after another, with the time a saccade takes between them. */
export function sequence<T extends { readonly duration_ms: number }>(
  points: readonly T[], gapMs = 40,
): { items: (T & Timed)[]; total: number } {
  let onset = 0;
  const items = points.map((point) => {
    const item = { ...point, onset, duration: point.duration_ms };
    onset += point.duration_ms + gapMs;
    return item;
  });
  return { items, total: Math.max(0, onset - gapMs) };
}

/** A dot's diameter in CSS px for a fixation of this many milliseconds: area grows with time. */
export function dotSize(durationMs: number): number {
  return Math.min(10 + Math.sqrt(Math.max(durationMs, 0)) * 0.9, 48);
}

/**
 * Where a second playback stands when the first is at `t`: at the same time until it ends, or, `stretched`, at the same
 * share of its length.
 */
export function inStep(t: number, length: number, other: number, stretched: boolean): number {
  if (!stretched || length <= 0) return t;
  return (t / length) * other;
}
