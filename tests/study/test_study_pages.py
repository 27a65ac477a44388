"""A coordinator makes and runs a study through its pages."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from gazex.findings import PHANTOM_FINDINGS
from study import registries
from study.models import Case, Study, User
from tests.factories import MODEL, finish_reading, make_case, make_output, make_read, make_study, make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def coordinator() -> User:
    user = make_user("the-coordinator")
    make_study(slug="first", coordinator=user, cases=1)
    registries.assisting_models.register(lambda user: [("GazeX 2", MODEL)])
    return user


@pytest.fixture
def client(coordinator: User) -> Client:
    client = Client()
    client.force_login(coordinator)
    return client


def form(**changes: Any) -> dict[str, Any]:
    return {
        "name": "Nodules with GazeX",
        "kind": "comparison",
        "findings": list(PHANTOM_FINDINGS),
        "source": "",
        "gaze": "none",
        "washout_days": "7",
        "model": MODEL,
    } | changes


def test_the_form_makes_a_comparison_with_its_readers(client: Client, coordinator: User) -> None:
    for _ in range(4):
        make_output(make_case().images.get())
    readers = [make_user("anna"), make_user("boris")]
    response = client.post("/studies/new/", form(readers=[r.pk for r in readers]))
    assert response.headers["Location"] == "/studies/nodules-with-gazex/"
    study = Study.objects.get(slug="nodules-with-gazex")
    protocol = study.protocols.get()
    assert (study.state, study.created_by) == ("draft", coordinator)
    assert (protocol.body["washout_days"], protocol.body["model_sha256"], protocol.body["periods"]) == (7, MODEL, 2)
    assert protocol.study_cases.count() == Case.objects.count() == 5
    assert [(e.reader_code, e.user.username) for e in study.enrolments.all()] == [("R01", "anna"), ("R02", "boris")]


def test_the_form_sets_what_the_protocol_asks_of_the_eye_tracker(client: Client) -> None:
    make_case(source="dicom")
    client.post(
        "/studies/new/",
        form(
            kind="collection", model="", slug="tracked", gaze="required", max_accuracy_deg="0.8", max_data_loss="25",
            points="9", drift_every_cases="5", drift_every_minutes="", max_drift_deg="1.2",
        ),
    )  # fmt: skip
    body = Study.objects.get(slug="tracked").protocols.get().body
    assert body["calibration"] == {
        "max_accuracy_deg": 0.8, "max_data_loss": 0.25, "points": 9, "drift_every_cases": 5, "max_drift_deg": 1.2,
    }  # fmt: skip
    page = client.get("/studies/tracked/").content.decode()
    assert "accuracy 0.8° or better, at most 25 % lost, 9 points" in page
    assert "drift at most 1.2°, checked every 5 cases" in page


def test_the_form_takes_as_many_cases_of_a_source_as_it_is_told(client: Client) -> None:
    for _ in range(5):
        make_case(source="dicom")
    client.post("/studies/new/", form(kind="collection", model="", source="dicom", count="3", slug="three"))
    cases = Case.objects.filter(study_cases__protocol__study__slug="three")
    assert cases.count() == 3 and set(cases.values_list("source", flat=True)) == {"dicom"}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"name": ""}, "This field is required."),
        ({"findings": ["Nodule"]}, "Nodule is not one of the available choices"),
        ({"slug": "first"}, "There is a study called first already; choose another short name."),
        ({"source": "picture"}, "The study has no cases; choose at least one."),
        ({"model": ""}, "A comparison needs the GazeX model that assists; train or register one first."),
    ],
)
def test_a_form_with_a_mistake_comes_back_with_a_sentence_and_makes_nothing(
    client: Client, changes: dict[str, Any], sentence: str
) -> None:
    make_output(make_case().images.get())
    response = client.post("/studies/new/", form(**changes))
    assert response.status_code == 400 and sentence in response.content.decode()
    assert Study.objects.count() == 1


def test_the_models_on_offer_are_those_the_room_above_names(client: Client) -> None:
    registries.assisting_models.register(lambda user: [("GazeX 3", "cd" * 32)])
    assert "GazeX 3" in client.get("/studies/new/").content.decode()


def test_a_model_is_on_offer_again_to_those_whose_study_it_assists_and_to_nobody_else(
    client: Client, coordinator: User
) -> None:
    stored, theirs, mine = "cd" * 32, "ef" * 32, "12" * 32
    make_output(make_case().images.get(), model_sha256=stored)
    make_study("comparison", model_sha256=theirs)
    make_study("comparison", model_sha256=mine, coordinator=coordinator)
    page = client.get("/studies/new/").content.decode()
    assert MODEL in page and mine in page
    assert stored not in page and theirs not in page
    response = client.post("/studies/new/", form(model=theirs))
    assert response.status_code == 400 and "is not one of the available choices" in response.content.decode()


def test_a_study_goes_through_its_life_by_its_page(client: Client, coordinator: User) -> None:
    study = make_study(slug="life", opened=False, readers=0, cases=2, coordinator=coordinator)
    assert "has no readers" in client.post("/studies/life/open/").content.decode()
    reader = make_user("late-reader")
    page = client.post("/studies/life/enrol/", {"user": reader.pk}, follow=True).content.decode()
    assert "late-reader is enrolled as R01." in page
    page = client.post("/studies/life/open/", follow=True).content.decode()
    protocol = study.protocols.get()
    assert protocol.sha256 in page and protocol.plan_sha256 in page and "2 reads are not finished" in page
    response = client.post("/studies/life/close/")
    assert response.status_code == 409 and "2 reads of" in response.content.decode()
    finish_reading(study.enrolments.get())
    assert "is closed." in client.post("/studies/life/close/", follow=True).content.decode()
    page = client.post("/studies/life/unblind/", follow=True).content.decode()
    assert "the results can be seen" in page


def test_a_coordinator_makes_a_person_a_researcher_but_not_one_who_reads(client: Client, coordinator: User) -> None:
    study = make_study(slug="data", coordinator=coordinator)
    person, reader = make_user("the-researcher"), study.enrolments.get().user
    assert client.post("/studies/data/researchers/", {"user": reader.pk}).status_code == 409
    page = client.post("/studies/data/researchers/", {"user": person.pk}, follow=True).content.decode()
    assert "the-researcher is a researcher of" in page
    assert study.memberships.filter(role="researcher").get().user == person
    assert client.post("/studies/data/researchers/", {"user": person.pk}).status_code == 409


def test_a_coordinator_invalidates_an_open_read_with_a_reason(client: Client, coordinator: User) -> None:
    study = make_study(slug="mine", coordinator=coordinator)
    read = make_read(study.enrolments.get(), state="open")
    url = f"/studies/mine/reads/{read.pk}/invalidate/"
    assert client.post(url, {"reason": " "}).status_code == 400
    page = client.post(url, {"reason": "The fire alarm rang"}, follow=True).content.decode()
    assert "The read is invalidated" in page and "1 invalidated" in page


def test_the_monitor_shows_the_columns_and_links_of_the_rooms_above(client: Client) -> None:
    study = Study.objects.get(slug="first")
    enrolment = study.enrolments.get()
    registries.monitor_columns.register(lambda study: ("Calibration", {enrolment.pk: "0.42° today"}))
    registries.study_links.register(lambda study, user: [("To the moon", "/moon/")])
    page = client.get("/studies/first/").content.decode()
    assert "Calibration" in page and "0.42° today" in page and 'href="/moon/"' in page


def test_a_superuser_makes_the_first_study_of_a_fresh_site() -> None:
    chief = User.objects.create_superuser("chief", password="irrelevant here")
    fresh = Client()
    fresh.force_login(chief)
    assert "Create a study" in fresh.get("/").content.decode()
    make_case()
    fresh.post("/studies/new/", form(kind="collection", model="", slug="the-first"))
    assert Study.objects.get(slug="the-first").created_by == chief


def test_signing_in_leads_to_ones_work_and_a_wrong_password_does_not(coordinator: User) -> None:
    visitor = Client()
    page = visitor.get("/studies/", follow=True)
    assert page.redirect_chain[-1][0] == "/accounts/login/?next=/studies/" and "Sign in" in page.content.decode()
    wrong = visitor.post("/accounts/login/", {"login": "the-coordinator", "password": "wrong"})
    assert wrong.status_code == 200 and "_auth_user_id" not in visitor.session
    right = visitor.post("/accounts/login/", {"login": "the-coordinator", "password": "a-password-for-tests"})
    assert right.headers["Location"] == "/" and "_auth_user_id" in visitor.session


@pytest.mark.parametrize("path", ["/nothing/", "/studies/nothing/", "/read/00000000-0000-0000-0000-000000000000/"])
def test_an_address_that_names_nothing_gives_the_calm_page(client: Client, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 404 and "There is nothing here" in response.content.decode()


def test_a_fault_gives_the_calm_page_with_status_500(client: Client) -> None:
    def fail(study: Study) -> Any:
        raise RuntimeError("a fault")

    registries.monitor_columns.register(fail)
    client.raise_request_exception = False
    response = client.get("/studies/first/")
    assert response.status_code == 500 and "The fault is on this side" in response.content.decode()


def test_a_researcher_of_the_study_is_not_offered_as_its_reader(client: Client, coordinator: User) -> None:
    study = make_study(slug="data2", coordinator=coordinator, opened=False)
    researcher = make_user("knows-the-truth", roles={study: "researcher"})
    assert client.post("/studies/data2/enrol/", {"user": researcher.pk}).status_code == 409
    assert not study.enrolments.filter(user=researcher).exists()
