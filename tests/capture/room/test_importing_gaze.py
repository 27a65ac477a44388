"""Gaze recorded elsewhere: how it comes in, what it becomes, and what is refused."""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.apps import apps
from django.conf import settings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction
from django.test import Client
from django.urls import reverse

from capture.gaze.formats import xdf
from capture.gaze.formats.table import FORMATS
from capture.models import GazeTrack, ImportedGaze, Recording, Utterance
from capture.queries.recordings import exportable_recordings, recordings_visible_to
from capture.services import exporting, measuring, tracks
from capture.services.importing import GazeImport, Told, code_version, import_gaze, read_mapping
from study.models import AuditEntry, InsertOnlyError, Membership, Study, User
from study.queries.reading import shown_image
from study.services.errors import BadInput, NotAllowed
from tests.capture.gaze.formats.readings import DISPLAY, SIZE, make_reading
from tests.factories import make_case, make_study, make_user
from tests.reference import REFERENCE, needs_reference

pytestmark = pytest.mark.django_db

COORDINATOR, RESEARCHER = Membership.Role.COORDINATOR, Membership.Role.RESEARCHER
ROWS, COLUMNS = SIZE


@pytest.fixture
def study() -> Study:
    return make_study(cases=[make_case("C-ONE", rows=ROWS, columns=COLUMNS)], slug="elsewhere")


@pytest.fixture
def researcher(study: Study) -> User:
    return make_user(roles={study: RESEARCHER})


def image_id(study: Study) -> str:
    image = shown_image(study.protocols.get().study_cases.get().case)
    assert image is not None
    return str(image.pk)


def written(folder: Path, format: str, *, image: str, count: int = 1, **changes: Any) -> Path:
    """An export of `count` readings on the image."""
    rows = []
    for number in range(1, count + 1):
        reading = make_reading(number, still=True, image=image, id=f"A-{number}", number=number, **changes)
        rows.append(FORMATS[format].write(reading, folder))
    FORMATS[format].finish(folder, rows)
    return folder


def taken(path: Path, study: Study, **told: Any) -> GazeImport:
    return import_gaze(paths=[path], study=study, actor=None, told=Told(**told))


def zipped(folder: Path, path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(p for p in folder.rglob("*") if p.is_file()):
            archive.write(file, file.relative_to(folder))
    return path


# ── what it becomes ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("format", list(FORMATS))
def test_a_recording_becomes_a_track_on_its_image(study: Study, tmp_path: Path, format: str) -> None:
    folder = written(tmp_path, format, image=image_id(study))
    report = taken(folder, study, display=DISPLAY)
    assert report.refused == []
    (recording,) = report.imported
    assert (recording.kind, recording.state, recording.read) == ("imported", "processed", None)
    assert (recording.study, recording.case.label) == (study, "C-ONE")
    row = recording.tracks.get()
    track, wanted = tracks.load(row), make_reading(1, still=True).track
    np.testing.assert_allclose(track.x[np.isfinite(wanted.x)], wanted.x[np.isfinite(wanted.x)], atol=1e-3)
    assert (row.samples, row.fixations, row.code_version) == (len(wanted), len(wanted.fixations), code_version())
    said = [(u.text, round(u.start_s, 3)) for u in Utterance.objects.filter(track=row)]
    assert said == ([] if format == "egd" else [("The lungs are clear.", 0.25), ("Heart, normal in size.", 1.9)])


@pytest.mark.parametrize("format", list(FORMATS))
@pytest.mark.parametrize("told", [{}, {"display": DISPLAY}], ids=["as it is", "with a display"])
def test_an_import_is_measured_and_replayed_as_far_as_its_files_go(
    study: Study, researcher: User, tmp_path: Path, format: str, told: dict[str, Any]
) -> None:
    (recording,) = taken(written(tmp_path, format, image=image_id(study)), study, **told).imported
    measures = measuring.measure(track=recording.tracks.get())
    assert measures.body["quality"]
    client = Client()
    client.force_login(researcher)
    assert client.get(reverse("capture:recording", args=[recording.pk])).status_code == 200
    replay = client.get(reverse("capture:track", args=[recording.pk])).json()
    assert len(replay["fixations"]) == recording.tracks.get().fixations


def test_its_files_are_named_by_hash_and_not_kept(study: Study, tmp_path: Path) -> None:
    folder = written(tmp_path, "reflacx", image=image_id(study))
    (recording,) = taken(folder, study).imported
    names = {"gaze.csv", "fixations.csv", "timestamps_transcription.csv"}
    brought = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*") if p.name in names}
    assert brought == recording.imported.files == recording.tracks.get().inputs["files"]
    assert not recording.folder.exists()


# ── what names a person ───────────────────────────────────────────────────────────────────────────────────────────────

PLANTED = ("DOE^JANE", "MRN-4711007", "DrJekyllHyde")


def everything_kept(data: Path) -> bytes:
    """Every row of every table, and every file of the data directory with its name; npz unpacked."""
    out = []
    for model in apps.get_models():
        out += [repr(row).encode() for row in model._base_manager.values_list()]
    assert len(out) > 20
    for path in sorted(p for p in data.rglob("*") if p.is_file()):
        out += [str(path).encode(), path.read_bytes()]
        if path.suffix == ".npz":
            with np.load(path) as arrays:
                out += [name.encode() + arrays[name].tobytes() for name in arrays]
    return b"\n".join(out)


def planted(folder: Path, format: str, image: str) -> Path:
    """A recording that names its patient and its reader wherever the format has room for it."""
    patient, number, reader = PLANTED
    reading = make_reading(1, still=True, image=image, id="A-1", reader=reader)
    facts = {**reading.track.meta, "patient_name": patient, "display": {**DISPLAY.to_dict(), "owner": number}}
    facts |= {"source": patient, "events": {"algorithm": number, "fixations": 3, patient: 1}}
    facts["schema"] = f"gazeroom.track/{patient}"
    reading = replace(
        reading, patient=patient, track=replace(reading.track, meta=facts), info={"operator": reader, "mrn": number}
    )
    row = FORMATS[format].write(reading, folder)
    FORMATS[format].finish(folder, [row])
    return folder


@pytest.mark.parametrize("format", ["xdf", "bids", "parquet"])
def test_no_name_in_a_file_reaches_the_database_or_the_disk(study: Study, tmp_path: Path, format: str) -> None:
    folder = planted(tmp_path, format, image_id(study))
    if format == "bids":
        for file in folder.rglob("*_physio.json"):
            side = {**json.loads(file.read_text()), "PatientName": PLANTED[0], "DeviceSerialNumber": PLANTED[1]}
            file.write_text(json.dumps(side))
    brought = b"".join(str(p).encode() + p.read_bytes() for p in folder.rglob("*") if p.is_file())
    (recording,) = taken(folder, study, display=DISPLAY).imported
    kept = everything_kept(Path(settings.GAZEROOM_DATA))
    assert recording.tracks.get().sha256.encode() in kept
    for name in PLANTED:
        assert name.encode() not in kept
    assert sum(name.encode() in brought for name in PLANTED) == len(PLANTED)
    assert re.fullmatch(r"R-[A-Z2-7]{8}", recording.reader_code)
    assert tracks.load(recording.tracks.get()).meta["rows"] == ROWS


def test_no_name_in_a_foreign_xdf_header_is_kept(study: Study, tmp_path: Path) -> None:
    """As a laboratory's recorder writes it: the subject in the file's header, the patient in the stream's."""
    reading = make_reading(1)
    (gaze,) = (s for s in reading.raw if s.type == "Gaze")
    gaze = replace(gaze, desc={**gaze.desc, "subject": {"name": PLANTED[0], "id": PLANTED[1]}})
    path = tmp_path / f"{PLANTED[2]}.xdf"
    xdf.write(path, [gaze], info={"experimenter": PLANTED[2]})
    assert all(name.encode() in path.read_bytes() for name in PLANTED)
    report = taken(path, study, display=DISPLAY, placed=(460, 40, 1260, 1040), mapping={PLANTED[2]: "C-ONE"})
    assert report.refused == [] and len(report.imported) == 1
    kept = everything_kept(Path(settings.GAZEROOM_DATA))
    assert [name for name in PLANTED if name.encode() in kept] == []


def test_a_reader_is_one_code_whatever_is_imported_and_another_than_the_others(study: Study, tmp_path: Path) -> None:
    codes = []
    for number, name in enumerate(["Dr. Jekyll", "Dr. Jekyll", "Dr. Hyde"], start=1):
        reading = make_reading(number, still=True, image=image_id(study), id=f"B-{number}", reader=name)
        FORMATS["parquet"].write(reading, tmp_path / str(number))
        (recording,) = taken(tmp_path / str(number), study).imported
        codes.append(recording.reader_code)
    assert codes[0] == codes[1] != codes[2]


def test_a_reader_is_called_as_the_importer_says(study: Study, tmp_path: Path) -> None:
    folder = written(tmp_path, "xdf", image=image_id(study), reader=PLANTED[2])
    (recording,) = taken(folder, study, reader="rad-7").imported
    assert recording.reader_code == "rad-7"


@pytest.mark.parametrize("format", ["xdf", "parquet"])
def test_the_facts_of_an_own_export_come_in_whole(study: Study, tmp_path: Path, format: str) -> None:
    (recording,) = taken(written(tmp_path, format, image=image_id(study)), study).imported
    assert tracks.load(recording.tracks.get()).meta == make_reading(1, still=True).track.meta


@needs_reference
def test_a_reflacx_folder_is_matched_by_a_mapping(tmp_path: Path) -> None:
    cases = [make_case("C-A", rows=1400, columns=1600), make_case("C-B", rows=1736, columns=2022)]
    study = make_study(cases=cases)
    mapping = read_mapping(b"recording,image\r\nP101R000001,C-A\r\nP101R000002,c-b\r\n", "m.csv")
    report = taken(REFERENCE / "gazex_boxes", study, mapping=mapping, reader="rad-1")
    assert {r.case.label: r.tracks.get().samples for r in report.imported} == {"C-A": 5000, "C-B": 24000}
    assert {r.reader_code for r in report.imported} == {"rad-1"}
    first = next(r for r in report.imported if r.case.label == "C-A").tracks.get()
    assert first.utterances.first().text == "no pneumothorax."
    assert first.clock_bound_ms is None


def test_the_same_files_are_taken_in_once(study: Study, tmp_path: Path) -> None:
    folder = written(tmp_path, "parquet", image=image_id(study), count=2)
    assert len(taken(folder, study).imported) == 2
    counts = [model.objects.count() for model in (Recording, ImportedGaze, GazeTrack, Utterance, AuditEntry)]
    again = taken(folder, study)
    assert again.imported == [] and len(again.already_here) == 2
    assert again.already_here[0][1] == "A-1 is already here, on C-ONE."
    assert counts == [model.objects.count() for model in (Recording, ImportedGaze, GazeTrack, Utterance, AuditEntry)]


def test_telling_more_of_the_same_files_makes_their_track_again(study: Study, tmp_path: Path) -> None:
    folder = written(tmp_path, "egd", image=image_id(study))
    (recording,) = taken(folder, study).imported
    assert np.isnan(tracks.load(recording.tracks.first()).ppd_x).all()
    again = taken(folder, study, display=DISPLAY)
    assert "made again" in again.made_again[0][1] and again.remarks == [] and again.already_here == []
    assert again.summary == "0 recordings imported, 1 made again."
    assert recording.tracks.count() == 2
    assert np.isfinite(tracks.load(recording.tracks.first()).ppd_x).all()


def test_what_lacks_degrees_says_how_to_get_them(study: Study, tmp_path: Path) -> None:
    folder = written(tmp_path, "egd", image=image_id(study))
    for _ in range(2):
        (remark,) = taken(folder, study).remarks
        assert (
            remark.startswith("1 of the recordings have no visual degrees") and "import the same files again" in remark
        )
    assert taken(folder, study, display=DISPLAY).remarks == []


def test_telling_less_of_the_same_files_leaves_their_track(study: Study, tmp_path: Path) -> None:
    folder = written(tmp_path, "egd", image=image_id(study))
    (recording,) = taken(folder, study, display=DISPLAY).imported
    again = taken(folder, study)
    assert len(again.already_here) == 1 and again.made_again == [] and again.remarks == []
    assert np.isfinite(tracks.load(recording.tracks.get()).ppd_x).all()


def test_a_display_told_before_a_later_one_says_which_is_in_use(study: Study, tmp_path: Path) -> None:
    folder = written(tmp_path, "egd", image=image_id(study))
    (recording,) = taken(folder, study, display=DISPLAY).imported
    assert taken(folder, study, display=replace(DISPLAY, distance_mm=700.0)).made_again
    (told,) = taken(folder, study, display=DISPLAY).already_here
    assert "its track by other settings, told later, is the one in use" in told[1]
    assert recording.tracks.count() == 2


def test_the_same_gaze_is_not_of_two_images(tmp_path: Path) -> None:
    study = make_study(cases=[make_case(label, rows=ROWS, columns=COLUMNS) for label in ("C-1", "C-2")])
    folder = written(tmp_path, "reflacx", image="elsewhere")
    assert taken(folder, study, mapping={"elsewhere": "C-1"}).imported
    report = taken(folder, study, mapping={"elsewhere": "C-2"})
    assert "is already here as a recording on C-1" in report.refused[0][1]
    assert ImportedGaze.objects.count() == 1


def test_a_reader_of_the_study_is_not_taken_for_the_imported_one(study: Study, tmp_path: Path) -> None:
    code = study.enrolments.get().reader_code
    (recording,) = taken(written(tmp_path, "xdf", image=image_id(study), reader=code), study).imported
    assert recording.reader_code == f"{code} (import)"


@pytest.mark.parametrize("said", [" ", "\0"])
def test_a_reader_whose_name_is_none_is_called_by_the_format(study: Study, tmp_path: Path, said: str) -> None:
    (recording,) = taken(written(tmp_path, "parquet", image=image_id(study), reader=said), study).imported
    assert recording.imported.reader_code == "parquet"


def test_an_export_of_the_imported_goes_out_again(study: Study, tmp_path: Path) -> None:
    (recording,) = taken(written(tmp_path / "in", "reflacx", image=image_id(study)), study).imported
    assert list(exportable_recordings(study)) == [recording]
    outcome = exporting.export_study(study=study, format="xdf", out=tmp_path / "out", actor=None)
    assert outcome.written == 1
    (found,) = FORMATS["xdf"].read(tmp_path / "out")
    np.testing.assert_array_equal(found.reading(SIZE).track.x, tracks.load(recording.tracks.get()).x)


def test_the_database_holds_imports_to_be_recorded_once(study: Study, tmp_path: Path) -> None:
    (recording,) = taken(written(tmp_path, "reflacx", image=image_id(study)), study).imported
    for table in ("capture_importedgaze", "capture_gazetrack"):
        with pytest.raises(DatabaseError, match="recorded once"), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"DELETE FROM {table}")
    with pytest.raises(InsertOnlyError):
        recording.imported.delete()
    with pytest.raises(DatabaseError), transaction.atomic():
        Recording.objects.create(kind="read")


# ── what is refused ───────────────────────────────────────────────────────────────────────────────────────────────────


def nothing_was_written() -> bool:
    data = Path(settings.GAZEROOM_DATA)
    files = [p for name in ("recordings", "tracks") for p in (data / name).rglob("*") if p.is_file()]
    return not (Recording.objects.exists() or GazeTrack.objects.exists() or ImportedGaze.objects.exists() or files)


def test_an_image_the_study_does_not_hold_is_one_sentence(study: Study, tmp_path: Path) -> None:
    report = taken(written(tmp_path, "reflacx", image="24c7496c-d7635dfe"), study)
    ((_, sentence),) = report.refused
    assert "is of the image '24c7496c-d7635dfe', which" in sentence and "mapping CSV (recording,image)" in sentence
    assert nothing_was_written()


def test_a_mapping_to_nowhere_and_an_image_of_another_size_are_refused(tmp_path: Path) -> None:
    study = make_study(cases=[make_case("C-SMALL", rows=64, columns=64)])
    folder = written(tmp_path, "reflacx", image="theirs")
    report = taken(folder, study, mapping={"theirs": "C-GONE"})
    assert "'C-GONE', which is no image of" in report.refused[0][1]
    report = taken(folder, study, mapping={"P300R000001": "C-SMALL"})
    assert "on an image of 800 × 1000 pixels; this one has 64 × 64" in report.refused[0][1]
    assert nothing_was_written()


def test_one_bad_recording_does_not_keep_the_others_out(study: Study, tmp_path: Path) -> None:
    folder = written(tmp_path, "reflacx", image=image_id(study), count=3)
    bad = folder / "gaze_data" / "P300R000002" / "gaze.csv"
    lines = bad.read_bytes().splitlines(keepends=True)
    bad.write_bytes(b"".join([*lines[:5], lines[6], lines[5], *lines[7:]]))
    report = taken(folder, study)
    assert len(report.imported) == 2
    assert [(name, "goes back in time on line 7" in sentence) for name, sentence in report.refused] == [
        ("P300R000002", True)
    ]


def test_a_failure_while_storing_leaves_nothing(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Utterance.objects, "bulk_create", full)
    with pytest.raises(OSError, match="No space left"):
        taken(written(tmp_path, "reflacx", image=image_id(study)), study)
    assert not Recording.objects.exists() and not GazeTrack.objects.exists() and not ImportedGaze.objects.exists()
    assert list((Path(settings.GAZEROOM_DATA) / "recordings").glob("*")) == []


def test_a_zip_is_taken_in_as_its_folder_is(study: Study, tmp_path: Path) -> None:
    folder = written(tmp_path / "in", "reflacx", image=image_id(study), count=2)
    path = zipped(folder, tmp_path / "reflacx.zip")
    assert len(taken(path, study).imported) == 2
    assert len(taken(folder, study).already_here) == 2


def damaged(path: Path, kind: str) -> None:
    if kind == "truncated":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif kind == "no zip":
        path.write_bytes(b"gaze " * 100)
    else:
        with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
            if kind == "path traversal":
                archive.writestr("../../gaze.csv", "timestamp_sample,x_position,y_position\n")
            elif kind == "bomb":
                archive.writestr("gaze_data/P9/gaze.csv", b"0" * (100 * 2**20))
            elif kind == "zip within":
                archive.writestr("more.zip", zipped(path.parent / "in", path.parent / "inner.zip").read_bytes())


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("truncated", "zip"),
        ("no zip", "no zip"),
        ("path traversal", "leads out of it"),
        ("bomb", "as a zip bomb does"),
        ("zip within", "zip within a zip"),
    ],
)
def test_a_bad_zip_is_refused_whole(study: Study, tmp_path: Path, kind: str, words: str) -> None:
    folder = written(tmp_path / "in", "reflacx", image=image_id(study))
    path = zipped(folder, tmp_path / "theirs.zip")
    damaged(path, kind)
    report = taken(path, study)
    ((name, sentence),) = report.refused
    assert name == "theirs.zip" and words in sentence and "theirs.zip" in sentence
    assert nothing_was_written()


@pytest.mark.parametrize("cut", [0.2, 0.6, 0.95])
def test_a_truncated_xdf_is_taken_in_as_far_as_it_goes_or_refused(study: Study, tmp_path: Path, cut: float) -> None:
    folder = written(tmp_path, "xdf", image=image_id(study))
    path = next(folder.glob("*.xdf"))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(cut * len(whole))])
    report = taken(path, study)
    samples = [r.tracks.get().samples for r in report.imported]
    assert (len(samples), len(report.refused)) in {(1, 0), (0, 1)}
    assert all(0 < n <= 1000 for n in samples)
    assert xdf.read(path).streams
    if samples:
        (remark,) = report.remarks
        assert "is cut off or damaged" in remark
        track = tracks.load(report.imported[0].tracks.get())
        assert track.meta["samples"] == len(track) == report.imported[0].tracks.get().samples


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "lacks a column"),
        (b"recording;image\na;b\n", "lacks a column"),
        (b"recording,image\na\n", "1 cells on line 2"),
        (b"recording,image\na,C-1\na,C-2\n", "names a twice"),
        (b"recording,image\n\xff,x\n", "no readable CSV"),
    ],
)
def test_a_mapping_that_cannot_be_read_is_a_sentence(content: bytes, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        read_mapping(content, "mapping.csv")


# ── who ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_who_may_import(study: Study, tmp_path: Path) -> None:
    folder = written(tmp_path, "reflacx", image=image_id(study))
    reader = study.enrolments.get().user
    for user in (reader, make_user(), make_user(roles={make_study(): COORDINATOR})):
        with pytest.raises(NotAllowed, match="Only coordinators and researchers"):
            import_gaze(paths=[folder], study=study, actor=user)
        client = Client()
        client.force_login(user)
        assert client.get(reverse("capture:import", args=["elsewhere"])).status_code == 404
    assert nothing_was_written()
    for role in (COORDINATOR, RESEARCHER):
        user = make_user(roles={study: role})
        report = import_gaze(paths=[folder], study=study, actor=user)
        assert report.imported or report.already_here


def test_who_sees_an_imported_recording(study: Study, researcher: User, tmp_path: Path) -> None:
    (recording,) = taken(written(tmp_path, "reflacx", image=image_id(study)), study).imported
    reader = study.enrolments.get().user
    table = {
        researcher: True,
        make_user(roles={study: COORDINATOR}): True,
        reader: False,
        make_user(): False,
        make_user(roles={make_study(): RESEARCHER}): False,
    }
    for user, allowed in table.items():
        assert recordings_visible_to(user).contains(recording) is allowed
        client = Client()
        client.force_login(user)
        for name in ("recording", "track", "frame"):
            answer = client.get(reverse(f"capture:{name}", args=[recording.pk]))
            assert answer.status_code == (200 if allowed else 404), name


def test_somebody_who_reads_the_case_in_a_comparison_does_not_see_it(study: Study, tmp_path: Path) -> None:
    (recording,) = taken(written(tmp_path, "reflacx", image=image_id(study)), study).imported
    person = make_user(roles={study: RESEARCHER})
    assert recordings_visible_to(person).contains(recording)
    make_study(Study.Kind.COMPARISON, cases=[recording.case], readers=[person])
    assert not recordings_visible_to(person).contains(recording)


def test_sentences_of_an_import_into_a_blind_comparison_stay_hidden(tmp_path: Path) -> None:
    study = make_study(Study.Kind.COMPARISON, cases=[make_case("C-ONE", rows=ROWS, columns=COLUMNS)])
    (recording,) = taken(written(tmp_path, "reflacx", image="x"), study, mapping={"x": "C-ONE"}).imported
    client = Client()
    client.force_login(make_user(roles={study: COORDINATOR}))
    replay = client.get(reverse("capture:track", args=[recording.pk])).json()
    assert replay["sentences"] == [] and len(replay["x"]) > 100
    assert replay["states"][0]["a"][0] == pytest.approx(1, abs=1e-3)


# ── command and page ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_command_imports_and_says_so(study: Study, tmp_path: Path) -> None:
    folder = written(tmp_path / "in", "egd", image="their-image")
    mapping = tmp_path / "m.csv"
    mapping.write_text("recording,image\ntheir-image,C-ONE\n")
    out = io.StringIO()
    call_command(
        "import_gaze", str(folder), "--study", "elsewhere", "--mapping", str(mapping), "--reader", "rad-7",
        "--display", "1920 1080 527 296 650", stdout=out,
    )  # fmt: skip
    assert out.getvalue() == "1 recording imported.\n"
    assert ImportedGaze.objects.get().reader_code == "rad-7"
    assert "rad-7" not in str(AuditEntry.objects.get(act="import", subject__startswith="Gaze").detail)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["gone"], "Nothing was imported"),
        (["gone", "--display", "1920 1080"], "is no display"),
        (["gone", "--display", "1920 1080 0 1 1"], "must be a positive number"),
        (["gone", "--placed", "5 5 1 1"], "is no place on a display"),
        (["gone", "--mapping", "nowhere.csv"], "nowhere.csv cannot be read"),
    ],
)
def test_the_command_refuses_in_a_sentence(study: Study, options: list[str], words: str) -> None:
    said = io.StringIO()
    with pytest.raises(CommandError, match=words):
        call_command("import_gaze", *options, "--study", "elsewhere", stderr=said)
    if options == ["gone"]:
        assert said.getvalue() == "gone does not exist; check the path.\n"


def upload(client: Client, **data: Any) -> Any:
    return client.post(reverse("capture:import", args=["elsewhere"]), data, follow=True)


def test_the_page_takes_a_zip_and_shows_what_became_of_it(study: Study, researcher: User, tmp_path: Path) -> None:
    folder = written(tmp_path / "in", "reflacx", image=image_id(study), count=2)
    shutil.copytree(folder / "gaze_data" / "P300R000001", folder / "gaze_data" / "P300R000009")
    client = Client()
    client.force_login(researcher)
    assert "Import gaze recordings" in client.get(reverse("capture:import", args=["elsewhere"])).content.decode()
    sent = SimpleUploadedFile("theirs.zip", zipped(folder, tmp_path / "theirs.zip").read_bytes())
    answer = upload(client, files=[sent], reader="rad-2")
    page = answer.content.decode()
    assert answer.status_code == 200
    assert "2 recordings imported, 1 refused." in page
    assert "P300R000009/gaze.csv does not name its image; name it for the recording P300R000009 in a mapping" in page
    assert str(tmp_path) not in page and "/tmp" not in page
    listed = client.get(reverse("capture:recordings"), {"study": "elsewhere"}).content.decode()
    assert listed.count("imported from REFLACX") == 2
    recording = Recording.objects.first()
    shown = client.get(reverse("capture:recording", args=[recording.pk])).content.decode()
    assert "read by rad-2" in shown


def test_the_page_refuses_in_a_sentence_and_keeps_the_form(study: Study, researcher: User) -> None:
    client = Client()
    client.force_login(researcher)
    for data, words in (
        ({}, "No file was chosen"),
        ({"files": [SimpleUploadedFile("a.xdf", b"hello")], "display": "big"}, "is no display"),
        (
            {"files": [SimpleUploadedFile("a.xdf", b"hi")], "mapping": SimpleUploadedFile("m.csv", b"x")},
            "lacks a column",
        ),
    ):
        answer = upload(client, **data)
        assert answer.status_code == 400
        assert words in answer.content.decode() and 'type="file"' in answer.content.decode()
        assert ('value="big"' in answer.content.decode()) == ("display" in data)
    answer = upload(client, files=[SimpleUploadedFile("a.xdf", b"hello")])
    assert "a.xdf holds no gaze recording that is known" in answer.content.decode()
    assert nothing_was_written()
