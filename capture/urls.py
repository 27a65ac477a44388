from django.urls import path

from capture.views import recordings, station

app_name = "capture"
urlpatterns = [
    path("station/", station.station, name="station"),
    path("calibrations/", station.calibrations, name="calibrations"),
    path("recordings/", recordings.recording_list, name="recordings"),
    path("recordings/<uuid:recording_id>/", recordings.recording_page, name="recording"),
    path("recordings/<uuid:recording_id>/track.json", recordings.track_json, name="track"),
    path("recordings/<uuid:recording_id>/frame/", recordings.frame, name="frame"),
]
