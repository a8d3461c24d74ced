"""
Domain values for tests: each builder gives a plausible value, and takes what the test is about.

Nothing here is random: the same arguments, the same value.
"""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime

from app.domain.evidence import (
    AbstainReason,
    Abstention,
    Analysis,
    Artifact,
    ArtifactKind,
    DetectorName,
    Evidence,
    Finding,
    Observation,
    Person,
    Provenance,
)
from app.domain.job import Actor, Job, JobError, JobState, Priority, Progress, Stage
from app.domain.media import Box, StoredBlob, VideoFacts
from app.domain.policy import CURRENT
from app.domain.report import JobReport, Judged
from app.domain.verdict import Label, Verdict
from app.domain.worker import WorkerCondition

WHEN = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
JOB_ID = "01KDEEPVERD1CT000000000001"
TENANT = "desk"
PNG = bytes.fromhex(  # one black pixel
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b55"
    "0000000a49444154789c636000000002000148afa4710000000049454e44ae426082"
)


def make_blob(content: bytes = b"a video", *, key: str = "blob-1") -> StoredBlob:
    return StoredBlob(key=key, size_bytes=len(content), sha256=hashlib.sha256(content).hexdigest())


def make_error(code: str = "no-video-stream", *, detail: str = "no video in it") -> JobError:
    return JobError(code=code, detail=detail, actor=Actor.CLIENT)


def make_job(
    state: JobState = JobState.SUCCEEDED,
    *,
    id: str = JOB_ID,  # noqa: A002 - the field's own name
    tenant: str = TENANT,
    ref_id: str | None = None,
    priority: Priority = Priority.BATCH,
    progress: Progress | None = None,
    error: JobError | None = None,
) -> Job:
    stage = {JobState.QUEUED: Stage.QUEUED, JobState.RUNNING: Stage.EXAMINING}.get(
        state, Stage.DONE
    )
    fraction = {JobState.QUEUED: 0.0, JobState.RUNNING: 0.5}.get(state, 1.0)
    blob = make_blob()
    return Job(
        id=id,
        tenant=tenant,
        ref_id=ref_id,
        priority=priority,
        state=state,
        progress=progress or Progress(stage=stage, fraction=fraction),
        version=1,
        attempt=0 if state is JobState.QUEUED else 1,
        sha256=blob.sha256,
        size_bytes=blob.size_bytes,
        file_name=None,
        created_at=WHEN,
        updated_at=WHEN,
        finished_at=WHEN if state.is_terminal else None,
        error=error,
    )


def make_finding(
    detector: DetectorName = DetectorName.FRAME_CLASSIFIER,
    *,
    fake_probability: float = 0.92,
    frames: int = 16,
    is_calibrated: bool = True,
    model: str | None = "frame_classifier@1.0",
    measurements: Mapping[str, float] | None = None,
    observations: tuple[Observation, ...] = (),
    caveat: str | None = None,
) -> Finding:
    return Finding(
        detector=detector,
        fake_probability=fake_probability,
        frames=frames,
        is_calibrated=is_calibrated,
        model=model,
        measurements=measurements or {},
        observations=observations,
        caveat=caveat,
    )


def make_abstention(
    detector: DetectorName = DetectorName.BLINK_RATE,
    reason: AbstainReason = AbstainReason.TRACK_TOO_SHORT,
    *,
    detail: str = "8.2 s of track",
    needs: str = "30 s of track at 20 fps or more",
) -> Abstention:
    return Abstention(detector=detector, reason=reason, detail=detail, needs=needs)


def make_person(
    *evidence: Evidence,
    id: str = "p1",  # noqa: A002 - the field's own name
    first_s: float = 3.0,
    last_s: float = 11.2,
    frames: int = 241,
    median_face_px: float = 120.0,
) -> Person:
    return Person(
        id=id,
        first_s=first_s,
        last_s=last_s,
        frames=frames,
        median_face_px=median_face_px,
        evidence=evidence or (make_finding(), make_abstention()),
    )


def make_video(
    *,
    content: bytes = b"a video",
    frames_expected: int | None = 300,
    frames_decoded: int = 300,
    warnings: tuple[str, ...] = (),
) -> VideoFacts:
    blob = make_blob(content)
    return VideoFacts(
        sha256=blob.sha256,
        size_bytes=blob.size_bytes,
        container="mov,mp4",
        codec="h264",
        width=1920,
        height=1080,
        rotation_deg=0,
        duration_s=10.01,
        fps=29.97,
        frames_expected=frames_expected,
        frames_decoded=frames_decoded,
        frames_kept=frames_decoded,
        warnings=warnings,
    )


def make_artifact(
    kind: ArtifactKind = ArtifactKind.MASK,
    *,
    id: str | None = None,  # noqa: A002 - the field's own name
    person_id: str = "p1",
    pts_s: float = 4.2,
    frame_index: int = 126,
    area: float = 0.25,
    png: bytes = PNG,
) -> Artifact:
    return Artifact(
        id=id or _artifact_id(kind, person_id, frame_index),
        kind=kind,
        person_id=person_id,
        pts_s=pts_s,
        frame_index=frame_index,
        width_px=1920,
        height_px=1080,
        box_px=Box(x_px=10, y_px=20, width_px=30, height_px=40),
        area=area,
        sha256=hashlib.sha256(png).hexdigest(),
        png=png,
    )


def _artifact_id(kind: ArtifactKind, person_id: str, frame_index: int) -> str:
    if kind is ArtifactKind.CROP:
        return person_id
    infix = "" if kind is ArtifactKind.MASK else f"{kind.value}-"
    return f"{person_id}-{infix}{frame_index:06d}"


def make_provenance() -> Provenance:
    return Provenance(
        code="0.1.0",
        models={"frame_classifier": "sha256:" + "0" * 64},
        decoder="FFmpeg 7.1",
        device="cpu",
        seed=0,
        frame_indices="every 1st of 300",
        sandbox="no network, 2 GiB",
    )


def make_analysis(
    *persons: Person,
    video: VideoFacts | None = None,
    abstentions: tuple[Abstention, ...] = (),
    artifacts: tuple[Artifact, ...] | None = None,
) -> Analysis:
    """Build an analysis of one person, with a picture of each kind, unless told otherwise."""
    if artifacts is None:
        kinds = tuple(ArtifactKind)
        artifacts = tuple(make_artifact(kind) for kind in kinds)
    return Analysis(
        video=video or make_video(),
        persons=persons or (make_person(),),
        abstentions=abstentions,
        artifacts=artifacts,
        provenance=make_provenance(),
        timings={"decode_s": 0.6, "faces_s": 0.9, "total_s": 2.1},
    )


def make_verdict(
    label: Label = Label.MANIPULATED,
    *,
    fake_probability: float | None = 0.94,
    by_person: Mapping[str, float | None] | None = None,
) -> Verdict:
    return Verdict(
        label=label,
        fake_probability=fake_probability,
        reasons=("person p1: 0.94",),
        statement="Strong signs that the face of one person was manipulated, from 0:03 to 0:11.",
        caveat="A caveat.",
        policy=CURRENT.version,
        by_person=by_person if by_person is not None else {"p1": fake_probability},
    )


def make_judged(analysis: Analysis | None = None, verdict: Verdict | None = None) -> Judged:
    return Judged.of(analysis or make_analysis(), verdict or make_verdict())


def make_report(job: Job | None = None, judged: Judged | None = None) -> JobReport:
    """Build the report of a job; a succeeded one has been judged."""
    job = job or make_job()
    if judged is None and job.state is JobState.SUCCEEDED:
        judged = make_judged()
    return JobReport(job=job, judged=judged)


def make_condition(
    *,
    is_missing: bool = False,
    is_network_removed: bool = True,
    sha256: str = "00",
    versions: Mapping[str, str] | None = None,
    not_taken_up: tuple[str, ...] = (),
    why_not: str = "",
) -> WorkerCondition:
    missing = "missing: run `deepverdict models pull frame_classifier`"
    return WorkerCondition(
        models={"frame_classifier": missing if is_missing else f"sha256:{sha256}"},
        sandbox="no network, 2 GiB",
        is_network_removed=is_network_removed,
        device="cpu",
        versions=versions or {},
        not_taken_up=not_taken_up,
        why_not=why_not,
    )
