"""Do masks lie where the face is in the frame, and is the chosen crop the best look?"""

import hashlib
from dataclasses import replace

import cv2
import numpy as np
import pytest

from app.domain.evidence import ArtifactKind
from app.domain.media import Box
from tests.make_faces import FRAME_HEIGHT_PX, FRAME_WIDTH_PX, make_clip, make_sample, make_track
from workers.detection.align import LEFT_EYE, NOSE_TIP, RIGHT_EYE
from workers.detection.artifacts import (
    attention_artifact,
    best_look,
    crop_artifact,
    frame_artifact,
    marked,
    mask_artifact,
)
from workers.detection.stage import CROP_SIDE_PX, AttentionMap, FaceClip, PixelMask


def mask_of(probability: np.ndarray, *, affine: list[list[float]] | None = None) -> PixelMask:
    sample = make_sample(1.5, frame_index=45)
    if affine is not None:
        sample = replace(sample, frame_from_crop=np.float32(affine))
    return PixelMask(
        sample=sample, probability=np.float32(probability), area=float((probability > 0.5).mean())
    )


def square_mask() -> np.ndarray:
    probability = np.zeros((CROP_SIDE_PX, CROP_SIDE_PX))
    probability[64:192, 96:160] = 1
    return probability


def decoded(png: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)


def test_a_mask_lies_over_the_face_in_a_picture_as_large_as_the_frame() -> None:
    artifact = mask_artifact(make_clip(), mask_of(square_mask()))  # 0.8 px a pixel, from (540, 260)

    grey = decoded(artifact.png)
    assert grey.shape == (FRAME_HEIGHT_PX, FRAME_WIDTH_PX)
    assert grey.dtype == np.uint8
    assert grey[260 + 102, 540 + 102] == 255
    assert grey.astype(float).sum() / 255 == pytest.approx(64 * 128 * 0.8**2, rel=0.02)
    rows, columns = np.indices(grey.shape)
    weight = grey / grey.astype(float).sum()
    assert (columns * weight).sum() == pytest.approx(540 + 127.5 * 0.8, abs=0.2)
    assert (rows * weight).sum() == pytest.approx(260 + 127.5 * 0.8, abs=0.2)


def test_the_artifact_says_what_it_is() -> None:
    artifact = mask_artifact(make_clip(), mask_of(square_mask()))

    assert (artifact.id, artifact.kind, artifact.person_id) == (
        "p1-000045",
        ArtifactKind.MASK,
        "p1",
    )
    assert (artifact.pts_s, artifact.frame_index) == (1.5, 45)
    assert (artifact.width_px, artifact.height_px) == (FRAME_WIDTH_PX, FRAME_HEIGHT_PX)
    assert artifact.area == pytest.approx(0.125)
    assert artifact.sha256 == hashlib.sha256(artifact.png).hexdigest()
    box = artifact.box_px
    assert box is not None
    assert (box.x_px, box.y_px) == pytest.approx((540 + 0.8 * 96, 260 + 0.8 * 64), abs=1)
    assert (box.width_px, box.height_px) == pytest.approx((0.8 * 64, 0.8 * 128), abs=1)


def test_soft_values_stay_soft() -> None:
    grey = decoded(mask_artifact(make_clip(), mask_of(0.4 * square_mask())).png)

    assert grey.max() == 102


def test_a_mask_with_nothing_marked_has_no_box() -> None:
    artifact = mask_artifact(make_clip(), mask_of(0.4 * square_mask()))

    assert artifact.box_px is None


@pytest.mark.parametrize("scale", [0.1, 0.4, 3.0])
def test_small_and_large_faces_keep_the_marked_area(scale: float) -> None:
    mask = mask_of(square_mask(), affine=[[scale, 0, 100], [0, scale, 50]])

    grey = decoded(mask_artifact(make_clip(), mask).png)

    marked = grey[: FRAME_HEIGHT_PX - 1].astype(float).sum() / 255
    assert marked == pytest.approx(64 * 128 * scale**2, rel=0.06)


def test_a_mask_that_reaches_off_the_frame_is_cut_at_its_edge() -> None:
    mask = mask_of(np.ones((CROP_SIDE_PX, CROP_SIDE_PX)), affine=[[1, 0, -100], [0, 1, -50]])

    artifact = mask_artifact(make_clip(), mask)

    assert artifact.box_px == Box(x_px=0, y_px=0, width_px=156, height_px=206)


def test_a_turned_face_has_a_turned_mask() -> None:
    mask = mask_of(square_mask(), affine=[[0, -1, 700], [1, 0, 200]])

    box = mask_artifact(make_clip(), mask).box_px

    assert box is not None
    assert (box.width_px, box.height_px) == (128, 64)


def with_looks(*looks: tuple[float, float]) -> FaceClip:
    """Build a person by sharpness and by where the nose is between the eyes, for each look."""
    track = make_track(frames=30, samples=0)
    landmarks = track.landmarks_px.copy()
    samples = []
    for i, (sharpness, nose) in enumerate(looks):
        landmarks[i, list(LEFT_EYE)], landmarks[i, list(RIGHT_EYE)] = (500, 300), (600, 300)
        landmarks[i, NOSE_TIP] = (500 + 100 * nose, 340)
        sample = make_sample(i / 30, frame_index=i)
        samples.append(replace(sample, sharpness=sharpness))
    return make_clip(replace(track, landmarks_px=landmarks, samples=tuple(samples)))


def test_the_best_look_is_the_sharpest_of_the_frontal_ones() -> None:
    clip = with_looks((100, 0.5), (200, 0.55), (900, 0.05), (150, 0.45))

    look = best_look(clip)

    assert look is not None
    assert look.frame_index == 1


def test_of_somebody_seen_from_the_side_only_the_best_look_is_still_one() -> None:
    look = best_look(with_looks((100, 0.1), (300, 0.1)))

    assert look is not None
    assert look.frame_index == 1


def test_the_crop_is_stored_as_it_was_seen() -> None:
    clip = with_looks((100, 0.5))

    artifact = crop_artifact(clip)

    assert artifact is not None
    assert (artifact.id, artifact.kind) == ("p1", ArtifactKind.CROP)
    assert (artifact.width_px, artifact.height_px) == (CROP_SIDE_PX, CROP_SIDE_PX)
    assert artifact.box_px is None
    np.testing.assert_array_equal(
        decoded(artifact.png)[..., ::-1], clip.samples[0].crop, strict=True
    )


def test_somebody_with_no_look_has_no_crop() -> None:
    assert crop_artifact(make_clip(make_track(samples=0))) is None


def test_attention_is_laid_over_the_look_brighter_the_more_it_matters() -> None:
    sample = make_sample(4.2, frame_index=126)
    sample = replace(sample, crop=np.full_like(sample.crop, (120, 90, 60)))
    weight = np.linspace(0, 1, CROP_SIDE_PX, dtype=np.float32)[None].repeat(CROP_SIDE_PX, axis=0)

    artifact = attention_artifact(make_clip(), AttentionMap(sample=sample, weight=weight))

    assert (artifact.id, artifact.kind) == ("p1-attention-000126", ArtifactKind.ATTENTION)
    assert (artifact.pts_s, artifact.frame_index) == (4.2, 126)
    assert artifact.sha256 == hashlib.sha256(artifact.png).hexdigest()
    assert artifact.box_px is None
    picture = decoded(artifact.png)[..., ::-1]
    assert picture.shape == (CROP_SIDE_PX, CROP_SIDE_PX, 3)
    assert np.ptp(picture[0, 0]) == 0  # grey, as the look is where nothing matters
    assert picture[0, 0, 0] == cv2.cvtColor(sample.crop, cv2.COLOR_RGB2GRAY)[0, 0]
    red, green, blue = picture[0, -1].astype(int)
    assert min(red, green) > blue + 50  # yellow
    assert picture[0, -1].mean() > picture[0, 0].mean()


def test_the_longest_name_of_a_picture_can_be_stored() -> None:
    sample = make_sample(1.0, frame_index=9_999_999)
    weight = np.ones((CROP_SIDE_PX, CROP_SIDE_PX), np.float32)

    artifact = attention_artifact(
        make_clip(person_id="p9999"), AttentionMap(sample=sample, weight=weight)
    )

    assert len(artifact.id) <= 32


def test_a_frame_shows_the_face_framed_then_as_it_is_then_with_what_was_marked() -> None:
    mask = mask_of(square_mask())

    artifact = frame_artifact(make_clip(), mask.sample, mask)

    picture = decoded(artifact.png)[..., ::-1]
    face = picture[:, -2 * CROP_SIDE_PX - 8 : -CROP_SIDE_PX - 8]
    assert (artifact.id, artifact.kind) == ("p1-frame-000045", ArtifactKind.FRAME)
    assert (artifact.width_px, artifact.height_px) == (picture.shape[1], picture.shape[0])
    assert artifact.area == mask.area
    assert artifact.sha256 == hashlib.sha256(artifact.png).hexdigest()
    np.testing.assert_array_equal(face, mask.sample.crop, strict=True)
    np.testing.assert_array_equal(picture[:, -CROP_SIDE_PX:], marked(face, mask.probability))


def test_the_box_in_a_frame_lies_around_the_face() -> None:
    sample = replace(make_sample(), thumbnail=np.full((216, 384, 3), 90, np.uint8))

    picture = decoded(frame_artifact(make_clip(), sample, None).png)[..., ::-1]

    frame = picture[:, : -CROP_SIDE_PX - 8]
    scale = frame.shape[1] / FRAME_WIDTH_PX
    rows, columns = np.nonzero((frame != 90).any(axis=-1))
    middle = 540 + 127.5 * 0.8, 260 + 127.5 * 0.8  # of the crop, in the video
    side = CROP_SIDE_PX / 1.3 * 0.8 * scale
    assert (columns.min() + columns.max()) / 2 == pytest.approx(middle[0] * scale, abs=1.5)
    assert (rows.min() + rows.max()) / 2 == pytest.approx(middle[1] * scale, abs=1.5)
    assert columns.max() - columns.min() == pytest.approx(side, abs=7)  # lines are 3 px thick


@pytest.mark.parametrize("mask", [None, mask_of(np.zeros((CROP_SIDE_PX, CROP_SIDE_PX)))])
def test_a_frame_without_marks_has_no_picture_of_marks(mask: PixelMask | None) -> None:
    artifact = frame_artifact(make_clip(), make_sample(), mask)

    assert artifact.width_px == pytest.approx(CROP_SIDE_PX * 16 / 9 + 8 + CROP_SIDE_PX, abs=1)
    assert artifact.area == 0


@pytest.mark.parametrize("size", [(384, 216), (216, 384), (384, 2), (1, 384)])
def test_a_frame_of_any_shape_can_be_drawn(size: tuple[int, int]) -> None:
    sample = replace(make_sample(), thumbnail=np.zeros((size[1], size[0], 3), np.uint8))

    artifact = frame_artifact(make_clip(), sample, None)

    assert artifact.height_px == CROP_SIDE_PX
    assert artifact.width_px <= 4 * CROP_SIDE_PX + 8


def test_pixels_that_are_not_marked_stay_as_they_are() -> None:
    probability = 0.49 * np.ones((CROP_SIDE_PX, CROP_SIDE_PX))
    probability[64:192, 96:160] = 1
    crop = np.full((CROP_SIDE_PX, CROP_SIDE_PX, 3), (205, 150, 120), np.uint8)

    picture = marked(crop, np.float32(probability))

    np.testing.assert_array_equal(picture[:60], crop[:60])
    np.testing.assert_array_equal(picture[128, 128], (102, 132, 149))  # half of it blue
    assert picture[128].min() == 0  # a dark line around it
    assert picture[128].max() > 200  # and a light one within that
    np.testing.assert_array_equal(crop, (205, 150, 120) * np.ones_like(crop))  # not drawn upon
