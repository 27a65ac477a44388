"""Training examples in readings a second: from finished boxes, and boxes included, beside the recorded procedure.

    .venv/bin/python benchmarks/gazex_examples.py [--readings N] [--reference DIR]

Readings of 60 s at 600 Hz with eight sentences on a radiograph of 2,022 × 1,736 pixels, made here: looks that wander,
saccades, noise, blinks. For each format (ours, published): the examples of every task from finished boxes, and with
making the boxes. One thread. Reading files is not counted, nor is it in the recorded seconds. The ratio is to the
seconds a reading took with the published procedure (`meta.json` of the reference readings, 20 s at 250 Hz and 24 s at
1,000 Hz), on those same readings, boxes alone. Targets: 50 readings/s from finished boxes, 4 with them, a core.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

import numpy as np  # noqa: E402

from gazex.schema import Visit  # noqa: E402
from gazex.tasks.build import build  # noqa: E402
from gazex.tasks.command import visit_of_folder  # noqa: E402
from gazex.tasks.finished import finish, finish_published  # noqa: E402

SECONDS, RATE, ROWS, COLUMNS, PPD = 60.0, 600, 1736, 2022, 38.0
SAID = (
    "There is a small left apical pneumothorax.",
    "The heart is enlarged.",
    "No pleural effusion.",
    "A nodule in the right upper lobe.",
    "Right lower lobe consolidation.",
    "No acute fracture.",
    "Mild pulmonary edema.",
    "Small right pleural effusion.",
)


def reading(seed: int) -> Visit:
    """60 s of gaze: fixations of 230 ms about places that wander from sentence to sentence, 1 % lost to blinks."""
    rng = np.random.default_rng(seed)
    n = int(SECONDS * RATE)
    t = np.arange(n) / RATE
    x, y = np.empty(n), np.empty(n)
    at, centre = 0, rng.uniform((300, 300), (COLUMNS - 300, ROWS - 300))
    while at < n:
        stop = min(n, at + max(30, round(RATE * float(rng.lognormal(np.log(0.23), 0.4)))))
        if rng.random() < 0.12:
            centre = rng.uniform((150, 150), (COLUMNS - 150, ROWS - 150))
        spot = np.clip(centre + rng.normal(0, 2.5 * PPD, 2), 1, (COLUMNS - 2, ROWS - 2))
        x[at:stop], y[at:stop] = spot
        at = stop
    ramp = np.ones(25) / 25  # saccades take about 40 ms
    x, y = (np.convolve(np.pad(v, 12, mode="edge"), ramp, mode="valid") + rng.normal(0, 0.06 * PPD, n) for v in (x, y))
    for start in rng.integers(0, n - 90, 7):
        x[start : start + 90] = y[start : start + 90] = np.nan
    ppd = PPD + rng.normal(0, 0.05, (n, 2))
    edges = np.linspace(1.5, SECONDS - 0.5, len(SAID) + 1)
    sentences = [(text, float(a + 1.0), float(b - 0.2)) for text, a, b in zip(SAID, edges, edges[1:], strict=False)]
    return Visit(
        f"made-{seed}", "made", f"p{seed}", "benchmark", "images/made.png", ROWS, COLUMNS, t, x, y, PPD, PPD,
        sentences, {"Pneumothorax": "left", "Cardiomegaly": ""}, [], ppd,
    )  # fmt: skip


def rate(visits: list[Visit], work: Callable[[Visit], object], rounds: int) -> tuple[float, float]:
    """Visits a second of processor time: best and median of the rounds."""
    work(visits[0])
    rates = []
    for _ in range(rounds):
        began = time.process_time()
        for visit in visits:
            work(visit)
        rates.append(len(visits) / (time.process_time() - began))
    return max(rates), float(np.median(rates))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--readings", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--reference", type=Path, default=ROOT.parent / "shared/reference/gazex_boxes")
    options = parser.parse_args()
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "?"
    versions = f"Python {platform.python_version()}, numpy {np.__version__}"
    print(f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {versions}, load {load}")
    visits = [reading(seed) for seed in range(options.readings)]
    met = True
    for kind, make in (("ours", finish), ("published", finish_published)):
        boxes = {visit.id: make(visit) for visit in visits}
        count = sum(len(build(v, format=kind, finished=boxes[v.id])) for v in visits) / len(visits)
        from_boxes = rate(visits, lambda v, k=kind, b=boxes: build(v, format=k, finished=b[v.id]), options.rounds)  # type: ignore[misc]
        whole = rate(visits, lambda v, k=kind: build(v, format=k), options.rounds)  # type: ignore[misc]
        met &= from_boxes[0] >= 50 and whole[0] >= 4
        print(
            f"{kind}: {count:.1f} examples a reading; from finished boxes {from_boxes[0]:.1f} readings/s "
            f"(median {from_boxes[1]:.1f}), boxes included {whole[0]:.2f} (median {whole[1]:.2f})"
        )
    for folder in sorted(options.reference.glob("*/")) if options.reference.is_dir() else []:
        meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        visit = visit_of_folder(folder, width=meta["image_width"], height=meta["image_height"])
        for kind in ("ours", "published"):
            best, _ = rate([visit], lambda v, k=kind: build(v, format=k), max(5, options.rounds))  # type: ignore[misc]
            print(
                f"{folder.name}, {kind}: {1000 / best:.1f} ms with boxes; the recorded procedure took "
                f"{meta['paper_seconds']} s for the boxes: {meta['paper_seconds'] * best:.0f} times"
            )
    print("targets met" if met else "targets missed: 50 readings/s from finished boxes, 4 with them")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
