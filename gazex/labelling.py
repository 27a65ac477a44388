"""`python -m gazex label FILE.txt`: one JSON line for every sentence of a text file, with what it says of each finding.

No torch, and nothing is printed unless the whole file can be read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Protocol, TextIO

from gazex.findings import FINDINGS, LabelError, Mention, label_report, label_sentence

_END: Final = re.compile(r"[.!?]+(?=\s|$)")
_SHORT: Final = re.compile(r"(?:^|[\s(])(?:dr|mr|mrs|ms|st|vs|approx|fig|cf|e\.g|i\.e|[a-z]|\d+)$", re.IGNORECASE)
"""What stands before a full stop that ends no sentence: an abbreviation, an initial, the number of a list."""


def split_sentences(line: str) -> list[str]:
    """The sentences of one line, each as it was written.

    A sentence ends at ".", "!" or "?" before a space or the line's end, as dictations ("no effusion . heart is normal
    .") and reports write it; not within a number ("1.5 cm"), nor after an abbreviation, an initial or the number of a
    list ("2. No effusion"). A stop without a word before it belongs to the sentence before.
    """
    out: list[str] = []
    start = 0
    for match in _END.finditer(line):
        before = line[start : match.start()]
        if not re.search(r"\w", before):
            if out:
                out[-1] = f"{out[-1]}{line[start : match.end()]}"
                start = match.end()
            continue
        if match.group() == "." and not before.endswith(" ") and _SHORT.search(before) and line[match.end() :].strip():
            continue
        out.append(line[start : match.end()])
        start = match.end()
    if line[start:].strip():
        out.append(line[start:])
    return [s.strip() for s in out if s.strip()]


def read_sentences(path: Path) -> list[str]:
    """The sentences of a UTF-8 text file: a line is one sentence or several, and no sentence runs over two lines.

    Raises
    ------
    LabelError
        A file that is missing, empty or not UTF-8 text.
    """
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise LabelError(f"There is no file {path}; give a text file with one sentence a line.") from None
    except OSError as error:
        raise LabelError(
            f"{path} cannot be read ({error.strerror}); give a text file with one sentence a line."
        ) from None
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise LabelError(
            f"{path.name} is not UTF-8 text (byte {error.start + 1}); save it as UTF-8, one sentence a line."
        ) from None
    if re.search(r"[\x00-\x08\x0e-\x1f]", text):
        raise LabelError(
            f"{path.name} holds control characters, as binary files do; give a text file, one sentence a line."
        )
    out = [sentence for line in re.split(r"[\r\n]+", text) for sentence in split_sentences(line)]
    if not out:
        raise LabelError(f"{path.name} holds no sentence; write one sentence a line.")
    return out


class Labeller(Protocol):
    """Another labeller, such as `gazex.chexbert.CheXbert`: the labels of every text, "No Finding" among them."""

    def __call__(self, texts: Sequence[str]) -> list[dict[str, Mention]]: ...


def label_lines(sentences: list[str], *, report: bool = False, labeller: Labeller | None = None) -> Iterator[str]:
    """One JSON object a sentence; with `report` one more for all of them together, "No Finding" among its findings.

    `labeller` replaces the rules. It reads a report as one text, as CheXbert was made to.
    """
    labels = [label_sentence(s) for s in sentences] if labeller is None else labeller(sentences)
    for sentence, said in zip(sentences, labels, strict=True):
        findings = {finding: said[finding] for finding in FINDINGS if finding in said}
        yield json.dumps({"sentence": sentence, "findings": findings}, ensure_ascii=False)
    if report:
        whole = label_report(sentences) if labeller is None else labeller([" ".join(sentences)])[0]
        yield json.dumps({"sentences": len(sentences), "findings": whole}, ensure_ascii=False)


def label_file(
    path: Path, out: TextIO, *, report: bool = False, checkpoint: Path | None = None, bert: str = ""
) -> None:
    """Label a file's sentences to `out`, by the rules or, with a `checkpoint`, by CheXbert itself.

    Raises
    ------
    LabelError
        A file of sentences that cannot be read, or a checkpoint that cannot be used.
    """
    sentences = read_sentences(path)
    labeller: Labeller | None = None
    if checkpoint is not None:
        from gazex.chexbert import BERT, CheXbert

        labeller = CheXbert.load(checkpoint, bert or BERT)
    lines = list(label_lines(sentences, report=report, labeller=labeller))
    out.write("".join(f"{line}\n" for line in lines))
