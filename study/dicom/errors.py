from __future__ import annotations


class FileRefused(Exception):  # noqa: N818 - a refusal is an answer, not a fault
    """A file that is not taken in.

    `predicate` is the sentence without its subject ("holds 12 frames; import …"), because only the caller knows what
    the person who sent the file calls it; `sentence(name)` puts the two together.
    """

    def __init__(self, predicate: str) -> None:
        super().__init__(predicate)
        self.predicate = predicate

    def sentence(self, name: str) -> str:
        return f"{name} {self.predicate}"
