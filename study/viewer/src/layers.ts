/** What may be drawn over images, each behind a check box that holds for every image of the page. */

import { h } from "./dom.ts";
import type { Overlay } from "./overlay.ts";

export interface Layer {
  readonly group: SVGGElement;
  readonly labels: SVGTextElement[];
}

export class Layers {
  readonly #root: HTMLElement;
  readonly #onChange: (shown: string) => void;
  readonly #boxes = new Map<string, HTMLInputElement>();
  readonly #layers: [string, Layer][] = [];
  /** The layers that the address names; null where it names none and the usual ones are shown. */
  readonly #asked: readonly string[] | null;

  constructor(root: HTMLElement, asked: string, onChange: (shown: string) => void) {
    this.#root = root;
    this.#asked = asked === "" ? null : asked.split(",");
    this.#onChange = onChange;
  }

  /** A layer of this name on an image; the first of a name adds the check box. `usual`: shown where the address says nothing. */
  add(name: string, words: string, overlay: Overlay, { className = "", usual = true } = {}): Layer {
    const layer = { group: overlay.layer(`${name} ${className}`.trim()), labels: [] };
    this.#layers.push([name, layer]);
    if (!this.#boxes.has(name)) {
      const check = h("input", { type: "checkbox" });
      check.checked = this.#asked?.includes(name) ?? usual;
      check.addEventListener("change", () => {
        this.apply();
        this.#onChange(this.shown);
      });
      this.#boxes.set(name, check);
      this.#root.append(h("label", { class: `layer-${name} ${className}` }, check, ` ${words}`));
    }
    return layer;
  }

  /** The names of the layers that are shown, as the address keeps them. */
  get shown(): string {
    const names = [...this.#boxes].filter(([, check]) => check.checked).map(([name]) => name);
    return names.length > 0 ? names.join() : "none";
  }

  apply(): void {
    for (const [name, { group, labels }] of this.#layers) {
      const hidden = !this.#boxes.get(name)!.checked;
      for (const element of [group, ...labels]) element.classList.toggle("hidden", hidden);
    }
  }
}
