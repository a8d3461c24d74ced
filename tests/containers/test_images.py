"""
What would the images hold? Their build stages are replayed: the same files, the same commands.

No container engine is needed, only a package index. The final stages are read, not built.
"""

import json
import re
import signal
import subprocess
import sys
import time
import venv
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.containers import dockerfile

API, WORKER = ROOT / "Dockerfile.api", ROOT / "Dockerfile.worker"
BOTH = pytest.mark.parametrize("path", [API, WORKER], ids=lambda path: path.name)
ARRAYS = ["numpy", "cv2", "av", "onnx", "onnxruntime", "torch", "workers", "models"]
MOST_GATEWAY_MB = 190  # 70 of them print reports: Pillow, fontTools, and two families of letters
MOST_WORKER_MB = 700  # 53 of them read Content Credentials
START_WITHIN_S = 60.0


@pytest.fixture(scope="module")
def base_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of the base image: with pip, and with nothing of ours."""
    folder = tmp_path_factory.mktemp("base")
    venv.create(folder, with_pip=True, symlinks=True)
    return folder / "bin"


@pytest.fixture(scope="module")
def gateway(base_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _built(API, base_python, tmp_path_factory)


@pytest.fixture(scope="module")
def cpu_worker(base_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _built(WORKER, base_python, tmp_path_factory)


def _built(path: Path, python: Path, folders: pytest.TempPathFactory) -> Path:
    return dockerfile.replay(
        dockerfile.read(path)[0],
        source=ROOT,
        folder=folders.mktemp(path.suffix[1:]),
        python=python,
        arguments={},
    )


def _run(environment: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a program of the environment in an empty directory, with no settings."""
    return subprocess.run(
        [environment / "bin" / arguments[0], *arguments[1:]],
        cwd=environment.parent,
        env=_clean(environment),
        capture_output=True,
        text=True,
        check=False,
    )


def _clean(environment: Path) -> dict[str, str]:
    """Return the variables of a container that was given no settings."""
    return {"PATH": "/usr/bin:/bin", "HOME": str(environment.parent)}


def _importable(environment: Path, names: list[str]) -> list[str]:
    script = "import importlib.util as u, json, sys; print(json.dumps([n for n in sys.argv[1:] if u.find_spec(n)]))"  # noqa: E501 - one line for -c
    found: list[str] = json.loads(_run(environment, "python", "-Ic", script, *names).stdout)
    return found


def _size_mb(folder: Path) -> float:
    return sum(p.lstat().st_size for p in folder.rglob("*") if p.is_file()) / 1e6


def test_the_gateway_image_starts_and_can_import_no_array_codec_or_network(gateway: Path) -> None:
    started = _run(gateway, "python", "-Ic", "import app.api.main")

    assert started.returncode == 0, started.stderr
    assert _importable(gateway, ARRAYS) == []
    assert _run(gateway, "deepverdict", "serve", "--help").returncode == 0


def test_the_gateway_image_migrates_a_database_from_installed_files_alone(
    gateway: Path,
) -> None:
    migrated = _run(gateway, "deepverdict", "migrate")

    assert migrated.returncode == 0, migrated.stderr
    assert (gateway.parent / "data" / "deepverdict.db").stat().st_size > 0


def test_the_worker_image_works_without_the_gateway(cpu_worker: Path) -> None:
    parts = "import workers.run, workers.kit, workers.scan, workers.tasks.doorbell, models.pull"
    started = _run(cpu_worker, "python", "-Ic", parts)

    assert started.returncode == 0, started.stderr
    assert _importable(cpu_worker, ["app.api", "torch"]) == []
    for command in (["worker", "--help"], ["scan", "--help"], ["models", "list"]):
        done = _run(cpu_worker, "deepverdict", *command)
        assert done.returncode == 0, done.stderr


def test_the_worker_image_takes_jobs_and_knows_that_it_is_well(cpu_worker: Path) -> None:
    assert _run(cpu_worker, "deepverdict", "migrate").returncode == 0
    assert _run(cpu_worker, "python", "-m", "workers.health").returncode == 1
    log = cpu_worker.parent / "worker.log"
    with log.open("w") as file:
        worker = subprocess.Popen(
            [cpu_worker / "bin" / "deepverdict", "worker"],
            cwd=cpu_worker.parent,
            env=_clean(cpu_worker),
            stderr=file,
        )
    try:
        give_up_at = time.monotonic() + START_WITHIN_S
        while _run(cpu_worker, "python", "-m", "workers.health").returncode != 0:
            assert worker.poll() is None, log.read_text()
            assert time.monotonic() < give_up_at, log.read_text()
        worker.send_signal(signal.SIGTERM)

        assert worker.wait(START_WITHIN_S) == 0, log.read_text()
    finally:
        worker.kill()
        worker.wait()


def test_the_worker_image_holds_exactly_one_onnxruntime(cpu_worker: Path) -> None:
    held = sorted(
        p.name for p in cpu_worker.glob("lib/python*/site-packages/onnxruntime*.dist-info")
    )

    assert len(held) == 1, held


def test_the_images_stay_small(
    gateway: Path, cpu_worker: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway_mb, worker_mb = _size_mb(gateway), _size_mb(cpu_worker)
    with capsys.disabled():
        print(f"\n  environments: gateway {gateway_mb:.0f} MB, CPU worker {worker_mb:.0f} MB")

    assert gateway_mb < MOST_GATEWAY_MB
    assert worker_mb < MOST_WORKER_MB


@pytest.mark.parametrize("image", ["gateway", "cpu_worker"])
def test_nothing_can_be_installed_into_a_running_image(
    image: str, request: pytest.FixtureRequest
) -> None:
    environment: Path = request.getfixturevalue(image)

    assert _importable(environment, ["pip", "setuptools", "pytest"]) == []


@pytest.mark.parametrize(("role", "accel"), [("pull", "cpu"), ("detect", "tpu"), ("train", "gpu")])
def test_a_build_argument_that_names_nothing_stops_the_build(
    role: str, accel: str, tmp_path: Path
) -> None:
    with pytest.raises(AssertionError, match="want ROLE="):
        dockerfile.replay(
            dockerfile.read(WORKER)[0],
            source=ROOT,
            folder=tmp_path,
            python=Path(sys.executable).parent,
            arguments={"ROLE": role, "ACCEL": accel},
        )


@BOTH
def test_hadolint_finds_nothing(path: Path) -> None:
    linter = Path(sys.executable).parent / "hadolint"
    done = subprocess.run([linter, path], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (0, "")


@BOTH
def test_an_image_runs_as_a_numbered_user_that_is_not_root(path: Path) -> None:
    user = dockerfile.read(path)[-1].all("USER")[-1]

    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)


@BOTH
def test_bases_are_pinned_by_tag_and_the_final_image_takes_only_what_was_built(path: Path) -> None:
    *_, final = stages = dockerfile.read(path)

    assert [s.base for s in stages if not re.search(r":\d+\.\d+", s.base)] == []
    assert [words for words in final.all("COPY") if not words.startswith("--from=build ")] == []
    assert [words for stage in stages for words in stage.all("ADD")] == []


@BOTH
def test_the_ignore_file_admits_everything_that_a_build_copies(path: Path) -> None:
    copied = [n for words in dockerfile.read(path)[0].all("COPY") for n in words.split()[:-1]]
    ignored = [
        n for n in copied if not dockerfile.admitted(Path(n), ignore_file=ROOT / ".dockerignore")
    ]

    assert ignored == []


def test_the_gateway_image_is_made_of_app_and_migrations() -> None:
    copied = {n for words in dockerfile.read(API)[0].all("COPY") for n in words.split()[:-1]}

    assert {"app/", "migrations/"} == {n for n in copied if n.endswith("/")}


def test_every_part_of_app_but_the_gateway_is_in_the_worker_image() -> None:
    copied = {n for words in dockerfile.read(WORKER)[0].all("COPY") for n in words.split()[:-1]}
    inside = [p for p in (ROOT / "app").iterdir() if p.is_dir() and p.name != "__pycache__"]
    parts = {f"app/{p.name}/" for p in inside}

    assert parts - {"app/api/"} == {n for n in copied if n.startswith("app/") and "*" not in n}
