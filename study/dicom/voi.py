"""From stored values to grey: the VOI LUT module (PS3.3 C.11.2) in the stored frame's units.

A VOI is `{"type": "window", "center", "width", "function"}` or `{"type": "lut", "first", "bits", "data"}`: the form
the viewer draws with. `display_table` is the viewer's own formula, used here for thumbnails and held to pydicom's
answer by the conformance set.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Voi = Mapping[str, Any]


def window(center: float, width: float, function: str, *, offset: float, scale: float) -> dict[str, Any] | None:
    """A window given for modality values m, for the stored values v = (m − offset) · scale.

    LINEAR's ramp runs over [c − 0.5 − (w − 1)/2, c − 0.5 + (w − 1)/2] (PS3.3 C.11.2.1.2.1), so that under a scale it is
    c − 0.5 and w − 1 which are multiplied; LINEAR_EXACT and SIGMOID (C.11.2.1.3) scale as they stand. A window that the
    standard does not allow (LINEAR narrower than 1, the others not wider than 0) is None.
    """
    if not np.isfinite([center, width]).all() or width < (1 if function == "LINEAR" else 1e-9):
        return None
    if function == "LINEAR":
        center, width = (center - 0.5 - offset) * scale + 0.5, (width - 1) * scale + 1
    else:
        center, width = (center - offset) * scale, width * scale
    return {"type": "window", "center": float(center), "width": float(width), "function": function}


def table(
    first: int, bits: int, entries: NDArray[np.int64], *, offset: float, scale: float, max_value: int
) -> dict[str, Any]:
    """A VOI LUT given for modality values, for stored values; resampled where the scale is not 1."""
    if scale == 1 and float(offset).is_integer():
        return {"type": "lut", "first": first - int(offset), "bits": bits, "data": entries.tolist()}
    modality = np.arange(max_value + 1) / scale + offset
    index = np.clip(np.floor(modality - first + 1e-6), 0, len(entries) - 1).astype(np.int64)
    return {"type": "lut", "first": 0, "bits": bits, "data": entries[index].tolist()}


def from_percentiles(counts: NDArray[np.int64], low: float = 0.005, high: float = 0.995) -> dict[str, Any]:
    """A LINEAR window over the bulk of a histogram of stored values [n], for a file that gives none."""
    cumulated = np.cumsum(counts)
    total = int(cumulated[-1])
    first, last = (int(np.searchsorted(cumulated, max(1, share * total))) for share in (low, high))
    # LINEAR's ramp from `first` to `last`.
    width = max(last - first, 1) + 1
    return {"type": "window", "center": first + (width - 1) / 2 + 0.5, "width": float(width), "function": "LINEAR"}


def display(values: NDArray[np.floating], voi: Voi) -> NDArray[np.float64]:
    """Stored values to 0–1."""
    if voi["type"] == "lut":
        data = np.asarray(voi["data"], np.float64)
        index = np.clip(values - voi["first"], 0, len(data) - 1).astype(np.int64)
        return np.asarray(data[index] / (2 ** voi["bits"] - 1))
    c, w = float(voi["center"]), float(voi["width"])
    if voi["function"] == "SIGMOID":
        return np.asarray(1 / (1 + np.exp(np.clip(-4 * (values - c) / w, -700, 700))))
    if voi["function"] == "LINEAR":
        c, w = c - 0.5, w - 1
    if w <= 0:
        return np.asarray(values > c, np.float64)
    return np.asarray(np.clip((values - c) / w + 0.5, 0, 1))


def display_table(voi: Voi, max_value: int, *, inverted: bool) -> NDArray[np.uint8]:
    """Grey levels [max_value + 1] of every stored value."""
    grey = np.rint(display(np.arange(max_value + 1, dtype=np.float64), voi) * 255).astype(np.uint8)
    return 255 - grey if inverted else grey
