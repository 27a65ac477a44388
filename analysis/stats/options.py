"""The options that analyses share, checked in one place: each is refused with one sentence that names the choices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from analysis.stats.obuchowski_rockette import RANDOM, Random
from analysis.stats.ratings import RatingsError


def known(name: str, given: str, allowed: Sequence[str]) -> None:
    """Refuse an option that names nothing known.

    Raises:
        RatingsError: ``given`` is not among ``allowed``.
    """
    if given not in allowed:
        raise RatingsError(f"{name} is {given!r}; it must be one of {', '.join(map(repr, allowed))}.")


def random_of(given: str) -> Random:
    """What the conclusion should hold for; "readers+cases", as commands spell it, is "readers_cases".

    Raises:
        RatingsError: it is none of the three.
    """
    spelled = given.replace("_", "+")
    known("random", spelled, [name.replace("_", "+") for name in RANDOM])
    return cast(Random, spelled.replace("+", "_"))


def check_level(alpha: float) -> None:
    """Refuse a level that is no probability.

    Raises:
        RatingsError: ``alpha`` is not between 0 and 1.
    """
    if not 0 < alpha < 1:
        raise RatingsError(f"alpha is {alpha:g}; it must be between 0 and 1.")


def check_margin(margin: float | None, *, equivalence: bool = False) -> None:
    """Refuse a margin that no figure of merit within 0 to 1 could use.

    Raises:
        RatingsError: it is not between 0 and 1, or equivalence is asked for without one.
    """
    if margin is not None and not 0 < margin < 1:
        raise RatingsError(
            f"The non-inferiority margin is {margin:g}; it must be between 0 and 1, in units of the figure of merit."
        )
    if equivalence and margin is None:
        raise RatingsError("Equivalence needs a margin: how far apart two treatments may be and count as equivalent.")


def check_bootstrap(replicates: int, seed: int) -> None:
    """Refuse a bootstrap that cannot be drawn.

    Raises:
        RatingsError: there are fewer than two draws, or the seed is negative.
    """
    if replicates < 2:
        raise RatingsError(f"replicates is {replicates}; a bootstrap needs two draws, and 2000 are usual.")
    if seed < 0:
        raise RatingsError(f"seed is {seed}; it must be 0 or a positive whole number.")
