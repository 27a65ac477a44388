/** What page, worker and station agent say to each other. */

/** Four timestamps: browser ms sent, agent LSL s received, agent LSL s answered, browser ms received. */
export type Exchange = readonly [number, number, number, number];

export type Json = { op?: string; [key: string]: unknown };

export interface Display {
  readonly width_px: number;
  readonly height_px: number;
  readonly width_mm: number;
  readonly height_mm: number;
  readonly distance_mm: number;
}

export interface Welcome {
  readonly tracker: { readonly found: boolean; readonly name?: string; readonly serial?: string; readonly rate_hz?: number };
  readonly display: Display;
  readonly recording: boolean;
}

export interface Status {
  readonly recording: boolean;
  readonly tracker: boolean;
  readonly pending_frames: number;
  readonly uploaded: number;
}

export interface Samples {
  readonly t: number[];
  readonly left: [number, number][];
  readonly right: [number, number][];
  readonly valid_left: boolean[];
  readonly valid_right: boolean[];
}

export interface Started {
  readonly recording: string;
  readonly epoch: string;
}

export interface Stopped {
  readonly recording: string;
  readonly last_sequence: number;
  readonly frames: number;
  readonly samples: number;
}

/** What the server says of the station a page has found, to a reader who may sit there. */
export interface Entry {
  readonly station: string;
  readonly name: string;
  /** Opens the agent's socket. */
  readonly key: string;
  /** For the agent, where a recording was named. */
  readonly token?: string;
  /** The display that was calibrated there. */
  readonly display?: Display | null;
}

export type ToWorker =
  | { type: "connect"; url: string; origin: number }
  | { type: "hello"; key: string }
  | { type: "refused"; sentence: string }
  | { type: "send"; message: Json }
  | { type: "close" };

export type FromWorker =
  | { type: "ready"; now: number }
  | { type: "station"; station: string }
  | { type: "message"; message: Json }
  | { type: "exchange"; exchange: Exchange }
  | { type: "closed"; sentence: string; final: boolean };
