"""Write ``affine.json``: the golden table of the viewport's matrix, read by the viewer's tests and by capture's.

The formula, written out here a third time on purpose and evaluated with 50 digits (``decimal``), so that neither
test suite checks an implementation against itself::

    aspect = row spacing / column spacing          k = scale, device px per image column
    A = flip*cos*k      B = sin*k                  (image x to canvas x, y)
    C = -flip*sin*k*aspect   D = cos*k*aspect      (image y to canvas x, y)
    E = W/2 - A*cx - C*cy    F = H/2 - B*cx - D*cy
    css    = (A x + C y + E) * rect.width/W + rect.left,  (B x + D y + F) * rect.height/H + rect.top
    screen = (css + screen origin) * device pixel ratio

Image pixel centres are integers; (cx, cy) is the image pixel at the canvas's middle; W and H are device pixels.

Run: ``python tests/golden/make_affine.py`` (the file it writes is committed).
"""

import json
from decimal import Decimal, getcontext
from pathlib import Path
from typing import Any

getcontext().prec = 50
PI = Decimal("3.14159265358979323846264338327950288419716939937510")


def cos_sin(degrees: Decimal) -> tuple[Decimal, Decimal]:
    """Cosine and sine by their Taylor series, to the context's precision."""
    x = (degrees % 360) * PI / 180
    cos, sin, term = Decimal(0), Decimal(0), Decimal(1)
    for n in range(120):
        if n % 2 == 0:
            cos += term if n % 4 == 0 else -term
        else:
            sin += term if n % 4 == 1 else -term
        term = term * x / (n + 1)
    return cos, sin


def case(
    name: str,
    *,
    image: tuple[int, int],
    spacing: tuple[str, str],
    view: tuple[str, str, str, str, int],
    canvas: tuple[int, int],
    rect: tuple[str, str, str, str],
    dpr: str,
    screen: tuple[str, str],
) -> dict[str, Any]:
    """One row: what the viewer knows, the matrix, and five points in image, CSS and screen pixels."""
    rows, columns = image
    row_spacing, column_spacing = (Decimal(s) for s in spacing)
    cx, cy, k, rotation = (Decimal(v) for v in view[:4])
    flip = view[4]
    cos, sin = cos_sin(rotation)
    aspect = row_spacing / column_spacing
    a, b, c, d = flip * cos * k, sin * k, -flip * sin * k * aspect, cos * k * aspect
    width, height = (Decimal(v) for v in canvas)
    e, f = width / 2 - a * cx - c * cy, height / 2 - b * cx - d * cy
    left, top, css_width, css_height = (Decimal(v) for v in rect)
    sx, sy = css_width / width, css_height / height
    matrix = [a * sx, b * sy, c * sx, d * sy, e * sx + left, f * sy + top]
    screen_x, screen_y, ratio = Decimal(screen[0]), Decimal(screen[1]), Decimal(dpr)
    points = []
    corners = (
        ["0", "0"],
        [str(columns - 1), "0"],
        ["0", str(rows - 1)],
        [str(columns / 3), str(rows / 7)],
        ["-0.5", "-0.5"],
    )
    for px, py in corners:
        x, y = Decimal(px), Decimal(py)
        u = matrix[0] * x + matrix[2] * y + matrix[4]
        v = matrix[1] * x + matrix[3] * y + matrix[5]
        points.append(
            {
                "image": [float(x), float(y)],
                "css": [float(u), float(v)],
                "screen": [float((u + screen_x) * ratio), float((v + screen_y) * ratio)],
            }
        )
    return {
        "name": name,
        "rows": rows,
        "columns": columns,
        "row_spacing": float(row_spacing),
        "column_spacing": float(column_spacing),
        "view": {"cx": float(cx), "cy": float(cy), "scale": float(k), "rotation": float(rotation), "flip": flip},
        "canvas": list(canvas),
        "rect": [float(v) for v in (left, top, css_width, css_height)],
        "dpr": float(ratio),
        "screen": [float(screen_x), float(screen_y)],
        "a": [float(v) + 0.0 for v in matrix],
        "points": points,
    }


def table() -> dict[str, Any]:
    """The whole table, with where it came from."""
    square: dict[str, Any] = {"image": (1024, 1024), "spacing": ("0.2", "0.2"), "rect": ("0", "0", "920", "800")}
    return {
        "provenance": "tests/golden/make_affine.py: the formula in 50-digit decimal arithmetic, rounded to float64",
        "units": "image px (centres are integers), CSS px of the page, physical screen px; rotation in degrees",
        "tolerance": 1e-6,
        "cases": [
            case(
                "fit",
                **square,
                view=("511.5", "511.5", "0.78125", "0", 1),
                canvas=(920, 800),
                dpr="1",
                screen=("0", "0"),
            ),
            case(
                "zoomed",
                **square,
                view=("300.25", "700.5", "3.3", "0", 1),
                canvas=(920, 800),
                dpr="1",
                screen=("0", "85"),
            ),
            case(
                "dpr 1.5",
                **square,
                view=("511.5", "400", "1.2", "0", 1),
                canvas=(1380, 1200),
                dpr="1.5",
                screen=("12.5", "71"),
            ),
            case(
                "dpr 1.25, canvas not a whole number of CSS pixels",
                image=(3000, 2500),
                spacing=("0.139", "0.139"),
                view=("1249.5", "1499.5", "0.31", "0", 1),
                canvas=(1151, 1001),
                rect=("0", "0", "920.8", "800.6"),
                dpr="1.25",
                screen=("0", "0"),
            ),
            case(
                "tall pixels",
                image=(512, 1024),
                spacing=("0.4", "0.2"),
                view=("511.5", "255.5", "0.75", "0", 1),
                canvas=(920, 800),
                rect=("0", "0", "920", "800"),
                dpr="1",
                screen=("0", "0"),
            ),
            case(
                "tall pixels, rotated and mirrored",
                image=(600, 800),
                spacing=("0.3", "0.2"),
                view=("410", "290", "1.1", "90", -1),
                canvas=(1840, 1600),
                rect=("10", "20", "920", "800"),
                dpr="2",
                screen=("1920", "0"),
            ),
            case(
                "rotated by 33 degrees",
                **square,
                view=("100", "900", "0.5", "33", 1),
                canvas=(920, 800),
                dpr="1",
                screen=("-8", "-8"),
            ),
        ],
    }


if __name__ == "__main__":
    target = Path(__file__).with_name("affine.json")
    target.write_text(json.dumps(table(), indent=1, sort_keys=False) + "\n", encoding="utf-8")
