"""A study goes from draft to open to closed to unblinded, each step under its conditions."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from gazex.findings import PHANTOM_FINDINGS
from study import registries
from study.models import Assignment, AuditEntry, Case, Membership, ProtocolVersion, Read, Study
from study.planning import body_sha256, plan, plan_sha256
from study.registries import Refusal
from study.services import locking, studies
from study.services.errors import BadInput, Refused
from tests.factories import finish_reading, make_case, make_read, make_study, make_user

pytestmark = pytest.mark.django_db


def create(**changes: Any) -> Study:
    given: dict[str, Any] = {
        "name": "A study",
        "slug": "a-study",
        "kind": "collection",
        "body": studies.collection_body(findings=PHANTOM_FINDINGS),
        "actor": make_user(),
    }
    given |= changes
    if "cases" not in given:
        given["cases"] = [make_case()]
    return studies.create_study(**given)


def test_a_created_study_is_a_draft_with_arms_periods_cases_and_its_coordinator() -> None:
    person = make_user()
    study = create(
        kind="comparison",
        body=studies.comparison_body(findings=PHANTOM_FINDINGS, model_sha256="aa" * 32, washout_days=14),
        cases=[make_case(), make_case()],
        actor=person,
    )
    protocol = study.protocols.get()
    assert study.state == "draft" and protocol.locked_at is None
    assert list(protocol.arms.order_by("pk").values_list("assistance", flat=True)) == ["none", "concurrent"]
    assert list(protocol.periods.values_list("number", "washout_days")) == [(1, 0), (2, 14)]
    assert protocol.study_cases.count() == 2
    assert Membership.objects.filter(study=study, user=person, role="coordinator").exists()
    assert AuditEntry.objects.get(act="study_created").actor == person


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"name": "  "}, "A study needs a name of at most 200 characters."),
        ({"slug": "Bad slug"}, "'Bad slug' is no short name; use up to 50 lower-case letters, digits and hyphens."),
        ({"slug": "new"}, "'new' is no short name; use up to 50 lower-case letters, digits and hyphens."),
        ({"cases": []}, "The study has no cases; choose at least one."),
        ({"body": {}}, "The protocol lacks 'arms'."),
    ],
)
def test_a_study_that_breaks_a_rule_is_not_created(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BadInput) as refusal:
        create(**changes)
    assert refusal.value.sentence == sentence
    assert not Study.objects.exists() and not ProtocolVersion.objects.exists() and not Membership.objects.exists()


def test_two_studies_cannot_have_the_same_short_name() -> None:
    create()
    with pytest.raises(BadInput, match="There is a study called a-study already"):
        create()


def test_a_case_without_an_image_is_refused_by_name() -> None:
    bare = Case.objects.create(patient=make_case().patient, label="bare", source="dicom")
    with pytest.raises(BadInput, match="The case bare has no image"):
        create(cases=[make_case(), bare])


def test_a_reader_can_be_enrolled_once_and_a_code_used_once() -> None:
    study, first, second = create(), make_user(), make_user()
    studies.enrol(study=study, user=first, reader_code="R01", actor=None)
    for user, code in ((first, "R02"), (second, "R01")):
        with pytest.raises(Refused, match="is enrolled in A study already"):
            studies.enrol(study=study, user=user, reader_code=code, actor=None)
    assert study.enrolments.count() == 1


def test_nobody_can_be_enrolled_once_the_plan_is_locked() -> None:
    with pytest.raises(Refused, match="its plan is locked, and no reader can be added"):
        studies.enrol(study=make_study(), user=make_user(), reader_code="R09", actor=None)


def test_consent_is_the_readers_own_and_is_recorded_once() -> None:
    enrolment = make_study().enrolments.get()
    with pytest.raises(Refused, match="Only the reader can consent"):
        studies.give_consent(enrolment=enrolment, actor=make_user())
    first = studies.give_consent(enrolment=enrolment, actor=enrolment.user).consented_at
    assert first is not None
    assert studies.give_consent(enrolment=enrolment, actor=enrolment.user).consented_at == first
    assert AuditEntry.objects.filter(act="consented").count() == 1


def test_opening_materialises_the_plan_and_hashes_it_with_the_protocol() -> None:
    study = make_study("comparison", cases=3, readers=2, seed=9)
    protocol = study.protocols.get()
    cases = [str(pk) for pk in protocol.study_cases.values_list("case_id", flat=True)]
    expected = plan(protocol.body, ["R01", "R02"], cases, 9)
    assert locking.stored_plan(protocol) == expected
    assert protocol.plan_sha256 == plan_sha256(expected) and protocol.sha256 == body_sha256(protocol.body)
    assert study.state == "open" and protocol.locked_at is not None
    assert AuditEntry.objects.get(act="protocol_locked").detail["assignments"] == 12


def test_a_study_without_readers_does_not_open() -> None:
    study = make_study(readers=0, opened=False)
    with pytest.raises(Refused, match="has no readers; enrol at least one before it opens"):
        studies.open_study(study=study, actor=None)
    assert not Assignment.objects.exists()


def test_a_comparison_does_not_open_while_a_case_has_no_output_of_its_model() -> None:
    case = make_case("the-odd-one")
    study = create(
        kind="comparison",
        body=studies.comparison_body(findings=PHANTOM_FINDINGS, model_sha256="cd" * 32),
        cases=[case],
    )
    studies.enrol(study=study, user=make_user(), reader_code="R01", actor=None)
    with pytest.raises(Refused, match=r"1 of 1 cases of A study have no valid output .*, the-odd-one among them"):
        studies.open_study(study=study, actor=None)


@pytest.mark.parametrize("kind", ["on_request", "second_read"])
def test_a_study_whose_reads_could_never_be_submitted_is_neither_made_nor_opened(kind: str) -> None:
    body = studies.comparison_body(findings=PHANTOM_FINDINGS, model_sha256="cd" * 32)
    body["arms"][1]["assistance"] = kind
    with pytest.raises(BadInput, match="cannot be read in the reading room yet; use none or concurrent"):
        create(kind="comparison", body=body)
    study = make_study("comparison", assistance_kind=kind, opened=False)  # as one drafted before this was refused
    with pytest.raises(BadInput, match="cannot be read in the reading room yet; use none or concurrent"):
        studies.open_study(study=study, actor=None)
    study.refresh_from_db()
    assert study.state == "draft" and not Assignment.objects.exists()


@pytest.mark.parametrize("target", ["open", "closed", "unblinded"])
def test_a_room_above_can_refuse_each_step_and_nothing_is_written(target: str) -> None:
    steps = {"open": studies.open_study, "closed": studies.close_study, "unblinded": studies.unblind_study}
    study = make_study(opened=False)
    for name, step in steps.items():
        if name == target:
            break
        if name == "closed":
            finish_reading(study.enrolments.get())
        study = step(study=study, actor=None)
    if target == "closed":
        finish_reading(study.enrolments.get())
    asked = []

    def refuse(study: Study, to: str) -> Refusal:
        asked.append((study, to))
        return Refusal("The moon is not full.", url="/moon/")

    registries.before_transition.register(refuse)
    before, entries = study.state, AuditEntry.objects.count()
    with pytest.raises(Refused, match="The moon is not full") as refusal:
        steps[target](study=study, actor=None)
    study.refresh_from_db()
    assert refusal.value.url == "/moon/" and asked == [(study, target)]
    assert study.state == before and AuditEntry.objects.count() == entries
    assert target != "open" or study.protocols.get().locked_at is None


ACTS = {"open": studies.open_study, "close": studies.close_study, "unblind": studies.unblind_study}
ALLOWED = {("draft", "open"), ("open", "close"), ("closed", "unblind")}


@pytest.mark.parametrize(("state", "act"), itertools.product(["draft", "open", "closed", "unblinded"], ACTS))
def test_each_state_of_a_study_allows_exactly_its_own_step(state: str, act: str) -> None:
    study = make_study(opened=False)
    for step in {"draft": [], "open": ["open"], "closed": ["open", "close"], "unblinded": list(ACTS)}[state]:
        if step == "close":
            finish_reading(study.enrolments.get())
        study = ACTS[step](study=study, actor=None)
    if state == "open":
        finish_reading(study.enrolments.get())
    if (state, act) in ALLOWED:
        assert ACTS[act](study=study, actor=None).state != state
    else:
        with pytest.raises(Refused, match="only a study that is"):
            ACTS[act](study=study, actor=None)
        study.refresh_from_db()
        assert study.state == state


def test_a_study_with_missing_reads_closes_only_with_a_reason_and_invalidates_what_is_open() -> None:
    study = make_study(cases=3)
    read = make_read(study.enrolments.get(), state=Read.State.OPEN)
    with pytest.raises(Refused, match=r"3 reads of .* are not finished; finish them, or close it early with a reason"):
        studies.close_study(study=study, actor=None)
    studies.close_study(study=study, actor=None, reason="the reader left")
    read.refresh_from_db()
    assert read.state == "invalidated"
    entry = AuditEntry.objects.get(act="study_closed")
    assert entry.detail == {"reason": "the reader left", "unfinished": 3}
    assert "the reader left" in AuditEntry.objects.get(act="read_invalidated").detail["reason"]


def test_a_reason_to_close_early_that_is_too_long_is_refused_as_that() -> None:
    study = make_study(cases=2)
    read = make_read(study.enrolments.get(), state=Read.State.OPEN)
    with pytest.raises(BadInput, match=r"at most 400 characters why the study closes early; the reason has 401\.$"):
        studies.close_study(study=study, actor=None, reason="x" * 401)
    read.refresh_from_db()
    assert read.state == "open"
    assert studies.close_study(study=study, actor=None, reason=" " + "x" * 400 + " ").state == "closed"
