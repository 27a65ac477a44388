"""The findings' names, and which of them a sentence states.

The names are CheXbert's label strings (Smit et al., EMNLP 2020), used verbatim as identifiers in the whole system.
The labeller follows CheXbert's conventions by rules that a radiologist can read and mend: `findings.toml`, which also
explains its phrases. It knows nothing of torch, so that every room may import it; `chexbert.py` runs CheXbert itself
where a person has its weights.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Literal

FINDINGS: Final[tuple[str, ...]] = (
    "Enlarged Cardiomediastinum",
    "Cardiomegaly",
    "Lung Lesion",
    "Lung Opacity",
    "Edema",
    "Consolidation",
    "Pneumonia",
    "Atelectasis",
    "Pneumothorax",
    "Pleural Effusion",
    "Pleural Other",
    "Fracture",
    "Support Devices",
)
"""CheXbert's 13 findings beside "No Finding"."""

NO_FINDING: Final = "No Finding"

PHANTOM_FINDINGS: Final[tuple[str, ...]] = (
    "Pneumothorax",
    "Lung Lesion",
    "Consolidation",
    "Cardiomegaly",
    "Pleural Effusion",
)
"""The findings phantoms show, in the order in which the simulated reader inspects for them."""

SIDED: Final[frozenset[str]] = frozenset({"Pneumothorax", "Lung Lesion", "Consolidation", "Pleural Effusion"})
"""Phantom findings that lie on one side of the patient."""

SIDES: Final[tuple[str, ...]] = ("left", "right", "bilateral", "")

Mention = Literal["positive", "negative", "uncertain"]


class LabelError(ValueError):
    """Sentences that cannot be labelled; the message says why and what would help."""


RULES: Final = Path(__file__).with_name("findings.toml")
_RANK: Final[dict[Mention, int]] = {"negative": 0, "uncertain": 1, "positive": 2}
_TOKEN: Final = re.compile(r"\d+\.\d+|[a-z0-9']+|[,;.:()?]")
_STOPS: Final = ";.:()"
_NEAR: Final = 3  # words that may stand between a mention and an "or" that doubts it
_PART: Final = 5  # words before a mention in which a part of the thing may be named ("the tip of the feeding tube")


def label_sentence(sentence: str) -> dict[str, Mention]:
    """What one report sentence says about each finding it mentions.

    Parameters
    ----------
    sentence
        One sentence of a report, in English, written or dictated ("no pleural effusion .").

    Returns
    -------
    dict
        Finding name → "positive", "negative" or "uncertain", in the order of `FINDINGS`; a finding that is not
        mentioned is absent. Where a sentence mentions a finding more than once, "positive" wins over "uncertain" and
        that over "negative".
    """
    cues, findings, _ = _rules()
    text = _normalise(sentence)
    clauses = _clauses(text, cues)
    out: dict[str, Mention] = {}
    for finding, rule in findings.items():
        said = [m for clause in clauses for m in _mentions(_blank(clause, rule.ignore), rule, cues)]
        if said:
            out[finding] = max(said, key=_RANK.__getitem__)
    return out


def label_report(sentences: Iterable[str]) -> dict[str, Mention]:
    """What a whole report says: the surest mention of each finding, and CheXbert's fourteenth category.

    "No Finding" is "positive" where no finding but Support Devices is positive or uncertain and nothing else that
    CheXpert counts as abnormal (emphysema, a hernia, …) is affirmed; else it is absent. A report without a sentence
    says nothing.
    """
    cues, _, other = _rules()
    out: dict[str, Mention] = {}
    spoken = abnormal = False
    for sentence in sentences:
        spoken = spoken or bool(sentence.strip())
        for finding, mention in label_sentence(sentence).items():
            if _RANK[mention] >= _RANK[out.get(finding, "negative")]:
                out[finding] = mention
        for clause in _clauses(_normalise(sentence), cues):
            abnormal = abnormal or any(m != "negative" for m in _mentions(clause, other, cues))
    out = {f: out[f] for f in FINDINGS if f in out}
    found = any(mention != "negative" for finding, mention in out.items() if finding != "Support Devices")
    return {**out, NO_FINDING: "positive"} if spoken and not found and not abnormal else out


# ── the rules ──────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class _Rule:
    """The phrases of one finding, compiled: see `findings.toml`."""

    mention: re.Pattern[str]
    uncertain: re.Pattern[str]
    negative: re.Pattern[str]
    ignore: re.Pattern[str]
    unreliable: re.Pattern[str]


_Cues = dict[str, re.Pattern[str]]


def compile_phrases(phrases: Sequence[str]) -> re.Pattern[str]:
    """Phrases as `findings.toml` writes them → a pattern over normalised text, whose matches end with a space.

    Raises
    ------
    ValueError
        A phrase that cannot be read.
    """
    return re.compile("|".join(_compile(phrase) for phrase in phrases) or r"(?!)")


def _compile(phrase: str) -> str:
    parts = []
    for word in phrase.split():
        optional = word.startswith("(") and word.endswith(")")
        inner = word[1:-1] if optional else word
        if inner == ".." and not optional:
            parts.append(r"(?:[\w'~.]+ ){0,8}?")
            continue
        if not re.fullmatch(r"[a-z0-9']+\*?(?:/[a-z0-9']+\*?)*|[,:]", inner):
            raise ValueError(
                f"{RULES.name}: “{word}” in “{phrase}” is neither a word, word*, word/word, (word) nor “..” “,” “:”."
            )
        one = "|".join(w.replace("*", "[a-z]*") for w in inner.split("/"))
        parts.append(f"(?:(?:{one}) )?" if optional else f"(?:{one}) ")
    return r"(?<![^ ])" + "".join(parts)


@cache
def _rules() -> tuple[_Cues, dict[str, _Rule], _Rule]:
    raw: dict[str, Any] = tomllib.loads(RULES.read_text(encoding="utf-8"))
    if set(raw["findings"]) != set(FINDINGS):
        raise ValueError(f"{RULES.name} must have rules for exactly these findings: {', '.join(FINDINGS)}.")

    def rule(table: dict[str, list[str]]) -> _Rule:
        return _Rule(*(compile_phrases(table.get(k, [])) for k in _Rule.__dataclass_fields__))

    cues = {name: compile_phrases(phrases) for name, phrases in raw["cues"].items()}
    return cues, {f: rule(raw["findings"][f]) for f in FINDINGS}, rule({"mention": raw["no_finding"]["other"]})


# ── reading ──────────────────────────────────────────────────────────────────────────────────────────


def _normalise(sentence: str) -> str:
    """Lower case, words and punctuation apart by single spaces, a space at both ends; hyphens are spaces."""
    return f" {' '.join(_TOKEN.findall(sentence.lower().replace('’', chr(39))))} "


def _blank(text: str, pattern: re.Pattern[str]) -> str:
    """The text with what matches made unreadable, no position changed."""
    return pattern.sub(lambda m: re.sub(r"[^ ]", "~", m.group()), text)


def _clauses(text: str, cues: _Cues) -> list[str]:
    """The stretches beyond which no cue reaches; each begins and ends with a space."""
    readable = _blank(text, cues["no_boundary"])
    cuts = {m.start() for m in cues["boundary"].finditer(readable)}
    for m in re.finditer(r"[^ ]+", readable):
        if m.group() in _STOPS:
            cuts.add(m.start())
        elif m.group() == ",":
            rest = re.split(r"[,;.:()] ", readable[m.end() + 1 :], maxsplit=1)[0]
            verb = cues["verbs"].search(rest)
            new = verb and not cues["joined"].match(rest) and not cues["either"].search(rest[: verb.start()])
            if new or cues["fresh"].match(rest):
                cuts.add(m.start())
    edges = [1, *sorted(cuts - {1}), len(text)]
    return [f" {text[a:b]}" for a, b in pairwise(edges) if text[a:b].strip()]


def _mentions(clause: str, rule: _Rule, cues: _Cues) -> list[Mention]:
    """What one clause says of one finding, once for every time it is named."""
    out: list[Mention] = []
    for pattern, sure in ((rule.mention, True), (rule.uncertain, False)):
        for match in pattern.finditer(clause):
            mention = _polarity(clause, match.start(), match.end(), cues)
            out.append("uncertain" if mention == "positive" and not sure else mention)
    if not out:
        normal = rule.negative.search(clause)
        if normal:
            out.append("positive" if cues["deny_before"].search(normal.group()) else "negative")
        elif rule.unreliable.search(clause) and cues["unreliable"].search(clause):
            out.append("uncertain")
    return out


def _polarity(clause: str, start: int, end: int, cues: _Cues) -> Mention:
    readable = _blank(clause, cues["no_change"])
    if cues["doubt"].search(readable) or cues["doubt_ahead"].search(readable[:end]):
        return "uncertain"
    denied = _follows("deny_after", readable, start, end, cues) or _follows("not_seen", readable, start, end, cues)
    before = _blank(readable, cues["not_seen"])[:end]
    if denied or cues["deny_before"].search(before) or _past(readable, before, cues):
        return "negative"
    words = clause[:start].split()[-_NEAR:], clause[start:end].split(), clause[end:].split()[:_NEAR]
    if (
        cues["doubt_before"].search(readable[:end])
        or _follows("doubt_after", readable, start, end, cues)
        or any(cues["either"].search(f"{' '.join(near)} ") for near in words)
    ):
        return "uncertain"
    return "positive"


def _past(clause: str, before: str, cues: _Cues) -> bool:
    """Whether a history is told of, which goes on over a comma only as a list does."""
    cue = cues["deny_to_comma"].search(before)
    if cue is None:
        return False
    _, _, further = clause[cue.end() :].partition(" , ")
    list_alone = not (cues["verbs"].search(further) or cues["doubt_before"].search(further))
    return list_alone or " , " not in before[cue.end() :]


def _follows(cue: str, clause: str, start: int, end: int, cues: _Cues) -> bool:
    """Whether a cue stands behind a mention and speaks of it: no verb between, and not of a part of the thing."""
    of_a_part = cues["parts"].search(f"{' '.join(clause[:start].split()[-_PART:])} ")
    for match in cues[cue].finditer(clause, end):
        between = clause[end : match.start()]
        if not (cues["verbs"].search(between) or cues["parts"].search(between) or of_a_part):
            return True
    return False


def side_of(sentence: str) -> str:
    """The patient's side a sentence names: "left", "right", "bilateral" or "" where it names none."""
    text = sentence.lower()
    left, right = re.search(r"\bleft\b", text), re.search(r"\bright\b", text)
    if re.search(r"\bbilateral(?:ly)?\b|\bboth\b", text) or (left and right):
        return "bilateral"
    if left:
        return "left"
    return "right" if right else ""


def report_findings(sentences: list[str]) -> dict[str, str]:
    """The positive findings of a report: finding → side. "left" and "right" in two sentences make "bilateral"."""
    out: dict[str, str] = {}
    for sentence in sentences:
        for finding, mention in label_sentence(sentence).items():
            if mention != "positive":
                continue
            side = side_of(sentence)
            known = out.get(finding, side)
            out[finding] = known if known == side or not side else side if not known else "bilateral"
    return out
