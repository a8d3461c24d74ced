"""Are both sides measured on the same looks, and are the differences those of the networks?"""

import io

import numpy as np
import pytest
from rich.console import Console

from tests.make_models import make_classifier_onnx, make_segmenter_onnx
from tests.workers.training.evaluate.banks import make_bank, make_face, make_picture
from workers.training.bank import BANK_SIDE_PX
from workers.training.evaluate.scores import Network
from workers.training.manifest import DataManifest
from workers.training.rounds.compare import (
    Detectors,
    Judged,
    calibrated,
    compare,
    rows_of,
    wanted,
)
from workers.training.rounds.recipe import Frozen, GateOptions

CLIPS, LOOKS = 24, 2
SIDE = BANK_SIDE_PX


def is_fake(clip: int) -> bool:
    return clip % 2 == 1


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
    """Bright fakes, with a mask in the middle, and dark real clips; each a group of its own."""
    faces = []
    for clip in range(CLIPS):
        label = "fake" if is_fake(clip) else "real"
        faces += [
            make_face(
                len(faces) + look,
                clip=f"c{clip}",
                path=f"c{clip}/{look}.png",
                kind="picture",
                label=label,
                method=("late", "early")[clip % 4 == 1] if label == "fake" else "phone",
                group=f"g{clip}",
                split="test" if clip < CLIPS - 2 else "val",
                has_mask=label == "fake",
            )
            for look in range(LOOKS)
        ]
    masks = np.zeros((len(faces), SIDE, SIDE), np.uint8)
    for face in faces:
        if face.label == "fake":
            masks[face.row] = 255
    return make_bank(
        tmp_path_factory.mktemp("compare"),
        faces,
        lambda face: make_picture(190 if face.label == "fake" else 60, seed=face.row),
        masks=masks,
    )


def make_frozen(**changes: object) -> Frozen:
    return Frozen.model_validate({"name": "drawn", "manifest": "drawn.csv"} | changes)


def make_sides(bank):
    """A classifier that sees nothing, and one that is right."""
    rows = rows_of(bank, make_frozen())
    sides = []
    for name, slope in (("blind", 0.0), ("right", 16.0)):
        network = Network(name, make_classifier_onnx(slope=slope))
        sides.append(
            Detectors(
                classifier=network,
                calibration=calibrated(network, bank, rows, seed=0),
                segmenter=Network(name, make_segmenter_onnx()),
            )
        )
    return sides


def measured(bank, frozen: Frozen):
    judged = Judged(
        frozen=frozen,
        data=DataManifest(root=None, rows=(), sha256="0" * 64),  # type: ignore[arg-type]
        bank=bank,
        rows=rows_of(bank, frozen),
    )
    console = Console(file=io.StringIO())
    found = compare([judged], *make_sides(bank), GateOptions(), seed=0, console=console)
    return {measure.name: measure for measure in found}


def test_a_better_ranking_is_a_gain_with_its_interval(bank):
    auc = measured(bank, make_frozen(is_primary=True))["AUC (drawn)"]

    assert (auc.role, auc.better) == ("primary", "higher")
    assert (auc.current, auc.candidate) == (0.5, 1.0)
    assert auc.difference.value == auc.difference.low == 0.5
    assert auc.groups == CLIPS - 2


def test_false_positives_are_counted_at_a_line_of_each_sides_own(bank):
    guards = measured(bank, make_frozen(guards=["false_positives"]))
    alarms = guards["false positives on real clips (drawn)"]

    assert (alarms.role, alarms.better) == ("guard", "lower")
    assert alarms.margin == GateOptions().margins.false_positives
    assert alarms.candidate == 0.0
    assert alarms.difference.value == pytest.approx(alarms.candidate - alarms.current)


def test_networks_that_mark_alike_do_not_differ(bank):
    found = measured(bank, make_frozen(guards=["false_area"], shown=["iou"]))

    area = found["area marked on real faces (drawn)"]
    assert 0 < area.current == area.candidate < 0.01
    assert area.difference.value == 0.0
    iou = found["overlap of masks on fakes (drawn)"]
    assert iou.role == "shown"
    assert iou.current == iou.candidate > 0.9
    assert iou.difference.low == iou.difference.high == 0.0


def test_clips_that_cannot_be_compressed_anew_leave_no_figure(bank):
    compressed = measured(bank, make_frozen(guards=["compressed_auc"]))

    assert np.isnan(compressed["AUC, strongly compressed (drawn)"].difference.value)


def test_a_set_is_of_its_splits_and_methods(bank):
    rows = rows_of(bank, make_frozen(methods=["early"]))

    labels = {(bank.rows[row].label, bank.rows[row].method) for row in rows}
    assert labels == {("real", "phone"), ("fake", "early")}
    assert {bank.rows[row].split for row in rows} == {"test"}
    assert len(rows_of(bank, make_frozen(splits=["test", "val"]))) == CLIPS * LOOKS


def test_the_gate_is_told_what_it_must_be_shown():
    sets = [make_frozen(is_primary=True, shown=["iou"]), make_frozen(name="more", guards=["auc"])]

    assert wanted(sets) == ["AUC (drawn)", "AUC (more)"]
