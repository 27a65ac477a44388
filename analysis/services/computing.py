"""From the bytes of a study's tables to the numbers of a result. Reads and writes no database.

What is computed, :mod:`analysis.stats.reader_study` computes; a bundle's `recompute.py` calls the same on the same
bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from analysis.stats.reader_study import SCHEMA, compute, guarded, parse
from analysis.stats.reader_study.tables import cases_used, written

__all__ = ["SCHEMA", "cases_analysed", "guarded", "numbers_of", "written"]


def cases_analysed(files: Mapping[str, bytes], missing: str) -> set[str]:
    """The labels of the cases that the plan's rule for missing reads lets in; ``files`` as for :func:`numbers_of`."""
    return cases_used(parse(files), missing)


def numbers_of(
    files: Mapping[str, bytes], facts: dict[str, Any], *, progress: Callable[[str, int, int], None] | None = None
) -> dict[str, Any]:
    """Every number of a result.

    Args:
        files: from :func:`analysis.queries.tables.files_of`.
        facts: from :func:`analysis.queries.tables.facts_of`, its plan complete.
        progress: called before each step with what is done, the steps done and the steps in all.
    """
    return compute(parse(files), facts, progress=progress)
