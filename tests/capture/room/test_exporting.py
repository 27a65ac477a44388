"""Gaze out of a study: what is in it, who gets it, and what stays out while a comparison is blind."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
import pyxdf
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from capture.gaze.formats import dataset
from capture.gaze.formats.table import FORMATS
from capture.models import Recording
from capture.queries.recordings import exportable_recordings, recordings_exported_to
from capture.services import exporting, processing, recordings, tracks
from capture.services.store import FrameFile, frame_path
from capture.views.transfer import _sent
from study.models import AuditEntry, Enrolment, Membership, Study
from study.queries.reading import image_of
from study.services import reading
from tests.factories import finish_reading, make_answers, make_case, make_study, make_user

from .synthetic import Scene, gaze_frames, store_epoch, store_page

pytestmark = [
    pytest.mark.django_db,
    # Django's test client is synchronous; the site is not.
    pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume asynchronous iterators"),
]

COORDINATOR, RESEARCHER, READER = Membership.Role.COORDINATOR, Membership.Role.RESEARCHER, Membership.Role.READER


def record(enrolment: Enrolment, scene: Scene) -> Recording:
    """The reader's next read, recorded, submitted and processed."""
    read = reading.open_next(enrolment=enrolment, actor=enrolment.user)
    recording, _ = recordings.open_recording(read=read)
    epoch = store_epoch(recording, scene.rows, sealed=False)
    clock = np.column_stack([scene.rows[::300, 0], np.full((len(scene.rows[::300]), 1), -2e-5), scene.rows[::300, :2]])
    with FrameFile(frame_path(recording.folder, 2, epoch), 2, epoch) as file:
        assert file.append(gaze_frames(clock, epoch, stream=2))
    store_page(recording, scene.states, scene.exchanges)
    if read.assignment.arm.assistance == "concurrent":
        reading.reveal_assistance(read=read, actor=enrolment.user)
    reading.submit(read=read, answers=make_answers(read), actor=enrolment.user)
    return recording


def processed(recording: Recording, monkeypatch: pytest.MonkeyPatch) -> Recording:
    with monkeypatch.context() as patch:
        patch.setattr(processing, "PATIENCE", timedelta(0))
        assert processing.process(recording_id=recording.pk) is not None
    recording.refresh_from_db()
    return recording


@pytest.fixture
def scene() -> Scene:
    return Scene.zoom_and_pan(looks=5)


@pytest.fixture
def collection(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> Study:
    """Two readers' recordings of one case each."""
    study = make_study(
        gaze="optional",
        consented=True,
        readers=2,
        cases=[make_case(rows=1000, columns=1000) for _ in range(2)],
        slug="lung-gaze",
    )
    for enrolment in study.enrolments.all():
        processed(record(enrolment, scene), monkeypatch)
    return study


@pytest.fixture
def comparison(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> Study:
    study = make_study(
        Study.Kind.COMPARISON, gaze="optional", consented=True, cases=[make_case(rows=1000, columns=1000)]
    )
    processed(record(study.enrolments.get(), scene), monkeypatch)
    return study


def record_another(study: Study, scene: Scene, monkeypatch: pytest.MonkeyPatch) -> Recording:
    return processed(record(study.enrolments.all()[0], scene), monkeypatch)


def text_of(folder: Path) -> str:
    """Everything that an export says in letters."""
    out = []
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        data = path.read_bytes()
        out.append(str(path.relative_to(folder)))
        out.append((gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8", "replace"))
    return "\n".join(out)


def exported(study: Study, out: Path, format: str = "xdf") -> Path:
    exporting.export_study(study=study, format=format, out=out, actor=None)
    return out


@pytest.mark.parametrize("format", list(FORMATS))
def test_every_format_holds_every_recording_of_the_study(collection: Study, tmp_path: Path, format: str) -> None:
    out = exported(collection, tmp_path / "out", format)
    found = list(FORMATS[format].read(out))
    assert len(found) == 2
    wanted = {r.pk: tracks.load(r.tracks.first()) for r in exportable_recordings(collection)}
    images = {str(image_of(recording.read).pk) for recording in Recording.objects.all()}
    for one in found:
        assert one.image in images
        track = one.reading((1000, 1000)).track
        assert any(
            len(track) == len(w) and np.allclose(track.x, w.x, atol=1e-3, equal_nan=True) for w in wanted.values()
        )


def test_xdf_holds_the_trackers_samples_times_and_clock_offsets(
    collection: Study, scene: Scene, tmp_path: Path
) -> None:
    path = next(exported(collection, tmp_path / "out").glob("*.xdf"))
    streams, _ = pyxdf.load_xdf(str(path), synchronize_clocks=False, dejitter_timestamps=False)
    gaze = next(s for s in streams if s["info"]["type"] == ["Gaze"])
    np.testing.assert_array_equal(gaze["time_stamps"], scene.rows[:, 0])
    np.testing.assert_array_equal(gaze["time_series"], scene.rows[:, 1:])
    np.testing.assert_allclose(gaze["clock_times"], scene.rows[::300, 0] + 2e-5, rtol=0, atol=1e-9)
    assert set(gaze["clock_values"]) == {-2e-5}
    channel = gaze["info"]["desc"][0]["channels"][0]["channel"][14]
    assert (channel["label"], channel["type"], channel["unit"], channel["eye"]) == (
        ["RightScreenX"], ["ScreenX"], ["normalized"], ["right"],
    )  # fmt: skip
    assert float(gaze["info"]["desc"][0]["display"][0]["width_px"][0]) == 1280


def test_an_export_names_nobody(collection: Study, tmp_path: Path) -> None:
    said = "\n".join(text_of(exported(collection, tmp_path / f, f)) for f in FORMATS)
    for enrolment in collection.enrolments.all():
        assert enrolment.user.username not in said
        assert enrolment.reader_code in said


def test_a_second_run_leaves_what_is_there_and_adds_what_is_new(
    collection: Study, scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = exported(collection, tmp_path / "out", "reflacx")
    before = {p: p.stat().st_mtime_ns for p in out.rglob("gaze.csv")}
    assert len(before) == 2
    with monkeypatch.context() as patch:
        patch.setattr(tracks, "load", lambda row: pytest.fail("an unchanged recording was written again"))
        outcome = exporting.export_study(study=collection, format="reflacx", out=out, actor=None)
    assert (outcome.written, outcome.unchanged) == (0, 2)
    assert {p: p.stat().st_mtime_ns for p in out.rglob("gaze.csv")} == before
    record_another(collection, scene, monkeypatch)
    outcome = exporting.export_study(study=collection, format="reflacx", out=out, actor=None)
    assert (outcome.written, outcome.unchanged) == (1, 2)
    assert {p: p.stat().st_mtime_ns for p in before} == before
    assert len(list(out.rglob("gaze.csv"))) == 3
    metadata = (out / "main_data" / "metadata_phase_3.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in metadata[1:]] == ["P300R000001", "P300R000002", "P300R000003"]


def test_an_interrupted_run_leaves_whole_recordings_and_continues(
    collection: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    real = FORMATS["parquet"].write
    calls = []

    def fails_second(one: Any, folder: Path) -> dict[str, Any]:
        calls.append(one.id)
        row = real(one, folder)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return row

    broken = dataset.Format(**{**FORMATS["parquet"].__dict__, "write": fails_second})
    monkeypatch.setitem(FORMATS, "parquet", broken)
    with pytest.raises(KeyboardInterrupt):
        exporting.export_study(study=collection, format="parquet", out=out, actor=None)
    assert [p.stem for p in (out / "samples").iterdir()] == calls[:1]
    assert not (out / ".part").exists()
    outcome = exporting.export_study(study=collection, format="parquet", out=out, actor=None)
    assert (outcome.written, outcome.unchanged) == (1, 1)
    assert len(list(FORMATS["parquet"].read(out))) == 2


@pytest.mark.parametrize("what", ["file", "foreign", "other format"])
def test_a_place_that_holds_something_else_is_left_alone(collection: Study, tmp_path: Path, what: str) -> None:
    out = tmp_path / "out"
    if what == "file":
        out.write_text("mine")
    elif what == "foreign":
        out.mkdir()
        (out / "thesis.tex").write_text("mine")
    else:
        exported(collection, out, "parquet")
    before = sorted(str(p) for p in tmp_path.rglob("*"))
    with pytest.raises(CommandError, match=r"is a file|is not empty|holds an export in the format parquet"):
        call_command("export_gaze", "lung-gaze", "--format", "egd", "--out", str(out))
    assert sorted(str(p) for p in tmp_path.rglob("*")) == before


def test_the_command_says_what_it_wrote_and_refuses_by_name(collection: Study, tmp_path: Path) -> None:
    said = io.StringIO()
    call_command("export_gaze", "lung-gaze", "--format", "bids", "--out", str(tmp_path / "b"), stdout=said)
    assert said.getvalue() == f"2 recordings in {tmp_path / 'b'}.\n"
    with pytest.raises(CommandError, match="There is no study 'lungs'; there are lung-gaze"):
        call_command("export_gaze", "lungs", "--format", "bids", "--out", str(tmp_path / "c"))
    empty = make_study()
    with pytest.raises(CommandError, match="has no recording that became a gaze track"):
        call_command("export_gaze", empty.slug, "--format", "bids", "--out", str(tmp_path / "d"))
    assert not (tmp_path / "d").exists()


# ── blindness ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("format", list(FORMATS))
def test_a_blind_comparisons_export_tells_no_report_and_no_arm(comparison: Study, tmp_path: Path, format: str) -> None:
    (recording,) = exportable_recordings(comparison)
    assert recording.tracks.first().utterances.exists()
    said = text_of(exported(comparison, tmp_path / "out", format))
    # Nor compressed: what would be written is what `_describe` says.
    made = exporting._describe(recording, recording.tracks.first(), exporting.answers_shown(comparison))
    for told in (said, json.dumps(made)):
        assert "lungs" not in told
        assert "assistance" not in told and "concurrent" not in told


def unblind(study: Study) -> None:
    finish_reading(study.enrolments.get())
    # What `unblind_study` asks for besides is the analysis room's.
    for state in (Study.State.CLOSED, Study.State.UNBLINDED):
        Study.objects.filter(pk=study.pk).update(state=state)
    study.refresh_from_db()


def test_after_unblinding_report_and_arm_are_told(comparison: Study, tmp_path: Path) -> None:
    unblind(comparison)
    said = text_of(exported(comparison, tmp_path / "out", "xdf"))
    assert "The lungs are clear." in said
    assert "&quot;assistance&quot;" in said or '"assistance"' in said


def test_an_export_made_blind_is_written_anew_once_unblinded(comparison: Study, tmp_path: Path) -> None:
    out = exported(comparison, tmp_path / "out", "xdf")
    unblind(comparison)
    assert exporting.export_study(study=comparison, format="xdf", out=out, actor=None).written == 1
    assert "The lungs are clear." in text_of(out)


# ── who ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_who_may_export(collection: Study) -> None:
    mine = collection.enrolments.all()[0]
    both = make_user(roles={collection: RESEARCHER})
    table = [
        (make_user(roles={collection: COORDINATOR}), 2),
        (make_user(roles={collection: RESEARCHER}), 2),
        (both, 2),
        (mine.user, 0),
        (make_user(roles={make_study(): COORDINATOR}), 0),
        (make_user(), 0),
    ]
    for user, count in table:
        assert recordings_exported_to(user, collection).count() == count
        client = Client()
        client.force_login(user)
        answer = client.post(reverse("capture:export", args=[collection.slug]), {"format": "parquet"})
        assert answer.status_code == (200 if count else 404)
    answer = Client().post(reverse("capture:export", args=[collection.slug]), {"format": "parquet"})
    assert answer.status_code == 302 and "/accounts/login/" in answer["Location"]


def test_a_coordinator_who_reads_the_comparison_exports_nothing_of_it(comparison: Study) -> None:
    reader = comparison.enrolments.get().user
    Membership.objects.create(study=comparison, user=reader, role=COORDINATOR)
    assert not recordings_exported_to(reader, comparison).exists()
    client = Client()
    client.force_login(reader)
    answer = client.post(reverse("capture:export", args=[comparison.slug]), {"format": "xdf"})
    assert answer.status_code == 409
    assert "nothing to export" in answer.content.decode()


def test_a_reader_who_withdrew_is_in_no_export(collection: Study, tmp_path: Path) -> None:
    gone = collection.enrolments.all()[0]
    Enrolment.objects.filter(pk=gone.pk).update(withdrawn_at=timezone.now())
    assert {r.reader_code for r in exportable_recordings(collection)} == {"R02"}


# ── the page ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def coordinator(collection: Study) -> Client:
    client = Client()
    client.force_login(make_user(roles={collection: COORDINATOR}))
    return client


@pytest.mark.parametrize("format", list(FORMATS))
def test_the_page_sends_a_zip_of_the_same_files(
    collection: Study, coordinator: Client, tmp_path: Path, format: str
) -> None:
    answer = coordinator.post(reverse("capture:export", args=[collection.slug]), {"format": format})
    assert answer["Content-Disposition"] == f'attachment; filename="lung-gaze-gaze-{format}.zip"'
    archive = zipfile.ZipFile(io.BytesIO(b"".join(answer)))
    assert archive.testzip() is None
    out = exported(collection, tmp_path / "out", format)
    wanted = {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()} - {dataset.LEDGER}
    assert set(archive.namelist()) == wanted
    entry = AuditEntry.objects.filter(act="exported", actor__isnull=False).get()
    assert entry.detail == {"what": "gaze", "format": format, "recordings": 2, "answers": True}


def test_the_zip_leaves_nothing_on_the_servers_disk(
    collection: Study, coordinator: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert b"".join(coordinator.post(reverse("capture:export", args=[collection.slug]), {"format": "xdf"}))
    assert list(tmp_path.glob("gazeroom-export-*")) == []
    blocks = exporting.zip_study(
        study=collection, format="xdf", recordings=list(exportable_recordings(collection)), actor=make_user()
    )
    next(blocks)
    blocks.close()  # type: ignore[attr-defined]
    assert list(tmp_path.glob("gazeroom-export-*")) == []


async def test_blocks_are_sent_as_they_are_made_and_a_broken_download_ends_the_making() -> None:
    made: list[int] = []
    closed: list[bool] = []

    def blocks() -> Any:
        try:
            for number in range(100):
                made.append(number)
                yield bytes([number])
        finally:
            closed.append(True)

    sent = _sent(blocks())
    assert [await anext(sent) for _ in range(3)] == [b"\x00", b"\x01", b"\x02"]
    await sent.aclose()
    assert (len(made), closed) == (3, [True])


def test_a_missing_track_is_refused_before_the_first_byte(collection: Study, coordinator: Client) -> None:
    exportable_recordings(collection)[0].tracks.first().file.unlink()
    answer = coordinator.post(reverse("capture:export", args=[collection.slug]), {"format": "xdf"})
    assert answer.status_code == 409
    assert "process its recording again" in answer.content.decode()


def test_an_unknown_format_is_a_sentence(collection: Study, coordinator: Client) -> None:
    answer = coordinator.post(reverse("capture:export", args=[collection.slug]), {"format": "edf"})
    assert answer.status_code == 400
    assert "no export format" in answer.content.decode()


def test_the_list_offers_export_to_staff_only(collection: Study, coordinator: Client) -> None:
    page = coordinator.get(reverse("capture:recordings"), {"study": "lung-gaze"}).content.decode()
    assert "Download 2 recordings" in page and "Import gaze recordings" in page
    reader = Client()
    reader.force_login(collection.enrolments.all()[0].user)
    page = reader.get(reverse("capture:recordings"), {"study": "lung-gaze"}).content.decode()
    assert "Download" not in page and "Import gaze" not in page


def test_streams_beside_the_gaze_are_exported_under_their_own_labels(
    collection: Study, scene: Scene, tmp_path: Path
) -> None:
    recording = exportable_recordings(collection)[0]
    (epoch,) = recording.epochs
    told = {**recording.epochs, epoch: {**recording.epochs[epoch]}}
    told[epoch]["streams"] = {**told[epoch]["streams"], "3": {"name": "source", "labels": ["ttl"], "units": ["V"]}}
    Recording.objects.filter(pk=recording.pk).update(epochs=told)
    recording.refresh_from_db()
    rows = np.column_stack([scene.rows[:90, 0], np.arange(90.0)])
    with FrameFile(frame_path(recording.folder, 3, UUID(epoch)), 3, UUID(epoch)) as file:
        assert file.append(gaze_frames(rows, UUID(epoch), stream=3))
    streams = {s.name: s for s in exporting.raw_streams(recording)}
    assert [c[0] for c in streams["source"].channels] == ["ttl"]
    np.testing.assert_array_equal(streams["source"].values, rows[:, 1:])
