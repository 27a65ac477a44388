"""Scanpath similarity in pairs a second, beside multimatch-gaze 0.1.3 on the same pairs in one run.

    .venv/bin/python benchmarks/scanpath.py [--pairs N] [--reference-venv DIR]

multimatch-gaze runs in an environment of its own, made by pip for the run unless a folder of one is named. Both sides
compute MultiMatch (all five dimensions), without and with simplification, in one thread; the numbers are compared. The
time of ours holds packing the paths, not compiling the loops, which happens once a machine.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import venv
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from capture.gaze.scanpath import Paths, all_pairs, dtw, edit_distance, multimatch, scanmatch

REFERENCE = "multimatch-gaze==0.1.3"
FIXATIONS = (20, 40, 80)
SIZE = (1280, 720)
SIMPLIFICATION = {"amplitude_px": 100.0, "direction_deg": 45.0, "duration_s": 0.2}

# Runs in the reference's own environment: paths in, seconds and numbers out.
DRIVER = """
import json, sys, time
import numpy as np
from multimatch_gaze import docomparison

job = json.load(open(sys.argv[1]))
names = [("start_x", "<f8"), ("start_y", "<f8"), ("duration", "<f8")]
paths = [np.rec.fromarrays(np.array(p).T, dtype=names) for p in job["paths"]]
out = {}
for kind, how in (("plain", {}), ("simplified", dict(grouping=True, TAmp=100.0, TDir=45.0, TDur=0.2))):
    began = time.perf_counter()
    numbers = [docomparison(paths[i], paths[j], job["size"], **how) for i, j in job["pairs"]]
    out[kind] = {"seconds": time.perf_counter() - began,
                 "numbers": [[float(np.ravel(v)[0]) for v in row] for row in numbers]}
json.dump(out, open(sys.argv[2], "w"))
"""


def scanpaths(n: int, fixations: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Looks that go on from each other, as eyes do: steps of 20 to 400 px, log-normal durations."""
    out = []
    for _ in range(n):
        angle = rng.uniform(0, 2 * np.pi, fixations)
        step = np.exp(rng.uniform(np.log(20), np.log(400), fixations))
        x, y = (
            np.abs((half + np.cumsum(step * turn(angle))) % (2 * half * 2) - 2 * half)
            for half, turn in ((SIZE[0] / 2, np.cos), (SIZE[1] / 2, np.sin))
        )
        out.append(np.column_stack([x, y, rng.lognormal(np.log(0.23), 0.4, fixations)]))
    return out


def reference_python(folder: str | None, made: str) -> Path:
    root = Path(folder or made)
    python = root / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not python.exists():
        venv.create(root, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", REFERENCE], check=True)
    return python


def rate(raw: list[np.ndarray], pairs: np.ndarray, measure) -> float:
    """Pairs a second, packing included, the best of three."""
    best = float("inf")
    for _ in range(3):
        began = time.perf_counter()
        measure(Paths.of(raw), pairs)
        best = min(best, time.perf_counter() - began)
    return len(pairs) / best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=20_000, help="pairs for ours (default 20,000)")
    parser.add_argument("--reference-pairs", type=int, default=400, help="pairs for multimatch-gaze (default 400)")
    parser.add_argument("--reference-venv", metavar="DIR", help="keep or reuse its environment here")
    args = parser.parse_args()
    if min(args.pairs, args.reference_pairs) < 1:
        parser.error("at least one pair is compared")

    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()},"
          f" numpy {np.__version__}, {datetime.now(UTC):%Y-%m-%d}, load {os.getloadavg()[0]:.1f}")  # fmt: skip
    warm = Paths.of([[(0, 0, 1)] * 3] * 2)
    for measure in (multimatch, scanmatch, edit_distance):
        measure(warm, size=SIZE)
    dtw(warm)
    with tempfile.TemporaryDirectory() as folder:
        python = reference_python(args.reference_venv, f"{folder}/venv")
        for fixations in FIXATIONS:
            compare(fixations, args.pairs, args.reference_pairs, python, Path(folder))


def compare(fixations: int, wanted: int, few: int, python: Path, folder: Path) -> None:
    """One length of path: MultiMatch on both sides, then what only ours has."""
    count = int(np.ceil((1 + np.sqrt(1 + 8 * wanted)) / 2))
    rng = np.random.default_rng(fixations)
    raw = scanpaths(count, fixations, rng)
    pairs = rng.permutation(all_pairs(count))[:wanted]
    job, answer = folder / "job.json", folder / "answer.json"
    job.write_text(json.dumps({"paths": [p.tolist() for p in raw], "pairs": pairs[:few].tolist(), "size": SIZE}))
    subprocess.run([python, "-c", DRIVER, job, answer], check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    theirs = json.loads(answer.read_text())
    slow = {kind: len(said["numbers"]) / said["seconds"] for kind, said in theirs.items()}
    print(f"\n{fixations} fixations")
    for kind, how in (("plain", {}), ("simplified", SIMPLIFICATION)):
        fast = rate(raw, pairs, partial(multimatch, size=SIZE, **how))
        gap = np.abs(multimatch(Paths.of(raw), pairs[:few], size=SIZE, **how) - theirs[kind]["numbers"])
        equal = int((gap.max(axis=1) < 1e-9).sum())
        print(
            f"  MultiMatch, {kind:<20} {fast:>11,.0f} pairs/s   multimatch-gaze {slow[kind]:>7,.0f}   "
            f"ratio {fast / slow[kind]:>6,.0f}   equal numbers in {equal} of {len(gap)} pairs"
        )
    for name, measure in (
        ("ScanMatch, a letter a fixation", partial(scanmatch, size=SIZE, bin_s=0)),
        ("ScanMatch, 50 ms letters", partial(scanmatch, size=SIZE)),
        ("DTW", dtw),
        ("string edit", partial(edit_distance, size=SIZE)),
    ):
        fast = rate(raw, pairs[: max(1, wanted // 10)], measure)
        print(f"  {name:<32} {fast:>11,.0f} pairs/s   its plain MultiMatch × {fast / slow['plain']:>6,.0f}")


if __name__ == "__main__":
    main()
