/**
 * Mouse and keys on the image, as radiologists know them. Left drag windows (or draws, with a tool), right drag always
 * windows, middle or space drag pans, the wheel zooms about the cursor.
 */

import { apply, invert, panBy, zoomAbout } from "./affine.ts";
import type { Viewport } from "./viewport.ts";

export type Tool = "navigate" | "box" | "point";

export interface DrawHandlers {
  /** While a box is drawn; null ends the preview. */
  preview(points: number[] | null): void;
  finished(shape: "box" | "point", points: number[]): void;
  /** A drag that began on an existing mark: return true to take it. */
  grab(target: Element, image: [number, number]): ((image: [number, number], last: boolean) => void) | null;
  /** A plain click on the image, nothing dragged. */
  background(): void;
}

export class Controls {
  onTool: (tool: Tool) => void = () => {};
  #tool: Tool = "navigate";
  #space = false;
  #cursor: [number, number] | null = null;
  readonly #viewport: Viewport;
  readonly #area: HTMLElement;
  readonly #draw: DrawHandlers | null;

  constructor(viewport: Viewport, area: HTMLElement, draw: DrawHandlers | null) {
    this.#viewport = viewport;
    this.#area = area;
    this.#draw = draw;
    area.addEventListener("pointerdown", (event) => this.#down(event));
    area.addEventListener("pointermove", (event) => (this.#cursor = [event.clientX, event.clientY]));
    area.addEventListener("pointerleave", () => (this.#cursor = null));
    area.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    area.addEventListener("dblclick", (event) => {
      if (event.button === 0 && this.#tool === "navigate") this.fit();
    });
    area.addEventListener("contextmenu", (event) => event.preventDefault());
    // The middle button would start the browser's own scrolling.
    area.addEventListener("mousedown", (event) => event.button === 1 && event.preventDefault());
    window.addEventListener("keyup", (event) => event.code === "Space" && (this.#space = false));
    window.addEventListener("blur", () => (this.#space = false));
  }

  get tool(): Tool {
    return this.#tool;
  }

  set tool(tool: Tool) {
    this.#tool = tool;
    this.#area.dataset.tool = tool;
    this.onTool(tool);
  }

  fit(): void {
    const { cx, cy, scale, rotation } = this.#viewport.fitted();
    this.#viewport.set({ cx, cy, scale, rotation }, "fit");
  }

  /** One image pixel per screen pixel, about the cursor. */
  actualSize(): void {
    this.#zoom(1 / this.#viewport.view.scale, "actual size");
  }

  /** Keys of the image; true when the key was one. */
  key(event: KeyboardEvent): boolean {
    const { view } = this.#viewport;
    const step = 60;
    switch (event.key) {
      case " ":
        this.#space = true;
        return true;
      case "+":
      case "=":
        this.#zoom(1.25, "zoom");
        return true;
      case "-":
      case "_":
        this.#zoom(1 / 1.25, "zoom");
        return true;
      case "ArrowLeft":
        this.#pan(step, 0);
        return true;
      case "ArrowRight":
        this.#pan(-step, 0);
        return true;
      case "ArrowUp":
        this.#pan(0, step);
        return true;
      case "ArrowDown":
        this.#pan(0, -step);
        return true;
    }
    switch (event.key.toLowerCase()) {
      case "f":
        this.fit();
        return true;
      case "i":
        this.#viewport.set({ invert: !view.invert }, "invert");
        return true;
      case "h":
        this.#viewport.set({ flip: view.flip === -1 ? 1 : -1 }, "mirror");
        return true;
      case "r":
        this.#viewport.set(this.#viewport.initial(), "reset");
        return true;
      case "z":
        this.actualSize();
        return true;
      case "v":
        return this.#nextPreset();
    }
    return false;
  }

  #nextPreset(): boolean {
    const { image, view } = this.#viewport;
    if (!image || image.voi.length < 2) return false;
    const voi = (view.voi + 1) % image.voi.length;
    const preset = image.voi[voi]!;
    const window = preset.type === "window"
      ? { wc: preset.center, ww: preset.width }
      : { wc: preset.first + preset.data.length / 2, ww: preset.data.length };
    this.#viewport.set({ voi, ...window }, "preset");
    return true;
  }

  #middle(): [number, number] {
    const { left, top, width, height } = this.#viewport.surface;
    return this.#cursor ?? [left + width / 2, top + height / 2];
  }

  #zoom(factor: number, cause: string): void {
    const { view, image, surface } = this.#viewport;
    if (!image) return;
    const [x, y] = this.#middle();
    // Zooming past the limits must not drift the image.
    const least = Math.min(this.#viewport.fitted().scale / 4, view.scale);
    const scale = Math.min(Math.max(view.scale * factor, least), 32);
    this.#viewport.set(zoomAbout(view, image, surface, x, y, scale / view.scale), cause);
  }

  #pan(dx: number, dy: number): void {
    const { view, image, surface } = this.#viewport;
    if (image) this.#viewport.set(panBy(view, image, surface, dx, dy), "pan");
  }

  #wheel(event: WheelEvent): void {
    event.preventDefault();
    if (!this.#viewport.image) return;
    // Lines and pages are what some mice report; ctrl + wheel is a trackpad's pinch and zooms the same image.
    const unit = event.deltaMode === WheelEvent.DOM_DELTA_PIXEL ? 1 : event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 33 : 400;
    const delta = Math.min(Math.max(event.deltaY * unit, -240), 240) * (event.ctrlKey ? 4 : 1);
    this.#cursor = [event.clientX, event.clientY];
    this.#zoom(Math.exp(-delta * 0.0015), "zoom");
  }

  #imagePoint(event: PointerEvent): [number, number] {
    const [x, y] = apply(invert(this.#viewport.affine()), event.clientX, event.clientY);
    const { columns, rows } = this.#viewport.image!;
    return [Math.min(Math.max(x, 0), columns - 1), Math.min(Math.max(y, 0), rows - 1)];
  }

  #down(event: PointerEvent): void {
    if (!this.#viewport.image) return;
    // Keys belong to the image again once it is clicked; a mark that is clicked takes the focus itself.
    if (document.activeElement instanceof HTMLElement && !(event.target as Element).closest("[data-mark]")) {
      document.activeElement.blur();
    }
    const pan = event.button === 1 || (event.button === 0 && this.#space);
    if (pan) this.#drag(event, (dx, dy) => this.#pan(dx, dy));
    else if (event.button === 2) this.#window(event);
    else if (event.button !== 0) return;
    else if (this.#tool === "box") this.#drawBox(event);
    else if (this.#tool === "point") this.#draw?.finished("point", this.#imagePoint(event));
    else {
      const grabbed = this.#draw?.grab(event.target as Element, this.#imagePoint(event)) ?? null;
      if (grabbed) this.#drag(event, (_dx, _dy, move) => grabbed(this.#imagePoint(move), false), (up) => grabbed(this.#imagePoint(up), true));
      else this.#window(event);
    }
    if (event.button !== 0 || pan) event.preventDefault();
  }

  #window(event: PointerEvent): void {
    const { image } = this.#viewport;
    const start = this.#viewport.view;
    const from = [event.clientX, event.clientY] as const;
    // A drag across 600 CSS px covers the starting window once.
    const gain = Math.max(start.ww, (image?.max ?? 0) / 64) / 600;
    const lift = start.invert === image?.invert ? 1 : -1;
    let moved = false;
    this.#drag(
      event,
      (_dx, _dy, move) => {
        const dx = move.clientX - from[0];
        const dy = move.clientY - from[1];
        if (!moved && Math.hypot(dx, dy) < 3) return;
        moved = true;
        // Right is wider, down is darker: raising the level darkens unless the grey scale is inverted.
        const ww = Math.max(1, start.ww + dx * gain * 2);
        this.#viewport.set({ ww, wc: start.wc + dy * gain * lift }, "window");
      },
      () => {
        if (!moved && event.button === 0) this.#draw?.background();
      },
    );
  }

  #drawBox(event: PointerEvent): void {
    const [x0, y0] = this.#imagePoint(event);
    const from = [event.clientX, event.clientY] as const;
    const rectangle = (move: PointerEvent): number[] => {
      const [x1, y1] = this.#imagePoint(move);
      return [Math.min(x0, x1), Math.min(y0, y1), Math.max(x0, x1), Math.max(y0, y1)];
    };
    this.#drag(
      event,
      (_dx, _dy, move) => this.#draw?.preview(rectangle(move)),
      (up, cancelled) => {
        this.#draw?.preview(null);
        // A click is not a box.
        if (!cancelled && Math.min(Math.abs(up.clientX - from[0]), Math.abs(up.clientY - from[1])) >= 4) {
          this.#draw?.finished("box", rectangle(up));
        }
      },
    );
  }

  #drag(
    down: PointerEvent,
    move: (dx: number, dy: number, event: PointerEvent) => void,
    end: (event: PointerEvent, cancelled: boolean) => void = () => {},
  ): void {
    const area = this.#area;
    let last = [down.clientX, down.clientY] as const;
    const stop = new AbortController();
    try {
      area.setPointerCapture(down.pointerId);
    } catch {
      // A pointer that is already up cannot be captured; the drag then ends with the next event.
    }
    area.addEventListener("pointermove", (event) => {
      if (event.pointerId !== down.pointerId) return;
      move(event.clientX - last[0], event.clientY - last[1], event);
      last = [event.clientX, event.clientY];
    }, { signal: stop.signal });
    const finish = (event: PointerEvent): void => {
      if (event.pointerId !== down.pointerId) return;
      stop.abort();
      end(event, event.type === "pointercancel");
    };
    area.addEventListener("pointerup", finish, { signal: stop.signal });
    area.addEventListener("pointercancel", finish, { signal: stop.signal });
  }
}
