from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_safe

from analysis.queries.results import results_visible_to
from analysis.services.reporting import endpoint_named, readable


@require_safe
@login_required
def figure(request: HttpRequest, slug: str, result_id: str, figure: str) -> HttpResponse:
    """One figure of a stored result as SVG; `?endpoint=` chooses the endpoint."""
    # matplotlib is slow to import, and no other page needs it.
    from analysis.figures import FIGURES

    result = get_object_or_404(results_visible_to(request.user), pk=result_id, study__slug=slug)
    numbers = readable(result.numbers)
    endpoint = endpoint_named(numbers, request.GET.get("endpoint"))
    if figure not in FIGURES or endpoint is None:
        raise Http404("There is no such figure.")
    response = HttpResponse(FIGURES[figure](numbers, endpoint), content_type="image/svg+xml")
    # matplotlib styles its shapes inline; nothing else may load or run in the picture.
    response["Content-Security-Policy"] = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    response["Cache-Control"] = "private, max-age=3600"
    return response
