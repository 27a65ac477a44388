from django.urls import path

from .views import explorer, exports, figures, report, study

app_name = "analysis"
urlpatterns = [
    path("<slug:slug>/", study.page, name="study"),
    path("<slug:slug>/plan/", study.save, name="plan"),
    path("<slug:slug>/plan/lock/", study.lock, name="lock"),
    path("<slug:slug>/run/", study.run, name="run"),
    path("<slug:slug>/runs/<uuid:run_id>/", study.progress, name="progress"),
    path("<slug:slug>/results/<uuid:result_id>/<slug:figure>.svg", figures.figure, name="figure"),
    path("<slug:slug>/results/<uuid:result_id>/ratings.csv", exports.ratings, name="ratings"),
    path("<slug:slug>/results/<uuid:result_id>/result.json", exports.result, name="result"),
    path("<slug:slug>/results/<uuid:result_id>/report/", report.page, name="report"),
    path("<slug:slug>/results/<uuid:result_id>/report.pdf", report.as_pdf, name="report_pdf"),
    path("<slug:slug>/results/<uuid:result_id>/bundle.zip", report.as_bundle, name="bundle"),
    path("<slug:slug>/explorer/", explorer.case_list, name="explorer"),
    path("<slug:slug>/explorer/<str:label>/", explorer.case_detail, name="explorer_case"),
    path("<slug:slug>/explorer/<str:label>/frame/", explorer.frame, name="explorer_frame"),
    path("<slug:slug>/explorer/<str:label>/gaze/<uuid:recording_id>/", explorer.track, name="explorer_track"),
]
