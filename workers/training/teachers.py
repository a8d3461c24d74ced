"""
Where do the points of a face lie, by the networks that ours learns from?

The teachers are MediaPipe's: a mesh of 468 points, and a later one of 478, with the irises. Both
are run once per picture; what they say is kept with the picture, and moved along with it when a
view is drawn from it. A network that is trained on `LandmarkBank` never waits for its teachers.
"""

import csv
import json
import math
import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import cv2
import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper
from rich.console import Console
from rich.progress import Progress
from scipy.optimize import linear_sum_assignment

from app.errors import RejectedMedia
from workers.detection import align
from workers.detection.align import FaceRegion
from workers.detection.detectors.blink_rate import EYES, eye_aspect_ratio
from workers.detection.face_detectors import FaceDetector, YuNet
from workers.detection.stage import LANDMARKS, Floats, Image
from workers.training.clips import open_clip
from workers.training.errors import BadDataset
from workers.training.manifest import Row, Split

LANDMARKS_WITH_IRISES = LANDMARKS + 10
TEACHER_MARGIN = 1.5
"""Of the face's region; what both teachers were trained on."""
BANK_SIDE_PX = 192
BANK_MARGIN = 2.2
"""A view of 1.5 regions that is moved by an eighth and enlarged by a quarter stays within it."""
LEAST_PRESENCE = 0.8
"""Of both teachers, for a face to be learnt from."""
MOST_PRESENCE = 0.2
"""Of both teachers, for a place to be learnt from as one without a face."""
LEAST_FACE_PX = 40.0
MOST_DISAGREEMENT = 0.06
"""Of the teachers, as a share of the face's region: over it, one of them is lost."""
FRAMES_PER_CLIP = 16
BLINKS = "blinks"
"""Data set of the rows that `blink_rows` gives."""
MIRRORED = 40
"""Faces that are shown to a teacher in a mirror."""
PLACES_EVERY = 4
"""Of so many frames, one gives a place without a face too."""


class Opinion(NamedTuple):
    """What a teacher says of one region of one picture."""

    points_px: Floats  # [468 or 478, 2] in pixels of the picture
    presence: float  # [0, 1]; how sure it is that a face is there


class Teacher:
    """
    One of MediaPipe's two networks.

    Args:
        onnx_bytes: one network of `weights.csv`; in float16 it is run in float32, whose points
            are finer than an eighth of a pixel, and which takes half the time.

    Raises:
        BadDataset: these bytes are neither of the two.

    Source: Kartynnik et al., "Real-time Facial Surface Geometry from Monocular Video on Mobile
    GPUs", 2019; Grishchenko et al., "Attention Mesh", 2020.
    """

    def __init__(self, onnx_bytes: bytes) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            _in_float32(onnx_bytes), options, providers=["CPUExecutionProvider"]
        )
        told = self._session.get_inputs()[0]
        self._input = told.name
        self._side_px = int(told.shape[-1])
        sizes = {
            o.name: int(np.prod([int(d) for d in o.shape])) for o in self._session.get_outputs()
        }
        points = {name: size // 3 for name, size in sizes.items() if size >= 3 * LANDMARKS}
        logits = [name for name, size in sizes.items() if size == 1]
        if len(points) != 1 or not logits:
            raise BadDataset(
                f"a landmark teacher gives points and a presence, this network {sizes}. Give the "
                "files of MediaPipe's face mesh."
            )
        self._outputs = (*points, logits[0])
        self.points = next(iter(points.values()))

    def place(self, rgb: Image, region: FaceRegion) -> Opinion:
        """Place the points in a region where a face is thought to be."""
        wide = region.scaled(TEACHER_MARGIN)
        picture = align.crop(rgb, wide, side_px=self._side_px)
        batch = picture.transpose(2, 0, 1)[None].astype(np.float32) / np.float32(255)
        points, logit = self._session.run(list(self._outputs), {self._input: batch})
        in_crop = points.reshape(self.points, 3)[:, :2].astype(np.float32)
        affine = wide.frame_from_crop(self._side_px)
        presence = 1 / (1 + np.exp(-np.clip(float(logit.reshape(())), -50, 50)))
        return Opinion(in_crop @ affine[:, :2].T + affine[:, 2], float(presence))


@dataclass(frozen=True, slots=True, kw_only=True)
class Teachers:
    """Everything that labels a picture."""

    detector: FaceDetector
    mesh: Teacher  # of 468 points
    irises: Teacher  # of 478

    @classmethod
    def of_folder(cls, weights: Path) -> "Teachers":
        """Load them from the folder of third-party weights."""
        return cls(
            detector=YuNet((weights / "yunet_s_640.onnx").read_bytes()),
            mesh=Teacher((weights / "mediapipe_face_mesh_468.onnx").read_bytes()),
            irises=Teacher((weights / "mediapipe_face_mesh_478_iris.onnx").read_bytes()),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Pupil:
    """What is known of one picture of the bank."""

    path: str
    clip: str
    group: str
    split: str
    frame_index: int
    face_px: float  # side of the face's region in the source picture
    has_face: bool
    openness: float  # mean aspect ratio of the eyes by both teachers; 0 without a face
    disagreement: float  # mean distance of the teachers over that of the eyes; 0 without a face


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LandmarkBank:
    """
    Crops of 2.2 face regions, upright, with the points that both teachers place.

    Raises:
        BadDataset: by `open`, where a file is missing or of another length than the others.
    """

    crops: NDArray[np.uint8]  # [N, 192, 192, 3]
    mesh_px: Floats  # [N, 468, 2] px of the crop, by the mesh
    irises_px: Floats  # [N, 478, 2] px of the crop, by the network with irises
    pupils: tuple[Pupil, ...]
    mirror: tuple[int, ...]  # [478] the point that takes each one's place in a mirror
    manifest_sha256: str

    @classmethod
    def open(cls, folder: Path) -> "LandmarkBank":
        """Open a bank; the arrays stay on the disk."""
        try:
            known = json.loads((folder / "pupils.json").read_text())
            arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in _ARRAYS}
        except (OSError, ValueError) as error:
            raise BadDataset(
                f"{folder} holds no whole bank of landmarks ({error}). Build it anew with "
                "workers.training.teachers."
            ) from error
        pupils = tuple(Pupil(**row) for row in known["pupils"])
        if any(len(array) != len(pupils) for array in arrays.values()):
            raise BadDataset(f"{folder}: arrays and pupils differ in number. Build it anew.")
        return cls(
            pupils=pupils,
            mirror=tuple(known["mirror"]),
            manifest_sha256=known["manifest_sha256"],
            **arrays,
        )


_ARRAYS = ("crops", "mesh_px", "irises_px")


class _Labelled(NamedTuple):
    pupil: Pupil
    crop: Image
    mesh_px: Floats
    irises_px: Floats


def write_landmark_bank(
    folder: Path,
    *,
    crops: NDArray[np.uint8],
    mesh_px: Floats,
    irises_px: Floats,
    pupils: Sequence[Pupil],
    mirror: Sequence[int],
    manifest_sha256: str,
) -> LandmarkBank:
    """Write a bank; `pupils.json` comes last, so that a broken one does not open."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays: tuple[NDArray[Any], ...] = (crops, mesh_px, irises_px)
    for name, array in zip(_ARRAYS, arrays, strict=True):
        np.save(folder / f"{name}.npy", array)
    known = {
        "manifest_sha256": manifest_sha256,
        "mirror": list(mirror),
        "pupils": [asdict(p) for p in pupils],
    }
    (folder / "pupils.json").write_text(json.dumps(known))
    return LandmarkBank.open(folder)


def blink_rows(table: Path, root: Path) -> tuple[Row, ...]:
    """
    Return the cuts of a table of blinks as rows of a data set, split by person.

    Of eight people, the last two are for testing, the one before for validation.

    Args:
        table: CSV with the columns `file`, `person` and `sha256`.
        root: folder that the paths of the rows are to be under.

    Raises:
        BadDataset: the table lacks a column or cannot be read.
    """
    try:
        with table.open(newline="", encoding="utf-8") as file:
            cuts = [(cut["file"], cut["person"], cut["sha256"]) for cut in csv.DictReader(file)]
    except (OSError, KeyError, csv.Error) as error:
        raise BadDataset(f"{table} is no table of blinks ({error!r}).") from error
    people = sorted({person for _, person, _ in cuts})
    splits: dict[str, Split] = dict.fromkeys(people, "train")
    splits.update(dict.fromkeys(people[-3:-2], "val"))
    splits.update(dict.fromkeys(people[-2:], "test"))
    folder = table.parent.relative_to(root)
    return tuple(
        Row(
            path=str(PurePosixPath(folder) / file),
            sha256=sha256,
            kind="video",
            clip=str(PurePosixPath(folder) / file),
            label="real",
            method=BLINKS,
            family="real",
            group=f"{BLINKS}-{person}",
            dataset=BLINKS,
            split=splits[person],
        )
        for file, person, sha256 in cuts
    )


def build_landmark_bank(
    rows: Sequence[Row],
    folder: Path,
    *,
    root: Path,
    manifest_sha256: str,
    weights: Path,
    console: Console,
    processes: int = 1,
) -> LandmarkBank:
    """
    Let the teachers look at pictures once, and keep what they say.

    Every face counts of which both are sure, and which both see alike; and now and then a place
    without a face.

    Args:
        rows: clips and stills, from a data manifest and from `blink_rows`.
        folder: to be written; about 120 KB a face.
        root: what the paths of the rows are under.
        manifest_sha256: of the manifest, to be written beside the pictures.
        weights: folder of the teachers; see `Teachers.of_folder`.
        console: shows how far it is.
        processes: that look at the same time.

    Raises:
        BadDataset: a file cannot be read, or not one face was found.
    """
    found: list[_Labelled] = []
    with (
        ProcessPoolExecutor(
            processes,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_start,
            initargs=(weights,),
        ) as pool,
        Progress(console=console) as progress,
    ):
        shown = progress.add_task("labelling landmarks", total=len(rows))
        for labelled in pool.map(partial(_label_row, root), rows, chunksize=4):
            found.extend(labelled)
            progress.advance(shown)
    faces = [f.crop for f in found if f.pupil.has_face]
    if not faces:
        raise BadDataset(f"no face in the {len(rows)} files. Check the folder's pictures.")
    irises = Teachers.of_folder(weights).irises
    return write_landmark_bank(
        folder,
        crops=np.stack([f.crop for f in found]),
        mesh_px=np.stack([f.mesh_px for f in found]),
        irises_px=np.stack([f.irises_px for f in found]),
        pupils=[f.pupil for f in found],
        mirror=mirror_order(faces[:: math.ceil(len(faces) / MIRRORED)], irises),
        manifest_sha256=manifest_sha256,
    )


def region_in_bank(
    *, right: float = 0.0, down: float = 0.0, scale: float = 1.0, turn_rad: float = 0.0
) -> FaceRegion:
    """Return the face's region in a bank crop, shifted by shares of it, scaled and turned."""
    middle, side = (BANK_SIDE_PX - 1) / 2, BANK_SIDE_PX / BANK_MARGIN
    return FaceRegion(
        centre_px=(middle + right * side, middle + down * side),
        side_px=side * scale,
        angle_rad=turn_rad,
    )


def mirror_order(crops: Sequence[Image], irises: Teacher) -> list[int]:
    """
    Find which point takes each one's place in a mirror, by showing a teacher faces and mirrors.

    Args:
        crops: of the bank, with a face; a few dozen tell all points apart.
        irises: the teacher of all points.

    Raises:
        BadDataset: partners do not agree, as where no face is to be seen.
    """
    apart = np.zeros((irises.points, irises.points))
    for crop in crops:
        points = irises.place(crop, region_in_bank()).points_px
        mirrored = irises.place(np.ascontiguousarray(crop[:, ::-1]), region_in_bank()).points_px
        mirrored[:, 0] = BANK_SIDE_PX - 1 - mirrored[:, 0]
        apart += np.linalg.norm(points[:, None] - mirrored[None], axis=-1)
    # One partner for each: at the corners of the mouth, points lie closer together than mirrored
    # points do to what they mirror.
    _, order = linear_sum_assignment(apart + apart.T)
    if (order[order] != np.arange(len(order))).any():
        raise BadDataset("the teacher does not know these faces from their mirrors. Give others.")
    return [int(n) for n in order]


def mesh_weights(onnx_bytes: bytes) -> list[Floats]:
    """
    Return the weights of the mesh, in the order in which they are computed.

    Biases of depthwise convolutions are left out, as the network has none there.

    Raises:
        BadDataset: one of them is not nought, so that this is another network.
    """
    graph = onnx.load_from_string(onnx_bytes).graph
    known = {tensor.name: tensor for tensor in graph.initializer}
    found: list[Floats] = []
    for node in graph.node:
        if node.op_type not in {"Conv", "PRelu"}:
            continue
        weights = [numpy_helper.to_array(known[name]) for name in node.input[1:]]
        is_depthwise = node.op_type == "Conv" and weights[0].shape[1] == 1
        if is_depthwise and weights[1].any():
            raise BadDataset("a depthwise convolution has a bias; want MediaPipe's mesh of 468")
        found.extend(weights[:1] if is_depthwise else weights)
    return found


def eye_distance_px(points_px: Floats) -> Floats:
    """Return the distance between the outer corners of the eyes, `[...]`, of `[..., P, 2]`."""
    left, right = points_px[..., align.LEFT_EYE[0], :], points_px[..., align.RIGHT_EYE[0], :]
    return np.asarray(np.linalg.norm(left - right, axis=-1), dtype=np.float32)


def eye_openness(points_px: Floats) -> Floats:
    """Return the mean aspect ratio of both eyes, `[T]`, of `[T, P, 2]`, MediaPipe's order."""
    both = [eye_aspect_ratio(points_px[:, list(eye)]) for eye in EYES]
    return np.asarray(np.mean(both, axis=0), dtype=np.float32)


def _in_float32(content: bytes) -> bytes:
    model = onnx.load_from_string(content)
    graph = model.graph
    tensors = [
        *graph.initializer,
        *(a.t for n in graph.node for a in n.attribute if a.HasField("t")),
    ]
    for tensor in tensors:
        if tensor.data_type == TensorProto.FLOAT16:
            wide = numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(wide, tensor.name))
    for value in (*graph.input, *graph.output, *graph.value_info):
        if value.type.tensor_type.elem_type == TensorProto.FLOAT16:
            value.type.tensor_type.elem_type = TensorProto.FLOAT
    wide_bytes: bytes = model.SerializeToString()
    return wide_bytes


_teachers: Teachers | None = None
"""Of this process, once it was started to label."""


def _start(weights: Path) -> None:
    global _teachers  # noqa: PLW0603 - sessions cannot be sent to another process
    cv2.setNumThreads(1)
    _teachers = Teachers.of_folder(weights)


def _label_row(root: Path, row: Row) -> list[_Labelled]:
    """Label every face of every picture of a row."""
    if _teachers is None:
        raise RuntimeError("this process was not started to label")
    random = np.random.default_rng(list(row.path.encode()))
    found: list[_Labelled] = []
    for turn, (index, rgb) in enumerate(_pictures(root / row.path, row)):
        blank = Pupil(
            path=row.path,
            clip=row.clip,
            group=row.group,
            split=row.split,
            frame_index=index,
            face_px=0.0,
            has_face=False,
            openness=0.0,
            disagreement=0.0,
        )
        faces = _teachers.detector.find(rgb)
        for box, points in zip(faces.box_px, faces.point_px, strict=True):
            labelled = _label_face(rgb, align.region_of_points(box, points), blank, _teachers)
            if labelled is not None:
                found.append(labelled)
        # A still shows one face and hardly anything else.
        if row.kind == "video" and turn % PLACES_EVERY == 0:
            found.extend(_label_place(rgb, list(faces.box_px), blank, _teachers, random))
    return found


def _pictures(path: Path, row: Row) -> Iterator[tuple[int, Image]]:
    """Give the picture itself, or frames of a video, evenly spread, with their number."""
    if row.kind == "picture":
        bgr = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if bgr is None:
            raise BadDataset(f"{path} is no picture that can be read. Take it out of the manifest.")
        yield 0, np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), dtype=np.uint8)
        return
    try:
        with open_clip(path) as stream:
            every = max(1, (stream.probe.frames_expected or 300) // FRAMES_PER_CLIP)
            for frame in stream:
                if frame.index % every == 0:
                    yield frame.index, frame.rgb
    except RejectedMedia as error:
        raise BadDataset(f"{path} does not decode ({error}). Take it out.") from error


def _label_place(
    rgb: Image,
    boxes_px: Sequence[Floats],
    blank: Pupil,
    teachers: Teachers,
    random: np.random.Generator,
) -> Iterator[_Labelled]:
    """Give a place without a face, if there is one and the teachers see none there either."""
    place = _elsewhere(rgb, boxes_px, random)
    if place is None:
        return
    said = [teacher.place(rgb, place) for teacher in (teachers.mesh, teachers.irises)]
    if max(opinion.presence for opinion in said) <= MOST_PRESENCE:
        yield _Labelled(
            pupil=replace(blank, face_px=place.side_px),
            crop=align.crop(rgb, place.scaled(BANK_MARGIN), side_px=BANK_SIDE_PX),
            mesh_px=np.zeros((LANDMARKS, 2), np.float32),
            irises_px=np.zeros((LANDMARKS_WITH_IRISES, 2), np.float32),
        )


def _label_face(
    rgb: Image, region: FaceRegion, blank: Pupil, teachers: Teachers
) -> _Labelled | None:
    """Let both teachers look, once the mesh has found where to; None where they are not sure."""
    seen = teachers.mesh.place(rgb, region)
    if not _is_sure(seen):
        return None
    region = align.region_of_landmarks(seen.points_px)
    mesh, other = (t.place(rgb, region) for t in (teachers.mesh, teachers.irises))
    if not (_is_sure(mesh) and _is_sure(other) and region.side_px >= LEAST_FACE_PX):
        return None
    apart = np.linalg.norm(mesh.points_px - other.points_px[:LANDMARKS], axis=-1).mean()
    if not apart <= MOST_DISAGREEMENT * region.side_px:
        return None
    region = align.region_of_landmarks(mesh.points_px)
    affine = region.scaled(BANK_MARGIN).frame_from_crop(BANK_SIDE_PX).astype(np.float64)
    inverse = cv2.invertAffineTransform(affine)
    in_crop = [
        (opinion.points_px @ inverse[:, :2].T + inverse[:, 2]).astype(np.float32)
        for opinion in (mesh, other)
    ]
    openness = eye_openness(np.stack([points[:LANDMARKS] for points in in_crop]))
    return _Labelled(
        pupil=replace(
            blank,
            face_px=region.side_px,
            has_face=True,
            openness=float(openness.mean()),
            disagreement=float(apart / eye_distance_px(mesh.points_px)),
        ),
        crop=align.crop(rgb, region.scaled(BANK_MARGIN), side_px=BANK_SIDE_PX),
        mesh_px=in_crop[0],
        irises_px=in_crop[1],
    )


def _is_sure(opinion: Opinion) -> bool:
    return opinion.presence >= LEAST_PRESENCE and bool(np.isfinite(opinion.points_px).all())


def _elsewhere(
    rgb: Image, boxes_px: Sequence[Floats], random: np.random.Generator
) -> FaceRegion | None:
    """Draw a square that touches none of the faces; None where there is hardly a place for one."""
    height, width = rgb.shape[:2]
    for _ in range(8):
        side = float(random.uniform(0.15, 0.6) * min(height, width))
        x, y = random.uniform(0, width), random.uniform(0, height)
        square = np.array([x - side / 2, y - side / 2, side, side], np.float32)
        if not align.overlap(square, boxes_px).any():
            turn = float(random.uniform(-math.pi, math.pi))
            return FaceRegion(centre_px=(float(x), float(y)), side_px=side, angle_rad=turn)
    return None
