import assert from "node:assert/strict";
import { test } from "node:test";
import { levelCount, pyramid } from "../src/pyramid.ts";

test("every level is the mean of the one below", () => {
  const pixels = Uint16Array.from({ length: 64 * 64 }, (_, i) => (i * 7919) % 4096);
  const [base, half] = pyramid(pixels, 64, 64);
  const mean = (pixels[0]! + pixels[1]! + pixels[64]! + pixels[65]!) / 4;
  assert.equal(base!.data, pixels);
  assert.ok(Math.abs(half!.data[0]! - mean) <= 0.5);
});

test("odd sizes neither lose nor darken the last row and column", () => {
  const levels = pyramid(new Uint16Array(131 * 133).fill(1000), 131, 133);
  assert.equal(levels.length, 3);
  for (const level of levels) {
    assert.equal(level.data[(level.rows - 1) * level.width + level.columns - 1], 1000);
    assert.ok(level.width >= level.columns && level.height >= level.rows);
  }
  assert.deepEqual(levels.map((l) => l.width / levels[0]!.width), [1, 0.5, 0.25]);
});

test("a frame of the wrong length is refused with a sentence", () => {
  assert.throws(() => pyramid(new Uint16Array(10), 4, 4), /10 values where 4 rows of 4 need 16/);
});

test("small images have no levels", () => {
  assert.equal(levelCount(40, 2000), 0);
});
