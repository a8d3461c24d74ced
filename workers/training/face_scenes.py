"""
What does the face detector learn from? Scenes drawn from real pictures, and its teacher's answers.

A `SceneBank` keeps frames and stills at the size at which faces are looked for, with the faces
that the teacher finds in them. From it scenes are drawn anew for every step: views of a picture at
any scale, faces pasted onto other backgrounds, and places without a face. The teacher, YuNet, then
looks at the very scene that the network is shown, and its answer at every anchor is the target: so
the scene may be anything, and what the teacher half believes is learnt as that.

A second teacher, MediaPipe's mesh, looks at each face that was found in the bank's pictures. Where
it sees none, the face is doubtful: nothing is learnt at the anchors that answer for it.
"""

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, NamedTuple, Protocol

import cv2
import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from pydantic import Field
from rich.console import Console
from rich.progress import track
from torch.utils.data import Dataset

from app.errors import RejectedMedia
from workers.detection import align
from workers.detection.face_detectors import YuNet
from workers.detection.stage import Floats, Image
from workers.training.clips import open_clip
from workers.training.errors import BadDataset
from workers.training.manifest import MOST_DAMAGED_SHARE, DataManifest, Row
from workers.training.recipe import Section, Share
from workers.training.teachers import Teacher

SIDE_PX = 640
"""Longer side of a picture in the bank, at most: at which faces are looked for when served."""
FRAMES_PER_CLIP = 12
MOST_STILLS = 2000
"""Pictures that are no video; of more, evenly spread ones are taken."""
STRIDES = (8, 16, 32)
LEAST_PRESENCE = 0.1
"""Of the mesh. Of 3,586 faces 78 are under it: folds of clothes, and small faces far back."""
DETECTOR, MESH = "yunet_s_640.onnx", "mediapipe_face_mesh_468.onnx"
"""Names of the teachers' files, as the mirror of third-party weights has them."""

BORDERS = (cv2.BORDER_REFLECT_101, cv2.BORDER_REPLICATE, cv2.BORDER_CONSTANT)

_PIXELS, _PICTURES = "pictures.bin", "pictures.json"

Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One picture of the bank, and where its faces are."""

    path: str  # of the file, under the manifest's root
    kind: str  # "video" or "picture"
    clip: str
    group: str
    label: str
    split: str
    frame_index: int
    width: int
    height: int
    offset: int  # of its pixels, bytes
    box_px: tuple[tuple[float, float, float, float], ...]  # x, y, width, height of each face
    presence: tuple[float, ...]  # of each face, by the mesh


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SceneBank:
    """Pictures with their faces. Pixels are read from disk as they are asked for."""

    pixels: NDArray[np.uint8]  # of all pictures, one after the other
    pictures: tuple[Picture, ...]
    manifest_sha256: str

    @classmethod
    def open(cls, folder: Path) -> "SceneBank":
        """
        Open a bank for reading.

        Raises:
            BadDataset: there is none, or its files do not fit together.
        """
        try:
            document = json.loads((folder / _PICTURES).read_text(encoding="utf-8"))
            pictures = tuple(
                Picture(
                    **{
                        **known,
                        "box_px": tuple(tuple(box) for box in known["box_px"]),
                        "presence": tuple(known["presence"]),
                    }
                )
                for known in document["pictures"]
            )
            pixels = np.memmap(folder / _PIXELS, dtype=np.uint8, mode="r")
            last = pictures[-1]
            if last.offset + last.width * last.height * 3 != len(pixels):
                raise ValueError(f"{_PIXELS} has {len(pixels)} bytes")  # noqa: TRY301 - told below
        except (OSError, ValueError, KeyError, TypeError, IndexError) as wrong:
            raise BadDataset(
                f"{folder} holds no whole bank of scenes ({wrong}); remove it, and it is made anew"
            ) from wrong
        return cls(pixels=pixels, pictures=pictures, manifest_sha256=document["manifest_sha256"])

    def rgb(self, index: int) -> Image:
        """Return the pixels of one picture, `[H, W, 3]`."""
        picture = self.pictures[index]
        count = picture.height * picture.width * 3
        flat = self.pixels[picture.offset : picture.offset + count]
        return flat.reshape(picture.height, picture.width, 3)


class Found(NamedTuple):
    """One picture, and what the teachers say of it."""

    row: Row
    frame_index: int
    rgb: Image
    box_px: Floats  # [N, 4]
    presence: tuple[float, ...]  # N


def open_or_build(
    manifest: DataManifest, folder: Path, *, teachers: Path, console: Console
) -> SceneBank:
    """Open the bank of a manifest; make it where there is none, or one of other data."""
    if (folder / _PICTURES).exists():
        bank = SceneBank.open(folder)
        if bank.manifest_sha256 == manifest.sha256:
            return bank
        console.print(f"{folder} was made from other data; making it anew")
    return build_scene_bank(manifest, folder, teachers=teachers, console=console)


def build_scene_bank(
    manifest: DataManifest,
    folder: Path,
    *,
    teachers: Path,
    console: Console,
    frames_per_clip: int = FRAMES_PER_CLIP,
    most_stills: int = MOST_STILLS,
) -> SceneBank:
    """
    Let the teachers look at the pictures of a manifest once, as they are served.

    Args:
        manifest: of clips and stills; the split to be tested on is left out.
        folder: to be written; half a megabyte a picture.
        teachers: the folder with the teachers' files.
        console: shows how far it is.
        frames_per_clip: of a video, evenly spread.
        most_stills: pictures that are no video, evenly spread over the manifest.

    Raises:
        BadDataset: more than `MOST_DAMAGED_SHARE` of the files cannot be read.
    """
    videos = [r for r in manifest.rows if r.split != "test" and r.kind == "video"]
    stills = [r for r in manifest.rows if r.split != "test" and r.kind == "picture"]
    rows = videos + stills[:: max(1, math.ceil(len(stills) / most_stills))]
    damaged: list[str] = []
    shown = track(rows, "looking for faces", console=console)
    found = _looked_at(
        shown, manifest.root, teachers, frames_per_clip=frames_per_clip, damaged=damaged
    )
    bank = write_scene_bank(folder, found, manifest_sha256=manifest.sha256)
    if len(damaged) > MOST_DAMAGED_SHARE * len(rows):
        (folder / _PICTURES).unlink()
        raise BadDataset(
            f"{len(damaged)} of {len(rows)} files cannot be read, more than "
            f"{MOST_DAMAGED_SHARE:.0%} ({', '.join(damaged[:3])}); mend or remove them, then index "
            "the data again"
        )
    return bank


def write_scene_bank(folder: Path, found: Iterable[Found], *, manifest_sha256: str) -> SceneBank:
    """Write a bank; the list comes last, so that a broken one does not open."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _PICTURES).unlink(missing_ok=True)
    pictures: list[Picture] = []
    offset = 0
    with (folder / _PIXELS).open("wb") as file:
        for row, frame_index, rgb, box_px, presence in found:
            height, width = rgb.shape[:2]
            boxes = tuple((float(x), float(y), float(w), float(h)) for x, y, w, h in box_px)
            pictures.append(
                Picture(
                    path=row.path,
                    kind=row.kind,
                    clip=row.clip,
                    group=row.group,
                    label=row.label,
                    split=row.split,
                    frame_index=frame_index,
                    width=width,
                    height=height,
                    offset=offset,
                    box_px=boxes,
                    presence=presence,
                )
            )
            offset += file.write(np.ascontiguousarray(rgb).tobytes())
    document = {"manifest_sha256": manifest_sha256, "pictures": [asdict(p) for p in pictures]}
    partial = folder / f"{_PICTURES}.partial"
    partial.write_text(json.dumps(document), encoding="utf-8")
    partial.replace(folder / _PICTURES)
    return SceneBank.open(folder)


class Answer(NamedTuple):
    """What a detector says at each of `K` anchors: the levels in turn, each row by row."""

    score: Floats  # [K] in [0, 1]
    box_px: Floats  # [K, 4] x, y, width, height
    points_px: Floats  # [K, 5, 2]


class DenseTeacher(Protocol):
    """A detector that can be asked for its answer at every anchor, and not for its boxes alone."""

    def answer(self, rgb: Image) -> Answer:
        """Look at `[H, W, 3]`, both sides multiples of 32 px."""
        ...


class DenseYuNet:
    """
    YuNet as a teacher.

    Args:
        onnx_bytes: the network as published, for pictures of 640 x 640. It is convolutional
            throughout, so that its sizes can be freed.
    """

    def __init__(self, onnx_bytes: bytes) -> None:
        self._onnx = _freed(onnx_bytes)
        self._session: onnxruntime.InferenceSession | None = None

    def __getstate__(self) -> dict[str, object]:
        """Leave the session behind: each process opens its own."""
        return {"_onnx": self._onnx, "_session": None}

    def __setstate__(self, state: dict[str, object]) -> None:
        """Take the network up in another process."""
        self.__dict__.update(state)

    def answer(self, rgb: Image) -> Answer:
        """Look at `[H, W, 3]`; raises ValueError unless both sides are multiples of 32 px."""
        height, width = rgb.shape[:2]
        if height % STRIDES[-1] or width % STRIDES[-1]:
            raise ValueError(f"want sides that are multiples of {STRIDES[-1]}, got {rgb.shape}")
        if self._session is None:
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = 1
            self._session = onnxruntime.InferenceSession(
                self._onnx, options, providers=["CPUExecutionProvider"]
            )
        bgr = np.ascontiguousarray(rgb[..., ::-1].transpose(2, 0, 1)[None], np.float32)
        names = [f"{part}_{s}" for s in STRIDES for part in ("cls", "obj", "bbox", "kps")]
        raw = self._session.run(names, {"input": bgr})
        levels = []
        for level, stride in enumerate(STRIDES):
            sure, there, box, points = (part[0] for part in raw[4 * level : 4 * level + 4])
            anchor = _anchors(height // stride, width // stride)
            centre = (anchor + box[:, :2]) * stride
            size = np.exp(box[:, 2:]) * stride
            levels.append(
                Answer(
                    score=np.sqrt(np.clip(sure, 0, 1) * np.clip(there, 0, 1))[:, 0],
                    box_px=np.concatenate([centre - size / 2, size], axis=1),
                    points_px=(anchor[:, None] + points.reshape(-1, 5, 2)) * stride,
                )
            )
        score, boxes, places = (np.concatenate(part) for part in zip(*levels, strict=True))
        return Answer(*(np.asarray(part, np.float32) for part in (score, boxes, places)))


class SceneOptions(Section):
    """What scenes look like. Shares are of scenes; what remains are views of a picture."""

    side_px: tuple[Annotated[int, Field(gt=0, multiple_of=64)], ...] = (256, 256, 256, 448)
    """Of the scenes of one batch, of the next, and so on, round and round."""
    pasted: Share = 0.25
    """With faces cut out of other pictures."""
    empty: Share = 0.1
    """With no face, or with one in pieces."""
    stills: Share = 0.4
    """Of the pictures that are drawn from; the others are frames of clips."""
    most_pasted: Annotated[int, Field(gt=0)] = 4
    least_face_px: Annotated[float, Field(gt=0)] = 12.0
    """Side of a face; drawn evenly on a logarithmic scale, up to the scene's side."""
    least_covered: Share = 0.6
    """Of the scene's side, by the longer side of the picture that is shown."""
    most_enlarged: Annotated[float, Field(ge=1)] = 3.0
    turn_deg: Annotated[float, Field(ge=0)] = 10.0
    """Standard deviation."""
    stretch: Annotated[float, Field(ge=0)] = 0.06
    """Standard deviation of the logarithm of width over height."""


class SceneExamples(Dataset[dict[str, NDArray[np.generic]]]):
    """
    Scenes with the teacher's answers, without end; each a pure function of the seed and its number.

    Args:
        bank: pictures.
        indices: of the bank's pictures that may be drawn from.
        options: how scenes look.
        alike: how many scenes in a row are of one size: a batch.
        teacher: answers for each scene.
        seed: draws other scenes.
    """

    def __init__(
        self,
        bank: SceneBank,
        indices: Sequence[int],
        options: SceneOptions,
        *,
        alike: int,
        teacher: DenseTeacher,
        seed: int,
    ) -> None:
        if not any(bank.pictures[i].box_px for i in indices):
            raise BadDataset(
                "no picture with a face to draw scenes from; check the splits of the data manifest"
            )
        self._bank = bank
        self._options = options
        self._alike = alike
        self._teacher = teacher
        self._seed = seed
        clips: dict[str, list[int]] = {}
        stills: list[int] = []
        for index in indices:
            picture = bank.pictures[index]
            if picture.box_px:
                kin = stills if picture.kind == "picture" else clips.setdefault(picture.clip, [])
                kin.append(index)
        self._stills = tuple(stills)
        self._clips = tuple(tuple(frames) for frames in clips.values())

    def __len__(self) -> int:
        return 2**31 - 1

    def __getitem__(self, number: int) -> dict[str, NDArray[np.generic]]:
        """
        Draw one scene.

        Returns:
            `image` uint8 `[S, S, 3]`, and the teacher's `score` `[K]`, `box` `[K, 4]` and `points`
            `[K, 5, 2]`, px; `weight` `[K]` is 0 where nothing is to be learnt, else 1.
        """
        random = np.random.default_rng([self._seed, number])
        sides_px = self._options.side_px
        rgb, doubtful = self._scene(random, sides_px[number // self._alike % len(sides_px)])
        image = _as_recorded(rgb, random)
        answer = self._teacher.answer(image)
        return {
            "image": image,
            "score": answer.score,
            "box": answer.box_px,
            "points": answer.points_px,
            "weight": _weights(answer.box_px, doubtful),
        }

    def _scene(self, random: np.random.Generator, side_px: int) -> tuple[Image, list[Floats]]:
        """Draw the picture, and say where it has doubtful faces."""
        options = self._options
        kind = random.random()
        if kind < options.pasted:
            return self._pasted(random, side_px), []
        if kind < options.pasted + options.empty:
            return self._empty(random, side_px), []
        return self._view(random, side_px)

    def _pick(self, random: np.random.Generator) -> tuple[int, int]:
        """Return a picture and one of its faces: each clip as likely as another."""
        wants_still = random.random() < self._options.stills
        frames = self._stills
        if self._clips and not (wants_still and self._stills):
            frames = self._clips[random.integers(len(self._clips))]
        index = frames[random.integers(len(frames))]
        return index, int(random.integers(len(self._bank.pictures[index].box_px)))

    def _view(self, random: np.random.Generator, side_px: int) -> tuple[Image, list[Floats]]:
        """Show a picture such that one of its faces has the size and place that was drawn."""
        index, face = self._pick(random)
        picture = self._bank.pictures[index]
        least = self._options.least_covered * side_px / max(picture.width, picture.height)
        scale = max(self._scale(random, picture.box_px[face], side_px), least)
        place = random.uniform(0.1, 0.9, 2) * side_px
        matrix = self._matrix(random, picture.box_px[face], scale, place)
        doubtful = [
            _moved(np.array(box, np.float32), matrix)
            for box, presence in zip(picture.box_px, picture.presence, strict=True)
            if presence < LEAST_PRESENCE
        ]
        border = random.choice(BORDERS, p=[0.3, 0.4, 0.3])
        if doubtful and border == cv2.BORDER_REFLECT_101:
            border = cv2.BORDER_REPLICATE  # a mirrored face would count
        return self._drawn(random, index, matrix, side_px, int(border)), doubtful

    def _empty(self, random: np.random.Generator, side_px: int) -> Image:
        """Show a place without a face; where none is found, in pieces that are dealt anew."""
        whole = np.array([0, 0, side_px, side_px], np.float32)
        for _ in range(4):
            index, _ = self._pick(random)
            picture = self._bank.pictures[index]
            scale = math.exp(random.uniform(math.log(0.6), math.log(4)))
            x, y = random.uniform(0, picture.width), random.uniform(0, picture.height)
            middle = np.array([side_px / 2, side_px / 2])
            matrix = self._matrix(random, (x, y, 0, 0), scale, middle)
            shown = _moved(np.array([0, 0, picture.width, picture.height], np.float32), matrix)
            faces = [_moved(np.array(box, np.float32), matrix) for box in picture.box_px]
            is_covered = 2 * _common_px(shown, whole) > side_px**2
            if is_covered and not any(_common_px(face, whole) for face in faces):
                return self._drawn(random, index, matrix, side_px, cv2.BORDER_REPLICATE)
        return _in_pieces(self._view(random, side_px)[0], random)

    def _pasted(self, random: np.random.Generator, side_px: int) -> Image:
        """Paste faces, with soft edges, onto a place without one."""
        scene = self._empty(random, side_px)
        for _ in range(random.integers(1, self._options.most_pasted + 1)):
            index, face = self._pick(random)
            box = self._bank.pictures[index].box_px[face]
            scale = self._scale(random, box, 0.8 * side_px)
            matrix = self._matrix(random, box, scale, random.uniform(0, side_px, 2))
            layer = self._drawn(random, index, matrix, side_px, cv2.BORDER_REPLICATE)
            _blend(scene, layer, matrix, box, wider=random.uniform(1.15, 1.7))
        return scene

    def _scale(self, random: np.random.Generator, box: Sequence[float], most_px: float) -> float:
        """Draw how much a face is enlarged, by the size that it shall have."""
        least_px = self._options.least_face_px
        face_px = math.exp(random.uniform(math.log(least_px), math.log(most_px)))
        return min(face_px / math.sqrt(box[2] * box[3]), self._options.most_enlarged)

    def _matrix(
        self,
        random: np.random.Generator,
        box: Sequence[float],
        scale: float,
        place: NDArray[np.float64],
    ) -> Matrix:
        """Draw an affine `[2, 3]` from the picture to the scene, of the box's middle to a place."""
        turn = math.radians(random.normal(0, self._options.turn_deg))
        stretch = math.exp(random.normal(0, self._options.stretch) / 2)
        mirror = -1 if random.random() < 0.5 else 1  # noqa: PLR2004 - a coin
        turned = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
        linear = scale * turned @ np.diag([mirror * stretch, 1 / stretch])
        middle = np.array([box[0] + box[2] / 2, box[1] + box[3] / 2])
        return np.column_stack([linear, place - linear @ middle])

    def _drawn(
        self, random: np.random.Generator, index: int, matrix: Matrix, side_px: int, border: int
    ) -> Image:
        rgb = self._bank.rgb(index)
        scale = math.sqrt(abs(np.linalg.det(matrix[:, :2])))
        if scale < 0.5:  # noqa: PLR2004 - a bilinear warp alone would leave out pixels
            by = max(scale * 1.5, 8 / min(rgb.shape[:2]))
            size = (max(1, round(rgb.shape[1] * by)), max(1, round(rgb.shape[0] * by)))
            small = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
            ratio = np.array([rgb.shape[1] / size[0], rgb.shape[0] / size[1]])
            shift = matrix[:, :2] @ ((ratio - 1) / 2) + matrix[:, 2]
            rgb, matrix = small, np.column_stack([matrix[:, :2] * ratio, shift])
        colour = [int(v) for v in random.integers(0, 256, 3)]
        drawn = cv2.warpAffine(
            rgb,
            matrix,
            (side_px, side_px),
            flags=cv2.INTER_LINEAR,
            borderMode=border,
            borderValue=colour,
        )
        return np.asarray(drawn, np.uint8)


def _looked_at(
    rows: Iterable[Row],
    root: Path,
    teachers: Path,
    *,
    frames_per_clip: int,
    damaged: list[str],
) -> Iterator[Found]:
    """Find the faces of every picture; what cannot be read is added to `damaged`."""
    finder = YuNet((teachers / DETECTOR).read_bytes())
    mesh = Teacher((teachers / MESH).read_bytes())
    for row in rows:
        try:
            for frame_index, rgb in _frames(root / row.path, row, frames_per_clip):
                faces = finder.find(rgb)
                presence = tuple(
                    mesh.place(rgb, align.region_of_points(box, points)).presence
                    for box, points in zip(faces.box_px, faces.point_px, strict=True)
                )
                yield Found(row, frame_index, rgb, faces.box_px, presence)
        except (RejectedMedia, FileNotFoundError):
            damaged.append(row.path)


def _frames(path: Path, row: Row, frames_per_clip: int) -> Iterator[tuple[int, Image]]:
    """Give a picture, or frames of a video, at the size at which faces are looked for."""
    if row.kind == "picture":
        bgr = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if bgr is None:
            raise FileNotFoundError(path)
        rgb = np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)
        yield 0, align.resized(rgb, longer_side_px=SIDE_PX)
        return
    with open_clip(path, max_frames=frames_per_clip, max_side_px=SIDE_PX) as stream:
        for frame in stream:
            yield frame.index, frame.rgb


def _freed(onnx_bytes: bytes) -> bytes:
    """Let the height and width of the input be any."""
    model = onnx.load_from_string(onnx_bytes)
    shape = model.graph.input[0].type.tensor_type.shape
    for axis, name in ((2, "height"), (3, "width")):
        shape.dim[axis].dim_param = name
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    model.graph.ClearField("value_info")
    content: bytes = model.SerializeToString()
    return content


def _anchors(rows: int, columns: int) -> Floats:
    """Return column and row of each cell, `[rows * columns, 2]`."""
    y, x = np.mgrid[:rows, :columns]
    return np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float32)


def _weights(box_px: Floats, doubtful: Sequence[Floats]) -> Floats:
    """Weigh anchors `[K]`: 0 where the teacher means a doubtful face, else 1."""
    weight = np.ones(len(box_px), np.float32)
    middle = box_px[:, :2] + box_px[:, 2:] / 2
    for box in doubtful:
        inside = (middle >= box[:2]) & (middle <= box[:2] + box[2:])
        weight[inside.all(axis=1)] = 0
    return weight


def _moved(box_px: Floats, matrix: Matrix) -> Floats:
    """Return the upright box around a box that an affine moves."""
    x, y, width, height = (float(v) for v in box_px)
    corners = np.array([[x, y], [x + width, y], [x, y + height], [x + width, y + height]])
    return align.bounding_box(np.asarray(corners @ matrix[:, :2].T + matrix[:, 2], np.float32))


def _common_px(one: Floats, other: Floats) -> float:
    """Return the area that two boxes share."""
    low = np.maximum(one[:2], other[:2])
    high = np.minimum(one[:2] + one[2:], other[:2] + other[2:])
    return float(np.prod(np.clip(high - low, 0, None)))


def _in_pieces(scene: Image, random: np.random.Generator) -> Image:
    """Cut a scene into squares and deal them anew."""
    side = scene.shape[0]
    square = int(random.choice([16, 32, 64]))
    count = side // square
    pieces = (
        scene.reshape(count, square, count, square, 3).swapaxes(1, 2).reshape(-1, square, square, 3)
    )
    dealt = pieces[random.permutation(len(pieces))].reshape(count, count, square, square, 3)
    return np.ascontiguousarray(dealt.swapaxes(1, 2).reshape(side, side, 3))


def _blend(
    scene: Image, layer: Image, matrix: Matrix, box: Sequence[float], *, wider: float
) -> None:
    """Lay the middle of a layer, an ellipse around a moved box, over the scene."""
    x, y, width, height = box
    linear = matrix[:, :2]
    middle = linear @ np.array([x + width / 2, y + height / 2]) + matrix[:, 2]
    scale = math.sqrt(abs(np.linalg.det(linear)))
    angle = math.degrees(math.atan2(linear[1, 1], linear[0, 1])) - 90
    axes = (max(1, round(scale * width * wider / 2)), max(1, round(scale * height * wider / 2)))
    alpha = np.zeros(scene.shape[:2], np.uint8)
    at = (round(float(middle[0])), round(float(middle[1])))
    cv2.ellipse(alpha, at, axes, angle, 0, 360, 255, cv2.FILLED)
    soft = 2 * (min(axes) // 8) + 1
    share = np.asarray(cv2.blur(alpha, (soft, soft)), np.float32)[..., None] / np.float32(255)
    scene[:] = np.round(scene + share * (layer.astype(np.float32) - scene))


def _as_recorded(rgb: Image, random: np.random.Generator) -> Image:
    """Light, blur, noise and compression, as cameras and sites would have it."""
    gain = random.normal(1, 0.15) * (1 + random.normal(0, 0.05, 3))
    gamma, lift = math.exp(random.normal(0, 0.2)), random.normal(0, 10)
    levels = np.linspace(0, 1, 256)[:, None] ** gamma * 255 * gain + lift
    picture = np.asarray(cv2.LUT(rgb, np.clip(levels, 0, 255).astype(np.uint8)[None]), np.uint8)
    if random.random() < 0.1:  # noqa: PLR2004 - shares of scenes, here and below
        grey = np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8)
        picture = np.repeat(grey[..., None], 3, axis=2)
    if random.random() < 0.2:  # noqa: PLR2004
        sigma = random.uniform(0.4, 2.0)
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma), np.uint8)
    if random.random() < 0.2:  # noqa: PLR2004
        noise = random.normal(0, random.uniform(2, 12), picture.shape)
        picture = np.clip(picture + noise.astype(np.float32), 0, 255).astype(np.uint8)
    if random.random() < 0.4:  # noqa: PLR2004
        quality = int(random.integers(25, 95))
        _, written = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
        picture = np.asarray(cv2.imdecode(written, cv2.IMREAD_COLOR), np.uint8)
    return np.ascontiguousarray(picture)
