"""Stations: who manages them, which pairing holds, and at which one a session sits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.db.models import QuerySet

from capture.models import Pairing, Station
from capture.tokens import fingerprint
from study.models import Membership, User
from study.queries.studies import enrolments_of, roles_of

#: Where a session keeps the number of the station its browser runs on.
SESSION_KEY = "station"


def may_manage_stations(user: User) -> bool:
    """Coordinators and the site's staff. A station serves every study of the site, so any study's coordinator may."""
    if not user.is_authenticated:
        return False
    return user.is_staff or user.is_superuser or Membership.Role.COORDINATOR in roles_of(user)


def may_use_stations(user: User) -> bool:
    """Whom the server tells a station's key: readers enrolled in a study, and those who manage stations."""
    return may_manage_stations(user) or (user.is_authenticated and enrolments_of(user).exists())


def stations_managed_by(user: User) -> QuerySet[Station]:
    stations = Station.objects.all() if may_manage_stations(user) else Station.objects.none()
    return stations.prefetch_related("pairings__revocation", "pairings__code__made_by", "codes__pairing")


def pairing_of(station: Station) -> Pairing | None:
    """The pairing that holds: the latest, unless it was revoked."""
    last = Pairing.objects.filter(station=station).select_related("revocation").order_by("-id").first()
    return None if last is None or hasattr(last, "revocation") else last


def is_revoked(station: Station) -> bool:
    """Whether it was paired and is not any more. A station that was never paired is not revoked."""
    return pairing_of(station) is None and station.pairings.exists()


def station_called(number: Any) -> Station | None:
    """The station of this number; None for what is no number, or nobody's."""
    try:
        return Station.objects.filter(uuid=UUID(str(number))).first()
    except ValueError:
        return None


def paired_with(credential: str) -> Pairing | None:
    """The pairing this credential was given at, held or not."""
    if not credential:
        return None
    rows = Pairing.objects.filter(credential_sha256=fingerprint(credential))
    return rows.select_related("station", "revocation").first()


def station_of(session: Mapping[str, Any] | None) -> Station | None:
    """The station the session's browser runs on, as its station check or reading room last found; None if unknown.

    A revoked station is as good as unknown: the next check says so.
    """
    station = station_called(session.get(SESSION_KEY)) if session else None
    return None if station is None or is_revoked(station) else station
