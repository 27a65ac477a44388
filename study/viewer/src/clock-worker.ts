/**
 * The agent's socket, in a Web Worker: while the page paints, its main thread stamps 8 to 17 ms late, a worker within
 * 0.1 ms. The worker asks which station it is, says hello with the key the page brings, measures the clocks (a burst of 20, then once a second) and relays everything else.
 *
 * Its own clock starts later than the page's; every time it reports is on the origin the page named.
 */

import type { FromWorker, Json, ToWorker } from "./agent-protocol.ts";

interface WorkerScope {
  onmessage: ((event: MessageEvent<ToWorker>) => void) | null;
  postMessage(message: FromWorker): void;
  close(): void;
}
const scope = globalThis as unknown as WorkerScope;

const BURST = 20;
const INTERVAL_MS = 1000;
const REPLY_MS = 2000;

let origin = performance.timeOrigin;
let url = "";
let refusal = "";
let socket: WebSocket | null = null;
let welcomed = false;
let closed = false;
let attempts = 0;
let sent = 0;
let waiting: number | null = null;
let timer: ReturnType<typeof setTimeout> | undefined;

const now = (): number => performance.now() + (performance.timeOrigin - origin);

function connect(): void {
  welcomed = false;
  sent = 0;
  waiting = null;
  refusal = "";
  try {
    socket = new WebSocket(url);
  } catch {
    scope.postMessage({ type: "closed", sentence: `The station agent's address ${url} is not a WebSocket address.`, final: true });
    return;
  }
  const mine = socket;
  mine.onopen = () => mine.send(JSON.stringify({ op: "identify" }));
  mine.onmessage = (event: MessageEvent<string>) => {
    const t3 = now();
    let message: Json;
    try {
      message = JSON.parse(event.data) as Json;
    } catch {
      return;
    }
    if (message.op === "clock") {
      // A late answer to an exchange that was given up is no measurement.
      if (message.t0 !== waiting) return;
      waiting = null;
      scope.postMessage({ type: "exchange", exchange: [message.t0 as number, message.t1 as number, message.t2 as number, t3] });
      schedule();
      return;
    }
    if (message.op === "station") {
      scope.postMessage({ type: "station", station: String(message.station) });
      return;
    }
    if (message.op === "welcome") {
      welcomed = true;
      attempts = 0;
      schedule();
    }
    scope.postMessage({ type: "message", message });
  };
  mine.onclose = (event) => {
    if (socket !== mine) return;
    clearTimeout(timer);
    socket = null;
    if (closed) return;
    const sentence = refusal || event.reason || (welcomed
      ? "The connection to the station agent was lost."
      : "The station agent does not answer on this computer: start gazeroom-agent.");
    scope.postMessage({ type: "closed", sentence, final: false });
    attempts += 1;
    timer = setTimeout(connect, Math.min(500 * 2 ** (attempts - 1), 5000));
  };
}

function exchange(): void {
  if (!socket || socket.readyState !== WebSocket.OPEN) return;
  sent += 1;
  clearTimeout(timer);
  timer = setTimeout(() => {
    waiting = null;
    schedule();
  }, REPLY_MS);
  const t0 = now();
  waiting = t0;
  socket.send(JSON.stringify({ op: "clock", t0 }));
}

function schedule(): void {
  clearTimeout(timer);
  if (sent < BURST) exchange();
  else timer = setTimeout(exchange, INTERVAL_MS);
}

scope.onmessage = ({ data }) => {
  switch (data.type) {
    case "connect":
      ({ url, origin } = data);
      scope.postMessage({ type: "ready", now: now() });
      connect();
      break;
    case "hello":
      if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ op: "hello", key: data.key }));
      break;
    case "refused":
      refusal = data.sentence;
      socket?.close();
      break;
    case "send":
      // What cannot be sent now is not kept: a stimulus of the past would mislead, and start is asked for again.
      if (welcomed && socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(data.message));
      break;
    case "close":
      closed = true;
      clearTimeout(timer);
      socket?.close();
      scope.close();
      break;
  }
};
