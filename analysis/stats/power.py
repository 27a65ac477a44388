"""Planning: the power of a comparison of two treatments, and the cases or readers it takes.

From the variance components of a pilot study with K* cases (or published ones), for J readers and K cases, with
f = K*/K, a true difference δ, and every difference below taken as zero where it is negative:

    readers and cases   D = VarTR + f[Var − Cov1 + (J−1)(Cov2 − Cov3)]
                        df2 = D²(J−1)/[VarTR + f(Var − Cov1 − (Cov2 − Cov3))]²
    cases               D = f[Var − Cov1 + (J−1)(Cov2 − Cov3)], χ² in place of F
    readers             D = VarTR + f[Var − Cov1 − (Cov2 − Cov3)], df2 = J − 1

The test statistic is a non-central F on 1 and df2 degrees of freedom with non-centrality J δ²/(2D).

Sources: Hillis, Obuchowski & Berbaum, Academic Radiology 18:129 (2011), readers and cases; Chakraborty, Observer
Performance Methods (2017), ch. 11, all three; Hillis, Berbaum & Metz, Academic Radiology 15:647 (2008), the components
of the Dorfman–Berbaum–Metz model as those of Obuchowski and Rockette.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special

from analysis.stats.obuchowski_rockette import Random
from analysis.stats.options import check_level, random_of
from analysis.stats.ratings import RatingsError
from analysis.stats.results import RANDOM_WORDS, Result, plain

#: Beyond these nobody plans; a power not reached here is taken at its limit.
MOST_CASES = 10_000_000
MOST_READERS = 1000
_FEWEST_CASES = 4


@dataclass(frozen=True)
class PlanningComponents:
    """What planning needs of a pilot study or of a publication.

    Attributes:
        var, cov1, cov2, cov3: error covariances of Obuchowski and Rockette at ``cases`` cases.
        var_tr: variance of the interaction of treatment and reader; negative counts as zero.
        cases: K*, how many cases (of both classes) the error covariances are for.
    """

    var: float
    cov1: float
    cov2: float
    cov3: float
    var_tr: float
    cases: int

    @classmethod
    def of_pilot(cls, pilot: Result) -> PlanningComponents:
        """The components of an analysed pilot study.

        Raises:
            RatingsError: the pilot does not show all of them; the sentence says why.
        """
        found = pilot.components
        if found is None:
            reason = pilot.not_estimable.removeprefix("not estimable, because ") or (
                "some of its ratings are missing, and U-statistics of any design give no Obuchowski–Rockette "
                'components; ask for --covariance pairwise (covariance="pairwise")'
            )
            raise RatingsError(f"The pilot study cannot be planned from: {reason}.")
        values = {name: getattr(found, name) for name in ("var", "cov1", "cov2", "cov3", "var_tr")}
        absent = [name for name, value in values.items() if value is None]
        if absent:
            few = "one reader" if len(pilot.readers) < 2 else "one treatment"
            raise RatingsError(
                f"The pilot study has {few}, which does not show {', '.join(absent)}; "
                "give a pilot with two readers and two treatments, or published components."
            )
        return cls(**values, cases=pilot.diseased + pilot.nondiseased)

    @classmethod
    def of_mapping(cls, given: Mapping[str, Any]) -> PlanningComponents:
        """From names and numbers: ``var, cov1, cov2, cov3, var_tr`` and ``cases``.

        What ``mrmc`` prints is taken as well: its ``components`` with ``diseased`` and ``nondiseased``.

        Raises:
            RatingsError: one is missing or no finite number.
        """
        values = dict(given)
        if isinstance(given.get("components"), Mapping):
            values.update(given["components"])
        if "cases" not in values and {"diseased", "nondiseased"} <= set(values):
            values["cases"] = values["diseased"] + values["nondiseased"]
        numbers: dict[str, float] = {}
        for name in ("var", "cov1", "cov2", "cov3", "var_tr", "cases"):
            value = values.get(name)
            if value is None:
                raise RatingsError(
                    f"The variance components lack {name}; give var, cov1, cov2, cov3, var_tr and cases (of the pilot)."
                )
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise RatingsError(f"The variance component {name} is {value!r}; it must be a number.")
            numbers[name] = value
        cases = numbers.pop("cases")
        if cases != int(cases):
            raise RatingsError(f"The number of cases of the pilot is {cases:g}; it must be a whole number.")
        return cls(**numbers, cases=int(cases))

    @classmethod
    def of_dbm(
        cls,
        *,
        case: float,
        treatment_case: float,
        reader_case: float,
        error: float,
        treatment_reader: float,
        cases: int,
    ) -> PlanningComponents:
        """From the variance components of the Dorfman–Berbaum–Metz model of ``cases`` pseudovalues.

        Var = (C + TC + RC + ε)/K, Cov1 = (C + RC)/K, Cov2 = (C + TC)/K, Cov3 = C/K; VarTR is the same in both.
        """
        return cls(
            (case + treatment_case + reader_case + error) / cases,
            (case + reader_case) / cases,
            (case + treatment_case) / cases,
            case / cases,
            treatment_reader,
            cases,
        )

    def to_dbm(self) -> dict[str, float]:
        """The same as components of the Dorfman–Berbaum–Metz model, by the inverse of :meth:`of_dbm`."""
        return {
            "case": self.cases * self.cov3,
            "treatment_case": self.cases * (self.cov2 - self.cov3),
            "reader_case": self.cases * (self.cov1 - self.cov3),
            "error": self.cases * (self.var - self.cov1 - self.cov2 + self.cov3),
            "treatment_reader": self.var_tr,
        }


@dataclass(frozen=True)
class Power:
    """A plan and its power.

    Attributes:
        power: the probability that the test finds the difference; None where not estimable.
        ncp: non-centrality of the F (or χ²); for non-inferiority the square of the t's.
        df: of the denominator, inf where only cases are random.
        readers, cases: the plan; None where the search found none, and then ``not_estimable`` says so.
        se: standard error of the difference that the plan expects.
        limit: with a search, the power that no number of cases (or readers) exceeds in the end.
    """

    power: float | None
    ncp: float | None
    df: float | None
    readers: int | None
    cases: int | None
    difference: float
    se: float | None
    alpha: float
    random: str
    margin: float | None
    target: float | None
    limit: float | None
    components: PlanningComponents
    method: str
    conventions: tuple[str, ...]
    warnings: tuple[str, ...]
    not_estimable: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts, lists, strings and finite numbers, fit for JSON; an infinite df becomes "infinite"."""
        return plain(dataclasses.asdict(self))


def power(
    components: PlanningComponents,
    *,
    readers: int,
    cases: int,
    difference: float,
    alpha: float = 0.05,
    random: str = "readers_cases",
    margin: float | None = None,
) -> Power:
    """The power of a study of ``readers`` readers who read ``cases`` cases under two treatments.

    Args:
        components: of the pilot study, or published.
        readers: J; two at least, unless only the cases are random.
        cases: K, both classes together, in the pilot's proportion.
        difference: the true difference of the treatments' figures of merit, other than 0 unless a margin is given.
        alpha: two-sided level.
        random: what the conclusion should hold for; "readers_cases", "cases" or "readers".
        margin: plan for non-inferiority with this margin: one-sided at alpha/2, ``difference`` (new − reference) the
            truth, 0 or a little less than that where the new treatment is a little worse.

    Raises:
        RatingsError: a number is out of its range; one sentence.
    """
    question = _Question(components, difference, alpha, random_of(random), margin)
    question.check(readers=readers, cases=cases)
    return question.answer(readers, cases)


def cases_for(
    components: PlanningComponents,
    *,
    readers: int,
    difference: float,
    target: float = 0.8,
    alpha: float = 0.05,
    random: str = "readers_cases",
    margin: float | None = None,
) -> Power:
    """The fewest cases with which ``readers`` readers reach the power ``target``.

    Arguments and errors as of :func:`power`. Where no number of cases does, ``cases`` is None and ``not_estimable``
    gives the power that stays in the limit: more readers are needed.
    """
    question = _Question(components, difference, alpha, random_of(random), margin)
    question.check(readers=readers, target=target)
    tried = np.unique(np.geomspace(_FEWEST_CASES, MOST_CASES, 2000).astype(np.int64)).tolist()
    cases, limit = _first(lambda n: question.at(readers, n).power or 0.0, tried, target)
    if cases is not None:
        return question.answer(readers, cases, target, limit)
    word = "reader" if readers == 1 else "readers"
    why = question.at(readers, MOST_CASES).why or (
        f"not reachable, because no number of cases gives {readers} {word} the power {target:g}: with ever more cases "
        f"it tends to {limit:.4f}, because the readers' own variation stays; plan for more readers"
    )
    return question.answer(readers, None, target, limit, why)


def readers_for(
    components: PlanningComponents,
    *,
    cases: int,
    difference: float,
    target: float = 0.8,
    alpha: float = 0.05,
    random: str = "readers_cases",
    margin: float | None = None,
) -> Power:
    """The fewest readers with which ``cases`` cases reach the power ``target``; see :func:`cases_for`."""
    question = _Question(components, difference, alpha, random_of(random), margin)
    question.check(cases=cases, target=target)
    tried = np.unique(np.geomspace(question.fewest_readers, MOST_READERS, 400).astype(np.int64)).tolist()
    readers, limit = _first(lambda n: question.at(n, cases).power or 0.0, tried, target)
    if readers is not None:
        return question.answer(readers, cases, target, limit)
    why = question.at(MOST_READERS, cases).why or (
        f"not reachable, because no number of readers up to {MOST_READERS} gives {cases} cases the power {target:g}: "
        f"it reaches {limit:.4f}, because the cases' own variation stays; plan for more cases"
    )
    return question.answer(None, cases, target, limit, why)


def power_table(
    components: PlanningComponents,
    *,
    readers: Sequence[int],
    cases: Sequence[int],
    differences: Sequence[float],
    alpha: float = 0.05,
    random: str = "readers_cases",
    margin: float | None = None,
) -> list[dict[str, float | int | None]]:
    """Power over a grid: one row per difference, number of readers and number of cases, in that order.

    Rows have ``difference, readers, cases, power, ncp, df, se``; inf is a df of a normal law.
    """
    rows: list[dict[str, float | int | None]] = []
    for difference in differences:
        for j in readers:
            for k in cases:
                found = power(
                    components, readers=j, cases=k, difference=difference, alpha=alpha, random=random, margin=margin
                )
                rows.append(
                    {
                        "difference": difference,
                        "readers": j,
                        "cases": k,
                        "power": found.power,
                        "ncp": found.ncp,
                        "df": found.df,
                        "se": found.se,
                    }
                )
    return rows


@dataclass(frozen=True)
class _Found:
    power: float | None = None
    ncp: float | None = None
    df: float | None = None
    se: float | None = None
    why: str = ""


@dataclass(frozen=True)
class _Question:
    """What is asked, but for the numbers of readers and cases."""

    components: PlanningComponents
    difference: float
    alpha: float
    random: Random
    margin: float | None

    @property
    def fewest_readers(self) -> int:
        return 1 if self.random == "cases" else 2

    def check(self, *, readers: int | None = None, cases: int | None = None, target: float | None = None) -> None:
        """Refuse numbers out of their range."""
        check_level(self.alpha)
        if self.components.cases < 1:
            raise RatingsError(f"The pilot has {self.components.cases} cases; it must have at least one.")
        if not math.isfinite(self.difference) or (self.difference == 0 and self.margin is None):
            raise RatingsError(
                f"The difference to find is {self.difference:g}; it must be a number other than 0, in units of the "
                "figure of merit."
            )
        if self.margin is not None and not (math.isfinite(self.margin) and self.margin > 0):
            raise RatingsError(f"The non-inferiority margin is {self.margin:g}; it must be a positive number.")
        if self.margin is not None and self.difference + self.margin <= 0:
            raise RatingsError(
                f"A true difference of {self.difference:g} lies beyond the margin {self.margin:g}: "
                "non-inferiority would be false."
            )
        if target is not None and not 0 < target < 1:
            raise RatingsError(f"The target power is {target:g}; it must be between 0 and 1.")
        for name, given, least in (("readers", readers, self.fewest_readers), ("cases", cases, _FEWEST_CASES)):
            if given is not None and (given != int(given) or given < least):
                raise RatingsError(f"The number of {name} is {given}; it must be a whole number, {least} or more.")

    def at(self, readers: int, cases: int) -> _Found:
        """Power, non-centrality, df and standard error of this many readers and cases, or why there is none."""
        parts = self.components
        f = parts.cases / cases
        excess = max(parts.cov2 - parts.cov3, 0.0)
        own = parts.var - parts.cov1
        interaction = 0.0 if self.random == "cases" else max(parts.var_tr, 0.0)
        base = interaction + f * (own - excess)
        if self.random == "readers":
            denominator, df = base, float(readers - 1)
        else:
            denominator, df = base + f * readers * excess, math.inf
            if self.random == "readers_cases" and base > 0:
                df = (denominator / base) ** 2 * (readers - 1)
        if not denominator > 0:
            return _Found(
                why="not estimable, because the variance of the difference that these components give is not positive "
                f"(Var − Cov1 is {own:.3g}, Cov2 − Cov3 is {excess:.3g}, VarTR is {interaction:.3g})"
            )
        se = math.sqrt(2.0 * denominator / readers)
        if self.margin is not None:
            shift = (self.difference + self.margin) / se
            return _Found(_one_sided(shift, df, self.alpha / 2), shift**2, df, se)
        ncp = (self.difference / se) ** 2
        return _Found(_two_sided(ncp, df, self.alpha), ncp, df, se)

    def answer(
        self,
        readers: int | None,
        cases: int | None,
        target: float | None = None,
        limit: float | None = None,
        why: str = "",
    ) -> Power:
        found = _Found(why=why) if readers is None or cases is None else self.at(readers, cases)
        test = "two-sided test of a difference" if self.margin is None else f"non-inferiority, margin {self.margin:g}"
        return Power(
            power=found.power,
            ncp=found.ncp,
            df=found.df,
            readers=readers,
            cases=cases,
            difference=self.difference,
            se=found.se,
            alpha=self.alpha,
            random=self.random,
            margin=self.margin,
            target=target,
            limit=limit,
            components=self.components,
            method=f"Hillis, Obuchowski & Berbaum (2011), two treatments, {RANDOM_WORDS[self.random]}, {test}",
            conventions=_conventions(self.random, self.margin),
            warnings=_warnings(self.components, self.random),
            not_estimable=found.why,
        )


def _two_sided(ncp: float, df: float, alpha: float) -> float:
    """P(F'(1, df, ncp) > its critical value); χ² where df is infinite. A large df is as good as infinite."""
    root = math.sqrt(ncp)
    if math.isinf(df) or df > 1e8:
        z = -float(special.ndtri(alpha / 2))
        return float(special.ndtr(root - z) + special.ndtr(-root - z))
    critical = float(special.stdtrit(df, alpha / 2)) ** 2
    found = 1.0 - float(special.ncfdtr(1.0, df, ncp, critical))
    if math.isnan(found) or found < alpha / 2:
        # The series fails far out, where the answer is 1.
        found = _one_sided(root, df, alpha / 2)
    return min(max(found, 0.0), 1.0)


def _one_sided(shift: float, df: float, alpha: float) -> float:
    """P(t'(df, shift) > its critical value)."""
    if math.isinf(df) or df > 1e8:
        return float(special.ndtr(shift + float(special.ndtri(alpha))))
    critical = -float(special.stdtrit(df, alpha))
    found = 1.0 - float(special.nctdtr(df, shift, critical))
    if math.isnan(found):
        # Johnson and Kotz' normal form of the non-central t, used where its series fails (a shift beyond 37).
        found = float(special.ndtr((shift - critical * (1 - 1 / (4 * df))) / math.sqrt(1 + critical**2 / (2 * df))))
    return min(max(found, 0.0), 1.0)


def _first(at: Callable[[int], float], tried: Sequence[int], target: float) -> tuple[int | None, float]:
    """The smallest number whose power reaches the target (by bisection between those tried), and the last power."""
    before = tried[0]
    for number in tried:
        if at(number) >= target:
            low, high = before, number
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (low, middle) if at(middle) >= target else (middle, high)
            return (low if at(low) >= target else high), at(tried[-1])
        before = number
    return None, at(tried[-1])


def _conventions(random: Random, margin: float | None) -> tuple[str, ...]:
    said = [
        "The difference is the true one of the two treatments' average figures of merit, not the pilot's estimate.",
        "Error covariances shrink as pilot cases / planned cases, at the pilot's share of diseased cases; VarTR stays.",
        "Cov2 − Cov3 and VarTR count as zero where negative, as in RJafroc; VarTR holds Cov2 − Cov3 as estimated.",
    ]
    if random == "cases":
        said.append("χ² law: readers are fixed, so VarTR has no part in the error.")
    if margin is not None:
        said.append("Non-inferiority is one-sided at alpha/2: non-central t.")
    return tuple(said)


def _warnings(components: PlanningComponents, random: Random) -> tuple[str, ...]:
    said = []
    if random != "cases" and components.var_tr <= 0:
        said.append(
            f"VarTR of the pilot is {components.var_tr:.3g} and counts as zero: the plan supposes that all readers "
            "gain alike, so the power may be lower."
        )
    if random != "readers" and components.cov2 < components.cov3:
        said.append("Cov2 − Cov3 of the pilot is negative and counts as zero.")
    if random != "readers_cases":
        said.append(
            f"With {RANDOM_WORDS[random]} the conclusion would hold only for "
            + ("these readers." if random == "cases" else "these cases.")
        )
    return tuple(said)
