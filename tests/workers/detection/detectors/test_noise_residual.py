"""Is noise that differs between face and surroundings measured as it was drawn?"""

from dataclasses import replace

import numpy as np
import pytest

from app.domain.evidence import AbstainReason, Abstention, DetectorName, Finding
from tests.make_faces import make_sample
from tests.workers.detection.detectors.draw_heads import draw_mesh, person_of
from workers.detection.detectors.noise_residual import (
    BLOCK_PX,
    RESIDUAL,
    ROUNDING,
    NoiseResidual,
    off_grid,
)
from workers.detection.face_regions import hull_mask
from workers.detection.reference import NOTHING, Reference, Scale, Transform
from workers.detection.stage import CROP_SIDE_PX, FaceClip

INSIDE = hull_mask(draw_mesh(), CROP_SIDE_PX)
LOOKS = 8
NOISE = 6.0
"""Standard deviation in grey levels."""


def noisy(inside: float, around: float, *, along: float = 0.0) -> FaceClip:
    """Draw grey with white noise of two deviations; `along` smears that inside to the right."""
    pictures = []
    for seed in range(LOOKS):
        random = np.random.default_rng(seed)
        noise = random.normal(0, 1, (CROP_SIDE_PX, CROP_SIDE_PX))
        smeared = (noise + along * np.roll(noise, 1, axis=1)) / np.hypot(1, along)
        drawn = np.where(INSIDE, inside * smeared, around * noise)
        pictures.append(np.repeat(140 + drawn[..., None], 3, axis=2))
    return person_of(pictures)


def judged(clip: FaceClip, reference: Reference = NOTHING) -> Finding:
    evidence = NoiseResidual(reference).examine(clip, {}).evidence
    assert isinstance(evidence, Finding), evidence
    assert evidence.cue is not None
    return evidence


@pytest.mark.parametrize("share", [1.0, 0.5, 0.25, 2.0])
def test_noise_is_so_many_times_that_around_it_as_was_drawn(share: float) -> None:
    finding = judged(noisy(NOISE * np.sqrt(share), NOISE))

    assert finding.cue is not None
    assert finding.cue.value == pytest.approx(share, rel=0.08)


def test_the_level_is_that_of_the_noise() -> None:
    finding = judged(noisy(NOISE, NOISE))

    expected = (NOISE**2 * np.square(RESIDUAL).sum() + ROUNDING) / ROUNDING
    assert finding.measurements["noise_rounding_times"] == pytest.approx(expected, rel=0.05)


def test_a_face_without_noise_is_suspicious() -> None:
    scale = Scale(median=0.0, deviation=0.3, transform=Transform.LOG, clips=50, groups=20)
    reference = Reference(version="drawn", scales={DetectorName.NOISE_RESIDUAL: scale})

    cue = judged(noisy(1.0, NOISE), reference).cue

    assert cue is not None
    assert cue.z is not None
    assert cue.z > 3


def test_noise_that_runs_along_is_told_from_noise_that_does_not() -> None:
    even, along = (
        judged(noisy(NOISE, NOISE, along=a)).measurements["anisotropy_log_times"] for a in (0, 0.5)
    )

    assert even == pytest.approx(0, abs=0.05)
    assert along < -0.3


def test_an_edge_in_the_face_is_no_noise() -> None:
    smooth = noisy(NOISE, NOISE)
    stripes = 30 * (np.arange(CROP_SIDE_PX) // 32 % 2)[None, :, None] * INSIDE[..., None]
    (track,) = smooth.tracks
    striped = replace(
        track,
        samples=tuple(replace(s, crop=np.uint8(s.crop + stripes)) for s in track.samples),
    )

    plain, edged = (judged(c).cue for c in (smooth, replace(smooth, tracks=(striped,))))

    assert plain is not None
    assert edged is not None
    assert edged.value == pytest.approx(plain.value, rel=0.1)


def test_what_a_codec_made_flat_tells_nothing() -> None:
    pictures = []
    for seed in range(LOOKS):
        random = np.random.default_rng(seed)
        blocks = random.integers(110, 170, (CROP_SIDE_PX // 16, CROP_SIDE_PX // 16))
        pictures.append(np.repeat(np.kron(blocks, np.ones((16, 16)))[..., None], 3, axis=2))

    evidence = NoiseResidual(NOTHING).examine(person_of(pictures), {}).evidence

    assert isinstance(evidence, Abstention)
    assert evidence.reason is AbstainReason.TOO_COMPRESSED
    assert "times the noise of rounding" in evidence.detail


def test_the_residual_takes_away_what_is_smooth() -> None:
    y, x = np.mgrid[-2:3, -2:3]

    for smooth in (np.ones((5, 5)), x, y, x * y, x**2, x**3 - 2 * y):
        assert (RESIDUAL * smooth).sum() == pytest.approx(0, abs=1e-5)


def test_pixels_at_the_edges_of_blocks_are_left_out() -> None:
    sample = replace(make_sample(), frame_from_crop=np.float32([[1, 0, 16], [0, 1, 24]]))

    clear = off_grid(sample)

    inside_block = np.array([False, False, True, True, True, True, False, False])
    row = np.tile(inside_block, CROP_SIDE_PX // BLOCK_PX)
    np.testing.assert_array_equal(clear, row[None, :] & row[:, None])


def test_a_turned_crop_has_its_blocks_turned() -> None:
    quarter = np.float32([[0, -1, 271], [1, 0, 24]])
    upright = off_grid(replace(make_sample(), frame_from_crop=np.float32([[1, 0, 16], [0, 1, 24]])))

    turned = off_grid(replace(make_sample(), frame_from_crop=quarter))

    np.testing.assert_array_equal(turned, np.rot90(upright, -1))


def test_a_crop_that_shrinks_blocks_below_the_filter_has_no_pixel_off_their_edges() -> None:
    sample = replace(make_sample(), frame_from_crop=np.float32([[2.5, 0, 0], [0, 2.5, 0]]))

    assert not off_grid(sample).any()
