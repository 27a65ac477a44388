/** What the server tells the reading room (`read-config`), and what this page keeps of a read until it is submitted. */

import type { ReadEvent } from "./events.ts";
import type { TimedTextState } from "./sentences.ts";
import type { ImageDescription } from "./viewport.ts";

export interface CaptureConfig {
  readonly recording: string;
  readonly pageSocket: string;
  readonly ingestSocket: string;
  readonly agent: string;
  /** Where the server tells the key of the agent that was found, and mints the token for it. */
  readonly enter: string;
  readonly required: boolean;
}

export interface ReadConfig {
  readonly readId: string;
  readonly studyName: string;
  readonly position: { readonly index: number; readonly total: number; readonly period: number };
  readonly assistance: "none" | "concurrent" | "on_request" | "second_read";
  /** What whoever reads with this model must know of it. */
  readonly assistanceCaveats: readonly string[];
  readonly state: string;
  /** The number the read's next event gets, as far as the server knows. */
  readonly nextEvent?: number;
  readonly image: ImageDescription & { readonly id: string; readonly frameUrl: string };
  readonly next: { readonly frameUrl: string } | null;
  readonly findings: readonly string[];
  readonly urls: { readonly assistance: string; readonly events: string; readonly submit: string; readonly worklist: string };
  readonly csrfToken: string;
  readonly capture: CaptureConfig | null;
}

export interface Mark {
  readonly finding: string;
  readonly shape: "box" | "point";
  /** Image pixels: a box's x0, y0, x1, y1 or a point's x, y. */
  points: number[];
  confidence: number | null;
}

/** Survives a reload of this tab, not the tab: answers do not stay on a shared station's disk. */
export interface Draft {
  origin: number;
  nextEvent: number;
  pendingEvents: [number, ReadEvent][];
  confidence: Record<string, number>;
  marks: Mark[];
  report: TimedTextState;
}

const keyOf = (readId: string): string => `gazeroom.read.${readId}`;

export function loadDraft(readId: string): Draft | null {
  try {
    const text = sessionStorage.getItem(keyOf(readId));
    return text ? (JSON.parse(text) as Draft) : null;
  } catch {
    return null;
  }
}

export function saveDraft(readId: string, draft: Draft): void {
  try {
    sessionStorage.setItem(keyOf(readId), JSON.stringify(draft));
  } catch {
    // Without session storage a reload forgets the draft; nothing else depends on it.
  }
}

export function dropDraft(readId: string): void {
  try {
    sessionStorage.removeItem(keyOf(readId));
  } catch {
    // Nothing was kept.
  }
}
