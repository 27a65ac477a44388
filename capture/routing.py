"""Socket routes of this room, found by name by the site."""

from __future__ import annotations

from django.urls import URLPattern, path

from capture.consumers import IngestConsumer, PageConsumer

station_urlpatterns: list[URLPattern] = [path("ws/ingest/", IngestConsumer.as_asgi())]
browser_urlpatterns: list[URLPattern] = [path("ws/page/<uuid:recording_id>/", PageConsumer.as_asgi())]
