"""
What did the detectors say of each clip of a data set? A file with one JSON object a clip.

Evidence is what a worker would have stored: figures, no picture. How far a cue lies from real clips
is told anew by the reference at hand whenever it is read, so that a new reference needs no video.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

from app.db.records import (
    abstentions_from_json,
    abstentions_to_json,
    evidence_from_json,
    evidence_to_json,
    timings_to_json,
    video_from_json,
    video_to_json,
)
from app.domain.evidence import Abstention, DetectorName, Evidence, Finding, Person
from app.domain.media import VideoFacts
from models.pull import put
from workers.detection import detectors
from workers.detection.reference import Reference, Suspicious, Transform
from workers.training.errors import BadDataset
from workers.training.manifest import LABELS, SPLITS, Label, Row, Split

EVIDENCE = "evidence.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipEvidence:
    """All that is known of one clip."""

    clip: str
    path: str  # under the manifest's root
    sha256: str
    label: Label
    method: str
    family: str
    group: str
    dataset: str
    quality: str
    split: Split
    manifest_sha256: str
    judged_by: Mapping[str, str]  # networks and detectors, each with a digest
    code: str  # version of the program
    rejected: str = ""  # why it could not be examined; then all below is empty
    video: VideoFacts | None = None
    persons: tuple[Person, ...] = ()  # longest on screen first
    abstentions: tuple[Abstention, ...] = ()  # of the whole video, where nobody could be examined
    timings: Mapping[str, float] | None = None

    @property
    def is_fake(self) -> bool:
        """Whether the clip is known to be manipulated."""
        return self.label == "fake"


def of_row(
    row: Row, *, manifest_sha256: str, judged_by: Mapping[str, str], code: str
) -> ClipEvidence:
    """Say of a clip what the manifest says."""
    return ClipEvidence(
        clip=row.clip,
        path=row.path,
        sha256=row.sha256,
        label=row.label,
        method=row.method,
        family=row.family,
        group=row.group,
        dataset=row.dataset,
        quality=row.quality,
        split=row.split,
        manifest_sha256=manifest_sha256,
        judged_by=judged_by,
        code=code,
    )


def to_json(clip: ClipEvidence) -> str:
    """Write a clip on one line."""
    body = {
        "clip": clip.clip,
        "path": clip.path,
        "sha256": clip.sha256,
        "label": clip.label,
        "method": clip.method,
        "family": clip.family,
        "group": clip.group,
        "dataset": clip.dataset,
        "quality": clip.quality,
        "split": clip.split,
        "manifest_sha256": clip.manifest_sha256,
        "judged_by": dict(sorted(clip.judged_by.items())),
        "code": clip.code,
        "rejected": clip.rejected,
        "video": None if clip.video is None else video_to_json(clip.video),
        "persons": [
            {
                "id": person.id,
                "first_s": person.first_s,
                "last_s": person.last_s,
                "frames": person.frames,
                "median_face_px": person.median_face_px,
                "evidence": [evidence_to_json(said) for said in person.evidence],
            }
            for person in clip.persons
        ],
        "abstentions": abstentions_to_json(clip.abstentions),
        "timings": None if clip.timings is None else timings_to_json(clip.timings),
    }
    return json.dumps(body, allow_nan=False)


def from_json(line: str) -> ClipEvidence:
    """
    Read a clip from its line.

    Raises:
        ValueError: the line is none that `to_json` wrote.
    """
    try:
        body: dict[str, Any] = json.loads(line)
        if body["label"] not in LABELS or body["split"] not in SPLITS:
            raise ValueError(f"label {body['label']!r} in split {body['split']!r}")
        persons = tuple(
            Person(
                **{key: value for key, value in person.items() if key != "evidence"},
                evidence=tuple(evidence_from_json(said) for said in person["evidence"]),
            )
            for person in body.pop("persons")
        )
        video, abstentions = body.pop("video"), body.pop("abstentions")
        return ClipEvidence(
            **body,
            video=None if video is None else video_from_json(video),
            persons=persons,
            abstentions=abstentions_from_json(abstentions),
        )
    except (KeyError, TypeError, AttributeError) as wrong:
        raise ValueError(f"no evidence on a clip: {wrong!r}") from wrong


def read_evidence(folder: Path) -> list[ClipEvidence]:
    """
    Read all clips, by path.

    Raises:
        BadDataset: there are none, a line cannot be read, or lines are of several manifests.
    """
    path = folder / EVIDENCE
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as wrong:
        raise BadDataset(
            f"there is no evidence in {folder} ({wrong}); collect it with `deepverdict train cues`"
        ) from wrong
    found = []
    for number, line in enumerate(lines, 1):
        try:
            found.append(from_json(line))
        except ValueError as wrong:
            raise BadDataset(
                f"{path}, line {number}: {wrong}; run `deepverdict train cues` again"
            ) from wrong
    if not found:
        raise BadDataset(f"{path} is empty; collect evidence with `deepverdict train cues`")
    if len(manifests := {clip.manifest_sha256 for clip in found}) > 1:
        raise BadDataset(f"{path} is of several manifests, {sorted(manifests)}; collect it anew")
    return sorted(found, key=lambda clip: clip.path)


def read_begun(folder: Path) -> list[ClipEvidence]:
    """Read what an earlier sitting left; a line that was cut off is left out, others too."""
    path = folder / EVIDENCE
    if not path.is_file():
        return []
    found = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            found.append(from_json(line))
        except ValueError:  # it will be examined again
            continue
    return found


def write_evidence(folder: Path, clips: Iterable[ClipEvidence]) -> Path:
    """Write all clips by path, whole or not at all."""
    lines = [to_json(clip) + "\n" for clip in sorted(clips, key=lambda clip: clip.path)]
    folder.mkdir(parents=True, exist_ok=True)
    put("".join(lines).encode(), folder / EVIDENCE)
    return folder / EVIDENCE


def sha256_of(folder: Path) -> str:
    """Return the digest of the file of evidence."""
    return hashlib.sha256((folder / EVIDENCE).read_bytes()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class CueKind:
    """How a detector's value is to be read; both stand in its module."""

    transform: Transform
    suspicious: Suspicious


def cue_kinds() -> dict[DetectorName, CueKind]:
    """
    Return how each cue is read, by its detector.

    A detector's module that gives a cue says so by its constants TRANSFORM and SUSPICIOUS, and is
    called by the detector's name.
    """
    found = {}
    for info in iter_modules(detectors.__path__):
        module = import_module(f"{detectors.__name__}.{info.name}")
        transform = getattr(module, "TRANSFORM", None)
        suspicious = getattr(module, "SUSPICIOUS", None)
        if isinstance(transform, Transform) and isinstance(suspicious, Suspicious):
            found[DetectorName(info.name)] = CueKind(transform=transform, suspicious=suspicious)
    return found


def set_beside(
    clips: Sequence[ClipEvidence], reference: Reference, kinds: Mapping[DetectorName, CueKind]
) -> list[ClipEvidence]:
    """Tell of every cue anew how far it is from the real clips of `reference`."""
    return [
        replace(
            clip,
            persons=tuple(
                replace(
                    person,
                    evidence=tuple(_beside(said, reference, kinds) for said in person.evidence),
                )
                for person in clip.persons
            ),
        )
        for clip in clips
    ]


def _beside(
    said: Evidence, reference: Reference, kinds: Mapping[DetectorName, CueKind]
) -> Evidence:
    if not isinstance(said, Finding) or said.cue is None or said.detector not in kinds:
        return said
    kind = kinds[said.detector]
    cue = reference.cue(said.detector, said.cue.value, said.cue.unit, suspicious=kind.suspicious)
    return replace(said, cue=cue)
