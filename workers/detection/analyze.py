"""
What is there to find in one video? Decodes it, follows the faces, asks every detector.

A detector that raises is a bug and does not stop the others: it is logged with its stack, and its
answer is an abstention. A video that cannot be read, on the other hand, is not judged at all.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from app import log
from app.domain.evidence import (
    AbstainReason,
    Abstention,
    Analysis,
    Artifact,
    DetectorName,
    Evidence,
    Person,
    Provenance,
)
from app.domain.job import Progress, Stage
from app.domain.media import Origin
from app.domain.overlay import OverlayOrder
from app.domain.worker import WorkerCondition
from app.errors import ServiceError
from app.settings import AnalysisSettings, MediaLimits
from workers.detection import overlay
from workers.detection.artifacts import (
    attention_artifact,
    crop_artifact,
    frame_artifact,
    mask_artifact,
)
from workers.detection.contact_sheet import SheetRow, contact_sheet
from workers.detection.decode import Probe, Sandbox, VideoStream, open_video
from workers.detection.faces import FaceFollower, Followed
from workers.detection.origin import read_origin
from workers.detection.sound import hear
from workers.detection.stage import (
    AttentionMap,
    Detector,
    Examination,
    FaceClip,
    Frame,
    PixelMask,
    Sound,
    check_order,
)
from workers.detection.telling import Shown, telling

Report = Callable[[Progress], None]
Heard = tuple[Sound | None, tuple[str, ...]]
"""The sound of a video, and warnings."""

FOLLOWED_AT, EXAMINED_AT = 0.80, 0.97  # of the whole job
STEP = 0.01
"""Least progress that is worth a message."""
UNKNOWN_FRAMES = 300
"""Where the container does not say how many there are: after so many half is reported as done."""

PERSONS_CAPPED = "persons-capped"
FACES_NOT_FOLLOWED = "faces-not-followed"
SOUND_UNREADABLE = "sound-unreadable"
UNFOLLOWED_FROM = 3
"""Times that the detector saw a face which could not be followed; fewer are mistakes of its own."""

HEARING = frozenset({DetectorName.LIP_SYNC})
"""Detectors that want the sound; without one of them it is not decoded."""
MAX_SOUND_BYTES = 128 * 2**20
"""11 minutes of two channels at 48 kHz. Of videos longer than 5, faces are not followed in every
frame, and no detector that listens judges what is followed at so low a rate."""
AFTER_S = 1.0
"""So much longer than anybody is seen the sound is decoded."""

NOBODY = Followed(persons=(), too_brief=0, too_small=0, too_many=0, unfollowed=0)

_log = log.get(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """An analysis, and a picture of it for people."""

    analysis: Analysis
    sheet_png: bytes | None  # None where there is nobody to show


class Analyzer:
    """
    Analyses one video after the other.

    Args:
        follower: None where the network that was chosen to find faces is missing: then every video
            is decoded, and nobody is found in it.
        detectors: in the order in which they are asked.
        models: every network that is wanted: "sha256:...", or "missing: ..." in words.
        versions: of each of those.
        code: version of this program.
        device: where networks run.
        seed: of random choices; none is made today.
        marker: asked about every frame of an overlay; None marks nothing.

    Raises:
        ValueError: a detector is listed before one that it needs, or twice.
    """

    def __init__(
        self,
        *,
        follower: FaceFollower | None,
        detectors: Sequence[Detector],
        models: Mapping[str, str],
        versions: Mapping[str, str],
        code: str,
        device: str,
        seed: int,
        limits: MediaLimits,
        sampling: AnalysisSettings,
        allow_unsandboxed: bool,
        sandbox: Sandbox,
        marker: overlay.Marker | None = None,
    ) -> None:
        check_order(detectors)
        self._follower = follower
        self._detectors = tuple(detectors)
        self._models = dict(models)
        self._versions = dict(versions)
        self._code = code
        self._device = device
        self._seed = seed
        self._limits = limits
        self._sampling = sampling
        self._allow_unsandboxed = allow_unsandboxed
        self._sandbox = sandbox
        self._marker = marker

    def condition(self) -> WorkerCondition:
        """Say with what videos are analysed."""
        return WorkerCondition(
            models=self._models,
            sandbox=self._sandbox.words,
            is_network_removed=self._sandbox.is_network_removed,
            device=self._device,
            versions=self._versions,
        )

    def analyze(self, path: Path, *, sha256: str, size_bytes: int, report: Report) -> Analysis:
        """
        Find everything there is to find in one video.

        Args:
            report: told of progress, which never falls.

        Raises:
            RejectedMedia: the video cannot be judged.
            SandboxUnavailable: the decoder cannot be jailed.
            IntegrityFailed: the path is no regular file.
        """
        return self._run(path, sha256, size_bytes, report)[0]

    def analyze_with_sheet(
        self, path: Path, *, sha256: str, size_bytes: int, report: Report
    ) -> Examined:
        """Do as `analyze`, and draw a contact sheet of everybody."""
        analysis, seen = self._run(path, sha256, size_bytes, report)
        rows = [
            SheetRow(person=s.person, clip=s.clip, masks=s.masks) for s in seen if s.clip.samples
        ]
        return Examined(
            analysis=analysis, sheet_png=contact_sheet(path.name, rows) if rows else None
        )

    def render(self, path: Path, out: Path, *, order: OverlayOrder, report: Report) -> None:
        """
        Write the video with a box around everybody and what is marked, as MP4.

        Args:
            out: nothing is there yet.
            order: what the video's verdict says of whom.
            report: told of progress, which never falls.

        Raises:
            RejectedMedia: the video cannot be read.
            SandboxUnavailable: the decoder cannot be jailed.
            IntegrityFailed: the path is no regular file.
            OSError, FFmpegError: `out` cannot be written.
        """
        progress = _Meter(report)
        with self._opened(path) as video:
            clips = self._follow(video, progress, {}).persons
            facts = video.facts(sha256="", size_bytes=0)
        sound, _ = self._listen(path, facts.duration_s)
        with self._opened(path) as video:
            drawn = overlay.render(
                out,
                video,
                clips,
                order=order,
                size=(facts.width, facts.height),
                rate_hz=max(1.0, facts.fps * facts.frames_kept / facts.frames_decoded),
                marker=self._marker,
                sound=sound,
            )
            for done in drawn:
                share = min(1.0, (done + 1) / facts.frames_decoded)
                progress.tell(Stage.EXAMINING, FOLLOWED_AT + (1 - FOLLOWED_AT) * share)

    def _opened(self, path: Path) -> AbstractContextManager[VideoStream]:
        return open_video(
            path,
            limits=self._limits,
            sampling=self._sampling,
            allow_unsandboxed=self._allow_unsandboxed,
        )

    def _run(
        self, path: Path, sha256: str, size_bytes: int, report: Report
    ) -> tuple[Analysis, tuple["_Seen", ...]]:
        began = time.monotonic()
        timings: dict[str, float] = {}
        progress = _Meter(report)
        with self._opened(path) as video:
            followed = self._follow(video, progress, timings)
            facts = video.facts(sha256=sha256, size_bytes=size_bytes)
            verified = {n: s for n, s in self._models.items() if s.startswith("sha256:")}
            provenance = Provenance(
                code=self._code,
                models=verified,
                decoder=video.decoder,
                device=self._device,
                seed=self._seed,
                frame_indices=video.kept_words,
                sandbox=video.sandbox,
                versions={n: v for n, v in self._versions.items() if n in verified},
            )
        clips, sound_warnings = self._with_sound(path, followed.persons, timings)
        seen = self._examine(clips, progress, timings)
        artifacts = _artifacts(seen, timings)
        origin = self._read_origin(path, timings)
        timings["total_s"] = time.monotonic() - began
        analysis = Analysis(
            video=replace(facts, warnings=(*facts.warnings, *_warnings(followed), *sound_warnings)),
            persons=tuple(s.person for s in seen),
            abstentions=() if seen else self._abstain(followed),
            artifacts=artifacts,
            provenance=provenance,
            timings=timings,
            origin=origin,
        )
        return analysis, seen

    def _follow(
        self, video: VideoStream, progress: "_Meter", timings: dict[str, float]
    ) -> Followed:
        """Take every frame, and follow the faces if there is something to follow them with."""
        began = time.monotonic()
        watch = _Watch(video, progress)
        if self._follower is None:
            followed = NOBODY
            for _ in watch:
                pass
        else:
            followed = self._follower.follow(
                watch, width_px=video.probe.width, height_px=video.probe.height
            )
        timings["decode_s"] = watch.waited_s
        timings["faces_s"] = time.monotonic() - began - watch.waited_s
        _log.info(
            "faces.followed",
            frames=watch.frames,
            persons=len(followed.persons),
            waited_s=round(watch.waited_s, 3),
            took_s=round(timings["faces_s"], 3),
        )
        return followed

    def _with_sound(
        self, path: Path, clips: Sequence[FaceClip], timings: dict[str, float]
    ) -> tuple[tuple[FaceClip, ...], tuple[str, ...]]:
        """
        Let everybody have the video's sound, where a detector listens; return warnings besides.

        A sound that cannot be read costs nothing but what could have been heard.
        """
        began = time.monotonic()
        heard: Heard = (None, ())
        if clips and any(d.name in HEARING for d in self._detectors):
            heard = self._listen(path, max(float(c.tracks[-1].pts_s[-1]) for c in clips))
        timings["sound_s"] = time.monotonic() - began
        sound, warnings = heard
        return tuple(replace(c, sound=sound) for c in clips), warnings

    def _listen(self, path: Path, until_s: float) -> Heard:
        """Decode the sound as far as it is wanted; None, and a warning, where it cannot be read."""
        try:
            sound = hear(
                path,
                limits=self._limits,
                sampling=self._sampling,
                allow_unsandboxed=self._allow_unsandboxed,
                until_s=until_s + AFTER_S,
                max_bytes=MAX_SOUND_BYTES,
            )
        except ServiceError as why:
            _log.warning("sound.unreadable", why=str(why))
            return None, (SOUND_UNREADABLE,)
        return sound, ()

    def _read_origin(self, path: Path, timings: dict[str, float]) -> Origin | None:
        """Read what the file says of itself; None where it cannot be said, which fails no job."""
        began = time.monotonic()
        try:
            return read_origin(
                path,
                limits=self._limits,
                sampling=self._sampling,
                allow_unsandboxed=self._allow_unsandboxed,
            )
        except ServiceError as failed:
            _log.warning("origin.not_read", why=str(failed))
            return None
        finally:
            timings["origin_s"] = time.monotonic() - began

    def _examine(
        self, clips: Sequence[FaceClip], progress: "_Meter", timings: dict[str, float]
    ) -> "tuple[_Seen, ...]":
        """Ask every detector about everybody."""
        timings |= {f"{d.name}_s": 0.0 for d in self._detectors}
        asked = 0
        seen: list[_Seen] = []
        for clip in clips:
            evidence: dict[DetectorName, Evidence] = {}
            masks: list[PixelMask] = []
            attention: list[AttentionMap] = []
            for detector in self._detectors:
                began = time.monotonic()
                examination = _ask(detector, clip, evidence)
                timings[f"{detector.name}_s"] += time.monotonic() - began
                evidence[detector.name] = examination.evidence
                masks += examination.masks
                attention += examination.attention
                asked += 1
                share = asked / (len(clips) * len(self._detectors))
                progress.tell(Stage.EXAMINING, FOLLOWED_AT + (EXAMINED_AT - FOLLOWED_AT) * share)
            seen.append(
                _Seen(
                    person=Person(
                        id=clip.person_id,
                        first_s=float(clip.tracks[0].pts_s[0]),
                        last_s=float(clip.tracks[-1].pts_s[-1]),
                        frames=clip.frames,
                        median_face_px=clip.median_face_px,
                        evidence=tuple(evidence.values()),
                    ),
                    clip=clip,
                    masks=tuple(masks),
                    attention=tuple(attention),
                )
            )
        progress.tell(Stage.EXAMINING, EXAMINED_AT)
        return tuple(seen)

    def _abstain(self, followed: Followed) -> tuple[Abstention, ...]:
        """Say for every detector why there is nobody to examine."""
        if self._follower is None:
            missing = [n for n, s in self._models.items() if not s.startswith("sha256:")]
            reason, detail, needs = (
                AbstainReason.MODEL_MISSING,
                f"not in place: {', '.join(missing)}",
                f"deepverdict models pull {' '.join(missing)}",
            )
        else:
            reason, detail, needs = _why_nobody(followed)
        return tuple(
            Abstention(detector=d.name, reason=reason, detail=detail, needs=needs)
            for d in self._detectors
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Seen:
    """A person, with the arrays that pictures are made from."""

    person: Person
    clip: FaceClip
    masks: tuple[PixelMask, ...]
    attention: tuple[AttentionMap, ...]


class _Meter:
    """Passes progress on, in steps that are worth it, and never downwards."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._stage: Stage | None = None
        self._fraction = 0.0

    def tell(self, stage: Stage, fraction: float) -> None:
        """Tell how far the job is, unless that is no news."""
        fraction = max(fraction, self._fraction)
        if stage == self._stage and fraction < self._fraction + STEP:
            return
        self._stage, self._fraction = stage, fraction
        self._report(Progress(stage=stage, fraction=fraction))


class _Watch:
    """Hands frames on, tells progress, and takes the time that they are waited for."""

    def __init__(self, video: VideoStream, progress: _Meter) -> None:
        self.waited_s = 0.0
        self.frames = 0
        self._video = video
        self._progress = progress

    def __iter__(self) -> Iterator[Frame]:
        frames = iter(self._video)
        while True:
            began = time.monotonic()
            frame = next(frames, None)
            self.waited_s += time.monotonic() - began
            if frame is None:
                return
            share = _share_done(frame, self._video.probe)
            self._progress.tell(Stage.FOLLOWING_FACES, FOLLOWED_AT * share)
            self.frames += 1
            yield frame


def _share_done(frame: Frame, probe: Probe) -> float:
    """Say how far into the video a frame is, [0, 1]; a guess where the container is silent."""
    done = frame.index + 1
    if probe.frames_expected is None:
        return done / (done + UNKNOWN_FRAMES)
    return min(1.0, done / probe.frames_expected)


def _ask(detector: Detector, clip: FaceClip, prior: Mapping[DetectorName, Evidence]) -> Examination:
    """Let one detector examine one person. The boundary: nothing that goes wrong in it gets out."""
    try:
        return detector.examine(clip, prior)
    except Exception:  # noqa: BLE001 - a bug in one detector must not silence the others
        _log.exception("detector.crashed", detector=detector.name, person=clip.person_id)
        return Examination(
            evidence=Abstention(
                detector=detector.name,
                reason=AbstainReason.CRASHED,
                detail="the detector failed; the worker's log says why",
            )
        )


def _artifacts(seen: Sequence[_Seen], timings: dict[str, float]) -> tuple[Artifact, ...]:
    """Draw what is to be kept: best looks, masks, maps of attention, and what tells most."""
    began = time.monotonic()
    artifacts: list[Artifact] = []
    for s in seen:
        crop = crop_artifact(s.clip)
        artifacts += [crop] if crop else []
        artifacts += [mask_artifact(s.clip, mask) for mask in s.masks]
        artifacts += [attention_artifact(s.clip, map_) for map_ in s.attention]
    shown = [Shown(person=s.person, clip=s.clip, masks=s.masks) for s in seen]
    artifacts += [frame_artifact(m.clip, m.look, m.mask) for m in telling(shown)]
    timings["artifacts_s"] = time.monotonic() - began
    return tuple(artifacts)


def _why_nobody(followed: Followed) -> tuple[AbstainReason, str, str]:
    """Give the reason, what was found, and what would have been enough."""
    if followed.too_small:
        return AbstainReason.FACE_TOO_SMALL, "all faces are tiny", "a face of 60 px or more"
    if followed.too_brief:
        return (
            AbstainReason.TOO_FEW_FRAMES,
            "faces are seen for moments only",
            "a face that stays for half a second or more",
        )
    if followed.unfollowed:
        return (
            AbstainReason.LANDMARKS_UNSTABLE,
            "faces are turned away, covered or too blurred to be followed",
            "a face seen from the front",
        )
    return AbstainReason.NO_FACE, "no face was found in the video", "a face"


def _warnings(followed: Followed) -> tuple[str, ...]:
    """List what is odd about the faces of a video that was analysed all the same, as codes."""
    found: list[str] = []
    if followed.too_many:
        found.append(PERSONS_CAPPED)
    if followed.unfollowed >= UNFOLLOWED_FROM:
        found.append(FACES_NOT_FOLLOWED)
    return tuple(found)
