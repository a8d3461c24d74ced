"""What does a Dockerfile say, and what would its build stage leave behind? No engine needed."""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

INSTALL_ROOT = "/opt/deepverdict"


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """One step, continuation lines joined."""

    verb: str  # upper case
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Everything from one FROM to the next."""

    base: str
    steps: tuple[Instruction, ...]

    def all(self, verb: str) -> list[str]:
        """Return what follows each `verb`, in order."""
        return [step.words for step in self.steps if step.verb == verb]


def read(path: Path) -> tuple[Stage, ...]:
    """Split a Dockerfile into its stages."""
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n", " ", "\n".join(lines))
    stages: list[tuple[str, list[Instruction]]] = []
    for line in filter(str.strip, joined.splitlines()):
        verb, _, words = line.strip().partition(" ")
        if verb.upper() == "FROM":
            stages.append((words.split()[0], []))
        else:
            stages[-1][1].append(Instruction(verb=verb.upper(), words=words.strip()))
    return tuple(Stage(base=base, steps=tuple(steps)) for base, steps in stages)


def admitted(path: Path, *, ignore_file: Path) -> bool:
    """Tell whether a build sees the top-level `path`, by an ignore file that names exceptions."""
    named = [line[1:] for line in ignore_file.read_text().splitlines() if line.startswith("!")]
    return path.parts[0] in named


def replay(
    stage: Stage, *, source: Path, folder: Path, python: Path, arguments: Mapping[str, str]
) -> Path:
    """
    Do a build stage's COPY and RUN steps in an empty directory.

    Args:
        source: the build context.
        folder: an empty directory; the stage's working directory is made in it.
        python: a directory with the `python` that the base image would bring.
        arguments: build arguments that differ from their defaults.

    Returns:
        The environment that the stage would hand to the final image.
    """
    here, installed = folder / "src", folder / "installed"
    here.mkdir()
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    environment["PATH"] = f"{python}{os.pathsep}{environment['PATH']}"
    for step in stage.steps:
        if step.verb == "ARG":
            name, _, default = step.words.partition("=")
            environment[name] = arguments.get(name, default)
        elif step.verb == "COPY":
            *names, target = step.words.split()
            for name in names:
                _copy(source, name, here / target)
        elif step.verb == "RUN":
            command = re.sub(r"--mount=\S+\s+", "", step.words).replace(
                INSTALL_ROOT, str(installed)
            )
            done = subprocess.run(
                ["sh", "-c", command],
                cwd=here,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, f"{command}\n{done.stdout[-4000:]}{done.stderr[-4000:]}"
    return installed


def _copy(source: Path, name: str, target: Path) -> None:
    leave_out = shutil.ignore_patterns("__pycache__", "*.py[cod]")
    found = sorted(source.glob(name)) if "*" in name else [source / name]
    assert found, f"nothing in the context is called {name}"
    target.mkdir(parents=True, exist_ok=True)
    for path in found:
        if path.is_dir():
            shutil.copytree(path, target, dirs_exist_ok=True, ignore=leave_out)
        elif not fnmatch(path.name, "*.py[cod]"):
            shutil.copy2(path, target)
