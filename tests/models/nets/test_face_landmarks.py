import numpy as np
import pytest
import torch
from torch import Tensor

from models.nets.face_landmarks import COMPONENTS, POINTS, SIDE_PX, FaceLandmarks, Shapes


def make_shapes(*, components: int = COMPONENTS, seed: int = 0) -> Shapes:
    random = torch.Generator().manual_seed(seed)
    return Shapes(
        mean=torch.rand(POINTS, 2, generator=random) - 0.5,
        components=torch.randn(components, POINTS, 2, generator=random) * 0.02,
    )


def make_network(seed: int = 0) -> FaceLandmarks:
    torch.manual_seed(seed)
    network = FaceLandmarks().eval()
    network.start_from(make_shapes())
    return network


def noise(count: int, seed: int = 0) -> Tensor:
    random = np.random.default_rng(seed)
    return torch.from_numpy(random.integers(0, 256, (count, SIDE_PX, SIDE_PX, 3), np.uint8))


def test_every_crop_gets_its_points_and_one_logit():
    points, logit = make_network()(noise(3))

    assert points.shape == (3, POINTS, 2)
    assert logit.shape == (3,)
    assert points.dtype == logit.dtype == torch.float32


def test_a_network_that_sees_nothing_yet_places_the_mean_face_in_the_middle_of_the_crop():
    network = make_network()
    with torch.no_grad():
        network.head.weight.zero_()

    points, _ = network(noise(1))

    expected = make_shapes().mean * SIDE_PX + (SIDE_PX - 1) / 2
    torch.testing.assert_close(points[0], expected)


def test_a_turn_told_by_the_head_turns_the_face_about_the_middle():
    network = make_network()
    with torch.no_grad():
        network.head.weight.zero_()
        before, _ = network(noise(1))
        # Grows by -1 and turns by 1: a quarter turn, clockwise as y goes down.
        network.head.bias[COMPONENTS] = -10.0
        network.head.bias[COMPONENTS + 1] = 10.0

    after, _ = network(noise(1))

    middle = (SIDE_PX - 1) / 2
    x, y = (before[0] - middle).unbind(-1)
    torch.testing.assert_close(after[0] - middle, torch.stack([-y, x], dim=-1), atol=1e-3, rtol=0)


def test_fewer_components_than_there_is_room_for_leave_the_rest_at_nought():
    network = FaceLandmarks()

    network.start_from(make_shapes(components=3))

    assert network.components[:3].abs().sum() > 0
    assert network.components[3:].abs().sum() == 0


def test_shapes_of_other_points_are_refused():
    with pytest.raises(ValueError, match=r"want a mean \[478, 2\]"):
        FaceLandmarks().start_from(Shapes(torch.zeros(468, 2), torch.zeros(4, 468, 2)))


def test_every_crop_is_judged_by_itself():
    network = make_network()
    crops = noise(4)

    together, _ = network(crops)
    alone, _ = network(crops[2:3])

    torch.testing.assert_close(together[2:3], alone, atol=1e-3, rtol=0)


def test_the_file_stays_under_three_megabytes():
    network = FaceLandmarks()

    numbers = sum(t.numel() for t in (*network.parameters(), *network.buffers()))
    assert numbers * 4 < 3e6


def test_weights_of_another_network_are_refused():
    with pytest.raises(ValueError, match="not those of the face mesh"):
        FaceLandmarks().load_mesh([torch.zeros(16, 3, 3, 3), torch.zeros(8)])
