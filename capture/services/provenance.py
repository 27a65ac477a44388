"""How a derivative names what it was made from, and by which code."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any


def digest(value: Any) -> str:
    """SHA-256 of a JSON value, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def code_version(sources: Iterable[Path | str]) -> str:
    """The package's version and the SHA-256 of these source files in this order, shortened."""
    try:
        release = version("gazeroom")
    except PackageNotFoundError:
        release = "0"
    total = hashlib.sha256()
    for path in sources:
        total.update(Path(path).read_bytes())
    return f"{release}+{total.hexdigest()[:16]}"
