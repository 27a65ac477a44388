"""Which readings a model may learn from: by patient for ever, and with one reader left out.

A patient's split is the place of SHA-256(salt, patient) among the shares. It depends on nothing else: not on who else
is in the data, not on the order, not on the machine. The salt never changes; another one would be another experiment.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar

SALT: Final = "gazeroom/splits/1"
SHARES: Final = (("train", 0.8), ("validation", 0.1), ("test", 0.1))


class Owned(Protocol):
    """A visit or an example: who read, and whom."""

    @property
    def reader(self) -> str: ...
    @property
    def patient(self) -> str: ...


T = TypeVar("T", bound=Owned)


def split_of(patient: str, *, salt: str = SALT) -> str:
    """ "train", "validation" or "test": where a patient (a pseudonym) belongs, with all readings.

    Examples
    --------
    >>> [split_of(p) for p in ("p1", "p2", "p3")] == [split_of(p) for p in ("p1", "p2", "p3")]
    True
    """
    digest = hashlib.sha256(f"{salt}\x00{patient}".encode()).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64
    reached = 0.0
    for name, share in SHARES:
        reached += share
        if place < reached:
            return name
    return SHARES[-1][0]


@dataclass(frozen=True)
class Fold(Generic[T]):
    """One reader left out: `train` holds other readers on training patients, `test` this reader on the other patients.

    So neither the reader nor any patient of the test was seen in training.
    """

    reader: str
    train: tuple[T, ...]
    test: tuple[T, ...]


def leave_one_reader_out(readings: Iterable[T]) -> list[Fold[T]]:
    """A fold for each reader, in order of their names.

    Raises
    ------
    ValueError
        There is only one reader.
    """
    readings = list(readings)
    readers = sorted({r.reader for r in readings})
    if len(readers) < 2:
        raise ValueError(f"Leaving one reader out needs two; all readings are by “{''.join(readers)}”.")
    return [
        Fold(
            reader,
            tuple(r for r in readings if r.reader != reader and split_of(r.patient) == "train"),
            tuple(r for r in readings if r.reader == reader and split_of(r.patient) != "train"),
        )
        for reader in readers
    ]


def by_split(readings: Sequence[T]) -> dict[str, list[T]]:
    """Readings by their patients' split."""
    out: dict[str, list[T]] = {name: [] for name, _ in SHARES}
    for reading in readings:
        out[split_of(reading.patient)].append(reading)
    return out
