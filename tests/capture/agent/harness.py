"""Real processes, real LSL, real sockets: a station to test against, and a server that speaks the ingest protocol."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from capture.agent import pairing
from capture.agent.pairing import Pairing
from capture.frames import GAZE_CHANNELS, decode, read_frames
from capture.tokens import fingerprint, mint

ROOT = Path(__file__).resolve().parents[3]
ORIGIN = "http://reading.room:8000"
KEY = "the-station-key"
CREDENTIAL = "the-station-credential"
NUMBER = "9b1d8a52-0000-4000-8000-000000000001"
FRAME_NUMBER = 1 + GAZE_CHANNELS.index("FrameNumber")


def token_for(recording: str) -> str:
    """A token as the station's server mints it."""
    return mint(fingerprint(CREDENTIAL), recording)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Station:
    """The processes of one reading station, in an LSL session of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.spool, self.truth = folder, folder / "spool", folder / "truth.jsonl"
        self.port = free_port()
        self.session = f"test-{uuid4().hex[:12]}"
        self._environment = {**os.environ, "GAZEROOM_LSL_SESSION": self.session}
        # No site answers there: what the agent does for pages and recordings does not wait for one.
        paired = Pairing("http://127.0.0.1:9", (ORIGIN,), NUMBER, "the station", CREDENTIAL, KEY)
        pairing.save(paired, pairing.file_beside(self.spool))
        self._processes: list[subprocess.Popen[bytes]] = []
        self.log = folder / "agent.log"

    def command(self, module: str, *arguments: str) -> list[str]:
        return [sys.executable, "-m", module, *arguments]

    def start(self, module: str, *arguments: str, log: Path) -> subprocess.Popen[bytes]:
        with log.open("ab") as file:
            process = subprocess.Popen(
                self.command(module, *arguments), cwd=ROOT, env=self._environment, stdout=file, stderr=file
            )
        self._processes.append(process)
        return process

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`gazeroom-agent` with these arguments, to its end."""
        return subprocess.run(
            self.command("capture.agent.main", *arguments),
            cwd=ROOT,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=30,
        )

    def simulator(self, *arguments: str) -> subprocess.Popen[bytes]:
        return self.start(
            "capture.agent.simulator", "--truth", str(self.truth), *arguments, log=self.folder / "simulator.log"
        )

    def agent(self, *arguments: str) -> subprocess.Popen[bytes]:
        return self.start(
            "capture.agent.main",
            "run",
            "--port",
            str(self.port),
            "--spool",
            str(self.spool),
            *arguments,
            log=self.log,
        )

    async def page(self, *, tracker: bool = True) -> Page:
        """A page that has said hello, once the agent listens (and gaze is flowing, unless `tracker` is False)."""
        page = await eventually(lambda: Page.open(self.port))
        while tracker and not (await page.heard("status"))["tracker"]:
            pass
        return page

    def truths(self, kind: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.truth.read_text().splitlines()]
        return [line for line in lines if line["kind"] == kind]

    def end(self) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self._processes:
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


class Page:
    """What the reading room's page is to the agent."""

    def __init__(self, connection: ClientConnection, welcome: dict[str, Any]) -> None:
        self.connection, self.welcome = connection, welcome

    @classmethod
    async def open(cls, port: int, *, key: str = KEY, origin: str | None = ORIGIN) -> Page:
        connection = await connect(f"ws://127.0.0.1:{port}/", origin=origin, proxy=None)  # type: ignore[arg-type]
        await connection.send(json.dumps({"op": "hello", "key": key}))
        return cls(connection, json.loads(await connection.recv()))

    async def say(self, op: str, **content: Any) -> None:
        await self.connection.send(json.dumps({"op": op, **content}))

    async def heard(self, *ops: str) -> dict[str, Any]:
        async with asyncio.timeout(30):
            while True:
                message: dict[str, Any] = json.loads(await self.connection.recv())
                if message["op"] in ops:
                    return message

    async def ask(self, op: str, answer: str, **content: Any) -> dict[str, Any]:
        await self.say(op, **content)
        return await self.heard(answer, "error")

    async def start(self, ingest: str, recording: str | None = None, token: str | None = None) -> dict[str, Any]:
        recording = recording or str(uuid4())
        token = token or token_for(recording)
        started = await self.ask("start", "started", recording=recording, token=token, socket=ingest)
        assert started["op"] == "started", started
        return started

    async def stop(self) -> dict[str, Any]:
        stopped = await self.ask("stop", "stopped")
        assert stopped["op"] == "stopped", stopped
        return stopped

    async def close(self) -> None:
        await self.connection.close()


class Ingest:
    """A server of the ingest protocol that keeps frames in memory, with faults that can be switched on.

    `stored[(recording, epoch, stream)]` are the frames' bytes in order.
    """

    def __init__(self) -> None:
        self.port = free_port()
        self.stored: dict[tuple[str, str, int], list[bytes]] = defaultdict(list)
        self.begins: list[dict[str, Any]] = []
        self.ends: list[dict[str, Any]] = []
        self.sealed: list[tuple[str, str]] = []
        self.connections = 0
        self.duplicates = 0
        self.rewinds = 0
        self.token = "token"  # accepted besides those the station's server would mint
        self.error: str | None = None  # the answer to begin, instead of resume
        self.withhold_seal = False
        self.forgets: list[int] = []  # sequences of gaze frames that vanish on arrival, once each
        self.chaos: random.Random | None = None
        self._server: Server | None = None

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws/ingest/"

    async def start(self) -> None:
        self._server = await serve(
            self._serve, "127.0.0.1", self.port, process_request=self._admit, compression=None, close_timeout=0.1
        )

    async def kill(self) -> None:
        """The server process dies: connections break without a farewell."""
        if self._server:
            for connection in list(self._server.connections):
                connection.transport.abort()
            self._server.close()
            await self._server.wait_closed()
            self._server = None

    def _admit(self, connection: ServerConnection, request: Any) -> Any:
        self.connections += 1
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if token != self.token and "." not in token:
            return connection.respond(HTTPStatus.UNAUTHORIZED, "no\n")
        return None

    async def _serve(self, socket: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            await self._talk(socket)

    async def _talk(self, socket: ServerConnection) -> None:
        begin = json.loads(await socket.recv())
        assert begin["op"] == "begin"
        if self.error:
            await socket.send(json.dumps({"op": "error", "sentence": self.error}))
            return
        self.begins.append(begin)
        recording, epoch = begin["recording"], begin["epoch"]
        have = {s: self.stored[(recording, epoch, int(s))] for s in begin["streams"]}
        if self.chaos:
            for frames in have.values():  # a crash: what was not yet durable, and so not acknowledged, is gone
                del frames[max(0, len(frames) - self.chaos.randrange(3)) :]
        await socket.send(json.dumps({"op": "resume", "from": {s: len(frames) for s, frames in have.items()}}))
        async for message in socket:
            if isinstance(message, bytes):
                frame = decode(message)
                assert str(frame.epoch) == epoch
                frames = have[str(frame.stream)]
                if self.chaos and self.chaos.random() < 0.02:
                    socket.transport.abort()
                    return
                if self.chaos and self.chaos.random() < 0.02 and frames:
                    frames.pop()  # now the next one is too high, and a rewind is asked for
                if frame.stream == 1 and frame.sequence in self.forgets:
                    self.forgets.remove(frame.sequence)
                    continue
                if frame.sequence > len(frames):
                    self.rewinds += 1
                    await socket.send(json.dumps({"op": "rewind", "stream": frame.stream, "next": len(frames)}))
                    continue
                if frame.sequence < len(frames):
                    self.duplicates += 1
                    assert frames[frame.sequence] == message
                else:
                    frames.append(message)
                await socket.send(json.dumps({"op": "ack", "stream": frame.stream, "next": len(frames)}))
                continue
            end = json.loads(message)
            assert end["op"] == "end"
            self.ends.append(end)
            for s, frames in have.items():
                told = end["streams"][s]
                digest = hashlib.sha256(b"".join(frames)).hexdigest()
                assert (told["frames"], told["sha256"]) == (len(frames), digest)
            if not self.withhold_seal:
                self.sealed.append((recording, epoch))
                await socket.send(json.dumps({"op": "sealed"}))

    def frames(self, recording: str, stream: int = 1) -> list[bytes]:
        """All frames of a recording that has one epoch."""
        keys = [key for key in self.stored if key[0] == recording and key[2] == stream]
        assert len(keys) == 1
        return self.stored[keys[0]]

    def samples(self, recording: str, stream: int = 1) -> np.ndarray:
        return np.concatenate([decode(data).samples for data in self.frames(recording, stream)])


def spooled(spool: Path, recording: str, stream: int = 1) -> np.ndarray:
    """The samples of a recording's only epoch, as they lie in the spool."""
    (path,) = (spool / recording).glob(f"*/{stream}.gzr")
    return np.concatenate([frame.samples for frame in read_frames(path)])


async def eventually(attempt: Callable[[], Any], seconds: float = 30.0) -> Any:
    """The first result of `attempt` (awaited if need be) that is true and raises nothing."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            result = attempt()
            if asyncio.iscoroutine(result):
                result = await result
            if result:
                return result
        except (OSError, ConnectionClosed):
            result = None
        if time.monotonic() > deadline:
            raise TimeoutError(f"It did not come to pass within {seconds} s.")
        await asyncio.sleep(0.05)
