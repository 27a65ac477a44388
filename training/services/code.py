from __future__ import annotations

import hashlib
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import gazex.schema

from . import pixels


@cache
def code_version() -> str:
    """The package's version and a hash over the source that turns reads into visits: a release's code."""
    digest = hashlib.sha256()
    for path in (Path(pixels.__file__), Path(__file__).with_name("releasing.py"), Path(str(gazex.schema.__file__))):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    try:
        number = version("gazeroom")
    except PackageNotFoundError:
        number = "unreleased"
    return f"gazeroom {number}, releasing {digest.hexdigest()[:16]}"
