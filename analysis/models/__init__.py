"""What was planned to be computed, what was computed, and the runs in between, one a file."""

from .plan import AnalysisPlan
from .result import AnalysisResult
from .run import AnalysisRun

__all__ = ["AnalysisPlan", "AnalysisResult", "AnalysisRun"]
