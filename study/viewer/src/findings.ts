/** The findings of the protocol, each with a 5-step confidence and the marks that belong to it. */

import type { Mark } from "./config.ts";
import { h } from "./dom.ts";
import type { Marks } from "./marks.ts";

export const SCALE = ["definitely absent", "probably absent", "undecided", "probably present", "definitely present"] as const;

interface Row {
  readonly element: HTMLElement;
  readonly radios: HTMLInputElement[];
  readonly wording: HTMLElement;
  readonly marks: HTMLUListElement;
}

export class Findings {
  onRated: (finding: string, confidence: number) => void = () => {};
  onActive: (finding: string) => void = () => {};
  readonly #names: readonly string[];
  readonly #confidence: Record<string, number>;
  readonly #marks: Marks;
  readonly #rows = new Map<string, Row>();
  #active: string;

  constructor(root: HTMLElement, names: readonly string[], confidence: Record<string, number>, marks: Marks) {
    this.#names = names;
    this.#confidence = confidence;
    this.#marks = marks;
    this.#active = names[0] ?? "";
    names.forEach((name, i) => {
      const row = this.#row(name, i);
      this.#rows.set(name, row);
      root.append(row.element);
    });
    this.#show();
  }

  get active(): string {
    return this.#active;
  }

  activate(name: string): void {
    if (name === this.#active || !this.#rows.has(name)) return;
    this.#active = name;
    this.#show();
    this.#rows.get(name)!.element.scrollIntoView({ block: "nearest" });
    this.onActive(name);
  }

  step(by: 1 | -1): void {
    const index = this.#names.indexOf(this.#active);
    const next = this.#names[(index + by + this.#names.length) % this.#names.length];
    if (next === undefined) return;
    // When a key moved the active finding, the keyboard focus must not stay behind in another finding's group.
    const inside = document.activeElement instanceof HTMLInputElement && document.activeElement.type === "radio";
    this.activate(next);
    if (inside) this.#focusTarget(next).focus();
  }

  rate(name: string, confidence: number): void {
    if (this.#confidence[name] !== confidence) {
      this.#confidence[name] = confidence;
      this.onRated(name, confidence);
    }
    this.#show();
  }

  missing(): string[] {
    return this.#names.filter((name) => this.#confidence[name] === undefined);
  }

  responses(): { finding: string; confidence: number }[] {
    return this.#names.flatMap((finding) => {
      const confidence = this.#confidence[finding];
      return confidence === undefined ? [] : [{ finding, confidence }];
    });
  }

  /** Marks changed: write their rows again. */
  refresh(): void {
    for (const [name, row] of this.#rows) {
      const mine = this.#marks.items.filter((mark) => mark.finding === name);
      row.marks.replaceChildren(...mine.map((mark) => this.#markRow(mark)));
      row.marks.hidden = mine.length === 0;
    }
    this.#show();
  }

  #focusTarget(name: string): HTMLInputElement {
    const { radios } = this.#rows.get(name)!;
    return radios.find((radio) => radio.checked) ?? radios[0]!;
  }

  #row(name: string, index: number): Row {
    const group = `finding-${index}`;
    const radios = SCALE.map((words, i) =>
      h("input", { type: "radio", name: group, id: `${group}-${i + 1}`, value: i + 1, "aria-label": `${i + 1}, ${words}` }));
    const wording = h("span", { class: "wording", id: `${group}-wording` });
    const title = h("span", { class: "finding-name", id: `${group}-name` }, name);
    const scale = h("div", { class: "scale" }, ...radios.map((radio, i) =>
      h("label", { class: "step", title: `${i + 1}: ${SCALE[i]}` }, radio, h("span", { "aria-hidden": "true" }, String(i + 1)))));
    const marks = h("ul", { class: "mark-list", hidden: true, "aria-label": `Marks for ${name}` });
    const element = h(
      "div", { class: "finding", role: "radiogroup", "aria-labelledby": `${group}-name`, "data-finding": name },
      h("div", { class: "finding-line" }, h("div", { class: "finding-title" }, title, wording), scale), marks,
    );
    for (const radio of radios) radio.addEventListener("change", () => this.rate(name, Number(radio.value)));
    element.addEventListener("focusin", () => this.activate(name));
    element.addEventListener("click", () => this.activate(name));
    return { element, radios, wording, marks };
  }

  #markRow(mark: Mark): HTMLLIElement {
    const name = this.#marks.nameOf(mark);
    const button = h("button", { type: "button", class: "link" }, name);
    button.addEventListener("click", () => this.#marks.select(mark));
    const confidence = h("select", { "aria-label": `Confidence of ${name}` }, h("option", { value: "" }, "Confidence"),
      ...SCALE.map((words, i) => h("option", { value: i + 1 }, `${i + 1} ${words}`)));
    confidence.value = mark.confidence === null ? "" : String(mark.confidence);
    confidence.addEventListener("change", () =>
      this.#marks.setConfidence(mark, confidence.value === "" ? null : Number(confidence.value)));
    const remove = h("button", { type: "button", class: "remove", "aria-label": `Remove ${name}`, title: "Remove (Delete)" }, "×");
    remove.addEventListener("click", () => this.#marks.remove(mark));
    return h("li", { class: mark === this.#marks.selected ? `${mark.shape} selected` : mark.shape }, button, confidence, remove);
  }

  #show(): void {
    for (const [name, { element, radios, wording }] of this.#rows) {
      const confidence = this.#confidence[name];
      element.classList.toggle("active", name === this.#active);
      element.classList.toggle("rated", confidence !== undefined);
      if (name === this.#active) element.setAttribute("aria-current", "true");
      else element.removeAttribute("aria-current");
      radios.forEach((radio, i) => (radio.checked = confidence === i + 1));
      wording.textContent = confidence === undefined ? "" : SCALE[confidence - 1]!;
    }
  }
}
