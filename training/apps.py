from django.apps import AppConfig


class TrainingConfig(AppConfig):
    name = "training"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from study import registries
        from training import hooks

        registries.before_transition.register(hooks.refuse_leaks)
        registries.navigation.register(hooks.navigation)
        registries.assisting_models.register(hooks.assisting_models)
        registries.model_caveats.register(hooks.model_caveat)
        registries.study_links.register(hooks.study_links)
