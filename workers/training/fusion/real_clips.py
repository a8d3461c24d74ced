"""
How does each cue lie in real clips? Median and spread, of one value a clip, in a small file.

The real clips of every split but test are measured: the test split's are to be strangers to all
that is fitted. Of each clip it is the value of the person who is longest on screen. Median and
median absolute deviation do not mind a few clips that are unlike the others. Whatever moves a cue
in real video, such as light, codec and camera, is in its spread.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from app.domain.evidence import DetectorName, Finding
from app.version import code_version
from models.pull import put
from workers.detection.reference import Reference, Scale, read_reference, transformed
from workers.training.errors import BadDataset
from workers.training.fusion.evidence import (
    ClipEvidence,
    CueKind,
    cue_kinds,
    read_evidence,
    sha256_of,
)

LEAST_CLIPS, LEAST_GROUPS = 15, 8
"""Fewer real clips, or groups of people, and nobody knows how a cue is spread."""
OF_NORMAL = 1.4826
"""Times the median absolute deviation: the standard deviation, were the values normal."""
LEAST_DEVIATION = 1e-9
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
DIGITS = 6
NAME_DIGITS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One cue in real clips."""

    scale: Scale
    unit: str
    quantiles: tuple[float, ...]  # of the plain values, at QUANTILES


def reference_command(evidence: Path, file: Path, *, console: Console) -> None:
    """
    Write the reference, and show it.

    Raises:
        BadDataset: no cue can be told from so few real clips.
    """
    clips = read_evidence(evidence)
    found = measure(clips, cue_kinds())
    if not found:
        raise BadDataset(
            f"no cue has {LEAST_CLIPS} real clips of {LEAST_GROUPS} groups in {evidence}; collect "
            "evidence on more, or by detectors that give cues"
        )
    put(reference_json(found, clips, evidence_sha256=sha256_of(evidence)).encode(), file)
    read_reference(file)  # what is written must read
    console.print(_shown(found))
    console.print(f"written to {file}", highlight=False, soft_wrap=True)


def measure(
    clips: Sequence[ClipEvidence], kinds: Mapping[DetectorName, CueKind]
) -> dict[DetectorName, Measured]:
    """Measure every cue that enough real clips have, and that is not the same in most of them."""
    real = [clip for clip in clips if clip.label == "real" and clip.split != "test"]
    found = {}
    for detector in sorted(kinds):
        cues = [(clip.group, cue) for clip in real if (cue := _cue(clip, detector)) is not None]
        groups = {group for group, _ in cues}
        if len(cues) < LEAST_CLIPS or len(groups) < LEAST_GROUPS:
            continue
        plain = np.array([value for _, (value, _) in cues])
        transform = kinds[detector].transform
        values = np.array([transformed(value, transform) for value in plain.tolist()])
        median = float(np.median(values))
        deviation = OF_NORMAL * float(np.median(np.abs(values - median)))
        if deviation <= LEAST_DEVIATION:
            continue
        found[detector] = Measured(
            scale=Scale(
                median=_rounded(median),
                deviation=_rounded(deviation),
                transform=transform,
                clips=len(cues),
                groups=len(groups),
            ),
            unit=cues[0][1][1],
            quantiles=tuple(_rounded(float(q)) for q in np.quantile(plain, QUANTILES)),
        )
    return found


def reference_of(found: Mapping[DetectorName, Measured], *, version: str) -> Reference:
    """Return what detectors set their values beside."""
    return Reference(version=version, scales={name: m.scale for name, m in found.items()})


def reference_json(
    found: Mapping[DetectorName, Measured],
    clips: Sequence[ClipEvidence],
    *,
    evidence_sha256: str,
) -> str:
    """Write the file; the same evidence gives the same bytes."""
    cues: dict[str, dict[str, Any]] = {
        name.value: {
            "median": m.scale.median,
            "deviation": m.scale.deviation,
            "transform": m.scale.transform.value,
            "clips": m.scale.clips,
            "groups": m.scale.groups,
            "unit": m.unit,
            "quantiles": {f"{q:g}": value for q, value in zip(QUANTILES, m.quantiles, strict=True)},
        }
        for name, m in sorted(found.items())
    }
    body = {
        "version": f"real-{evidence_sha256[:NAME_DIGITS]}",
        "made": {
            "words": "real clips of the train, val and cal splits, one value a clip",
            "manifest_sha256": clips[0].manifest_sha256,
            "evidence_sha256": evidence_sha256,
            "code": code_version(),
        },
        "cues": cues,
    }
    return json.dumps(body, indent=1, allow_nan=False) + "\n"


def _cue(clip: ClipEvidence, detector: DetectorName) -> tuple[float, str] | None:
    """Return a cue's value and unit for whoever is longest on screen."""
    for said in clip.persons[0].evidence if clip.persons else ():
        if isinstance(said, Finding) and said.detector is detector and said.cue is not None:
            return said.cue.value, said.cue.unit
    return None


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


def _shown(found: Mapping[DetectorName, Measured]) -> Table:
    drawn = Table("cue", "real clips", "groups", "5 %", "median", "95 %", "unit")
    for name, m in sorted(found.items()):
        drawn.add_row(
            name.value,
            str(m.scale.clips),
            str(m.scale.groups),
            f"{m.quantiles[0]:.3g}",
            f"{m.quantiles[len(QUANTILES) // 2]:.3g}",
            f"{m.quantiles[-1]:.3g}",
            m.unit,
        )
    return drawn
