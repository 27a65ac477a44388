"""The ASGI application: pages, browser sockets behind session and Origin, station sockets behind a bearer token."""

from __future__ import annotations

import os
from importlib import import_module

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "study.site.settings")

from django.core.asgi import get_asgi_application

django_application = get_asgi_application()

from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import AllowedHostsOriginValidator

SOCKET_ROOMS = ["capture.routing", "training.routing"]


def _routes(name: str) -> list:
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
