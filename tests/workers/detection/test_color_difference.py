"""Do colours differ as the standard says?"""

import numpy as np
import pytest

from workers.detection.color_difference import delta_e, to_lab

# Sharma, Wu & Dalal 2005, table 1: pairs that tell a right formula from those that are nearly so.
SHARMA = [
    ((50.0, 2.6772, -79.7751), (50.0, 0.0, -82.7485), 2.0425),
    ((50.0, -1.3802, -84.2814), (50.0, 0.0, -82.7485), 1.0000),
    ((50.0, 0.0, 0.0), (50.0, -1.0, 2.0), 2.3669),
    ((50.0, 2.4900, -0.0010), (50.0, -2.4900, 0.0009), 7.1792),
    ((50.0, 2.4900, -0.0010), (50.0, -2.4900, 0.0011), 7.2195),
    ((50.0, 2.5, 0.0), (73.0, 25.0, -18.0), 27.1492),
    ((50.0, 2.5, 0.0), (58.0, 24.0, 15.0), 19.4535),
    ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
    ((22.7233, 20.0904, -46.6940), (23.0331, 14.9730, -42.5619), 2.0373),
    ((90.8027, -2.0831, 1.4410), (91.1528, -1.6435, 0.0447), 1.4441),
    ((2.0776, 0.0795, -1.1350), (0.9033, -0.0636, -0.5514), 0.9082),
]


@pytest.mark.parametrize(("one", "other", "difference"), SHARMA)
def test_pairs_of_the_standard_differ_as_it_says(
    one: tuple[float, float, float], other: tuple[float, float, float], difference: float
) -> None:
    first, second = np.array(one), np.array(other)

    assert delta_e(first, second) == pytest.approx(difference, abs=1e-4)
    assert delta_e(second, first) == pytest.approx(difference, abs=1e-4)


def test_a_colour_does_not_differ_from_itself() -> None:
    colors = np.float32([[50, 10, 10], [0, 0, 0], [100, 0, 0]])

    np.testing.assert_array_equal(delta_e(colors, colors), [0, 0, 0])


def test_white_black_and_red_have_their_places() -> None:
    picture = np.uint8([[[255, 255, 255], [0, 0, 0], [255, 0, 0]]])

    np.testing.assert_allclose(
        to_lab(picture)[0], [[100, 0, 0], [0, 0, 0], [53.24, 80.09, 67.20]], atol=0.05
    )
