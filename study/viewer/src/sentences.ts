/**
 * When was each sentence written? Every character of the report remembers when it was typed and when its
 * neighbourhood was last edited; a sentence's interval runs from its first to its last keystroke.
 */

export interface TimedSentence {
  readonly text: string;
  /** Browser milliseconds. */
  readonly start: number;
  readonly end: number;
}

interface Span {
  readonly from: number;
  readonly to: number;
}

// A full stop after these does not end a sentence.
const ABBREVIATIONS = /(?:^|[\s(])(?:dr|mr|mrs|ms|vs|approx|ca|cf|no|fig|e\.g|i\.e|resp)\.$/i;

/** Where the sentences are: ended by . ! ? before white space, or by a line break. White space is trimmed. */
export function split(text: string): Span[] {
  const spans: Span[] = [];
  let from = 0;
  const close = (to: number): void => {
    let start = from;
    let end = to;
    while (start < end && /\s/.test(text[start]!)) start++;
    while (end > start && /\s/.test(text[end - 1]!)) end--;
    if (end > start) spans.push({ from: start, to: end });
    from = to;
  };
  for (let i = 0; i < text.length; i++) {
    const char = text[i]!;
    if (char === "\n") close(i + 1);
    else if (".!?".includes(char)) {
      const next = text[i + 1];
      if (next !== undefined && !/\s/.test(next)) continue;
      // "1. The heart" is a list's number, "e.g. on the left" an abbreviation.
      const soFar = text.slice(from, i + 1);
      if (/^\s*\d+\.$/.test(soFar) || ABBREVIATIONS.test(soFar)) continue;
      close(i + 1);
    }
  }
  close(text.length);
  return spans;
}

export interface TimedTextState {
  readonly text: string;
  readonly first: number[];
  readonly last: number[];
}

export class TimedText {
  #text = "";
  #first: number[] = [];
  #last: number[] = [];

  constructor(state?: TimedTextState) {
    if (state && state.first.length === state.text.length && state.last.length === state.text.length) {
      this.#text = state.text;
      this.#first = [...state.first];
      this.#last = [...state.last];
    }
  }

  get text(): string {
    return this.#text;
  }

  get state(): TimedTextState {
    return { text: this.#text, first: this.#first, last: this.#last };
  }

  /** The text is now `text`, changed by a keystroke (or paste, cut, undo) at `t` browser milliseconds. */
  update(text: string, t: number, caret = text.length): void {
    const old = this.#text;
    if (text === old) return;
    // The changed part lies between a common beginning and a common end; the caret decides between equal readings
    // ("aa" → "aaa"): what was typed ends at the caret.
    const shortest = Math.min(old.length, text.length);
    const tailRoom = Math.min(shortest, text.length - Math.min(caret, text.length));
    let tail = 0;
    while (tail < tailRoom && old[old.length - 1 - tail] === text[text.length - 1 - tail]) tail++;
    let head = 0;
    while (head < shortest - tail && old[head] === text[head]) head++;
    while (tail < shortest - head && old[old.length - 1 - tail] === text[text.length - 1 - tail]) tail++;
    const inserted = text.length - tail - head;
    const removed = old.length - tail - head;
    const times = new Array<number>(inserted).fill(t);
    this.#first.splice(head, removed, ...times);
    this.#last.splice(head, removed, ...times);
    const gone = old.slice(head, head + removed);
    // A deletion is a keystroke of the sentence it happened in, and the character before it (else after) remembers it;
    // removing a whole sentence is no edit of its neighbours.
    const wholeSentence = gone.includes("\n") || /\S[.!?]\s*$/.test(gone);
    if (removed > 0 && inserted === 0 && !wholeSentence && text.length > 0) {
      const neighbour = head > 0 && text[head - 1] !== "\n" ? head - 1 : Math.min(head, text.length - 1);
      this.#last[neighbour] = Math.max(this.#last[neighbour]!, t);
    }
    this.#text = text;
  }

  sentences(): TimedSentence[] {
    return split(this.#text).map(({ from, to }) => {
      let start = Infinity;
      let end = -Infinity;
      for (let i = from; i < to; i++) {
        start = Math.min(start, this.#first[i]!);
        end = Math.max(end, this.#last[i]!);
      }
      return { text: this.#text.slice(from, to), start, end };
    });
  }
}
