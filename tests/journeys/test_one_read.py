"""One read, end to end: through the real pages, sockets, LSL and Celery, and then a look at what was stored.

The tests run in the order in which they stand: they tell one story on one running site.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, Playwright, expect

from tests.browser import launch
from tests.journeys.site import Site, running_site
from tests.reference import REFERENCE

pytestmark = [pytest.mark.journey, pytest.mark.timeout(900)]

SCREEN = {"width": 1280, "height": 800}
FINDINGS = ["Pneumothorax", "Lung Lesion", "Consolidation", "Cardiomegaly", "Pleural Effusion"]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running_site(tmp_path_factory.mktemp("journey")) as site:
        yield site


@pytest.fixture(scope="module")
def chromium(playwright_driver: Playwright) -> Iterator[Browser]:
    browser = launch(playwright_driver)
    yield browser
    browser.close()


class Person:
    """Somebody at a browser of their own, whose console must stay empty."""

    def __init__(self, browser: Browser, site: Site, name: str) -> None:
        self.context = browser.new_context(viewport=SCREEN, screen=SCREEN, base_url=site.url)  # type: ignore[arg-type]
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(20_000)
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.failures: list[str] = []
        self.page.on("console", lambda m: self.complaints.append(m.text) if m.type in {"error", "warning"} else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        # The console says only "409 (Conflict)"; whoever reads a failure wants to know of what.
        self.page.on(
            "response",
            lambda r: self.failures.append(f"{r.status} {r.request.method} {r.url}") if r.status >= 400 else None,
        )
        self.page.goto("/accounts/login/")
        self.page.get_by_label("Username").fill(name)
        self.page.get_by_label("Password").fill(site.logins()[name])
        self.page.get_by_role("button", name=re.compile("sign in", re.I)).click()
        expect(self.page.locator("nav")).to_be_visible()


@pytest.fixture(scope="module")
def reader(chromium: Browser, site: Site) -> Iterator[Person]:
    person = Person(chromium, site, "reader")
    yield person
    person.context.close()


@pytest.fixture(scope="module")
def researcher(chromium: Browser, site: Site) -> Iterator[Person]:
    person = Person(chromium, site, "researcher")
    yield person
    person.context.close()


@pytest.fixture(scope="module")
def coordinator(chromium: Browser, site: Site) -> Iterator[Person]:
    person = Person(chromium, site, "coordinator")
    yield person
    person.context.close()


def open_next(person: Person, study: str) -> None:
    """From the worklist to an open case: consent, the station check and the calibration where they are asked for."""
    page = person.page
    page.goto("/worklist/")
    card = page.locator("section.card", has=page.get_by_role("heading", name=study, exact=True))
    consent = card.get_by_role("button", name="I agree to the recording")
    if consent.count():
        consent.click()
    card.locator("form[action$='/next/'] button").click()
    page.wait_for_url(re.compile(r"/(read|capture/station)/"))
    if "/capture/station/" in page.url:
        start = page.get_by_role("button", name="Start calibration")
        expect(start).to_be_enabled()
        start.click()
        expect(page.locator("#continue")).to_be_visible(timeout=60_000)
        page.locator("#continue").click()
        if "/read/" not in page.url:
            page.goto("/worklist/")
            page.locator("section.card", has=page.get_by_role("heading", name=study, exact=True)).locator(
                "form[action$='/next/'] button"
            ).click()
            page.wait_for_url(re.compile(r"/read/"))
    expect(page.locator("#curtain")).to_be_hidden()


def read_case(page: Page, *, confident: str | None = None, look_ms: int = 2500) -> str:
    """Look, zoom and pan, look again, answer, and submit. Returns the read's id."""
    read_id = re.search(r"/read/([0-9a-f-]{36})/", page.url)[1]  # type: ignore[index]
    expect(page.locator("#indicator-text")).to_have_text(re.compile("^Recording"))
    page.wait_for_timeout(look_ms)
    page.mouse.move(430, 330)
    for _ in range(4):
        page.mouse.wheel(0, -120)
        page.wait_for_timeout(120)
    page.wait_for_timeout(look_ms)
    page.keyboard.down("Space")
    page.mouse.down()
    page.mouse.move(500, 420, steps=5)
    page.mouse.up()
    page.keyboard.up("Space")
    page.wait_for_timeout(look_ms)
    for number, finding in enumerate(FINDINGS):
        value = 5 if finding == confident else 1
        page.locator(f"#finding-{number}-{value}").check(force=True)
    if confident is not None:
        page.locator(f"[data-finding='{confident}']").click()
        page.locator("#tool-box").click()
        page.mouse.move(300, 300)
        page.mouse.down()
        page.mouse.move(420, 400, steps=4)
        page.mouse.up()
        page.locator("#report").press_sequentially(f"There is {confident.lower()}. No other finding.", delay=25)
    else:
        page.locator("#report").press_sequentially("The lungs are clear. The heart size is normal.", delay=25)
    submit = page.locator("#submit")
    expect(submit).to_be_enabled()
    with page.expect_response(lambda r: r.url.endswith("/submit/"), timeout=30_000) as answered:
        submit.click()
    assert answered.value.status == 200, answered.value.text()
    page.wait_for_url(lambda url: read_id not in url)
    return read_id


def truth_of(site: Site) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The simulator's own account: the fixations it made, and its running count of samples."""
    lines = [json.loads(line) for line in site.truth.read_text().splitlines() if line.endswith("}")]
    return [row for row in lines if "onset_lsl" in row], [row for row in lines if "samples_sent" in row]


reads: dict[str, str] = {}


def test_the_coordinator_imports_a_real_radiograph(coordinator: Person, site: Site) -> None:
    files = sorted((REFERENCE / "chest_xrays").glob("*.dcm")) if REFERENCE.is_dir() else []
    if not files:
        pytest.skip("the reference data is not beside this checkout (../shared/reference)")
    page = coordinator.page
    page.goto("/cases/upload/")
    page.locator("input[type=file]").first.set_input_files(files[0])
    page.get_by_role("button", name=re.compile("import|upload", re.I)).click()
    expect(page.locator("main")).to_contain_text(re.compile("1 case|imported", re.I), timeout=60_000)
    assert site.ask("from study.models import Case; answer = Case.objects.filter(source='dicom').count()") == 1
    image = site.ask(
        "from study.models import Image; i = Image.objects.get(case__source='dicom'); answer = [i.rows, i.columns]"
    )
    assert image == [1024, 1024]


def test_a_bad_file_is_refused_with_one_sentence_and_nothing_is_imported(
    coordinator: Person, site: Site, tmp_path: Path
) -> None:
    before = site.ask("from study.models import Case, Image; answer = [Case.objects.count(), Image.objects.count()]")
    fake = tmp_path / "letter.dcm"
    fake.write_text("Dear colleague, thank you for referring this patient.\n" * 40)
    page = coordinator.page
    page.goto("/cases/upload/")
    page.locator("input[type=file]").first.set_input_files(fake)
    page.get_by_role("button", name=re.compile("import|upload", re.I)).click()
    expect(page.locator("main")).to_contain_text("letter.dcm", timeout=30_000)
    after = site.ask("from study.models import Case, Image; answer = [Case.objects.count(), Image.objects.count()]")
    assert after == before


def test_the_reader_passes_the_station_check_and_reads_a_collection_case(reader: Person, site: Site) -> None:
    open_next(reader, "Gaze collection")
    assert reader.page.evaluate("crossOriginIsolated")
    reads["collection"] = read_case(reader.page, confident="Cardiomegaly")
    state = site.ask(f"from study.models import Read; answer = Read.objects.get(pk='{reads['collection']}').state")
    assert state == "submitted"


def test_the_recording_has_every_sample_the_tracker_sent(site: Site) -> None:
    """Frame numbers run without a gap, and the simulator's own count agrees over the recorded span."""
    site.wait_for(
        f"from capture.models import Recording; answer = Recording.objects.get(read_id='{reads['collection']}').state",
        "processed",
    )
    stored = site.ask(
        "from capture.models import Recording, Segment\n"
        "from capture.frames import GAZE, GAZE_CHANNELS, read_frames\n"
        "import numpy as np\n"
        f"r = Recording.objects.get(read_id='{reads['collection']}')\n"
        "s = r.segments.get(stream=GAZE)\n"
        "x = np.concatenate([f.samples for f in read_frames(s.file)])\n"
        "n = x[:, 1 + GAZE_CHANNELS.index('FrameNumber')]\n"
        "answer = dict(samples=s.samples, rows=len(x), first=n[0], last=n[-1], steps=sorted(set(np.diff(n))),"
        " t0=x[0, 0], t1=x[-1, 0], gaps=r.gaps.count())"
    )
    assert stored["gaps"] == 0
    assert stored["steps"] == [1.0]
    assert stored["rows"] == stored["samples"] == stored["last"] - stored["first"] + 1
    assert stored["samples"] > 120 * 7
    _, counts = truth_of(site)
    inside = [row for row in counts if stored["t0"] <= row["lsl"] <= stored["t1"]]
    assert len(inside) >= 5
    sent = inside[-1]["samples_sent"] - inside[0]["samples_sent"]
    spanned = inside[-1]["last_frame"] - inside[0]["last_frame"]
    assert sent == spanned
    assert stored["first"] <= inside[0]["last_frame"] and inside[-1]["last_frame"] <= stored["last"]


def test_fixations_lie_within_half_a_degree_of_where_the_eyes_really_rested(site: Site) -> None:
    """In image pixels, over a fit, a zoomed and a panned view; the tracker's raw error is twice that."""
    track = site.ask(
        "from capture.models import GazeTrack\n"
        "from capture.services.tracks import load\n"
        f"row = GazeTrack.objects.get(recording__read_id='{reads['collection']}')\n"
        "t = load(row)\n"
        "f = t.fixations\n"
        "import numpy as np\n"
        "answer = dict(x=list(map(float, f.x)), y=list(map(float, f.y)), onset=list(map(float, f.onset)),"
        " duration=list(map(float, f.duration)), state=list(map(int, f.state)),"
        " ppd_x=list(map(float, f.ppd_x)), ppd_y=list(map(float, f.ppd_y)),"
        " origin=float(t.origin_lsl), bound=row.clock_bound_ms)"
    )
    assert track["bound"] is not None and track["bound"] < 5.0
    fixations, _ = truth_of(site)
    truth = [row for row in fixations if row["image_x"] is not None and not row["interrupted"]]
    onset = track["origin"] + np.array(track["onset"])
    end = onset + np.array(track["duration"])
    errors, states = [], set()
    for k in range(len(onset)):
        middle = (onset[k] + end[k]) / 2
        row = next((r for r in truth if r["onset_lsl"] <= middle <= r["offset_lsl"]), None)
        if row is None:
            continue
        dx = (track["x"][k] - row["image_x"]) / track["ppd_x"][k]
        dy = (track["y"][k] - row["image_y"]) / track["ppd_y"][k]
        errors.append(float(np.hypot(dx, dy)))
        states.add(row["viewport_seq"])
    assert len(errors) >= 10
    assert len(states) >= 3, "the story needs a fit, a zoomed and a panned view"
    assert np.median(errors) < 0.35
    assert np.quantile(errors, 0.95) < 0.5, sorted(errors)[-5:]


def test_the_replay_plays_the_gaze_over_the_image(reader: Person, site: Site) -> None:
    recording = site.ask(
        f"from capture.models import Recording; answer = str(Recording.objects.get(read_id='{reads['collection']}').pk)"
    )
    page = reader.page
    page.goto(f"/capture/recordings/{recording}/")
    expect(page.locator("#replay canvas").first).to_be_visible()
    expect(page.get_by_role("button", name=re.compile("play", re.I)).first).to_be_enabled()


def test_assistance_is_shown_in_the_assisted_arm_and_only_there(reader: Person, site: Site) -> None:
    for _ in range(2):
        open_next(reader, "GazeX crossover")
        page = reader.page
        config = json.loads(page.locator("#read-config").text_content() or "{}")
        if config["assistance"] == "none":
            expect(page.locator("#gazex")).to_be_hidden()
            refused = page.request.get(config["urls"]["assistance"])
            assert refused.status == 403
            assert "without assistance" in refused.json()["error"]
        else:
            expect(page.locator("#gazex")).to_be_visible()
            expect(page.locator("#gazex")).to_contain_text("AI output")
        reads[config["assistance"]] = read_case(page, look_ms=800)
    assert {"none", "concurrent"} <= set(reads)
    revealed = site.ask(
        "from study.models import AssistanceReveal; "
        "answer = sorted(set(AssistanceReveal.objects.values_list('read__assignment__arm__assistance', flat=True)))"
    )
    assert revealed == ["concurrent"]


def test_the_researcher_builds_a_release_of_the_collection_read_and_not_of_the_comparisons(
    researcher: Person, site: Site
) -> None:
    page = researcher.page
    page.goto("/training/")
    page.locator("form[action$='/training/releases/'] input[name=name]").fill("journey")
    page.get_by_role("button", name="Build release").click()
    # Until the page has said so itself: it reloads then, which would cut short whatever is opened next.
    steps = page.locator("main:has([data-active=no]) form[action$='/training/runs/'] input[name=steps]")
    expect(steps).to_be_visible(timeout=120_000)
    assert site.ask("from training.models import DatasetRelease; answer = DatasetRelease.objects.count()") == 1
    released = site.ask(
        "from training.models import ReleaseRead; "
        "answer = [str(r) for r in ReleaseRead.objects.values_list('read', flat=True)]"
    )
    assert reads["collection"] in released
    assert reads["none"] not in released
    assert reads["concurrent"] not in released
    # Of comparisons only what was read without assistance, in the one that is unblinded.
    of_comparisons = site.ask(
        "from training.models import ReleaseRead; answer = sorted(set("
        "ReleaseRead.objects.filter(read__assignment__enrolment__study__kind='comparison').values_list("
        "'read__assignment__enrolment__study__slug', 'read__assignment__enrolment__study__state', "
        "'read__assignment__arm__assistance')))"
    )
    assert of_comparisons == [["gazex-simulated", "unblinded", "none"]]


def test_the_researcher_retrains_gazex_and_watches_it(researcher: Person, site: Site) -> None:
    page = researcher.page
    page.locator("form[action$='/training/runs/'] input[name=steps]").fill("20")
    page.get_by_role("button", name="Start training").click()
    page.wait_for_url(re.compile(r"/training/runs/[0-9a-f-]{36}/"))
    expect(page.locator("#curve canvas")).to_be_visible(timeout=120_000)
    expect(page.locator("#run .badge")).to_have_text("Succeeded", timeout=300_000)
    assert site.ask("from training.models import ModelVersion; answer = ModelVersion.objects.count()") == 2


def test_the_new_model_version_answers_and_is_compared_with_the_old_one(researcher: Person, site: Site) -> None:
    page = researcher.page
    page.get_by_role("link", name=re.compile("^Open")).click()
    page.wait_for_url(re.compile(r"/training/models/"))
    page.locator("form[action$='/try/'] button").click()
    page.wait_for_url(re.compile(r"/training/answers/"))
    expect(page.locator("main")).to_contain_text("Pneumothorax", timeout=120_000)
    answered = site.ask(
        "from training.models import ModelVersion\n"
        "from study.models import AssistanceOutput\n"
        "v = ModelVersion.objects.exclude(run=None).get()\n"
        "o = AssistanceOutput.objects.filter(model_sha256=v.weights_sha256).first()\n"
        "answer = [o.valid, sorted(f['finding'] for f in o.evidence['findings'])]"
    )
    assert answered == [True, sorted(FINDINGS)]
    page.goto("/training/")
    page.get_by_role("button", name="Compare").click()
    expect(page.locator("table").first).to_be_visible()


def test_the_coordinator_sees_the_simulated_comparison_analysed(coordinator: Person, site: Site) -> None:
    page = coordinator.page
    page.goto("/analysis/gazex-simulated/")
    main = page.locator("main")
    expect(main).to_contain_text("AUC")
    expect(main).to_contain_text(re.compile(r"95 % CI"))
    expect(main).to_contain_text(re.compile("simulated", re.I))
    figure = page.locator("img[src$='.svg']").first
    expect(figure).to_be_visible()
    assert figure.evaluate("image => image.complete && image.naturalWidth > 0")
    page.get_by_text("Downloads", exact=True).click()
    link = page.locator("a[href*='ratings.csv']").first
    with page.expect_download() as download:
        link.click()
    rows = list(csv.DictReader(io.StringIO(download.value.path().read_text())))
    readers, cases, arms = ({row[name] for row in rows} for name in ("reader", "case", "arm"))
    assert (len(readers), len(cases), len(arms)) == (3, 10, 2)
    page.get_by_role("link", name="Read the report").click()
    for part in ("Primary endpoint", "Reliance on GazeX", "Gaze", "Reporting checklists"):
        expect(page.get_by_role("heading", name=re.compile(f"^{part}")).first).to_be_visible()


def test_nobodys_browser_complained_or_asked_a_third_party(
    reader: Person, researcher: Person, coordinator: Person, site: Site
) -> None:
    for person in (reader, researcher, coordinator):
        expected = [text for text in person.complaints if "403" not in text]
        assert expected == [], person.failures
        strangers = {
            url
            for url in person.requests
            if "://" in url and "127.0.0.1" not in url and not url.startswith(("data:", "blob:"))
        }
        assert strangers == set()


def test_no_planted_identifier_reached_the_site(site: Site) -> None:
    """The phantoms' DICOM files carry made-up identifiers; none of them may be found in the database or the blobs."""
    names = ["Weber^Ines", "St. Elsewhere", "Harbour Road", "Park^Min", "Hill Street", "CR-ROOM-2", "Novak^Petr"]
    for path in [*site.data.glob("*.sqlite3*"), *(site.data / "blobs").rglob("*")]:
        if path.is_file():
            content = path.read_bytes()
            assert not [name for name in names if name.encode() in content], path
