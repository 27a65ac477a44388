from django.apps import AppConfig


class TrainingConfig(AppConfig):
    name = "training"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from study import registries
        from training import hooks

        registries.before_transition.register(hooks.refuse_leaks)
        registries.navigation.register(hooks.navigation)
