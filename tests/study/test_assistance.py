"""Evidence is checked strictly before it can ever be shown."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from study.models import AssistanceOutput
from study.services.assistance import check_evidence, output_for, store_output
from study.services.errors import BadInput
from tests.factories import MODEL, make_case, make_evidence, make_output

pytestmark = pytest.mark.django_db


def changed(evidence: dict[str, Any], change: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    out = copy.deepcopy(evidence)
    change(out)
    return out


def test_evidence_that_keeps_the_schema_is_stored_as_valid() -> None:
    image = make_case().images.get()
    output = make_output(image)
    assert output.valid and output.evidence == make_evidence(image)
    assert output_for(image=image, model_sha256=MODEL) == output


CHANGES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "another schema": lambda e: e.update(schema="gazeroom.evidence/2"),
    "a key too many": lambda e: e.update(extra=1),
    "a key too few": lambda e: e.pop("trajectory"),
    "another size": lambda e: e.update(rows=e["rows"] + 1),
    "another model": lambda e: e.update(model_sha256="00" * 32),
    "a box outside": lambda e: e["report"][0].update(box=[0, 0, 10, e["rows"] + 1]),
    "a box without area": lambda e: e["report"][0].update(box=[5, 5, 5, 9]),
    "a box of three numbers": lambda e: e["report"][0].update(box=[1, 2, 3]),
    "a box of infinity": lambda e: e["report"][0].update(box=[0, 0, float("inf"), 5]),
    "an unknown finding": lambda e: e["report"][0].update(finding="Nodule"),
    "an unknown side": lambda e: e["report"][0].update(side="top"),
    "verified as a word": lambda e: e["report"][0].update(verified="yes"),
    "an empty sentence": lambda e: e["report"][0].update(sentence=""),
    "a probability above one": lambda e: e["findings"][0].update(probability=1.01),
    "a probability that is no number": lambda e: e["findings"][0].update(probability=float("nan")),
    "a finding twice": lambda e: e["findings"].append(e["findings"][0]),
    "a step outside": lambda e: e["trajectory"][0].update(x=-3),
    "a step without duration": lambda e: e["trajectory"][0].update(duration_ms=0),
    "a report that is a text": lambda e: e.update(report="normal"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_evidence_that_breaks_the_schema_is_kept_as_invalid_and_never_shown(what: str) -> None:
    image = make_case().images.get()
    evidence = changed(make_evidence(image), CHANGES[what])
    output = store_output(image=image, model_sha256=MODEL, prompt_version="test-1", evidence=evidence, raw="the text")
    assert (output.valid, output.evidence, output.raw) == (False, {}, "the text")
    assert output_for(image=image, model_sha256=MODEL) is None


@pytest.mark.parametrize("value", [None, [], "x", 3, {}])
def test_what_is_not_evidence_at_all_is_refused_with_a_sentence(value: Any) -> None:
    with pytest.raises(BadInput, match="Evidence has exactly the keys"):
        check_evidence(value, rows=5, columns=5)


def test_text_that_did_not_parse_is_kept_as_invalid() -> None:
    image = make_case().images.get()
    output = store_output(image=image, model_sha256=MODEL, prompt_version="p", evidence=None, raw="<|box")
    assert not output.valid and output.raw == "<|box"


def test_the_first_output_of_a_model_and_prompt_stands() -> None:
    image = make_case().images.get()
    first = make_output(image)
    other = changed(make_evidence(image), lambda e: e["findings"][0].update(probability=0.1))
    again = store_output(image=image, model_sha256=MODEL, prompt_version="test-1", evidence=other)
    assert again == first and again.evidence["findings"][0]["probability"] == 0.8
    assert AssistanceOutput.objects.count() == 1


def test_a_study_shows_the_first_valid_output_even_when_another_prompt_comes_later() -> None:
    image = make_case().images.get()
    store_output(image=image, model_sha256=MODEL, prompt_version="p0", evidence=None, raw="broken")
    first = make_output(image)
    later = make_evidence(image, prompt_version="p2")
    store_output(image=image, model_sha256=MODEL, prompt_version="p2", evidence=later)
    assert output_for(image=image, model_sha256=MODEL) == first


@pytest.mark.parametrize("sha256", ["", "xyz", "AB" * 32, "ab" * 31])
def test_a_models_name_has_to_be_a_hash(sha256: str) -> None:
    with pytest.raises(BadInput, match="is not the SHA-256 of a model's weights"):
        store_output(image=make_case().images.get(), model_sha256=sha256, prompt_version="p", evidence=None)
