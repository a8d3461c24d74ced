"""How the landmark network learns, and how it is measured."""

from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from rich.console import Console
from skimage import data

from models.nets.face_landmarks import SIDE_PX, FaceLandmarks
from tests.workers.training.make_landmarks import (
    FACE_PX,
    MIDDLE_PX,
    TEACHERS_APART_PX,
    make_landmark_bank,
    mean_face,
)
from workers.detection.stage import LANDMARKS
from workers.training.errors import BadDataset, BadRecipe
from workers.training.landmark_measures import (
    error_by_region,
    openness_agrees,
    still_views,
    teachers_differ,
    trembling,
)
from workers.training.landmark_views import (
    MARGIN,
    LandmarkViews,
    Sight,
    ViewOptions,
    mirrored,
    moved_view,
    shapes_of,
    targets,
)
from workers.training.manifest import Row, make_manifest, write_manifest
from workers.training.recipe import read_recipe
from workers.training.tasks.landmarks import LandmarksTask
from workers.training.teachers import (
    LANDMARKS_WITH_IRISES,
    LandmarkBank,
    blink_rows,
    build_landmark_bank,
    eye_distance_px,
    mesh_weights,
    region_in_bank,
)

quiet = Console(quiet=True)


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> LandmarkBank:
    return make_landmark_bank(tmp_path_factory.mktemp("landmarks"))


def a_row(path: str) -> Row:
    return Row(
        path=path,
        sha256="0" * 64,
        kind="picture",
        clip=path,
        label="real",
        method="photo",
        family="real",
        group=path,
        dataset="drawn",
        split="train",
    )


def overrides(folder: Path) -> list[str]:
    """Put drawn faces in place of those that the shipped recipe names."""
    manifest = make_manifest([a_row("drawn.png")], root=folder)
    write_manifest(folder / "manifest.csv", manifest)
    make_landmark_bank(folder / "bank", manifest_sha256=manifest.sha256)
    return [f"data.bank={folder / 'bank'}", f"data.manifest={folder / 'manifest.csv'}"]


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> LandmarksTask:
    """The shipped recipe, with drawn faces to learn from, and no teacher to start from."""
    changes = overrides(tmp_path_factory.mktemp("task"))
    return LandmarksTask(read_recipe(Path("landmarks"), [*changes, "network.initial=random"]))


def views(bank: LandmarkBank, **options: object) -> LandmarkViews:
    return LandmarkViews(bank, range(len(bank.pupils)), ViewOptions(**options), seed=5)


def faces_of(bank: LandmarkBank) -> list[int]:
    return [row for row, pupil in enumerate(bank.pupils) if pupil.has_face]


def test_a_view_is_a_function_of_its_number_alone(bank: LandmarkBank):
    first, again = views(bank), views(bank)
    first[3]

    for name, value in first[7].items():
        np.testing.assert_array_equal(value, again[7][name], strict=True)
    assert (first[7]["faces"] != first[8]["faces"]).any()


def test_points_move_with_their_picture(bank: LandmarkBank):
    crop = np.zeros_like(bank.crops[0])
    dots = np.float32([[70, 80], [120, 100], [90, 130]])
    for x, y in dots:
        cv2.circle(crop, (int(x), int(y)), 3, (255, 255, 255), -1)

    region = region_in_bank(right=0.1, down=-0.05, scale=1.1, turn_rad=0.3)
    picture, points = moved_view(crop, dots, region)

    labels, _, _, centres = cv2.connectedComponentsWithStats(
        (picture[..., 0] > 100).astype(np.uint8)
    )
    assert labels == 4
    for point in points:
        assert np.linalg.norm(centres[1:] - point, axis=1).min() < 0.5


def test_the_view_that_nothing_moves_is_the_served_crop(bank: LandmarkBank):
    _, points = moved_view(bank.crops[0], np.float32([[MIDDLE_PX, MIDDLE_PX]]), region_in_bank())
    _, edge = moved_view(
        bank.crops[0], np.float32([[MIDDLE_PX + FACE_PX / 2, MIDDLE_PX]]), region_in_bank()
    )

    np.testing.assert_allclose(points, (SIDE_PX - 1) / 2, atol=1e-3)
    assert edge[0, 0] - points[0, 0] == pytest.approx(SIDE_PX / MARGIN / 2, abs=1e-3)


def test_a_mirror_swaps_the_sides_and_twice_is_nothing(bank: LandmarkBank):
    face = mean_face()

    np.testing.assert_allclose(mirrored(face, bank.mirror), face, atol=1e-3)
    moved = face + np.float32([5, 0])
    np.testing.assert_allclose(mirrored(moved, bank.mirror), face - np.float32([5, 0]), atol=1e-3)


def test_lost_faces_come_in_the_share_asked_for_and_have_no_points(bank: LandmarkBank):
    drawn = [views(bank, lost=0.5).draw(i) for i in range(200)]

    seen = [view.sight for view in drawn]
    assert 70 < sum(s != Sight.FACE for s in seen) < 130
    assert set(seen) == set(Sight)
    example = views(bank, lost=1.0)[0]
    assert example["presence"] == example["has_points"] == 0


def test_a_face_in_reach_keeps_its_middle_in_the_view(bank: LandmarkBank):
    drawn = [views(bank, lost=0.0).draw(i) for i in range(60)]

    middles = np.stack([view.points_px.mean(axis=0) for view in drawn])
    assert (np.abs(middles - SIDE_PX / 2) < SIDE_PX / 4).all()


def test_without_a_face_there_is_nothing_to_draw(bank: LandmarkBank):
    places = [row for row, pupil in enumerate(bank.pupils) if not pupil.has_face]

    with pytest.raises(BadDataset, match="no face to draw"):
        LandmarkViews(bank, places, ViewOptions(), 0)


def test_shapes_leave_out_where_a_face_lies_and_how_it_is_turned():
    face = mean_face()
    turned = []
    for number in range(6):
        angle, scale = 0.1 * number, 1 + 0.05 * number
        spin = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        turned.append((face - MIDDLE_PX) @ spin.T + MIDDLE_PX + number)

    shapes = shapes_of(np.float32(turned), 4)

    assert float(shapes.components.abs().max()) < 1e-4


def test_the_network_starts_from_the_mean_face_and_learns(task: LandmarksTask):
    network = task.network()
    batch = torch.utils.data.default_collate([task.examples()[i] for i in range(4)])

    before = task.losses(network, batch)
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3)
    for _ in range(4):
        optimiser.zero_grad()
        task.losses(network, batch)["loss"].backward()
        optimiser.step()

    assert before["points_px"] < 30
    assert task.losses(network, batch)["loss"] < before["loss"]


def test_validation_names_every_region_and_the_presence(task: LandmarksTask):
    found = task.validate(task.network())

    assert {"val_error", "val_error_lids", "val_error_jaw", "val_presence_auc"} <= found.keys()
    assert all(np.isfinite(value) for value in found.values())


def test_a_person_can_look_at_what_the_network_sees(task: LandmarksTask):
    batch = torch.utils.data.default_collate([task.examples()[i] for i in range(8)])

    sheet = task.pictures(task.network(), batch)

    assert sheet.shape == (4 * 2 * SIDE_PX, 2 * 2 * SIDE_PX, 3)
    assert sheet.dtype == np.uint8


def test_it_is_served_as_it_is_trained_for_any_number_of_crops(task: LandmarksTask):
    served = task.served(task.network())

    points, logit = served.module(**served.example)
    assert served.outputs == ("points", "presence_logit")
    assert points.shape == (len(served.example["faces"]), LANDMARKS_WITH_IRISES, 2)
    assert len(logit) == len(points)
    assert 0 in served.dynamic["faces"]


def test_errors_are_shares_of_the_distance_between_the_eyes(bank: LandmarkBank):
    wanted = np.stack([mean_face()])
    said = wanted + np.float32([3, 4])

    found = error_by_region(said, wanted)

    assert found["error"] == pytest.approx(5 / eye_distance_px(wanted)[0], rel=1e-4)
    assert found["error_irises"] == pytest.approx(found["error_lids"], rel=1e-4)
    differ = teachers_differ(bank, faces_of(bank))
    assert "error_irises" not in differ
    expected = TEACHERS_APART_PX / eye_distance_px(bank.mesh_px[faces_of(bank)])
    assert differ["error"] == pytest.approx(float(expected.mean()), rel=1e-3)


def test_points_that_keep_to_a_still_face_do_not_tremble(bank: LandmarkBank):
    def nailed(pictures: np.ndarray) -> np.ndarray:
        return np.zeros((len(pictures), LANDMARKS, 2), np.float32)

    eyes = np.float32([50, 50])
    still = trembling(nailed, bank.crops[:2], eyes)

    # Points that stay where they are while the face moves by half a pixel do tremble.
    assert 0.5 * np.sqrt(2 / 3) / 50 == pytest.approx(still, rel=0.3)


def test_eyes_that_shut_together_agree(bank: LandmarkBank):
    random = np.random.default_rng(0)
    faces = np.stack([mean_face()] * 8)
    faces[:, [159, 160, 158, 386, 385, 387], 1] -= random.uniform(0, 10, 8)[:, None]

    assert openness_agrees(faces, faces, ["a"] * 8) == pytest.approx(1)
    assert np.isnan(openness_agrees(faces, faces, list("abcdefgh")))


def test_still_views_are_the_same_each_time(bank: LandmarkBank):
    pictures, points = still_views(bank, [0, 1])
    again, _ = still_views(bank, [0, 1])

    np.testing.assert_array_equal(pictures, again, strict=True)
    assert points.shape == (2, LANDMARKS_WITH_IRISES, 2)


def test_a_bank_that_was_not_finished_does_not_open(tmp_path: Path):
    make_landmark_bank(tmp_path)
    (tmp_path / "pupils.json").unlink()

    with pytest.raises(BadDataset, match="no whole bank"):
        LandmarkBank.open(tmp_path)


def test_blinks_are_split_by_person(tmp_path: Path):
    lines = [f"blinks/{n}.mp4,{n // 2},1,9,{'a' * 64}" for n in range(16)]
    table = tmp_path / "blinks.csv"
    table.write_text("\n".join(["file,person,blinks,size_bytes,sha256", *lines]))

    rows = blink_rows(table, tmp_path)

    assert [row.split for row in rows][::2] == ["train"] * 5 + ["val"] + ["test"] * 2
    assert {row.group for row in rows[:2]} == {"blinks-0"}
    with pytest.raises(BadDataset, match="no table of blinks"):
        blink_rows(tmp_path / "none.csv", tmp_path)


def test_the_teachers_find_a_real_face_and_agree_on_it(tmp_path: Path, shared_weights: Path):
    portrait = data.astronaut()[:320, 60:380]
    cv2.imwrite(str(tmp_path / "astronaut.png"), portrait[..., ::-1])
    bank = build_landmark_bank(
        [a_row("astronaut.png")],
        tmp_path / "bank",
        root=tmp_path,
        manifest_sha256="1" * 64,
        weights=shared_weights,
        console=quiet,
    )

    (pupil,) = bank.pupils
    assert pupil.has_face
    assert teachers_differ(bank, [0])["error"] < 0.05
    assert 90 < pupil.face_px < 200
    assert [bank.mirror[point] for point in (33, 61, 1)] == [263, 291, 1]


def test_the_trunk_of_the_teacher_sees_what_the_teacher_sees(shared_weights: Path):
    content = (shared_weights / "mediapipe_face_mesh_468.onnx").read_bytes()
    mesh = onnx.load_from_string(content)
    mesh.graph.output.append(onnx.helper.make_tensor_value_info("p_re_lu_15", 1, None))
    session = onnxruntime.InferenceSession(mesh.SerializeToString())
    picture = np.random.default_rng(0).random((1, 3, 192, 192), np.float32)
    network = FaceLandmarks().eval()

    network.load_mesh([torch.from_numpy(weight.copy()) for weight in mesh_weights(content)])

    (expected,) = session.run(["p_re_lu_15"], {"input_1": picture})
    seen = network.trunk(torch.from_numpy(picture)).detach().numpy()
    np.testing.assert_allclose(seen, expected, atol=1e-3)


def test_a_recipe_that_starts_from_a_mesh_must_say_where_it_is():
    raw = {**read_recipe(Path("landmarks")), "network": {"initial": "mesh"}}

    with pytest.raises(BadRecipe, match=r"network\.weights names no file"):
        LandmarksTask(raw).network()


def test_faces_that_were_labelled_by_another_manifest_are_refused(tmp_path: Path):
    changes = overrides(tmp_path)
    make_landmark_bank(tmp_path / "bank", manifest_sha256="7" * 64)

    with pytest.raises(BadDataset, match="was not built from"):
        LandmarksTask(read_recipe(Path("landmarks"), changes)).examples()


def test_eyes_are_learnt_from_the_teacher_that_sees_them_better(bank: LandmarkBank):
    wanted = targets(bank, 0)

    np.testing.assert_array_equal(wanted[33], bank.irises_px[0][33])
    np.testing.assert_array_equal(wanted[470], bank.irises_px[0][470])
    np.testing.assert_array_equal(wanted[1], bank.mesh_px[0][1])
