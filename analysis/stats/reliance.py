"""Reliance on assistance: what readers did with advice that was right, and with advice that was wrong.

A decision is 0 or 1, and so are the truth and the advice. The reader's own answer is the unaided decision: the initial
one where the assistance is revealed after it was locked (``sequential``), that of the unaided arm where the same reader
read the same case in both arms (``crossover``). With those,

    over-reliance        took wrong advice            of reads with a right own answer and wrong advice
    under-reliance       stayed wrong                 of reads with a wrong own answer and right advice
    RAIR                 1 − under-reliance           relative AI reliance
    RSR                  1 − over-reliance            relative self-reliance
    commission           said positive                of reads with false positive advice
    omission             said negative                of reads with false negative advice

RAIR and RSR together are the appropriateness of reliance; both are 1 where readers follow advice exactly when it is
better than their own answer. Commission and omission count every error in line with wrong advice, whoever would have
made it; their excess over the unaided decision on the same reads is what the assistance brought.

Every rate is the ratio of totals over reads with an interval for new readers and new cases (ratios of sums, logit
scale; see :mod:`analysis.stats.means`); a reader's own rate has Wilson's interval over that reader's cases.

Sources: Goddard, Roudsari & Wyatt, Journal of the American Medical Informatics Association 19:121 (2012) for commission
and omission errors and automation bias; Schemmer, Kuehl, Benz, Bartos & Satzger, Proceedings of Intelligent User
Interfaces (2023) for RAIR and RSR; Wilson, Journal of the American Statistical Association 22:209 (1927).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from analysis.stats.means import Reads, compare_reads, mean_of, numbers, ratio_of
from analysis.stats.obuchowski_rockette import Interval
from analysis.stats.ratings import RatingsError, in_order, name_of, row_word, sentence_list
from analysis.stats.results import Result, plain

Floats = NDArray[np.float64]
Design = Literal["sequential", "crossover"]
DESIGNS: tuple[Design, ...] = ("sequential", "crossover")
ARMS = ("aided", "unaided")
WIDE = ("reader", "case", "truth", "unaided", "aided", "advice")
LONG = ("reader", "case", "arm", "truth", "decision", "advice")
STRATA = ("assistance correct", "false positive", "false negative")


@dataclass(frozen=True)
class SwitchCounts:
    """Reads by own answer and aided answer; switches also by whether they went with or against the assistance."""

    stayed_right: int
    right_to_wrong: int
    wrong_to_right: int
    stayed_wrong: int
    switched_with: int
    switched_against: int

    @property
    def reads(self) -> int:
        return self.stayed_right + self.right_to_wrong + self.wrong_to_right + self.stayed_wrong


@dataclass(frozen=True)
class ReaderRate:
    """One reader's own rate with Wilson's interval over that reader's reads."""

    reader: str
    numerator: int
    denominator: int
    estimate: float | None
    lower: float | None
    upper: float | None
    not_estimable: str = ""


@dataclass(frozen=True)
class Rate:
    """A rate over all reads with an interval for new readers and new cases, and every reader's own.

    ``numerator`` of an excess (aided − unaided) may be negative. Where the interval is not estimable the counts and the
    estimate stand, and ``not_estimable`` says why.
    """

    name: str
    words: str
    numerator: int
    denominator: int
    estimate: float | None
    se: float | None
    df: float | None
    lower: float | None
    upper: float | None
    by_reader: tuple[ReaderRate, ...]
    not_estimable: str = ""


@dataclass(frozen=True)
class ReaderChange:
    """What assistance did to one reader: aided − unaided.

    ``p`` is McNemar's exact test over the reads this reader made both ways; ``verdict`` is "better" or "worse" where
    the interval leaves out zero, else "not shown".
    """

    reader: str
    measure: str
    unaided: float | None
    aided: float | None
    change: float | None
    se: float | None
    lower: float | None
    upper: float | None
    gained: int
    lost: int
    p: float | None
    verdict: str
    not_estimable: str = ""


@dataclass(frozen=True)
class Reliance:
    """What readers did with the assistance.

    Attributes:
        design: "sequential" or "crossover".
        readers: names, in order.
        pairs: reads with an own and an aided answer.
        unpaired: reads with one of the two only; they count in ``strata`` and ``measures`` alone.
        switches: counts for "all", "assistance right" and "assistance wrong".
        switches_by_reader: counts over all pairs, per reader.
        rates: see the module's notes; keyed by name.
        strata: accuracy by arm where the assistance was correct, false positive, false negative.
        measures: "accuracy", "sensitivity" and "specificity" by arm, with their difference.
        reader_changes: every reader's own change in each measure, harm included.
        confidence: mean change of confidence where the reader agreed, and where not, if confidence was given.
    """

    design: str
    alpha: float
    readers: tuple[str, ...]
    cases: int
    pairs: int
    unpaired: int
    switches: Mapping[str, SwitchCounts]
    switches_by_reader: Mapping[str, SwitchCounts]
    rates: Mapping[str, Rate]
    strata: Mapping[str, Result | str]
    measures: Mapping[str, Result | str]
    reader_changes: tuple[ReaderChange, ...]
    confidence: Mapping[str, Interval]
    method: str
    conventions: tuple[str, ...]
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON. A stratum or measure without a read is the sentence that says so."""
        found: dict[str, Any] = {}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name in ("strata", "measures"):
                found[field.name] = {k: v if isinstance(v, str) else v.to_dict() for k, v in value.items()}
            elif isinstance(value, Mapping):
                found[field.name] = {k: plain(dataclasses.asdict(v)) for k, v in value.items()}
            else:
                found[field.name] = plain(
                    [dataclasses.asdict(v) if dataclasses.is_dataclass(v) else v for v in value]  # type: ignore[arg-type]
                    if isinstance(value, tuple)
                    else value
                )
        return found

    @property
    def harmed(self) -> tuple[str, ...]:
        """Readers whose accuracy was lower with assistance, by however little."""
        return tuple(
            c.reader for c in self.reader_changes if c.measure == "accuracy" and c.change is not None and c.change < 0
        )


@dataclass(frozen=True)
class _Table:
    """Decisions ``[J, K]`` and truth ``[K]`` as numbers, NaN where there is none."""

    readers: tuple[str, ...]
    cases: tuple[str, ...]
    truth: Floats
    unaided: Floats
    aided: Floats
    advice: Floats
    confidence: Floats | None


def reliance(frame: pd.DataFrame, *, design: Design, alpha: float = 0.05) -> Reliance:
    """Everything about reliance on assistance.

    Args:
        frame: one row per reader and case with columns ``reader, case, truth, unaided, aided, advice``, or one row per
            reader, case and arm with columns ``reader, case, arm, truth, decision, advice``, where ``arm`` is "unaided"
            or "aided" and the advice of an unaided row may be left empty. The second form serves where some reads were
            made in one arm only. Answers are 0 or 1 (text "0" and "1" too). Optionally ``unaided_confidence`` and
            ``aided_confidence`` (``confidence`` in the second form): numbers.
        design: "sequential" (the initial answer was locked, then the assistance revealed) or "crossover" (the same
            reader read the same case in an unaided and an aided arm).
        alpha: two-sided level.

    Raises:
        RatingsError: a column is missing, an answer is not 0 or 1, a case has two truths, or a row stands twice; one
            sentence that names the row.
    """
    if design not in DESIGNS:
        raise RatingsError(f"design is {design!r}; it must be one of {', '.join(map(repr, DESIGNS))}.")
    if not 0 < alpha < 1:
        raise RatingsError(f"alpha is {alpha}; it must be between 0 and 1.")
    table = _wide(frame) if "unaided" in frame.columns or "aided" in frame.columns else _long(frame)
    paired = ~np.isnan(table.unaided) & ~np.isnan(table.aided) & ~np.isnan(table.advice)
    own_only = np.isnan(table.unaided) != np.isnan(table.aided)
    warnings = []
    if own_only.any():
        named = [f"reader {table.readers[j]}, case {table.cases[k]}" for j, k in np.argwhere(own_only)]
        warnings.append(
            f"{len(named)} reads have one of the two answers only ({sentence_list(named, 3)}): they count in accuracy "
            "and not in switches."
        )
    lost = ~np.isnan(table.unaided) & np.isnan(table.advice)
    if lost.any():
        named = [f"reader {table.readers[j]}, case {table.cases[k]}" for j, k in np.argwhere(lost)]
        warnings.append(
            f"{len(named)} unaided reads are of cases whose advice is not known or differs between readers "
            f"({sentence_list(named, 3)}): they count in accuracy and in no stratum."
        )
    own_right = _where(paired, table.unaided == table.truth)
    final_right = _where(paired, table.aided == table.truth)
    advice_right = _where(paired, table.advice == table.truth)
    switches = {
        "all": _switches(own_right, final_right, advice_right, paired),
        "assistance right": _switches(own_right, final_right, advice_right, paired & (advice_right == 1)),
        "assistance wrong": _switches(own_right, final_right, advice_right, paired & (advice_right == 0)),
    }
    by_reader = {}
    for j, reader in enumerate(table.readers):
        only = np.zeros_like(paired)
        only[j] = paired[j]
        by_reader[reader] = _switches(own_right, final_right, advice_right, only)
    measures, changes = _measures(table, alpha)
    return Reliance(
        design=design,
        alpha=alpha,
        readers=table.readers,
        cases=len(table.cases),
        pairs=int(paired.sum()),
        unpaired=int(own_only.sum()),
        switches=switches,
        switches_by_reader=by_reader,
        rates=_rates(table, paired, own_right, final_right, advice_right, alpha),
        strata=_strata(table, alpha),
        measures=measures,
        reader_changes=changes,
        confidence=_confidence(table, paired, alpha),
        method="ratios of totals over reads, linearised, Obuchowski–Rockette with readers and cases random",
        conventions=_conventions(design),
        warnings=tuple(warnings),
    )


def _conventions(design: Design) -> tuple[str, ...]:
    own = (
        "The own answer is the one locked before the assistance was shown."
        if design == "sequential"
        else "The own answer is that of the unaided arm, in another session: switches hold the reader's own "
        "inconsistency too, of which switches against the assistance show a part."
    )
    rates = (
        "Rates are ratios of totals over readers; their intervals are t intervals on the logit scale for new readers "
        "and new cases. Excesses are on the plain scale."
    )
    sources = (
        "RAIR and RSR as Schemmer et al. (2023); commission and omission as Goddard et al. (2012), of all reads with "
        "false positive and false negative advice."
    )
    return (
        own,
        rates,
        "A reader's own rate has Wilson's interval, and a reader's own change a normal one, over that reader's cases.",
        "With answers of 0 and 1 a switch is with the assistance where it ends at the advice.",
        sources,
    )


def _where(paired: NDArray[np.bool_], right: NDArray[np.bool_]) -> Floats:
    return np.where(paired, right.astype(float), np.nan)


def _switches(own: Floats, final: Floats, advice: Floats, reads: NDArray[np.bool_]) -> SwitchCounts:
    def count(a: int, b: int) -> int:
        return int((reads & (own == a) & (final == b)).sum())

    switched = reads & (own != final)
    # Right and wrong are the only two answers: a switch ends at the advice exactly where both are right or both wrong.
    toward = int((switched & (final == advice)).sum())
    return SwitchCounts(count(1, 1), count(1, 0), count(0, 1), count(0, 0), toward, int(switched.sum()) - toward)


def _rates(
    table: _Table, paired: NDArray[np.bool_], own: Floats, final: Floats, advice: Floats, alpha: float
) -> dict[str, Rate]:
    follows = paired & (table.aided == table.advice)
    agrees = paired & (table.unaided == table.advice)
    false_positive = paired & (advice == 0) & (table.advice == 1)
    false_negative = paired & (advice == 0) & (table.advice == 0)
    own_right, own_wrong = paired & (own == 1), paired & (own == 0)
    final_right, final_wrong = paired & (final == 1), paired & (final == 0)
    right, wrong = paired & (advice == 1), paired & (advice == 0)
    asked: list[tuple[str, str, NDArray[np.bool_], NDArray[np.bool_]]] = [
        ("switch_fraction", "switched, of all reads", own != final, paired),
        ("agreement_unaided", "own answer as the advice, of all reads", agrees, paired),
        ("agreement_aided", "aided answer as the advice, of all reads", follows, paired),
        ("switch_to_advice", "took the advice, of reads whose own answer differed from it", follows, paired & ~agrees),
        ("switch_from_advice", "left the advice, of reads whose own answer agreed with it", ~follows, agrees),
        ("wrong_to_right", "became right, of reads with a wrong own answer", final_right, own_wrong),
        ("right_to_wrong", "became wrong, of reads with a right own answer", final_wrong, own_right),
        ("over_reliance", "took wrong advice, of reads with a right own answer", final_wrong, own_right & wrong),
        ("under_reliance", "rejected right advice, of reads with a wrong own answer", final_wrong, own_wrong & right),
        ("rair", "took right advice, of reads with a wrong own answer", final_right, own_wrong & right),
        ("rsr", "kept a right own answer, of reads with wrong advice", final_right, own_right & wrong),
        ("commission", "said positive, of reads with false positive advice", table.aided == 1, false_positive),
        ("commission_unaided", "own answer positive, of reads with false positive advice",
         table.unaided == 1, false_positive),
        ("omission", "said negative, of reads with false negative advice", table.aided == 0, false_negative),
        ("omission_unaided", "own answer negative, of reads with false negative advice",
         table.unaided == 0, false_negative),
    ]  # fmt: skip
    rates = {name: _rate(table, name, words, over, under, paired, alpha) for name, words, over, under in asked}
    for name, stratum in (("commission", false_positive), ("omission", false_negative)):
        words = f"{name} with assistance − the same error without it, of the same reads"
        rates[f"{name}_excess"] = _excess(table, f"{name}_excess", words, final, own, stratum, paired, alpha)
    return rates


def _rate(
    table: _Table,
    name: str,
    words: str,
    event: NDArray[np.bool_],
    occasion: NDArray[np.bool_],
    paired: NDArray[np.bool_],
    alpha: float,
) -> Rate:
    over = np.where(paired, (event & occasion).astype(float), np.nan)
    under = np.where(paired, occasion.astype(float), np.nan)
    own = []
    for j, reader in enumerate(table.readers):
        hits, of = int(np.nansum(over[j])), int(np.nansum(under[j]))
        if of == 0:
            why = f"not estimable, because reader {reader} had no such read"
            own.append(ReaderRate(reader, hits, of, None, None, None, why))
        else:
            own.append(ReaderRate(reader, hits, of, hits / of, *wilson(hits, of, alpha)))
    hits, of = int(np.nansum(over)), int(np.nansum(under))
    if of == 0:
        return Rate(name, words, hits, of, None, None, None, None, None, tuple(own),
                    "not estimable, because there was no such read")  # fmt: skip
    found = ratio_of(over, under, alpha=alpha, scale="logit")
    why = found.not_estimable
    if found.estimate is not None and hits in (0, of):
        why = f"its interval is not estimable, because it happened in {'none' if hits == 0 else 'all'} of {of} reads"
    return Rate(name, words, hits, of, hits / of, found.se, found.df, found.lower, found.upper, tuple(own), why)


def _excess(
    table: _Table,
    name: str,
    words: str,
    final: Floats,
    own: Floats,
    stratum: NDArray[np.bool_],
    paired: NDArray[np.bool_],
    alpha: float,
) -> Rate:
    """Errors with the assistance less errors without, on the same reads."""
    over = np.where(paired, np.where(stratum, own - final, 0.0), np.nan)
    under = np.where(paired, stratum.astype(float), np.nan)
    readers = []
    for j, reader in enumerate(table.readers):
        more, of = int(np.nansum(over[j])), int(np.nansum(under[j]))
        why = f"not estimable, because reader {reader} had no such read" if of == 0 else ""
        readers.append(ReaderRate(reader, more, of, more / of if of else None, None, None, why))
    found = ratio_of(over, under, alpha=alpha)
    return Rate(
        name,
        words,
        int(np.nansum(over)),
        int(np.nansum(under)),
        found.estimate,
        found.se,
        found.df,
        found.lower,
        found.upper,
        tuple(readers),
        found.not_estimable,
    )


def wilson(hits: int, of: int, alpha: float = 0.05) -> tuple[float, float]:
    """Wilson's score interval of a proportion of independent trials; ``of`` must be positive."""
    z = float(stats.norm.ppf(1 - alpha / 2))
    p = hits / of
    centre = (p + z**2 / (2 * of)) / (1 + z**2 / of)
    half = z / (1 + z**2 / of) * math.sqrt(p * (1 - p) / of + z**2 / (4 * of**2))
    return (0.0 if hits == 0 else centre - half), (1.0 if hits == of else centre + half)


def _correct(table: _Table, keep: NDArray[np.bool_]) -> Reads | None:
    """Right answers by arm on the reads and cases kept, or None where an arm has no read."""
    right = np.stack([table.aided, table.unaided]) == table.truth
    block = np.where(~np.isnan(np.stack([table.aided, table.unaided])) & keep, right.astype(float), np.nan)
    cases = np.flatnonzero(~np.isnan(block).all(axis=(0, 1)))
    readers = np.flatnonzero(~np.isnan(block).all(axis=(0, 2)))
    if np.isnan(block).all(axis=(1, 2)).any():
        return None
    block = block[:, readers][:, :, cases]
    kept_readers, kept_cases = (tuple(table.readers[j] for j in readers), tuple(table.cases[k] for k in cases))
    return Reads(kept_readers, ARMS, kept_cases, {"correct": block})


def _strata(table: _Table, alpha: float) -> dict[str, Result | str]:
    correct = table.advice == table.truth
    keep = {
        "assistance correct": correct,
        "false positive": (table.advice == 1) & ~correct,
        "false negative": (table.advice == 0) & ~correct,
    }
    found: dict[str, Result | str] = {}
    for name in STRATA:
        reads = _correct(table, keep[name])
        if reads is None:
            what = "assistance was correct" if name == "assistance correct" else f"assistance was {name}"
            found[name] = f"not estimable, because one arm at least has no read of a case where the {what}"
        else:
            found[name] = compare_reads(reads, "correct", alpha=alpha, reference="unaided")
    return found


def _measures(table: _Table, alpha: float) -> tuple[dict[str, Result | str], tuple[ReaderChange, ...]]:
    everything = np.ones_like(table.aided, dtype=bool)
    keep = {
        "accuracy": everything,
        "sensitivity": everything & (table.truth == 1),
        "specificity": everything & (table.truth == 0),
    }
    measures: dict[str, Result | str] = {}
    changes = []
    for name, kept in keep.items():
        reads = _correct(table, kept)
        if reads is None:
            word = {"accuracy": "", "sensitivity": "of a positive case ", "specificity": "of a negative case "}[name]
            measures[name] = f"not estimable, because one arm has no read {word}".rstrip()
            continue
        result = compare_reads(reads, "correct", alpha=alpha, reference="unaided")
        measures[name] = result
        changes.extend(_changes(name, result, reads.values["correct"]))
    return measures, tuple(changes)


def _changes(measure: str, result: Result, block: Floats) -> list[ReaderChange]:
    found = []
    for j, own in enumerate(result.reader_differences):
        aided, unaided = block[0, j], block[1, j]
        gained = int(((aided == 1) & (unaided == 0)).sum())
        lost = int(((aided == 0) & (unaided == 1)).sum())
        p = float(stats.binomtest(gained, gained + lost).pvalue) if gained + lost else None
        verdict = "not shown"
        if own.lower is not None and own.upper is not None:
            verdict = "better" if own.lower > 0 else "worse" if own.upper < 0 else "not shown"
        found.append(
            ReaderChange(
                own.reader,
                measure,
                result.auc["unaided"][own.reader],
                result.auc["aided"][own.reader],
                own.difference,
                own.se,
                own.lower,
                own.upper,
                gained,
                lost,
                p,
                verdict,
                own.not_estimable,
            )
        )
    return found


def _confidence(table: _Table, paired: NDArray[np.bool_], alpha: float) -> dict[str, Interval]:
    if table.confidence is None:
        return {}
    change = table.confidence[1] - table.confidence[0]
    agreed = table.unaided == table.advice
    found = {}
    for name, kept in (("agreed with the advice", paired & agreed), ("disagreed with the advice", paired & ~agreed)):
        values = np.where(kept, change, np.nan)
        found[name] = mean_of(values, alpha=alpha)
    return found


def _wide(frame: pd.DataFrame) -> _Table:
    _has(frame, WIDE)
    answers = {name: _binary(frame, name) for name in ("truth", "unaided", "aided", "advice")}
    with_confidence = {"unaided_confidence", "aided_confidence"} <= set(frame.columns)
    sure = [numbers(frame, f"{arm}_confidence") for arm in ("unaided", "aided")] if with_confidence else None
    readers, cases, j, k = _places(frame)
    _once(frame, j * len(cases) + k, "reader and case")
    blocks = {name: _block(len(readers), len(cases), j, k, answers[name]) for name in ("unaided", "aided", "advice")}
    confidence = None
    if sure is not None:
        confidence = np.stack([_block(len(readers), len(cases), j, k, one) for one in sure])
    truth = _truth(frame, answers["truth"], k, cases)
    return _Table(readers, cases, truth, blocks["unaided"], blocks["aided"], blocks["advice"], confidence)


def _long(frame: pd.DataFrame) -> _Table:
    _has(frame, LONG)
    arms = frame["arm"].astype(str).str.strip()
    odd = np.flatnonzero(~arms.isin(ARMS).to_numpy())
    if odd.size:
        raise RatingsError(
            f"The arm of {row_word(frame, int(odd[0]))} is {arms.iloc[odd[0]]!r}; it must be 'unaided' or 'aided'."
        )
    aided = (arms == "aided").to_numpy()
    answers = {name: _binary(frame, name) for name in ("truth", "decision")}
    advice = _binary(frame, "advice", may_be_empty=~aided)
    readers, cases, j, k = _places(frame)
    _once(frame, (j * len(cases) + k) * 2 + aided, "reader, case and arm")
    shape = (len(readers), len(cases))
    blocks = {
        arm: _block(*shape, j[rows], k[rows], answers["decision"][rows])
        for arm, rows in (("aided", aided), ("unaided", ~aided))
    }
    given = ~np.isnan(advice)
    block = _block(*shape, j[given], k[given], advice[given])
    clash = np.flatnonzero(given & (block[j, k] != advice))
    if clash.size:
        where = row_word(frame, int(clash[0]))
        raise RatingsError(f"The advice of {where} differs from that of the same reader and case in the other arm.")
    # An unaided read without an aided one has the advice that everybody else got on that case.
    low = np.where(np.isnan(block), np.inf, block).min(axis=0)
    high = np.where(np.isnan(block), -np.inf, block).max(axis=0)
    common = np.where(low == high, low, np.nan)
    block = np.where(np.isnan(block), common[None, :], block)
    confidence = None
    if "confidence" in frame.columns:
        sure = numbers(frame, "confidence")
        confidence = np.stack([_block(*shape, j[rows], k[rows], sure[rows]) for rows in (~aided, aided)])
    truth = _truth(frame, answers["truth"], k, cases)
    return _Table(readers, cases, truth, blocks["unaided"], blocks["aided"], block, confidence)


def _has(frame: pd.DataFrame, columns: tuple[str, ...]) -> None:
    absent = [column for column in columns if column not in frame.columns]
    if absent:
        raise RatingsError(
            f"The decisions table lacks the column {', '.join(absent)}; it needs {', '.join(WIDE)}, one row per reader "
            f"and case, or {', '.join(LONG)}, one row per reader, case and arm."
        )
    if frame.empty:
        raise RatingsError("The decisions table has no rows; nothing can be analysed.")


def _binary(frame: pd.DataFrame, column: str, may_be_empty: NDArray[np.bool_] | None = None) -> Floats:
    values = pd.to_numeric(frame[column], errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    allowed = (values == 0) | (values == 1)
    if may_be_empty is not None:
        empty = (frame[column].isna() | (frame[column].astype(str).str.strip() == "")).to_numpy()
        allowed |= may_be_empty & empty
    bad = np.flatnonzero(~allowed)
    if bad.size:
        given = frame[column].iloc[int(bad[0])]
        said = "missing" if pd.isna(given) or given == "" else repr(given) if isinstance(given, str) else str(given)
        raise RatingsError(f"The {column} of {row_word(frame, int(bad[0]))} is {said}; it must be 0 or 1.")
    return values


def _places(
    frame: pd.DataFrame,
) -> tuple[tuple[str, ...], tuple[str, ...], NDArray[np.intp], NDArray[np.intp]]:
    names, codes = [], []
    for column in ("reader", "case"):
        empty = np.flatnonzero((frame[column].isna() | (frame[column].astype(str) == "")).to_numpy())
        if empty.size:
            where = row_word(frame, int(empty[0])).capitalize()
            raise RatingsError(f"{where} has no {column}; give every row one.")
        labels = [name_of(value) for value in frame[column].tolist()]
        order = tuple(str(label) for label in in_order(labels))
        index = {label: position for position, label in enumerate(order)}
        names.append(order)
        codes.append(np.array([index[label] for label in labels], dtype=np.intp))
    return names[0], names[1], codes[0], codes[1]


def _once(frame: pd.DataFrame, key: NDArray[np.intp], what: str) -> None:
    again = np.flatnonzero(pd.Series(key).duplicated().to_numpy())
    if again.size:
        first = int(np.flatnonzero(key == key[again[0]])[0])
        where = row_word(frame, int(again[0])).capitalize()
        raise RatingsError(f"{where} repeats {row_word(frame, first)}; keep one row per {what}.")


def _truth(frame: pd.DataFrame, truth: Floats, k: NDArray[np.intp], cases: tuple[str, ...]) -> Floats:
    of_case = np.full(len(cases), np.nan)
    of_case[k[::-1]] = truth[::-1]
    clash = np.flatnonzero(of_case[k] != truth)
    if clash.size:
        where = row_word(frame, int(clash[0]))
        raise RatingsError(f"The truth of {where} differs from that of case {cases[k[clash[0]]]} in an earlier row.")
    return of_case


def _block(readers: int, cases: int, j: NDArray[np.intp], k: NDArray[np.intp], values: Floats) -> Floats:
    block = np.full((readers, cases), np.nan)
    block[j, k] = values
    return block
