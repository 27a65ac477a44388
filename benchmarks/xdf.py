"""XDF writing in samples per second, and pyxdf reading the same numbers back.

    python benchmarks/xdf.py [--samples 2000000] [--folder /tmp]

A sample is one row of float64 channels with its own float64 time stamp. Each layout is written several times to a file
that is on the disk's page cache afterwards, as any program leaves it; the best and the median run are printed. Layouts:
2 channels (one gaze point), 6 (App-TobiiPro), 10 (the layout the first figures were made with), 30 (all of ours).
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import pyxdf

from capture.gaze.formats import xdf

RATE = 1200.0


def stream(channels: int, samples: int) -> xdf.Stream:
    rng = np.random.default_rng(channels)
    t = 1000.0 + np.arange(samples) / RATE
    named = [(f"Channel{i}", "ScreenX", "normalized", "left") for i in range(channels)]
    offsets = np.column_stack([np.arange(1000.0, t[-1], 5.0), np.full(len(np.arange(1000.0, t[-1], 5.0)), -2e-5)])
    return xdf.Stream("gaze", "Gaze", t, rng.random((samples, channels)), named, RATE, offsets, "benchmark")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=2_000_000, help="in a file; 30 channels: a third")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=None)
    arguments = parser.parse_args()
    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
    versions = f"Python {platform.python_version()}, numpy {np.__version__}, pyxdf {pyxdf.__version__}"
    print(f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC, {machine}, {versions}")
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        path = Path(folder) / "benchmark.xdf"
        for channels in (2, 6, 10, 30):
            whole = stream(channels, arguments.samples if channels < 30 else arguments.samples // 3)
            seconds = []
            for _ in range(arguments.runs):
                path.unlink(missing_ok=True)
                begun = time.perf_counter()
                xdf.write(path, [whole])
                seconds.append(time.perf_counter() - begun)
            n = len(whole.t)
            size = path.stat().st_size
            best, middle = (n / chosen / 1e6 for chosen in (min(seconds), statistics.median(seconds)))
            written = f"{size / 1e6:.0f} MB, {size / min(seconds) / 1e9:.2f} GB/s"
            print(
                f"{channels:3} channels: {best:5.1f} M samples/s best, {middle:5.1f} median of {len(seconds)} "
                f"({written}); {_read_back(channels, path)}"
            )


def _read_back(channels: int, path: Path) -> str:
    """Write a short file of the layout and compare what pyxdf reads, which takes its time, sample for sample."""
    short = stream(channels, 60_000)
    path.unlink()
    xdf.write(path, [short])
    begun = time.perf_counter()
    (back,), _ = pyxdf.load_xdf(str(path), dejitter_timestamps=False, synchronize_clocks=False)
    took = time.perf_counter() - begun
    equal = np.array_equal(back["time_stamps"], short.t) and np.array_equal(back["time_series"], short.values)
    if not equal:
        raise SystemExit(f"pyxdf reads other numbers than were written ({channels} channels)")
    return f"pyxdf reads 60,000 back equal at {60_000 / took / 1e6:.2f} M/s"


if __name__ == "__main__":
    main()
