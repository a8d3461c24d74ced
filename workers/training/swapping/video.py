"""
How is the face of a whole video swapped, so that every changed pixel is known?

The video is gone over twice: once to follow the faces, so that landmarks can be smoothed and gaps
bridged with what comes later, and once to forge, composite and write. What is written lies beside
one another: the video, its alpha as a grey video of the same frames, and a record of every choice.
"""

import hashlib
import itertools
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError
from rich.console import Console
from rich.progress import Progress

from app.settings import Settings
from app.version import code_version
from workers.detection import align
from workers.detection.align import FaceRegion
from workers.detection.decode import VideoStream
from workers.detection.faces import LEAST_FACE_PX, LEAST_PRESENCE, LEAST_S
from workers.detection.landmarks import Landmarker
from workers.detection.stage import LANDMARKS, FaceClip, Floats, Frame, Image
from workers.encode import ClipWriter, PictureShape
from workers.kit import FaceNetworks, face_networks
from workers.training.clips import open_clip
from workers.training.errors import BadDataset, BadOutput
from workers.training.forging.views import VIEW_MARGIN, view_region
from workers.training.swapping import marks, sound
from workers.training.swapping.choices import Compositing
from workers.training.swapping.compose import Laid, lay_in, seen
from workers.training.swapping.places import Place, Scene, Whose, chosen, follow, largest, places
from workers.training.swapping.writer import MaskWriter, whole_file

if TYPE_CHECKING:
    from models.nets.forger import Identity

SUFFIX = ".mp4"
MASK_SUFFIX = ".mask.mp4"
RECORD_SUFFIX = ".json"
BATCH = 8
"""Faces that the forger makes at a time; as many frames are held."""
MOST_FOLLOWED_SIDE_PX = 1280
"""Frames with a longer side are scaled down to it to follow the faces; landmarks need no more."""
_SURROUNDINGS = 4
"""Landmarks are placed on a forged face with 1 / this of its side around it."""
_LONE_FRAME_HZ = 25.0
_READ_BYTES = 1024 * 1024


class Source(Protocol):
    """A file that a person's faces came from."""

    @property
    def sha256(self) -> str:
        """Of its bytes."""
        ...


class MakerRecord(Protocol):
    """What a forger's run says of it; `forging.runs.ForgerRecord` is one."""

    @property
    def architecture(self) -> str:
        """In words."""
        ...

    @property
    def network_sha256(self) -> str:
        """Of its weights."""
        ...

    @property
    def a(self) -> Sequence[Source]:
        """What it learnt the first person from."""
        ...

    @property
    def b(self) -> Sequence[Source]:
        """What it learnt the second person from."""
        ...


class Maker(Protocol):
    """What is needed of a trained forger; `forging.runs.FaceMaker` is one."""

    @property
    def side_px(self) -> int:
        """Side of what it sees and makes."""
        ...

    @property
    def record(self) -> MakerRecord:
        """Where it comes from."""
        ...

    def make(
        self, views: NDArray[np.uint8], to: "Identity"
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Forge faces `[N, S, S, 3]` of what is seen, and the masks `[N, S, S]` they go by."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SwapRecord:
    """What was done to a video, as the JSON beside it has it."""

    synthetic: bool = True
    video: str  # name of the file that this is about
    video_sha256: str
    mask: str  # name
    mask_sha256: str
    source: str  # name
    source_sha256: str
    first_frame: int  # of the source, that is the first of the video
    frames: int
    width: int
    height: int
    swapped: tuple[int, ...]  # frames of the video, from 0
    bridged: tuple[int, ...]  # those of them in which the face was not found itself
    left: tuple[int, ...]  # frames in which nothing was changed
    to: str
    architecture: str
    forger_sha256: str
    seed: int | None
    choices: dict[str, Any]
    sound: str  # in words
    code: str
    decoder: str
    opencv: str
    seconds: dict[str, float] = field(compare=False)  # by stage


def swap_video(
    source: Path,
    maker: Maker,
    to: "Identity",
    out: Path,
    choices: Compositing,
    *,
    seed: int | None,
    max_frames: int | None = None,
    first_frame: int = 0,
    console: Console,
    whose: Whose = largest,
    networks: FaceNetworks | None = None,
) -> SwapRecord:
    """
    Give the face in a video that of somebody else, and write what comes of it.

    Three files are written, or none: `out`, its alpha (`MASK_SUFFIX` in place of the suffix) and
    the record (`RECORD_SUFFIX`). The alpha has a picture for each frame, at the same time, with
    every level as it was used.

    Args:
        source: a video of the person that `to` is not.
        maker: the forger.
        to: whose face is given.
        out: an MP4 that is not there yet.
        choices: how; `choices.draw` gives some by chance.
        seed: that the choices were drawn by, for the record; None where they were not.
        max_frames: frames that are written at most.
        first_frame: frames of the source that are left out before them.
        whose: which face is swapped, should there be several; the largest unless told otherwise.
        networks: find faces; loaded as the settings have it unless given.

    Raises:
        RejectedMedia: the source is no video that can be read.
        BadDataset: nobody's face is in it, or it is of the very person whose face is to be given.
        BadOutput: a file is there already, or cannot be written.
        InsufficientStorage: the disk is full.
    """
    clock = _Clock()
    _check_source(source)
    if out.suffix != SUFFIX:
        raise BadOutput(f"want a name that ends in {SUFFIX}, got {out}")
    mask, record_path = (out.with_suffix(s) for s in (MASK_SUFFIX, RECORD_SUFFIX))
    with (
        whole_file(out) as out_partial,
        whole_file(record_path) as record_partial,
        whole_file(mask) as mask_partial,
        Progress(console=console, transient=True, disable=not console.is_terminal) as bar,
    ):
        source_sha256 = _sha256(source)
        _check_person(source, source_sha256, maker.record, to)
        networks = networks or face_networks(Settings())
        with clock.times("follow"):
            look = _look(source, networks, first_frame, max_frames, bar)
        persons = chosen(look.scene, whose)
        _check_faces(source, look.scene, persons, to)
        found = places(look.scene, persons, smooth_s=choices.smooth_s, bridge_s=choices.bridge_s)
        with clock.times("sound"):
            heard = sound.of_stretch(source, begin_s=look.begin_s, end_s=look.end_s)
        shape = PictureShape(size=(look.width, look.height), rate_hz=look.rate_hz)
        said = marks.metadata(f"a face was swapped for another by a network, {code_version()}")
        with (
            ClipWriter(
                out_partial,
                shape,
                crf=choices.crf,
                preset=choices.preset,
                sound=heard.sound,
                metadata=said,
            ) as clip,
            MaskWriter(mask_partial, shape, metadata=said) as alphas,
        ):
            swapper = _Swapper(maker, to, networks.landmarks, choices, clock)
            frames = bar.track(
                _frames(source, first_frame, len(look.scene.frame_index)),
                total=len(look.scene.frame_index),
                description="swapping",
            )
            changed_at: list[int] = []  # indices of the source
            for frame, changed, levels in swapper.swap(frames, found):
                if levels.any():
                    changed_at.append(frame.index)
                with clock.times("write"):
                    clip.write(changed, frame.pts_s - look.begin_s)
                    alphas.write(levels, frame.pts_s - look.begin_s)
        if not changed_at:
            raise BadDataset(
                f"nothing of {source} was changed: the masks of this forger are empty; train it "
                "for longer, or take choices that do without its masks"
            )
        record = SwapRecord(
            video=out.name,
            video_sha256=_sha256(out_partial),
            mask=mask.name,
            mask_sha256=_sha256(mask_partial),
            source=source.name,
            source_sha256=source_sha256,
            first_frame=int(look.scene.frame_index[0]),
            frames=len(look.scene.frame_index),
            width=look.width,
            height=look.height,
            swapped=look.numbers(changed_at),
            bridged=look.numbers(i for i in changed_at if found[i].is_bridged),
            left=look.numbers(set(look.scene.frame_index.tolist()) - set(changed_at)),
            to=to,
            architecture=maker.record.architecture,
            forger_sha256=maker.record.network_sha256,
            seed=seed,
            choices=choices.model_dump(mode="json"),
            sound=heard.words,
            code=code_version(),
            decoder=look.decoder,
            opencv=cv2.__version__,
            seconds=clock.seconds,
        )
        record_partial.write_text(json.dumps(asdict(record), indent=2), encoding="utf-8")
    return record


def copy_video(
    source: Path,
    out: Path,
    *,
    crf: int,
    preset: str,
    max_frames: int | None = None,
    first_frame: int = 0,
) -> None:
    """
    Write the frames of a video as a swapped one's are written, with nothing swapped.

    A swapped clip was compressed once more than its source, and may be shorter. Beside a copy that
    went the same way, nothing tells the two apart but the swap.

    Args:
        source: a video.
        out: an MP4 that is not there yet. No mark is in it: nothing in it is synthetic.
        crf: quality, as in `Compositing`.
        preset: likewise.
        max_frames: frames that are written at most.
        first_frame: frames of the source that are left out before them.

    Raises:
        RejectedMedia: the source is no video that can be read.
        BadDataset: there is no such frame.
        BadOutput: the file is there already, or cannot be written.
        InsufficientStorage: the disk is full.
    """
    _check_source(source)
    with whole_file(out) as partial, _opened(source) as stream:
        frames = _stretch(stream, first_frame, max_frames)
        first = next(frames, None)
        if first is None:
            raise _no_frame(source, first_frame)
        shape = PictureShape(
            size=(stream.probe.width, stream.probe.height), rate_hz=stream.probe.rate_hz
        )
        with ClipWriter(partial, shape, crf=crf, preset=preset, metadata={}) as clip:
            for frame in itertools.chain([first], frames):
                clip.write(frame.rgb, frame.pts_s - first.pts_s)


def read_record(out: Path) -> SwapRecord:
    """
    Read what is written beside a swapped video.

    Raises:
        BadDataset: it is missing, or is no such record.
    """
    path = out.with_suffix(RECORD_SUFFIX)
    try:
        return TypeAdapter(SwapRecord).validate_json(path.read_bytes())
    except (OSError, ValidationError) as wrong:
        raise BadDataset(f"{path} is no record of a swap ({wrong}); make the video anew") from wrong


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _FirstLook:
    """What is known of a video once the faces in it were followed."""

    scene: Scene
    width: int
    height: int
    decoder: str

    @property
    def begin_s(self) -> float:
        return float(self.scene.pts_s[0])

    @property
    def end_s(self) -> float:
        return float(self.scene.pts_s[-1]) + 1 / self.rate_hz

    @property
    def rate_hz(self) -> float:
        steps = len(self.scene.pts_s) - 1
        return steps / float(self.scene.pts_s[-1] - self.begin_s) if steps else _LONE_FRAME_HZ

    def numbers(self, indices: Iterable[int]) -> tuple[int, ...]:
        """Turn the indices of frames in the source into those in the video, from 0."""
        number_of = {int(index): n for n, index in enumerate(self.scene.frame_index)}
        return tuple(sorted(number_of[index] for index in indices))


class _Swapper:
    """Forges the faces of some frames at a time, and lays them in."""

    def __init__(
        self,
        maker: Maker,
        to: "Identity",
        landmarker: Landmarker,
        choices: Compositing,
        clock: "_Clock",
    ) -> None:
        self._maker = maker
        self._to = to
        self._landmarker = landmarker
        self._choices = choices
        self._clock = clock

    def swap(
        self, frames: Iterable[Frame], found: Mapping[int, Place]
    ) -> Iterator[tuple[Frame, Image, NDArray[np.uint8]]]:
        """Give each frame as it was and as it becomes, and the levels of its alpha."""
        upcoming = iter(frames)
        while batch := list(itertools.islice(upcoming, BATCH)):
            views = {
                n: view_region(align.region_of_landmarks(found[frame.index].landmarks_px))
                for n, frame in enumerate(batch)
                if frame.index in found
            }
            made = self._made(batch, views)
            for n, frame in enumerate(batch):
                changed, levels = frame.rgb, np.zeros(frame.rgb.shape[:2], np.uint8)
                if n in views:
                    changed, levels = self._laid(
                        frame.rgb, views[n], *made[n], found[frame.index].landmarks_px
                    )
                if self._choices.visible_mark:
                    changed = marks.put_in_sight(changed)
                yield frame, changed, levels

    def _made(
        self, batch: Sequence[Frame], views: Mapping[int, FaceRegion]
    ) -> dict[int, tuple[Image, NDArray[np.uint8]]]:
        if not views:
            return {}
        with self._clock.times("forge"):
            side_px = self._maker.side_px
            shown = np.stack(
                [seen(batch[n].rgb, view, side_px=side_px) for n, view in views.items()]
            )
            faces, masks = self._maker.make(shown, self._to)
        return {n: (faces[at], masks[at]) for at, n in enumerate(views)}

    def _laid(
        self,
        rgb: Image,
        view: FaceRegion,
        face: Image,
        mask: NDArray[np.uint8],
        landmarks_px: Floats,
    ) -> Laid:
        forged_landmarks_px = None
        if self._choices.landmark_warp != "none":
            with self._clock.times("landmarks of the forged"):
                forged_landmarks_px = _landmarks_of(face, rgb, view, self._landmarker)
        with self._clock.times("composite"):
            return lay_in(
                rgb,
                view,
                face,
                mask,
                landmarks_px,
                choices=self._choices,
                forged_landmarks_px=forged_landmarks_px,
            )


def _landmarks_of(
    face: Image, rgb: Image, view: FaceRegion, landmarker: Landmarker
) -> Floats | None:
    """Place the landmarks of a forged face amid the surroundings that it will have."""
    side_px = face.shape[0]
    border = side_px // _SURROUNDINGS
    around = seen(rgb, view.scaled(1 + 2 * border / side_px), side_px=side_px + 2 * border)
    around[border : border + side_px, border : border + side_px] = face
    middle = (around.shape[0] - 1) / 2
    region = FaceRegion(centre_px=(middle, middle), side_px=side_px / VIEW_MARGIN, angle_rad=0.0)
    placed = landmarker.place(around, region)
    if placed.presence < LEAST_PRESENCE or not np.isfinite(placed.points_px).all():
        return None
    return placed.points_px[:LANDMARKS] - np.float32(border)


class _Clock:
    """Adds up the seconds of each stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def times(self, stage: str) -> Iterator[None]:
        started_s = time.perf_counter()
        try:
            yield
        finally:
            taken_s = time.perf_counter() - started_s
            self.seconds[stage] = round(self.seconds.get(stage, 0.0) + taken_s, 4)


def _look(
    source: Path,
    networks: FaceNetworks,
    first_frame: int,
    max_frames: int | None,
    bar: Progress,
) -> _FirstLook:
    """Follow the faces of a stretch of a video."""
    with _opened(source, max_side_px=MOST_FOLLOWED_SIDE_PX) as stream:
        probe = stream.probe
        scene = follow(
            bar.track(
                _stretch(stream, first_frame, max_frames),
                total=max_frames or probe.frames_expected,
                description="following faces",
            ),
            width_px=probe.width,
            height_px=probe.height,
            networks=networks,
        )
        if not len(scene.frame_index):
            raise _no_frame(source, first_frame)
        return _FirstLook(
            scene=scene, width=probe.width, height=probe.height, decoder=stream.decoder
        )


def _frames(source: Path, first_frame: int, frames: int) -> Iterator[Frame]:
    with _opened(source) as stream:
        yield from _stretch(stream, first_frame, frames)


def _opened(source: Path, *, max_side_px: int | None = None) -> AbstractContextManager[VideoStream]:
    """Open a video such that not one of its frames is passed over."""
    limits = Settings().media
    return open_clip(source, max_frames=limits.max_frames, max_side_px=max_side_px)


def _stretch(frames: Iterable[Frame], first_frame: int, max_frames: int | None) -> Iterator[Frame]:
    end = None if max_frames is None else first_frame + max_frames
    return itertools.islice(iter(frames), first_frame, end)


def _check_source(source: Path) -> None:
    if not source.is_file() or not os.access(source, os.R_OK):
        raise BadDataset(f"there is no video {source} that can be read; give the path of one")


def _no_frame(source: Path, first_frame: int) -> BadDataset:
    return BadDataset(f"{source} has no frame {first_frame}; begin with an earlier one")


def _check_faces(source: Path, scene: Scene, persons: Sequence[FaceClip], to: "Identity") -> None:
    if not scene.persons:
        raise BadDataset(
            f"no face was found in {source}, in {len(scene.frame_index)} frames; give a video in "
            f"which one of {LEAST_FACE_PX:.0f} px or more is seen for {LEAST_S} s at least"
        )
    if not persons:
        raise BadDataset(
            f"whoever is seen in {source} looks like {to} already, whose face was to be given; "
            f"swap it to {_other(to)}"
        )


def _other(person: "Identity") -> "Identity":
    return "b" if person == "a" else "a"


def _check_person(source: Path, sha256: str, record: MakerRecord, to: "Identity") -> None:
    """Turn away a video that the forger learnt from as that of the very person it shall give."""
    given, others = (record.a, record.b) if to == "a" else (record.b, record.a)
    if sha256 in {s.sha256 for s in given} - {s.sha256 for s in others}:
        raise BadDataset(
            f"{source} shows {to}: the forger learnt {to} from it; swap it to {_other(to)}"
        )


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(_READ_BYTES):
            digest.update(part)
    return digest.hexdigest()
