"""The uploader against the site's own ingest socket, served as it is in production."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvicorn
from channels.routing import ProtocolTypeRouter, URLRouter

from capture.agent import upload
from capture.agent.spool import Epoch, Recorder, Spool
from capture.agent.upload import Uploader
from capture.frames import GAZE, read_frames
from capture.models import Recording, Segment
from capture.routing import station_urlpatterns
from capture.services import recordings
from study.services import reading
from tests.capture.agent.harness import eventually, free_port
from tests.capture.agent.test_spool import Clock, gaze
from tests.factories import make_study

pytestmark = pytest.mark.django_db(transaction=True)


class Site:
    """The ingest socket under uvicorn on a port of its own; `stop` breaks all connections."""

    def __init__(self) -> None:
        self.port = free_port()

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws/ingest/"

    def start(self) -> None:
        application = ProtocolTypeRouter({"websocket": URLRouter(station_urlpatterns)})
        config = uvicorn.Config(
            application, port=self.port, lifespan="off", log_level="warning", ws="websockets-sansio", log_config=None
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(10)


@pytest.fixture
def site(data_dir: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    from capture.tasks import process_recording

    # There is no broker here.
    monkeypatch.setattr(process_recording, "apply_async", lambda **_: None)
    site = Site()
    site.start()
    yield site
    site.stop()


def test_a_recording_interrupted_by_a_restart_of_the_site_is_stored_once_and_sealed(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload, "PAUSE_S", (0.05, 0.2))
    enrolment = make_study(gaze="optional", consented=True).enrolments.get()
    recording, token = recordings.open_recording(read=reading.open_next(enrolment=enrolment, actor=enrolment.user))

    async def deliver() -> tuple[list[str], Epoch]:
        loop = asyncio.get_running_loop()
        uploader, clock = Uploader(), Clock()
        recorder = Recorder(Spool(tmp_path / "spool"), clock, lambda: loop.call_soon_threadsafe(uploader.wake))
        streams = {"1": {"rate_hz": 120.0}, "2": {}}

        def feed(first: int) -> None:
            samples = gaze(first, 600)
            clock.now = samples[-1, 0]
            recorder.gaze(samples)
            recorder.clock(np.array([[clock.now, -1e-5, 1e-4, 0.0]]))

        epoch = recorder.start(str(recording.pk), "a token of nobody", site.url, streams)
        uploader.submit(epoch)
        await eventually(lambda: uploader.refused)
        refused = uploader.refused
        uploader.renew(str(recording.pk), token, site.url)
        for k in range(8):
            await asyncio.to_thread(feed, 600 * k)
            epoch.sync()
            uploader.wake()
            await asyncio.sleep(0.1)
            if k == 3:
                await asyncio.to_thread(site.stop)
                site.start()
        await asyncio.to_thread(recorder.stop, 0)
        await eventually(lambda: not epoch.folder.exists(), 20)
        recorder.close()
        await uploader.close(0)
        return refused, epoch

    refused, epoch = asyncio.run(deliver())
    assert "it answered HTTP 403 (is the recording's token still valid?)" in refused[0]
    recording = Recording.objects.get(pk=recording.pk)
    assert recording.state == Recording.State.SEALED
    assert epoch.until is not None and recording.epochs[str(epoch.epoch)]["until"] == epoch.until
    segment = Segment.objects.get(recording=recording, stream=GAZE)
    stored = np.concatenate([frame.samples for frame in read_frames(segment.file)])
    assert np.array_equal(stored, gaze(0, 4800))
    assert Segment.objects.filter(recording=recording).count() == 2
