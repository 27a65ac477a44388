"""The report as a PDF: the document's blocks, set by Typst from a template that reads them as data.

A person's words reach Typst as JSON strings and are printed as text; no part of them is ever read as markup. Fonts are
those that come with Typst and matplotlib, and the clock is the result's, so the same result gives the same bytes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from analysis.models import AnalysisResult

from .report import document
from .reporting import Numbers, endpoint_named, readable

TEMPLATE = Path(__file__).resolve().parents[1] / "templates" / "analysis" / "report.typ"


def pdf(result: AnalysisResult) -> bytes:
    """The report of a result as PDF."""
    made: bytes = _compiled(result, format="pdf")
    return made


def pages(result: AnalysisResult, *, ppi: float = 80.0) -> list[bytes]:
    """The report's pages as PNG, for looking at them."""
    made = _compiled(result, format="png", ppi=ppi)
    return [made] if isinstance(made, bytes) else list(made)


def _compiled(result: AnalysisResult, **options: Any) -> Any:
    # Both are slow to import, and no page but the PDF needs them.
    import matplotlib as mpl
    import typst

    report = document(result)
    figures = drawn(readable(result.numbers), report["blocks"])
    fonts = typst.Fonts(include_system_fonts=False, font_paths=[str(Path(mpl.get_data_path()) / "fonts" / "ttf")])
    compiler = typst.Compiler(
        str(TEMPLATE),
        root=str(TEMPLATE.parent),
        font_paths=fonts,
        sys_inputs={"report": json.dumps(report, ensure_ascii=False), "figures": json.dumps(figures)},
    )
    return compiler.compile(timestamp=int(result.created_at.timestamp()), **options)


def drawn(numbers: Numbers, blocks: list[dict[str, Any]]) -> dict[str, str]:
    """The SVG of every figure block, by name and endpoint as :func:`key_of` joins them."""
    from analysis.figures import FIGURES

    out = {}
    for block in blocks:
        if block["kind"] == "figure":
            endpoint = endpoint_named(numbers, block["endpoint"] or None)
            out[f"{block['name']} {block['endpoint']}"] = FIGURES[block["name"]](numbers, endpoint).decode()
    return out
