from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import zstandard
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from analysis.models import AnalysisPlan
from analysis.queries.explorer import CALLED_FROM, case_lines, case_page, cases_explored_by, change_of, rules_of
from analysis.queries.readings import ANY, endpoint_readings, readings
from analysis.services.analysing import analyse_study
from analysis.services.planning import lock_default_plan
from capture.models import Recording
from capture.tasks import process_recording
from study.models import AssistanceOutput, AssistanceReveal, Case, Enrolment, Membership, Study, User
from study.services import frames, studies
from tests.analysis.comparison import FINDINGS, open_comparison, read_everything, unblinded_comparison
from tests.analysis.explored import answered_comparison, cases_of, recorded_comparison
from tests.factories import make_case, make_study, make_user
from tests.training.made import make_version

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("data_dir")]


@pytest.fixture(autouse=True)
def _no_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_recording, "apply_async", lambda **_: None)


def signed_in(user: User | None) -> Client:
    client = Client()
    if user is not None:
        client.force_login(user, backend="allauth.account.auth_backends.AuthenticationBackend")
    return client


def explorer(study: Study, case: Case | None = None, name: str = "explorer_case") -> str:
    if case is None:
        return reverse("analysis:explorer", args=[study.slug])
    return reverse(f"analysis:{name}", args=[study.slug, case.label])


def words(html: bytes) -> str:
    """The page as a person reads it."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html.decode()))


# --- who may look


STATES = ("draft", "open", "closed", "unblinded")
#: Who, in which states, sees the explorer: the study's coordinators, once it is unblinded.
SEES = {
    "anonymous": (),
    "reader": (),
    "researcher": (),
    "coordinator of another study": (),
    "superuser": (),
    "coordinator": ("unblinded",),
}


@pytest.mark.parametrize("state", STATES)
def test_only_the_studys_coordinators_explore_it_and_only_once_it_is_unblinded(state: str) -> None:
    study, coordinator = open_comparison(readers=2, cases=3) if state != "draft" else _draft()
    if state in ("closed", "unblinded"):
        read_everything(study)
        study = studies.close_study(study=study, actor=coordinator)
    if state == "unblinded":
        lock_default_plan(study=study, actor=coordinator)
        study = studies.unblind_study(study=study, actor=coordinator)
    _, elsewhere = unblinded_comparison(readers=1, cases=2)
    people = {
        "anonymous": None,
        "reader": study.enrolments.first().user,
        "researcher": make_user(roles={study: Membership.Role.RESEARCHER}),
        "coordinator of another study": elsewhere,
        "superuser": User.objects.create_superuser("root", password="a-password-for-tests"),
        "coordinator": coordinator,
    }
    case = cases_of(study)[0]
    assert people.keys() == SEES.keys()
    for who, user in people.items():
        client = signed_in(user)
        pages = [client.get(explorer(study)).status_code, client.get(explorer(study, case)).status_code]
        frame = client.get(explorer(study, case, "explorer_frame")).status_code
        if state in SEES[who]:
            assert (pages, frame) == ([200, 200], 200), (who, state)
        elif user is None:
            assert (pages, frame) == ([302, 302], 401), (who, state)
        else:
            assert (pages, frame) == ([404, 404], 404), (who, state)


def _draft() -> tuple[Study, User]:
    coordinator = make_user()
    made = [make_case() for _ in range(2)]
    return make_study(
        Study.Kind.COMPARISON, cases=made, coordinator=coordinator, findings=FINDINGS, opened=False
    ), coordinator


def test_a_collection_has_no_explorer() -> None:
    coordinator = make_user()
    study = make_study(coordinator=coordinator)
    assert signed_in(coordinator).get(explorer(study)).status_code == 404


def test_gaze_is_replayed_to_the_coordinator_and_to_nobody_else(recorded: tuple[Study, User, list[Case]]) -> None:
    study, coordinator, cases = recorded
    recording = Recording.objects.first()
    assert recording is not None
    address = reverse("analysis:explorer_track", args=[study.slug, cases[0].label, recording.pk])
    gaze = signed_in(coordinator).get(address).json()
    assert len(gaze["t"]) == len(gaze["x"]) > 500 and gaze["fixations"] and gaze["states"]
    assert [sentence["text"] for sentence in gaze["sentences"]] == ["The lungs are clear."]
    reader = recording.read.assignment.enrolment.user
    researcher = make_user(roles={study: Membership.Role.RESEARCHER})
    assert signed_in(None).get(address).status_code == 401
    for user in (reader, researcher, unblinded_comparison(readers=1, cases=2)[1]):
        assert signed_in(user).get(address).status_code == 404
    of_another_case = reverse("analysis:explorer_track", args=[study.slug, cases[1].label, recording.pk])
    assert signed_in(coordinator).get(of_another_case).status_code == 404


def test_the_gaze_of_a_reader_who_withdrew_is_not_replayed(recorded: tuple[Study, User, list[Case]]) -> None:
    study, coordinator, _ = recorded
    recording = Recording.objects.first()
    assert recording is not None
    Enrolment.objects.filter(pk=recording.read.assignment.enrolment_id).update(withdrawn_at=timezone.now())
    client, case = signed_in(coordinator), recording.read.assignment.case
    address = reverse("analysis:explorer_track", args=[study.slug, case.label, recording.pk])
    assert client.get(address).status_code == 404
    assert str(recording.pk) not in client.get(explorer(study, case)).content.decode()


def test_a_coordinator_who_reads_a_case_blind_elsewhere_does_not_see_it_here() -> None:
    study, coordinator, cases = answered_comparison()
    make_study(Study.Kind.COMPARISON, cases=cases[:1], readers=[coordinator], findings=FINDINGS)
    client = signed_in(coordinator)
    text = words(client.get(explorer(study)).content)
    assert "1 case is left out, because you read it in another study that is still blind." in text
    assert cases[0].label not in text and cases[1].label in text
    for name in ("explorer_case", "explorer_frame"):
        assert client.get(explorer(study, cases[0], name)).status_code == 404
        assert client.get(explorer(study, cases[1], name)).status_code == 200


@pytest.mark.parametrize(("card", "told"), [({"phantoms": 9}, ["knows phantoms only"]), ({}, [])])
def test_what_must_be_known_of_the_studys_model_stands_beside_its_answer(card: dict[str, int], told: list[str]) -> None:
    study, coordinator, cases = answered_comparison()
    make_version("GazeX drawn", weights_sha256=rules_of(study).protocol.body["model_sha256"], card=card)
    assert signed_in(coordinator).get(explorer(study, cases[0])).context["config"]["caveats"] == told


def test_a_case_of_another_study_is_not_found_in_this_one() -> None:
    study, coordinator, _ = answered_comparison()
    other = make_case()
    assert signed_in(coordinator).get(explorer(study, other)).status_code == 404
    assert signed_in(coordinator).get(explorer(study, other, "explorer_frame")).status_code == 404


def test_the_frame_is_the_one_that_was_read() -> None:
    study, coordinator, cases = answered_comparison()
    response = signed_in(coordinator).get(
        explorer(study, cases[2], "explorer_frame"), headers={"Accept-Encoding": "zstd"}
    )
    assert zstandard.decompress(response.content) == frames.plain(cases[2].images.get())
    assert response["Cache-Control"] == "private, no-cache"


# --- what is counted


def counted(study: Study, user: User, endpoint: str) -> list[Any]:
    lines = case_lines(cases_explored_by(user, study), rules_of(study), endpoint)
    return [
        (
            line.truth,
            [(tally.right, tally.read) for tally in line.tallies],
            [(change.helped, change.harmed, change.pairs) for change in line.changes],
            line.disagreement,
            line.call and (line.call.present, line.call.right),
        )
        for line in lines
    ]


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        (
            "Pneumothorax",
            [
                # R01 goes from right (1) to wrong (5), R02 from wrong (4) to right (2); R03 stays.
                (False, [(2, 3), (2, 3)], [(1, 1, 3)], True, (True, False)),
                (False, [(2, 3), (3, 3)], [(1, 0, 3)], True, (True, False)),
                # R03 was not read with GazeX.
                (True, [(1, 3), (2, 2)], [(2, 0, 2)], True, (True, True)),
            ],
        ),
        (
            "Cardiomegaly",
            [
                (False, [(3, 3), (3, 3)], [(0, 0, 3)], False, None),
                (True, [(1, 3), (2, 3)], [(1, 0, 3)], True, None),
                (False, [(3, 3), (2, 2)], [(0, 0, 2)], False, None),
            ],
        ),
        (
            ANY,
            [
                (False, [(2, 3), (2, 3)], [(1, 1, 3)], True, (True, False)),
                # R02 called Pneumothorax in a case with Cardiomegaly: right for any finding, until it was withdrawn.
                (True, [(2, 3), (2, 3)], [(1, 1, 3)], True, (True, True)),
                (True, [(1, 3), (2, 2)], [(2, 0, 2)], True, (True, True)),
            ],
        ),
    ],
)
def test_right_answers_and_changes_are_those_counted_by_hand(endpoint: str, expected: list[Any]) -> None:
    study, coordinator, _ = answered_comparison()
    assert counted(study, coordinator, endpoint) == expected


def test_the_counts_are_those_of_the_table_that_is_analysed() -> None:
    study, coordinator = unblinded_comparison(readers=4, cases=12)
    rules = rules_of(study)
    frame = readings(study)
    for endpoint in (ANY, *FINDINGS):
        table = endpoint_readings(frame, endpoint)
        table["right"] = (table["rating"] >= rules.threshold) == (table["truth"] == 1)
        wide = table.pivot(index=["case", "reader"], columns="arm", values="right")
        before, after = (wide[arm.key] for arm in rules.arms)
        helped, harmed = (~before & after).groupby("case").sum(), (before & ~after).groupby("case").sum()
        lines = case_lines(cases_explored_by(coordinator, study), rules, endpoint)
        assert len(lines) == 12
        for line in lines:
            for tally in line.tallies:
                assert tally.right == wide[tally.arm.key].loc[line.label].sum() and tally.read == 4
            assert (line.helped, line.harmed) == (helped[line.label], harmed[line.label])


@pytest.mark.parametrize(
    ("changed", "primary", "threshold", "arms"),
    [
        ({"primary": "Cardiomegaly", "threshold": 3}, "Cardiomegaly", 3, ["unassisted", "gazex"]),
        ({"endpoints": [{"finding": "Pneumothorax", "fom": "auc"}]}, "Pneumothorax", 4, ["unassisted", "gazex"]),
        ({"endpoints": [{"finding": ANY, "fom": "time"}], "reference_arm": "gazex"}, ANY, 4, ["gazex", "unassisted"]),
        ({}, ANY, 4, ["unassisted", "gazex"]),
    ],
)
def test_a_plan_of_either_shape_gives_the_rules(
    changed: dict[str, Any], primary: str, threshold: int, arms: list[str]
) -> None:
    study, _ = open_comparison(readers=1, cases=2)
    AnalysisPlan.objects.create(study=study, body=changed)
    rules = rules_of(study)
    assert (rules.primary, rules.threshold, [arm.key for arm in rules.arms]) == (primary, threshold, arms)


def test_gazex_is_judged_here_as_in_the_analysis() -> None:
    from analysis.stats.reader_study import outcomes

    assert CALLED_FROM == outcomes.CALLED_FROM


def test_a_case_without_a_reference_standard_is_neither_right_nor_wrong() -> None:
    coordinator = make_user()
    made = [make_case(reference=False)]
    study = make_study(Study.Kind.COMPARISON, cases=made, readers=2, coordinator=coordinator, findings=FINDINGS)
    lines = case_lines(Case.objects.filter(pk=made[0].pk), rules_of(study), ANY)
    assert lines[0].truth is None and lines[0].call is not None and lines[0].call.right is None
    assert [tally.right for tally in lines[0].tallies] == [None, None]
    assert [(change.helped, change.harmed) for change in lines[0].changes] == [(None, None)]


@pytest.mark.parametrize(
    ("before", "after", "change"),
    [
        (False, True, "helped"),
        (True, False, "harmed"),
        (True, True, ""),
        (False, False, ""),
        (None, True, ""),
        (True, None, ""),
    ],
)
def test_a_change_is_from_wrong_to_right_or_back(before: bool | None, after: bool | None, change: str) -> None:
    assert change_of(before, after) == change


def test_a_case_shows_every_confidence_with_its_change() -> None:
    study, coordinator, cases = answered_comparison()
    found = case_page(coordinator, study, cases[0], rules_of(study), AssistanceOutput.objects.first().evidence)
    assert [one.key for one in found.endpoints] == [ANY, *FINDINGS]
    r01, r02, r03 = found.rows
    assert [answer.confidence for answer in r01.cells[1].answers] == [1, 5] and r01.cells[1].change == "harmed"
    assert [answer.confidence for answer in r02.cells[1].answers] == [4, 2] and r02.cells[1].change == "helped"
    assert [answer.confidence for answer in r03.cells[0].answers] == [3, 3] and r03.cells[0].change == ""
    assert [read.seconds for read in r01.reads] == [20, 30]
    missing = case_page(coordinator, study, cases[2], rules_of(study), None).rows[2]
    assert [answer.confidence for answer in missing.cells[1].answers] == [5, None]
    assert [read.seconds for read in missing.reads] == [20, None]


def test_assistance_that_was_shown_in_the_wrong_arm_is_said() -> None:
    study, coordinator, cases = answered_comparison()
    rules = rules_of(study)
    remarks = {read.remark for row in case_page(coordinator, study, cases[0], rules, None).rows for read in row.reads}
    assert remarks == {"", "GazeX was not shown"}
    unassisted = study.enrolments.first().assignments.get(case=cases[0], arm=rules.arms[0])
    AssistanceReveal.objects.create(read=unassisted.read, output=AssistanceOutput.objects.get(case=cases[0]))
    text = words(signed_in(coordinator).get(explorer(study, cases[0])).content)
    assert "R01, Unassisted : GazeX was shown although the arm is unassisted." in text.replace("d:", "d :")


# --- the list's addresses


def labels(client: Client, study: Study, query: str) -> list[str]:
    html = client.get(f"{explorer(study)}?{query}").content.decode()
    return re.findall(r'<th scope="row"><a[^>]*><code>([^<]+)</code>', html)


NARROWED = [
    ("", [0, 1, 2]),
    ("sort=-case", [2, 1, 0]),
    ("finding=Pneumothorax&sort=truth", [2, 0, 1]),
    ("finding=Pneumothorax&sort=gazex", [0, 1, 2]),
    ("finding=Pneumothorax&sort=-gazex", [2, 0, 1]),
    ("finding=Pneumothorax&sort=-right-gazex", [1, 2, 0]),
    ("finding=Pneumothorax&sort=right-unassisted", [2, 0, 1]),
    ("finding=Pneumothorax&sort=-helped-gazex", [2, 0, 1]),
    ("finding=Pneumothorax&sort=-harmed-gazex", [0, 1, 2]),
    ("finding=Pneumothorax&truth=present", [2]),
    ("finding=Cardiomegaly&truth=absent", [0, 2]),
    ("finding=Pneumothorax&only=gazex-wrong", [0, 1]),
    ("finding=Pneumothorax&only=harmed", [0]),
    ("finding=Cardiomegaly&only=helped", [1]),
    ("finding=Cardiomegaly&only=disagreement", [1]),
    ("only=harmed&only=helped", [0, 1]),
    ("finding=Cardiomegaly&only=harmed", []),
    ("finding=Pneumothorax&of=R01&only=harmed", [0]),
    ("finding=Pneumothorax&of=R02&only=harmed", []),
    ("finding=Pneumothorax&of=R02&only=helped", [0, 1, 2]),
    ("finding=Pneumothorax&of=R02&only=disagreement", []),
]


def test_the_address_narrows_and_orders_the_list() -> None:
    study, coordinator, cases = answered_comparison()
    client = signed_in(coordinator)
    for query, expected in NARROWED:
        assert labels(client, study, query) == [cases[n].label for n in expected], query


def test_what_the_list_does_not_have_is_not_found() -> None:
    study, coordinator, cases = answered_comparison()
    client = signed_in(coordinator)
    for query in ("finding=Dragon", "truth=maybe", "only=dragons", "sort=dragon", "sort=right-dragon", "of=R99"):
        assert client.get(f"{explorer(study)}?{query}").status_code == 404, query
        assert client.get(f"{explorer(study, cases[0])}?{query}").status_code == 404, query


def test_neighbours_are_those_of_the_list_that_was_chosen() -> None:
    study, coordinator, cases = answered_comparison()
    client = signed_in(coordinator)
    html = client.get(f"{explorer(study, cases[0])}?finding=Pneumothorax&sort=-case&reader=R02").content.decode()
    assert "3 of 3" in html and 'rel="next"' not in html
    previous = re.search(r'rel="prev" data-key="p" href="([^"]+)"', html)
    assert previous and previous[1].replace("&amp;", "&") == (
        f"{explorer(study, cases[1])}?finding=Pneumothorax&sort=-case&reader=R02"
    )
    html = client.get(f"{explorer(study, cases[1])}?finding=Pneumothorax&only=harmed").content.decode()
    assert "not in the chosen list" in html and "data-key" not in html


def test_an_arm_that_is_none_is_not_found() -> None:
    study, coordinator, cases = answered_comparison()
    client = signed_in(coordinator)
    for query in ("reader=R01&arm=dragon", "reader=R01&beside=dragon"):
        assert client.get(f"{explorer(study, cases[0])}?{query}").status_code == 404, query


def test_the_reader_whose_cases_are_listed_is_the_one_shown_until_another_is_chosen() -> None:
    study, coordinator, cases = answered_comparison()
    client = signed_in(coordinator)
    address = explorer(study, cases[0])
    for query, shown in (("of=R02", "R02"), ("of=R02&reader=R03", "R03"), ("of=R02&reader=", None), ("", None)):
        reader = client.get(f"{address}?{query}").context["reader"]
        assert (reader and reader.reader) == shown, query
    # A reader without this case, of another design say, is nobody here.
    assert client.get(f"{address}?reader=R99").context["reader"] is None
    text = words(client.get(f"{explorer(study)}?finding=Pneumothorax&of=R02").content)
    assert "as R02 read them" in text and "✗ wrong ✓ right 1 0" in text


# --- the pages


def test_the_list_says_what_it_counts() -> None:
    study, coordinator, _ = answered_comparison()
    text = words(signed_in(coordinator).get(f"{explorer(study)}?finding=Pneumothorax&only=harmed").content)
    assert "1 of 3 cases, judged for Pneumothorax. A reader calls it present from confidence 4" in text
    assert "✗ wrong present, 0.80 2 of 3 2 of 3 1 1" in text


def test_an_empty_list_says_so() -> None:
    study, coordinator, _ = answered_comparison()
    text = words(signed_in(coordinator).get(f"{explorer(study)}?finding=Cardiomegaly&only=harmed").content)
    assert "None of the 3 cases is like that." in text


def test_without_gaze_the_answers_are_shown_and_the_page_says_why() -> None:
    study, coordinator = unblinded_comparison(readers=2, cases=3, simulated=True)
    case = cases_of(study)[0]
    text = words(signed_in(coordinator).get(f"{explorer(study, case)}?reader=R01").content)
    assert "No gaze was recorded of this case: its readers are simulated." in text
    assert "Simulated readers" in text and "R02" in text


def test_reports_and_no_name_of_any_reader_are_on_the_page(recorded: tuple[Study, User, list[Case]]) -> None:
    study, coordinator, cases = recorded
    for query in ("", "?reader=R01", "?reader=R01&arm=gazex&beside=unassisted"):
        html = signed_in(coordinator).get(f"{explorer(study, cases[0])}{query}").content.decode()
        assert html.count("The lungs are clear.") >= 4
        for enrolment in study.enrolments.all():
            assert enrolment.user.username not in html and cases[0].patient.pseudonym not in html


def test_a_reader_whose_gaze_is_missing_is_shown_without_it(recorded: tuple[Study, User, list[Case]]) -> None:
    study, coordinator, cases = recorded
    response = signed_in(coordinator).get(f"{explorer(study, cases[0])}?reader=R02")
    assert "R02’s gaze was not recorded here" in words(response.content)
    assert response.context["config"]["leftTrack"] is None


def test_both_arms_of_one_reader_stand_side_by_side(recorded: tuple[Study, User, list[Case]]) -> None:
    study, coordinator, cases = recorded
    client = signed_in(coordinator)
    both = client.get(f"{explorer(study, cases[0])}?reader=R01&arm=unassisted&beside=gazex").context["config"]
    tracks = {}
    for recording in Recording.objects.filter(read__assignment__enrolment__reader_code="R01"):
        tracks[recording.read.assignment.arm.key] = str(recording.pk)
    assert tracks["unassisted"] in both["leftTrack"] and tracks["gazex"] in both["rightTrack"]
    for query in ("?reader=R01&arm=gazex", "?reader=R01&arm=gazex&beside=gazex"):
        alone = client.get(f"{explorer(study, cases[0])}{query}").context["config"]
        assert tracks["gazex"] in alone["leftTrack"] and alone["rightTrack"] is None
    # Reference, marks and GazeX's answer come with it.
    assert [one["box"] for one in alone["reference"]] == [[600, 100, 850, 500]]
    assert {(mark["reader"], mark["arm"], mark["shape"]) for mark in alone["marks"]} == {
        (reader, arm, shape)
        for reader in ("R01", "R02")
        for arm in ("unassisted", "gazex")
        for shape in ("box", "point")
    }
    assert np.isclose(sum(step["duration_ms"] for step in alone["evidence"]["trajectory"]), 3200)


@pytest.fixture
def recorded(data_dir: Any) -> tuple[Study, User, list[Case]]:
    return recorded_comparison()


def test_the_analysis_page_leads_here_once_the_study_is_unblinded() -> None:
    study, coordinator = unblinded_comparison(readers=2, cases=6)
    analyse_study(study=study, actor=coordinator)
    assert explorer(study) in signed_in(coordinator).get(reverse("analysis:study", args=[study.slug])).content.decode()
    blind, other = open_comparison(readers=1, cases=2)
    assert explorer(blind) not in signed_in(other).get(reverse("analysis:study", args=[blind.slug])).content.decode()
