/**
 * What lies over the image: one SVG whose single group carries the viewport's matrix, so that everything inside is
 * written in image pixels. Strokes do not scale; text stands beside the group and follows its anchor.
 */

import { apply } from "./affine.ts";
import type { Matrix } from "./affine.ts";
import { svg } from "./dom.ts";

export class Overlay {
  readonly root: SVGSVGElement;
  readonly #image: SVGGElement;
  readonly #labels: SVGGElement;
  readonly #anchors = new Map<SVGTextElement, [number, number]>();
  #a: Matrix = [1, 0, 0, 1, 0, 0];

  constructor(root: SVGSVGElement) {
    this.root = root;
    this.#image = svg("g", { class: "image-space" });
    this.#labels = svg("g", { class: "labels", "aria-hidden": "true" });
    root.append(this.#image, this.#labels);
  }

  get affine(): Matrix {
    return this.#a;
  }

  /** A group in image pixels. Later layers lie over earlier ones. */
  layer(name: string): SVGGElement {
    const group = svg("g", { class: name });
    this.#image.append(group);
    return group;
  }

  present(a: Matrix): void {
    this.#a = a;
    this.#image.setAttribute("transform", `matrix(${a.join(" ")})`);
    for (const [text, [x, y]] of this.#anchors) this.#place(text, x, y);
  }

  /** Text beside an image point; 4 px right of it and above. */
  label(text: string, x: number, y: number, className: string): SVGTextElement {
    const element = svg("text", { class: className });
    element.textContent = text;
    this.#anchors.set(element, [x, y]);
    this.#labels.append(element);
    this.#place(element, x, y);
    return element;
  }

  move(element: SVGTextElement, x: number, y: number): void {
    this.#anchors.set(element, [x, y]);
    this.#place(element, x, y);
  }

  unlabel(element: SVGTextElement): void {
    this.#anchors.delete(element);
    element.remove();
  }

  #place(element: SVGTextElement, x: number, y: number): void {
    const [u, v] = apply(this.#a, x, y);
    element.setAttribute("x", u.toFixed(1));
    element.setAttribute("y", (v - 5).toFixed(1));
  }
}

/** A round dot of constant screen size: a stroke without length and with round ends. `width` is its diameter in CSS px. */
export function dot(x: number, y: number, className: string, width?: number): SVGPathElement {
  const path = svg("path", { class: className, d: `M${x} ${y}h0` });
  if (width !== undefined) path.style.strokeWidth = `${width}px`;
  return path;
}

export function box(points: readonly number[], className: string): SVGPathElement {
  return svg("path", { class: className, d: boxPath(points) });
}

export function boxPath([x0 = 0, y0 = 0, x1 = 0, y1 = 0]: readonly number[]): string {
  return `M${x0} ${y0}H${x1}V${y1}H${x0}Z`;
}
