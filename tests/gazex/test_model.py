"""The network and its processor agree with transformers' own; the full-size path works by setting only."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gazex.infer import GazeX
from gazex.model.config import LORA_TARGETS, SMALL_DIR, SPECIAL_TOKENS, GazeXConfig, ModelError
from gazex.model.network import load_network, weights_sha256
from gazex.model.processor import Processor, smart_size, window_level
from gazex.phantoms import make_phantom
from gazex.schema import EVIDENCE_SCHEMA
from gazex.train.collate import pad_rows

PIXELS = make_phantom(5, 3, (128, 112)).pixels


def test_the_tokenizer_has_qwens_special_tokens_and_ends_turns_as_qwen_does(small):
    tokenizer = small.processor.tokenizer
    for token in SPECIAL_TOKENS:
        assert tokenizer(token)["input_ids"] == [tokenizer.convert_tokens_to_ids(token)]
    assert tokenizer.eos_token == "<|im_end|>"


@settings(max_examples=40, deadline=None)
@given(text=st.text(st.characters(blacklist_categories=("Cs",)), max_size=40))
def test_any_text_survives_the_small_tokenizer(small, text):
    import unicodedata

    tokenizer = small.processor.tokenizer
    text = unicodedata.normalize("NFC", text.replace("<|", "< |"))
    assert tokenizer.decode(tokenizer(text)["input_ids"], clean_up_tokenization_spaces=False) == text


@settings(max_examples=80, deadline=None)
@given(st.integers(60, 4000), st.integers(60, 4000))
def test_image_sizes_are_qwens(rows, columns):
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

    expected = smart_resize(rows, columns, factor=28, min_pixels=56 * 56, max_pixels=756 * 756)
    assert smart_size(rows, columns, 28, 56 * 56, 756 * 756) == tuple(expected)


def test_patches_are_the_ones_of_transformers_image_processor(small):
    from transformers import Qwen2VLImageProcessorPil

    rng = np.random.default_rng(0)
    grey = (rng.random((84, 56)) * 255).astype(np.uint8)
    theirs = Qwen2VLImageProcessorPil(do_resize=False, patch_size=14)
    wanted = theirs(np.repeat(grey[:, :, None], 3, axis=2), return_tensors="pt")
    config = GazeXConfig(image_size=None, image_mean=tuple(theirs.image_mean), image_std=tuple(theirs.image_std))
    ours = Processor(small.processor.tokenizer, config, patch=14, merge=2, temporal=2)
    patches, grid = ours.patchify([grey.astype(np.float32) / 255])
    assert grid == tuple(wanted["image_grid_thw"][0].tolist())
    assert torch.allclose(patches, torch.as_tensor(wanted["pixel_values"]), atol=1e-5)


def test_exposure_does_not_change_what_the_model_sees():
    dim = (PIXELS // 3 + 200).astype(np.uint16)
    assert np.abs(window_level(PIXELS) - window_level(dim)).max() < 0.01


def test_the_text_loss_is_the_models_own_loss(small):
    network, processor = small.network, small.processor
    image = processor.patchify([processor.prepare(PIXELS)])
    targets = ["No pneumothorax.", "There is a left pneumothorax.\nNo consolidation."]
    rows = pad_rows(
        [(processor.prompt_ids("Report this radiograph.", image[1]), processor.target_ids(t), 0) for t in targets],
        processor,
    )
    with torch.no_grad():
        ours = network.text_loss(network.see([image]), rows)
        # Beside each patch what the stem saw there, which only `see` adds.
        patches = torch.cat([image[0], network.stem(image[0], [image[1]])[0]], dim=1)
        theirs = network.core(
            input_ids=rows.input_ids,
            attention_mask=rows.attention_mask,
            mm_token_type_ids=rows.mm_token_type_ids,
            pixel_values=torch.cat([patches] * 2),
            image_grid_thw=torch.tensor([image[1]] * 2),
            labels=rows.labels,
        ).loss
    assert torch.allclose(ours, theirs, atol=1e-5)


def test_a_batch_is_seen_once_for_its_heat_its_reports_and_its_trajectories(small, monkeypatch):
    batches, tower = [], small.network.core.model.visual
    monkeypatch.setattr(small, "_verified", lambda *_: False)  # which looks again, with the box hidden
    look = tower.register_forward_pre_hook(lambda _tower, args, kwargs: batches.append(1), with_kwargs=True)
    small.read_many([make_phantom(5, i, (160, 150)).pixels for i in range(3)])
    look.remove()
    assert len(batches) == 1


def test_reading_in_a_batch_says_the_same_as_reading_alone(small):
    images = [make_phantom(5, i, (160, 150)).pixels for i in range(3)]
    together = small.read_many(images)
    for image, evidence in zip(images, together, strict=True):
        alone = small.read(image)
        assert [s.sentence for s in alone.report] == [s.sentence for s in evidence.report]
        assert [(p.x, p.y) for p in alone.trajectory] == [(p.x, p.y) for p in evidence.trajectory]
        assert np.allclose(
            [f.probability for f in alone.findings], [f.probability for f in evidence.findings], atol=1e-4
        )


def test_a_plain_qwen_folder_reads_by_setting_only_and_does_not_pretend(qwen_folder):
    model = GazeX.load(qwen_folder)
    evidence = model.read(PIXELS).to_dict()
    assert evidence["schema"] == EVIDENCE_SCHEMA and len(evidence["findings"]) == 13
    assert evidence["status"]["probability"] == "raw" and not model.calibrated
    assert evidence["status"]["report"] == "invalid" and evidence["report"] == []  # random weights say nothing
    assert evidence["trajectory"] == [] and evidence["status"]["trajectory"] == "none"


def test_the_adapter_touches_the_language_model_and_nothing_else(qwen_folder):
    network = load_network(qwen_folder, trainable=True)
    adapted = [n for n, p in network.qwen.named_parameters() if p.requires_grad]
    assert adapted and all("lora_" in n and re.fullmatch(LORA_TARGETS, n.split(".lora_")[0]) for n in adapted)
    assert all(p.requires_grad for p in network.heat.parameters())


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("/nowhere/at/all", "There is no model folder"),
        ("nowhere", "There is no model folder"),
        ("", "holds no weights"),
        ("no body/no model", "check its name"),
    ],
)
def test_names_that_are_no_model_are_refused_in_one_sentence(tmp_path: Path, monkeypatch, name, words):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match=words) as caught:
        GazeX.load(name)
    assert str(caught.value).endswith(".") and "\n" not in str(caught.value)


SHARD, INDEX, HEAT = "model-00002-of-00005.safetensors", "model.safetensors.index.json", "heat_head.safetensors"
STEM = "stem.safetensors"


def gone(*names: str):
    return lambda folder: [(folder / name).unlink() for name in names]


def halved(name: str):
    return lambda folder: (folder / name).write_bytes(
        (folder / name).read_bytes()[: (folder / name).stat().st_size // 2]
    )


def says(name: str, text: str):
    return lambda folder: (folder / name).write_text(text)


def setting(name: str, value: object):
    def change(folder: Path) -> None:
        config = json.loads((folder / "gazex.json").read_text())
        (folder / "gazex.json").write_text(json.dumps({**config, name: value}))

    return change


BROKEN = {
    "a shard missing": ("qwen", gone(SHARD), f"lacks the shard {SHARD}"),
    "a shard cut short": ("qwen", halved(SHARD), f"{SHARD} is cut short or damaged"),
    "a shard that was never fetched": (
        "qwen",
        says(SHARD, "version https://git-lfs.github.com"),
        "cut short or damaged",
    ),
    "an index that is none": ("qwen", says(INDEX, "{}"), f"{INDEX} is not an index"),
    "an index that is no JSON": ("qwen", says(INDEX, "{"), f"{INDEX} is not an index"),
    "no configuration": ("qwen", gone("config.json"), "lacks config.json"),
    "a BERT": ("qwen", says("config.json", '{"model_type": "bert"}'), "needs a Qwen2-VL"),
    "a tokenizer missing": ("qwen", gone("tokenizer.json"), "lacks its tokenizer"),
    "a chat template missing": ("qwen", gone("chat_template.jinja"), "chat_template.jinja"),
    "weights missing": ("small", gone("model.safetensors", HEAT, STEM), "holds no weights"),
    "weights cut short": ("small", halved("model.safetensors"), "model.safetensors is cut short"),
    "gazex.json missing": ("small", gone("gazex.json"), "lacks gazex.json"),
    "gazex.json that is no JSON": ("small", says("gazex.json", "{"), "gazex.json is not a GazeX configuration"),
    "an image size in words": ("small", setting("image_size", "big"), "image size is ('b', 'i', 'g')"),
    "an image size that fits no patch": ("small", setting("image_size", [113, 140]), "multiples of 20"),
    "two colours": ("small", setting("image_mean", [0.5, 0.5]), "one number or three"),
    "the heat head missing": ("small", gone(HEAT), f"lacks {HEAT}"),
    "the heat head cut short": ("small", halved(HEAT), f"{HEAT} is cut short"),
    "another's heat head": (
        "small",
        lambda folder: shutil.copy(folder / "model.safetensors", folder / HEAT),
        f"{HEAT} does not fit gazex.json",
    ),
    "the stem missing": ("small", gone(STEM), f"lacks {STEM}"),
    "the stem cut short": ("small", halved(STEM), f"{STEM} is cut short"),
    "a stem of another width": ("small", setting("stem_width", 8), f"{STEM} does not fit gazex.json"),
    "a stem width in words": ("small", setting("stem_width", "wide"), "stem_width"),
}


@pytest.mark.parametrize(("kind", "change", "words"), BROKEN.values(), ids=BROKEN)
def test_model_folders_that_are_not_whole_are_refused_in_one_sentence(tmp_path, qwen_folder, kind, change, words):
    folder = tmp_path / "m"
    shutil.copytree(qwen_folder if kind == "qwen" else SMALL_DIR, folder)
    change(folder)
    with pytest.raises(ModelError, match=re.escape(words)) as caught:
        GazeX.load(folder)
    assert str(caught.value).endswith(".") and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "pixels", [np.zeros((4, 4), np.uint16), np.zeros((64, 64, 3), np.uint16), np.zeros((30_000, 16), np.uint16)]
)
def test_images_that_cannot_be_read_are_refused_in_one_sentence(small, pixels):
    with pytest.raises(ModelError, match=r"^[^\n]+\.$"):
        small.read(pixels)


def test_the_hash_names_the_weights(tmp_path: Path):
    shutil.copytree(SMALL_DIR, tmp_path / "m")
    assert weights_sha256(tmp_path / "m") == weights_sha256("small")
    path = tmp_path / "m" / "heat_head.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert weights_sha256(tmp_path / "m") != weights_sha256("small")
