"""The report: one document, printed by the page and by the PDF, for the study's coordinators alone."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from analysis.figures import FIGURES
from analysis.models import AnalysisPlan, AnalysisResult
from analysis.services import typesetting
from analysis.services.analysing import analyse_study
from analysis.services.planning import default_body, lock_plan, save_plan
from analysis.services.report import document
from analysis.services.reporting import readable
from study.models import AuditEntry, Membership, Study
from study.services import studies
from tests.analysis.comparison import open_comparison, read_everything, unblinded_comparison
from tests.analysis.test_pages import signed_in
from tests.factories import make_user

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("data_dir")]

SECTIONS = [
    "Summary", "How the study was done", "Primary endpoint: AUC for any finding", "All endpoints", "Subgroups of cases",
    "Reading time", "Reliance on GazeX", "GazeX alone", "Calibration of confidence", "Agreement between readers",
    "Gaze", "Reports", "Analysis plan", "Conventions", "Where these numbers come from", "Reporting checklists",
]  # fmt: skip


@pytest.fixture
def analysed() -> tuple[Study, Client, AnalysisResult]:
    study, coordinator = unblinded_comparison(readers=2, cases=9, simulated=True)
    return study, signed_in(coordinator), analyse_study(study=study, actor=coordinator)


def texts(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def test_the_report_has_every_part_and_no_number_that_is_none(analysed: tuple[Study, Client, AnalysisResult]) -> None:
    study, client, result = analysed
    report = document(result)
    assert [b["text"] for b in report["blocks"] if b["kind"] == "heading" and b["level"] == 2] == SECTIONS
    page = client.get(reverse("analysis:report", args=[study.slug, result.pk]))
    assert page.status_code == 200
    text = page.content.decode()
    for phrase in (
        *SECTIONS,
        "are simulated",
        "Obuchowski–Rockette",
        result.inputs["tables"]["marks.csv"],
        "CLAIM 2024",
    ):
        assert phrase in text, phrase
    assert not re.search(r"\bnan\b", text.lower()) and ">None<" not in text
    for block in report["blocks"]:
        if block["kind"] == "table":
            assert all(len(row) == len(block["columns"]) for row in block["rows"]), block["caption"]
            assert all(isinstance(cell, str) for row in block["rows"] for cell in row), block["caption"]


def test_every_figure_of_the_report_is_drawn(analysed: tuple[Study, Client, AnalysisResult]) -> None:
    study, client, result = analysed
    figures = [block for block in document(result)["blocks"] if block["kind"] == "figure"]
    assert {block["name"] for block in figures} >= {"roc", "smooth", "forest", "scores", "times", "reliance"}
    for block in figures:
        assert block["alt"] and block["caption"]
        address = reverse("analysis:figure", args=[study.slug, result.pk, block["name"]])
        response = client.get(address, {"endpoint": block["endpoint"]} if block["endpoint"] else {})
        assert response.status_code == 200 and b"<svg" in response.content, block["name"]


def test_heat_maps_are_drawn_for_each_arm_and_gazex(analysed: tuple[Study, Client, AnalysisResult]) -> None:
    numbers = dict(analysed[2].numbers)
    spot = [[0.0, 0.2], [0.4, 1.0]]
    numbers["gaze"] = {"heat_maps": {"arms": {"unassisted": spot, "gazex": None}, "model": spot}}
    drawn = FIGURES["gaze"](numbers, numbers["endpoints"][0]).decode()
    assert drawn.count("<image") == 3 and "no gaze" in drawn  # two maps and the colour bar
    for words in ("Unassisted", "With GazeX", "GazeX’s inspection"):
        assert words in drawn


def test_the_pdf_is_the_same_each_time_and_names_the_study(analysed: tuple[Study, Client, AnalysisResult]) -> None:
    study, client, result = analysed
    address = reverse("analysis:report_pdf", args=[study.slug, result.pk])
    first = client.get(address)
    assert first["Content-Type"] == "application/pdf" and first.content.startswith(b"%PDF")
    assert client.get(address).content == first.content
    assert AuditEntry.objects.filter(act=AuditEntry.Act.EXPORTED, detail__what="report (PDF)").count() == 2


def test_what_a_person_wrote_is_never_read_as_markup() -> None:
    nasty = '#panic("x") *bold* $x$ <script>alert(1)</script> @ref `code` \\ // end'
    study, coordinator = open_comparison(readers=2, cases=6)
    read_everything(study, leave=1)
    study.name = nasty
    study.save()
    study = studies.close_study(study=study, actor=coordinator, reason=nasty)
    save_plan(study=study, body=default_body(study), actor=coordinator)
    lock_plan(study=study, actor=coordinator)
    study = studies.unblind_study(study=study, actor=coordinator)
    result = analyse_study(study=study, actor=coordinator)
    lines = [line for block in document(result)["blocks"] if block["kind"] == "list" for line in block["lines"]]
    assert f"The study was closed early: {nasty}" in lines and nasty in document(result)["title"]
    assert typesetting.pdf(result).startswith(b"%PDF")
    page = signed_in(coordinator).get(reverse("analysis:report", args=[study.slug, result.pk])).content.decode()
    assert "<script>alert" not in page and "&lt;script&gt;" in page


def test_a_study_that_cannot_be_estimated_still_has_a_report_that_says_why() -> None:
    study, coordinator = unblinded_comparison(readers=1, cases=6)
    result = analyse_study(study=study, actor=coordinator)
    text = texts(document(result))
    assert "there is one reader" in text
    assert "not estimable, because one" in text or "Not estimable, because" in text
    assert typesetting.pdf(result).startswith(b"%PDF")


#: Who may see what of a result: (role, page, report, PDF, bundle) as status codes.
ROLES = [
    ("coordinator", 200, 200, 200, 200),
    ("researcher", 404, 404, 404, 404),
    ("reader", 404, 404, 404, 404),
    ("coordinator of another study", 404, 404, 404, 404),
    ("nobody", 302, 302, 302, 302),
]


def test_roles_and_what_they_may_see(analysed: tuple[Study, Client, AnalysisResult]) -> None:
    study, client, result = analysed
    _, elsewhere = open_comparison(readers=1, cases=2)
    clients = {
        "coordinator": client,
        "researcher": signed_in(make_user(roles={study: Membership.Role.RESEARCHER})),
        "reader": signed_in(study.enrolments.first().user),
        "coordinator of another study": signed_in(elsewhere),
        "nobody": Client(),
    }
    addresses = [
        reverse("analysis:study", args=[study.slug]),
        *(reverse(f"analysis:{name}", args=[study.slug, result.pk]) for name in ("report", "report_pdf", "bundle")),
    ]
    found = [(role, *(clients[role].get(address).status_code for address in addresses)) for role, *_ in ROLES]
    assert found == ROLES
    assert AuditEntry.objects.filter(act=AuditEntry.Act.EXPORTED).count() == 2


def old_numbers(result: AnalysisResult) -> dict[str, Any]:
    """What the version before stored, made from today's: the keys of schema gazeroom.analysis/1."""
    numbers = result.numbers
    keys = ("key", "label", "primary", "error", "result", "curves", "scores", "changes")
    plan = {
        "primary": "any", "secondary": ["Pneumothorax", "Cardiomegaly"], "fom": "auc", "covariance": "delong",
        "random": "readers_cases", "alpha": 0.05, "margin": None, "reference_arm": "unassisted", "threshold": 4,
    }  # fmt: skip
    return {
        "schema": "gazeroom.analysis/1",
        "plan": plan,
        "endpoints": [{key: e[key] for key in keys} for e in numbers["endpoints"] if e["fom"] == "auc"],
        "shown": numbers["conduct"]["shown"],
        **{key: numbers[key] for key in ("arms", "readers", "cases", "reads", "time", "study")},
    }


def test_a_result_of_the_version_before_is_still_shown_and_says_what_it_lacks(
    analysed: tuple[Study, Client, AnalysisResult],
) -> None:
    study, client, result = analysed
    old = AnalysisResult.objects.create(
        study=study,
        plan=AnalysisPlan.objects.get(study=study),
        inputs={"readings_sha256": result.inputs_sha256},
        inputs_sha256=result.inputs_sha256,
        code_version="gazeroom 0.1.0, analysis 0",
        numbers=old_numbers(result),
    )
    page = client.get(reverse("analysis:study", args=[study.slug]), {"result": str(old.pk)})
    assert page.status_code == 200 and b"An earlier version made this result" in page.content
    report = client.get(reverse("analysis:report", args=[study.slug, old.pk]))
    assert report.status_code == 200 and "an earlier version made" in report.content.decode()
    assert client.get(reverse("analysis:figure", args=[study.slug, old.pk, "roc"])).status_code == 200
    assert client.get(reverse("analysis:bundle", args=[study.slug, old.pk])).status_code == 409
    assert typesetting.pdf(old).startswith(b"%PDF")
    assert readable(result.numbers) is result.numbers


def test_every_assisted_arm_is_in_the_figure_of_reliance_and_a_name_is_no_formula(
    analysed: tuple[Study, Client, AnalysisResult],
) -> None:
    numbers = json.loads(json.dumps(analysed[2].numbers))
    endpoint = numbers["endpoints"][0]
    (key,) = numbers["reliance"]["arms"]
    numbers["reliance"]["arms"]["second"] = numbers["reliance"]["arms"][key]
    numbers["arms"] = [{**arm, "name": rf"{arm['name']} $\x $y$"} for arm in numbers["arms"]]
    numbers["arms"].append({"key": "second", "name": "Second read", "assistance": "second_read"})
    drawn = FIGURES["reliance"](numbers, endpoint).decode()
    for reader in numbers["readers"]:
        assert rf">{reader}, With GazeX $\x $y$<" in drawn and f">{reader}, Second read<" in drawn
    assert r"$\x $y$ (average AUC" in FIGURES["roc"](numbers, endpoint).decode()
