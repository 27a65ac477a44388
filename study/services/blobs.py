"""Blobs on disk: written whole or not at all, addressed by their content."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def write(path: Path, data: bytes) -> bool:
    """All of the file or none of it, whoever else writes the same one at the same time; on disk before the return.

    Returns
    -------
    bool
        True where the file is new; a blob that is already there is left as it is.
    """
    if path.exists():
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".blob-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the name must survive as well as the content
    finally:
        os.close(folder)
    return True
