"""Reader-study statistics: plain functions on tables and arrays, no Django.

>>> from analysis.stats import analyze
>>> result = analyze(frame)                                        # doctest: +SKIP
>>> result.comparisons[0].difference, result.comparisons[0].p      # doctest: +SKIP

``python -m analysis.stats --help`` does the same from files; ``README.md`` beside this file lists the rooms.
"""

from analysis.stats.foms import FigureOfMerit, figure_of_merit
from analysis.stats.froc import analyze_froc
from analysis.stats.lroc import analyze_lroc
from analysis.stats.mrmc import Comparison, Result, analyze, analyze_ratings, result_from
from analysis.stats.ratings import Ratings, RatingsError, read_ratings
from analysis.stats.standalone import standalone

__all__ = [
    "Comparison",
    "FigureOfMerit",
    "Ratings",
    "RatingsError",
    "Result",
    "analyze",
    "analyze_froc",
    "analyze_lroc",
    "analyze_ratings",
    "figure_of_merit",
    "read_ratings",
    "result_from",
    "standalone",
]
