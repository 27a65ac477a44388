"""The tracker's gaze for third parties: an LSL outlet that says everything a recorder needs to know.

A stream of type Gaze with the 30 channels of `capture.frames.GAZE_CHANNELS`, their types, units and eyes, the tracker
and its display. Its source id is `gazeroom-<serial>-gaze`; `capture.agent.lsl.is_republished` knows it by that, so that
no agent ever takes it for a tracker. What is on the screen is on the companion stream `gazeroom-stimulus` (JSON).

Only what a recording has written to its spool is published, a tenth of a second behind the tracker. Times are on this
machine's LSL clock.
"""

from __future__ import annotations

import logging
import socket
from typing import Any

import numpy as np

from capture.agent import lsl
from capture.agent.sources.base import Array, Tracker

log = logging.getLogger(__name__)


def source_id(tracker: Tracker) -> str:
    """`gazeroom-<serial>-gaze`: stable for a tracker, whatever it calls its own stream."""
    serial = "".join(c if c.isalnum() or c in "-_." else "-" for c in tracker.serial) or "tracker"
    return f"{lsl.REPUBLISHED}{serial}-gaze"


class Outlet:
    """Re-publishes one tracker at a time. `describe` belongs to the source's thread, `push` to whoever writes."""

    def __init__(self) -> None:
        self._pylsl = lsl.load()
        self._outlet: Any = None
        self._described: Any = None

    def describe(self, tracker: Tracker) -> None:
        """Publish this tracker from now on. The same one again keeps its outlet, and with it those who listen."""
        described = (tracker.identity, tracker.rate_hz, sorted(tracker.acquisition.items()))
        if described == self._described:
            return
        self._outlet = None  # its end is announced before the next begins
        info = lsl.gaze_info(
            name=f"{tracker.name} (Gazeroom)",
            source_id=source_id(tracker),
            rate_hz=tracker.rate_hz,
            display=tracker.display,
            acquisition={
                **tracker.acquisition,
                "serial_number": tracker.serial,
                "source_id": tracker.source_id,
                "clock": tracker.clock,
                "republished_by": f"gazeroom-agent on {socket.gethostname()}",
            },
        )
        synchronization = info.desc().append_child("synchronization")
        synchronization.append_child_value("time_source", "the tracker's own times on this machine's LSL clock")
        synchronization.append_child_value("can_drop_samples", "false")
        self._outlet, self._described = self._pylsl.StreamOutlet(info), described

    def push(self, samples: Array, correction: float) -> None:
        """Publish samples [n, 31] whose times are `correction` seconds behind this machine's LSL clock.

        Below a millisecond the correction is the noise of measuring a clock against itself: times stay as they are.
        Samples without a time cannot be published.
        """
        rows, outlet = samples[np.isfinite(samples[:, 0])], self._outlet
        if outlet is None or not len(rows):
            return
        times = rows[:, 0] if abs(correction) < 1e-3 else rows[:, 0] + correction
        outlet.push_chunk(np.ascontiguousarray(rows[:, 1:]), times.tolist())
