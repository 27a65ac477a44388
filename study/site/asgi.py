"""The ASGI application: pages, browser sockets behind session and Origin, station sockets behind a bearer token."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "study.site.settings")

from django.core.asgi import get_asgi_application

# Apps must be loaded before Channels' modules are imported.
django_application = get_asgi_application()

from channels.auth import AuthMiddlewareStack  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from channels.security.websocket import AllowedHostsOriginValidator  # noqa: E402

SOCKET_ROOMS = ["capture.routing"]


def _routes(name: str) -> list[Any]:
    """The routes of that name of every room that has them, found by name so that no arrow runs up."""
    return [route for room in SOCKET_ROOMS for route in getattr(import_module(room), name, [])]


# Agents send no Origin and prove themselves by token; the validator would refuse them, so they have their own routes.
application = ProtocolTypeRouter(
    {
        "http": django_application,
        "websocket": URLRouter(
            [
                *_routes("station_urlpatterns"),
                *[
                    type(route)(
                        route.pattern,
                        AllowedHostsOriginValidator(AuthMiddlewareStack(route.callback)),
                        route.default_args,
                        route.name,
                    )
                    for route in _routes("browser_urlpatterns")
                ],
            ]
        ),
    }
)
