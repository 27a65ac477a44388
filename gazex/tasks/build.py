"""All examples of a visit: what `python -m gazex examples` writes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from gazex.findings import FINDINGS
from gazex.schema import Visit
from gazex.tasks import fvp, grounding, gtm, published, report, sda, vqa
from gazex.tasks.example import FORMATS, TASKS, Example
from gazex.tasks.finished import Finished, finish, finish_published
from gazex.tasks.formats import Codec
from gazex.tasks.said import mentions

OF_PUBLISHED = ("fvp", "gtm", "sda")


def build(
    visit: Visit,
    *,
    tasks: Sequence[str] = TASKS,
    format: str = "ours",
    seed: int = 0,
    finished: Finished | None = None,
    codec: Codec | None = None,
    prompts: Mapping[str, str] | None = None,
) -> list[Example]:
    """Every example of a visit.

    Parameters
    ----------
    visit
        The reading. One without sentences or without gaze gives what is left: perhaps nothing.
    tasks
        Of `TASKS`; the published format has FVP, GTM and SDA.
    format
        "ours" or "published".
    seed
        Of the shuffles.
    finished
        Boxes made before (`finish` for ours, `finish_published`).
    codec
        Coordinates of ours; 0–1000 if omitted.
    prompts
        Wording of the published format; see `gazex.tasks.published`.

    Raises
    ------
    ValueError
        An unknown task or format.
    """
    check(tasks, format)
    out: list[Example] = []
    if format == "published":
        wording = published.PROMPTS if prompts is None else {**published.PROMPTS, **prompts}
        finished = finished or finish_published(visit)
        if "fvp" in tasks:
            out += published.fvp(visit, finished=finished, prompts=wording)
        if "gtm" in tasks:
            out += published.gtm(visit, finished=finished, prompts=wording)
        if "sda" in tasks:
            out += published.sda(visit, seed=seed, finished=finished, prompts=wording)
        return out
    finished = finished or finish(visit)
    if "report" in tasks:
        out += report.examples(visit)
        with_boxes = report.examples(visit, boxes=True, finished=finished, codec=codec)
        # Where no sentence has a box, the same report under the other prompt would teach to leave boxes out.
        out += [e for e in with_boxes if "<|box_start|>" in e.target]
    if "vqa" in tasks:
        out += vqa.examples(visit, _asked(visit))
    if "fvp" in tasks:
        out += fvp.examples(visit, finished=finished, codec=codec)
    if "gtm" in tasks:
        out += gtm.examples(visit, codec=codec)
        out += gtm.with_video(visit, finished=finished) + gtm.by_sentence(visit, finished=finished)
    if "sda" in tasks:
        out += sda.examples(visit, seed=seed, finished=finished)
    if "grounding" in tasks:
        out += grounding.examples(visit, codec=codec)
    return out


def check(tasks: Sequence[str], format: str) -> None:
    """Raises ValueError for a task or format there is not."""
    for task in tasks:
        if task not in TASKS:
            raise ValueError(f"There is no task “{task}”; tasks are {', '.join(TASKS)}.")
    if format not in FORMATS:
        raise ValueError(f"There is no format “{format}”; formats are {', '.join(FORMATS)}.")
    if format == "published" and not set(tasks) & set(OF_PUBLISHED):
        raise ValueError(f"The published format has {', '.join(OF_PUBLISHED)} only; ask for one of them.")


def _asked(visit: Visit) -> list[str]:
    """Findings whose answer is known: those in the labels, and those a sentence affirms or denies.

    A finding nobody spoke of may still be there; asking for it would teach that it is not.
    """
    known = set(visit.labels)
    for text, _, _ in visit.sentences:
        known |= {f for f, mention in mentions(text) if mention == "negative" and f not in visit.labels}
    return [f for f in FINDINGS if f in known]


def read_prompts(path: Path | str) -> dict[str, str]:
    """Wording of the published prompts from a JSON file: name → text.

    Raises
    ------
    ValueError
        It is not such a file, or names a prompt there is not.
    """
    path = Path(path)
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"There is no file {path}.") from None
    except (UnicodeDecodeError, json.JSONDecodeError):
        raise ValueError(f"{path.name} is not JSON; write an object of prompt name to text.") from None
    if not isinstance(raw, dict) or not all(isinstance(v, str) and v for v in raw.values()):
        raise ValueError(f"{path.name} is not an object of prompt name to text.")
    for name in raw:
        if name not in published.PROMPTS:
            raise ValueError(f"{path.name} names a prompt “{name}”; there are {', '.join(published.PROMPTS)}.")
    return dict(raw)
