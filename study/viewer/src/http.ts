/** Requests to our own server; every failure becomes one sentence. */

export class Refused extends Error {
  readonly status: number;

  constructor(status: number, sentence: string) {
    super(sentence);
    this.status = status;
  }
}

async function sentenceOf(response: Response): Promise<string> {
  try {
    const body = (await response.json()) as { error?: unknown };
    if (typeof body.error === "string" && body.error) return body.error;
  } catch {
    // Not JSON: the status must do.
  }
  if (response.status === 401 || response.status === 403) return "The server no longer accepts this session: sign in again.";
  return `The server answered ${response.status}: try again, and tell the coordinator if it stays so.`;
}

async function answered(request: Promise<Response>): Promise<Response> {
  let response: Response;
  try {
    response = await request;
  } catch {
    throw new Refused(0, "The server cannot be reached: check the network and try again.");
  }
  if (response.redirected && new URL(response.url).pathname.startsWith("/accounts/")) {
    throw new Refused(403, "The session has ended: sign in again; what you wrote stays in this tab.");
  }
  if (!response.ok) throw new Refused(response.status, await sentenceOf(response));
  return response;
}

export async function getJson<T>(url: string): Promise<T> {
  const response = await answered(fetch(url, { headers: { Accept: "application/json" }, credentials: "same-origin" }));
  return (await response.json()) as T;
}

export async function postJson<T>(url: string, body: unknown, csrfToken: string, keepalive = false): Promise<T> {
  const response = await answered(
    fetch(url, {
      method: "POST",
      credentials: "same-origin",
      keepalive,
      headers: { "Content-Type": "application/json", Accept: "application/json", "X-CSRFToken": csrfToken },
      body: JSON.stringify(body),
    }),
  );
  return (await response.json()) as T;
}

/** The stored frame: little-endian 16-bit values, row by row. `progress` gets 0 to 1. */
export async function getFrame(
  url: string, rows: number, columns: number, progress: (part: number) => void = () => {},
): Promise<Uint16Array> {
  const response = await answered(fetch(url, { credentials: "same-origin" }));
  const expected = rows * columns * 2;
  const bytes = new Uint8Array(expected);
  let length = 0;
  const reader = response.body!.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    if (length + value.length <= expected) bytes.set(value, length);
    length += value.length;
    progress(Math.min(length / expected, 1));
  }
  if (length !== expected) {
    throw new Error(`The image arrived with ${length} bytes where ${rows} × ${columns} pixels need ${expected}: reload the page.`);
  }
  return new Uint16Array(bytes.buffer);
}
