"""`python -m gazex …`: train, evaluate and use GazeX from a shell."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from pathlib import Path

STOPPED = 143  # 128 + SIGTERM


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m gazex", description="GazeX: train, evaluate, read.")
    commands = parser.add_subparsers(dest="command", required=True)

    one = commands.add_parser("train", help="train a model further on visits, mixed with replayed phantoms")
    one.add_argument("--visits", type=Path, required=True, help="folder with visits.jsonl, images/ and gaze/")
    one.add_argument("--init", default="small", help="small, a model folder or a hub id")
    one.add_argument("--out", type=Path, required=True, help="folder of the run; the model appears in OUT/model")
    one.add_argument("--steps", type=int, default=60)
    one.add_argument("--seed", type=int, default=0)
    one.add_argument("--resume", action="store_true", help="go on from the checkpoint in OUT, if there is one")

    one = commands.add_parser("train-small", help="train the small model from nothing")
    one.add_argument("--out", type=Path, required=True)
    one.add_argument("--seed", type=int, default=1)

    one = commands.add_parser("evaluate", help="measure a model on held-out phantoms")
    one.add_argument("--model", default="small")
    one.add_argument("--out", type=Path, required=True, help="JSON file to write")
    one.add_argument("--cases", type=int, default=60)

    one = commands.add_parser("read", help="read one radiograph (DICOM or grayscale PNG) and print its Evidence")
    one.add_argument("file", type=Path)
    one.add_argument("--model", default="small")

    options = parser.parse_args(arguments)
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        return int(_COMMANDS[options.command](options))
    except (ValueError, OSError) as error:  # SchemaError, ModelError and TrainError are ValueErrors
        print(" ".join(str(error).split()), file=sys.stderr)
        return 2


def _train(options: argparse.Namespace) -> int:
    from gazex.train.runs import retrain

    state = retrain(
        options.visits, options.init, options.out, steps=options.steps, seed=options.seed, resume=options.resume
    )
    if state.finished:
        return 0
    print(f"Stopped at step {state.step} of {state.total}; continue with --resume.", file=sys.stderr)
    return STOPPED


def _train_small(options: argparse.Namespace) -> int:
    from gazex.train.runs import train_small

    train_small(options.out, seed=options.seed)
    return 0


def _evaluate(options: argparse.Namespace) -> int:
    from gazex.evaluate import evaluate
    from gazex.infer import GazeX

    result = evaluate(GazeX.load(options.model), cases=options.cases)
    text = json.dumps(result, indent=1) + "\n"
    options.out.parent.mkdir(parents=True, exist_ok=True)
    temporary = options.out.with_name(options.out.name + ".part")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(options.out)
    return 0


def _read(options: argparse.Namespace) -> int:
    from gazex.infer import GazeX
    from gazex.model.config import ModelError

    path: Path = options.file
    spacing = None
    if path.suffix.lower() in {".png", ".jpg", ".jpeg"}:
        from gazex.schema import read_image

        pixels = read_image(path)
    else:
        import numpy as np
        import pydicom
        from pydicom.errors import InvalidDicomError

        try:
            ds = pydicom.dcmread(path)
            pixels = np.asarray(ds.pixel_array).astype(np.int64)
        except (InvalidDicomError, AttributeError, RuntimeError, NotImplementedError) as error:
            raise ModelError(f"{path.name} is not a DICOM image that can be read: {error}") from None
        pixels = pixels - pixels.min()
        if ds.PhotometricInterpretation == "MONOCHROME1":
            pixels = pixels.max() - pixels
        pixels = np.clip(pixels, 0, 65535).astype(np.uint16)
        if "PixelSpacing" in ds:
            spacing = (float(ds.PixelSpacing[0]), float(ds.PixelSpacing[1]))
    print(json.dumps(GazeX.load(options.model).read(pixels, pixel_spacing=spacing).to_dict(), indent=1))
    return 0


_COMMANDS = {"train": _train, "train-small": _train_small, "evaluate": _evaluate, "read": _read}

if __name__ == "__main__":
    sys.exit(main())
