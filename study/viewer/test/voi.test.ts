import assert from "node:assert/strict";
import { test } from "node:test";
import { display, displayTable, fullRange, windowOf } from "../src/voi.ts";
import type { Voi } from "../src/voi.ts";

const linear: Voi = { type: "window", center: 2048, width: 4096, function: "LINEAR" };

test("LINEAR follows PS3.3 C.11.2.1.2.1 at its ends", () => {
  const w = windowOf(linear);
  assert.equal(display(0, linear, w), 0);
  assert.equal(display(4095, linear, w), 1);
  assert.ok(Math.abs(display(2047.5, linear, w) - 0.5) < 1e-12);
});

test("LINEAR_EXACT spans exactly its width", () => {
  const voi: Voi = { type: "window", center: 100, width: 50, function: "LINEAR_EXACT" };
  assert.deepEqual([75, 100, 125, 126].map((v) => display(v, voi, windowOf(voi))), [0, 0.5, 1, 1]);
});

test("SIGMOID is half at its centre and never quite saturates", () => {
  const voi: Voi = { type: "window", center: 100, width: 50, function: "SIGMOID" };
  assert.equal(display(100, voi, windowOf(voi)), 0.5);
  assert.ok(Math.abs(display(150, voi, windowOf(voi)) - 1 / (1 + Math.exp(-4))) < 1e-12);
});

test("a VOI LUT at its own window is the table itself, clamped at both ends", () => {
  const voi: Voi = { type: "lut", first: 10, bits: 8, data: [0, 64, 128, 255] };
  const grey = (v: number): number => Math.round(display(v, voi, windowOf(voi)) * 255);
  assert.deepEqual([5, 10, 11, 12, 13, 50].map(grey), [0, 0, 64, 128, 255, 255]);
});

test("windowing a VOI LUT keeps its shape", () => {
  const voi: Voi = { type: "lut", first: 0, bits: 8, data: [0, 10, 20, 255] };
  assert.equal(display(6, voi, { wc: 4, ww: 8 }) * 255, 255);
  assert.equal(display(4, voi, { wc: 4, ww: 8 }) * 255, 20);
});

test("inverting mirrors every grey level", () => {
  const plain = displayTable(linear, windowOf(linear), false, 4095);
  const inverted = displayTable(linear, windowOf(linear), true, 4095);
  plain.forEach((grey, i) => assert.equal(grey + inverted[i]!, 255));
});

test("the full range maps the frame's lowest value to black and its highest to white", () => {
  const voi = fullRange(255);
  const table = displayTable(voi, windowOf(voi), false, 255);
  assert.deepEqual([table[0], table[255]], [0, 255]);
});
