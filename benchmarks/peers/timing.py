"""How every side of a comparison is timed: one untimed call, then the best of at least so many, for at least a second.

The best of many calls is what a loaded machine disturbs least.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def best(function: Callable[[], Any], repeats: int) -> tuple[float, Any]:
    """Seconds of processor time of the fastest call (every side has one thread), and what the last call returned."""
    result = function()
    times = []
    while len(times) < repeats or sum(times) < 1.0:
        start = time.process_time()
        result = function()
        times.append(time.process_time() - start)
    return min(times), result
