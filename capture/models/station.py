from __future__ import annotations

from typing import Any

from django.db import models


class Station(models.Model):
    """A reading workstation: a display with a tracker under it and an agent on its loopback."""

    THIS_MACHINE = "this machine"

    name = models.CharField(max_length=64, unique=True)
    agent_key = models.CharField(
        max_length=128, blank=True, help_text="Opens the agent's socket; empty for the machine the server runs on."
    )
    display: models.JSONField[dict[str, Any], dict[str, Any]] = models.JSONField(
        default=dict, help_text="As the agent last told it: width_px, height_px, width_mm, height_mm, distance_mm."
    )
    tracker: models.JSONField[dict[str, Any], dict[str, Any]] = models.JSONField(default=dict)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name
