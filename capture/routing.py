"""Socket routes of this room, found by name by the site."""

browser_urlpatterns: list = []
station_urlpatterns: list = []
