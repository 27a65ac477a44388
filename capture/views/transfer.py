"""Gaze out of a study and into it: a zip in a format others read, and an upload of recordings made elsewhere."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Final

from asgiref.sync import sync_to_async
from django.core.cache import cache
from django.core.exceptions import TooManyFilesSent
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, JsonResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt, csrf_protect
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from capture.queries.recordings import recordings_exported_to, recordings_visible_to
from capture.services.exporting import zip_study
from capture.services.importing import (
    MAX_MAPPING_BYTES,
    GazeImport,
    Told,
    import_gaze,
    parse_display,
    parse_placed,
    read_mapping,
)
from study.models import Study
from study.queries.studies import STAFF, studies_visible_to
from study.services.errors import BadInput, Refused
from study.views.cases import MAX_BYTES, BoundedUpload, under_their_names
from study.views.support import page

MAX_FILES: Final = 200
_KEPT_SECONDS: Final = 24 * 3600
_LARGER: Final = "Copy more to the server and run `python manage.py import_gaze PATH --study …` there."


def _study(request: HttpRequest, slug: str) -> Study:
    """A study of which this person is coordinator or researcher; 404 for everybody else."""
    return get_object_or_404(studies_visible_to(request.user, *STAFF), slug=slug)


@page
@require_POST
def export(request: HttpRequest, slug: str) -> HttpResponseBase:
    """The study's gaze as a zip, sent while it is made."""
    study = _study(request, slug)
    recordings = list(recordings_exported_to(request.user, study))
    name = request.POST.get("format", "")
    blocks = zip_study(study=study, format=name, recordings=recordings, actor=request.user)
    return StreamingHttpResponse(
        _sent(blocks),
        content_type="application/zip",
        headers={
            "Content-Disposition": f'attachment; filename="{study.slug}-gaze-{name}.zip"',
            "Cache-Control": "private, no-store",
        },
    )


async def _sent(blocks: Iterator[bytes]) -> AsyncIterator[bytes]:
    """The blocks without holding up the event loop, and without collecting them all first, as Django would."""
    following = sync_to_async(lambda: next(blocks, None), thread_sensitive=False)
    try:
        while (block := await following()) is not None:
            yield block
    finally:
        # Also when the browser has gone: what the iterator has on disk goes too.
        await sync_to_async(blocks.close, thread_sensitive=False)()  # type: ignore[attr-defined]


@csrf_exempt  # upload handlers must be set before the token is read; `_receive` checks it
@page
@never_cache
@require_http_methods(["GET", "POST"])
def import_page(request: HttpRequest, slug: str) -> HttpResponse:
    """The form, and what is sent with it."""
    study = _study(request, slug)
    if request.method == "POST":
        request.upload_handlers = [BoundedUpload(request)]
        try:
            return _receive(request, study)
        except TooManyFilesSent:
            return _form(request, study, f"More than {MAX_FILES} files at once are too many for a page. {_LARGER}", 413)
        except Refused as refusal:
            return _form(request, study, refusal.sentence, refusal.status)
    return _form(request, study)


@csrf_protect
def _form(request: HttpRequest, study: Study, problem: str = "", status: int = 200) -> HttpResponse:
    context = {
        "study": study,
        "problem": problem,
        # A browser forgets the files that were chosen; what was typed stays.
        "told": request.POST,
        "ticket": uuid.uuid4(),
        "max_files": MAX_FILES,
        "max_gigabytes": MAX_BYTES // 2**30,
    }
    return render(request, "capture/import.html", context, status=status)


@csrf_protect
def _receive(request: HttpRequest, study: Study) -> HttpResponse:
    files = request.FILES.getlist("files")
    if getattr(request, "upload_is_too_large", False):
        raise BadInput(f"More than {MAX_BYTES // 2**30} GB at once are too much for a page. {_LARGER}")
    if not files:
        raise BadInput("No file was chosen: choose XDF files, or zips of REFLACX, EGD, BIDS or Parquet folders.")
    if len(files) > MAX_FILES:
        raise BadInput(f"{len(files)} files at once are too many for a page. {_LARGER}")
    mapping = request.FILES.get("mapping")
    told = Told(
        reader=request.POST.get("reader", "").strip(),
        display=_given(request, "display", parse_display),
        placed=_given(request, "placed", parse_placed),
        mapping=read_mapping(mapping.read(MAX_MAPPING_BYTES + 1), mapping.name) if mapping else {},
    )
    try:
        ticket = uuid.UUID(request.POST.get("ticket", ""))
    except ValueError:
        ticket = uuid.uuid4()
    with tempfile.TemporaryDirectory(prefix="gazeroom-upload-") as folder:
        paths, refused = under_their_names(files, Path(folder))
        report = import_gaze(
            paths=_together(paths, Path(folder)),
            study=study,
            actor=request.user,
            told=told,
            progress=lambda done, _: cache.set(_key(request, ticket, "progress"), done, 3600),
        )
    report.refused[:0] = refused
    # In the cache and not in the database: file names are where hospitals write patients' names.
    cache.set(_key(request, ticket, "result"), _result(report), _KEPT_SECONDS)
    return redirect("capture:import_result", slug=study.slug, ticket=ticket)


def _given(request: HttpRequest, name: str, parse: Any) -> Any:
    text = request.POST.get(name, "").strip()
    return parse(text) if text else None


def _together(paths: list[Path], folder: Path) -> list[Path]:
    """Tables that were chosen one by one lie beside each other, as their format has them; others stand alone."""
    alone = [path for path in paths if path.suffix.lower() in (".xdf", ".zip")]
    return alone + ([folder / "tables"] if _gathered(folder, [p for p in paths if p not in alone]) else [])


def _gathered(folder: Path, tables: list[Path]) -> bool:
    if tables:
        (folder / "tables").mkdir()
    for path in tables:
        path.rename(folder / "tables" / path.name)
    return bool(tables)


def _result(report: GazeImport) -> dict[str, Any]:
    return {
        "summary": report.summary,
        "imported": [str(recording.pk) for recording in report.imported],
        "refused": [sentence for _, sentence in report.refused],
        "remarks": report.remarks,
        "made_again": [sentence for _, sentence in report.made_again],
        "already_here": [sentence for _, sentence in report.already_here],
    }


def _key(request: HttpRequest, ticket: uuid.UUID, what: str) -> str:
    return f"gaze-import-{what}:{request.user.pk}:{ticket}"


@page
@require_safe
def import_progress(request: HttpRequest, slug: str, ticket: uuid.UUID) -> HttpResponse:
    done = cache.get(_key(request, ticket, "progress")) or 0
    return JsonResponse({"done": done, "total": 0})


@page
@never_cache
@require_safe
def import_result(request: HttpRequest, slug: str, ticket: uuid.UUID) -> HttpResponse:
    study = _study(request, slug)
    result = cache.get(_key(request, ticket, "result"))
    if result is None:
        raise Http404("This result is no longer kept; the recordings that were imported are in the list of recordings.")
    taken = recordings_visible_to(request.user).filter(pk__in=result["imported"]).prefetch_related("tracks")
    return render(request, "capture/import_result.html", {"study": study, "result": result, "recordings": taken})
