"""The library of cases and the way into it. Readers never have these pages: they show the truth."""

from __future__ import annotations

import functools
import os
import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from django.contrib.auth.decorators import login_required
from django.core.cache import cache
from django.core.exceptions import PermissionDenied, TooManyFilesSent
from django.core.files.uploadedfile import UploadedFile
from django.core.files.uploadhandler import StopUpload, TemporaryFileUploadHandler
from django.core.paginator import Paginator
from django.db.models import Prefetch, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.csrf import csrf_exempt, csrf_protect
from django.views.decorators.http import require_GET, require_http_methods

from study.models import Case, Image, Membership, Patient, User
from study.queries.studies import cases_visible_to, roles_of, studies_visible_to
from study.services.errors import Refused
from study.services.importing import PREVIEW_SIZES, ImportReport, TooManyError, import_paths, preview_png

MAX_FILES: Final = 200
MAX_BYTES: Final = 2 * 2**30
_LARGER: Final = (
    "For more, copy them to the server and run `python manage.py import_cases PATH` there: it takes any number."
)
#: What a file system takes as the name of one file.
_NAME_BYTES: Final = 255
_KEPT_SECONDS: Final = 24 * 3600

View = Callable[..., HttpResponse]


def may_see_cases(user: User) -> bool:
    """Coordinators and researchers of any study, and the site's staff."""
    return user.is_staff or bool(roles_of(user) & {Membership.Role.COORDINATOR, Membership.Role.RESEARCHER})


def for_staff_of_studies(view: View) -> View:
    """Signed in, and coordinator, researcher or staff; anybody else gets 403."""

    @functools.wraps(view)
    def inner(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not may_see_cases(request.user):
            raise PermissionDenied
        return view(request, *args, **kwargs)

    return login_required(inner)


def _library(user: User) -> QuerySet[Case]:
    return (
        cases_visible_to(user)
        .select_related("patient", "reference_standard")
        .prefetch_related(Prefetch("images", Image.objects.defer("voi")), "reference_standard__findings")
    )


@for_staff_of_studies
@require_GET
def cases(request: HttpRequest) -> HttpResponse:
    visible = _library(request.user).order_by("-created_at", "label")
    source = request.GET.get("source", "")
    if source in Case.Source.values:
        visible = visible.filter(source=source)
    page = Paginator(visible, 25).get_page(request.GET.get("page"))
    return render(
        request,
        "study/cases.html",
        {
            "page": page,
            "source": source,
            "sources": Case.Source.choices,
            "patients": Patient.objects.filter(cases__in=visible.values("pk")).distinct().count(),
        },
    )


@for_staff_of_studies
@require_GET
def case_detail(request: HttpRequest, case_id: uuid.UUID) -> HttpResponse:
    case = get_object_or_404(_library(request.user), pk=case_id)
    standard = getattr(case, "reference_standard", None)
    findings = list(standard.findings.all()) if standard else []
    images = []
    for image in case.images.all():
        row_mm, column_mm = image.row_spacing_mm or 1.0, image.column_spacing_mm or 1.0
        here = [f for f in findings if f.image_id == image.pk and f.box]
        images.append(
            {
                "image": image,
                # The overlay is drawn in units of columns, so that anisotropic pixels keep their shape.
                "person": _person(image.attributes),
                "font": image.columns / 38,
                "height": image.rows * row_mm / column_mm,
                "aspect": row_mm / column_mm,
                "boxes": [
                    {
                        "label": str(f),
                        "x": f.box[0] + 0.5,
                        "y": f.box[1] + 0.5,
                        "width": f.box[2] - f.box[0],
                        "height": f.box[3] - f.box[1],
                        "label_x": f.box[0] + 0.5,
                        "label_y": max(image.columns / 30, (f.box[1] + 0.5) * row_mm / column_mm - image.columns / 100),
                        "outline": " ".join(f"{x + 0.5:g},{y + 0.5:g}" for x, y in f.outline or []),
                    }
                    for f in here
                ],
            }
        )
    reading = studies_visible_to(request.user).filter(protocols__study_cases__case=case).distinct()
    studies = sorted(study.name for study in reading)
    context = {"case": case, "images": images, "standard": standard, "findings": findings, "studies": studies}
    return render(request, "study/cases_detail.html", context)


def _person(attributes: dict[str, Any]) -> str:
    """ "male, 62 years": what de-identification leaves of a person (PS3.3 C.7.1.1, PS3.5 AS)."""
    sex = {"M": "male", "F": "female", "O": "other"}.get(attributes.get("PatientSex", ""), "")
    age = attributes.get("PatientAge", "")
    unit = {"D": "days", "W": "weeks", "M": "months", "Y": "years"}.get(age[-1:], "")
    return ", ".join(part for part in (sex, f"{int(age[:-1])} {unit}" if unit else "") if part)


@for_staff_of_studies
@require_GET
def case_preview(request: HttpRequest, image_id: uuid.UUID, size: str) -> HttpResponse:
    if size not in PREVIEW_SIZES:
        raise Http404(f"Previews are {' or '.join(PREVIEW_SIZES)}.")
    image = get_object_or_404(
        Image.objects.filter(case__in=cases_visible_to(request.user)),
        pk=image_id,
    )
    try:
        data = preview_png(image=image, size=size)
    except Refused as refused:
        return HttpResponse(refused.sentence, status=refused.status, content_type="text/plain; charset=utf-8")
    return HttpResponse(data, content_type="image/png", headers={"Cache-Control": "private, max-age=86400"})


class BoundedUpload(TemporaryFileUploadHandler):
    """Every file straight to disk, and no more of them than fits; the rest of the request is read and dropped."""

    def handle_raw_input(self, input_data: Any, META: Any, content_length: int, *args: Any, **kwargs: Any) -> None:
        self.left = MAX_BYTES

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        self.left -= len(raw_data)
        if self.left < 0:
            self.request.upload_is_too_large = True
            raise StopUpload(connection_reset=False)
        super().receive_data_chunk(raw_data, start)


@csrf_exempt  # upload handlers must be set before the token is read; `_receive` checks it
@for_staff_of_studies
@require_http_methods(["GET", "POST"])
def case_upload(request: HttpRequest) -> HttpResponse:
    if request.method == "POST":
        request.upload_handlers = [BoundedUpload(request)]
        try:
            return _receive(request)
        except TooManyFilesSent:
            return _form(request, f"More than {MAX_FILES} files at once are too many for a page. {_LARGER}", 413)
    return _form(request)


@csrf_protect
def _form(request: HttpRequest, problem: str = "", status: int = 200) -> HttpResponse:
    context = {"problem": problem, "ticket": uuid.uuid4(), "max_files": MAX_FILES, "max_gigabytes": MAX_BYTES // 2**30}
    return render(request, "study/cases_upload.html", context, status=status)


@csrf_protect
def _receive(request: HttpRequest) -> HttpResponse:
    files = request.FILES.getlist("files")
    if getattr(request, "upload_is_too_large", False):
        return _form(request, f"More than {MAX_BYTES // 2**30} GB at once are too much for a page. {_LARGER}", 413)
    if not files:
        return _form(request, "No file was chosen: choose DICOM, PNG or JPEG files, or a zip of them.", 400)
    if len(files) > MAX_FILES:
        return _form(request, f"{len(files)} files at once are too many for a page. {_LARGER}", 413)
    try:
        ticket = uuid.UUID(request.POST.get("ticket", ""))
    except ValueError:
        ticket = uuid.uuid4()
    with tempfile.TemporaryDirectory(prefix="gazeroom-upload-") as folder:
        paths, refused = under_their_names(files, Path(folder))
        try:
            report = import_paths(
                paths=paths,
                actor=request.user,
                progress=lambda done, total, _: cache.set(_key(request, ticket, "progress"), (done, total), 3600),
                limit=MAX_FILES,
            )
        except TooManyError as error:
            return _form(request, f"The zip holds {error.args[0]} files, too many for a page. {_LARGER}", 413)
    report.refused[:0] = refused
    # In the cache and not in the database: file names are where hospitals write patients' names.
    cache.set(_key(request, ticket, "result"), _result(report), _KEPT_SECONDS)
    return redirect("study:case_upload_result", ticket=ticket)


def under_their_names(files: list[UploadedFile], folder: Path) -> tuple[list[Path], list[tuple[str, str]]]:
    """The uploaded files in one folder under the names they were sent with (sidecars name them).

    Second come those that cannot be: (name, sentence). Nothing is raised, for a name in a traceback is in the log.
    """
    paths, refused = [], []
    for file in files:
        path = folder / Path(file.name or "file").name
        if len(os.fsencode(path.name)) > _NAME_BYTES:
            refused.append((path.name, f"{path.name} was not taken in: its name is too long; rename it."))
        elif path.exists():
            refused.append((path.name, f"{path.name} was sent twice; rename one of them."))
        else:
            Path(file.temporary_file_path()).rename(path)
            paths.append(path)
    return paths, refused


def _result(report: ImportReport) -> dict[str, Any]:
    return {
        "summary": report.summary,
        "imported": len(report.imported),
        "cases": [str(case.pk) for case in report.cases],
        "refused": [sentence for _, sentence in report.refused],
        "already_here": [sentence for _, sentence in report.already_here],
    }


def _key(request: HttpRequest, ticket: uuid.UUID, what: str) -> str:
    return f"import-{what}:{request.user.pk}:{ticket}"


@for_staff_of_studies
@require_GET
def case_upload_progress(request: HttpRequest, ticket: uuid.UUID) -> JsonResponse:
    done, total = cache.get(_key(request, ticket, "progress")) or (0, 0)
    return JsonResponse({"done": done, "total": total})


@for_staff_of_studies
@require_GET
def case_upload_result(request: HttpRequest, ticket: uuid.UUID) -> HttpResponse:
    result = cache.get(_key(request, ticket, "result"))
    if result is None:
        raise Http404("This result is no longer kept; the cases that were imported are in the list of cases.")
    taken = _library(request.user).filter(pk__in=result["cases"])
    return render(request, "study/cases_result.html", {"result": result, "cases": taken})
