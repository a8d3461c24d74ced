"""How the segmenter learns."""

from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from torch.utils.data import default_collate

from tests.workers.training.make_bank import make_bank, make_landmarks
from workers.training.bank import BORDER_PX
from workers.training.loop import train
from workers.training.tasks import make_task
from workers.training.tasks.segmenter import (
    MOST_MARKED_OF_REALS,
    SegmenterTask,
    hull,
    iou,
    predict,
)

SIDE_PX = 64
quiet = Console(quiet=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("segmenter")
    make_bank(folder / "bank")
    return folder


def recipe(folder: Path, **changes: dict[str, object]) -> dict[str, object]:
    sections: dict[str, dict[str, object]] = {
        "run": {
            "seed": 1,
            "steps": 2,
            "batch": 3,
            "loader_workers": 0,
            "threads": 1,
            "pictures_every": 2,
            "validate_every": 2,
        },
        "optimiser": {"rate": 1e-3, "warmup_steps": 1},
        "data": {"manifest": folder / "manifest.csv", "bank": folder / "bank"},
        "network": {"initial": "random"},
        "loss": {},
        "pairs": {
            "view_px": 224,
            "side_px": SIDE_PX,
            "self_blend_share": 0.4,
            "degrade": {"h264_share": 0.0},
        },
    }
    for name, change in changes.items():
        sections[name] |= change
    return {"task": "segmenter", **sections}


def val_bank(folder: Path) -> Path:
    """Write the drawn bank with all of it in the val split."""
    make_bank(folder / "bank")
    rows = folder / "bank" / "bank.json"
    rows.write_text(rows.read_text().replace('"train"', '"val"'))
    return folder


def batch_of(task: SegmenterTask, count: int = 4) -> dict[str, torch.Tensor]:
    examples = task.examples()
    batch: dict[str, torch.Tensor] = default_collate([examples[i] for i in range(count)])
    return batch


def test_two_steps_leave_finite_losses_pictures_and_a_validation(
    folder: Path, tmp_path: Path
) -> None:
    task = make_task(recipe(folder))

    network = train(task, tmp_path, console=quiet)

    assert all(torch.isfinite(v).all() for v in network.state_dict().values())
    assert len(list((tmp_path / "pictures").glob("*.png"))) == 2  # of the first step and the last
    history = np.genfromtxt(tmp_path / "metrics.csv", delimiter=",", names=True)
    assert np.isfinite(history["loss"]).all()


@pytest.mark.parametrize("distance", ["l1", "l2"])
def test_every_loss_is_a_number_and_weights_learn_from_their_sum(
    folder: Path, distance: str
) -> None:
    task = SegmenterTask(recipe(folder, loss={"distance": distance}))
    network = task.network()

    losses = task.losses(network, batch_of(task))
    losses["loss"].backward()

    assert all(torch.isfinite(value) for value in losses.values())
    assert network.mask_head.bias.grad is not None
    assert network.head.weight.grad is not None


def test_a_blank_mask_on_the_real_half_costs_nothing_and_a_full_one_much(folder: Path) -> None:
    task = SegmenterTask(recipe(folder))
    batch = batch_of(task)
    network = task.network()

    costs = []
    for log_odds in (-12.0, 12.0):
        torch.nn.init.constant_(network.mask_head.bias, log_odds)
        with torch.no_grad():
            costs.append(task.losses(network, batch))

    assert float(costs[0]["on_reals"]) == pytest.approx(0, abs=1e-6)
    assert float(costs[0]["marked_of_reals"]) == 0
    assert float(costs[1]["on_reals"]) == pytest.approx(1, abs=1e-3)
    assert float(costs[1]["marked_of_reals"]) == 1


def test_a_fake_of_unknown_mask_counts_for_nothing(folder: Path) -> None:
    task = SegmenterTask(recipe(folder))
    network = task.network().eval()
    batch = batch_of(task)
    batch["has_mask"] = torch.tensor([1, 1, 1, 0])
    other = dict(batch)
    other["fake"] = batch["fake"].clone()
    other["fake"][3] = 255 - other["fake"][3]
    other["mask"] = batch["mask"].clone()
    other["mask"][3] = 255

    with torch.no_grad():
        first, second = (task.losses(network, b)["loss"] for b in (batch, other))

    torch.testing.assert_close(first, second)


def test_the_sheet_has_a_column_an_example_and_five_pictures_in_each(folder: Path) -> None:
    task = SegmenterTask(recipe(folder))

    sheet = task.pictures(task.network(), batch_of(task, 3))

    assert sheet.shape == (5 * SIDE_PX, 3 * SIDE_PX, 3)
    assert sheet.dtype == np.uint8


def test_validation_reads_the_val_split_alone(folder: Path) -> None:
    task = SegmenterTask(recipe(folder))

    assert task.validate(task.network()) == {}  # the drawn bank has none


def test_validation_measures_masks_beside_the_hull(tmp_path: Path) -> None:
    task = SegmenterTask(recipe(val_bank(tmp_path)))

    found = task.validate(task.network())

    assert set(found) == {"iou", "hull_iou", "blend_iou", "marked_of_reals"}
    assert found["iou"] == 0  # an untrained network marks nothing
    assert found["marked_of_reals"] == 0
    assert 0.3 < found["hull_iou"] < 1


def test_the_served_network_answers_as_the_task_does(folder: Path) -> None:
    task = SegmenterTask(recipe(folder))
    network = task.network()
    torch.nn.init.normal_(network.mask_head.weight)
    crops = [task.bank.served(row) for row in (0, 8)]

    probability, masks = predict(network, crops)
    served = task.served(network)
    with torch.inference_mode():
        again = served.module(torch.from_numpy(np.stack(crops)))

    assert served.outputs == ("fake_probability", "mask")
    np.testing.assert_array_equal(probability, again[0].numpy(), strict=True)
    np.testing.assert_array_equal(masks, again[1].numpy(), strict=True)


def test_a_network_that_marks_real_faces_is_served_with_lower_masks(tmp_path: Path) -> None:
    task = SegmenterTask(recipe(val_bank(tmp_path)))
    network = task.network()
    torch.nn.init.normal_(network.mask_head.weight)
    torch.nn.init.constant_(network.mask_head.bias, 2.0)
    reals = [task.bank.served(f.row) for f in task.bank.rows if f.label == "real"]

    _, before = predict(network, reals)
    with torch.inference_mode():
        _, after = task.served(network).module(torch.from_numpy(np.stack(reals)))

    assert (before > 0.5).mean() > 0.2
    assert (after > 0.5).float().mean() < MOST_MARKED_OF_REALS + 0.005
    assert (after > 0.5).any()


def test_training_goes_on_from_the_network_of_another_run(folder: Path, tmp_path: Path) -> None:
    first = SegmenterTask(recipe(folder)).network()
    torch.nn.init.normal_(first.mask_head.weight)
    torch.save(first.state_dict(), tmp_path / "network.pt")
    more: dict[str, object] = {"initial": "segmenter", "weights": tmp_path / "network.pt"}

    second = SegmenterTask(recipe(folder, network=more, run={"seed": 2})).network()

    for name, value in first.state_dict().items():
        torch.testing.assert_close(second.state_dict()[name], value, rtol=0, atol=0)


@pytest.mark.parametrize("initial", ["imagenet", "segmenter"])
def test_initial_weights_that_nobody_named_are_asked_for(folder: Path, initial: str) -> None:
    task = SegmenterTask(recipe(folder, network={"initial": initial}))

    with pytest.raises(ValueError, match=r"network\.weights"):
        task.network()


def test_the_hull_lies_where_the_face_lies_in_the_served_crop() -> None:
    landmarks = make_landmarks(0)
    drawn = hull(landmarks)
    x, y = landmarks.mean(axis=0) - BORDER_PX

    assert drawn[round(float(y)), round(float(x))]
    assert not drawn[0].any()
    assert 0.2 < drawn.mean() < 0.7


def test_the_overlap_of_nothing_with_nothing_is_whole() -> None:
    nothing, half = np.zeros((2, 2), bool), np.array([[True, False], [True, False]])

    assert iou(nothing, nothing) == 1
    assert iou(half, half) == 1
    assert iou(nothing, half) == 0
    assert iou(half, np.ones((2, 2), bool)) == 0.5
