"""Frames come out of the jail as they went in: all of them, upright, in time."""

import os
import signal
from contextlib import AbstractContextManager
from fractions import Fraction
from pathlib import Path

import av
import psutil
import pytest

from app.domain.media import VideoFacts
from app.errors import IntegrityFailed, RejectCode, RejectedMedia
from app.settings import AnalysisSettings, MediaLimits
from tests import media
from workers.detection.decode import VideoStream, open_video
from workers.detection.stage import Frame


def opened(
    path: Path,
    limits: MediaLimits | None = None,
    sampling: AnalysisSettings | None = None,
) -> AbstractContextManager[VideoStream]:
    return open_video(
        path,
        limits=limits or MediaLimits(),
        sampling=sampling or AnalysisSettings(),
        allow_unsandboxed=True,
    )


def watch(
    path: Path, limits: MediaLimits | None = None, sampling: AnalysisSettings | None = None
) -> tuple[list[Frame], VideoFacts, VideoStream]:
    with opened(path, limits, sampling) as video:
        frames = list(video)
        return frames, video.facts(sha256="0" * 64, size_bytes=path.stat().st_size), video


def decoders() -> list[psutil.Process]:
    """List the decoders that live; servers of other tests are our children too."""
    living = [p for p in psutil.Process().children() if p.status() != psutil.STATUS_ZOMBIE]
    return [p for p in living if "workers.detection.decoder" in " ".join(p.cmdline())]


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return media.make_video(tmp_path / "clip.mp4", frames=20, with_sound=True)


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("clip.mp4", "libx264"),
        ("clip.mov", "libx265"),
        ("clip.mkv", "libx264"),
        ("clip.webm", "libvpx"),
        ("clip.webm", "libvpx-vp9"),
        ("clip.mkv", "libsvtav1"),
        ("clip.avi", "mpeg4"),
        ("clip.ts", "libx264"),
        ("clip.ts", "mpeg2video"),
        ("clip.avi", "mjpeg"),
    ],
)
def test_every_container_and_codec_gives_all_its_frames(
    tmp_path: Path, name: str, codec: str
) -> None:
    pixels = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    path = media.make_video(tmp_path / name, codec=codec, pixels=pixels, frames=12)

    frames, facts, _ = watch(path)

    assert list(range(12)) == [media.read_number(f.rgb) for f in frames]
    assert list(range(12)) == [f.index for f in frames]
    assert pytest.approx([n / 25 for n in range(12)], abs=0.002) == [f.pts_s for f in frames]
    assert frames[0].is_keyframe
    assert all(media.is_red(f.rgb, x=0.25, y=0.9) for f in frames)
    assert (facts.warnings, facts.frames_decoded, facts.frames_kept) == ((), 12, 12)
    assert pytest.approx(12 / 25, abs=0.01) == facts.duration_s


def test_the_facts_are_those_of_the_decoded_frames(clip: Path) -> None:
    _, facts, video = watch(clip)

    assert (
        VideoFacts(
            sha256="0" * 64,
            size_bytes=clip.stat().st_size,
            container="mp4",
            codec="mpeg4",
            width=160,
            height=120,
            rotation_deg=0,
            duration_s=pytest.approx(0.8),
            fps=pytest.approx(25.0),
            frames_expected=20,
            frames_decoded=20,
            frames_kept=20,
        )
        == facts
    )
    assert video.kept_words == "every 1st of 20"
    assert "libavcodec" in video.decoder
    assert "network" in video.sandbox


@pytest.mark.parametrize(
    ("rotation_deg", "is_mirrored", "red"),
    [
        (0, False, (0.25, 0.9)),
        (90, False, (0.1, 0.25)),
        (180, False, (0.75, 0.1)),
        (270, False, (0.9, 0.75)),
        (0, True, (0.75, 0.9)),
        (90, True, (0.9, 0.25)),
    ],
)
def test_a_turned_clip_comes_as_a_player_shows_it(
    tmp_path: Path, rotation_deg: int, is_mirrored: bool, red: tuple[float, float]
) -> None:
    path = media.make_video(
        tmp_path / "clip.mp4", frames=3, rotation_deg=rotation_deg, is_mirrored=is_mirrored
    )

    frames, facts, _ = watch(path)

    upright = (160, 120) if rotation_deg in {0, 180} else (120, 160)
    assert upright == (facts.width, facts.height)
    assert upright == (frames[0].rgb.shape[1], frames[0].rgb.shape[0])
    assert media.is_red(frames[0].rgb, x=red[0], y=red[1])
    assert frames[0].rgb.flags.c_contiguous
    if not is_mirrored:
        assert rotation_deg == facts.rotation_deg


def test_pixels_that_are_not_square_are_made_square(tmp_path: Path) -> None:
    path = media.make_video(
        tmp_path / "clip.mp4", codec="libx264", frames=3, aspect=Fraction(16, 11)
    )

    frames, facts, _ = watch(path)

    assert (facts.width, facts.height) == (233, 120)
    assert frames[0].rgb.shape == (120, 233, 3)


def test_colours_survive_formats_with_full_chroma(tmp_path: Path) -> None:
    path = media.make_video(tmp_path / "clip.mp4", codec="libx264", pixels="yuv444p", frames=3)

    frames, _, _ = watch(path)

    assert pytest.approx([220, 30, 30], abs=12) == frames[2].rgb[110, 30].tolist()


def test_large_frames_are_scaled_to_the_working_size(tmp_path: Path) -> None:
    path = media.make_video(tmp_path / "clip.mp4", size=(640, 360), frames=5)

    frames, facts, _ = watch(path, sampling=AnalysisSettings(max_work_side_px=320))

    assert frames[0].rgb.shape == (180, 320, 3)
    assert (frames[0].scale, facts.width, facts.height) == (0.5, 640, 360)
    assert list(range(5)) == [media.read_number(f.rgb) for f in frames]


def test_rows_that_the_decoder_pads_come_without_padding(tmp_path: Path) -> None:
    path = media.make_video(tmp_path / "clip.mp4", size=(150, 98), frames=4)

    frames, _, _ = watch(path)

    assert frames[0].rgb.shape == (98, 150, 3)
    assert list(range(4)) == [media.read_number(f.rgb) for f in frames]


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv"])
def test_a_variable_rate_keeps_its_times(tmp_path: Path, name: str) -> None:
    times_ms = [0, 10, 90, 130, 300, 310, 420, 480, 600, 640]
    path = media.make_video(tmp_path / name, frames=10, pts_ms=times_ms)

    frames, facts, _ = watch(path)

    assert pytest.approx([t / 1000 for t in times_ms], abs=0.001) == [f.pts_s for f in frames]
    assert facts.warnings == ("variable-frame-rate",)


def test_only_so_many_frames_are_kept_and_evenly(tmp_path: Path) -> None:
    path = media.make_video(tmp_path / "clip.mp4", frames=60)

    frames, facts, video = watch(path, sampling=AnalysisSettings(max_kept_frames=25))

    assert list(range(0, 60, 3)) == [f.index for f in frames]
    assert list(range(0, 60, 3)) == [media.read_number(f.rgb) for f in frames]
    assert (facts.frames_decoded, facts.frames_kept) == (60, 20)
    assert (video.probe.keep_every, video.kept_words) == (3, "every 3rd of 60")


def test_a_high_rate_is_thinned_to_the_one_wanted(tmp_path: Path) -> None:
    path = media.make_video(tmp_path / "clip.mp4", frames=30, rate_hz=60)

    frames, _, _ = watch(path)

    assert list(range(0, 30, 2)) == [f.index for f in frames]


def test_a_consumer_that_lets_frames_lie_still_has_each_as_it_was(tmp_path: Path) -> None:
    path = media.make_video(tmp_path / "clip.mp4", frames=40)

    frames, _, _ = watch(path)

    assert list(range(40)) == [media.read_number(f.rgb) for f in frames]


def test_a_cut_off_file_says_how_much_is_missing(tmp_path: Path) -> None:
    path = media.make_video(
        tmp_path / "clip.mp4", frames=100, noise=20, options={"movflags": "+faststart"}
    )

    _, facts, _ = watch(media.truncate(path, 0.6))

    assert facts.is_truncated
    assert facts.frames_expected == 100
    assert 20 < facts.frames_decoded < 80


@pytest.mark.parametrize("name", ["clip.mkv", "clip.avi"])
def test_other_containers_cut_off_are_noticed_too(tmp_path: Path, name: str) -> None:
    path = media.make_video(tmp_path / name, frames=100, noise=20)

    _, facts, _ = watch(media.truncate(path, 0.5))

    assert facts.is_truncated


def test_damage_in_the_middle_is_survived_and_told(tmp_path: Path) -> None:
    path = media.make_video(tmp_path / "clip.ts", codec="libx264", frames=60, noise=20)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 2000] = bytes(2000)
    path.write_bytes(data)

    frames, facts, _ = watch(path)

    assert "damaged" in facts.warnings
    assert len(frames) > 40


def test_the_decoder_dies_with_the_context(tmp_path: Path) -> None:
    path = media.make_video(tmp_path / "clip.mp4", frames=100)
    with opened(path) as video:
        first = next(iter(video))
        (decoder,) = decoders()

    assert first.index == 0
    assert not decoder.is_running()


def test_an_error_of_the_consumer_ends_the_decoder_and_passes_through(clip: Path) -> None:
    def look() -> None:
        with opened(clip) as video:
            for _ in video:
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        look()

    assert decoders() == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT])
def test_a_decoder_that_is_killed_is_a_crash(tmp_path: Path, number: signal.Signals) -> None:
    path = media.make_video(tmp_path / "clip.mp4", frames=100)

    assert _code_after(path, number) == RejectCode.DECODER_CRASH


def test_a_decoder_that_uses_up_its_time_is_a_timeout(tmp_path: Path) -> None:
    path = media.make_video(tmp_path / "clip.mp4", frames=100)

    assert _code_after(path, signal.SIGXCPU) == RejectCode.DECODE_TIMEOUT


def test_a_decoder_that_hangs_is_a_timeout(tmp_path: Path) -> None:
    path = media.make_video(tmp_path / "clip.mp4", frames=100)

    code = _code_after(path, signal.SIGSTOP, MediaLimits(decode_timeout_s=3.0))

    assert code == RejectCode.DECODE_TIMEOUT
    assert decoders() == []


def _code_after(
    path: Path, number: signal.Signals, limits: MediaLimits | None = None
) -> RejectCode:
    with opened(path, limits) as video:
        frames = iter(video)
        next(frames)
        (decoder,) = decoders()
        decoder.send_signal(number)
        with pytest.raises(RejectedMedia) as caught:
            for _ in frames:
                pass
    return caught.value.code


@pytest.mark.parametrize("memory_bytes", [8 * 2**20, 40 * 2**20])
def test_a_decoder_without_enough_memory_says_so(tmp_path: Path, memory_bytes: int) -> None:
    path = media.make_video(tmp_path / "clip.mp4", codec="libx264", size=(1920, 1080), frames=6)

    with pytest.raises(RejectedMedia) as caught:
        watch(path, MediaLimits(decode_memory_bytes=memory_bytes))

    assert caught.value.code == RejectCode.DECODE_MEMORY


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "clip.mp4")

    with pytest.raises(IntegrityFailed), opened(tmp_path / "clip.mp4"):
        pass


def test_the_frames_can_be_had_once_and_the_facts_after(clip: Path) -> None:
    with opened(clip) as video:
        with pytest.raises(RuntimeError, match="end"):
            video.facts(sha256="", size_bytes=0)
        list(video)
        with pytest.raises(RuntimeError, match="once"):
            list(video)


REAL = [
    "videos/real/ffpp__183__c40__cdfc92.mp4",
    "videos/real/phone__tbh__8b031a.mp4",
    "videos/real/dfdc__lynaeydofd__34d977.mp4",
    "videos/fake/webpair__FakePutin__142778.mp4",
]


@pytest.mark.shared
@pytest.mark.parametrize("name", REAL)
def test_real_clips_give_as_many_frames_as_a_bare_loop(shared_media: Path, name: str) -> None:
    path = shared_media / name
    with av.open(str(path)) as container:
        times = [f.pts * f.time_base for f in container.decode(video=0)]

    _, facts, video = watch(path, sampling=AnalysisSettings(max_kept_rate_hz=5))

    assert len(times) == facts.frames_decoded
    assert pytest.approx(float(times[-1] - times[0]), abs=0.1) == facts.duration_s - 1 / facts.fps
    assert video.probe.keep_every > 1
