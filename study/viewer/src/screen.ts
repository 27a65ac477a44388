/**
 * Where the page lies on its display, in CSS pixels from the display's top left corner. Full screen it is the corner
 * itself; in a window the browser tells only through its pointer events (screen minus client position), the window's
 * own numbers are the first guess.
 *
 * Chromium tells windows, screens and pointers in units that its zoom does not touch, page positions in units that it
 * does; and it counts them from the corner of the first display, not of the one the page is on.
 */

const ZOOMS = [1 / 4, 1 / 3, 1 / 2, 2 / 3, 0.75, 0.8, 0.9, 1, 1.1, 1.25, 1.5, 1.75, 2, 2.5, 3, 4, 5];

/** The browser's zoom in units of the screen: what one CSS pixel of the page is there. 1 where the browser's units zoom with the page. */
export function zoom(): number {
  const { outerWidth, outerHeight, innerWidth, innerHeight } = window;
  const ratio = outerWidth / innerWidth;
  const off = (step: number): number => Math.abs(Math.log(ratio / step));
  const nearest = ZOOMS.reduce((best, step) => (off(step) < off(best) ? step : best));
  // Frames make the window a little wider than the page. A panel at its side makes it much wider, but no higher.
  return off(nearest) < 0.04 && outerHeight >= innerHeight * nearest - 2 ? nearest : 1;
}

/** Pixels of the display the page is on: [width, height], rounded as the browser rounds. */
export function displaySize(): [number, number] {
  const scale = window.devicePixelRatio / zoom();
  return [Math.round(window.screen.width * scale), Math.round(window.screen.height * scale)];
}

/** Where a display begins, on one axis: not where a bar at its edge leaves room, if that puts it in line with the first one. */
function corner(available: number, bars: number): number {
  return available > 0 && available <= bars ? 0 : available;
}

/** Whether the page covers its display, by itself or by the browser's own full screen (F11), which no page is told of. */
function covers(): boolean {
  if (document.fullscreenElement !== null) return true;
  const scale = zoom();
  const { width, height } = window.screen;
  return Math.abs(window.innerWidth * scale - width) < 2 && Math.abs(window.innerHeight * scale - height) < 2;
}

interface Learned {
  /** From the window's corner to the page's, units of the screen; true while the window is framed like this. */
  readonly dx: number;
  readonly dy: number;
  readonly frame: string;
}

export class ScreenPlace {
  x = 0;
  y = 0;
  onChange: (cause: string) => void = () => {};
  #learned: Learned | null = null;

  constructor() {
    this.measure();
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
    if (this.measure()) this.onChange("moved");
  }

  /** Bars that come and go, zoom and full screen move the page within its window. */
  #frame(): string {
    return [window.outerWidth - window.innerWidth, window.outerHeight - window.innerHeight, zoom()].join();
  }

  #learn(event: PointerEvent): void {
    if (!event.isTrusted) return;
    const scale = zoom();
    this.#learned = {
      dx: event.screenX - event.clientX * scale - window.screenX,
      dy: event.screenY - event.clientY * scale - window.screenY,
      frame: this.#frame(),
    };
    this.#moved();
  }

  /** Look where the page is now; whether that is another place than before. */
  measure(): boolean {
    let x = 0;
    let y = 0;
    if (!covers()) {
      const { outerWidth, outerHeight, innerWidth, innerHeight } = window;
      const { width, height, availWidth, availHeight } = window.screen;
      // In no standard, in every browser.
      const { availLeft = 0, availTop = 0 } = window.screen as Screen & { availLeft?: number; availTop?: number };
      const scale = zoom();
      // The frame is as thick at the sides as at the bottom; the rest of the difference is tabs and address bar.
      const border = Math.max(0, (outerWidth - innerWidth * scale) / 2);
      const bar = Math.max(0, outerHeight - innerHeight * scale - border);
      const { dx, dy } = this.#learned?.frame === this.#frame() ? this.#learned : { dx: border, dy: bar };
      x = (window.screenX + dx - corner(availLeft, width - availWidth)) / scale;
      y = (window.screenY + dy - corner(availTop, height - availHeight)) / scale;
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
  const pinch = window.visualViewport?.scale ?? 1;
  if (Math.abs(pinch - 1) > 1e-3) {
    return `The page is magnified ${pinch.toFixed(2)} times by pinch zoom, so gaze would land in the wrong place: set it back to 1.`;
  }
  return null;
}
