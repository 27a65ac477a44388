"""The golden values beside the checkout; see ../shared/reference/mrmc for their provenance (MRMCaov, lme4, RJafroc)."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pandas as pd

from tests.reference import REFERENCE


@cache
def ratings(name: str) -> pd.DataFrame:
    return pd.read_csv(REFERENCE / "mrmc" / f"{name}.csv")


@cache
def golden(name: str) -> Any:
    return json.loads((REFERENCE / "mrmc" / f"golden_{name}.json").read_text())
