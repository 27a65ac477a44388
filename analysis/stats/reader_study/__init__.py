"""A whole reader study computed from its tidy tables: what the site stores as a result, and what anybody can recompute.

:func:`compute` takes the tables (:mod:`.tables`) and what the study planned, and returns every number of the result as
plain values. It reads no database and no clock: the same tables give the same numbers.
"""

from analysis.stats.reader_study.compute import SCHEMA, compute, guarded
from analysis.stats.reader_study.tables import Tables, TablesError, parse

__all__ = ["SCHEMA", "Tables", "TablesError", "compute", "guarded", "parse"]
