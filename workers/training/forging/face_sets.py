"""
Which looks at one person are good enough to learn a face from?

A set is curated from videos, or folders of pictures, of one person each. What is no good is left
out, counted by reason. What stays lies in memory-mapped files, with the last part of every source
held out: it is never trained on, and shows what a forger makes of pictures it did not see.
"""

import hashlib
import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from app.errors import DISK_FULL, InsufficientStorage, RejectedMedia
from app.settings import Settings
from workers.detection import align
from workers.detection.faces import SAME_FACE
from workers.detection.identity import SAME_PERSON, FaceEmbedder, likeness, one_person
from workers.detection.stage import LANDMARKS, Floats, Image
from workers.kit import face_networks
from workers.training.bank import mapped
from workers.training.clips import open_clip
from workers.training.errors import BadDataset
from workers.training.forging import coverage, views
from workers.training.forging.coverage import Expression
from workers.training.forging.identity import load_embedder
from workers.training.forging.skin import oddest, skin, tints
from workers.training.forging.views import STORED_PX
from workers.training.layouts import PICTURE_SUFFIXES
from workers.training.placing import FacePlacer, PlacedFace
from workers.training.recipe import Positive, Section, Share

_FACES, _LANDMARKS, _SET = "faces.bin", "landmarks.bin", "set.json"
REPORT, SHEET = "report.json", "report.png"
_CURATED = 1
"""Raised when the same sources give other faces than before: sets are then made anew."""
_CHECKED_PX = 128
"""Side of the view that sharpness and skin are measured on, the same at every size of the face."""
_SMALL_PX = 32
_BORDER_PX = 60
"""Of a kept picture, that its colours leave out; Lu's faceswap-GAN does likewise."""
_ALIKE_IN_SIZE = 0.6

Measure = Annotated[float, Field(ge=0)]
Number = TypeVar("Number", np.uint8, np.float32)


class CurationOptions(Section):
    """When a look at a face is good enough, and how many are wanted."""

    least_faces: Positive = 64
    """To train on. Fewer teach a forger one look of a person, and nothing else."""
    most_faces: Positive = 600
    """Of more, those stay that show each pose and expression about as often."""
    most_looks: Positive = 1500
    """Frames and pictures that are looked at, as many of each source, evenly spread."""
    least_face_px: Measure = 56.0
    """Side of the face's region in the source; a view of 64 px shows 57."""
    least_presence: Share = 0.9
    """How sure the landmark network must be: it is not where half of a face is covered."""
    least_sharpness: Measure = 10.0
    """Variance of the Laplacian of the view at 128 px; 72 real clips have a median of 156."""
    least_sharpness_share: Share = 0.5
    """Of the median of its source: less is a face that moved while the shutter was open."""
    most_off_frame: Share = 0.08
    """How far the view may reach beyond the frame, as a share of its side."""
    most_tint: Measure = 10.0
    """Distance between the skin's colour and that of the median face, in a* and b* of CIELAB.
    Within 72 clips, 99.9 % of the faces are under 5."""
    most_odd_skin: Measure = 16.0
    """Likewise between one place on the face and that place on the median face: over it, something
    lies before it. Within 72 clips, 99.9 % are under 15."""
    least_change: Measure = 0.6
    """Mean difference, of 255, from the nearest face of the source that is kept."""
    least_likeness: Annotated[float, Field(ge=-1, le=1)] = SAME_PERSON
    """Cosine with the set's median face, where the network that tells is there."""
    held_out: Annotated[float, Field(ge=0, le=0.5)] = 0.15
    """Of the faces of every source: the last ones."""
    held_out_gap_s: Measure = 1.0
    """Left out before those that are held out: neighbours are almost the same picture."""


class Reason(StrEnum):
    """Why a look is not in the set."""

    UNREADABLE = "picture cannot be read"
    NO_FACE = "no face"
    UNCLEAR = "several faces, and none where the person was"
    OTHER_PERSON = "another person"
    TOO_SMALL = "face too small"
    CUT_OFF = "cut off by the frame"
    OCCLUDED = "something before the face"
    NOT_SHARP = "not sharp"
    TINTED = "colours of another light"
    STILL = "same picture as before"
    GAP = "just before the held out"
    SURPLUS = "more of the same than needed"


_ADVICE = {
    Reason.NO_FACE: "give sources in which the face is seen from the front or half turned",
    Reason.UNCLEAR: "give sources that show one person",
    Reason.OTHER_PERSON: "give sources that show one person, the same in all",
    Reason.TOO_SMALL: "give sources with a larger face, or lower least_face_px",
    Reason.CUT_OFF: "give sources that show the whole face, or raise most_off_frame",
    Reason.NOT_SHARP: "give sharper sources, or lower least_sharpness",
    Reason.TINTED: "give sources of one light, or raise most_tint",
    Reason.STILL: "give sources in which the person moves",
}
_MORE = "give more, or longer, videos of the person"


@dataclass(frozen=True, slots=True, kw_only=True)
class SetFace:
    """One look at the person."""

    row: int  # place in the set
    source: str  # the file, or the folder of the pictures, as it was given
    source_sha256: str
    name: str  # of the file, or of the picture in the folder
    frame_index: int  # in the video; place in the folder
    pts_s: float  # 0 for a picture
    face_px: float  # side of the face's region in the source
    sharpness: float  # variance of the Laplacian of the view at 128 px
    presence: float  # in [0, 1]; how sure the landmark network is
    turn: float  # this and the next three: see `coverage.Expression`
    tilt: float
    mouth_open: float
    eyes_open: float
    colour_mean: tuple[float, float, float]  # RGB, of the middle of the kept picture
    colour_spread: tuple[float, float, float]  # standard deviation, likewise
    held_out: bool

    @property
    def expression(self) -> Expression:
        """What the face does."""
        return Expression(
            turn=self.turn,
            tilt=self.tilt,
            mouth_open=self.mouth_open,
            eyes_open=self.eyes_open,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class FaceSet:
    """Looks at one person, `N` of them, by source and time. Read from disk as they are needed."""

    folder: Path
    faces: NDArray[np.uint8]  # [N, STORED_PX, STORED_PX, 3] RGB; see `views.stored_picture`
    landmarks: Floats  # [N, LANDMARKS, 2] px of the kept picture
    rows: tuple[SetFace, ...]
    embedding: Floats | None  # [128] unit vector of the median face; None without the network
    sources: Mapping[str, str]  # as given -> SHA-256 of the bytes

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def training(self) -> tuple[int, ...]:
        """Rows that may be trained on."""
        return tuple(face.row for face in self.rows if not face.held_out)

    @cached_property
    def held_out(self) -> tuple[int, ...]:
        """Rows that are never trained on."""
        return tuple(face.row for face in self.rows if face.held_out)


def open_face_set(folder: Path) -> FaceSet:
    """
    Open a set for reading.

    Raises:
        BadDataset: there is none, or its files do not fit together.
    """
    try:
        document = json.loads((folder / _SET).read_text(encoding="utf-8"))
        rows = tuple(_set_face(row) for row in document["rows"])
        n, embedding = len(rows), document["embedding"]
        return FaceSet(
            folder=folder,
            faces=mapped(folder / _FACES, np.uint8, (n, STORED_PX, STORED_PX, 3)),
            landmarks=mapped(folder / _LANDMARKS, np.float32, (n, LANDMARKS, 2)),
            rows=rows,
            embedding=None if embedding is None else np.array(embedding, np.float32),
            sources=document["sources"],
        )
    except (OSError, ValueError, KeyError, TypeError) as wrong:
        raise BadDataset(
            f"{folder} holds no whole set of faces ({wrong}); remove it, and it is made anew"
        ) from wrong


def write_face_set(
    folder: Path,
    *,
    faces: Iterable[Image],
    landmarks: Floats,
    rows: Sequence[SetFace],
    sources: Mapping[str, str],
    embedding: Floats | None = None,
    made_of: str = "",
) -> FaceSet:
    """
    Write faces that are at hand as a set, and open it.

    Args:
        faces: `[STORED_PX, STORED_PX, 3]` each, in the order of the rows.
        landmarks: `[N, LANDMARKS, 2]`.
        made_of: digest of sources and options, for `curate` to know the set by.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _SET).unlink(missing_ok=True)
    with (folder / _FACES).open("wb") as file:
        for face in faces:
            file.write(np.ascontiguousarray(face, np.uint8).tobytes())
    landmarks.astype(np.float32).tofile(folder / _LANDMARKS)
    document = {
        "made_of": made_of,
        "sources": dict(sources),
        "embedding": None if embedding is None else [float(v) for v in embedding],
        "rows": [asdict(row) for row in rows],
    }
    # Last, whole or not at all: without it there is no set.
    partial = folder / f"{_SET}.partial"
    partial.write_text(json.dumps(document), encoding="utf-8")
    partial.replace(folder / _SET)
    return open_face_set(folder)


def curate(
    sources: Sequence[Path], folder: Path, options: CurationOptions, *, console: Console
) -> FaceSet:
    """
    Choose the faces of one person out of videos and folders of pictures.

    A set that was made of the same bytes under the same options is opened as it is. Beside it,
    `report.json` counts what was left out, and `report.png` shows what stayed.

    Args:
        sources: videos, pictures, or folders of pictures.
        folder: to be written; 200 KB a face, twice that on the way.

    Raises:
        BadDataset: a source cannot be read, or fewer good faces than needed were found.
        InsufficientStorage: the disk is full.
        ModelUnavailable: a network is not there, or is not what was pinned.
    """
    embedder = load_embedder(Settings())
    found = [_source(path) for path in sources]
    made_of = _digest(found, options, embedder)
    with suppress(OSError, ValueError, KeyError, BadDataset):
        if json.loads((folder / _SET).read_text(encoding="utf-8"))["made_of"] == made_of:
            return open_face_set(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return _Curation(folder, options, embedder, console).run(found, made_of)
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        megabytes = (options.most_looks + options.most_faces) * STORED_PX**2 * 3 // 10**6
        raise InsufficientStorage(
            f"the disk of {folder} is full; choosing faces takes up to {megabytes} MB: free some, "
            "or lower curation.most_looks"
        ) from error


def check_two_people(a: FaceSet, b: FaceSet, *, console: Console) -> None:
    """
    Make sure that two sets show two people.

    Raises:
        BadDataset: they show one, by the embeddings of their median faces, or by a source that is
            in both.
    """
    both = set(a.sources.values()) & set(b.sources.values())
    if both:
        names = [name for name, sha256 in a.sources.items() if sha256 in both]
        raise BadDataset(f"{', '.join(names)} is given as a and as b; give each of two people once")
    if a.embedding is None or b.embedding is None:
        console.print(
            "not checked that a and b are two people: `deepverdict models pull mobilefacenet` "
            "gets the network that tells",
            highlight=False,
        )
        return
    alike = likeness(a.embedding, b.embedding)
    if alike >= SAME_PERSON:
        raise BadDataset(
            f"a ({', '.join(a.sources)}) and b ({', '.join(b.sources)}) show the same person: "
            f"their faces are alike by {alike:.2f}, where two people are by less than "
            f"{SAME_PERSON}. Give somebody else for one of them"
        )


class _Source(NamedTuple):
    """A video, or a folder of pictures."""

    path: Path
    pictures: tuple[Path, ...]  # none for a video
    sha256: str


class _Look(NamedTuple):
    """One frame or picture of a source."""

    name: str
    number: int  # of the frame, or place in the folder
    pts_s: float
    rgb: Image | None  # None where it cannot be read
    of: int  # as many are looked at


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Candidate:
    """A face that is good enough by itself; its pixels are row `face.row` of a file."""

    face: SetFace
    landmarks: Floats  # [LANDMARKS, 2]
    skin: Floats  # [places, 2]


class _Curation:
    """Goes over the sources once, and then over the faces that were found, together."""

    def __init__(
        self,
        folder: Path,
        options: CurationOptions,
        embedder: FaceEmbedder | None,
        console: Console,
    ) -> None:
        self._folder = folder
        self._options = options
        self._embedder = embedder
        self._console = console
        self._placer = FacePlacer(face_networks(Settings()))
        self._left_out: Counter[Reason] = Counter()
        self._looks = 0

    def run(self, sources: Sequence[_Source], made_of: str) -> FaceSet:
        """Curate all there is; the set is there, with its report, or nothing is."""
        (self._folder / _SET).unlink(missing_ok=True)
        partial = self._folder / f"{_FACES}.partial"
        try:
            candidates = self._candidates(sources, partial)
            pixels = mapped(partial, np.uint8, (len(candidates), STORED_PX, STORED_PX, 3))
            candidates, embedding = self._of_one_person(candidates, pixels)
            candidates = self._spread(self._parted(self._in_good_light(candidates)))
            self._check(candidates, sources)
            rows = [replace(c.face, row=row) for row, c in enumerate(candidates)]
            self._report(rows, [pixels[c.face.row] for c in candidates], sources)
            return write_face_set(
                self._folder,
                faces=(pixels[c.face.row] for c in candidates),
                landmarks=np.stack([c.landmarks for c in candidates]),
                rows=rows,
                sources={str(source.path): source.sha256 for source in sources},
                embedding=embedding,
                made_of=made_of,
            )
        finally:
            partial.unlink(missing_ok=True)

    def _candidates(self, sources: Sequence[_Source], partial: Path) -> list[_Candidate]:
        """Look at every source; the pixels of what is good enough go into a file."""
        most = max(1, self._options.most_looks // max(1, len(sources)))
        found: list[_Candidate] = []
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        with partial.open("wb") as pixels, Progress(*columns, console=self._console) as progress:
            for source in sources:
                shown = progress.add_task(f"faces of {source.path.name}", total=None)
                scene = _Scene(source, self._placer, self._options)
                for look in _looks(source, most):
                    progress.update(shown, advance=1, total=look.of)
                    self._looks += 1
                    seen = scene.look_at(look, row=len(found))
                    if isinstance(seen, Reason):
                        self._left_out[seen] += 1
                    else:
                        found.append(seen.candidate)
                        pixels.write(seen.stored.tobytes())
        return found

    def _of_one_person(
        self, candidates: list[_Candidate], pixels: NDArray[np.uint8]
    ) -> tuple[list[_Candidate], Floats | None]:
        """Leave out whoever is not the person that most faces show."""
        if self._embedder is None or not candidates:
            return candidates, None
        vectors = self._embedder.embed(
            [pixels[c.face.row] for c in candidates], [c.landmarks for c in candidates]
        )
        person = one_person(vectors)
        keeps = vectors @ person >= self._options.least_likeness
        return self._kept(candidates, keeps, Reason.OTHER_PERSON), person

    def _in_good_light(self, candidates: list[_Candidate]) -> list[_Candidate]:
        """Leave out what is blurred beside its source, tinted, or covered."""
        options = self._options
        by_source: dict[str, list[float]] = defaultdict(list)
        for c in candidates:
            by_source[c.face.source].append(c.face.sharpness)
        limits = {
            source: options.least_sharpness_share * float(np.median(values))
            for source, values in by_source.items()
        }
        is_sharp = np.array([c.face.sharpness >= limits[c.face.source] for c in candidates], bool)
        candidates = self._kept(candidates, is_sharp, Reason.NOT_SHARP)
        for measure, most, reason in (
            (tints, options.most_tint, Reason.TINTED),
            (oddest, options.most_odd_skin, Reason.OCCLUDED),
        ):
            if candidates:
                away = measure(np.stack([c.skin for c in candidates]))
                candidates = self._kept(candidates, away <= most, reason)
        return candidates

    def _parted(self, candidates: list[_Candidate]) -> list[_Candidate]:
        """Hold the end of every source out, and leave out what lies just before that."""
        options = self._options
        parted: list[_Candidate] = []
        by_source: dict[str, list[_Candidate]] = defaultdict(list)
        for c in candidates:
            by_source[c.face.source].append(c)
        for own in by_source.values():
            first = len(own) - round(options.held_out * len(own))
            from_s = own[first].face.pts_s if first < len(own) else float("inf")
            is_video = own[-1].face.pts_s > 0
            for place, c in enumerate(own):
                is_held_out = place >= first
                if is_video and not is_held_out and c.face.pts_s > from_s - options.held_out_gap_s:
                    self._left_out[Reason.GAP] += 1
                else:
                    parted.append(replace(c, face=replace(c.face, held_out=is_held_out)))
        return parted

    def _spread(self, candidates: list[_Candidate]) -> list[_Candidate]:
        """Of too many, keep as many of each pose and expression, evenly spread over time."""
        most = self._options.most_faces
        held_out = [i for i, c in enumerate(candidates) if c.face.held_out]
        training = [i for i, c in enumerate(candidates) if not c.face.held_out]
        most_held_out = math.ceil(len(held_out) * min(1, most / max(1, len(candidates))))
        keeps = np.zeros(len(candidates), bool)
        for places, quota in ((held_out, most_held_out), (training, most - most_held_out)):
            cells = coverage.cells([candidates[i].face.expression for i in places])
            for i in coverage.evened_out(cells, most=quota):
                keeps[places[i]] = True
        return self._kept(candidates, keeps, Reason.SURPLUS)

    def _kept(
        self, candidates: list[_Candidate], keeps: NDArray[np.bool_], reason: Reason
    ) -> list[_Candidate]:
        kept = [c for c, is_kept in zip(candidates, keeps, strict=True) if is_kept]
        self._left_out[reason] += len(candidates) - len(kept)
        return kept

    def _check(self, candidates: Sequence[_Candidate], sources: Sequence[_Source]) -> None:
        """Raise BadDataset where there are too few, saying what most were left out for."""
        good = sum(not c.face.held_out for c in candidates)
        if good >= self._options.least_faces:
            return
        ranked = [(reason, n) for reason, n in self._left_out.most_common() if n]
        counted = ", ".join(f"{n} x {reason}" for reason, n in ranked) or "nothing"
        # What cost fewer faces than there are good ones is not what is wrong with the sources.
        advice = next((_ADVICE[r] for r, n in ranked[:1] if n > good and r in _ADVICE), _MORE)
        names = ", ".join(str(source.path) for source in sources)
        raise BadDataset(
            f"{names}: {good} good faces to train on, {self._options.least_faces} are needed. Of "
            f"{self._looks} frames looked at were left out: {counted}. "
            f"{advice[0].upper()}{advice[1:]}"
        )

    def _report(
        self, rows: Sequence[SetFace], pictures: Sequence[Image], sources: Sequence[_Source]
    ) -> None:
        """Say what was looked at, what was left out, and which poses and expressions there are."""
        expressions = [row.expression for row in rows]
        left_out = {str(reason): n for reason, n in self._left_out.most_common() if n}
        held_out = sum(row.held_out for row in rows)
        document = {
            "sources": {str(source.path): source.sha256 for source in sources},
            "looked_at": self._looks,
            "to_train_on": len(rows) - held_out,
            "held_out": held_out,
            "left_out": left_out,
            "options": self._options.model_dump(mode="json"),
            "is_checked_for_one_person": self._embedder is not None,
            "coverage": coverage.counts(expressions),
        }
        words = json.dumps(document, indent=2)
        (self._folder / REPORT).write_text(words + "\n", encoding="utf-8")
        best = [views.view_of_stored(picture, coverage.CELL_PX) for picture in pictures]
        sheet = coverage.sheet(
            f"{', '.join(source.path.name for source in sources)}",
            best,
            expressions,
            [row.sharpness for row in rows],
            {
                "looked at": self._looks,
                "to train on": len(rows) - held_out,
                "held out": held_out,
                **left_out,
            },
        )
        (self._folder / SHEET).write_bytes(sheet)
        self._console.print(
            f"{self._folder}: {len(rows) - held_out} faces to train on, {held_out} held out, of "
            f"{self._looks} frames; see {SHEET}",
            highlight=False,
        )


class _Seen(NamedTuple):
    candidate: _Candidate
    stored: Image


class _Scene:
    """Follows one person through one source."""

    def __init__(self, source: _Source, placer: FacePlacer, options: CurationOptions) -> None:
        self._source = source
        self._placer = placer
        self._options = options
        self._is_video = not source.pictures
        self._before: Floats | None = None  # [4], where the person was
        self._kept = np.zeros((0, _SMALL_PX**2), np.float32)

    def look_at(self, look: _Look, *, row: int) -> _Seen | Reason:
        """Return the face of one frame, or why there is none that is good enough."""
        if look.rgb is None:
            return Reason.UNREADABLE
        placed = self._find(look.rgb)
        if isinstance(placed, Reason):
            return placed
        if self._is_video:
            self._before = align.bounding_box(placed.points_px)
        stored = views.stored_picture(look.rgb, placed.region)
        view = views.view_of_stored(stored, _CHECKED_PX)
        sharpness = align.sharpness(view)
        small = _small(view)
        fault = self._fault(look.rgb, placed, sharpness, small)
        if fault is not None:
            return fault
        self._kept = np.concatenate([self._kept, small[None]])
        points = views.stored_points(placed.points_px, placed.region)
        middle = stored[_BORDER_PX:-_BORDER_PX, _BORDER_PX:-_BORDER_PX]
        mean, spread = (v[:, 0].tolist() for v in cv2.meanStdDev(middle))
        face = SetFace(
            row=row,
            source=str(self._source.path),
            source_sha256=self._source.sha256,
            name=look.name,
            frame_index=look.number,
            pts_s=look.pts_s,
            face_px=placed.region.side_px,
            sharpness=sharpness,
            presence=placed.presence,
            colour_mean=(mean[0], mean[1], mean[2]),
            colour_spread=(spread[0], spread[1], spread[2]),
            held_out=False,
            **asdict(coverage.expression(points)),
        )
        in_view = views.points_in_view(points, _CHECKED_PX)
        return _Seen(_Candidate(face=face, landmarks=points, skin=skin(view, in_view)), stored)

    def _fault(
        self, rgb: Image, placed: PlacedFace, sharpness: float, small: Floats
    ) -> Reason | None:
        """Say what is wrong with a face by itself, if anything is."""
        options = self._options
        off_frame = views.share_off_frame(rgb, views.view_region(placed.region))
        changes = np.abs(self._kept - small).mean(axis=1)
        faults = {
            Reason.TOO_SMALL: placed.region.side_px < options.least_face_px,
            Reason.CUT_OFF: off_frame > options.most_off_frame,
            Reason.OCCLUDED: placed.presence < options.least_presence,
            Reason.NOT_SHARP: sharpness < options.least_sharpness,
            Reason.STILL: bool((changes < options.least_change).any()),
        }
        return next((reason for reason, is_so in faults.items() if is_so), None)

    def _find(self, rgb: Image) -> PlacedFace | Reason:
        """Find the person where they were, or else take the largest face."""
        faces = self._placer.faces(rgb)
        before = self._before
        if (
            before is not None
            and not (align.overlap(before, list(faces.box_px)) >= SAME_FACE).any()
        ):
            before = None
        if before is None and len(faces) > 1 and (self._before is not None or not self._is_video):
            sides = np.sort(np.sqrt(faces.box_px[:, 2] * faces.box_px[:, 3]))
            if sides[-2] > _ALIKE_IN_SIZE * sides[-1]:
                return Reason.UNCLEAR
        placed = self._placer.find(rgb, before, faces)
        if placed is None and not self._is_video:
            placed = self._placer.guess(rgb)  # cut so close that the detector sees no face
        return Reason.NO_FACE if placed is None else placed


def _source(path: Path) -> _Source:
    """Hash a source; raises BadDataset where it cannot be one."""
    if not path.exists():
        raise BadDataset(f"there is no {path}; give a video, or a folder of pictures")
    try:
        if not path.is_dir():
            is_picture = path.suffix.lower() in PICTURE_SUFFIXES
            return _Source(path, (path,) if is_picture else (), _sha256(path))
        pictures = sorted(p for p in path.iterdir() if p.suffix.lower() in PICTURE_SUFFIXES)
        digests = [f"{picture.name} {_sha256(picture)}" for picture in pictures]
    except OSError as error:
        raise BadDataset(f"{path} cannot be read: {error.strerror}") from error
    if not pictures:
        raise BadDataset(
            f"{path} has no pictures ({', '.join(sorted(PICTURE_SUFFIXES))}); give the videos in "
            "it one by one, or another folder"
        )
    return _Source(path, tuple(pictures), hashlib.sha256("\n".join(digests).encode()).hexdigest())


def _looks(source: _Source, most: int) -> Iterator[_Look]:
    """Give up to so many frames or pictures, evenly spread, by time."""
    if source.pictures:
        chosen = np.unique(np.linspace(0, len(source.pictures) - 1, most).round().astype(int))
        chosen = chosen if most < len(source.pictures) else np.arange(len(source.pictures))
        for index in chosen.tolist():
            picture = source.pictures[index]
            yield _Look(picture.name, index, 0.0, _picture(picture), len(chosen))
        return
    try:
        with open_clip(source.path) as stream:
            expected = stream.probe.frames_expected or most
            step = max(1.0, expected / most)
            taken = 0
            for frame in stream:
                if frame.index >= int((taken + 0.5) * step) and taken < most:
                    taken += 1
                    name = source.path.name
                    yield _Look(name, frame.index, frame.pts_s, frame.rgb, min(most, expected))
    except RejectedMedia as error:
        raise BadDataset(f"{source.path} is no video that can be used: {error}") from error


def _picture(path: Path) -> Image | None:
    content = np.fromfile(path, np.uint8)
    bgr = cv2.imdecode(content, cv2.IMREAD_COLOR) if content.size else None
    return None if bgr is None else np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


def _small(view: Image) -> Floats:
    """Return what tells two pictures apart, `[_SMALL_PX ** 2]`."""
    grey = cv2.cvtColor(view, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (_SMALL_PX, _SMALL_PX), interpolation=cv2.INTER_AREA)
    return small.astype(np.float32).ravel()


def _digest(
    sources: Sequence[_Source], options: CurationOptions, embedder: FaceEmbedder | None
) -> str:
    """Tell sets apart that would have other faces."""
    parts = {
        "curated": _CURATED,
        "sources": [source.sha256 for source in sources],
        "options": options.model_dump(mode="json"),
        "embedder": "" if embedder is None else embedder.sha256,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _set_face(row: Mapping[str, Any]) -> SetFace:
    colours = {name: tuple(row[name]) for name in ("colour_mean", "colour_spread")}
    return SetFace(**{**row, **colours})
