"""Reader-study statistics: plain functions on tables and arrays, no Django.

>>> from analysis.stats import analyze
>>> result = analyze(frame)                                        # doctest: +SKIP
>>> result.comparisons[0].difference, result.comparisons[0].p      # doctest: +SKIP
"""

from analysis.stats.mrmc import Comparison, Result, analyze
from analysis.stats.ratings import RatingsError

__all__ = ["Comparison", "RatingsError", "Result", "analyze"]
