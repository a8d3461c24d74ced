"""
Videos for tests, made on the spot. No face is in them, and none is in the repository.

The pictures are told apart by what is drawn on them: see `picture`, `read_number` and `is_red`.
"""

import struct
import zlib
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import OutputContainer
from numpy.typing import NDArray

ENCODER_OPTIONS = {
    "libx264": {"preset": "ultrafast", "crf": "14"},
    "libx265": {"preset": "ultrafast", "x265-params": "log-level=none"},
    "libvpx": {"deadline": "realtime", "cpu-used": "8", "b": "2M"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8", "b": "2M"},
    "libsvtav1": {"preset": "12", "svtav1-params": "lp=1"},
}
BITS = 8
"""A picture's number is drawn as so many fields along its upper edge, bright for 1."""
SOUND_RATE_HZ = 44100
SOUND_SAMPLES = 1024


def picture(number: int, size: tuple[int, int], *, noise: int = 0) -> NDArray[np.uint8]:
    """Draw a number, RGB [H, W, 3]: its bits above, a red field below on the left."""
    width, height = size
    rgb = np.full((height, width, 3), 90, np.uint8)
    if noise:
        generator = np.random.default_rng(number)
        rgb += generator.integers(0, noise, rgb.shape, dtype=np.uint8)
    for bit in range(BITS):
        field = slice(width * bit // BITS, width * (bit + 1) // BITS)
        rgb[: height // 3, field] = 235 if number >> bit & 1 else 20
    rgb[2 * height // 3 :, : width // 2] = (220, 30, 30)
    return rgb


def read_number(rgb: NDArray[np.uint8]) -> int:
    """Read the number off an upright picture."""
    height, width, _ = rgb.shape
    centres = [width * (2 * bit + 1) // (2 * BITS) for bit in range(BITS)]
    return sum(1 << bit for bit, x in enumerate(centres) if rgb[height // 6, x].mean() > 128)


def is_red(rgb: NDArray[np.uint8], *, x: float, y: float) -> bool:
    """Whether a place, given as shares of width and height, is red."""
    height, width, _ = rgb.shape
    red, green, blue = rgb[int(y * height), int(x * width)].astype(int)
    return bool(red > green + 60 and red > blue + 60)


def make_video(
    path: Path,
    *,
    frames: int = 20,
    size: tuple[int, int] = (160, 120),
    rate_hz: int = 25,
    codec: str = "mpeg4",
    pixels: str = "yuv420p",
    pts_ms: Sequence[int] | None = None,
    rotation_deg: int = 0,
    is_mirrored: bool = False,
    aspect: Fraction | None = None,
    noise: int = 0,
    with_sound: bool = False,
    options: dict[str, str] | None = None,
) -> Path:
    """
    Write a video whose frame n shows `picture(n)`; the suffix tells the container.

    Args:
        pts_ms: when each frame is shown; evenly by `rate_hz` unless given.
        rotation_deg: clockwise, by how much a player is to turn it.
        options: of the container.
    """
    with av.open(str(path), "w", options=options or {}) as container:
        stream = container.add_stream(codec, rate=rate_hz, options=ENCODER_OPTIONS.get(codec, {}))
        stream.width, stream.height = size
        stream.pix_fmt = pixels
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        if pts_ms is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        if rotation_deg or is_mirrored:
            stream.set_display_rotation(-rotation_deg, hflip=is_mirrored)
        sound = container.add_stream("aac", rate=SOUND_RATE_HZ) if with_sound else None
        for n in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(n, size, noise=noise), format="rgb24")
            if pts_ms is not None:
                frame.pts, frame.time_base = pts_ms[n], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if sound is not None:
            _play_silence(container, sound, seconds=frames / rate_hz)
    return path


def make_sound(path: Path, *, seconds: float = 1.0) -> Path:
    """Write a file with sound alone."""
    with av.open(str(path), "w") as container:
        _play_silence(container, container.add_stream("aac", rate=SOUND_RATE_HZ), seconds=seconds)
    return path


def make_many_streams(path: Path, *, streams: int) -> Path:
    """Write a file with so many video streams, of one small frame each."""
    with av.open(str(path), "w") as container:
        tracks = [container.add_stream("mpeg4", rate=25) for _ in range(streams)]
        for track in tracks:
            track.width, track.height, track.pix_fmt = 32, 32, "yuv420p"
        frame = av.VideoFrame.from_ndarray(picture(0, (32, 32)), format="rgb24")
        for track in tracks:
            container.mux(track.encode(frame))
            container.mux(track.encode(None))
    return path


def make_huge_still(path: Path, *, side_px: int) -> Path:
    """Write a video of one PNG, a few kB that would decode to gigabytes."""
    row = bytes(1 + side_px // 8)
    packer = zlib.compressobj(9)
    pixels = b"".join(packer.compress(row) for _ in range(side_px)) + packer.flush()
    header = struct.pack(">IIBBBBB", side_px, side_px, 1, 0, 0, 0, 0)  # one bit a pixel
    png = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in ((b"IHDR", header), (b"IDAT", pixels), (b"IEND", b""))
    )
    with av.open(str(path), "w") as container:
        stream = container.add_stream("png", rate=1)
        stream.width, stream.height, stream.pix_fmt = side_px, side_px, "monob"
        packet = av.Packet(png)
        packet.stream, packet.pts, packet.dts = stream, 0, 0
        packet.time_base, packet.is_keyframe = Fraction(1, 1), True
        container.mux(packet)
    return path


def retime(path: Path, times_ms: Sequence[int]) -> Path:
    """Write a copy in which the packets have other times; made for Matroska."""
    retimed = path.with_stem(f"{path.stem}-retimed")
    with av.open(str(path)) as source, av.open(str(retimed), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        packets = (p for p in source.demux(video=0) if p.size)
        for packet, time_ms in zip(packets, times_ms, strict=True):
            packet.pts = packet.dts = time_ms
            packet.stream = stream
            target.mux(packet)
    return retimed


def truncate(path: Path, share: float) -> Path:
    """Write a copy that ends early."""
    data = path.read_bytes()
    shorter = path.with_stem(f"{path.stem}-short")
    shorter.write_bytes(data[: int(len(data) * share)])
    return shorter


def patch(path: Path, find: bytes, replace: bytes) -> Path:
    """Write a copy in which the first occurrence of some bytes is replaced by as many others."""
    data = path.read_bytes()
    if find not in data or len(find) != len(replace):
        raise ValueError(f"want {find!r} in {path.name}, and as many bytes in its place")
    patched = path.with_stem(f"{path.stem}-patched")
    patched.write_bytes(data.replace(find, replace, 1))
    return patched


def _play_silence(container: OutputContainer, sound: AudioStream, *, seconds: float) -> None:
    for block in range(int(seconds * SOUND_RATE_HZ / SOUND_SAMPLES)):
        frame = av.AudioFrame.from_ndarray(
            np.zeros((1, SOUND_SAMPLES), np.float32), format="fltp", layout="mono"
        )
        frame.sample_rate, frame.pts = SOUND_RATE_HZ, block * SOUND_SAMPLES
        container.mux(sound.encode(frame))
    container.mux(sound.encode(None))
