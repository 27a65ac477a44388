"""Who may open which page, and what the pages say and do."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from gazex.resampling import difference_intervals, intervals
from study.models import Membership, Study
from study.services import studies
from study.services.errors import Refused
from tests.factories import make_case, make_evidence, make_output, make_study, make_user
from tests.gazex.test_resampling import cases
from tests.training.made import make_collection, make_researcher, make_version
from training import tasks
from training.hooks import assisting_models
from training.models import DatasetRelease, Job, ModelVersion, Promotion, TrainingRun, TrainingStep
from training.services import gates, jobs, leases, models
from training.services.releasing import build_release

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("data_dir")]


def metrics(**changes: float) -> dict[str, Any]:
    """An evaluation's shape with figures of the test's own."""
    figures = {"f1": 0.8, "auc": 0.9, "similarity": 0.7, "invalid": 0} | changes
    return {
        "cases": gates.CASES,
        "report": {"f1": figures["f1"], "f1_chance": 0.3},
        "probability": {
            "auc_mean": figures["auc"],
            "auc_chance": 0.5,
            "brier": 0.1,
            "brier_prevalence": 0.2,
            "ece": None,
        },
        "findings": {},
        "boxes": {"iou": 0.5, "iou_mean_box": 0.4},
        "gaze": {"similarity": figures["similarity"], "similarity_chance": 0.5},
        "parse_failures": {"report": figures["invalid"], "of": gates.CASES},
    }


@pytest.fixture
def world() -> dict[str, Any]:
    """A collection with a release, a finished run, its version and an answer."""
    study, _reads, researcher = make_collection(cases=2)
    release = build_release(name="Pilot", actor=researcher, user=researcher)
    base = make_version("GazeX base", metrics=metrics())
    run = make_run(release, base)
    version = make_version("GazeX 1", base=base, run=run, metrics=metrics(f1=0.85), card={"release": {"reads": 2}})
    image = release.release_reads.first().read.assignment.case.images.get()
    answer = Job.objects.create(kind=Job.Kind.ANSWER, requested_by=researcher, version=version, image=image)
    return {
        "study": study, "researcher": researcher, "release": release, "base": base, "run": run, "version": version,
        "answer": answer, "image": image,
    }  # fmt: skip


def make_run(release: DatasetRelease, base: ModelVersion, **fields: Any) -> TrainingRun:
    return TrainingRun.objects.create(
        release=release,
        base=base,
        total=20,
        seed=1,
        gate=gates.default_gate(),
        requested_by=release.created_by,
        **fields,
    )


def client_of(user: Any) -> Client:
    client = Client()
    if user is not None:
        client.force_login(user, backend="allauth.account.auth_backends.AuthenticationBackend")
    return client


PAGES = {
    "dashboard": ("get", "training:dashboard", None),
    "activity": ("get", "training:activity", None),
    "release": ("get", "training:release", "release"),
    "manifest": ("get", "training:release-manifest", "release"),
    "run": ("get", "training:run", "run"),
    "status": ("get", "training:run-status", "run"),
    "model": ("get", "training:model", "version"),
    "answer": ("get", "training:answer", "answer"),
    "answer_status": ("get", "training:answer-status", "answer"),
    "answer_image": ("get", "training:answer-image", "answer"),
    "build": ("post", "training:release-build", None),
    "start": ("post", "training:run-start", None),
    "cancel": ("post", "training:run-cancel", "run"),
    "resume": ("post", "training:run-resume", "run"),
    "promote": ("post", "training:model-promote", "version"),
    "rollback": ("post", "training:model-rollback", None),
    "register": ("post", "training:model-register", None),
    "try": ("post", "training:answer-ask", "version"),
    "precompute": ("post", "training:precompute", "version"),
    "job_cancel": ("post", "training:job-cancel", "answer"),
}


def ask(client: Client, page: str, world: dict[str, Any]) -> int:
    method, name, what = PAGES[page]
    url = reverse(name, args=[world[what].pk] if what else [])
    return int(getattr(client, method)(url).status_code)


@pytest.mark.parametrize("page", PAGES)
def test_strangers_sign_in_others_are_refused_and_foreign_researchers_find_nothing(
    page: str, world: dict[str, Any]
) -> None:
    reader = world["study"].enrolments.get().user
    coordinator = world["study"].created_by
    foreign = make_researcher(make_study(cases=1))
    own = _allowed = ask(client_of(world["researcher"]), page, world)
    assert _allowed in {200, 302}
    assert ask(client_of(None), page, world) == 302
    assert ask(client_of(reader), page, world) == 403
    assert ask(client_of(coordinator), page, world) == 403
    # A page of an object that belongs to studies of others is not there; the pages without one show only one's own.
    assert ask(client_of(foreign), page, world) == (404 if PAGES[page][2] else own)


@pytest.mark.parametrize("page", [page for page, (method, *_) in PAGES.items() if method == "post"])
def test_acts_are_not_links(page: str, world: dict[str, Any]) -> None:
    _method, name, what = PAGES[page]
    url = reverse(name, args=[world[what].pk] if what else [])
    assert client_of(world["researcher"]).get(url).status_code == 405


def test_the_dashboard_leads_with_how_many_reads_are_eligible_and_new() -> None:
    _study, _reads, researcher = make_collection(cases=3)
    client = client_of(researcher)
    text = " ".join(client.get(reverse("training:dashboard")).content.decode().split())
    assert "3 reads are eligible for training; none of them is in a release yet." in text
    build_release(name="Pilot", actor=researcher, user=researcher)
    text = " ".join(client.get(reverse("training:dashboard")).content.decode().split())
    assert "3 reads are eligible for training; every one of them is in a release already." in text


def test_without_eligible_reads_the_page_says_what_makes_one() -> None:
    client = client_of(make_researcher(make_study(cases=1)))
    page = client.get(reverse("training:dashboard")).content.decode()
    assert "No read is eligible for training yet" in page
    answer = client.post(reverse("training:release-build"), {"name": "Pilot"}, follow=True)
    assert "No read is eligible yet, so there is nothing to release." in answer.content.decode()


def test_a_release_is_built_by_a_worker_and_its_progress_is_shown(django_capture_on_commit_callbacks: Any) -> None:
    _study, _reads, researcher = make_collection(cases=2)
    client = client_of(researcher)
    client.post(reverse("training:release-build"), {"name": "Pilot"})
    job = Job.objects.get()
    assert "waiting for a worker" in client.get(reverse("training:activity")).content.decode()
    seen: list[str] = []
    renew = leases.renew

    def watching(**kwargs: Any) -> Any:
        held = renew(**kwargs)
        seen.append(client.get(reverse("training:activity")).content.decode())
        return held

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(leases, "renew", watching)
        jobs.work(job_id=job.pk)
    assert ["– 0 of 2" in seen[0], "– 1 of 2" in seen[1]] == [True, True]
    job.refresh_from_db()
    assert (job.state, job.release) == ("succeeded", DatasetRelease.objects.get(name="Pilot"))


def test_a_job_that_fails_leaves_its_sentence_on_the_page() -> None:
    _study, _reads, researcher = make_collection(cases=1)
    build_release(name="Pilot", actor=researcher, user=researcher)
    client = client_of(researcher)
    client.post(reverse("training:release-build"), {"name": "Pilot"})
    jobs.work(job_id=Job.objects.get().pk)
    assert "There is a release called “Pilot” already" in client.get(reverse("training:dashboard")).content.decode()


def test_starting_a_run_opens_its_page(world: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks.train, "delay_on_commit", lambda **kwargs: None)
    client = client_of(world["researcher"])
    data = {"release": world["release"].pk, "base": world["base"].pk, "steps": 12}
    answer = client.post(reverse("training:run-start"), data)
    run = TrainingRun.objects.exclude(pk=world["run"].pk).get()
    assert answer.url == reverse("training:run", args=[run.pk])
    assert (run.total, run.release, run.base) == (12, world["release"], world["base"])


@pytest.mark.parametrize("steps", ["0", "-3", "many", ""])
def test_a_wrong_number_of_steps_is_refused_in_a_sentence(world: dict[str, Any], steps: str) -> None:
    data = {"release": world["release"].pk, "base": world["base"].pk, "steps": steps}
    answer = client_of(world["researcher"]).post(reverse("training:run-start"), data, follow=True)
    assert "Training steps: " in answer.content.decode()
    assert TrainingRun.objects.count() == 1


def test_the_status_gives_the_points_that_are_new(world: dict[str, Any]) -> None:
    client, url = client_of(world["researcher"]), reverse("training:run-status", args=[world["run"].pk])

    def add(attempt: int, step: int, loss: float) -> None:
        TrainingStep.objects.create(run=world["run"], attempt=attempt, step=step, loss=loss, lr=0.1, elapsed_s=1)

    add(1, 1, 3.0)
    add(1, 2, 2.5)
    first = client.get(url).json()
    assert first["points"] == [[1, 3.0, 0.1], [2, 2.5, 0.1]]
    add(2, 2, 2.4)
    second = client.get(url, {"since": first["last"]}).json()
    assert second["points"] == [[2, 2.4, 0.1]]
    assert client.get(url, {"since": second["last"]}).json()["points"] == []
    assert client.get(url, {"since": "x"}).status_code == 400


def test_a_long_curve_is_thinned_for_the_page(world: dict[str, Any]) -> None:
    from training.views.runs import POINTS

    TrainingStep.objects.bulk_create(
        [TrainingStep(run=world["run"], attempt=1, step=k, loss=1.0, lr=0.1, elapsed_s=k) for k in range(3 * POINTS)]
    )
    points = client_of(world["researcher"]).get(reverse("training:run-status", args=[world["run"].pk])).json()["points"]
    assert 0.9 * POINTS <= len(points) <= POINTS


def test_a_failed_run_shows_its_sentence_and_can_be_resumed(world: dict[str, Any], monkeypatch: Any) -> None:
    monkeypatch.setattr(tasks.train, "delay_on_commit", lambda **kwargs: None)
    run = make_run(
        world["release"], world["base"], state="failed", error="The disk is full.", finished_at=timezone.now()
    )
    client = client_of(world["researcher"])
    assert "The disk is full." in client.get(reverse("training:run", args=[run.pk])).content.decode()
    client.post(reverse("training:run-resume", args=[run.pk]))
    run.refresh_from_db()
    assert (run.state, run.error) == ("queued", "")


def test_comparing_shows_both_figures_their_difference_and_chance(world: dict[str, Any]) -> None:
    url = reverse("training:model-compare")
    page = client_of(world["researcher"]).get(url, {"a": world["base"].pk, "b": world["version"].pk}).content.decode()
    for text in ("0.800", "0.850", "+0.050", "0.300", "not estimable", "GazeX base", "Pilot"):
        assert text in page
    assert "nan" not in page.lower().replace("finance", "")


def test_a_model_that_has_seen_only_phantoms_says_so_wherever_it_answers(world: dict[str, Any]) -> None:
    drawn = make_version("GazeX drawn", card={"phantoms": 1600})
    output = make_output(world["image"], model_sha256=drawn.weights_sha256)
    answer = Job.objects.create(
        kind=Job.Kind.ANSWER, requested_by=world["researcher"], version=drawn, image=world["image"],
        state=Job.State.SUCCEEDED, finished_at=timezone.now(), output=output,
    )  # fmt: skip
    client = client_of(world["researcher"])
    sentence = "has learnt from phantoms; of a patient’s radiograph it knows nothing."
    addresses = [
        reverse("training:model", args=[drawn.pk]),
        reverse("training:answer", args=[answer.pk]),
        reverse("training:model-compare") + f"?a={drawn.pk}&b={world['version'].pk}",
    ]
    for url in addresses:
        assert client.get(url).content.decode().count(sentence) == 1, url
    assert ("GazeX drawn, knows phantoms only", drawn.weights_sha256) in assisting_models(world["researcher"])
    dashboard = client.get(reverse("training:dashboard")).content.decode()
    assert "base model, knows phantoms only" in dashboard and "GazeX drawn, knows phantoms only</option>" in dashboard
    comparison = make_study(Study.Kind.COMPARISON, cases=1, model_sha256=drawn.weights_sha256)
    study_page = client_of(comparison.created_by).get(reverse("study:study", args=[comparison.slug]))
    assert study_page.content.decode().count("</code>, knows phantoms only</dd>") == 1
    trained = world["version"]
    trained.card = {"phantoms": 1600}  # of its base, with reads of this site added
    trained.save()
    assert sentence not in client.get(reverse("training:model", args=[trained.pk])).content.decode()


def test_a_card_is_shown_in_words_whatever_it_holds(world: dict[str, Any]) -> None:
    card = {
        "drawing_s": None,
        "training_s": 440.0,
        "libraries": {"torch": "2.13.0", "peft": None},
        "stages": [{"name": "report and heat", "steps": 495, "lr": 0.002}],
        "run": {"id": "7f", "steps": 30, "gate": {"cases": 60, "checks": [{"metric": ["report", "f1"]}]}},
        "lineage": [{"name": "GazeX base"}],
        "readers": ["R1", "R2"],
    }
    version = make_version("GazeX carded", card=card)
    page = client_of(world["researcher"]).get(reverse("training:model", args=[version.pk])).content.decode()
    for line in (
        "<dt>training, s</dt><dd>440.0</dd>",
        "<dt>libraries</dt><dd>torch 2.13.0</dd>",
        "<dt>run</dt><dd>id 7f, steps 30</dd>",
        "<dt>readers</dt><dd>R1; R2</dd>",
    ):
        assert line in page
    for deeper in ("drawing", "None", "<dt>stages", "<dt>lineage", "metric", "{"):
        assert deeper not in page.split("<h2>Card</h2>")[1].split("</dl>")[0]


def test_figures_on_different_phantoms_are_not_subtracted(world: dict[str, Any]) -> None:
    from training.services.metrics import compare

    world["base"].metrics["cases"] = 8
    assert {row.difference for row in compare(world["base"], world["version"])} == {"–"}


def test_figures_and_their_differences_stand_with_their_intervals(world: dict[str, Any]) -> None:
    before = cases(gates.CASES)
    after = replace(before, similarity=before.similarity - 0.1 + 0.1 * np.arange(gates.CASES) % 0.3)
    for version, each in ((world["base"], before), (world["version"], after)):
        version.metrics |= {"each": each.to_dict(), "intervals": intervals(each)}
        version.save()
    address = reverse("training:model-compare") + f"?a={world['base'].pk}&b={world['version'].pk}"
    page = client_of(world["researcher"]).get(address).content.decode()
    line = page.split("Gaze similarity</th>")[1].split("</tr>")[0]
    spans = [intervals(before), intervals(after), difference_intervals(before, after)]
    wanted = [[f"{end:.3f}" for end in one["gaze.similarity"]] for one in spans]
    assert re.findall(r'"interval">[+−]?([\d.]+) to [+−]?([\d.]+)<', line.replace("−", "")) == [
        tuple(end.replace("-", "") for end in one) for one in wanted
    ]
    assert "95 % interval" in page


def test_a_version_that_was_evaluated_without_keeping_its_cases_has_no_intervals(world: dict[str, Any]) -> None:
    world["base"].metrics |= {"each": cases(gates.CASES).to_dict()}
    world["base"].save()
    page = client_of(world["researcher"]).get(reverse("training:model", args=[world["version"].pk])).content.decode()
    assert "Gaze similarity" in page and "interval" not in page


def test_a_version_within_its_gate_is_promoted_and_rolled_back(world: dict[str, Any]) -> None:
    client = client_of(world["researcher"])
    client.post(reverse("training:model-promote", args=[world["base"].pk]))
    client.post(reverse("training:model-promote", args=[world["version"].pk]))
    from training.queries import current_version

    assert current_version() == world["version"]
    assert [check["passed"] for check in Promotion.objects.first().gate] == [True] * 4
    client.post(reverse("training:model-rollback"))
    assert current_version() == world["base"]
    answer = client.post(reverse("training:model-rollback"), follow=True)
    assert "There is no earlier promoted version to go back to." in answer.content.decode()


@pytest.mark.parametrize(
    "change", [{"f1": 0.74}, {"auc": 0.86}, {"similarity": 0.64}, {"invalid": 4}], ids=["f1", "auc", "gaze", "parse"]
)
def test_a_version_below_its_gate_is_not_promoted(world: dict[str, Any], change: dict[str, float]) -> None:
    version = world["version"]
    version.metrics = metrics(**change)
    version.save()
    with pytest.raises(Refused, match="GazeX 1 does not pass the gate of its run: "):
        models.promote(version=version, actor=world["researcher"])
    assert not Promotion.objects.exists()


def test_the_gate_is_the_one_written_with_the_run_and_not_todays(world: dict[str, Any]) -> None:
    TrainingRun.objects.filter(pk=world["run"].pk).update(
        gate={"cases": gates.CASES, "checks": [{"metric": ["report", "f1"], "worse_by": -0.2}]}
    )
    world["version"].run.refresh_from_db()
    assert [check.passed for check in gates.checks(world["version"])] == [False]


def test_an_answer_is_drawn_with_its_boxes_findings_and_report(world: dict[str, Any]) -> None:
    from study.services import assistance

    version, image = world["version"], world["image"]
    output = assistance.store_output(
        image=image,
        model_sha256=version.weights_sha256,
        prompt_version="test-1",
        evidence=make_evidence(image, model_sha256=version.weights_sha256),
    )
    job = world["answer"]
    held = leases.claim(model=Job, pk=job.pk, seconds=60)
    assert held is not None
    leases.finish(row=held, state=Job.State.SUCCEEDED, output=output)
    client = client_of(world["researcher"])
    page = client.get(reverse("training:answer", args=[job.pk])).content.decode()
    assert 'rect x="1.0" y="2.0" width="19.0" height="22.0"' in page
    assert "There is a left pneumothorax." in page and "0.80" in page
    png = client.get(reverse("training:answer-image", args=[job.pk]))
    assert png["Content-Type"] == "image/png" and png.content.startswith(b"\x89PNG")


def test_an_answer_that_does_not_parse_is_never_drawn(world: dict[str, Any]) -> None:
    from study.services import assistance

    version, image = world["version"], world["image"]
    output = assistance.store_output(
        image=image, model_sha256=version.weights_sha256, prompt_version="test-1", evidence=None, raw="<step n=1"
    )
    held = leases.claim(model=Job, pk=world["answer"].pk, seconds=60)
    assert held is not None
    leases.finish(row=held, state=Job.State.SUCCEEDED, output=output)
    page = client_of(world["researcher"]).get(reverse("training:answer", args=[held.pk])).content.decode()
    assert "does not parse" in page and "&lt;step n=1" in page and "<svg" not in page


def test_a_researcher_who_reads_a_comparison_may_not_try_the_model_on_its_cases(world: dict[str, Any]) -> None:
    case = make_case()
    make_study(Study.Kind.COMPARISON, cases=[case], readers=[world["researcher"]])
    Membership.objects.get_or_create(study=world["study"], user=world["researcher"], role="reader")
    url = reverse("training:answer-ask", args=[world["version"].pk])
    client_of(world["researcher"]).post(url, {"case": case.pk})
    assert Job.objects.filter(kind=Job.Kind.ANSWER).count() == 1


class TestOpeningAComparison:
    """The leak check of a comparison against its model's ancestors."""

    def draft(self, case: Any, version: ModelVersion) -> Study:
        return make_study(Study.Kind.COMPARISON, cases=[case], model_sha256=version.weights_sha256, opened=False)

    def released_case(self, world: dict[str, Any]) -> Any:
        return world["image"].case

    def test_it_is_refused_when_its_model_has_learnt_from_a_patient_of_it(self, world: dict[str, Any]) -> None:
        study = self.draft(self.released_case(world), world["version"])
        with pytest.raises(Refused, match=r"^GazeX 1 has learnt from 1 of 1 patients of .* \(release “Pilot”\)"):
            studies.open_study(study=study, actor=study.created_by)

    def test_it_is_refused_when_only_an_ancestor_has(self, world: dict[str, Any]) -> None:
        _study, _reads, researcher = make_collection(cases=1)
        other = build_release(name="Other", actor=researcher, user=researcher)
        grandchild = make_version("GazeX 2", base=world["version"], run=make_run(other, world["version"]))
        study = self.draft(self.released_case(world), grandchild)
        with pytest.raises(Refused, match="GazeX 2 has learnt from"):
            studies.open_study(study=study, actor=study.created_by)

    def test_another_case_of_the_same_patient_is_refused_as_well(self, world: dict[str, Any]) -> None:
        case = make_case()
        type(case).objects.filter(pk=case.pk).update(patient=self.released_case(world).patient)
        study = self.draft(case, world["version"])
        with pytest.raises(Refused, match="has learnt from"):
            studies.open_study(study=study, actor=study.created_by)

    def test_it_opens_with_new_patients_or_with_the_base(self, world: dict[str, Any]) -> None:
        for study in (self.draft(make_case(), world["version"]), self.draft(self.released_case(world), world["base"])):
            assert studies.open_study(study=study, actor=study.created_by).state == Study.State.OPEN


def test_only_researchers_see_the_link_to_these_pages(world: dict[str, Any]) -> None:
    from training.hooks import navigation

    assert navigation(world["researcher"]) == [("GazeX", "/training/")]
    assert navigation(make_user()) == []


def test_the_manifest_page_gives_what_the_hash_was_made_of(world: dict[str, Any]) -> None:
    from training.services.releasing import hash_of

    answer = client_of(world["researcher"]).get(reverse("training:release-manifest", args=[world["release"].pk]))
    assert hash_of(json.loads(answer.content)) == world["release"].sha256


def test_an_answer_is_out_of_sight_of_a_researcher_who_is_to_read_its_case(world: dict[str, Any]) -> None:
    client, job = Client(), world["answer"]
    client.force_login(world["researcher"], backend="allauth.account.auth_backends.AuthenticationBackend")
    addresses = [reverse(f"training:{name}", args=[job.pk]) for name in ("answer", "answer-status", "answer-image")]
    assert [client.get(address).status_code for address in addresses] == [200, 200, 200]
    model = reverse("training:model", args=[world["version"].pk])
    assert str(job.pk) in client.get(model).content.decode()
    make_study(Study.Kind.COMPARISON, cases=[world["image"].case], readers=[world["researcher"]])
    assert [client.get(address).status_code for address in addresses] == [404, 404, 404]
    assert str(job.pk) not in client.get(model).content.decode()


def test_a_comparison_is_offered_the_base_models_and_the_versions_its_coordinator_may_see(
    world: dict[str, Any],
) -> None:
    base, trained = ((str(version), version.weights_sha256) for version in (world["base"], world["version"]))
    assert assisting_models(world["researcher"]) == [trained, base]
    coordinator = make_user()
    elsewhere = make_study(coordinator=coordinator, opened=False)
    assert assisting_models(coordinator) == [base]
    Membership.objects.create(study=elsewhere, user=coordinator, role=Membership.Role.RESEARCHER)
    assert assisting_models(coordinator) == [base]
    page = client_of(coordinator).get("/studies/new/").content.decode()
    assert base[1] in page and trained[1] not in page
