from __future__ import annotations

from django.apps import AppConfig


class AnalysisConfig(AppConfig):
    name = "analysis"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from study import registries

        from . import hooks

        registries.before_transition.register(hooks.plan_is_locked_before_unblinding)
        registries.study_links.register(hooks.link_to_analysis)
