"""What a difficult tracker sends, from the recorder to the site's own store."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from capture.agent.spool import Recorder, Spool
from capture.agent.upload import Uploader
from capture.frames import GAZE, SOURCE, read_frames
from capture.models import Recording, Segment
from capture.services import recordings
from study.services import reading
from tests.capture.agent.harness import eventually
from tests.capture.agent.test_spool import Clock, gaze
from tests.capture.agent.test_upload_to_the_site import Site, site
from tests.factories import make_study

pytestmark = pytest.mark.django_db(transaction=True)
assert site  # the fixture


def test_bad_times_channels_beside_the_gaze_and_a_new_rate_all_reach_the_store(site: Site, tmp_path: Path) -> None:
    enrolment = make_study(gaze="optional", consented=True).enrolments.get()
    recording, token = recordings.open_recording(read=reading.open_next(enrolment=enrolment, actor=enrolment.user))
    sent, beside = gaze(0, 1200), np.column_stack([gaze(0, 1200)[:, 0], 7.0 + np.arange(1200)])
    # No time at the very start, within, and at the end; one that goes back, one that is repeated.
    for k in (0, 300, 599, 600, 1199):
        sent[k, 0] = np.nan
    sent[400, 0] -= 200.0  # to before the recording began
    sent[451, 0] = sent[450, 0]
    beside[:, 0] = sent[:, 0]

    folder = tmp_path / "spool"

    def streams(rate: float) -> dict[str, Any]:
        return {"1": {"rate_hz": rate}, "2": {}, "3": {"labels": ["system_time_stamp"], "units": ["us"]}}

    async def deliver() -> None:
        loop = asyncio.get_running_loop()
        uploader, clock = Uploader(), Clock()
        clock.now = gaze(0, 1)[0, 0]
        spool = Spool(folder)
        recorder = Recorder(spool, clock, lambda: loop.call_soon_threadsafe(uploader.wake))
        first = recorder.start(str(recording.pk), token, site.url, streams(120.0))
        uploader.submit(first)
        recorder.clock(np.array([[clock.now, -1e-5, 1e-4, 0.0]]))
        for k in range(0, 1200, 100):
            clock.now = float(np.nanmax(gaze(0, 1200)[k : k + 100, 0]))
            if k == 600:
                recorder.note({"t": clock.now, "kind": "rate", "text": "It was set to another rate.", "fault": True})
                second = recorder.roll(streams(60.0))
                assert second is not None and recorder.roll(streams(60.0)) is None
                uploader.submit(second)
            recorder.gaze(sent[k : k + 100], 0.0, beside[k : k + 100])
        clock.now += 0.01
        summary = await asyncio.to_thread(recorder.stop, 0)
        assert summary.samples == 1200
        uploader.wake()
        await eventually(lambda: not list(folder.glob("*/*/recording.json")), 20)
        recorder.close()
        await uploader.close(0)
        spool.close()

    asyncio.run(deliver())
    stored = Recording.objects.get(pk=recording.pk)
    assert stored.state == Recording.State.SEALED and len(stored.epochs) == 2
    whole = {}
    for stream in (GAZE, SOURCE):
        segments = Segment.objects.filter(recording=recording, stream=stream)
        rows = [np.concatenate([f.samples for f in read_frames(s.file)]) for s in segments]
        # In the order of the epochs: the first has the rate that was first.
        rates = [stored.epochs[str(s.epoch)]["streams"]["1"]["rate_hz"] for s in segments]
        whole[stream] = np.concatenate([rows[i] for i in np.argsort(rates)[::-1]])
    assert np.array_equal(whole[GAZE], sent, equal_nan=True)
    assert np.array_equal(whole[SOURCE], beside, equal_nan=True)
    notes = [note for about in stored.epochs.values() for note in about.get("notes", [])]
    assert [note["text"] for note in notes] == ["It was set to another rate."]
