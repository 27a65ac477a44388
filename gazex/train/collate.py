"""From records to tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import torch
from torch import Tensor

from gazex.calibration import unit_box
from gazex.model.network import TextRows
from gazex.model.processor import Grid, Processor
from gazex.tasks.example import Example
from gazex.train.data import Record, augment

VIDEO_TASKS: Final = frozenset({"sda"})


@dataclass
class Batch:
    """Images and videos of key frames as (patches, grid), for each task the texts that refer to them, and each image's
    heat target.
    """

    images: list[tuple[Tensor, Grid]]
    rows: dict[str, TextRows]
    heat: list[Tensor]
    known: list[Tensor]
    videos: list[tuple[Tensor, Grid]] = field(default_factory=list)


def pad_rows(rows: Sequence[tuple[list[int], list[int], int]], processor: Processor, kind: str = "image") -> TextRows:
    """Right-pad (prompt ids, target ids, image number) to one length; padding is unsupervised and of token type 0."""
    length = max(len(p) + len(t) for p, t, _ in rows)
    ids = np.full((len(rows), length), processor.pad_id, np.int64)
    labels = np.full((len(rows), length), -100, np.int64)
    mask = np.zeros((len(rows), length), np.int64)
    for k, (prompt, target, _) in enumerate(rows):
        n = len(prompt) + len(target)
        ids[k, :n] = prompt + target
        labels[k, len(prompt) : n] = target
        mask[k, :n] = 1
    pad = processor.tokenizer.convert_tokens_to_ids(f"<|{kind}_pad|>")
    types = np.where(ids == pad, 1 if kind == "image" else 2, 0)
    return TextRows(
        torch.from_numpy(ids),
        torch.from_numpy(mask),
        torch.from_numpy(types),
        torch.from_numpy(labels),
        [image for _, _, image in rows],
        kind,
    )


def collate(
    chosen: Sequence[tuple[Record, Sequence[Example]]],
    processor: Processor,
    *,
    rng: np.random.Generator | None = None,
    max_tokens: int = 1024,
) -> Batch:
    """A batch of records, each with the examples to train on. Several examples of one record share its image.

    With `rng`, images are augmented. Examples longer than `max_tokens` are left out.
    """
    images: list[tuple[Tensor, Grid]] = []
    videos: list[tuple[Tensor, Grid]] = []
    rows: dict[str, list[tuple[list[int], list[int], int]]] = {}
    for k, (record, examples) in enumerate(chosen):
        image = record.image.astype(np.float32)
        image = augment(image, rng) if rng is not None else image
        images.append(processor.patchify([image]))
        for example in examples:
            target = processor.target_ids(example.target)
            if not example.frames:
                prompt = processor.prompt_ids(example.prompt, images[-1][1])
                if len(prompt) + len(target) <= max_tokens:
                    rows.setdefault(example.task, []).append((prompt, target, k))
                continue
            video = processor.key_frames(
                image, [unit_box(b, record.codec.rows, record.codec.columns) for b in example.frames]
            )
            prompt = processor.prompt_ids(example.prompt, video[1], "video")
            if len(prompt) + len(target) <= max_tokens:
                rows.setdefault(example.task, []).append((prompt, target, len(videos)))
                videos.append(video)
    heat = [torch.from_numpy(r.heat.astype(np.float32)) for r, _ in chosen]
    known = [torch.from_numpy(r.known) for r, _ in chosen]
    kinds = {task: "video" if task in VIDEO_TASKS else "image" for task in rows}
    padded = {task: pad_rows(group, processor, kinds[task]) for task, group in rows.items()}
    return Batch(images, padded, heat, known, videos)
