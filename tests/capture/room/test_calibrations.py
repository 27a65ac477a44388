"""The page of calibration quality: who sees what, what it says, its tables; and measuring bad points again."""

from __future__ import annotations

import csv
import io
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from capture import hooks
from capture.models import Calibration
from capture.queries.calibrations import calibrations_visible_to
from capture.services import calibrations as service
from capture.services import recordings
from capture.services.calibration_report import report
from capture.services.calibrations import bad_points, calibrate
from study.models import Membership, Study, User
from study.services.errors import BadInput
from tests.factories import make_study, make_user

from .synthetic import calibration_points, measured

pytestmark = pytest.mark.django_db

ROLE: Any = Membership.Role


@pytest.fixture
def study() -> Study:
    """Two readers, each calibrated under it; the first failed once before."""
    study = make_study(gaze="required", consented=True, readers=2)
    first, second = study.enrolments.all()
    for enrolment, shift in ((first, 0.06), (first, 0.0), (second, 0.0)):
        run(enrolment, shift=shift)
    return study


def run(enrolment: Any, **changes: Any) -> Calibration:
    body = measured(**changes)
    return calibrate(user=enrolment.user, station=recordings.this_station(), enrolment=enrolment, measured=body)


def get(user: User, name: str, *args: Any) -> Any:
    client = Client()
    client.force_login(user)
    return client.get(reverse(f"capture:{name}", args=args))


@pytest.mark.parametrize(
    ("who", "status", "rows"),
    [("coordinator", 200, 3), ("researcher", 200, 3), ("first", 200, 2), ("second", 200, 1), ("stranger", 404, 0)],
)
def test_staff_see_all_readers_see_their_own_and_others_nothing(study: Study, who: str, status: int, rows: int) -> None:
    first, second = study.enrolments.all()
    user = {
        "coordinator": study.created_by,
        "researcher": make_user(roles={study: ROLE.RESEARCHER}),
        "first": first.user,
        "second": second.user,
        "stranger": make_user(roles={make_study(): ROLE.COORDINATOR}),
    }[who]
    assert calibrations_visible_to(user, study).count() == rows
    assert get(user, "quality", study.slug).status_code == status
    answer = get(user, "quality_csv", study.slug, "calibrations")
    assert answer.status_code == status
    if status == 200:
        assert len(list(csv.DictReader(io.StringIO(answer.content.decode())))) == rows


def test_nobody_sees_it_signed_out(study: Study) -> None:
    assert Client().get(reverse("capture:quality", args=[study.slug])).status_code == 302


def test_the_page_says_what_failed_in_words_and_draws_every_point(study: Study) -> None:
    page = get(study.created_by, "quality", study.slug).content.decode()
    assert "2 of 3 calibrations passed" in page
    assert "1 of 2 calibrations failed" in page and "too far" in page
    assert page.count('class="target-cross"') == 15
    assert "correction: both eyes affine" in page


def test_the_points_table_has_units_in_its_heads(study: Study) -> None:
    rows = list(
        csv.DictReader(io.StringIO(get(study.created_by, "quality_csv", study.slug, "points").content.decode()))
    )
    assert len(rows) == 15
    assert {"target_x_share", "accuracy_deg", "rms_s2s_deg", "data_loss"} <= set(rows[0])
    assert all(float(row["accuracy_deg"]) >= 0 for row in rows)


def test_a_table_nobody_knows_is_not_found(study: Study) -> None:
    assert get(study.created_by, "quality_csv", study.slug, "samples").status_code == 404


def test_an_unusually_bad_session_is_called_an_outlier() -> None:
    study = make_study(gaze="required", consented=True, readers=9)
    for k, enrolment in enumerate(study.enrolments.all()):
        run(enrolment, seed=k, shift=0.03 if k == 4 else 0.0)
    remarks = {s.reader: s.remarks for s in report(study, study.created_by).sessions}
    assert [reader for reader, said in remarks.items() if any("outlier" in r for r in said)] == ["R05"]


def test_the_studys_page_leads_there_and_its_monitor_names_the_accuracy(study: Study) -> None:
    assert ("Calibration quality", f"/capture/studies/{study.slug}/calibrations/") in hooks.links(
        study, study.created_by
    )
    _, texts = hooks.calibration_column(study)
    assert all(text.endswith("°, 0 % lost") for text in texts.values()) and len(texts) == 2


# ── measuring bad points again ────────────────────────────────────────────────────────────────────────────────────────


def blinked(kind: str, number: int) -> dict[str, Any]:
    """A whole measurement in which the eyes were closed at one point."""
    body = measured()
    body[kind][number] |= {"valid_left": [False] * 80, "valid_right": [False] * 80}
    return body


def again(enrolment: Any, earlier: Calibration, **changes: Any) -> Calibration:
    targets = bad_points(earlier)
    body = {
        **measured(),
        **{kind: calibration_points(points, np.random.default_rng(5)) for kind, points in targets.items()},
        "repeats": str(earlier.pk),
        **changes,
    }
    return calibrate(user=enrolment.user, station=recordings.this_station(), enrolment=enrolment, measured=body)


def test_only_the_bad_point_is_measured_again_and_both_rows_stay(study: Study) -> None:
    enrolment = study.enrolments.all()[0]
    failed = calibrate(
        user=enrolment.user, station=recordings.this_station(), enrolment=enrolment, measured=blinked("validation", 2)
    )
    assert not failed.passed and bad_points(failed) == {"calibration": [], "validation": [(0.7, 0.25)]}
    mended = again(enrolment, failed)
    assert mended.passed and mended.repeats == failed
    assert mended.retaken == {"calibration": [], "validation": [(0.7, 0.25)]}
    kept = [k for k in range(5) if mended.samples["validation"][k] == failed.samples["validation"][k]]
    assert kept == [0, 1, 3, 4] and mended.samples["calibration"] == failed.samples["calibration"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"repeats": "mine"}, "not your last calibration"),
        ({"validation": calibration_points([(0.2, 0.2)], np.random.default_rng(0))}, "not asked for"),
        ({"validation": []}, "No point was measured again"),
        ({"display": {**measured()["display"], "width_px": 1920}}, "display is not the one"),
    ],
)
def test_what_is_no_repetition_is_refused_and_nothing_stored(study: Study, changes: Any, words: str) -> None:
    enrolment = study.enrolments.all()[0]
    failed = calibrate(
        user=enrolment.user, station=recordings.this_station(), enrolment=enrolment, measured=blinked("validation", 2)
    )
    count = Calibration.objects.count()
    with pytest.raises(BadInput, match=words):
        again(enrolment, failed, **changes)
    assert Calibration.objects.count() == count


def test_points_of_long_ago_or_of_another_reader_are_not_taken_over(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = study.enrolments.all()
    failed = calibrate(
        user=first.user, station=recordings.this_station(), enrolment=first, measured=blinked("validation", 2)
    )
    with pytest.raises(BadInput, match="not your last"):
        again(second, failed)
    later = timezone.now() + timedelta(minutes=16)
    monkeypatch.setattr(service.timezone, "now", lambda: later)
    with pytest.raises(BadInput, match="not your last"):
        again(first, failed)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda b: b["calibration"].pop(), "calibration lacks the target"),
        (lambda b: b["validation"].append(b["validation"][0]), "has a target twice"),
        (lambda b: b["calibration"][1].update(x=0.25), "not asked for"),
        (lambda b: b["calibration"][1].update(x=640), "does not lie on the display"),
        (lambda b: b["validation"][0].update(shown=1e6), "before it was shown"),
        (lambda b: b["validation"][0].update(left=[[640, 400]] * 80), "not pixels"),
    ],
    ids=["a point is missing", "twice", "another target", "target in pixels", "too early", "gaze in pixels"],
)
def test_points_that_were_not_asked_for_or_are_not_measured_are_refused(study: Study, spoil: Any, words: str) -> None:
    enrolment, count = study.enrolments.all()[0], Calibration.objects.count()
    body = measured()
    spoil(body)
    with pytest.raises(BadInput, match=words):
        calibrate(user=enrolment.user, station=recordings.this_station(), enrolment=enrolment, measured=body)
    assert Calibration.objects.count() == count
