"""The reference data beside the checkout: used when it is there, reported as skipped when it is not."""

from __future__ import annotations

from pathlib import Path

import pytest

REFERENCE = Path(__file__).resolve().parents[2] / "shared" / "reference"

needs_reference = pytest.mark.skipif(
    not REFERENCE.is_dir(), reason="the reference data is not beside this checkout (../shared/reference)"
)
