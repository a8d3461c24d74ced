"""
What happens in a process that examines clips? The serving analyzer is asked, as `scan` asks it.

Several may run side by side; each loads the networks of a fold when a clip of that fold comes up.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from app import log
from app.domain.model_version import ModelVersion
from app.errors import RejectedMedia
from app.settings import Settings
from workers.detection.analyze import Analyzer
from workers.kit import build_analyzer
from workers.training.fusion.evidence import ClipEvidence


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """Networks of one fold, or those that came along."""

    settings: Settings
    versions: tuple[ModelVersion, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A clip that is to be examined."""

    about: ClipEvidence  # what the manifest says
    file: Path
    fold: int | None  # None: by the networks that came along


_judges: dict[int | None, Judge] = {}
"""Of this process."""


def start(judges: Mapping[int | None, Judge], log_level: str) -> None:
    """Make a process of its own ready to examine."""
    log.configure(fmt="console", level=log_level)
    prepare(judges)


def prepare(judges: Mapping[int | None, Judge]) -> None:
    """Make this process ready to examine."""
    _judges.clear()
    _judges.update(judges)
    analyzer_of.cache_clear()


@cache
def analyzer_of(fold: int | None) -> Analyzer:
    """
    Load what judges a fold.

    Raises:
        ModelUnavailable: a network is missing, or is not what was pinned.
        SandboxUnavailable: the decoder cannot be jailed.
    """
    judge = _judges[fold]
    return build_analyzer(judge.settings, judge.versions)


def examine(task: Task) -> ClipEvidence:
    """Examine a clip; one that the service would reject is told so."""
    analyzer = analyzer_of(task.fold)
    file = Path(os.path.realpath(task.file))
    try:
        analysis = analyzer.analyze(
            file,
            sha256=task.about.sha256,
            size_bytes=file.stat().st_size,
            report=lambda _: None,
        )
    except RejectedMedia as why:
        return replace(task.about, rejected=f"{why.code.value}: {why}")
    return replace(
        task.about,
        video=analysis.video,
        persons=analysis.persons,
        abstentions=analysis.abstentions,
        timings=analysis.timings,
    )
