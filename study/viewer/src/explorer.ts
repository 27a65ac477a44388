/**
 * One case of an unblinded comparison: what is there and what was marked on the left, GazeX's answer on the right; a
 * reader's gaze replayed with GazeX's inspection, or with the same reader's gaze in another arm, in step. What is shown
 * is in the page's address.
 */

import { Assistance } from "./assistance.ts";
import type { Evidence } from "./assistance.ts";
import { h, jsonScript, need, svg } from "./dom.ts";
import { excuse, replay, stage } from "./gaze-replay.ts";
import type { Replay, Stage } from "./gaze-replay.ts";
import { getFrame } from "./http.ts";
import { Layers } from "./layers.ts";
import { box, dot } from "./overlay.ts";
import type { Overlay } from "./overlay.ts";
import { inStep } from "./playback.ts";
import type { ImageDescription } from "./viewport.ts";

interface ExplorerConfig extends ImageDescription {
  readonly frameUrl: string;
  readonly reference: readonly { readonly finding: string; readonly side: string; readonly box: readonly number[] }[];
  readonly arms: readonly { readonly key: string; readonly name: string }[];
  readonly marks: readonly {
    readonly reader: string;
    readonly arm: string;
    readonly finding: string;
    readonly shape: "box" | "point";
    readonly points: readonly number[];
  }[];
  readonly evidence: Evidence | null;
  /** The chosen reader's code, and the arm on each side; null on the right is GazeX. */
  readonly reader: string | null;
  readonly leftArm: string | null;
  readonly rightArm: string | null;
  readonly leftTrack: string | null;
  readonly rightTrack: string | null;
}

/** Sets a parameter of the page's address and of every link and form that leads to a page like it. */
function keep(name: string, value: string): void {
  const here = new URL(location.href);
  if (value) here.searchParams.set(name, value);
  else here.searchParams.delete(name);
  history.replaceState(null, "", here);
  for (const link of document.querySelectorAll<HTMLAnchorElement>(".explorer a[data-key], .explorer .answers a")) {
    const url = new URL(link.href);
    if (value) url.searchParams.set(name, value);
    else url.searchParams.delete(name);
    link.href = url.href;
  }
}

/** What is there, and what the readers marked; `arm` is the arm of the gaze on this side, if there is one. */
function draw(layers: Layers, overlay: Overlay, config: ExplorerConfig, arm: string | null): void {
  const reference = layers.add("reference", "Reference", overlay);
  for (const { finding, side, box: points } of config.reference) {
    reference.group.append(box(points, "reference-box"));
    reference.labels.push(overlay.label(`${side} ${finding}`.trim(), points[0]!, points[1]!, "reference-label"));
  }
  for (const [index, { key, name }] of config.arms.entries()) {
    const marks = config.marks.filter((mark) => mark.arm === key);
    const layer = layers.add(`marks-${key}`, `Marks, ${name}`, overlay, marks.length);
    layer.group.classList.add(`arm-${index}`);
    for (const { reader, finding, shape, points } of marks) {
      const mine = config.reader === null || (reader === config.reader && (arm === null || key === arm));
      const [x = 0, y = 0] = points;
      const shapes = shape === "box" ? [box(points, "mark-line")] : [dot(x, y, "mark-ring"), dot(x, y, "mark-centre")];
      const title = svg("title");
      title.textContent = `${reader}, ${name}: ${finding}`;
      layer.group.append(svg("g", { class: mine ? "reader-mark" : "reader-mark quiet" }, title, ...shapes));
      if (mine && config.reader !== null) layer.labels.push(overlay.label(finding, x, y, `mark-label arm-${index}`));
    }
  }
}

async function mount(root: HTMLElement): Promise<void> {
  const config = jsonScript<ExplorerConfig>(root.dataset.config!);
  const { evidence } = config;
  const [left, right, panel] = [need("left"), need("right"), need("gazex")];
  const pixels = getFrame(config.frameUrl, config.rows, config.columns);
  const layers = new Layers(need("layers"), new URL(location.href).searchParams.get("layers"), (shown) => keep("layers", shown));

  const side = (place: HTMLElement, trackUrl: string | null, label: string): Promise<Replay | Stage> =>
    trackUrl === null ? still(place, label) : replay(place, { ...config, trackUrl }, pixels);
  const still = async (place: HTMLElement, label: string): Promise<Stage> => {
    place.classList.add("replay");
    place.replaceChildren(h("p", { class: "replay-message", role: "status" }, "Loading the image…"));
    const frame = await pixels;
    const made = stage(label);
    made.element.classList.add("free");
    made.element.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (made.controls.key(event)) event.preventDefault();
    });
    place.replaceChildren(made.element);
    made.viewport.setImage(config, frame);
    place.dataset.ready = "true";
    return made;
  };
  // One that cannot be shown leaves the other as it is.
  const [shown, beside] = await Promise.all([
    side(left, config.leftTrack, "The radiograph with the reference and the readers’ marks").catch((error: unknown) => excuse(left, error)),
    side(right, config.rightTrack, "The radiograph with GazeX’s boxes").catch((error: unknown) => excuse(right, error)),
  ]);
  if (shown) draw(layers, shown.overlay, config, config.leftArm);
  if (beside) draw(layers, beside.overlay, config, config.rightArm);

  let gazex: Assistance | null = null;
  // GazeX's boxes and sentences belong together: on the right, or where the other arm is there, on the left.
  const host = config.rightArm === null ? beside : shown;
  if (evidence && host) {
    gazex = new Assistance(panel, host.overlay, evidence, config);
    if (host === beside && shown) {
      const layer = layers.add("gazex", "GazeX’s boxes on the left", shown.overlay, 0, false);
      for (const line of evidence.report) if (line.box) layer.group.append(box(line.box, "ai-box"));
    }
  }
  link(shown && "seek" in shown ? shown : null, beside && "seek" in beside ? beside : null, config.rightArm === null ? gazex : null);
  panel.classList.toggle("linked", shown !== undefined && "seek" in shown);
  layers.apply();
  keys(gazex);
  root.dataset.ready = "true";
}

/** Ties the clocks: the readers' own replays to each other, and GazeX's inspection to the reader's. */
function link(left: Replay | null, right: Replay | null, gazex: Assistance | null): void {
  const stretch = document.querySelector<HTMLInputElement>("#stretch");
  let now = 0;
  const follow = (seconds: number): void => {
    now = seconds;
    if (left && gazex) gazex.seek(inStep(seconds, left.duration, gazex.total / 1000, stretch?.checked ?? false) * 1000);
  };
  if (left) {
    left.onMoved = (seconds) => {
      right?.seek(seconds);
      follow(seconds);
    };
  }
  if (right) right.onMoved = (seconds) => left?.seek(seconds);
  if (left && stretch) {
    stretch.checked = new URL(location.href).searchParams.has("stretch");
    stretch.addEventListener("change", () => {
      keep("stretch", stretch.checked ? "1" : "");
      follow(now);
    });
  }
  follow(0);
}

function keys(gazex: Assistance | null): void {
  document.addEventListener("keydown", (event) => {
    const target = event.target as HTMLElement;
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (target.closest("input, select, textarea")) return;
    const key = event.key.toLowerCase();
    if (key === "a") gazex?.toggleBoxes();
    else if (key === "t" && !need("gazex").classList.contains("linked")) gazex?.togglePlay();
    else document.querySelector<HTMLAnchorElement>(`.explorer a[data-key="${CSS.escape(key)}"]`)?.click();
  });
}

const root = document.getElementById("explorer");
if (root) {
  const choice = need<HTMLFormElement>("gaze-choice");
  choice.addEventListener("change", ({ target }) => (target as HTMLElement).id === "stretch" || choice.requestSubmit());
  choice.addEventListener("formdata", ({ formData }) => {
    for (const name of ["layers", "stretch"]) {
      const value = new URL(location.href).searchParams.get(name);
      if (value) formData.set(name, value);
    }
    // Empty choices would only make the address long.
    for (const [name, value] of [...formData]) if (value === "") formData.delete(name);
  });
  mount(root).catch((error: unknown) => excuse(root, error));
}
