import assert from "node:assert/strict";
import { test } from "node:test";
import { split, TimedText } from "../src/sentences.ts";

function type(text: TimedText, added: string, from: number, step = 100): number {
  let t = from;
  for (const char of added) {
    text.update(text.text + char, t);
    t += step;
  }
  return t;
}

const parts = (text: string): string[] => split(text).map(({ from, to }) => text.slice(from, to));

test("sentences end at full stops and line breaks, not at decimals or abbreviations", () => {
  assert.deepEqual(parts("Heart is 1.5 cm wide. Clear lungs\nNo effusion, e.g. none!  "), [
    "Heart is 1.5 cm wide.", "Clear lungs", "No effusion, e.g. none!",
  ]);
});

test("a sentence runs from its first to its last keystroke", () => {
  const text = new TimedText();
  const then = type(text, "Clear.", 1000);
  type(text, " Big heart.", then + 5000);
  const [first, second] = text.sentences();
  assert.deepEqual([first!.start, first!.end], [1000, 1500]);
  // The space before "Big" belongs to neither.
  assert.deepEqual([second!.start, second!.end], [then + 5100, then + 6000]);
});

test("a correction inside an earlier sentence extends that sentence only", () => {
  const text = new TimedText();
  type(text, "Smal heart. Clear.", 0, 10);
  text.update("Small heart. Clear.", 9000, 5);
  const [first, second] = text.sentences();
  assert.equal(first!.text, "Small heart.");
  assert.deepEqual([first!.start, first!.end], [0, 9000]);
  assert.deepEqual([second!.start, second!.end], [120, 170]);
});

test("a deletion counts for the sentence it happened in", () => {
  const text = new TimedText();
  type(text, "Heartt big. Clear.", 0, 10);
  text.update("Heart big. Clear.", 5000, 5);
  assert.deepEqual(text.sentences().map((s) => s.end), [5000, 170]);
});

test("deleting a whole sentence leaves the others' times alone", () => {
  const text = new TimedText();
  type(text, "One.\nTwo.", 0, 10);
  text.update("Two.", 5000, 0);
  assert.deepEqual(text.sentences().map((s) => [s.text, s.start, s.end]), [["Two.", 50, 80]]);
});

test("a repeated letter typed at the caret is attributed to the caret", () => {
  const text = new TimedText();
  type(text, "aa. aa.", 0, 10);
  text.update("aaa. aa.", 500, 1);
  assert.deepEqual(text.state.first.slice(0, 3), [500, 0, 10]);
});

test("pasted text has the paste's time", () => {
  const text = new TimedText();
  text.update("No pneumothorax. Clear.", 700);
  assert.deepEqual(text.sentences().map((s) => [s.start, s.end]), [[700, 700], [700, 700]]);
});

test("the state survives a reload", () => {
  const text = new TimedText();
  type(text, "Clear lungs.", 5);
  const again = new TimedText(JSON.parse(JSON.stringify(text.state)));
  assert.deepEqual(again.sentences(), text.sentences());
});
