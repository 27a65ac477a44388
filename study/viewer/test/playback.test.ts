import assert from "node:assert/strict";
import { test } from "node:test";
import { dotSize, inStep, sequence, upper, windowAt } from "../src/playback.ts";

const fixations = [
  { onset: 0, duration: 200 },
  { onset: 250, duration: 300 },
  { onset: 600, duration: 400 },
];

test("before the first fixation nothing is shown", () => {
  assert.deepEqual(windowAt(fixations, -1, 1000), []);
});

test("the current fixation grows and earlier ones fade", () => {
  const shown = windowAt(fixations, 800, 1000);
  assert.deepEqual(shown.map((s) => s.index), [0, 1, 2]);
  assert.deepEqual(shown.map((s) => s.progress), [1, 1, 0.5]);
  assert.deepEqual(shown.map((s) => s.strength), [0.4, 0.75, 1]);
});

test("what ended before the window is gone", () => {
  assert.deepEqual(windowAt(fixations, 800, 300).map((s) => s.index), [1, 2]);
  assert.deepEqual(windowAt(fixations, 5000, 300), []);
});

test("the search finds the last item at or before a time", () => {
  assert.deepEqual([-1, 0, 249, 250, 9999].map((t) => upper(fixations, t, (f) => f.onset)), [0, 1, 1, 2, 3]);
});

test("a trajectory is laid out with saccades between its fixations", () => {
  const { items, total } = sequence([{ duration_ms: 100 }, { duration_ms: 200 }], 40);
  assert.deepEqual(items.map((i) => i.onset), [0, 140]);
  assert.equal(total, 340);
  assert.equal(sequence([]).total, 0);
});

test("longer fixations are larger dots, up to a limit", () => {
  assert.ok(dotSize(100) < dotSize(400));
  assert.equal(dotSize(1e9), 48);
});

test("two playbacks go by the same clock, or stretched by the same share", () => {
  assert.equal(inStep(3, 20, 5, false), 3);
  assert.equal(inStep(12, 20, 5, false), 12);
  assert.equal(inStep(12, 20, 5, true), 3);
  assert.equal(inStep(20, 20, 5, true), 5);
  assert.equal(inStep(0, 0, 5, true), 0);
});
