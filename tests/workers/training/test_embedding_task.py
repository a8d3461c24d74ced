"""How the network that tells faces apart learns, and how it is measured."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.workers.training.make_bank import make_bank, make_face, make_head, make_landmarks
from workers.detection.identity import DIMENSIONS, SIDE_PX, TEMPLATE, aligned, picture_from_face
from workers.detection.persons import Alike
from workers.detection.stage import Floats, Image
from workers.training.bank import BANK_SIDE_PX, FaceBank, write_bank
from workers.training.embedding_views import (
    EmbeddingViews,
    Mixtures,
    ViewOptions,
    inner,
    wide_face,
)
from workers.training.errors import BadDataset, BadRecipe
from workers.training.evaluate.persons import Part, measured
from workers.training.manifest import Row, make_manifest, write_manifest
from workers.training.recipe import read_recipe
from workers.training.tasks.embedding import EmbeddingTask, pairs

ROUNDED = 12
"""Grey levels of noise, which differs by 200 from pixel to pixel, where a place is off by 1/32."""


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> FaceBank:
    return make_bank(tmp_path_factory.mktemp("bank"))


def views(bank: FaceBank, *, seed: int = 5, **options: object) -> EmbeddingViews:
    asked = ViewOptions.model_validate({"count": 6, **options})
    mixtures = Mixtures(bank, range(len(bank.rows)), asked, count=asked.count, seed=seed)
    answers = np.zeros((asked.count, DIMENSIONS), np.float32)
    return EmbeddingViews(mixtures, answers, asked, seed)


def test_eyes_nose_and_mouth_lie_where_the_template_has_them():
    points = make_landmarks(3)
    affine = picture_from_face(points)
    scale = np.sqrt(abs(np.linalg.det(affine[:, :2])))

    on_template = TEMPLATE @ affine[:, :2].T + affine[:, 2]

    eye = points[[33, 133, 159, 145]].mean(axis=0)
    assert np.linalg.norm(on_template[0] - eye) < 12 * scale
    assert aligned(make_head(3), points).shape == (SIDE_PX, SIDE_PX, 3)


def test_a_face_with_a_border_is_the_aligned_face_in_its_middle(bank: FaceBank):
    wide = wide_face(bank, 2)

    expected = aligned(bank.faces[2], bank.landmarks[2])
    np.testing.assert_allclose(inner(wide), expected, atol=ROUNDED)


def test_a_mirrored_face_is_the_face_in_a_mirror(bank: FaceBank):
    mirrored = inner(wide_face(bank, 2, (-1.0, 1.0)))[:, ::-1]

    np.testing.assert_allclose(mirrored, inner(wide_face(bank, 2)), atol=ROUNDED)


def test_a_view_is_a_function_of_its_number_alone(bank: FaceBank):
    first, again = views(bank), views(bank)
    first[3]

    for name, value in first[7].items():
        np.testing.assert_array_equal(value, again[7][name], strict=True)
    assert (first[7]["faces"] != first[8]["faces"]).any()


def test_the_teacher_is_shown_the_same_face_again_and_the_network_another_view(bank: FaceBank):
    some = views(bank)

    np.testing.assert_array_equal(some[1]["clean"], some[7]["clean"], strict=True)
    assert (some[1]["faces"] != some[7]["faces"]).any()


def test_a_mixture_is_made_of_two_faces(bank: FaceBank):
    def faces(mixed: float) -> Mixtures:
        options = ViewOptions(mixed=mixed, stretch=0)
        return Mixtures(bank, range(8), options, count=20, seed=1)

    known = {wide_face(bank, row, (s, 1.0)).tobytes() for row in range(8) for s in (1.0, -1.0)}

    assert all(faces(0.0)[i].tobytes() in known for i in range(20))
    assert not any(faces(1.0)[i].tobytes() in known for i in range(20))


def test_without_a_face_there_is_nothing_to_learn_from(bank: FaceBank):
    with pytest.raises(BadDataset, match="no face to learn from"):
        Mixtures(bank, [], ViewOptions(), count=1, seed=0)


def test_looks_at_one_clip_are_one_person_and_looks_at_one_group_are_not_asked_about():
    vectors = np.float32([[1, 0], [0.6, 0.8], [0, 1], [0, 1]])

    cosines, is_same = pairs(vectors, ["a", "a", "b", "c"], ["g", "g", "g", "h"])

    np.testing.assert_allclose(cosines, [0.6, 0.0, 0.8, 1.0], atol=1e-6)
    assert is_same.tolist() == [True, False, False, False]


def a_part(who: str, angle_deg: float | None) -> Part:
    direction = None
    if angle_deg is not None:
        direction = np.float32([np.cos(np.radians(angle_deg)), np.sin(np.radians(angle_deg))])
    return Part(clip=who, who=who, group=who, split="test", direction=direction)


def test_figures_of_people_who_are_far_apart_are_without_a_fault():
    parts = [a_part("a", 0), a_part("a", 10), a_part("b", 90), a_part("b", 100), a_part("b", None)]

    found = measured(parts, Alike(likely=0.5, surely=0.6))

    assert (found.auc, found.equal_error) == (1.0, 0.0)
    assert (found.faces, found.without_direction, found.same, found.different) == (5, 1, 2, 4)
    assert (found.missed, found.false_links, found.mixed) == (0.0, 0.0, 0)
    assert (found.groups_whole, found.persons) == (2, 2)


def test_people_who_look_alike_are_counted_as_false_links():
    found = measured(
        [a_part("a", 0), a_part("a", 80), a_part("b", 5), a_part("b", 85)],
        Alike(likely=0.5, surely=0.6),
    )

    assert found.false_links == 0.5
    assert found.missed == 1.0
    assert found.mixed == 2


@pytest.fixture
def recipe(tmp_path: Path, shared_weights: Path) -> dict[str, object]:
    """The shipped recipe, with drawn faces to learn from."""
    row = Row(
        path="a.jpg",
        sha256="0" * 64,
        kind="picture",
        clip="a.jpg",
        label="real",
        method="photo",
        family="real",
        group="a",
        dataset="drawn",
        split="train",
    )
    manifest = make_manifest([row], root=tmp_path)
    write_manifest(tmp_path / "manifest.csv", manifest)
    faces = [make_face(row, split="train" if row < 4 else "val") for row in range(8)]
    faces[5] = replace(faces[5], clip=faces[4].clip, group=faces[4].group)
    write_bank(
        tmp_path / "bank",
        faces=np.stack([make_head(seed) for seed in range(8)]),
        landmarks=np.stack([make_landmarks(seed) for seed in range(8)]),
        masks=np.zeros((8, BANK_SIDE_PX, BANK_SIDE_PX), np.uint8),
        rows=faces,
        manifest_sha256=manifest.sha256,
    )
    return read_recipe(
        Path("embedding"),
        [
            f"data.bank={tmp_path / 'bank'}",
            f"data.manifest={tmp_path / 'manifest.csv'}",
            f"network.teacher={shared_weights / 'mobilefacenet_128d.onnx'}",
            f"network.answers={tmp_path / 'answers.npz'}",
            "network.kept=[[0],[0],[0]]",
            "network.frozen_blocks=2",
            "views.count=4",
        ],
    )


def test_it_learns_what_the_teacher_says_and_leaves_alone_what_is_frozen(
    recipe: dict[str, object],
):
    task = EmbeddingTask(recipe)
    network, examples = task.network(), task.examples()
    batch = torch.utils.data.default_collate([examples[i] for i in range(4)])
    stem = network.stem[0].weight.detach().clone()

    before = task.losses(network, batch)
    trained = [p for p in network.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=3e-3)
    for _ in range(4):
        optimiser.zero_grad()
        task.losses(network, batch)["loss"].backward()
        optimiser.step()

    assert task.losses(network, batch)["loss"] < before["loss"]
    assert network.stem[0].weight.equal(stem)
    np.testing.assert_allclose(
        batch["wanted"][0], task.teacher.embed_aligned(batch["clean"][0].numpy()), atol=1e-5
    )


def test_the_teacher_is_asked_once(recipe: dict[str, object]):
    class Mute:
        def embed_aligned(self, face: Image) -> Floats:
            raise AssertionError("it was asked before")

    EmbeddingTask(recipe).examples()
    again = EmbeddingTask(recipe)
    again.__dict__["teacher"] = Mute()

    assert len(again.examples()[0]["wanted"]) == DIMENSIONS


def test_validation_says_how_far_it_agrees_with_the_teacher(recipe: dict[str, object]):
    task = EmbeddingTask(recipe)

    found = task.validate(task.network())

    assert set(found) == {"val_agreement", "val_auc", "val_teacher_auc"}
    assert -1 <= found["val_agreement"] <= 1


def test_it_is_served_as_it_is_trained_for_any_number_of_faces(recipe: dict[str, object]):
    task = EmbeddingTask(recipe)

    served = task.served(task.network())

    assert served.outputs == ("embedding",)
    assert served.module(**served.example).shape == (2, DIMENSIONS)
    assert 0 in served.dynamic["faces"]
    sheet = task.pictures(
        task.network(),
        torch.utils.data.default_collate([task.examples()[i] for i in range(4)]),
    )
    assert sheet.shape == (2 * SIDE_PX, 4 * SIDE_PX, 3)


def test_a_teacher_that_is_not_there_is_said_to_be_missing(recipe: dict[str, object]):
    network = recipe["network"]
    assert isinstance(network, dict)
    raw = {**recipe, "network": {**network, "teacher": "nowhere.onnx"}}

    with pytest.raises(BadRecipe, match=r"network\.teacher: nowhere\.onnx cannot be read"):
        EmbeddingTask(raw).network()


def test_faces_that_were_cut_by_another_manifest_are_refused(
    recipe: dict[str, object], tmp_path: Path
):
    make_bank(tmp_path / "bank")

    with pytest.raises(BadDataset, match="was not built from"):
        EmbeddingTask(recipe).examples()
