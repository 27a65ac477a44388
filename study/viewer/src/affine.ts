/**
 * The one matrix: image pixels to CSS pixels of the page. The shader draws with its inverse, gaze is mapped with it,
 * and `tests/golden/affine.json` holds this module and Python's `capture.gaze.mapping` to the same numbers.
 *
 * Image pixel centres are integers, so the image's edges lie at -0.5 and columns - 0.5.
 */

/** `[a,b,c,d,e,f]`: x' = a·x + c·y + e, y' = b·x + d·y + f (the order of SVG's `matrix()`). */
export type Matrix = readonly [number, number, number, number, number, number];

export interface Geometry {
  readonly rows: number;
  readonly columns: number;
  /** Distance between rows (down) and between columns (across), in the same unit; null where the file does not say. */
  readonly rowSpacing: number | null;
  readonly columnSpacing: number | null;
}

/** Where the canvas is: its CSS rectangle on the page and its size in device pixels. */
export interface Surface {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
  readonly deviceWidth: number;
  readonly deviceHeight: number;
}

/** What part of the image is shown: the image pixel in the middle, device px per image column, degrees, mirroring. */
export interface Placement {
  readonly cx: number;
  readonly cy: number;
  readonly scale: number;
  readonly rotation: number;
  readonly flip?: 1 | -1;
}

/** How much taller than wide a pixel is; pixels are square where the file does not say. */
export function aspectOf({ rowSpacing, columnSpacing }: Geometry): number {
  return rowSpacing && columnSpacing ? rowSpacing / columnSpacing : 1;
}

/** Image pixels to canvas device pixels (origin: the canvas's top left corner). */
export function toDevice(view: Placement, geometry: Geometry, surface: Surface): Matrix {
  const aspect = aspectOf(geometry);
  const flip = view.flip ?? 1;
  const radians = (view.rotation * Math.PI) / 180;
  // cos 90° is 6e-17 in floating point: quarter turns must be exact.
  const quarter = view.rotation % 90 === 0;
  const cos = quarter ? Math.round(Math.cos(radians)) : Math.cos(radians);
  const sin = quarter ? Math.round(Math.sin(radians)) : Math.sin(radians);
  const k = view.scale;
  const a = flip * cos * k;
  const b = sin * k;
  const c = -flip * sin * k * aspect;
  const d = cos * k * aspect;
  const e = surface.deviceWidth / 2 - a * view.cx - c * view.cy;
  const f = surface.deviceHeight / 2 - b * view.cx - d * view.cy;
  return [a, b, c, d, e, f];
}

/** Image pixels to CSS pixels of the page. */
export function toCss(view: Placement, geometry: Geometry, surface: Surface): Matrix {
  const [a, b, c, d, e, f] = toDevice(view, geometry, surface);
  const sx = surface.width / surface.deviceWidth;
  const sy = surface.height / surface.deviceHeight;
  return [a * sx, b * sy, c * sx, d * sy, e * sx + surface.left, f * sy + surface.top];
}

/** Image pixels to physical screen pixels: CSS, plus the page's place on the screen, times the device pixel ratio. */
export function toScreen(css: Matrix, screenX: number, screenY: number, dpr: number): Matrix {
  const [a, b, c, d, e, f] = css;
  return [a * dpr, b * dpr, c * dpr, d * dpr, (e + screenX) * dpr, (f + screenY) * dpr];
}

export function apply(m: Matrix, x: number, y: number): [number, number] {
  return [m[0] * x + m[2] * y + m[4], m[1] * x + m[3] * y + m[5]];
}

export function invert(m: Matrix): Matrix {
  const [a, b, c, d, e, f] = m;
  const det = a * d - b * c;
  if (!Number.isFinite(det) || det === 0) throw new Error("The view's matrix cannot be inverted: its scale is zero.");
  return [d / det, -b / det, -c / det, a / det, (c * f - d * e) / det, (b * e - a * f) / det];
}

/** The view that shows the whole image, centred, its physical aspect kept. */
export function fit(geometry: Geometry, surface: Surface): Placement {
  const aspect = aspectOf(geometry);
  const scale = Math.min(surface.deviceWidth / geometry.columns, surface.deviceHeight / (geometry.rows * aspect));
  return { cx: (geometry.columns - 1) / 2, cy: (geometry.rows - 1) / 2, scale, rotation: 0 };
}

/** Zoom by `factor` so that the image point under the CSS point (x, y) stays under it. */
export function zoomAbout<V extends Placement>(
  view: V, geometry: Geometry, surface: Surface, x: number, y: number, factor: number,
): V {
  const [ix, iy] = apply(invert(toCss(view, geometry, surface)), x, y);
  const scale = view.scale * factor;
  // (ix - cx)·scale must stay what it was.
  return { ...view, scale, cx: ix - (ix - view.cx) / factor, cy: iy - (iy - view.cy) / factor };
}

/** Move the image by (dx, dy) CSS pixels. */
export function panBy<V extends Placement>(view: V, geometry: Geometry, surface: Surface, dx: number, dy: number): V {
  const inverse = invert(toCss(view, geometry, surface));
  const cx = view.cx - (inverse[0] * dx + inverse[2] * dy);
  const cy = view.cy - (inverse[1] * dx + inverse[3] * dy);
  // Half the image must stay reachable: the middle of the window never leaves the image.
  return {
    ...view,
    cx: Math.min(Math.max(cx, -0.5), geometry.columns - 0.5),
    cy: Math.min(Math.max(cy, -0.5), geometry.rows - 0.5),
  };
}
