"""The network: a `Qwen2VLForConditionalGeneration`, the gaze-heat head on its visual tokens, and a stem before them."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, linear

from gazex.calibration import REACH, SUREST, Box, fine_heat, region_box
from gazex.decoding import BoxPrior, ConstrainedDecoder, GazePrior, Vocabulary, grammar_of
from gazex.model.config import (
    FILE,
    LORA_TARGETS,
    GazeXConfig,
    ModelError,
    model_folder,
    qwen_config,
    qwen_training_config,
    resolve,
    small_config,
    small_qwen_config,
)
from gazex.model.heat_head import HeatHead
from gazex.model.processor import Processor
from gazex.model.stem import CELLS, Stem

log = logging.getLogger(__name__)
HEAT_FILE = "heat_head.safetensors"
STEM_FILE = "stem.safetensors"
MOST_STATES = 20_000


@dataclass
class Visual:
    """Visual tokens of a batch of images: one tensor [tokens, hidden] an image, and the grids in patches; what the stem
    adds to the heat maps [maps, h, w], where there is one.
    """

    tokens: list[Tensor]
    grids: list[tuple[int, int, int]]
    maps: list[Tensor] = field(default_factory=list)

    def of(self, which: Sequence[int]) -> Visual:
        """Some of its images."""
        tokens, grids = [self.tokens[k] for k in which], [self.grids[k] for k in which]
        return Visual(tokens, grids, [self.maps[k] for k in which] if self.maps else [])


class GazeXNetwork(nn.Module):
    """Qwen2-VL with a gaze-heat head.

    Attributes
    ----------
    qwen
        The `Qwen2VLForConditionalGeneration` (inside a peft wrapper while an adapter is trained).
    heat
        The heat head, or None.
    stem
        The convolutions before the vision tower, or None.
    processor
        Its text and image preparation.
    """

    def __init__(
        self, qwen: Any, heat: HeatHead | None, config: GazeXConfig, processor: Processor, stem: Stem | None = None
    ) -> None:
        super().__init__()
        self.qwen, self.heat, self.config, self.processor = qwen, heat, config, processor
        self.stem = stem
        self.core.model.visual.patch_embed = _PatchProduct(self.core.model.visual.patch_embed)
        self.merge = processor.merge
        self._decoders: dict[tuple[str, int], ConstrainedDecoder] = {}

    @property
    def core(self) -> Any:
        """The `Qwen2VLForConditionalGeneration` itself, adapter or not."""
        return self.qwen.get_base_model() if hasattr(self.qwen, "get_base_model") else self.qwen

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def decoder(self, task: str, frames: int = 0) -> ConstrainedDecoder:
        """What keeps a task's answers on its grammar (see `grammar_of`); kept, since it learns its states.

        Boxes have a million first corners; one that has met too many states is made anew.
        """
        key = task, frames
        if key not in self._decoders or self._decoders[key].states > MOST_STATES:
            self._decoders[key] = ConstrainedDecoder(grammar_of(task, frames=frames), self.vocabulary)
        return self._decoders[key]

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The tokens that it gives scores."""
        return Vocabulary.of(self.processor.tokenizer, size=int(self.core.config.get_text_config().vocab_size))

    @property
    def names_places(self) -> bool:
        """Whether its vocabulary has tokens for whole coordinates, which a map can weigh."""
        return bool(self.vocabulary.coordinates.first)

    def gaze_prior(self, visual: Visual) -> GazePrior:
        """What the head's map of the whole dwell says of the points of a trajectory."""
        return GazePrior([m[-1].sigmoid().cpu().numpy() for m in self.heat_logits(visual)], self.vocabulary)

    def box_prior(self, visual: Visual, prompt_length: int) -> BoxPrior:
        """What the head's map of each finding says of the corners of its box."""
        return BoxPrior(self.heat_edges(visual), self.vocabulary, prompt_length)

    def heat_edges(self, visual: Visual) -> list[dict[str, tuple[Box, float]]]:
        """For each image, finding → where its heat ends (`REACH`), as shares of the image, and how sure the heat is."""
        edges = []
        for maps in self.heat_maps(visual):
            heats = {f: fine_heat(one) for f, one in zip(self.config.heat_findings, maps.cpu().numpy(), strict=True)}
            edges.append({f: (region_box(heat, REACH), min(SUREST, float(heat.max()))) for f, heat in heats.items()})
        return edges

    def see(self, images: Sequence[tuple[Tensor, tuple[int, int, int]]]) -> Visual:
        """Visual tokens of images given as (patches, grid)."""
        patches = torch.cat([p for p, _ in images]).to(self.device)
        grids = [g for _, g in images]
        maps: list[Tensor] = []
        if self.stem is not None:
            seen, maps = self.stem(patches, grids)
            patches = torch.cat([patches, seen], dim=1)
        features = self.core.model.get_image_features(patches, torch.tensor(grids, device=self.device))
        return Visual(list(features.pooler_output), grids, maps)

    def shown(self, visual: Visual, rows: TextRows) -> dict[str, Any]:
        """What Qwen2-VL is given of each row's image in place of its pixels."""
        from transformers.modeling_outputs import BaseModelOutputWithPooling

        chosen = visual.of(rows.image)
        tokens: Any = tuple(chosen.tokens)
        return {
            "mm_encoder_outputs": {rows.kind: BaseModelOutputWithPooling(pooler_output=tokens)},
            f"{rows.kind}_grid_thw": torch.tensor(chosen.grids, device=self.device),
        }

    def heat_logits(self, visual: Visual) -> list[Tensor]:
        """Every map of the head for each image: as `heat_maps`, then those of the left side, of what was not spoken of,
        and of the whole dwell.
        """
        if self.heat is None:
            raise ModelError("This model has no gaze-heat head; train one with `python -m gazex train`.")
        m = self.merge
        pairs = zip(visual.tokens, visual.grids, strict=True)
        maps = [self.heat(t.float(), g[1] // m, g[2] // m) for t, g in pairs]
        return [a + b for a, b in zip(maps, visual.maps, strict=True)] if visual.maps else maps

    def heat_maps(self, visual: Visual) -> list[Tensor]:
        """Heat logits [findings, h, w] of each image; h and w are `heat_cells` a visual token."""
        return [maps[: len(self.config.heat_findings)] for maps in self.heat_logits(visual)]

    def text_loss(self, visual: Visual | None, rows: TextRows) -> Tensor:
        """Mean cross-entropy over the supervised tokens; logits are computed at those positions only."""
        hidden = self._hidden(visual, rows)
        labels = rows.labels[:, 1:].to(hidden.device)
        at = labels != -100
        logits = self.core.lm_head(hidden[:, :-1][at])
        return cross_entropy(logits.float(), labels[at])

    def next_logits(self, visual: Visual, rows: TextRows) -> Tensor:
        """Logits [B, vocabulary] of the first token after each row's last one."""
        hidden = self._hidden(visual, rows)
        last = rows.attention_mask.sum(1).to(hidden.device) - 1
        return self.core.lm_head(hidden[torch.arange(len(last)), last]).float()

    def _hidden(self, visual: Visual | None, rows: TextRows) -> Tensor:
        self.core.model.rope_deltas = None  # left over from a generation, they would shift the positions
        out = self.core.model(
            input_ids=rows.input_ids.to(self.device),
            attention_mask=rows.attention_mask.to(self.device),
            mm_token_type_ids=rows.mm_token_type_ids.to(self.device),
            use_cache=False,
            **(self.shown(visual, rows) if visual is not None else {}),
        )
        return torch.as_tensor(out.last_hidden_state)

    def save(self, folder: Path, *, half: bool = False) -> None:
        """Write a folder `load_network` reads; `half` stores float16."""
        folder.mkdir(parents=True, exist_ok=True)
        dtype = torch.float16 if half else torch.float32
        config = self.config
        if hasattr(self.qwen, "peft_config"):
            self.qwen.save_pretrained(folder / "adapter")
        else:
            state = {k: v.detach().to(dtype).contiguous() for k, v in self.qwen.state_dict().items()}
            state.pop("lm_head.weight", None) if self.core.config.tie_word_embeddings else None
            save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
            self.core.config.save_pretrained(folder)
            config = replace(config, base=None)
        for part, name in ((self.heat, HEAT_FILE), (self.stem, STEM_FILE)):
            if part is not None:
                state = {k: v.detach().to(dtype).contiguous() for k, v in part.state_dict().items()}
                save_file(state, folder / name)
        self.processor.tokenizer.save_pretrained(folder)
        config.save(folder)
        for path in folder.glob("*.safetensors"):  # safetensors writes for the owner alone
            path.chmod(0o644)


class _PatchProduct(nn.Module):
    """Qwen2-VL's patch embedding. A convolution as wide as its stride is a matrix product, and quicker as one.

    Columns after a patch's own are what the stem saw there, and are added to the embedding.
    """

    def __init__(self, patch_embed: Any) -> None:
        super().__init__()
        self.proj = patch_embed.proj  # under the name that it is stored by

    def forward(self, patches: Tensor) -> Tensor:
        weight: Tensor = self.proj.weight
        matrix = weight.flatten(1)
        inputs = matrix.shape[1]
        embedded = linear(patches[:, :inputs].to(weight.dtype), matrix)
        return embedded if patches.shape[1] == inputs else embedded + patches[:, inputs:]


@dataclass
class TextRows:
    """A batch of texts: [B, L] each (right-padded), for each row the number of its image in the `Visual`, and whether
    that is an "image" or a "video".
    """

    input_ids: Tensor
    attention_mask: Tensor
    mm_token_type_ids: Tensor
    labels: Tensor
    image: list[int]
    kind: str = "image"


def _processor(tokenizer: Any, config: GazeXConfig, qwen_cfg: Any) -> Processor:
    vision = qwen_cfg.vision_config
    return Processor(
        tokenizer,
        config,
        patch=int(vision.patch_size),
        merge=int(vision.spatial_merge_size),
        temporal=int(vision.temporal_patch_size),
    )


def build_small(tokenizer: Any, *, seed: int, heat: bool = True) -> GazeXNetwork:
    """A small GazeX with random weights that follow from `seed`; without `heat` it has no gaze-heat head."""
    from transformers import Qwen2VLForConditionalGeneration

    torch.manual_seed(seed)
    ids = {t: int(tokenizer.convert_tokens_to_ids(t)) for t in tokenizer.get_added_vocab()}
    qwen_cfg = small_qwen_config(ids, len(tokenizer))
    qwen = Qwen2VLForConditionalGeneration(qwen_cfg)
    _scale(qwen)
    config = (
        small_config()
        if heat
        else replace(small_config(), heat_findings=(), heat_left=(), heat_dwell=False, heat_unspoken=False)
    )
    stem = _stem(config, qwen_cfg)  # before the head, so that it begins alike with and without one
    head = HeatHead(128, config.heat_channels, config.heat_cells) if heat else None
    return GazeXNetwork(qwen, head, config, _processor(tokenizer, config, qwen_cfg), stem)


def _stem(config: GazeXConfig, qwen_cfg: Any) -> Stem | None:
    if not config.stem_width:
        return None
    vision = qwen_cfg.vision_config
    merge = int(vision.spatial_merge_size)
    if config.heat_channels and config.heat_cells != CELLS * merge:
        raise ModelError(f"With a stem the heat head draws {CELLS * merge} cells a token, not {config.heat_cells}.")
    return Stem(
        patch=int(vision.patch_size),
        merge=merge,
        channels=int(vision.in_channels * vision.temporal_patch_size),
        width=config.stem_width,
        hidden=int(vision.embed_dim),
        maps=config.heat_channels,
    )


def _scale(qwen: Any) -> None:
    """Fresh weights with the scale of so narrow a network.

    Qwen's SD of 0.02 suits widths of thousands; at 96 and 128 it keeps layers close to zero for hundreds of steps.
    Matrices get 1/√inputs, those that write into the residual stream a fifth of it; embeddings 0.1.
    """
    for name, module in qwen.named_modules():
        if isinstance(module, nn.Linear) and "lm_head" not in name:
            writes = name.endswith(("attn.proj", "mlp.fc2", "o_proj", "down_proj", "merger.mlp.2"))
            nn.init.normal_(module.weight, std=(0.2 if writes else 1.0) * module.in_features**-0.5)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=0.1)


def load_network(name: str | Path, *, trainable: bool = False) -> GazeXNetwork:
    """Load a GazeX folder, or any Qwen2-VL folder or hub id.

    Parameters
    ----------
    name
        "small", a folder written by GazeX, a folder of Qwen2-VL weights, or a hub id such as
        "Qwen/Qwen2-VL-2B-Instruct".
    trainable
        For training: a Qwen2-VL of full size gets a LoRA adapter on its language model and a fresh heat head.

    Raises
    ------
    ModelError
        The folder is missing, incomplete or not a Qwen2-VL.
    """
    from transformers import AutoConfig, AutoTokenizer, Qwen2VLForConditionalGeneration
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    where = resolve(name)
    folder = Path(where)
    ours = (folder / FILE).is_file()
    local = model_folder(where) is not None
    config = GazeXConfig.load(folder) if ours else qwen_config()
    source = config.base or where
    if local and config.base is None:
        _check_shards(folder)
    try:
        qwen_cfg = AutoConfig.from_pretrained(source)
        if qwen_cfg.model_type != "qwen2_vl":
            raise ModelError(f"{source} is a “{qwen_cfg.model_type}”; GazeX needs a Qwen2-VL.")
        tokenizer = AutoTokenizer.from_pretrained(where if local else source)
        _check_tokenizer(tokenizer, qwen_cfg, where)
        dtype = torch.float32 if config.size == "small" or not torch.cuda.is_available() else torch.bfloat16
        qwen: Any = Qwen2VLForConditionalGeneration.from_pretrained(source, dtype=dtype)
    except ModelError:
        raise
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        remedy = "copy the folder whole" if local else "check its name and the network, or give a folder"
        remedy = remedy if source == where else f"it needs its base {source}"
        raise ModelError(f"The model {where} cannot be loaded ({first.rstrip('.')}); {remedy}.") from None
    if (folder / "adapter").is_dir():
        from peft import PeftModel

        qwen = PeftModel.from_pretrained(qwen, str(folder / "adapter"), is_trainable=trainable)
    elif trainable and config.size != "small":
        from peft import LoraConfig, get_peft_model

        config = qwen_training_config(str(folder.resolve()) if local else where)
        qwen = get_peft_model(qwen, LoraConfig(r=16, lora_alpha=32, target_modules=LORA_TARGETS, task_type="CAUSAL_LM"))
    heat = None
    if config.heat_findings:
        heat = HeatHead(int(qwen_cfg.text_config.hidden_size), config.heat_channels, config.heat_cells)
        if (folder / HEAT_FILE).is_file() or not trainable:
            _load_part(heat, folder / HEAT_FILE, where)
    stem = _stem(config, qwen_cfg)
    if stem is not None:
        _load_part(stem, folder / STEM_FILE, where)
    network = GazeXNetwork(qwen, heat, config, _processor(tokenizer, config, qwen_cfg), stem)
    if torch.cuda.is_available():
        network.cuda()
    return network


def _load_part(part: nn.Module, file: Path, where: str) -> None:
    """Weights of what a GazeX has beside its Qwen2-VL."""
    if not file.is_file():
        raise ModelError(f"The model {where} lacks {file.name}; copy the folder whole.")
    try:
        part.load_state_dict({k: v.float() for k, v in load_file(file).items()})
    except (RuntimeError, SafetensorError):
        raise ModelError(f"{file} does not fit {FILE}; copy the folder whole.") from None


def _check_shards(folder: Path) -> None:
    """A folder with weights must hold its configuration and every shard that its index names, each of them whole."""
    import json

    index = folder / "model.safetensors.index.json"
    if index.is_file():
        try:
            named = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        except (ValueError, LookupError, TypeError, AttributeError):
            raise ModelError(f"{index} is not an index of weights; copy the folder whole.") from None
        missing = [n for n in named if not (folder / n).is_file()]
        if missing:
            raise ModelError(f"The model folder {folder} lacks the shard {missing[0]}; copy the folder whole.")
    elif not any(folder.glob("*.safetensors")):
        raise ModelError(f"The model folder {folder} holds no weights (model.safetensors is missing).")
    for path in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(path, "pt"):
                pass
        except SafetensorError as error:
            raise ModelError(f"{path} is cut short or damaged ({error}); copy the folder whole.") from None
    if not (folder / "config.json").is_file():
        raise ModelError(f"The model folder {folder} lacks config.json; copy the folder whole.")
    if (folder / HEAT_FILE).is_file() and not (folder / FILE).is_file():
        raise ModelError(f"The model folder {folder} lacks {FILE}; copy the folder whole.")


def _check_tokenizer(tokenizer: Any, qwen_cfg: Any, where: str) -> None:
    """Without its files, transformers makes up an empty tokenizer."""
    if tokenizer.convert_tokens_to_ids("<|image_pad|>") != qwen_cfg.image_token_id or not tokenizer.chat_template:
        raise ModelError(
            f"The model {where} lacks its tokenizer or has another's; copy tokenizer.json, tokenizer_config.json and "
            "chat_template.jinja to it."
        )


def weights_sha256(name: str | Path) -> str:
    """SHA-256 over a model's weight files and configuration, in order of their paths: what names a model.

    A hub id is resolved to its snapshot, which is downloaded on first use (unless HF_HUB_OFFLINE forbids it).

    Raises
    ------
    ModelError
        The folder holds no weights, or the hub's model is neither here nor to be had.
    """
    folder = Path(resolve(name))
    if not folder.is_dir():
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import LocalEntryNotFoundError

        wanted = ["*.safetensors", "*.json", "*.txt", "*.jinja"]
        try:
            folder = Path(snapshot_download(str(name), allow_patterns=wanted, local_files_only=True))
        except LocalEntryNotFoundError:
            try:
                folder = Path(snapshot_download(str(name), allow_patterns=wanted))
            except (OSError, ValueError) as error:
                raise ModelError(
                    f"The model {name} is neither a folder nor to be had from the hub; check its name and the network."
                ) from error
    digest = hashlib.sha256()
    files = [
        p
        for p in folder.rglob("*")
        if p.suffix == ".safetensors" or p.name in {FILE, "calibration.json", "config.json"}
    ]
    if not files:
        raise ModelError(f"The model folder {folder} holds no weights.")
    for path in sorted(files, key=lambda p: p.relative_to(folder).as_posix()):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0")
        with path.open("rb") as file:
            for block in iter(lambda: file.read(1 << 20), b""):
                digest.update(block)
    return digest.hexdigest()
