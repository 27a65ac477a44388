"""Sending a stored frame: compressed where the browser takes it, and not twice."""

from __future__ import annotations

import re

from django.http import HttpRequest, HttpResponse, HttpResponseNotModified

from study.models import Image
from study.services import frames


def frame_response(request: HttpRequest, image: Image, *, cache_control: str) -> HttpResponse:
    """The image's frame. Whoever calls has asked a query whether this person may have it."""
    etag = f'"{image.frame_sha256}"'
    if etag in [tag.strip().removeprefix("W/") for tag in request.headers.get("If-None-Match", "").split(",")]:
        response: HttpResponse = HttpResponseNotModified()
    elif _accepts_zstd(request.headers.get("Accept-Encoding", "")):
        response = HttpResponse(frames.compressed(image), content_type="application/octet-stream")
        response["Content-Encoding"] = "zstd"
    else:
        response = HttpResponse(frames.plain(image), content_type="application/octet-stream")
    response["ETag"] = etag
    response["Cache-Control"] = cache_control
    response["Vary"] = "Accept-Encoding, Cookie"
    return response


def _accepts_zstd(header: str) -> bool:
    for item in header.split(","):
        name, _, parameters = item.partition(";")
        if name.strip().lower() == "zstd":
            return not re.fullmatch(r"\s*q\s*=\s*0(\.0*)?\s*", parameters)
    return False
