"""The two sockets through the site's own ASGI application: routes, headers, sessions and Origin included."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import threading
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pytest
from asgiref.sync import sync_to_async
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from capture import consumers
from capture.frames import CLOCK, GAZE, read_encoded, read_frames
from capture.models import Recording, RecordingToken, Segment
from capture.services import ingest, recordings
from capture.services.store import FrameFile, JournalFile, frame_path, read_journal
from study.models import Enrolment, Read
from study.services import reading
from study.services.errors import NotAllowed
from study.site.asgi import application
from tests.factories import make_user

from .sockets import WebsocketCommunicator
from .synthetic import STREAMS, end_of, gaze_frames, gaze_samples, state

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def opened(read: Read) -> tuple[Recording, str]:
    return recordings.open_recording(read=read)


@pytest.fixture
def rows() -> np.ndarray:
    t = 1000 + np.arange(900) / 300
    return gaze_samples(t, np.random.default_rng(0).uniform(0, 1, (900, 2)))


class Agent:
    """A station agent's connection to the ingest socket."""

    def __init__(self, token: str, recording: Recording, epoch: UUID) -> None:
        headers = [(b"authorization", f"Bearer {token}".encode())] if token else []
        self.socket = WebsocketCommunicator(application, "/ws/ingest/", headers=headers)
        self.recording, self.epoch = recording, epoch

    async def connect(self) -> bool:
        accepted, _ = await self.socket.connect()
        return bool(accepted)

    async def begin(self, **changes: Any) -> dict[str, Any]:
        message = {"op": "begin", "recording": str(self.recording.pk), "epoch": str(self.epoch), "streams": STREAMS}
        return await self.ask({**message, **changes})

    async def ask(self, message: dict[str, Any]) -> dict[str, Any]:
        await self.socket.send_to(text_data=json.dumps(message))
        return await self.hear()

    async def hear(self) -> dict[str, Any]:
        return json.loads(await self.socket.receive_from())

    async def send(self, *frames: bytes) -> dict[str, Any]:
        """Send frames one after another; answers the last thing the server says of them."""
        answer = {}
        for frame in frames:
            await self.socket.send_to(bytes_data=frame)
            answer = await self.hear()
        return answer

    async def close(self) -> None:
        await self.socket.disconnect()


async def test_every_frame_is_stored_once_and_the_recording_is_sealed(opened: Any, rows: Any) -> None:
    recording, token = opened
    agent = Agent(token, recording, uuid4())
    frames = gaze_frames(rows, agent.epoch)
    assert await agent.connect()
    assert await agent.begin() == {"op": "resume", "from": {"1": 0, "2": 0}}
    assert await agent.send(*frames) == {"op": "ack", "stream": GAZE, "next": 30}
    assert await agent.ask({"op": "end", "streams": end_of(frames)}) == {"op": "sealed"}
    await agent.close()
    path = frame_path(recording.folder, GAZE, agent.epoch)
    assert path.read_bytes() == b"".join(frames)
    segment = await Segment.objects.aget(recording=recording, stream=GAZE)
    assert (segment.frames, segment.samples) == (30, 900)
    assert segment.sha256 == end_of(frames)["1"]["sha256"]
    assert (segment.t0, segment.t1) == (rows[0, 0], rows[-1, 0])
    await recording.arefresh_from_db()
    assert recording.state == Recording.State.SEALED


async def test_frames_in_one_burst_are_stored_in_order_and_acknowledged_up_to_the_last(opened: Any, rows: Any) -> None:
    recording, token = opened
    agent = Agent(token, recording, uuid4())
    frames = gaze_frames(rows, agent.epoch)
    await agent.connect()
    await agent.begin()
    for frame in frames:
        await agent.socket.send_to(bytes_data=frame)
    places = []
    while not places or places[-1] < 30:
        answer = await agent.hear()
        assert answer["op"] == "ack"
        places.append(answer["next"])
    assert places == sorted(set(places))
    await agent.close()
    assert [f.sequence for f in read_frames(frame_path(recording.folder, GAZE, agent.epoch))] == list(range(30))


async def test_a_duplicate_is_acknowledged_and_not_stored_again(opened: Any, rows: Any) -> None:
    recording, token = opened
    agent = Agent(token, recording, uuid4())
    frames = gaze_frames(rows, agent.epoch)
    await agent.connect()
    await agent.begin()
    await agent.send(*frames[:3])
    assert await agent.send(frames[1]) == {"op": "ack", "stream": GAZE, "next": 3}
    await agent.close()
    assert frame_path(recording.folder, GAZE, agent.epoch).read_bytes() == b"".join(frames[:3])


async def test_a_skipped_frame_sends_the_agent_back(opened: Any, rows: Any) -> None:
    recording, token = opened
    agent = Agent(token, recording, uuid4())
    frames = gaze_frames(rows, agent.epoch)
    await agent.connect()
    await agent.begin()
    await agent.send(*frames[:3])
    assert await agent.send(frames[4]) == {"op": "rewind", "stream": GAZE, "next": 3}
    assert await agent.send(frames[3]) == {"op": "ack", "stream": GAZE, "next": 4}
    await agent.close()


async def test_after_a_lost_connection_the_agent_goes_on_where_the_server_is(opened: Any, rows: Any) -> None:
    recording, token = opened
    epoch = uuid4()
    frames = gaze_frames(rows, epoch)
    first = Agent(token, recording, epoch)
    await first.connect()
    await first.begin()
    await first.send(*frames[:10])
    # The second connection comes while the server still believes in the first.
    second = Agent(token, recording, epoch)
    await second.connect()
    assert (await second.begin())["from"] == {"1": 10, "2": 0}
    await second.send(*frames[8:])
    assert (await second.ask({"op": "end", "streams": end_of(frames)}))["op"] == "sealed"
    await second.close()
    assert frame_path(recording.folder, GAZE, epoch).read_bytes() == b"".join(frames)


async def test_a_torn_tail_is_cut_off_and_the_frame_asked_for_again(opened: Any, rows: Any) -> None:
    recording, token = opened
    epoch = uuid4()
    frames = gaze_frames(rows, epoch)
    agent = Agent(token, recording, epoch)
    await agent.connect()
    await agent.begin()
    await agent.send(*frames[:5])
    await agent.close()
    path = frame_path(recording.folder, GAZE, epoch)
    with path.open("ab") as file:
        file.write(frames[5][:77])
    again = Agent(token, recording, epoch)
    await again.connect()
    assert (await again.begin())["from"]["1"] == 5
    assert path.read_bytes() == b"".join(frames[:5])
    await again.send(*frames[5:])
    assert (await again.ask({"op": "end", "streams": end_of(frames)}))["op"] == "sealed"
    await again.close()


async def test_what_a_killed_server_wrote_is_made_durable_before_it_counts(
    opened: Any, rows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording, token = opened
    agent = Agent(token, recording, uuid4())
    frames = gaze_frames(rows, agent.epoch)
    path = frame_path(recording.folder, GAZE, agent.epoch)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"".join(frames[:3]))
    journal = ingest.journal_path(recording, "states")
    journal.write_text("{}\n")
    synced: list[int] = []
    real = os.fdatasync

    def fdatasync(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_ino)
        real(descriptor)

    monkeypatch.setattr(os, "fdatasync", fdatasync)
    await agent.connect()
    assert (await agent.begin())["from"]["1"] == 3
    await agent.close()
    assert path.stat().st_ino in synced
    with JournalFile(journal) as file:
        assert file.next == 1
    assert journal.stat().st_ino in synced


async def test_both_streams_are_kept_apart(opened: Any, rows: Any) -> None:
    recording, token = opened
    agent = Agent(token, recording, uuid4())
    gaze = gaze_frames(rows, agent.epoch)
    clock = gaze_frames(np.arange(40.0).reshape(10, 4), agent.epoch, stream=CLOCK, per_frame=1)
    await agent.connect()
    await agent.begin()
    await agent.send(gaze[0], clock[0], gaze[1], clock[1], *clock[2:], *gaze[2:])
    assert (await agent.ask({"op": "end", "streams": end_of(gaze, clock)}))["op"] == "sealed"
    await agent.close()
    stored = [h.stream for h, _ in read_encoded(frame_path(recording.folder, CLOCK, agent.epoch))]
    assert stored == [CLOCK] * 10


async def test_frames_that_come_after_the_seal_change_nothing(opened: Any, rows: Any) -> None:
    recording, token = opened
    agent = Agent(token, recording, uuid4())
    frames = gaze_frames(rows, agent.epoch)
    await agent.connect()
    await agent.begin()
    await agent.send(*frames[:20])
    assert await agent.ask({"op": "end", "streams": end_of(frames[:20])}) == {"op": "sealed"}
    assert await agent.send(frames[20]) == {"op": "ack", "stream": GAZE, "next": 20}
    await agent.close()
    assert frame_path(recording.folder, GAZE, agent.epoch).read_bytes() == b"".join(frames[:20])


async def test_an_end_that_is_asked_again_is_sealed_again_and_adds_nothing(opened: Any, rows: Any) -> None:
    recording, token = opened
    epoch = uuid4()
    frames = gaze_frames(rows, epoch)
    agent = Agent(token, recording, epoch)
    await agent.connect()
    await agent.begin()
    await agent.send(*frames)
    await agent.ask({"op": "end", "streams": end_of(frames)})
    await agent.close()
    again = Agent(token, recording, epoch)
    await again.connect()
    assert (await again.begin())["from"] == {"1": 30, "2": 0}
    assert await again.send(frames[-1]) == {"op": "ack", "stream": GAZE, "next": 30}
    assert (await again.ask({"op": "end", "streams": end_of(frames)}))["op"] == "sealed"
    await again.close()
    assert await Segment.objects.filter(recording=recording).acount() == 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda end: end["1"].update(sha256="0" * 64), "not what the agent spooled"),
        (lambda end: end["1"].update(frames=31), "30 frames are stored, the agent has 31"),
        (lambda end: end.pop("1"), "does not mention stream 1"),
        (lambda end: end["1"].pop("sha256"), "names no frames and sha256"),
    ],
    ids=["wrong hash", "one frame more", "stream forgotten", "no hash"],
)
async def test_an_end_that_does_not_match_seals_nothing(opened: Any, rows: Any, change: Any, words: str) -> None:
    recording, token = opened
    agent = Agent(token, recording, uuid4())
    frames = gaze_frames(rows, agent.epoch)
    await agent.connect()
    await agent.begin()
    await agent.send(*frames)
    told = end_of(frames)
    change(told)
    answer = await agent.ask({"op": "end", "streams": told})
    assert answer["op"] == "error"
    assert words in answer["sentence"]
    await agent.close()
    assert not await Segment.objects.filter(recording=recording).aexists()
    await recording.arefresh_from_db()
    assert recording.state == Recording.State.RECORDING


async def test_a_damaged_frame_is_refused_in_a_sentence_and_not_stored(opened: Any, rows: Any) -> None:
    recording, token = opened
    agent = Agent(token, recording, uuid4())
    frames = gaze_frames(rows, agent.epoch)
    await agent.connect()
    await agent.begin()
    answer = await agent.send(frames[0][:-1] + b"\x00")
    assert answer["op"] == "error" and "damaged" in answer["sentence"]
    assert frame_path(recording.folder, GAZE, agent.epoch).stat().st_size == 0


async def test_a_connection_that_floods_after_its_refusal_still_lets_go_when_it_closes(opened: Any, rows: Any) -> None:
    recording, token = opened
    agent = Agent(token, recording, uuid4())
    await agent.connect()
    await agent.begin()
    frames = gaze_frames(rows, agent.epoch)
    assert (await agent.send(frames[0][:-1] + b"\x00"))["op"] == "error"
    for _ in range(consumers.BACKLOG + 20):
        await agent.socket.send_to(bytes_data=frames[0])
    await agent.close()
    with FrameFile(frame_path(recording.folder, GAZE, agent.epoch), GAZE, agent.epoch) as file:
        assert file.next == 0


async def test_a_flood_that_waits_while_the_writer_fails_is_let_go(
    opened: Any, rows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording, token = opened
    monkeypatch.setattr(consumers, "BACKLOG", 2)
    agent = Agent(token, recording, uuid4())
    await agent.connect()
    await agent.begin()
    full, failing = threading.Event(), OSError("no space left")

    def append(*_: Any) -> bool:
        full.wait(5)
        raise failing

    monkeypatch.setattr(FrameFile, "append", append)
    for frame in gaze_frames(rows, agent.epoch)[:8]:
        await agent.socket.send_to(bytes_data=frame)
    await asyncio.sleep(0.2)
    full.set()
    await agent.close()
    assert (str(recording.pk), str(agent.epoch)) not in consumers.IngestConsumer._writers


@pytest.mark.parametrize(
    "streams",
    [
        {"1": {"device": {"name": "a\x00b"}}},
        {"1": {"na\x00me": "tracker"}},
        {"1": {"name": "\ud800"}},
        {"1": {"rate_hz": float("nan")}},
        {"1": {"display": {"width_mm": [float("inf")]}}},
        {"1": 300},
    ],
    ids=["NUL", "NUL in a name", "half a character", "NaN", "infinity", "no object"],
)
async def test_streams_the_database_cannot_hold_are_refused_in_a_sentence(opened: Any, streams: Any) -> None:
    recording, token = opened
    agent = Agent(token, recording, uuid4())
    await agent.connect()
    answer = await agent.begin(streams=streams)
    assert answer["op"] == "error" and "Stream 1" in answer["sentence"]
    await agent.close()
    await recording.arefresh_from_db()
    assert recording.epochs == {}


async def test_a_message_nested_without_end_is_answered(opened: Any) -> None:
    recording, token = opened
    agent = Agent(token, recording, uuid4())
    await agent.connect()
    await agent.socket.send_to(text_data='{"op":' + "[" * 100_000)
    assert (await agent.hear())["op"] == "error"
    await agent.close()


async def test_a_frame_of_another_epoch_is_refused(opened: Any, rows: Any) -> None:
    recording, token = opened
    agent = Agent(token, recording, uuid4())
    await agent.connect()
    await agent.begin()
    answer = await agent.send(gaze_frames(rows, uuid4())[0])
    assert answer["op"] == "error" and "epoch" in answer["sentence"]


async def _refused(token: str, recording: Recording) -> bool:
    agent = Agent(token, recording, uuid4())
    return not await agent.connect()


async def test_an_unknown_token_and_none_are_refused(opened: Any) -> None:
    recording, _ = opened
    assert await _refused("made-up", recording)
    assert await _refused("", recording)


async def test_a_token_long_expired_is_refused(opened: Any) -> None:
    recording, _ = opened
    await RecordingToken.objects.acreate(
        recording=recording,
        sha256=recordings.hash_token("old"),
        expires_at=timezone.now() - recordings.DELIVERY_LIFE - timedelta(seconds=1),
    )
    assert await _refused("old", recording)


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[timedelta], None]:
    """Let so much time pass for whoever asks what a token is still good for."""

    def let_pass(span: timedelta) -> None:
        now = timezone.now() + span
        for module in (recordings, ingest):
            monkeypatch.setattr(module, "timezone", SimpleNamespace(now=lambda: now))

    return let_pass


async def test_a_station_that_was_offline_for_a_week_delivers_the_epoch_it_had_begun(
    opened: Any, rows: Any, later: Any
) -> None:
    recording, token = opened
    agent = Agent(token, recording, uuid4())
    frames = gaze_frames(rows, agent.epoch)
    await agent.connect()
    await agent.begin()
    await agent.send(*frames[:10])
    await agent.close()
    later(timedelta(days=7))
    again = Agent(token, recording, agent.epoch)
    assert await again.connect()
    sha256 = hashlib.sha256(b"".join(frames[:10])).hexdigest()
    assert await again.begin() == {"op": "resume", "from": {"1": 10, "2": 0}, "sha256": {"1": sha256}}
    await again.send(*frames[10:])
    assert await again.ask({"op": "end", "streams": end_of(frames)}) == {"op": "sealed"}
    await again.close()
    assert frame_path(recording.folder, GAZE, agent.epoch).read_bytes() == b"".join(frames)


def _anchor(**ago: float) -> dict[str, Any]:
    """What a station says of an epoch that it began so long before now."""
    return {"lsl": 1000.0, "utc": (timezone.now() - timedelta(**ago)).timestamp(), "boot": "b"}


async def test_a_read_made_wholly_offline_is_delivered_a_week_later(opened: Any, rows: Any, later: Any) -> None:
    recording, token = opened
    agent = Agent(token, recording, uuid4())
    frames = gaze_frames(rows, agent.epoch)
    began = _anchor(seconds=0)
    later(timedelta(days=7))
    assert await agent.connect()
    assert (await agent.begin(began=began))["op"] == "resume"
    await agent.send(*frames)
    assert await agent.ask({"op": "end", "streams": end_of(frames)}) == {"op": "sealed"}
    await agent.close()
    await recording.arefresh_from_db()
    assert recording.epochs[str(agent.epoch)]["began"] == began
    assert frame_path(recording.folder, GAZE, agent.epoch).read_bytes() == b"".join(frames)


@pytest.mark.parametrize(
    "began",
    [None, {}, {"lsl": 1.0, "utc": float("nan")}, {"lsl": 1.0, "utc": 1e300}, "yesterday",
     _anchor(days=-2), _anchor(days=2)],
    ids=["nothing", "empty", "NaN", "beyond all calendars", "text", "after the token", "before the recording"],
)  # fmt: skip
async def test_what_was_not_recorded_while_the_token_was_good_waits_for_an_administrators_word(
    opened: Any, rows: Any, later: Any, began: Any
) -> None:
    recording, token = opened
    later(timedelta(days=7))
    agent = Agent(token, recording, uuid4())
    await agent.connect()
    answer = await agent.begin(began=began)
    assert answer["op"] == "error" and f"manage.py allow_delivery {recording.pk}" in answer["sentence"]
    await agent.close()
    await sync_to_async(call_command)(
        "allow_delivery", str(recording.pk), reason="its clock was wrong", stdout=StringIO()
    )
    again = Agent(token, recording, agent.epoch)
    await again.connect()
    assert (await again.begin(began=began))["op"] == "resume"
    await again.close()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["no-recording"], "There is no recording no-recording."),
        (["{pk}", "--days", "0"], "--days must be above 0 and at most 365, got 0."),
        (["{pk}", "--reason", " "], "Say why this delivery is allowed"),
    ],
)
def test_a_permit_wants_a_recording_a_span_and_a_reason(opened: Any, arguments: list[str], words: str) -> None:
    arguments = [one.format(pk=opened[0].pk) for one in arguments]
    with pytest.raises(CommandError, match=words):
        call_command("allow_delivery", "--reason", "x", *arguments)
    assert not opened[0].permits.exists()


def test_no_permit_is_given_against_the_readers_will(opened: Any, enrolment: Enrolment) -> None:
    enrolment.withdrawn_at = timezone.now()
    enrolment.save()
    with pytest.raises(CommandError, match="does not consent to gaze recording"):
        call_command("allow_delivery", str(opened[0].pk), reason="please")


async def test_an_expired_token_begins_no_epoch_and_continues_none_begun_after_it_expired(
    opened: Any, read: Read, later: Any
) -> None:
    recording, token = opened
    first = Agent(token, recording, uuid4())
    await first.connect()
    await first.begin()
    await first.close()
    later(recordings.TOKEN_LIFE + timedelta(minutes=1))
    _, fresh = await sync_to_async(recordings.open_recording)(read=read)
    younger = Agent(fresh, recording, uuid4())
    await younger.connect()
    assert (await younger.begin())["op"] == "resume"
    await younger.close()
    for epoch in (uuid4(), younger.epoch):
        late = Agent(token, recording, epoch)
        assert await late.connect()
        answer = await late.begin()
        assert answer["op"] == "error" and "begun before its token expired" in answer["sentence"]
        await late.close()
    await recording.arefresh_from_db()
    assert set(recording.epochs) == {str(first.epoch), str(younger.epoch)}


async def test_after_a_month_an_epoch_is_taken_only_with_an_administrators_permit(opened: Any, later: Any) -> None:
    recording, token = opened
    agent = Agent(token, recording, uuid4())
    await agent.connect()
    await agent.begin()
    await agent.close()
    later(recordings.TOKEN_LIFE + recordings.DELIVERY_LIFE + timedelta(minutes=1))
    assert await _refused(token, recording)
    allow = sync_to_async(recordings.allow_delivery)
    await allow(recording=recording, span=timedelta(days=1), reason="The station was in a cupboard.")
    again = Agent(token, recording, agent.epoch)
    assert await again.connect()
    assert (await again.begin())["op"] == "resume"
    await again.close()


async def test_a_token_is_refused_once_consent_is_withdrawn(opened: Any, enrolment: Enrolment) -> None:
    recording, token = opened
    enrolment.withdrawn_at = timezone.now()
    await enrolment.asave()
    assert await _refused(token, recording)


async def test_a_token_does_not_open_another_recording(opened: Any) -> None:
    recording, token = opened
    agent = Agent(token, recording, uuid4())
    await agent.connect()
    answer = await agent.begin(recording=str(uuid4()))
    assert answer == {"op": "error", "sentence": "This token belongs to another recording."}


async def test_frames_before_begin_are_refused(opened: Any, rows: Any) -> None:
    recording, token = opened
    agent = Agent(token, recording, uuid4())
    await agent.connect()
    assert (await agent.send(gaze_frames(rows, agent.epoch)[0]))["op"] == "error"


def test_no_token_is_made_without_consent(enrolment: Enrolment, read: Read) -> None:
    enrolment.consented_at = None
    enrolment.save()
    read.refresh_from_db()
    with pytest.raises(NotAllowed, match="has not consented"):
        recordings.open_recording(read=Read.objects.get(pk=read.pk))
    assert not Recording.objects.exists()


def test_a_reloaded_page_gets_the_same_recording_and_another_token(read: Read) -> None:
    first, one = recordings.open_recording(read=read)
    second, two = recordings.open_recording(read=read)
    assert first == second and one != two
    # What the station still uploads under the first stays welcome.
    assert [recordings.opened_by(token).recording for token in (one, two)] == [first, first]  # type: ignore[union-attr]


def test_no_token_is_kept_in_the_clear(read: Read) -> None:
    _, token = recordings.open_recording(read=read)
    assert token not in str(list(RecordingToken.objects.values())) and token not in str(
        list(Recording.objects.values())
    )


# ── the page ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def page(recording: Recording, user: Any, origin: str = "http://localhost") -> WebsocketCommunicator:
    client = Client()
    client.force_login(user)
    cookie = f"sessionid={client.cookies['sessionid'].value}".encode()
    headers = [(b"origin", origin.encode()), (b"host", b"localhost"), (b"cookie", cookie)]
    return WebsocketCommunicator(application, f"/ws/page/{recording.pk}/", headers=headers)


async def _page(recording: Recording, user: Any, **options: Any) -> WebsocketCommunicator:
    return await sync_to_async(page)(recording, user, **options)


async def say(socket: WebsocketCommunicator, message: dict[str, Any]) -> dict[str, Any]:
    await socket.send_to(text_data=json.dumps(message))
    return json.loads(await socket.receive_from())


def some_states(start: int, n: int) -> list[dict[str, Any]]:
    return [state(i, 100.0 * i, [1.0, 0, 0, 1.0, float(i), 0]) for i in range(start, start + n)]


async def test_states_and_exchanges_are_stored_once_however_often_they_are_sent(
    opened: Any, enrolment: Enrolment
) -> None:
    recording, _ = opened
    socket = await _page(recording, enrolment.user)
    assert (await socket.connect())[0]
    assert await say(socket, {"op": "states", "from": 0, "items": []}) == {"op": "ack", "kind": "states", "next": 0}
    assert (await say(socket, {"op": "states", "from": 0, "items": some_states(0, 3)}))["next"] == 3
    assert (await say(socket, {"op": "states", "from": 1, "items": some_states(1, 4)}))["next"] == 5
    assert (await say(socket, {"op": "states", "from": 0, "items": some_states(0, 3)}))["next"] == 5
    assert (await say(socket, {"op": "clock", "from": 0, "items": [[1.0, 2.0, 2.1, 3.0]]}))["next"] == 1
    await socket.disconnect()
    assert [s["seq"] for s in read_journal(ingest.journal_path(recording, "states"))] == [0, 1, 2, 3, 4]
    assert read_journal(ingest.journal_path(recording, "clock")) == [[1.0, 2.0, 2.1, 3.0]]


async def test_states_beyond_a_hole_are_not_stored(opened: Any, enrolment: Enrolment) -> None:
    recording, _ = opened
    socket = await _page(recording, enrolment.user)
    await socket.connect()
    assert (await say(socket, {"op": "states", "from": 7, "items": some_states(7, 2)}))["next"] == 0
    await socket.disconnect()
    assert read_journal(ingest.journal_path(recording, "states")) == []


async def test_a_reconnected_page_goes_on_after_a_torn_line(opened: Any, enrolment: Enrolment) -> None:
    recording, _ = opened
    first = await _page(recording, enrolment.user)
    await first.connect()
    await say(first, {"op": "states", "from": 0, "items": some_states(0, 3)})
    await first.disconnect()
    path = ingest.journal_path(recording, "states")
    with path.open("ab") as file:
        file.write(b'{"seq":3,"t":12')
    second = await _page(recording, enrolment.user)
    await second.connect()
    assert (await say(second, {"op": "states", "from": 0, "items": []}))["next"] == 3
    assert (await say(second, {"op": "states", "from": 3, "items": some_states(3, 1)}))["next"] == 4
    await second.disconnect()
    assert [s["seq"] for s in read_journal(path)] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "item",
    [
        {},
        state(0, 1.0, [0.0, 0, 0, 0, 0, 0]),
        state(0, 1.0, [1.0, 0, 0, 1.0, 0]),
        state(0, 1.0, [1.0, 0, 0, 1.0, 0, 0], dpr=0),
        {**state(0, 1.0, [1.0, 0, 0, 1.0, 0, 0]), "t": "soon"},
    ],
    ids=["empty", "no inverse", "five numbers", "no ratio", "no time"],
)
async def test_a_state_that_is_none_is_refused_whole(opened: Any, enrolment: Enrolment, item: Any) -> None:
    recording, _ = opened
    socket = await _page(recording, enrolment.user)
    await socket.connect()
    answer = await say(socket, {"op": "states", "from": 0, "items": [*some_states(0, 1), item]})
    assert answer["op"] == "error" and "Item 1 of states" in answer["sentence"]
    await socket.disconnect()
    assert read_journal(ingest.journal_path(recording, "states")) == []


async def test_only_the_readers_own_page_may_write(opened: Any) -> None:
    recording, _ = opened
    stranger = await sync_to_async(make_user)()
    assert not (await (await _page(recording, stranger)).connect())[0]


async def test_a_page_of_another_origin_is_refused(opened: Any, enrolment: Enrolment) -> None:
    recording, _ = opened
    socket = await _page(recording, enrolment.user, origin="http://elsewhere.example")
    assert not (await socket.connect())[0]


async def test_states_after_processing_wake_the_task_again(opened: Any, enrolment: Enrolment, woken: list[str]) -> None:
    recording, _ = opened
    await Recording.objects.filter(pk=recording.pk).aupdate(state=Recording.State.PROCESSED)
    socket = await _page(recording, enrolment.user)
    await socket.connect()
    await say(socket, {"op": "states", "from": 0, "items": some_states(0, 1)})
    for _ in range(50):
        if woken:
            break
        await asyncio.sleep(0.02)
    await socket.disconnect()
    assert woken == [str(recording.pk)]


def test_the_task_waits_for_the_submission_of_a_sealed_read(read: Read, woken: list[str]) -> None:
    recordings.open_recording(read=read)
    assert woken == []
    from tests.factories import make_answers

    reading.submit(read=read, answers=make_answers(read), actor=read.assignment.enrolment.user)
    assert len(woken) == 1
