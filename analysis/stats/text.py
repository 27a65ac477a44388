"""How alike two reports are, which findings they state, and how well boxes and points say where.

Three kinds of measure, none of which needs a download:

- words: BLEU-1 to BLEU-4 (sacrebleu), ROUGE-L (rouge-score), METEOR (nltk), all over the same tokens;
- findings: precision, recall and F1 of the findings one text states against those another text, or a reference
  standard, states. What a text states is the labeller's business, and the labeller is the caller's;
- places: intersection over union of boxes, its mean over reference boxes (mIoU), and hits by points.

Measures of a trained model (CheXbert's labels, RadGraph F1, BERTScore) are adapters that load from a local folder.

Conventions
-----------
Tokens are lower-case words and numbers, see :func:`tokens`. All scores run from 0 to 1. A pair of texts of which one is
empty scores 0; a pair of two empty texts has no score (None) and adds nothing to a corpus. With several references the
best one counts for ROUGE-L and METEOR, and all of them for BLEU.

References
----------
- Papineni, Roukos, Ward & Zhu, "BLEU: a method for automatic evaluation of machine translation" (ACL 2002); Post, "A
  call for clarity in reporting BLEU scores" (WMT 2018); Chen & Cherry, "A systematic comparison of smoothing techniques
  for sentence-level BLEU" (WMT 2014).
- Lin, "ROUGE: a package for automatic evaluation of summaries" (ACL workshop 2004).
- Lavie & Agarwal, "METEOR: an automatic metric for MT evaluation with high levels of correlation with human judgments"
  (WMT 2007), whose parameters α = 0.9, β = 3, γ = 0.5 are used.
- Smit, Jain, Rajpurkar, Pareek, Ng & Lungren, "CheXbert" (EMNLP 2020); Jain et al., "RadGraph" (NeurIPS Datasets and
  Benchmarks 2021); Delbrouck et al., "Improving the factual correctness of radiology report generation with semantic
  rewards" (EMNLP Findings 2022); Zhang, Kishore, Wu, Weinberger & Artzi, "BERTScore" (ICLR 2020).
- Kuhn, "The Hungarian method for the assignment problem" (Naval Research Logistics Quarterly 2, 1955); Zhang, Bargal,
  Lin, Brandt, Shen & Sclaroff, "Top-down neural attention by excitation backprop" (IJCV 126, 2018) for the pointing
  game.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import unicodedata
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analysis.stats.ratings import RatingsError, sentence_list

Floats = NDArray[np.float64]
Tokeniser = Callable[[str], list[str]]
#: What a text says of findings: finding -> "positive", "uncertain" or "negative"; one it does not mention is absent.
Labels = Mapping[str, str]
#: One sentence -> its labels.
Labeller = Callable[[str], Labels]
Uncertain = Literal["positive", "negative"]
Synonyms = Literal["none", "wordnet"]

ORDERS: Final = (1, 2, 3, 4)
MENTIONS: Final = ("positive", "uncertain", "negative")


class TextError(RatingsError):
    """The texts, labels or boxes cannot be scored as they stand, or a model is not there; one sentence."""


# ── words ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

_WORD: Final = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d_]+(?:'[^\W\d_]+)*\d*")
#: A full stop, question or exclamation mark before a space or the end, or a new line; "2.5 cm" is not cut.
_SENTENCE_END: Final = re.compile(r"(?<=[.!?])\s+|[\r\n]+")


def tokens(text: str) -> list[str]:
    """The words and numbers of a report, lower-case.

    Unicode is brought to one form (NFKC) first. A number with a decimal point or comma stays whole ("2.5"), a level or
    rib such as "t12" too; compounds are cut ("follow-up" → "follow", "up"); punctuation and the blanks of de-identified
    reports ("___") are left out.

    >>> tokens("No pneumothorax. A 2.5-cm nodule at T12, isn't it? ___")
    ['no', 'pneumothorax', 'a', '2.5', 'cm', 'nodule', 'at', 't12', "isn't", 'it']
    """
    return _WORD.findall(unicodedata.normalize("NFKC", text).replace("\u2019", "'").lower())


def sentences(text: str) -> list[str]:
    """A report's sentences: cut after ".", "?" or "!" where a space follows, and at new lines.

    >>> sentences("Heart size normal. A 2.5 cm nodule.\\nNo effusion")
    ['Heart size normal.', 'A 2.5 cm nodule.', 'No effusion']
    """
    return [part.strip() for part in _SENTENCE_END.split(text) if part.strip()]


@dataclass(frozen=True)
class TextScores:
    """Scores of texts against their references, each 0 to 1.

    Attributes:
        pairs: one score a pair, None where both texts are empty.
        corpus: the score of them all together; None where no pair has one.
        convention: what exactly was computed.
    """

    pairs: tuple[float | None, ...]
    corpus: float | None
    convention: str

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def bleu(
    hypotheses: Sequence[str], references: Sequence[str | Sequence[str]], *, tokenise: Tokeniser = tokens
) -> dict[int, TextScores]:
    """BLEU-1 to BLEU-4 by sacrebleu: geometric mean of the n-gram precisions up to n, times the brevity penalty.

    Args:
        hypotheses: the texts, [N].
        references: of each one its reference, or several.
        tokenise: text to tokens.

    Returns:
        n → scores. A pair's precisions without a match are smoothed (exponentially, sacrebleu's default) and orders
        longer than the text are left out, so that equal texts score 1 however short; the corpus score pools the counts
        over all pairs and is not smoothed.

    Raises:
        TextError: the two lists differ in length, or a text has no reference.
    """
    from sacrebleu.metrics.bleu import BLEU

    pairs = _pairs(hypotheses, references, tokenise)
    some = [(" ".join(said), [" ".join(told) for told in refs]) for said, refs in pairs if _has_words(said, refs)]
    most = max((len(refs) for _, refs in some), default=0)
    streams: Any = [[refs[i] if i < len(refs) else None for _, refs in some] for i in range(most)]
    out = {}
    for n in ORDERS:
        options: dict[str, Any] = {"tokenize": "none", "force": True, "effective_order": True, "max_ngram_order": n}
        one, all_of_them = BLEU(smooth_method="exp", **options), BLEU(smooth_method="none", **options)
        scored = iter([one.sentence_score(said, refs).score / 100 for said, refs in some])
        out[n] = TextScores(
            tuple(min(1.0, next(scored)) if _has_words(said, refs) else None for said, refs in pairs),
            min(1.0, all_of_them.corpus_score([said for said, _ in some], streams).score / 100) if some else None,
            f"BLEU-{n} by sacrebleu over lower-case words and numbers; pairs smoothed exponentially, with orders "
            "longer than the text left out; the corpus pools counts, unsmoothed",
        )
    return out


def rouge_l(
    hypotheses: Sequence[str], references: Sequence[str | Sequence[str]], *, tokenise: Tokeniser = tokens
) -> TextScores:
    """ROUGE-L by rouge-score: F1 of the longest common subsequence over the whole text, words not stemmed.

    The corpus score is the mean over pairs. (Caption tools weight recall more, β = 1.2; this is β = 1, symmetric.)
    Arguments and errors as in :func:`bleu`.
    """
    from rouge_score.rouge_scorer import RougeScorer

    class Given:
        """Tokens that are made already, joined by spaces."""

        def tokenize(self, text: str) -> list[str]:
            return text.split(" ") if text else []

    scorer = RougeScorer(["rougeL"], tokenizer=Given())
    scored: list[float | None] = []
    for said, refs in _pairs(hypotheses, references, tokenise):
        if not _has_words(said, refs):
            scored.append(None)
            continue
        found = scorer.score_multi([" ".join(told) for told in refs], " ".join(said))
        scored.append(float(found["rougeL"].fmeasure))
    return _mean_of_pairs(scored, "ROUGE-L by rouge-score: F1 (β = 1) of the longest common subsequence, not stemmed")


def meteor(
    hypotheses: Sequence[str],
    references: Sequence[str | Sequence[str]],
    *,
    tokenise: Tokeniser = tokens,
    synonyms: Synonyms = "none",
) -> TextScores:
    """METEOR by nltk (α 0.9, β 3, γ 0.5); the corpus score is the mean over pairs.

    Args:
        hypotheses, references, tokenise: as in :func:`bleu`.
        synonyms: "none" matches words exactly and by Porter stem, which needs no data; "wordnet" also matches synonyms
            and needs nltk's WordNet data on this machine. The two are different measures: only compare like with like.

    Raises:
        TextError: as :func:`bleu`; or WordNet is asked for and its data are not there.
    """
    from nltk.translate.meteor_score import single_meteor_score

    source = _wordnet() if synonyms == "wordnet" else _NoSynonyms()
    scored: list[float | None] = []
    for said, refs in _pairs(hypotheses, references, tokenise):
        if not _has_words(said, refs):
            scored.append(None)
        else:
            scored.append(max(float(single_meteor_score(told, said, wordnet=source)) for told in refs))
    matched = "exact, stem and WordNet synonym" if synonyms == "wordnet" else "exact and Porter-stem"
    return _mean_of_pairs(scored, f"METEOR by nltk, α 0.9, β 3, γ 0.5, {matched} matches")


class _NoSynonyms:
    """A source of synonyms that knows none."""

    def synsets(self, word: str) -> list[Any]:
        return []


def _wordnet() -> Any:
    from nltk.corpus import wordnet

    try:
        wordnet.ensure_loaded()
    except LookupError:
        raise TextError(
            "METEOR with synonyms needs nltk's WordNet data, which is not on this machine: put the folder "
            "corpora/wordnet where NLTK_DATA points to, or take synonyms='none'."
        ) from None
    return wordnet


def _pairs(
    hypotheses: Sequence[str], references: Sequence[str | Sequence[str]], tokenise: Tokeniser
) -> list[tuple[list[str], list[list[str]]]]:
    if len(hypotheses) != len(references):
        raise TextError(
            f"There are {len(hypotheses)} texts and {len(references)} references; every text needs its own."
        )
    pairs = []
    for number, (said, told) in enumerate(zip(hypotheses, references, strict=True), start=1):
        several = [told] if isinstance(told, str) else list(told)
        if not isinstance(said, str) or not all(isinstance(one, str) for one in several):
            raise TextError(f"Pair {number} holds something that is no text; write an empty text where there is none.")
        if not several:
            raise TextError(f"Text {number} has no reference; give it one, which may be empty.")
        pairs.append((tokenise(said), [tokenise(one) for one in several]))
    return pairs


def _has_words(said: list[str], refs: list[list[str]]) -> bool:
    return bool(said) or any(refs)


def _mean_of_pairs(scored: Sequence[float | None], convention: str) -> TextScores:
    known = [score for score in scored if score is not None]
    return TextScores(
        tuple(scored), float(np.mean(known)) if known else None, convention + "; the corpus is the mean over pairs"
    )


# ── findings ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def labels_of(text: str | Sequence[str], labeller: Labeller) -> dict[str, str]:
    """What a report says of each finding.

    Args:
        text: a report, which is cut by :func:`sentences`, or its sentences.
        labeller: sentence → labels, such as ``gazex.findings.label_sentence``.

    Returns:
        Finding → "positive", "uncertain" or "negative", in this order of precedence over the sentences.
    """
    out: dict[str, str] = {}
    for sentence in sentences(text) if isinstance(text, str) else text:
        for finding, mention in labeller(sentence).items():
            if mention not in MENTIONS:
                raise TextError(f"The labeller calls {finding} {mention!r}; it must be one of {', '.join(MENTIONS)}.")
            known = out.get(finding)
            if known is None or MENTIONS.index(mention) < MENTIONS.index(known):
                out[finding] = mention
    return out


def stated(labels: Collection[str] | Labels, *, uncertain: Uncertain = "positive") -> set[str]:
    """The findings that count as stated: the positive ones, and the uncertain ones where these count as positive.

    A collection of names is taken as positive findings.
    """
    if not isinstance(labels, Mapping):
        if isinstance(labels, str):
            raise TextError(f"{labels!r} is a text; give a set of findings, or finding → mention.")
        return set(labels)
    counted = {"positive", "uncertain"} if uncertain == "positive" else {"positive"}
    wrong = [f"{finding}: {mention!r}" for finding, mention in labels.items() if mention not in MENTIONS]
    if wrong:
        raise TextError(f"A mention must be one of {', '.join(MENTIONS)}; found {sentence_list(wrong)}.")
    return {finding for finding, mention in labels.items() if mention in counted}


@dataclass(frozen=True)
class Agreement:
    """How often findings were rightly stated. What cannot be estimated is None, and the reason stands beside it."""

    true_positive: int
    false_positive: int
    false_negative: int
    true_negative: int
    precision: float | None
    recall: float | None
    f1: float | None
    not_estimable: str = ""


@dataclass(frozen=True)
class FindingScores:
    """Findings stated against those that are true.

    Attributes:
        findings: by finding.
        micro: over all findings and texts together.
        macro: precision, recall and F1, each averaged with equal weight over the findings that have one; None without.
        left_out: findings without an F1, because nobody states them and they never are true.
        conventions: what was decided.
    """

    findings: dict[str, Agreement]
    micro: Agreement
    macro: dict[str, float | None]
    left_out: tuple[str, ...]
    conventions: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def finding_scores(
    said: Sequence[Collection[str] | Labels],
    truth: Sequence[Collection[str] | Labels],
    *,
    findings: Sequence[str],
    uncertain: Uncertain = "positive",
) -> FindingScores:
    """Precision, recall and F1 of the findings texts state.

    Args:
        said: of each text its positive findings, or finding → "positive", "uncertain" or "negative", [N].
        truth: the same of what is true, [N].
        findings: those that are scored; others are ignored on both sides.
        uncertain: what an uncertain mention counts as, on both sides. "positive" is CheXbert's F1 as the report
            generation literature computes it.

    Returns:
        F1 = 2 TP / (2 TP + FP + FN). A finding that is neither stated nor true in any text has no F1 and is left out of
        the macro average (scikit-learn would count it as 0).

    Raises:
        TextError: the lists differ in length, findings are named twice or not at all, or a mention is unknown.
    """
    if len(said) != len(truth):
        raise TextError(
            f"There are findings of {len(said)} texts and of {len(truth)} references; every text needs one."
        )
    if not findings or len(set(findings)) != len(findings):
        raise TextError("The findings to be scored must be named, each once.")
    claims = [stated(labels, uncertain=uncertain) for labels in said]
    facts = [stated(labels, uncertain=uncertain) for labels in truth]
    claimed = np.array([[f in one for f in findings] for one in claims], dtype=bool).reshape(-1, len(findings))
    true = np.array([[f in one for f in findings] for one in facts], dtype=bool).reshape(-1, len(findings))
    counts = np.array([(claimed & true), (claimed & ~true), (~claimed & true), (~claimed & ~true)]).sum(axis=1)
    by_finding = {name: _agreement(*counts[:, i]) for i, name in enumerate(findings)}
    macro = {}
    for measure in ("precision", "recall", "f1"):
        known = [value for one in by_finding.values() if (value := getattr(one, measure)) is not None]
        macro[measure] = float(np.mean(known)) if known else None
    counted = "as positive" if uncertain == "positive" else "as not stated"
    return FindingScores(
        findings=by_finding,
        micro=_agreement(*counts.sum(axis=1)),
        macro=macro,
        left_out=tuple(name for name, one in by_finding.items() if one.f1 is None),
        conventions=(
            f"Uncertain mentions count {counted}; a finding that is not mentioned counts as absent.",
            "Findings that are neither stated nor true have no F1 and are left out of the macro average.",
        ),
    )


def _agreement(tp: Any, fp: Any, fn: Any, tn: Any) -> Agreement:
    hit, extra, missed, rest = int(tp), int(fp), int(fn), int(tn)
    why = []
    if not hit + extra:
        why.append("it is never stated (no precision)")
    if not hit + missed:
        why.append("it is never true (no recall)")
    return Agreement(
        hit,
        extra,
        missed,
        rest,
        hit / (hit + extra) if hit + extra else None,
        hit / (hit + missed) if hit + missed else None,
        2 * hit / (2 * hit + extra + missed) if hit + extra + missed else None,
        f"not estimable, because {' and '.join(why)}" if why else "",
    )


# ── places ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def boxes_of(boxes: ArrayLike, what: str = "box") -> Floats:
    """Boxes as an array [N, 4] of x0, y0, x1, y1.

    Raises:
        TextError: another shape, a value that is no number, or x0 > x1 or y0 > y1; the box is named.
    """
    array = np.asarray(boxes, dtype=np.float64)
    if array.size == 0:
        return np.zeros((0, 4))
    if array.ndim != 2 or array.shape[1] != 4:
        raise TextError(f"The boxes have shape {list(array.shape)}; x0, y0, x1 and y1 make [N, 4].")
    bad = np.flatnonzero(~np.isfinite(array).all(axis=1) | (array[:, :2] > array[:, 2:]).any(axis=1))
    if bad.size:
        raise TextError(f"The {what} {bad[0] + 1} is {array[bad[0]].tolist()}; x0 ≤ x1 and y0 ≤ y1 are needed.")
    return array


def iou(first: ArrayLike, second: ArrayLike) -> Floats:
    """Intersection over union of every box of the first list with every one of the second, [N, M], 0 to 1.

    Boxes are continuous areas. Two boxes without area have 1 where they are the same and 0 where they are not.
    """
    a, b = boxes_of(first), boxes_of(second)
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=-1)
    area_a, area_b = ((box[:, 2:] - box[:, :2]).prod(axis=1) for box in (a, b))
    union = area_a[:, None] + area_b[None] - shared
    same = (a[:, None] == b[None]).all(axis=-1)
    return np.where(union > 0, shared / np.where(union > 0, union, 1.0), same.astype(float))


@dataclass(frozen=True)
class Grounding:
    """How well boxes lie on the reference's.

    Attributes:
        boxes, reference: how many there are of each.
        matched: IoU of each reference box with the box it was matched with, 0 where there is none, in order.
        miou: mean of ``matched``; None without a reference box.
        union_iou: IoU of the two areas the boxes cover together; None where both are empty.
        not_estimable: why ``miou`` is None.
    """

    boxes: int
    reference: int
    matched: tuple[float, ...]
    miou: float | None
    union_iou: float | None
    not_estimable: str = ""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def grounding(said: ArrayLike, reference: ArrayLike) -> Grounding:
    """Boxes of one finding (or of one text) against the reference's.

    Matching is one to one and maximises the summed IoU (Hungarian method): a box counts for one reference box at most.
    Boxes beyond the reference's lower ``union_iou``, not ``miou``, which asks of each reference box how well it was
    found.

    Args:
        said, reference: boxes x0, y0, x1, y1 in image pixels, [N, 4] and [M, 4]; either may be empty.
    """
    from scipy.optimize import linear_sum_assignment

    a, b = boxes_of(said), boxes_of(reference, "reference box")
    overlap = iou(a, b)
    matched = np.zeros(len(b))
    rows, columns = linear_sum_assignment(overlap, maximize=True)
    matched[columns] = overlap[rows, columns]
    return Grounding(
        boxes=len(a),
        reference=len(b),
        matched=tuple(matched.tolist()),
        miou=float(matched.mean()) if len(b) else None,
        union_iou=_union_iou(a, b),
        not_estimable="" if len(b) else "not estimable, because the reference has no box",
    )


def _union_iou(a: Floats, b: Floats) -> float | None:
    """Of the areas covered, exactly: every cell between two neighbouring edges is inside a box or outside it."""
    edges = [np.unique(np.r_[a[:, [i, i + 2]].ravel(), b[:, [i, i + 2]].ravel()]) for i in (0, 1)]
    if any(len(edge) < 2 for edge in edges):
        return None
    area = np.diff(edges[1])[:, None] * np.diff(edges[0])[None]
    x, y = ((edge[:-1] + edge[1:]) / 2 for edge in edges)
    covered = []
    for boxes in (a, b):
        across = (x[None] > boxes[:, [0]]) & (x[None] < boxes[:, [2]])
        down = (y[None] > boxes[:, [1]]) & (y[None] < boxes[:, [3]])
        covered.append((down[:, :, None] & across[:, None, :]).any(axis=0))
    union = float(area[covered[0] | covered[1]].sum())
    return float(area[covered[0] & covered[1]].sum()) / union if union > 0 else None


def hits(points: ArrayLike, boxes: ArrayLike) -> NDArray[np.bool_]:
    """Whether each box holds at least one of the points, its edge included (the pointing game), [M].

    Args:
        points: x, y in image pixels, [N, 2], possibly none.
        boxes: x0, y0, x1, y1, [M, 4].
    """
    b = boxes_of(boxes)
    xy = np.asarray(points, dtype=np.float64)
    if xy.size == 0:
        return np.zeros(len(b), dtype=bool)
    if xy.ndim != 2 or xy.shape[1] != 2 or not np.isfinite(xy).all():
        raise TextError(f"The points have shape {list(xy.shape)} or hold no numbers; x and y make [N, 2].")
    inside = (xy[:, None] >= b[None, :, :2]) & (xy[:, None] <= b[None, :, 2:])
    return np.asarray(inside.all(axis=-1).any(axis=0))


# ── measures of a trained model ───────────────────────────────────────────────────────────────────────────────────────


class Scorer(Protocol):
    """A measure of texts against references that a trained model makes."""

    name: str

    def score(self, hypotheses: Sequence[str], references: Sequence[str]) -> list[float]:
        """One score a pair; higher is more alike."""


class CheXbert:
    """CheXbert's labels of whole reports, from its published checkpoint.

    The folder holds ``chexbert.pth`` (the checkpoint as published), and of BERT base, uncased, ``config.json`` and
    ``vocab.txt``. The model is BERT with 14 linear heads on its first token: four classes (blank, positive, negative,
    uncertain) for 13 observations and support devices, two for "No Finding", which is left out here.
    """

    FINDINGS: Final = (
        "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema", "Consolidation",
        "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other", "Fracture", "Support Devices",
    )  # fmt: skip
    CLASSES: Final = (None, "positive", "negative", "uncertain")

    def __init__(self, folder: Path | str) -> None:
        here = _folder(folder, "CheXbert", ("chexbert.pth", "config.json", "vocab.txt"))
        torch, transformers = _package("torch", "CheXbert"), _package("transformers", "CheXbert")
        with _offline():
            config = transformers.BertConfig.from_json_file(str(here / "config.json"))
            self._tokenizer = transformers.BertTokenizer(str(here / "vocab.txt"))
            bert = transformers.BertModel(config)
        model = torch.nn.Module()
        model.bert = bert
        heads = [torch.nn.Linear(config.hidden_size, len(self.CLASSES)) for _ in self.FINDINGS]
        model.linear_heads = torch.nn.ModuleList([*heads, torch.nn.Linear(config.hidden_size, 2)])
        try:
            saved = torch.load(here / "chexbert.pth", map_location="cpu", weights_only=True)["model_state_dict"]
            weights = {name.removeprefix("module."): value for name, value in saved.items()}
            weights.pop("bert.embeddings.position_ids", None)  # older releases of transformers kept it
            model.load_state_dict(weights)
        except Exception as error:
            said = str(error).strip().splitlines() or [type(error).__name__]
            raise TextError(f"{here / 'chexbert.pth'} is not CheXbert's checkpoint: {said[0]}") from None
        self._torch, self._model, self._longest = torch, model.eval(), config.max_position_embeddings

    def __call__(self, text: str) -> dict[str, str]:
        """Finding → mention of one report; also a :data:`Labeller` of single sentences."""
        ids = self._tokenizer.encode(" ".join(text.split()), truncation=True, max_length=self._longest)
        with self._torch.inference_mode():
            first = self._model.bert(self._torch.tensor([ids]))[0][:, 0]
            chosen = [int(head(first).argmax()) for head in self._model.linear_heads[: len(self.FINDINGS)]]
        return {
            finding: mention
            for finding, kind in zip(self.FINDINGS, chosen, strict=True)
            if (mention := self.CLASSES[kind]) is not None
        }


class RadGraphF1:
    """RadGraph F1 by the package ``radgraph``: F1 of entities, with whether they have relations ("partial", RG_ER).

    The folder holds the model as unpacked by that package, ``<model>/config.json``, ``weights.th`` and ``vocabulary/``;
    the ``model_name`` in that config must name a tokenizer that is on this machine.
    """

    name = "RadGraph F1"

    def __init__(
        self,
        folder: Path | str,
        *,
        model: str = "radgraph-xl",
        reward: Literal["simple", "partial", "complete"] = "partial",
    ) -> None:
        here = _folder(folder, self.name, (f"{model}/config.json", f"{model}/weights.th", f"{model}/vocabulary"))
        package = _package("radgraph", self.name)
        with _offline():
            try:
                self._scorer = package.F1RadGraph(reward_level=reward, model_type=model, model_cache_dir=str(here))
            except Exception as error:
                said = str(error).strip().splitlines() or [type(error).__name__]
                raise TextError(f"RadGraph cannot be loaded from {here} without a network: {said[0]}") from None

    def score(self, hypotheses: Sequence[str], references: Sequence[str]) -> list[float]:
        _pairs(hypotheses, list(references), str.split)
        with _offline():
            return [float(v) for v in self._scorer(hyps=list(hypotheses), refs=list(references))[1]]


class BertScore:
    """BERTScore's F1 by the package ``bert-score``, without rescaling and inverse document frequencies.

    The folder holds a transformers model with its tokenizer; ``layer`` is the layer whose embeddings are compared, from
    1. Scores of different models or layers are different measures.
    """

    name = "BERTScore F1"

    def __init__(self, folder: Path | str, *, layer: int) -> None:
        here = _folder(folder, self.name, ("config.json",))
        package = _package("bert_score", self.name, "bert-score")
        layers = json.loads((here / "config.json").read_text(encoding="utf-8")).get("num_hidden_layers")
        if not 1 <= layer <= (layers or layer):
            raise TextError(f"layer is {layer}; the model in {here} has layers 1 to {layers}.")
        with _offline():
            try:
                self._scorer = package.BERTScorer(model_type=str(here), num_layers=layer, lang=None, device="cpu")
            except Exception as error:
                said = str(error).strip().splitlines() or [type(error).__name__]
                raise TextError(f"BERTScore cannot load the model in {here}: {said[0]}") from None

    def score(self, hypotheses: Sequence[str], references: Sequence[str]) -> list[float]:
        _pairs(hypotheses, list(references), str.split)
        if not hypotheses:
            return []
        with _offline():
            try:
                return [float(v) for v in self._scorer.score(list(hypotheses), list(references))[2]]
            except OverflowError:
                raise TextError(
                    "The tokenizer of the BERTScore model names no longest text: write model_max_length into its "
                    "tokenizer_config.json."
                ) from None


def _folder(folder: Path | str, what: str, needed: Sequence[str]) -> Path:
    here = Path(folder)
    missing = [name for name in needed if not (here / name).exists()]
    if missing:
        raise TextError(
            f"{what} needs its weights in a local folder, and {here} lacks {', '.join(missing)}; "
            "nothing is downloaded: put them there."
        )
    return here


def _package(name: str, what: str, install: str = "") -> Any:
    """A package that this library does not depend on."""
    try:
        return importlib.import_module(name)
    except ImportError:
        raise TextError(
            f"{what} needs the package {install or name}, which is not installed: pip install {install or name}."
        ) from None


@contextmanager
def _offline() -> Iterator[None]:
    """Keep the hub's client, loaded or not, from asking the network."""
    before = {name: os.environ.get(name) for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")}
    os.environ.update(dict.fromkeys(before, "1"))
    with _constant("huggingface_hub.constants", "HF_HUB_OFFLINE"):
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value


@contextmanager
def _constant(module: str, name: str) -> Iterator[None]:
    try:
        there = importlib.import_module(module)
    except ImportError:
        yield
        return
    before = getattr(there, name)
    setattr(there, name, True)
    try:
        yield
    finally:
        setattr(there, name, before)
