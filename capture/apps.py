from django.apps import AppConfig


class CaptureConfig(AppConfig):
    name = "capture"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from capture import hooks
        from study import registries

        registries.before_case_opens.register(hooks.needs_calibration)
        registries.before_case_opens.register(hooks.needs_drift_check)
        registries.worklist_offers.register(hooks.offers)
        registries.reading_room_capture.register(hooks.reading_room)
        registries.read_submitted.register(hooks.submitted)
        registries.monitor_columns.register(hooks.calibration_column)
        registries.study_links.register(hooks.links)
        registries.navigation.register(hooks.navigation)
