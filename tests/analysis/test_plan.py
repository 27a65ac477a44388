from __future__ import annotations

from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from analysis.models import AnalysisPlan
from analysis.services.analysing import analyse_study
from analysis.services.plan_body import complete, endpoint, key_of
from analysis.services.planning import canonical_sha256, default_body, lock_default_plan, lock_plan, save_plan
from study.models import AuditEntry, InsertOnlyError, Study
from study.sealing import unsealed
from study.services import studies
from study.services.errors import Refused
from tests.analysis.comparison import open_comparison, read_everything
from tests.factories import make_study, make_user

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("data_dir")]


def test_a_comparison_is_not_unblinded_before_its_plan_is_locked() -> None:
    study, coordinator = open_comparison(readers=1, cases=2)
    read_everything(study)
    study = studies.close_study(study=study, actor=coordinator)
    with pytest.raises(Refused, match="cannot be unblinded before its analysis plan is locked"):
        studies.unblind_study(study=study, actor=coordinator)
    save_plan(study=study, body=None, actor=coordinator)
    with pytest.raises(Refused, match="before its analysis plan is locked"):
        studies.unblind_study(study=study, actor=coordinator)
    lock_plan(study=study, actor=coordinator)
    assert studies.unblind_study(study=study, actor=coordinator).state == Study.State.UNBLINDED


def test_a_collection_is_unblinded_without_a_plan() -> None:
    coordinator = make_user()
    study = make_study(Study.Kind.COLLECTION, coordinator=coordinator)
    study = studies.close_study(study=study, actor=coordinator, reason="enough")
    assert studies.unblind_study(study=study, actor=coordinator).state == Study.State.UNBLINDED
    with pytest.raises(Refused, match="only a comparison of arms is analysed"):
        save_plan(study=study, body=None, actor=coordinator)


def test_locking_hashes_the_plan_and_writes_the_audit_trail() -> None:
    study, coordinator = open_comparison(readers=1, cases=2)
    plan = lock_default_plan(study=study, actor=coordinator)
    assert plan.sha256 == canonical_sha256(plan.body) and len(plan.sha256) == 64
    assert (plan.locked_by, plan.is_locked) == (coordinator, True)
    entry = AuditEntry.objects.get(act=AuditEntry.Act.PLAN_LOCKED)
    assert entry.detail["plan_sha256"] == plan.sha256


def test_a_draft_changes_and_a_locked_plan_does_not() -> None:
    study, coordinator = open_comparison(readers=1, cases=2)
    save_plan(study=study, body=None, actor=coordinator)
    body = {**default_body(study), "alpha": 0.01}
    assert save_plan(study=study, body=body, actor=coordinator).body["alpha"] == 0.01
    lock_plan(study=study, actor=coordinator)
    with pytest.raises(Refused, match="is locked; what it says cannot be changed"):
        save_plan(study=study, body=body, actor=coordinator)
    with pytest.raises(Refused, match="is locked already"):
        lock_plan(study=study, actor=coordinator)
    with pytest.raises(InsertOnlyError, match="cannot be deleted"):
        AnalysisPlan.objects.get().delete()
    with pytest.raises(InsertOnlyError, match="cannot be deleted"):
        AnalysisPlan.objects.all().delete()


@pytest.mark.parametrize("change", [{"body": {}}, {"locked_at": None, "sha256": ""}, {"locked_at": timezone.now()}])
def test_the_database_refuses_to_change_a_locked_plan(change: dict[str, Any]) -> None:
    study, coordinator = open_comparison(readers=1, cases=2)
    plan = lock_default_plan(study=study, actor=coordinator)
    with pytest.raises(DatabaseError, match="a locked analysis plan does not change"), transaction.atomic():
        AnalysisPlan.objects.filter(pk=plan.pk).update(**change)


def test_the_database_refuses_to_delete_a_locked_plan_and_lets_a_draft_go() -> None:
    def delete() -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("DELETE FROM analysis_analysisplan")

    study, coordinator = open_comparison(readers=1, cases=2)
    save_plan(study=study, body=None, actor=coordinator)
    delete()
    assert not AnalysisPlan.objects.exists()
    lock_default_plan(study=study, actor=coordinator)
    with pytest.raises(DatabaseError, match="a locked analysis plan does not change"):
        delete()
    assert AnalysisPlan.objects.exists()
    connection.check_constraints()  # PostgreSQL changes no table that still has a check to make
    with unsealed():
        delete()
    connection.check_constraints()
    assert not AnalysisPlan.objects.exists()
    lock_default_plan(study=study, actor=coordinator)
    with pytest.raises(DatabaseError, match="a locked analysis plan does not change"):
        delete()


def test_a_plan_cannot_be_locked_after_unblinding_or_before_it_is_written() -> None:
    study, coordinator = open_comparison(readers=1, cases=2)
    with pytest.raises(Refused, match="has no analysis plan yet"):
        lock_plan(study=study, actor=coordinator)
    save_plan(study=study, body=None, actor=coordinator)
    study.state = Study.State.UNBLINDED  # as if it had been
    with pytest.raises(Refused, match="locked knowing the answers"):
        lock_plan(study=study, actor=coordinator)
    with pytest.raises(Refused, match="written knowing the answers"):
        save_plan(study=study, body=None, actor=coordinator)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"endpoints": [endpoint("Dragon", role="primary")]},
            "The plan's endpoint's finding is 'Dragon'; it must be one of any, Pneumothorax, Cardiomegaly.",
        ),
        (
            {"endpoints": [endpoint("any", "luck", "primary")]},
            ("The plan's endpoint's figure of merit is 'luck'; it must be one of auc, sensitivity, specificity, "
            "partial_auc, wafroc, time."),
        ),
        (
            {"covariance": "magic"},
            "The plan's covariance is 'magic'; it must be one of delong, jackknife, unbiased, ustat.",
        ),
        ({"reference_arm": "x"}, "The plan's reference_arm is 'x'; it must be one of unassisted, gazex."),
        ({"alpha": 0}, "The plan's alpha is 0; it must be a number between 0 and 0.5."),
        (
            {"endpoints": [endpoint("any", "auc", "primary", "noninferiority", "big")]},
            "The plan's margin is 'big'; it must be a number between 0 and 1.",
        ),
        (
            {"endpoints": [endpoint("any", "auc", "primary", "equivalence")]},
            "The endpoint asks for equivalence, which needs a margin.",
        ),
        (
            {"endpoints": [endpoint("any", "time", "primary", "noninferiority", 0.1)]},
            "Reading time is compared for superiority only; its ratio has no margin here.",
        ),
        ({"endpoints": [endpoint("any")]}, "The plan has 0 primary endpoints; it needs exactly one."),
        (
            {"covariance": "ustat", "random": "cases"},
            "The U-statistic analysis takes readers and cases as random; choose another covariance where one is fixed.",
        ),
        (
            {"covariance": "unbiased", "endpoints": [endpoint("any", "partial_auc", "primary")]},
            "A partial AUC has no unbiased or U-statistic covariance; choose DeLong or jackknife.",
        ),
        ({"endpoints": []}, "The plan has no endpoints; it needs a primary one."),
        ({"subgroups": ["shoe size"]}, ("The plan's subgroup is 'shoe size'; it must be one of finding, view, sex, "
         "age, source, modality.")),
        ({"multiplicity": "hope"}, ("The plan's multiplicity is 'hope'; it must be one of none, holm, hochberg, "
         "fixed_sequence, benjamini_hochberg.")),
    ],
)  # fmt: skip
def test_a_faulty_plan_is_refused_with_the_choices(change: dict[str, Any], sentence: str) -> None:
    study, coordinator = open_comparison(readers=1, cases=2)
    with pytest.raises(Refused) as refused:
        save_plan(study=study, body={**default_body(study), **change}, actor=coordinator)
    assert refused.value.sentence == sentence
    assert not AnalysisPlan.objects.exists()


def test_a_plan_with_a_key_missing_names_it() -> None:
    study, coordinator = open_comparison(readers=1, cases=2)
    body = default_body(study)
    del body["alpha"]
    with pytest.raises(Refused, match="wrong or missing: alpha"):
        save_plan(study=study, body=body, actor=coordinator)


def test_the_primary_endpoint_comes_first_and_none_comes_twice() -> None:
    study, coordinator = open_comparison(readers=1, cases=2)
    endpoints = [
        endpoint("Cardiomegaly"),
        endpoint("any", "time"),
        endpoint("Cardiomegaly"),
        endpoint("any", role="primary"),
    ]
    body = save_plan(study=study, body={**default_body(study), "endpoints": endpoints}, actor=coordinator).body
    assert [key_of(found) for found in body["endpoints"]] == ["any", "Cardiomegaly", "time"]
    assert body["endpoints"][0]["role"] == "primary"


#: As it was written, hashed and locked before endpoints had figures of merit of their own.
OLD: dict[str, Any] = {
    "primary": "Pneumothorax", "secondary": ["any", "Cardiomegaly"], "fom": "auc", "covariance": "jackknife",
    "random": "cases", "alpha": 0.1, "margin": 0.05, "reference_arm": "unassisted", "threshold": 3,
}  # fmt: skip


def test_a_plan_of_the_older_shape_means_what_it_meant() -> None:
    body = complete(OLD)
    assert [(found["finding"], found["fom"], found["role"]) for found in body["endpoints"]] == [
        ("Pneumothorax", "auc", "primary"), ("any", "auc", "secondary"), ("Cardiomegaly", "auc", "secondary"),
    ]  # fmt: skip
    assert (body["endpoints"][0]["hypothesis"], body["endpoints"][0]["margin"]) == ("noninferiority", 0.05)
    assert (body["covariance"], body["random"], body["alpha"], body["threshold"]) == ("jackknife", "cases", 0.1, 3)
    assert (body["multiplicity"], body["subgroups"], body["missing"]) == ("none", [], "available")
    assert complete(body) == body
    assert complete({**OLD, "margin": None})["endpoints"][0]["hypothesis"] == "superiority"


def test_a_draft_of_the_older_shape_is_locked_in_todays() -> None:
    study, coordinator = open_comparison(readers=1, cases=2)
    AnalysisPlan.objects.create(study=study, body=OLD)
    plan = lock_plan(study=study, actor=coordinator)
    assert plan.body == complete(OLD) and plan.sha256 == canonical_sha256(plan.body)


def test_a_plan_that_was_locked_in_the_older_shape_is_analysed_and_keeps_its_hash() -> None:
    study, coordinator = open_comparison(readers=2, cases=6)
    read_everything(study)
    study = studies.close_study(study=study, actor=coordinator)
    AnalysisPlan.objects.create(
        study=study, body=OLD, sha256=canonical_sha256(OLD), locked_at=timezone.now(), locked_by=coordinator
    )
    study = studies.unblind_study(study=study, actor=coordinator)
    result = analyse_study(study=study, actor=coordinator)
    assert result.inputs["plan_sha256"] == canonical_sha256(OLD) == AnalysisPlan.objects.get().sha256
    assert [found["key"] for found in result.numbers["endpoints"]] == ["Pneumothorax", "any", "Cardiomegaly"]
    assert result.numbers["endpoints"][0]["result"]["covariance"] == "jackknife"
    assert result.numbers["endpoints"][0]["verdicts"][0]["hypothesis"] == "noninferiority"
