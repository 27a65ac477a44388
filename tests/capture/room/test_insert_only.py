from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from django.db import DatabaseError, connection, transaction

from capture.models import Calibration, Gap, GazeMeasures, GazeTrack, RecordingToken, Segment, Utterance
from capture.services import measuring, processing, recordings
from capture.services.calibrations import calibrate
from study.models import InsertOnlyError, Read
from study.services import reading
from tests.factories import make_answers, make_case, make_study

from .synthetic import Scene, measured, store_epoch, store_page

MODELS = [Calibration, RecordingToken, Segment, Gap, GazeTrack, Utterance, GazeMeasures]


@pytest.fixture
def everything(db: None) -> None:
    """One row at least in every table of this room."""
    enrolment = make_study(gaze="optional", consented=True, cases=[make_case(rows=1000, columns=1000)]).enrolments.get()
    read: Read = reading.open_next(enrolment=enrolment, actor=enrolment.user)
    calibrate(user=enrolment.user, station=recordings.this_station(), enrolment=None, measured=measured())
    recording, _ = recordings.open_recording(read=read)
    scene = Scene.zoom_and_pan(looks=6)
    store_epoch(recording, scene.rows[:300])
    store_epoch(recording, scene.rows[330:], epoch=uuid4())
    store_page(recording, scene.states, scene.exchanges)
    reading.submit(read=read, answers=make_answers(read), actor=enrolment.user)
    track = processing.process(recording_id=recording.pk)
    assert track is not None
    measuring.measure(track=track)


@pytest.mark.parametrize("model", MODELS, ids=lambda m: m.__name__)
@pytest.mark.parametrize("verb", ["UPDATE", "DELETE"])
def test_the_database_refuses_to_change_what_was_recorded(everything: None, model: Any, verb: str) -> None:
    table = model._meta.db_table
    sql = f"UPDATE {table} SET created_at = created_at" if verb == "UPDATE" else f"DELETE FROM {table}"
    count = model.objects.count()
    assert count > 0
    with pytest.raises(DatabaseError, match="recorded once"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql)
    assert model.objects.count() == count


@pytest.mark.parametrize("model", MODELS, ids=lambda m: m.__name__)
def test_the_code_refuses_it_in_a_sentence(everything: None, model: Any) -> None:
    row = model.objects.first()
    for attempt in (row.save, row.delete, model.objects.all().delete):
        with pytest.raises(InsertOnlyError, match="recorded"):
            attempt()
