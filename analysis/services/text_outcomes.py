"""What the reports of a comparison say, by arm: against the reference's findings, beside GazeX's report, and beside
other readers' reports; and how well marks lie on the reference's places.

There is no reference text: the reference standard has findings and boxes. So findings are scored against it, and
measures of words (BLEU, ROUGE-L, METEOR) are between a reader's report and GazeX's, or another reader's. They say how
alike two reports are, not how right.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd

from analysis.queries.text import Box, ModelReport, TextRead, Truth, model_reports, text_reads, truths
from analysis.stats import gaze, text
from analysis.stats.gaze import How, Look, Outcome
from gazex.findings import label_sentence
from study.models import Arm, Study

from .gaze_outcomes import Value, compact, values_of

SCHEMA: Final = "gazeroom.text_outcomes/1"
MODEL: Final = "GazeX"
#: An uncertain mention is a finding stated, as in CheXbert's F1.
UNCERTAIN: Final = "positive"
#: Measures of words: key -> label.
_WORDS: Final = {
    **{f"bleu_{n}": f"BLEU-{n}" for n in text.ORDERS},
    "rouge_l": "ROUGE-L",
    "meteor": "METEOR",
}
KEYS: Final = ["reader", "treatment", "case"]
_CONVENTIONS: Final = (
    f"There is no reference text: BLEU, ROUGE-L and METEOR compare a report with {MODEL}'s or another reader's.",
    "Findings are scored against the reference standard; measures of words say how alike reports are, not how right.",
    "Reads without a report do not enter: whether there was nothing to say cannot be told. They are named.",
    "Findings are read from reports by gazex.findings, a rule-based labeller; an uncertain mention counts as stated.",
    "Only the protocol's findings count; sides do not.",
)
_NO_MACRO: Final = "not estimable, because no reader has three cases with a finding stated or true"
_ALIKE: Final = "F1 of two sets of findings, symmetric; two reports that state none agree fully (1)."
_MIOU: Final = (
    "Mean over the reference's boxes of the IoU with the box of the same finding, matched one to one.",
    "A place where no box was drawn counts 0; points are no boxes.",
)
_HIT: Final = "A place is hit by a point, or the centre of a box, of the same finding that lies in the reference's box."


def compute_text(
    *,
    study: Study,
    body: Mapping[str, Any],
    arms: Sequence[Arm],
    only: Collection[str] | None = None,
    values: list[Value] | None = None,
) -> dict[str, Any]:
    """Every text outcome of a comparison, as plain values fit for JSON, numbers to ten significant digits.

    Whether the study may be looked at is the caller's business.

    Args:
        study: the comparison.
        body: its analysis plan's; ``random``, ``alpha`` and ``reference_arm`` are used.
        arms: the study's, the unassisted one first.
        only: the labels of the cases that are analysed; by default all.
        values: where to put the numbers per read that were compared, for a table of them.

    Returns:
        - ``schema``; ``not_estimable``: why there is no outcome at all, else ""
        - ``reads``: arm → ``submitted``, ``with_report``, ``with_marks``
        - ``missing``: reads without a report: ``reader, case, arm, why``
        - ``reference_missing``: labels of cases that were read and have no reference standard
        - ``model_missing``: cases without a report of GazeX: ``case, why``
        - ``outcomes``: ``group`` ("findings", "model", "readers", "length", "places"), ``key, label, unit, reads`` (arm
          → number), ``result`` (:meth:`analysis.stats.mrmc.Result.to_dict`, or None), ``not_estimable``,
          ``conventions``
        - ``model``: the same of GazeX alone, against the reference, with cases random
        - ``findings``: arm → :meth:`analysis.stats.text.FindingScores.to_dict` over all its reports, descriptive
        - ``conventions``
    """
    reads = [read for read in text_reads(study) if only is None or read.case.label in only]
    how = How(random=str(body["random"]), alpha=float(body["alpha"]), reference=str(body["reference_arm"]))
    cases = list({read.case.pk: read.case for read in reads}.values())
    truth, model = truths(study, cases), model_reports(study, cases)
    findings = _findings_of(arms)
    written = [read for read in reads if text.tokens(read.text)]
    labels = [text.labels_of(read.text, label_sentence) for read in written]
    out: dict[str, Any] = {
        "schema": SCHEMA,
        "not_estimable": "",
        "reads": {arm.key: _counts(arm.key, reads) for arm in arms},
        "missing": [
            {"reader": read.reader, "case": read.case.label, "arm": read.arm, "why": "no report was written"}
            for read in reads
            if not text.tokens(read.text)
        ],
        "reference_missing": sorted(case.label for case in cases if case.label not in truth),
        "model_missing": [{"case": case, "why": one.missing} for case, one in sorted(model.items()) if one.missing],
        "outcomes": [],
        "model": [],
        "findings": {},
        "conventions": list(_CONVENTIONS),
    }
    if not reads:
        out["not_estimable"] = "not estimable, because no read was submitted"
        return compact(out)
    if not written and not any(read.boxes or read.points for read in reads):
        out["not_estimable"] = "not estimable, because no read has a report or a mark"
        return compact(out)
    groups = [
        ("findings", _finding_outcomes(written, labels, truth, findings, how)),
        ("model", _beside_model(written, labels, model, findings, how)),
        ("readers", _between_readers(written, labels, findings, how)),
        ("length", [_length(written, how)]),
        ("places", _places(reads, truth, how)),
    ]
    out["outcomes"] = [{"group": group, **one.to_dict()} for group, outcomes in groups for one in outcomes]
    alone = _model_alone(model, truth, findings, how)
    out["model"] = [one.to_dict() for one in alone]
    if values is not None:
        values += values_of("text", [*groups, ("model alone", alone)])
    out["findings"] = {arm.key: _scores(arm.key, written, labels, truth, findings) for arm in arms}
    return compact(out)


def _findings_of(arms: Sequence[Arm]) -> list[str]:
    return list(arms[0].protocol.body["findings"]) if arms else []


def _counts(arm: str, reads: Sequence[TextRead]) -> dict[str, int]:
    own = [read for read in reads if read.arm == arm]
    return {
        "submitted": len(own),
        "with_report": sum(bool(text.tokens(read.text)) for read in own),
        "with_marks": sum(bool(read.boxes or read.points) for read in own),
    }


def _key(read: TextRead) -> dict[str, Any]:
    return {"reader": read.reader, "treatment": read.arm, "case": read.case.label}


# ── findings ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _finding_outcomes(
    reads: Sequence[TextRead],
    labels: Sequence[text.Labels],
    truth: Mapping[str, Truth],
    findings: Sequence[str],
    how: How,
) -> list[Outcome]:
    rows = []
    for read, said in zip(reads, labels, strict=True):
        if read.case.label in truth:
            rows.append(_key(read) | _confusion(said, truth[read.case.label].findings, findings))
    return _f1_outcomes(rows, findings, how, key="", whose="report's findings against the reference")


def _confusion(said: text.Labels, true: Any, findings: Sequence[str]) -> dict[str, float]:
    """Counts of one report, over all findings and of each."""
    claimed = text.stated(said, uncertain=UNCERTAIN)
    out: dict[str, float] = {"tp": 0.0, "fp": 0.0, "fn": 0.0}
    for i, finding in enumerate(findings):
        for name, count in (
            ("tp", finding in claimed and finding in true),
            ("fp", finding in claimed and finding not in true),
            ("fn", finding not in claimed and finding in true),
        ):
            out[f"{name}_{i}"] = float(count)
            out[name] += float(count)
    return out | {
        "twice_tp": 2 * out["tp"],
        "stated_and_true": 2 * out["tp"] + out["fp"] + out["fn"],
        "stated": out["tp"] + out["fp"],
        "true": out["tp"] + out["fn"],
    }


def _f1_outcomes(
    rows: list[dict[str, Any]], findings: Sequence[str], how: How, *, key: str, whose: str
) -> list[Outcome]:
    table = pd.DataFrame(rows)
    shown = (
        ("f1_micro", "micro F1", "twice_tp", "stated_and_true", "a finding stated or true"),
        ("precision", "precision", "tp", "stated", "a finding stated"),
        ("recall", "recall", "tp", "true", "a finding that is true"),
    )
    out = [
        gaze.outcome_of_ratios(
            table, over, under, key=f"{key}{name}", label=f"{label} of the {whose}", how=how, nothing=nothing,
            conventions=["Counts are pooled over findings and cases, for each reader; readers weigh the same."],
        )
        for name, label, over, under, nothing in shown
    ]  # fmt: skip
    columns = [f"{name}_{i}" for i in range(len(findings)) for name in ("tp", "fp", "fn")]
    result = gaze.compare_figure(table, columns, _macro_f1, name="f1_macro", how=how) if len(table) else None
    out.append(
        Outcome(
            f"{key}f1_macro", f"macro F1 of the {whose}", "", out[0].reads, result,
            "" if result is not None else _NO_MACRO,
            ("The mean over findings of each reader's F1; findings neither stated nor true are left out.",),
            None if result is None else gaze.figure_values(table, columns, _macro_f1),
        )
    )  # fmt: skip
    return out


def _macro_f1(rows: Any) -> float | None:
    hit, extra, missed = rows.sum(axis=0).reshape(-1, 3).T
    some = hit + extra + missed > 0
    if not some.any():
        return None
    return float(np.mean(2 * hit[some] / (2 * hit[some] + extra[some] + missed[some])))


def _scores(
    arm: str,
    reads: Sequence[TextRead],
    labels: Sequence[text.Labels],
    truth: Mapping[str, Truth],
    findings: Sequence[str],
) -> dict[str, Any]:
    own = [
        (said, truth[read.case.label].findings)
        for read, said in zip(reads, labels, strict=True)
        if read.arm == arm and read.case.label in truth
    ]
    said, true = [one for one, _ in own], [one for _, one in own]
    return text.finding_scores(said, true, findings=findings, uncertain=UNCERTAIN).to_dict()


# ── words ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _word_scores(said: Sequence[str], told: Sequence[str]) -> dict[str, text.TextScores]:
    return {
        **{f"bleu_{n}": found for n, found in text.bleu(said, told).items()},
        "rouge_l": text.rouge_l(said, told),
        "meteor": text.meteor(said, told),
    }


def _beside_model(
    reads: Sequence[TextRead],
    labels: Sequence[text.Labels],
    model: Mapping[str, ModelReport],
    findings: Sequence[str],
    how: How,
) -> list[Outcome]:
    """Each report beside GazeX's of the same case, and beside its reports of other cases."""
    cases = [case for case, one in sorted(model.items()) if not one.missing]
    place = {case: i for i, case in enumerate(cases)}
    theirs = {case: text.labels_of(model[case].sentences, label_sentence) for case in cases}
    used = [(read, said) for read, said in zip(reads, labels, strict=True) if read.case.label in place]
    same = _word_scores([read.text for read, _ in used], [model[read.case.label].text for read, _ in used])
    others = [
        (i, cases[k])
        for i, (read, _) in enumerate(used)
        for k in dict.fromkeys((place[read.case.label] + shift) % len(cases) for shift in gaze.SHIFTS)
        if cases[k] != read.case.label
    ]
    chance = _word_scores([used[i][0].text for i, _ in others], [model[case].text for _, case in others])
    whose = [i for i, _ in others]
    table = pd.DataFrame([_key(read) for read, _ in used], columns=KEYS)
    table["findings"] = [_alike(said, theirs[read.case.label], findings) for read, said in used]
    nothing, out = f"a report and a report of {MODEL}", []
    for name, label in _WORDS.items():
        table[name] = pd.Series(same[name].pairs, dtype=float)
        found = pd.Series(chance[name].pairs, dtype=float).groupby(whose).mean() if whose else pd.Series(dtype=float)
        table["chance"] = found.reindex(range(len(used)))
        table["above"] = table[name] - table["chance"]
        said = [f"{same[name].convention.partition('; the corpus')[0]}."]
        out += [
            gaze.outcome_of_means(
                table, name, key=f"{name}_to_model", label=f"{label}, to {MODEL}'s report", how=how, conventions=said,
                nothing=nothing,
            ),
            gaze.outcome_of_means(
                table, "above", key=f"{name}_above_chance", label=f"{label}, above {MODEL}'s reports of other cases",
                how=how, conventions=said, nothing=f"{nothing} of another case",
            ),
        ]  # fmt: skip
    out.append(
        gaze.outcome_of_means(
            table, "findings", key="findings_to_model", label=f"F1 of the report's findings with {MODEL}'s", how=how,
            conventions=[_ALIKE], nothing=nothing,
        )
    )  # fmt: skip
    return out


def _alike(a: text.Labels, b: text.Labels, findings: Sequence[str]) -> float:
    first, second = (text.stated(one, uncertain=UNCERTAIN) & set(findings) for one in (a, b))
    return 2 * len(first & second) / (len(first) + len(second)) if first or second else 1.0


def _between_readers(
    reads: Sequence[TextRead], labels: Sequence[text.Labels], findings: Sequence[str], how: How
) -> list[Outcome]:
    looks = [Look(read.reader, read.arm, read.case.label, np.zeros((0, 3))) for read in reads]
    pairs = gaze.reader_pairs(looks)
    keys = [look.key for look in looks]
    words = text.rouge_l([reads[a].text for a, _ in pairs], [reads[b].text for _, b in pairs]).pairs
    nothing = "another reader's report of the same case under the same treatment beside it"
    compared: list[tuple[str, str, Any]] = [
        ("rouge_l_between_readers", "ROUGE-L, between two readers", [np.nan if v is None else v for v in words]),
        (
            "findings_between_readers",
            "F1 of two readers' findings",
            [_alike(labels[a], labels[b], findings) for a, b in pairs],
        ),
    ]
    return [
        gaze.pair_outcome(gaze.pair_values(keys, pairs, values), key=key, label=label, how=how, nothing=nothing)
        for key, label, values in compared
    ]


def _length(reads: Sequence[TextRead], how: How) -> Outcome:
    table = pd.DataFrame(
        [_key(read) | {"words": len(text.tokens(read.text))} for read in reads], columns=[*KEYS, "words"]
    )
    return gaze.outcome_of_means(table, "words", key="words", label="words in the report", how=how, nothing="a report")


# ── places ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _places(reads: Sequence[TextRead], truth: Mapping[str, Truth], how: How) -> list[Outcome]:
    rows = [
        _key(read) | _on_places(truth[read.case.label].boxes, read.boxes, read.points)
        for read in reads
        if read.case.label in truth
    ]
    drawn = Counter(shape for read in reads for shape in ("boxes", "points") if getattr(read, shape))
    return _place_outcomes(rows, how, key="", whose="readers' marks", boxes=drawn["boxes"], marks=drawn.total())


def _on_places(
    true: Mapping[str, list[Box]], boxes: Mapping[str, list[Box]], points: Mapping[str, list[tuple[float, float]]]
) -> dict[str, float]:
    """Over the reference's boxes: summed IoU with the same finding's marks, how many were hit, how many there are."""
    overlap = hit = there = 0.0
    for finding, places in true.items():
        drawn = boxes.get(finding, [])
        overlap += sum(text.grounding(drawn, places).matched)
        centres = [((x0 + x1) / 2, (y0 + y1) / 2) for x0, y0, x1, y1 in drawn]
        hit += float(text.hits([*centres, *points.get(finding, [])], places).sum())
        there += len(places)
    return {"overlap": overlap, "hit": hit, "places": there}


def _place_outcomes(
    rows: list[dict[str, Any]], how: How, *, key: str, whose: str, boxes: int, marks: int
) -> list[Outcome]:
    table = pd.DataFrame(rows, columns=[*KEYS, "overlap", "hit", "places"])
    known = "a mark of a finding whose place the reference knows"
    return [
        gaze.outcome_of_ratios(
            table if boxes else table[:0],
            "overlap",
            "places",
            key=f"{key}miou",
            label=f"mIoU of the {whose}",
            how=how,
            nothing=f"a box drawn, or {known}",
            conventions=_MIOU,
        ),
        gaze.outcome_of_ratios(
            table if marks else table[:0],
            "hit",
            "places",
            key=f"{key}hits",
            label=f"share of places hit by the {whose}",
            how=how,
            nothing=known,
            conventions=[_HIT],
        ),
    ]


# ── GazeX alone ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _model_alone(
    model: Mapping[str, ModelReport], truth: Mapping[str, Truth], findings: Sequence[str], how: How
) -> list[Outcome]:
    """GazeX's own reports against the reference; one reader, so that only cases are random."""
    alone = How(random="cases", alpha=how.alpha)
    rows, places = [], []
    for case, report in sorted(model.items()):
        if report.missing or case not in truth:
            continue
        key = {"reader": MODEL, "treatment": MODEL, "case": case}
        said = text.labels_of(report.sentences, label_sentence)
        rows.append(key | _confusion(said, truth[case].findings, findings))
        places.append(key | _on_places(truth[case].boxes, report.boxes, {}))
    drawn = sum(len(report.boxes) for report in model.values())
    return [
        *_f1_outcomes(rows, findings, alone, key="model_", whose=f"findings of {MODEL}'s report against the reference"),
        *_place_outcomes(places, alone, key="model_", whose=f"boxes of {MODEL}", boxes=drawn, marks=drawn),
    ]
