"""Which reads may become training data, one row a rule."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from capture.models import Recording
from study.models import Enrolment, Membership, Read, Study, StudyCase
from tests.factories import finish_reading, make_case, make_read, make_study
from tests.training.made import make_collection, make_researcher, make_track
from training.queries import eligible_reads, guarded_patients, unreleased

pytestmark = pytest.mark.django_db


def collected(*, consented: bool = True, state: str = Read.State.SUBMITTED, track: str | None = "processed") -> Read:
    study = make_study(cases=1, consented=consented)
    read = make_read(study.enrolments.get(), state=state)
    if track:
        make_track(read, state=track)
    return read


def withdrawn() -> Read:
    read = collected()
    Enrolment.objects.filter(pk=read.assignment.enrolment_id).update(withdrawn_at=timezone.now())
    return read


def in_a_comparison_too(state: str) -> Read:
    """A collection read of a patient whose other case is in a comparison of this state."""
    read = collected()
    other = make_case()
    type(other).objects.filter(pk=other.pk).update(patient=read.assignment.case.patient)
    comparison = make_study(Study.Kind.COMPARISON, cases=[other], opened=state != Study.State.DRAFT)
    advance(comparison, state)
    return read


def advance(study: Study, state: str) -> None:
    if state in {Study.State.CLOSED, Study.State.UNBLINDED}:
        for enrolment in study.enrolments.all():
            finish_reading(enrolment)
        Study.objects.filter(pk=study.pk).update(state=Study.State.CLOSED)
    if state == Study.State.UNBLINDED:
        Study.objects.filter(pk=study.pk).update(state=Study.State.UNBLINDED)


def compared(state: str, assistance: str, kind: str = "concurrent") -> Read:
    """A comparison's read in the arm with this assistance."""
    study = make_study(Study.Kind.COMPARISON, cases=1, readers=1, consented=True, assistance_kind=kind)
    enrolment = study.enrolments.get()
    reads = finish_reading(enrolment)
    for read in reads:
        make_track(read)
    for step in (Study.State.CLOSED, Study.State.UNBLINDED):
        if state in {step, Study.State.UNBLINDED}:
            Study.objects.filter(pk=study.pk).update(state=step)
    return next(read for read in reads if read.assignment.arm.assistance == assistance)


TABLE: dict[str, tuple[Callable[[], Read], bool]] = {
    "collection_read_submitted_with_consent_and_gaze": (collected, True),
    "open": (lambda: collected(state="open"), False),
    "invalidated": (lambda: collected(state="invalidated"), False),
    "no_consent": (lambda: collected(consented=False), False),
    "reader_withdrew": (withdrawn, False),
    "no_track": (lambda: collected(track=None), False),
    "recording_not_processed": (lambda: collected(track=Recording.State.RECORDING), False),
    "recording_failed": (lambda: collected(track=Recording.State.FAILED), False),
    "patient_in_a_draft_comparison": (lambda: in_a_comparison_too("draft"), False),
    "patient_in_an_open_comparison": (lambda: in_a_comparison_too("open"), False),
    "patient_in_a_closed_comparison": (lambda: in_a_comparison_too("closed"), False),
    "patient_in_an_unblinded_comparison": (lambda: in_a_comparison_too("unblinded"), True),
    "comparison_open_unassisted": (lambda: compared("open", "none"), False),
    "comparison_closed_unassisted": (lambda: compared("closed", "none"), False),
    "comparison_unblinded_unassisted": (lambda: compared("unblinded", "none"), True),
    "comparison_unblinded_concurrent": (lambda: compared("unblinded", "concurrent"), False),
    "comparison_unblinded_second_read": (lambda: compared("unblinded", "second_read", "second_read"), False),
    "comparison_unblinded_on_request": (lambda: compared("unblinded", "on_request", "on_request"), False),
}


@pytest.mark.parametrize(("made", "eligible"), TABLE.values(), ids=TABLE.keys())
def test_a_read_is_eligible_as_the_table_says(made: Callable[[], Read], eligible: bool, data_dir: Path) -> None:
    read = made()
    researcher = make_researcher(read.assignment.enrolment.study)
    assert eligible_reads(researcher).contains(read) is eligible


@pytest.mark.parametrize("role", [Membership.Role.READER, Membership.Role.COORDINATOR, None])
def test_only_a_researcher_of_the_study_sees_its_eligible_reads(role: str | None, data_dir: Path) -> None:
    study, reads, researcher = make_collection(cases=1)
    other = make_researcher(make_study(cases=1))
    if role:
        Membership.objects.create(study=study, user=other, role=role)
    assert eligible_reads(researcher).count() == 1
    assert not eligible_reads(other).filter(pk=reads[0].pk).exists()


def test_a_patient_of_two_comparisons_is_guarded_until_both_are_unblinded(data_dir: Path) -> None:
    read = collected()
    case = read.assignment.case
    first, second = (make_study(Study.Kind.COMPARISON, cases=[case]) for _ in range(2))
    researcher = make_researcher(read.assignment.enrolment.study)
    advance(first, "unblinded")
    assert not eligible_reads(researcher).contains(read)
    advance(second, "unblinded")
    assert eligible_reads(researcher).contains(read)


def test_a_read_in_a_release_is_still_eligible_and_no_longer_new(data_dir: Path) -> None:
    from training.services.releasing import build_release

    _study, _reads, researcher = make_collection(cases=2)
    assert unreleased(eligible_reads(researcher)).count() == 2
    build_release(name="first", actor=researcher, user=researcher)
    assert eligible_reads(researcher).count() == 2
    assert unreleased(eligible_reads(researcher)).count() == 0


class TheGuardNeverLetsAPatientThrough(TestCase):
    """Whatever studies a patient is put in, in whatever states, the guard is the sentence of the design."""

    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        memberships=st.lists(
            st.tuples(
                st.integers(0, 2), st.sampled_from(["comparison", "collection"]), st.sampled_from(Study.State.values)
            ),
            max_size=6,
        )
    )
    def test_a_patient_is_guarded_exactly_when_a_comparison_of_theirs_is_not_unblinded(
        self, memberships: list[tuple[int, str, str]]
    ) -> None:
        from study.models import Patient, ProtocolVersion, User

        number = Study.objects.count()
        user, _ = User.objects.get_or_create(username="somebody")
        cases = [make_case(reference=False) for _ in range(3)]
        for k, (who, kind, state) in enumerate(memberships):
            study = Study.objects.create(slug=f"s-{number}-{k}", name="S", kind=kind, state=state, created_by=user)
            protocol = ProtocolVersion.objects.create(study=study, body={})
            StudyCase.objects.create(protocol=protocol, case=cases[who])
        expected = {
            cases[who].patient_id for who, kind, state in memberships if kind == "comparison" and state != "unblinded"
        }
        mine = Patient.objects.filter(pk__in=[case.patient_id for case in cases])
        assert set(guarded_patients().values_list("pk", flat=True)) & set(mine.values_list("pk", flat=True)) == expected
