"""The library of cases: who may have it, what it shows, and what an upload answers."""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.test import Client
from django.urls import reverse
from PIL import Image as Picture

from study.models import Case, Image, Membership, Study, User
from study.services.importing import import_paths
from study.views import cases as pages
from tests.factories import PASSWORD, make_study, make_user
from tests.reference import REFERENCE, needs_reference

from .dicoms import make_dataset, ramp, write

pytestmark = pytest.mark.django_db


@pytest.fixture
def phantom(data_dir: Path) -> Case:
    call_command("make_phantoms", 1, seed=3, start=1, size=96, verbosity=0)
    return Case.objects.get()


def person(role: str | None, study: Study | None = None, **fields: Any) -> User:
    user = make_user()
    for name, value in fields.items():
        setattr(user, name, value)
    user.save()
    if role:
        other = study or Study.objects.create(slug=f"s-{user.pk}", name="S", kind="collection", created_by=user)
        Membership.objects.create(study=other, user=user, role=role)
    return user


def signed_in(user: User | None) -> Client:
    client = Client(HTTP_HOST="localhost")
    if user is not None:
        client.force_login(user)
    return client


@pytest.fixture
def coordinator(data_dir: Path) -> Client:
    return signed_in(person("coordinator"))


def addresses(case: Case) -> dict[str, str]:
    image = case.images.get()
    return {
        "list": reverse("study:cases"),
        "detail": reverse("study:case_detail", args=[case.pk]),
        "preview": reverse("study:case_preview", args=[image.pk, "small"]),
        "upload": reverse("study:case_upload"),
    }


@pytest.mark.parametrize("page", ["list", "detail", "preview", "upload"])
@pytest.mark.parametrize(
    ("who", "status"),
    [("nobody", 302), ("stranger", 403), ("reader", 403), ("researcher", 200), ("coordinator", 200), ("staff", 200)],
)
def test_who_may_have_the_pages(phantom: Case, who: str, status: int, page: str) -> None:
    user = {
        "nobody": lambda: None,
        "stranger": lambda: person(None),
        "staff": lambda: person(None, is_staff=True),
    }.get(who, lambda: person(who))()
    assert signed_in(user).get(addresses(phantom)[page]).status_code == status


@pytest.mark.parametrize("who", ["stranger", "reader"])
def test_readers_cannot_upload(data_dir: Path, tmp_path: Path, who: str) -> None:
    client = signed_in(person("reader" if who == "reader" else None))
    with write(make_dataset(), tmp_path / "a.dcm").open("rb") as file:
        assert client.post(reverse("study:case_upload"), {"files": file}).status_code == 403
    assert not Case.objects.exists()


def test_a_coordinator_who_reads_the_case_elsewhere_does_not_get_its_truth(phantom: Case) -> None:
    both = person("coordinator")
    make_study(cases=[phantom], readers=[both])
    client = signed_in(both)
    pages_of = addresses(phantom)
    assert phantom.label not in client.get(pages_of["list"]).text
    assert client.get(pages_of["detail"]).status_code == 404
    assert client.get(pages_of["preview"]).status_code == 404


def test_the_list_names_pseudonyms_and_findings(phantom: Case, coordinator: Client) -> None:
    shown = coordinator.get(reverse("study:cases")).text
    assert phantom.label in shown and phantom.patient.pseudonym in shown
    assert "PHANTOM-3-1" not in shown
    for finding in phantom.reference_standard.findings.all():
        assert str(finding) in shown
    assert "1 case of 1 patient" in shown


def test_the_list_can_be_narrowed_to_a_source(phantom: Case, coordinator: Client) -> None:
    assert phantom.label in coordinator.get("/cases/?source=phantom").text
    assert phantom.label not in coordinator.get("/cases/?source=dicom").text
    assert phantom.label in coordinator.get("/cases/?source=nonsense").text


def test_the_preview_shows_the_default_window_true_to_shape(
    tmp_path: Path, data_dir: Path, coordinator: Client
) -> None:
    pixels = np.full((40, 80), 1000)
    pixels[:, 40:] = 3000
    ds = make_dataset(pixels, WindowCenter=2000, WindowWidth=1000, PixelSpacing=["0.4", "0.1"])
    (image,) = import_paths(paths=[write(ds, tmp_path / "a.dcm")], actor=None).imported
    answer = coordinator.get(reverse("study:case_preview", args=[image.pk, "large"]))
    picture = Picture.open(io.BytesIO(answer.content))
    assert picture.size == (360, 720)  # 8 mm wide, 16 mm high
    grey = np.asarray(picture)
    assert (grey[:, 10].max(), grey[:, -10].min()) == (0, 255)
    assert "private" in answer["Cache-Control"]


def test_the_preview_turns_monochrome1_over(tmp_path: Path, data_dir: Path, coordinator: Client) -> None:
    pixels = np.full((40, 80), 1000)
    pixels[:, 40:] = 3000
    ds = make_dataset(pixels, WindowCenter=2000, WindowWidth=1000, PhotometricInterpretation="MONOCHROME1")
    (image,) = import_paths(paths=[write(ds, tmp_path / "a.dcm")], actor=None).imported
    content = coordinator.get(reverse("study:case_preview", args=[image.pk, "small"])).content
    grey = np.asarray(Picture.open(io.BytesIO(content)))
    assert (grey[:, 3].min(), grey[:, -3].max()) == (255, 0)


def test_only_the_two_sizes_exist(phantom: Case, coordinator: Client) -> None:
    image = phantom.images.get()
    assert coordinator.get(f"/cases/images/{image.pk}/huge.png").status_code == 404


def test_an_upload_answers_with_a_sentence_for_each_file(tmp_path: Path, coordinator: Client) -> None:
    good = write(make_dataset(), tmp_path / "good.dcm").read_bytes()
    answer = coordinator.post(
        reverse("study:case_upload"),
        {
            "files": [
                SimpleUploadedFile("good.dcm", good),
                SimpleUploadedFile("again.dcm", good),
                SimpleUploadedFile("<b>notes</b>.dcm", b"hello " * 50),
            ]
        },
        follow=True,
    )
    assert answer.redirect_chain[0][1] == 302
    assert "1 image imported, 1 image already here, 1 refused." in answer.text
    assert "notes&lt;/b&gt;.dcm is not a DICOM file" in answer.text or "b&gt;.dcm is not a DICOM file" in answer.text
    assert "<b>notes" not in answer.text
    assert Case.objects.get().label in answer.text


def test_an_upload_of_a_zip_with_its_sidecar(tmp_path: Path, coordinator: Client) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    Picture.fromarray(ramp(64, 64, top=255).astype(np.uint8)).save(folder / "a.png")
    (folder / "truth.csv").write_text("filename,view,finding,side\na.png,PA,Pneumothorax,left\n")
    archive = shutil.make_archive(str(tmp_path / "all"), "zip", folder)
    answer = coordinator.post(
        reverse("study:case_upload"), {"files": SimpleUploadedFile("all.zip", Path(archive).read_bytes())}, follow=True
    )
    assert "1 image imported." in answer.text and "left Pneumothorax" in answer.text


def test_pictures_and_their_sidecar_can_be_sent_side_by_side(tmp_path: Path, coordinator: Client) -> None:
    buffer = io.BytesIO()
    Picture.fromarray(ramp(64, 64, top=255).astype(np.uint8)).save(buffer, "PNG")
    files = [
        SimpleUploadedFile("a.png", buffer.getvalue()),
        SimpleUploadedFile("t.csv", b"filename,finding\na.png,Edema\n"),
    ]
    answer = coordinator.post(reverse("study:case_upload"), {"files": files}, follow=True)
    assert "1 image imported." in answer.text and "Edema" in answer.text


def test_an_upload_without_a_file_is_refused_with_a_sentence(coordinator: Client) -> None:
    answer = coordinator.post(reverse("study:case_upload"), {})
    assert answer.status_code == 400
    assert "No file was chosen" in answer.text


def test_too_many_files_are_refused_and_the_command_is_named(coordinator: Client) -> None:
    files = [SimpleUploadedFile(f"{i}.dcm", b"x") for i in range(pages.MAX_FILES + 1)]
    answer = coordinator.post(reverse("study:case_upload"), {"files": files})
    assert answer.status_code == 413
    assert "More than 200 files at once" in answer.text and "import_cases PATH" in answer.text


def test_a_zip_with_too_many_files_is_refused_and_nothing_imported(
    tmp_path: Path, coordinator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "MAX_FILES", 1)
    folder = tmp_path / "in"
    folder.mkdir()
    for name in "ab":
        write(make_dataset(), folder / f"{name}.dcm")
    archive = shutil.make_archive(str(tmp_path / "all"), "zip", folder)
    answer = coordinator.post(
        reverse("study:case_upload"), {"files": SimpleUploadedFile("all.zip", Path(archive).read_bytes())}
    )
    assert answer.status_code == 413
    assert "The zip holds 2 files" in answer.text
    assert not Image.objects.exists()


def test_too_many_bytes_are_refused(coordinator: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "MAX_BYTES", 1000)
    answer = coordinator.post(reverse("study:case_upload"), {"files": SimpleUploadedFile("a.dcm", b"x" * 5000)})
    assert answer.status_code == 413
    assert "at once are too much for a page" in answer.text


def test_an_upload_needs_the_page_s_token(tmp_path: Path, data_dir: Path) -> None:
    user = person("coordinator")
    client = Client(enforce_csrf_checks=True, HTTP_HOST="localhost")
    assert client.login(username=user.username, password=PASSWORD)
    file = SimpleUploadedFile("a.dcm", write(make_dataset(), tmp_path / "a.dcm").read_bytes())
    assert client.post(reverse("study:case_upload"), {"files": file}).status_code == 403
    assert not Image.objects.exists()


def test_a_result_is_its_sender_s_alone_and_names_are_not_in_the_database(tmp_path: Path, coordinator: Client) -> None:
    from django.db import connection

    file = SimpleUploadedFile("doe_jane.txt", b"hello")
    answer = coordinator.post(reverse("study:case_upload"), {"files": file})
    assert "doe_jane.txt is neither" in coordinator.get(answer["Location"]).text
    assert signed_in(person("coordinator")).get(answer["Location"]).status_code == 404
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f'SELECT * FROM "{table}"')
            assert "doe_jane" not in repr(cursor.fetchall()), table


def test_progress_counts_the_files(tmp_path: Path, coordinator: Client) -> None:
    shown = coordinator.get(reverse("study:case_upload")).context["ticket"]
    progress = reverse("study:case_upload_progress", args=[shown])
    assert coordinator.get(progress).json() == {"done": 0, "total": 0}
    files = [SimpleUploadedFile(f"{i}.dcm", b"hello") for i in range(3)]
    coordinator.post(reverse("study:case_upload"), {"files": files, "ticket": shown})
    assert coordinator.get(progress).json() == {"done": 3, "total": 3}


@needs_reference
def test_the_reference_radiograph_imports_through_the_page(coordinator: Client) -> None:
    (path,) = (REFERENCE / "chest_xrays").glob("*.dcm")
    answer = coordinator.post(
        reverse("study:case_upload"), {"files": SimpleUploadedFile(path.name, path.read_bytes())}, follow=True
    )
    assert "1 image imported." in answer.text
    image = Image.objects.get()
    assert (image.rows, image.columns, image.view, image.case.source) == (1024, 1024, "PA", "dicom")
    assert coordinator.get(reverse("study:case_preview", args=[image.pk, "small"])).status_code == 200


def test_a_case_names_only_the_studies_its_viewer_belongs_to(phantom: Case) -> None:
    mine = make_study(name="Pilot of the north", cases=[phantom])
    make_study(name="Secret of the south", cases=[phantom])
    shown = signed_in(person(Membership.Role.RESEARCHER, mine)).get(reverse("study:case_detail", args=[phantom.pk]))
    assert "Pilot of the north" in shown.text
    assert "Secret of the south" not in shown.text


def test_a_name_the_disk_refuses_is_one_sentence_and_nothing_in_the_log(
    tmp_path: Path, coordinator: Client, caplog: pytest.LogCaptureFixture
) -> None:
    good = write(make_dataset(), tmp_path / "good.dcm").read_bytes()
    long = "ä" * 200 + ".dcm"
    answer = coordinator.post(
        reverse("study:case_upload"),
        {"files": [SimpleUploadedFile(long, good), SimpleUploadedFile("short.dcm", good)]},
        follow=True,
    )
    assert "1 image imported, 1 refused." in answer.text
    assert "its name is too long" in answer.text
    assert "ä" * 50 not in caplog.text
