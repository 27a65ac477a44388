/**
 * The station check, and the drift check between cases (`config.mode`). The points are places on the DISPLAY (0 to 1); the page finds where they are in its window, tells
 * the agent (a simulated eye looks where the agent says), collects what the tracker sees, and lets the server judge.
 */

import { connectAgent } from "../study/viewer/agent-client.js";
import { ScreenPlace, displaySize, refusal } from "../study/viewer/screen.js";

const SETTLE_MS = 600;
const COLLECT_S = 0.7;
/** The target's own radius: a point nearer to the edge than this would be cut off. */
const MARGIN = 10;
/** How much longer errors are drawn than they are; the coordinator's page has the same. */
const ENLARGED = 3;

const $ = (id) => document.getElementById(id);
const config = JSON.parse($("station-config").textContent);
const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const frame = () => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));

const drifting = config.mode === "drift";
const all = drifting ? [config.point] : [...config.calibration, ...config.validation];

let agent = null;
/** The server's answer to the last calibration: its bad points can be measured again. */
let last = null;
let running = false;
let stopped = false;
/** How often the simulated tracker was told which display this is. */
let asked = 0;
/** Until the agent answers, the page looks again by itself, whatever was wrong: a person may mend it at the agent or on the server. */
let looking;
let connecting = false;
let failures = 0;
const LOOK_AGAIN_MS = 1000;
const LOOK_AGAIN_AT_MOST_MS = 16_000;
const here = new ScreenPlace();

/** A place on the display as CSS pixels of the window. */
function place([x, y]) {
  here.measure();
  const ratio = window.devicePixelRatio;
  const { width_px: width, height_px: height } = agent.welcome.display;
  return [(x * width) / ratio - here.x, (y * height) / ratio - here.y];
}

function inWindow([x, y]) {
  return x >= MARGIN && y >= MARGIN && x <= window.innerWidth - MARGIN && y <= window.innerHeight - MARGIN;
}

function check(name, state, sentence) {
  const item = document.querySelector(`[data-check="${name}"]`);
  item.dataset.state = state;
  // Said again, it would be read out again.
  const said = item.querySelector("span");
  if (said.textContent !== sentence) said.textContent = sentence;
}

function checkWindow() {
  if (!agent) return;
  if (refusal()) {
    check("window", "bad", "the page is magnified by pinch zoom: set it back to 1");
    return;
  }
  const hidden = all.filter((point) => !inWindow(place(point))).length;
  if (hidden === 0) check("window", "ok", all.length === 1 ? "the point lies inside the window" : "every point lies inside the window");
  else if (document.fullscreenEnabled) {
    check("window", "warn", `${hidden} of ${all.length} points lie outside this window; the page goes full screen when you start`);
  } else {
    check("window", "bad", `${hidden} of ${all.length} points lie outside this window: make the browser full screen (F11)`);
  }
}

/** The server's word on the station that was found. A browser that was moved to another one gets that one's page. */
async function enter(station) {
  const entry = await post(config.enter, { station });
  if (entry.station !== config.station) {
    location.reload();
    await new Promise(() => {});
  }
  return entry;
}

async function post(url, body) {
  const response = await fetch(url, {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-CSRFToken": config.csrfToken },
    body: JSON.stringify(body),
  }).catch(() => {
    throw new Error("The server cannot be reached: check the network and try again.");
  });
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(answer.error ?? `The server answered ${response.status}.`);
  return answer;
}

async function connect() {
  if (connecting) return;
  connecting = true;
  clearTimeout(looking);
  $("start").disabled = true;
  // What went wrong stays readable while the page looks again.
  if (!failures) check("agent", "wait", "connecting…");
  try {
    agent = await connectAgent({ url: config.agent, enter });
  } catch (error) {
    agent = null;
    check("agent", "bad", error.message);
    $("reconnect").hidden = false;
    looking = setTimeout(connect, Math.min(LOOK_AGAIN_MS * 2 ** failures, LOOK_AGAIN_AT_MOST_MS));
    failures += 1;
    return;
  } finally {
    connecting = false;
  }
  failures = 0;
  check("agent", "ok", `connected: ${agent.entry.name}`);
  agent.onClosed = (sentence) => {
    check("agent", "bad", sentence);
    $("start").disabled = true;
    $("reconnect").hidden = false;
    stopped = true;
  };
  agent.onWelcome = welcome;
  welcome();
}

function welcome() {
  $("reconnect").hidden = true;
  check("agent", "ok", `connected: ${agent.entry.name}`);
  const { tracker, display } = agent.welcome;
  const found = tracker.found === true;
  check("tracker", found ? "ok" : "bad", found
    ? `${tracker.name ?? "found"}${tracker.rate_hz ? `, ${Math.round(tracker.rate_hz)} Hz` : ""}`
    : "none found: connect it and switch it on");
  const known = display && ["width_px", "height_px", "width_mm", "height_mm", "distance_mm"].every((key) => display[key] > 0);
  const [width, height] = displaySize();
  // Fractional ratios round: two device pixels are the same display.
  const same = known && Math.abs(display.width_px - width) <= 2 && Math.abs(display.height_px - height) <= 2;
  if (!known) check("display", "bad", "the agent does not know the display's size: set it at the station");
  else if (!same && tracker.simulated && asked < 8) {
    check("display", "wait", "the simulated tracker is moving to this display…");
    moveSimulator(width, height);
  } else if (!same) {
    check("display", "bad", `the tracker's display has ${display.width_px} × ${display.height_px} pixels, this one ${width} × ${height}: move the browser to the tracked display`);
  } else {
    check("display", "ok", `${display.width_px} × ${display.height_px} pixels, ${Math.round(display.width_mm)} × ${Math.round(display.height_mm)} mm, read from ${Math.round(display.distance_mm)} mm`);
  }
  if (known) checkWindow();
  $("start").disabled = !(found && same);
  $("start").dataset.ready = String(found && same);
  // So that Space or Enter starts at once.
  if (!$("start").disabled && document.activeElement === document.body) $("start").focus({ preventScroll: true });
}

/** A simulated tracker watches whatever display the page is on: tell it, and look again until its stream says so. */
async function moveSimulator(width, height) {
  asked += 1;
  agent.stimulus({ kind: "display", width_px: width, height_px: height });
  await wait(1500);
  agent?.close();
  await connect();
}

/** A moment of this page's clock as LSL seconds, by the exchange with the shortest way there and back. */
function toLsl(pageMs) {
  const trip = ([t0, t1, t2, t3]) => t3 - t0 - 1000 * (t2 - t1);
  const best = agent.exchanges.slice(-60).reduce((a, b) => (a && trip(a) <= trip(b) ? a : b), null);
  if (!best) throw new Error("The station's clock has not answered yet: start again in a moment.");
  const [t0, t1, t2, t3] = best;
  return (t1 + t2) / 2 + (pageMs - (t0 + t3) / 2) / 1000;
}

/** Show each point in turn; answers what was measured at each. `begin` of `total` points were shown before. */
async function look(points, begin, total) {
  const target = $("target");
  const out = [];
  for (const [i, point] of points.entries()) {
    const [x, y] = place(point);
    if (!inWindow([x, y])) {
      throw new Error("A point lies outside this window: the window must be full screen. Press Full screen, then start again.");
    }
    $("stage-progress").value = (begin + i) / total;
    target.style.transform = `translate(${x}px, ${y}px)`;
    target.hidden = false;
    target.classList.remove("taking", "shrink");
    await frame();
    const shown = toLsl(performance.now());
    target.classList.add("shrink");
    agent.stimulus({ kind: "target", x: point[0], y: point[1] });
    await wait(SETTLE_MS);
    target.classList.add("taking");
    const samples = await agent.collect(COLLECT_S);
    if (stopped) throw new Error("It was stopped before it was complete. Start again when you are ready.");
    out.push({ x: point[0], y: point[1], shown, ...pick(samples) });
  }
  target.hidden = true;
  return out;
}

function pick({ t, left, right, valid_left, valid_right }) {
  return { t, left, right, valid_left, valid_right };
}

async function say(sentence, ms) {
  $("stage-text").textContent = sentence;
  await wait(ms);
  $("stage-text").textContent = "";
}

async function start(repeat) {
  if (running || !agent) return;
  running = true;
  stopped = false;
  $("stage").hidden = false;
  $("stage-progress").value = 0;
  try {
    const needed = !drifting || !inWindow(place(config.point));
    if (needed && !document.fullscreenElement && document.fullscreenEnabled) {
      await $("stage").requestFullscreen().catch(() => {});
      await wait(250);
    }
    if (drifting) await checkDrift();
    else await calibrate(repeat);
  } catch (error) {
    agent?.stimulus({ kind: "blank" });
    show({ passed: false, sentence: error.message, points: [] });
  } finally {
    $("stage-text").textContent = "";
    $("target").hidden = true;
    $("stage").hidden = true;
    running = false;
    if (document.fullscreenElement) await document.exitFullscreen().catch(() => {});
    // A button inside a page that was covered takes the focus only now.
    focusResult();
  }
}

async function calibrate(repeat) {
  const points = repeat ? repeat.bad : { calibration: config.calibration, validation: config.validation };
  const total = points.calibration.length + points.validation.length;
  await say(total === 1 ? "Look at the middle of the point." : "Look at the middle of each point.", 1200);
  const calibration = await look(points.calibration, 0, total);
  if (calibration.length && points.validation.length) await say("Now the points that check it.", 1000);
  const validation = await look(points.validation, calibration.length, total);
  agent.stimulus({ kind: "blank" });
  $("stage-text").textContent = "Measuring…";
  const { display, tracker } = agent.welcome;
  const repeats = repeat ? repeat.id : null;
  last = await post(config.post, { enrolment: config.enrolment, display, tracker, calibration, validation, repeats });
  show(last);
}

async function checkDrift() {
  const [point] = await look([config.point], 0, 1);
  agent.stimulus({ kind: "blank" });
  const result = await post(config.post, { enrolment: config.enrolment, display: agent.welcome.display, point });
  show({ ...result, points: [] });
  if (result.passed) $("continue-form").requestSubmit();
}

const degrees = (value) => (value == null ? "–" : `${value.toFixed(2)}°`);
const percent = (value) => (value == null ? "–" : `${Math.round(100 * value)} %`);

function show(result) {
  const measured = result.points.length > 0;
  $("result").hidden = false;
  $("result").dataset.passed = String(result.passed);
  $("sentence").textContent = result.sentence;
  $("sentence").className = result.passed ? "note ok" : "note bad";
  $("continue").hidden = !result.passed;
  $("again").hidden = false;
  $("start").classList.remove("primary");
  $("again").classList.toggle("primary", !result.passed);
  if (!drifting) {
    offerRepeat(result);
    $("points").hidden = $("map").hidden = !measured;
    if (measured) {
      $("points").tBodies[0].replaceChildren(...result.points.map((point, i) => row(
        `${i + 1}`, point.accuracy_deg, point.rms_s2s_deg, point.sd_deg, point.data_loss, result,
      )));
      const mean = row("All", result.accuracyDeg, result.precisionRmsDeg, result.precisionSdDeg, result.dataLoss, result);
      $("points").tFoot.replaceChildren(mean);
      $("drawing").replaceChildren(map(result));
    }
  }
  $("result").scrollIntoView({ block: "nearest" });
}

/** A few bad points can be measured again alone; where most are bad, only another calibration helps. */
function offerRepeat(result) {
  const bad = result.bad ? result.bad.calibration.length + result.bad.validation.length : 0;
  const worth = bad > 0 && bad <= all.length / 2;
  $("repeat").hidden = !worth;
  $("repeat").textContent = bad === 1 ? "Measure the bad point again" : `Measure the ${bad} bad points again`;
  $("repeat").classList.toggle("primary", worth && !result.passed);
  if (worth) $("again").classList.remove("primary");
}

function focusResult() {
  if ($("result").hidden) return;
  const wanted = ["continue", "repeat", "again"].map($).find((button) => button && !button.hidden);
  wanted?.focus({ preventScroll: true });
}

function row(name, accuracy, rms, sd, loss, limits) {
  const line = document.createElement("tr");
  const head = document.createElement("th");
  head.scope = "row";
  head.textContent = name;
  line.append(head);
  const cells = [
    [accuracy == null ? "no gaze" : degrees(accuracy), accuracy == null || accuracy > limits.maxAccuracyDeg, "too far"],
    [degrees(rms), false, ""],
    [degrees(sd), false, ""],
    [percent(loss), loss > limits.maxDataLoss, "too much"],
  ];
  for (const [text, over, word] of cells) {
    const cell = document.createElement("td");
    cell.className = over ? "number over" : "number";
    cell.textContent = over && accuracy != null ? `${text}, ${word}` : text;
    line.append(cell);
  }
  return line;
}

function svg(name, attributes, text) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

/** The display in millimetres: each target, the threshold around it, its error and the spread, as the server draws it. */
function map({ points, display, maxAccuracyDeg, maxDataLoss }) {
  const { width_mm: width, height_mm: height, distance_mm: distance } = display;
  const cross = width / 80;
  const limit = ENLARGED * distance * Math.tan((maxAccuracyDeg * Math.PI) / 180);
  const drawing = svg("svg", { class: "calibration-map", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "Each validation point and where gaze was measured" });
  points.forEach((point, i) => {
    const [x, y] = [point.x * width, point.y * height];
    const none = point.accuracy_deg == null;
    const bad = none ? "not seen" : point.accuracy_deg > maxAccuracyDeg ? "too far" : point.data_loss > maxDataLoss ? "too much lost" : "";
    const group = svg("g", { class: bad ? "bad" : "" });
    group.append(svg("circle", { class: "limit", cx: x, cy: y, r: limit }));
    group.append(svg("path", { class: "target-cross", d: `M${x - cross} ${y}H${x + cross}M${x} ${y - cross}V${y + cross}` }));
    if (!none) {
      const [gx, gy] = [x + ENLARGED * (point.gaze_x * width - x), y + ENLARGED * (point.gaze_y * height - y)];
      group.append(svg("line", { class: "error", x1: x, y1: y, x2: gx, y2: gy }));
      if (point.ellipse_mm) {
        const [rx, ry, angle] = point.ellipse_mm;
        group.append(svg("ellipse", { class: "precision", rx: ENLARGED * rx, ry: ENLARGED * ry, transform: `translate(${gx} ${gy}) rotate(${angle})` }));
      }
      group.append(svg("circle", { class: "gaze", cx: gx, cy: gy, r: cross }));
    }
    const label = svg("text", { x, y: y + (1.8 * width) / 28, "font-size": width / 28, "text-anchor": "middle" }, `${i + 1}: ${none ? "no gaze" : degrees(point.accuracy_deg)}`);
    if (bad) label.append(svg("tspan", { x, dy: "1.1em" }, bad));
    group.append(label);
    drawing.append(group);
  });
  return drawing;
}

$("start").addEventListener("click", () => start());
$("again").addEventListener("click", () => start());
$("repeat")?.addEventListener("click", () => start(last));
$("reconnect").addEventListener("click", () => {
  agent?.close();
  agent = null;
  failures = 0;
  $("reconnect").hidden = true;
  check("agent", "wait", "connecting…");
  void connect();
});
$("fullscreen").addEventListener("click", () => {
  if (document.fullscreenElement) void document.exitFullscreen();
  else void document.documentElement.requestFullscreen().catch(() => {});
});
document.addEventListener("fullscreenchange", () => {
  // Esc leaves full screen before it reaches the page.
  if (running && !document.fullscreenElement) stopped = true;
  $("fullscreen").textContent = document.fullscreenElement ? "Leave full screen" : "Full screen";
  checkWindow();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && running) stopped = true;
});
window.addEventListener("resize", checkWindow);
window.addEventListener("pagehide", () => agent?.close());
void connect();
