"""CheXbert itself, for a person who has its weights: a BERT encoder with one head for each of fourteen categories.

Smit et al., "CheXbert: Combining Automatic Labelers and Expert Annotations for Accurate Radiology Report Labeling Using
BERT", EMNLP 2020. Its checkpoint (`chexbert.pth`, from the authors; not part of this project) holds
`model_state_dict` with `module.bert.*` and `module.linear_heads.0` to `.13`: thirteen heads of four classes on the
first token's last state, and "No Finding" with two. torch and transformers are imported when a checkpoint is loaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gazex.findings import FINDINGS, NO_FINDING, LabelError, Mention

if TYPE_CHECKING:
    import torch

BERT: Final = "bert-base-uncased"
HEADS: Final[tuple[str, ...]] = (
    "Enlarged Cardiomediastinum",
    "Cardiomegaly",
    "Lung Opacity",
    "Lung Lesion",
    "Edema",
    "Consolidation",
    "Pneumonia",
    "Atelectasis",
    "Pneumothorax",
    "Pleural Effusion",
    "Pleural Other",
    "Fracture",
    "Support Devices",
    NO_FINDING,
)
"""The category of each head, in the checkpoint's order."""

CLASSES: Final[tuple[Mention | None, ...]] = (None, "positive", "negative", "uncertain")
"""What a head's classes mean; None is "not mentioned"."""

LONGEST: Final = 512
BATCH: Final = 18


class CheXbert:
    """CheXbert, ready to label.

    Parameters
    ----------
    bert
        A `transformers.BertModel`.
    heads
        Fourteen linear layers, in the order of `HEADS`.
    tokenizer
        The tokenizer of the encoder: text → token ids, with `[CLS]` and `[SEP]`.
    """

    def __init__(self, bert: torch.nn.Module, heads: torch.nn.ModuleList, tokenizer: Any) -> None:
        self.bert, self.heads, self.tokenizer = bert.eval(), heads.eval(), tokenizer

    @classmethod
    def load(cls, checkpoint: Path | str, bert: str = BERT, *, config: Any = None, tokenizer: Any = None) -> CheXbert:
        """Load the published checkpoint.

        Parameters
        ----------
        checkpoint
            The file `chexbert.pth`. It is read without running code from it.
        bert
            Folder or hub id of the tokenizer.
        config
            `transformers.BertConfig` of the encoder; by default BERT base, as published.
        tokenizer
            A tokenizer to use instead of `bert`'s.

        Raises
        ------
        LabelError
            torch or transformers is missing, or the checkpoint or the tokenizer cannot be used; the message names the
            remedy.
        """
        path = Path(checkpoint)
        if not path.is_file():
            raise LabelError(
                f"There is no CheXbert checkpoint {path}; ask its authors for chexbert.pth, or label by the rules."
            )
        try:
            import torch
            from transformers import BertConfig, BertModel, BertTokenizer
        except ImportError as error:
            raise LabelError(
                f"CheXbert needs torch and transformers ({error}); install them, or label by the rules."
            ) from None
        weights = _weights(path)
        config = config or BertConfig()
        words, width = config.vocab_size, config.hidden_size
        embedded = weights.get("bert.embeddings.word_embeddings.weight")
        if embedded is None or tuple(embedded.shape) != (words, width):
            reason = "no BERT encoder" if embedded is None else f"embeddings of {tuple(embedded.shape)}"
            raise LabelError(
                f"{path.name} is not CheXbert's checkpoint ({reason}, not {(words, width)}); give chexbert.pth."
            )
        encoder = BertModel(config)
        heads = torch.nn.ModuleList(torch.nn.Linear(width, 2 if name == NO_FINDING else len(CLASSES)) for name in HEADS)
        for module, prefix in ((encoder, "bert."), (heads, "linear_heads.")):
            mine = {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}
            mine.pop("embeddings.position_ids", None)  # a buffer that older versions of transformers stored
            try:
                module.load_state_dict(mine)
            except RuntimeError as error:
                reason = " ".join(str(error).split())[:200]
                raise LabelError(
                    f"{path.name} is not CheXbert's checkpoint ({reason}); give chexbert.pth as published."
                ) from None
        remedy = f"give a folder that holds the vocab.txt of {BERT}"
        if tokenizer is None:
            try:
                tokenizer = BertTokenizer.from_pretrained(bert)
            except (OSError, ValueError, TypeError) as error:
                reason = " ".join(str(error).split())[:120]
                raise LabelError(f"The tokenizer “{bert}” cannot be loaded ({reason}); {remedy}.") from None
        if len(tokenizer) != words:
            raise LabelError(
                f"The tokenizer “{bert}” has {len(tokenizer)} words where the checkpoint has {words}; {remedy}."
            )
        return cls(encoder, heads, tokenizer)

    def __call__(self, texts: Sequence[str]) -> list[dict[str, Mention]]:
        """Labels of each text (a sentence, or a report's impression), findings in the order of `FINDINGS`.

        A finding that is not mentioned is absent; "No Finding" is "positive" or absent.
        """
        import torch

        out: list[dict[str, Mention]] = []
        for first in range(0, len(texts), BATCH):
            ids = [self._ids(text) for text in texts[first : first + BATCH]]
            longest = max(map(len, ids))
            tokens = torch.tensor([i + [0] * (longest - len(i)) for i in ids])
            mask = torch.tensor([[1] * len(i) + [0] * (longest - len(i)) for i in ids])
            with torch.no_grad():
                state = self.bert(tokens, attention_mask=mask).last_hidden_state[:, 0]
                chosen = [head(state).argmax(dim=1).tolist() for head in self.heads]
            for row in zip(*chosen, strict=True):
                out.append(_labels(dict(zip(HEADS, row, strict=True))))
        return out

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(" ".join(text.split()), add_special_tokens=True)["input_ids"]
        return ids if len(ids) <= LONGEST else [*ids[: LONGEST - 1], ids[-1]]


def _labels(chosen: dict[str, int]) -> dict[str, Mention]:
    out: dict[str, Mention] = {}
    for finding in FINDINGS:
        mention = CLASSES[chosen[finding]]
        if mention is not None:
            out[finding] = mention
    if chosen[NO_FINDING]:
        out[NO_FINDING] = "positive"
    return out


def _weights(path: Path) -> dict[str, Any]:
    """The checkpoint's tensors, `module.` taken off their names."""
    import pickle
    import zipfile

    import torch

    try:
        raw = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, zipfile.BadZipFile, RuntimeError, EOFError, OSError, ValueError) as error:
        raise LabelError(
            f"{path.name} cannot be read as a checkpoint ({' '.join(str(error).split())[:99]}); "
            "give chexbert.pth as published."
        ) from None
    state = raw.get("model_state_dict") if isinstance(raw, dict) else None
    if not isinstance(state, dict):
        raise LabelError(
            f"{path.name} holds no model_state_dict; give CheXbert's checkpoint chexbert.pth as published."
        )
    return {str(k).removeprefix("module."): v for k, v in state.items()}
