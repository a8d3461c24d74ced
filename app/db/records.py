"""
How does a domain value become a row, and a row the same value again?

Written out field by field: the stored spelling is a promise to rows that are years old, so it
must not change by renaming an attribute. What is read equals what was stored, exactly.
"""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from app.db.tables import (
    ApiKeyRow,
    ArtifactRow,
    EvidenceRow,
    JobRow,
    ModelChangeRow,
    ModelVersionRow,
    PersonRow,
    VerdictRow,
    WorkerRow,
)
from app.domain.access import ApiKey, Scope
from app.domain.evidence import (
    AbstainReason,
    Abstention,
    Artifact,
    ArtifactKind,
    Cue,
    DetectorName,
    Evidence,
    Finding,
    Observation,
    Person,
    Provenance,
    Span,
)
from app.domain.fusion import Interval
from app.domain.job import Actor, Claim, Job, JobError, JobState, Priority, Progress, Stage
from app.domain.media import Box, Credentials, CredentialState, Origin, VideoFacts
from app.domain.model_version import Decision, ModelChange, ModelVersion, OperatingPoint
from app.domain.policy import PointName
from app.domain.report import ArtifactFacts
from app.domain.verdict import Inconclusive, Label, Part, Said, Verdict
from app.domain.words import Sentence
from app.domain.worker import LiveWorker, WorkerCondition

Json = dict[str, Any]
"""A JSON object, as a column holds it."""


def evidence_to_json(evidence: Evidence) -> Json:
    """
    Spell out a finding or an abstention; exactly one of the two keys is there.

    Raises:
        ValueError: a number is not finite; no verdict may rest on such.
    """
    if isinstance(evidence, Finding):
        return {"detector": evidence.detector.value, "finding": _finding_to_json(evidence)}
    return {"detector": evidence.detector.value, "abstention": _abstention_to_json(evidence)}


def evidence_from_json(body: Json) -> Evidence:
    """Read what `evidence_to_json` wrote."""
    detector = DetectorName(body["detector"])
    if "finding" in body:
        return _finding_from_json(detector, body["finding"])
    return _abstention_from_json(detector, body["abstention"])


def _finding_to_json(finding: Finding) -> Json:
    return {
        "fake_probability": _finite_or_none(finding.fake_probability),
        "cue": None if finding.cue is None else _cue_to_json(finding.cue),
        "answer": finding.answer,
        "frames": finding.frames,
        "spans": [[_finite(s.first_s), _finite(s.last_s)] for s in finding.spans],
        "is_calibrated": finding.is_calibrated,
        "model": finding.model,
        "measurements": {k: _finite(v) for k, v in finding.measurements.items()},
        "observations": [_observation_to_json(o) for o in finding.observations],
        "caveat": finding.caveat,
    }


def _finding_from_json(detector: DetectorName, body: Json) -> Finding:
    return Finding(
        detector=detector,
        fake_probability=body["fake_probability"],
        cue=None if body.get("cue") is None else _cue_from_json(body["cue"]),
        answer=body.get("answer"),
        frames=body["frames"],
        spans=tuple(Span(first_s=a, last_s=b) for a, b in body.get("spans", ())),
        is_calibrated=body["is_calibrated"],
        model=body["model"],
        measurements=body["measurements"],
        observations=tuple(_observation_from_json(o) for o in body["observations"]),
        caveat=body["caveat"],
    )


def _cue_to_json(cue: Cue) -> Json:
    return {
        "value": _finite(cue.value),
        "unit": cue.unit,
        "z": _finite_or_none(cue.z),
        "reference": cue.reference,
    }


def _cue_from_json(body: Json) -> Cue:
    return Cue(value=body["value"], unit=body["unit"], z=body["z"], reference=body["reference"])


def _observation_to_json(observation: Observation) -> list[float | None]:
    """Spell it as a list: there are thousands, and four names in each would be most of the row."""
    return [
        _finite(observation.pts_s),
        observation.frame_index,
        _finite_or_none(observation.fake_probability),
        _finite_or_none(observation.fake_area),
    ]


def _observation_from_json(body: list[Any]) -> Observation:
    pts_s, frame_index, fake_probability, fake_area = body
    return Observation(
        pts_s=pts_s,
        frame_index=frame_index,
        fake_probability=fake_probability,
        fake_area=fake_area,
    )


def _abstention_to_json(abstention: Abstention) -> Json:
    return {
        "reason": abstention.reason.value,
        "detail": abstention.detail,
        "needs": abstention.needs,
    }


def _abstention_from_json(detector: DetectorName, body: Json) -> Abstention:
    return Abstention(
        detector=detector,
        reason=AbstainReason(body["reason"]),
        detail=body["detail"],
        needs=body["needs"],
    )


def video_to_json(video: VideoFacts) -> Json:
    """Spell out what was measured of a video."""
    return {
        "sha256": video.sha256,
        "size_bytes": video.size_bytes,
        "container": video.container,
        "codec": video.codec,
        "width": video.width,
        "height": video.height,
        "rotation_deg": video.rotation_deg,
        "duration_s": _finite(video.duration_s),
        "fps": _finite(video.fps),
        "frames_expected": video.frames_expected,
        "frames_decoded": video.frames_decoded,
        "frames_kept": video.frames_kept,
        "warnings": list(video.warnings),
    }


def video_from_json(body: Json) -> VideoFacts:
    """Read what `video_to_json` wrote."""
    return VideoFacts(
        sha256=body["sha256"],
        size_bytes=body["size_bytes"],
        container=body["container"],
        codec=body["codec"],
        width=body["width"],
        height=body["height"],
        rotation_deg=body["rotation_deg"],
        duration_s=body["duration_s"],
        fps=body["fps"],
        frames_expected=body["frames_expected"],
        frames_decoded=body["frames_decoded"],
        frames_kept=body["frames_kept"],
        warnings=tuple(body["warnings"]),
    )


def origin_to_json(origin: Origin) -> Json:
    """Spell out what a file says of where it comes from."""
    credentials = origin.credentials
    return {
        "credentials": {
            "state": credentials.state.value,
            "detail": credentials.detail,
            "signer": credentials.signer,
            "signed_at": credentials.signed_at,
            "made_with": credentials.made_with,
            "actions": list(credentials.actions),
            "is_generated": credentials.is_generated,
        },
        "tags": dict(origin.tags),
        "signs": list(origin.signs),
    }


def origin_from_json(body: Json) -> Origin:
    """Read what `origin_to_json` wrote."""
    credentials = body["credentials"]
    return Origin(
        credentials=Credentials(
            state=CredentialState(credentials["state"]),
            detail=credentials["detail"],
            signer=credentials["signer"],
            signed_at=credentials["signed_at"],
            made_with=credentials["made_with"],
            actions=tuple(credentials["actions"]),
            is_generated=credentials["is_generated"],
        ),
        tags=body["tags"],
        signs=tuple(body["signs"]),
    )


def provenance_to_json(provenance: Provenance) -> Json:
    """Spell out what it takes to run an analysis again."""
    return {
        "code": provenance.code,
        "models": dict(provenance.models),
        "decoder": provenance.decoder,
        "device": provenance.device,
        "seed": provenance.seed,
        "frame_indices": provenance.frame_indices,
        "sandbox": provenance.sandbox,
        "versions": dict(provenance.versions),
    }


def provenance_from_json(body: Json) -> Provenance:
    """Read what `provenance_to_json` wrote."""
    return Provenance(
        code=body["code"],
        models=body["models"],
        decoder=body["decoder"],
        device=body["device"],
        seed=body["seed"],
        frame_indices=body["frame_indices"],
        sandbox=body["sandbox"],
        versions=body.get("versions", {}),
    )


def timings_to_json(timings: Mapping[str, float]) -> Json:
    """Spell out how long each stage took."""
    return {stage: _finite(seconds) for stage, seconds in timings.items()}


def abstentions_to_json(abstentions: tuple[Abstention, ...]) -> list[Json]:
    """Spell out why nobody could be examined."""
    return [evidence_to_json(a) for a in abstentions]


def abstentions_from_json(body: list[Json]) -> tuple[Abstention, ...]:
    """Read what `abstentions_to_json` wrote."""
    return tuple(
        _abstention_from_json(DetectorName(item["detector"]), item["abstention"]) for item in body
    )


def error_to_json(error: JobError) -> Json:
    """Spell out why a job ended without a verdict."""
    return {"code": error.code, "detail": error.detail, "actor": error.actor.value}


def error_from_json(body: Json) -> JobError:
    """Read what `error_to_json` wrote."""
    return JobError(code=body["code"], detail=body["detail"], actor=Actor(body["actor"]))


def box_to_json(box: Box) -> Json:
    """Spell out a rectangle."""
    return {"x": box.x_px, "y": box.y_px, "width": box.width_px, "height": box.height_px}


def box_from_json(body: Json) -> Box:
    """Read what `box_to_json` wrote."""
    return Box(x_px=body["x"], y_px=body["y"], width_px=body["width"], height_px=body["height"])


def condition_to_json(condition: WorkerCondition) -> Json:
    """Spell out what a worker says of itself."""
    return {
        "models": dict(condition.models),
        "sandbox": condition.sandbox,
        "is_network_removed": condition.is_network_removed,
        "device": condition.device,
        "versions": dict(condition.versions),
        "not_taken_up": list(condition.not_taken_up),
        "why_not": condition.why_not,
    }


def condition_from_json(body: Json) -> WorkerCondition:
    """Read what `condition_to_json` wrote."""
    return WorkerCondition(
        models=body["models"],
        sandbox=body["sandbox"],
        is_network_removed=body["is_network_removed"],
        device=body["device"],
        versions=body.get("versions", {}),
        not_taken_up=tuple(body.get("not_taken_up", ())),
        why_not=body.get("why_not", ""),
    )


def job_from_row(row: JobRow) -> Job:
    """Read a job as its tenant sees it."""
    return Job(
        id=row.id,
        tenant=row.tenant,
        ref_id=row.ref_id,
        priority=Priority(row.priority),
        state=JobState(row.state),
        progress=Progress(stage=Stage(row.stage), fraction=row.fraction),
        version=row.version,
        attempt=row.attempt,
        sha256=row.sha256,
        size_bytes=row.size_bytes,
        file_name=row.file_name,
        created_at=row.created_at,
        updated_at=row.updated_at,
        finished_at=row.finished_at,
        error=None if row.error is None else error_from_json(row.error),
        rerun_of=row.rerun_of,
        operating_point=_point_or_none(row.operating_point),
    )


def claim_from_row(row: JobRow) -> Claim:
    """Read the right that the row's present lease gives."""
    return Claim(
        job_id=row.id,
        tenant=row.tenant,
        lease_token=row.lease_token,
        attempt=row.attempt,
        blob_key=row.blob_key,
        sha256=row.sha256,
        size_bytes=row.size_bytes,
        operating_point=_point_or_none(row.operating_point),
    )


def person_to_row(job_id: str, position: int, person: Person, verdict: Verdict) -> PersonRow:
    """Make the row of a person and what was decided of them; the evidence has rows of its own."""
    row = PersonRow(
        job_id=job_id,
        id=person.id,
        position=position,
        first_s=_finite(person.first_s),
        last_s=_finite(person.last_s),
        frames=person.frames,
        median_face_px=_finite(person.median_face_px),
    )
    decide_person(row, verdict)
    return row


def decide_person(row: PersonRow, verdict: Verdict) -> None:
    """Write what was decided of a person into their row."""
    interval = verdict.intervals_by_person.get(row.id)
    row.fake_probability = _finite_or_none(verdict.by_person[row.id])
    row.fake_low = None if interval is None else _finite(interval.low)
    row.fake_high = None if interval is None else _finite(interval.high)


def person_from_row(row: PersonRow, evidence: tuple[Evidence, ...]) -> Person:
    """Put a person together again."""
    return Person(
        id=row.id,
        first_s=row.first_s,
        last_s=row.last_s,
        frames=row.frames,
        median_face_px=row.median_face_px,
        evidence=evidence,
    )


def evidence_to_row(job_id: str, person_id: str, position: int, evidence: Evidence) -> EvidenceRow:
    """Make the row of what one detector said of one person."""
    return EvidenceRow(
        job_id=job_id,
        person_id=person_id,
        detector=evidence.detector.value,
        position=position,
        body=evidence_to_json(evidence),
    )


def verdict_to_row(job_id: str, verdict: Verdict) -> VerdictRow:
    """Make the row of a verdict, but for `created_at`; persons hold their own probabilities."""
    return VerdictRow(
        job_id=job_id,
        label=verdict.label.value,
        fake_probability=_finite_or_none(verdict.fake_probability),
        reasons=list(verdict.reasons),
        statement=verdict.statement,
        caveat=verdict.caveat,
        policy=verdict.policy,
        fake_low=None if verdict.interval is None else _finite(verdict.interval.low),
        fake_high=None if verdict.interval is None else _finite(verdict.interval.high),
        operating_point=None if verdict.operating_point is None else verdict.operating_point.value,
        said=[said_to_json(s) for s in verdict.said] or None,
    )


def verdict_from_row(row: VerdictRow, persons: Sequence[PersonRow]) -> Verdict:
    """Put a verdict together again."""
    intervals = {p.id: _interval(p.fake_low, p.fake_high) for p in persons}
    return Verdict(
        label=Label(row.label),
        fake_probability=row.fake_probability,
        reasons=tuple(row.reasons),
        statement=row.statement,
        caveat=row.caveat,
        policy=row.policy,
        by_person={p.id: p.fake_probability for p in persons},
        interval=_interval(row.fake_low, row.fake_high),
        intervals_by_person={n: i for n, i in intervals.items() if i is not None},
        operating_point=_point_or_none(row.operating_point),
        said=tuple(said_from_json(s) for s in row.said or ()),
    )


def said_to_json(said: Said) -> Json:
    """Spell out a sentence of a verdict."""
    return {
        "part": said.part.value,
        "code": None if said.code is None else said.code.value,
        "key": said.sentence.key,
        "values": dict(said.sentence.values),
    }


def said_from_json(body: Json) -> Said:
    """Read what `said_to_json` wrote."""
    return Said(
        part=Part(body["part"]),
        sentence=Sentence(key=body["key"], values=body["values"]),
        code=None if body["code"] is None else Inconclusive(body["code"]),
    )


def _interval(low: float | None, high: float | None) -> Interval | None:
    return None if low is None or high is None else Interval(low=low, high=high)


def _point_or_none(name: str | None) -> PointName | None:
    return None if name is None else PointName(name)


def artifact_to_row(job_id: str, position: int, artifact: Artifact) -> ArtifactRow:
    """Make the row of a picture."""
    return ArtifactRow(
        job_id=job_id,
        id=artifact.id,
        position=position,
        kind=artifact.kind.value,
        person_id=artifact.person_id,
        pts_s=_finite(artifact.pts_s),
        frame_index=artifact.frame_index,
        width_px=artifact.width_px,
        height_px=artifact.height_px,
        box=None if artifact.box_px is None else box_to_json(artifact.box_px),
        area=_finite(artifact.area),
        sha256=artifact.sha256,
        png=artifact.png,
    )


def artifact_facts_from_row(row: ArtifactRow) -> ArtifactFacts:
    """Read all but the picture itself."""
    return ArtifactFacts(
        id=row.id,
        kind=ArtifactKind(row.kind),
        person_id=row.person_id,
        pts_s=row.pts_s,
        frame_index=row.frame_index,
        width_px=row.width_px,
        height_px=row.height_px,
        box_px=None if row.box is None else box_from_json(row.box),
        area=row.area,
        sha256=row.sha256,
    )


def artifact_from_row(row: ArtifactRow) -> Artifact:
    """Read a picture."""
    return Artifact(
        id=row.id,
        kind=ArtifactKind(row.kind),
        person_id=row.person_id,
        pts_s=row.pts_s,
        frame_index=row.frame_index,
        width_px=row.width_px,
        height_px=row.height_px,
        box_px=None if row.box is None else box_from_json(row.box),
        area=row.area,
        sha256=row.sha256,
        png=row.png,
    )


def key_from_row(row: ApiKeyRow) -> ApiKey:
    """Read a key; nothing of its secret is in it."""
    return ApiKey(
        id=row.id,
        tenant=row.tenant,
        name=row.name,
        scopes=frozenset(Scope(s) for s in row.scopes),
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
    )


def worker_from_row(row: WorkerRow) -> LiveWorker:
    """Read what a worker last said of itself."""
    return LiveWorker(
        worker=row.id,
        code=row.code,
        is_busy=row.is_busy,
        last_seen_at=row.last_seen_at,
        condition=condition_from_json(row.condition),
    )


def model_version_to_row(model: ModelVersion, decision: Decision) -> ModelVersionRow:
    """Make the row of a network that is promoted, but for `created_at`."""
    return ModelVersionRow(
        name=model.name,
        version=model.version,
        sha256=model.sha256,
        entry=json.loads(model.entry),
        decision=json.loads(decision.table),
    )


def model_version_from_row(row: ModelVersionRow) -> ModelVersion:
    """Read what it takes to load and to judge by a network that was promoted."""
    return model_version_from_entry(json.dumps(row.entry, sort_keys=True))


def model_version_from_entry(entry: str) -> ModelVersion:
    """Read the JSON of a network's entry, as far as it matters to a verdict."""
    body: Json = json.loads(entry)
    return ModelVersion(
        name=body["name"],
        version=body["version"],
        sha256=body["sha256"],
        entry=entry,
        operating_point=_operating_point(body.get("calibration")),
    )


def _operating_point(calibration: Json | None) -> OperatingPoint | None:
    if calibration is None:
        return None
    return OperatingPoint(
        manipulated_from=calibration["manipulated_from"],
        clear_below=calibration["clear_below"],
        false_positives=calibration["false_positives"],
        real_clips=calibration["real_clips"],
    )


def decision_from_row(row: ModelVersionRow) -> Decision:
    """Read what was measured of a network before it was promoted."""
    return Decision(
        is_promotion=row.decision["promote"],
        reasons=tuple(row.decision["reasons"]),
        table=json.dumps(row.decision),
    )


def model_change_from_row(row: ModelChangeRow) -> ModelChange:
    """Read who made a version current."""
    return ModelChange(
        name=row.name, version=row.version, at=row.at, actor=row.actor, note=row.note
    )


def _finite(number: float) -> float:
    if not math.isfinite(number):
        raise ValueError(f"want a finite number, got {number!r}")
    return float(number)  # NumPy's kinds of float are no JSON


def _finite_or_none(number: float | None) -> float | None:
    return None if number is None else _finite(number)
