from __future__ import annotations

from django.apps import AppConfig


class SiteConfig(AppConfig):
    """Holds the commands that know every app: `up`, `build_demo`, `simulate_readers`."""

    name = "study.site"
    label = "site"
