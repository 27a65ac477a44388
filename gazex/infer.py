"""GazeX at work: pixels in, Evidence out.

What the model says is parsed strictly: an answer that does not parse is reported as invalid and never repaired.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from gazex.calibration import Calibration, fine_heat, region_box, shrink_box
from gazex.decoding import ConstrainedLogits
from gazex.findings import FINDINGS, SIDED, label_sentence, side_of
from gazex.model.config import ModelError, resolve
from gazex.model.network import GazeXNetwork, Visual, load_network, weights_sha256
from gazex.model.processor import Grid
from gazex.schema import EVIDENCE_SCHEMA
from gazex.tasks import fvp, gtm, report, vqa
from gazex.tasks.formats import (
    VQA_ANSWERS,
    Codec,
    Located,
    ParseError,
    Step,
    clean_text,
    parse_located,
    parse_report,
    parse_steps,
)
from gazex.train.collate import pad_rows

Box = tuple[float, float, float, float]
Image = tuple[torch.Tensor, Grid]
REPORT_TOKENS: Final = 256
STEPS_TOKENS: Final = 700
LOCATED_TOKENS: Final = 160
HEAT_AT_LEAST: Final = 0.5
"""A box is verified only where the heat inside it alone makes the finding at least this probable …"""
DENIED_BELOW: Final = 0.5
"""A sentence that denies a finding is verified only where the model itself gives the finding less than this."""
DROP_AT_LEAST: Final = 0.15
"""… and where hiding the box takes this much of the probability away."""
HEAT_DWELL_MS: Final = 600.0


@dataclass(frozen=True)
class Sentence:
    """A sentence of the report; `finding` is what it affirms, `box` its evidence in image pixels."""

    sentence: str
    finding: str | None = None
    side: str = ""
    box: Box | None = None
    verified: bool = False


@dataclass(frozen=True)
class FindingProbability:
    finding: str
    probability: float


@dataclass(frozen=True)
class TrajectoryPoint:
    """A place to look at, image pixels, and for how long."""

    x: float
    y: float
    duration_ms: float


@dataclass(frozen=True)
class Evidence:
    """What GazeX makes of one radiograph (schema "gazeroom.evidence/1"); coordinates are image pixels.

    Attributes
    ----------
    report
        Sentences in the order generated; empty where the generated report was invalid (`status["report"]`).
    findings
        Probability of each finding the model knows.
    trajectory
        The inspection, in order. `status["trajectory"]` says whether it was generated ("gtm") or, where that answer was
        invalid, read off the model's heat ("heat").
    status
        "report": "ok" or "invalid"; "trajectory": "gtm", "heat" or "none"; "probability": "calibrated" or "raw".
    """

    model_sha256: str
    prompt_version: str
    rows: int
    columns: int
    report: tuple[Sentence, ...]
    findings: tuple[FindingProbability, ...]
    trajectory: tuple[TrajectoryPoint, ...]
    status: dict[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return {
            "schema": EVIDENCE_SCHEMA,
            "model_sha256": self.model_sha256,
            "prompt_version": self.prompt_version,
            "rows": self.rows,
            "columns": self.columns,
            "report": [{**asdict(s), "box": list(s.box) if s.box is not None else None} for s in self.report],
            "findings": [asdict(f) for f in self.findings],
            "trajectory": [asdict(p) for p in self.trajectory],
            "status": dict(self.status),
        }


class GazeX:
    """A loaded model.

    Attributes
    ----------
    weights_sha256
        Names the model: hash over its weights, configuration and calibration.
    calibrated
        Whether its probabilities were calibrated on phantoms.
    """

    def __init__(self, network: GazeXNetwork, calibration: Calibration, sha256: str) -> None:
        self.network, self.calibration, self.weights_sha256 = network.eval(), calibration, sha256
        self.processor = network.processor
        self.findings = network.config.heat_findings or FINDINGS

    @classmethod
    def load(cls, name: str | Path = "small") -> GazeX:
        """Load "small", a GazeX folder, a Qwen2-VL folder or a hub id such as "Qwen/Qwen2-VL-2B-Instruct".

        Raises
        ------
        ModelError
            The model is missing, incomplete or not a Qwen2-VL; one sentence says so.
        """
        network = load_network(name)
        path = Path(resolve(name)) / "calibration.json"
        calibration = Calibration()
        if path.is_file():
            try:
                calibration = Calibration.from_dict(json.loads(path.read_text(encoding="utf-8")))
            except (ValueError, KeyError, TypeError) as error:
                raise ModelError(f"{path} is not a calibration: {error}.") from None
        return cls(network, calibration, weights_sha256(name))

    @property
    def calibrated(self) -> bool:
        return self.calibration.cases > 0 and self.network.heat is not None

    def read(self, pixels: NDArray[np.uint16], *, pixel_spacing: tuple[float, float] | None = None) -> Evidence:
        """Read one radiograph.

        Parameters
        ----------
        pixels
            uint16 [rows, columns], bright where dense (MONOCHROME2 sense).
        pixel_spacing
            mm between rows and columns. Unequal spacing is evened out before reading; None means square pixels.

        Returns
        -------
        Evidence
            In pixels of the image given.
        """
        return self.read_many([pixels], pixel_spacing=pixel_spacing)[0]

    @torch.inference_mode()
    def read_many(
        self,
        images: Sequence[NDArray[np.uint16]],
        *,
        pixel_spacing: tuple[float, float] | None = None,
        batch: int = 16,
        tick: Callable[[int], None] = lambda done: None,
    ) -> list[Evidence]:
        """Read several radiographs (see `read`), `batch` at a time; `tick` is told how many have been read."""
        out: list[Evidence] = []
        for first in range(0, len(images), batch):
            out += self._read_batch(images[first : first + batch], pixel_spacing)
            tick(len(out))
        return out

    @torch.inference_mode()
    def locate(self, pixels: NDArray[np.uint16], sentence: str) -> Located | None:
        """Ground a sentence: the model's answer to "locate the evidence", 0–1000; None where it does not parse."""
        image = self.processor.patchify([self.processor.prepare(pixels)])
        text = generate(self.network, [image], fvp.prompt(clean_text(sentence)), LOCATED_TOKENS, task="fvp")[0]
        try:
            return parse_located(text) if text is not None else None
        except ParseError:
            return None

    @torch.inference_mode()
    def answer(self, pixels: NDArray[np.uint16], finding: str) -> dict[str, float]:
        """VQA: probabilities of "no", "left", "right" and "yes" to "Is there FINDING?", from the first token."""
        visual = self.network.see([self.processor.patchify([self.processor.prepare(pixels)])])
        return self._answers(visual, finding)[0]

    def _read_batch(self, images: Sequence[NDArray[np.uint16]], spacing: tuple[float, float] | None) -> list[Evidence]:
        prepared = [self.processor.prepare(_square(pixels, spacing)) for pixels in images]
        visual = self.network.see([self.processor.patchify([p]) for p in prepared])
        heat = self._heat(visual)
        probabilities = self._probabilities(visual, heat)
        reports = generate(self.network, visual, report.PROMPT, REPORT_TOKENS, task="report")
        inspections = generate(self.network, visual, gtm.PROMPT, STEPS_TOKENS, task="gtm")
        out = []
        for k, pixels in enumerate(images):
            rows, columns = pixels.shape
            codec = Codec(rows, columns)
            maps = heat[k] if heat is not None else None
            sentences, report_status = self._sentences(reports[k], codec, maps, prepared[k], probabilities[k])
            trajectory, source = self._trajectory(inspections[k], codec, maps)
            out.append(
                Evidence(
                    model_sha256=self.weights_sha256,
                    prompt_version=self.network.config.prompt_version,
                    rows=rows,
                    columns=columns,
                    report=sentences,
                    findings=tuple(
                        FindingProbability(f, p) for f, p in zip(self.findings, probabilities[k], strict=True)
                    ),
                    trajectory=trajectory,
                    status={
                        "report": report_status,
                        "trajectory": source,
                        "probability": "calibrated" if self.calibrated else "raw",
                    },
                )
            )
        return out

    def _heat(self, visual: Visual) -> list[NDArray[np.float32]] | None:
        """Heat logits [findings, h, w] of each image."""
        if self.network.heat is None:
            return None
        return [m.float().cpu().numpy() for m in self.network.heat_maps(visual)]

    def _probabilities(self, visual: Visual, heat: list[NDArray[np.float32]] | None) -> list[list[float]]:
        if heat is not None:
            return [
                [self.calibration.of(f).probability(float(maps[c].max())) for c, f in enumerate(self.findings)]
                for maps in heat
            ]
        columns = [[1 - a["no"] for a in self._answers(visual, f)] for f in self.findings]
        return [list(row) for row in zip(*columns, strict=True)]

    def _answers(self, visual: Visual, finding: str) -> list[dict[str, float]]:
        first = [self.processor.tokenizer(a)["input_ids"][0] for a in VQA_ANSWERS]
        rows: list[tuple[list[int], list[int], int]] = [
            (self.processor.prompt_ids(vqa.prompt(finding), g), [], k) for k, g in enumerate(visual.grids)
        ]
        logits = self.network.next_logits(visual, pad_rows(rows, self.processor))[:, first]
        shares = torch.softmax(logits, dim=-1).cpu().tolist()
        return [dict(zip(VQA_ANSWERS, row, strict=True)) for row in shares]

    def _sentences(
        self,
        text: str | None,
        codec: Codec,
        maps: NDArray[np.float32] | None,
        image: NDArray[np.float32],
        probabilities: Sequence[float],
    ) -> tuple[tuple[Sentence, ...], str]:
        """The report's sentences and whether it parsed. A denial is verified where the probability agrees with it."""
        believed = dict(zip(self.findings, probabilities, strict=True))
        if text is None:
            return (), "invalid"
        try:
            lines = parse_report(text)
        except ParseError:
            return (), "invalid"
        out = []
        for line in lines:
            mentions = label_sentence(line.sentence)
            affirmed = [f for f, mention in mentions.items() if mention == "positive"]
            finding = line.finding or (affirmed[0] if affirmed else "")
            if not finding:
                denied = [f for f, mention in mentions.items() if mention == "negative"]
                agrees = bool(denied) and all(believed.get(f, 1.0) < DENIED_BELOW for f in denied)
                out.append(Sentence(line.sentence, verified=agrees))
                continue
            side = side_of(line.sentence)
            share = codec_box = None
            if line.box is not None:
                codec_box = codec.decode_box(line.box)
                share = tuple(v / 1000 for v in line.box)
            elif maps is not None and finding in self.findings:
                share = self.heat_box(maps[self.findings.index(finding)], finding, side)
                codec_box = _pixels(share, codec)
            verified = share is not None and maps is not None and self._verified(image, maps, finding, side, share)
            out.append(Sentence(line.sentence, finding, side, codec_box, verified))
        return tuple(out), "ok"

    def heat_box(self, logits: NDArray[np.float32], finding: str, side: str) -> Box:
        """Box of a finding from its heat logits [h, w], as shares of the image; a sided finding stays on its side."""
        setting = self.calibration.of(finding)
        heat = fine_heat(logits) * _side_mask(logits.shape[1], finding, side, fine=True)
        return shrink_box(region_box(heat, setting.level), setting.shrink_x, setting.shrink_y)

    def _verified(
        self, image: NDArray[np.float32], maps: NDArray[np.float32], finding: str, side: str, box: Sequence[float]
    ) -> bool:
        """Heat inside the box that makes the finding probable, and a probability that falls when the box is hidden."""
        if finding not in self.findings:
            return False
        setting, channel = self.calibration.of(finding), self.findings.index(finding)
        inside = _inside_box(maps[channel], box)
        if setting.probability(inside) < HEAT_AT_LEAST:
            return False
        hidden = self._heat(self.network.see([self.processor.patchify([occlude(image, box)])]))
        assert hidden is not None
        before = setting.probability(_side_max(maps[channel], finding, side))
        after = setting.probability(_side_max(hidden[0][channel], finding, side))
        return before - after >= DROP_AT_LEAST

    def _trajectory(
        self, text: str | None, codec: Codec, maps: NDArray[np.float32] | None
    ) -> tuple[tuple[TrajectoryPoint, ...], str]:
        try:
            steps: tuple[Step, ...] = parse_steps(text) if text is not None else ()
        except ParseError:
            steps = ()
        points = [
            TrajectoryPoint(*codec.decode(clue.u, clue.v), float(clue.ms)) for step in steps for clue in step.gaze
        ]
        if points:
            return tuple(points), "gtm"
        if maps is None:
            return (), "none"
        h, w = maps.shape[1:]
        for one in maps:  # where each finding would be looked for, in the order of the channels
            row, col = np.unravel_index(int(one.argmax()), one.shape)
            x, y = codec.decode(round((col + 0.5) / w * 1000), round((row + 0.5) / h * 1000))
            points.append(TrajectoryPoint(x, y, HEAT_DWELL_MS))
        return tuple(points), "heat"


@torch.inference_mode()
def generate(
    network: GazeXNetwork,
    images: Sequence[Image] | Visual,
    prompt: str | Sequence[str],
    most: int,
    *,
    task: str,
    kind: str = "image",
    weighed: bool = True,
) -> list[str | None]:
    """Greedy answers about images (or, with `kind` "video", films of key frames), one prompt for all or one each.

    The images are prepared ones, or what the network has seen of them already.

    Only tokens that keep an answer on the grammar of `task` are chosen, so an answer that ends also parses; None where
    it did not end within `most` tokens. The points of a trajectory ("gtm") are weighed by the gaze-heat head too, where
    it draws the dwell (`GazePrior`), and the corners of a located box ("fvp") by its map of the finding (`BoxPrior`);
    with `weighed` false the text is alone. Images of one grid go together.
    """
    processor, device = network.processor, network.device
    training = network.training
    network.eval()
    visual = images if isinstance(images, Visual) else network.see(images)
    grids = visual.grids
    prompts = [prompt] * len(grids) if isinstance(prompt, str) else list(prompt)
    ids = [processor.prompt_ids(p, grid, kind) for p, grid in zip(prompts, grids, strict=True)]
    out: list[str | None] = [None] * len(grids)
    order = sorted(range(len(grids)), key=lambda k: (grids[k], len(ids[k])))
    weighed = weighed and network.names_places
    for (grid, length), group in groupby(order, key=lambda k: (grids[k], len(ids[k]))):
        members = list(group)
        seen = visual.of(members)
        rows = pad_rows([(ids[k], [], n) for n, k in enumerate(members)], processor, kind)
        network.core.model.rope_deltas = None
        guides: list[Any] = []
        if weighed and task == "gtm" and network.config.heat_dwell:
            guides.append(network.gaze_prior(seen))
        if weighed and task == "fvp" and network.heat is not None:
            guides.append(network.box_prior(seen, length))
        decoder = network.decoder(task, grid[0] if task == "sda" else 0)
        guides.append(ConstrainedLogits(decoder, length))
        answered = network.qwen.generate(
            input_ids=rows.input_ids.to(device),
            attention_mask=rows.attention_mask.to(device),
            mm_token_type_ids=rows.mm_token_type_ids.to(device),
            max_new_tokens=most,
            do_sample=False,
            logits_processor=guides,
            eos_token_id=processor.end_id,
            pad_token_id=processor.pad_id,
            **network.shown(seen, rows),
        )
        for k, said in zip(members, answered, strict=True):
            out[k] = processor.decode(said[length:].tolist())
    network.train(training)
    return out


def occlude(image: NDArray[np.float32], box: Sequence[float]) -> NDArray[np.float32]:
    """Hide a box (shares of the image): its rows are filled from the brightness just left and right of it."""
    rows, columns = image.shape
    x0, x1 = int(np.floor(box[0] * columns)), max(int(np.ceil(box[2] * columns)), 1)
    y0, y1 = int(np.floor(box[1] * rows)), max(int(np.ceil(box[3] * rows)), 1)
    x0, y0 = max(0, min(x0, columns - 1)), max(0, min(y0, rows - 1))
    x1, y1 = min(columns, max(x1, x0 + 1)), min(rows, max(y1, y0 + 1))
    margin = max(2, columns // 28)
    out = image.copy()
    left = image[y0:y1, max(0, x0 - margin) : x0]
    right = image[y0:y1, x1 : min(columns, x1 + margin)]
    edges = [e.mean(axis=1) for e in (left, right) if e.shape[1]]
    start = edges[0] if edges else np.full(y1 - y0, image.mean(), np.float32)
    end = edges[-1] if edges else start
    ramp = np.linspace(0, 1, x1 - x0, dtype=np.float32)[None, :]
    out[y0:y1, x0:x1] = start[:, None] * (1 - ramp) + end[:, None] * ramp
    return out


def _square(pixels: NDArray[np.uint16], spacing: tuple[float, float] | None) -> NDArray[np.uint16]:
    """Even out anisotropic pixels (over 1 %) by resampling rows; positions as shares of the image do not change."""
    if spacing is None:
        return pixels
    if not all(np.isfinite(spacing)) or min(spacing) <= 0:
        raise ModelError(f"A pixel spacing of {spacing} mm makes no sense; give two positive numbers or None.")
    ratio = spacing[0] / spacing[1]
    if abs(ratio - 1) < 0.01 or pixels.ndim != 2:
        return pixels
    at = np.clip(np.rint((np.arange(round(len(pixels) * ratio)) + 0.5) / ratio - 0.5), 0, len(pixels) - 1)
    return pixels[at.astype(int)]


def _pixels(share: Sequence[float], codec: Codec) -> Box:
    x0, y0, x1, y1 = share
    width, height = codec.columns - 1.0, codec.rows - 1.0
    return (
        min(width, max(0.0, x0 * codec.columns - 0.5)),
        min(height, max(0.0, y0 * codec.rows - 0.5)),
        min(width, max(0.0, x1 * codec.columns - 0.5)),
        min(height, max(0.0, y1 * codec.rows - 0.5)),
    )


def _side_mask(columns: int, finding: str, side: str, *, fine: bool = False) -> NDArray[np.float64]:
    """1 on the side of the image where a sided finding lies (the patient's left is on the image's right)."""
    n = 64 if fine else columns
    at = (np.arange(n) + 0.5) / n
    if finding not in SIDED or side not in {"left", "right"}:
        return np.ones((1, n))
    return (at > 0.47 if side == "left" else at < 0.53).astype(float)[None, :]


def _side_max(logits: NDArray[np.float32], finding: str, side: str) -> float:
    return float(np.where(_side_mask(logits.shape[1], finding, side) > 0, logits, -60).max())


def _inside_box(logits: NDArray[np.float32], box: Sequence[float]) -> float:
    """Largest heat logit among the cells a box (shares of the image) touches."""
    h, w = logits.shape
    y0, x0 = int(box[1] * h), int(box[0] * w)
    y1, x1 = int(np.ceil(box[3] * h)), int(np.ceil(box[2] * w))
    return float(logits[min(y0, h - 1) : max(y1, y0 + 1), min(x0, w - 1) : max(x1, x0 + 1)].max())
