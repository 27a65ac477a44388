"""What a network knows of held-out phantoms, measured fast and case by case: for learning curves and ablations.

`gazex.evaluate` measures a finished model through its whole inference; this measures a network while it is trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from analysis.stats.gaze import SHIFTS
from capture.gaze.simulate.reader import Habit
from gazex.calibration import iou, unit_box
from gazex.evidence import gaze_map
from gazex.findings import PHANTOM_FINDINGS, report_findings
from gazex.infer import LOCATED_TOKENS, REPORT_TOKENS, STEPS_TOKENS, generate
from gazex.metrics import auc, outcomes
from gazex.model.network import GazeXNetwork
from gazex.model.processor import Processor, resize
from gazex.phantoms import VALIDATION_SEED, make_phantom
from gazex.tasks import gtm, report
from gazex.tasks.formats import ParseError, parse_located, parse_report, parse_sequence, parse_steps
from gazex.train.data import Record, record_of, simulated_visit

MAP: Final = (32, 32)
SIZE: Final = ((256, 256), (256, 228), (256, 210))
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Case:
    """A held-out phantom as a record, what is there, and the reader's dwell map."""

    record: Record
    labels: dict[str, str]
    dwell: Array


class HeldOut:
    """Phantoms of one series read by one simulated reader.

    Parameters
    ----------
    processor
        Of the network to be measured; its settings decide how images are prepared.
    cases
        Number of phantoms.
    seed
        Their series.
    habit
        The reader; default the one that training readings are made by.
    """

    def __init__(
        self, processor: Processor, *, cases: int, seed: int = VALIDATION_SEED, habit: Habit | None = None
    ) -> None:
        self.processor = processor
        self.cases: list[Case] = []
        for index in range(cases):
            phantom = make_phantom(seed, index, SIZE[index % len(SIZE)])
            visit, path = simulated_visit(phantom, seed=seed, habit=habit)
            record = record_of(visit, phantom.pixels, processor, PHANTOM_FINDINGS)
            dwell = _dwell(path.x / phantom.columns, path.y / phantom.rows, path.duration_s)
            self.cases.append(Case(record, phantom.labels, dwell))

    def _images(self, which: Sequence[int]) -> list[Any]:
        return [self.processor.patchify([self.cases[k].record.image.astype(np.float32)]) for k in which]

    def report(self, network: GazeXNetwork) -> dict[str, Any]:
        """Micro-F1 of the reports (finding and side), chance, and for each case the share of findings said rightly."""
        texts = generate(network, self._images(range(len(self.cases))), report.PROMPT, REPORT_TOKENS, task="report")
        said: list[dict[str, str]] = []
        invalid = 0
        for text in texts:
            try:
                said.append(report_findings([line.sentence for line in parse_report(text or "")]))
            except ParseError:
                said.append({})
                invalid += 1
        truth = [case.labels for case in self.cases]
        right = [[t.get(f) == s.get(f) for f in PHANTOM_FINDINGS] for t, s in zip(truth, said, strict=True)]
        return {
            "f1": f1(truth, said, PHANTOM_FINDINGS),
            "f1_chance": float(np.mean([f1(truth, said[k:] + said[:k], PHANTOM_FINDINGS) for k in SHIFTS])),
            "f1_side_ignored": f1([dict.fromkeys(t, "") for t in truth], [dict.fromkeys(s, "") for s in said]),
            "by_finding": {f: f1(truth, said, [f]) for f in PHANTOM_FINDINGS},
            "invalid": invalid,
            "right": [float(np.mean(r)) for r in right],
        }

    @torch.inference_mode()
    def heat(self, network: GazeXNetwork) -> dict[str, Any]:
        """AUC of each finding by the maximum of its heat, and the cosine of the head's dwell map with the reader's."""
        maps: list[Array] = []
        for first in range(0, len(self.cases), 16):
            which = range(first, min(first + 16, len(self.cases)))
            maps += [m.double().cpu().numpy() for m in network.heat_logits(network.see(self._images(which)))]
        out: dict[str, Any] = {"auc": {}}
        for channel, finding in enumerate(PHANTOM_FINDINGS):
            score = np.array([m[channel].max() for m in maps])
            here = np.array([finding in case.labels for case in self.cases])
            out["auc"][finding] = auc(score, here)
        if network.config.heat_dwell:
            out |= self._similarity([_pooled(1 / (1 + np.exp(-m[-1]))) for m in maps])
        return out

    def trajectories(self, network: GazeXNetwork, *, weighed: bool = True) -> dict[str, Any]:
        """Cosine of the dwell map of the trajectory a network writes with the reader's, beside chance; invalid is 0.
        With `weighed` false the text is alone, without the head's map of the dwell."""
        images = self._images(range(len(self.cases)))
        texts = generate(network, images, gtm.PROMPT, STEPS_TOKENS, task="gtm", weighed=weighed)
        maps, invalid = [], 0
        for text in texts:
            try:
                clues = np.array([(c.u, c.v, c.ms) for s in parse_steps(text or "") for c in s.gaze], float)
            except ParseError:
                clues = np.zeros((0, 3))
                invalid += 1
            clues = clues.reshape(-1, 3)
            maps.append(_dwell(clues[:, 0] / 1000, clues[:, 1] / 1000, clues[:, 2]))
        return {**self._similarity(maps), "invalid": invalid}

    def _similarity(self, maps: Sequence[Array]) -> dict[str, Any]:
        read = [case.dwell for case in self.cases]
        n = len(read)
        own = [cosine(a, b) for a, b in zip(maps, read, strict=True)]
        other = [float(np.mean([cosine(maps[i], read[(i + k) % n]) for k in SHIFTS])) for i in range(n)]
        abnormal = [i for i, case in enumerate(self.cases) if case.labels]
        return {
            "similarity": float(np.mean(own)),
            "similarity_chance": float(np.mean(other)),
            "similarity_abnormal": float(np.mean(np.array(own)[abnormal])),
            "similarity_abnormal_chance": float(np.mean(np.array(other)[abnormal])),
            "each": own,
            "each_chance": other,
        }

    def boxes(self, network: GazeXNetwork, *, weighed: bool = True) -> dict[str, Any]:
        """IoU of boxes written as text ("locate the evidence") with the reader's, beside the mean box of that finding
        and side over the other cases. With `weighed` false the text is alone, without the head's map of the finding."""
        images: list[Any] = []
        prompts: list[str] = []
        truth: list[list[float]] = []
        keys: list[tuple[str, str]] = []
        for k, case in enumerate(self.cases):
            for example in case.record.examples["fvp"]:
                located = parse_located(example.target)
                images += self._images([k])
                prompts.append(example.prompt)
                truth.append([float(v) for v in located.box])
                keys.append((located.finding, case.labels.get(located.finding, "")))
        scores, prior, invalid = [], [], 0
        for first in range(0, len(images), 64):
            some = slice(first, first + 64)
            texts = generate(network, images[some], prompts[some], LOCATED_TOKENS, task="fvp", weighed=weighed)
            for k, text in enumerate(texts, start=first):
                rest = [b for j, b in enumerate(truth) if keys[j] == keys[k] and j != k]
                prior.append(iou(np.mean(rest, axis=0).tolist(), truth[k]) if rest else 0.0)
                try:
                    scores.append(iou(parse_located(text or "").box, truth[k]))
                except ParseError:
                    scores.append(0.0)
                    invalid += 1
        return {
            "iou": float(np.mean(scores)),
            "iou_mean_box": float(np.mean(prior)),
            "by_finding": {
                f: [
                    round(float(np.mean([s[j] for j in range(len(keys)) if keys[j][0] == f] or [0])), 3)
                    for s in (scores, prior)
                ]
                for f in PHANTOM_FINDINGS
            },
            "each": scores,
            "each_chance": prior,
            "invalid": invalid,
        }

    @torch.inference_mode()
    def heat_edges(self, network: GazeXNetwork) -> dict[str, Any]:
        """How well the edge of the heat alone is that of the reader's own box: IoU, and for left, top, right and bottom
        the mean difference and the mean distance, as shares of the image."""
        found, truth = [], []
        for k, case in enumerate(self.cases):
            located = [parse_located(example.target) for example in case.record.examples["fvp"]]
            edges = network.heat_edges(network.see(self._images([k])))[0] if located else {}
            for one in located:
                found.append(edges[one.finding][0])
                truth.append([v / 1000 for v in one.box])
        off = np.array(found) - np.array(truth)
        return {
            "boxes": len(found),
            "iou": float(np.mean([iou(a, b) for a, b in zip(found, truth, strict=True)])),
            "bias": off.mean(axis=0).tolist(),
            "distance": np.abs(off).mean(axis=0).tolist(),
        }

    def order(self, network: GazeXNetwork) -> dict[str, Any]:
        """Share of key frames put in their place, and of pairs in the right order, each beside chance (1/n and 1/2)."""
        placed, chance, pairs, invalid = [], [], [], 0
        for frames, which in self._films().items():
            videos = []
            for k in which:
                record = self.cases[k].record
                example = record.examples["sda"][0]
                boxes = [unit_box(b, record.codec.rows, record.codec.columns) for b in example.frames]
                videos.append(self.processor.key_frames(record.image.astype(np.float32), boxes))
            prompt = self.cases[which[0]].record.examples["sda"][0].prompt
            for k, text in zip(which, generate(network, videos, prompt, 40, task="sda", kind="video"), strict=True):
                want = parse_sequence(self.cases[k].record.examples["sda"][0].target, frames)
                chance.append(1 / frames)
                try:
                    said = parse_sequence(text or "", frames)
                except ParseError:
                    invalid += 1
                    placed.append(0.0)
                    pairs.append(0.0)
                    continue
                placed.append(float(np.mean([a == b for a, b in zip(said, want, strict=True)])))
                place = [said.index(n) for n in want]
                pairs.append(float(np.mean([place[i] < place[j] for j in range(frames) for i in range(j)])))
        return {
            "placed": float(np.mean(placed)),
            "placed_chance": float(np.mean(chance)),
            "pairs": float(np.mean(pairs)),
            "pairs_chance": 0.5,
            "each": placed,
            "each_chance": chance,
            "each_pairs": pairs,
            "invalid": invalid,
        }

    def _films(self) -> dict[int, list[int]]:
        films: dict[int, list[int]] = {}
        for k, case in enumerate(self.cases):
            if case.record.examples["sda"]:
                films.setdefault(len(case.record.examples["sda"][0].frames), []).append(k)
        return films


def f1(
    truth: Sequence[dict[str, str]], said: Sequence[dict[str, str]], findings: Sequence[str] = PHANTOM_FINDINGS
) -> float | None:
    """Micro-F1 over findings; a positive counts only with the right side. None where nothing is there nor said."""
    right, missed, wrong = np.sum([outcomes(truth, said, f).sum(axis=0) for f in findings], axis=0)
    total = 2 * right + missed + wrong
    return float(2 * right / total) if total else None


def _dwell(x: Array, y: Array, weight: Array) -> Array:
    """Dwell map of places given as shares of the image, σ 0.06 of it."""
    rows, columns = MAP
    return gaze_map(x * columns - 0.5, y * rows - 0.5, rows, columns, 0.06 * columns, 0.06 * rows, MAP, weight)


def _pooled(heat: Array) -> Array:
    return np.maximum(resize(heat.astype(np.float32), *MAP).astype(np.float64), 0)


def cosine(a: Array, b: Array) -> float:
    """Cosine of two maps; 0 where one of them is empty."""
    norm = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float((a * b).sum() / norm) if norm > 0 else 0.0
