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
import { inStep, sequence } from "./playback.ts";
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
  readonly caveats: readonly string[];
  /** The chosen reader's code, and the arm on each side; null on the right is GazeX. */
  readonly reader: string | null;
  readonly leftArm: string | null;
  readonly rightArm: string | null;
  readonly leftTrack: string | null;
  readonly rightTrack: string | null;
}

/** What only this script knows of, in the address: which layers are shown, and whether GazeX's inspection is stretched. */
const OWN = ["layers", "stretch"] as const;

function asked(name: (typeof OWN)[number]): string {
  return new URL(location.href).searchParams.get(name) ?? "";
}

function put(url: URL, name: string, value: string): string {
  if (value) url.searchParams.set(name, value);
  else url.searchParams.delete(name);
  return url.href;
}

/** Links to pages like this one take along what the address says. */
function carry(): void {
  for (const link of document.querySelectorAll<HTMLAnchorElement>(".explorer a[data-key], .explorer .answers a")) {
    for (const name of OWN) link.href = put(new URL(link.href), name, asked(name));
  }
}

function keep(name: (typeof OWN)[number], value: string): void {
  history.replaceState(null, "", put(new URL(location.href), name, value));
  carry();
}

/** The readers' marks; `arm` is the arm of the gaze on this side, if there is one. */
function drawMarks(layers: Layers, overlay: Overlay, config: ExplorerConfig, arm: string | null): void {
  for (const [index, { key, name }] of config.arms.entries()) {
    const marks = config.marks.filter((mark) => mark.arm === key);
    const layer = layers.add(`marks-${key}`, `Marks, ${name} (${marks.length})`, overlay, { className: `arm-${index}` });
    for (const { reader, finding, shape, points } of marks) {
      const mine = config.reader === null || (reader === config.reader && (arm === null || key === arm));
      const [x = 0, y = 0, , bottom = y] = points;
      const shapes = shape === "box" ? [box(points, "mark-line")] : [dot(x, y, "mark-ring"), dot(x, y, "mark-centre")];
      const title = svg("title");
      title.textContent = `${reader}, ${name}: ${finding}`;
      layer.group.append(svg("g", { class: mine ? "reader-mark" : "reader-mark quiet" }, title, ...shapes));
      if (mine && config.reader !== null) layer.labels.push(overlay.label(finding, x, bottom, `mark-label arm-${index}`));
    }
  }
}

/** What is there. It comes last, so that no mark hides it. */
function drawReference(layers: Layers, overlay: Overlay, config: ExplorerConfig): void {
  const layer = layers.add("reference", "Reference", overlay);
  for (const { finding, side, box: points } of config.reference) {
    layer.group.append(box(points, "reference-box"));
    const name = ["Reference:", side, finding].filter(Boolean).join(" ");
    layer.labels.push(overlay.label(name, points[0]!, points[1]!, "reference-label"));
  }
}

async function mount(root: HTMLElement): Promise<void> {
  const config = jsonScript<ExplorerConfig>(root.dataset.config!);
  const { evidence } = config;
  const [left, right, panel] = [need("left"), need("right"), need("gazex")];
  const pixels = getFrame(config.frameUrl, config.rows, config.columns);
  const layers = new Layers(need("layers"), asked("layers"), (shown) => keep("layers", shown));

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
  const withGazex = config.rightArm === null;
  if (shown) drawMarks(layers, shown.overlay, config, config.leftArm);
  if (beside && !withGazex) drawMarks(layers, beside.overlay, config, config.rightArm);

  let gazex: Assistance | null = null;
  // Boxes and sentences belong together: on GazeX's own side, or where the other arm is there, on the left.
  const host = withGazex ? beside : shown;
  if (evidence && host) gazex = new Assistance(panel, host.overlay, evidence, config, config.caveats);
  if (evidence && shown && host !== shown) {
    const layer = layers.add("gazex-boxes", "GazeX’s boxes on the left", shown.overlay, { usual: false });
    for (const line of evidence.report) if (line.box) layer.group.append(box(line.box, "ai-box"));
  }
  for (const one of [shown, beside]) if (one) drawReference(layers, one.overlay, config);
  const [leftReplay, rightReplay] = [shown && "seek" in shown ? shown : null, beside && "seek" in beside ? beside : null];
  const head = gazex && withGazex && leftReplay ? timeline(right, evidence!) : () => {};
  link(leftReplay, rightReplay, withGazex ? gazex : null, head);
  panel.classList.toggle("linked", leftReplay !== null);
  layers.apply();
  keys(gazex);
  root.dataset.ready = "true";
}

/** GazeX's fixations on a line below its image; the answer moves its head, in seconds. */
function timeline(place: HTMLElement, evidence: Evidence): (seconds: number) => void {
  const { items, total } = sequence(evidence.trajectory);
  const strip = svg("svg", { class: "replay-strip", viewBox: `0 0 ${Math.max(total, 1)} 3`, preserveAspectRatio: "none", "aria-hidden": "true" });
  for (const { onset, duration } of items) strip.append(svg("rect", { class: "strip-gazex", x: onset, y: 0.6, width: duration, height: 1.8 }));
  const head = svg("rect", { class: "strip-head", y: 0, width: Math.max(total, 1) / 200, height: 3 });
  strip.append(head);
  const words = items.length > 0 ? `GazeX’s inspection: ${items.length} fixations in ${(total / 1000).toFixed(1)} s` : "GazeX gave no inspection.";
  place.append(h("p", { class: "replay-caption" }, words), h("div", { class: "replay-bar" }, strip));
  return (seconds) => head.setAttribute("x", String(Math.min(seconds * 1000, total)));
}

/** Ties the clocks: the readers' own replays to each other, and GazeX's inspection (with its line) to the reader's. */
function link(left: Replay | null, right: Replay | null, gazex: Assistance | null, head: (seconds: number) => void): void {
  const stretch = document.querySelector<HTMLInputElement>("#stretch");
  let now = 0;
  const follow = (seconds: number): void => {
    now = seconds;
    if (!left || !gazex) return;
    const at = inStep(seconds, left.duration, gazex.total / 1000, stretch?.checked ?? false);
    gazex.seek(at * 1000);
    head(at);
  };
  if (left) {
    left.onMoved = (seconds) => {
      right?.seek(seconds);
      follow(seconds);
    };
  }
  if (right) right.onMoved = (seconds) => left?.seek(seconds);
  if (left && stretch) {
    stretch.checked = asked("stretch") !== "";
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
  choice.classList.add("scripted");
  choice.addEventListener("change", ({ target }) => (target as HTMLElement).id === "stretch" || choice.requestSubmit());
  choice.addEventListener("formdata", ({ formData }) => {
    for (const name of OWN) formData.set(name, asked(name));
    // Empty choices would only make the address long; but all readers is a choice where one reader's cases are listed.
    for (const [name, value] of [...formData]) if (value === "" && !(name === "reader" && formData.has("of"))) formData.delete(name);
  });
  carry();
  mount(root).catch((error: unknown) => excuse(root, error));
}
