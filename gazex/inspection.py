"""`python -m gazex anatomy`: the inspection areas of one radiograph, and in which of them readings of it looked.

A reading's clusters are those of our own tasks (`evidence.clusters`), in image pixels: the published recipe's, and one
for a sentence that looked at a single place. No torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from gazex.anatomy import ABCDEF, Area, ChestMap, OrderTest, follows_abcdef, inspection, locate
from gazex.evidence.clusters import clusters_of
from gazex.radiograph import ImageError, Radiograph, read_radiograph
from gazex.schema import Visit

SCHEMA: Final = "gazeroom.anatomy/1"
SIGNIFICANT: Final = 0.05


def describe(image: Path | str, folders: Sequence[Path | str] = ()) -> dict[str, Any]:
    """The areas of a radiograph and, with folders as REFLACX has them, of every sentence's clusters.

    Parameters
    ----------
    image
        A frontal chest radiograph: DICOM, PNG or JPEG.
    folders
        Readings of this image.

    Returns
    -------
    dict
        JSON-ready (schema "gazeroom.anatomy/1"); places are image pixels.

    Raises
    ------
    ValueError
        No radiograph, none on which a pair of lungs is found, or a folder that holds no reading of it.
    """
    from gazex.tasks.command import visit_of_folder

    radiograph = read_radiograph(image, gray_colours=True)
    rows, columns = radiograph.pixels.shape
    # The readings first: to locate the areas takes seconds.
    visits = [visit_of_folder(folder, width=columns, height=rows) for folder in folders]
    ids = [visit.id for visit in visits]
    twice = next((name for name in ids if ids.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"The reading {twice} is given twice; name each reading once.")
    chest = _located(radiograph, Path(image).name)
    out: dict[str, Any] = {
        "schema": SCHEMA,
        "image": Path(image).name,
        "rows": rows,
        "columns": columns,
        "confidence": round(chest.confidence, 3),
        "areas": [
            {"area": str(area), **asdict(area), "box": [round(v, 1) for v in box]} for area, box in chest.boxes.items()
        ],
    }
    if visits:
        seen = [_sentences(visit, chest) for visit in visits]
        out["readings"] = [{"reading": v.id, "sentences": said} for v, (said, _) in zip(visits, seen, strict=True)]
        out["abcdef"] = _order(follows_abcdef([path for _, path in seen]))
    return out


def _located(radiograph: Radiograph, name: str) -> ChestMap:
    chest = locate(radiograph.pixels)
    if chest is None:
        raise ImageError(
            f"No pair of lungs is found on {name}, so no area is named; give an upright frontal chest radiograph, "
            "bright where dense, with both lungs on it."
        )
    return chest


def _sentences(visit: Visit, chest: ChestMap) -> tuple[list[dict[str, Any]], list[Area | None]]:
    """A reading's sentences with the area of each cluster, and the areas of all clusters in the order of time."""
    out = []
    path: list[tuple[float, Area | None]] = []
    for k, (text, _, _) in enumerate(visit.sentences):
        clusters = clusters_of(visit, k)
        areas = inspection(chest, [c.centroid[0] for c in clusters], [c.centroid[1] for c in clusters])
        path += [(c.time_s, area) for c, area in zip(clusters, areas, strict=True)]
        found = [
            {
                "x": round(c.centroid[0], 1),
                "y": round(c.centroid[1], 1),
                "time_s": round(c.time_s, 3),
                "share": round(c.share, 3),
                "area": str(area) if area is not None else None,
            }
            for c, area in zip(clusters, areas, strict=True)
        ]
        out.append({"sentence": text, "clusters": found})
    return out, [area for _, area in sorted(path, key=lambda at: at[0])]


def _order(test: OrderTest) -> dict[str, Any]:
    if test.tau is None or test.p is None:
        meaning = f"{test.not_estimable[:1].upper()}{test.not_estimable[1:]}."
    elif test.p <= SIGNIFICANT:
        meaning = "The areas are first visited in the order of ABCDEF more than visits in any order would be."
    else:
        meaning = (
            "The areas are first visited no more in the order of ABCDEF than by chance; few readings seldom show it."
        )
    return {
        "letters": ABCDEF,
        "orders": list(test.orders),
        "tau": None if test.tau is None else round(test.tau, 4),
        "p": None if test.p is None else round(test.p, 5),
        "readings": test.readings,
        "permutations": test.permutations,
        "meaning": meaning,
    }
