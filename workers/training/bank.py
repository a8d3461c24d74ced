"""
Where do the faces that networks learn from come from? Cut out once, kept in memory-mapped files.

A bank holds looks at faces: `faces.bin`, `landmarks.bin` and `masks.bin` are plain arrays over the
rows that `bank.json` lists. Crops are wider than the ones served, so that they can be shifted,
turned and scaled without running into a border; their middle 256 px are the served crop, pixel
for pixel. A fake with its real clip at hand is cut by the real one's faces, at the same frames:
whatever differs between the two is then the manipulation, and a mask can be had by differencing.
"""

import json
import multiprocessing
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from app.errors import RejectedMedia
from app.settings import Settings
from workers.detection import align
from workers.detection.align import FaceRegion
from workers.detection.stage import CROP_MARGIN, CROP_SIDE_PX, Floats, Image
from workers.kit import FaceNetworks, face_networks
from workers.training.clips import open_clip
from workers.training.errors import BadDataset
from workers.training.manifest import DataManifest, Row
from workers.training.masks import difference_mask
from workers.training.placing import FacePlacer, PlacedFace, cut_out, points_in_crop

BANK_SIDE_PX = 320
BORDER_PX = (BANK_SIDE_PX - CROP_SIDE_PX) // 2
BANK_MARGIN = CROP_MARGIN * BANK_SIDE_PX / CROP_SIDE_PX
MESH_POINTS = 468
FRAMES_PER_CLIP = 16
WORST_SHARE = 0.01
"""Of clips and pictures that cannot be read; more mean that the data set is not what it seems."""

Number = TypeVar("Number", np.uint8, np.float32)

_FACES, _LANDMARKS, _MASKS, _ROWS = "faces.bin", "landmarks.bin", "masks.bin", "bank.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Face:
    """One look at one face."""

    row: int  # place in the bank
    clip: str
    kind: str  # "video" or "picture"
    label: str
    method: str
    family: str
    group: str
    dataset: str
    quality: str
    split: str
    path: str  # of the file, under the manifest's root
    frame_index: int
    pts_s: float
    face_px: float  # side of the face region in the source
    sharpness: float  # variance of the Laplacian of the served crop, grey
    pair: int = -1  # row of the real face that this fake was made from
    has_mask: bool = False
    frame_from_crop: tuple[float, ...] = ()  # [2, 3] by rows: bank crop px -> source px


@dataclass(frozen=True, kw_only=True, eq=False)
class FaceBank:
    """Looks at faces, `N` of them. Arrays are read from disk as they are asked for."""

    faces: NDArray[np.uint8]  # [N, BANK_SIDE_PX, BANK_SIDE_PX, 3] RGB
    landmarks: Floats  # [N, 468, 2] px of the crop
    masks: NDArray[np.uint8]  # [N, BANK_SIDE_PX, BANK_SIDE_PX]; 255 = manipulated, soft edges
    rows: tuple[Face, ...]
    manifest_sha256: str

    @classmethod
    def open(cls, folder: Path) -> "FaceBank":
        """
        Open a bank for reading.

        Raises:
            BadDataset: there is none, or its files do not fit together.
        """
        try:
            document = json.loads((folder / _ROWS).read_text(encoding="utf-8"))
            rows = tuple(
                Face(**{**face, "frame_from_crop": tuple(face["frame_from_crop"])})
                for face in document["rows"]
            )
            n = len(rows)
            side = BANK_SIDE_PX
            return cls(
                faces=mapped(folder / _FACES, np.uint8, (n, side, side, 3)),
                landmarks=mapped(folder / _LANDMARKS, np.float32, (n, MESH_POINTS, 2)),
                masks=mapped(folder / _MASKS, np.uint8, (n, side, side)),
                rows=rows,
                manifest_sha256=document["manifest_sha256"],
            )
        except (OSError, ValueError, KeyError, TypeError) as wrong:
            raise BadDataset(
                f"{folder} holds no whole face bank ({wrong}); remove it, and it is made anew"
            ) from wrong

    @cached_property
    def by_clip(self) -> Mapping[str, tuple[int, ...]]:
        """Rows of each clip, by time."""
        found: dict[str, list[int]] = {}
        for face in self.rows:
            found.setdefault(face.clip, []).append(face.row)
        return {clip: tuple(rows) for clip, rows in found.items()}

    def served(self, row: int) -> Image:
        """Return the crop as the networks are served it, `[256, 256, 3]`."""
        inner = slice(BORDER_PX, BORDER_PX + CROP_SIDE_PX)
        return np.ascontiguousarray(self.faces[row, inner, inner])

    def served_mask(self, row: int) -> NDArray[np.uint8]:
        """Return the mask of the served crop, `[256, 256]`."""
        inner = slice(BORDER_PX, BORDER_PX + CROP_SIDE_PX)
        return np.ascontiguousarray(self.masks[row, inner, inner])


def write_bank(
    folder: Path,
    *,
    faces: NDArray[np.uint8],
    landmarks: Floats,
    masks: NDArray[np.uint8],
    rows: Sequence[Face],
    manifest_sha256: str,
) -> FaceBank:
    """Write arrays that are at hand as a bank, and open it."""
    folder.mkdir(parents=True, exist_ok=True)
    faces.astype(np.uint8).tofile(folder / _FACES)
    landmarks.astype(np.float32).tofile(folder / _LANDMARKS)
    masks.astype(np.uint8).tofile(folder / _MASKS)
    _write_rows(folder, rows, manifest_sha256)
    return FaceBank.open(folder)


def open_or_build(manifest: DataManifest, folder: Path, *, console: Console) -> FaceBank:
    """Open the bank of a manifest; make it where there is none, or one of other data."""
    if (folder / _ROWS).exists():
        bank = FaceBank.open(folder)
        if bank.manifest_sha256 == manifest.sha256:
            return bank
        console.print(f"{folder} was made from other data; making it anew")
    return build_bank(manifest, folder, console=console)


def build_bank(
    manifest: DataManifest,
    folder: Path,
    *,
    console: Console,
    frames_per_clip: int = FRAMES_PER_CLIP,
    processes: int | None = None,
) -> FaceBank:
    """
    Cut the faces out of every clip and picture of a manifest.

    Raises:
        BadDataset: more than `WORST_SHARE` of the files cannot be read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _ROWS).unlink(missing_ok=True)
    families = _families(manifest)
    processes = processes or len(os.sched_getaffinity(0))
    rows: list[Face] = []
    damage: dict[str, list[str]] = {}
    with (
        (folder / _FACES).open("wb") as faces,
        (folder / _LANDMARKS).open("wb") as landmarks,
        (folder / _MASKS).open("wb") as masks,
        # Forked children would share the state of OpenCV's and ONNX Runtime's threads.
        ProcessPoolExecutor(
            processes,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_start_cutter,
            initargs=(str(manifest.root), frames_per_clip),
        ) as pool,
    ):
        cut = pool.map(_cut_family, families, chunksize=4)
        for family in track(cut, "cutting out faces", total=len(families), console=console):
            first = len(rows)
            for look in family.looks:
                face = look.face
                pair = first + face.pair if face.pair >= 0 else -1
                rows.append(
                    Face(**{**asdict(face), "row": len(rows), "pair": pair})  # of this bank
                )
                faces.write(look.crop.tobytes())
                landmarks.write(look.landmarks.astype(np.float32).tobytes())
                if look.mask is None:
                    masks.seek(BANK_SIDE_PX**2, os.SEEK_CUR)  # a hole reads as zeros
                else:
                    masks.write(look.mask.tobytes())
            for kind, path in family.damage:
                damage.setdefault(kind, []).append(path)
        masks.truncate(len(rows) * BANK_SIDE_PX**2)
    _report(manifest, rows, damage, console)
    _write_rows(folder, rows, manifest.sha256)
    return FaceBank.open(folder)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Look:
    face: Face
    crop: Image
    landmarks: Floats
    mask: NDArray[np.uint8] | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Cut:
    """What came of one family; `Face.pair` counts from its first look."""

    looks: tuple[_Look, ...]
    damage: tuple[tuple[str, str], ...]  # kind, path


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Place:
    """Where a face is in one frame of a real clip."""

    face: PlacedFace
    crop: Image
    at: int  # place of the look in its family


def _families(manifest: DataManifest) -> list[tuple[Row, ...]]:
    """Put each real before the fakes that were made from it; those that belong to none alone."""
    families: dict[str, list[Row]] = {}
    for row in manifest.rows:
        if row.label != "no_face":
            key = row.pair or row.clip if row.kind == "video" else row.path
            families.setdefault(key, []).append(row)
    return [tuple(sorted(f, key=lambda r: (r.label != "real", r.path))) for f in families.values()]


class _Cutter:
    """Finds faces and cuts them out; one a process."""

    def __init__(self, root: Path, frames_per_clip: int, networks: FaceNetworks) -> None:
        self._root = root
        self._frames_per_clip = frames_per_clip
        self._placer = FacePlacer(networks)

    def cut(self, family: Sequence[Row]) -> _Cut:
        looks: list[_Look] = []
        damage: list[tuple[str, str]] = []
        of_real: dict[int, _Place] = {}
        for row in family:
            try:
                if row.kind == "picture":
                    looks += self._cut_picture(row)
                elif row.pair and of_real:
                    looks += self._cut_pair(row, of_real)
                else:
                    found, places = self._cut_clip(row, first=len(looks))
                    looks += found
                    if row.label == "real":
                        of_real = places
            except RejectedMedia as why:
                damage.append((f"video rejected: {why.code}", row.path))
            except _Unreadable as why:
                damage.append((str(why), row.path))
        return _Cut(looks=tuple(looks), damage=tuple(damage))

    def _cut_picture(self, row: Row) -> list[_Look]:
        content = np.fromfile(self._root / row.path, np.uint8)
        picture = cv2.imdecode(content, cv2.IMREAD_COLOR) if content.size else None
        if picture is None:
            raise _Unreadable("picture cannot be decoded")
        rgb = np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)
        placed = self._placer.guess(rgb) or self._placer.find(rgb, None)
        if placed is None:
            return []
        crop = _cut_out(rgb, placed.region, border=cv2.BORDER_REFLECT_101)
        face = _face(row, crop, placed.region, frame_index=0, pts_s=row.time_s or 0.0)
        return [_Look(face=face, crop=crop, landmarks=_in_crop(placed), mask=None)]

    def _cut_clip(self, row: Row, *, first: int) -> tuple[list[_Look], dict[int, _Place]]:
        looks: list[_Look] = []
        places: dict[int, _Place] = {}
        before: Floats | None = None
        for index, pts_s, rgb in self._frames(row.path, None):
            placed = self._placer.find(rgb, before)
            if placed is None:
                continue
            before = align.bounding_box(placed.points_px)
            crop = _cut_out(rgb, placed.region)
            landmarks = _in_crop(placed)
            face = _face(row, crop, placed.region, frame_index=index, pts_s=pts_s)
            places[index] = _Place(face=placed, crop=crop, at=first + len(looks))
            looks.append(_Look(face=face, crop=crop, landmarks=landmarks, mask=None))
        return looks, places

    def _cut_pair(self, row: Row, of_real: Mapping[int, _Place]) -> list[_Look]:
        looks = []
        given = dict(self._given_masks(row, of_real))
        for index, pts_s, rgb in self._frames(row.path, frozenset(of_real)):
            place = of_real[index]
            crop = _cut_out(rgb, place.face.region)
            landmarks = _in_crop(place.face)
            mask = given.get(index)
            if mask is None:
                mask = difference_mask(place.crop, crop, landmarks)
            face = _face(
                row,
                crop,
                place.face.region,
                frame_index=index,
                pts_s=pts_s,
                pair=place.at,
                has_mask=mask is not None,
            )
            looks.append(_Look(face=face, crop=crop, landmarks=landmarks, mask=mask))
        return looks

    def _given_masks(
        self, row: Row, of_real: Mapping[int, _Place]
    ) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """Cut masks out of the video that the data set has for them, where it has one."""
        if row.mask:
            for index, _, rgb in self._frames(row.mask, frozenset(of_real)):
                grey = cv2.cvtColor(_cut_out(rgb, of_real[index].face.region), cv2.COLOR_RGB2GRAY)
                yield index, np.asarray(grey, np.uint8)

    def _frames(
        self, path: str, wanted: frozenset[int] | None
    ) -> Iterator[tuple[int, float, Image]]:
        """Decode a clip; give the wanted frames, or evenly spread ones, at full size."""
        source = self._root / path
        if not source.is_file():
            raise _Unreadable("missing")
        with open_clip(source) as stream:
            expected = stream.probe.frames_expected or 1
            step = max(1, expected / self._frames_per_clip)
            next_at = step / 2
            taken = 0
            for frame in stream:
                if wanted is None:
                    is_wanted = frame.index >= int(next_at) and taken < self._frames_per_clip
                else:
                    is_wanted = frame.index in wanted
                if is_wanted:
                    next_at += step
                    taken += 1
                    yield frame.index, frame.pts_s, frame.rgb


class _Unreadable(Exception):
    """A file cannot be used; says of what kind the damage is."""


_cutter: _Cutter | None = None


def _start_cutter(root: str, frames_per_clip: int) -> None:
    global _cutter  # noqa: PLW0603 - a process of the pool has one, made when it starts
    cv2.setNumThreads(1)
    settings = Settings()
    one = settings.model_copy(
        update={"analysis": settings.analysis.model_copy(update={"threads": 1})}
    )
    _cutter = _Cutter(Path(root), frames_per_clip, face_networks(one))


def _cut_family(family: tuple[Row, ...]) -> _Cut:
    assert _cutter is not None
    return _cutter.cut(family)


def _cut_out(rgb: Image, region: FaceRegion, *, border: int = cv2.BORDER_CONSTANT) -> Image:
    """Cut a region out as it is served, only wider."""
    return cut_out(rgb, region.scaled(BANK_MARGIN), side_px=BANK_SIDE_PX, border=border)


def _in_crop(placed: PlacedFace) -> Floats:
    return points_in_crop(placed.points_px, placed.region.scaled(BANK_MARGIN), side_px=BANK_SIDE_PX)


def _face(
    row: Row,
    crop: Image,
    region: FaceRegion,
    *,
    frame_index: int,
    pts_s: float,
    pair: int = -1,
    has_mask: bool = False,
) -> Face:
    inner = slice(BORDER_PX, BORDER_PX + CROP_SIDE_PX)
    affine = region.scaled(BANK_MARGIN).frame_from_crop(BANK_SIDE_PX)
    return Face(
        row=-1,
        clip=row.clip,
        kind=row.kind,
        label=row.label,
        method=row.method,
        family=row.family,
        group=row.group,
        dataset=row.dataset,
        quality=row.quality,
        split=row.split,
        path=row.path,
        frame_index=frame_index,
        pts_s=pts_s,
        face_px=region.side_px,
        sharpness=align.sharpness(crop[inner, inner]),
        pair=pair,
        has_mask=has_mask,
        frame_from_crop=tuple(float(v) for v in affine.ravel()),
    )


def mapped(path: Path, dtype: type[Number], shape: tuple[int, ...]) -> NDArray[Number]:
    """Read an array from disk as it is asked for; raises ValueError where its size is another."""
    wanted = int(np.prod(shape)) * np.dtype(dtype).itemsize
    if path.stat().st_size != wanted:
        raise ValueError(f"{path.name} has {path.stat().st_size} bytes, not {wanted}")
    if not wanted:
        return np.zeros(shape, dtype)
    return np.memmap(path, dtype=dtype, mode="r", shape=shape)


def _write_rows(folder: Path, rows: Sequence[Face], manifest_sha256: str) -> None:
    """Write the list last, whole or not at all: without it there is no bank."""
    document = {"manifest_sha256": manifest_sha256, "rows": [asdict(face) for face in rows]}
    partial = folder / f"{_ROWS}.partial"
    partial.write_text(json.dumps(document), encoding="utf-8")
    partial.replace(folder / _ROWS)


def _report(
    manifest: DataManifest,
    rows: Sequence[Face],
    damage: Mapping[str, Sequence[str]],
    console: Console,
) -> None:
    for kind, paths in sorted(damage.items()):
        console.print(f"{len(paths)} x {kind}: {', '.join(paths[:3])}", highlight=False)
    files = len(manifest.rows)
    bad = sum(len(paths) for paths in damage.values())
    if bad > WORST_SHARE * files:
        raise BadDataset(
            f"{bad} of {files} files cannot be read, more than {WORST_SHARE:.0%}; mend or remove "
            "them, then index the data again"
        )
    without = {r.path for r in manifest.rows if r.label != "no_face"} - {f.path for f in rows}
    console.print(
        f"{len(rows)} looks at faces from {len({f.path for f in rows})} files; no face was found "
        f"in {len(without)}, {bad} could not be read"
    )
