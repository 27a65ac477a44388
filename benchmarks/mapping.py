"""Gaze to image: samples a second through many viewport states, in one thread.

    .venv/bin/python benchmarks/mapping.py [--samples N] [--states M] [--rounds R]

Maps N gaze samples in order of time through M viewport states (zoom, pan, mirroring, device pixel ratio; a few hidden)
to image pixels, with the pixels per degree of each sample, R times; the best and the median round count, compiled by
numba (after one round that compiles) and by numpy alone. A slice is compared with the formula evaluated sample by
sample. Target: 5 M samples/s with 10,000 states.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from capture.gaze import mapping
from capture.gaze.display import Display
from capture.gaze.mapping import ViewportStates, to_image


def scene(samples: int, states: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, ViewportStates]:
    """Times [N], gaze in screen px [N, 2] with 3 % lost, and the states, over samples / 1200 seconds."""
    seconds = samples / 1200.0
    scale, flip = np.exp(rng.uniform(-1.5, 2, states)), rng.choice([1.0, -1.0], states)
    records = [
        {
            "a": [flip[k] * scale[k], 0.0, 0.0, scale[k], *shift],
            "rect": [0, 0, 1600, 1080],
            "dpr": 1.25,
            "screenX": 0,
            "screenY": 0,
            "visible": bool(k % 100),
        }
        for k, shift in enumerate(rng.uniform(-2000, 2000, (states, 2)))
    ]
    times = np.sort(rng.uniform(-1, seconds, states))
    display = Display(2560, 1440, 597, 336, 650)
    table = ViewportStates.from_records(records, times, rows=3000, columns=2500, display=display)
    t = np.arange(samples) / 1200.0
    screen = rng.uniform((0, 0), (2560, 1440), (samples, 2))
    screen[rng.random(samples) < 0.03] = np.nan
    return t, screen, table


def worst_difference(t: np.ndarray, screen: np.ndarray, table: ViewportStates, places: np.ndarray) -> float:
    """Largest distance in image px from the formula, evaluated one sample at a time."""
    mapped = to_image(t, screen, table)
    worst = 0.0
    for i in places:
        k = int(np.searchsorted(table.t, t[i], side="right")) - 1
        if k < 0 or not table.shown[k] or not np.isfinite(screen[i]).all():
            assert np.isnan(mapped.image_xy[i]).all()
            continue
        a, b, c, d, e, f = table.matrix[k]
        x, y = np.linalg.solve([[a, c], [b, d]], screen[i] - (e, f))
        worst = max(worst, float(np.hypot(*(mapped.image_xy[i] - (x, y)))))
    return worst


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=5_000_000)
    parser.add_argument("--states", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    if min(options.samples, options.states, options.rounds) < 1:
        parser.error("--samples, --states and --rounds are whole numbers above 0.")
    rng = np.random.default_rng(0)
    t, screen, table = scene(options.samples, options.states, rng)
    rates: dict[str, list[float]] = {}
    loop = mapping._map_each
    for how in ("numba", "numpy") if loop.pays(len(t)) else ("numpy",):
        loop.pays = lambda samples, compiled=how == "numba": compiled
        to_image(t, screen, table)
        for _ in range(options.rounds):
            begun = time.perf_counter()
            to_image(t, screen, table)
            rates.setdefault(how, []).append(len(t) / (time.perf_counter() - begun) / 1e6)
    part = slice(0, min(len(t), 200_000))
    places = rng.integers(0, part.stop, 2000)
    difference = worst_difference(t[part], screen[part], table, places)
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(f"numpy {np.__version__}, {datetime.now(UTC):%Y-%m-%d}, load {os.getloadavg()[0]:.1f}, one thread")
    print(f"{options.samples:,} samples, {options.states:,} viewport states, {options.rounds} rounds")
    for how, found in rates.items():
        print(f"{how}: best {max(found):.1f} M samples/s, median {statistics.median(found):.1f} M samples/s (target 5)")
    print(f"largest difference from the formula, sample by sample: {difference:.1e} image px (target 1e-9)")


if __name__ == "__main__":
    main()
