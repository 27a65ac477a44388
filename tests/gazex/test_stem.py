"""The convolutions before the vision tower."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from gazex.model.config import ModelError
from gazex.model.network import build_small, load_network
from gazex.model.stem import Stem
from gazex.train.runs import small_tokenizer
from gazex.train.trainer import matrices


@pytest.fixture(scope="module")
def network():
    return build_small(small_tokenizer(), seed=3).eval()


def _patched(network, *frames):
    return network.processor.patchify([np.asarray(f, np.float32) for f in frames])


def test_patches_are_put_together_to_the_image_they_were_cut_from(network):
    image = np.random.default_rng(1).random(network.config.image_size).astype(np.float32)
    patches, (_, h, w) = _patched(network, image)
    gray = network.stem._whole(patches, 1, h, w)[0, 0].numpy()
    mean, std = network.config.image_mean[0], network.config.image_std[0]
    assert np.allclose(gray * std + mean, image, atol=1e-5)


def test_what_is_seen_lies_in_the_patch_that_shows_it():
    torch.manual_seed(0)
    stem = Stem(patch=4, merge=2, channels=1, width=4, hidden=8, maps=0).double()
    blank = torch.zeros(1, 1, 48, 64, dtype=torch.double)
    empty, _ = stem(_cut(blank), [(1, 12, 16)])
    for row, column in ((5, 6), (5, 7), (8, 9)):
        image = blank.clone()
        image[0, 0, 4 * row + 1 : 4 * row + 3, 4 * column + 1 : 4 * column + 3] = 1.0
        seen, _ = stem(_cut(image), [(1, 12, 16)])
        change = (seen - empty).detach().norm(dim=1).reshape(6, 8, 2, 2).permute(0, 2, 1, 3).reshape(12, 16)
        assert np.unravel_index(int(change.argmax()), change.shape) == (row, column)


def test_a_detail_is_seen_alike_in_every_patch():
    torch.manual_seed(0)
    stem = Stem(patch=4, merge=2, channels=1, width=4, hidden=8, maps=0).double()
    seen = []
    for row, column in ((5, 6), (5, 7), (6, 9)):
        image = torch.zeros(1, 1, 48, 64, dtype=torch.double)
        image[0, 0, 4 * row + 1 : 4 * row + 3, 4 * column + 1 : 4 * column + 3] = 1.0
        out = stem(_cut(image), [(1, 12, 16)])[0].reshape(6, 8, 2, 2, 8).permute(0, 2, 1, 3, 4).reshape(12, 16, 8)
        seen.append(out[row, column])
    assert torch.allclose(seen[0], seen[1]) and torch.allclose(seen[0], seen[2])


def _cut(image: torch.Tensor) -> torch.Tensor:
    """Images [n, 1, rows, columns] as patches of 4 pixels, two by two, as Qwen2-VL orders them."""
    n, _, rows, columns = image.shape
    cells = image.reshape(n, rows // 8, 2, 4, columns // 8, 2, 4)
    return cells.permute(0, 1, 4, 2, 5, 3, 6).reshape(-1, 16)


def test_images_of_several_sizes_and_films_each_get_what_they_get_alone(network):
    rng = np.random.default_rng(2)
    shapes = [(1, 140, 140), (1, 140, 140), (3, 80, 60), (3, 80, 60), (1, 140, 140)]
    given = [_patched(network, *rng.random(shape)) for shape in shapes]
    with torch.no_grad():
        seen, maps = network.stem(torch.cat([p for p, _ in given]), [g for _, g in given])
        alone = [network.stem(p, [g]) for p, g in given]
    assert torch.allclose(seen, torch.cat([s for s, _ in alone]), atol=1e-5)
    assert [tuple(m.shape[1:]) for m in maps] == [(28, 28), (28, 28), (16, 12), (16, 12), (28, 28)]
    for one, (_, only) in zip(maps, alone, strict=True):
        assert torch.allclose(one, only[0], atol=1e-5)


def test_what_the_stem_saw_is_in_the_visual_tokens(network):
    image = _patched(network, np.random.default_rng(3).random((140, 140)))
    with torch.no_grad():
        tokens = network.see([image]).tokens[0]
        network.stem, stem = None, network.stem
        without = network.see([image]).tokens[0]
        network.stem = stem
    assert not torch.allclose(tokens, without, atol=1e-2)


def test_the_heat_head_draws_what_the_stem_would_look_at_too(network):
    visual = network.see([_patched(network, np.random.default_rng(4).random((140, 140)))])
    both = network.heat_logits(visual)[0]
    tokens_only = network.heat_logits(replace(visual, maps=[]))[0]
    assert torch.allclose(both - tokens_only, visual.maps[0], atol=1e-5) and float(visual.maps[0].detach().std()) > 0


def test_a_saved_stem_is_loaded_and_a_folder_without_one_needs_none(network, tmp_path):
    network.save(tmp_path / "m")
    again = load_network(tmp_path / "m")
    assert all(torch.equal(a, b) for a, b in zip(network.stem.parameters(), again.stem.parameters(), strict=True))
    config = json.loads((tmp_path / "m" / "gazex.json").read_text())
    del config["stem_width"]
    (tmp_path / "m" / "gazex.json").write_text(json.dumps(config))
    (tmp_path / "m" / "stem.safetensors").unlink()
    assert load_network(tmp_path / "m").stem is None


def test_without_a_heat_head_the_stem_draws_no_heat_and_begins_alike(network):
    alone = build_small(small_tokenizer(), seed=3, heat=False)
    visual = alone.see([_patched(alone, np.zeros((140, 140)))])
    assert visual.maps == [] and alone.stem.heat is None
    begin = dict(network.named_parameters())
    assert all(torch.equal(value, begin[name]) for name, value in alone.named_parameters())


def test_a_head_with_other_cells_than_the_stem_is_refused_in_one_sentence(network, tmp_path):
    network.save(tmp_path / "m")
    config = json.loads((tmp_path / "m" / "gazex.json").read_text())
    (tmp_path / "m" / "gazex.json").write_text(json.dumps({**config, "heat_cells": 2}))
    (tmp_path / "m" / "heat_head.safetensors").unlink()
    with pytest.raises(ModelError, match=r"^With a stem the heat head draws 4 cells a token, not 2\.$"):
        load_network(tmp_path / "m", trainable=True)


def test_muon_trains_the_convolutions_and_not_what_embeds_or_draws_heat(network):
    chosen = set(matrices(dict(network.named_parameters())))
    assert {"stem.fine.0.0.weight", "stem.coarse.1.0.weight", "stem.out.weight"} <= chosen
    assert not [name for name in chosen if "heat" in name or "embed" in name or "norm" in name or "bias" in name]
