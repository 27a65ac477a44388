"""The socket the reading room's page talks to: ws://127.0.0.1:PORT, JSON text.

A page must come from an allowed origin (checked at the handshake) and open with `hello` and the station's key. Then it
may exchange clocks, tell what is on the screen, collect samples for a calibration, and start and stop the recording.
Several pages may be connected (the reading room and its clock worker); one recording runs at a time.

A page does not know at which station it sits. It may ask once, before its hello: `identify` is answered without a key,
with the station's number and nothing else. The page takes the number to the server, which tells the key to a signed-in
reader of the site (`capture.services.stations.enter`). What that gives away, and to whom:

- A web page of another origin is refused at the handshake, before it can ask. A browser does not let a page forge its
  Origin.
- Another program on this computer can forge it, and learns the number, which also stands on every page of the site that
  is opened here. It opens nothing: the server wants a session besides.
- A connection that has not said hello is closed after ten seconds, and no more than `STRANGERS` of them are kept, so
  that asking costs this computer nothing. The key has 256 random bits: guessing it needs no limit.
- A reader who was told the key can use it on this computer only (the socket listens on 127.0.0.1), to see what gaze
  arrives while a page is open. Recording takes more: a token that the server minted for that read at this station.

`clock` is answered on the spot: t1 is read before the message is even parsed, t2 last of all.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
from collections.abc import Callable, Sequence
from typing import Any, Protocol
from urllib.parse import urlsplit
from uuid import UUID

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

log = logging.getLogger(__name__)

HELLO_PATIENCE_S = 10.0
#: Connections that have not said hello yet.
STRANGERS = 16
COLLECT_LIMIT_S = 30.0
CALIBRATION_STEPS = ("enter", "collect", "discard", "compute", "leave")
#: Largest message a page may send, bytes.
MAX_MESSAGE = 65536


class Refusal(Exception):  # noqa: N818 - an answer to the page, not a fault
    """What a page asked for cannot be done. The message is one sentence for the person at the station."""


class Station(Protocol):
    """What the socket needs from the agent. Methods raise Refusal."""

    @property
    def number(self) -> str: ...
    def clock(self) -> float: ...
    def welcome(self) -> dict[str, Any]: ...
    def status(self) -> dict[str, Any]: ...
    def stimulus(self, stimulus: dict[str, Any]) -> None: ...
    async def collect(self, seconds: float) -> dict[str, Any]: ...
    async def calibrate(self, step: str, x: float, y: float) -> dict[str, Any]: ...
    async def start(self, recording: str, token: str, socket: str) -> dict[str, Any]: ...
    async def stop(self) -> dict[str, Any]: ...


class PageSocket:
    """Serves pages on 127.0.0.1.

    `origins` are the exact origins (`https://host[:port]`) whose pages may connect. `on_pages` is told the number of
    connected pages whenever it changes.
    """

    def __init__(
        self,
        station: Station,
        *,
        port: int,
        key: str,
        origins: Sequence[str],
        on_pages: Callable[[int], None] = lambda n: None,
    ) -> None:
        if not key:
            raise ValueError("The station needs a key that pages must know: pair it with `gazeroom-agent pair`.")
        self._station, self._port, self._key = station, port, key.encode()
        self._origins = [origin.rstrip("/") for origin in origins]
        self._on_pages = on_pages
        self._pages: set[ServerConnection] = set()
        self._strangers = 0
        self._server: Server | None = None

    @property
    def port(self) -> int:
        """The port in use (the one asked for, or what the system chose for 0)."""
        assert self._server is not None
        return int(next(iter(self._server.sockets)).getsockname()[1])

    async def start(self) -> None:
        """Listen. Raises OSError when the port is taken."""
        self._server = await serve(
            self._serve,
            "127.0.0.1",
            self._port,
            origins=self._origins,  # type: ignore[arg-type]
            compression=None,
            max_size=MAX_MESSAGE,
            ping_interval=20,
            close_timeout=0.5,
        )

    async def close(self) -> None:
        if self._server:
            self._server.close()
            await self._server.wait_closed()

    async def push(self, message: dict[str, Any]) -> None:
        """Send `message` to every page that has said hello."""
        text = json.dumps(message)
        for page in list(self._pages):
            try:
                # A page that does not read (a suspended tab) must not hold up the others.
                async with asyncio.timeout(0.2):
                    await page.send(text)
            except (ConnectionClosed, TimeoutError):
                continue

    async def _first(self, page: ServerConnection) -> dict[str, Any] | None:
        """The page's hello, after it has asked whom it speaks to if it did not know; None when the page was closed."""
        if self._strangers >= STRANGERS:
            await page.close(1013, "Too many pages are coming at once: try again.")
            return None
        self._strangers += 1
        try:
            async with asyncio.timeout(HELLO_PATIENCE_S):
                first = _message(await page.recv())
                if first["op"] == "identify":
                    await page.send(json.dumps({"op": "station", "station": self._station.number}))
                    first = _message(await page.recv())
                return first
        except TimeoutError:
            await page.close(4408, "No hello came.")
        except ConnectionClosed:
            pass
        except Refusal as refusal:
            await page.close(1003, str(refusal))
        finally:
            self._strangers -= 1
        return None

    async def _serve(self, page: ServerConnection) -> None:
        hello = await self._first(page)
        if hello is None:
            return
        key = hello.get("key")
        if hello["op"] != "hello" or not isinstance(key, str) or not hmac.compare_digest(key.encode(), self._key):
            log.warning("a page from %s came with a wrong station key", page.request and page.request.headers["Origin"])
            await page.close(4401, "The station key is wrong: pair this station with the site again.")
            return
        work: set[asyncio.Task[None]] = set()
        try:
            await page.send(json.dumps({"op": "welcome", **self._station.welcome()}))
            self._pages.add(page)
            self._on_pages(len(self._pages))
            async for text in page:
                t1 = self._station.clock()
                try:
                    message = _message(text)
                    if message["op"] == "clock":
                        await self._answer_clock(page, message, t1)
                        continue
                    # Everything else in a task of its own, so that no clock exchange waits behind it.
                    task = asyncio.create_task(self._handle(page, message))
                    work.add(task)
                    task.add_done_callback(work.discard)
                except Refusal as refusal:
                    await page.send(_error(None, str(refusal)))
        except ConnectionClosed:
            pass
        finally:
            if page in self._pages:
                self._pages.discard(page)
                self._on_pages(len(self._pages))
            # A stop that was asked for must be carried out even if the page is closed right after.
            for task in work:
                if task.get_name() == "collect":
                    task.cancel()

    async def _answer_clock(self, page: ServerConnection, message: dict[str, Any], t1: float) -> None:
        t0 = message.get("t0")
        if isinstance(t0, bool) or not isinstance(t0, int | float):
            raise Refusal("A clock exchange needs t0, a number of milliseconds.")
        head = f'{{"op":"clock","t0":{json.dumps(t0)},"t1":{t1!r},"t2":'
        await page.send(head + f"{self._station.clock()!r}}}")

    async def _handle(self, page: ServerConnection, message: dict[str, Any]) -> None:
        op = message["op"]
        try:
            try:
                answer = await self._perform(op, message)
            except Refusal as refusal:
                answer = json.loads(_error(op, str(refusal)))
            if answer is not None:
                await page.send(json.dumps(answer))
        except ConnectionClosed:
            pass
        except Exception:
            log.exception("%s failed", op)

    async def _perform(self, op: str, message: dict[str, Any]) -> dict[str, Any] | None:
        station = self._station
        if op == "stimulus":
            stimulus = {key: value for key, value in message.items() if key != "op"}
            if not isinstance(stimulus.get("kind"), str):
                raise Refusal("A stimulus needs a kind: target, viewport or blank.")
            station.stimulus(stimulus)
            return None
        if op == "collect":
            seconds = message.get("seconds")
            if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds <= COLLECT_LIMIT_S:
                raise Refusal(f"seconds must be above 0 and at most {COLLECT_LIMIT_S:g}, got {seconds!r}.")
            task = asyncio.current_task()
            if task:
                task.set_name("collect")
            return {"op": "samples", **await station.collect(float(seconds))}
        if op == "calibrate":
            return {"op": "calibrated", **await station.calibrate(*_step(message))}
        if op == "start":
            return {"op": "started", **await station.start(*_start(message))}
        if op == "stop":
            return {"op": "stopped", **await station.stop()}
        if op == "hello":
            return {"op": "welcome", **station.welcome()}
        raise Refusal(f"Unknown op {op!r}: hello, clock, stimulus, collect, start or stop.")


def _step(message: dict[str, Any]) -> tuple[str, float, float]:
    """A step of the tracker's own calibration, and where its target is (normalised; only for collect and discard)."""
    step, at = message.get("step"), [message.get("x", 0.5), message.get("y", 0.5)]
    if step not in CALIBRATION_STEPS:
        raise Refusal(f"{step!r} is no step of a calibration: {', '.join(CALIBRATION_STEPS)}.")
    if any(isinstance(v, bool) or not isinstance(v, int | float) or not 0 <= v <= 1 for v in at):
        raise Refusal("A calibration target lies between 0 and 1 of the display.")
    return step, float(at[0]), float(at[1])


def _start(message: dict[str, Any]) -> tuple[str, str, str]:
    recording, token, socket = (message.get(name) for name in ("recording", "token", "socket"))
    try:
        recording = str(UUID(str(recording)))
    except ValueError:
        raise Refusal(f"{recording!r} is no recording id (a UUID).") from None
    if not isinstance(token, str) or not token or any(ord(c) < 33 or ord(c) > 126 for c in token):
        raise Refusal("start needs the recording's token.")
    if not isinstance(socket, str) or urlsplit(socket).scheme not in ("ws", "wss") or not urlsplit(socket).hostname:
        raise Refusal(f"{socket!r} is no WebSocket address to send the recording to.")
    return recording, token, socket


def _message(text: str | bytes) -> dict[str, Any]:
    try:
        message = json.loads(text)
    except ValueError:
        raise Refusal("That is not JSON.") from None
    if not isinstance(message, dict) or not isinstance(message.get("op"), str):
        raise Refusal("A message is a JSON object with an op.")
    return message


def _error(op: str | None, sentence: str) -> str:
    return json.dumps({"op": "error", "for": op, "sentence": sentence})
