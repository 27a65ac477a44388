"""`python -m gazex label`: a file of sentences in, JSON lines out, one clear sentence where that cannot be."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from gazex.__main__ import main
from gazex.findings import LabelError
from gazex.labelling import read_sentences, split_sentences


def labelled(path, capsys, *options: str) -> list[dict]:
    assert main(["label", str(path), *options]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_every_sentence_becomes_one_line_with_its_text_as_given(tmp_path, capsys):
    path = tmp_path / "said.txt"
    path.write_text(
        "a left chest tube is present .,\n\nNo effusion. Possible pneumonia.\r\nthe lungs are clear .", "utf-8"
    )
    assert labelled(path, capsys) == [
        {"sentence": "a left chest tube is present .,", "findings": {"Support Devices": "positive"}},
        {"sentence": "No effusion.", "findings": {"Pleural Effusion": "negative"}},
        {"sentence": "Possible pneumonia.", "findings": {"Pneumonia": "uncertain"}},
        {"sentence": "the lungs are clear .", "findings": {}},
    ]


def test_a_report_gets_one_more_line_with_no_finding(tmp_path, capsys):
    path = tmp_path / "said.txt"
    path.write_text("No effusion.\nNo pneumothorax.\n", "utf-8")
    assert labelled(path, capsys, "--report")[-1] == {
        "sentences": 2,
        "findings": {"Pneumothorax": "negative", "Pleural Effusion": "negative", "No Finding": "positive"},
    }


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("no effusion . heart is normal .", ["no effusion .", "heart is normal ."]),
        ("a 1.5 cm nodule is seen.", ["a 1.5 cm nodule is seen."]),
        ("Seen by Dr. Smith. No effusion.", ["Seen by Dr. Smith.", "No effusion."]),
        ("1. Edema. 2. No effusion.", ["1. Edema.", "2. No effusion."]),
        ("atelectasis vs. pneumonia", ["atelectasis vs. pneumonia"]),
        ("no effusion", ["no effusion"]),
        ("no effusion . .", ["no effusion . ."]),
        ("Effusion? No.", ["Effusion?", "No."]),
        (" , ", [","]),
        ("   ", []),
    ],
)
def test_a_line_is_split_at_its_sentences(line, parts):
    assert split_sentences(line) == parts


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "There is no file"),
        (b"", "holds no sentence"),
        (b"\n \n", "holds no sentence"),
        ("pleura verdickt, kein Ergu\u00df".encode("latin-1"), "is not UTF-8 text"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "is not UTF-8 text"),
        (b"DICM\x00\x02\x00", "control characters"),
        ("no effusion".encode("utf-16-le"), "control characters"),
    ],
)
def test_a_file_that_cannot_be_labelled_is_refused_in_one_sentence(tmp_path, capsys, content, why):
    path = tmp_path / "said.txt"
    if content is not None:
        path.write_bytes(content)
    assert main(["label", str(path)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert why in err and err.count("\n") == 1


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(LabelError, match="cannot be read"):
        read_sentences(tmp_path)


def test_a_byte_order_mark_is_no_part_of_the_sentence(tmp_path):
    path = tmp_path / "said.txt"
    path.write_bytes(b"\xef\xbb\xbfNo effusion.")
    assert read_sentences(path) == ["No effusion."]


def test_labelling_imports_neither_torch_nor_numpy(tmp_path):
    path = tmp_path / "said.txt"
    path.write_text("No effusion.\n", "utf-8")
    code = (
        "import sys; from gazex.__main__ import main; status = main(['label', sys.argv[1]]);"
        "sys.exit(status or bool({'torch', 'transformers', 'numpy', 'django'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["findings"] == {"Pleural Effusion": "negative"}
