"""What the face detector learns from, and how it is told what to answer."""

import pickle
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from skimage import data
from torch import nn
from torch.utils.data import default_collate

from models.nets.face_detector import FaceDetector
from workers.detection import align
from workers.detection.face_detectors import YuNet
from workers.detection.stage import Image
from workers.training.errors import BadDataset
from workers.training.face_scenes import (
    DETECTOR,
    STRIDES,
    Answer,
    DenseYuNet,
    Found,
    SceneBank,
    SceneExamples,
    SceneOptions,
    write_scene_bank,
)
from workers.training.manifest import Row, make_manifest, write_manifest
from workers.training.tasks.detector import SAME_FACE, DetectorTask, find, load_yunet

SIDES_PX = (64, 128)
SKIN = (250, 60, 60)


def make_row(path: str, *, split: str = "train") -> Row:
    return Row(
        path=path,
        sha256="0" * 64,
        kind="video",
        clip=path,
        label="real",
        method="drawn",
        family="real",
        group=path,
        dataset="drawn",
        split=split,
    )


def make_picture(x: int, y: int, side: int) -> Image:
    """Draw a grey frame with one red face."""
    picture = np.full((180, 320, 3), 90, np.uint8)
    picture[::8] = 110
    cv2.ellipse(picture, (x, y), (side // 2, side // 2), 0, 0, 360, SKIN, cv2.FILLED)
    return picture


def make_bank(folder: Path, *, presence: float = 0.9, split: str = "train") -> SceneBank:
    found = []
    for clip, (x, y, side) in enumerate([(60, 60, 40), (250, 120, 50)]):
        box = np.float32([[x - side / 2, y - side / 2, side, side]])
        row = make_row(f"clip{clip}.mp4", split=split)
        found += [Found(row, i, make_picture(x + i, y, side), box, (presence,)) for i in range(2)]
    manifest = make_manifest({f.row.path: f.row for f in found}.values(), root=folder)
    write_manifest(folder / "manifest.csv", manifest)
    return write_scene_bank(folder, iter(found), manifest_sha256=manifest.sha256)


class RedIsAFace:
    """Answers with one box around all that is red, at every anchor within it."""

    def answer(self, rgb: Image) -> Answer:
        height, width = rgb.shape[:2]
        smooth = cv2.blur(rgb, (3, 3)).astype(int)  # single red pixels are noise
        is_red = (smooth[..., 0] - smooth[..., 1]) > 60
        rows, columns = np.nonzero(is_red)
        box = np.zeros(4, np.float32)
        if len(rows):
            low, high = (columns.min(), rows.min()), (columns.max() + 1, rows.max() + 1)
            box = np.float32([*low, *np.subtract(high, low)])
        anchors = np.concatenate(
            [
                np.stack(np.meshgrid(np.arange(width // s), np.arange(height // s)), -1).reshape(
                    -1, 2
                )
                * s
                for s in STRIDES
            ]
        )
        inside = ((anchors >= box[:2]) & (anchors < box[:2] + box[2:])).all(axis=1)
        middle = box[:2] + box[2:] / 2
        return Answer(
            score=np.float32(0.9 * inside),
            box_px=np.tile(box, (len(anchors), 1)),
            points_px=np.tile(np.float32(middle), (len(anchors), 5, 1)),
        )


def make_examples(bank: SceneBank, *, seed: int = 0, **options: float) -> SceneExamples:
    return SceneExamples(
        bank,
        range(len(bank.pictures)),
        SceneOptions(side_px=SIDES_PX, **options),
        alike=2,
        teacher=RedIsAFace(),
        seed=seed,
    )


def make_task(bank: Path) -> DetectorTask:
    return DetectorTask(
        {
            "task": "detector",
            "teachers": "nowhere",
            "run": {"seed": 0, "steps": 1, "batch": 2, "pictures_every": 0, "validate_every": 0},
            "optimiser": {"rate": 1e-3, "warmup_steps": 0},
            "data": {"manifest": str(bank / "manifest.csv"), "bank": str(bank)},
            "network": {"initial": "random"},
        }
    )


def test_a_bank_gives_back_its_pictures(tmp_path):
    make_bank(tmp_path)

    bank = SceneBank.open(tmp_path)

    np.testing.assert_array_equal(make_picture(61, 60, 40), bank.rgb(1), strict=True)
    assert bank.pictures[1].box_px == ((40.0, 40.0, 40.0, 40.0),)


def test_a_bank_that_was_cut_off_is_refused(tmp_path):
    make_bank(tmp_path)
    pixels = tmp_path / "pictures.bin"
    pixels.write_bytes(pixels.read_bytes()[:-1])

    with pytest.raises(BadDataset, match="made anew"):
        SceneBank.open(tmp_path)


def test_a_scene_is_a_function_of_the_seed_and_its_number(tmp_path):
    bank = make_bank(tmp_path)
    one, same, other = make_examples(bank), make_examples(bank), make_examples(bank, seed=1)

    for number in (7, 2**31 - 2, 7):
        np.testing.assert_array_equal(one[number]["image"], same[number]["image"])
        assert (one[number]["image"] != other[number]["image"]).any()


def test_scenes_of_a_batch_are_of_one_size_and_those_of_the_next_of_another(tmp_path):
    examples = make_examples(make_bank(tmp_path))

    assert [len(examples[i]["image"]) for i in range(5)] == [64, 64, 128, 128, 64]


def test_faces_are_drawn_small_and_large(tmp_path):
    examples = make_examples(make_bank(tmp_path), pasted=0, empty=0)
    widths = [float(examples[i]["box"][0, 2]) for i in range(2, 80, 4)]

    assert min(widths) < 32
    assert max(widths) > 80


def test_a_place_without_a_face_has_none(tmp_path):
    examples = make_examples(make_bank(tmp_path), pasted=0, empty=1)
    with_face = [i for i in range(40) if examples[i]["score"].any()]

    assert len(with_face) < 8  # where no such place was found in four tries, pieces of a face


def test_nothing_is_learnt_from_a_face_that_the_mesh_does_not_see(tmp_path):
    examples = make_examples(make_bank(tmp_path, presence=0.0), pasted=0, empty=0)

    whole = [e for e in (examples[i] for i in range(40)) if _is_within(e)]
    assert len(whole) > 5
    for example in whole:
        assert not example["weight"][example["score"] > 0].any()


def _is_within(example: dict[str, np.ndarray]) -> bool:
    x, y, width, height = example["box"][0]
    side = len(example["image"])
    return min(x, y, width) > 0 and max(x + width, y + height) < side


def test_a_split_without_a_face_is_refused(tmp_path):
    bank = make_bank(tmp_path)
    faceless = replace(bank, pictures=tuple(replace(p, box_px=()) for p in bank.pictures))

    with pytest.raises(BadDataset, match="no picture with a face"):
        make_examples(faceless)


class Parrot(nn.Module):
    """Says what it was told."""

    def __init__(self, batch: dict[str, torch.Tensor]) -> None:
        super().__init__()
        self.said = torch.logit(batch["score"], eps=1e-6), batch["box"], batch["points"]

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return self.said


def test_a_pupil_that_says_what_its_teacher_says_has_no_loss(tmp_path):
    examples = make_examples(make_bank(tmp_path))
    batch = default_collate([examples[2], examples[3]])

    losses = make_task(tmp_path).losses(Parrot(batch), batch)

    assert {k: pytest.approx(0, abs=1e-4) for k in losses} == {
        k: float(v) for k, v in losses.items()
    }


def test_a_pupil_learns_a_batch_and_finds_the_face_in_it(tmp_path):
    examples = make_examples(make_bank(tmp_path), pasted=0, empty=0)
    chosen = [examples[i] for i in (2, 3, 6, 7)]
    batch = default_collate(chosen)
    task = make_task(tmp_path)
    network = task.network()
    optimiser = torch.optim.Adam(network.parameters(), lr=0.003)
    losses = []
    for _ in range(20):
        optimiser.zero_grad()
        loss = task.losses(network, batch)["loss"]
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))

    assert losses[-1] < 0.4 * losses[0]
    assert task.pictures(network, default_collate(chosen * 2)).shape == (256, 512, 3)


def test_a_face_is_looked_for_again_at_half_the_size():
    sizes = []

    class Blind(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(1))

        def forward(self, images):
            sizes.append(tuple(images.shape[1:3]))
            return torch.full((1, 3), -9.0), torch.zeros(1, 3, 4), torch.zeros(1, 3, 5, 2)

    box_px, score = find(Blind(), make_picture(60, 60, 40), least_score=0.5)

    assert sizes == [(360, 640), (180, 320)]
    assert (len(box_px), len(score)) == (0, 0)


def test_validation_compares_with_the_teacher_on_clips_that_are_not_trained_on(tmp_path):
    make_bank(tmp_path, split="val")
    task = make_task(tmp_path)

    measured = task.validate(task.network().eval())

    assert measured["recall_0.5"] == 0
    assert measured["strange_a_frame_0.5"] == 0


@pytest.mark.shared
def test_the_teacher_answers_as_opencv_has_it(shared_weights):
    weights = (shared_weights / DETECTOR).read_bytes()
    teacher = pickle.loads(pickle.dumps(DenseYuNet(weights)))
    picture = np.ascontiguousarray(cv2.resize(data.astronaut(), (320, 320)))
    opencv = cv2.FaceDetectorYN.create(
        "onnx", np.frombuffer(weights, np.uint8), np.zeros(0, np.uint8), (320, 320)
    )
    _, wanted = opencv.detect(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))

    answer = teacher.answer(picture)

    best = int(answer.score.argmax())
    np.testing.assert_allclose(answer.box_px[best], wanted[0, :4], atol=0.05)
    np.testing.assert_allclose(answer.points_px[best].ravel(), wanted[0, 4:14], atol=0.05)
    assert answer.score[best] == pytest.approx(wanted[0, 14], abs=1e-3)


@pytest.mark.shared
def test_a_pupil_that_starts_from_its_teacher_finds_the_face_that_it_finds(shared_weights):
    weights = (shared_weights / DETECTOR).read_bytes()
    picture = data.astronaut()
    network = FaceDetector().eval()

    load_yunet(network, weights)

    box_px, _ = find(network, picture, least_score=0.5)
    assert len(box_px) == 1
    assert align.overlap(box_px[0], list(YuNet(weights).find(picture).box_px)).max() >= SAME_FACE


@pytest.mark.shared
def test_another_network_is_no_teacher_to_start_from(shared_weights):
    mesh = (shared_weights / "mediapipe_face_mesh_468.onnx").read_bytes()

    with pytest.raises(BadDataset, match="want the layers of YuNet"):
        load_yunet(FaceDetector(), mesh)
