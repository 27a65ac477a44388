from django.urls import path

from study.views import accounts, cases, reading, studies, worklist

app_name = "study"
urlpatterns = [
    path("", accounts.home, name="home"),
    path("worklist/", worklist.worklist, name="worklist"),
    path("worklist/<int:enrolment_id>/next/", worklist.next_read, name="next"),
    path("worklist/<int:enrolment_id>/consent/", worklist.consent, name="consent"),
    path("read/<uuid:read_id>/", reading.read_page, name="read"),
    path("read/<uuid:read_id>/frame/<uuid:image_id>/", reading.frame, name="frame"),
    path("read/<uuid:read_id>/assistance/", reading.assistance, name="assistance"),
    path("read/<uuid:read_id>/events/", reading.events, name="events"),
    path("read/<uuid:read_id>/lock/", reading.lock, name="lock"),
    path("read/<uuid:read_id>/submit/", reading.submit, name="submit"),
    path("studies/", studies.study_list, name="studies"),
    path("studies/new/", studies.study_new, name="study-new"),
    path("studies/<slug:slug>/", studies.study_page, name="study"),
    path("studies/<slug:slug>/open/", studies.study_open, name="study-open"),
    path("studies/<slug:slug>/close/", studies.study_close, name="study-close"),
    path("studies/<slug:slug>/unblind/", studies.study_unblind, name="study-unblind"),
    path("studies/<slug:slug>/enrol/", studies.study_enrol, name="study-enrol"),
    path("studies/<slug:slug>/researchers/", studies.study_researcher, name="study-researcher"),
    path("studies/<slug:slug>/reads/<uuid:read_id>/invalidate/", studies.read_invalidate, name="read-invalidate"),
    path("cases/", cases.cases, name="cases"),
    path("cases/upload/", cases.case_upload, name="case_upload"),
    path("cases/upload/<uuid:ticket>/", cases.case_upload_result, name="case_upload_result"),
    path("cases/upload/<uuid:ticket>/progress/", cases.case_upload_progress, name="case_upload_progress"),
    path("cases/<uuid:case_id>/", cases.case_detail, name="case_detail"),
    path("cases/images/<uuid:image_id>/<slug:size>.png", cases.case_preview, name="case_preview"),
]
