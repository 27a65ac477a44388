"""Everything in the spool reaches the server exactly once, and leaves the spool only then."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from capture.agent import upload
from capture.agent.spool import Epoch, Recorder, Spool
from capture.agent.upload import Uploader
from tests.capture.agent.harness import Ingest, eventually
from tests.capture.agent.test_spool import RECORDING, STREAMS, Clock, gaze


class Desk:
    """A recorder and an uploader on one event loop, as in the agent."""

    def __init__(self, root: Path) -> None:
        loop = asyncio.get_running_loop()
        self.clock = Clock()
        self.spool = Spool(root)
        self.uploader = Uploader()
        self.recorder = Recorder(self.spool, self.clock, lambda: loop.call_soon_threadsafe(self.uploader.wake))
        self.fed = 0

    def start(self, ingest: Ingest, token: str = "token") -> Epoch:
        self.clock.now = 100 + self.fed / 120
        epoch = self.recorder.start(RECORDING, token, ingest.url, STREAMS)
        self.uploader.submit(epoch)
        return epoch

    def feed(self, n: int) -> None:
        samples = gaze(self.fed, n)
        self.fed += n
        self.clock.now = samples[-1, 0]
        self.recorder.gaze(samples)
        self.recorder.clock(np.array([[self.clock.now, -1e-5, 1e-4, 0.0]]))


@pytest.fixture
async def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Desk]:
    monkeypatch.setattr(upload, "PAUSE_S", (0.02, 0.1))
    desk = Desk(tmp_path / "spool")
    yield desk
    await desk.uploader.close(0)
    desk.recorder.close()


async def test_a_recording_is_stored_sealed_and_then_deleted(desk: Desk, ingest: Ingest) -> None:
    epoch = desk.start(ingest)
    for _ in range(20):
        desk.feed(60)
    produced = (epoch.folder / "1.gzr").read_bytes()
    summary = desk.recorder.stop(0)
    await eventually(lambda: ingest.sealed)
    await eventually(lambda: not epoch.folder.exists())
    stored = b"".join(ingest.frames(RECORDING))
    assert stored.startswith(produced) and len(ingest.frames(RECORDING)) == summary.frames
    assert np.array_equal(ingest.samples(RECORDING), gaze(0, 1200))
    assert len(ingest.samples(RECORDING, stream=2)) == 20
    (end,) = ingest.ends
    assert end["streams"]["1"]["sha256"] == hashlib.sha256(stored).hexdigest()
    assert (ingest.begins[0]["streams"], ingest.duplicates) == (STREAMS, 0)
    assert list(desk.spool.root.glob("*/")) == []


@pytest.mark.parametrize("seed", range(4))
async def test_killed_servers_torn_connections_and_lost_frames_change_nothing(
    desk: Desk, ingest: Ingest, seed: int
) -> None:
    ingest.chaos = random.Random(seed)
    epoch = desk.start(ingest)
    for k in range(40):
        desk.feed(240)
        epoch.sync()
        desk.uploader.wake()
        await asyncio.sleep(0.01)
        if k % 12 == 11:
            await ingest.kill()
            await asyncio.sleep(0.1)
            await ingest.start()
    digest = epoch.files[1].sha256
    frames = epoch.files[1].frames
    desk.recorder.stop(0)
    await asyncio.sleep(0.2)
    ingest.chaos = None
    await eventually(lambda: not epoch.folder.exists())
    assert ingest.connections > 4 and ingest.rewinds > 0
    assert hashlib.sha256(b"".join(ingest.frames(RECORDING)[:frames])).hexdigest() == digest
    assert np.array_equal(ingest.samples(RECORDING), gaze(0, 9600))
    assert len(ingest.sealed) == 1


@pytest.mark.parametrize("times", [1, 3])
async def test_frames_the_server_lost_are_sent_again_on_the_same_connection(
    desk: Desk, ingest: Ingest, times: int
) -> None:
    ingest.forgets = [30] * times
    epoch = desk.start(ingest)
    desk.feed(1200)
    desk.recorder.stop(0)
    await eventually(lambda: not epoch.folder.exists())
    assert np.array_equal(ingest.samples(RECORDING), gaze(0, 1200))
    assert ingest.connections == 1 and ingest.rewinds > 0 and ingest.forgets == []


async def test_a_server_that_comes_back_after_the_read_gets_it_all(desk: Desk, ingest: Ingest) -> None:
    await ingest.kill()
    epoch = desk.start(ingest)
    for _ in range(20):
        desk.feed(1200)
    desk.recorder.stop(0)
    await asyncio.sleep(0.3)
    assert desk.uploader.pending_frames == epoch.files[1].frames + 20
    await ingest.start()
    await eventually(lambda: not epoch.folder.exists())
    assert np.array_equal(ingest.samples(RECORDING), gaze(0, 24_000))
    assert desk.uploader.pending_frames == 0


async def test_nothing_is_sent_that_is_not_durable_here(desk: Desk, ingest: Ingest) -> None:
    epoch = desk.start(ingest)
    epoch.sync = lambda: None  # type: ignore[method-assign]
    desk.feed(600)
    desk.uploader.wake()
    await eventually(lambda: ingest.begins)
    await asyncio.sleep(0.2)
    assert (epoch.files[1].frames, len(ingest.frames(RECORDING))) == (49, 0)
    epoch.files[1].sync()
    desk.uploader.wake()
    await eventually(lambda: len(ingest.frames(RECORDING)) == 49)
    assert desk.uploader.uploaded == 49


async def test_the_spool_is_kept_until_the_server_says_sealed(desk: Desk, ingest: Ingest) -> None:
    ingest.withhold_seal = True
    epoch = desk.start(ingest)
    desk.feed(600)
    desk.recorder.stop(0)
    await eventually(lambda: ingest.ends)
    await asyncio.sleep(0.2)
    assert (epoch.folder / "1.gzr").exists()
    ingest.withhold_seal = False
    await ingest.kill()
    await ingest.start()
    await eventually(lambda: not epoch.folder.exists())


async def test_a_refused_token_is_kept_and_told_and_not_tried_at_full_speed(desk: Desk, ingest: Ingest) -> None:
    epoch = desk.start(ingest, token="stale")
    desk.feed(600)
    desk.recorder.stop(0)
    await eventually(lambda: desk.uploader.refused)
    await asyncio.sleep(0.5)
    assert ingest.connections == 1
    (sentence,) = desk.uploader.refused
    assert sentence == (
        f"The server refuses recording {RECORDING}: it answered HTTP 401 (is the recording's token still valid?)."
    )
    kept = json.loads((epoch.folder / "recording.json").read_text())
    assert (kept["state"], kept["reason"]) == ("refused", sentence)
    desk.uploader.renew(RECORDING, "token", ingest.url)
    await eventually(lambda: not epoch.folder.exists())
    assert np.array_equal(ingest.samples(RECORDING), gaze(0, 600))


async def test_the_servers_own_sentence_is_told(desk: Desk, ingest: Ingest) -> None:
    ingest.error = "The read was withdrawn."
    epoch = desk.start(ingest)
    await eventually(lambda: desk.uploader.refused)
    assert desk.uploader.refused == [f"The server refuses recording {RECORDING}: The read was withdrawn."]
    desk.feed(120)
    assert desk.recorder.stop(0).samples == 120
    assert epoch.folder.exists()


async def test_a_server_that_holds_more_than_the_station_is_an_error(desk: Desk, ingest: Ingest) -> None:
    epoch = desk.start(ingest)
    ingest.stored[(RECORDING, str(epoch.epoch), 1)] = [b"?"] * 7
    await eventually(lambda: desk.uploader.refused)
    assert "it holds 7 frames of stream 1, this station only 0." in desk.uploader.refused[0]


async def test_what_an_earlier_agent_left_is_delivered(desk: Desk, ingest: Ingest, tmp_path: Path) -> None:
    epoch = desk.recorder.start(RECORDING, "token", ingest.url, STREAMS)
    desk.feed(600)
    epoch.close()  # the agent dies
    desk.spool.close()
    frames = epoch.files[1].frames
    (left,) = Spool(desk.spool.root).pending()
    desk.uploader.submit(left)
    await eventually(lambda: ingest.sealed)
    assert np.array_equal(ingest.samples(RECORDING), gaze(0, frames * 12))
    assert ingest.ends[0]["interrupted"] is True
