"""What a CSV cell may hold."""

from __future__ import annotations

from typing import Any


def plain(value: Any) -> Any:
    """The value as a cell that no spreadsheet takes for a formula; an empty one for None."""
    if value is None:
        return ""
    return f"'{value}" if isinstance(value, str) and value[:1] in tuple("=+-@\t\r") else value
