"""
What the product says where it cannot tell: a real clip, spoilt in one way or another.

The whole way that `deepverdict scan` goes, with the networks that come with the program.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from app.domain.evidence import AbstainReason, DetectorName
from app.domain.verdict import Label
from app.settings import Settings
from app.views import ScanView
from workers.scan import Scanner

CLIP, NO_FACE = "ffpp__183__c23__4d0c3f.mp4", "noface__no_face__852057.mp4"
TOY_SHOP = "ffpp__481__c23__69702e.mp4"
FRAMES = 90

Picture = NDArray[np.uint8]
Change = Callable[[Picture], Picture]


@pytest.fixture(scope="module")
def scanner() -> Scanner:
    return Scanner(Settings(_env_file=None), console=None)


@pytest.fixture(scope="module")
def frames(shared_media: Path) -> list[Picture]:
    """The first pictures of a real clip."""
    with av.open(str(shared_media / "videos" / "real" / CLIP)) as container:
        decoded = container.decode(video=0)
        return [next(decoded).to_ndarray(format="rgb24") for _ in range(FRAMES)]


def write(path: Path, pictures: list[Picture], *, rate_hz: int = 25, rotation_deg: int = 0) -> Path:
    height, width = pictures[0].shape[:2]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate_hz, options={"crf": "18"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def even(picture: Picture) -> Picture:
    height, width = picture.shape[:2]
    return np.ascontiguousarray(picture[: height // 2 * 2, : width // 2 * 2])


def shrunk(picture: Picture, *, share: float) -> Picture:
    """Put the whole picture, small, on a grey wall of the same size."""
    small = cv2.resize(picture, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)
    wall = np.full_like(picture, 90)
    wall[: small.shape[0], : small.shape[1]] = small
    return wall


def blurred(picture: Picture) -> Picture:
    return cv2.GaussianBlur(picture, (0, 0), 7)


def codes(view: ScanView) -> list[str]:
    assert view.verdict is not None
    return [reason.partition(":")[0] for reason in view.verdict.reasons]


@pytest.mark.parametrize(
    "spoilt",
    [
        (partial(shrunk, share=0.12), FRAMES, {"faces_too_small", "no_face"}),
        (even, 12, {"too_few_frames"}),
        (blurred, FRAMES, {"too_blurred", "no_face"}),
        (np.zeros_like, FRAMES, {"no_face"}),
    ],
    ids=["tiny", "brief", "blurred", "black"],
)
@pytest.mark.shared
def test_a_real_clip_that_shows_too_little_is_inconclusive_for_the_right_reason(
    scanner: Scanner,
    frames: list[Picture],
    tmp_path: Path,
    spoilt: tuple[Change, int, set[str]],
):
    change, kept, wanted = spoilt
    path = write(tmp_path / "spoilt.mp4", [even(change(f)) for f in frames[:kept]])

    view = scanner.scan(path, None).view

    assert view.verdict is not None
    assert view.verdict.label is Label.INCONCLUSIVE
    assert codes(view)[0] in wanted
    assert view.verdict.caveat or view.verdict.statement


@pytest.mark.shared
def test_a_clip_with_nobody_in_it_is_inconclusive(scanner: Scanner, shared_media: Path):
    view = scanner.scan(shared_media / "videos" / "real" / NO_FACE, None).view

    assert view.verdict is not None
    assert (view.verdict.label, codes(view)[0]) == (Label.INCONCLUSIVE, "no_face")
    assert view.verdict.fake_probability is None


def _five_a_second(frames: list[Picture], path: Path) -> Path:
    return write(path, frames[::5], rate_hz=5)


def _upended(frames: list[Picture], path: Path) -> Path:
    return write(path, [even(np.ascontiguousarray(np.rot90(f))) for f in frames])


def _black_in_between(frames: list[Picture], path: Path) -> Path:
    return write(path, [f if n // 10 % 2 else np.zeros_like(f) for n, f in enumerate(frames)])


def _one_frame(frames: list[Picture], path: Path) -> Path:
    return write(path, frames[:1])


@pytest.mark.parametrize(
    "spoil", [_five_a_second, _upended, _black_in_between, _one_frame], ids=lambda f: f.__name__
)
@pytest.mark.shared
def test_every_detector_survives_footage_that_is_odd(
    scanner: Scanner, frames: list[Picture], tmp_path: Path, spoil
):
    view = scanner.scan(spoil([even(f) for f in frames], tmp_path / "odd.mp4"), None).view

    evidence = [e for p in view.persons for e in p.evidence] + list(view.abstentions)
    assert {e.detector for e in evidence} == set(DetectorName)
    crashed = [e.detector for e in evidence if e.abstention and e.abstention.reason == "crashed"]
    assert crashed == []
    if spoil is _five_a_second:
        reasons = {e.detector: e.abstention.reason for e in evidence if e.abstention}
        assert reasons[DetectorName.TEMPORAL_SMOOTHNESS] in (
            AbstainReason.FRAME_RATE_TOO_LOW,
            AbstainReason.TOO_FEW_FRAMES,
        )


@pytest.mark.shared
def test_a_toy_beside_a_person_is_not_accused_and_does_not_hold_up_the_verdict(
    scanner: Scanner, shared_media: Path
):
    view = scanner.scan(shared_media / "videos" / "real" / TOY_SHOP, None).view

    woman, *toys = view.persons
    said = [next(e for e in p.evidence if e.detector == "frame_classifier") for p in toys]
    assert toys
    assert all(e.abstention is not None for e in said)
    assert woman.evidence[0].finding is not None
    assert view.verdict is not None
    assert not any(toy.id in reason for toy in toys for reason in view.verdict.reasons)


@pytest.mark.shared
def test_no_blink_in_a_few_seconds_is_not_evaluable(
    scanner: Scanner, frames: list[Picture], tmp_path: Path
):
    view = scanner.scan(write(tmp_path / "short.mp4", [even(f) for f in frames]), None).view

    (said,) = [e for p in view.persons for e in p.evidence if e.detector is DetectorName.BLINK_RATE]
    assert said.abstention is not None
    assert said.abstention.reason is AbstainReason.TRACK_TOO_SHORT
