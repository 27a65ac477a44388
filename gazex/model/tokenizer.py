"""The small model's tokenizer: a byte-level BPE trained here, with Qwen2's pre-tokenisation and special tokens."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final

from tokenizers import Regex as TokenizerRegex
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from gazex.model.config import SPECIAL_TOKENS

# One turn of Qwen2-VL's chat: what stands in `content` is text or an image placeholder.
CHAT_TEMPLATE: Final = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif part['type'] == 'video' %}<|vision_start|><|video_pad|><|vision_end|>"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# Words of chest reports beyond the simulated reader's, so that a radiologist's own sentences do not fall into bytes.
WORDS: Final = (
    "the lungs are clear without focal consolidation there is no evidence of acute cardiopulmonary process "
    "disease heart size and mediastinal contours are within normal limits unremarkable stable unchanged mild "
    "moderate severe small large trace increased decreased interval improvement worsening since prior study "
    "bibasilar basilar bilateral left right upper middle lower lobe lobes zone apex apical base bases hilum hilar "
    "perihilar retrocardiac atelectasis pneumonia edema pulmonary vascular congestion interstitial alveolar "
    "opacity opacities opacification infiltrate nodule nodules mass lesion calcified granuloma pleural effusion "
    "effusions thickening pneumothorax pneumothoraces tension fracture fractures rib ribs clavicle spine "
    "degenerative changes osseous structures bony cardiomegaly cardiac silhouette enlarged aorta tortuous "
    "calcification costophrenic angle angles blunting blunted diaphragm hemidiaphragm elevated endotracheal tube "
    "nasogastric catheter line central venous picc pacemaker leads tip terminates in satisfactory position carina "
    "trachea midline deviated seen noted identified suspected possible probable may represent cannot be excluded "
    "likely suggesting consistent with compatible "
)
PRETOKENIZE: Final = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def train_tokenizer(
    corpus: Iterable[str], *, vocabulary: int = 900, numbers: Iterable[int] = (), pieces: Iterable[str] = ()
) -> Any:
    """Train a `Qwen2Tokenizer` on texts.

    Parameters
    ----------
    corpus
        Prompts, targets and reports.
    vocabulary
        Size of the BPE vocabulary without special tokens; at least 256 bytes.
    numbers
        Whole numbers that are one token each; all others are spelled digit by digit.
    pieces
        Other pieces of text that are one token each wherever they stand.

    Returns
    -------
    Qwen2Tokenizer
        With Qwen2-VL's special tokens as its last ids, `<|im_end|>` as end of sequence, and a chat template.
    """
    from transformers import AddedToken, Qwen2Tokenizer

    raw = Tokenizer(models.BPE())
    raw.normalizer = normalizers.NFC()
    raw.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(TokenizerRegex(PRETOKENIZE), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
        min_frequency=1,
    )
    raw.train_from_iterator([*corpus, *(f" {w}" for w in WORDS.split())], trainer)
    trained = json.loads(raw.to_str())["model"]
    merges: Any = [tuple(m) if isinstance(m, list) else tuple(m.split(" ")) for m in trained["merges"]]
    tokenizer = Qwen2Tokenizer(
        vocab=trained["vocab"],
        merges=merges,
        unk_token="<|endoftext|>",
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
    )
    tokenizer.add_tokens([AddedToken(str(n), single_word=True, normalized=False) for n in numbers])
    tokenizer.add_tokens([AddedToken(piece, normalized=False) for piece in pieces])
    tokenizer.add_tokens([AddedToken(t, special=True, normalized=False) for t in SPECIAL_TOKENS])
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer
