from django.urls import path

from capture.views import calibrations, measures, recordings, station, stations, transfer

app_name = "capture"
urlpatterns = [
    path("station/", station.station, name="station"),
    path("station/enter/", stations.enter, name="enter"),
    path("stations/", stations.station_list, name="stations"),
    path("stations/add/", stations.add, name="station_add"),
    path("stations/pair/", stations.pair, name="pair"),
    path("stations/seen/", stations.seen, name="seen"),
    path("stations/<uuid:number>/code/", stations.code, name="station_code"),
    path("stations/<uuid:number>/revoke/", stations.revoke, name="station_revoke"),
    path("calibrations/", station.calibrations, name="calibrations"),
    path("drift/", station.drift, name="drift"),
    path("drift/checks/", station.drift_checks, name="drift_checks"),
    path("studies/<slug:slug>/calibrations/", calibrations.quality, name="quality"),
    path("studies/<slug:slug>/calibrations/<str:what>.csv", calibrations.table, name="quality_csv"),
    path("recordings/", recordings.recording_list, name="recordings"),
    path("recordings/of/<slug:slug>/export/", transfer.export, name="export"),
    path("recordings/of/<slug:slug>/import/", transfer.import_page, name="import"),
    path("recordings/of/<slug:slug>/import/<uuid:ticket>/", transfer.import_result, name="import_result"),
    path("recordings/of/<slug:slug>/import/<uuid:ticket>/progress/", transfer.import_progress, name="import_progress"),
    path("studies/<slug:slug>/measures.csv", measures.download, name="measures"),
    path("recordings/<uuid:recording_id>/", recordings.recording_page, name="recording"),
    path("recordings/<uuid:recording_id>/track.json", recordings.track_json, name="track"),
    path("recordings/<uuid:recording_id>/frame/", recordings.frame, name="frame"),
]
