"""Files made to break a decoder end in the code they deserve, in little time and memory."""

import io
import json
import os
import random
import struct
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from app.errors import RejectCode, RejectedMedia
from app.settings import AnalysisSettings, MediaLimits
from tests import media
from workers.detection.decode import open_video

ROOT = Path(__file__).parents[2]
MAX_SECONDS = 10.0
MAX_DECODER_BYTES = 256 * 2**20
ONE_RUN = """
import json, pathlib, resource, sys, time
from app.errors import RejectedMedia
from app.settings import AnalysisSettings, MediaLimits
from workers.detection.decode import open_video

started, code = time.monotonic(), "decoded"
try:
    with open_video(pathlib.Path(sys.argv[1]), limits=MediaLimits(), sampling=AnalysisSettings(),
                    allow_unsandboxed=True) as video:
        for _ in video:
            pass
except RejectedMedia as why:
    code = why.code
peak_kib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print(json.dumps([code, time.monotonic() - started, peak_kib * 1024]))
"""


def verdict(path: Path, limits: MediaLimits | None = None) -> RejectCode | tuple[str, ...]:
    """Decode it all; return the code it is rejected with, or else its warnings."""
    started = time.monotonic()
    try:
        with open_video(
            path,
            limits=limits or MediaLimits(decode_timeout_s=60),
            sampling=AnalysisSettings(),
            allow_unsandboxed=True,
        ) as video:
            for _ in video:
                pass
            return video.facts(sha256="", size_bytes=0).warnings
    except RejectedMedia as why:
        return why.code
    finally:
        assert time.monotonic() - started < MAX_SECONDS


def measured(path: Path) -> tuple[str, float, int]:
    """Decode it in a process of its own: the code, the seconds, the decoder's peak of memory."""
    done = subprocess.run(
        [sys.executable, "-c", ONE_RUN, str(path)],
        cwd=ROOT,
        capture_output=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    code, seconds, peak_bytes = json.loads(done.stdout.splitlines()[-1])
    return code, seconds, peak_bytes


def a_zip() -> bytes:
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as archive:
        archive.writestr("clip.mp4", bytes(1000))
    return memory.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0",
        random.Random(0).randbytes(100_000),
        b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
        b"ffconcat version 1.0\nfile sibling.mp4\n",
        b'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"></MPD>',
        b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nm=video 1 RTP/AVP 96\n",
        b"<!doctype html><script>alert(1)</script>",
        b"\x7fELF" + bytes(200),
        b"\xff\xd8\xff\xe0\0\x10JFIF" + bytes(200),
        b"\x89PNG\r\n\x1a\n" + bytes(200),
        b"GIF89a" + bytes(200),
        b"RIFF\0\0\0\0WAVEfmt " + bytes(200),
        b"%PDF-1.7\n",
        b"#!/bin/sh\nid\n",
        a_zip(),
    ],
    ids=lambda data: repr(data[:8]),
)
def test_what_is_no_video_container_is_never_opened(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(data)

    assert verdict(path) == RejectCode.UNSUPPORTED_CONTAINER


def box(kind: bytes, body: bytes = b"") -> bytes:
    return struct.pack(">I", 8 + len(body)) + kind + body


FTYP = box(b"ftyp", b"isom\0\0\2\0isomiso2mp41")
MATROSKA = b"\x1a\x45\xdf\xa3\x8b\x42\x82\x88matroska"


def nested_boxes(depth: int) -> bytes:
    body = b""
    for _ in range(depth):
        body = box(b"moov", body)
    return body


@pytest.mark.parametrize(
    "data",
    [
        FTYP,
        FTYP + struct.pack(">I4sQ", 1, b"moov", 2**63),
        FTYP + struct.pack(">I4s", 0, b"moov") * 1000,
        FTYP + nested_boxes(10_000),
        FTYP + box(b"free") * 1_000_000,
        FTYP + box(b"moov", box(b"trak", box(b"mdia", box(b"minf", box(b"stbl", box(
            b"stsz", struct.pack(">III", 0, 0, 2**32 - 1))))))),
        MATROSKA + b"\x18\x53\x80\x67\x01" + b"\xff" * 7,
        MATROSKA + b"\x01\xff\xff\xff\xff\xff\xff\xff" * 1000,
        b"RIFF\xff\xff\xff\xffAVI LIST\xff\xff\xff\xffhdrl" + bytes(4000),
        bytes([0x47, *[0] * 187]) * 100,
        FTYP + b"#EXTM3U\nfile:///etc/passwd\n",
    ],
    ids=[
        "header only", "size 2^63", "sizes of 0", "10 000 deep", "10^6 boxes", "2^32 samples",
        "endless EBML", "nested EBML", "AVI of garbage", "empty packets", "playlist behind a box",
    ],
)  # fmt: skip
def test_containers_of_nonsense_are_unreadable(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(data)

    assert verdict(path) in {RejectCode.UNREADABLE_CONTAINER, RejectCode.NO_VIDEO_STREAM}


@pytest.mark.parametrize(
    ("name", "codec", "pixels"),
    [
        ("clip.avi", "magicyuv", "yuv420p"),
        ("clip.mkv", "ffv1", "yuv420p"),
        ("clip.mov", "jpeg2000", "yuv420p"),
        ("clip.mov", "png", "rgb24"),
        ("clip.mov", "prores_ks", "yuv422p10le"),
    ],
)
def test_rare_codecs_are_never_run(tmp_path: Path, name: str, codec: str, pixels: str) -> None:
    path = media.make_video(tmp_path / name, codec=codec, pixels=pixels, frames=2)

    assert verdict(path) == RejectCode.UNSUPPORTED_CODEC


def test_a_picture_of_a_gigapixel_is_turned_away_unseen(tmp_path: Path) -> None:
    path = media.make_huge_still(tmp_path / "bomb.mov", side_px=16_000)

    code, seconds, peak_bytes = measured(path)

    assert code == RejectCode.FRAME_TOO_LARGE
    assert seconds < 2
    assert peak_bytes < MAX_DECODER_BYTES


def test_a_picture_larger_than_its_header_says_takes_no_memory(tmp_path: Path) -> None:
    path = media.make_video(tmp_path / "bomb.mkv", codec="mjpeg", pixels="yuvj420p", frames=1)
    start_of_frame = b"\xff\xc0\0\x11\x08"
    bomb = media.patch(
        path,
        start_of_frame + struct.pack(">HH", 120, 160),
        start_of_frame + struct.pack(">HH", 16_000, 16_000),
    )

    code, seconds, peak_bytes = measured(bomb)

    assert code == RejectCode.NO_FRAMES
    assert seconds < 2
    assert peak_bytes < MAX_DECODER_BYTES


@pytest.mark.parametrize(
    ("size", "code"),
    [
        ((30_000, 30_000), RejectCode.FRAME_TOO_LARGE),
        ((65_535, 65_535), RejectCode.FRAME_TOO_LARGE),
        ((8_000, 8_000), RejectCode.FRAME_TOO_LARGE),
        ((9_000, 16), RejectCode.FRAME_TOO_LARGE),
        ((1, 1), RejectCode.FRAME_TOO_SMALL),
        ((3, 8_191), RejectCode.FRAME_TOO_SMALL),
    ],
)
def test_sizes_out_of_bounds_are_told_from_the_header(
    tmp_path: Path, size: tuple[int, int], code: RejectCode
) -> None:
    path = media.make_video(tmp_path / "clip.mkv", codec="libvpx", size=(1600, 1200), frames=1)
    patched = media.patch(
        path,
        b"\xb0\x82" + struct.pack(">H", 1600) + b"\xba\x82" + struct.pack(">H", 1200),
        b"\xb0\x82" + struct.pack(">H", size[0]) + b"\xba\x82" + struct.pack(">H", size[1]),
    )

    assert verdict(patched) == code


@pytest.mark.parametrize("side_px", [640, 2048])
def test_a_picture_that_changes_its_size_is_turned_away(tmp_path: Path, side_px: int) -> None:
    one = media.make_video(tmp_path / "one.ts", codec="libx264", size=(320, 240))
    two = media.make_video(tmp_path / "two.ts", codec="libx264", size=(side_px, side_px), frames=8)
    both = tmp_path / "both.ts"
    both.write_bytes(one.read_bytes() + two.read_bytes())

    assert verdict(both) == RejectCode.RESOLUTION_CHANGE


def test_frames_too_large_in_the_middle_are_not_a_clean_video(tmp_path: Path) -> None:
    one = media.make_video(tmp_path / "one.ts", codec="libx264", size=(320, 240), frames=8)
    two = media.make_video(tmp_path / "two.ts", codec="libx264", size=(2048, 2048), frames=8)
    both = tmp_path / "both.ts"
    both.write_bytes(one.read_bytes() + two.read_bytes())

    warnings = verdict(both, MediaLimits(max_side_px=640, max_frame_px=640 * 480))

    assert warnings == RejectCode.RESOLUTION_CHANGE or {"damaged", "truncated"} <= set(warnings)


def test_a_thousand_frames_a_second_are_refused_from_the_header(tmp_path: Path) -> None:
    path = media.make_video(tmp_path / "clip.mp4", rate_hz=1000, frames=50)

    assert verdict(path) == RejectCode.FRAME_RATE_TOO_HIGH


def test_too_many_frames_are_refused_from_the_header(tmp_path: Path) -> None:
    path = media.make_video(tmp_path / "clip.mp4", frames=50)

    assert verdict(path, MediaLimits(max_frames=49)) == RejectCode.TOO_MANY_FRAMES


def test_too_many_frames_are_noticed_where_the_header_is_silent(tmp_path: Path) -> None:
    path = media.make_video(tmp_path / "clip.mkv", frames=50)

    assert verdict(path, MediaLimits(max_frames=49)) == RejectCode.TOO_MANY_FRAMES


def test_too_long_a_video_is_refused_from_the_header(tmp_path: Path) -> None:
    path = media.make_video(tmp_path / "clip.mp4", frames=50)

    assert verdict(path, MediaLimits(max_duration_s=1.5)) == RejectCode.TOO_LONG


def lie_about_duration(path: Path, seconds: float) -> Path:
    """Change the one duration that a Matroska file without tags has."""
    data = path.read_bytes()
    at = data.index(b"\x44\x89\x88") + 3
    lie = media.patch(
        path, data[at - 3 : at + 8], b"\x44\x89\x88" + struct.pack(">d", seconds * 1e3)
    )
    tag = lie.read_bytes()
    lie.write_bytes(tag.replace(b"DURATION", b"XXXXXXXX"))
    return lie


def test_a_header_that_promises_a_short_video_buys_no_time(tmp_path: Path) -> None:
    path = media.make_video(tmp_path / "clip.mkv", frames=100)

    lie = lie_about_duration(path, 1.0)

    assert verdict(lie, MediaLimits(max_duration_s=3.0)) == RejectCode.TOO_LONG
    assert verdict(lie) == ("duration-mismatch",)


def test_a_header_that_promises_weeks_is_not_believed(tmp_path: Path) -> None:
    path = media.make_video(tmp_path / "clip.mp4", frames=25)
    data = path.read_bytes()
    at = data.index(b"mvhd") + 16  # version, times, then the time scale and the duration
    scale = struct.unpack(">I", data[at : at + 4])[0]
    lie = media.patch(path, data[at : at + 8], struct.pack(">II", scale, 2**31 - 1))

    assert verdict(lie) in {(), ("duration-mismatch",)}  # FFmpeg may set it right by itself


def test_a_header_that_promises_more_than_there_is_makes_a_truncated_video(tmp_path: Path) -> None:
    path = media.make_video(tmp_path / "clip.mkv", frames=50)

    assert verdict(lie_about_duration(path, 3600.0)) == ("truncated",)


def test_too_many_streams_are_refused(tmp_path: Path) -> None:
    path = media.make_many_streams(tmp_path / "clip.mkv", streams=40)

    assert verdict(path) == RejectCode.TOO_MANY_STREAMS


def test_as_many_streams_as_may_be_are_fine(tmp_path: Path) -> None:
    path = media.make_many_streams(tmp_path / "clip.mkv", streams=16)

    assert verdict(path) == ()


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    assert verdict(media.make_sound(tmp_path / "clip.mp4")) == RejectCode.NO_VIDEO_STREAM


def test_a_file_without_its_index_cannot_be_read(tmp_path: Path) -> None:
    path = media.make_video(tmp_path / "clip.mp4")

    assert verdict(media.truncate(path, 0.6)) == RejectCode.UNREADABLE_CONTAINER


def test_an_encrypted_video_says_so(tmp_path: Path) -> None:
    path = media.make_video(
        tmp_path / "clip.mp4",
        codec="libx264",
        options={
            "encryption_scheme": "cenc-aes-ctr",
            "encryption_key": "00112233445566778899aabbccddeeff",
            "encryption_kid": "ffeeddccbbaa99887766554433221100",
        },
    )

    assert verdict(path) == RejectCode.ENCRYPTED


def test_no_words_for_the_client_tell_where_the_file_lies(tmp_path: Path) -> None:
    path = media.truncate(media.make_video(tmp_path / "clip.mp4"), 0.6)
    ending = open_video(
        path, limits=MediaLimits(), sampling=AnalysisSettings(), allow_unsandboxed=True
    )

    with pytest.raises(RejectedMedia) as caught, ending:
        pass

    assert "clip" not in str(caught.value)


def test_times_that_stand_still_are_repaired_and_told(tmp_path: Path) -> None:
    path = media.retime(media.make_video(tmp_path / "clip.mkv"), [0] * 20)

    warnings = verdict(path)

    assert "timestamps-repaired" in warnings


def test_times_that_leap_by_years_are_repaired_and_told(tmp_path: Path) -> None:
    leap_ms = [n * 40 + (10**12 if n > 10 else 0) for n in range(20)]
    path = media.retime(media.make_video(tmp_path / "clip.mkv"), leap_ms)

    warnings = verdict(path)

    assert "timestamps-repaired" in warnings


def test_a_track_that_points_to_another_file_opens_none(tmp_path: Path) -> None:
    path = media.make_video(tmp_path / "clip.mp4")
    elsewhere = media.patch(path, b"url \0\0\0\1", b"alis\0\0\0\0")

    verdict(elsewhere)  # judged on its own data or rejected; the jail's tests show what it can open


def test_a_zip_at_the_end_changes_nothing(tmp_path: Path) -> None:
    path = media.make_video(tmp_path / "clip.mp4")
    path.write_bytes(path.read_bytes() + a_zip())

    assert verdict(path) == ()


def flipped(seed: int, data: bytes, where: Callable[[random.Random, int], int]) -> bytes:
    chance = random.Random(seed)
    flipped = bytearray(data)
    for _ in range(30):
        flipped[where(chance, len(data))] ^= 1 << chance.randrange(8)
    return bytes(flipped)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("name", "codec"), [("a.mp4", "libx264"), ("a.mkv", "libvpx-vp9"), ("a.avi", "mpeg4")]
)
def test_flipped_bits_end_in_a_code_or_a_decoded_video(
    tmp_path: Path, name: str, codec: str, seed: int
) -> None:
    path = media.make_video(tmp_path / name, codec=codec, frames=10)
    in_header = seed % 2 == 0
    path.write_bytes(
        flipped(
            seed,
            path.read_bytes(),
            lambda chance, size: chance.randrange(12, min(size, 600) if in_header else size),
        )
    )

    assert isinstance(verdict(path), (RejectCode, tuple))
