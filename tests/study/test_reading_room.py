"""The reading room's endpoints over HTTP: what leaves the server, when, and in which form."""

from __future__ import annotations

import json
from typing import Any

import pytest
import zstandard
from django.test import Client

from study import registries
from study.models import Assignment, AssistanceReveal, Read
from study.queries.reading import image_of, next_in_arm, shown_image
from study.registries import Refusal
from study.services import frames, reading, studies
from tests.factories import MODEL, make_answers, make_case, make_evidence, make_image, make_read, make_study

pytestmark = pytest.mark.django_db


@pytest.fixture
def client() -> Client:
    return Client()


def opened(client: Client, kind: str = "collection", **options: Any) -> Read:
    """An open read whose reader is signed in."""
    enrolment = make_study(kind, **options).enrolments.get()
    client.force_login(enrolment.user)
    return make_read(enrolment, state="open")


def in_arm(client: Client, assistance: str) -> Read:
    """An open read of the arm, reached by reading what comes before it."""
    read = opened(client, "comparison", cases=2)
    while read.assignment.arm.assistance != assistance:
        if assistance == "none" or read.assignment.arm.assistance == "none":
            if read.assignment.arm.assistance != "none":
                reading.reveal_assistance(read=read, actor=read.assignment.enrolment.user)
            reading.submit(read=read, answers=make_answers(read), actor=read.assignment.enrolment.user)
        read = make_read(read.assignment.enrolment, state="open")
    return read


def frame_url(read: Read, image: Any) -> str:
    return f"/read/{read.pk}/frame/{image.pk}/"


def test_the_frame_comes_as_it_is_stored_when_zstd_is_accepted(client: Client) -> None:
    read = opened(client)
    image = image_of(read)
    response = client.get(frame_url(read, image), headers={"Accept-Encoding": "gzip, br, zstd"})
    assert response.headers["Content-Encoding"] == "zstd"
    assert response.headers["Content-Type"] == "application/octet-stream"
    assert zstandard.ZstdDecompressor().decompress(response.content) == frames.pixels(image).tobytes()


@pytest.mark.parametrize("accepted", ["", "gzip", "zstd;q=0", "identity"])
def test_the_frame_comes_plain_when_zstd_is_not_accepted(client: Client, accepted: str) -> None:
    read = opened(client)
    image = image_of(read)
    response = client.get(frame_url(read, image), headers={"Accept-Encoding": accepted})
    assert "Content-Encoding" not in response.headers
    assert response.content == frames.pixels(image).tobytes()
    assert len(response.content) == image.rows * image.columns * 2


def test_a_frame_that_the_browser_has_is_not_sent_again(client: Client) -> None:
    read = opened(client)
    image = image_of(read)
    first = client.get(frame_url(read, image))
    assert first.headers["ETag"] == f'"{image.frame_sha256}"'
    assert first.headers["Cache-Control"].startswith("private, max-age=")
    again = client.get(frame_url(read, image), headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_only_the_current_frame_and_the_next_of_the_same_arm_leave_the_server(client: Client) -> None:
    read = opened(client, "comparison", cases=8)
    seen_ahead = seen_none = 0
    while True:
        enrolment = read.assignment.enrolment
        following = next_in_arm(read)
        allowed = {read.assignment.case_id} | ({following.case_id} if following else set())
        for assignment in enrolment.assignments.filter(period=read.assignment.period):
            status = client.get(frame_url(read, shown_image(assignment.case))).status_code
            assert status == (200 if assignment.case_id in allowed else 404)
        if following:
            assert following.arm == read.assignment.arm and following.position == read.assignment.position + 1
        seen_ahead, seen_none = seen_ahead + bool(following), seen_none + (following is None)
        if read.assignment.arm.assistance != "none":
            reading.reveal_assistance(read=read, actor=enrolment.user)
        reading.submit(read=read, answers=make_answers(read), actor=enrolment.user)
        assert client.get(frame_url(read, image_of(read))).status_code == 404
        if read.assignment.position == 8:
            break
        read = make_read(enrolment, state="open")
    assert seen_ahead and seen_none


def test_no_frame_leaves_the_server_after_the_study_is_closed(client: Client) -> None:
    read = opened(client)
    studies.close_study(study=read.assignment.enrolment.study, actor=None, reason="for a test")
    assert client.get(frame_url(read, image_of(read))).status_code == 404


def test_a_frame_whose_bytes_have_changed_is_not_served(client: Client) -> None:
    read = opened(client)
    image = image_of(read)
    image.frame_path.write_bytes(zstandard.compress(bytes(image.rows * image.columns * 2)))
    response = client.get(frame_url(read, image), headers={"Accept-Encoding": ""})
    assert response.status_code == 409 and "is not what was imported" in response.json()["error"]


def test_assistance_is_never_served_in_the_unassisted_arm(client: Client) -> None:
    read = in_arm(client, "none")
    response = client.get(f"/read/{read.pk}/assistance/")
    assert (response.status_code, response.json()) == (403, {"error": "This case is read without assistance."})
    assert not AssistanceReveal.objects.filter(read=read).exists()


def test_assistance_of_the_concurrent_arm_is_the_stored_evidence_of_this_very_image(client: Client) -> None:
    read = in_arm(client, "concurrent")
    response = client.get(f"/read/{read.pk}/assistance/")
    assert response.json() == make_evidence(image_of(read))
    assert AssistanceReveal.objects.filter(read=read).count() == 1
    assert client.get(f"/read/{read.pk}/assistance/").json() == response.json()
    assert AssistanceReveal.objects.filter(read=read).count() == 1


@pytest.mark.parametrize(("arm", "told"), [("none", []), ("concurrent", [f"{MODEL[:8]} knows phantoms only"])])
def test_what_must_be_known_of_the_model_is_told_where_it_assists(client: Client, arm: str, told: list[str]) -> None:
    registries.model_caveats.register(lambda sha256: f"{sha256[:8]} knows phantoms only")
    registries.model_caveats.register(lambda sha256: "")
    read = in_arm(client, arm)
    assert client.get(f"/read/{read.pk}/").context["config"]["assistanceCaveats"] == told


def test_assistance_is_no_longer_served_once_the_read_is_finished(client: Client) -> None:
    read = in_arm(client, "concurrent")
    client.get(f"/read/{read.pk}/assistance/")
    reading.submit(read=read, answers=make_answers(read), actor=read.assignment.enrolment.user)
    assert client.get(f"/read/{read.pk}/assistance/").status_code == 403


@pytest.mark.parametrize("kind", ["second_read", "on_request"])
def test_assistance_waits_until_the_readers_own_answers_are_locked(client: Client, kind: str) -> None:
    read = opened(client, "comparison", cases=1, assistance_kind=kind)
    if read.assignment.arm.assistance == "none":
        reading.submit(read=read, answers=make_answers(read), actor=read.assignment.enrolment.user)
        read = make_read(read.assignment.enrolment, state="open")
    url = f"/read/{read.pk}"
    assert client.get(f"{url}/assistance/").status_code == 403
    locked = client.post(f"{url}/lock/", make_answers(read), content_type="application/json")
    assert (locked.status_code, locked.json()) == (200, {"state": "initial_locked"})
    assert client.get(f"{url}/assistance/").status_code == 200
    assert client.post(f"{url}/submit/", make_answers(read), content_type="application/json").status_code == 200


def test_the_page_is_told_what_it_needs_to_draw_this_image(client: Client) -> None:
    read = opened(client, cases=2)
    config = client.get(f"/read/{read.pk}/").context["config"]
    image = image_of(read)
    assert config["image"] == {
        "id": str(image.pk),
        "frameUrl": frame_url(read, image),
        "rows": 48,
        "columns": 40,
        "rowSpacing": 0.2,
        "columnSpacing": 0.2,
        "max": image.max_value,
        "invert": False,
        "voi": [{"type": "window", "center": 2048.0, "width": 4096.0, "function": "LINEAR"}],
    }
    assert config["position"] == {"index": 1, "total": 2, "period": 1}
    assert (config["assistance"], config["state"], config["capture"]) == ("none", "open", None)
    assert client.get(config["next"]["frameUrl"]).status_code == 200
    json.dumps(config)


def test_the_frontal_image_of_a_case_is_the_one_that_is_read() -> None:
    case = make_case(view="LL")
    frontal = make_image(case, view="PA")
    assert shown_image(case) == frontal


def test_rooms_above_add_to_the_capture_configuration(client: Client) -> None:
    registries.reading_room_capture.register(lambda read, request: {"recording": "r"})
    registries.reading_room_capture.register(lambda read, request: None)
    registries.reading_room_capture.register(lambda read, request: {"token": "t"})
    read = opened(client)
    assert client.get(f"/read/{read.pk}/").context["config"]["capture"] == {"recording": "r", "token": "t"}


def test_a_room_above_sends_the_reader_elsewhere_before_a_new_case_but_not_out_of_an_open_one(client: Client) -> None:
    enrolment = make_study().enrolments.get()
    client.force_login(enrolment.user)
    asked: list[Assignment] = []

    def refuse(assignment: Assignment, request: Any) -> Refusal:
        asked.append(assignment)
        return Refusal("Calibrate the eye tracker first.", url="/capture/station/")

    registries.before_case_opens.register(refuse)
    response = client.post(f"/worklist/{enrolment.pk}/next/")
    assert response.headers["Location"] == "/capture/station/" and not Read.objects.exists()
    assert "Calibrate the eye tracker first." in client.get("/worklist/").content.decode()
    read = make_read(enrolment, state="open")
    assert client.post(f"/worklist/{enrolment.pk}/next/").headers["Location"] == f"/read/{read.pk}/"
    assert [assignment.pk for assignment in asked] == [read.assignment_id]


def test_a_finished_read_opens_no_page_and_leads_back_to_the_worklist(client: Client) -> None:
    read = opened(client)
    reading.submit(read=read, answers=make_answers(read), actor=read.assignment.enrolment.user)
    response = client.get(f"/read/{read.pk}/")
    assert response.status_code == 409 and 'href="/worklist/"' in response.content.decode()


def test_the_whole_of_a_read_over_http(client: Client) -> None:
    enrolment = make_study(cases=2).enrolments.get()
    client.force_login(enrolment.user)
    page = client.post(f"/worklist/{enrolment.pk}/next/", follow=True)
    urls = page.context["config"]["urls"]
    events = {"events": [{"seq": 0, "kind": "shown", "t": 12.5, "payload": {}}]}
    assert client.post(urls["events"], events, content_type="application/json").json() == {"next": 1}
    assert client.get(page.redirect_chain[-1][0]).context["config"]["nextEvent"] == 1
    read = Read.objects.get()
    answer = client.post(urls["submit"], make_answers(read), content_type="application/json")
    assert answer.status_code == 200
    worklist = client.get(answer.json()["next"]).content.decode()
    assert f"Case 1 of {enrolment.study} is submitted." in worklist and "Next is case 2 of 2." in worklist
    assert "autofocus" in worklist
    again = client.post(urls["submit"], make_answers(read), content_type="application/json")
    assert again.status_code == 409 and "submitted already" in again.json()["error"]


@pytest.mark.parametrize("body", ["", "not json", "[1]", '{"responses": NaN}', "\x00", '"x"', "[" * 100_000])
def test_a_body_that_is_not_a_json_object_is_refused_with_a_sentence(client: Client, body: str) -> None:
    read = opened(client)
    for name in ("events", "submit", "lock"):
        response = client.post(f"/read/{read.pk}/{name}/", body, content_type="application/json")
        assert response.status_code == 400 and response.json()["error"].startswith("The body is not")


@pytest.mark.parametrize(
    "value", ['"\\u0000"', '"\\ud800"', "1e999", "9" * 400], ids=["nul", "half a pair", "too large", "too long"]
)
def test_what_no_database_stores_is_refused_with_a_sentence(client: Client, value: str) -> None:
    read = opened(client)
    event = f'{{"events": [{{"seq": 0, "kind": "k", "t": 1, "payload": {{"x": {value}}}}}]}}'
    response = client.post(f"/read/{read.pk}/events/", event, content_type="application/json")
    assert response.status_code == 400 and response.json()["error"].startswith("The body is not")
    assert not read.events.exists()


def test_consent_is_asked_for_before_the_first_read_and_kept(client: Client) -> None:
    enrolment = make_study(gaze="required").enrolments.get()
    client.force_login(enrolment.user)
    page = client.get("/worklist/").content.decode()
    assert "I agree to the recording" in page and "Read without recording" not in page
    assert client.post(f"/worklist/{enrolment.pk}/next/").status_code == 409
    page = client.post(f"/worklist/{enrolment.pk}/consent/", follow=True).content.decode()
    assert "I agree to the recording" not in page and "Read next case" in page
    assert client.post(f"/worklist/{enrolment.pk}/next/").status_code == 302


def test_where_gaze_is_optional_the_reader_may_read_without_recording(client: Client) -> None:
    enrolment = make_study(gaze="optional").enrolments.get()
    client.force_login(enrolment.user)
    assert "Read without recording" in client.get("/worklist/").content.decode()
    assert client.post(f"/worklist/{enrolment.pk}/next/").status_code == 302


def test_during_a_washout_the_worklist_says_when_the_period_opens_and_offers_no_button(client: Client) -> None:
    enrolment = make_study("comparison", cases=1, washout_days=5).enrolments.get()
    client.force_login(enrolment.user)
    make_read(enrolment)
    page = client.get("/worklist/").content.decode()
    assert "Period 2 opens on" in page and "Read next case" not in page
    assert client.post(f"/worklist/{enrolment.pk}/next/").status_code == 409
