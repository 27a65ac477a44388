"""The truth beside the images: `truth.json` with geometry, `truth.csv` with one row a finding."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from gazex.phantoms.phantom import Phantom

SCHEMA: Final = "gazeroom.truth/1"
COLUMNS: Final = ("file", "patient_id", "view", "finding", "side", "x0", "y0", "x1", "y1")


def truth_of(phantom: Phantom, *, patient_id: str) -> dict[str, Any]:
    """The truth of one phantom as JSON-ready data: findings with box and outline, regions, report (image pixels)."""
    return {
        "patient_id": patient_id,
        "view": "PA",
        "rows": phantom.rows,
        "columns": phantom.columns,
        "seed": phantom.seed,
        "index": phantom.index,
        "findings": [
            {
                "finding": f.finding,
                "side": f.side,
                "box": [round(v, 2) for v in f.box],
                "outline": [[round(x, 2), round(y, 2)] for x, y in f.outline],
            }
            for f in phantom.findings
        ],
        "regions": {name: [round(v, 2) for v in box] for name, box in phantom.regions.items()},
        "report": list(phantom.report),
    }


def write_truth(folder: Path | str, phantoms: Mapping[str, tuple[str, Phantom]]) -> tuple[Path, Path]:
    """Write `truth.json` and `truth.csv` into a folder.

    Parameters
    ----------
    folder
        Where the images lie; must exist.
    phantoms
        File name → (patient id, phantom).

    Returns
    -------
    tuple
        Paths of the JSON (`{"schema", "images": {file: truth}}`) and the CSV (columns `COLUMNS`; a normal image has one
        row with an empty finding).
    """
    folder = Path(folder)
    images = {name: truth_of(p, patient_id=pid) for name, (pid, p) in phantoms.items()}
    json_path, csv_path = folder / "truth.json", folder / "truth.csv"
    json_path.write_text(json.dumps({"schema": SCHEMA, "images": images}, indent=1), encoding="utf-8")
    with csv_path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for name, truth in images.items():
            rows = [(f["finding"], f["side"], *f["box"]) for f in truth["findings"]] or [("", "", "", "", "", "")]
            writer.writerows([name, truth["patient_id"], truth["view"], *row] for row in rows)
    return json_path, csv_path
