"""What a release holds, and that its hash says so."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from gazex.findings import PHANTOM_FINDINGS
from gazex.schema import read_image, read_visits
from study.models import AuditEntry, Enrolment, Image, ReferenceFinding, Study
from study.services import frames, reading
from study.services.errors import Refused
from tests.factories import make_answers, make_case, make_study
from tests.training.made import make_collection, make_gaze_read, make_researcher, make_track
from training.models import DatasetRelease, ReleaseRead
from training.queries import releases_visible_to
from training.services.releasing import build_release, hash_of, rebuild_release

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("data_dir")]


def release_of(*reads: object, researcher: object) -> DatasetRelease:
    return build_release(name="Pilot", actor=researcher, user=researcher)


def test_a_release_holds_the_collection_reads_and_not_the_comparisons() -> None:
    _study, reads, researcher = make_collection(cases=2)
    comparison = make_study(Study.Kind.COMPARISON, cases=1, consented=True)
    compared = make_gaze_read(comparison.enrolments.get())
    researcher.memberships.create(study=comparison, role="researcher")
    release = release_of(researcher=researcher)
    held = set(ReleaseRead.objects.filter(release=release).values_list("read", flat=True))
    assert held == {read.pk for read in reads}
    assert compared.pk not in held
    assert {visit.id for visit in read_visits(release.folder)} == {str(read.pk) for read in reads}


def test_a_visit_carries_the_gaze_the_sentences_and_the_image_as_stored() -> None:
    _study, [read], researcher = make_collection(cases=1)
    release = release_of(researcher=researcher)
    [visit] = read_visits(release.folder)
    image = read.assignment.case.images.get()
    assert np.array_equal(read_image(visit.image_path(release.folder)), frames.pixels(image))
    assert (visit.rows, visit.columns) == (image.rows, image.columns)
    assert len(visit.t_s) == 600
    assert 0 < np.isnan(visit.x).mean() < 0.1
    assert visit.ppd_x == image.rows / 20
    (text, start, end), _second = visit.sentences
    assert text == "There is a left pneumothorax."
    assert (start, end) == pytest.approx((3.0, 4.5))


def test_labels_are_the_readers_answers_and_never_the_reference_standard() -> None:
    case = make_case(findings={"Pleural Effusion": [1, 1, 9, 9]})
    assert ReferenceFinding.objects.filter(finding="Pleural Effusion").exists()
    _study, _reads, researcher = make_collection(cases=[case])
    [visit] = read_visits(release_of(researcher=researcher).folder)
    # make_collection's reader gave pneumothorax 5, cardiomegaly 3 and the rest 1.
    assert visit.labels == {"Pneumothorax": True}


def test_box_marks_become_boxes_and_points_do_not() -> None:
    study = make_study(cases=1, consented=True)
    enrolment: Enrolment = study.enrolments.get()
    read = reading.open_next(enrolment=enrolment, actor=enrolment.user)
    marks = [
        {"finding": "Lung Lesion", "shape": "box", "points": [4.0, 5.0, 20.0, 30.0], "confidence": 4},
        {"finding": PHANTOM_FINDINGS[0], "shape": "point", "points": [9.0, 9.0], "confidence": None},
    ]
    read = reading.submit(read=read, answers=make_answers(read, marks=marks), actor=enrolment.user)
    make_track(read)
    [visit] = read_visits(release_of(researcher=make_researcher(study)).folder)
    assert [(box.finding, box.side, box.box) for box in visit.boxes] == [("Lung Lesion", "", (4.0, 5.0, 20.0, 30.0))]


def test_a_monochrome1_frame_is_released_bright_where_dense() -> None:
    case = make_case()
    image = case.images.get()
    twin = {
        f.attname: getattr(image, f.attname) for f in Image._meta.concrete_fields if f.name not in {"id", "inverted"}
    }
    Image.objects.create(
        **twin | {"inverted": True, "source_sha256": "f" * 64, "view": "PA", "case_id": make_case().pk}
    )
    inverted = Image.objects.get(inverted=True)
    from training.services.pixels import frame_for_gazex

    assert np.array_equal(frame_for_gazex(inverted), image.max_value - frames.pixels(image))


def test_the_manifest_names_every_input_and_file_by_hash() -> None:
    import hashlib

    _study, reads, researcher = make_collection(cases=2)
    release = release_of(researcher=researcher)
    rows = {row["read"]: row for row in release.manifest["reads"]}
    for read in reads:
        row = rows[str(read.pk)]
        assert row["track_sha256"] == read.recording.tracks.get().sha256
        assert row["image_sha256"] == read.assignment.case.images.get().frame_sha256
        assert row["patient"] == read.assignment.case.patient.pseudonym
    on_disk = {
        str(path.relative_to(release.folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in release.folder.rglob("*")
        if path.is_file()
    }
    assert on_disk == release.manifest["files"]
    assert release.sha256 == hash_of(json.loads(json.dumps(release.manifest)))
    assert release.folder.name == release.sha256[:12]


def test_the_same_reads_give_the_same_hash_and_are_refused_a_second_time() -> None:
    _study, _reads, researcher = make_collection(cases=2)
    release = release_of(researcher=researcher)
    with pytest.raises(
        Refused, match=r"^Release “Pilot” holds exactly these 2 reads already; nothing new to release\.$"
    ):
        build_release(name="Again", actor=researcher, user=researcher)
    assert DatasetRelease.objects.get() == release
    assert [path.name for path in release.folder.parent.iterdir()] == [release.sha256[:12]]


def test_a_new_track_of_the_same_read_changes_the_hash() -> None:
    _study, [read], researcher = make_collection(cases=1)
    first = release_of(researcher=researcher)
    make_track(read, seed=99)
    second = build_release(name="Reprocessed", actor=researcher, user=researcher)
    assert first.sha256 != second.sha256


def test_a_release_whose_files_are_gone_is_rebuilt_to_the_same_bytes() -> None:
    import shutil

    _study, [read], researcher = make_collection(cases=1)
    release = release_of(researcher=researcher)
    shutil.rmtree(release.folder)
    make_track(read, seed=99)  # a later track is not the one the release was built from
    rebuild_release(release=release)
    assert len(read_visits(release.folder)) == 1


def test_rebuilding_from_a_changed_input_is_refused_and_names_the_file() -> None:
    _study, [read], researcher = make_collection(cases=1)
    release = release_of(researcher=researcher)
    path: Path = read.assignment.case.images.get().frame_path
    path.write_bytes(b"not a frame")
    with pytest.raises(Refused, match="cannot be decompressed"):
        rebuild_release(release=release)


def test_without_eligible_reads_there_is_no_release_and_a_sentence() -> None:
    researcher = make_researcher(make_study(cases=1))
    with pytest.raises(Refused, match=r"^No read is eligible yet: .*\.$"):
        release_of(researcher=researcher)
    assert not DatasetRelease.objects.exists()


def test_a_name_is_used_once() -> None:
    _study, _reads, researcher = make_collection(cases=1)
    release_of(researcher=researcher)
    with pytest.raises(Refused, match="There is a release called “Pilot” already"):
        release_of(researcher=researcher)


def test_building_is_audited_with_the_hash() -> None:
    _study, _reads, researcher = make_collection(cases=1)
    release = release_of(researcher=researcher)
    entry = AuditEntry.objects.get(act=AuditEntry.Act.RELEASE_BUILT)
    assert entry.actor == researcher and entry.detail == {"sha256": release.sha256, "reads": 1}


def test_no_reader_name_reaches_the_release() -> None:
    study, _reads, researcher = make_collection(cases=1)
    reader = study.enrolments.get().user
    reader.first_name, reader.last_name = "Wilhelmina", "Röntgenius"
    reader.save()
    release = release_of(researcher=researcher)
    text = (release.folder / "visits.jsonl").read_text() + json.dumps(release.manifest, ensure_ascii=False)
    assert "R01" in text
    for name in ("Wilhelmina", "Röntgenius", reader.username):
        assert name not in text


def test_a_release_with_a_foreign_studys_read_is_not_visible() -> None:
    _study, _reads, researcher = make_collection(cases=1)
    release = release_of(researcher=researcher)
    assert releases_visible_to(researcher).contains(release)
    assert not releases_visible_to(make_researcher(make_study(cases=1))).contains(release)
