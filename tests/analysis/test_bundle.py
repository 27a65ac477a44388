"""The bundle stands on its own: its program recomputes the numbers in a process without Django and notices changes."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from analysis.models import AnalysisResult
from analysis.services.analysing import analyse_study
from analysis.services.bundle import bundle, checked_tables
from analysis.services.planning import lock_default_plan
from analysis.stats.reader_study.measured import outcomes_of
from analysis.stats.reader_study.recompute import differences
from study.models import Study
from study.services import studies
from study.services.errors import Refused
from tests.analysis.comparison import unblinded_comparison
from tests.analysis.test_gaze_outcomes import comparison as with_gaze
from tests.analysis.test_gaze_outcomes import record

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("data_dir")]
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def analysed() -> tuple[Study, AnalysisResult]:
    study, coordinator = unblinded_comparison(readers=3, cases=9)
    return study, analyse_study(study=study, actor=coordinator)


def unpacked(result: AnalysisResult, folder: Path) -> Path:
    with zipfile.ZipFile(io.BytesIO(bundle(result))) as archive:
        archive.extractall(folder / "bundle")
    (root,) = (folder / "bundle").iterdir()
    return root


def recomputed(folder: Path) -> tuple[int, str]:
    """Run the bundle's own program as a stranger would: no Django settings, only the installed package."""
    env = {key: value for key, value in os.environ.items() if not key.startswith(("DJANGO", "GAZEROOM"))}
    done = subprocess.run(
        [sys.executable, "recompute.py"], cwd=folder, env=env, capture_output=True, text=True, timeout=300
    )
    return done.returncode, done.stdout + done.stderr


def test_the_bundles_program_recomputes_every_number_and_notices_a_changed_one(
    analysed: tuple[Study, AnalysisResult], tmp_path: Path
) -> None:
    _, result = analysed
    root = unpacked(result, tmp_path)
    status, said = recomputed(root)
    assert (status, "values of the result are what the tables give" in said) == (0, True), said

    readings = root / "tables" / "readings.csv"
    rows = list(csv.reader(io.StringIO(readings.read_text())))
    place = rows[0].index("rating")
    rows[1][place] = "5" if rows[1][place] != "5" else "1"
    readings.write_text("\n".join(",".join(row) for row in rows) + "\n")
    status, said = recomputed(root)
    assert status == 1
    assert "tables/readings.csv is not the file that the result was computed from" in said
    assert "numbers.endpoints[0]" in said and "stored" in said and "computed" in said


def test_what_was_compared_of_gaze_and_reports_is_recomputed_too(tmp_path: Path) -> None:
    study = with_gaze()
    record(study)
    coordinator = study.created_by
    study = studies.close_study(study=study, actor=coordinator)
    lock_default_plan(study=study, actor=coordinator)
    study = studies.unblind_study(study=study, actor=coordinator)
    result = analyse_study(study=study, actor=coordinator)
    compared = outcomes_of(result.numbers)
    assert {name.split("/")[1] for name in compared} >= {"read", "findings", "scanpath", "centroid", "map", "places"}
    root = unpacked(result, tmp_path)
    status, said = recomputed(root)
    assert status == 0, said

    path = root / "tables" / "measures.csv"
    text = path.read_text()
    row = next(line for line in text.splitlines() if ",gaze/read/viewing_s," in line)
    value = float(row.split(",")[5])
    path.write_text(text.replace(row, row.replace(row.split(",")[5], repr(value + 1))))
    status, said = recomputed(root)
    assert status == 1 and "gaze/read/viewing_s.means" in said and "gaze/read/fixations" not in said


def test_a_number_changed_in_the_stored_result_is_found(analysed: tuple[Study, AnalysisResult], tmp_path: Path) -> None:
    root = unpacked(analysed[1], tmp_path)
    stored = json.loads((root / "result.json").read_text())
    stored["numbers"]["endpoints"][0]["result"]["comparisons"][0]["difference"] += 1e-6
    (root / "result.json").write_text(json.dumps(stored))
    status, said = recomputed(root)
    assert status == 1 and said.count("stored") == 1 and "comparisons[0].difference" in said


def test_the_bundle_holds_what_it_says_and_is_the_same_each_time(analysed: tuple[Study, AnalysisResult]) -> None:
    _, result = analysed
    first, second = bundle(result), bundle(result)
    assert first == second
    with zipfile.ZipFile(io.BytesIO(first)) as archive:
        names = {name.split("/", 1)[1] for name in archive.namelist()}
        root = archive.namelist()[0].split("/")[0]
        assert archive.read(f"{root}/report.pdf").startswith(b"%PDF")
        stored = json.loads(archive.read(f"{root}/result.json"))
    assert {"README.txt", "recompute.py", "report.pdf", "result.json", "study.json"} <= names
    assert {f"tables/{name}" for name in result.inputs["tables"]} <= names
    assert stored["numbers"] == result.numbers


def test_no_name_of_a_reader_is_in_the_bundle(analysed: tuple[Study, AnalysisResult]) -> None:
    study, result = analysed
    people = [enrolment.user.username for enrolment in study.enrolments.select_related("user")]
    with zipfile.ZipFile(io.BytesIO(bundle(result))) as archive:
        texts = [archive.read(name).decode() for name in archive.namelist() if not name.endswith(".pdf")]
    assert people and not any(person in text for person in people for text in texts)


def test_tables_that_are_no_longer_those_of_the_result_are_refused(analysed: tuple[Study, AnalysisResult]) -> None:
    study, result = analysed
    enrolment = study.enrolments.first()
    enrolment.withdrawn_at = enrolment.study.created_at
    enrolment.save()
    with pytest.raises(Refused, match=r"has changed since this result was made \(readers.csv\)"):
        checked_tables(result)


def test_a_result_of_an_earlier_version_has_no_bundle_and_says_what_to_do(
    analysed: tuple[Study, AnalysisResult],
) -> None:
    study, result = analysed
    old = AnalysisResult.objects.create(
        study=study, plan=result.plan, inputs={}, inputs_sha256="0" * 64, code_version="x", numbers=result.numbers
    )
    with pytest.raises(Refused, match="run the analysis again and take the bundle of that one"):
        bundle(old)


@pytest.mark.parametrize(
    ("stored", "computed", "lines"),
    [
        ({"a": 1.0}, {"a": 1.0 + 1e-12}, 0),
        ({"a": 1.0}, {"a": 1.001}, 1),
        ({"a": None}, {"a": 0.0}, 1),
        ({"a": True}, {"a": 1}, 1),
        ({"a": [1, 2]}, {"a": [1]}, 1),
        ({"a": 1}, {"b": 1}, 2),
        ({"a": "x"}, {"a": "y"}, 1),
    ],
)
def test_differences_are_found_whatever_their_kind(stored: Any, computed: Any, lines: int) -> None:
    assert len(differences(stored, computed)) == lines
