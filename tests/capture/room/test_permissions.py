"""Who may look at a recording: told as a table over two studies, and as pages."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import zstandard
from django.test import Client
from django.urls import reverse

from capture.models import Recording
from capture.queries.recordings import recordings_visible_to
from capture.services import processing, recordings
from study.models import Enrolment, Membership, Read, Study, User
from study.queries.reading import image_of
from study.services import frames, reading, studies
from tests.factories import finish_reading, make_answers, make_case, make_study, make_user

from .synthetic import Scene, store_epoch, store_page

pytestmark = pytest.mark.django_db

COORDINATOR, RESEARCHER = Membership.Role.COORDINATOR, Membership.Role.RESEARCHER


def recorded(enrolment: Enrolment, *, submit: bool = True) -> Recording:
    """The reader's next read, recorded without a sample in it."""
    read = reading.open_next(enrolment=enrolment, actor=enrolment.user)
    recording, _ = recordings.open_recording(read=read)
    if submit:
        if read.assignment.arm.assistance == "concurrent":
            reading.reveal_assistance(read=read, actor=enrolment.user)
        reading.submit(read=read, answers=make_answers(read), actor=enrolment.user)
    return recording


def may_see(user: User, recording: Recording) -> bool:
    return recordings_visible_to(user).contains(recording)


@pytest.fixture
def collection() -> Study:
    return make_study(gaze="optional", consented=True, readers=2)


@pytest.fixture
def comparison() -> Study:
    return make_study(Study.Kind.COMPARISON, gaze="optional", consented=True, cases=1)


@pytest.mark.parametrize("role", [COORDINATOR, RESEARCHER])
def test_staff_see_the_recordings_of_their_own_study_only(collection: Study, role: str) -> None:
    recording = recorded(collection.enrolments.all()[0])
    assert may_see(make_user(roles={collection: role}), recording)
    assert not may_see(make_user(roles={make_study(): role}), recording)


def test_a_reader_sees_their_own_recording_once_it_is_submitted(collection: Study) -> None:
    mine, other = collection.enrolments.all()
    assert may_see(mine.user, recorded(mine))
    assert not may_see(other.user, mine.assignments.exclude(read=None).get().read.recording)
    assert not may_see(other.user, recorded(other, submit=False))


def test_nobody_else_sees_anything(collection: Study) -> None:
    recording = recorded(collection.enrolments.all()[0])
    assert not may_see(make_user(), recording)
    for name in ("recording", "track", "frame"):
        assert Client().get(reverse(f"capture:{name}", args=[recording.pk])).status_code in (302, 401)


def test_a_reader_of_a_comparison_sees_their_recordings_only_after_it_is_closed(comparison: Study) -> None:
    enrolment = comparison.enrolments.get()
    recording = recorded(enrolment)
    assert not may_see(enrolment.user, recording)
    finish_reading(enrolment)
    studies.close_study(study=comparison, actor=comparison.created_by)
    assert may_see(enrolment.user, recording)


def test_a_reader_sees_no_recording_of_a_case_they_are_to_read_in_an_open_comparison() -> None:
    case, reader = make_case(), make_user()
    collection = make_study(gaze="optional", consented=True, cases=[case], readers=[reader])
    recording = recorded(collection.enrolments.get())
    assert may_see(reader, recording)
    comparison = make_study(Study.Kind.COMPARISON, cases=[case], readers=[reader], opened=False)
    assert not may_see(reader, recording)
    studies.open_study(study=comparison, actor=comparison.created_by)
    assert not may_see(reader, recording)
    finish_reading(comparison.enrolments.get())
    studies.close_study(study=comparison, actor=comparison.created_by)
    assert may_see(reader, recording)


def test_a_coordinator_who_reads_the_comparison_is_kept_blind_too(comparison: Study) -> None:
    enrolment = comparison.enrolments.get()
    Membership.objects.create(study=comparison, user=enrolment.user, role=COORDINATOR)
    assert not may_see(enrolment.user, recorded(enrolment))


def test_list_and_page_agree(collection: Study) -> None:
    mine, other = collection.enrolments.all()
    own, foreign = recorded(mine), recorded(other)
    client = Client()
    client.force_login(mine.user)
    page = client.get(reverse("capture:recordings"))
    assert page.status_code == 200
    assert str(own.pk) in page.content.decode() and str(foreign.pk) not in page.content.decode()
    assert client.get(reverse("capture:recording", args=[own.pk])).status_code == 200
    for name in ("recording", "track", "frame"):
        assert client.get(reverse(f"capture:{name}", args=[foreign.pk])).status_code == 404


@pytest.fixture
def replayed(settings: Any) -> tuple[Study, Recording, Scene]:
    """A comparison's recording with gaze in it, processed."""
    study = make_study(
        Study.Kind.COMPARISON, gaze="optional", consented=True, cases=[make_case(rows=1000, columns=1000)]
    )
    enrolment = study.enrolments.get()
    read = reading.open_next(enrolment=enrolment, actor=enrolment.user)
    recording, _ = recordings.open_recording(read=read)
    scene = Scene.zoom_and_pan(looks=9)
    store_epoch(recording, scene.rows)
    store_page(recording, scene.states, scene.exchanges)
    if read.assignment.arm.assistance == "concurrent":
        reading.reveal_assistance(read=read, actor=enrolment.user)
    reading.submit(read=read, answers=make_answers(read), actor=enrolment.user)
    assert processing.process(recording_id=recording.pk) is not None
    return study, recording, scene


def as_coordinator(study: Study, name: str, recording: Recording, **headers: str) -> Any:
    client = Client()
    client.force_login(make_user(roles={study: COORDINATOR}))
    return client.get(reverse(f"capture:{name}", args=[recording.pk]), headers=headers)


def test_the_replays_data_hold_gaze_states_and_fixations_in_one_time(replayed: Any) -> None:
    study, recording, scene = replayed
    data = as_coordinator(study, "track", recording).json()
    assert len(data["t"]) == len(data["x"]) == len(data["y"])
    assert len(data["states"]) == len(scene.states)
    assert data["states"][0]["t"] == pytest.approx(1.5 - 1.6, abs=1e-3)
    assert data["duration"] == pytest.approx(scene.rows[-1, 0] - scene.rows[0, 0], abs=1e-3)
    assert 8 <= len(data["fixations"]) <= 12
    assert json.dumps(data, allow_nan=False)


def test_what_was_written_stays_hidden_until_the_comparison_is_unblinded(replayed: Any) -> None:
    study, recording, _ = replayed
    assert as_coordinator(study, "track", recording).json()["sentences"] == []
    finish_reading(study.enrolments.get())
    studies.close_study(study=study, actor=study.created_by)
    # Unblinding itself asks for a locked analysis plan, which is another room's business.
    Study.objects.filter(pk=study.pk).update(state=Study.State.UNBLINDED)
    sentences = as_coordinator(study, "track", recording).json()["sentences"]
    assert [s["text"] for s in sentences] == ["The lungs are clear."]


def test_the_page_states_the_quality_of_the_recording(replayed: Any) -> None:
    study, recording, scene = replayed
    page = as_coordinator(study, "recording", recording).content.decode()
    assert f"{len(scene.rows)} at 300 Hz" in page
    assert "no calibration: gaze is as the tracker gave it" in page
    assert "every sample the tracker numbered is stored" in page


def test_the_frame_is_the_images_own_and_is_not_sent_twice(replayed: Any) -> None:
    study, recording, _ = replayed
    image = image_of(Read.objects.get(recording=recording))
    plain = as_coordinator(study, "frame", recording)
    assert plain.content == frames.plain(image)
    packed = as_coordinator(study, "frame", recording, accept_encoding="gzip, zstd")
    assert packed["Content-Encoding"] == "zstd"
    size = image.rows * image.columns * 2
    assert zstandard.ZstdDecompressor().decompress(packed.content, max_output_size=size) == plain.content
    assert as_coordinator(study, "frame", recording, if_none_match=plain["ETag"]).status_code == 304


def test_an_unprocessed_recording_has_a_page_that_says_so(collection: Study) -> None:
    recording = recorded(collection.enrolments.all()[0])
    assert "not complete yet" in as_coordinator(collection, "recording", recording).content.decode()
    answer = as_coordinator(collection, "track", recording)
    assert answer.status_code == 409 and "not been processed" in answer.json()["error"]


def test_a_failed_recording_says_why(collection: Study) -> None:
    recording = recorded(collection.enrolments.all()[0])
    store_epoch(recording, np.asarray(Scene.zoom_and_pan(looks=3).rows))
    processing.process(recording_id=recording.pk)
    assert "No viewport state arrived" in as_coordinator(collection, "recording", recording).content.decode()
