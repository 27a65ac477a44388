"""The page's clock against the agent's while Chromium paints under load, with a reference that no exchange went into.

On one Linux machine the truth can be known: Chromium's `performance.now()` and LSL's `local_clock()` both read
CLOCK_MONOTONIC. Chromium says where the page's time origin lies on it, in two ways of its own: the trace event of a
`performance.mark` carries both the page's time and the system's, and the DevTools' Performance domain tells the
navigation's start. Neither knows of the exchanges.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.study.viewer_harness import Site

Floats = NDArray[np.float64]

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>clock under load</title>
<link rel="icon" href="data:,"><link rel="stylesheet" href="/load.css">
<canvas id="canvas" width="1200" height="700"></canvas><div id="field"></div>
<script type="module" src="/load.js"></script></html>"""

STYLE = "#field { width: 1200px } #field div { display: inline-block; height: 3px; background: teal }"

# Every frame: five hundred translucent rectangles on the canvas, then a layout that is forced twenty times.
SCRIPT = """
import { connectAgent } from "/static/study/viewer/agent-client.js";
const state = { exchanges: [], frames: 0, slowest: 0, isolated: crossOriginIsolated, error: null };
window.load = {
  state,
  async start(url, key, workers) {
    for (let i = 0; i < workers; i++) new Worker("/busy.js").postMessage("go");
    const field = document.getElementById("field");
    for (let i = 0; i < 400; i++) field.append(document.createElement("div"));
    const pen = document.getElementById("canvas").getContext("2d");
    let last = performance.now();
    const paint = (t) => {
      for (let i = 0; i < 500; i++) {
        pen.fillStyle = `hsla(${(i + t) % 360}, 70%, 50%, 0.3)`;
        pen.fillRect((i * 37 + t) % 1200, (i * 91 + t / 3) % 700, 60, 40);
      }
      for (let i = 0; i < 20; i++) {
        field.children[i * 20].style.width = `${(t + i * 7) % 50}px`;
        state.height = field.offsetHeight;
      }
      const now = performance.now();
      state.slowest = Math.max(state.slowest, now - last);
      last = now;
      state.frames++;
      requestAnimationFrame(paint);
    };
    requestAnimationFrame(paint);
    const enter = (station) => Promise.resolve({ station, name: "load", key });
    try {
      const agent = await connectAgent({ url, enter, timeoutMs: 60000 });
      state.exchanges = agent.exchanges;
    } catch (error) {
      state.error = error.message;
    }
  },
};
"""
BUSY = "onmessage = () => { for (let x = 1; ; x = (x * 48271) % 2147483647) if (x === 0) postMessage(x); };"


@dataclass(frozen=True)
class Measured:
    """What one session gave.

    exchanges [N, 4] as `clocks.fit` takes them; truth_s, the system's monotonic time of the page's time origin, from
    marks; truth_devtools_s, the same as the DevTools tell it; isolated, whether the page had the 5 µs clock; frames
    painted; slowest, the longest time between two, ms.
    """

    exchanges: Floats
    truth_s: float
    truth_spread_s: float
    truth_devtools_s: float
    isolated: bool
    frames: int
    slowest_ms: float

    def error_s(self, to_lsl: Callable[[Floats], Floats]) -> Floats:
        """Error of a fit at the middle of each exchange, seconds, [N]."""
        middle = (self.exchanges[:, 0] + self.exchanges[:, 3]) / 2
        return to_lsl(middle) - (self.truth_s + middle / 1000)


def measure(
    browser: Any, site: Site, agent: str, key: str, *, until: Callable[[int, float], bool], workers: int
) -> Measured:
    """Paint and exchange until `until(exchanges, seconds)`; the agent's clock must be this machine's monotonic one."""
    site.pages["/load/"] = ("text/html; charset=utf-8", PAGE.encode())
    site.pages["/load.js"] = ("text/javascript", SCRIPT.encode())
    site.pages["/busy.js"] = ("text/javascript", BUSY.encode())
    site.pages["/load.css"] = ("text/css", STYLE.encode())
    context = browser.new_context(viewport={"width": 1240, "height": 760})
    page = context.new_page()
    try:
        page.goto(f"{site.url}/load/")
        truth, spread = _truth_by_marks(browser, page)
        devtools = _truth_by_devtools(page)
        page.evaluate("([url, key, workers]) => void load.start(url, key, workers)", [agent, key, workers])
        begun = time.monotonic()
        while True:
            count, error = page.evaluate("[load.state.exchanges.length, load.state.error]")
            if error:
                raise RuntimeError(f"The page could not reach the agent: {error}")
            if until(count, time.monotonic() - begun):
                break
            time.sleep(0.25)
        state = page.evaluate("load.state")
    finally:
        context.close()
    exchanges = np.array(state["exchanges"], dtype=np.float64)
    return Measured(
        exchanges, truth, spread, devtools, bool(state["isolated"]), int(state["frames"]), float(state["slowest"])
    )


def _truth_by_marks(browser: Any, page: Any) -> tuple[float, float]:
    """Monotonic seconds of the page's time origin and how far marks disagree, from the trace events of 50 marks."""
    browser.start_tracing(page=page, categories=["blink.user_timing"])
    page.evaluate("() => { for (let i = 0; i < 50; i++) performance.mark(`truth-${i}`); }")
    events = json.loads(browser.stop_tracing())["traceEvents"]
    origins = [
        event["ts"] / 1e6 - event["args"]["data"]["startTime"] / 1e3
        for event in events
        if str(event.get("name", "")).startswith("truth-")
    ]
    if len(origins) < 50:
        raise RuntimeError(f"Chromium's trace holds {len(origins)} of 50 marks: this version tells no times.")
    return float(np.median(origins)), float(np.ptp(origins))


def _truth_by_devtools(page: Any) -> float:
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "timeTicks"})
    metrics = {m["name"]: m["value"] for m in session.send("Performance.getMetrics")["metrics"]}
    session.detach()
    return float(metrics["NavigationStart"])
