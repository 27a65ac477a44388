"""Drift checks: when one is due, how it is judged, what follows from it, and what is refused."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from django.test import Client, RequestFactory
from django.urls import reverse
from django.utils import timezone

from capture import hooks
from capture.models import Calibration, DriftCheck
from capture.queries import calibrations as queries
from capture.queries.stations import SESSION_KEY
from capture.services import recordings
from capture.services.calibrations import calibrate
from capture.services.drift import check_drift
from study.models import Enrolment, ProtocolVersion, User
from study.queries.reading import next_assignment_of
from study.services import reading, studies
from tests.factories import make_answers, make_study, make_user

from .synthetic import DISPLAY, calibration_points, measured

pytestmark = pytest.mark.django_db

CENTRE = [(0.5, 0.5)]


@pytest.fixture
def enrolment() -> Enrolment:
    """A calibrated reader of a study that checks drift every two cases or every hour, and allows one degree."""
    study = make_study(gaze="required", consented=True, cases=4, opened=False)
    rules = {"max_accuracy_deg": 1.5, "max_data_loss": 0.3, "drift_every_cases": 2, "drift_every_minutes": 60}
    protocol = ProtocolVersion.objects.get(study=study)
    protocol.body = {**protocol.body, "calibration": {**rules, "max_drift_deg": 1.0}}
    protocol.save()
    studies.open_study(study=study, actor=study.created_by)
    enrolment: Enrolment = study.enrolments.get()
    calibrate(user=enrolment.user, station=recordings.this_station(), enrolment=enrolment, measured=measured())
    return enrolment


def look(shift: float = 0.0) -> dict[str, Any]:
    """What the page posts; `shift` is how far beside the point the reader looks, share of the display's width."""
    point = calibration_points(CENTRE, np.random.default_rng(3), shift=shift)[0]
    return {"display": DISPLAY.to_dict(), "point": point}


def check(enrolment: Enrolment, shift: float = 0.0) -> DriftCheck:
    return check_drift(
        user=enrolment.user, station=recordings.this_station(), enrolment=enrolment, measured=look(shifted(shift))
    )


def shifted(degrees: float) -> float:
    """Degrees to the right at the centre as a share of the display's width."""
    return degrees * DISPLAY.px_per_degree[0] / DISPLAY.width_px


def refusal(enrolment: Enrolment) -> Any:
    """The first refusal of this room before the next case, as the worklist asks."""
    assignment = next_assignment_of(enrolment)
    assert assignment is not None
    request = RequestFactory().get("/")
    request.session = {SESSION_KEY: str(recordings.this_station().uuid)}  # type: ignore[assignment]
    return hooks.needs_calibration(assignment, request) or hooks.needs_drift_check(assignment, request)


def read_one(enrolment: Enrolment) -> None:
    read = reading.open_next(enrolment=enrolment, actor=enrolment.user)
    reading.submit(read=read, answers=make_answers(read), actor=enrolment.user)


def post(user: User, body: Any) -> Any:
    client = Client()
    client.force_login(user)
    session = client.session
    session[SESSION_KEY] = str(recordings.this_station().uuid)
    session.save()
    return client.post(reverse("capture:drift_checks"), json.dumps(body), content_type="application/json")


def test_a_check_is_due_after_so_many_cases_and_a_good_one_starts_the_count_again(enrolment: Enrolment) -> None:
    assert refusal(enrolment) is None
    read_one(enrolment)
    assert refusal(enrolment) is None
    read_one(enrolment)
    asked = refusal(enrolment)
    assert asked.url == f"/capture/drift/?enrolment={enrolment.pk}"
    assert "look at one point" in asked.sentence
    assert check(enrolment).passed
    assert refusal(enrolment) is None


def test_a_check_is_due_after_so_many_minutes(enrolment: Enrolment, monkeypatch: pytest.MonkeyPatch) -> None:
    later = timezone.now() + timedelta(minutes=61)
    monkeypatch.setattr(queries.timezone, "now", lambda: later)
    assert refusal(enrolment).url.startswith("/capture/drift/")


def test_a_drift_beyond_the_threshold_asks_for_calibration_until_a_look_is_good_again(enrolment: Enrolment) -> None:
    found = check(enrolment, 1.4)
    assert not found.passed and found.drift_x_deg == pytest.approx(1.4, abs=0.1)
    asked = refusal(enrolment)
    assert "drifted by 1.4°" in asked.sentence and asked.url.startswith("/capture/station/")
    assert check(enrolment).passed
    assert refusal(enrolment) is None
    check(enrolment, 1.4)
    calibrate(user=enrolment.user, station=recordings.this_station(), enrolment=enrolment, measured=measured())
    assert refusal(enrolment) is None


def test_a_study_without_the_keys_never_asks() -> None:
    enrolment = make_study(gaze="required", consented=True, cases=3).enrolments.get()
    calibrate(user=enrolment.user, station=recordings.this_station(), enrolment=enrolment, measured=measured())
    read_one(enrolment)
    read_one(enrolment)
    assert refusal(enrolment) is None


def test_closed_eyes_are_stored_and_neither_pass_nor_count_as_drift(enrolment: Enrolment) -> None:
    blind = look()
    blind["point"] |= {"valid_left": [False] * 80, "valid_right": [False] * 80}
    answer = post(enrolment.user, {"enrolment": enrolment.pk, **blind})
    assert answer.status_code == 200 and answer.json()["passed"] is False
    assert DriftCheck.objects.get().drift_deg is None
    assert refusal(enrolment) is None


def test_the_page_posts_and_everything_is_stored(enrolment: Enrolment) -> None:
    answer = post(enrolment.user, {"enrolment": enrolment.pk, **look(shifted(0.5))})
    assert answer.status_code == 200 and answer.json()["passed"] is True
    stored = DriftCheck.objects.get()
    assert stored.calibration == Calibration.objects.get() and stored.user == enrolment.user
    assert stored.drift_deg == pytest.approx(0.5, abs=0.1) and stored.max_drift_deg == 1.0
    assert len(stored.samples["left"]) == 80


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"point": None}, "not an object"),
        ({"display": None}, "display is not described"),
        ({"display": {**DISPLAY.to_dict(), "width_px": 1920}}, "calibration was made on 1280"),
        ({"point": {**look()["point"], "x": 0.3}}, "not the drift check's"),
        ({"point": {**look()["point"], "shown": 500.0}}, "before it was shown"),
        ({"point": {**look()["point"], "left": [[640, 400]] * 80}}, "not pixels"),
        ({"enrolment": None}, "needs the enrolment"),
    ],
    ids=["no point", "no display", "another display", "another target", "too early", "pixels", "no enrolment"],
)
def test_what_is_no_drift_check_is_refused_and_nothing_stored(enrolment: Enrolment, change: Any, words: str) -> None:
    answer = post(enrolment.user, {"enrolment": enrolment.pk, **look(), **change})
    assert answer.status_code == 400 and words in answer.json()["error"]
    assert not DriftCheck.objects.exists()


def test_nobody_checks_for_another_or_without_a_calibration(enrolment: Enrolment) -> None:
    assert post(make_user(), {"enrolment": enrolment.pk, **look()}).status_code == 403
    fresh = make_study(gaze="required", consented=True).enrolments.get()
    answer = post(fresh.user, {"enrolment": fresh.pk, **look()})
    assert answer.status_code == 409 and "calibrate first" in answer.json()["error"]
    assert not DriftCheck.objects.exists()


def test_a_recording_knows_the_checks_around_it(enrolment: Enrolment) -> None:
    before = check(enrolment)
    recording, _ = recordings.open_recording(read=reading.open_next(enrolment=enrolment, actor=enrolment.user))
    after = check(enrolment, 0.6)
    check(enrolment, 0.2)
    assert queries.drift_around(recording) == (before, after)


def test_the_page_of_the_check_names_its_threshold_and_is_nobody_elses(enrolment: Enrolment) -> None:
    for user, status in ((enrolment.user, 200), (make_user(), 404)):
        client = Client()
        client.force_login(user)
        answer = client.get(reverse("capture:drift"), {"enrolment": enrolment.pk})
        assert answer.status_code == status
        if status == 200:
            assert "allows a drift of 1°" in answer.content.decode()
