"""Adding, pairing and revoking stations.

A coordinator adds a station and gets a code. On the workstation, ``gazeroom-agent pair https://the.site CODE`` brings
the code and a key the agent has made, and takes a credential home. From then on there are two secrets, each between two
parties: the *credential* proves the agent to the server (kept as its SHA-256), the *key* proves a page to the agent
(kept as it is, because the server tells it to the pages of readers who sit there).

A code has ten letters and digits of thirty that are not taken for one another: 49 bits. It is good for ten minutes and
once; a newer code of the station ends an older one. At a thousand guesses a second, for all of its ten minutes, one
code is found with a chance of 1 in a thousand million: guesses need no limit of their own. The hash that is kept is
keyed with the site's secret, so that a copy of the database alone does not give the code away while it lasts.

Pairing again replaces: the credential before it is refused from that moment. Revoking is a row, and so is every
pairing: which agent could send what, and when, stays answerable.
"""

from __future__ import annotations

import platform
import secrets
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.crypto import salted_hmac

from capture.agent import pairing
from capture.gaze.display import Display
from capture.models import Pairing, PairingCode, Revocation, Station
from capture.queries.stations import (
    is_revoked,
    may_manage_stations,
    may_use_stations,
    paired_with,
    pairing_of,
    station_called,
)
from capture.tokens import fingerprint
from study.models import AuditEntry, User
from study.services.audit import record
from study.services.errors import BadInput, NotAllowed, Refused

#: No 0 O, 1 I L, and no U, which is heard as something else.
ALPHABET = "23456789ABCDEFGHJKMNPQRSTVWXYZ"
CODE_LENGTH = 10
CODE_LIFE = timedelta(minutes=10)
#: The shortest key an agent may bring.
KEY_LENGTH = 32
_NEW_CODE = "make a new one on the Stations page"


class Revoked(NotAllowed):
    """The station's pairing was revoked, or it never had one."""

    def __init__(self, station: Station) -> None:
        super().__init__(f"Station revoked: pair it again ({station}).")


@dataclass(frozen=True)
class Paired:
    """What the agent takes home. The credential is not kept here and cannot be shown again."""

    station: Station
    credential: str


def add_station(*, name: str, actor: User | None) -> Station:
    """A station of this name, not paired yet. `actor` None is the site itself.

    Raises
    ------
    NotAllowed, BadInput, Refused
        The person may not manage stations; the name is empty or too long; it is taken.
    """
    _refuse_unless_managing(actor)
    name = " ".join(name.split())
    if not name or len(name) > 64 or "\0" in name:
        raise BadInput("A station has a name of at most 64 characters, such as “Reading room 2”.")
    try:
        with transaction.atomic():
            station = Station.objects.create(name=name)
            record(actor=actor, act=AuditEntry.Act.STATION_ADDED, subject=f"Station {name}")
    except IntegrityError as error:
        raise Refused(
            f"There is a station called {name} already: make a code for that one, or take another name."
        ) from error
    return station


@transaction.atomic
def make_code(*, station: Station, actor: User | None) -> str:
    """A new code for the station, as it is shown once (`ABCDE-FGHJK`); any older one of it ends."""
    _refuse_unless_managing(actor)
    letters = "".join(secrets.choice(ALPHABET) for _ in range(CODE_LENGTH))
    PairingCode.objects.create(
        station=station, sha256=_hash(letters), expires_at=timezone.now() + CODE_LIFE, made_by=actor
    )
    return f"{letters[:5]}-{letters[5:]}"


@transaction.atomic
def pair(*, code: str, agent_key: str, agent_version: str = "", host: str = "") -> Paired:
    """Pair the agent that brings `code`; whatever was paired as this station before is not any more.

    Raises
    ------
    BadInput
        The code or the key does not look like one.
    NotAllowed
        The code is unknown, used, expired or replaced by a newer one.
    """
    letters = "".join(code.upper().split()).replace("-", "")
    if len(letters) != CODE_LENGTH or set(letters) - set(ALPHABET):
        raise BadInput(
            f"A code has {CODE_LENGTH} letters and digits, such as K7M2Q-XR4TB: type it as the page shows it."
        )
    if not KEY_LENGTH <= len(agent_key) <= 128 or any(not 33 <= ord(c) <= 126 for c in agent_key):
        raise BadInput(
            f"The agent brings a key of {KEY_LENGTH} to 128 printable characters: bring the agent up to date."
        )
    row = PairingCode.objects.select_for_update().select_related("station").filter(sha256=_hash(letters)).first()
    if row is None:
        raise NotAllowed(f"This code is not known here: look for a slip of the pen, or {_NEW_CODE}.")
    if hasattr(row, "pairing"):
        raise NotAllowed(f"This code has been used, and a code pairs once: {_NEW_CODE}.")
    if row.expires_at <= timezone.now():
        raise NotAllowed(f"This code has expired, {_minutes()} minutes after it was made: {_NEW_CODE}.")
    if PairingCode.objects.filter(station=row.station, id__gt=row.pk).exists():
        raise NotAllowed("A newer code was made for this station: use that one.")
    station = Station.objects.select_for_update().get(pk=row.station_id)
    credential = secrets.token_urlsafe(32)
    Pairing.objects.create(
        station=station,
        code=row,
        credential_sha256=fingerprint(credential),
        agent_version=_short(agent_version, 40),
        host=_short(host, 64),
    )
    station.agent_key = agent_key
    station.agent_version = _short(agent_version, 40)
    station.last_seen_at = timezone.now()
    station.save(update_fields=["agent_key", "agent_version", "last_seen_at"])
    record(
        actor=row.made_by,
        act=AuditEntry.Act.STATION_PAIRED,
        subject=f"Station {station}",
        detail={"host": _short(host, 64), "agent": station.agent_version},
    )
    return Paired(station, credential)


@transaction.atomic
def revoke(*, station: Station, actor: User | None) -> None:
    """From now on neither its agent nor a page at it is served. Revoking what is not paired is refused."""
    _refuse_unless_managing(actor)
    station = Station.objects.select_for_update().get(pk=station.pk)
    held = pairing_of(station)
    if held is None:
        raise Refused(f"{station} is not paired, so there is nothing to revoke.")
    Revocation.objects.create(pairing=held, revoked_by=actor)
    station.agent_key = ""
    station.save(update_fields=["agent_key"])
    record(actor=actor, act=AuditEntry.Act.STATION_REVOKED, subject=f"Station {station}")


def enter(*, user: User, number: Any) -> Station:
    """The station `number` that this person's browser has found on its loopback, whose key they may have.

    What the key opens: from a page of this site on that very computer, or by another program there, the agent shows
    what gaze is arriving and may be told what is on the screen. It records nothing for it: that takes a token, which is
    made for one read of the person who asks (`capture.services.recordings.open_at`).

    Raises
    ------
    NotAllowed
        The person is no reader of any study and manages no stations, the site has no such station, or it is revoked.
    """
    if not may_use_stations(user):
        raise NotAllowed("A station opens for readers of a study: ask the study's coordinator to enrol you.")
    station = station_called(number)
    if station is None:
        raise NotAllowed("This computer's agent is paired with another site: pair it with this one.")
    if pairing_of(station) is None:
        raise Revoked(station)
    return station


def identify(*, credential: str) -> Station:
    """The station whose agent presents this credential.

    Raises
    ------
    NotAllowed
        Nobody was given it, or the pairing was revoked or replaced.
    """
    given = paired_with(credential)
    if given is None:
        raise NotAllowed("This agent is not paired with this site: pair it.")
    holds = pairing_of(given.station)
    if holds is None:
        raise Revoked(given.station)
    if holds.pk != given.pk:
        raise NotAllowed(
            f"Another computer was paired as {given.station} since: pair this one again, as a station of its own."
        )
    return given.station


def note_seen(*, station: Station, agent_version: str = "", display: Any = None, tracker: Any = None) -> None:
    """The station's agent is there; keep what it says of its tracker and display, where it is one."""
    changes: dict[str, Any] = {"last_seen_at": timezone.now()}
    if agent_version:
        changes["agent_version"] = _short(agent_version, 40)
    if isinstance(tracker, dict):
        changes["tracker"] = tracker_told(tracker)
    try:
        if isinstance(display, dict):
            changes["display"] = Display.from_dict(display).to_dict()
    except ValueError:
        pass  # no tracker, no display: the one it had last stays
    Station.objects.filter(pk=station.pk).update(**changes)


def tracker_told(tracker: dict[str, Any]) -> dict[str, Any]:
    """What is kept of an agent's or a page's word on the tracker: a few names, each with a number or a short text."""
    names = ("name", "serial", "rate_hz", "found", "simulated")
    return {key: _plain(tracker[key]) for key in names if key in tracker}


def pair_here(*, name: str, server: str, spool: Path) -> pairing.Pairing:
    """Pair an agent on the site's own machine through the same code and the same checks, and keep the pairing there.

    One that holds is kept, and only told where the site answers now. One that was revoked stays revoked: that was a
    person's decision, and another person's code undoes it.

    Raises
    ------
    Revoked, Refused, PairingError
        The station is revoked; its name is no name; the pairing cannot be written.
    """
    path = pairing.file_beside(spool)
    origin = pairing.origin_of(server)
    station = Station.objects.filter(name=name).first() or add_station(name=name, actor=None)
    if is_revoked(station):
        raise Revoked(station)
    try:
        known = pairing.load(path)
        if identify(credential=known.credential) == station:
            kept = replace(known, server=origin, origins=pairing.origins_of(origin), name=station.name)
            pairing.save(kept, path)
            return kept
    except (pairing.PairingError, NotAllowed):
        pass  # none, damaged, or of another site: made anew
    key = pairing.new_key()
    code = make_code(station=station, actor=None)
    paired = pair(code=code, agent_key=key, agent_version=pairing.version(), host=platform.node())
    made = pairing.Pairing(origin, pairing.origins_of(origin), str(station.uuid), station.name, paired.credential, key)
    pairing.save(made, path)
    return made


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool):
        return value
    # NaN and integers of hundreds of digits pass Python's parser, and are no JSON every database keeps.
    if isinstance(value, int | float):
        return value if abs(value) < 1e100 else None
    return _short(str(value), 80)


def _short(text: str, length: int) -> str:
    """What fits and what every database holds."""
    return "".join(c for c in str(text) if c.isprintable())[:length]


def _refuse_unless_managing(actor: User | None) -> None:
    if actor is not None and not may_manage_stations(actor):
        raise NotAllowed("Stations are managed by coordinators and the site's staff: ask one of them.")


def _minutes() -> int:
    return int(CODE_LIFE.total_seconds() // 60)


def _hash(letters: str) -> str:
    return salted_hmac("capture.PairingCode", letters, algorithm="sha256").hexdigest()
