"""Event detection beside pymovements and REMoDNaV: samples a second and agreement with hand labels, in one run.

    python benchmarks/events.py [--lund DIR] [--peers DIR] [--json FILE] [--repeats N]

Makes the peers' virtual environments (in a temporary folder, or kept in --peers), then times everybody on the same
recordings: the image trials of Lund 2013 one after another, and all of them joined end to end four times over (about
the length of one read). Every side goes from screen pixels to degrees to velocity to events, on one core, best of
several calls after one that is not counted; ours has numba compiled in that first call (its seconds are shown), and
stands a second time without numba. "whole" is `detection.detect`: it also marks lost gaze and blinks and tabulates
position and amplitude of every event, which the peers do not. Seconds are of processor time: on a quiet machine the
same as by the clock, on a loaded one nearer to it.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS"):
    os.environ[variable] = "1"

import numpy as np  # noqa: E402

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE / "peers")]

from timing import best  # noqa: E402

from capture.gaze.display import Display  # noqa: E402
from capture.gaze.events import adaptive, compiled, detection, idt, ivt  # noqa: E402
from capture.gaze.events.agreement import kappa  # noqa: E402

DISPLAY = Display(1024, 768, 380, 300, 670)
RATE = 500.0
CORE: dict[str, Callable[[Any, Any], Any]] = {
    "ivt": lambda t, px: ivt.detect(t, DISPLAY.to_degrees(px)),
    "idt": lambda t, px: idt.detect(t, DISPLAY.to_degrees(px)),
    "adaptive": lambda t, px: adaptive.classify(t, DISPLAY.to_degrees(px)),
}
#: Ours, the peer's file and run, the ratio that is asked for.
PAIRS = (
    ("ivt", "pymovements", "ivt", 50),
    ("idt", "pymovements", "idt", 100),
    ("adaptive", "remodnav", "defaults", 50),
)


def lund(folder: Path) -> tuple[Any, Any, Any, Any]:
    """Times [N], px [N, 2] (lost as NaN, for everybody), MN's codes [N], and where trials begin and end [T + 1]."""
    trials = []
    for path in sorted(folder.glob("*.csv.gz")):
        with gzip.open(path, "rt") as file:
            rows = np.genfromtxt(file, delimiter=",", names=True)
        trials.append(np.stack([rows[name] for name in ("time_s", "x_px", "y_px", "label_MN")], axis=1))
    if not trials:
        raise SystemExit(f"{folder} holds no recordings (*.csv.gz); give --lund.")
    rows = np.concatenate(trials)
    px = rows[:, 1:3].copy()
    px[~detection.gaze_present(px, DISPLAY)] = np.nan
    return rows[:, 0], px, rows[:, 3].astype(int), np.r_[0, np.cumsum([len(trial) for trial in trials])]


def peer(name: str, folder: Path) -> Path:
    """The peer's python; its environment is made if it is not there."""
    home = folder / name
    python = home / "bin" / "python"
    if not python.exists():
        print(f"making {name}'s environment ...", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
        requirements = HERE / "peers" / f"requirements-{name}.txt"
        subprocess.run([str(python), "-m", "pip", "install", "-q", "-r", str(requirements)], check=True)
    return python


def kappas(labels: Any, truth: Any) -> dict[str, float | None]:
    return {word: kappa(labels == code, truth == code) for word, code in (("fixation", 1), ("saccade", 2), ("pso", 3))}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--lund", type=Path, default=HERE.parents[1] / "shared" / "reference" / "lund2013")
    parser.add_argument("--peers", type=Path, help="keep the peers' environments here")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    t, px, truth, cuts = lund(options.lund)
    n = len(t)
    joined = (np.arange(4 * n) / RATE, np.tile(px, (4, 1)), np.tile(truth, 4), np.array([0, 4 * n]))
    sets = {"trials": (t, px, truth, cuts), "joined": joined}
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.peers or Path(scratch)
        pythons = {name: peer(name, folder) for name in ("pymovements", "remodnav")}
        figures = [row for name, data in sets.items() for row in measure(name, data, pythons, scratch, options.repeats)]
    report = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "load": os.getloadavg()[0],
        "rows": figures,
        "ratios": ratios(figures),
    }
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n")
    print(f"{report['at']}  {report['machine']}  load {report['load']:.1f}")
    print(f"{'recording':9} {'samples':>7} {'who':32} {'samples/s':>12}  fixation saccade    pso (kappa against MN)")
    for row in figures:
        shown = ["   -   " if v is None else f"{v:7.3f}" for v in row["kappa"].values()]
        head = f"{row['set']:9} {row['samples']:7} {row['who']:32} {row['samples_s']:12,.0f}"
        print(f"{head}  {'  '.join(shown)}  {row['note']}")
    for row in report["ratios"]:
        print(f"{row['set']:9} {row['ours']} / {row['peer']}: {row['ratio']:.0f}x (asked: {row['asked']}x)")


def whole(algorithm: Any, t: Any, px: Any) -> Any:
    return detection.detect(t, px, DISPLAY, algorithm=algorithm)


def measure(name: str, data: Any, pythons: dict[str, Path], scratch: str, repeats: int) -> list[dict[str, Any]]:
    t, px, truth, cuts = data
    rows: list[dict[str, Any]] = []

    def add(who: str, seconds: float, labels: Any, note: str = "") -> None:
        rows.append(
            {"set": name, "samples": len(t), "who": who, "samples_s": len(t) / seconds, "note": note}
            | {"kappa": kappas(labels, truth)}
        )

    source = Path(scratch) / "in.npz"
    screen = [DISPLAY.width_px, DISPLAY.height_px, DISPLAY.width_mm, DISPLAY.height_mm, DISPLAY.distance_mm]
    np.savez(source, t=t, px=px, cuts=cuts, screen=screen, rate=RATE)
    for who, python in pythons.items():
        target = Path(scratch) / f"{who}.npz"
        script = str(HERE / "peers" / f"{who}_events.py")
        subprocess.run([str(python), script, str(source), str(target), str(min(3, repeats))], check=True)
        with np.load(target) as result:
            for key in result.files:
                if key.endswith("_seconds"):
                    run = key.removesuffix("_seconds")
                    add(f"{who} {result['version']} {run}", float(result[key]), result[f"{run}_labels"])
    parts = [(t[a:b], px[a:b]) for a, b in itertools.pairwise(cuts)]
    for with_numba in (False, True):
        compiled.Loop.pays = staticmethod(lambda samples, yes=with_numba: yes)  # type: ignore[method-assign]
        how = "numba" if with_numba else "numpy"
        for algorithm, function in CORE.items():
            start = time.perf_counter()
            function(*parts[0])
            first = time.perf_counter() - start
            labels = np.concatenate([whole(algorithm, *part).labels for part in parts])
            seconds, _ = best(lambda f=function: [f(*p) for p in parts], repeats)
            add(f"{algorithm} ({how})", seconds, labels, f"first call {first:.2f} s")
            seconds, _ = best(lambda a=algorithm: [whole(a, *p) for p in parts], repeats)
            add(f"{algorithm} whole ({how})", seconds, labels)
    return rows


def ratios(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    out = []
    for name in dict.fromkeys(row["set"] for row in rows):
        speeds = {row["who"]: row["samples_s"] for row in rows if row["set"] == name}
        for algorithm, who, run, asked in PAIRS:
            other = next(key for key in speeds if key.startswith(who) and key.endswith(run))
            for ours in (f"{algorithm} (numba)", f"{algorithm} whole (numba)", f"{algorithm} (numpy)"):
                ratio = speeds[ours] / speeds[other]
                out.append({"set": name, "ours": ours, "peer": other, "ratio": ratio, "asked": asked})
    return out


if __name__ == "__main__":
    main()
