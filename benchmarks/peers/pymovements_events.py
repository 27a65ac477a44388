"""pymovements' I-VT and I-DT pipelines: pixels to degrees, velocity, events. Runs in pymovements' own environment.

Usage: pymovements_events.py IN.npz OUT.npz REPEATS
"""

from __future__ import annotations

import itertools
import sys

import numpy as np
import pymovements as pm
from timing import best

source, target, repeats = sys.argv[1], sys.argv[2], int(sys.argv[3])
data = np.load(source)
width, height, width_mm, height_mm, distance_mm = data["screen"]
experiment = pm.Experiment(
    screen_width_px=int(width),
    screen_height_px=int(height),
    screen_width_cm=width_mm / 10,
    screen_height_cm=height_mm / 10,
    distance_cm=distance_mm / 10,
    origin="upper left",
    sampling_rate=float(data["rate"]),
)
cuts = data["cuts"]
parts = list(itertools.pairwise(cuts))


def run(method: str, **settings: float) -> np.ndarray:
    """Label 1 for fixation, 0 for the rest, [N]."""
    labels = np.zeros(len(data["t"]), dtype=np.int8)
    for a, b in parts:
        gaze = pm.gaze.from_numpy(time=milliseconds[a:b], pixel=pixel[:, a:b], experiment=experiment, time_unit="ms")
        gaze.pix2deg()
        if method == "ivt":
            gaze.pos2vel("savitzky_golay", window_length=11, degree=2)
        gaze.detect(method, **settings)
        frame = gaze.events.frame
        for onset, offset in zip(frame["onset"].to_numpy(), frame["offset"].to_numpy(), strict=True):
            i, j = np.searchsorted(milliseconds[a:b], (onset, offset))
            labels[a + i : a + j + 1] = 1
    return labels


pixel = np.ascontiguousarray(data["px"].T)
milliseconds = np.concatenate([np.arange(b - a) for a, b in parts]) * round(1000 / float(data["rate"]))
out: dict[str, object] = {"version": pm.__version__}
for name, method, settings in (
    ("ivt", "ivt", {"velocity_threshold": 30.0, "minimum_duration": 40}),
    ("idt", "idt", {"dispersion_threshold": 1.0, "minimum_duration": 100}),
):
    seconds, labels = best(lambda m=method, s=settings: run(m, **s), repeats)
    out[f"{name}_seconds"], out[f"{name}_labels"] = seconds, labels
np.savez(target, **out)
