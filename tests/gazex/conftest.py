"""Shared by GazeX's tests: the committed model, a few visits, and a tiny Qwen2-VL folder with random weights."""

from __future__ import annotations

from pathlib import Path

import pytest

from gazex.phantoms import make_phantom
from gazex.schema import write_visits


@pytest.fixture(scope="session")
def small():
    from gazex.infer import GazeX

    return GazeX.load("small")


def two_visits(folder: Path) -> Path:
    """Two readings of two phantoms."""
    from gazex.train.data import simulated_visit

    phantoms = [make_phantom(77, i, (128, 120), normal_share=0.0) for i in range(2)]
    return write_visits(folder, [(simulated_visit(p, seed=3)[0], p.pixels) for p in phantoms])


@pytest.fixture
def visits(tmp_path: Path) -> Path:
    return two_visits(tmp_path / "visits")


@pytest.fixture(scope="session")
def qwen_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder laid out like Qwen/Qwen2-VL-2B-Instruct: random weights in two shards, our tokenizer, no gazex.json."""
    import torch
    from transformers import Qwen2VLForConditionalGeneration

    from gazex.model.config import small_qwen_config
    from gazex.model.tokenizer import train_tokenizer

    folder = tmp_path_factory.mktemp("qwen")
    tokenizer = train_tokenizer(["Report this radiograph.", "No pneumothorax.", "(12,345)"] * 4, vocabulary=300)
    ids = {t: int(tokenizer.convert_tokens_to_ids(t)) for t in tokenizer.get_added_vocab()}
    config = small_qwen_config(ids, len(tokenizer))
    config.text_config.num_hidden_layers = config.vision_config.depth = 1
    config.text_config.layer_types = ["full_attention"]
    torch.manual_seed(0)
    model = Qwen2VLForConditionalGeneration(config)
    model.save_pretrained(folder, max_shard_size="600KB")
    tokenizer.save_pretrained(folder)
    assert len(list(folder.glob("*.safetensors"))) > 1
    return folder
