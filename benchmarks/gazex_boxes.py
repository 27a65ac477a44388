"""Boxes of the published recipe: seconds a reading beside the recorded procedure, and readings a second a core.

    .venv/bin/python benchmarks/gazex_boxes.py [--reference DIR] [--repeats N] [--readings N]

For each reference reading: the boxes from samples in memory (processor seconds, best of several calls), and
`python -m gazex boxes` as a whole program (seconds by the clock from start to end, best and median; reading and writing
files and Python's own start counted), each with its ratio to the recorded seconds of the published procedure
(`meta.json`; another machine's, its load unknown) and the former to the recipe written out slowly, run here
(`tests/gazex/published_recipe.py`: the procedure's loops over samples and scikit-learn, without its plots and tables).
The boxes are compared with the published ones. Then readings of 60 s at 600 Hz with eight sentences, made here, in
readings a second. One thread. Targets: 100 times the recorded seconds in computing, 15 times as a program on the longer
reading, 4 readings/s.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks" / "peers")]
os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

import numpy as np  # noqa: E402
import scipy  # noqa: E402
from timing import best  # noqa: E402

from gazex.evidence.boxes import Gaze, boxes  # noqa: E402
from gazex.evidence.folder import Reading, read_folder  # noqa: E402
from tests.gazex import published_recipe as recipe  # noqa: E402

WIDTH, HEIGHT, SECONDS, RATE, PPD = 2022, 1736, 60.0, 600, 38.0


def rows_of(reading: Reading) -> list[tuple]:
    found = boxes(reading.gaze, reading.times, reading.rows, reading.columns)
    return [(k, f.cluster, *f.box, *f.centroid) for k, f in found]


def difference(ours: list[tuple], folder: Path) -> str:
    with (folder / "paper_boxes.csv").open() as file:
        theirs = np.array([[float(cell) for cell in row] for row in list(csv.reader(file))[1:]])
    mine = np.array(ours)
    if mine.shape != theirs.shape or not np.array_equal(mine[:, :2], theirs[:, :2]):
        return "clusters DIFFER"
    apart = np.abs(mine - theirs)
    return (
        f"{len(mine)} boxes, edges {apart[:, 2:6].max():g} px and centroids {apart[:, 6:].max():.4f} px apart at most"
    )


def slowly(reading: Reading) -> float:
    samples = recipe.Samples(*(getattr(reading.gaze, name) for name in ("t_s", "x", "y", "ppd_x", "ppd_y")))
    start = time.process_time()
    recipe.boxes(samples, reading.times, reading.columns, reading.rows)
    return time.process_time() - start


def program(folder: Path, width: int, height: int, repeats: int) -> list[float]:
    with tempfile.TemporaryDirectory() as scratch:
        size = ["--width", str(width), "--height", str(height), "--out", str(Path(scratch) / "boxes.csv")]
        times = []
        for _ in range(repeats + 1):  # the first reads the libraries from disk
            start = time.perf_counter()
            subprocess.run([sys.executable, "-m", "gazex", "boxes", str(folder), *size], cwd=ROOT, check=True)
            times.append(time.perf_counter() - start)
    return sorted(times[1:])


def made(seed: int) -> Reading:
    """Looks that wander over an image, saccades, noise and blinks; eight sentences of four seconds."""
    rng = np.random.default_rng(seed)
    n = int(SECONDS * RATE)
    t = np.arange(n) / RATE
    looks = rng.uniform((100, 100), (WIDTH - 100, HEIGHT - 100), (n, 2))
    onsets = np.cumsum(rng.gamma(4, 0.08, n))
    at = looks[np.searchsorted(onsets, t)]
    x, y = at.T + np.cumsum(rng.normal(0, 0.25, (2, n)), axis=1) % 30 + rng.normal(0, 4, (2, n))
    blink = np.convolve(rng.random(n) < 0.0004, np.ones(90), "same") > 0
    x[blink] = y[blink] = np.nan
    ppd_x, ppd_y = PPD * (1 + rng.normal(0, 0.0015, (2, n)))
    sentences = [("Nothing.", 3.0 + 7 * k, 7.0 + 7 * k) for k in range(8)]
    return Reading(Gaze(t, x.round(3), y.round(3), ppd_x.round(3), ppd_y.round(3)), sentences, HEIGHT, WIDTH)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--reference", type=Path, default=ROOT.parent / "shared" / "reference" / "gazex_boxes")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--readings", type=int, default=10)
    options = parser.parse_args()
    folders = sorted(p.parent for p in options.reference.glob("*/meta.json"))
    if not folders:
        raise SystemExit(f"{options.reference} holds no readings with a meta.json; give --reference.")
    versions = f"Python {platform.python_version()}, numpy {np.__version__}, scipy {scipy.__version__}"
    at = datetime.now(UTC).isoformat(timespec="seconds")
    print(f"{at}  {platform.platform()}, {os.cpu_count()} cores, {versions}")
    print(f"load {os.getloadavg()[0]:.1f} at the start")
    for folder in folders:
        meta = json.loads((folder / "meta.json").read_text())
        width, height, recorded = meta["image_width"], meta["image_height"], meta["paper_seconds"]
        reading = read_folder(folder, width=width, height=height)
        seconds, ours = best(lambda r=reading: rows_of(r), options.repeats)
        slow = slowly(reading)
        whole = program(folder, width, height, options.repeats)
        middle = whole[len(whole) // 2]
        print(
            f"{meta['id']}: {len(reading.gaze)} samples, {len(reading.sentences)} sentences; {difference(ours, folder)}"
        )
        print(f"  recorded {recorded} s; the recipe slowly, here, {slow:.2f} s")
        print(
            f"  computing {1000 * seconds:.0f} ms: {recorded / seconds:.0f}x recorded (asked: 100x), "
            f"{slow / seconds:.0f}x slowly here"
        )
        print(
            f"  whole program {whole[0]:.2f} s, median {middle:.2f} s: {recorded / whole[0]:.0f}x recorded, "
            f"median {recorded / middle:.0f}x (asked: 15x on the longer one)"
        )
    readings = [made(seed) for seed in range(options.readings)]
    count = sum(len(rows_of(reading)) for reading in readings)
    start = time.process_time()
    for reading in readings:
        rows_of(reading)
    seconds = time.process_time() - start
    print(
        f"60 s at 600 Hz, 8 sentences, {count / len(readings):.0f} boxes: "
        f"{len(readings) / seconds:.1f} readings/s a core (asked: 4), load {os.getloadavg()[0]:.1f} at the end"
    )


if __name__ == "__main__":
    main()
