"""What a sentence affirms: the labeller's answer, kept, since readers say the same sentences again and again."""

from __future__ import annotations

from functools import lru_cache

from gazex.findings import label_sentence


@lru_cache(maxsize=8192)
def mentions(text: str) -> tuple[tuple[str, str], ...]:
    """(Finding, "positive", "negative" or "uncertain") of a sentence, in the labeller's order."""
    return tuple(label_sentence(text).items())


def affirmed(text: str) -> list[str]:
    """The findings a sentence affirms."""
    return [finding for finding, mention in mentions(text) if mention == "positive"]
