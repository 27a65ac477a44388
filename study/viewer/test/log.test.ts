import assert from "node:assert/strict";
import { test } from "node:test";
import { NumberedLog } from "../src/log.ts";

function filled(count: number): NumberedLog<string> {
  const log = new NumberedLog<string>();
  for (let i = 0; i < count; i++) log.push(`item ${i}`);
  return log;
}

test("nothing is sent before it is stored", () => {
  const log = filled(3);
  assert.equal(log.batch(10), null);
  log.stored(2);
  assert.deepEqual(log.batch(10), { from: 0, items: ["item 0", "item 1"] });
});

test("a new connection sends again what was not acknowledged, once and in order", () => {
  const log = filled(5);
  log.stored(5);
  log.batch(4);
  log.acknowledge(2);
  log.rewind();
  assert.deepEqual(log.batch(10), { from: 2, items: ["item 2", "item 3", "item 4"] });
  assert.equal(log.batch(10), null);
  log.acknowledge(5);
  assert.equal(log.pending, 0);
});

test("after a reload the numbers go on where they stopped", () => {
  const log = new NumberedLog<string>(7, [[5, "five"], [6, "six"]]);
  assert.equal(log.push("seven"), 7);
  log.stored(8);
  assert.deepEqual(log.batch(10), { from: 5, items: ["five", "six", "seven"] });
});

test("numbers the server holds and this browser forgot are not used again", () => {
  const log = filled(2);
  log.stored(2);
  assert.equal(log.rebase(40), 40);
  // Under their new numbers they have to be stored again before they are sent.
  assert.equal(log.batch(10), null);
  assert.deepEqual(log.unstored(), [[40, "item 0"], [41, "item 1"]]);
  assert.equal(log.push("item 2"), 42);
});

test("an acknowledgement from the future does not skip what is still here", () => {
  const log = filled(2);
  log.stored(2);
  log.acknowledge(9);
  assert.equal(log.acknowledged, 2);
});

test("where the server expects less than is held here, the numbers close the gap", () => {
  const log = new NumberedLog<string>(9, [[7, "seven"], [8, "eight"]]);
  assert.equal(log.renumber(4), -3);
  log.stored(log.next);
  assert.deepEqual(log.batch(10), { from: 4, items: ["seven", "eight"] });
  assert.equal(log.push("next"), 6);
});
