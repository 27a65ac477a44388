"""Finding what a command line names."""

from __future__ import annotations

from django.core.management.base import CommandError

from study.models import Study


def study_named(slug: str) -> Study:
    """The study with this slug. Raises CommandError that names those there are."""
    study = Study.objects.filter(slug=slug).first()
    if study is None:
        known = ", ".join(Study.objects.values_list("slug", flat=True)[:10])
        raise CommandError(f"There is no study {slug!r}" + (f"; there are {known}." if known else "."))
    return study
