/** The reading room: one read, from its first image frame to its submission. */

import { Assistance } from "./assistance.ts";
import type { Evidence } from "./assistance.ts";
import { Capture } from "./capture.ts";
import { dropDraft, loadDraft, saveDraft } from "./config.ts";
import type { Draft, ReadConfig } from "./config.ts";
import { Controls } from "./controls.ts";
import type { Tool } from "./controls.ts";
import { jsonScript, need } from "./dom.ts";
import { EventLog } from "./events.ts";
import { Findings } from "./findings.ts";
import { getFrame, getJson, postJson, Refused } from "./http.ts";
import { Marks } from "./marks.ts";
import { Overlay } from "./overlay.ts";
import { ScreenPlace } from "./screen.ts";
import { TimedText } from "./sentences.ts";
import { Viewport } from "./viewport.ts";

const config = jsonScript<ReadConfig>("read-config");
const stage = need("stage");
const curtain = need("curtain");
const curtainText = need("curtain-text");
const curtainRetry = need<HTMLButtonElement>("curtain-retry");

function sentenceOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Cover the image with a sentence, or uncover it. */
function cover(sentence: string | null, retry: (() => void) | null = null): void {
  curtain.hidden = sentence === null;
  curtainText.textContent = sentence ?? "";
  curtainRetry.hidden = retry === null;
  curtainRetry.onclick = retry;
}

async function open(): Promise<void> {
  const draft: Draft = loadDraft(config.readId)
    ?? {
      origin: performance.timeOrigin,
      nextEvent: 0,
      pendingEvents: [],
      confidence: {},
      marks: [],
      report: { text: "", first: [], last: [] },
    };
  let dirty = 0;
  let submitted = false;
  const keep = (): void => {
    window.clearTimeout(dirty);
    dirty = window.setTimeout(() => saveDraft(config.readId, draft), 200);
  };
  window.addEventListener("pagehide", () => {
    if (!submitted) saveDraft(config.readId, draft);
  });

  const { image } = config;
  const capture = config.capture ? await Capture.open(config.capture, config.csrfToken, image, draft.origin) : null;
  if (capture) draft.origin = capture.origin;
  // Every time this page reports counts from the first page's origin, so that a reload breaks nothing.
  const shift = performance.timeOrigin - draft.origin;
  const time = (t = performance.now()): number => t + shift;

  // The server may know of events that this tab does not (a tab closed before); those it lacks are sent again.
  const known = config.nextEvent ?? 0;
  const resumed = draft.nextEvent >= known;
  const events = new EventLog({
    url: config.urls.events,
    csrfToken: config.csrfToken,
    next: resumed ? draft.nextEvent : known,
    time,
    pending: resumed ? draft.pendingEvents : [],
    remember: (next, pending) => {
      draft.nextEvent = next;
      draft.pendingEvents = pending;
      if (!submitted) saveDraft(config.readId, draft);
    },
  });
  events.add("page_opened", {
    time_origin: performance.timeOrigin,
    device_pixel_ratio: devicePixelRatio,
    screen: [screen.width, screen.height],
    window: [innerWidth, innerHeight],
    isolated: crossOriginIsolated,
  });

  // The image and what lies over it.
  const viewport = new Viewport(need<HTMLCanvasElement>("image"), new ScreenPlace(), capture?.nextState ?? 0);
  const overlay = new Overlay(need<SVGSVGElement>("overlay"));
  let assistance: Assistance | null = null;
  const marks = new Marks(overlay, draft.marks, image);
  const findings = new Findings(need("findings"), config.findings, draft.confidence, marks);
  marks.active = findings.active;
  const controls = new Controls(viewport, stage, {
    preview: (points) => marks.preview(points),
    finished: (shape, points) => {
      marks.add({ finding: findings.active, shape, points, confidence: null });
      controls.tool = "navigate";
    },
    grab: (target, at) => marks.grab(target, at),
    background: () => marks.select(null),
  });

  const readout = need("readout");
  viewport.onPresented = (state) => {
    overlay.present(state.a);
    capture?.presented({ ...state, t: time(state.t) });
    const { wc, ww, scale, invert, flip } = state.view;
    readout.textContent = `L ${Math.round(wc)}  W ${Math.round(ww)}  ${Math.round(scale * 100)} %${invert ? "  inverted" : ""}${flip === -1 ? "  mirrored" : ""}`;
    stage.dataset.seq = String(state.seq);
    stage.dataset.cause = state.cause;
  };
  viewport.onTrouble = (sentence) => cover(sentence);

  // Answers.
  const submit = need<HTMLButtonElement>("submit");
  const missing = need("missing");
  let submitting = false;
  const review = (): void => {
    const open = findings.missing();
    submit.disabled = open.length > 0 || submitting || viewport.image === null;
    if (submitting) return;
    missing.classList.remove("error");
    if (open.length > 0) {
      const names = open.slice(0, 2).join(", ");
      missing.textContent = `Still to rate: ${names}${open.length > 2 ? ` and ${open.length - 2} more` : ""}.`;
    } else {
      missing.textContent = report.text.trim() === "" ? "Every finding is rated; the report is empty." : "Every finding is rated.";
    }
  };
  findings.onRated = (finding, confidence) => {
    events.add("finding_rated", { finding, confidence });
    keep();
    review();
  };
  findings.onActive = (finding) => (marks.active = finding);
  marks.onSelect = (mark) => {
    if (mark) findings.activate(mark.finding);
    findings.refresh();
  };
  marks.onChange = (what, mark) => {
    events.add(what, { finding: mark.finding, shape: mark.shape, points: mark.points, confidence: mark.confidence });
    findings.refresh();
    keep();
  };

  const report = new TimedText(draft.report);
  const area = need<HTMLTextAreaElement>("report");
  const count = need("sentence-count");
  area.value = report.text;
  const written = (): void => {
    const sentences = report.sentences().length;
    count.textContent = sentences === 0 ? "" : sentences === 1 ? "1 sentence" : `${sentences} sentences`;
    draft.report = report.state;
    review();
  };
  area.addEventListener("input", (event) => {
    report.update(area.value, time(event.timeStamp), area.selectionStart);
    written();
    keep();
  });
  area.addEventListener("focus", () => events.add("report_focused"));

  // Tools.
  const toolButtons = new Map<Tool, HTMLButtonElement>(
    (["navigate", "box", "point"] as const).map((tool) => [tool, need<HTMLButtonElement>(`tool-${tool}`)]),
  );
  controls.onTool = (tool) => {
    for (const [name, button] of toolButtons) button.setAttribute("aria-pressed", String(name === tool));
  };
  for (const [tool, button] of toolButtons) button.addEventListener("click", () => (controls.tool = tool));
  const act = (key: string): void => void controls.key(new KeyboardEvent("keydown", { key }));
  need("tool-fit").addEventListener("click", () => act("f"));
  need("tool-invert").addEventListener("click", () => act("i"));
  need("tool-reset").addEventListener("click", () => act("r"));
  const keys = need<HTMLDialogElement>("keys");
  need("tool-keys").addEventListener("click", () => keys.showModal());
  const fullscreen = need<HTMLButtonElement>("tool-fullscreen");
  fullscreen.addEventListener("click", () => {
    if (document.fullscreenElement) void document.exitFullscreen();
    else void document.documentElement.requestFullscreen().catch(() => {});
  });
  document.addEventListener("fullscreenchange", () => {
    const full = document.fullscreenElement !== null;
    fullscreen.setAttribute("aria-pressed", String(full));
    events.add("fullscreen", { on: full });
  });
  document.addEventListener("visibilitychange", () => events.add("visibility", { state: document.visibilityState }));

  window.addEventListener("keydown", (event) => {
    if (keys.open) return;
    const target = event.target as HTMLElement;
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      if (!submit.disabled) submit.click();
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (target.matches("textarea, select, input:not([type=radio])")) {
      if (event.key === "Escape") target.blur();
      return;
    }
    // Keys that a focused control answers itself.
    if (target.matches("input[type=radio]") && (event.key.startsWith("Arrow") || event.key === " ")) return;
    if (target.matches("button, a") && (event.key === " " || event.key === "Enter")) return;
    if (handle(event)) event.preventDefault();
  });
  const handle = (event: KeyboardEvent): boolean => {
    if (event.key >= "1" && event.key <= "5") {
      findings.rate(findings.active, Number(event.key));
      return true;
    }
    switch (event.key.toLowerCase()) {
      case "j":
        findings.step(1);
        return true;
      case "k":
        findings.step(-1);
        return true;
      case "b":
        controls.tool = controls.tool === "box" ? "navigate" : "box";
        return true;
      case "p":
        controls.tool = controls.tool === "point" ? "navigate" : "point";
        return true;
      case "escape":
        controls.tool = "navigate";
        marks.preview(null);
        marks.select(null);
        if (document.activeElement instanceof HTMLElement || document.activeElement instanceof SVGElement) document.activeElement.blur();
        return true;
      case "delete":
      case "backspace":
        if (marks.selected) marks.remove(marks.selected);
        return true;
      case "a":
        assistance?.toggleBoxes();
        return assistance !== null;
      case "t":
        assistance?.togglePlay();
        return assistance !== null;
      case "enter":
        area.focus();
        return true;
      case "?":
        keys.showModal();
        return true;
    }
    return viewport.image !== null && controls.key(event);
  };

  // The recording and its indicator.
  const indicator = need("indicator");
  const indicatorText = need("indicator-text");
  const indicatorNote = need("indicator-note");
  if (capture) {
    indicator.hidden = false;
    capture.onEvent = (kind, payload) => events.add(kind, payload);
    capture.onIndicator = ({ recording, sentence }) => {
      indicator.classList.toggle("on", recording);
      indicatorText.textContent = recording ? "Recording" : "Not recording";
      const note = recording ? sentence : sentence.charAt(0).toUpperCase() + sentence.slice(1);
      if (indicatorNote.textContent !== note) indicatorNote.textContent = note;
      indicatorNote.hidden = note === "";
    };
  }

  const show = async (): Promise<void> => {
    cover("Loading the image…");
    const pixels = await getFrame(image.frameUrl, image.rows, image.columns, (part) => {
      curtainText.textContent = `Loading the image… ${Math.round(part * 100)} %`;
    });
    if (capture && config.capture!.required) {
      // A read that must be recorded shows nothing before the recording runs.
      cover("Waiting for the recording to start…");
      let started = await capture.begin();
      while (!started) {
        started = await new Promise<boolean>((resolve) => {
          cover(`This read is recorded, and the recording has not started: ${indicatorNote.textContent}`, () => {
            cover("Waiting for the recording to start…");
            resolve(capture.retry());
          });
          void capture.whenStarted().then(() => resolve(true));
        });
      }
    } else if (capture) {
      void capture.begin();
    }
    viewport.setImage(image, pixels);
    cover(null);
    events.add("image_shown", { image: image.id });
    review();
    await assist();
    // The next case of the same arm, quietly, into the browser's cache.
    if (config.next) void fetch(config.next.frameUrl, { credentials: "same-origin", priority: "low" }).catch(() => {});
  };

  const assist = async (): Promise<void> => {
    if (config.assistance !== "concurrent") return;
    const panel = need("gazex");
    const trouble = need("gazex-error");
    try {
      const evidence = await getJson<Evidence>(config.urls.assistance);
      assistance = new Assistance(panel, overlay, evidence, image, config.assistanceCaveats);
      assistance.onEvent = (kind, payload) => events.add(kind, payload);
      events.add("assistance_shown", { model: (evidence as { model_sha256?: string }).model_sha256 ?? "" });
      assistance.follow(panel, panel.closest<HTMLElement>(".scroll")!);
    } catch (error) {
      panel.hidden = true;
      trouble.hidden = false;
      trouble.textContent = `GazeX's output cannot be shown. ${sentenceOf(error)}`;
      events.add("assistance_failed", { sentence: sentenceOf(error) });
    }
  };

  submit.addEventListener("click", async () => {
    if (submitting) return;
    submitting = true;
    submit.disabled = true;
    missing.classList.remove("error");
    const t = time();
    events.add("submit_pressed", {}, t);
    try {
      if (capture) {
        missing.textContent = "Saving the recording…";
        for (const sentence of await capture.finish()) events.add("recording_incomplete", { sentence });
      }
      missing.textContent = "Submitting…";
      await events.close();
      const { next } = await postJson<{ next: string }>(
        config.urls.submit,
        {
          responses: findings.responses(),
          marks: marks.items,
          report: { text: report.text, sentences: report.sentences() },
          t,
          last_event: events.last,
        },
        config.csrfToken,
      );
      submitted = true;
      window.clearTimeout(dirty);
      dropDraft(config.readId);
      await capture?.close();
      location.assign(next);
    } catch (error) {
      submitting = false;
      events.open();
      review();
      missing.textContent = sentenceOf(error);
      missing.classList.add("error");
      // The reader reads on, and that is part of the read.
      capture?.resume();
      events.add("submit_failed", { status: error instanceof Refused ? error.status : 0, sentence: sentenceOf(error) });
    }
  });

  findings.refresh();
  written();
  review();
  stage.dataset.ready = "true";
  try {
    await show();
  } catch (error) {
    cover(sentenceOf(error), () => location.reload());
    events.add("image_failed", { sentence: sentenceOf(error) });
  }
}

open().catch((error: unknown) => cover(sentenceOf(error), () => location.reload()));
