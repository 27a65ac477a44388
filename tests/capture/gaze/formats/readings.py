"""Readings with known truth for the tests of formats."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from capture.frames import GAZE_CHANNELS
from capture.gaze.display import Display
from capture.gaze.formats.reading import Reading
from capture.gaze.formats.xdf_reading import raw_stream
from capture.gaze.mapping import ViewportStates
from capture.gaze.track import build_track

DISPLAY = Display(1920, 1080, 527, 296, 650)
SIZE = (1000, 800)  # rows, columns


def gaze_rows(t: Any, screen_px: Any, rng: np.random.Generator) -> np.ndarray:
    """Rows [N, 31] of a tracker whose two eyes differ by a little."""
    rows = np.full((len(t), 1 + len(GAZE_CHANNELS)), np.nan)
    rows[:, 0] = t
    for eye, side in (("Left", -3.0), ("Right", 3.0)):
        xy = (screen_px + np.array([side, 0.0])) / (DISPLAY.width_px, DISPLAY.height_px)
        good = np.isfinite(xy).all(axis=1)
        for i, name in enumerate(("ScreenX", "ScreenY")):
            rows[:, 1 + GAZE_CHANNELS.index(eye + name)] = xy[:, i]
        rows[:, 1 + GAZE_CHANNELS.index(f"{eye}ScreenValid")] = good
        rows[:, 1 + GAZE_CHANNELS.index(f"{eye}Diameter")] = np.where(good, rng.uniform(2.5, 4.0, len(t)), np.nan)
        rows[:, 1 + GAZE_CHANNELS.index(f"{eye}DiameterValid")] = good
    rows[:, 1 + GAZE_CHANNELS.index("FrameNumber")] = np.arange(len(t))
    return rows


def viewport(rng: np.random.Generator, origin: float, seconds: float, views: int, still: bool) -> ViewportStates:
    """Zooms, pans, windows and a moment without the image."""
    records, times = [], []
    for i in range(views):
        zoom = float(rng.uniform(0.6, 3.0))
        cx, cy = rng.uniform(200, 600), rng.uniform(250, 750)
        if still:
            zoom, cx, cy = 1.0, 400.0, 480.0
        records.append(
            {
                "seq": i, "a": [zoom, 0.0, 0.0, zoom, 900 - zoom * cx, 500 - zoom * cy], "rect": [100, 20, 1700, 1000],
                "dpr": 1.0, "screenX": 10.0, "screenY": 5.0, "visible": still or i != 2, "focus": i % 2 == 0,
                "view": {"ww": float(rng.uniform(200, 4000)), "wc": float(rng.uniform(0, 2000))},
            }
        )  # fmt: skip
        times.append(origin + seconds * i / views)
    return ViewportStates.from_records(records, times, rows=SIZE[0], columns=SIZE[1], display=DISPLAY)


def make_reading(
    seed: int = 0,
    *,
    rate: float = 250.0,
    seconds: float = 4.0,
    views: int = 4,
    still: bool = False,
    **changes: Any,
) -> Reading:
    """An eye that fixates three places a second and loses the tracker at times, under a moving view.

    `still`: the whole image lies on the screen all the time, and is looked at.
    """
    rng = np.random.default_rng(seed)
    origin = float(rng.uniform(1_000, 90_000))
    n = max(8, int(rate * seconds))
    t = origin + np.arange(n) / rate
    looks = max(1, int(seconds * 3))
    low, high = ((520, 50), (1280, 1000)) if still else ((150, 60), (1750, 1000))
    places = rng.uniform(low, high, (looks, 2))
    screen = places[np.minimum(np.arange(n) * looks // n, looks - 1)] + rng.normal(0, 1.5, (n, 2))
    for _ in range(int(seconds)):
        gone = int(rng.integers(0, n))
        screen[gone : gone + int(0.03 * n)] = np.nan
    if not np.isfinite(screen[: n // 2]).any():
        screen[0] = places[0]
    rows = gaze_rows(t, screen, rng)
    track = build_track(rows, states=viewport(rng, origin, seconds, views, still))
    clock = np.column_stack(
        [origin + np.arange(0, seconds, 1.0), rng.normal(-2e-5, 1e-6, len(np.arange(0, seconds, 1.0)))]
    )
    clock = np.column_stack([clock, np.full(len(clock), 1e-5), clock[:, 0] - 5e-5])
    channels = [(label, label, "", "") for label in GAZE_CHANNELS]
    raw = raw_stream(
        name="gaze", kind="Gaze", samples=rows, channels=channels, rate_hz=rate, clock=clock, source_id="tobii-1-gaze",
        acquisition={"manufacturer": "Tobii & <Co>", "model": "Spectrum"}, display=DISPLAY.to_dict(),
    )  # fmt: skip
    given: dict[str, Any] = {
        "id": "R01-C-1-abcd", "reader": "R01", "image": "image-7", "patient": "P-9", "study": "lung-gaze",
        "sentences": (("The lungs are clear.", 0.25, 1.75), ("Heart, normal in size.", 1.9, 3.5)), "raw": (raw,),
        "info": {"acquisition": {"manufacturer": "Tobii", "model": "Spectrum"}, "calibration": {"accuracy_deg": 0.41}},
        **changes,
    }  # fmt: skip
    return Reading(track=track, **given)


readings = st.builds(
    make_reading,
    st.integers(0, 10_000),
    rate=st.sampled_from([60.0, 250.0, 600.0, 1200.0]),
    seconds=st.sampled_from([0.5, 1.5]),
    views=st.integers(1, 5),
)
#: Under a view that stays, for formats that hold no views.
still_readings = st.builds(
    make_reading,
    st.integers(0, 10_000),
    rate=st.sampled_from([60.0, 250.0, 1200.0]),
    seconds=st.sampled_from([0.5, 1.5]),
    still=st.just(True),
)
