/**
 * The box pyramid: each level halves the one below by averaging, so that a reduced image shows area means and not
 * every n-th pixel's noise. Texture sizes are padded to a multiple of 2^levels because a GPU halves by rounding down.
 */

export interface Level {
  readonly data: Uint16Array;
  /** Size in the texture, padding included. */
  readonly width: number;
  readonly height: number;
  /** Texels that stand for image: lookups clamp to these. */
  readonly columns: number;
  readonly rows: number;
}

export function levelCount(columns: number, rows: number): number {
  // A chest radiograph is never drawn smaller than about 64 px; seven levels halve 8192 to that.
  return Math.max(0, Math.min(7, Math.floor(Math.log2(Math.max(1, Math.min(columns, rows) / 32)))));
}

export function pyramid(pixels: Uint16Array, columns: number, rows: number): Level[] {
  if (pixels.length !== columns * rows) {
    throw new Error(`The frame has ${pixels.length} values where ${rows} rows of ${columns} need ${columns * rows}.`);
  }
  const levels = levelCount(columns, rows);
  const unit = 2 ** levels;
  const width = Math.ceil(columns / unit) * unit;
  const height = Math.ceil(rows / unit) * unit;
  let data = pixels;
  if (width !== columns || height !== rows) {
    data = new Uint16Array(width * height);
    for (let y = 0; y < rows; y++) data.set(pixels.subarray(y * columns, (y + 1) * columns), y * width);
  }
  const result: Level[] = [{ data, width, height, columns, rows }];
  for (let i = 0; i < levels; i++) result.push(halve(result[i]!));
  return result;
}

function halve(from: Level): Level {
  const width = from.width / 2;
  const height = from.height / 2;
  const columns = Math.ceil(from.columns / 2);
  const rows = Math.ceil(from.rows / 2);
  const data = new Uint16Array(width * height);
  const source = from.data;
  for (let y = 0; y < rows; y++) {
    const upper = 2 * y * from.width;
    // An odd last row or column has no partner: it is averaged with itself, never with the padding.
    const lower = 2 * y + 1 < from.rows ? upper + from.width : upper;
    for (let x = 0; x < columns; x++) {
      const left = 2 * x;
      const right = left + 1 < from.columns ? left + 1 : left;
      data[y * width + x] =
        (source[upper + left]! + source[upper + right]! + source[lower + left]! + source[lower + right]! + 2) >> 2;
    }
  }
  return { data, width, height, columns, rows };
}
