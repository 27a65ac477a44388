"""Every wall of the floor plan is seen to fail: a forbidden import is planted in a copy of the tree, one a wall."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ["study", "capture", "gazex", "training", "analysis"]

PLANTS = {
    "libraries-know-no-app": ("gazex/findings.py", "import django"),
    "measures-below-gazex": ("capture/frames.py", "import gazex.findings"),
    "study-knows-no-room-above": ("study/planning.py", "import capture.models"),
    "capture-knows-no-room-above": ("capture/tasks.py", "import training.models"),
    "training-knows-no-analysis": ("training/tasks.py", "import analysis.models"),
    "analysis-knows-no-training": ("analysis/tasks.py", "import training.models"),
    "rooms-of-study": ("study/models/base.py", "import study.services.studies"),
    "rooms-of-capture": ("capture/models/recording.py", "import capture.services.recordings"),
    "rooms-of-training": ("training/models/run.py", "import training.services.running"),
    "rooms-of-analysis": ("analysis/models/plan.py", "import analysis.services.analysing"),
}


def lint_imports(tree: Path, contract: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache", "--contract", contract],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree)},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = tmp_path_factory.mktemp("floors")
    for package in PACKAGES:
        shutil.copytree(
            ROOT / package,
            copy / package,
            ignore=lambda _, names: [n for n in names if n in {"static", "node_modules"}],
        )
    shutil.copy(ROOT / "pyproject.toml", copy)
    return copy


def test_every_contract_has_a_planted_import() -> None:
    import tomllib

    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    assert {contract["id"] for contract in contracts} == set(PLANTS)


@pytest.mark.parametrize("contract", PLANTS)
def test_a_planted_import_is_caught(tree: Path, contract: str) -> None:
    name, line = PLANTS[contract]
    module = tree / name
    original = module.read_text()
    module.write_text(f"{original}\n{line}\n")
    try:
        result = lint_imports(tree, contract)
    finally:
        module.write_text(original)
    assert result.returncode == 1, result.stdout + result.stderr
    assert "BROKEN" in result.stdout


def test_every_app_package_is_empty() -> None:
    # analysis.stats is a library with a front door; it imports no Django, which a contract holds.
    for package in [*PACKAGES, "capture/gaze", "capture/agent"]:
        text = (ROOT / package / "__init__.py").read_text().strip()
        assert not [line for line in text.splitlines() if line.startswith(("import", "from"))], package
