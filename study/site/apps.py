from __future__ import annotations

from django.apps import AppConfig


class SiteConfig(AppConfig):
    """Holds the commands that know every app: `up`, `build_demo`, `simulate_readers`."""

    name = "study.site"
    label = "site"

    def ready(self) -> None:
        # Tasks sent from pages and commands must find the site's Celery app, not Celery's default one.
        from . import celery  # noqa: F401
