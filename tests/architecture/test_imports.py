"""Do the arrows of the house point the way DESIGN drew them, and is the gateway free of arrays?"""

import json
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from tests.conftest import ROOT

HEAVY = {"torch", "numpy", "cv2", "onnx", "onnxruntime", "av", "PIL", "h5py", "insightface"}
LINTER = Path(sys.executable).parent / "lint-imports"


def _loaded_by(module: str) -> set[str]:
    """Import `module` in a fresh interpreter; return the top-level packages that it loaded."""
    script = f"import {module}, json, sys; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return {name.partition(".")[0] for name in json.loads(done.stdout.splitlines()[-1])}


def test_every_contract_about_imports_is_kept(tmp_path: Path) -> None:
    done = subprocess.run(
        [LINTER, "--cache-dir", tmp_path], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout


def test_a_gateway_that_reached_for_a_codec_would_be_caught(tmp_path: Path) -> None:
    house = tmp_path / "house"
    for name in ("app", "workers", "models"):
        _copy_sources(ROOT / name, house / name)
    (house / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    with (house / "app" / "storage.py").open("a") as file:
        file.write("\n\ndef probe() -> None:\n    import av\n")

    done = subprocess.run(
        [LINTER, "--no-cache"], cwd=house, capture_output=True, text=True, check=False
    )

    assert done.returncode == 1
    assert "app.storage -> av" in done.stdout


def _copy_sources(source: Path, target: Path) -> None:
    for path in source.rglob("*.py"):
        copy = target / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())


@pytest.mark.parametrize("module", ["app.api.main", "app.api.server", "app.cli"])
def test_what_the_gateway_imports_brings_no_array_codec_or_network(module: str) -> None:
    loaded = _loaded_by(module)

    assert loaded & (HEAVY | {"models", "workers"}) == set()


@pytest.mark.parametrize(
    "module",
    ["workers.run", "workers.supervisor", "workers.celery_app", "workers.health"],
)
def test_the_supervisor_that_holds_the_lease_never_loads_a_codec_or_a_network_runtime(
    module: str,
) -> None:
    assert _loaded_by(module) & {"torch", "cv2", "onnx", "onnxruntime", "av"} == set()


@pytest.mark.parametrize("module", ["workers.detection.decode", "workers.detection.decoder"])
def test_the_codec_is_not_loaded_before_the_jail_is_shut(module: str) -> None:
    assert "av" not in _loaded_by(module)


def test_torch_comes_with_what_trains_and_tests_and_with_nothing_else() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    extras = {name: _flattened(project, name) for name in project["optional-dependencies"]}
    heavy = ("torch", "tensorflow", "matplotlib")

    assert [r for r in project["dependencies"] if r.startswith(heavy)] == []
    assert {n for n, wanted in extras.items() if any(r.startswith(heavy) for r in wanted)} == {
        "train",
        "dev",
    }


def _flattened(project: Mapping[str, Any], extra: str) -> list[str]:
    """List what an extra asks for, with what its other extras of ours ask for."""
    wanted: list[str] = []
    for requirement in map(Requirement, project["optional-dependencies"][extra]):
        wanted.append(requirement.name)
        if requirement.name == project["name"]:
            wanted += chain(*(_flattened(project, inner) for inner in requirement.extras))
    return wanted
