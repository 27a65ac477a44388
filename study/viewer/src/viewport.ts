/**
 * The measuring instrument: one WebGL2 canvas, one matrix, one draw function, one record for every drawn frame.
 *
 * The shader looks the image up through the inverse of exactly the matrix that is reported, so what the gaze is mapped
 * through is what was on the screen. Interface: `setImage · affine() · set(view, cause) · onPresented`.
 */

import { fit, invert, toCss, toDevice } from "./affine.ts";
import type { Geometry, Matrix, Placement, Surface } from "./affine.ts";
import { pyramid } from "./pyramid.ts";
import type { ScreenPlace } from "./screen.ts";
import { clampWindow, displayTable, fullRange, windowOf } from "./voi.ts";
import type { Voi } from "./voi.ts";

export interface ImageDescription extends Geometry {
  /** The highest stored value. */
  readonly max: number;
  /** MONOCHROME1: low values are bright. */
  readonly invert: boolean;
  readonly voi: readonly Voi[];
}

export interface View extends Placement {
  /** The reader's inversion, on top of the file's. */
  readonly invert: boolean;
  readonly wc: number;
  readonly ww: number;
  /** Which of the image's VOI descriptions is in use. */
  readonly voi: number;
}

/** What was on the screen at `t`. `a` maps image pixels to CSS pixels of the page. */
export interface Presented {
  readonly seq: number;
  /** Browser milliseconds: the animation frame's own time. */
  readonly t: number;
  readonly a: Matrix;
  readonly rect: readonly [number, number, number, number];
  readonly dpr: number;
  readonly screenX: number;
  readonly screenY: number;
  readonly view: View;
  readonly visible: boolean;
  readonly focus: boolean;
  readonly cause: string;
}

const VERTEX = `#version 300 es
void main() {
  // One triangle that covers the canvas.
  gl_Position = vec4(vec2(gl_VertexID == 1 ? 3.0 : -1.0, gl_VertexID == 2 ? 3.0 : -1.0), 0.0, 1.0);
}`;

const FRAGMENT = `#version 300 es
precision highp float;
precision highp int;
precision highp usampler2D;
uniform usampler2D frame;
uniform sampler2D table;
uniform mat3 toImage;
uniform vec2 size;
uniform float height;
uniform float lod;
uniform int levels;
uniform float background;
out vec4 colour;

float texel(ivec2 at, int level, ivec2 last) {
  return float(texelFetch(frame, clamp(at, ivec2(0), last), level).r);
}

float bilinear(vec2 image, int level) {
  float unit = exp2(float(level));
  ivec2 last = ivec2(ceil(size / unit)) - 1;
  vec2 p = (image + 0.5) / unit - 0.5;
  vec2 base = floor(p);
  vec2 w = p - base;
  ivec2 i = ivec2(base);
  return mix(mix(texel(i, level, last), texel(i + ivec2(1, 0), level, last), w.x),
             mix(texel(i + ivec2(0, 1), level, last), texel(i + ivec2(1, 1), level, last), w.x), w.y);
}

float lookup(float value) {
  // Between two stored values the display is interpolated, so that a narrow window on 8 bits shows no steps.
  float low = floor(value);
  int i = int(low);
  int j = min(i + 1, 65535);
  float a = texelFetch(table, ivec2(i & 255, i >> 8), 0).r;
  float b = texelFetch(table, ivec2(j & 255, j >> 8), 0).r;
  return mix(a, b, value - low);
}

void main() {
  vec2 image = (toImage * vec3(gl_FragCoord.x, height - gl_FragCoord.y, 1.0)).xy;
  if (any(lessThan(image, vec2(-0.5))) || any(greaterThanEqual(image, size - 0.5))) {
    colour = vec4(vec3(background), 1.0);
    return;
  }
  float wanted = clamp(lod, 0.0, float(levels));
  int lower = int(floor(wanted));
  float value = bilinear(image, lower);
  if (wanted > float(lower)) value = mix(value, bilinear(image, min(lower + 1, levels)), wanted - float(lower));
  colour = vec4(vec3(lookup(value)), 1.0);
}`;

type Uniforms = Record<"frame" | "table" | "toImage" | "size" | "height" | "lod" | "levels" | "background", WebGLUniformLocation>;

export class Viewport {
  readonly canvas: HTMLCanvasElement;
  /** Called once for every drawn frame, in order, in the animation frame that drew it. */
  onPresented: (state: Presented) => void = () => {};
  /** Called with a sentence when the graphics system takes the canvas away, and with null when it is back. */
  onTrouble: (sentence: string | null) => void = () => {};

  #gl: WebGL2RenderingContext;
  #uniforms!: Uniforms;
  #image: ImageDescription | null = null;
  #pixels: Uint16Array | null = null;
  #levels = 0;
  #view: View | null = null;
  #fitted = true;
  #tableKey = "";
  #surface: Surface;
  #place: ScreenPlace;
  #causes: string[] = [];
  #scheduled = 0;
  #seq: number;
  #lost = false;

  constructor(canvas: HTMLCanvasElement, place: ScreenPlace, firstSeq = 0) {
    const gl = canvas.getContext("webgl2", { alpha: false, antialias: false, depth: false, powerPreference: "high-performance" });
    if (!gl) throw new Error("The image cannot be shown: this browser has no WebGL 2. Use a current Chromium, Edge or Firefox.");
    this.canvas = canvas;
    this.#gl = gl;
    this.#place = place;
    this.#seq = firstSeq;
    this.#surface = this.#measure();
    this.#prepare();

    const resize = new ResizeObserver((entries) => {
      const box = entries[0]?.devicePixelContentBoxSize?.[0];
      this.#resized(box ? [box.inlineSize, box.blockSize] : null);
    });
    try {
      resize.observe(canvas, { box: "device-pixel-content-box" });
    } catch {
      resize.observe(canvas);
    }
    place.onChange = (cause) => this.#request(cause);
    window.addEventListener("focus", () => this.#request("focus"));
    window.addEventListener("blur", () => this.#request("blur"));
    document.addEventListener("visibilitychange", (event) => {
      // A hidden page gets no animation frame: what vanished is recorded at the moment it vanished.
      if (document.visibilityState === "hidden") this.#emit(event.timeStamp, "hidden");
      else this.#request("visible");
    });
    canvas.addEventListener("webglcontextlost", (event) => {
      event.preventDefault();
      this.#lost = true;
      this.onTrouble("The graphics system was reset; the image returns as soon as it is ready.");
    });
    canvas.addEventListener("webglcontextrestored", () => {
      this.#lost = false;
      this.#prepare();
      if (this.#image && this.#pixels) this.#upload(this.#image, this.#pixels);
      this.onTrouble(null);
      this.#request("restored");
    });
  }

  /** Show a frame of little-endian 16-bit values, whole, with its first VOI. */
  setImage(image: ImageDescription, pixels: Uint16Array, cause = "image"): void {
    const side = Math.max(image.rows, image.columns);
    const limit = this.#gl.getParameter(this.#gl.MAX_TEXTURE_SIZE) as number;
    if (side > limit) {
      throw new Error(`The image is ${side} pixels long and this computer's graphics take ${limit} at most.`);
    }
    const voi = image.voi.length > 0 ? image.voi : [fullRange(image.max)];
    this.#image = { ...image, voi };
    this.#pixels = pixels;
    this.#upload(this.#image, pixels);
    this.#surface = this.#measure();
    this.#fitted = true;
    this.#view = { ...fit(this.#image, this.#surface), invert: false, ...windowOf(voi[0]!), voi: 0 };
    this.#request(cause);
  }

  get image(): ImageDescription | null {
    return this.#image;
  }

  get view(): View {
    if (!this.#view) throw new Error("No image is shown yet.");
    return this.#view;
  }

  /** The canvas as it lies on the page now: the page around it may have been scrolled since the last frame. */
  get surface(): Surface {
    return this.#measure();
  }

  /** Image pixels to CSS pixels, as the next frame will be drawn. */
  affine(): Matrix {
    if (!this.#image) throw new Error("No image is shown yet.");
    return toCss(this.view, this.#image, this.#measure());
  }

  fitted(): View {
    if (!this.#image) throw new Error("No image is shown yet.");
    return { ...this.view, ...fit(this.#image, this.#surface) };
  }

  initial(): View {
    if (!this.#image) throw new Error("No image is shown yet.");
    return { ...fit(this.#image, this.#surface), flip: 1, invert: false, ...windowOf(this.#image.voi[0]!), voi: 0 };
  }

  /** The view from the next frame on; `cause` says why in the record. */
  set(view: Partial<View>, cause: string): void {
    if (!this.#image || !this.#view) return;
    const next = { ...this.#view, ...view };
    const least = 32 / Math.max(this.#image.columns, this.#image.rows);
    const scale = Math.min(Math.max(next.scale, least), 64);
    this.#view = { ...next, ...clampWindow(next), scale };
    if (view.scale !== undefined || view.cx !== undefined || view.cy !== undefined) {
      const whole = fit(this.#image, this.#surface);
      this.#fitted = this.#view.scale === whole.scale && this.#view.cx === whole.cx && this.#view.cy === whole.cy;
    }
    this.#request(cause);
  }

  #request(cause: string): void {
    if (!this.#causes.includes(cause)) this.#causes.push(cause);
    if (this.#scheduled === 0) this.#scheduled = requestAnimationFrame((raf) => this.#draw(raf));
  }

  #measure(): Surface {
    const rect = this.canvas.getBoundingClientRect();
    return {
      left: rect.left,
      top: rect.top,
      width: rect.width,
      height: rect.height,
      deviceWidth: this.canvas.width,
      deviceHeight: this.canvas.height,
    };
  }

  #resized(device: [number, number] | null): void {
    const rect = this.canvas.getBoundingClientRect();
    const [width, height] = device ?? [Math.round(rect.width * devicePixelRatio), Math.round(rect.height * devicePixelRatio)];
    if (width === 0 || height === 0) return;
    const before = this.#surface;
    this.canvas.width = width;
    this.canvas.height = height;
    this.#surface = this.#measure();
    if (this.#image && this.#view) {
      if (this.#fitted) this.#view = { ...this.#view, ...fit(this.#image, this.#surface) };
      // What was magnified keeps its size in CSS pixels when only the device pixel ratio changed.
      else this.#view = { ...this.#view, scale: (this.#view.scale * (width / rect.width)) / (before.deviceWidth / before.width) };
    }
    // A resized canvas is empty until it is drawn. Observers run inside the frame, after its animation callbacks:
    // drawing here, under the frame's own time, leaves no black frame behind.
    this.#causes.push("resize");
    cancelAnimationFrame(this.#scheduled);
    this.#draw(Number(document.timeline.currentTime ?? performance.now()));
  }

  #draw(raf: number): void {
    this.#scheduled = 0;
    const cause = this.#causes.join("+");
    this.#causes = [];
    const image = this.#image;
    const view = this.#view;
    if (!image || !view || this.#lost) return;
    const gl = this.#gl;
    this.#surface = this.#measure();
    const surface = this.#surface;
    if (surface.deviceWidth === 0 || surface.width === 0) return;

    const key = `${view.voi} ${view.wc} ${view.ww} ${view.invert}`;
    if (key !== this.#tableKey) {
      this.#tableKey = key;
      const table = displayTable(image.voi[view.voi]!, view, view.invert !== image.invert, image.max);
      gl.activeTexture(gl.TEXTURE1);
      gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, 0, 256, 256, gl.RED, gl.UNSIGNED_BYTE, table);
    }
    const device = toDevice(view, image, surface);
    const [a, b, c, d, e, f] = invert(device);
    const u = this.#uniforms;
    gl.viewport(0, 0, surface.deviceWidth, surface.deviceHeight);
    gl.uniformMatrix3fv(u.toImage, false, [a, b, 0, c, d, 0, e, f, 1]);
    gl.uniform2f(u.size, image.columns, image.rows);
    gl.uniform1f(u.height, surface.deviceHeight);
    // Image pixels a device pixel covers along its longer side.
    const footprint = Math.max(Math.hypot(a, b), Math.hypot(c, d));
    gl.uniform1f(u.lod, Math.max(0, Math.log2(footprint)));
    gl.uniform1i(u.levels, this.#levels);
    gl.uniform1f(u.background, 0);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
    this.#emit(raf, cause);
  }

  #emit(t: number, cause: string): void {
    const image = this.#image;
    const view = this.#view;
    if (!image || !view) return;
    const { left, top, width, height } = this.#surface;
    this.onPresented({
      seq: this.#seq++,
      t,
      a: toCss(view, image, this.#surface),
      rect: [left, top, width, height],
      dpr: devicePixelRatio,
      screenX: this.#place.x,
      screenY: this.#place.y,
      view,
      visible: document.visibilityState === "visible",
      focus: document.hasFocus(),
      cause,
    });
  }

  #prepare(): void {
    const gl = this.#gl;
    const program = gl.createProgram();
    for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]] as const) {
      const shader = gl.createShader(kind)!;
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) {
      throw new Error(`The image cannot be shown: the graphics driver refused the shader (${gl.getProgramInfoLog(program)}).`);
    }
    gl.useProgram(program);
    const at = (name: string): WebGLUniformLocation => gl.getUniformLocation(program, name)!;
    this.#uniforms = {
      frame: at("frame"), table: at("table"), toImage: at("toImage"), size: at("size"),
      height: at("height"), lod: at("lod"), levels: at("levels"), background: at("background"),
    };
    gl.uniform1i(this.#uniforms.frame, 0);
    gl.uniform1i(this.#uniforms.table, 1);
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    gl.activeTexture(gl.TEXTURE1);
    gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
    gl.texStorage2D(gl.TEXTURE_2D, 1, gl.R8, 256, 256);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.NEAREST);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
    this.#tableKey = "";
  }

  #upload(image: ImageDescription, pixels: Uint16Array): void {
    const gl = this.#gl;
    const levels = pyramid(pixels, image.columns, image.rows);
    const [base] = levels;
    gl.activeTexture(gl.TEXTURE0);
    const old = gl.getParameter(gl.TEXTURE_BINDING_2D) as WebGLTexture | null;
    if (old) gl.deleteTexture(old);
    gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
    gl.texStorage2D(gl.TEXTURE_2D, levels.length, gl.R16UI, base!.width, base!.height);
    levels.forEach((level, i) => {
      gl.texSubImage2D(gl.TEXTURE_2D, i, 0, 0, level.width, level.height, gl.RED_INTEGER, gl.UNSIGNED_SHORT, level.data);
    });
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.NEAREST_MIPMAP_NEAREST);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
    this.#levels = levels.length - 1;
    this.#tableKey = "";
  }
}
