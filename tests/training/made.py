"""Reads with gaze, releases and versions for the tests of this room."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from django.conf import settings

from capture.gaze.track import SCHEMA, FixationTable
from capture.gaze.track import GazeTrack as Track
from capture.models import GazeTrack, Recording, Station, Utterance
from study.models import Enrolment, Membership, Read, Study, User
from tests.factories import make_read, make_study, make_user
from training.models import ModelVersion


def make_researcher(*studies: Study) -> User:
    user = make_user()
    for study in studies:
        Membership.objects.create(study=study, user=user, role=Membership.Role.RESEARCHER)
    return user


def make_track(read: Read, *, state: str = Recording.State.PROCESSED, seed: int = 0, n: int = 600) -> GazeTrack:
    """The read's gaze at 60 Hz: ten fixations over the image, one sample in twenty lost, two timed sentences."""
    image = read.assignment.case.images.get()
    rng = np.random.default_rng([seed, n])
    t = np.arange(n) / 60
    centres = rng.uniform([2, 2], [image.columns - 3, image.rows - 3], (10, 2))
    xy = np.clip(centres[np.arange(n) * 10 // n] + rng.normal(0, 0.5, (n, 2)), 0, [image.columns - 1, image.rows - 1])
    valid = rng.random(n) > 0.05
    xy[~valid] = np.nan
    ppd = np.full(n, image.rows / 20)
    fixations = FixationTable(
        centres[:, 0],
        centres[:, 1],
        np.arange(10) * n / 600,
        np.full(10, 0.9),
        np.zeros(10, np.int64),
        ppd[:10],
        ppd[:10],
    )
    meta = {"schema": SCHEMA, "rate_hz": 60.0, "rows": image.rows, "columns": image.columns}
    zeros = np.zeros(n)
    track = Track(100.0, t, xy[:, 0], xy[:, 1], valid, zeros.astype(np.int64), ppd, ppd, zeros, zeros, fixations, meta)
    data = track.to_bytes()
    sha256 = hashlib.sha256(data).hexdigest()
    path = Path(settings.GAZEROOM_DATA) / "tracks" / f"{sha256}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    station, _ = Station.objects.get_or_create(name="test")
    recording, _ = Recording.objects.get_or_create(read=read, defaults={"station": station, "state": state})
    row = GazeTrack.objects.create(
        recording=recording,
        path=f"tracks/{sha256}.npz",
        sha256=sha256,
        inputs={},
        inputs_sha256=hashlib.sha256(f"{seed} {n}".encode()).hexdigest(),
        code_version="test",
        samples=n,
        data_loss=0.05,
        clock_bound_ms=0.2,
        fixations=10,
    )
    end = n / 60
    for ordinal, (text, t0, t1) in enumerate(
        [("There is a left pneumothorax.", 0.3 * end, 0.45 * end), ("The heart size is normal.", 0.7 * end, 0.9 * end)]
    ):
        Utterance.objects.create(track=row, ordinal=ordinal, text=text, start_s=t0, end_s=t1)
    return row


def make_gaze_read(enrolment: Enrolment, *, seed: int = 0, **options: Any) -> Read:
    """A submitted read with processed gaze."""
    read = make_read(enrolment, **options)
    make_track(read, seed=seed)
    return read


def make_collection(*, cases: Any = 3, readers: int = 1, **options: Any) -> tuple[Study, list[Read], User]:
    """A collection read to the end with consent and gaze, and its researcher."""
    study = make_study(Study.Kind.COLLECTION, cases=cases, readers=readers, consented=True, **options)
    reads = [
        make_gaze_read(enrolment, seed=k, confidence={"Pneumothorax": 5, "Cardiomegaly": 3})
        for enrolment in study.enrolments.all()
        for k in range(enrolment.assignments.count())
    ]
    return study, reads, make_researcher(study)


def make_version(name: str = "GazeX test", **fields: Any) -> ModelVersion:
    """A version by name only: for the pages and the lineage, not for answering."""
    sha256 = hashlib.sha256(name.encode()).hexdigest()
    return ModelVersion.objects.create(name=name, **({"weights_sha256": sha256, "path": "nowhere"} | fields))
