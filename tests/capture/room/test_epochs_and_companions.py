"""Time between epochs is a gap row whatever the computers did meanwhile; companions lie beside the gaze, not in it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pytest
from django.test import Client
from django.urls import reverse

from capture.frames import CLOCK, FIRST_COMPANION, GAZE, SOURCE
from capture.gaze.formats.table import FORMATS
from capture.models import Gap, GazeTrack, Recording
from capture.services import exporting, gaps, ingest, processing, recordings, replay, tracks
from capture.services.store import FrameFile, frame_path
from study.models import Membership, Read
from study.queries.reading import image_of
from study.services import reading
from tests.factories import make_answers, make_user

from .synthetic import STREAMS, Scene, end_of, gaze_frames, gaze_samples, store_page

pytestmark = pytest.mark.django_db

MOUSE = {"name": "mouse", "type": "Mouse", "rate_hz": 100.0, "labels": ["x", "y"], "units": ["px", "px"]}
TTL = {"name": "ttl", "labels": ["level"], "units": ["V"]}


def samples(t0: float, n: int = 60) -> np.ndarray:
    return gaze_samples(t0 + np.arange(n) / 300, np.full((n, 2), 0.5))


def begin(recording: Recording, began: dict[str, Any] | None = None, streams: Any = STREAMS) -> UUID:
    epoch = uuid4()
    ingest.begin(recording=recording, epoch=epoch, streams=streams, began=began)
    return epoch


def deliver(recording: Recording, epoch: UUID, by_stream: dict[int, np.ndarray], **end: Any) -> None:
    told = end_of([])
    for stream, rows in by_stream.items():
        frames = gaze_frames(rows, epoch, stream=stream)
        with FrameFile(frame_path(recording.folder, stream, epoch), stream, epoch) as file:
            assert file.append(frames)
        told[str(stream)] = end_of(frames)["1"]
    recording.refresh_from_db()
    ingest.seal(recording=recording, epoch=epoch, told=told, **end)


def between(recording: Recording) -> list[Gap]:
    return list(Gap.objects.filter(recording=recording, kind=Gap.Kind.BETWEEN).order_by("stream", "pk"))


@pytest.fixture
def recording(read: Read) -> Recording:
    return recordings.open_recording(read=read)[0]


def anchor(lsl: float, utc: float, boot: str) -> dict[str, Any]:
    return {"lsl": lsl, "utc": utc, "boot": boot}


def test_over_a_reboot_the_gap_is_as_long_as_the_wall_clock_says(recording: Recording) -> None:
    one = begin(recording, anchor(5000.0, 1e9, "a"))
    deliver(recording, one, {GAZE: samples(5000.0, 301)})
    other = begin(recording, anchor(20.0, 1e9 + 91, "b"))  # its LSL clock counts from the boot
    deliver(recording, other, {GAZE: samples(20.5)})
    (gap,) = between(recording)
    assert (gap.epoch, gap.stream, gap.missing, gap.t1) == (other, GAZE, None, 20.5)
    assert gap.seconds == pytest.approx(91.5 - 1.0)


def test_a_wall_clock_that_went_back_over_a_reboot_makes_no_gap_of_less_than_nothing(recording: Recording) -> None:
    deliver(recording, begin(recording, anchor(5000.0, 1e9, "a")), {GAZE: samples(5000.0, 301)})
    deliver(recording, begin(recording, anchor(20.0, 1e9 + 0.5, "b")), {GAZE: samples(20.0)})
    assert between(recording) == []


def test_within_one_boot_the_lsl_clock_says_how_long_whatever_the_wall_clock_does(recording: Recording) -> None:
    deliver(recording, begin(recording, anchor(5000.0, 1e9, "a")), {GAZE: samples(5000.0, 301)})
    deliver(recording, begin(recording, anchor(5010.0, 1e9 + 4000, "a")), {GAZE: samples(5010.0)})
    (gap,) = between(recording)
    assert (gap.t0, gap.t1) == (5001.0, 5010.0)


def test_an_older_epoch_that_is_sealed_last_lies_where_it_was_recorded(recording: Recording) -> None:
    began = [anchor(100.0 + 10 * i, 1e9 + 10 * i, "a") for i in range(3)]
    first, middle, last = (begin(recording, one) for one in began)
    deliver(recording, last, {GAZE: samples(120.0, 301)})
    deliver(recording, first, {GAZE: samples(100.0, 301)})
    assert between(recording) == [], "what the middle one holds is not known yet"
    recording.refresh_from_db()
    assert recording.state == Recording.State.RECORDING
    deliver(recording, middle, {GAZE: samples(110.0, 301)})
    assert [(g.epoch, g.t0, g.t1) for g in between(recording)] == [(middle, 101.0, 110.0), (last, 111.0, 120.0)]
    recording.refresh_from_db()
    assert recording.state == Recording.State.SEALED


def test_a_companions_time_away_is_its_own_gap_and_that_of_one_that_numbers_nothing_is_known(
    recording: Recording,
) -> None:
    streams = {**STREAMS, str(FIRST_COMPANION): MOUSE}
    for i, t in enumerate((100.0, 110.0)):
        epoch = begin(recording, anchor(t, 1e9 + 10 * i, "a"), streams)
        clicks = np.column_stack([t + np.arange(201) / 100, np.zeros((201, 2))])
        deliver(recording, epoch, {GAZE: samples(t, 301), FIRST_COMPANION: clicks})
    assert [(g.stream, g.t0, g.t1) for g in between(recording)] == [
        (GAZE, 101.0, 110.0),
        (FIRST_COMPANION, 102.0, 110.0),
    ]


def test_an_export_keeps_epochs_of_different_lsl_clocks_apart_and_joins_those_of_one(recording: Recording) -> None:
    def recorded(t0: float, utc: float, boot: str, ahead: float) -> str:
        epoch = begin(recording, anchor(t0, utc, boot))
        deliver(recording, epoch, {GAZE: samples(t0), CLOCK: np.array([[t0, ahead, 1e-4, t0 - ahead]])})
        return str(epoch)

    recorded(5000.0, 1e9, "a", 0.25)
    recorded(20.0, 1e9 + 91, "b", 0.5)  # after a reboot
    recorded(30.0, 1e9 + 101, "b", 0.75)
    elsewhere = recorded(40.0, 1e9 + 111, "b", 1.0)
    recording.epochs[elsewhere]["station"] = str(uuid4())
    recording.save(update_fields=["epochs"])

    first, second, third = exporting.raw_streams(recording)
    assert [s.name for s in (first, second, third)] == ["gaze", "gaze-2", "gaze-3"]
    np.testing.assert_array_equal(first.t, samples(5000.0)[:, 0])
    np.testing.assert_array_equal(second.t, np.r_[samples(20.0)[:, 0], samples(30.0)[:, 0]])
    np.testing.assert_array_equal(third.t, samples(40.0)[:, 0])
    assert [s.offsets[:, 1].tolist() for s in (first, second, third)] == [[0.25], [0.5, 0.75], [1.0]]


@pytest.mark.parametrize("times", [(float("nan"), 1.0), (0.0, float("inf"))])
def test_a_gap_without_times_is_an_error_and_not_passed_over(recording: Recording, times: tuple[float, float]) -> None:
    row = Gap(recording=recording, kind=Gap.Kind.SAMPLES, stream=GAZE, epoch=uuid4(), t0=times[0], t1=times[1])
    with pytest.raises(ValueError, match="has no times"):
        gaps.keep([row])
    assert not Gap.objects.exists()


def finished(read: Read, scene: Scene) -> GazeTrack:
    """The scene recorded, submitted and processed, with streams beside the gaze."""
    recording, _ = recordings.open_recording(read=read)
    rows = scene.rows[:, :1]
    extra = {SOURCE: TTL, FIRST_COMPANION: MOUSE, FIRST_COMPANION + 63: {**MOUSE, "name": "device"}}
    told = {**STREAMS, **{str(s): one for s, one in extra.items()}}
    epoch = begin(recording, anchor(float(rows[0, 0]), 1e9, "a"), told)
    moved = np.column_stack([rows[0, 0] + np.arange(300) / 100, np.zeros((300, 2))])
    data = {
        GAZE: scene.rows,
        SOURCE: np.hstack([rows, rows]),
        FIRST_COMPANION: np.delete(moved, slice(100, 200), axis=0),  # a second of it is missing
        FIRST_COMPANION + 63: moved - [1e6, 0, 0],  # stamped by another computer's clock
    }
    note = {"t": 1.0, "kind": "notification", "text": "Its <cable> was moved.", "fault": True}
    deliver(recording, epoch, data, notes=[note, note])
    store_page(recording, scene.states, scene.exchanges)
    reading.submit(read=read, answers=make_answers(read), actor=read.assignment.enrolment.user)
    track = processing.process(recording_id=recording.pk)
    assert track is not None
    return track


def test_what_lies_beside_the_gaze_changes_neither_track_nor_replay_and_is_exported_as_itself(
    read: Read, tmp_path: Path
) -> None:
    scene = Scene.zoom_and_pan(looks=6)
    scene.rows[40, 0] = scene.rows[39, 0]
    track = finished(read, scene)
    recording = track.recording
    found = tracks.load(track)
    assert track.samples == len(found) == len(scene.rows) - 1  # the repeated time is left out
    assert [g.stream for g in recording.gaps.all()] == [FIRST_COMPANION]
    assert track.data_loss < 0.01
    assert [one for one in replay.intervals(track, found) if one["kind"] == "gap"] == []
    streams = {s.name: s for s in exporting.raw_streams(recording)}
    assert {name: (s.type, len(s.channels), len(s.t)) for name, s in streams.items()} == {
        "gaze": ("Gaze", 30, len(scene.rows)),
        "ttl": ("GazeSource", 1, len(scene.rows)),
        "mouse": ("Mouse", 2, 200),
        "device": ("Mouse", 2, 300),
    }

    # A file with all of them is taken in again as the same track.
    study, image = read.assignment.enrolment.study, image_of(read)
    exporting.export_study(study=study, format="xdf", out=tmp_path / "out", actor=None)
    (again,) = FORMATS["xdf"].read(tmp_path / "out")
    taken = again.reading((image.rows, image.columns)).track
    assert len(taken) == len(found)
    np.testing.assert_allclose(taken.x, found.x, atol=1e-3)

    # What was noticed meanwhile, as the coordinator sees it.
    client = Client()
    client.force_login(make_user(roles={study: Membership.Role.COORDINATOR}))
    html = client.get(reverse("capture:recording", args=[recording.pk])).content.decode()
    assert "<cable>" not in html
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))
    assert f"Gaze: 1 of {len(scene.rows)} samples repeat the time of the sample before them." in text
    assert text.count("The tracker: Its &lt;cable&gt; was moved.") == 1
    assert "mouse: Samples missing by frame number" in text
    assert "samples known to be missing" not in text, "of gaze, none is"
    assert "mouse: 7 frames, 200 samples" in text and "As the tracker sent it" in text
