"""Gaze outcomes of a comparison: real recordings, tracks and measures in, plain numbers by arm out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.utils import timezone

from analysis.queries.gaze import gaze_reads, trajectories
from analysis.queries.readings import arms_of
from analysis.services.gaze_outcomes import compute_gaze
from analysis.stats import gaze
from capture.gaze.track import SCHEMA, FixationTable
from capture.gaze.track import GazeTrack as Track
from capture.models import GazeMeasures, GazeTrack, Recording
from capture.services import processing
from study.models import Enrolment, Read, Study
from study.services.assistance import store_output
from tests.factories import MODEL, make_case, make_evidence, make_study

from .comparison import FINDINGS, read_everything

pytestmark = pytest.mark.django_db

BODY = {"random": "readers_cases", "alpha": 0.05, "reference_arm": "unaided"}
ROWS, COLUMNS = 48, 40
#: Where the finding of a diseased case is, and where nothing is.
BOX, ELSEWHERE = (4.0, 4.0, 12.0, 12.0), (30.0, 40.0)
#: 2 px a degree: the useful field of 5° has a radius of 5 px.
PPD = 2.0


@pytest.fixture(autouse=True)
def _files_of_this_test(data_dir: Path) -> None:
    """Frames and tracks lie in a folder of this test's own."""


def comparison(
    *, readers: int = 3, cases: int = 6, read: bool = True, paths: dict[str, np.ndarray] | None = None
) -> Study:
    """A comparison whose readers consented; every third case is normal, the others have a finding with a box.

    With `paths` the model's path in each case is another, and is written there by the case's label.
    """
    made = [
        make_case(
            f"case-{timezone.now().timestamp()}-{k:02d}", rows=ROWS, columns=COLUMNS,
            findings={} if k % 3 == 0 else {FINDINGS[k % 2]: BOX},
        )
        for k in range(cases)
    ]  # fmt: skip
    rng = np.random.default_rng(3)
    for case in made if paths is not None else []:
        # The output that is stored first is the one that is shown.
        image, xy = case.images.get(), rng.uniform((2, 2), (38, 46), (6, 2))
        steps = [{"x": x, "y": y, "duration_ms": 400.0} for x, y in xy.tolist()]
        evidence = {**make_evidence(image, prompt_version="paths"), "trajectory": steps}
        store_output(image=image, model_sha256=MODEL, prompt_version="paths", evidence=evidence)
        paths[case.label] = xy
    study = make_study(
        Study.Kind.COMPARISON, cases=made, readers=readers, findings=FINDINGS, gaze="optional", consented=True
    )
    if read:
        read_everything(study)
    return study


def track_of(fixations: list[tuple[float, float, float, float]]) -> Track:
    """Gaze at 50 Hz that rests at x, y from an onset for a duration, with the image on the screen all the time."""
    x, y, onset, duration = np.array(fixations).T
    t = np.arange(0, float((onset + duration).max()) + 0.5, 0.02)
    at = np.clip(np.searchsorted(onset, t, side="right") - 1, 0, None)
    full = np.full(len(t), PPD)
    table = FixationTable(x, y, onset, duration, np.zeros(len(x), np.int64), np.full(len(x), PPD), np.full(len(x), PPD))
    return Track(
        origin_lsl=0.0, t=t, x=x[at], y=y[at], valid=np.ones(len(t), bool), state=np.zeros(len(t), np.int64),
        ppd_x=full, ppd_y=full, screen_x=x[at], screen_y=y[at], fixations=table,
        meta={"schema": SCHEMA, "rows": ROWS, "columns": COLUMNS, "data_loss": 0.0},
    )  # fmt: skip


def keep(read: Read, track: Track) -> GazeTrack:
    """The track as processing would have stored it."""
    recording = Recording.objects.create(
        read=read, state=Recording.State.PROCESSED, started_at=timezone.now(), sealed_at=timezone.now()
    )
    path, sha256 = processing.keep_track(track)
    return GazeTrack.objects.create(
        recording=recording, path=path, sha256=sha256, inputs={}, inputs_sha256=sha256, code_version="test",
        samples=len(track), data_loss=0.0, fixations=len(track.fixations), quality=track.meta,
    )  # fmt: skip


def record(study: Study, *, skip: Any = lambda read: False) -> None:
    """Gaze for every read: aided readers look at the box at once, unaided ones late, and one of them never."""
    rng = np.random.default_rng(6)
    reads = Read.objects.filter(assignment__enrolment__study=study).select_related("assignment__arm")
    for read in reads.order_by("assignment__enrolment__reader_code", "assignment__case__label", "assignment__arm__key"):
        if skip(read):
            continue
        aided = read.assignment.arm.assistance != "none"
        never = read.assignment.enrolment.reader_code == "R01" and not aided
        first = 0.5 if aided else 3.0
        places = [(*rng.uniform(20, 39, 2), 0.1, 0.3), (*ELSEWHERE, first - 0.05, 0.04)]
        places.append((*(ELSEWHERE if never else (8.0, 8.0)), first, 0.8 + rng.uniform(0, 0.4)))
        places += [(*rng.uniform((20, 20), (39, 47)), first + 2 + k, 0.3) for k in range(3)]
        keep(read, track_of(places))


def compute(study: Study, **body: Any) -> dict[str, Any]:
    arms = arms_of(study)
    reference = {"reference_arm": arms[0].key}
    found = compute_gaze(study=study, body={**BODY, **reference, **body}, arms=arms)
    json.dumps(found, allow_nan=False)
    return found


def outcome(found: dict[str, Any], key: str) -> dict[str, Any]:
    return next(one for one in found["outcomes"] if one["key"] == key)


def mean(found: dict[str, Any], key: str, arm: str) -> float:
    result = outcome(found, key)["result"]
    return float(next(m["estimate"] for m in result["means"] if m["treatment"] == arm))


def test_arms_differ_as_the_eyes_did() -> None:
    study = comparison()
    record(study)
    plain_arm, aided_arm = (arm.key for arm in arms_of(study))
    found = compute(study)
    assert found["not_estimable"] == "" and found["missing"] == [] and found["model_missing"] == []
    assert found["reads"][aided_arm] == {"submitted": 18, "with_gaze": 18, "measured": 18, "with_scanpath": 18}
    # Two readers of three fixate the finding, at 3 s; the third never: (3 + 3 + 10) / 3.
    assert mean(found, "fixated_share", aided_arm) == pytest.approx(1)
    assert mean(found, "fixated_share", plain_arm) == pytest.approx(2 / 3)
    assert mean(found, "time_to_first_fixation_s", aided_arm) == pytest.approx(0.5, abs=0.03)
    assert mean(found, "time_to_first_fixation_s", plain_arm) == pytest.approx(16 / 3, abs=0.03)
    (difference,) = outcome(found, "time_to_first_fixation_s")["result"]["comparisons"]
    assert difference["treatments"] == [aided_arm, plain_arm]
    assert difference["difference"] == pytest.approx(0.5 - 16 / 3, abs=0.05)
    for arm in (plain_arm, aided_arm):
        counted = found["misses"][arm]
        assert counted["missed"] == counted["classified"] + sum(counted["unclassified"].values())
        if counted["classified"]:
            shares = [mean(found, f"kundel_{kind}", arm) for kind in gaze.KUNDEL]
            assert sum(shares) == pytest.approx(1)
    assert {one["group"] for one in found["outcomes"]} == {
        "read", "findings", "assistance", "scanpath", "centroid", "map",
    }  # fmt: skip
    assert outcome(found, "assistance_panel_s")["not_estimable"].startswith("not estimable, because no read has")


def test_every_interval_is_finite_or_says_why() -> None:
    study = comparison()
    record(study)
    for one in compute(study)["outcomes"]:
        if one["result"] is None:
            assert one["not_estimable"].startswith("not estimable, because"), one["key"]
            continue
        for line in (*one["result"]["means"], *one["result"]["comparisons"]):
            assert (line["se"] is not None) or line["not_estimable"], one["key"]


def test_heat_maps_are_small_and_lie_where_the_eyes_were() -> None:
    study = comparison()
    record(study)
    plain_arm, aided_arm = (arm.key for arm in arms_of(study))
    found = compute(study)
    maps = found["heat_maps"]
    heat = np.array(maps["arms"][aided_arm])
    assert heat.shape == tuple(maps["shape"]) and heat.max() == 1
    row, column = np.unravel_index(heat.argmax(), heat.shape)
    assert (column + 0.5) / 32 * COLUMNS == pytest.approx(8.5, abs=2)
    assert (row + 0.5) / 32 * ROWS == pytest.approx(8.5, abs=2)
    assert len(maps["cases"]) == 6
    cosines = [case["cosine"] for case in maps["cases"]]
    assert cosines == sorted(cosines) and set(maps["cases"][0]["arms"]) == {plain_arm, aided_arm}
    assert len(json.dumps(found)) < 400_000


def test_gaze_like_gazex_own_is_more_like_it_than_chance() -> None:
    """The model's paths differ from case to case; the aided readers follow them, the others look elsewhere."""
    paths: dict[str, np.ndarray] = {}
    study = comparison(paths=paths)
    rng = np.random.default_rng(4)
    for read in Read.objects.select_related("assignment__arm", "assignment__case"):
        path = paths[read.assignment.case.label]
        if read.assignment.arm.assistance == "none":
            path = rng.uniform((2, 2), (38, 46), (6, 2))
        keep(read, track_of([(*xy, 0.5 * k, 0.4) for k, xy in enumerate(path + rng.normal(0, 0.3, path.shape))]))
    plain_arm, aided_arm = (arm.key for arm in arms_of(study))
    found = compute(study)
    for key in ("scanmatch_above_chance", "map_cosine_above_chance", "dtw_below_chance", "icc_x", "icc_y"):
        assert mean(found, key, aided_arm) > mean(found, key, plain_arm), key
    assert mean(found, "scanmatch_to_model", aided_arm) > 0.9
    assert mean(found, "scanmatch_between_readers", aided_arm) > mean(found, "scanmatch_between_readers", plain_arm)
    assert mean(found, "icc_x", aided_arm) > 0.9
    assert np.array(found["heat_maps"]["model"]).max() == 1


def test_reads_without_gaze_are_counted_and_named_with_the_reason() -> None:
    study = comparison()
    record(study, skip=lambda read: read.assignment.enrolment.reader_code == "R02")
    failed = Read.objects.filter(assignment__enrolment__reader_code="R02").first()
    assert failed is not None
    Recording.objects.create(read=failed, state=Recording.State.FAILED, failure="The recording has no gaze samples.")
    found = compute(study)
    assert len(found["missing"]) == 12
    reasons = {row["why"] for row in found["missing"]}
    assert reasons == {
        "no gaze was recorded", "its recording could not be processed: The recording has no gaze samples.",
    }  # fmt: skip
    assert {row["reader"] for row in found["missing"]} == {"R02"}
    plain_arm = arms_of(study)[0].key
    assert (found["reads"][plain_arm]["submitted"], found["reads"][plain_arm]["with_gaze"]) == (18, 12)
    assert outcome(found, "viewing_s")["result"]["readers"] == ["R01", "R03"]


def test_a_study_without_gaze_says_so() -> None:
    """As the demo's comparison may be: its simulated readers need not have eyes."""
    study = comparison()
    found = compute(study)
    assert found["not_estimable"] == "not estimable, because no read has gaze (no gaze was recorded: 36)"
    assert found["outcomes"] == [] and found["heat_maps"] is None
    assert len(found["missing"]) == 36


def test_a_study_nobody_read_says_so() -> None:
    found = compute(comparison(read=False))
    assert (found["not_estimable"], found["missing"]) == ("not estimable, because no read has gaze", [])


def test_gaze_of_a_reader_who_withdrew_is_not_used() -> None:
    study = comparison()
    record(study)
    Enrolment.objects.filter(study=study, reader_code="R03").update(withdrawn_at=timezone.now())
    found = compute(study)
    assert {(row["reader"], row["why"]) for row in found["missing"]} == {("R03", "the reader has withdrawn")}
    assert outcome(found, "viewing_s")["result"]["readers"] == ["R01", "R02"]


def test_tracks_that_were_not_measured_are_measured_and_only_once() -> None:
    study = comparison(cases=3)
    record(study)
    assert not GazeMeasures.objects.exists()
    first = compute(study)
    assert GazeMeasures.objects.count() == 18
    assert compute(study) == first
    assert GazeMeasures.objects.count() == 18


def test_a_track_whose_file_is_gone_is_named_and_its_measures_are_kept() -> None:
    study = comparison(cases=3)
    record(study)
    compute(study)
    lost = gaze_reads(study)[0]
    assert lost.track is not None
    lost.track.file.unlink()
    found = compute(study)
    (row,) = found["missing"]
    assert (row["reader"], row["case"]) == (lost.reader, lost.case.label)
    assert row["why"].startswith("measured, but without a scanpath: The file of gaze track")
    assert found["reads"][lost.arm]["measured"] == 9 and found["reads"][lost.arm]["with_scanpath"] == 8


def test_without_outputs_of_gazex_only_readers_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    study = comparison()
    record(study)
    monkeypatch.setattr("analysis.queries.gaze.output_for", lambda **_: None)
    found = compute(study)
    assert {row["why"] for row in found["model_missing"]} == {"GazeX has no valid output for it"}
    assert len(found["model_missing"]) == 6
    assert outcome(found, "scanmatch_to_model")["not_estimable"].endswith("a trajectory of GazeX")
    assert outcome(found, "map_cosine_between_readers")["result"] is not None
    assert found["heat_maps"]["model"] is None


def test_trajectories_are_in_pixels_and_seconds() -> None:
    study = comparison(read=False)
    cases = [line.case for line in study.protocols.get().study_cases.select_related("case")]
    found = trajectories(study, cases)
    assert {tuple(one.points) for one in found.values()} == {((3.0, 4.0, 0.25), (9.0, 7.5, 0.31))}


def test_one_reader_has_means_and_no_claim_about_readers() -> None:
    study = comparison(readers=1)
    record(study)
    found = compute(study)
    result = outcome(found, "viewing_s")["result"]
    assert all(line["estimate"] is not None for line in result["means"])
    assert all(line["not_estimable"] for line in result["comparisons"])
    assert outcome(found, "scanmatch_between_readers")["result"] is None
