"""Gaze measures on the site: made from real recordings, and shown to nobody who may not know the truth."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from capture.gaze import clocks, quality, radiology
from capture.gaze.calibration import IDENTITY
from capture.gaze.radiology import Parameters
from capture.models import GazeMeasures, GazeTrack, Recording
from capture.queries.measures import COLUMNS, recordings_measured_for, recordings_measured_in
from capture.services import measuring, processing, recordings
from capture.tasks import measure_track, process_recording
from study.models import AuditEntry, Enrolment, Membership, ProtocolVersion, Study, User
from study.services import reading, studies
from study.services.errors import BadInput, Refused
from study.services.protocol_body import check_body, collection_body
from tests.factories import finish_reading, make_answers, make_case, make_study, make_user

from .synthetic import DISTORTION, Scene, store_epoch, store_page
from .test_importing_gaze import DISPLAY, SIZE, image_id, taken, written

pytestmark = pytest.mark.django_db

COORDINATOR, RESEARCHER = Membership.Role.COORDINATOR, Membership.Role.RESEARCHER
#: One eye path for all tests, before a tracker that needs no calibration: where it rested and when is known.
with patch.dict(DISTORTION, left=IDENTITY, right=IDENTITY):
    SCENE = Scene.zoom_and_pan(looks=12, noise_deg=0.05)
SEEN = SCENE.fixations[4]
#: The image appears at 1.5 browser seconds; the first sample comes at 1.6.
FIRST_SAMPLE = 1.6


def around(x: float, y: float, half: float = 3.0) -> list[float]:
    return [x - half, y - half, x + half, y + half]


def never_seen() -> list[float]:
    """A box that the widest field of any look stays away from."""
    grid = np.stack(np.meshgrid(np.arange(20, 1000, 20.0), np.arange(20, 1000, 20.0)), axis=-1).reshape(-1, 2)
    looks = np.array([f[:2] for f in SCENE.fixations])
    distance = np.hypot(*(grid[:, None] - looks[None]).transpose(2, 0, 1)).min(axis=1)
    return around(*grid[distance.argmax()])


@pytest.fixture(autouse=True)
def measuring_woken(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The tracks whose measuring was sent to Celery; there is no broker in these tests."""
    sent: list[int] = []
    monkeypatch.setattr(measure_track, "apply_async", lambda *, kwargs, retry: sent.append(kwargs["track_id"]))
    return sent


@dataclass
class Seen:
    """A study, and one recording of it with gaze in it."""

    study: Study
    enrolment: Enrolment
    recording: Recording
    track: GazeTrack


def record(enrolment: Enrolment, *, events: Any = (), confidence: Any = 1, **answers: Any) -> Recording:
    """The reader's next read with SCENE as its gaze, processed."""
    read = reading.open_next(enrolment=enrolment, actor=enrolment.user)
    recording, _ = recordings.open_recording(read=read)
    store_epoch(recording, SCENE.rows)
    store_page(recording, SCENE.states, SCENE.exchanges)
    if read.assignment.arm.assistance == "concurrent":
        reading.reveal_assistance(read=read, actor=enrolment.user)
    if events:
        reading.record_events(read=read, events=list(events), actor=enrolment.user)
    reading.submit(read=read, answers=make_answers(read, confidence=confidence, **answers), actor=enrolment.user)
    assert processing.process(recording_id=recording.pk) is not None
    return Recording.objects.get(pk=recording.pk)


def seen(
    *,
    findings: dict[str, Any] | None = None,
    kind: Any = Study.Kind.COLLECTION,
    gaze_measures: dict[str, Any] | None = None,
    **how: Any,
) -> Seen:
    case = make_case(
        rows=1000, columns=1000, findings={"Lung Lesion": around(*SEEN[:2])} if findings is None else findings
    )
    study = make_study(kind, gaze="optional", consented=True, cases=[case], opened=False)
    if gaze_measures is not None:
        protocol = ProtocolVersion.objects.get(study=study)
        ProtocolVersion.objects.filter(pk=protocol.pk).update(body={**protocol.body, "gaze_measures": gaze_measures})
    studies.open_study(study=study, actor=study.created_by)
    enrolment = study.enrolments.get()
    recording = record(enrolment, **how)
    return Seen(study, enrolment, recording, recording.tracks.get())


def finding(measures: GazeMeasures, name: str = "Lung Lesion") -> dict[str, Any]:
    return next(f for f in measures.body["read"]["findings"] if f["finding"] == name)


# ── what is measured ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_measures_follow_the_eye() -> None:
    made = measuring.measure(track=seen(gaze_measures={"field_deg": 0.5}).track)
    looks = finding(made)["looks"]
    assert looks["time_to_first_fixation_s"] == pytest.approx(SEEN[2] - FIRST_SAMPLE, abs=0.03)
    assert looks["dwell_s"] == pytest.approx(SEEN[3], abs=0.05)
    assert (looks["visits"], looks["revisits"]) == (1, 0)
    whole = made.body["read"]
    assert whole["viewing_s"] == pytest.approx(SCENE.rows[-1, 0] - SCENE.rows[0, 0], abs=0.02)
    assert 0 < whole["coverage"]["2.5"] < whole["coverage"]["5"] < 1
    assert 0 < whole["stationary_entropy"] <= 1
    assert made.body["quality"]["rms_s2s"] == pytest.approx(0.05 * 2, rel=0.25)


def test_a_miss_is_classified_by_the_studys_own_parameters() -> None:
    """By default so short a look would be a recognition error."""
    found = finding(measuring.measure(track=seen(gaze_measures={"field_deg": 0.5, "dwell_s": 0.1}).track))
    assert (found["reported"], found["kundel"]) == (False, "decision")


def test_a_finding_that_was_marked_elsewhere_was_missed() -> None:
    here, there = list(SEEN[:2]), never_seen()
    marks = {
        "Pneumothorax": None,
        "Lung Lesion": here,
        "Consolidation": around(*here, half=60),
        "Cardiomegaly": [1.0, 1.0],
        "Pleural Effusion": there,
    }
    made = seen(
        findings=dict.fromkeys(marks, around(*here)),
        confidence=dict.fromkeys(marks, 5),
        marks=[
            {"finding": name, "shape": "point" if len(points) == 2 else "box", "points": points, "confidence": 4}
            for name, points in marks.items()
            if points is not None
        ],
    )
    found = measuring.measure(track=made.track).body["read"]["findings"]
    assert [f["finding"] for f in found if f["reported"]] == ["Pneumothorax", "Lung Lesion", "Consolidation"]
    assert [f["finding"] for f in found if f["marked_elsewhere"]] == ["Cardiomegaly", "Pleural Effusion"]


def test_a_normal_image_has_no_finding_and_one_without_a_truth_says_so() -> None:
    made = measuring.measure(track=seen(findings={}).track)
    assert made.body["read"]["findings"] == [] and made.body["reference"] is True
    case = make_case(rows=1000, columns=1000, reference=False)
    study = make_study(gaze="optional", consented=True, cases=[case])
    unknown = measuring.measure(track=record(study.enrolments.get()).tracks.get())
    assert unknown.body["reference"] is False and unknown.inputs["reference"] is None


def test_assistance_is_timed_by_what_the_page_said_of_it() -> None:
    """The panel lies over the whole display for one second, then scrolls away."""
    everywhere, nowhere = [0, 0, 1280, 800], [0, 5000, 10, 10]
    events = [
        {"seq": 0, "kind": "assistance_shown", "t": 3000.0, "payload": {}},
        {"seq": 1, "kind": "assistance_placed", "t": 3000.0, "payload": {"rect": everywhere}},
        {"seq": 2, "kind": "assistance_placed", "t": 4000.0, "payload": {"rect": nowhere}},
    ]
    made = comparison(events)
    shown = measuring.measure(track=made.track).body["read"]["assistance"]
    assert shown["revealed_s"] == pytest.approx(3.0 - FIRST_SAMPLE, abs=0.01)
    assert shown["viewing_before_s"] == pytest.approx(3.0 - FIRST_SAMPLE, abs=0.01)
    assert shown["panel_s"] == pytest.approx(1.0, abs=0.02)
    assert shown["boxes"] == 1
    # The model's box is the upper left quarter: what of the eye's path was there is known.
    quarter = [f for f in SCENE.fixations if 1 <= f[0] <= 500 and 2 <= f[1] <= 500]
    assert shown["boxes_after_s"] >= sum(f[3] for f in quarter if f[2] > 3.0) - 0.1 * len(quarter)


def comparison(events: Any = ()) -> Seen:
    """A recording of the assisted arm of an open comparison."""
    case = make_case(rows=1000, columns=1000, findings={"Lung Lesion": around(*SEEN[:2])})
    study = make_study(Study.Kind.COMPARISON, gaze="optional", consented=True, cases=[case])
    enrolment = study.enrolments.get()
    first = reading.open_next(enrolment=enrolment, actor=enrolment.user)
    if first.assignment.arm.assistance == "none":
        reading.submit(read=first, answers=make_answers(first), actor=enrolment.user)
    recording = record(enrolment, events=events)
    assert recording.read is not None and recording.read.assignment.arm.assistance == "concurrent"
    return Seen(study, enrolment, recording, recording.tracks.get())


def test_without_the_pages_word_the_time_on_assistance_is_not_estimated() -> None:
    made = comparison()
    assert measuring.measure(track=made.track).body["read"]["assistance"] is None


# ── what is kept ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("module", [quality, radiology, clocks, processing, measuring])
def test_measures_of_other_code_are_told_apart(module: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = measuring.code_version.__wrapped__
    before = made()
    other = tmp_path / "changed.py"
    other.write_bytes(Path(module.__file__).read_bytes() + b"# changed")
    monkeypatch.setattr(module, "__file__", str(other))
    assert made() != before


def test_measures_name_their_inputs_and_are_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made = seen()
    one = measuring.measure(track=made.track)
    assert measuring.measure(track=made.track) == one
    assert one.inputs["track"] == made.track.sha256 and len(one.inputs["reference"]) == 64
    assert one.inputs["parameters"] == Parameters().to_dict()
    monkeypatch.setattr(measuring, "code_version", lambda: "other")
    other = measuring.measure(track=made.track)
    assert other != one and other.body == one.body
    assert GazeMeasures.objects.filter(track=made.track).first() == other


def test_the_task_that_makes_a_track_measures_it() -> None:
    made = seen()
    process_recording(recording_id=str(made.recording.pk))
    assert made.track.measures.count() == 1
    measure_track(track_id=made.track.pk)
    assert made.track.measures.count() == 1


def test_a_track_stands_though_it_cannot_be_measured() -> None:
    made = seen()
    made.track.file.unlink()
    assert measuring.measure_if_possible(track=made.track) is None
    with pytest.raises(ValueError, match="missing or changed"):
        measuring.measure(track=made.track)


@pytest.mark.parametrize(
    "chosen",
    [
        {},
        {"field_deg": 4, "dwell_s": 0.8, "max_data_loss": 1},
        {"called_from": 3, "zones": [1, 20], "coverage_fields_deg": [2.5, 5, 30]},
    ],
)
def test_what_a_protocol_may_say_the_measures_understand(chosen: dict[str, Any]) -> None:
    check_body(Study.Kind.COLLECTION, {**collection_body(findings=["Edema"]), "gaze_measures": chosen})
    assert Parameters.from_dict(chosen).to_dict() == {**Parameters().to_dict(), **chosen}


@pytest.mark.parametrize(
    ("chosen", "sentence"),
    [
        ([], "nothing else"),
        ({"field": 5}, "nothing else"),
        ({"field_deg": 0}, "field_deg is 0"),
        ({"dwell_s": "1"}, "dwell_s is '1'"),
        ({"called_from": 1}, "called_from is 1"),
        ({"coverage_fields_deg": []}, "different numbers"),
        ({"coverage_fields_deg": [5, 5]}, "different numbers"),
        ({"coverage_fields_deg": [31]}, "coverage_fields_deg is 31"),
        ({"zones": [3]}, "two whole numbers"),
        ({"zones": [3, 0]}, "zones is 0"),
    ],
)
def test_a_protocol_is_refused_that_the_measures_would_not_understand(chosen: Any, sentence: str) -> None:
    body = {**collection_body(findings=["Edema"]), "gaze_measures": chosen}
    with pytest.raises(BadInput, match=sentence):
        check_body(Study.Kind.COLLECTION, body)


# ── who sees it ───────────────────────────────────────────────────────────────────────────────────────────────────────


def page(user: User, recording: Recording) -> Any:
    client = Client()
    client.force_login(user)
    return client.get(reverse("capture:recording", args=[recording.pk]))


def download(user: User, study: Study) -> Any:
    client = Client()
    client.force_login(user)
    return client.get(reverse("capture:measures", args=[study.slug]))


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_staff_of_a_collection_see_its_measures_and_others_do_not() -> None:
    made = seen()
    measuring.measure(track=made.track)
    for role in (COORDINATOR, RESEARCHER):
        staff = make_user(roles={made.study: role})
        text = page(staff, made.recording).content.decode()
        assert "Gaze measures" in text and "1 finding is there, 1 missed" in text
        assert download(staff, made.study).status_code == 200
    stranger = make_user(roles={make_study(): COORDINATOR})
    assert page(stranger, made.recording).status_code == download(stranger, made.study).status_code == 404
    assert not recordings_measured_for(stranger).exists()


def test_a_reader_sees_no_measure_of_their_own_recording() -> None:
    made = seen()
    measuring.measure(track=made.track)
    shown = page(made.enrolment.user, made.recording)
    assert shown.status_code == 200 and "easures" not in shown.content.decode()
    assert download(made.enrolment.user, made.study).status_code == 404
    finish_reading(made.enrolment)
    studies.close_study(study=made.study, actor=made.study.created_by)
    assert "easures" not in page(made.enrolment.user, made.recording).content.decode()


def test_staff_who_also_read_the_collection_wait_until_it_is_closed() -> None:
    made = seen()
    measuring.measure(track=made.track)
    Membership.objects.create(study=made.study, user=made.enrolment.user, role=RESEARCHER)
    assert "1 missed" not in page(made.enrolment.user, made.recording).content.decode()
    assert download(made.enrolment.user, made.study).status_code == 409
    finish_reading(made.enrolment)
    studies.close_study(study=made.study, actor=made.study.created_by)
    assert "1 missed" in page(made.enrolment.user, made.recording).content.decode()


def test_a_comparisons_measures_stay_closed_until_it_is_unblinded() -> None:
    made = comparison()
    measuring.measure(track=made.track)
    coordinator, researcher = (make_user(roles={made.study: role}) for role in (COORDINATOR, RESEARCHER))

    def looked() -> tuple[bool, int]:
        one, other = looked_by(coordinator), looked_by(researcher)
        assert one == other
        return one

    def looked_by(staff: User) -> tuple[bool, int]:
        shown = page(staff, made.recording).content.decode()
        assert ("hidden until the study is unblinded" in shown) is ("missed" not in shown)
        listed = Client()
        listed.force_login(staff)
        text = listed.get(reverse("capture:recordings"), {"study": made.study.slug}).content.decode()
        assert ("Gaze measures (CSV)" in text) is ("missed" in shown)
        return "missed" in shown, download(staff, made.study).status_code

    assert looked() == (False, 409)
    finish_reading(made.enrolment)
    studies.close_study(study=made.study, actor=made.study.created_by)
    assert looked() == (False, 409)
    with pytest.raises(CommandError, match="not unblinded"):
        call_command("gaze_measures", made.study.slug, out="-", verbosity=0)
    # Unblinding itself asks for a locked analysis plan, which is another room's business.
    Study.objects.filter(pk=made.study.pk).update(state=Study.State.UNBLINDED)
    assert looked() == (True, 200)


def test_a_page_wakes_the_measuring_that_is_missing(
    measuring_woken: list[int], django_capture_on_commit_callbacks: Any
) -> None:
    made = seen()
    staff = make_user(roles={made.study: COORDINATOR})
    with django_capture_on_commit_callbacks(execute=True):
        assert "They are being made" in page(staff, made.recording).content.decode()
    assert measuring_woken == [made.track.pk]


# ── as a table ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_table_has_a_row_for_each_finding_and_leaves_what_is_not_estimable_empty() -> None:
    made = seen(
        findings={"Lung Lesion": around(*SEEN[:2]), "Pneumothorax": never_seen(), "Edema": None},
        gaze_measures={"field_deg": 0.2},
    )
    measuring.measure(track=made.track)
    answer = download(make_user(roles={made.study: COORDINATOR}), made.study)
    assert answer["Content-Type"].startswith("text/csv") and made.study.slug in answer["Content-Disposition"]
    rows = rows_of(answer.content.decode())
    assert [r["finding"] for r in rows] == ["Lung Lesion", "Pneumothorax", "Edema"]
    assert [r["kundel"] for r in rows] == ["recognition", "search", ""]
    assert [r["reported"] for r in rows] == ["no", "no", ""]
    assert [bool(r["time_to_first_fixation_s"]) for r in rows] == [True, False, False]
    assert [r["dwell_s"] for r in rows][1:] == ["0", ""]
    assert {r["reader"] for r in rows} == {"R01"} and {r["arm"] for r in rows} == {"unassisted"}
    named = set(rows[0]) - {"coverage_2.5", "coverage_5"}
    assert named == set(COLUMNS) - {"coverage_*"}
    assert "nan" not in answer.content.decode().lower().replace("unassisted", "")
    entry = AuditEntry.objects.filter(act=AuditEntry.Act.EXPORTED).latest("pk")
    assert entry.detail == {"what": "gaze measures", "recordings": 1}


def test_what_is_not_measured_yet_has_a_row_that_says_so(
    measuring_woken: list[int], django_capture_on_commit_callbacks: Any
) -> None:
    made = seen()
    with django_capture_on_commit_callbacks(execute=True):
        answer = download(make_user(roles={made.study: RESEARCHER}), made.study)
    (row,) = rows_of(answer.content.decode())
    assert row["not_estimable"] == "Not measured yet." and row["dwell_s"] == ""
    assert measuring_woken == [made.track.pk]


def test_a_reader_who_withdrew_is_not_in_the_table() -> None:
    made = seen()
    measuring.measure(track=made.track)
    Enrolment.objects.filter(pk=made.enrolment.pk).update(withdrawn_at=timezone.now())
    with pytest.raises(Refused, match="has no gaze to give measures of"):
        measuring.export(study=made.study, recordings=recordings_measured_in(made.study), actor=made.study.created_by)


def test_a_case_whose_name_looks_like_a_formula_stays_text() -> None:
    case = make_case("=1+1", rows=1000, columns=1000)
    study = make_study(gaze="optional", consented=True, cases=[case])
    measuring.measure(track=record(study.enrolments.get()).tracks.get())
    text = measuring.export(study=study, recordings=recordings_measured_in(study), actor=None)
    assert rows_of(text)[0]["case"] == "'=1+1"


@pytest.mark.parametrize("format", ["reflacx", "egd", "parquet"])
def test_gaze_that_was_imported_is_measured_without_answers(tmp_path: Path, format: str) -> None:
    case = make_case("C-ONE", rows=SIZE[0], columns=SIZE[1], findings={"Edema": [0, 0, SIZE[1], SIZE[0]]})
    study = make_study(cases=[case])
    (recording,) = taken(written(tmp_path, format, image=image_id(study)), study, display=DISPLAY).imported
    found = finding(measuring.measure(track=recording.tracks.get()), "Edema")
    assert found["looks"]["fixations"] > 0 and found["reported"] is None and found["kundel"] is None
    (row,) = rows_of(download(make_user(roles={study: COORDINATOR}), study).content.decode())
    assert (row["arm"], row["confidence"], row["reading_s"]) == ("", "", "")
    assert float(row["data_loss"]) < 1 and 0 < float(row["coverage_5"]) <= 1


# ── the command ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_command_measures_what_is_missing_and_writes_the_table(tmp_path: Path, capsys: Any) -> None:
    made = seen()
    out = tmp_path / "measures.csv"
    call_command("gaze_measures", made.study.slug, out=str(out))
    (row,) = rows_of(out.read_text(encoding="utf-8"))
    assert row["finding"] == "Lung Lesion" and row["track_sha256"] == made.track.sha256
    assert "1 recording, 1 row in" in capsys.readouterr().out
    assert made.track.measures.count() == 1


def test_the_command_does_not_say_what_only_a_person_can_do() -> None:
    study = make_study(slug="without-gaze")
    with pytest.raises(CommandError) as refusal:
        call_command("gaze_measures", study.slug, out="-", verbosity=0)
    assert str(refusal.value).endswith("has no gaze to give measures of: none is processed yet.")


def test_the_command_names_what_it_could_not_measure(tmp_path: Path, capsys: Any) -> None:
    made = seen()
    made.track.file.unlink()
    out = tmp_path / "measures.csv"
    with pytest.raises(CommandError, match="1 of 1 recordings could not be measured"):
        call_command("gaze_measures", made.study.slug, out=str(out))
    assert "missing or changed" in capsys.readouterr().err
    assert rows_of(out.read_text(encoding="utf-8"))[0]["not_estimable"] == "Not measured yet."


def test_the_command_refuses_with_a_sentence(tmp_path: Path) -> None:
    study = make_study(slug="the-only-one")
    with pytest.raises(CommandError, match="There is no study 'other'; there are the-only-one"):
        call_command("gaze_measures", "other", out="-", verbosity=0)
    with pytest.raises(CommandError, match="none is processed yet"):
        call_command("gaze_measures", study.slug, out="-", verbosity=0)
    made = seen()
    with pytest.raises(CommandError, match="cannot be written"):
        call_command("gaze_measures", made.study.slug, out=str(tmp_path / "no" / "file.csv"), verbosity=0)
