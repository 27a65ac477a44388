/** GazeX's output beside the image: sentences linked to boxes, probabilities, and the inspection played over the image. */

import { h, svg } from "./dom.ts";
import { box, dot } from "./overlay.ts";
import type { Overlay } from "./overlay.ts";
import { dotSize, sequence, windowAt } from "./playback.ts";
import type { Timed } from "./playback.ts";

export interface Evidence {
  readonly schema: string;
  readonly rows: number;
  readonly columns: number;
  readonly report: readonly {
    readonly sentence: string;
    readonly finding: string | null;
    readonly side: string;
    readonly box: readonly [number, number, number, number] | null;
    readonly verified: boolean;
  }[];
  readonly findings: readonly { readonly finding: string; readonly probability: number }[];
  readonly trajectory: readonly { readonly x: number; readonly y: number; readonly duration_ms: number }[];
}

const TRAIL_MS = 1500;
const PLACE_MS = 200;

export class Assistance {
  onEvent: (kind: string, payload?: Record<string, unknown>) => void = () => {};
  readonly #boxes: SVGGElement;
  readonly #trail: SVGGElement;
  readonly #labels: SVGTextElement[] = [];
  readonly #items: (Timed & { x: number; y: number })[];
  readonly #total: number;
  readonly #boxButton: HTMLButtonElement;
  readonly #playButton: HTMLButtonElement;
  readonly #clock: HTMLElement;
  #playing = false;
  #position = 0;
  #last = 0;

  constructor(
    root: HTMLElement,
    overlay: Overlay,
    evidence: Evidence,
    image: { rows: number; columns: number },
    caveats: readonly string[],
  ) {
    if (evidence.rows !== image.rows || evidence.columns !== image.columns) {
      throw new Error(
        `GazeX read an image of ${evidence.rows} × ${evidence.columns} pixels, this one has ${image.rows} × ${image.columns}.`,
      );
    }
    this.#boxes = overlay.layer("ai-boxes");
    this.#trail = overlay.layer("ai-trail");
    const { items, total } = sequence(evidence.trajectory);
    this.#items = items;
    this.#total = total;

    this.#boxButton = h("button", { type: "button", class: "toggle", "aria-pressed": "true" }, "Boxes", h("kbd", {}, "A"));
    this.#boxButton.addEventListener("click", () => this.toggleBoxes());
    this.#clock = h("span", { class: "ai-clock" });
    this.#playButton = h("button", { type: "button", class: "toggle", "aria-pressed": "false" }, h("span", {}, "Play inspection"), h("kbd", {}, "T"));
    this.#playButton.disabled = items.length === 0;
    this.#playButton.addEventListener("click", () => this.togglePlay());

    let number = 0;
    const sentences = evidence.report.map((line) => {
      const index = line.box ? ++number : null;
      const shape = line.box ? box(line.box, line.verified ? "ai-box" : "ai-box unverified") : null;
      if (shape && line.box) {
        this.#boxes.append(shape);
        this.#labels.push(overlay.label(String(index), line.box[0], line.box[1], "ai-label"));
      }
      const mark = h("span", { class: "ai-number", "aria-hidden": "true" }, index === null ? "" : String(index));
      const flag = line.verified ? null : h("span", { class: "unverified-tag", title: "GazeX's own check does not confirm this sentence." }, "unverified");
      const text = h("span", { class: "ai-text" }, line.sentence, flag ? " " : null, flag);
      const item = shape
        ? h("button", { type: "button", class: "ai-sentence linked" }, mark, text)
        : h("div", { class: "ai-sentence" }, mark, text);
      if (shape) {
        const light = (on: boolean) => () => shape.classList.toggle("lit", on);
        item.addEventListener("pointerenter", light(true));
        item.addEventListener("pointerleave", light(false));
        item.addEventListener("focus", light(true));
        item.addEventListener("blur", light(false));
        item.addEventListener("pointerenter", () => this.onEvent("assistance_sentence", { index: evidence.report.indexOf(line) }));
      }
      return h("li", {}, item);
    });
    const probabilities = evidence.findings.map(({ finding, probability }) => {
      const meter = h("span", { class: "bar", "aria-hidden": "true" }, h("span", {}));
      (meter.firstChild as HTMLElement).style.width = `${Math.round(probability * 100)}%`;
      return h("li", {}, h("span", { class: "ai-finding" }, finding), meter, h("span", { class: "ai-probability" }, `${Math.round(probability * 100)} %`));
    });
    root.replaceChildren(
      h("div", { class: "ai-head" }, h("h2", {}, "GazeX — AI output"), ...caveats.map((said) => h("span", { class: "ai-caveat" }, said)), this.#clock),
      h("ol", { class: "ai-report" }, ...sentences),
      h("ul", { class: "ai-findings", "aria-label": "GazeX's probability of each finding" }, ...probabilities),
      h("div", { class: "ai-tools" }, this.#boxButton, this.#playButton),
    );
    root.hidden = false;
  }

  /**
   * Say where on the page the panel is seen, [left, top, width, height] in CSS pixels, now and whenever it has moved: so
   * gaze on it can be timed.
   */
  follow(panel: HTMLElement, scroller: HTMLElement): void {
    let told = "";
    let waiting = false;
    const tell = (): void => {
      waiting = false;
      const [a, b] = [panel.getBoundingClientRect(), scroller.getBoundingClientRect()];
      const [left, top] = [Math.max(a.left, b.left), Math.max(a.top, b.top)];
      const [right, bottom] = [Math.min(a.right, b.right), Math.min(a.bottom, b.bottom)];
      const rect = [left, top, Math.max(0, right - left), Math.max(0, bottom - top)].map((v) => Math.round(v * 10) / 10);
      if (told === rect.join()) return;
      told = rect.join();
      this.onEvent("assistance_placed", { rect });
    };
    const later = (): void => {
      if (!waiting) setTimeout(tell, PLACE_MS);
      waiting = true;
    };
    tell();
    scroller.addEventListener("scroll", later, { passive: true });
    const resized = new ResizeObserver(later);
    for (const element of [panel, scroller]) resized.observe(element);
  }

  toggleBoxes(): void {
    const show = this.#boxButton.getAttribute("aria-pressed") !== "true";
    this.#boxButton.setAttribute("aria-pressed", String(show));
    this.#boxes.classList.toggle("hidden", !show);
    for (const label of this.#labels) label.classList.toggle("hidden", !show);
    this.onEvent("assistance_boxes", { shown: show });
  }

  togglePlay(): void {
    if (this.#items.length === 0) return;
    this.#playing = !this.#playing;
    if (this.#playing && this.#position >= this.#total) this.#position = 0;
    this.#last = performance.now();
    this.onEvent(this.#playing ? "trajectory_played" : "trajectory_paused", { at_ms: Math.round(this.#position) });
    this.#button();
    if (this.#playing) requestAnimationFrame((t) => this.#tick(t));
  }

  /** How long the inspection lasts, in milliseconds. */
  get total(): number {
    return this.#total;
  }

  /** The inspection as it is `ms` after its start, standing still: for a page that keeps the time itself. */
  seek(ms: number): void {
    this.#playing = false;
    this.#position = ms;
    this.#button();
    this.#paint();
  }

  #button(): void {
    this.#playButton.setAttribute("aria-pressed", String(this.#playing));
    this.#playButton.firstElementChild!.textContent = this.#playing ? "Pause inspection" : "Play inspection";
  }

  #tick(t: number): void {
    if (!this.#playing) return;
    this.#position += Math.max(0, t - this.#last);
    this.#last = t;
    if (this.#position >= this.#total + TRAIL_MS) {
      this.#playing = false;
      this.#position = this.#total;
      this.#trail.replaceChildren();
      this.#clock.textContent = "";
      this.onEvent("trajectory_ended");
      this.#button();
      return;
    }
    this.#paint();
    requestAnimationFrame((next) => this.#tick(next));
  }

  #paint(): void {
    const shown = windowAt(this.#items, this.#position, TRAIL_MS);
    const parts: SVGElement[] = [];
    if (shown.length > 1) {
      const d = shown.map(({ item }, i) => `${i === 0 ? "M" : "L"}${item.x} ${item.y}`).join("");
      parts.push(svg("path", { class: "trail-line", d }));
    }
    for (const { item, progress, strength } of shown) {
      const spot = dot(item.x, item.y, "trail-dot", dotSize(item.duration * progress));
      spot.style.opacity = strength.toFixed(2);
      parts.push(spot);
    }
    this.#trail.replaceChildren(...parts);
    this.#clock.textContent = `${(Math.min(this.#position, this.#total) / 1000).toFixed(1)} / ${(this.#total / 1000).toFixed(1)} s`;
  }
}
