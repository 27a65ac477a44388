from django.urls import include, path

from .health import health

urlpatterns = [
    path("healthz/", health, name="health"),
    path("accounts/", include("allauth.urls")),
    path("capture/", include("capture.urls")),
    path("training/", include("training.urls")),
    path("analysis/", include("analysis.urls")),
    path("", include("study.urls")),
]
