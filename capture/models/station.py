from __future__ import annotations

import uuid
from typing import Any

from django.conf import settings
from django.db import models

from study.models import InsertOnly


class Station(models.Model):
    """A reading workstation: a display with a tracker under it and an agent on its loopback.

    The row is what is known of it now; who paired and revoked it, and when, are rows of their own that stay.
    """

    #: The station of the machine the server runs on, which `make run` pairs itself.
    THIS_MACHINE = "this machine"

    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False, help_text="What its agent answers pages.")
    name = models.CharField(max_length=64, unique=True)
    agent_key = models.CharField(
        max_length=128, blank=True, help_text="Opens the agent's socket; empty while the station is not paired."
    )
    agent_version = models.CharField(max_length=40, blank=True)
    last_seen_at = models.DateTimeField(null=True, blank=True, help_text="When its agent last spoke to the server.")
    display: models.JSONField[dict[str, Any], dict[str, Any]] = models.JSONField(
        default=dict, help_text="As the agent last told it: width_px, height_px, width_mm, height_mm, distance_mm."
    )
    tracker: models.JSONField[dict[str, Any], dict[str, Any]] = models.JSONField(default=dict)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class PairingCode(InsertOnly):
    """A code that pairs a station once, within minutes. Only its keyed hash is kept."""

    station = models.ForeignKey(Station, on_delete=models.PROTECT, related_name="codes")
    sha256 = models.CharField(max_length=64, unique=True)
    expires_at = models.DateTimeField()
    made_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        related_name="+",
        help_text="Null: the site itself.",
    )

    def __str__(self) -> str:
        return f"Code for {self.station} until {self.expires_at:%Y-%m-%d %H:%M}"


class Pairing(InsertOnly):
    """An agent was paired with the site as this station. The latest one counts, until it is revoked."""

    station = models.ForeignKey(Station, on_delete=models.PROTECT, related_name="pairings")
    code = models.OneToOneField(PairingCode, on_delete=models.PROTECT, related_name="pairing")
    credential_sha256 = models.CharField(max_length=64, unique=True)
    agent_version = models.CharField(max_length=40, blank=True)
    host = models.CharField(max_length=64, blank=True, help_text="What the computer calls itself.")

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.station} paired {self.created_at:%Y-%m-%d %H:%M}"


class Revocation(InsertOnly):
    """A pairing that no longer holds."""

    pairing = models.OneToOneField(Pairing, on_delete=models.PROTECT, related_name="revocation")
    revoked_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+")

    def __str__(self) -> str:
        return f"{self.pairing.station} revoked {self.created_at:%Y-%m-%d %H:%M}"
