"""A small stand-in for the site, so that the viewer can be tested alone: real template, real headers, real build.

`Site` serves pages, frames and JSON over HTTP with the site's own security headers; `PageLog` is a page socket that
stores and acknowledges, and can be told to hang up; the station agent's socket is the agent's own class.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import websockets
from django.template.loader import render_to_string

from capture.agent.pagesocket import PageSocket, Refusal
from study.site.headers import HEADERS

STATIC = Path(__file__).resolve().parents[2] / "study" / "static"
TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
FINDINGS = ["Pneumothorax", "Lung Lesion", "Consolidation", "Cardiomegaly", "Pleural Effusion"]
DISPLAY = {"width_px": 1280, "height_px": 800, "width_mm": 340, "height_mm": 212, "distance_mm": 650}


class Site:
    """HTTP on a free port. `pages` and `files` map a path to a body; `posted` keeps what came by POST."""

    def __init__(self) -> None:
        self.pages: dict[str, tuple[str, bytes]] = {}
        self.posted: list[tuple[str, dict[str, Any]]] = []
        self.answers: dict[str, Callable[[dict[str, Any]], tuple[int, dict[str, Any]]]] = {}
        site = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                path = self.path.split("?")[0]
                if path.startswith("/static/"):
                    file = STATIC / path.removeprefix("/static/")
                    if file.is_file():
                        self.reply(200, TYPES[file.suffix], file.read_bytes())
                        return
                if path in site.pages:
                    kind, body = site.pages[path]
                    self.reply(200, kind, body)
                else:
                    self.reply(404, "application/json", b'{"error": "There is nothing here."}')

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                assert self.headers["X-CSRFToken"] == "token"
                site.posted.append((self.path, body))
                status, answer = site.answers[self.path](body)
                self.reply(status, "application/json", json.dumps(answer).encode())

            def reply(self, status: int, kind: str, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                for name, value in HEADERS.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def serve_read(
        self,
        pixels: np.ndarray,
        *,
        evidence: dict[str, Any] | None = None,
        caveats: Sequence[str] = (),
        capture: dict[str, Any] | None = None,
        image: dict[str, Any] | None = None,
        findings: list[str] | None = None,
        index: int = 3,
    ) -> str:
        """A read of `pixels` (uint16 [rows, columns]); returns its address."""
        config = read_config(pixels, capture=capture, image=image, findings=findings or FINDINGS, index=index)
        if evidence is not None:
            config |= {"assistance": "concurrent", "assistanceCaveats": list(caveats)}
            self.pages["/read/1/assistance/"] = ("application/json", json.dumps(evidence).encode())
        page = render_to_string("study/reading_room.html", {"config": config})
        self.pages["/read/1/"] = ("text/html; charset=utf-8", page.encode())
        self.pages["/read/1/frame/1/"] = ("application/octet-stream", pixels.astype("<u2").tobytes())
        self.pages["/next/"] = (
            "text/html; charset=utf-8",
            b"<!doctype html><title>next</title><link rel=icon href=data:,>",
        )
        self.answers["/read/1/events/"] = lambda body: (200, {"next": body["events"][-1]["seq"] + 1})
        self.answers["/read/1/submit/"] = lambda body: (200, {"next": "/next/"})
        # What the server says of the station whose agent the page has found.
        told = {"name": "the station", "key": "key", "token": "t0ken", "display": DISPLAY}
        self.answers["/enter/"] = lambda body: (200, {**told, "station": body["station"]})
        return f"{self.url}/read/1/"

    def events(self) -> list[dict[str, Any]]:
        """The events as the server keeps them: each number once, whatever was sent again."""
        kept: dict[int, dict[str, Any]] = {}
        for path, body in list(self.posted):
            for event in body["events"] if path.endswith("/events/") else []:
                assert kept.setdefault(event["seq"], event) == event, "a number was given to two events"
        return [kept[number] for number in sorted(kept)]


def read_config(
    pixels: np.ndarray,
    *,
    capture: dict[str, Any] | None,
    image: dict[str, Any] | None,
    findings: list[str],
    index: int,
) -> dict[str, Any]:
    rows, columns = pixels.shape
    maximum = int(pixels.max())
    return {
        "readId": f"read-{time.monotonic_ns()}",
        "studyName": "Chest radiographs with GazeX",
        "position": {"index": index, "total": 20, "period": 1},
        "assistance": "none",
        "assistanceCaveats": [],
        "state": "open",
        "image": {
            "id": "1",
            "frameUrl": "/read/1/frame/1/",
            "rows": rows,
            "columns": columns,
            "rowSpacing": 0.2,
            "columnSpacing": 0.2,
            "max": maximum,
            "invert": False,
            "voi": [
                {"type": "window", "center": (maximum + 1) / 2, "width": maximum + 1, "function": "LINEAR"},
            ],
            **(image or {}),
        },
        "next": None,
        "findings": findings,
        "urls": {
            "assistance": "/read/1/assistance/",
            "events": "/read/1/events/",
            "submit": "/read/1/submit/",
            "worklist": "/next/",
        },
        "csrfToken": "token",
        "capture": capture,
    }


class Station:
    """What the agent's socket asks of the agent: the machine's monotonic clock for LSL's, and no tracker behind it."""

    def __init__(self) -> None:
        self.stimuli: list[dict[str, Any]] = []
        self.calls: list[str] = []
        self.number = "9b1d8a52-0000-4000-8000-000000000001"
        self.recording = False
        self.tracker = True
        self.start_takes_s = 0.0

    def clock(self) -> float:
        return time.monotonic()

    def welcome(self) -> dict[str, Any]:
        tracker = {"found": self.tracker, "name": "test tracker", "serial": "1", "rate_hz": 600}
        return {"tracker": tracker, "display": DISPLAY, "recording": self.recording}

    def status(self) -> dict[str, Any]:
        return {"recording": self.recording, "tracker": self.tracker, "pending_frames": 0, "uploaded": 0}

    def stimulus(self, stimulus: dict[str, Any]) -> None:
        self.stimuli.append(stimulus)

    async def collect(self, seconds: float) -> dict[str, Any]:
        await asyncio.sleep(seconds)
        return {"t": [1.0], "left": [[0.5, 0.5]], "right": [[0.5, 0.5]], "valid_left": [True], "valid_right": [True]}

    async def start(self, recording: str, token: str, socket: str) -> dict[str, Any]:
        if not self.tracker:
            raise Refusal("No gaze is arriving: switch the eye tracker on, or start its LSL program.")
        await asyncio.sleep(self.start_takes_s)
        self.calls.append("start")
        self.recording = True
        return {"recording": recording, "epoch": "e"}

    async def stop(self) -> dict[str, Any]:
        self.calls.append("stop")
        self.recording = False
        return {"recording": "r", "last_sequence": 0, "frames": 0, "samples": 0}


class PageLog:
    """A page socket as the server's is: stores by number, acknowledges, ignores what it has."""

    def __init__(self) -> None:
        self.stored: dict[str, list[Any]] = {"states": [], "clock": []}
        self.connections = 0
        self.hang_up_after: int | None = None

    async def serve(self, socket: Any) -> None:
        self.connections += 1
        try:
            async for text in socket:
                message = json.loads(text)
                kept = self.stored[message["op"]]
                assert message["from"] <= len(kept), "a gap in the page's numbers"
                kept.extend(message["items"][len(kept) - message["from"] :])
                if self.hang_up_after is not None and len(self.stored["states"]) >= self.hang_up_after:
                    # Stored, and gone before the acknowledgement.
                    self.hang_up_after = None
                    socket.transport.abort()
                    return
                await socket.send(json.dumps({"op": "ack", "kind": message["op"], "next": len(kept)}))
        except websockets.ConnectionClosed:
            pass


class Sockets:
    """The station agent's socket and a page socket, both on free ports, in a thread of their own."""

    def __init__(self, origin: str) -> None:
        self.station = Station()
        self.log = PageLog()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._open(origin), self._loop).result(10)

    async def _open(self, origin: str) -> None:
        self.agent = PageSocket(self.station, port=0, key="key", origins=[origin])
        await self.agent.start()
        self.page_port = 0
        await self._serve_pages()
        self._status = asyncio.create_task(self._push())

    async def _serve_pages(self) -> None:
        self._pages = await websockets.serve(self.log.serve, "127.0.0.1", self.page_port, close_timeout=0.5)
        self.page_port = next(iter(self._pages.sockets)).getsockname()[1]

    def open_pages(self) -> None:
        """The page socket is back, on the port it had."""
        asyncio.run_coroutine_threadsafe(self._serve_pages(), self._loop).result(10)

    def close_pages(self) -> None:
        """The server dies: connections break without a farewell, and new ones are refused."""

        async def kill() -> None:
            for connection in list(self._pages.connections):
                connection.transport.abort()
            self._pages.close()
            await self._pages.wait_closed()

        asyncio.run_coroutine_threadsafe(kill(), self._loop).result(10)

    async def _push(self) -> None:
        while True:
            await asyncio.sleep(0.2)
            await self.agent.push({"op": "status", **self.station.status()})

    @property
    def capture(self) -> dict[str, Any]:
        port = self.page_port
        return {
            "recording": "6f6f39a5-0000-4000-8000-%012x" % (time.monotonic_ns() % 2**48),
            "pageSocket": f"ws://127.0.0.1:{port}/ws/page/1/",
            "ingestSocket": f"ws://127.0.0.1:{port}/ws/ingest/",
            "agent": self.agent_url,
            "enter": "/enter/",
            "required": True,
        }

    @property
    def agent_url(self) -> str:
        return f"ws://127.0.0.1:{self.agent.port}/"

    def close(self) -> None:
        async def shut() -> None:
            self._status.cancel()
            self._pages.close()
            await self._pages.wait_closed()
            await self.agent.close()
            # What still runs for a page that is gone.
            others = asyncio.all_tasks() - {asyncio.current_task()}
            await asyncio.wait(others, timeout=2) if others else None

        with contextlib.suppress(Exception):
            asyncio.run_coroutine_threadsafe(shut(), self._loop).result(5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)


@contextlib.contextmanager
def open_page(browser: Any, url: str, *, width: int = 1280, height: int = 800) -> Iterator[tuple[Any, list[str]]]:
    """A page at `url` and the list its console writes to (errors, warnings and uncaught exceptions)."""
    # no_viewport: an emulated device pixel ratio is not the screen's own.
    context = (
        browser.new_context(viewport={"width": width, "height": height})
        if width
        else browser.new_context(no_viewport=True)
    )
    page = context.new_page()
    console: list[str] = []
    page.on("console", lambda message: console.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: console.append(str(error)))
    page.goto(url)
    try:
        yield page, console
    finally:
        context.close()


def wait_until(condition: Callable[[], Any], what: str, seconds: float = 30) -> Any:
    """Poll `condition` until it is true; the strict CSP forbids playwright's own wait_for_function."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        value = condition()
        if value:
            return value
        time.sleep(0.03)
    raise AssertionError(f"{what} did not happen within {seconds:g} s")


def shown(page: Any, after: int = -1) -> int:
    """Wait until a frame numbered above `after` is on the screen; returns its number."""
    number = wait_until(
        lambda: (
            (page.get_attribute("#stage", "data-seq") or "") != ""
            and int(page.get_attribute("#stage", "data-seq")) > after
            and int(page.get_attribute("#stage", "data-seq")) + 1
        ),
        f"a frame after {after}",
    )
    return int(number) - 1
