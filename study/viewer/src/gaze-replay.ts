/**
 * Gaze over the image, as the reader saw it: the recorded view is applied over time, the gaze trails behind in a short
 * window, the sentence being written stands below.
 */

import { apply, invert } from "./affine.ts";
import type { Matrix } from "./affine.ts";
import { Controls } from "./controls.ts";
import { h, svg } from "./dom.ts";
import { getFrame, getJson } from "./http.ts";
import { dot, Overlay } from "./overlay.ts";
import { dotSize, upper, windowAt } from "./playback.ts";
import type { ScreenPlace } from "./screen.ts";
import { Viewport } from "./viewport.ts";
import type { ImageDescription, View } from "./viewport.ts";

export interface ReplayConfig extends ImageDescription {
  readonly frameUrl: string;
  readonly trackUrl: string;
}

interface RecordedState {
  /** Seconds from the recording's start, as every time here. */
  readonly t: number;
  /** Image pixels to CSS pixels of the reading page. */
  readonly a: Matrix;
  readonly rect?: readonly [number, number, number, number];
  readonly view?: Partial<View>;
  readonly visible?: boolean;
}

interface Track {
  readonly t: readonly number[];
  readonly x: readonly (number | null)[];
  readonly y: readonly (number | null)[];
  readonly fixations: readonly { readonly x: number; readonly y: number; readonly onset: number; readonly duration: number }[];
  readonly states: readonly RecordedState[];
  readonly sentences: readonly { readonly text: string; readonly start: number; readonly end: number }[];
  /** Where something is missing: no sample came, no image was shown, or the tracker saw no gaze. */
  readonly intervals?: readonly { readonly kind: "gap" | "away" | "lost"; readonly why: string; readonly start: number; readonly end: number }[];
  readonly assistance_reveals?: readonly (number | { readonly t: number })[];
  readonly duration: number;
}

/** The timeline's colours in words, in the order they are explained. */
const KEY = [
  ["fixation", "fixations"],
  ["sentence", "sentences as they were written"],
  ["lost", "the tracker saw no gaze"],
  ["away", "no image on the screen"],
  ["gap", "no sample came"],
  ["reveal", "GazeX shown"],
] as const;
const MISSING = {
  gap: (why: string): string => `No sample came. ${why}.`,
  away: (): string => "No image was on the screen.",
  lost: (): string => "The tracker saw no gaze.",
} as const;
const TRAIL_S = 0.8;
const FIXATIONS_S = 2.5;
/** The reading room's image area at 1280 × 800, for states recorded without their rectangle. */
const USUAL_RECT = [0, 0, 920, 800] as const;

function clock(seconds: number): string {
  const whole = Math.max(0, seconds);
  return `${Math.floor(whole / 60)}:${(whole % 60).toFixed(1).padStart(4, "0")}`;
}

/** An image with an overlay, moved by mouse and keys. */
export interface Stage {
  readonly element: HTMLElement;
  readonly viewport: Viewport;
  readonly overlay: Overlay;
  readonly controls: Controls;
}

/** A replay, for a page that has more than one. */
export interface Replay extends Stage {
  readonly duration: number;
  /** Stand still at a moment, in seconds; says nothing to `onMoved`. */
  seek(seconds: number): void;
  toggle(): void;
  /** Called with the moment shown, whenever the replay itself has moved: played, or by its own slider and keys. */
  onMoved: (seconds: number) => void;
}

/** Builds a stage; `movable` says whether the mouse moves the image now, or belongs to the page. */
export function stage(label: string, movable: () => boolean = () => true): Stage {
  const canvas = h("canvas", { class: "replay-canvas" });
  const layerRoot = svg("svg", { class: "replay-overlay", "aria-hidden": "true" });
  const element = h("div", { class: "replay-stage", tabindex: 0, role: "img", "aria-label": label }, canvas, layerRoot);
  const still = { x: 0, y: 0, onChange: () => {} } as unknown as ScreenPlace;
  const viewport = new Viewport(canvas, still);
  const overlay = new Overlay(layerRoot);
  viewport.onPresented = ({ a, rect }) => overlay.present([a[0], a[1], a[2], a[3], a[4] - rect[0], a[5] - rect[1]]);
  for (const type of ["pointerdown", "wheel", "dblclick", "contextmenu"]) {
    element.addEventListener(type, (event) => movable() || event.stopImmediatePropagation(), { capture: true });
  }
  return { element, viewport, overlay, controls: new Controls(viewport, element, null) };
}

/** Puts the replay into `root`. `pixels` is the frame where the page has it already. */
export async function replay(root: HTMLElement, config: ReplayConfig, pixels?: Promise<Uint16Array>): Promise<Replay> {
  root.classList.add("replay");
  const message = h("p", { class: "replay-message", role: "status" }, "Loading the recording…");
  root.replaceChildren(message);
  const [frame, track] = await Promise.all([
    pixels ?? getFrame(config.frameUrl, config.rows, config.columns),
    getJson<Track>(config.trackUrl),
  ]);
  if (track.t.length !== track.x.length || track.t.length !== track.y.length) {
    throw new Error(`The gaze track has ${track.t.length} times and ${track.x.length} positions: process the recording again.`);
  }

  const free = h("input", { type: "checkbox" });
  // Following the reader, the mouse belongs to the page; in the free view it moves the image.
  const { element, viewport, overlay, controls } = stage("Gaze over the radiograph", () => free.checked);
  const play = h("button", { type: "button", class: "replay-play" }, "Play");
  const slider = h("input", { type: "range", min: 0, max: track.duration, step: 0.01, value: 0, "aria-label": "Time in the recording" });
  const time = h("span", { class: "replay-time" });
  const speed = h("select", { "aria-label": "Speed" }, ...[0.25, 0.5, 1, 2, 4].map((factor) => h("option", { value: factor }, `${factor}×`)));
  speed.value = "1";
  const strip = svg("svg", { class: "replay-strip", viewBox: `0 0 ${Math.max(track.duration, 0.001)} 3`, preserveAspectRatio: "none", "aria-hidden": "true" });
  const caption = h("p", { class: "replay-caption", "aria-live": "off" });
  const bar = h("div", { class: "replay-bar" }, play, h("div", { class: "replay-line" }, slider, strip), time, speed, h("label", {}, free, " Free view"));
  const key = h("ul", { class: "replay-key" });
  root.replaceChildren(element, caption, bar, key);

  const outline = svg("path", { class: "replay-seen" });
  overlay.layer("seen").append(outline);
  const fixations = overlay.layer("fixations");
  const trail = svg("path", { class: "replay-trail" });
  const eye = overlay.layer("eye");
  overlay.layer("trail").append(trail);
  viewport.setImage(config, frame);

  const reveals = (track.assistance_reveals ?? []).map((reveal) => (typeof reveal === "number" ? reveal : reveal.t));
  // Fixations above, what was written below; a gap goes through both. At least a pixel or so of each is seen.
  const least = track.duration / 600;
  const stripe = (kind: string, start: number, end: number, y: number, height: number): void => {
    strip.append(svg("rect", { class: `strip-${kind}`, x: start, y, width: Math.max(end - start, least), height }));
  };
  for (const { onset, duration } of track.fixations) stripe("fixation", onset, onset + duration, 0.2, 1.1);
  for (const { start, end } of track.sentences) stripe("sentence", start, end, 1.9, 0.9);
  for (const { kind, start, end } of track.intervals ?? []) stripe(kind, start, end, 0, kind === "gap" ? 3 : 1.5);
  for (const t of reveals) stripe("reveal", t, t, 0, 3);
  const present = new Set([
    ...(track.fixations.length > 0 ? ["fixation"] : []),
    ...(track.sentences.length > 0 ? ["sentence"] : []),
    ...(track.intervals ?? []).map(({ kind }) => kind),
    ...(reveals.length > 0 ? ["reveal"] : []),
  ]);
  for (const [kind, words] of KEY) if (present.has(kind)) key.append(h("li", { class: `key-${kind}` }, words));

  let position = 0;
  let playing = false;
  let last = 0;
  let applied = -1;

  const follow = (): void => {
    const index = upper(track.states, position, (state) => state.t) - 1;
    const state = track.states[Math.max(index, 0)];
    if (!state) return;
    if (index !== applied || !free.checked) outline.setAttribute("d", seen(state));
    if (free.checked || index === applied) return;
    applied = index;
    viewport.set(viewAsSeen(state, viewport), "replay");
  };
  const paint = (): void => {
    follow();
    const end = upper(track.t, position, (t) => t);
    let from = end;
    while (from > 0 && track.t[from - 1]! > position - TRAIL_S) from--;
    trail.setAttribute("d", path(track, from, end));
    const dots = windowAt(track.fixations, position, FIXATIONS_S).map(({ item, progress, strength }) => {
      const spot = dot(item.x, item.y, "replay-fixation", dotSize(item.duration * 1000 * progress));
      spot.style.opacity = strength.toFixed(2);
      return spot;
    });
    fixations.replaceChildren(...dots);
    const [x, y] = [track.x[end - 1], track.y[end - 1]];
    const fresh = end > 0 && position - track.t[end - 1]! < 0.1;
    eye.replaceChildren(...(fresh && x != null && y != null ? [dot(x, y, "replay-eye")] : []));
    const sentence = track.sentences.findLast(({ start }) => start <= position);
    const missing = (track.intervals ?? []).find(({ start, end }) => start <= position && position < end);
    const now = missing ? MISSING[missing.kind](missing.why) : sentence && position <= sentence.end + 1.5 ? sentence.text : "";
    caption.classList.toggle("missing", missing !== undefined);
    element.classList.toggle("away", missing?.kind === "away");
    if (caption.textContent !== now) caption.textContent = now;
    slider.value = String(position);
    slider.setAttribute("aria-valuetext", clock(position));
    time.textContent = `${clock(position)} / ${clock(track.duration)}`;
    root.dataset.position = position.toFixed(2);
  };
  const tick = (t: number): void => {
    if (!playing) return;
    position = Math.min(position + (Math.max(0, t - last) / 1000) * Number(speed.value), track.duration);
    last = t;
    paint();
    handle.onMoved(position);
    if (position >= track.duration) toggle();
    else requestAnimationFrame(tick);
  };
  const toggle = (): void => {
    playing = !playing;
    play.textContent = playing ? "Pause" : "Play";
    if (!playing) return;
    if (position >= track.duration) position = 0;
    handle.onMoved(position);
    last = performance.now();
    requestAnimationFrame(tick);
  };
  const show = (t: number): void => {
    position = Math.min(Math.max(t, 0), track.duration);
    paint();
  };
  const seek = (t: number): void => {
    show(t);
    handle.onMoved(position);
  };
  const handle: Replay = {
    element, viewport, overlay, controls, duration: track.duration, toggle, onMoved: () => {},
    seek: (t) => {
      if (playing) toggle();
      show(t);
    },
  };
  play.addEventListener("click", toggle);
  slider.addEventListener("input", () => seek(Number(slider.value)));
  free.addEventListener("change", () => {
    applied = -1;
    element.classList.toggle("free", free.checked);
    paint();
  });
  element.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === " ") toggle();
    else if (event.key === "ArrowLeft") seek(position - 1);
    else if (event.key === "ArrowRight") seek(position + 1);
    else if (!(free.checked && controls.key(event))) return;
    event.preventDefault();
  });
  new ResizeObserver(() => {
    applied = -1;
    paint();
  }).observe(element);
  paint();
  root.dataset.ready = "true";
  return handle;
}

/** Say in the place of a replay why there is none. */
export function excuse(root: HTMLElement, error: unknown): void {
  const sentence = error instanceof Error ? error.message : String(error);
  root.replaceChildren(h("p", { class: "replay-message", role: "alert" }, sentence));
}

/** The recorded view on this canvas: the same image region, as large as it fits. */
function viewAsSeen(state: RecordedState, viewport: Viewport): Partial<View> {
  const [left, top, width, height] = state.rect ?? USUAL_RECT;
  const { surface } = viewport;
  const [cx, cy] = apply(invert(state.a), left + width / 2, top + height / 2);
  const css = Math.hypot(state.a[0], state.a[1]);
  const factor = Math.min(surface.width / width, surface.height / height);
  const { wc, ww, invert: inverted, rotation, voi } = state.view ?? {};
  return {
    cx,
    cy,
    scale: css * factor * (surface.deviceWidth / surface.width),
    ...(wc !== undefined && { wc }),
    ...(ww !== undefined && { ww }),
    ...(inverted !== undefined && { invert: inverted }),
    ...(rotation !== undefined && { rotation }),
    flip: state.a[0] * state.a[3] < state.a[1] * state.a[2] ? -1 : 1,
    ...(voi !== undefined && { voi }),
  };
}

/** The outline of what the reader's window showed, in image pixels. */
function seen({ a, rect = USUAL_RECT }: RecordedState): string {
  const inverse = invert(a);
  const [left, top, width, height] = rect;
  const corners = [[left, top], [left + width, top], [left + width, top + height], [left, top + height]] as const;
  return `M${corners.map(([u, v]) => apply(inverse, u, v).map((n) => n.toFixed(1)).join(" ")).join("L")}Z`;
}

/** The gaze line; it breaks where there was no valid sample. */
function path(track: Track, from: number, to: number): string {
  let d = "";
  let pen = false;
  for (let i = from; i < to; i++) {
    const x = track.x[i];
    const y = track.y[i];
    if (x == null || y == null) {
      pen = false;
      continue;
    }
    d += `${pen ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`;
    pen = true;
  }
  return d;
}
