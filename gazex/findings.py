"""The findings' names, and which of them a sentence states.

The names are CheXbert's label strings (Smit et al., EMNLP 2020), used verbatim as identifiers in the whole system.
The labeller here is a small negation-aware one: enough to read back what a report says about each finding. It knows
nothing of torch, so that every room may import it.
"""

from __future__ import annotations

import re
from typing import Final, Literal

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
"""CheXbert's 13 findings beside "No Finding", in CheXbert's order."""

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

# Rules as data: a finding is mentioned where one of its phrases occurs.
PHRASES: Final[dict[str, tuple[str, ...]]] = {
    "Enlarged Cardiomediastinum": (
        r"widen\w* (?:of the )?(?:\w+ )?mediastin\w+",
        r"mediastin\w+ (?:is )?(?:widen|enlarge)\w*",
    ),
    "Cardiomegaly": (
        r"cardiomegaly",
        r"(?:heart|cardiac silhouette|cardiac size|heart size)[\w\s]*\b(?:enlarged|large)",
        r"enlarge\w* (?:of the )?(?:heart|cardiac silhouette)",
        r"enlarged cardiac",
    ),
    "Lung Lesion": (
        r"nodul\w+",
        r"\bmass(?:es)?\b",
        r"lung lesions?",
        r"pulmonary lesions?",
        r"metasta\w+",
        r"granuloma\w*",
    ),
    "Lung Opacity": (r"opacit\w+", r"opacification", r"infiltrat\w+", r"airspace disease"),
    "Edema": (r"\bo?edema", r"vascular congestion", r"interstitial congestion"),
    "Consolidation": (r"consolidat\w+",),
    "Pneumonia": (r"pneumonia", r"infectious process"),
    "Atelectasis": (r"atelecta\w+", r"volume loss", r"collapse"),
    "Pneumothorax": (r"pneumothora\w+",),
    "Pleural Effusion": (
        r"effusions?",
        r"pleural fluid",
        r"blunting of the (?:\w+ )?costophrenic",
        r"costophrenic (?:angle|sulcus)\w* (?:is |are )?blunted",
    ),
    "Pleural Other": (r"pleural thickening", r"pleural plaques?", r"fibrothorax"),
    "Fracture": (r"fractures?",),
    "Support Devices": (
        r"catheter\w*",
        r"\btubes?\b",
        r"pacemaker\w*",
        r"\blines?\b(?= (?:tip|terminat|end))",
        r"sternal wires",
        r"stents?",
        r"\bleads?\b",
        r"\bpicc\b",
    ),
}
_PHRASES: Final = {f: re.compile("|".join(f"(?:{p})" for p in ps), re.IGNORECASE) for f, ps in PHRASES.items()}
# "Heart size is normal", "costophrenic angles are sharp": a finding denied without being named.
_NORMAL: Final[dict[str, re.Pattern[str]]] = {
    "Cardiomegaly": re.compile(
        r"(?:heart|cardiac silhouette|cardiac size|heart size|cardiomediastinal silhouette)[\w\s]*\b"
        r"(?:normal|unremarkable)|normal (?:heart|cardiac)",
        re.IGNORECASE,
    ),
    "Pleural Effusion": re.compile(r"costophrenic (?:angles?|sulc\w+) (?:is|are) (?:sharp|clear)", re.IGNORECASE),
}
_NEGATION: Final = re.compile(
    r"\b(?:no|not|without|free of|negative for|absence of|resolved|neither|nor|rather than|never)\b", re.IGNORECASE
)
_NEGATED_AFTER: Final = re.compile(
    r"^[\w\s,]{0,40}\b(?:is|are|was|were|has|have)(?: been)? (?:not|ruled out|excluded|resolved|absent)\b",
    re.IGNORECASE,
)
_UNCERTAIN: Final = re.compile(
    r"\b(?:may|might|possibl[ey]|probabl[ey]|suspected|suspicious|suggest\w*|cannot be excluded|could|questionable|"
    r"cannot exclude|concern\w*|likely|versus|or)\b",
    re.IGNORECASE,
)
# A negation ends where a new clause begins.
_CLAUSE: Final = re.compile(r"\b(?:but|however|although|with|except)\b|;", re.IGNORECASE)


def label_sentence(sentence: str) -> dict[str, Mention]:
    """What one report sentence says about each finding it mentions.

    Parameters
    ----------
    sentence
        One sentence of a report, in English.

    Returns
    -------
    dict
        Finding name → "positive", "negative" or "uncertain"; a finding that is not mentioned is absent. "positive"
        wins over the other two where a sentence mentions a finding twice.
    """
    out: dict[str, Mention] = {}
    for finding, pattern in _PHRASES.items():
        for match in pattern.finditer(sentence):
            mention = _polarity(sentence, match.start(), match.end())
            if out.get(finding) != "positive":
                out[finding] = mention
        normal = _NORMAL.get(finding)
        if finding not in out and normal is not None and normal.search(sentence):
            out[finding] = "negative"
    return out


def _polarity(sentence: str, start: int, end: int) -> Mention:
    before = sentence[:start]
    clauses = list(_CLAUSE.finditer(before))
    if clauses and _NEGATION.search(before[clauses[-1].end() :]) is None and clauses[-1].group().lower() != "with":
        before = before[clauses[-1].end() :]
    inside = sentence[start:end]
    if _NEGATION.search(before) or _NEGATION.search(inside) or _NEGATED_AFTER.search(sentence[end:]):
        return "negative"
    if _UNCERTAIN.search(sentence):
        return "uncertain"
    return "positive"


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
