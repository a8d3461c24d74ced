"""
How does a container become frames? Only the jail imports this, and nothing else opens a container.

The demuxer is told, never probed, so that no playlist can be opened by mistake. The first look
runs no decoder at all; what it finds decides whether one may run, and then that one alone may.
From there on only what was decoded counts, never what the container says.
"""

import math
import re
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import TypeVar

import av
import av.logging
from av.audio.stream import AudioStream
from av.buffer import Buffer
from av.container import InputContainer
from av.stream import Disposition, Stream
from av.video.frame import VideoFrame
from av.video.plane import VideoPlane
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from app.errors import RejectCode, RejectedMedia
from workers.detection.formats import DECODERS, DEMUXERS
from workers.detection.timestamps import Timestamps
from workers.detection.wire import MAX_METADATA_CHARS, METADATA_KEYS, WARNINGS, Done, Order, Turn

PROBE_BYTES = 5_000_000
ANALYZE_US = 5_000_000
NOMINAL_RATE_HZ = 25.0
"""Of a container that does not say; used to space frames without a time of their own."""
RATE_SLACK = 1.01
BLOCK_PX = 64
"""Decoders pad frames to whole blocks before they check the size."""
DEMUX_FAILURES = 64
"""So many errors of reading in a row, and the rest of the file is given up."""
BYTES_PER_PX = 2  # between 1.5 of common frames and 6 of the richest
MEMORY_MARGIN_BYTES = 16 * 2**20
CLEARLY_FEWER = 0.9
MISMATCH = 0.1
MISMATCH_LEAST_S = 0.5
SQUARE_WITHIN = 0.02
"""Scaling by whole pixels leaves odd aspect ratios behind; they are not meant."""
WIDEST_PIXEL = 4.0
FAST_TO_RGB = frozenset({"yuv420p", "yuvj420p", "yuv422p", "yuvj422p"})
"""Formats that FFmpeg turns into RGB of the same size by hand-written code. All else goes by way
of 4:2:0, scaling included. That is three times faster: 2.2 ms for 6.3 at 1280 x 720 in 4:4:4, 4.4
for 12.6 from 3840 x 2160 to half of it; and off by 3 of 255 at sharp edges of colour."""
DURATION_TAG = re.compile(r"(\d{1,4}):(\d\d):(\d\d(?:\.\d{1,9})?)")
"""How Matroska files give the length of one stream."""

OneStream = TypeVar("OneStream", VideoStream, AudioStream)


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What the container says, within limits."""

    container: str
    stream_index: int
    codec: str
    rate_hz: float
    duration_s: float | None  # of the video stream, else of the whole
    container_duration_s: float | None
    longest_stream_s: float
    frames_expected: int | None
    metadata: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """How a stored picture is to be displayed."""

    width: int  # with square pixels, not yet turned
    height: int
    work_width: int  # to be drawn, not yet turned
    work_height: int
    turn: Turn


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoded:
    """One frame, still as the decoder left it."""

    frame: VideoFrame
    index: int
    pts_s: float


class Video:
    """
    An opened file.

    Raises:
        RejectedMedia: it is not what it must be; at once, or while it is decoded.
        MemoryError: it takes more memory than there is.
    """

    def __init__(self, order: Order, memory_left_bytes: Callable[[], int]) -> None:
        self._order = order
        self._memory_left_bytes = memory_left_bytes
        with open_file(order, decoders="none") as container:
            self.header = _look(container, order)
        self._container = open_file(order, decoders=DECODERS[self.header.codec])
        self._stream = _same_stream(self._container, self.header)
        context = self._stream.codec_context
        context.thread_type = "AUTO"
        context.thread_count = order.threads
        context.options = {"max_pixels": str(order.max_frame_px + BLOCK_PX * order.max_side_px)}
        self._timestamps = Timestamps(
            nominal_interval_s=1 / self.header.rate_hz, max_leap_s=order.max_duration_s
        )
        self._failed = 0  # packets that gave no frame
        self._damaged = 0  # frames and stretches of the file
        self._decoded = 0
        self._size: tuple[int, int] | None = None
        # Kept for all frames: building the tables of one takes longer than a conversion.
        self._scaler = VideoReformatter()
        self._painter = VideoReformatter()

    @property
    def decoder(self) -> str:
        """What decodes, in words."""
        version = ".".join(str(n) for n in av.library_versions["libavcodec"])
        name = self._stream.codec_context.name
        return f"PyAV {av.__version__}, libavcodec {version}, {name}, {self._order.threads} threads"

    def frames(self) -> Iterator[Decoded]:
        """Decode every frame, in the order of display."""
        for index, frame in zip(count(), self._raw_frames(), strict=False):
            if frame.is_corrupt:
                self._damaged += 1
            self._check_size(frame)
            raw = frame.pts if frame.pts is not None else frame.dts
            base = float(self._stream.time_base or 0)
            pts_s = self._timestamps.place(None if raw is None else raw * base)
            self._check_length(index, pts_s)
            self._decoded = index + 1
            yield Decoded(frame=frame, index=index, pts_s=pts_s)
        if not self._decoded:
            raise RejectedMedia(RejectCode.NO_FRAMES, "Not one frame could be decoded.")

    def geometry(self, first: VideoFrame) -> Geometry:
        """Tell from the first frame how all are to be displayed."""
        width, height = first.width, first.height
        aspect = float(self._stream.sample_aspect_ratio or 1)
        if abs(aspect - 1) > SQUARE_WITHIN and 1 / WIDEST_PIXEL < aspect < WIDEST_PIXEL:
            width = max(1, min(round(width * aspect), self._order.max_side_px))
        scale = min(1.0, self._order.max_work_side_px / max(width, height))
        return Geometry(
            width=width,
            height=height,
            work_width=max(1, round(width * scale)),
            work_height=max(1, round(height * scale)),
            turn=_turn(first),
        )

    def draw(self, frame: VideoFrame, geometry: Geometry) -> VideoPlane:
        """Return the frame's pixels, RGB, of the geometry's working size."""
        width, height = geometry.work_width, geometry.work_height
        name = frame.format.name
        if name not in FAST_TO_RGB or (width, height) != (frame.width, frame.height):
            way = "yuvj420p" if name.startswith("yuvj") else "yuv420p"
            frame = self._scaler.reformat(frame, width, height, way, threads=1)
        return self._painter.reformat(frame, width, height, "rgb24", threads=1).planes[0]

    def outcome(self) -> Done:
        """Say how it went, once all frames were decoded."""
        duration_s = self._timestamps.duration_s
        is_truncated = self._is_truncated(duration_s)
        found = {
            "truncated": is_truncated,
            "damaged": self._damaged + self._failed > 0,
            "timestamps-repaired": self._timestamps.repaired > 0,
            "variable-frame-rate": self._timestamps.is_variable,
            "duration-mismatch": not is_truncated and self._is_mismatch(duration_s),
        }
        return Done(
            frames_decoded=self._decoded,
            duration_s=duration_s,
            rate_hz=self._decoded / duration_s,
            warnings=tuple(w for w in WARNINGS if found[w]),
        )

    def _raw_frames(self) -> Iterator[VideoFrame]:
        context = self._stream.codec_context
        for packet in packets(self._container, self._stream, damaged=self._note_damage):
            try:
                yield from context.decode(packet)
            except MemoryError:
                raise
            except av.FFmpegError as failed:
                # Decoders say "invalid data" when memory runs out, and the rest would be lost.
                if self._memory_left_bytes() < self._next_frames_bytes():
                    raise MemoryError from failed
                self._failed += 1

    def _next_frames_bytes(self) -> int:
        context = self._stream.codec_context
        frame_bytes = context.width * context.height * BYTES_PER_PX
        return MEMORY_MARGIN_BYTES + self._order.threads * frame_bytes

    def _note_damage(self) -> None:
        self._damaged += 1

    def _check_size(self, frame: VideoFrame) -> None:
        size = frame.width, frame.height
        if self._size is None:
            _check_size(*size, self._order)
            self._size = size
        if size != self._size:
            raise RejectedMedia(
                RejectCode.RESOLUTION_CHANGE,
                f"The picture changes from {self._size[0]} x {self._size[1]} px "
                f"to {size[0]} x {size[1]} px.",
            )

    def _check_length(self, index: int, pts_s: float) -> None:
        order = self._order
        if index >= order.max_frames:
            raise _too_many_frames(order)
        if pts_s > order.max_duration_s:
            raise _too_long(order)
        if index > order.max_rate_hz * RATE_SLACK * (pts_s + 1):
            raise _too_fast(index / (pts_s + 1), order)

    def _is_truncated(self, duration_s: float) -> bool:
        header = self.header
        if self._decoded < CLEARLY_FEWER * (self._decoded + self._failed):
            return True
        if header.frames_expected is not None:
            return self._decoded < CLEARLY_FEWER * header.frames_expected
        if header.container != "matroska" or header.duration_s is None:
            return False  # the others' durations are measured or guessed, not promised
        return duration_s < CLEARLY_FEWER * header.duration_s - MISMATCH_LEAST_S

    def _is_mismatch(self, duration_s: float) -> bool:
        header = self.header
        if header.duration_s is not None and _differ(header.duration_s, duration_s):
            return True
        whole_s = header.container_duration_s
        if whole_s is None:
            return False
        # The sound may go on after the picture, but the whole is no longer than its longest part.
        longest_s = max(duration_s, header.longest_stream_s)
        return _differ(whole_s, min(max(whole_s, duration_s), longest_s))


def packets(
    container: InputContainer, stream: OneStream, *, damaged: Callable[[], None]
) -> Iterator["av.Packet[OneStream] | None"]:
    """
    Read every packet of a stream; None at the end, for what the decoder still holds.

    Args:
        damaged: called for each stretch of the file that cannot be read.
    """
    found = container.demux(stream)
    failures = 0
    while failures < DEMUX_FAILURES:
        try:
            packet = next(found)
        except StopIteration:
            break
        except MemoryError:
            raise
        except av.FFmpegError:
            damaged()
            failures += 1
            found = container.demux(stream)
            continue
        if packet.size == 0:  # PyAV's own end mark
            continue
        if packet.has_sidedata("encryption_info"):
            raise RejectedMedia(RejectCode.ENCRYPTED, f"The {stream.type} stream is encrypted.")
        failures = 0
        yield packet
    yield None


def open_file(order: Order, *, decoders: str) -> InputContainer:
    """Open the file that an order names; none but these decoders, by comma, can be run on it."""
    with av.logging.Capture() as log:
        av.logging.set_level(av.logging.ERROR)
        try:
            # Options for the container only: those for streams are handed out in an array that
            # PyAV frees by a count which the file can raise in between.
            return av.open(
                f"file:{order.path}",
                format=DEMUXERS[order.container].split(",")[0],
                metadata_errors="replace",
                container_options={
                    "protocol_whitelist": "file",
                    "format_whitelist": DEMUXERS[order.container],
                    "codec_whitelist": decoders,
                    "max_streams": str(order.max_streams + 1),  # Matroska's drops the others
                    "probesize": str(PROBE_BYTES),
                    "analyzeduration": str(ANALYZE_US),
                },
            )
        except (MemoryError, av.FFmpegError, ValueError) as failed:
            if any("max_streams" in text for _, _, text in log):
                raise _too_many_streams(order) from failed
            if isinstance(failed, MemoryError):
                raise
            raise RejectedMedia(
                RejectCode.UNREADABLE_CONTAINER, "The container cannot be read."
            ) from failed
        finally:
            av.logging.set_level(None)


def _look(container: InputContainer, order: Order) -> Header:
    """Read the header and turn away what must not be decoded."""
    if len(container.streams) > order.max_streams:
        raise _too_many_streams(order)
    stream = video_stream(container)
    codec = _check_codec(stream, order)
    rate_hz = _rate_hz(stream, order)
    duration_s = _duration_s(stream)
    whole_s = (container.duration or 0) / av.time_base
    frames_expected = stream.frames if stream.frames > 0 else None
    if frames_expected and duration_s and order.container == "mp4":
        # An edit list may show less than is stored.
        frames_expected = min(frames_expected, math.ceil(duration_s * rate_hz) + 1)
    if (frames_expected or 0) > order.max_frames:
        raise _too_many_frames(order)
    if (duration_s or 0) > order.max_duration_s:
        raise _too_long(order)
    return Header(
        container=order.container,
        stream_index=stream.index,
        codec=codec,
        rate_hz=rate_hz,
        duration_s=duration_s if duration_s is not None else whole_s if whole_s > 0 else None,
        container_duration_s=whole_s if whole_s > 0 else None,
        longest_stream_s=max(_duration_s(s) or 0.0 for s in container.streams),
        frames_expected=frames_expected,
        metadata=tuple(
            (key, container.metadata[key][:MAX_METADATA_CHARS])
            for key in METADATA_KEYS
            if key in container.metadata
        ),
    )


def video_stream(container: InputContainer) -> VideoStream:
    """Return the stream of pictures; RejectedMedia where there is none."""
    stream = container.streams.best("video")
    # A cover picture is a video stream too, to FFmpeg.
    if not isinstance(stream, VideoStream) or stream.disposition & Disposition.attached_pic:
        raise RejectedMedia(RejectCode.NO_VIDEO_STREAM, "The file has no video stream.")
    return stream


def _same_stream(container: InputContainer, header: Header) -> VideoStream:
    """Return the stream that was looked at, and no other that seems better by now."""
    stream = container.streams[header.stream_index]
    if not isinstance(stream, VideoStream) or stream.codec_context.name != DECODERS[header.codec]:
        raise RejectedMedia(RejectCode.UNREADABLE_CONTAINER, "The container contradicts itself.")
    return stream


def _check_codec(stream: VideoStream, order: Order) -> str:
    context = stream.codec_context
    if context is None:
        raise RejectedMedia(RejectCode.UNSUPPORTED_CODEC, "The video's codec is unknown.")
    if context.width > 0 and context.height > 0:
        _check_size(context.width, context.height, order)
    codec = context.codec.canonical_name
    if codec not in DECODERS:
        supported = ", ".join(sorted(DECODERS))
        raise RejectedMedia(
            RejectCode.UNSUPPORTED_CODEC, f"The video is {codec}; supported are {supported}."
        )
    return codec


def _check_size(width: int, height: int, order: Order) -> None:
    found = f"A frame has {width} x {height} px"
    if width <= 0 or height <= 0:
        raise RejectedMedia(RejectCode.BAD_DIMENSIONS, f"{found}.")
    if max(width, height) > order.max_side_px or width * height > order.max_frame_px:
        raise RejectedMedia(
            RejectCode.FRAME_TOO_LARGE,
            f"{found}; at most {order.max_side_px} px a side and {order.max_frame_px} px in all "
            "are taken.",
        )
    if min(width, height) < order.min_side_px:
        raise RejectedMedia(
            RejectCode.FRAME_TOO_SMALL,
            f"{found}; at least {order.min_side_px} px a side are needed.",
        )


def _rate_hz(stream: VideoStream, order: Order) -> float:
    """Return the mean rate; one that is only guessed is not held against the video."""
    rate_hz = float(stream.average_rate or 0)
    if rate_hz > order.max_rate_hz * RATE_SLACK:
        raise _too_fast(rate_hz, order)
    if rate_hz <= 0:
        guessed_hz = float(stream.guessed_rate or 0)
        rate_hz = guessed_hz if 0 < guessed_hz <= order.max_rate_hz else NOMINAL_RATE_HZ
    return rate_hz


def _duration_s(stream: Stream) -> float | None:
    if stream.duration is not None and stream.time_base is not None and stream.duration > 0:
        return float(stream.duration * stream.time_base)
    if tag := DURATION_TAG.fullmatch(stream.metadata.get("DURATION", "")):
        hours, minutes, seconds = tag.groups()
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    return None


def _turn(frame: VideoFrame) -> Turn:
    """Return the nearest of the eight ways to put a picture upright."""
    stored: Mapping[str, Buffer] = frame.side_data  # type: ignore[assignment]  # PyAV tells of one key only
    if "DISPLAYMATRIX" not in stored:
        return 1, 0, 0, 1
    a, b, _, c, d = struct.unpack("=5i", bytes(stored["DISPLAYMATRIX"])[:20])
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return (-1 if a < 0 else 1), 0, 0, (-1 if d < 0 else 1)
    return 0, (-1 if b < 0 else 1), (-1 if c < 0 else 1), 0


def _differ(header_s: float, decoded_s: float) -> bool:
    return abs(header_s - decoded_s) > MISMATCH_LEAST_S + MISMATCH * decoded_s


def _too_many_streams(order: Order) -> RejectedMedia:
    return RejectedMedia(
        RejectCode.TOO_MANY_STREAMS, f"The file has more than {order.max_streams} streams."
    )


def _too_many_frames(order: Order) -> RejectedMedia:
    return RejectedMedia(
        RejectCode.TOO_MANY_FRAMES, f"The video has more than {order.max_frames} frames."
    )


def _too_long(order: Order) -> RejectedMedia:
    return RejectedMedia(
        RejectCode.TOO_LONG, f"The video is longer than {order.max_duration_s:g} s."
    )


def _too_fast(rate_hz: float, order: Order) -> RejectedMedia:
    return RejectedMedia(
        RejectCode.FRAME_RATE_TOO_HIGH,
        f"The video has {rate_hz:.0f} frames/s; at most {order.max_rate_hz:g} are taken.",
    )
