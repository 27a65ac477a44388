"""A result as a zip that stands on its own: tables, result, report, and a program that recomputes it.

The tables are collected anew and are refused where they are no longer those of the result. Entries have the result's
time and a fixed order, so the same result gives the same bytes.
"""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

from analysis.models import AnalysisResult
from analysis.queries.readings import ReadingsError
from analysis.queries.tables import files_of, measures_path, sha256_of
from study.services.errors import Refused

from .analysing import code_version

_RECOMPUTE = Path(__file__).resolve().parents[1] / "stats" / "reader_study" / "recompute.py"
_README = """\
The analysis of {name}

result.json      every number, with the hashes of what it was computed from and the version of the code
study.json       what the tables do not say: arms, protocol versions, the locked plan
tables/          the tables it was computed from, CSV in UTF-8; one row a read and finding, a mark, a lesion, a case …
report.pdf       the report
recompute.py     computes every number of result.json again from tables/ and study.json, and compares:

    pip install 'gazeroom[stats]=={version}'
    python recompute.py

It ends with status 0 when every number is the same, and prints what differs otherwise. Of gaze and reports it compares
again what tables/measures.csv holds; heat maps and counts of gaze need the recordings. Readers and cases go by
pseudonyms. {simulated}
"""


def result_json(result: AnalysisResult) -> dict[str, Any]:
    """The whole result as it is exported: numbers, inputs, code."""
    return {
        "id": str(result.pk),
        "created_at": result.created_at.isoformat(),
        "code_version": result.code_version,
        "inputs": result.inputs,
        "numbers": result.numbers,
    }


def checked_tables(result: AnalysisResult) -> dict[str, bytes]:
    """The tables that a result was computed from.

    Raises:
        Refused: an earlier version made the result, or what is stored of the study has changed since.
    """
    wanted = result.inputs.get("tables", {})
    if "measures.csv" not in wanted:
        raise Refused("An earlier version made this result; run the analysis again and take the bundle of that one.")
    try:
        files = files_of(result.study)
    except ReadingsError as error:
        raise Refused(error.sentence) from error
    measures = measures_path(wanted["measures.csv"])
    if not measures.exists():
        raise Refused("The table of measures of this result is missing on the server; run the analysis again.")
    files["measures"] = measures.read_bytes()
    changed = [name for name, digest in sha256_of(files).items() if wanted.get(name) != digest]
    if changed:
        raise Refused(
            f"The study has changed since this result was made ({', '.join(changed)}); run the analysis again and take "
            "the bundle of that one."
        )
    return files


def bundle(result: AnalysisResult) -> bytes:
    """The zip.

    Raises:
        Refused: as :func:`checked_tables`.
    """
    from .typesetting import pdf

    files = checked_tables(result)
    version = code_version().split(",")[0].removeprefix("gazeroom ")
    simulated = "Its readers are simulated; its numbers say nothing about people." if result.study.simulated else ""
    entries = {
        "README.txt": _README.format(name=result.study.name, version=version, simulated=simulated).encode(),
        "recompute.py": _RECOMPUTE.read_bytes(),
        "report.pdf": pdf(result),
        "result.json": _json(result_json(result)),
        "study.json": _json(result.inputs["facts"]),
        **{f"tables/{name}.csv": content for name, content in sorted(files.items())},
    }
    out = io.BytesIO()
    moment = result.created_at.timetuple()[:6]
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            info = zipfile.ZipInfo(f"{result.study.slug}-{str(result.pk)[:8]}/{name}", date_time=moment)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o644 << 16
            archive.writestr(info, content)
    return out.getvalue()


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()
