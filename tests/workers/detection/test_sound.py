"""Is what is heard in a video decoded in the jail, whole, in time, and within limits?"""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from app.errors import RejectCode, RejectedMedia
from app.settings import MediaLimits, Settings
from tests import media
from workers.detection import wire
from workers.detection.sound import open_sound
from workers.detection.stage import Sound
from workers.detection.wire import Jailed, NoSound, Samples, SoundDone, SoundOpened

RATE_HZ = 16000


def make_video(
    path: Path,
    *,
    codec: str = "aac",
    layout: str = "mono",
    seconds: float = 1.0,
    start_s: float = 0.0,
    hole_s: float = 0.0,
    rate_hz: int = RATE_HZ,
) -> Path:
    """Write two pictures and a tone of 440 Hz, a hole of silence left in its middle."""
    with av.open(str(path), "w") as container:
        pictures = container.add_stream("libx264", rate=2)
        pictures.width, pictures.height, pictures.pix_fmt = 64, 64, "yuv420p"
        sound = container.add_stream(codec, rate=rate_hz, layout=layout)
        for n in range(2):
            shown = av.VideoFrame.from_ndarray(media.picture(n, (64, 64)), format="rgb24")
            container.mux(pictures.encode(shown))
        container.mux(pictures.encode(None))
        channels = sound.layout.nb_channels
        times = np.arange(round(seconds * rate_hz)) / rate_hz
        tone = (12000 * np.sin(2 * np.pi * 440 * times)).astype(np.int16)
        resampler = av.AudioResampler(sound.format, layout, rate_hz, sound.frame_size or 1024)
        frames = []
        for at in range(0, len(tone) - 1024, 1024):
            block = np.repeat(tone[at : at + 1024], channels).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(block, format="s16", layout=layout)
            frame.sample_rate, frame.time_base = rate_hz, Fraction(1, rate_hz)
            late_s = start_s + (hole_s if at > len(tone) / 2 else 0.0)
            frame.pts = at + round(late_s * rate_hz)
            frames += [frame] if codec == "pcm_s16le" else resampler.resample(frame)
        for frame in frames:
            container.mux(sound.encode(frame))
        container.mux(sound.encode(None))
    return path


def settings(**limits: float) -> Settings:
    return Settings(_env_file=None, media=MediaLimits(**limits), worker={"allow_unsandboxed": True})


def heard(path: Path, **more: object) -> Sound:
    sound = open_sound(path, settings=settings(), **more)
    assert sound is not None
    return sound


def loudness(sound: Sound) -> float:
    return float(np.sqrt((sound.samples.astype(float) ** 2).mean()))


@pytest.mark.parametrize(
    ("name", "codec", "layout"),
    [
        ("a.mp4", "aac", "mono"),
        ("a.mkv", "libopus", "stereo"),
        ("a.avi", "pcm_s16le", "mono"),
        ("a.mkv", "ac3", "5.1"),
    ],
)
def test_every_codec_gives_its_samples(tmp_path: Path, name: str, codec: str, layout: str) -> None:
    rate_hz = 48000 if codec in ("libopus", "ac3") else RATE_HZ
    path = make_video(tmp_path / name, codec=codec, layout=layout, rate_hz=rate_hz)

    sound = heard(path)

    assert sound.rate_hz == rate_hz
    assert sound.channels == (1 if layout == "mono" else 2)
    assert len(sound.samples) == pytest.approx(rate_hz, rel=0.15)
    assert 4000 < loudness(sound) < 14000
    assert (sound.is_cut, sound.is_damaged) == (False, False)


def test_a_sound_that_begins_late_says_so_and_a_hole_in_it_is_silent(tmp_path: Path) -> None:
    sound = heard(
        make_video(tmp_path / "a.mkv", codec="pcm_s16le", seconds=2.0, start_s=0.3, hole_s=0.5)
    )

    assert sound.start_s == pytest.approx(0.3, abs=0.07)
    assert len(sound.samples) == pytest.approx(2.5 * RATE_HZ, rel=0.07)
    quiet = np.abs(sound.samples[:, 0].astype(int)) < 50
    blocks = quiet[: len(quiet) // 800 * 800].reshape(-1, 800).all(axis=1)
    assert blocks.sum() == pytest.approx(0.5 * RATE_HZ / 800, abs=1.5)


def test_what_comes_later_than_wanted_is_not_decoded(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mkv", codec="flac", seconds=2.0)

    assert len(heard(path, until_s=0.5).samples) == RATE_HZ / 2
    assert len(heard(path, until_s=-1.0).samples) == 0


def test_more_than_may_be_held_is_left_out_and_told(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mkv", codec="flac", seconds=2.0)

    sound = heard(path, max_bytes=10_000)

    assert sound.samples.nbytes == 10_000
    assert sound.is_cut


def test_a_video_without_sound_has_none(tmp_path: Path) -> None:
    path = media.make_video(tmp_path / "a.mp4", frames=3)

    assert open_sound(path, settings=settings()) is None


def test_a_codec_that_is_not_let_in_is_named(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mkv", codec="mp2")

    with pytest.raises(RejectedMedia, match="sound is mp2") as why:
        open_sound(path, settings=settings())

    assert why.value.code is RejectCode.UNSUPPORTED_CODEC


def test_what_is_no_video_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"no video")

    with pytest.raises(RejectedMedia):
        open_sound(tmp_path / "a.mp4", settings=settings())


JAILED = Jailed(is_network_removed=True, words="no network")
OPENED = SoundOpened(codec="aac", decoder="none", rate_hz=RATE_HZ, channels=1, start_s=0.0)
DONE = SoundDone(is_cut=False, is_damaged=False)


def _say(*messages: wire.Message) -> int:
    wire.read_line(0)
    for message in (JAILED, *messages):
        wire.send(1, message)
    return 0


def says_more_than_a_slot() -> int:
    return _say(OPENED, Samples(slot=0, size_bytes=wire.SOUND_SLOT_BYTES + 1), DONE)


def says_another_slot() -> int:
    return _say(OPENED, Samples(slot=3, size_bytes=2), DONE)


def says_no_end() -> int:
    return _say(OPENED, *(Samples(slot=n % 4, size_bytes=1000) for n in range(20)), DONE)


def says_many_channels() -> int:
    return _say(SoundOpened(**{**_fields(OPENED), "channels": 64}), DONE)


def says_half_a_sample() -> int:
    return _say(OPENED, Samples(slot=0, size_bytes=5), DONE)


def says_nothing_is_heard() -> int:
    return _say(NoSound())


def _fields(message: SoundOpened) -> dict[str, object]:
    return {name: getattr(message, name) for name in message.__slots__}


@pytest.mark.parametrize(
    "liar",
    [
        says_more_than_a_slot,
        says_another_slot,
        says_no_end,
        says_many_channels,
    ],
    ids=lambda liar: liar.__name__,
)
def test_a_decoder_that_lies_is_turned_away(liar, tmp_path: Path) -> None:
    path = media.make_video(tmp_path / "a.mp4", frames=1)

    with pytest.raises(RejectedMedia) as why:
        open_sound(
            path, settings=settings(), max_bytes=10_000, decoder=f"{__name__}:{liar.__name__}"
        )

    assert why.value.code is RejectCode.DECODER_CRASH


def test_a_decoder_can_lie_about_samples_only(tmp_path: Path) -> None:
    path = media.make_video(tmp_path / "a.mp4", frames=1)

    odd = heard(path, decoder=f"{__name__}:{says_half_a_sample.__name__}")
    none = open_sound(
        path, settings=settings(), decoder=f"{__name__}:{says_nothing_is_heard.__name__}"
    )

    assert odd.samples.shape == (2, 1)
    assert none is None
