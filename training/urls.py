from django.urls import path

from .views import answers, dashboard, models, releases, runs

app_name = "training"
urlpatterns = [
    path("", dashboard.dashboard, name="dashboard"),
    path("activity/", dashboard.activity, name="activity"),
    path("jobs/<uuid:job_id>/cancel/", dashboard.cancel, name="job-cancel"),
    path("releases/", releases.build, name="release-build"),
    path("releases/<uuid:release_id>/", releases.release, name="release"),
    path("releases/<uuid:release_id>/manifest.json", releases.manifest, name="release-manifest"),
    path("runs/", runs.start, name="run-start"),
    path("runs/<uuid:run_id>/", runs.run, name="run"),
    path("runs/<uuid:run_id>/status.json", runs.status, name="run-status"),
    path("runs/<uuid:run_id>/cancel/", runs.cancel, name="run-cancel"),
    path("runs/<uuid:run_id>/resume/", runs.resume, name="run-resume"),
    path("models/register/", models.register, name="model-register"),
    path("models/compare/", models.compare, name="model-compare"),
    path("models/rollback/", models.rollback, name="model-rollback"),
    path("models/<uuid:version_id>/", models.model, name="model"),
    path("models/<uuid:version_id>/promote/", models.promote, name="model-promote"),
    path("models/<uuid:version_id>/try/", answers.ask, name="answer-ask"),
    path("models/<uuid:version_id>/precompute/", answers.precompute, name="precompute"),
    path("answers/<uuid:job_id>/", answers.answer, name="answer"),
    path("answers/<uuid:job_id>/status.json", answers.status, name="answer-status"),
    path("answers/<uuid:job_id>/image.png", answers.image, name="answer-image"),
]
