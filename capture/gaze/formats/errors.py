"""What every reader of a foreign file raises."""

from __future__ import annotations


class FormatError(ValueError):
    """A file is not what its format says. The message is one sentence that names the file, the place and the remedy."""
