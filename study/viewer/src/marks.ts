/** The reader's marks over the image: drawn, selected, moved by their outline, resized by their corners, deleted. */

import type { Mark } from "./config.ts";
import { svg } from "./dom.ts";
import { box, boxPath, dot } from "./overlay.ts";
import type { Overlay } from "./overlay.ts";

interface Drawn {
  readonly group: SVGGElement;
  readonly label: SVGTextElement;
}

export class Marks {
  readonly items: Mark[];
  /** After anything changed; `what` names the act for the read's events. */
  onChange: (what: "mark_added" | "mark_changed" | "mark_removed", mark: Mark) => void = () => {};
  onSelect: (mark: Mark | null) => void = () => {};
  #selected: Mark | null = null;
  #active = "";
  readonly #size: { rows: number; columns: number };
  readonly #overlay: Overlay;
  readonly #layer: SVGGElement;
  readonly #draft: SVGPathElement;
  #drawn = new Map<Mark, Drawn>();

  constructor(overlay: Overlay, items: Mark[], size: { rows: number; columns: number }) {
    this.items = items;
    this.#size = size;
    this.#overlay = overlay;
    this.#layer = overlay.layer("marks");
    this.#draft = svg("path", { class: "mark-draft" });
    overlay.layer("draft").append(this.#draft);
    this.#render();
  }

  get selected(): Mark | null {
    return this.#selected;
  }

  set active(finding: string) {
    this.#active = finding;
    this.#style();
  }

  /** "Box 2": marks of one finding are counted from one. */
  nameOf(mark: Mark): string {
    const number = this.items.filter((other) => other.finding === mark.finding).indexOf(mark) + 1;
    return `${mark.shape === "box" ? "Box" : "Point"} ${number}`;
  }

  preview(points: number[] | null): void {
    if (points) this.#draft.setAttribute("d", boxPath(points));
    else this.#draft.removeAttribute("d");
  }

  add(mark: Mark): void {
    this.items.push(mark);
    this.#render();
    this.select(mark);
    this.onChange("mark_added", mark);
  }

  remove(mark: Mark): void {
    const index = this.items.indexOf(mark);
    if (index < 0) return;
    this.items.splice(index, 1);
    if (this.#selected === mark) this.select(null);
    this.#render();
    this.onChange("mark_removed", mark);
  }

  select(mark: Mark | null): void {
    if (this.#selected === mark) return;
    this.#selected = mark;
    this.#render();
    this.onSelect(mark);
  }

  setConfidence(mark: Mark, confidence: number | null): void {
    mark.confidence = confidence;
    this.onChange("mark_changed", mark);
  }

  /** A drag that starts on a mark moves it, on a handle of the selected one resizes it. */
  grab(target: Element, [x, y]: [number, number]): ((image: [number, number], last: boolean) => void) | null {
    const element = target.closest<SVGElement>("[data-mark]");
    const mark = element ? this.items[Number(element.dataset.mark)] : undefined;
    if (!element || !mark) return null;
    const handle = target.closest<SVGElement>("[data-handle]")?.dataset.handle;
    this.select(mark);
    const start = [...mark.points];
    const columns = start.filter((_, i) => i % 2 === 0);
    const rows = start.filter((_, i) => i % 2 === 1);
    // A moved mark keeps its size and stays on the image.
    const within = (d: number, values: number[], last: number): number =>
      handle === undefined ? Math.min(Math.max(d, -Math.min(...values)), last - Math.max(...values)) : d;
    let moved = false;
    return ([u, v], last) => {
      const dx = within(u - x, columns, this.#size.columns - 1);
      const dy = within(v - y, rows, this.#size.rows - 1);
      const travelled = Math.hypot(dx, dy) * Math.abs(this.#overlay.affine[0] || this.#overlay.affine[1]);
      if (!last && (moved || travelled > 2)) {
        moved = true;
        mark.points = handle === undefined
          ? start.map((value, i) => value + (i % 2 === 0 ? dx : dy))
          : start.map((value, i) => (handle.includes(String(i)) ? value + (i % 2 === 0 ? dx : dy) : value));
        this.#render();
      }
      if (last && moved) {
        if (mark.shape === "box") {
          const [x0 = 0, y0 = 0, x1 = 0, y1 = 0] = mark.points;
          mark.points = [Math.min(x0, x1), Math.min(y0, y1), Math.max(x0, x1), Math.max(y0, y1)];
        }
        this.#render();
        this.onChange("mark_changed", mark);
      }
    };
  }

  #render(): void {
    for (const [mark, { group, label }] of this.#drawn) {
      if (this.items.includes(mark)) continue;
      group.remove();
      this.#overlay.unlabel(label);
      this.#drawn.delete(mark);
    }
    this.items.forEach((mark, index) => {
      const drawn = this.#drawn.get(mark) ?? this.#create(mark);
      const { group, label } = drawn;
      const [x = 0, y = 0, x1 = 0, y1 = 0] = mark.points;
      group.dataset.mark = String(index);
      group.setAttribute("aria-label", `${this.nameOf(mark)} for ${mark.finding}. Delete removes it.`);
      group.replaceChildren();
      if (mark.shape === "box") {
        group.append(box(mark.points, "mark-hit"), box(mark.points, "mark-line"));
        if (mark === this.#selected) {
          for (const [hx, hy, moves] of [[x, y, "01"], [x1, y, "21"], [x, y1, "03"], [x1, y1, "23"]] as const) {
            const handle = dot(hx, hy, "mark-handle");
            handle.dataset.handle = moves;
            group.append(handle);
          }
        }
      } else {
        group.append(dot(x, y, "mark-hit"), dot(x, y, "mark-ring"), dot(x, y, "mark-hole"), dot(x, y, "mark-centre"));
      }
      label.textContent = `${mark.finding} ${this.nameOf(mark).split(" ")[1]}`;
      this.#overlay.move(label, x, y);
    });
    this.#style();
  }

  #create(mark: Mark): Drawn {
    const group = svg("g", { class: "mark", tabindex: 0, role: "button" });
    group.addEventListener("focus", () => this.select(mark));
    this.#layer.append(group);
    const drawn = { group, label: this.#overlay.label("", 0, 0, "mark-label") };
    this.#drawn.set(mark, drawn);
    return drawn;
  }

  #style(): void {
    for (const [mark, { group, label }] of this.#drawn) {
      const quiet = mark.finding !== this.#active && mark !== this.#selected;
      group.classList.toggle("selected", mark === this.#selected);
      group.classList.toggle("quiet", quiet);
      group.setAttribute("aria-pressed", String(mark === this.#selected));
      label.classList.toggle("quiet", quiet);
    }
  }
}
