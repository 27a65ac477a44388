"""VQA: "Is there a finding?" → no, left, right or yes (no side, both sides, or the side is not known)."""

from __future__ import annotations

from collections.abc import Sequence

from gazex.findings import PHANTOM_FINDINGS
from gazex.schema import Visit
from gazex.tasks.example import Example, example_of


def prompt(finding: str) -> str:
    return f"Is there {finding}?"


def examples(visit: Visit, findings: Sequence[str] = PHANTOM_FINDINGS) -> list[Example]:
    """One example for each of `findings`; a finding that is not in the visit's labels is taken as absent."""
    out = []
    for finding in findings:
        side = visit.labels.get(finding)
        answer = "no" if side is None else side if side in ("left", "right") else "yes"
        out.append(example_of(visit, "vqa", prompt(finding), str(answer)))
    return out
