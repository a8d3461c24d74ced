"""Do the measures of a forger tell a good one from a bad one, and whose face is whose?"""

import numpy as np
import pytest
import torch

from models.nets.forger import Forged, Forger, ForgerShape, Identity
from tests.workers.training.forging.make_sets import make_face_set
from workers.detection.stage import Floats, Image
from workers.training.forging.face_sets import FaceSet
from workers.training.forging.measures import held_out, measure, plain_views
from workers.training.forging.previews import CELL_PX, preview_sheet


class Drawn(Forger):
    """A forger that is told what to do: gives back what it sees, softer or as it is."""

    def __init__(self, *, blur_px: int = 1, tint: float = 0.0) -> None:
        super().__init__(ForgerShape(width=8, latent=8))
        self._blur_px, self._tint = blur_px, tint

    def forward(self, distorted: torch.Tensor, to: Identity) -> Forged:
        face = torch.nn.functional.avg_pool2d(
            distorted, self._blur_px, stride=1, padding=self._blur_px // 2, count_include_pad=False
        )
        face = (face + (self._tint if to == "b" else 0.0)).clamp(0, 1)
        mask = torch.ones_like(face[:, :1])
        return Forged(face, mask, face)


class Embedder:
    """Tells faces apart by how bright they are: dark is a, bright is b."""

    sha256 = "0" * 64

    def embed(self, pictures: list[Image], landmarks_px: list[Floats]) -> Floats:
        assert all(len(points) for points in landmarks_px)
        bright = np.array([float(picture.mean()) / 255 for picture in pictures])
        return np.stack([np.cos(bright * np.pi / 2), np.sin(bright * np.pi / 2)], axis=1).astype(
            np.float32
        )


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> tuple[FaceSet, FaceSet]:
    folder = tmp_path_factory.mktemp("sets")
    a, b = np.eye(2, dtype=np.float32)
    return (
        make_face_set(folder / "a", seed=10, count=5, held_out=3, embedding=a),
        make_face_set(folder / "b", seed=20, count=5, held_out=3, embedding=b),
    )


def test_a_perfect_reconstruction_is_alike_and_as_sharp_and_a_soft_one_less(
    sets: tuple[FaceSet, FaceSet],
):
    perfect = measure(Drawn(), *sets, None)
    soft = measure(Drawn(blur_px=5), *sets, None)

    assert perfect == pytest.approx(
        {"ssim_a": 1.0, "ssim_b": 1.0, "sharpness_a": 1.0, "sharpness_b": 1.0}, abs=1e-5
    )
    assert 0.3 < soft["ssim_a"] < 0.95
    assert soft["sharpness_a"] < 0.5


def test_a_swap_is_whose_mean_embedding_is_nearer(sets: tuple[FaceSet, FaceSet]):
    found = measure(Drawn(tint=1.0), *sets, Embedder())

    assert found["identity_ab"] == 1.0
    assert found["identity_margin_ab"] > 0.5
    assert 0.0 <= found["identity_ba"] <= 1.0


def test_without_the_embedding_network_identity_is_left_out(sets: tuple[FaceSet, FaceSet]):
    assert not any("identity" in name for name in measure(Drawn(), *sets, None))


def test_only_held_out_faces_are_measured_spread_evenly(sets: tuple[FaceSet, FaceSet]):
    assert held_out(sets[0], at_most=48) == [2, 3, 4]
    assert held_out(sets[0], at_most=2) == [2, 4]
    assert plain_views(sets[0], [2, 4], 64).shape == (2, 64, 64, 3)


def test_measuring_leaves_a_forger_that_is_learning_at_it(sets: tuple[FaceSet, FaceSet]):
    forger = Drawn().train()

    measure(forger, *sets, None)

    assert forger.training


def test_a_sheet_shows_both_ways_in_four_rows_each(sets: tuple[FaceSet, FaceSet]):
    sheet = preview_sheet(Drawn(tint=1.0), *sets)
    half = len(sheet) // 2
    source, own, swap, mask = (half - 4 * (CELL_PX + 6) + row * (CELL_PX + 6) for row in range(4))
    cells = [
        [sheet[at : at + CELL_PX, 168 : 168 + CELL_PX] for at in (top, top + half)]
        for top in (source, own, swap, mask)
    ]

    assert np.array_equal(cells[0][0], cells[1][0])
    assert cells[2][0].min() == cells[3][0].min() == 255
    assert np.array_equal(cells[0][1], cells[2][1])
