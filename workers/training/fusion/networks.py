"""
By which network is a clip judged that all networks at hand learned from? By one that never saw it.

A network of a fold takes the place of the one that came along as a promoted version would: the same
registry loads it, the same detector asks it. Its calibration is that of the one that came along,
which was fitted on networks of such folds.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnxruntime

from app.domain.model_version import ModelVersion
from app.settings import Settings
from models.canary import canary_input
from models.manifest import Canary, Expected, ManifestEntry
from models.registry import QUIET
from workers.kit import build_registry
from workers.training.errors import BadDataset

DIGITS = 6

FoldFiles = Mapping[str, Mapping[int, Path]]
"""The ONNX file of each network, by fold."""


def read_folds(path: Path) -> dict[str, dict[int, Path]]:
    """
    Read which file judges which fold: {"frame_classifier": {"0": "fold0.onnx", ...}, ...}.

    Paths are as seen from the file's folder.

    Raises:
        BadDataset: it is no such file, a network is missing, or networks have other folds.
    """
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
        files = {
            name: {int(fold): path.parent / file for fold, file in by_fold.items()}
            for name, by_fold in body.items()
        }
    except (OSError, ValueError, AttributeError, TypeError) as wrong:
        raise BadDataset(f"{path} does not say which network judges which fold: {wrong}") from wrong
    counts = {len(by_fold) for by_fold in files.values()}
    if len(counts) != 1 or any(sorted(f) != list(range(len(f))) for f in files.values()):
        raise BadDataset(f"{path}: want folds 0, 1, ... and as many of them for every network")
    if missing := [str(f) for fs in files.values() for f in fs.values() if not f.is_file()]:
        raise BadDataset(f"{path} names files that are not there: {', '.join(missing[:3])}")
    return files


def fold_versions(
    files: FoldFiles, fold: int, settings: Settings, folder: Path
) -> tuple[ModelVersion, ...]:
    """
    Put the networks of a fold where a registry finds them, and say how they are loaded.

    Args:
        folder: that `models.dir` of the settings is to be; gets the files.

    Raises:
        ModelUnavailable: the manifest has no network of such a name.
    """
    registry = build_registry(settings)
    return tuple(
        _version(registry.entry(name), fold, by_fold[fold], folder)
        for name, by_fold in sorted(files.items())
    )


def beside_pulled(settings: Settings, folder: Path) -> Settings:
    """Have networks looked for in a folder of our own, which gets what was pulled as well."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in sorted(settings.models_dir.glob("*.onnx")):
        if not (folder / file.name).exists():
            shutil.copyfile(file, folder / file.name)
    return settings.model_copy(
        update={"models": settings.models.model_copy(update={"dir": folder})}
    )


def _version(current: ManifestEntry, fold: int, file: Path, folder: Path) -> ModelVersion:
    content = file.read_bytes()
    entry = current.model_copy(
        update={
            "version": f"{current.version}-fold{fold}",
            "file": f"{current.name}-fold{fold}.onnx",
            "sha256": hashlib.sha256(content).hexdigest(),
            "size_bytes": len(content),
            "canary": _answered(current.canary, content),
        }
    )
    (folder / entry.file).write_bytes(content)
    return ModelVersion(
        name=entry.name,
        version=entry.version,
        sha256=entry.sha256,
        entry=entry.model_dump_json(),
        operating_point=None,
    )


def _answered(canary: Canary, content: bytes) -> Canary:
    """Ask another network the canary's question: it must take and give what the first does."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = QUIET
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    names = [expected.output for expected in canary.expected]
    answers = session.run(names, {canary.input: canary_input(canary)})
    expected = tuple(
        Expected(
            output=name,
            shape=answer.shape,
            mean=round(float(np.mean(answer, dtype=float)), DIGITS),
            deviation=round(float(np.std(answer, dtype=float)), DIGITS),
        )
        for name, answer in zip(names, answers, strict=True)
    )
    return canary.model_copy(update={"expected": expected})
