"""Training records: an image as the model sees it, its heat targets and its examples.

Records come from visits (real readings) or from phantoms read by the simulated reader; both take the same path.
"""

from __future__ import annotations

import math
import re
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from capture.gaze.simulate.reader import PROTOCOL, Habit, Scanpath, inspect, phrase
from gazex.evidence import gaze_in, gaze_map, sentence_map
from gazex.evidence.windows import LEAD_S
from gazex.findings import label_sentence
from gazex.model.processor import Processor
from gazex.phantoms import TRAIN_SEED, Phantom, make_phantom
from gazex.schema import Visit, VisitBox, read_image
from gazex.tasks import fvp, gtm, report, sda, vqa
from gazex.tasks.example import Example
from gazex.tasks.finished import finish
from gazex.tasks.formats import Codec

SIZES: Final = ((224, 224), (224, 200), (224, 184))
"""Sizes phantoms are drawn at for training: the detector's usual aspect ratios."""
PIXELS_PER_DEGREE: Final = 1 / 26
"""Of a simulated reading, as a share of the image height: 430 mm of chest shown 30 cm high and read from 65 cm."""
TASKS: Final = ("report", "vqa", "fvp", "gtm", "sda")
MOST_POINTS: Final = 4
"""Points a step of a trajectory may have."""
READINGS: Final = 3
"""Times the simulated reader reads a training phantom."""
SHUFFLE_SEED: Final = 7
"""Of the order in which key frames are shown."""
DWELLS_MS: Final = (100, 200, 300, 500, 700, 1000, 1500, 2000, 3000, 5000, 7000, 10_000)
"""Dwell times that a model with a coordinate step writes."""
_PLACE: Final = re.compile(r"\((\d+),(\d+)(?:,(\d+))?\)")


@dataclass
class Record:
    """One reading, ready to train on.

    Attributes
    ----------
    image
        float16 [rows, columns], 0–1, as the processor prepared it.
    heat, known
        Gaze-heat target [findings, h, w] 0–1, and which findings' maps are known [findings].
    examples
        Task → its examples.
    codec
        Of the reading's image: key frames are given as boxes in its pixels.
    """

    image: NDArray[np.float16]
    heat: NDArray[np.float16]
    known: NDArray[np.float32]
    examples: dict[str, list[Example]] = field(default_factory=dict)
    codec: Codec = field(default_factory=lambda: Codec(1, 1))


def simulated_visit(
    phantom: Phantom, *, seed: int, rate_hz: float = 50.0, habit: Habit | None = None
) -> tuple[Visit, Scanpath]:
    """A phantom read by the simulated reader, sampled at `rate_hz` with 0.2° of noise. The truth is what is found."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, phantom.seed, phantom.index]))
    path = inspect(
        phantom.regions,
        phantom.findings,
        rng=rng,
        duration_s=float(rng.uniform(16, 26)),
        report=phantom.report,
        lures=phantom.lures,
        habit=habit,
    )
    ppd = phantom.rows * PIXELS_PER_DEGREE
    t, x, y = [], [], []
    for k in range(len(path)):
        n = max(2, round(path.duration_s[k] * rate_hz))
        t.append(path.onset_s[k] + np.arange(n) / rate_hz)
        x.append(path.x[k] + rng.normal(0, 0.2 * ppd, n))
        y.append(path.y[k] + rng.normal(0, 0.2 * ppd, n))
    times = np.maximum.accumulate(np.concatenate(t))
    visit = Visit(
        id=f"phantom-{phantom.seed}-{phantom.index}",
        reader="simulated",
        patient=f"phantom-{phantom.seed}-{phantom.index}",
        study="phantoms",
        image_file=f"images/phantom-{phantom.seed}-{phantom.index}.png",
        rows=phantom.rows,
        columns=phantom.columns,
        t_s=times,
        x=np.concatenate(x),
        y=np.concatenate(y),
        ppd_x=ppd,
        ppd_y=ppd,
        sentences=list(path.sentences),
        labels=dict(phantom.labels),
        boxes=[VisitBox(f.finding, f.side, f.box) for f in phantom.findings],
    )
    return visit, path


def heat_target(
    visit: Visit, findings: Sequence[str], shape: tuple[int, int], sigma: float
) -> tuple[NDArray[np.float16], NDArray[np.float32]]:
    """Gaze dwell for each finding that a sentence of the visit affirms; zero for those that are absent.

    Parameters
    ----------
    visit
        The reading.
    findings
        Channels, in order.
    shape
        Size of the maps.
    sigma
        SD of the Gaussian as a share of the image.

    Returns
    -------
    tuple
        Target [findings, h, w] 0–1 and known [findings]: a finding that is labelled but was never said, or said without
        gaze, has no known map.
    """
    target = np.zeros((len(findings), *shape), np.float16)
    known = np.ones(len(findings), np.float32)
    said: dict[str, list[int]] = {}
    for k, (text, _, _) in enumerate(visit.sentences):
        for finding, mention in label_sentence(text).items():
            if mention == "positive":
                said.setdefault(finding, []).append(k)
    for channel, finding in enumerate(findings):
        present = finding in visit.labels or finding in said
        if not present:
            continue
        maps = [sentence_map(visit, k, shape=shape, sigma=sigma) for k in said.get(finding, [])]
        merged = np.max(maps, axis=0) if maps else np.zeros(shape)
        if merged.max() <= 0:
            known[channel] = 0
        target[channel] = merged
    return target, known


def record_of(visit: Visit, pixels: NDArray[np.uint16], processor: Processor, findings: Sequence[str]) -> Record:
    """Everything training needs of one visit."""
    image = processor.prepare(pixels)
    unit = processor.patch * processor.merge
    cells = processor.config.heat_cells
    shape = image.shape[0] // unit * cells, image.shape[1] // unit * cells
    heat, known = heat_target(visit, findings, shape, processor.config.heat_sigma)
    for finding in processor.config.heat_left:
        side, channel = visit.labels.get(finding), list(findings).index(finding)
        heat = np.concatenate([heat, heat[channel][None] if side in {"left", "bilateral"} else 0 * heat[:1]])
        known = np.append(known, known[channel] if side is not True else np.float32(0))
    if processor.config.heat_unspoken:
        first = min((t0 for _, t0, _ in visit.sentences), default=-np.inf) - LEAD_S
        unspoken = dwell_map(visit, shape, processor.config.heat_sigma, before_s=first)
        heat = np.concatenate([heat, unspoken[None].astype(np.float16)])
        known = np.append(known, np.float32(unspoken.max() > 0))
    if processor.config.heat_dwell:
        dwell = dwell_map(visit, shape, processor.config.heat_sigma)
        heat = np.concatenate([heat, dwell[None].astype(np.float16)])
        known = np.append(known, np.float32(dwell.max() > 0))
    step, finished = processor.config.coordinate_step, finish(visit)
    examples = {
        **_examples_of_speech(visit, processor),
        "vqa": vqa.examples(visit),
        "fvp": [replace(e, target=coarse(e.target, step)) for e in fvp.examples(visit, finished=finished)],
        "sda": sda.examples(visit, seed=SHUFFLE_SEED, finished=finished)[:1],
    }
    return Record(image.astype(np.float16), heat, known, examples, Codec(visit.rows, visit.columns))


def _examples_of_speech(visit: Visit, processor: Processor) -> dict[str, list[Example]]:
    """The examples whose targets are the reader's own sentences."""
    return {"report": report.examples(visit), "gtm": _inspections(visit, processor)}


def _inspections(visit: Visit, processor: Processor) -> list[Example]:
    step = processor.config.coordinate_step
    return [replace(e, target=coarse(e.target, step)) for e in gtm.examples(visit, most_points=MOST_POINTS)]


def dwell_map(visit: Visit, shape: tuple[int, int], sigma: float, *, before_s: float = np.inf) -> NDArray[np.float64]:
    """Map of a reading's gaze, whole or before a time, σ as a share of the image (see `gaze_map`)."""
    t, x, y = gaze_in(visit, -np.inf, before_s)
    del t
    return gaze_map(x, y, visit.rows, visit.columns, sigma * visit.columns, sigma * visit.rows, shape)


def coarse(target: str, step: int) -> str:
    """A target with rounded numbers: box corners to multiples of `step`, points that were looked at to twice that (more
    is not known of a fixation), dwell times to the nearest in proportion of `DWELLS_MS`; 1 leaves it as it is.

    Of many numbers that are all a little likely, a greedy answer takes none: long dwells came out as 100 ms.
    """
    if step == 1:
        return target

    def rounded(match: re.Match[str]) -> str:
        apart = step if match[3] is None else 2 * step
        u, v = (min(1000, round(int(n) / apart) * apart) for n in match.groups()[:2])
        if match[3] is None:
            return f"({u},{v})"
        dwell = max(1, int(match[3]))
        return f"({u},{v},{min(DWELLS_MS, key=lambda ms: abs(math.log(ms / dwell)))})"

    return _PLACE.sub(rounded, target)


class PhantomRecords:
    """Phantoms of one series as records, drawn when asked for; the last `keep` stay in memory.

    Each is read `readings` times: the trajectories differ as one reader's do, and only what they share can be learnt.
    """

    def __init__(
        self,
        processor: Processor,
        findings: Sequence[str],
        *,
        seed: int = TRAIN_SEED,
        normal_share: float = 0.1,
        readings: int = READINGS,
        keep: int = 8192,
    ) -> None:
        self.processor, self.findings, self.seed = processor, findings, seed
        self.normal_share, self.readings, self.keep = normal_share, readings, keep
        self._kept: OrderedDict[int, Record] = OrderedDict()

    def __getitem__(self, index: int) -> Record:
        record = self._kept.get(index)
        if record is None:
            record = self._made(index)
            self._kept[index] = record
            if len(self._kept) > self.keep:
                self._kept.popitem(last=False)
        return record

    def _made(self, index: int) -> Record:
        rng = np.random.default_rng(np.random.SeedSequence([self.seed, index, 5]))
        phantom = make_phantom(
            self.seed,
            index,
            SIZES[int(rng.integers(len(SIZES)))],
            subtlety=float(rng.uniform(0.0, 0.6)),
            normal_share=self.normal_share,
        )
        visit, _ = simulated_visit(phantom, seed=self.seed)
        record = record_of(visit, phantom.pixels, self.processor, self.findings)
        record.examples |= _examples_of_speech(_in_plain_words(visit, phantom), self.processor)
        for again in range(1, self.readings):
            visit, _ = simulated_visit(phantom, seed=self.seed + again)
            record.examples["gtm"] += _inspections(_in_plain_words(visit, phantom), self.processor)
        return record

    def prepare(self, count: int, *, processes: int = 2) -> None:
        """Make the first `count` records at once, in several processes."""
        wanted = [i for i in range(min(count, self.keep)) if i not in self._kept]
        if processes < 2 or len(wanted) < 64:
            for index in wanted:
                self[index]
            return
        with get_context("fork").Pool(processes) as pool:
            for index, record in zip(wanted, pool.imap(self._made, wanted, chunksize=16), strict=True):
                self._kept[index] = record


def _in_plain_words(visit: Visit, phantom: Phantom) -> Visit:
    """Which of several wordings a reader chose cannot be seen in the image; so small a model is taught one."""
    labels = phantom.labels
    plain = [phrase(f, labels.get(f, ""), present=f in labels) for f, _ in PROTOCOL]
    said = [(text, t0, t1) for text, (_, t0, t1) in zip(plain, visit.sentences, strict=True)]
    return replace(visit, sentences=said)


class VisitRecords:
    """Visits of a folder as records."""

    def __init__(self, folder: Path, visits: Sequence[Visit], processor: Processor, findings: Sequence[str]) -> None:
        self.folder, self.visits, self.processor, self.findings = folder, list(visits), processor, findings
        self._kept: dict[int, Record] = {}

    def __len__(self) -> int:
        return len(self.visits)

    def __getitem__(self, index: int) -> Record:
        if index not in self._kept:
            visit = self.visits[index]
            pixels = read_image(visit.image_path(self.folder))
            self._kept[index] = record_of(visit, pixels, self.processor, self.findings)
            if len(self._kept) > 2048:
                self._kept.pop(next(iter(self._kept)))
        return self._kept[index]


def augment(image: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Change exposure (gamma, contrast, brightness) and add noise; geometry stays, since gaze and boxes hang on it."""
    out = np.clip(image, 0, 1) ** np.float32(np.exp(rng.normal(0, 0.12)))
    out = (out - 0.5) * np.float32(rng.uniform(0.88, 1.12)) + np.float32(0.5 + rng.normal(0, 0.03))
    noise = rng.standard_normal(image.shape, dtype=np.float32) * np.float32(rng.uniform(0, 0.02))
    return np.asarray(out + noise, np.float32)
