from __future__ import annotations

import csv
import io
import json
import re
import xml.etree.ElementTree as ET
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from analysis.figures import FIGURES
from analysis.models import AnalysisPlan, AnalysisResult
from analysis.services.analysing import analyse_study, perform, request_run
from study import registries
from study.models import AuditEntry, Membership, Study, User
from tests.analysis.comparison import open_comparison, read_everything, unblinded_comparison
from tests.factories import make_study, make_user

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("data_dir")]


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user, backend="allauth.account.auth_backends.AuthenticationBackend")
    return client


@pytest.fixture
def analysed() -> tuple[Study, Client, AnalysisResult]:
    study, coordinator = unblinded_comparison(readers=2, cases=9, simulated=True)
    return study, signed_in(coordinator), analyse_study(study=study, actor=coordinator)


def test_only_the_studys_coordinators_see_its_analysis(analysed: tuple[Study, Client, AnalysisResult]) -> None:
    study, client, result = analysed
    reader = study.enrolments.first().user
    _, elsewhere = open_comparison(readers=1, cases=2)
    researcher = make_user(roles={study: Membership.Role.RESEARCHER})
    addresses = [
        reverse("analysis:study", args=[study.slug]),
        reverse("analysis:figure", args=[study.slug, result.pk, "roc"]),
        reverse("analysis:ratings", args=[study.slug, result.pk]),
        reverse("analysis:result", args=[study.slug, result.pk]),
    ]
    for address in addresses:
        assert client.get(address).status_code == 200, address
        assert Client().get(address).status_code == 302, address
        for user in (reader, elsewhere, researcher):
            assert signed_in(user).get(address).status_code == 404, (user, address)
    for name in ("plan", "lock", "run"):
        address = reverse(f"analysis:{name}", args=[study.slug])
        assert signed_in(researcher).post(address).status_code == 404
        assert client.get(address).status_code == 405


def test_the_studys_page_links_here_for_coordinators_only() -> None:
    study, coordinator = open_comparison(readers=1, cases=2)
    links = [link for links_of in registries.study_links for link in links_of(study, coordinator)]
    assert ("Analysis", f"/analysis/{study.slug}/") in links
    reader = study.enrolments.get().user
    assert ("Analysis", f"/analysis/{study.slug}/") not in [
        link for links_of in registries.study_links for link in links_of(study, reader)
    ]


def test_before_unblinding_the_page_shows_completeness_and_nothing_of_the_answers() -> None:
    study, coordinator = open_comparison(readers=2, cases=3)
    read_everything(study, leave=1)
    text = signed_in(coordinator).get(reverse("analysis:study", args=[study.slug])).content.decode()
    assert "11 of 12 reads are submitted" in text
    assert "Run the analysis" not in text and "/results/" not in text and "Average AUC of each arm" not in text
    assert "Save and lock for good" in text


def test_the_result_page_states_the_result_with_the_figures_and_tables_behind_it(
    analysed: tuple[Study, Client, AnalysisResult],
) -> None:
    study, client, result = analysed
    text = client.get(reverse("analysis:study", args=[study.slug])).content.decode()
    assert "With GazeX the readers’ average AUC for any finding was" in text
    assert "The readers of this study are simulated." in text
    for figure in ("roc", "forest", "scores", "times"):
        assert reverse("analysis:figure", args=[study.slug, result.pk, figure]) in text
    for phrase in ("Obuchowski–Rockette, readers and cases random", "Hillis (2007)", result.inputs_sha256, "DeLong"):
        assert phrase in text
    assert "nan" not in text.lower().replace("finance", "") and "None" not in text


def test_every_endpoint_has_its_own_view_and_unknown_ones_do_not(
    analysed: tuple[Study, Client, AnalysisResult],
) -> None:
    study, client, result = analysed
    address = reverse("analysis:study", args=[study.slug])
    text = client.get(address, {"endpoint": "Pneumothorax"}).content.decode()
    assert "average AUC for Pneumothorax" in text and "secondary endpoint" in text
    assert client.get(address, {"endpoint": "Dragon"}).status_code == 404
    assert client.get(address, {"result": str(result.pk)}).status_code == 200


def test_every_figure_is_well_formed_svg_with_a_title_and_real_text_and_the_same_each_time(
    analysed: tuple[Study, Client, AnalysisResult],
) -> None:
    study, client, result = analysed
    for figure in FIGURES:
        address = reverse("analysis:figure", args=[study.slug, result.pk, figure])
        response = client.get(address)
        assert response["Content-Type"] == "image/svg+xml"
        root = ET.fromstring(response.content)
        assert root.find("{http://www.w3.org/2000/svg}title").text, figure
        assert root.findall(".//{http://www.w3.org/2000/svg}text"), figure
        assert client.get(address).content == response.content, figure
    assert client.get(reverse("analysis:figure", args=[study.slug, result.pk, "dragon"])).status_code == 404


def test_the_roc_figure_names_both_arms_with_the_stored_areas(analysed: tuple[Study, Client, AnalysisResult]) -> None:
    study, client, result = analysed
    text = client.get(reverse("analysis:figure", args=[study.slug, result.pk, "roc"])).content.decode()
    for mean in result.numbers["endpoints"][0]["result"]["means"]:
        assert f"(average AUC {mean['estimate']:.3f})" in text


def test_the_csv_holds_one_row_per_read_and_its_export_is_audited(
    analysed: tuple[Study, Client, AnalysisResult],
) -> None:
    study, client, result = analysed
    address = reverse("analysis:ratings", args=[study.slug, result.pk])
    rows = list(csv.DictReader(io.StringIO(client.get(address).content.decode())))
    assert list(rows[0]) == ["reader", "case", "arm", "period", "truth", "rating", "seconds"]
    assert len(rows) == 36 and float(rows[0]["seconds"]) > 0
    assert len(client.get(address, {"endpoint": "all"}).content.decode().splitlines()) == 1 + 36 * 2
    assert client.get(address, {"endpoint": "Dragon"}).status_code == 404
    assert AuditEntry.objects.filter(act=AuditEntry.Act.EXPORTED).count() == 2


def test_readings_that_are_not_those_of_the_result_are_not_exported_under_its_name(
    analysed: tuple[Study, Client, AnalysisResult],
) -> None:
    study, client, result = analysed
    other = AnalysisResult.objects.create(
        study=study, plan=result.plan, inputs={}, inputs_sha256="0" * 64, code_version="x", numbers=result.numbers
    )
    response = client.get(reverse("analysis:ratings", args=[study.slug, other.pk]))
    assert response.status_code == 409 and b"have changed since this result was made" in response.content


def test_the_json_is_the_whole_result(analysed: tuple[Study, Client, AnalysisResult]) -> None:
    study, client, result = analysed
    body = json.loads(client.get(reverse("analysis:result", args=[study.slug, result.pk])).content)
    assert body["numbers"] == result.numbers and body["inputs"] == result.inputs
    assert body["numbers"]["schema"] == "gazeroom.analysis/2"


def plan_form(**changes: Any) -> dict[str, Any]:
    return {
        "finding": "Pneumothorax",
        "fom": "auc",
        "hypothesis": "noninferiority",
        "margin": "0.1",
        "secondary": ["auc", "time"],
        "multiplicity": "hochberg",
        "subgroups": ["sex"],
        "random": "readers_cases",
        "covariance": "delong",
        "missing": "available",
        "threshold": "3",
        "alpha": "0.05",
        "reference_arm": "unassisted",
        **changes,
    }


def test_the_plan_is_written_and_locked_on_the_page() -> None:
    study, coordinator = open_comparison(readers=1, cases=2)
    client = signed_in(coordinator)
    address = reverse("analysis:plan", args=[study.slug])
    assert client.post(address, plan_form(alpha="7")).status_code == 400
    assert not AnalysisPlan.objects.exists()
    assert client.post(address, plan_form()).status_code == 302
    plan = AnalysisPlan.objects.get()
    first, *others = plan.body["endpoints"]
    assert first == {
        "finding": "Pneumothorax", "fom": "auc", "role": "primary", "hypothesis": "noninferiority", "margin": 0.1,
    }  # fmt: skip
    assert [(found["finding"], found["fom"]) for found in others] == [
        ("any", "auc"), ("Cardiomegaly", "auc"), ("any", "time"),
    ]  # fmt: skip
    assert (plan.body["multiplicity"], plan.body["subgroups"], plan.is_locked) == ("hochberg", ["sex"], False)
    client.post(address, plan_form(hypothesis="superiority", margin="", lock="1"))
    plan.refresh_from_db()
    assert (plan.body["endpoints"][0]["margin"], plan.is_locked) == (None, True)
    text = client.post(address, plan_form(), follow=True).content.decode()
    assert "is locked; what it says cannot be changed" in text and plan.sha256 in text


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"margin": ""}, "Write the margin, such as 0.05."),
        ({"fom": "time"}, "Reading time is compared for superiority only."),
        ({"hypothesis": "superiority"}, "Superiority has no margin; leave it empty."),
        ({"fom": "partial_auc", "covariance": "ustat"}, "A partial AUC has no unbiased or U-statistic covariance"),
    ],
)
def test_a_plan_that_contradicts_itself_is_refused_on_the_page_that_still_holds_it(
    changes: dict[str, Any], sentence: str
) -> None:
    study, coordinator = open_comparison(readers=1, cases=2)
    response = signed_in(coordinator).post(reverse("analysis:plan", args=[study.slug]), plan_form(**changes))
    assert response.status_code == 400 and sentence in response.content.decode()
    assert not AnalysisPlan.objects.filter(study=study).exists()


def test_a_coordinator_who_reads_a_case_blind_elsewhere_takes_no_truth_of_it_out(
    analysed: tuple[Study, Client, AnalysisResult],
) -> None:
    study, client, result = analysed
    cases = [one.case for one in study.protocols.get().study_cases.all()[:2]]
    make_study(Study.Kind.COMPARISON, cases=cases, readers=[study.created_by])
    for name in ("ratings", "bundle"):
        response = client.get(reverse(f"analysis:{name}", args=[study.slug, result.pk]))
        assert response.status_code == 409
        assert "You read 2 of these cases in another study that is still blind" in response.content.decode()
    assert not AuditEntry.objects.filter(act=AuditEntry.Act.EXPORTED).exists()


def test_a_reader_without_reads_in_one_arm_has_a_dash_there(analysed: tuple[Study, Client, AnalysisResult]) -> None:
    study, client, result = analysed
    numbers = json.loads(json.dumps(result.numbers))
    found = numbers["endpoints"][0]["result"]
    # Which case a reader is given is drawn, so the number that stays is put here: a perfect reader's has no interval
    # and says so in its cell.
    stays = {**found["cells"][0], "reader": "R01", "treatment": result.plan.body["reference_arm"], "auc": 0.875}
    stays["not_estimable"] = ""
    found["cells"] = [cell for cell in found["cells"] if cell["reader"] != "R01"] + [stays]
    found["reader_differences"] = [change for change in found["reader_differences"] if change["reader"] != "R01"]
    kept = ("plan", "inputs", "inputs_sha256", "code_version")
    other = AnalysisResult.objects.create(
        study=study, numbers=numbers, **{name: getattr(result, name) for name in kept}
    )
    page = client.get(reverse("analysis:study", args=[study.slug]), {"result": str(other.pk)}).content.decode()
    assert re.search(r'<th scope="row">R01</th><td class="number">0\.875</td><td class="number">–</td>', page)
    assert client.get(reverse("analysis:report", args=[study.slug, other.pk])).status_code == 200


def test_the_run_button_shows_progress_and_then_the_result() -> None:
    study, coordinator = unblinded_comparison(readers=2, cases=6)
    client = signed_in(coordinator)
    text = client.get(reverse("analysis:study", args=[study.slug])).content.decode()
    assert "has not been analysed yet" in text
    client.post(reverse("analysis:run", args=[study.slug]))
    text = client.get(reverse("analysis:study", args=[study.slug])).content.decode()
    run = request_run(study=study, actor=coordinator)
    fragment = reverse("analysis:progress", args=[study.slug, run.pk])
    assert fragment in text and "htmx.min.js" in text
    assert "HX-Refresh" not in client.get(fragment)
    perform(run_id=str(run.pk))
    assert client.get(fragment)["HX-Refresh"] == "true"
    assert "The comparison" in client.get(reverse("analysis:study", args=[study.slug])).content.decode()


def test_the_page_of_an_unblinded_study_says_why_nothing_can_be_estimated() -> None:
    study, coordinator = unblinded_comparison(readers=1, cases=6)
    analyse_study(study=study, actor=coordinator)
    text = signed_in(coordinator).get(reverse("analysis:study", args=[study.slug])).content.decode()
    assert "not estimable, because there is one reader" in text


def test_a_result_that_is_none_is_not_found(analysed: tuple[Study, Client, AnalysisResult]) -> None:
    study, client, _ = analysed
    address = reverse("analysis:study", args=[study.slug])
    for result in ("nonsense", "00000000-0000-0000-0000-000000000000"):
        assert client.get(address, {"result": result}).status_code == 404
