"""Who may see and do what, as a story of two studies that know nothing of each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from django.test import Client
from django.urls import get_resolver, reverse

from study.models import Enrolment, Membership, Read, Study, User
from study.queries.reading import image_of, images_served_to, reads_of, reads_visible_to
from study.queries.studies import cases_visible_to, enrolments_of, may_create_studies, studies_visible_to
from study.services import studies
from tests.factories import make_answers, make_case, make_read, make_study, make_user

pytestmark = pytest.mark.django_db

PEOPLE = [
    "nobody",
    "outsider",
    "reader",
    "other_reader",
    "researcher",
    "coordinator",
    "foreign_reader",
    "foreign_researcher",
    "foreign_coordinator",
]


@dataclass
class World:
    """Study `here` with an open read of `reader`, and study `elsewhere` with people of its own."""

    here: Study
    elsewhere: Study
    read: Read
    enrolment: Enrolment
    people: dict[str, User]

    def client(self, person: str) -> Client:
        client = Client()
        if person != "nobody":
            client.force_login(self.people[person])
        return client


@pytest.fixture
def world() -> World:
    people = {name: make_user(name) for name in PEOPLE[1:]}
    here = make_study(
        "comparison",
        slug="here",
        cases=3,
        readers=[people["reader"], people["other_reader"]],
        coordinator=people["coordinator"],
        gaze="optional",
    )
    elsewhere = make_study(
        slug="elsewhere", readers=[people["foreign_reader"]], coordinator=people["foreign_coordinator"]
    )
    Membership.objects.create(study=here, user=people["researcher"], role="researcher")
    Membership.objects.create(study=elsewhere, user=people["foreign_researcher"], role="researcher")
    enrolment = here.enrolments.get(user=people["reader"])
    return World(here, elsewhere, make_read(enrolment, state="open"), enrolment, people)


# name -> (method, status for each of PEOPLE in their order). 302 for nobody is the way to the sign-in page.
#                      nobody outs read othr rsch coor f.rd f.rs f.co
TABLE: dict[str, tuple[str, list[int]]] = {
    "home": ("get", [302, 200, 302, 302, 302, 302, 302, 302, 302]),
    "worklist": ("get", [302, 200, 200, 200, 200, 200, 200, 200, 200]),
    "next": ("post", [302, 404, 302, 404, 404, 404, 404, 404, 404]),
    "consent": ("post", [302, 404, 302, 404, 404, 404, 404, 404, 404]),
    "read": ("get", [302, 404, 200, 404, 404, 404, 404, 404, 404]),
    "frame": ("get", [401, 404, 200, 404, 404, 404, 404, 404, 404]),
    "events": ("post", [401, 404, 200, 404, 404, 404, 404, 404, 404]),
    "assistance": ("get", [401, 404, 403, 404, 404, 404, 404, 404, 404]),
    "lock": ("post", [401, 404, 403, 404, 404, 404, 404, 404, 404]),
    "submit": ("post", [401, 404, 200, 404, 404, 404, 404, 404, 404]),
    "studies": ("get", [302, 403, 403, 403, 200, 200, 403, 200, 200]),
    "study-new": ("get", [302, 403, 403, 403, 403, 200, 403, 403, 200]),
    "study": ("get", [302, 404, 404, 404, 200, 200, 404, 404, 404]),
    "study-open": ("post", [302, 404, 404, 404, 404, 409, 404, 404, 404]),
    "study-close": ("post", [302, 404, 404, 404, 404, 409, 404, 404, 404]),
    "study-unblind": ("post", [302, 404, 404, 404, 404, 409, 404, 404, 404]),
    "study-enrol": ("post", [302, 404, 404, 404, 404, 409, 404, 404, 404]),
    "study-researcher": ("post", [302, 404, 404, 404, 404, 409, 404, 404, 404]),
    "read-invalidate": ("post", [302, 404, 404, 404, 404, 302, 404, 404, 404]),
}


def address(world: World, name: str) -> str:
    arguments: dict[str, list[Any]] = {
        "next": [world.enrolment.pk],
        "consent": [world.enrolment.pk],
        "frame": [world.read.pk, image_of(world.read).pk],
        **{one: [world.read.pk] for one in ("read", "events", "assistance", "lock", "submit")},
        **{
            one: ["here"]
            for one in ("study", "study-open", "study-close", "study-unblind", "study-enrol", "study-researcher")
        },
        "read-invalidate": ["here", world.read.pk],
    }
    return reverse(f"study:{name}", args=arguments.get(name, []))


def call(world: World, name: str, person: str) -> Any:
    client, url = world.client(person), address(world, name)
    if TABLE[name][0] == "get":
        return client.get(url)
    if name in ("events", "lock", "submit"):
        body = {"events": [], **make_answers(world.read)}
        return client.post(url, body, content_type="application/json")
    return client.post(url, {"reason": "for a test"} if name == "read-invalidate" else {})


@pytest.fixture
def unassisted(world: World) -> World:
    """The world with the reader's first case in the unassisted arm, whatever the plan's seed drew."""
    while world.read.assignment.arm.assistance != "none":
        world.read = make_read(world.enrolment, state="submitted") and make_read(world.enrolment, state="open")
    return world


@pytest.mark.parametrize("name", TABLE)
def test_each_person_gets_the_status_of_the_table(name: str, unassisted: World) -> None:
    got = {person: call(unassisted, name, person).status_code for person in reversed(PEOPLE) if person != "reader"}
    # The reader last: submitting ends the read that the others must not see.
    got["reader"] = call(unassisted, name, "reader").status_code
    if name == "read-invalidate":
        assert Read.objects.get(pk=unassisted.read.pk).state == "invalidated"
    assert [got[person] for person in PEOPLE] == TABLE[name][1]


def test_the_table_names_every_address_of_the_reading_part() -> None:
    # The pages of the cases have a table of their own, beside the import they belong to.
    named = {
        pattern.name
        for part in get_resolver().url_patterns
        if getattr(part, "app_name", None) == "study"
        for pattern in part.url_patterns
        if not pattern.name.startswith("case")
    }
    assert named == set(TABLE)


@pytest.mark.parametrize(
    ("person", "target"),
    [("reader", "/worklist/"), ("researcher", "/training/"), ("coordinator", "/studies/")],
)
def test_the_front_page_leads_each_role_to_its_work(person: str, target: str, world: World) -> None:
    assert world.client(person).get("/").headers["Location"] == target


def test_a_person_without_a_role_gets_a_calm_page(world: World) -> None:
    assert "not part of a study yet" in world.client("outsider").get("/").content.decode()


def test_what_each_person_sees_of_studies_and_reads(world: World) -> None:
    people = world.people
    staff = ("coordinator", "researcher")
    assert studies_visible_to(people["coordinator"], *staff).contains(world.here)
    assert not studies_visible_to(people["coordinator"], *staff).contains(world.elsewhere)
    assert not studies_visible_to(people["reader"], *staff).exists()
    assert list(studies_visible_to(people["reader"])) == [world.here]
    assert {name for name in PEOPLE[1:] if reads_visible_to(people[name]).contains(world.read)} == set(staff)
    assert {name for name in PEOPLE[1:] if reads_of(people[name]).contains(world.read)} == {"reader"}
    assert {name for name in PEOPLE[1:] if enrolments_of(people[name]).contains(world.enrolment)} == {"reader"}
    assert {name for name in PEOPLE[1:] if may_create_studies(people[name])} == {"coordinator", "foreign_coordinator"}


def test_frames_are_served_to_the_reader_of_the_open_read_alone(world: World) -> None:
    image = image_of(world.read)
    assert {name for name in PEOPLE[1:] if images_served_to(world.people[name]).contains(image)} == {"reader"}


def test_readers_never_see_the_library_because_it_shows_the_truth(world: World) -> None:
    case = world.read.assignment.case
    seen = {name for name in PEOPLE[1:] if cases_visible_to(world.people[name]).contains(case)}
    assert seen == {"researcher", "coordinator", "foreign_researcher", "foreign_coordinator"}


def test_a_coordinator_who_reads_elsewhere_does_not_see_those_cases_until_unblinded() -> None:
    both, case = make_user(), make_case()
    make_study(coordinator=both)
    study = make_study("comparison", cases=[case], readers=[both])
    assert not cases_visible_to(both).contains(case)
    study = studies.close_study(study=study, actor=None, reason="for a test")
    assert not cases_visible_to(both).contains(case)
    studies.unblind_study(study=study, actor=None)
    assert cases_visible_to(both).contains(case)


def test_the_worklist_names_no_arm_no_case_and_no_other_reader(world: World) -> None:
    page = world.client("reader").get("/worklist/").content.decode()
    assert "Study" in page and "R01" in page
    for secret in ["R02", "other_reader", "GazeX concurrent", "With GazeX", "Unassisted"]:
        assert secret not in page
    for case in world.enrolment.assignments.values_list("case__label", flat=True):
        assert case not in page


def test_what_the_reading_room_is_told_names_no_case_no_truth_and_no_plan(world: World) -> None:
    page = world.client("reader").get(address(world, "read"))
    config = str(page.context["config"])
    for case in world.enrolment.assignments.select_related("case"):
        assert case.case.label not in config and str(case.case_id) not in config
        assert case.case.patient.pseudonym not in config
    assert "R02" not in config


def test_a_study_page_tells_nothing_of_the_answers_before_unblinding(world: World) -> None:
    make_read(world.enrolment)
    page = world.client("coordinator").get("/studies/here/").content.decode()
    assert "1 of 6" in page and "stays hidden until the study is unblinded" in page
    for result in ("AUC", "confidence", "seconds"):
        assert result not in page


def test_a_withdrawn_reader_loses_the_read_and_its_frame(world: World) -> None:
    from django.utils import timezone

    Enrolment.objects.filter(pk=world.enrolment.pk).update(withdrawn_at=timezone.now())
    for name in ("read", "frame", "events", "next"):
        assert call(world, name, "reader").status_code == 404


@pytest.mark.parametrize("name", [name for name, (method, _) in TABLE.items() if method == "post"])
def test_what_changes_something_takes_neither_a_link_nor_a_form_from_elsewhere(name: str, world: World) -> None:
    assert world.client("reader").get(address(world, name)).status_code == 405
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(world.people["coordinator"])
    assert strict.post(address(world, name)).status_code == 403
