"""REMoDNaV with its defaults: pixels to degrees, velocity, events. Runs in REMoDNaV's own environment.

Usage: remodnav_events.py IN.npz OUT.npz REPEATS
"""

from __future__ import annotations

import itertools
import logging
import math
import sys
from importlib.metadata import version

import numpy as np
from remodnav.clf import EyegazeClassifier
from timing import best

logging.disable(logging.CRITICAL)
source, target, repeats = sys.argv[1], sys.argv[2], int(sys.argv[3])
data = np.load(source)
rate = float(data["rate"])
width, _, width_mm, _, distance_mm = data["screen"]
px2deg = math.degrees(math.atan2(0.5 * width_mm, distance_mm)) / (0.5 * width)
cuts = data["cuts"]
CODES = {"FIXA": 1, "SACC": 2, "ISAC": 2, "HPSO": 3, "IHPS": 3, "LPSO": 3, "ILPS": 3, "PURS": 4}


def run(**settings: float) -> np.ndarray:
    """Codes of `capture.gaze.events.table.Kind`, 0 where it says nothing, [N]."""
    labels = np.zeros(len(data["t"]), dtype=np.int8)
    for a, b in itertools.pairwise(cuts):
        classifier = EyegazeClassifier(px2deg=px2deg, sampling_rate=rate, **settings)
        x, y = data["px"][a:b].T
        samples = np.rec.fromarrays([x, y], names=["x", "y"])
        for event in classifier(classifier.preproc(samples)):
            i, j = round(event["start_time"] * rate), round(event["end_time"] * rate)
            labels[a + i : a + j] = CODES[event["label"]]
    return labels


out: dict[str, object] = {"version": version("remodnav")}
for name, settings in (("defaults", {}), ("pursuit_velthresh=5", {"pursuit_velthresh": 5.0})):
    seconds, labels = best(lambda s=settings: run(**s), repeats)
    out[f"{name}_seconds"], out[f"{name}_labels"] = seconds, labels
np.savez(target, **out)
