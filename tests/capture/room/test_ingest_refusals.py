"""What no well-behaved station sends: each is refused in a sentence, loses nothing, mixes nothing, leaves no half."""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
import zlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pytest
from asgiref.sync import sync_to_async
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from capture.agent import upload
from capture.agent.spool import Epoch, Spool
from capture.agent.upload import Uploader
from capture.frames import CLOCK, FIRST_COMPANION, GAZE, HEADER_SIZE, MAX_SAMPLE_BYTES, Frame, encode, read_frames
from capture.models import Gap, Recording, Segment, Station
from capture.services import recordings, stations
from capture.services.store import frame_path
from study.models import Read
from study.services import reading
from study.site.asgi import application
from tests.capture.agent.harness import eventually
from tests.factories import make_study

from .sockets import WebsocketCommunicator
from .synthetic import STREAMS, column, end_of, gaze_frames, gaze_samples, store_epoch
from .test_sockets import Agent, page, some_states

pytestmark = pytest.mark.django_db(transaction=True)

COMPANION = FIRST_COMPANION
ANNOUNCED = {**STREAMS, str(COMPANION): {"name": "mouse", "rate_hz": 100.0, "labels": ["x", "y"]}}


@pytest.fixture
def rows() -> np.ndarray:
    t = 1000 + np.arange(300) / 300
    return gaze_samples(t, np.random.default_rng(0).uniform(0, 1, (300, 2)))


@pytest.fixture
def opened(read: Read) -> tuple[Recording, str]:
    return recordings.open_recording(read=read)


@pytest.fixture
def bystander(rows: np.ndarray) -> Recording:
    """Somebody else's recording, with an epoch that is sealed and one that is not."""
    enrolment = make_study(gaze="optional", consented=True).enrolments.get()
    recording, _ = recordings.open_recording(read=reading.open_next(enrolment=enrolment, actor=enrolment.user))
    store_epoch(recording, rows[:90])
    store_epoch(recording, rows[120:], sealed=False)
    recording.refresh_from_db()
    return recording


@sync_to_async
def everything(recording: Recording) -> dict[str, Any]:
    """All that is kept of a recording, in files and in rows."""
    recording = Recording.objects.get(pk=recording.pk)
    folder = Path(recording.folder)
    return {
        "files": {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()} if folder.exists() else {},
        "epochs": recording.epochs,
        "state": recording.state,
        "segments": list(Segment.objects.filter(recording=recording).order_by("pk").values()),
        "gaps": list(Gap.objects.filter(recording=recording).order_by("pk").values()),
    }


async def asked(agent: Agent, message: bytes | dict[str, Any]) -> dict[str, Any]:
    return await (agent.send(message) if isinstance(message, bytes) else agent.ask(message))


def forged(frame: bytes, samples: int) -> bytes:
    """A frame whose header claims so many samples, with the CRC of that claim."""
    body = bytearray(frame[:-4])
    struct.pack_into("<I", body, HEADER_SIZE - 24, samples)
    return bytes(body) + struct.pack("<I", zlib.crc32(body))


#: What comes after five good gaze frames of the epoch, and words of the answer.
BAD_FRAMES: dict[str, tuple[Callable[[list[bytes], UUID], bytes], str]] = {
    "a gaze channel short": (
        lambda good, epoch: encode(Frame(GAZE, epoch, 5, np.zeros((30, 30)))),
        "Frame 5 of stream 1 has 29 channels, but epoch {epoch} announced 30.",
    ),
    "a clock channel too many": (
        lambda good, epoch: encode(Frame(CLOCK, epoch, 0, np.zeros((1, 5)))),
        "Frame 0 of stream 2 has 4 channels, but epoch {epoch} announced 3.",
    ),
    "a companion of other channels": (
        lambda good, epoch: encode(Frame(COMPANION, epoch, 0, np.zeros((1, 4)))),
        "Frame 0 of stream 16 has 3 channels, but epoch {epoch} announced 2.",
    ),
    "a stream nobody announced": (
        lambda good, epoch: encode(Frame(COMPANION + 1, epoch, 0, np.zeros((1, 3)))),
        "Stream 17 was not announced.",
    ),
    "a stream number there is not": (
        lambda good, epoch: encode(Frame(9, epoch, 0, np.zeros((1, 3)))),
        "Stream 9 was not announced.",
    ),
    "more samples than a frame holds": (
        lambda good, epoch: forged(good[5], MAX_SAMPLE_BYTES // (31 * 8) + 1),
        "Frame 5 of stream 1 claims 270601 samples of 30 channels, which no frame holds.",
    ),
    "more samples than its payload": (
        lambda good, epoch: forged(good[5], 31),
        "Frame 5 of stream 1 does not unpack to its 31 samples of 30 channels.",
    ),
    "two frames in one message": (
        lambda good, epoch: good[5] + good[6],
        "bytes that do not belong to it",
    ),
    "half a frame": (lambda good, epoch: good[5][:-9], "Frame 5 of stream 1 is cut off"),
    "no frame": (lambda good, epoch: b"\x89PNG\r\n" + bytes(80), "Not a Gazeroom frame"),
    "a frame of another epoch": (
        lambda good, epoch: encode(Frame(GAZE, UUID(int=7), 5, np.zeros((30, 31)))),
        f"A frame of epoch {UUID(int=7)} was sent into epoch {{epoch}}.",
    ),
}


@pytest.mark.parametrize("case", BAD_FRAMES)
async def test_a_bad_frame_is_refused_and_the_epoch_goes_on_without_it(
    case: str, opened: Any, bystander: Recording, rows: np.ndarray
) -> None:
    make, words = BAD_FRAMES[case]
    recording, token = opened
    others = await everything(bystander)
    agent = Agent(token, recording, uuid4())
    frames = gaze_frames(rows, agent.epoch)
    await agent.connect()
    await agent.begin(streams=ANNOUNCED)
    await agent.send(*frames[:5])
    before = await everything(recording)
    answer = await asked(agent, make(frames, agent.epoch))
    assert answer["op"] == "error"
    assert words.format(epoch=agent.epoch) in answer["sentence"]
    await agent.close()
    assert await everything(recording) == before

    again = Agent(token, recording, agent.epoch)
    await again.connect()
    assert (await again.begin(streams=ANNOUNCED))["from"] == {"1": 5, "2": 0, "16": 0}
    await again.send(*frames[5:])
    assert await again.ask({"op": "end", "streams": end_of(frames)}) == {"op": "sealed"}
    await again.close()
    assert frame_path(recording.folder, GAZE, agent.epoch).read_bytes() == b"".join(frames)
    assert await everything(bystander) == others


async def test_a_companion_that_announced_no_labels_keeps_the_channels_of_its_first_frame(opened: Any) -> None:
    recording, token = opened
    agent = Agent(token, recording, uuid4())
    streams = {**STREAMS, "16": {"name": "mouse"}}
    narrow, wide = (encode(Frame(16, agent.epoch, i, np.ones((2, 3 + i)))) for i in (0, 1))
    for attempt in range(2):  # within a connection, and after one
        await agent.connect()
        await agent.begin(streams=streams)
        if attempt == 0:
            await agent.send(narrow)
        answer = await asked(agent, wide)
        assert answer["sentence"] == "Frame 1 of stream 16 has 3 channels, but those before it have 2."
        await agent.close()
        agent = Agent(token, recording, agent.epoch)
    assert frame_path(recording.folder, 16, agent.epoch).read_bytes() == narrow


BAD_ENDS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "another SHA-256": (lambda end: end["1"].update(sha256="0" * 64), "not what the agent spooled (SHA-256)"),
    "frames without end": (lambda end: end["1"].update(frames=float("inf")), "names no frames and sha256"),
    "frames below none": (lambda end: end["1"].update(frames=-1), "10 frames are stored, the agent has -1"),
    "a list": (lambda end: end.update({"1": []}), "names no frames and sha256"),
    "a stream of nobody's": (lambda end: end.update({"17": end["1"]}), "0 frames are stored, the agent has 10"),
    "nothing": (lambda end: end.clear(), "does not mention stream 1"),
}


@pytest.mark.parametrize("case", BAD_ENDS)
async def test_a_wrong_end_seals_nothing_and_the_right_one_then_does(
    case: str, opened: Any, bystander: Recording, rows: np.ndarray
) -> None:
    spoil, words = BAD_ENDS[case]
    recording, token = opened
    others = await everything(bystander)
    agent = Agent(token, recording, uuid4())
    frames = gaze_frames(rows, agent.epoch)
    await agent.connect()
    await agent.begin()
    await agent.send(*frames)
    before = await everything(recording)
    told = end_of(frames)
    spoil(told)
    answer = await agent.ask({"op": "end", "streams": told})
    assert answer["op"] == "error" and words in answer["sentence"]
    assert await everything(recording) == before
    assert await agent.ask({"op": "end", "streams": end_of(frames)}) == {"op": "sealed"}
    await agent.close()
    assert await everything(bystander) == others


@pytest.mark.parametrize(
    "gap",
    [
        {"stream": [1], "t0": 1.0, "t1": 2.0},
        {"stream": 1, "t0": 10**400, "t1": 2.0},
        {"stream": 1, "t0": "soon", "t1": float("nan")},
        {"stream": 1, "t0": 1.0, "t1": 2.0, "place": 10**400, "after_frame": 10**400},
        "none",
    ],
    ids=["a list for a stream", "400 digits", "text", "a place beyond all", "no gap"],
)
async def test_a_gap_report_that_is_none_does_not_keep_the_recording_open(
    gap: Any, opened: Any, rows: np.ndarray
) -> None:
    recording, token = opened
    agent = Agent(token, recording, uuid4())
    frames = gaze_frames(rows, agent.epoch)
    await agent.connect()
    await agent.begin()
    await agent.send(*frames)
    end = {"op": "end", "streams": end_of(frames), "gaps": [gap], "notes": [{"t": 10**400}], "until": 10**400}
    assert await agent.ask(end) == {"op": "sealed"}
    await agent.close()
    about = (await everything(recording))["epochs"][str(agent.epoch)]
    assert about.keys().isdisjoint({"notes", "until", "faults"})


BAD_BEGINS: dict[str, tuple[dict[str, Any], str]] = {
    "a stream number there is not": ({"streams": {"1": {}, "9": {}}}, "these were announced: ['1', '9']"),
    "a number too high": ({"streams": {"80": {}}}, "companions from 16 to 79"),
    "a number written otherwise": ({"streams": {"01": {}}}, "these were announced: ['01']"),
    "a number of 5000 digits": ({"streams": {"1" * 5000: {}}}, "these were announced"),
    "no streams": ({"streams": {}}, "these were announced: []"),
    "a list of streams": ({"streams": [1, 2]}, "begin announces its streams."),
    "a rate of 400 digits": ({"streams": {"1": {"rate_hz": 10**400}}}, "finite numbers and text without NUL"),
    "no epoch": ({"epoch": "today"}, "begin names no epoch."),
}


@pytest.mark.parametrize("case", BAD_BEGINS)
async def test_a_wrong_begin_leaves_no_trace(case: str, opened: Any, bystander: Recording) -> None:
    changes, words = BAD_BEGINS[case]
    recording, token = opened
    before, others = await everything(recording), await everything(bystander)
    agent = Agent(token, recording, uuid4())
    await agent.connect()
    answer = await agent.begin(**changes)
    assert answer["op"] == "error" and words in answer["sentence"]
    await agent.close()
    assert await everything(recording) == before
    assert await everything(bystander) == others


async def test_a_beginning_whose_clocks_are_nonsense_is_taken_without_them(opened: Any) -> None:
    recording, token = opened
    agent = Agent(token, recording, uuid4())
    await agent.connect()
    assert (await agent.begin(began={"lsl": 10**400, "utc": 1.0, "boot": "b"}))["op"] == "resume"
    await agent.close()
    assert "began" not in (await everything(recording))["epochs"][str(agent.epoch)]


async def test_a_token_for_another_read_neither_opens_nor_touches_it(
    opened: Any, bystander: Recording, rows: np.ndarray
) -> None:
    mine, token = opened
    before = [await everything(one) for one in (mine, bystander)]
    epoch = UUID(next(iter(bystander.epochs)))
    agent = Agent(token, bystander, epoch)
    await agent.connect()
    assert await agent.begin() == {"op": "error", "sentence": "This token belongs to another recording."}
    await agent.socket.send_to(bytes_data=gaze_frames(rows, epoch)[0])
    await agent.close()
    assert [await everything(one) for one in (mine, bystander)] == before


async def test_a_token_for_another_station_begins_nothing_and_its_own_then_does(read: Read) -> None:
    @sync_to_async
    def paired(name: str) -> tuple[Station, str]:
        station = stations.add_station(name=name, actor=None)
        code = stations.make_code(station=station, actor=None)
        return station, stations.pair(code=code, agent_key="the-key-that-its-pages-show-to-it-").credential

    station, here = await paired("Reading room 1")
    _, there = await paired("Reading room 2")
    recording, token = await sync_to_async(recordings.open_recording)(read=read, station=station)
    before = await everything(recording)
    epoch = uuid4()
    for credential, words in ((there, "this computer is paired as Reading room 2"), ("", "not paired with this site")):
        agent = Agent(token, recording, epoch)
        agent.socket.scope["headers"].append((b"gazeroom-station", credential.encode()))
        await agent.connect()
        answer = await agent.begin()
        assert answer["op"] == "error" and words in answer["sentence"]
        await agent.close()
        assert await everything(recording) == before
    agent = Agent(token, recording, epoch)
    agent.socket.scope["headers"].append((b"gazeroom-station", here.encode()))
    await agent.connect()
    assert (await agent.begin())["op"] == "resume"
    await agent.close()


async def test_a_jump_of_the_sequence_sends_the_agent_back_to_the_first_that_is_missing(
    opened: Any, bystander: Recording, rows: np.ndarray
) -> None:
    recording, token = opened
    others = await everything(bystander)
    agent = Agent(token, recording, uuid4())
    frames = gaze_frames(rows, agent.epoch)
    path = frame_path(recording.folder, GAZE, agent.epoch)
    await agent.connect()
    await agent.begin()
    for jump in (3, 9):
        assert await agent.send(frames[jump]) == {"op": "rewind", "stream": GAZE, "next": 0}
        assert path.read_bytes() == b""
    assert await agent.send(*frames[:4]) == {"op": "ack", "stream": GAZE, "next": 4}
    beyond = encode(Frame(GAZE, agent.epoch, 2**64 - 1, rows[:30]))
    assert await agent.send(beyond) == {"op": "rewind", "stream": GAZE, "next": 4}
    assert await agent.send(*frames[4:]) == {"op": "ack", "stream": GAZE, "next": 10}
    assert await agent.ask({"op": "end", "streams": end_of(frames)}) == {"op": "sealed"}
    await agent.close()
    assert path.read_bytes() == b"".join(frames)
    assert await everything(bystander) == others


# ── one epoch, two spools ─────────────────────────────────────────────────────────────────────────────────────────────


async def test_an_epoch_begun_again_with_other_streams_is_refused(opened: Any, rows: np.ndarray) -> None:
    recording, token = opened
    agent = Agent(token, recording, uuid4())
    frames = gaze_frames(rows, agent.epoch)
    await agent.connect()
    await agent.begin()
    await agent.send(*frames[:5])
    await agent.close()
    before = await everything(recording)
    for streams in (ANNOUNCED, {"1": STREAMS["1"]}, {**STREAMS, "1": {**STREAMS["1"], "rate_hz": 600.0}}):
        again = Agent(token, recording, agent.epoch)
        await again.connect()
        answer = await again.begin(streams=streams)
        assert answer["op"] == "error" and "begun with other streams" in answer["sentence"]
        await again.close()
        assert await everything(recording) == before


async def test_the_same_epoch_in_two_recordings_is_two_epochs(opened: Any, rows: np.ndarray) -> None:
    @sync_to_async
    def another() -> tuple[Recording, str]:
        enrolment = make_study(gaze="optional", consented=True).enrolments.get()
        return recordings.open_recording(read=reading.open_next(enrolment=enrolment, actor=enrolment.user))

    epoch = uuid4()
    both = [(*opened, gaze_frames(rows, epoch)), (*await another(), gaze_frames(rows[:120], epoch))]
    agents = [Agent(token, recording, epoch) for recording, token, _ in both]
    for agent in agents:
        await agent.connect()
        assert (await agent.begin())["from"] == {"1": 0, "2": 0}
    for i in range(10):
        for agent, (_, _, frames) in zip(agents, both, strict=True):
            if i < len(frames):
                await agent.send(frames[i])
    for agent, (recording, _, frames) in zip(agents, both, strict=True):
        assert await agent.ask({"op": "end", "streams": end_of(frames)}) == {"op": "sealed"}
        await agent.close()
        assert frame_path(recording.folder, GAZE, epoch).read_bytes() == b"".join(frames)


@contextlib.asynccontextmanager
async def site() -> AsyncIterator[str]:
    """The site's ingest socket on a port of its own, for the real uploader; yields its address."""

    async def talk(outside: ServerConnection) -> None:
        headers = [(k.lower().encode(), v.encode()) for k, v in outside.request.headers.raw_items()]  # type: ignore[union-attr]
        inside = WebsocketCommunicator(application, "/ws/ingest/", headers=headers)
        assert (await inside.connect())[0]

        async def answers() -> None:
            while True:
                message = await inside.receive_output(60)
                if message["type"] == "websocket.close":
                    await outside.close(message.get("code", 1000))
                    return
                await outside.send(message["text"])

        ears = asyncio.create_task(answers())
        try:
            async for data in outside:
                await inside.send_to(**{"text_data" if isinstance(data, str) else "bytes_data": data})  # type: ignore[arg-type]
        finally:
            ears.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConnectionClosed):
                await ears
            await inside.disconnect()

    async with serve(talk, "127.0.0.1", 0, compression=None, close_timeout=0.1) as server:
        yield f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/ws/ingest/"


def spool(root: Path, recording: Recording, token: str, url: str, rows: np.ndarray, like: Epoch | None = None) -> Epoch:
    """An ended epoch in a spool; with `like`, one that carries the same epoch number."""
    epoch = Spool(root).create(str(recording.pk), token, url, STREAMS, rows[0, 0])
    if like is not None:
        epoch.epoch = like.epoch
        for file in epoch.files.values():
            file.epoch = like.epoch
    for k in range(0, len(rows), 30):
        epoch.files[GAZE].append(rows[k : k + 30])
    epoch.sync()
    epoch.state = "ended"
    epoch.save()
    return epoch


async def test_two_spools_with_one_epoch_and_other_bytes_are_not_mixed_and_neither_is_lost(
    opened: Any, bystander: Recording, rows: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload, "REFUSED_PAUSE_S", 0.02)
    recording, token = opened
    others = await everything(bystander)
    async with site() as url:
        right = spool(tmp_path / "right", recording, token, url, rows)
        frames = [right.files[GAZE].read(i) for i in range(10)]
        agent = Agent(token, recording, right.epoch)
        await agent.connect()
        await agent.begin(began=right.began)
        await agent.send(*frames[:4])
        await agent.close()
        before = await everything(recording)

        altered = rows.copy()
        altered[0, 1] += 1e-9  # one bit of one sample is enough
        for name, other, words in (
            ("other", altered, "its first 4 frames of stream 1 are not those of this station (SHA-256)"),
            ("shorter", rows[:60], "it holds 4 frames of stream 1, this station only 2"),
        ):
            wrong = spool(tmp_path / name, recording, token, url, other, like=right)
            kept = (wrong.folder / "1.gzr").read_bytes()
            uploader = Uploader()
            uploader.submit(wrong)
            (reason,) = await eventually(lambda up=uploader: up.refused)  # type: ignore[misc]
            assert words in reason
            await uploader.close(0)
            assert wrong.state == "refused" and (wrong.folder / "1.gzr").read_bytes() == kept
            assert await everything(recording) == before

        uploader = Uploader()
        uploader.submit(right)
        await eventually(lambda: not right.folder.exists())
        await uploader.close(0)
    assert frame_path(recording.folder, GAZE, right.epoch).read_bytes() == b"".join(frames)
    assert await Segment.objects.filter(recording=recording, epoch=right.epoch).acount() == 2
    assert await everything(bystander) == others


# ── times that are none ───────────────────────────────────────────────────────────────────────────────────────────────


def _with(places: slice, times: Any) -> Callable[[np.ndarray], None]:
    def change(rows: np.ndarray) -> None:
        rows[places, 0] = times(rows[places, 0]) if callable(times) else times

    return change


BAD_TIMES: dict[str, tuple[Callable[[np.ndarray], None], list[str]]] = {
    "NaN": (_with(slice(40, 47), np.nan), ["7 of 300 samples have no time (NaN or infinite)."]),
    "NaN throughout": (_with(slice(None), np.nan), ["300 of 300 samples have no time (NaN or infinite)."]),
    "infinite": (_with(slice(28, 33), np.inf), ["5 of 300 samples have no time (NaN or infinite)."]),
    "reversed": (
        _with(slice(50, 60), lambda t: t[::-1]),
        ["9 of 300 samples lie before the sample that came before them."],
    ),
    "reversed over a frame's edge": (
        _with(slice(85, 95), lambda t: t[::-1]),
        ["9 of 300 samples lie before the sample that came before them."],
    ),
    "repeated": (
        _with(slice(100, 104), lambda t: t[0]),
        ["3 of 300 samples repeat the time of the sample before them."],
    ),
    "all three": (
        _with(slice(0, 8), [1000.0, np.nan, 1000.1, 1000.1, 999.0, 1000.0, 1000.0, -np.inf]),
        [
            "2 of 300 samples have no time (NaN or infinite).",
            "1 of 300 samples lie before the sample that came before them.",
            "2 of 300 samples repeat the time of the sample before them.",
        ],
    ),
    "as they should be": (lambda rows: None, []),
}


@pytest.mark.parametrize("numbered", [True, False], ids=["numbered", "not numbered"])
@pytest.mark.parametrize("case", BAD_TIMES)
async def test_times_that_are_none_are_kept_as_they_came_counted_and_sealed(
    case: str, numbered: bool, opened: Any, rows: np.ndarray
) -> None:
    spoil, sentences = BAD_TIMES[case]
    spoil(rows)
    if not numbered:
        rows[:, column("FrameNumber")] = np.nan
    recording, token = opened
    agent = Agent(token, recording, uuid4())
    frames = gaze_frames(rows, agent.epoch)
    await agent.connect()
    await agent.begin()
    assert await agent.send(*frames) == {"op": "ack", "stream": GAZE, "next": 10}
    assert await agent.ask({"op": "end", "streams": end_of(frames)}) == {"op": "sealed"}
    await agent.close()
    stored = np.concatenate([f.samples for f in read_frames(frame_path(recording.folder, GAZE, agent.epoch))])
    np.testing.assert_array_equal(stored, rows)
    kept = await everything(recording)
    assert kept["state"] == Recording.State.SEALED
    faults = kept["epochs"][str(agent.epoch)].get("faults", {})
    assert faults == ({"1": sentences} if sentences else {})


async def test_frame_numbers_beyond_all_counting_do_not_keep_a_recording_open(opened: Any, rows: np.ndarray) -> None:
    rows[100:103, column("FrameNumber")] = [1e300, -1e300, np.inf]
    rows[200:, column("FrameNumber")] += 2.0**52
    recording, token = opened
    agent = Agent(token, recording, uuid4())
    frames = gaze_frames(rows, agent.epoch)
    await agent.connect()
    await agent.begin()
    await agent.send(*frames)
    assert await agent.ask({"op": "end", "streams": end_of(frames)}) == {"op": "sealed"}
    await agent.close()
    (gap,) = (await everything(recording))["gaps"]
    assert (gap["after_frame"], gap["before_frame"], gap["missing"]) == (199, 2**52 + 200, 2**52)


# ── the page ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "change",
    [{"t": 10**400}, {"view": {"scale": float("nan")}}, {"dpr": float("inf")}, {"cause": "\ud800"}, {"dpr": True}],
    ids=["a time of 400 digits", "NaN in its view", "an infinite ratio", "half a character", "no number"],
)
async def test_a_state_that_cannot_be_kept_is_refused_whole_in_a_sentence(change: Any, opened: Any, read: Read) -> None:
    recording, _ = opened
    socket = await sync_to_async(page)(recording, read.assignment.enrolment.user)
    await socket.connect()
    good = some_states(0, 3)
    for items, answer in (
        ([*good[:2], {**good[2], **change}], {"op": "error"}),
        (good, {"op": "ack", "kind": "states", "next": 3}),
    ):
        await socket.send_to(text_data=json.dumps({"op": "states", "from": 0, "items": items}))
        heard = json.loads(await socket.receive_from())
        assert heard.items() >= answer.items()
        if heard["op"] == "error":
            assert heard["sentence"] == "Item 2 of states is not understood; nothing of this message is stored."
    await socket.disconnect()
