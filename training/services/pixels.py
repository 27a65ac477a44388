"""The stored frame as GazeX sees it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from study.models import Image
from study.services import frames


def frame_for_gazex(image: Image) -> NDArray[np.uint16]:
    """The stored frame, uint16 [rows, columns], bright where dense whichever way the detector stored it."""
    frame = frames.pixels(image)
    return (image.max_value - np.minimum(frame, image.max_value)).astype(np.uint16) if image.inverted else frame
