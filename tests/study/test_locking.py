"""What is locked or recorded cannot change: the database refuses, and what slips past it is found at start-up."""

from __future__ import annotations

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction

from study.insert_only import guarded_tables, lifted
from study.models import (
    Assignment,
    AssistanceOutput,
    AssistanceReveal,
    AuditEntry,
    Image,
    InsertOnlyError,
    Mark,
    ReadEvent,
    ReferenceFinding,
    ReferenceStandard,
    Response,
    Study,
    Transcript,
)
from study.sealing import DELETE_SEALS, SEALS, sealed, unsealed
from study.services import reading, studies
from study.services.locking import verify_plans
from tests.factories import finish_reading, make_answers, make_case, make_read, make_study, make_user

pytestmark = pytest.mark.django_db

RECORDED = [
    Assignment,
    AssistanceOutput,
    AssistanceReveal,
    AuditEntry,
    Image,
    Mark,
    ReadEvent,
    ReferenceFinding,
    ReferenceStandard,
    Response,
    Transcript,
]


@pytest.fixture
def recorded() -> Study:
    """A comparison in which every recorded table has a row."""
    cases = [make_case(findings={"Pneumothorax": [1, 1, 9, 9]}), make_case()]
    study = make_study("comparison", cases=cases)
    enrolment = study.enrolments.get()
    read = make_read(enrolment, state="open")
    reading.record_events(read=read, events=[{"seq": 0, "kind": "shown", "t": 1.0}], actor=enrolment.user)
    if read.assignment.arm.assistance != "none":
        reading.reveal_assistance(read=read, actor=enrolment.user)
    reading.submit(read=read, answers=make_answers(read), actor=enrolment.user)
    finish_reading(enrolment)
    return study


def rows(table: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT COUNT(*) FROM {table}")
        return cursor.fetchone()[0]


def execute(sql: str, *parameters: object) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql, parameters)


@pytest.mark.parametrize("model", RECORDED, ids=lambda model: model.__name__)
def test_a_recorded_row_refuses_to_change_by_model_by_queryset_and_by_sql(model, recorded) -> None:
    row = model.objects.first()
    assert row is not None
    table, key = model._meta.db_table, model._meta.pk.get_db_prep_value(row.pk, connection)
    for change in (row.save, row.delete, model.objects.all().delete, lambda: model.objects.update(created_at=None)):
        with pytest.raises(InsertOnlyError):
            change()
    for sql in (f"UPDATE {table} SET created_at = created_at WHERE id = %s", f"DELETE FROM {table} WHERE id = %s"):
        with pytest.raises(DatabaseError, match="recorded once"):
            execute(sql, key)
    assert model.objects.filter(pk=row.pk).exists()


def test_every_insert_only_model_has_its_triggers() -> None:
    from study.models import InsertOnly

    tables = {m._meta.db_table for m in InsertOnly.__subclasses__() if m._meta.app_label == "study"}
    assert tables == {m._meta.db_table for m in RECORDED}
    assert tables <= set(guarded_tables())


@pytest.mark.parametrize("column", ["body", "sha256", "plan_sha256", "locked_at", "number"])
def test_a_locked_protocol_refuses_every_change(column: str) -> None:
    study = make_study()
    with pytest.raises(DatabaseError, match="a locked protocol does not change"):
        execute(f"UPDATE study_protocolversion SET {column} = {column}")
    assert study.protocols.get().locked_at is not None


def test_a_protocol_that_is_not_locked_can_be_changed() -> None:
    protocol = make_study(opened=False).protocols.get()
    protocol.body["seed"] = 77
    protocol.save()
    protocol.refresh_from_db()
    assert protocol.body["seed"] == 77


@pytest.mark.parametrize("name", ["arms", "periods", "study_cases"])
def test_what_belongs_to_a_locked_protocol_takes_no_change_and_no_addition(name: str) -> None:
    row = getattr(make_study().protocols.get(), name).first()
    with pytest.raises(DatabaseError, match="what belongs to a locked protocol"), transaction.atomic():
        row.save()
    row.pk = None
    row._state.adding = True
    with pytest.raises(DatabaseError, match="what belongs to a locked protocol"), transaction.atomic():
        row.save(force_insert=True)


@pytest.mark.parametrize("state", ["submitted", "invalidated"])
def test_a_finished_read_refuses_every_change(state: str) -> None:
    read = make_read(make_study().enrolments.get(), state=state)
    for sql in ("UPDATE study_read SET state = 'open'", "UPDATE study_read SET submitted_at = opened_at"):
        with pytest.raises(DatabaseError, match="a finished read does not change"):
            execute(sql)
    read.refresh_from_db()
    assert read.state == state


def test_a_submitted_read_cannot_be_deleted_because_its_answers_stay() -> None:
    read = make_read(make_study().enrolments.get())

    def delete() -> None:
        with transaction.atomic():
            execute("DELETE FROM study_read")
            connection.check_constraints()

    with pytest.raises(DatabaseError):
        delete()
    assert read.responses.exists()


@pytest.mark.parametrize(
    ("before", "after"), [("open", "draft"), ("closed", "open"), ("unblinded", "closed"), ("draft", "unblinded")]
)
def test_a_study_does_not_move_backwards_or_leap(before: str, after: str) -> None:
    study = make_study(opened=False)
    for step in {"draft": "", "open": "o", "closed": "oc", "unblinded": "ocu"}[before]:
        if step == "o":
            study = studies.open_study(study=study, actor=None)
        elif step == "c":
            study = studies.close_study(study=study, actor=None, reason="for a test")
        else:
            study = studies.unblind_study(study=study, actor=None)
    with pytest.raises(DatabaseError, match="a study moves only"):
        execute("UPDATE study_study SET state = %s", after)


PARTS = ["study_arm", "study_period", "study_studycase", "study_protocolversion"]


@pytest.mark.parametrize("table", PARTS)
def test_nothing_of_a_locked_protocol_is_deleted(table: str) -> None:
    make_study("comparison")
    before = rows(table)
    with pytest.raises(DatabaseError, match="a locked protocol"), transaction.atomic():
        execute(f"DELETE FROM {table}")
    assert rows(table) == before > 0


@pytest.mark.parametrize("table", PARTS)
def test_a_draft_can_be_taken_apart_though_another_protocol_is_locked(table: str) -> None:
    make_study("comparison")
    draft = make_study("comparison", opened=False).protocols.get()
    before = rows(table)
    parts = [draft.arms.all(), draft.periods.all(), draft.study_cases.all()]
    if table == "study_protocolversion":
        parts.append(draft.study.protocols.all())
    for part in parts:
        part.delete()
    assert 0 < rows(table) < before


def test_the_seals_that_were_lifted_are_all_there_again() -> None:
    before = sealed()
    assert {one.name for one in (*SEALS, *DELETE_SEALS)} <= {name for name, _table, _sql in before}
    with unsealed():
        assert sealed() == []
    assert sealed() == before


@pytest.mark.parametrize("column", ["user_id", "reader_code"])
def test_an_enrolment_keeps_its_reader_and_its_code(column: str) -> None:
    make_study()
    value = make_user().pk if column == "user_id" else "R77"
    with pytest.raises(DatabaseError, match="an enrolment keeps"):
        execute(f"UPDATE study_enrolment SET {column} = %s", value)


def test_plans_that_are_as_they_were_locked_pass_the_check(capsys) -> None:
    make_study("comparison", readers=2)
    make_study()
    assert verify_plans() == []
    call_command("verify_plans")
    assert "2 locked protocols, each as it was locked." in capsys.readouterr().out


TAMPERINGS = {
    "the order of two cases": (
        "UPDATE study_assignment SET position = position + 100 WHERE id = (SELECT id FROM study_assignment LIMIT 1)",
        "the plan differs",
    ),
    "a lost assignment": (
        "DELETE FROM study_assignment WHERE id = (SELECT id FROM study_assignment LIMIT 1)",
        "the plan differs",
    ),
    "a reader's code": ("UPDATE study_enrolment SET reader_code = 'R99'", "the plan differs"),
    "the findings": (
        "UPDATE study_protocolversion SET body = REPLACE(body, 'Cardiomegaly', 'Edema')",
        "the protocol differs",
    ),
    "an arm's assistance": ("UPDATE study_arm SET assistance = 'concurrent'", "its arms differ"),
    "the washout": ("UPDATE study_period SET washout_days = 0", "its periods differ"),
    "a case taken out": (
        "DELETE FROM study_studycase WHERE id = (SELECT MIN(id) FROM study_studycase)",
        "its cases differ",
    ),
}


@pytest.mark.skipif(connection.vendor != "sqlite", reason="edits JSON text in place")
@pytest.mark.parametrize("what", list(TAMPERINGS))
def test_tampering_with_a_plan_behind_the_triggers_is_found_at_start_up(what: str) -> None:
    study = make_study("comparison", cases=3, washout_days=7)
    sql, sentence = TAMPERINGS[what]
    with lifted(), unsealed():
        execute(sql)
    [problem] = verify_plans()
    assert problem.startswith(f"Study {study.slug}, protocol 1: ") and sentence in problem
    with pytest.raises(CommandError, match=sentence):
        call_command("verify_plans")
