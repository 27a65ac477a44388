/**
 * From stored values to grey: DICOM's VOI LUT module (PS3.3 C.11.2) as a table of 65,536 display values.
 */

export type WindowFunction = "LINEAR" | "LINEAR_EXACT" | "SIGMOID";

export interface VoiWindow {
  readonly type: "window";
  readonly center: number;
  readonly width: number;
  readonly function: WindowFunction;
}

export interface VoiLut {
  readonly type: "lut";
  /** The stored value that the table's first entry stands for. */
  readonly first: number;
  readonly bits: number;
  readonly data: readonly number[];
}

export type Voi = VoiWindow | VoiLut;

export interface Window {
  readonly wc: number;
  readonly ww: number;
}

/** The window a VOI starts with. A table starts with the window that spans its own entries. */
export function windowOf(voi: Voi): Window {
  if (voi.type === "window") return { wc: voi.center, ww: voi.width };
  return { wc: voi.first + voi.data.length / 2, ww: voi.data.length };
}

/** Without a VOI in the file: the frame's whole range. */
export function fullRange(max: number): VoiWindow {
  return { type: "window", center: (max + 1) / 2, width: Math.max(max, 1) + 1, function: "LINEAR" };
}

export function clampWindow(window: Window): Window {
  return { wc: window.wc, ww: Math.max(window.ww, 1) };
}

/** One stored value to display, 0 to 1. The formulas of PS3.3 C.11.2.1.2.1 and C.11.2.1.3. */
export function display(value: number, voi: Voi, { wc, ww }: Window): number {
  if (voi.type === "lut") {
    // Windowing a table stretches its input: at the table's own window this is the table itself.
    const index = Math.floor(((value - (wc - ww / 2)) / ww) * voi.data.length + 1e-9);
    const entry = voi.data[Math.min(Math.max(index, 0), voi.data.length - 1)] ?? 0;
    return entry / (2 ** voi.bits - 1);
  }
  switch (voi.function) {
    case "LINEAR": {
      if (value <= wc - 0.5 - (ww - 1) / 2) return 0;
      if (value > wc - 0.5 + (ww - 1) / 2) return 1;
      return (value - (wc - 0.5)) / (ww - 1) + 0.5;
    }
    case "LINEAR_EXACT": {
      if (value <= wc - ww / 2) return 0;
      if (value > wc + ww / 2) return 1;
      return (value - wc) / ww + 0.5;
    }
    case "SIGMOID":
      return 1 / (1 + Math.exp((-4 * (value - wc)) / ww));
  }
}

export const TABLE_SIZE = 65536;

/** The display table: one byte for each possible stored value. `invert` is already the sum of file and reader. */
export function displayTable(voi: Voi, window: Window, invert: boolean, max = TABLE_SIZE - 1): Uint8Array {
  const table = new Uint8Array(TABLE_SIZE);
  const last = Math.min(max, TABLE_SIZE - 1);
  for (let value = 0; value <= last; value++) {
    const grey = Math.round(display(value, voi, window) * 255);
    table[value] = invert ? 255 - grey : grey;
  }
  table.fill(table[last] ?? 0, last + 1);
  return table;
}
