import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { apply, fit, invert, panBy, toCss, toDevice, toScreen, zoomAbout } from "../src/affine.ts";
import type { Geometry, Matrix, Surface } from "../src/affine.ts";

// npm runs the tests in study/viewer.
const golden = JSON.parse(readFileSync("../../tests/golden/affine.json", "utf8"));

const geometry: Geometry = { rows: 900, columns: 700, rowSpacing: 0.3, columnSpacing: 0.2 };
const surface: Surface = { left: 10, top: 20, width: 920, height: 800, deviceWidth: 1380, deviceHeight: 1200 };

function near(actual: readonly number[], expected: readonly number[], tolerance: number): void {
  assert.equal(actual.length, expected.length);
  actual.forEach((value, i) => assert.ok(Math.abs(value - expected[i]!) <= tolerance, `${actual} is not ${expected}`));
}

for (const row of golden.cases) {
  const g: Geometry = { rows: row.rows, columns: row.columns, rowSpacing: row.row_spacing, columnSpacing: row.column_spacing };
  const [left, top, width, height] = row.rect;
  const s: Surface = { left, top, width, height, deviceWidth: row.canvas[0], deviceHeight: row.canvas[1] };
  test(`the matrix agrees with the golden table: ${row.name}`, () => {
    const css = toCss(row.view, g, s);
    near(css, row.a, golden.tolerance);
    const screen = toScreen(css, row.screen[0], row.screen[1], row.dpr);
    for (const point of row.points) {
      near(apply(css, point.image[0], point.image[1]), point.css, golden.tolerance);
      near(apply(screen, point.image[0], point.image[1]), point.screen, golden.tolerance);
      near(apply(invert(screen), point.screen[0], point.screen[1]), point.image, golden.tolerance);
    }
  });
}

test("fit shows the whole image and touches two edges", () => {
  const m = toDevice(fit(geometry, surface), geometry, surface);
  const [x0, y0] = apply(m, -0.5, -0.5);
  const [x1, y1] = apply(m, geometry.columns - 0.5, geometry.rows - 0.5);
  near([y0, y1], [0, surface.deviceHeight], 1e-9);
  assert.ok(x0 >= 0 && x1 <= surface.deviceWidth);
});

test("pixels without a spacing are square", () => {
  const [a, , , d] = toDevice(fit(geometry, surface), { ...geometry, rowSpacing: null, columnSpacing: null }, surface);
  assert.equal(d, a);
});

test("zooming keeps the image point under the cursor", () => {
  const before = { ...fit(geometry, surface), rotation: 30 };
  const point = apply(invert(toCss(before, geometry, surface)), 300, 500);
  const after = zoomAbout(before, geometry, surface, 300, 500, 1.7);
  near(apply(toCss(after, geometry, surface), point[0], point[1]), [300, 500], 1e-9);
});

test("panning moves the image by the drag", () => {
  const before = fit(geometry, surface);
  const start = apply(toCss(before, geometry, surface), 100, 200);
  const end = apply(toCss(panBy(before, geometry, surface, 7, -11), geometry, surface), 100, 200);
  near([end[0] - start[0], end[1] - start[1]], [7, -11], 1e-9);
});

test("panning never loses the image", () => {
  const far = panBy(fit(geometry, surface), geometry, surface, 1e6, -1e6);
  near([far.cx, far.cy], [-0.5, geometry.rows - 0.5], 1e-9);
});

test("a matrix of scale zero is refused with a sentence", () => {
  const flat: Matrix = [0, 0, 0, 0, 1, 1];
  assert.throws(() => invert(flat), /scale is zero/);
});
