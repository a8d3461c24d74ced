"""A decoder that was taken over can lie about pixels. About nothing else is it believed."""

from pathlib import Path

import pytest

from app.errors import Misconfigured, RejectCode, RejectedMedia, SandboxUnavailable
from app.settings import AnalysisSettings, MediaLimits
from tests import media
from workers.detection.decode import open_video


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return media.make_video(tmp_path_factory.mktemp("clip") / "clip.mp4", frames=2)


def watch(
    clip: Path, liar: str, *, timeout_s: float = 30.0, allow_unsandboxed: bool = False
) -> int:
    with open_video(
        clip,
        limits=MediaLimits(decode_timeout_s=timeout_s),
        sampling=AnalysisSettings(max_kept_frames=100),
        allow_unsandboxed=False,
        decoder=f"tests.hostile.liars:{liar}",
    ) as video:
        return len(list(video))


@pytest.mark.parametrize(
    "liar",
    [
        "babbling",
        "endless",
        "huge",
        "crooked",
        "hasty",
        "overreaching",
        "sprawling",
        "backward",
        "timeless",
        "flooding",
        "boasting",
    ],
)
def test_what_makes_no_sense_ends_the_decoder_and_the_video(clip: Path, liar: str) -> None:
    with pytest.raises(RejectedMedia) as caught:
        watch(clip, liar)

    assert caught.value.code == RejectCode.DECODER_CRASH


def test_lies_about_pixels_alone_pass(clip: Path) -> None:
    assert watch(clip, "honest") == 1


def test_shared_memory_cannot_be_taken_away(clip: Path) -> None:
    assert watch(clip, "shrinking") == 1


def test_silence_is_not_waited_for_without_end(clip: Path) -> None:
    with pytest.raises(RejectedMedia) as caught:
        watch(clip, "silent", timeout_s=1.0)

    assert caught.value.code == RejectCode.DECODE_TIMEOUT


def test_a_decoder_that_turns_away_is_ended(clip: Path) -> None:
    with pytest.raises(RejectedMedia) as caught:
        watch(clip, "aloof", timeout_s=1.0)

    assert caught.value.code == RejectCode.DECODER_CRASH


def test_a_decoder_with_a_network_gets_no_video(clip: Path) -> None:
    with pytest.raises(SandboxUnavailable, match="ALLOW_UNSANDBOXED"):
        watch(clip, "networked")


def test_a_decoder_that_cannot_start_is_no_fault_of_the_video(clip: Path) -> None:
    with pytest.raises(Misconfigured):
        watch(clip, "stillborn")
