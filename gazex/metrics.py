"""How much a model reads like radiologists: gaze, words, findings, boxes, answers, probabilities. No torch.

`compare` holds two readings of one case against each other; `table` a model's readings against several readers', every
figure beside chance and, where several readers read a case, beside what two readers have with each other (the ceiling).
The measures are `capture.gaze`'s and `analysis.stats`'s; here they are put together.

Conventions
-----------
Positions are shares of the image's sides, 0 to 1, so that images of any size have one frame. Maps are those of
`analysis.stats.gaze.density` (σ 0.06 of the image on 32 × 32 cells, weighted by duration).

**A case counts once.** The figure of a case is the mean over its readers; a table's is the mean over cases, except
where a measure is of all cases together (ICC, Pearson, F1, BLEU, ECE).

**Chance** is the same figure with another case's reading of the model: its readings move `SHIFTS` places on in the
order of the cases' names. **The ceiling** is the same figure between two readers of one case, in both directions where
the measure has one.

**Categories** are CheXbert's 14: a look belongs to the findings its sentence affirms, or to "No Finding" where it
affirms none. ICC_X and ICC_Y are those of the paper (arXiv 2604.14316): of the centroids of a category's look, over
cases and categories that both have; ICC(A,1), two-way random, absolute agreement.

**Truth** of findings is the reference standard where it is given; else what more than half of a case's readers affirm,
and for a reader's own figure (ceiling, recall gained) what more than half of the *other* readers affirm. Uncertain
mentions count as stated, as in CheXbert's F1.

What cannot be estimated is None, and `Figure.why` says why.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from analysis.stats import agreement, text
from analysis.stats.components import components
from analysis.stats.gaze import SHAPE, SHIFTS, centroid, cosine, density, on_image, similarities
from capture.gaze import saliency, scanpath
from gazex.findings import FINDINGS, SIDES
from gazex.tasks.said import affirmed, mentions

if TYPE_CHECKING:
    from gazex.schema import Visit
    from gazex.tasks.formats import Codec, Step

Floats = NDArray[np.float64]
Box = tuple[float, float, float, float]
Labels = Mapping[str, str]

NO_FINDING: Final = "No Finding"
CATEGORIES: Final = (*FINDINGS, NO_FINDING)
MAPS: Final = ("cosine", "cc", "sim", "kl", "nss", "auc")
SCANPATHS: Final = ("scanmatch", *(f"multimatch_{name}" for name in scanpath.DIMENSIONS), "sed", "dtw")
GAZE: Final = (*MAPS, *SCANPATHS)
"""Measures of two readings' gaze. kl and dtw are distances: smaller is more alike. nss and auc ask the first reading's
map for the second one's fixations; sed is 1 − string edit distance over the longer string."""
LEAST: Final = 3
"""Cases that a correlation needs."""
_EMPTY: Final = np.zeros((0, 3))


@dataclass(frozen=True, eq=False)
class Reading:
    """What one reader, or a model, did on one case.

    Attributes
    ----------
    case, reader
        Names.
    path
        Fixations in the order of time: x, y as shares of the image, seconds, [K, 3].
    sentences
        The report.
    looks
        Category → the fixations that belong to it, [K, 3] as in `path`.
    boxes
        Finding → its boxes, shares of the image.
    answers
        Question (a finding) → answer.
    probabilities
        Finding → probability that it is there.
    """

    case: str
    reader: str
    path: Floats = field(default_factory=lambda: _EMPTY)
    sentences: tuple[str, ...] = ()
    looks: Mapping[str, Floats] = field(default_factory=dict)
    boxes: Mapping[str, Sequence[Box]] = field(default_factory=dict)
    answers: Mapping[str, str] = field(default_factory=dict)
    probabilities: Mapping[str, float] = field(default_factory=dict)

    @property
    def labels(self) -> dict[str, str]:
        """What the report says of each finding."""
        return text.labels_of(self.sentences, lambda sentence: dict(mentions(sentence)))


@dataclass(frozen=True)
class Figure:
    """A figure with what it is worth.

    Attributes
    ----------
    value, chance, ceiling
        The model's figure, that of another case's reading, that between two readers; None where not estimable.
    n
        Cases (or what `of` says) the value is over.
    of
        What is counted.
    why
        Why what is None is; empty where nothing is.
    """

    value: float | None
    chance: float | None
    ceiling: float | None
    n: int
    of: str = "cases"
    why: str = ""


@dataclass(frozen=True)
class Table:
    """All figures, by what they are about.

    Attributes
    ----------
    gaze
        Measure of `GAZE`, and "icc_x", "icc_y" → figure.
    categories
        Category → "cosine", "pearson_x", "pearson_y", "icc_x", "icc_y" → figure.
    words, findings, boxes, answers, probabilities
        Measure → figure.
    recall_gained
        Reader → "alone" (the model's recall − the reader's) and "together" (recall of both together − the reader's).
    conventions
        What was decided.
    """

    gaze: dict[str, Figure]
    categories: dict[str, dict[str, Figure]]
    words: dict[str, Figure]
    findings: dict[str, Figure]
    recall_gained: dict[str, dict[str, Figure]]
    boxes: dict[str, Figure]
    answers: dict[str, Figure]
    probabilities: dict[str, Figure]
    conventions: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


# ── readings ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def categories_of(sentence: str) -> list[str]:
    """The categories a sentence affirms; "No Finding" where it affirms none."""
    return affirmed(sentence) or [NO_FINDING]


def reading_of_visit(visit: Visit, *, case: str = "") -> Reading:
    """A reader's visit. Its looks are the fixations in each sentence's gaze window, its answers those of its labels.

    Parameters
    ----------
    visit
        The reading.
    case
        Name of the case; the visit's patient and study if omitted.
    """
    from gazex.evidence import fixations, gaze_in, window_of

    def path(start: float, end: float) -> Floats:
        found = fixations(*gaze_in(visit, start, end), visit.ppd_x, visit.ppd_y)
        x, y, ms = (np.array([getattr(p, name) for p in found], float) for name in ("x", "y", "duration_ms"))
        return on_image(x, y, ms / 1000, rows=visit.rows, columns=visit.columns)

    looks: dict[str, list[Floats]] = defaultdict(list)
    for k, (sentence, _, _) in enumerate(visit.sentences):
        for category in categories_of(sentence):
            looks[category].append(path(*window_of(visit, k)))
    boxes: dict[str, list[Box]] = defaultdict(list)
    for mark in visit.boxes:
        boxes[mark.finding].append(_share(mark.box, visit.rows, visit.columns))
    return Reading(
        case or f"{visit.patient}/{visit.study}",
        visit.reader,
        path(-math.inf, math.inf),
        tuple(sentence for sentence, _, _ in visit.sentences),
        {category: np.concatenate(paths) for category, paths in looks.items()},
        dict(boxes),
        {finding: _answer(side) for finding, side in visit.labels.items()},
    )


def reading_of_evidence(evidence: Mapping[str, Any], *, case: str, reader: str = "model") -> Reading:
    """A model's Evidence (`gazex.infer.Evidence.to_dict()`). Its trajectory does not name its sentences: no looks."""
    rows, columns = int(evidence["rows"]), int(evidence["columns"])
    points = np.array([[p["x"], p["y"], p["duration_ms"] / 1000] for p in evidence["trajectory"]], float).reshape(-1, 3)
    boxes: dict[str, list[Box]] = defaultdict(list)
    answers = {f["finding"]: "no" for f in evidence["findings"]}
    for line in evidence["report"]:
        if line["finding"]:
            answers[line["finding"]] = _answer(line["side"])
            if line["box"] is not None:
                boxes[line["finding"]].append(_share(line["box"], rows, columns))
    return Reading(
        case,
        reader,
        on_image(*points.T, rows=rows, columns=columns),
        tuple(line["sentence"] for line in evidence["report"]),
        {},
        dict(boxes),
        answers,
        {f["finding"]: float(f["probability"]) for f in evidence["findings"]},
    )


def reading_of_steps(steps: Sequence[Step], codec: Codec, *, case: str, reader: str = "model") -> Reading:
    """A model's inspection (GTM): each step's look belongs to what its sentence affirms."""
    looks: dict[str, list[Floats]] = defaultdict(list)
    paths = [_EMPTY]
    for step in steps:
        points = np.array([(*codec.decode(c.u, c.v), c.ms / 1000) for c in step.gaze], float).reshape(-1, 3)
        paths.append(on_image(*points.T, rows=codec.rows, columns=codec.columns))
        for category in categories_of(step.sentence):
            looks[category].append(paths[-1])
    return Reading(
        case,
        reader,
        np.concatenate(paths),
        tuple(step.sentence for step in steps),
        {category: np.concatenate(found) for category, found in looks.items()},
    )


def _share(box: Sequence[float], rows: int, columns: int) -> Box:
    x0, y0, x1, y1 = box
    return (x0 + 0.5) / columns, (y0 + 0.5) / rows, (x1 + 0.5) / columns, (y1 + 0.5) / rows


def _answer(side: str | bool) -> str:
    return side if isinstance(side, str) and side in ("left", "right") else "yes"


# ── two readings ──────────────────────────────────────────────────────────────────────────────────────────────────────


def compare(first: Reading, second: Reading) -> dict[str, float | None]:
    """Every measure of `GAZE` of two readings of one case; None where a reading has too few fixations for it.

    `nss` and `auc` ask the first reading's map for the second one's fixations.
    """
    values = _gaze([first, second], [(0, 1)])
    return {name: None if math.isnan(v[0]) else float(v[0]) for name, v in values.items()}


def _gaze(readings: Sequence[Reading], pairs: Sequence[tuple[int, int]]) -> dict[str, Floats]:
    """Every measure of `GAZE` for pairs of readings, [P]; NaN where a pair does not have it."""
    paths = [np.asarray(r.path, np.float64).reshape(-1, 3) for r in readings]
    out = {name: np.full(len(pairs), np.nan) for name in GAZE}
    if not pairs:
        return out
    out |= similarities(paths, pairs)
    frame = (1000.0, 1000.0)
    packed = scanpath.Paths.of([p * (*frame, 1.0) - (0.5, 0.5, 0.0) for p in paths])
    out["sed"] = scanpath.edit_distance(packed, pairs, size=frame).similarity
    maps = [density(p) if len(p) and p[:, 2].sum() > 0 else None for p in paths]
    high, wide = SHAPE
    for k, (i, j) in enumerate(pairs):
        a, b = maps[i], maps[j]
        if a is None or b is None:
            continue
        x, y = paths[j][:, 0] * wide - 0.5, paths[j][:, 1] * high - 0.5
        found = (cosine(a, b), saliency.cc(a, b), saliency.sim(a, b), saliency.kl(a, b), saliency.nss(a, x, y))
        for name, value in zip(MAPS, (*found, saliency.auc_judd(a, x, y)), strict=True):
            out[name][k] = np.nan if value is None else value
    return out


# ── many readings ─────────────────────────────────────────────────────────────────────────────────────────────────────


class _Cases:
    """A model's readings and readers' of the same cases, and who is held against whom."""

    def __init__(self, model: Sequence[Reading], readers: Sequence[Reading]) -> None:
        self.model = {r.case: r for r in model}
        if len(self.model) != len(model):
            raise ValueError("The model has two readings of one case; give one a case.")
        seen: set[tuple[str, str]] = set()
        for r in readers:
            if (r.case, r.reader) in seen:
                raise ValueError(f"{r.reader} has two readings of case {r.case}; give one.")
            seen.add((r.case, r.reader))
        self.names = sorted({r.case for r in readers} & self.model.keys())
        if not self.names:
            raise ValueError("The model and the readers have no case in common; their cases' names must agree.")
        own: dict[str, list[Reading]] = defaultdict(list)
        for r in sorted(readers, key=lambda r: r.reader):
            own[r.case].append(r)
        self.own = {case: own[case] for case in self.names}

    def others(self) -> list[dict[str, Reading]]:
        """Case → the model's reading of another case, once for each of `SHIFTS` that leads to another."""
        n = len(self.names)
        shifts = sorted({k % n for k in SHIFTS} - {0})
        return [{case: self.model[self.names[(i + k) % n]] for i, case in enumerate(self.names)} for k in shifts]

    def pairs(self, model: Mapping[str, Reading]) -> list[tuple[str, Reading, Reading]]:
        """(Case, model's reading, reader's)."""
        return [(case, model[case], r) for case in self.names for r in self.own[case]]

    def between(self, *, both: bool = True) -> list[tuple[str, Reading, Reading]]:
        """(Case, one reader's reading, another's); `both` ways round or once."""
        return [
            (case, a, b)
            for case in self.names
            for i, a in enumerate(self.own[case])
            for j, b in enumerate(self.own[case])
            if (i != j if both else i < j)
        ]


Pairs = Sequence[tuple[str, Reading, Reading]]


def _figure(
    cases: _Cases, measure: Callable[[Pairs], tuple[float | None, int]], *, of: str = "cases", missing: str = ""
) -> Figure:
    """A measure of (case, said, reference) rows: the model's, by chance, between readers."""
    value, n = measure(cases.pairs(cases.model))
    by_chance = [measure(cases.pairs(other))[0] for other in cases.others()]
    between = cases.between()
    return _made(
        value,
        _mean(by_chance),
        measure(between)[0] if between else None,
        n,
        of=of,
        missing=missing,
        cases=len(cases.names),
        two=bool(between),
    )


def _made(
    value: float | None,
    chance: float | None,
    ceiling: float | None,
    n: int,
    *,
    of: str,
    missing: str,
    cases: int,
    two: bool,
) -> Figure:
    why = []
    if value is None:
        why.append(f"not estimable, because {missing or 'no case has it'}")
    if chance is None:
        why.append("no chance, because " + ("there is no other case" if cases < 2 else missing or "no case has it"))
    if ceiling is None:
        why.append("no ceiling, because " + (missing or "no case has it" if two else "no case has two readers"))
    return Figure(value, chance, ceiling, n, of, "; ".join(why))


def _mean(values: Iterable[float | None]) -> float | None:
    known = [v for v in values if v is not None and not math.isnan(v)]
    return float(np.mean(known)) if known else None


def _by_case(rows: Sequence[tuple[str, float | None]]) -> tuple[float | None, int]:
    """The mean over cases of the mean over a case's rows, and the number of cases."""
    own: dict[str, list[float]] = defaultdict(list)
    for case, value in rows:
        if value is not None and not math.isnan(value):
            own[case].append(value)
    return _mean([float(np.mean(v)) for v in own.values()]), len(own)


def table(
    model: Sequence[Reading], readers: Sequence[Reading], *, truth: Mapping[str, Labels | Sequence[str]] | None = None
) -> Table:
    """Every figure of a model's readings against readers'.

    Parameters
    ----------
    model
        One reading a case.
    readers
        Readers' readings; each reader reads a case once. Cases that only one side has are left out.
    truth
        Case → the findings that are there (or finding → mention), for F1, hallucination, recall and calibration; by
        default what more than half of the readers affirm.

    Raises
    ------
    ValueError
        No case in common, or two readings of a case by one reader.

    Examples
    --------
    >>> path = np.array([[0.2, 0.3, 0.4], [0.7, 0.6, 0.3], [0.5, 0.5, 0.2]])
    >>> own = Reading("c1", "model", path, ("No pneumothorax.",))
    >>> found = table([own], [Reading("c1", "r1", path, ("No pneumothorax.",))])
    >>> round(found.gaze["cosine"].value, 6), found.gaze["cosine"].ceiling
    (1.0, None)
    >>> found.gaze["cosine"].why
    'no chance, because there is no other case; no ceiling, because no case has two readers'
    """
    cases = _Cases(model, readers)
    said = [
        "A case's figure is the mean over its readers; chance is the model's reading of another case.",
        "Findings: uncertain mentions count as stated; truth is "
        + ("the reference standard." if truth is not None else "what more than half of the readers affirm."),
    ]
    if truth is not None:
        absent = [case for case in cases.names if case not in truth]
        if absent:
            raise ValueError(f"The truth of case {absent[0]} is not given; give it for every case, empty for none.")
    return Table(
        gaze=_gaze_figures(cases) | _centroid_figures(cases),
        categories={category: _category_figures(cases, category) for category in CATEGORIES},
        words=_word_figures(cases),
        findings=_finding_figures(cases, truth),
        recall_gained=_recall_gained(cases, truth),
        boxes=_box_figures(cases),
        answers={"accuracy": _answer_figure(cases)},
        probabilities=_probability_figures(cases, truth),
        conventions=tuple(said),
    )


def _gaze_figures(cases: _Cases) -> dict[str, Figure]:
    # All pairs at once: the scanpath measures are made for many.
    sets = [cases.pairs(cases.model), *(cases.pairs(other) for other in cases.others()), cases.between()]
    readings: list[Reading] = []
    place: dict[int, int] = {}
    for row in (row for rows in sets for row in rows):
        for r in row[1:]:
            if id(r) not in place:
                place[id(r)] = len(readings)
                readings.append(r)
    flat = [(place[id(a)], place[id(b)]) for rows in sets for _, a, b in rows]
    values = _gaze(readings, flat)
    bounds = np.cumsum([0, *(len(rows) for rows in sets)])
    out = {}
    for name in GAZE:
        found = [
            _by_case([(row[0], float(v)) for row, v in zip(rows, values[name][start:stop], strict=True)])
            for rows, start, stop in zip(sets, bounds[:-1], bounds[1:], strict=True)
        ]
        out[name] = _made(
            found[0][0],
            _mean([value for value, _ in found[1:-1]]),
            found[-1][0],
            found[0][1],
            of="cases",
            missing="no case has enough fixations on both sides",
            cases=len(cases.names),
            two=bool(sets[-1]),
        )
    return out


def _centres(rows: Pairs, categories: Sequence[str]) -> list[tuple[float, float, float, float]]:
    """x and y of the centroids of both sides, for each row and category that both have."""
    out = []
    for _, a, b in rows:
        for category in categories:
            if category in a.looks and category in b.looks:
                here, there = centroid(a.looks[category]), centroid(b.looks[category])
                if here is not None and there is not None:
                    out.append((here[0], there[0], here[1], there[1]))
    return out


def _icc(values: Sequence[tuple[float, float]]) -> float | None:
    return agreement.icc(values)["(2,1)"].estimate if len(values) >= LEAST else None


def _pearson(values: Sequence[tuple[float, float]]) -> float | None:
    array = np.array(values, float).reshape(-1, 2)
    if len(array) < LEAST or (array.std(axis=0) < 1e-12).any():
        return None
    return float(np.clip(np.corrcoef(array.T)[0, 1], -1, 1))


def _centre_figures(cases: _Cases, categories: Sequence[str], kinds: Sequence[str]) -> dict[str, Figure]:
    out = {}
    for kind, of in (("pearson", _pearson), ("icc", _icc)):
        if kind not in kinds:
            continue
        for axis, at in (("x", 0), ("y", 2)):

            def measure(rows: Pairs, at: int = at, of: Callable[..., float | None] = of) -> tuple[float | None, int]:
                centres = _centres(rows, categories)
                return of([(c[at], c[at + 1]) for c in centres]), len(centres)

            missing = f"fewer than {LEAST} looks at one category are on both sides, or they do not vary"
            out[f"{kind}_{axis}"] = _figure(cases, measure, of="looks", missing=missing)
    return out


def _centroid_figures(cases: _Cases) -> dict[str, Figure]:
    return _centre_figures(cases, CATEGORIES, ["icc"])


def _category_figures(cases: _Cases, category: str) -> dict[str, Figure]:
    def alike(rows: Pairs) -> tuple[float | None, int]:
        values: list[tuple[str, float | None]] = []
        for case, a, b in rows:
            maps = [density(r.looks[category]) for r in (a, b) if category in r.looks]
            known = [m for m in maps if m is not None]
            values.append((case, cosine(known[0], known[1]) if len(known) == 2 else None))
        return _by_case(values)

    missing = f"no look at {category} is on both sides"
    return {
        "cosine": _figure(cases, alike, missing=missing),
        **_centre_figures(cases, [category], ["pearson", "icc"]),
    }


def _word_figures(cases: _Cases) -> dict[str, Figure]:
    def scores(rows: Pairs) -> tuple[dict[str, float | None], int]:
        """Of each text against all its references."""
        texts: dict[tuple[str, int], tuple[str, list[str]]] = {}
        for case, a, b in rows:
            told = texts.setdefault((case, id(a)), (" ".join(a.sentences), []))
            told[1].append(" ".join(b.sentences))
        hypotheses, references = [t for t, _ in texts.values()], [r for _, r in texts.values()]
        if not hypotheses:
            return dict.fromkeys(("bleu_1", "bleu_2", "bleu_3", "bleu_4", "rouge_l", "meteor")), 0
        out: dict[str, float | None] = {f"bleu_{n}": s.corpus for n, s in text.bleu(hypotheses, references).items()}
        out["rouge_l"] = text.rouge_l(hypotheses, references).corpus
        out["meteor"] = text.meteor(hypotheses, references).corpus
        return out, len({case for case, _ in texts})

    value, n = scores(cases.pairs(cases.model))
    chance = [scores(cases.pairs(other))[0] for other in cases.others()]
    between = cases.between()
    ceiling, _ = scores(between)
    return {
        name: _made(
            value[name],
            _mean([one[name] for one in chance]),
            ceiling[name],
            n,
            of="cases",
            missing="nobody said a word",
            cases=len(cases.names),
            two=bool(between),
        )
        for name in value
    }


# ── findings ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _consensus(readings: Sequence[Reading]) -> set[str]:
    """What more than half of the readings state."""
    votes: dict[str, int] = defaultdict(int)
    for r in readings:
        for finding in text.stated(r.labels):
            votes[finding] += 1
    return {finding for finding, count in votes.items() if 2 * count > len(readings)}


def _stated_truth(labels: Labels | Sequence[str]) -> set[str]:
    if isinstance(labels, Mapping):
        return {f for f, v in labels.items() if (v if v not in SIDES and v is not True else "positive") != "negative"}
    return text.stated(labels)


def _truths(cases: _Cases, truth: Mapping[str, Labels | Sequence[str]] | None) -> dict[str, set[str]]:
    if truth is not None:
        return {case: _stated_truth(truth[case]) for case in cases.names}
    return {case: _consensus(cases.own[case]) for case in cases.names}


def _readers_rows(
    cases: _Cases, truth: Mapping[str, Labels | Sequence[str]] | None
) -> list[tuple[str, Reading, set[str]]]:
    """(Case, reader's reading, truth that the reader had no vote in)."""
    out = []
    for case in cases.names:
        for r in cases.own[case]:
            rest = [other for other in cases.own[case] if other is not r]
            if truth is not None:
                out.append((case, r, _stated_truth(truth[case])))
            elif rest:
                out.append((case, r, _consensus(rest)))
    return out


def _scores(said: Sequence[set[str]], true: Sequence[set[str]]) -> dict[str, float | None]:
    names = ("f1", "f1_macro", "precision", "recall", "hallucination_rate", "false_negative_rate")
    if not said:
        return dict.fromkeys(names)
    found = text.finding_scores(said, true, findings=FINDINGS)
    micro = found.micro
    return {
        "f1": micro.f1,
        "f1_macro": found.macro["f1"],
        "precision": micro.precision,
        "recall": micro.recall,
        "hallucination_rate": None if micro.precision is None else 1 - micro.precision,
        "false_negative_rate": None if micro.recall is None else 1 - micro.recall,
    }


def _finding_figures(cases: _Cases, truth: Mapping[str, Labels | Sequence[str]] | None) -> dict[str, Figure]:
    """Hallucination: share of what is stated that is not there. False negatives: share of what is there, unstated."""
    truths = _truths(cases, truth)

    def of(model: Mapping[str, Reading]) -> dict[str, float | None]:
        return _scores([text.stated(model[c].labels) for c in cases.names], [truths[c] for c in cases.names])

    value, chance = of(cases.model), [of(other) for other in cases.others()]
    rows = _readers_rows(cases, truth)
    ceiling = _scores([text.stated(r.labels) for _, r, _ in rows], [t for _, _, t in rows])
    return {
        name: _made(
            value[name],
            _mean([one[name] for one in chance]),
            ceiling[name],
            len(cases.names),
            of="cases",
            missing="nothing is stated or nothing is there",
            cases=len(cases.names),
            two=bool(rows),
        )
        for name in value
    }


def _recall_gained(cases: _Cases, truth: Mapping[str, Labels | Sequence[str]] | None) -> dict[str, dict[str, Figure]]:
    """Of each single reader, on that reader's cases, against a truth that reader had no vote in."""
    out: dict[str, dict[str, Figure]] = {}
    rows = _readers_rows(cases, truth)
    for reader in sorted({r.reader for own in cases.own.values() for r in own}):
        mine = [(case, text.stated(r.labels), true) for case, r, true in rows if r.reader == reader]
        trues = [true for _, _, true in mine]
        before = _scores([said for _, said, _ in mine], trues)["recall"]

        def gain(
            model: Mapping[str, Reading],
            together: bool,
            mine: list[tuple[str, set[str], set[str]]] = mine,
            trues: list[set[str]] = trues,
            before: float | None = before,
        ) -> float | None:
            said = [text.stated(model[c].labels) | (own if together else set()) for c, own, _ in mine]
            after = _scores(said, trues)["recall"]
            return None if after is None or before is None else after - before

        missing = "no finding is there on this reader's cases" if mine else "nobody else read this reader's cases"
        out[reader] = {}
        for name, together in (("alone", False), ("together", True)):
            value = gain(cases.model, together)
            chance = _mean([gain(other, together) for other in cases.others()])
            why = [] if value is not None else [f"not estimable, because {missing}"]
            if value is not None and chance is None:
                why.append("no chance, because there is no other case")
            why.append("no ceiling, because it is a difference from one reader")
            out[reader][name] = Figure(value, chance, None, len(mine), "cases", "; ".join(why))
    return out


# ── boxes, answers, probabilities ─────────────────────────────────────────────────────────────────────────────────────


def _box_figures(cases: _Cases) -> dict[str, Figure]:
    """Of every finding a reader marked: miou, of each reference box with its match; iou, of the areas covered together.

    A finding that was marked and not boxed has 0. Chance: the model's boxes of that finding in other cases that have
    some, which knows where such findings usually lie.
    """
    elsewhere = {
        finding: {c: cases.model[c].boxes[finding] for c in cases.names if cases.model[c].boxes.get(finding)}
        for finding in FINDINGS
    }

    def each(
        rows: Pairs, boxes: Callable[[str, Reading, str], Sequence[Sequence[Box]]]
    ) -> dict[str, tuple[float | None, int]]:
        found: dict[str, list[tuple[str, float | None]]] = {"miou": [], "iou": []}
        for case, a, b in rows:
            for finding, reference in b.boxes.items():
                for said in boxes(case, a, finding):
                    one = text.grounding(list(said), list(reference))
                    found["miou"].append((case, one.miou))
                    found["iou"].append((case, one.union_iou))
        return {name: _by_case(values) for name, values in found.items()}

    def own(case: str, r: Reading, finding: str) -> Sequence[Sequence[Box]]:
        return [r.boxes.get(finding, ())]

    def other(case: str, r: Reading, finding: str) -> Sequence[Sequence[Box]]:
        return [boxes for c, boxes in elsewhere.get(finding, {}).items() if c != case]

    between = [(case, a, b) for case, a, b in cases.between() if a.boxes or b.boxes]
    value, chance = each(cases.pairs(cases.model), own), each(cases.pairs(cases.model), other)
    ceiling = each(between, own)
    return {
        name: _made(
            value[name][0],
            chance[name][0],
            ceiling[name][0],
            value[name][1],
            of="cases",
            missing="no reader marked a box" if value[name][0] is None else "no other case has boxes of these findings",
            cases=len(cases.names),
            two=bool(between),
        )
        for name in value
    }


def _answer_figure(cases: _Cases) -> Figure:
    """Share of questions (those both answered) with the same answer."""

    def measure(rows: Pairs) -> tuple[float | None, int]:
        same = [a.answers[q] == answer for _, a, b in rows for q, answer in b.answers.items() if q in a.answers]
        return (float(np.mean(same)) if same else None), len(same)

    return _figure(cases, measure, of="questions", missing="no question was answered by both")


def outcomes(truth: Sequence[Labels], said: Sequence[Labels], finding: str) -> Floats:
    """Of a finding in each case (finding → side): said rightly, missed, said wrongly, [N, 3]; right with its side."""
    rows = []
    for true, claimed in zip(truth, said, strict=True):
        right = finding in true and finding in claimed and true[finding] == claimed[finding]
        rows.append((right, finding in true and not right, finding in claimed and not right))
    return np.array(rows, np.float64).reshape(-1, 3)


def auc(scores: Floats, present: NDArray[np.bool_]) -> float | None:
    """Area under the empirical ROC curve of scores [N], ties half; None where either class is empty."""
    if present.all() or not present.any():
        return None
    return float(components(scores[present][None], scores[~present][None]).auc[0])


def of_probabilities(p: Floats, truth: NDArray[Any]) -> dict[str, float | None]:
    """ECE (ten bins of equal width) and Brier score of probabilities [N], by `analysis.stats.calibration`."""
    import pandas as pd

    from analysis.stats.calibration import calibration

    frame = pd.DataFrame({"reader": "model", "case": np.arange(len(p)), "truth": truth.astype(float), "probability": p})
    (found,) = calibration(frame, resamples=0).values()
    return {"ece": found.ece.value, "brier": found.brier.value}


def _probability_figures(cases: _Cases, truth: Mapping[str, Labels | Sequence[str]] | None) -> dict[str, Figure]:
    """ECE and Brier score over cases and findings (`of_probabilities`)."""
    truths = _truths(cases, truth)

    def of(model: Mapping[str, Reading]) -> tuple[dict[str, float | None], int]:
        rows = [
            (p, finding in truths[case]) for case in cases.names for finding, p in model[case].probabilities.items()
        ]
        if not rows:
            return {"ece": None, "brier": None}, 0
        p, y = np.array(rows, float).T
        return of_probabilities(p, y), len(rows)

    value, n = of(cases.model)
    chance = [of(other)[0] for other in cases.others()] if n else []
    missing = "the model gives no probability"
    out = {}
    for name in ("ece", "brier"):
        why = [] if n else [f"not estimable, because {missing}"]
        by_chance = _mean([one[name] for one in chance])
        if n and by_chance is None:
            why.append("no chance, because there is no other case")
        why.append("no ceiling, because readers give no probabilities")
        out[name] = Figure(value[name], by_chance, None, n, "cases and findings", "; ".join(why))
    return out
