"""A PostgreSQL cluster of the suite's own, in a temporary folder, where the server's programs are installed."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def server_programs() -> Path | None:
    """The folder that holds initdb and pg_ctl, or None."""
    found = [str(path.parent) for path in sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))]
    if program := shutil.which("initdb"):
        found.append(str(Path(program).resolve().parent))
    for folder in reversed(found):
        if (Path(folder) / "pg_ctl").exists() and (Path(folder) / "postgres").exists():
            return Path(folder)
    return None


def _as_user() -> str | None:
    """PostgreSQL refuses to run as root: drop to an ordinary user of this machine then."""
    if os.getuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            pwd.getpwnam(name)
        except KeyError:
            continue
        return name
    return None


@contextmanager
def cluster() -> Iterator[str]:
    """Yield the DATABASE_URL of a fresh cluster that listens on a unix socket only."""
    programs = server_programs()
    assert programs is not None
    user = _as_user()
    folder = Path(tempfile.mkdtemp(prefix="gzpg"))
    if user:
        shutil.chown(folder, user)

    def run(*command: str) -> None:
        subprocess.run(command, check=True, user=user, cwd=folder, capture_output=True, timeout=120)

    data = folder / "data"
    try:
        run(str(programs / "initdb"), "-D", str(data), "-U", "gazeroom", "-A", "trust", "-E", "UTF8", "--no-sync")
        options = f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off -c max_connections=60"
        run(str(programs / "pg_ctl"), "-D", str(data), "-w", "-o", options, "-l", str(folder / "log"), "start")
        try:
            yield f"postgres://gazeroom@{str(folder).replace('/', '%2F')}/postgres"
        finally:
            run(str(programs / "pg_ctl"), "-D", str(data), "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
