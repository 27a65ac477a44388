"""`gazeroom-agent doctor`: what a station needs, one line each, with the remedy where something is missing.

The tracker is examined through the very source that `gazeroom-agent run` would read with the same options.
"""

from __future__ import annotations

import argparse
import logging
import os
import re
import shutil
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from capture.agent import lsl, pairing
from capture.agent.sources import choose
from capture.agent.sources.base import RATE_TOLERANCE, Array, Listeners, Note, Source, Tracker
from capture.frames import GAZE_CHANNELS

ENOUGH_BYTES = 2 * 2**30
#: A tracker is waited for so long, and then looked at for so long.
WAIT_S = 8.0
LOOK_S = 1.5
REFUSED_S = 2.0
NOTHING = "no gaze arrives: switch the tracker and its LSL program on."


@dataclass(frozen=True)
class Finding:
    """One line of the examination."""

    name: str
    ok: bool
    text: str

    def __str__(self) -> str:
        return f"{'ok  ' if self.ok else 'FAIL'} {self.name:<8} {self.text}"


def examine(arguments: argparse.Namespace) -> Iterator[Finding]:
    """Yield the findings as they are made; what cannot be examined for want of liblsl is left out.

    `arguments` are those of `choose.add_arguments` with `lsl_session`, `spool` and `server`.
    """
    pylsl: Any = None
    try:
        pylsl = lsl.load(arguments.lsl_session)
    except (lsl.LslMissing, ValueError) as error:
        yield Finding("liblsl", False, str(error))
    else:
        version = pylsl.library_version()
        yield Finding("liblsl", True, f"{version // 100}.{version % 100}, this machine only")
    if pylsl is not None:
        streams = list(_streams(pylsl)) if arguments.source == "lsl" else []
        yield from streams
        if arguments.source == "lsl" and not streams:
            yield Finding("tracker", False, NOTHING)
        else:
            yield from _tracker(arguments, pylsl.local_clock)
    yield _disk(arguments.spool)
    paired = _paired(arguments.spool)
    yield paired[0]
    yield _server(arguments.server or paired[1])


def _streams(pylsl: Any) -> Iterator[Finding]:
    """All gaze streams that can be seen, and whether two of them go by one name."""
    first = pylsl.resolve_byprop("type", lsl.GAZE_TYPE, 1, 2.0)
    found = pylsl.resolve_byprop("type", lsl.GAZE_TYPE, len(first) + 1, 0.5) if first else []
    infos = {info.uid(): info for info in [*first, *found] if not lsl.is_republished(info.source_id())}
    if not infos:
        return
    names = Counter(info.source_id() or info.name() for info in infos.values())
    twins = sorted(name for name, count in names.items() if count > 1)
    told = f"{len(infos)} of gaze: {', '.join(sorted(names))}"
    if twins:
        hosts = sorted({info.hostname() for info in infos.values() if info.source_id() in twins})
        told += f"; {', '.join(twins)} is there more than once ({', '.join(hosts)}): stop all but one."
    elif len(names) > 1:
        told += f"; {min(names)} is taken, name another with --tracker"
    yield Finding("streams", not twins, told)


class _Look:
    """What a source says within a short time."""

    def __init__(self) -> None:
        self.blocks: list[Array] = []
        self.notes: list[Note] = []
        self.clocked: list[Array] = []
        self.ages: list[float] = []
        self.clock: Callable[[], float] = time.monotonic
        self.mutex = threading.Lock()

    def gaze(self, samples: Array, raw: Array | None) -> None:
        if len(samples):
            with self.mutex:
                self.blocks.append(samples)
                self.ages.append(self.clock() - float(samples[-1, 0]))


def _tracker(arguments: argparse.Namespace, clock: Callable[[], float]) -> Iterator[Finding]:
    look = _Look()
    look.clock = clock
    # What a source logs, the finding says.
    logging.getLogger("capture.agent.sources").setLevel(logging.CRITICAL)
    try:
        source: Source = choose.make(arguments)(Listeners(look.gaze, look.clocked.append, look.notes.append))
    except (ValueError, RuntimeError) as error:
        yield Finding("tracker", False, str(error))
        return
    source.start()
    problem = ""
    try:
        began, refused = time.monotonic(), np.inf
        while time.monotonic() - began < WAIT_S and not (source.tracker and look.blocks and look.clocked):
            problem = source.problem or problem
            refused = min(refused, time.monotonic()) if problem else refused
            # What a source goes on refusing, while it finds nothing else, is not worth more waiting.
            if time.monotonic() - refused > REFUSED_S:
                break
            time.sleep(0.05)
        tracker = source.tracker
        if tracker is None:
            yield Finding("tracker", False, problem or source.problem or NOTHING)
            return
        with look.mutex:
            look.blocks.clear()
            look.ages.clear()
        began = clock()
        time.sleep(LOOK_S)
        with look.mutex:
            lasted, blocks, ages = clock() - began, list(look.blocks), list(look.ages)
        problem = source.problem
        correction = source.correction
    finally:
        source.stop()
    present = len(tracker.present)
    told = f"{tracker.name} ({tracker.source_id}), {present} of {len(GAZE_CHANNELS)} channels"
    told += f" and {len(tracker.raw_labels)} of its own" if tracker.raw_labels else ""
    yield Finding("tracker", not problem, f"{told}: {problem}" if problem else told)
    for remark in tracker.remarks:
        yield Finding("note", True, remark)
    yield rate(tracker, np.concatenate([block[:, 0] for block in blocks]) if blocks else np.zeros(0), lasted)
    if ages:
        yield _clock(tracker, correction, float(np.median(ages)) - correction, look.clocked)
    yield display(tracker.display, monitors())


def rate(tracker: Tracker, times: Array, lasted: float) -> Finding:
    """Samples/s by the samples' own times [n] (s), looked at for `lasted` s, against what the tracker says of itself.

    How many arrived meanwhile tells nothing: a backlog arrives at once.
    """
    times = times[np.isfinite(times)]
    span = float(np.ptp(times)) if len(times) else 0.0
    if not span:
        return Finding("rate", False, "0 samples/s: none arrived while it was looked at, restart the tracker.")
    found = (len(times) - 1) / span
    told, nominal = f"{found:.0f} samples/s", tracker.nominal_hz
    told += f" of {nominal:g}" if nominal else "; its description names none"
    if span < lasted / 2:
        return Finding("rate", False, f"{told}, and only for {span:.1f} of {lasted:.1f} s: restart the tracker.")
    if not nominal or abs(found / nominal - 1) <= RATE_TOLERANCE:
        return Finding("rate", True, told)
    if abs(found / tracker.rate_hz - 1) <= RATE_TOLERANCE:
        return Finding("rate", True, f"{told}: its description is wrong, {tracker.rate_hz:g} is taken.")
    if found < nominal:
        return Finding("rate", False, f"{told}: samples are missing, restart the tracker.")
    return Finding("rate", False, f"{told}: samples come more than once, stop all but one program that sends them.")


def _clock(tracker: Tracker, correction: float, age: float, clocked: list[Array]) -> Finding:
    measured = clocked[-1][0] if clocked else np.array([0.0, correction, np.nan, 0.0])
    told = f"tracker and agent differ by {measured[1] * 1e3:.3f} ms (± {measured[2] * 1e3:.3f} ms)"
    told += f", samples arrive {age * 1e3:.0f} ms old"
    ok = abs(measured[1]) < 0.001 + measured[2] and -0.001 < age < 0.5
    return Finding("clock", ok, told + ("" if ok else ": the tracker's program must stamp with lsl_local_clock."))


# ── the screen ────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Monitor:
    """A monitor as the operating system knows it; millimetres are 0 where it does not know them."""

    name: str
    width_px: int
    height_px: int
    width_mm: float
    height_mm: float

    def __str__(self) -> str:
        size = f", {self.width_mm:g}x{self.height_mm:g} mm" if self.width_mm else ""
        return f"{self.name} {self.width_px}x{self.height_px} px{size}"


def monitors() -> list[Monitor]:
    """The monitors of this computer; empty where they cannot be asked for (Wayland alone, no desktop)."""
    if sys.platform == "win32":
        return _windows_monitors()
    if not os.environ.get("DISPLAY") or not shutil.which("xrandr"):
        return []
    try:
        done = subprocess.run(["xrandr", "--listmonitors"], capture_output=True, text=True, timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return parse_xrandr(done.stdout)


def parse_xrandr(text: str) -> list[Monitor]:
    """What `xrandr --listmonitors` prints: ` 0: +*eDP-1 1920/344x1080/193+0+0  eDP-1`."""
    found = re.findall(r"^ *\d+: [+*]*(\S+) (\d+)/(\d+)x(\d+)/(\d+)\+", text, re.MULTILINE)
    return [Monitor(n, int(w), int(h), float(w_mm), float(h_mm)) for n, w, w_mm, h, h_mm in found]


def _windows_monitors() -> list[Monitor]:  # pragma: no cover - on Windows only
    import ctypes

    windll = ctypes.windll  # type: ignore[attr-defined]
    windll.user32.SetProcessDPIAware()
    screen = windll.user32.GetDC(0)
    # HORZRES, VERTRES, HORZSIZE, VERTSIZE of the primary monitor.
    values = [int(windll.gdi32.GetDeviceCaps(screen, index)) for index in (8, 10, 4, 6)]
    windll.user32.ReleaseDC(0, screen)
    return [Monitor("primary", values[0], values[1], float(values[2]), float(values[3]))]


def display(told: Mapping[str, float | None], found: list[Monitor]) -> Finding:
    """The tracked display as announced, against the monitors of this computer."""
    missing = [key for key, value in told.items() if value is None]
    if missing:
        return Finding(
            "display",
            False,
            f"the tracker does not say {', '.join(missing)}: set them in its program, or with "
            "--display WIDTHxHEIGHT,MMxMM,DISTANCE_MM.",
        )
    width, height, width_mm, height_mm = (
        float(told[k] or 0) for k in ("width_px", "height_px", "width_mm", "height_mm")
    )
    text = f"{width:g}x{height:g} px, {width_mm}x{height_mm} mm at {told['distance_mm']} mm"
    if not found:
        return Finding("display", True, f"{text}; this computer's monitors cannot be asked for")
    same = [m for m in found if (m.width_px, m.height_px) == (width, height)]
    have = "; ".join(map(str, found))
    if not same:
        return Finding("display", False, f"{text}, but this computer has {have}: set the one that is tracked.")
    if all(m.width_mm and abs(width_mm / m.width_mm - 1) > 0.1 for m in same):
        return Finding("display", False, f"{text}, but this computer has {have}: measure the display with a ruler.")
    return Finding("display", True, text)


# ── disk, pairing, server ─────────────────────────────────────────────────────────────────────────────────────────────


def _paired(spool: Path) -> tuple[Finding, str | None]:
    try:
        paired = pairing.load(pairing.file_beside(spool))
    except pairing.PairingError as error:
        return Finding("pairing", False, str(error)), None
    return Finding("pairing", True, f"{paired.name} of {paired.server}"), paired.server


def _disk(spool: Path) -> Finding:
    try:
        spool.mkdir(parents=True, exist_ok=True, mode=0o700)
        probe = spool / ".probe"
        began = time.perf_counter()
        fd = os.open(probe, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            os.write(fd, bytes(65536))
            os.fdatasync(fd)
        finally:
            os.close(fd)
            probe.unlink()
        took = time.perf_counter() - began
    except OSError as error:
        return Finding("disk", False, f"{spool} cannot be written ({error.strerror}): name another with --spool.")
    free = shutil.disk_usage(spool).free
    waiting = len(list(spool.glob("*/*/recording.json")))
    told = f"{spool}: {free / 2**30:.1f} GiB free, fdatasync {took * 1e3:.0f} ms, {waiting} recordings waiting"
    return Finding("disk", free > ENOUGH_BYTES, told + ("" if free > ENOUGH_BYTES else ": free some space."))


def _server(server: str | None) -> Finding:
    if not server:
        return Finding("server", True, "not asked: name the site with --server https://…")
    began = time.perf_counter()
    try:
        with urllib.request.urlopen(server, timeout=5) as answer:
            status = answer.status
    except urllib.error.HTTPError as error:
        status = error.code
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        return Finding("server", False, f"{server} does not answer ({reason}): is it running, is the network up?")
    took = (time.perf_counter() - began) * 1e3
    ok = status < 500
    return Finding("server", ok, f"{server} answers HTTP {status} in {took:.0f} ms" + ("" if ok else ": see its log."))


def report(findings: Iterator[Finding], write: Callable[[str], object] = sys.stdout.write) -> int:
    """Write the findings line by line; 0 if all is well, else 1."""
    bad = 0
    for finding in findings:
        write(f"{finding}\n")
        bad += not finding.ok
    return int(bad > 0)
