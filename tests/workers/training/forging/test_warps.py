"""Are faces bent for the input, straight in the target, and the same for everybody who asks?"""

import cv2
import numpy as np
import pytest

from tests.workers.training.forging.make_sets import (
    make_face_set,
    make_points,
    make_set_face,
    make_stored,
)
from workers.detection.stage import Image
from workers.training.forging.face_sets import FaceSet, write_face_set
from workers.training.forging.views import STORED_PX, points_in_view
from workers.training.forging.warps import (
    FaceViews,
    WarpOptions,
    draw_warp,
    plain_view,
    soft_region,
)

STILL = {
    "jitter_px": (0.0, 0.0),
    "span_px": (179.2, 179.2),
    "most_turn_deg": 0.0,
    "most_zoom": 0.0,
    "most_shift": 0.0,
    "flip_share": 0.0,
    "colour_match_share": 0.0,
    "motion_blur_share": 0.0,
}
"""Nothing is done to the faces."""


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> tuple[FaceSet, FaceSet]:
    folder = tmp_path_factory.mktemp("people")
    return make_face_set(folder / "a", seed=0), make_face_set(folder / "b", seed=20)


def views_of(
    people: tuple[FaceSet, FaceSet], *, side_px: int = 64, seed: int = 1, **changes: object
) -> FaceViews:
    options = WarpOptions.model_validate(STILL | changes)
    return FaceViews(*people, side_px=side_px, options=options, seed=seed)


def difference(one: Image, other: Image) -> float:
    return float(np.abs(one.astype(float) - other.astype(float)).mean())


@pytest.mark.parametrize("side_px", [64, 128])
def test_an_item_holds_both_people_bent_and_straight_with_their_eyes_and_mouths(people, side_px):
    item = FaceViews(*people, side_px=side_px, options=WarpOptions(), seed=1)[0]

    assert set(item) == {
        f"{person}_{what}" for person in "ab" for what in ("distorted", "target", "eyes", "mouth")
    }
    for name, picture in item.items():
        is_region = name.endswith(("eyes", "mouth"))
        assert picture.shape == ((side_px, side_px) if is_region else (side_px, side_px, 3))
        assert picture.dtype == np.uint8


def test_an_item_is_a_pure_function_of_seed_and_number(people):
    one, other = (FaceViews(*people, side_px=64, options=WarpOptions(), seed=7) for _ in range(2))
    [other[i] for i in (3, 1)]

    assert all((one[5][name] == picture).all() for name, picture in other[5].items())
    assert difference(one[5]["a_target"], one[6]["a_target"]) > 1
    assert (
        difference(
            views_of(people, seed=1, most_shift=0.05)[5]["a_target"],
            views_of(people, seed=2, most_shift=0.05)[5]["a_target"],
        )
        > 1
    )


@pytest.mark.parametrize("side_px", [64, 128])
def test_with_nothing_done_to_it_a_face_is_seen_as_when_swapping(people, side_px):
    item = views_of(people, side_px=side_px)[0]
    plain = [plain_view(people[0], row, side_px) for row in people[0].training]

    nearest, next_one, *_ = sorted(difference(view, item["a_target"]) for view in plain)
    assert nearest < 4
    assert next_one > 20
    assert difference(item["a_distorted"], item["a_target"]) < 1


def test_the_input_is_bent_and_the_target_is_not(people):
    """A straight line stays straight under the target's warp, and does not in the input."""
    stripes = np.zeros((STORED_PX, STORED_PX, 3), np.uint8)
    stripes[:, 126:131] = 255
    options = WarpOptions.model_validate(STILL | {"jitter_px": (6.0, 6.0)})
    warp = draw_warp(options, 128, np.random.default_rng(0))

    bent, straight = (
        np.array([(row.astype(float) @ np.arange(128)) / row.sum() for row in picture[..., 0]])
        for picture in warp.draw(stripes)
    )
    rows = np.arange(128)
    off_line = [
        np.abs(line - np.polyval(np.polyfit(rows, line, 1), rows)).max()
        for line in (bent, straight)
    ]
    assert off_line[0] > 2
    assert off_line[1] < 0.3


def test_the_target_is_the_similarity_that_lies_closest_to_the_input(people):
    """Without jitter, however a face is moved, input and target are the same picture."""
    moved = {
        "span_px": (160, 198),
        "most_turn_deg": 10,
        "most_zoom": 0.1,
        "most_shift": 0.05,
        "flip_share": 0.5,
    }
    views = views_of(people, **moved)

    for i in range(8):
        item = views[i]
        assert difference(item["a_distorted"], item["a_target"]) < 1
    bent = views_of(people, **moved, jitter_px=(5, 6.2))
    jittered = [difference(bent[i]["a_distorted"], bent[i]["a_target"]) for i in range(8)]
    assert min(jittered) > 3


def test_points_move_with_the_target():
    """A dot on the kept picture is where its point says in the target, mirrored ones too."""
    options = WarpOptions(colour_match_share=0, motion_blur_share=0)
    for seed in range(6):
        warp = draw_warp(options, 128, np.random.default_rng(seed))
        stored = np.zeros((STORED_PX, STORED_PX, 3), np.uint8)
        cv2.circle(stored, (120, 140), 3, (255, 255, 255), -1)

        _, target = warp.draw(stored)

        rows, columns = np.nonzero(target[..., 0] > 100)
        at = warp.in_target(np.float32([[120, 140]]))[0]
        assert np.abs(at - (columns.mean(), rows.mean())).max() < 0.6


def test_eyes_and_mouth_are_marked_where_they_are_with_soft_edges(people):
    view = views_of(people, side_px=128)[0]
    eyes, mouth = view["a_eyes"], view["a_mouth"]
    row = next(
        row
        for row in people[0].training
        if difference(plain_view(people[0], row, 128), view["a_target"]) < 4
    )
    points = points_in_view(people[0].landmarks[row], 128)

    for region, inside in ((eyes, (159, 145, 386, 374)), (mouth, (0, 17, 61, 291))):
        for x, y in np.rint(points[list(inside)]).astype(int):
            assert region[y, x] > 100
    nose = np.rint(points[1]).astype(int)
    assert eyes[nose[1], nose[0]] == 0
    assert mouth[int(points[159][1]), int(points[159][0])] == 0
    assert ((eyes > 0) & (eyes < 255)).any()


def test_a_region_grows_by_what_it_is_told():
    ring = np.float32([[20, 20], [40, 20], [40, 40], [20, 40]])

    small, large = (soft_region([ring], 64, growth=growth) for growth in (0.01, 0.1))

    assert (large > 127).sum() > 1.5 * (small > 127).sum() > 20**2
    assert soft_region([ring - 100], 64, growth=0.01).max() == 0


def test_held_out_faces_are_never_shown(tmp_path):
    """The one that is held out is white."""
    faces = [make_stored(1), np.full((STORED_PX, STORED_PX, 3), 255, np.uint8)]
    one = write_face_set(
        tmp_path / "one",
        faces=faces,
        landmarks=np.stack([make_points(1)] * 2),
        rows=[make_set_face(n, f, held_out=n == 1) for n, f in enumerate(faces)],
        sources={"clip.mp4": "0" * 64},
    )

    views = views_of((one, one))

    assert all(views[i]["a_target"].min() < 250 for i in range(20))
    assert plain_view(one, one.held_out[0], 64).min() == 255


def test_colours_are_taken_from_either_person(tmp_path):
    """Person a is dark, b light; some of a's faces are as light as b's."""
    sets = []
    for name, level in (("a", 40), ("b", 200)):
        face = np.clip(make_stored(1).astype(int) // 4 + level, 0, 255).astype(np.uint8)
        sets.append(
            write_face_set(
                tmp_path / name,
                faces=[face],
                landmarks=make_points(1)[None],
                rows=[make_set_face(0, face)],
                sources={f"{name}.mp4": name * 64},
            )
        )
    matched = views_of((sets[0], sets[1]), colour_match_share=1.0)

    items = [matched[i] for i in range(12)]
    levels = [float(item["a_target"].mean()) for item in items]

    assert min(levels) < 100
    assert max(levels) > 180
    for item in items:  # input and target alike
        assert abs(float(item["a_target"].mean()) - float(item["a_distorted"].mean())) < 2


def test_a_smeared_face_is_smeared_in_input_and_target_alike(people):
    sharp = views_of(people, side_px=128)[0]
    smeared = views_of(people, side_px=128, motion_blur_share=1.0)[0]

    def detail(picture: Image) -> float:
        return float(cv2.Laplacian(picture, cv2.CV_32F).var())

    for name in ("a_distorted", "a_target"):
        assert detail(smeared[name]) < 0.5 * detail(sharp[name])
        assert abs(float(smeared[name].mean()) - float(sharp[name].mean())) < 2


def test_how_far_faces_are_moved_is_bounded_by_the_options():
    """The middle of the view never leaves the kept picture's middle by more than the shift."""
    options = WarpOptions()
    middle = (STORED_PX - 1) / 2
    most_px = options.most_shift * STORED_PX + 4 * options.jitter_px[1] / 5
    reach = []
    for seed in range(60):
        warp = draw_warp(options, 64, np.random.default_rng(seed))
        at = warp.stored_from_target @ np.array([31.5, 31.5, 1])
        reach.append(np.abs(at - middle).max())

    assert max(reach) < most_px
    assert max(reach) > 0.6 * options.most_shift * STORED_PX


def test_the_published_magnitudes_are_the_defaults():
    options = WarpOptions()

    assert options.jitter_px == (5.0, 6.2)
    assert (options.most_turn_deg, options.most_zoom, options.most_shift) == (10.0, 0.1, 0.05)
    assert (options.flip_share, options.colour_match_share) == (0.5, 0.5)
