"""One configuration for both sizes: `small` (ours, built here) and a Qwen2-VL folder or hub id (`2b`)."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from gazex.findings import FINDINGS, PHANTOM_FINDINGS, SIDED
from gazex.tasks.formats import PROMPT_VERSION

FILE: Final = "gazex.json"
SMALL_DIR: Final = Path(__file__).resolve().parent.parent / "weights" / "small"
LORA_TARGETS: Final = r".*language_model.*\.(q|k|v|o|gate|up|down)_proj"
"""peft's "all-linear" would also adapt the vision tower."""

SPECIAL_TOKENS: Final[tuple[str, ...]] = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
"""Qwen2-VL's, in its order."""


class ModelError(ValueError):
    """A model cannot be loaded or built; the message says what is missing and what to do."""


def resolve(name: str | Path) -> str:
    """A model's folder or hub id; "small" is the one that comes with the code."""
    return str(SMALL_DIR) if str(name) == "small" else str(name)


def model_folder(name: str | Path) -> Path | None:
    """The folder that a model's name means; None for a hub id.

    Raises
    ------
    ModelError
        The name is neither a folder nor could it be a hub id (OWNER/NAME).
    """
    where = Path(resolve(name))
    if where.is_dir():
        return where
    if str(name).startswith((".", "/", "~")) or str(name).count("/") != 1:
        raise ModelError(f"There is no model folder {name}.")
    return None


@dataclass(frozen=True)
class GazeXConfig:
    """What a GazeX is beside its Qwen2-VL.

    Attributes
    ----------
    size
        "small" or "2b".
    image_size
        (rows, columns) every image is resized to; None keeps the aspect ratio within `min_pixels` and `max_pixels`.
    image_mean, image_std
        Normalisation of the window-levelled image 0–1, one value (all channels alike) or three.
    heat_findings
        Findings of the gaze-heat head, in its channel order; empty where there is no head.
    heat_cells
        The head draws `heat_cells` × `heat_cells` values for each visual token.
    heat_sigma
        SD of the Gaussian of its targets, as a share of the image.
    heat_left
        Findings that have a second map, of the gaze on what lies on the patient's left alone: it teaches the visual
        tokens the side.
    heat_dwell
        Whether the head draws one map more: the dwell of the whole reading.
    heat_unspoken
        Whether it draws the gaze before the first sentence's window too: what draws the eye and is not spoken of.
    inputs
        "gray": three times the gray value, as Qwen2-VL's pictures are. "detail": gray value, local contrast, dots and
        each pixel's place. Details are faint beside the organs, and a patch does not say on which side it lies. Of a
        patch's two copies one holds gray, fine contrast and the place along x, the other dots, coarser contrast and the
        place along y.
    stem_width
        Channels of the first of the convolutions before the vision tower (see `Stem`), a multiple of 4; 0 where there
        are none.
    coordinate_step
        Box corners in answers are rounded to multiples of this (of 1000), points to twice that, dwell times to a dozen
        values; 1 rounds nothing.
    base
        Folder or hub id of the Qwen2-VL an adapter belongs to; None where the weights are whole.
    prompt_version
        Format of prompts and targets it was trained on.
    """

    size: str = "small"
    image_size: tuple[int, int] | None = (112, 112)
    min_pixels: int = 56 * 56
    max_pixels: int = 756 * 756
    image_mean: tuple[float, ...] = (0.5,)
    image_std: tuple[float, ...] = (0.27,)
    heat_findings: tuple[str, ...] = PHANTOM_FINDINGS
    heat_cells: int = 4
    heat_sigma: float = 0.06
    heat_left: tuple[str, ...] = ()
    heat_dwell: bool = False
    heat_unspoken: bool = False
    inputs: str = "gray"
    stem_width: int = 0
    coordinate_step: int = 1
    base: str | None = None
    prompt_version: str = PROMPT_VERSION

    @property
    def heat_channels(self) -> int:
        return len(self.heat_findings) + len(self.heat_left) + self.heat_unspoken + self.heat_dwell

    def save(self, folder: Path) -> None:
        (folder / FILE).write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> GazeXConfig:
        try:
            raw = json.loads((folder / FILE).read_text(encoding="utf-8"))
            for name in ("image_size", "image_mean", "image_std", "heat_findings"):
                raw[name] = tuple(raw[name]) if raw[name] is not None else None
            raw["heat_left"] = tuple(raw.get("heat_left", ()))
            if raw.pop("detail_and_place", False):
                raise ModelError(f"The model {folder} was trained on inputs that are no longer made; train it again.")
            if raw.get("inputs", "gray") not in ("gray", "detail"):
                raise ValueError(f"its inputs are “{raw['inputs']}”")
            width = raw.get("stem_width", 0)
            if type(width) is not int or width < 0 or width % 4:
                raise ValueError(f"its stem_width is {width!r}, not a multiple of 4")
            return cls(**raw)
        except ModelError:
            raise
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise ModelError(f"{folder / FILE} is not a GazeX configuration: {error}.") from None


def small_config() -> GazeXConfig:
    """Settings of the small model as it is trained now."""
    return GazeXConfig(
        image_size=(140, 140),
        heat_left=tuple(f for f in PHANTOM_FINDINGS if f in SIDED),
        heat_dwell=True,
        heat_unspoken=True,
        inputs="detail",
        stem_width=16,
        coordinate_step=20,
    )


def qwen_config() -> GazeXConfig:
    """Settings for a Qwen2-VL that GazeX has not been trained on yet: its own normalisation, no trained heat head."""
    return GazeXConfig(
        size="2b",
        image_size=None,
        image_mean=(0.48145466, 0.4578275, 0.40821073),
        image_std=(0.26862954, 0.26130258, 0.27577711),
        heat_findings=(),
    )


def qwen_training_config(base: str) -> GazeXConfig:
    """Settings for training on top of a Qwen2-VL: a heat head over all 13 findings and an adapter."""
    plain = qwen_config()
    return GazeXConfig(
        size="2b",
        image_size=None,
        image_mean=plain.image_mean,
        image_std=plain.image_std,
        heat_findings=FINDINGS,
        base=base,
    )


def small_qwen_config(token_ids: dict[str, int], vocabulary: int) -> Any:
    """`Qwen2VLConfig` of the small GazeX: vision 3×96, language 3×128, patch 10 of 140 px: 49 visual tokens.

    rope_theta is 10: at Qwen's 1e6, with heads of 32, left and right of a 7×7 token grid are nearly the same to the
    language model.
    """
    from transformers import Qwen2VLConfig

    return Qwen2VLConfig(
        text_config={
            "vocab_size": vocabulary,
            "hidden_size": 128,
            "intermediate_size": 384,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "num_key_value_heads": 4,
            "max_position_embeddings": 2048,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10.0, "mrope_section": [4, 6, 6]},
            "bos_token_id": token_ids["<|endoftext|>"],
            "eos_token_id": token_ids["<|im_end|>"],
            "pad_token_id": token_ids["<|endoftext|>"],
        },
        vision_config={
            "depth": 3,
            "embed_dim": 96,
            "hidden_size": 128,
            "num_heads": 3,
            "mlp_ratio": 3,
            "hidden_act": "gelu",
            "patch_size": 10,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
        },
        image_token_id=token_ids["<|image_pad|>"],
        video_token_id=token_ids["<|video_pad|>"],
        vision_start_token_id=token_ids["<|vision_start|>"],
        vision_end_token_id=token_ids["<|vision_end|>"],
        tie_word_embeddings=True,
    )
