"""`python -m gazex …`: train, evaluate and use GazeX from a shell. Each command imports only what it needs."""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys
import time
from pathlib import Path
from typing import NoReturn

INTERRUPTED = 130  # 128 + SIGINT
STOPPED = 143  # 128 + SIGTERM
FEWEST_CASES, MOST_CASES = 8, 2000
PROGRESS_S = 5.0


class _Parser(argparse.ArgumentParser):
    """Says in one sentence what is wrong with the arguments."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{message[:1].upper()}{' '.join(message[1:].split())}; see {self.prog} --help.\n")


def main(arguments: list[str] | None = None) -> int:
    parser = _Parser(prog="python -m gazex", description="GazeX: train, evaluate, read.")
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
    one.add_argument("--steps", type=int, help="optimizer steps")
    one.add_argument("--pool", type=int, help="phantoms trained on")
    one.add_argument("--without", action="append", default=[], help="leave out heat, fvp, gtm or sda; repeatable")

    one = commands.add_parser(
        "ablation",
        help="what each objective adds, on phantoms, with table and plots",
        argument_default=argparse.SUPPRESS,  # its plan has them
    )
    one.add_argument("--out", type=Path, required=True, help="folder; the same command goes on after a kill")
    one.add_argument("--steps", type=int, help="optimizer steps of each run")
    one.add_argument("--pool", type=int, help="phantoms trained on")
    one.add_argument("--cases", type=int, help="held-out phantoms")
    one.add_argument("--seeds", type=int, nargs="+", help="one run of each arm for each")
    one.add_argument("--rates", type=float, nargs="+", help="multiples of the learning rate each arm tries")
    one.add_argument("--processes", type=int, help="runs at once, each on one core")
    one.add_argument("--without", action="append", default=[], help="leave an arm's objective out; repeatable")

    one = commands.add_parser("evaluate", help="measure a model on held-out phantoms")
    one.add_argument("--model", default="small")
    one.add_argument("--out", type=Path, required=True, help="JSON file to write")
    one.add_argument("--cases", type=int, default=60)

    one = commands.add_parser("read", help="read one radiograph (DICOM or grayscale PNG) and print its Evidence")
    one.add_argument("file", type=Path)
    one.add_argument("--model", default="small")

    one = commands.add_parser("boxes", help="boxes of a reading's clusters by the published recipe, as CSV")
    one.add_argument("folder", type=Path, help="folder with gaze.csv and timestamps_transcription.csv, as REFLACX has")
    one.add_argument("--width", required=True, help="image columns in pixels")
    one.add_argument("--height", required=True, help="image rows in pixels")
    one.add_argument("--out", type=Path, required=True, help="CSV file to write")

    one = commands.add_parser("video", help="attention video of a reading, one key frame a second")
    one.add_argument("folder", type=Path, help="folder with gaze.csv and timestamps_transcription.csv, as REFLACX has")
    one.add_argument("--image", type=Path, required=True, help="the radiograph (DICOM, PNG or JPEG)")
    one.add_argument("--out", type=Path, required=True, help="animated PNG or WebP to write")

    one = commands.add_parser("anatomy", help="inspection areas of a radiograph, and whether readings follow ABCDEF")
    one.add_argument("image", type=Path, help="a frontal chest radiograph (DICOM, PNG or JPEG)")
    one.add_argument("--gaze", type=Path, nargs="+", default=[], help="folders with readings of it, as REFLACX has")
    one.add_argument("--out", type=Path, help="JSON file to write, instead of printing it")

    one = commands.add_parser("examples", help="build training examples from readings, as JSON lines")
    one.add_argument("folders", type=Path, nargs="+", help="a folder of visits, or REFLACX folders")
    one.add_argument("--out", type=Path, required=True, help="JSONL file to write (gazex/tasks/examples.schema.json)")
    one.add_argument("--tasks", default="", help="of report,vqa,fvp,gtm,sda,grounding; all if omitted")
    one.add_argument("--format", default="ours", help="ours, or published: the paper's prompts and boxes")
    one.add_argument("--seed", type=int, default=0, help="of the shuffles")
    one.add_argument("--split", default="", help="train, validation or test: these patients only")
    one.add_argument("--prompts", type=Path, help="JSON file with other wording of the published prompts")
    one.add_argument("--width", type=int, help="image columns, where no table beside a REFLACX folder tells them")
    one.add_argument("--height", type=int, help="image rows")
    one.add_argument("--reader", default="reflacx", help="pseudonym of who read the REFLACX folders")

    one = commands.add_parser(
        "label", help="say what each sentence of a text file states of each finding, as JSON lines"
    )
    one.add_argument("file", type=Path, help="UTF-8 text, one sentence a line")
    one.add_argument("--report", action="store_true", help="one more line for the file as a whole, with No Finding")
    one.add_argument("--chexbert", type=Path, metavar="CHECKPOINT", help="label with CheXbert's published weights")
    one.add_argument(
        "--bert", default="", help="folder or hub id of CheXbert's tokenizer, by default bert-base-uncased"
    )

    options = parser.parse_args(arguments)
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        _check_numbers(options)
        return int(_COMMANDS[options.command](options))
    except (ValueError, OSError) as error:  # SchemaError, ModelError and TrainError are ValueErrors
        print(_sentence(error), file=sys.stderr)
        return 2
    except MemoryError:
        print("There is not enough memory for this; give fewer or smaller files at once.", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Interrupted; nothing unfinished is left under the name asked for.", file=sys.stderr)
        return INTERRUPTED


def _sentence(error: Exception) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, OSError) and error.strerror:
        where = str(error.filename or "").removesuffix(".part")
        text = f"{where} cannot be read or written: {error.strerror}" if where else error.strerror
    return text if text.endswith((".", "?", "!")) else f"{text}."


def _check_numbers(options: argparse.Namespace) -> None:
    seeds = getattr(options, "seeds", None) or [getattr(options, "seed", 0)]
    if min(seeds) < 0:
        name = "--seeds" if hasattr(options, "seeds") else "--seed"
        raise ValueError(f"{name} is {min(seeds)}; give a whole number from 0 on.")
    cases = getattr(options, "cases", FEWEST_CASES)
    if not FEWEST_CASES <= cases <= MOST_CASES:
        raise ValueError(f"--cases is {cases}; give a whole number from {FEWEST_CASES} to {MOST_CASES}.")


def _check_model(name: str) -> None:
    """Before torch is imported, which takes seconds."""
    from gazex.model.config import model_folder

    model_folder(name)


def _train(options: argparse.Namespace) -> int:
    _check_folder(options.out)
    from gazex.train.runs import retrain

    state = retrain(
        options.visits, options.init, options.out, steps=options.steps, seed=options.seed, resume=options.resume
    )
    if state.finished:
        return 0
    print(f"Stopped at step {state.step} of {state.total}; continue with --resume.", file=sys.stderr)
    return STOPPED


def _train_small(options: argparse.Namespace) -> int:
    _check_folder(options.out)
    from gazex.train.runs import train_small

    sizes = {k: v for k in ("steps", "pool") if (v := getattr(options, k)) is not None}
    train_small(options.out, seed=options.seed, without=options.without, **sizes)
    return 0


def _ablation(options: argparse.Namespace) -> int:
    _check_folder(options.out)
    from gazex.train.ablation import run

    print(run(options))
    return 0


def _evaluate(options: argparse.Namespace) -> int:
    _check_out(options.out, make=True)
    _check_model(options.model)
    from gazex.evaluate import as_text, evaluate
    from gazex.infer import GazeX

    said = time.monotonic()

    def tick(done: int) -> None:
        nonlocal said
        if time.monotonic() - said > PROGRESS_S:
            print(f"{done} of {options.cases} phantoms read", file=sys.stderr, flush=True)
            said = time.monotonic()

    result = evaluate(GazeX.load(options.model), cases=options.cases, tick=tick)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    _write_text(options.out, as_text(result))
    report, auc = result["report"], result["probability"]["auc_mean"]
    figures = {"report F1": report["f1"], "by chance": report["f1_chance"], "mean AUC": auc}
    print("; ".join(f"{k} {v:.3f}" for k, v in figures.items() if v is not None) + f"; all of it in {options.out}")
    return 0


def _boxes(options: argparse.Namespace) -> int:
    _one_thread()
    from gazex.evidence.boxes import boxes
    from gazex.evidence.folder import read_folder

    _check_out(options.out)
    width, height = (_pixels(getattr(options, name), name) for name in ("width", "height"))
    reading = read_folder(options.folder, width=width, height=height)
    lines = ["sentence,cluster,x_min,y_min,x_max,y_max,cx,cy"]
    for sentence, focus in boxes(reading.gaze, reading.times, reading.rows, reading.columns):
        x, y = focus.centroid
        lines.append(f"{sentence},{focus.cluster},{','.join(map(str, focus.box))},{round(x, 4)},{round(y, 4)}")
    _write_text(options.out, "\n".join(lines) + "\n")
    return 0


def _video(options: argparse.Namespace) -> int:
    _one_thread()
    from gazex.evidence.boxes import boxes
    from gazex.evidence.folder import read_folder
    from gazex.evidence.keyframes import FORMATS, key_frames, quarter_gray, read_gray, write_video

    _check_out(options.out)
    if options.out.suffix.lower() not in FORMATS:
        raise ValueError(f"{options.out.name} must end in .png or .webp: a video is an animated PNG or WebP.")
    pixels = read_gray(options.image)
    rows, columns = pixels.shape
    reading = read_folder(options.folder, width=columns, height=rows)
    found = [focus for _, focus in boxes(reading.gaze, reading.times, rows, columns)]
    write_video(options.out, key_frames(quarter_gray(pixels), found))
    return 0


def _anatomy(options: argparse.Namespace) -> int:
    _one_thread()
    if options.out is not None:
        _check_out(options.out)
    from gazex.inspection import describe

    text = json.dumps(describe(options.image, options.gaze), indent=1, ensure_ascii=False)
    if options.out is None:
        print(text)
    else:
        _write_text(options.out, text + "\n")
    return 0


def _examples(options: argparse.Namespace) -> int:
    _check_out(options.out, make=True)
    from gazex.tasks.command import run

    print(json.dumps(run(options)))
    return 0


def _pixels(text: str, name: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise ValueError(f"--{name} is “{text[:40]}”; give the image's {name} in whole pixels.")
    return int(text)


def _one_thread() -> None:
    """Before numpy is imported: its matrices are small here, and more threads only wait for one another."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def _check_out(path: Path, *, make: bool = False) -> None:
    """Before anything is read: whether a file can be written there; with `make` its folder may be made first."""
    if path.is_dir():
        raise ValueError(f"{path} is a folder; name a file in it.")
    if not make and not path.parent.is_dir():
        raise ValueError(f"There is no folder {path.parent} to write {path.name} into; make it first.")
    _check_folder(path.parent)


def _check_folder(path: Path) -> None:
    """Whether a folder is there, or can be made, and written to."""
    place = next(p for p in (path, *path.parents) if p.exists())
    if not place.is_dir():
        raise ValueError(f"{place} is a file, so nothing can be written into it; name another place for --out.")
    if not os.access(place, os.W_OK | os.X_OK):
        raise ValueError(f"The folder {place} cannot be written to; name another place for --out.")


def _write_text(path: Path, text: str) -> None:
    temporary = path.with_name(path.name + ".part")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _read(options: argparse.Namespace) -> int:
    from gazex.radiograph import read_radiograph

    image = read_radiograph(options.file)
    pixels = image.pixels.astype("uint16", copy=False)
    _check_model(options.model)
    from gazex.infer import GazeX  # after the image: it takes seconds

    model = GazeX.load(options.model)
    if model.network.config.size == "small":
        print("The small model has learnt from phantoms; of a patient's radiograph it knows nothing.", file=sys.stderr)
    print(json.dumps(model.read(pixels, pixel_spacing=image.spacing).to_dict(), indent=1))
    return 0


def _label(options: argparse.Namespace) -> int:
    from gazex.labelling import label_file

    label_file(options.file, sys.stdout, report=options.report, checkpoint=options.chexbert, bert=options.bert)
    return 0


_COMMANDS = {
    "label": _label,
    "train": _train,
    "train-small": _train_small,
    "ablation": _ablation,
    "evaluate": _evaluate,
    "read": _read,
    "boxes": _boxes,
    "video": _video,
    "anatomy": _anatomy,
    "examples": _examples,
}

if __name__ == "__main__":
    signal.signal(
        signal.SIGTERM, lambda *_: sys.exit(STOPPED)
    )  # so that unfinished files are taken away on the way out
    sys.exit(main())
