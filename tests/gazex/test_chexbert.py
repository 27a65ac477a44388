"""CheXbert's published layout is read and labels; a file that is not CheXbert is refused in one sentence."""

from __future__ import annotations

import json
import zipfile

import pytest
import torch
from transformers import BertConfig, BertModel, BertTokenizer

from gazex.__main__ import main
from gazex.chexbert import CLASSES, HEADS, CheXbert
from gazex.findings import FINDINGS, NO_FINDING, LabelError

CONFIG = BertConfig(
    vocab_size=12,
    hidden_size=8,
    num_hidden_layers=1,
    num_attention_heads=2,
    intermediate_size=16,
    max_position_embeddings=512,
)
WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "no", "effusion", "edema", "small", "left", ".", "the")


@pytest.fixture
def vocabulary(tmp_path):
    folder = tmp_path / "bert"
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n", "utf-8")
    return folder


def weights(seed: int = 0) -> dict[str, torch.Tensor]:
    """Random weights under the names of the published checkpoint."""
    torch.manual_seed(seed)
    bert = BertModel(CONFIG)
    state = {
        f"module.bert.{k}": torch.randn_like(v) if v.dtype.is_floating_point else v
        for k, v in bert.state_dict().items()
    }
    state["module.bert.embeddings.position_ids"] = torch.arange(512)[None]
    for k, name in enumerate(HEADS):
        classes = 2 if name == NO_FINDING else 4
        state[f"module.linear_heads.{k}.weight"] = torch.randn(classes, 8)
        state[f"module.linear_heads.{k}.bias"] = torch.randn(classes)
    return state


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / "chexbert.pth"
    torch.save({"epoch": 3, "model_state_dict": weights()}, path)
    return path


def test_it_computes_what_the_published_network_computes(checkpoint, vocabulary):
    chexbert = CheXbert.load(checkpoint, str(vocabulary), config=CONFIG)
    texts = ["no effusion .", "small left effusion . the edema", ""]
    state = {k.removeprefix("module."): v for k, v in weights().items()}
    bert = BertModel(CONFIG).eval()
    bert.load_state_dict(
        {k.removeprefix("bert."): v for k, v in state.items() if k.startswith("bert.") and "position_ids" not in k}
    )
    tokenizer = BertTokenizer.from_pretrained(str(vocabulary))
    for text, labels in zip(texts, chexbert(texts), strict=True):
        ids = torch.tensor([tokenizer(text)["input_ids"]])  # alone, without padding
        with torch.no_grad():
            first = bert(ids)[0][0, 0]
        expected = {}
        for k, name in enumerate(HEADS):
            chosen = int((state[f"linear_heads.{k}.weight"] @ first + state[f"linear_heads.{k}.bias"]).argmax())
            mention = (None, "positive")[chosen] if name == NO_FINDING else CLASSES[chosen]
            if mention:
                expected[name] = mention
        assert labels == expected
        assert list(labels) == [f for f in (*FINDINGS, NO_FINDING) if f in labels]


def test_a_head_that_is_sure_decides_its_finding(tmp_path, vocabulary):
    state = weights()
    for k in range(14):
        state[f"module.linear_heads.{k}.bias"][:] = torch.tensor([100.0, 0, 0, 0][: 2 if k == 13 else 4])
    state["module.linear_heads.9.bias"] = torch.tensor([0.0, 0, 0, 100])
    state["module.linear_heads.2.bias"] = torch.tensor([0.0, 0, 100, 0])
    path = tmp_path / "sure.pth"
    torch.save({"model_state_dict": state}, path)
    labels = CheXbert.load(path, str(vocabulary), config=CONFIG)(["effusion ."])
    assert labels == [{"Lung Opacity": "negative", "Pleural Effusion": "uncertain"}]


def test_a_long_report_is_cut_where_the_encoder_ends(checkpoint, vocabulary):
    chexbert = CheXbert.load(checkpoint, str(vocabulary), config=CONFIG)
    long = chexbert._ids("edema " * 900)
    assert len(long) == 512 and long[-1] == WORDS.index("[SEP]")


def without_head(state):
    return {k: v for k, v in state.items() if "linear_heads.13" not in k}


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (lambda: {"model_state_dict": without_head(weights())}, "is not CheXbert's checkpoint"),
        (lambda: {"model_state_dict": {}}, "is not CheXbert's checkpoint"),
        (lambda: {"state": weights()}, "holds no model_state_dict"),
        (lambda: [1, 2], "holds no model_state_dict"),
    ],
)
def test_another_checkpoint_is_refused(tmp_path, vocabulary, content, why):
    path = tmp_path / "other.pth"
    torch.save(content(), path)
    with pytest.raises(LabelError, match=why):
        CheXbert.load(path, str(vocabulary), config=CONFIG)


def test_the_published_size_is_the_default(checkpoint, vocabulary):
    with pytest.raises(LabelError, match="is not CheXbert's checkpoint"):
        CheXbert.load(checkpoint, str(vocabulary))


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path, vocabulary):
    text = tmp_path / "text.pth"
    text.write_text("no effusion")
    broken = tmp_path / "broken.pth"
    with zipfile.ZipFile(broken, "w") as z:
        z.writestr("a", "b")
    for path in (text, broken):
        with pytest.raises(LabelError, match="cannot be read as a checkpoint"):
            CheXbert.load(path, str(vocabulary), config=CONFIG)


def test_a_missing_vocabulary_is_named(checkpoint, tmp_path):
    empty = tmp_path / "nothing"
    empty.mkdir()
    with pytest.raises(LabelError, match="give a folder that holds the vocab"):
        CheXbert.load(checkpoint, str(empty), config=CONFIG)


def test_the_command_refuses_a_missing_checkpoint(tmp_path, capsys):
    said = tmp_path / "said.txt"
    said.write_text("No effusion.\n", "utf-8")
    assert main(["label", str(said), "--chexbert", str(tmp_path / "none.pth")]) == 2
    out, err = capsys.readouterr()
    assert out == "" and "There is no CheXbert checkpoint" in err


def test_the_command_labels_with_a_checkpoint(tmp_path, capsys, monkeypatch, checkpoint, vocabulary):
    said = tmp_path / "said.txt"
    said.write_text("No effusion.\nedema .\n", "utf-8")
    load = CheXbert.load
    monkeypatch.setattr(CheXbert, "load", lambda path, bert: load(path, bert, config=CONFIG))
    assert main(["label", str(said), "--chexbert", str(checkpoint), "--bert", str(vocabulary), "--report"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    direct = load(checkpoint, str(vocabulary), config=CONFIG)
    assert [line["findings"] for line in lines[:2]] == [
        {f: m for f, m in labels.items() if f != NO_FINDING} for labels in direct(["No effusion.", "edema ."])
    ]
    assert lines[2]["findings"] == direct(["No effusion. edema ."])[0]
