"""
How do pictures of ours become a video? H.264 in MP4, with AAC beside it where there is sound.

It only encodes: whatever a stranger wrote was decoded in the jail and comes here as arrays.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import cv2
import numpy as np
from av.audio.resampler import AudioResampler
from av.video.reformatter import ColorRange
from numpy.typing import NDArray

from workers.detection.stage import Image, Sound

TICKS_HZ = 90_000
"""In which times are written: those of all usual rates are whole numbers of it, or nearly."""
THREADS = 2
"""Fixed, as what x264 writes depends on it."""
SOUND_BITS_PER_S = 128_000
_AAC_RATES_HZ = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
_AAC_RATE_HZ = 48000
_SOUND_BLOCK = 1024
_BT601 = 6  # SMPTE 170M, in FFmpeg's numbers
_YUV_FROM_RGB = np.array(
    [
        [65.481 / 255, 128.553 / 255, 24.966 / 255, 16],
        [-37.797 / 255, -74.203 / 255, 112 / 255, 128],
        [112 / 255, -93.786 / 255, -18.214 / 255, 128],
    ]
)
"""ITU-R BT.601 in studio range, of 8 bits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureShape:
    """What all pictures of a video have in common."""

    size: tuple[int, int]  # width and height
    rate_hz: float  # mean, for the encoder; each picture has a time of its own

    @property
    def is_even(self) -> bool:
        """Whether colours can be written at half the resolution."""
        return self.size[0] % 2 == 0 and self.size[1] % 2 == 0


class ClipWriter:
    """
    Writes frames, with their sound, as H.264 and AAC in MP4. A context manager.

    Sides that are odd are written in 4:4:4, which alone can hold them.

    Args:
        path: of the file; it is overwritten.
        shape: of the frames.
        crf: quality, 0 best to 51 worst.
        preset: of x264, the slower the smaller.
        sound: what is heard, in the time of the frames; None: nothing.
        metadata: of the container.
    """

    def __init__(
        self,
        path: Path,
        shape: PictureShape,
        *,
        crf: int,
        preset: str,
        sound: Sound | None = None,
        metadata: Mapping[str, str],
    ) -> None:
        self._video = Encoder(
            path,
            shape,
            pixels="yuv420p" if shape.is_even else "yuv444p",
            options={"crf": str(crf), "preset": preset},
            metadata=metadata,
        )
        self._video.stream.codec_context.colorspace = _BT601
        self._video.stream.codec_context.color_range = int(ColorRange.MPEG)
        self._shape = shape
        self._sound = None if sound is None else _SoundEncoder(self._video, sound)

    def __enter__(self) -> "ClipWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None and self._sound is not None:
            self._sound.finish()
        self._video.close(is_whole=kind is None)

    def write(self, rgb: Image, pts_s: float) -> None:
        """Write one frame `[H, W, 3]`; times rise from frame to frame."""
        frame = av.VideoFrame.from_ndarray(
            _as_yuv(rgb, is_even=self._shape.is_even), format=self._video.pixels
        )
        self._video.write(frame, pts_s)
        if self._sound is not None:
            self._sound.write_until(pts_s)


class Encoder:
    """
    A container with one stream of H.264 in it.

    Args:
        path: of the file; it is overwritten.
        shape: of the pictures.
        pixels: FFmpeg's name of the format of the frames that will be written.
        options: of x264.
        metadata: of the container.
    """

    def __init__(
        self,
        path: Path,
        shape: PictureShape,
        *,
        pixels: str,
        options: dict[str, str],
        metadata: Mapping[str, str],
    ) -> None:
        self.pixels = pixels
        self.container = av.open(str(path), "w", format="mp4")
        self.container.metadata.update(metadata)
        rate = Fraction(shape.rate_hz).limit_denominator(1001)
        self.stream = self.container.add_stream("libx264", rate=rate, options=options)
        self.stream.width, self.stream.height = shape.size
        self.stream.pix_fmt = pixels
        self.stream.codec_context.time_base = Fraction(1, TICKS_HZ)
        self.stream.codec_context.thread_count = THREADS

    def write(self, frame: av.VideoFrame, pts_s: float) -> None:
        """Write one frame; times rise from frame to frame."""
        frame.pts, frame.time_base = round(pts_s * TICKS_HZ), Fraction(1, TICKS_HZ)
        self.container.mux(self.stream.encode(frame))

    def close(self, *, is_whole: bool) -> None:
        """Write what is left and the index; nothing more where it broke off."""
        try:
            if is_whole:
                self.container.mux(self.stream.encode(None))
        finally:
            self.container.close()


class _SoundEncoder:
    """Writes sound as AAC beside a video, as far as the video has come."""

    def __init__(self, video: Encoder, sound: Sound) -> None:
        layout = "mono" if sound.channels == 1 else "stereo"
        is_usual = sound.rate_hz in _AAC_RATES_HZ
        self._rate_hz = sound.rate_hz if is_usual else _AAC_RATE_HZ
        self._container = video.container
        self._stream = video.container.add_stream("aac", rate=self._rate_hz, layout=layout)
        self._stream.bit_rate = SOUND_BITS_PER_S
        self._resampler = AudioResampler("fltp", layout, self._rate_hz, _SOUND_BLOCK)
        self._layout = layout
        self._sound = sound
        self._done = 0

    def write_until(self, pts_s: float) -> None:
        sound = self._sound
        self._write(min(len(sound.samples), round((pts_s - sound.start_s) * sound.rate_hz)))

    def finish(self) -> None:
        self._write(len(self._sound.samples))
        self._encode(self._resampler.resample(None))
        self._container.mux(self._stream.encode(None))

    def _write(self, end: int) -> None:
        sound = self._sound
        while self._done < end:
            block = sound.samples[self._done : self._done + _SOUND_BLOCK]
            frame = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(block).reshape(1, -1), format="s16", layout=self._layout
            )
            frame.sample_rate = sound.rate_hz
            frame.pts = round(sound.start_s * sound.rate_hz) + self._done
            frame.time_base = Fraction(1, sound.rate_hz)
            self._encode(self._resampler.resample(frame))
            self._done += len(block)

    def _encode(self, frames: list[av.AudioFrame]) -> None:
        for frame in frames:
            self._container.mux(self._stream.encode(frame))


def _as_yuv(rgb: Image, *, is_even: bool) -> NDArray[np.uint8]:
    """
    Turn a picture into planes, as PyAV takes them: 4:2:0 one below the other, 4:4:4 stacked.

    FFmpeg's own conversion gives the same and takes twice as long.
    """
    height, width = rgb.shape[:2]
    luma = cv2.transform(rgb, _YUV_FROM_RGB[:1])
    if is_even:
        half = cv2.resize(rgb, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
        chroma = cv2.transform(half, _YUV_FROM_RGB[1:])
    else:
        chroma = cv2.transform(rgb, _YUV_FROM_RGB[1:])
    planes = np.concatenate([luma.ravel(), *(chroma[..., n].ravel() for n in (0, 1))])
    shape = (-1, width) if is_even else (3, height, width)
    return np.asarray(planes.reshape(shape), np.uint8)
