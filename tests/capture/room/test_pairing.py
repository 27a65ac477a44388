"""A station is paired once by a code; what it may do from then on, and what nobody may do without."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from asgiref.sync import sync_to_async
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from capture import hooks, tokens
from capture.agent import pairing as agent
from capture.models import Calibration, Pairing, PairingCode, Recording, RecordingToken, Revocation, Station
from capture.queries import stations as queries
from capture.queries.calibrations import latest_passed
from capture.services import ingest, recordings, stations
from capture.services.calibrations import calibrate
from capture.services.store import StoreError
from study.models import AuditEntry, Enrolment, Membership, Read, User
from study.services import reading
from study.services.errors import BadInput, NotAllowed, Refused
from study.site.asgi import application
from tests.factories import make_study, make_user

from .sockets import WebsocketCommunicator
from .synthetic import measured

pytestmark = pytest.mark.django_db

KEY = "k" * 43


@pytest.fixture
def coordinator(db: None) -> User:
    return make_study(cases=1).memberships.get(role=Membership.Role.COORDINATOR).user


@pytest.fixture
def station(db: None) -> Station:
    return stations.add_station(name="Reading room 2", actor=None)


def paired(station: Station, actor: User | None = None) -> str:
    """Pair the station; its credential."""
    return stations.pair(code=stations.make_code(station=station, actor=actor), agent_key=KEY).credential


def signed_in(user: User | None) -> Client:
    client = Client()
    if user is not None:
        client.force_login(user)
    return client


def send(client: Client, name: str, body: Any, **headers: str) -> Any:
    return client.post(reverse(name), json.dumps(body), content_type="application/json", headers=headers)


def enter(user: User | None, station: Any, **what: Any) -> Any:
    return send(signed_in(user), "capture:enter", {"station": str(getattr(station, "uuid", station)), **what})


def begun(recording: Recording, token: str, credential: str) -> dict[str, Any]:
    """Begin an epoch as the ingest socket does; what the recording keeps of it."""
    epoch, row = uuid4(), recordings.opened_by(token)
    assert row is not None
    ingest.begin(recording=recording, epoch=epoch, streams={"1": {}}, under=row, credential=credential)
    recording.refresh_from_db()
    kept: dict[str, Any] = recording.epochs[str(epoch)]
    return kept


# ── the code ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_agent_pairs_by_a_code_and_takes_home_what_identifies_it(station: Station, coordinator: User) -> None:
    code = stations.make_code(station=station, actor=coordinator)
    body = {"code": f" {code.lower()} ", "key": KEY, "version": "1.2", "host": "ws-7"}
    answer = send(Client(enforce_csrf_checks=True), "capture:pair", body)
    assert answer.status_code == 201
    told = answer.json()
    assert (told["station"], told["name"]) == (str(station.uuid), "Reading room 2")
    assert stations.identify(credential=told["credential"]) == station
    station.refresh_from_db()
    assert station.agent_key == KEY and station.agent_version == "1.2" and station.last_seen_at is not None
    pairing = Pairing.objects.get()
    assert (pairing.host, pairing.code.made_by) == ("ws-7", coordinator)
    acts = AuditEntry.objects.filter(subject="Station Reading room 2").values_list("act", "actor")
    assert list(acts) == [("station_added", None), ("station_paired", coordinator.pk)]


def test_a_code_has_letters_nobody_mistakes_and_is_kept_as_a_keyed_hash_only(station: Station, settings: Any) -> None:
    codes = [stations.make_code(station=station, actor=None) for _ in range(20)]
    letters = {letter for code in codes for letter in code} - {"-"}
    assert not letters & set("01OILU")
    assert len(stations.ALPHABET) ** stations.CODE_LENGTH > 2**40
    kept = set(PairingCode.objects.values_list("sha256", flat=True))
    assert len(kept) == 20 and not kept & {tokens.fingerprint(code.replace("-", "")) for code in codes}
    settings.SECRET_KEY = "another site's"
    with pytest.raises(NotAllowed, match="not known"):
        stations.pair(code=codes[-1], agent_key=KEY)


def _used(station: Station) -> str:
    code = stations.make_code(station=station, actor=None)
    stations.pair(code=code, agent_key=KEY)
    return code


def _replaced(station: Station) -> str:
    code = stations.make_code(station=station, actor=None)
    stations.make_code(station=station, actor=None)
    return code


@pytest.mark.parametrize(
    ("make", "status", "words"),
    [
        (lambda s: "AAAAA-AAAAA", 403, "not known here"),
        (_used, 403, "has been used"),
        (_replaced, 403, "newer code"),
        (lambda s: "AAAA", 400, "10 letters and digits"),
        (lambda s: "O0O0O-1I1I1", 400, "10 letters and digits"),
        (lambda s: "", 400, "10 letters and digits"),
    ],
    ids=["unknown", "used", "replaced", "short", "letters it never has", "empty"],
)
def test_a_code_that_is_not_good_is_refused_with_one_sentence(
    station: Station, make: Callable[[Station], str], status: int, words: str
) -> None:
    code = make(station)
    before = Pairing.objects.count()
    answer = send(Client(), "capture:pair", {"code": code, "key": KEY})
    assert answer.status_code == status and words in answer.json()["error"]
    assert Pairing.objects.count() == before


def test_a_code_is_good_for_ten_minutes(station: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    code, made = stations.make_code(station=station, actor=None), timezone.now()
    monkeypatch.setattr(stations.timezone, "now", lambda: made + timedelta(minutes=10, seconds=1))
    with pytest.raises(NotAllowed, match="expired, 10 minutes after it was made"):
        stations.pair(code=code, agent_key=KEY)
    monkeypatch.setattr(stations.timezone, "now", lambda: made + timedelta(minutes=9, seconds=50))
    assert stations.pair(code=code, agent_key=KEY).station == station


@pytest.mark.parametrize(
    "body",
    [[], {"code": 7, "key": KEY}, {"code": "AAAAA-AAAAA", "key": "short"}, {"code": "AAAAA-AAAAA", "key": "a\nb" * 20}],
    ids=["a list", "a number", "a short key", "a key of two lines"],
)
def test_what_no_agent_sends_is_refused(station: Station, body: Any) -> None:
    answer = send(Client(), "capture:pair", body)
    assert answer.status_code == 400 and answer.json()["error"]


def test_pairing_again_ends_the_pairing_before(station: Station) -> None:
    first, second = paired(station), paired(station)
    assert stations.identify(credential=second) == station
    with pytest.raises(NotAllowed, match="Another computer was paired as Reading room 2 since"):
        stations.identify(credential=first)
    assert Pairing.objects.count() == 2


def test_who_paired_and_revoked_cannot_be_rewritten(station: Station, coordinator: User) -> None:
    paired(station)
    stations.revoke(station=station, actor=coordinator)
    for table in ("capture_pairingcode", "capture_pairing", "capture_revocation"):
        with pytest.raises(DatabaseError, match="recorded once"), connection.cursor() as cursor:
            cursor.execute(f"DELETE FROM {table}")
        if connection.vendor != "sqlite":
            break  # PostgreSQL has given the transaction up


# ── revoking ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_revoked_station_is_refused_to_agents_and_pages_until_it_is_paired_again(
    station: Station, coordinator: User, read: Read
) -> None:
    credential = paired(station)
    recording, token = recordings.open_recording(read=read, station=station)
    stations.revoke(station=station, actor=coordinator)
    assert Revocation.objects.get().revoked_by == coordinator

    revoked = "Station revoked: pair it again (Reading room 2)."
    seen = send(Client(), "capture:seen", {}, Authorization=f"Bearer {credential}")
    assert (seen.status_code, seen.json()) == (403, {"error": revoked})
    answer = enter(read.assignment.enrolment.user, station)
    assert (answer.status_code, answer.json()) == (403, {"error": revoked})
    with pytest.raises(StoreError, match="Station revoked: pair it again"):
        begun(recording, token, credential)
    station.refresh_from_db()
    assert station.agent_key == ""

    # What it recorded before is delivered once the computer is paired as the same station again.
    again = paired(station)
    assert begun(recording, token, again)["station"] == str(station.uuid)
    assert enter(read.assignment.enrolment.user, station).status_code == 200


def test_what_is_not_paired_cannot_be_revoked(station: Station, coordinator: User) -> None:
    with pytest.raises(Refused, match="nothing to revoke"):
        stations.revoke(station=station, actor=coordinator)


# ── who may ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def person(kind: str) -> User | None:
    """One of each: the study's own people, another study's coordinator, the site's staff, nobody."""
    if kind == "anonymous":
        return None
    if kind == "admin":
        return User.objects.create_user("admin", is_staff=True)
    if kind == "stranger":
        return make_user()
    study = make_study(consented=True, cases=1)
    if kind == "reader":
        return study.enrolments.get().user
    if kind == "withdrawn":
        enrolment = study.enrolments.get()
        enrolment.withdrawn_at = timezone.now()
        enrolment.save(update_fields=["withdrawn_at"])
        return enrolment.user
    role = Membership.Role.RESEARCHER if kind == "researcher" else Membership.Role.COORDINATOR
    user = make_user()
    Membership.objects.create(study=study, user=user, role=role)
    return user


PEOPLE = ["anonymous", "stranger", "reader", "withdrawn", "researcher", "coordinator", "admin"]
MANAGERS = {"coordinator", "admin"}  # any study's coordinator: a station serves all of them


@pytest.mark.parametrize("kind", PEOPLE)
def test_stations_are_managed_by_coordinators_and_staff_only(kind: str) -> None:
    station = Station.objects.create(name="Reading room 2")
    paired(station)
    user, client = (somebody := person(kind)), signed_in(somebody)
    page = client.get(reverse("capture:stations"))
    answers = [
        client.post(reverse("capture:station_add"), {"name": "Another"}),
        client.post(reverse("capture:station_code", args=[station.uuid])),
        client.post(reverse("capture:station_revoke", args=[station.uuid])),
    ]
    if kind in MANAGERS:
        assert page.status_code == 200 and b"Reading room 2" in page.content
        assert [a.status_code for a in answers] == [200, 200, 302]
        assert Station.objects.count() == 2 and Revocation.objects.count() == 1
    else:
        expected = 302 if user is None else 403
        assert page.status_code == expected and {a.status_code for a in answers} == {expected}
        assert Station.objects.count() == 1 and PairingCode.objects.count() == 1 and not Revocation.objects.exists()
    links = [label for label, _ in hooks.navigation(user)] if user else []
    assert ("Stations" in links) == (kind in MANAGERS)


@pytest.mark.parametrize("kind", PEOPLE)
def test_the_key_of_a_station_is_told_to_readers_and_those_who_manage_it(kind: str) -> None:
    station = Station.objects.create(name="Reading room 2")
    paired(station)
    answer = enter(person(kind), station)
    if kind in MANAGERS | {"reader"}:
        assert answer.json() == {"station": str(station.uuid), "name": "Reading room 2", "key": KEY}
    else:
        assert answer.status_code == (401 if kind == "anonymous" else 403)
        assert KEY not in answer.content.decode()


def test_services_refuse_who_may_not_manage_whatever_the_page_let_through(station: Station) -> None:
    reader = person("reader")
    for act in (
        lambda: stations.add_station(name="Another", actor=reader),
        lambda: stations.make_code(station=station, actor=reader),
        lambda: stations.revoke(station=station, actor=reader),
    ):
        with pytest.raises(NotAllowed, match="managed by coordinators"):
            act()


def test_a_page_forged_elsewhere_enters_nothing(station: Station) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(person("admin"))
    assert send(client, "capture:enter", {"station": str(station.uuid)}).status_code == 403


# ── the pages ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_page_shows_the_code_once(coordinator: User) -> None:
    client = signed_in(coordinator)
    answer = client.post(reverse("capture:station_add"), {"name": "  Reading   room 3 "})
    code = answer.context["code"]
    assert f"gazeroom-agent pair http://testserver {code}" in answer.content.decode()
    assert Station.objects.get().name == "Reading room 3"
    again = client.get(reverse("capture:stations")).content.decode()
    assert code not in again and "a code is waiting" in again


@pytest.mark.parametrize(
    ("name", "status", "words"),
    [("Reading room 2", 409, "already"), (" ", 400, "has a name"), ("x" * 65, 400, "at most 64")],
    ids=["taken", "empty", "long"],
)
def test_a_name_that_cannot_be_is_refused_on_the_page(station: Station, name: str, status: int, words: str) -> None:
    client = signed_in(person("coordinator"))
    answer = client.post(reverse("capture:station_add"), {"name": name})
    assert answer.status_code == status and words in answer.content.decode()
    assert Station.objects.count() == 1


def test_the_page_tells_what_the_agent_said_and_since_when_it_is_away(station: Station) -> None:
    credential = paired(station)
    told = {
        "version": "1.3",
        "tracker": {"found": True, "name": "Tobii Pro Fusion", "serial": "TPF1", "rate_hz": 250, "more": [1]},
        "display": {"width_px": 1920, "height_px": 1080, "width_mm": 527, "height_mm": 296, "distance_mm": 650},
    }
    answer = send(Client(), "capture:seen", told, Authorization=f"Bearer {credential}")
    assert answer.json() == {"station": str(station.uuid), "name": "Reading room 2"}
    client = signed_in(person("admin"))
    page = client.get(reverse("capture:stations")).content.decode()
    for words in ("Tobii Pro Fusion", "250 Hz", "1920 × 1080 px", "agent 1.3", "by the site itself", ">online<"):
        assert words in page
    # Nonsense is not kept, and takes nothing away.
    nonsense = {"display": {"width_px": -1}, "tracker": "no", "version": 7}
    assert send(Client(), "capture:seen", nonsense, Authorization=f"Bearer {credential}").status_code == 200
    station.refresh_from_db()
    assert station.display["width_px"] == 1920 and station.tracker["name"] == "Tobii Pro Fusion"
    Station.objects.update(last_seen_at=timezone.now() - timedelta(minutes=5))
    assert ">away<" in client.get(reverse("capture:stations")).content.decode()


@pytest.mark.parametrize("header", ["", "Bearer ", "Bearer nobody's", "Basic eDp5"])
def test_an_agent_without_its_credential_is_nobody(station: Station, header: str) -> None:
    answer = send(Client(), "capture:seen", {}, **({"Authorization": header} if header else {}))
    assert answer.status_code == 403 and "not paired with this site" in answer.json()["error"]


# ── tokens, consent and calibrations ──────────────────────────────────────────────────────────────────────────────────


def test_a_page_gets_a_token_for_its_read_that_only_its_station_can_use(station: Station, read: Read) -> None:
    here = paired(station)
    other = stations.add_station(name="Reading room 3", actor=None)
    there = paired(other)
    recording = recordings.prepare(read=read)
    token = enter(read.assignment.enrolment.user, station, recording=str(recording.pk)).json()["token"]

    number = str(recording.pk)
    assert tokens.was_minted(token, tokens.fingerprint(here), number)
    assert not tokens.was_minted(token, tokens.fingerprint(there), number)
    assert not tokens.was_minted(token, tokens.fingerprint(here), str(uuid4()))
    with pytest.raises(StoreError, match="for Reading room 2, and this computer is paired as Reading room 3"):
        begun(recording, token, there)
    with pytest.raises(StoreError, match="not paired with this site"):
        begun(recording, token, "")
    recording.refresh_from_db()
    assert recording.epochs == {}
    assert begun(recording, token, here)["station"] == str(station.uuid)


@pytest.mark.django_db(transaction=True)
async def test_the_ingest_socket_tells_another_stations_agent_why_it_is_refused(station: Station, read: Read) -> None:
    here = await sync_to_async(paired)(station)
    other = await sync_to_async(stations.add_station)(name="Reading room 3", actor=None)
    there = await sync_to_async(paired)(other)
    recording, token = await sync_to_async(recordings.open_recording)(read=read, station=station)
    answers = []
    for credential in (there, "", here):
        headers = [(b"authorization", f"Bearer {token}".encode()), (b"gazeroom-station", credential.encode())]
        socket = WebsocketCommunicator(application, "/ws/ingest/", headers=headers)
        assert (await socket.connect())[0]
        begin = {"op": "begin", "recording": str(recording.pk), "epoch": str(uuid4()), "streams": {"1": {}}}
        await socket.send_to(text_data=json.dumps(begin))
        answers.append(json.loads(await socket.receive_from()))
        await socket.disconnect()
    assert answers[0]["op"] == "error" and "this computer is paired as Reading room 3" in answers[0]["sentence"]
    assert answers[1] == {"op": "error", "sentence": "This agent is not paired with this site: pair it."}
    assert answers[2] == {"op": "resume", "from": {"1": 0}}


@pytest.mark.parametrize("what", ["somebody else's", "nobody's", "no number"])
def test_no_token_is_made_for_a_recording_of_another(station: Station, read: Read, what: str) -> None:
    paired(station)
    recording = recordings.prepare(read=read)
    number = {"somebody else's": str(recording.pk), "nobody's": str(uuid4()), "no number": "7"}[what]
    answer = enter(person("reader"), station, recording=number)
    assert answer.status_code in (400, 403) and "token" not in answer.json()
    assert not RecordingToken.objects.exists()


@pytest.mark.parametrize("change", ["never consented", "withdrew", "submitted"])
def test_without_consent_for_this_read_nothing_begins(station: Station, read: Read, change: str) -> None:
    credential = paired(station)
    recording, token = recordings.open_recording(read=read, station=station)
    enrolment = read.assignment.enrolment
    if change == "submitted":
        Read.objects.filter(pk=read.pk).update(state=Read.State.SUBMITTED, submitted_at=timezone.now())
    else:
        changes = {"consented_at": None} if change == "never consented" else {"withdrawn_at": timezone.now()}
        Enrolment.objects.filter(pk=enrolment.pk).update(**changes)
        # The token that was made in time opens nothing either.
        assert recordings.opened_by(token) is None
    answer = enter(enrolment.user, station, recording=str(recording.pk))
    assert answer.status_code == 403 and "token" not in answer.json()
    assert RecordingToken.objects.count() == 1 and credential


def calibrated(user: User, station: Station) -> Calibration:
    made = calibrate(user=user, station=station, enrolment=None, measured=measured())
    assert made.passed
    return made


def test_a_calibration_holds_at_the_station_where_it_was_made(station: Station) -> None:
    enrolment = make_study(gaze="required", consented=True, cases=1).enrolments.get()
    other = stations.add_station(name="Reading room 3", actor=None)
    paired(station)
    paired(other)
    made = calibrated(enrolment.user, station)
    assert latest_passed(enrolment.user, station) == made
    assert latest_passed(enrolment.user, other) is None and latest_passed(enrolment.user, None) is None

    client = signed_in(enrolment.user)
    go = reverse("study:next", args=[enrolment.pk])
    # Nobody has said yet where this is; then it is the other station; then the right one.
    assert client.post(go).url.startswith("/capture/station/")
    send(client, "capture:enter", {"station": str(other.uuid)})
    answer = client.post(go, follow=True)
    assert answer.redirect_chain[0][0].startswith("/capture/station/")
    assert "calibration at Reading room 3 of the last 8 hours" in answer.content.decode()
    send(client, "capture:enter", {"station": str(station.uuid)})
    assert client.post(go).url.startswith("/read/")


def test_a_required_read_that_is_opened_again_elsewhere_waits_for_a_calibration_there(station: Station) -> None:
    enrolment = make_study(gaze="required", consented=True, cases=1).enrolments.get()
    other = stations.add_station(name="Reading room 3", actor=None)
    credentials = {s.pk: paired(s) for s in (station, other)}
    first = calibrated(enrolment.user, station)
    read = reading.open_next(enrolment=enrolment, actor=enrolment.user)
    recording = recordings.prepare(read=read)

    def opened(place: Station) -> Any:
        return enter(enrolment.user, place, recording=str(recording.pk))

    one = begun(recording, opened(station).json()["token"], credentials[station.pk])
    refused = opened(other)
    assert refused.status_code == 409 and "not calibrated at Reading room 3" in refused.json()["error"]
    client = signed_in(enrolment.user)
    send(client, "capture:enter", {"station": str(other.uuid)})
    assert "Check this station first" in client.get("/worklist/").content.decode()

    second = calibrated(enrolment.user, other)
    two = begun(recording, opened(other).json()["token"], credentials[other.pk])
    # Each epoch names its own; the recording says where it was last opened.
    assert (one["station"], one["calibration"]) == (str(station.uuid), str(first.pk))
    assert (two["station"], two["calibration"]) == (str(other.uuid), str(second.pk))
    recording.refresh_from_db()
    assert (recording.station, recording.calibration) == (other, second)


def test_a_calibration_that_runs_out_during_a_read_goes_on_to_hold_for_it(
    station: Station, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    from capture.queries import calibrations

    user = read.assignment.enrolment.user
    made = calibrated(user, station)
    assert recordings.open_recording(read=read, station=station)[0].calibration == made
    later = timezone.now() + timedelta(hours=9)
    monkeypatch.setattr(calibrations.timezone, "now", lambda: later)
    assert latest_passed(user, station) is None
    assert recordings.open_recording(read=read, station=station)[0].calibration == made


def test_the_session_forgets_a_station_that_was_revoked(station: Station, coordinator: User) -> None:
    session = {queries.SESSION_KEY: str(station.uuid)}
    paired(station)
    assert queries.station_of(session) == station
    stations.revoke(station=station, actor=coordinator)
    assert queries.station_of(session) is None
    assert queries.station_of({queries.SESSION_KEY: "no number"}) is None and queries.station_of(None) is None


def test_nobody_calibrates_at_a_station_that_was_not_found(enrolment: Enrolment) -> None:
    answer = send(signed_in(enrolment.user), "capture:calibrations", {"enrolment": enrolment.pk, **measured()})
    assert answer.status_code == 400 and "load the page again" in answer.json()["error"]
    assert not Calibration.objects.exists()


def test_a_study_with_optional_gaze_offers_the_station_check_until_it_is_made(
    enrolment: Enrolment, station: Station
) -> None:
    paired(station)
    client = signed_in(enrolment.user)
    page = client.get("/worklist/").content.decode()
    assert "Record gaze: check the station" in page
    assert f"/capture/station/?next=%2Fworklist%2F&amp;enrolment={enrolment.pk}" in page
    send(client, "capture:enter", {"station": str(station.uuid)})
    calibrated(enrolment.user, station)
    assert "check the station" not in client.get("/worklist/").content.decode()


@pytest.mark.parametrize(("gaze", "consented"), [("none", True), ("optional", False), ("required", True)])
def test_the_station_check_is_offered_nowhere_else(gaze: str, consented: bool) -> None:
    enrolment = make_study(gaze=gaze, consented=consented, cases=1).enrolments.get()
    assert "check the station" not in signed_in(enrolment.user).get("/worklist/").content.decode()


# ── the site's own agent ──────────────────────────────────────────────────────────────────────────────────────────────


def test_the_sites_own_agent_is_paired_once_and_follows_the_sites_address(tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    call_command("pair_here", server="http://127.0.0.1:8000", spool=spool)
    first = agent.load(agent.file_beside(spool))
    assert stations.identify(credential=first.credential) == recordings.this_station()
    assert first.origins == ("http://localhost:8000", "http://127.0.0.1:8000")
    assert agent.file_beside(spool).stat().st_mode & 0o777 == 0o600
    assert recordings.this_station().agent_key == first.key

    call_command("pair_here", server="http://127.0.0.1:8001", spool=spool)
    second = agent.load(agent.file_beside(spool))
    assert (second.credential, second.server) == (first.credential, "http://127.0.0.1:8001")
    assert Pairing.objects.count() == 1

    agent.file_beside(spool).write_text("{}")
    call_command("pair_here", server="http://127.0.0.1:8001", spool=spool)
    assert Pairing.objects.count() == 2


def test_what_a_coordinator_revoked_the_site_does_not_pair_again_by_itself(tmp_path: Path, coordinator: User) -> None:
    call_command("pair_here", spool=tmp_path / "spool")
    stations.revoke(station=recordings.this_station(), actor=coordinator)
    with pytest.raises(CommandError, match="Station revoked: pair it again"):
        call_command("pair_here", spool=tmp_path / "spool")
    with pytest.raises(CommandError, match="in the clear"):
        call_command("pair_here", server="http://reading.example", name="Another", spool=tmp_path / "spool")


def test_a_name_without_letters_is_no_station(db: None) -> None:
    with pytest.raises(BadInput):
        stations.add_station(name="\t", actor=None)
