from __future__ import annotations

from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from celery.exceptions import SoftTimeLimitExceeded
from django.core.management import CommandError, call_command
from django.utils import timezone

from capture.frames import GAZE, GAZE_CHANNELS, read_frames
from capture.models import Gap, GazeTrack, Recording, Utterance
from capture.queries.tracks import processed_tracks
from capture.services import ingest, processing, recordings, tracks
from capture.services.calibrations import calibrate
from capture.services.store import stored_frames
from study.models import Enrolment, Read
from study.services import reading
from tests.factories import make_answers, make_case, make_study

from .synthetic import DISPLAY, STREAMS, Scene, gaze_samples, measured, state, store_epoch, store_page

pytestmark = pytest.mark.django_db


@pytest.fixture
def enrolment() -> Enrolment:
    """A consenting reader of images of 1000 x 1000 pixels."""
    study = make_study(gaze="optional", consented=True, cases=[make_case(rows=1000, columns=1000)])
    return study.enrolments.get()


def recorded(
    read: Read, scene: Scene, *, calibrated: bool = True, sentences: Any = None, submit: bool = True
) -> Recording:
    """The scene recorded for the read, sealed and submitted."""
    if calibrated:
        result = calibrate(
            user=read.assignment.enrolment.user, station=recordings.this_station(), enrolment=None, measured=measured()
        )
        assert result.passed
    recording, _ = recordings.open_recording(read=read)
    store_epoch(recording, scene.rows)
    store_page(recording, scene.states, scene.exchanges)
    if submit:
        submitted(read, sentences)
    return recording


def submitted(read: Read, sentences: Any = None) -> None:
    answers = make_answers(read)
    if sentences is not None:
        answers["report"] = {"text": " ".join(s["text"] for s in sentences), "sentences": sentences}
    reading.submit(read=read, answers=answers, actor=read.assignment.enrolment.user)


def test_fixations_lie_within_a_fifth_of_a_degree_of_the_truth_under_zoom_pan_and_drift(read: Read) -> None:
    scene = Scene.zoom_and_pan(3)
    recording = recorded(read, scene)
    row = processing.process(recording_id=recording.pk)
    assert row is not None
    track = tracks.load(row)
    found = track.fixations
    errors = []
    for x, y, onset, duration in scene.fixations:
        middle = scene.lsl(onset + duration / 2) - track.origin_lsl
        here = np.flatnonzero((found.onset <= middle) & (middle <= found.onset + found.duration))
        assert len(here) == 1, f"the look at {onset:.2f} s gave {len(here)} fixations"
        i = int(here[0])
        errors.append(np.hypot((found.x[i] - x) / found.ppd_x[i], (found.y[i] - y) / found.ppd_y[i]))
    assert len(errors) == 36
    assert np.median(errors) < 0.1
    assert max(errors) < 0.2


def test_the_track_says_how_good_it_is_and_from_what_it_was_made(read: Read) -> None:
    scene = Scene.zoom_and_pan(4)
    recording = recorded(read, scene)
    row = processing.process(recording_id=recording.pk)
    assert row is not None
    assert row.samples == len(scene.rows)
    assert row.data_loss == 0
    assert 0 < row.clock_bound_ms < 1
    assert row.quality["rate_hz"] == pytest.approx(300, abs=0.1)
    assert set(row.inputs["files"]) == {p.name for p in recording.folder.iterdir() if p.suffix in {".gzr", ".jsonl"}}
    assert row.inputs["calibration"] == str(recording.calibration_id)
    assert row.code_version == processing.code_version()
    recording.refresh_from_db()
    assert recording.state == Recording.State.PROCESSED
    assert list(processed_tracks([read])) == [row]


def test_without_the_calibration_the_same_recording_is_half_a_degree_off(read: Read) -> None:
    scene = Scene.zoom_and_pan(3)
    recording = recorded(read, scene, calibrated=False)
    row = processing.process(recording_id=recording.pk)
    assert row is not None and row.inputs["calibration"] is None
    track = tracks.load(row)
    x, y, onset, _ = scene.fixations[0]
    near = np.argmin(np.abs(track.fixations.onset - (scene.lsl(onset) - track.origin_lsl)))
    f = track.fixations
    assert np.hypot((f.x[near] - x) / f.ppd_x[near], (f.y[near] - y) / f.ppd_y[near]) > 0.5


def test_processing_twice_makes_one_track(read: Read) -> None:
    recording = recorded(read, Scene.zoom_and_pan(looks=6))
    first = processing.process(recording_id=recording.pk)
    second = processing.process(recording_id=recording.pk)
    assert first is not None and first == second
    assert GazeTrack.objects.count() == 1


def test_an_epoch_begun_while_the_track_is_made_and_never_sealed_is_processed_in_its_time(
    read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene.zoom_and_pan(looks=6)
    recording = recorded(read, scene)
    keep = processing.keep_track
    later = gaze_samples(scene.rows[-1, 0] + 1 + np.arange(300) / 300, np.full((300, 2), 0.5))

    def meanwhile(track: Any) -> Any:
        store_epoch(recording, later, sealed=False)
        return keep(track)

    monkeypatch.setattr(processing, "keep_track", meanwhile)
    first = processing.process(recording_id=recording.pk)
    monkeypatch.setattr(processing, "keep_track", keep)
    recording.refresh_from_db()
    assert first is not None and recording.state == Recording.State.RECORDING

    monkeypatch.setattr(processing, "PATIENCE", timedelta(0))
    assert processing.reap() == 1
    second = processing.process(recording_id=recording.pk)
    assert second is not None and second.samples == first.samples + 300
    recording.refresh_from_db()
    assert recording.state == Recording.State.PROCESSED
    assert processing.reap() == 0


def test_a_failure_does_not_hide_an_epoch_begun_meanwhile(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    recording = recorded(read, Scene.zoom_and_pan(looks=6))

    def meanwhile(*_: Any) -> Any:
        ingest.begin(recording=recording, epoch=uuid4(), streams=STREAMS)
        raise processing.Unprocessable("It broke.")

    monkeypatch.setattr(processing, "_build", meanwhile)
    assert processing.process(recording_id=recording.pk) is None
    recording.refresh_from_db()
    assert (recording.state, recording.failure) == (Recording.State.RECORDING, "")


def test_a_lost_file_is_made_again_with_the_same_hash(read: Read) -> None:
    recording = recorded(read, Scene.zoom_and_pan(looks=6))
    first = processing.process(recording_id=recording.pk)
    assert first is not None
    first.file.unlink()
    with pytest.raises(ValueError, match="missing or changed"):
        tracks.load(first)
    processing.process(recording_id=recording.pk)
    assert len(tracks.load(first)) == first.samples


def test_states_that_come_late_make_a_new_track_and_the_latest_is_used(read: Read) -> None:
    scene = Scene.zoom_and_pan(looks=9)
    recording = recorded(read, scene)
    recording_states = recording.folder / "states.jsonl"
    whole = recording_states.read_bytes().splitlines(keepends=True)
    recording_states.write_bytes(b"".join(whole[:8]))
    first = processing.process(recording_id=recording.pk)
    recording_states.write_bytes(b"".join(whole))
    second = processing.process(recording_id=recording.pk)
    assert first is not None and second is not None and first != second
    assert list(processed_tracks(Read.objects.all())) == [second]


def test_sentences_become_utterances_in_recording_time(read: Read) -> None:
    scene = Scene.zoom_and_pan(looks=9)
    sentences = [
        {"text": "The heart is enlarged.", "start": 2500.0, "end": 4000.0},
        {"text": "There is no effusion.", "start": 4200.0, "end": 5000.0},
    ]
    recording = recorded(read, scene, sentences=sentences)
    row = processing.process(recording_id=recording.pk)
    assert row is not None
    origin = tracks.load(row).origin_lsl
    said = list(Utterance.objects.filter(track=row))
    assert [u.text for u in said] == [s["text"] for s in sentences]
    assert said[0].start_s == pytest.approx(scene.lsl(2.5) - origin, abs=1e-3)
    assert said[1].end_s == pytest.approx(scene.lsl(5.0) - origin, abs=1e-3)


def test_frame_numbers_that_jump_become_gap_rows_and_data_loss(read: Read) -> None:
    scene = Scene.zoom_and_pan(looks=6)
    scene.rows = np.delete(scene.rows, np.s_[300:345], axis=0)
    recording = recorded(read, scene)
    gap = Gap.objects.get(recording=recording)
    assert (gap.kind, gap.missing, gap.after_frame, gap.before_frame) == ("samples", 45, 299, 345)
    assert gap.seconds == pytest.approx(46 / 300, abs=1e-3)
    row = processing.process(recording_id=recording.pk)
    assert row is not None
    assert row.data_loss == pytest.approx(45 / (len(scene.rows) + 45))


def test_a_tracker_that_started_again_has_a_gap_of_unknown_size(read: Read) -> None:
    scene = Scene.zoom_and_pan(looks=6)
    scene.rows[500:, 1 + GAZE_CHANNELS.index("FrameNumber")] -= 400
    recording = recorded(read, scene, submit=False)
    assert Gap.objects.get(recording=recording).missing is None


def test_the_agents_time_away_is_a_gap_between_two_epochs(read: Read) -> None:
    scene = Scene.zoom_and_pan(looks=9)
    recording, _ = recordings.open_recording(read=read)
    store_epoch(recording, scene.rows[:400])
    recording.refresh_from_db()
    assert recording.state == Recording.State.SEALED
    store_epoch(recording, scene.rows[700:])
    gap = Gap.objects.get(recording=recording)
    assert gap.kind == Gap.Kind.BETWEEN and gap.missing is None
    assert gap.seconds == pytest.approx(301 / 300, abs=1e-3)
    store_page(recording, scene.states, scene.exchanges)
    submitted(read)
    row = processing.process(recording_id=recording.pk)
    assert row is not None and row.samples == len(scene.rows) - 300


def test_a_recording_is_not_processed_before_its_read_is_submitted(read: Read) -> None:
    recording = recorded(read, Scene.zoom_and_pan(looks=6), submit=False)
    assert processing.process(recording_id=recording.pk) is None
    assert not GazeTrack.objects.exists()


def test_a_station_that_is_still_uploading_is_waited_for(read: Read) -> None:
    scene = Scene.zoom_and_pan(looks=6)
    recording, _ = recordings.open_recording(read=read)
    store_epoch(recording, scene.rows, sealed=False)
    store_page(recording, scene.states, scene.exchanges)
    submitted(read)
    assert processing.process(recording_id=recording.pk) is None


def test_after_ten_minutes_what_is_there_is_processed_and_the_missing_end_is_a_gap(
    read: Read, woken: list[str], django_capture_on_commit_callbacks: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene.zoom_and_pan(looks=6)
    recording, _ = recordings.open_recording(read=read)
    epoch = store_epoch(recording, scene.rows, sealed=False)
    store_page(recording, scene.states, scene.exchanges)
    submitted(read)
    with django_capture_on_commit_callbacks(execute=True):
        assert processing.reap() == 0
    later = timezone.now() + timedelta(minutes=11)
    monkeypatch.setattr(processing.timezone, "now", lambda: later)
    with django_capture_on_commit_callbacks(execute=True):
        assert processing.reap() == 1
    assert woken == [str(recording.pk)]
    row = processing.process(recording_id=recording.pk)
    assert row is not None and row.samples == len(scene.rows)
    gap = Gap.objects.get(recording=recording)
    assert (gap.kind, gap.epoch) == (Gap.Kind.UNSEALED, epoch)
    assert processing.reap() == 0


def test_samples_without_a_time_at_either_end_keep_neither_track_nor_gap_from_being_made(
    read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene.zoom_and_pan(looks=6)
    end = float(scene.rows[-2, 0])
    scene.rows[[0, -1], 0] = np.nan
    at = scene.rows[1, 0] + np.array([-60.0, 0.0])
    clock = np.column_stack([at, np.zeros(2), np.full(2, 1e-5), at])
    recording, _ = recordings.open_recording(read=read)
    store_epoch(recording, scene.rows, sealed=False, clock=clock)
    store_page(recording, scene.states, scene.exchanges)
    submitted(read)
    later = timezone.now() + timedelta(minutes=11)
    monkeypatch.setattr(processing.timezone, "now", lambda: later)
    row = processing.process(recording_id=recording.pk)
    assert row is not None and row.samples == len(scene.rows) - 2
    assert row.quality["tracker_offset_ms"] == 0.0
    assert Gap.objects.get(recording=recording, kind=Gap.Kind.UNSEALED).t1 == end


def test_a_recording_another_worker_is_making_is_not_started_again(
    read: Read, woken: list[str], django_capture_on_commit_callbacks: Any
) -> None:
    recording = recorded(read, Scene.zoom_and_pan(looks=6))
    with django_capture_on_commit_callbacks(execute=True):
        with processing._alone(recording):
            assert processing.reap() == 0
        assert processing.reap() == 1
    assert woken == [str(recording.pk)]


def damaged(read: Read) -> tuple[Recording, Path, bytes]:
    """A submitted recording that failed because its gaze file was damaged; the file, and what it held before."""
    recording = recorded(read, Scene.zoom_and_pan(looks=6))
    path = next(path for stream, _, path in stored_frames(recording.folder) if stream == GAZE)
    whole = path.read_bytes()
    path.chmod(0o600)
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 0xFF]))
    assert processing.process(recording_id=recording.pk) is None
    return recording, path, whole


@pytest.mark.parametrize("how", ["by its id", "with all that failed"])
def test_a_recording_whose_file_was_restored_is_processed_by_command(read: Read, how: str) -> None:
    recording, path, whole = damaged(read)
    path.write_bytes(whole)
    said = StringIO()
    call_command("process_recording", *([str(recording.pk)] if how == "by its id" else ["--all-failed"]), stdout=said)
    recording.refresh_from_db()
    assert (recording.state, recording.failure) == (Recording.State.PROCESSED, "")
    assert str(recording.pk) in said.getvalue()
    assert GazeTrack.objects.get().recording == recording


@pytest.mark.parametrize("how", ["by its id", "with all that failed"])
def test_the_command_says_why_a_recording_still_fails(read: Read, how: str) -> None:
    recording, _, _ = damaged(read)
    with pytest.raises(CommandError, match=f"{recording.pk}: .* is not what was sealed"):
        call_command("process_recording", *([str(recording.pk)] if how == "by its id" else ["--all-failed"]))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "Name a recording, or say --all-failed"),
        (["1234"], "'1234' is no recording's id"),
        (["00000000-0000-4000-8000-000000000000"], "There is no recording 00000000-0000-4000-8000-000000000000"),
        (["00000000-0000-4000-8000-000000000000", "--all-failed"], "not both"),
    ],
    ids=["nothing", "no id", "unknown", "both"],
)
def test_the_command_answers_wrong_input_in_a_sentence(arguments: list[str], words: str) -> None:
    with pytest.raises(CommandError, match=words):
        call_command("process_recording", *arguments)


def test_the_command_makes_no_track_of_a_read_that_is_not_submitted(read: Read) -> None:
    recording = recorded(read, Scene.zoom_and_pan(looks=6), submit=False)
    with pytest.raises(CommandError, match="not submitted, or its station is still uploading"):
        call_command("process_recording", str(recording.pk))


def test_submission_and_sealing_each_wake_the_task(
    read: Read, woken: list[str], django_capture_on_commit_callbacks: Any
) -> None:
    scene = Scene.zoom_and_pan(looks=6)
    recording, _ = recordings.open_recording(read=read)
    store_epoch(recording, scene.rows)
    with django_capture_on_commit_callbacks(execute=True):
        processing.wake(recording_id=recording.pk)
    assert woken == []
    with django_capture_on_commit_callbacks(execute=True):
        submitted(read)
    assert woken == [str(recording.pk)]
    with django_capture_on_commit_callbacks(execute=True):
        processing.wake(recording_id=recording.pk)
    assert len(woken) == 2


def test_a_broker_that_is_away_does_not_undo_a_submission(
    read: Read, monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    from capture.tasks import process_recording

    def refuse(**_: Any) -> None:
        raise ConnectionError("no broker")

    monkeypatch.setattr(process_recording, "apply_async", refuse)
    recordings.open_recording(read=read)
    with django_capture_on_commit_callbacks(execute=True):
        submitted(read)
    read.refresh_from_db()
    assert read.state == Read.State.SUBMITTED


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda s: setattr(s, "states", []), "No viewport state"),
        (lambda s: setattr(s, "exchanges", s.exchanges[:0]), "no usable clock exchange"),
        (lambda s: s.exchanges.__setitem__((slice(None), slice(1, 3)), s.exchanges[:, 1:3] + 1e5), "at the same time"),
    ],
    ids=["no states", "no clock", "another machine's clock"],
)
def test_what_cannot_be_processed_says_why_in_a_sentence(read: Read, spoil: Any, words: str) -> None:
    scene = Scene.zoom_and_pan(looks=6)
    spoil(scene)
    recording = recorded(read, scene)
    assert processing.process(recording_id=recording.pk) is None
    recording.refresh_from_db()
    assert recording.state == Recording.State.FAILED
    assert words in recording.failure


def test_a_display_that_changed_between_epochs_holds_for_its_own_epoch(
    read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording, _ = recordings.open_recording(read=read)
    t = np.arange(0, 2, 1 / 300)
    middle = np.full((len(t), 2), 0.5)
    store_epoch(recording, gaze_samples(100 + t, middle))
    wide = {**DISPLAY.to_dict(), "width_px": 1920, "width_mm": 688}
    monkeypatch.setattr("tests.capture.room.synthetic.STREAMS", {**STREAMS, "1": {**STREAMS["1"], "display": wide}})
    store_epoch(recording, gaze_samples(110 + t, middle, first_number=len(t)))
    at = 1000.0 * np.arange(20)
    exchanges = np.column_stack([at, 95.0001 + at / 1e3, 95.0001 + at / 1e3, at + 0.2])
    store_page(recording, [state(0, 5000.0, [1.0, 0, 0, 1.0, 0, 0])], exchanges)
    submitted(read)
    row = processing.process(recording_id=recording.pk)
    assert row is not None
    track = tracks.load(row)
    first, second = track.t < 5, track.t > 5
    raw = track.screen_x[first][0] / 1280
    np.testing.assert_allclose(track.screen_x[first], 1280 * raw)
    np.testing.assert_allclose(track.screen_x[second], 1920 * raw)
    # The pixels of the wide one are a third larger, and its middle is further away.
    assert track.ppd_x[second][0] < 0.8 * track.ppd_x[first][0]
    assert [d["width_px"] for d in row.quality["displays"]] == [1280, 1920]


def test_each_epoch_is_corrected_by_the_calibration_that_held_in_it(read: Read) -> None:
    scene = Scene.zoom_and_pan(5, looks=6)
    user, station = read.assignment.enrolment.user, recordings.this_station()
    held = [calibrate(user=user, station=station, enrolment=None, measured=measured(seed)).pk for seed in (0, 1)]
    recording, _ = recordings.open_recording(read=read)
    half = len(scene.rows) // 2
    epochs = [store_epoch(recording, rows) for rows in (scene.rows[:half], scene.rows[half:])]
    store_page(recording, scene.states, scene.exchanges)
    submitted(read)
    recording.refresh_from_db()
    for epoch, calibration in zip(epochs, held, strict=True):
        recording.epochs[str(epoch)]["calibration"] = str(calibration)
    recording.save(update_fields=["epochs"])
    both = tracks.load(_processed(recording))
    for half_of, calibration in ((0, held[0]), (1, held[1])):
        for epoch in epochs:
            recording.epochs[str(epoch)]["calibration"] = str(calibration)
        recording.save(update_fields=["epochs"])
        alone = tracks.load(_processed(recording))
        mine = slice(half_of * half, half if half_of == 0 else None)
        other = slice((1 - half_of) * half, half if half_of else None)
        np.testing.assert_array_equal(both.screen_x[mine], alone.screen_x[mine])
        assert (both.screen_x[other] != alone.screen_x[other]).all()
    for epoch in epochs:
        recording.epochs[str(epoch)]["calibration"] = None
    recording.save(update_fields=["epochs"])
    uncorrected = tracks.load(_processed(recording))
    assert np.abs(uncorrected.screen_x - both.screen_x).max() > 10


def _processed(recording: Recording) -> GazeTrack:
    row = processing.process(recording_id=recording.pk)
    assert row is not None
    return row


def test_a_tracker_on_another_clock_is_brought_to_the_agents_by_what_was_measured(read: Read) -> None:
    scene = Scene.zoom_and_pan(3, looks=12)
    recording, _ = recordings.open_recording(read=read)
    ahead = 1234.5
    rows = scene.rows.copy()
    rows[:, 0] += ahead
    at = np.arange(scene.rows[0, 0] - 1, scene.rows[-1, 0] + 5, 5.0)
    clock = np.column_stack([at, np.full(len(at), -ahead), np.full(len(at), 2e-4), at + ahead])
    epoch = store_epoch(recording, rows, clock=clock)
    store_page(recording, scene.states, scene.exchanges)
    submitted(read)
    row = _processed(recording)
    assert row.quality["tracker_offset_ms"] == pytest.approx(-1000 * ahead)
    assert row.quality["tracker_bound_ms"] == pytest.approx(0.2)
    track = tracks.load(row)
    assert track.origin_lsl == pytest.approx(scene.rows[0, 0], abs=1e-6)
    assert (track.state[track.t > 1] >= 0).all()
    # What was recorded is as the tracker sent it.
    (path,) = [p for s, e, p in stored_frames(recording.folder) if s == GAZE and e == epoch]
    assert next(read_frames(path)).t0 == rows[0, 0]


def test_a_page_loaded_again_after_the_wall_clock_was_set_is_read_by_its_own_exchanges(read: Read) -> None:
    recording, _ = recordings.open_recording(read=read)
    t = np.arange(0, 8, 1 / 300)
    store_epoch(recording, gaze_samples(100 + t, np.full((len(t), 2), 0.5)))
    view, set_by = [1.0, 0, 0, 1.0, 0, 0], 1.5  # ms: less than any jump that could be told from delays
    states = [state(0, 5000.0, view, page=1.0), state(1, 6500.0 + set_by, view, page=2.0)]
    states.append(state(2, 7000.0 + set_by, view, page=3.0))
    at = 100.0 * np.arange(10)
    exchanges = [
        np.column_stack([5000 + at, 100 + at / 1e3 + 1e-4, 100 + at / 1e3 + 1e-4, 5000.213 + at, 1 + 0 * at]),
        np.column_stack([6500 + at, 101.5 + at / 1e3 + 1e-4, 101.5 + at / 1e3 + 1e-4, 6500.213 + at, 2 + 0 * at])
        + np.array([set_by, 0, 0, set_by, 0]),
    ]
    store_page(recording, states, np.concatenate(exchanges))
    submitted(read)
    row = _processed(recording)
    track = tracks.load(row)
    assert track.states is not None
    np.testing.assert_allclose(track.states.t, [100.0, 100.9002, 101.5, 102.4002], atol=2e-5)
    assert track.states.shown.tolist() == [True, False, True, False]
    # The third page never exchanged clocks: its state cannot be placed, so from the second's end on nothing is shown.
    assert row.quality["states_without_clock"] == 1
    assert row.clock_bound_ms < 0.3


def test_a_page_whose_clock_began_again_is_read_by_its_own_exchanges(read: Read) -> None:
    recording, _ = recordings.open_recording(read=read)
    browser = np.arange(0, 4, 1 / 300)
    looking = np.full((len(browser), 2), 0.5)
    rows = np.concatenate([gaze_samples(100 + browser, looking), gaze_samples(200 + browser, looking)])
    rows[len(browser) :, 1 + GAZE_CHANNELS.index("FrameNumber")] += len(browser)
    store_epoch(recording, rows)
    first, second = [1.0, 0, 0, 1.0, 0, 0], [2.0, 0, 0, 2.0, 0, 0]
    states = [state(0, 5000.0, first), state(1, 6000.0, first), state(2, 500.0, second), state(3, 900.0, second)]
    at = np.arange(10) * 300.0
    exchanges = np.concatenate(
        [
            np.column_stack([4000 + at, 99 + at / 1e3 + 1e-4, 99 + at / 1e3 + 1e-4, 4000 + at + 0.2]),
            np.column_stack([at, 199.5 + at / 1e3 + 1e-4, 199.5 + at / 1e3 + 1e-4, at + 0.2]),
        ]
    )
    store_page(recording, states, exchanges)
    submitted(read)
    row = processing.process(recording_id=recording.pk)
    assert row is not None
    track = tracks.load(row)
    assert track.state[track.t < 0.99].tolist() == [0] * int((track.t < 0.99).sum())
    # The page was left with its last exchange, at 6.7 s on its clock; its state is hidden from then on.
    assert track.state[(track.t > 1.01) & (track.t < 1.69)].max() == 1
    assert (track.state[(track.t > 1.71) & (track.t < 100)] == -1).all()
    assert np.isfinite(track.x[track.t > 100.5]).all()
    np.testing.assert_allclose(track.screen_x[-1], 2 * track.x[-1])


def test_an_epoch_of_foreign_channels_is_refused(read: Read) -> None:
    from capture.frames import GAZE, Frame, encode
    from capture.services import ingest
    from capture.services.store import FrameFile, frame_path

    recording, _ = recordings.open_recording(read=read)
    epoch = uuid4()
    ingest.begin(recording=recording, epoch=epoch, streams=STREAMS)
    with FrameFile(frame_path(recording.folder, GAZE, epoch), GAZE, epoch) as file:
        file.append([encode(Frame(GAZE, epoch, 0, np.zeros((5, 7))))])
    Read.objects.filter(pk=read.pk).update(state=Read.State.SUBMITTED, submitted_at=timezone.now() - timedelta(hours=1))
    assert processing.process(recording_id=recording.pk) is None
    recording.refresh_from_db()
    assert "standard channels" in recording.failure


@pytest.mark.parametrize(("sealed", "words"), [(True, "not what was sealed"), (False, "damaged at byte")])
def test_a_file_that_was_damaged_on_the_disk_is_not_tried_for_ever(
    read: Read, sealed: bool, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processing, "PATIENCE", timedelta(0))
    scene = Scene.zoom_and_pan(3)
    recording, _ = recordings.open_recording(read=read)
    store_epoch(recording, scene.rows, sealed=sealed)
    store_page(recording, scene.states, scene.exchanges)
    submitted(read)
    path = next(path for stream, _, path in stored_frames(recording.folder) if stream == GAZE)
    path.chmod(0o600)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    assert processing.process(recording_id=recording.pk) is None
    recording.refresh_from_db()
    assert recording.state == Recording.State.FAILED
    assert words in recording.failure
    assert processing.reap() == 0


def test_a_recording_that_takes_too_long_gives_its_worker_back(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    recording = recorded(read, Scene.zoom_and_pan(3))

    def endless(*_: Any, **__: Any) -> None:
        raise SoftTimeLimitExceeded

    monkeypatch.setattr(processing, "join_tracks", endless)
    assert processing.process(recording_id=recording.pk) is None
    recording.refresh_from_db()
    assert (recording.state, processing.reap()) == (Recording.State.FAILED, 0)
    assert "too long" in recording.failure
