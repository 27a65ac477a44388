"""Loops that numba compiles where it is installed and worth its import; the same source runs without it.

Importing numba takes about half a second, more than plain Python needs for a minute of gaze. So it is loaded only for
long recordings, or used at once if the program has loaded it already.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

#: From so many samples on numba is worth its import.
WORTH_SAMPLES = 200_000


class Loop:
    """A function over arrays, compiled when that pays.

    The function must keep to arithmetic, comparisons and indexing, so that its Python and its compiled form give the
    same result to the last bit.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        functools.update_wrapper(self, function)
        self.python = function
        self._compiled: Callable[..., Any] | None = None

    def __call__(self, samples: int, *arguments: Any) -> Any:
        """Run on `arguments`; `samples` says how long the recording is."""
        return self.compiled(*arguments) if self.pays(samples) else self.plain(*arguments)

    @staticmethod
    def pays(samples: int) -> bool:
        """Whether numba is there and worth it for a recording of so many samples."""
        if samples < WORTH_SAMPLES:
            return sys.modules.get("numba") is not None
        return _installed()

    def plain(self, *arguments: Any) -> Any:
        """Run in Python. Lists are several times quicker to index than arrays; what is written to stays an array."""
        return self.python(*(a.tolist() if _is_input(a) else a for a in arguments))

    def compiled(self, *arguments: Any) -> Any:
        """Run compiled by numba (kept on disk for the next program where a folder can be written)."""
        if self._compiled is None:
            import numba

            try:
                self._compiled = numba.njit(cache=True, nogil=True)(self.python)
            except RuntimeError:  # numba found no folder to write its cache to
                self._compiled = numba.njit(nogil=True)(self.python)
        return self._compiled(*arguments)


@functools.cache
def _installed() -> bool:
    try:
        import numba  # noqa: F401
    except ImportError:
        return False
    return True


def _is_input(value: Any) -> bool:
    return isinstance(value, np.ndarray) and not value.flags.writeable


def frozen(array: Any) -> Any:
    """A contiguous read-only view of an array: how a Loop tells what goes in from what comes out."""
    view = np.ascontiguousarray(array).view()
    view.flags.writeable = False
    return view
