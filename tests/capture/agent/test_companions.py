"""Further streams of the station are recorded beside the gaze: every sample once, as it was sent."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest

from capture.frames import read_frames
from tests.capture.agent.harness import FRAME_NUMBER, ROOT, Ingest, Station, eventually, spooled

NOWHERE = "ws://127.0.0.1:9/ws/ingest/"

#: Two outlets with numbered samples on a grid of times that the test can compute again; it says the grid's start.
OUTLETS = """
import sys, time
import numpy as np
from capture.agent import lsl
pylsl = lsl.load()
RATE, N = 300.0, 8
outlets = []
for k, name in enumerate(("pupil", "trigger")):
    info = pylsl.StreamInfo(name, "Extra", 3, RATE, pylsl.cf_double64, f"test-{name}")
    channels = info.desc().append_child("channels")
    for label, kind in (("Number", "SequenceNumber"), ("A", "Misc"), ("B", "Misc")):
        channel = channels.append_child("channel")
        channel.append_child_value("label", label)
        channel.append_child_value("type", kind)
    outlets.append(pylsl.StreamOutlet(info))
start = pylsl.local_clock()
print(repr(start), flush=True)
k = 0
while True:
    while start + (k + N - 1) / RATE > pylsl.local_clock():  # nobody measures ahead of time
        time.sleep(0.005)
    i = np.arange(k, k + N)
    for s, outlet in enumerate(outlets):
        outlet.push_chunk(np.column_stack([i, np.sqrt(i + s), -i / 3.0]), (start + i / RATE).tolist())
    k += N
"""


@pytest.fixture
def outlets(station: Station) -> Iterator[float]:
    process = subprocess.Popen(
        [sys.executable, "-c", OUTLETS], cwd=ROOT, env=station._environment, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    yield float(process.stdout.readline())
    process.kill()
    process.wait()


async def test_every_sample_of_a_companion_within_the_recording_is_stored_once_and_bit_for_bit(
    station: Station, ingest: Ingest, outlets: float
) -> None:
    station.agent("--also", "pupil", "--also", "trigger")
    station.simulator()
    page = await station.page()
    while sum(one["connected"] for one in (await page.heard("status"))["companions"]) < 2:
        pass
    recording = (await page.start(ingest.url))["recording"]
    while (await page.heard("status"))["uploaded"] < 5:
        pass
    await page.stop()
    await eventually(lambda: ingest.sealed, 60)
    began, until = ingest.begins[0]["began"]["lsl"], ingest.ends[0]["until"]
    told = {one["name"]: (int(s), one) for s, one in ingest.begins[0]["streams"].items() if int(s) >= 16}
    assert set(told) == {"pupil", "trigger"} and not ingest.ends[0]["gaps"]
    for s, name in enumerate(("pupil", "trigger")):
        stream, described = told[name]
        assert described["labels"] == ["Number", "A", "B"] and described["sequence"] == 0
        i = np.arange(int((until - outlets) * 300) + 20)
        t = outlets + i / 300.0
        i = i[(t >= began) & (t <= until)]
        sent = np.column_stack([outlets + i / 300.0, i, np.sqrt(i + s), -i / 3.0])
        assert np.array_equal(ingest.samples(recording, stream), sent)


async def test_a_companion_that_comes_later_is_recorded_from_then_on_in_a_new_epoch(station: Station) -> None:
    station.agent("--also", "late")
    station.simulator()
    page = await station.page()
    recording = (await page.start(NOWHERE))["recording"]
    code = OUTLETS.replace('("pupil", "trigger")', '("late",)')
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=station._environment)
    try:
        while not any(one["connected"] for one in (await page.heard("status"))["companions"]):
            pass
        await eventually(lambda: [p for p in (station.spool / recording).glob("*/16.gzr") if p.stat().st_size], 60)
        await page.stop()
    finally:
        process.kill()
        process.wait()
    assert np.all(np.diff(spooled(station.spool, recording, 16)[:, 1]) == 1)
    parts = [np.concatenate([f.samples for f in read_frames(p)]) for p in (station.spool / recording).glob("*/1.gzr")]
    assert len(parts) == 2
    numbers = np.concatenate([part[:, FRAME_NUMBER] for part in sorted(parts, key=lambda part: part[0, 0])])
    assert np.all(np.diff(numbers) == 1)  # the gaze lost nothing in between
