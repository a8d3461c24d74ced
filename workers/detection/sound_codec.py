"""
How does a container become sound? Only the jail imports this.

As with pictures, the first look runs no decoder, and then the one that was found alone may run.
Whatever was recorded comes out as 16 bit integers, in one channel or in two, without gaps: a hole
in the recording is filled with silence, or all that follows would be heard too early.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import av
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer

from app.errors import RejectCode, RejectedMedia
from workers.detection.codec import open_file, packets, video_stream
from workers.detection.formats import SOUND_DECODERS
from workers.detection.wire import MAX_SOUND_RATE_HZ, SAMPLE_BYTES, Order

HOLE_S = 0.1
"""A leap of the clock by so much is a hole; smaller ones are the rounding of time bases."""
_LOOKED_AT = 256
"""Packets of pictures, at most, before the first that can be shown."""
_REORDERED = 17
"""Codecs store a picture up to 16 places before those that are shown before it."""
_SILENCE = bytes(64 * 1024)


@dataclass(frozen=True, slots=True, kw_only=True)
class SoundHeader:
    """What the container says."""

    stream_index: int
    codec: str
    pictures_start_s: float  # by the container's clock


class SoundTrack:
    """
    The sound of an opened file, decoded up to its first samples.

    Raises:
        RejectedMedia: it cannot be decoded, here or later.
        MemoryError: it takes more memory than there is.
    """

    def __init__(self, order: Order, header: SoundHeader) -> None:
        self._order = order
        self._header = header
        self._container = open_file(order, decoders=SOUND_DECODERS[header.codec])
        self._stream = _same_stream(self._container, header)
        self._stream.codec_context.thread_count = 1
        self.is_damaged = False
        self._frames = self._decoded()
        first = next(self._frames, None)
        if first is None:
            raise RejectedMedia(RejectCode.NO_FRAMES, "Not one sample of the sound can be decoded.")
        self._first = first
        self.channels = min(first.layout.nb_channels, 2)
        self.rate_hz = first.sample_rate
        if not 0 < self.rate_hz <= MAX_SOUND_RATE_HZ:
            raise RejectedMedia(
                RejectCode.UNREADABLE_CONTAINER, f"The sound has {self.rate_hz} samples a second."
            )
        time_s = self._time_s(first)
        is_plausible = time_s is not None and abs(time_s) <= order.max_duration_s
        self.start_s = time_s if is_plausible and time_s is not None else 0.0

    @property
    def codec(self) -> str:
        """FFmpeg's name of it."""
        return self._header.codec

    @property
    def decoder(self) -> str:
        """What decodes, in words."""
        version = ".".join(str(n) for n in av.library_versions["libavcodec"])
        return f"PyAV {av.__version__}, libavcodec {version}, {self._stream.codec_context.name}"

    def blocks(self) -> Iterator[bytes]:
        """Decode the samples, up to the time that was ordered, a few kB at a time."""
        resampler = self._resampler()
        frame_bytes = self.channels * SAMPLE_BYTES
        wanted = math.ceil((self._order.sound_until_s - self.start_s) * self.rate_hz)
        left = max(0, wanted) * frame_bytes
        next_s = self.start_s
        for frame in self._all():
            if left <= 0:
                return
            time_s = self._time_s(frame)
            if time_s is not None and time_s - next_s > HOLE_S:
                hole = min(left, round((time_s - next_s) * self.rate_hz) * frame_bytes)
                left -= hole
                next_s = time_s
                yield from _silence(hole)
            next_s += frame.samples / frame.sample_rate
            try:
                converted = resampler.resample(frame)
            except ValueError:  # the stream changed its ways
                converted = resampler.resample(None)
                resampler = self._resampler()
                converted += resampler.resample(frame)
            for block in converted:
                data = bytes(block.planes[0])[: min(left, block.samples * frame_bytes)]
                left -= len(data)
                if data:
                    yield data

    def _all(self) -> Iterator[AudioFrame]:
        yield self._first
        yield from self._frames

    def _resampler(self) -> AudioResampler:
        return AudioResampler("s16", "mono" if self.channels == 1 else "stereo", self.rate_hz)

    def _time_s(self, frame: AudioFrame) -> float | None:
        """Return when a frame is heard, in the time of the pictures."""
        if frame.pts is None or self._stream.time_base is None:
            return None
        return float(frame.pts * self._stream.time_base) - self._header.pictures_start_s

    def _decoded(self) -> Iterator[AudioFrame]:
        context = self._stream.codec_context
        for packet in packets(self._container, self._stream, damaged=self._note_damage):
            try:
                frames = context.decode(packet)
            except MemoryError:
                raise
            except av.FFmpegError:
                self._note_damage()
                continue
            yield from (f for f in frames if f.samples and f.sample_rate)

    def _note_damage(self) -> None:
        self.is_damaged = True


def look(order: Order) -> SoundHeader | None:
    """
    Read the header; None where there is no sound.

    Raises:
        RejectedMedia: its codec is not let in, or the file is no video.
    """
    with open_file(order, decoders="none") as container:
        stream = container.streams.best("audio")
        if not isinstance(stream, AudioStream):
            return None
        context = stream.codec_context
        codec = "unknown" if context is None else context.codec.canonical_name
        if codec not in SOUND_DECODERS:
            supported = ", ".join(sorted(SOUND_DECODERS))
            raise RejectedMedia(
                RejectCode.UNSUPPORTED_CODEC, f"The sound is {codec}; supported are {supported}."
            )
        return SoundHeader(
            stream_index=stream.index, codec=codec, pictures_start_s=_pictures_start_s(container)
        )


def _pictures_start_s(container: InputContainer) -> float:
    """
    Tell when the first picture is shown, by the container's clock, without decoding it.

    What FFmpeg gives as the start of a stream is at times that of another. The first picture that
    can be decoded is a key frame; those that come after it and are shown before it cannot.
    """
    stream = video_stream(container)
    first = None
    shown = []
    for packet in islice(packets(container, stream, damaged=lambda: None), _LOOKED_AT):
        if packet is None or packet.pts is None:
            continue
        if first is None and packet.is_keyframe:
            first = packet.pts
        if first is not None and packet.pts >= first and not packet.is_discard:
            shown.append(packet.pts)
        if len(shown) == _REORDERED:
            break
    return float(min(shown, default=0) * (stream.time_base or 0))


def _same_stream(container: InputContainer, header: SoundHeader) -> AudioStream:
    stream = container.streams[header.stream_index]
    if (
        not isinstance(stream, AudioStream)
        or stream.codec_context.name != SOUND_DECODERS[header.codec]
    ):
        raise RejectedMedia(RejectCode.UNREADABLE_CONTAINER, "The container contradicts itself.")
    return stream


def _silence(size_bytes: int) -> Iterator[bytes]:
    while size_bytes > 0:
        block = _SILENCE[:size_bytes]
        size_bytes -= len(block)
        yield block
