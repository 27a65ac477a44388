"""The tracked display: pixels, millimetres and degrees of visual angle on one screen.

Screen pixels are physical device pixels with the origin at the display's top left corner; trackers report gaze as a
fraction of the display area (0 to 1, same origin). Degrees are measured from the display's centre for an eye straight
in front of it at `distance_mm`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Display:
    """Geometry of the tracked display.

    Attributes
    ----------
    width_px, height_px
        Resolution, device pixels.
    width_mm, height_mm
        Size of the active display area, millimetres.
    distance_mm
        From the eyes to the display's centre, millimetres.
    """

    width_px: float
    height_px: float
    width_mm: float
    height_mm: float
    distance_mm: float

    def __post_init__(self) -> None:
        for name, value in self.to_dict().items():
            if not (isinstance(value, (int, float)) and np.isfinite(value) and value > 0):
                raise ValueError(f"The display's {name} is {value!r}; it must be a positive number.")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Display:
        """A display from `{"width_px", "height_px", "width_mm", "height_mm", "distance_mm"}`.

        Raises ValueError naming the first key that is missing or is not a positive number.
        """
        names = ("width_px", "height_px", "width_mm", "height_mm", "distance_mm")
        for name in names:
            if values.get(name) is None:
                raise ValueError(f"The display geometry lacks {name}; set it at the station.")
        try:
            return cls(*(float(values[name]) for name in names))
        except TypeError as error:
            raise ValueError(f"The display geometry is not numeric: {error}.") from error

    def to_dict(self) -> dict[str, float]:
        return {
            "width_px": self.width_px,
            "height_px": self.height_px,
            "width_mm": self.width_mm,
            "height_mm": self.height_mm,
            "distance_mm": self.distance_mm,
        }

    @property
    def mm_per_px(self) -> tuple[float, float]:
        return self.width_mm / self.width_px, self.height_mm / self.height_px

    @property
    def px_per_degree(self) -> tuple[float, float]:
        """Screen pixels per degree at the display's centre, across and down."""
        mm = self.distance_mm * np.tan(np.radians(1.0))
        return float(mm / self.mm_per_px[0]), float(mm / self.mm_per_px[1])

    def to_px(self, normalised: ArrayLike) -> Floats:
        """Fractions of the display area [..., 2] as screen pixels [..., 2]."""
        return np.asarray(normalised, dtype=np.float64) * (self.width_px, self.height_px)

    def to_degrees(self, screen_px: ArrayLike) -> Floats:
        """Screen pixels [..., 2] as degrees from the display's centre [..., 2] (x to the right, y down)."""
        tangent = np.asarray(screen_px, dtype=np.float64) - (self.width_px / 2, self.height_px / 2)
        tangent *= np.divide(self.mm_per_px, self.distance_mm)
        np.arctan(tangent, out=tangent)
        return np.degrees(tangent, out=tangent)

    def angle_between(self, a_px: ArrayLike, b_px: ArrayLike) -> Floats:
        """Visual angle in degrees between screen points [..., 2] and [..., 2], as seen from the eye."""
        a, b = self._rays(a_px), self._rays(b_px)
        cross = np.linalg.norm(np.cross(a, b), axis=-1)
        return np.degrees(np.arctan2(cross, (a * b).sum(-1)))

    def _rays(self, screen_px: ArrayLike) -> Floats:
        mm = (np.asarray(screen_px, dtype=np.float64) - (self.width_px / 2, self.height_px / 2)) * self.mm_per_px
        return np.concatenate([mm, np.full((*mm.shape[:-1], 1), self.distance_mm)], axis=-1)
