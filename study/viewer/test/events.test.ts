import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { EventLog } from "../src/events.ts";

/** A page of its own and a server that keeps every event it is sent. */
function page(): { events: EventLog; sent: () => string[]; leave: () => void } {
  mock.timers.reset();
  mock.timers.enable({ apis: ["setInterval"] });
  const posted: { seq: number; kind: string }[] = [];
  const leaving: (() => void)[] = [];
  const answer = (body: string): Response => {
    posted.push(...(JSON.parse(body) as { events: { seq: number; kind: string }[] }).events);
    return new Response(JSON.stringify({ next: posted.length }));
  };
  Object.assign(globalThis, {
    window: { addEventListener: (_: string, listener: () => void) => leaving.push(listener) },
    fetch: (_: string, init: { body: string }) => Promise.resolve(answer(init.body)),
  });
  const options = { url: "/events/", csrfToken: "", next: 0, pending: [], time: () => 0, remember: () => {} };
  return { events: new EventLog(options), sent: () => posted.map((event) => event.kind), leave: () => leaving.forEach((go) => go()) };
}

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test("what happens after the last round is not sent to a read that is being submitted", async () => {
  const { events, sent, leave } = page();
  events.add("submit_pressed");
  await events.close();
  events.add("trajectory_ended");
  mock.timers.tick(5000);
  leave();
  await settled();
  assert.deepEqual(sent(), ["submit_pressed"]);
});

test("where the submission fails, the reader reads on and nothing of it is lost", async () => {
  const { events, sent } = page();
  await events.close();
  events.add("trajectory_ended");
  events.open();
  events.add("submit_failed");
  mock.timers.tick(1000);
  await settled();
  assert.deepEqual(sent(), ["trajectory_ended", "submit_failed"]);
});
