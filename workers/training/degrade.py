"""
What happens to a video between the forger and the newsroom?

It is coloured, blurred, scaled, compressed, and compressed again. A network that is to survive
this must have seen it, on the real half of a pair as on the fake one: `degrade` draws the
mistreatment once and does it to both, so that no quality tells them apart. H.264 comes from the
encoder that the world uses, one to three pictures long, so that pictures predicted from others
are among what is seen.
"""

import math
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Annotated

import av
import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from workers.detection.stage import Floats, Image
from workers.training.recipe import Section, Share
from workers.training.synth import FacePair, through_jpeg

_RATE_HZ = 25
_COIN = 0.5
_KERNELS = (cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_CUBIC)
_MOST_HIDDEN = 0.6
"""Of the manipulated pixels that an erased patch may cover; over it nothing is left to find."""


class DegradeOptions(Section):
    """How often a pair is mistreated in each way, and how badly."""

    colour_share: Share = 0.3
    grey_share: Share = 0.1
    blur_share: Share = 0.15
    noise_share: Share = 0.2
    resize_share: Share = 0.3
    least_resize: Annotated[float, Field(gt=0, le=1)] = 0.25
    h264_share: Share = 0.5
    h264_crf: tuple[int, int] = (17, 40)
    jpeg_share: Share = 0.4
    jpeg_quality: tuple[int, int] = (40, 100)
    erase_share: Share = 0.2


def degrade(pair: FacePair, *, options: DegradeOptions, random: np.random.Generator) -> FacePair:
    """Mistreat both halves of a pair alike; where a patch is erased, the mask is zero."""
    side_px = pair.real.shape[0]
    plan = _plan(options, side_px, random)
    real, fake = (_mistreated(half, plan) for half in (pair.real, pair.fake))
    if random.random() >= options.erase_share:
        return replace(pair, real=real, fake=fake)
    hidden = _patch(side_px, random)
    total = float(pair.mask.sum())
    if total > 0 and float(pair.mask[hidden].sum()) > _MOST_HIDDEN * total:
        return replace(pair, real=real, fake=fake)
    mask = pair.mask.copy()
    mask[hidden] = 0
    filling = random.integers(0, 256, 3, np.uint8)
    for half in (real, fake):
        half[hidden] = filling
    return replace(pair, real=real, fake=fake, mask=mask)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Codec:
    """One pass through H.264."""

    crf: int
    shifts_px: Floats  # [T, 2] of each picture of the sequence; the last one is kept, unmoved


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Plan:
    """All that is done to a picture, in this order; None where it is left out."""

    colours: NDArray[np.float64] | None  # [3, 4]
    tones: NDArray[np.uint8] | None  # [256], gamma
    focus_px: float | None  # spread of the blur of a lens
    motion: Floats | None  # kernel
    noise: Floats | None  # [S, S, 3]; added, in grey levels at full white
    noise_grows: bool  # with the light, as that of photons
    small_px: int | None
    down: int
    up: int
    h264: _Codec | None
    jpeg_quality: int | None


def _plan(options: DegradeOptions, side_px: int, random: np.random.Generator) -> _Plan:
    colours = tones = focus_px = motion = noise = small_px = h264 = jpeg_quality = None
    if random.random() < options.colour_share:
        colours, tones = _colours(random), _tones(random)
    if random.random() < options.grey_share:
        colours = np.array([[0.299, 0.587, 0.114, 0]] * 3)
    if random.random() < options.blur_share:
        if random.random() < _COIN:
            focus_px = random.uniform(0.4, 1.6)
        else:
            motion = _motion(random)
    if random.random() < options.noise_share:
        noise = _noise(side_px, random)
    if random.random() < options.resize_share:
        small_px = 2 * round(side_px * random.uniform(options.least_resize, 1) / 2)
    if random.random() < options.h264_share:
        h264 = _codec(options, random)
    if random.random() < options.jpeg_share:
        jpeg_quality = int(random.integers(*options.jpeg_quality, endpoint=True))
    return _Plan(
        colours=colours,
        tones=tones,
        focus_px=focus_px,
        motion=motion,
        noise=noise,
        noise_grows=bool(random.random() < _COIN),
        small_px=small_px,
        down=_KERNELS[int(random.integers(3))],
        up=_KERNELS[int(random.integers(3))],
        h264=h264,
        jpeg_quality=jpeg_quality,
    )


def _mistreated(picture: Image, plan: _Plan) -> Image:
    side_px = picture.shape[0]
    out = picture.copy()
    if plan.colours is not None:
        out = np.asarray(cv2.transform(out, plan.colours), np.uint8)
    if plan.tones is not None:
        out = np.asarray(cv2.LUT(out, plan.tones), np.uint8)
    if plan.focus_px is not None:
        out = np.asarray(cv2.GaussianBlur(out, (0, 0), plan.focus_px), np.uint8)
    if plan.motion is not None:
        out = np.asarray(cv2.filter2D(out, -1, plan.motion), np.uint8)
    if plan.noise is not None:
        out = _noisy(out, plan.noise, plan.noise_grows)
    if plan.small_px is not None:
        size = (plan.small_px, plan.small_px)
        out = np.asarray(cv2.resize(out, size, interpolation=plan.down), np.uint8)
    if plan.h264 is not None:
        out = through_h264(out, crf=plan.h264.crf, shifts_px=plan.h264.shifts_px)
    if plan.small_px is not None:
        out = np.asarray(cv2.resize(out, (side_px, side_px), interpolation=plan.up), np.uint8)
    if plan.jpeg_quality is not None:
        out = through_jpeg(out, quality=plan.jpeg_quality)
    return out


def through_h264(picture: Image, *, crf: int, shifts_px: Floats) -> Image:
    """
    Compress a picture as the last of a short video, and read it back.

    Args:
        picture: `[H, W, 3]`, sides even.
        crf: quality of libx264, 0 best to 51 worst.
        shifts_px: `[T, 2]`, by which the picture is moved in each frame; the last should be 0.
    """
    height, width = picture.shape[:2]
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height = width, height
    encoder.pix_fmt = "yuv420p"
    encoder.time_base = Fraction(1, _RATE_HZ)
    encoder.thread_count = 1
    encoder.options = {
        "crf": str(crf),
        "preset": "ultrafast",
        "tune": "zerolatency",
        # What the fastest preset leaves out, though every video in the wild has it.
        "x264-params": "threads=1:cabac=1:8x8dct=1:deblock=0,0:partitions=i8x8,i4x4:aq-mode=1",
    }
    decoder = av.CodecContext.create("h264", "r")
    decoder.thread_count = 1
    packets = []
    for number, (right, down) in enumerate(shifts_px.tolist()):
        frame = av.VideoFrame.from_ndarray(_as_yuv(picture, right, down), format="yuv420p")
        frame.pts = number
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    frames = [frame for packet in packets for frame in decoder.decode(packet)]
    frames += decoder.decode(None)
    return np.asarray(cv2.cvtColor(frames[-1].to_ndarray(), cv2.COLOR_YUV2RGB_I420), np.uint8)


def _as_yuv(picture: Image, right_px: float, down_px: float) -> NDArray[np.uint8]:
    if right_px or down_px:
        affine = np.array([[1, 0, right_px], [0, 1, down_px]], np.float32)
        size = (picture.shape[1], picture.shape[0])
        picture = np.asarray(
            cv2.warpAffine(picture, affine, size, borderMode=cv2.BORDER_REFLECT_101), np.uint8
        )
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2YUV_I420), np.uint8)


def _codec(options: DegradeOptions, random: np.random.Generator) -> _Codec:
    pictures = int(random.choice([1, 1, 2, 3]))
    shifts = np.cumsum(random.uniform(-3, 3, (pictures, 2)), axis=0)
    return _Codec(
        crf=int(random.integers(*options.h264_crf, endpoint=True)),
        shifts_px=np.asarray(shifts - shifts[-1], np.float32),
    )


def _colours(random: np.random.Generator) -> NDArray[np.float64]:
    """Draw brightness, contrast, white balance and a mixing of the colours, `[3, 4]`."""
    mixing = np.diag(random.uniform(0.85, 1.15) * random.uniform(0.95, 1.05, 3))
    mixing += random.uniform(-0.04, 0.04, (3, 3))
    return np.column_stack([mixing, np.full(3, random.uniform(-20, 20))])


def _tones(random: np.random.Generator) -> NDArray[np.uint8]:
    gamma = math.exp(random.uniform(-0.35, 0.35))
    return np.asarray(np.rint(255 * np.linspace(0, 1, 256) ** gamma), np.uint8)


def _motion(random: np.random.Generator) -> Floats:
    """Draw the kernel of a camera that moved while its shutter was open."""
    reach_px = random.uniform(1, 3)
    angle = random.uniform(0, math.pi)
    away = reach_px * np.array([math.cos(angle), math.sin(angle)])
    kernel = np.zeros((7, 7), np.float32)
    ends = [tuple(int(v) for v in np.rint((3 + s * away) * 16)) for s in (-1, 1)]
    cv2.line(kernel, ends[0], ends[1], (1.0,), 1, cv2.LINE_8, 4)
    return np.asarray(kernel / kernel.sum(), np.float32)


def _noise(side_px: int, random: np.random.Generator) -> Floats:
    """Draw what a sensor adds: grains of light, or of colour."""
    planes = 1 if random.random() < _COIN else 3
    grains = random.standard_normal((side_px, side_px, planes), np.float32)
    grains *= np.float32(random.uniform(1.5, 9))
    return grains if planes > 1 else np.asarray(cv2.merge([grains[..., 0]] * 3), np.float32)


_ROOT_OF_LIGHT = np.sqrt(np.linspace(0, 1, 256)).astype(np.float32)


def _noisy(picture: Image, noise: Floats, grows: bool) -> Image:
    if grows:
        noise = noise * np.asarray(cv2.LUT(picture, _ROOT_OF_LIGHT), np.float32)
    return np.asarray(cv2.add(picture, noise, dtype=cv2.CV_8U), np.uint8)


def _patch(side_px: int, random: np.random.Generator) -> tuple[slice, slice]:
    """Draw an oblong within the middle of the picture, where the face is."""
    places = []
    for middle, length in random.uniform((0.15, 0.12), (0.85, 0.4), (2, 2)):
        low = max(0, round((middle - length / 2) * side_px))
        places.append(slice(low, min(side_px, round((middle + length / 2) * side_px))))
    return places[0], places[1]
