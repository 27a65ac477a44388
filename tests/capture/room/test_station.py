from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client, RequestFactory
from django.urls import reverse
from django.utils import timezone

from capture import hooks
from capture.models import Calibration, Recording, RecordingToken, Station
from capture.queries import calibrations as queries
from capture.queries.stations import SESSION_KEY
from capture.services import recordings
from capture.services.calibrations import calibrate
from study.models import Enrolment, Read, User
from study.queries.reading import next_assignment_of
from study.services import reading
from study.services.errors import BadInput
from tests.factories import make_study, make_user

from .synthetic import measured

pytestmark = pytest.mark.django_db


def passed(user: User, enrolment: Enrolment | None = None, **changes: Any) -> Calibration:
    return calibrate(user=user, station=recordings.this_station(), enrolment=enrolment, measured=measured(**changes))


@pytest.fixture
def required() -> Enrolment:
    """A consenting reader of a study that requires gaze."""
    return make_study(gaze="required", consented=True).enrolments.get()


def refusal(enrolment: Enrolment) -> Any:
    assignment = next_assignment_of(enrolment)
    assert assignment is not None
    request = RequestFactory().get("/")
    request.session = at_this_station()  # type: ignore[attr-defined]
    return hooks.needs_calibration(assignment, request)


def at_this_station() -> Any:
    """The session of a browser whose page has found the agent of this machine."""
    return {SESSION_KEY: str(recordings.this_station().uuid)}


def post(user: User, body: Any) -> Any:
    client = Client()
    client.force_login(user)
    session = client.session
    session.update(at_this_station())
    session.save()
    return client.post(reverse("capture:calibrations"), json.dumps(body), content_type="application/json")


def test_of_a_tracker_only_its_few_facts_are_kept_and_none_without_bound(required: Enrolment) -> None:
    told = {"found": True, "name": "n" * 5000, "serial": {"a": ["b"] * 500}, "rate_hz": 10**400, "junk": "j" * 5000}
    station = recordings.this_station()
    made = calibrate(user=required.user, station=station, enrolment=required, measured=measured(tracker=told))
    made.refresh_from_db()
    assert set(made.tracker) == {"found", "name", "serial", "rate_hz"}
    assert (made.tracker["found"], made.tracker["name"], made.tracker["rate_hz"]) == (True, "n" * 80, None)
    assert len(made.tracker["serial"]) == 80
    station.refresh_from_db()
    assert station.tracker == made.tracker


def test_the_server_computes_the_correction_and_stores_everything(required: Enrolment) -> None:
    answer = post(required.user, {"enrolment": required.pk, **measured()})
    assert answer.status_code == 200
    assert answer.json()["passed"] is True
    stored = Calibration.objects.get()
    assert stored.user == required.user and stored.enrolment == required
    assert stored.accuracy_deg is not None and stored.accuracy_deg < 0.2
    assert len(stored.points) == 5 and len(stored.samples["calibration"]) == 5
    # The inverse of the tracker's distortion: 1.04 up and down for the left eye.
    assert stored.correction["left"][3] == pytest.approx(1 / 1.04, abs=0.02)
    assert Station.objects.get().display["width_px"] == 1280


def test_a_reader_who_looks_beside_the_points_fails_with_a_sentence(required: Enrolment) -> None:
    answer = post(required.user, {"enrolment": required.pk, **measured(shift=0.06)})
    assert answer.status_code == 200
    assert answer.json()["passed"] is False
    assert "1.50° or better is asked for" in answer.json()["sentence"]
    assert Calibration.objects.get().passed is False


def test_the_thresholds_are_those_of_the_protocol(required: Enrolment) -> None:
    protocol = required.study.protocols.get()
    body = {**protocol.body, "calibration": {"max_accuracy_deg": 0.01, "max_data_loss": 0.2}}
    passed(required.user)
    here = recordings.this_station()
    assert queries.is_calibrated(required.user, protocol.body, here)
    assert not queries.is_calibrated(required.user, body, here)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"display": None}, "display is not described"),
        ({"display": {"width_px": 0}}, "display geometry lacks height_px"),
        ({"tracker": ["Tobii"]}, "tracker is not described"),
        ({"calibration": []}, "lacks the target at (0.5, 0.5)"),
        ({"validation": "no"}, "list of at most"),
        ({"validation": [{"x": 1}]}, "A point needs"),
    ],
    ids=["no display", "half a display", "a list for a tracker", "no points", "text", "half a point"],
)
def test_what_is_no_measurement_is_refused_and_nothing_stored(required: Enrolment, change: Any, words: str) -> None:
    answer = post(required.user, {**measured(), **change})
    assert answer.status_code == 400
    assert words in answer.json()["error"]
    assert not Calibration.objects.exists()


def test_somebody_elses_enrolment_is_refused(required: Enrolment) -> None:
    answer = post(make_user(), {"enrolment": required.pk, **measured()})
    assert answer.status_code == 403
    assert "not a reader under this enrolment" in answer.json()["error"]
    assert not Calibration.objects.exists()


def test_nobody_calibrates_signed_out() -> None:
    assert Client().post(reverse("capture:calibrations"), "{}", content_type="application/json").status_code == 401


def test_a_required_study_opens_no_case_without_a_calibration_and_says_where_to_make_one(required: Enrolment) -> None:
    answer = refusal(required)
    assert answer is not None
    assert answer.url.startswith("/capture/station/?next=%2Fworklist%2F&enrolment=")
    passed(required.user)
    assert refusal(required) is None


def test_the_worklist_sends_an_uncalibrated_reader_to_the_station(required: Enrolment) -> None:
    client = Client()
    client.force_login(required.user)
    answer = client.post(reverse("study:next", args=[required.pk]))
    assert answer.status_code == 302 and answer.url.startswith("/capture/station/")
    assert not Read.objects.exists()


def test_a_calibration_of_yesterday_no_longer_counts(required: Enrolment, monkeypatch: pytest.MonkeyPatch) -> None:
    passed(required.user)
    later = timezone.now() + timedelta(hours=8, minutes=1)
    monkeypatch.setattr(queries.timezone, "now", lambda: later)
    assert refusal(required) is not None


def test_a_later_failure_does_not_undo_a_passed_calibration(required: Enrolment) -> None:
    first = passed(required.user)
    passed(required.user, shift=0.06)
    assert queries.latest_passed(required.user, recordings.this_station()) == first
    assert refusal(required) is None


def test_another_readers_calibration_does_not_count(required: Enrolment) -> None:
    passed(make_user())
    assert refusal(required) is not None


@pytest.mark.parametrize("gaze", ["none", "optional"])
def test_only_a_required_study_refuses(gaze: str) -> None:
    assert refusal(make_study(gaze=gaze, consented=True).enrolments.get()) is None


def test_a_required_study_refuses_without_consent(db: None) -> None:
    enrolment = make_study(gaze="required", consented=False).enrolments.get()
    passed(enrolment.user)
    answer = refusal(enrolment)
    assert answer is not None and "consent" in answer.sentence


def capture_config(enrolment: Enrolment) -> Any:
    read = reading.open_next(enrolment=enrolment, actor=enrolment.user)
    return hooks.reading_room(read, RequestFactory().get("/", headers={"host": "localhost:8000"}))


def test_the_reading_room_is_told_how_to_record_and_no_secret(enrolment: Enrolment) -> None:
    config = capture_config(enrolment)
    recording = Recording.objects.get()
    assert config == {
        "recording": str(recording.pk),
        "pageSocket": f"/ws/page/{recording.pk}/",
        "ingestSocket": "ws://localhost:8000/ws/ingest/",
        "agent": "ws://127.0.0.1:8765/",
        "enter": "/capture/station/enter/",
        "required": False,
    }
    assert not RecordingToken.objects.exists()


@pytest.mark.parametrize(("gaze", "consented"), [("none", True), ("optional", False)], ids=["no gaze", "no consent"])
def test_nothing_is_recorded_where_nothing_may_be(gaze: str, consented: bool) -> None:
    enrolment = make_study(gaze=gaze, consented=consented).enrolments.get()
    assert capture_config(enrolment) is None
    assert not Recording.objects.exists() and not RecordingToken.objects.exists()


def test_the_page_of_the_reading_room_carries_the_recording(enrolment: Enrolment) -> None:
    read = reading.open_next(enrolment=enrolment, actor=enrolment.user)
    client = Client()
    client.force_login(enrolment.user)
    answer = client.get(reverse("study:read", args=[read.pk]))
    assert answer.status_code == 200
    assert answer.context["config"]["capture"]["recording"] == str(read.recording.pk)


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        ("/worklist/", "/worklist/"),
        ("https://elsewhere.example/", "/"),
        ("//elsewhere.example/", "/"),
        ("javascript:alert(1)", "/"),
        ("", "/"),
    ],
)
def test_the_station_leads_only_to_places_of_this_site(enrolment: Enrolment, asked: str, given: str) -> None:
    client = Client()
    client.force_login(enrolment.user)
    answer = client.get(reverse("capture:station"), {"next": asked, "enrolment": enrolment.pk})
    assert answer.status_code == 200
    assert answer.context["next"] == given


def test_the_station_of_somebody_elses_enrolment_is_not_found(enrolment: Enrolment) -> None:
    client = Client()
    client.force_login(make_user())
    assert client.get(reverse("capture:station"), {"enrolment": enrolment.pk}).status_code == 404


def test_the_monitor_shows_the_latest_validation_of_each_reader(required: Enrolment) -> None:
    passed(required.user, required)
    heading, texts = hooks.calibration_column(required.study)
    assert heading == "Calibration"
    assert texts[required.pk].endswith("°, 0 % lost")


def test_calibrating_nobody_raises_a_sentence(required: Enrolment) -> None:
    with pytest.raises(BadInput, match="display"):
        calibrate(user=required.user, station=recordings.this_station(), enrolment=None, measured={})
