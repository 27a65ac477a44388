from __future__ import annotations

from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from analysis.models import AnalysisPlan
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
    body = {**default_body(study), "margin": 0.05}
    assert save_plan(study=study, body=body, actor=coordinator).body["margin"] == 0.05
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
        ({"primary": "Dragon"}, "The plan's primary is 'Dragon'; it must be one of any, Pneumothorax, Cardiomegaly."),
        ({"covariance": "magic"}, "The plan's covariance is 'magic'; it must be one of delong, jackknife, unbiased."),
        ({"reference_arm": "x"}, "The plan's reference_arm is 'x'; it must be one of unassisted, gazex."),
        ({"alpha": 0}, "The plan's alpha is 0; it must be a number between 0 and 0.5."),
        ({"margin": "big"}, "The plan's margin is 'big'; it must be a number between 0 and 1."),
        ({"secondary": ["Dragon"]}, "The plan's secondary endpoint 'Dragon' is not a finding of the protocol."),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
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
