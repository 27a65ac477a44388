/**
 * Where the page lies on the display, in CSS pixels. Full screen it is the corner itself; in a window the browser
 * tells only through its pointer events (screen minus client position), the window's own numbers are the first guess.
 */

export class ScreenPlace {
  x = 0;
  y = 0;
  onChange: (cause: string) => void = () => {};
  #learned: { windowX: number; windowY: number; dx: number; dy: number } | null = null;

  constructor() {
    this.#update();
    window.addEventListener("pointermove", (event) => this.#learn(event), { passive: true, capture: true });
    window.addEventListener("pointerdown", (event) => this.#learn(event), { passive: true, capture: true });
    window.addEventListener("resize", () => this.#moved());
    document.addEventListener("fullscreenchange", () => {
      this.#learned = null;
      this.#moved();
    });
    // No event tells that a window was moved.
    setInterval(() => this.#moved(), 500);
  }

  #moved(): void {
    if (this.#update()) this.onChange("moved");
  }

  #learn(event: PointerEvent): void {
    if (!event.isTrusted) return;
    this.#learned = {
      windowX: window.screenX,
      windowY: window.screenY,
      dx: event.screenX - event.clientX - window.screenX,
      dy: event.screenY - event.clientY - window.screenY,
    };
    this.#moved();
  }

  #update(): boolean {
    let x: number;
    let y: number;
    const full = document.fullscreenElement !== null;
    const learned = this.#learned;
    if (full) {
      x = 0;
      y = 0;
    } else if (learned) {
      x = window.screenX + learned.dx;
      y = window.screenY + learned.dy;
    } else {
      // The frame is as thick at the sides as at the bottom; the rest of the difference is tabs and address bar.
      const border = Math.max(0, (window.outerWidth - window.innerWidth) / 2);
      x = window.screenX + border;
      y = window.screenY + Math.max(0, window.outerHeight - window.innerHeight - border);
    }
    // Pointer positions are rounded: half a pixel of jitter is not a moved window.
    if (Math.abs(x - this.x) < 1 && Math.abs(y - this.y) < 1) return false;
    this.x = x;
    this.y = y;
    return true;
  }
}

/** Why gaze must not be recorded now, in one sentence, or null. */
export function refusal(): string | null {
  const zoom = window.visualViewport?.scale ?? 1;
  if (Math.abs(zoom - 1) > 1e-3) {
    return `The page is magnified ${zoom.toFixed(2)} times by pinch zoom, so gaze would land in the wrong place: set it back to 1.`;
  }
  return null;
}
