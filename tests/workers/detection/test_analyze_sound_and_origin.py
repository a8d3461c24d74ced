"""Has everybody who is examined the sound of the video, and is its origin told beside them?"""

from collections.abc import Mapping
from pathlib import Path

import av
import numpy as np
import pytest

from app.domain.evidence import Analysis, DetectorName, Evidence, Finding
from app.domain.media import CredentialState
from app.errors import SandboxUnavailable
from tests.make_credentials import make_newsroom
from tests.workers.detection.make_scenes import make_follower, make_frames
from tests.workers.detection.test_analyze import Classifier, analyze, make_analyzer, write
from workers.detection import analyze as analyze_module
from workers.detection.faces import FaceFollower
from workers.detection.stage import Examination, FaceClip, Sound

RATE_HZ = 16000


class Listener:
    """Keeps what it hears."""

    name = DetectorName.LIP_SYNC
    needs: frozenset[DetectorName] = frozenset()

    def __init__(self) -> None:
        self.heard: list[Sound | None] = []

    def examine(self, clip: FaceClip, prior: Mapping[DetectorName, Evidence]) -> Examination:
        self.heard.append(clip.sound)
        return Examination(evidence=Finding(detector=self.name, frames=clip.frames))


@pytest.fixture(scope="module")
def silent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two red squares that keep still for a second."""
    folder = tmp_path_factory.mktemp("silent")
    frames = make_frames(lambda n: [(30, 80, 60), (180, 80, 60)], frames=25)
    return write(folder / "silent.mp4", [f.rgb for f in frames])


def sounding(silent: Path, path: Path, codec: str) -> Path:
    """Write a copy with four seconds of a tone."""
    times_s = np.arange(4 * RATE_HZ) / RATE_HZ
    tone = np.int16(9000 * np.sin(2 * np.pi * 440 * times_s))
    with av.open(str(silent)) as source, av.open(str(path), "w") as container:
        pictures = container.add_stream_from_template(source.streams.video[0])
        sound = container.add_stream(codec, rate=RATE_HZ, layout="mono")
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = pictures
                container.mux(packet)
        frame = av.AudioFrame.from_ndarray(tone[None], format="s16", layout="mono")
        frame.sample_rate, frame.pts = RATE_HZ, 0
        size = sound.codec_context.frame_size or 1024
        for part in av.AudioResampler(sound.format, "mono", RATE_HZ, size).resample(frame):
            container.mux(sound.encode(part))
        container.mux(sound.encode(None))
    return path


def listened(
    path: Path, *, follower: FaceFollower | None = None
) -> tuple[Analysis, list[Sound | None]]:
    listener = Listener()
    analysis = analyze(make_analyzer(listener, follower=follower or make_follower()), path)
    return analysis, listener.heard


def test_everybody_is_given_the_sound_and_it_is_decoded_once(silent: Path, tmp_path: Path) -> None:
    analysis, heard = listened(sounding(silent, tmp_path / "a.mp4", "aac"))

    first, second = heard
    assert first is second
    assert first is not None
    assert first.rate_hz == RATE_HZ
    assert 1.0 < len(first.samples) / RATE_HZ < 2.2  # what is heard after everybody has gone is not
    assert analysis.timings["sound_s"] > 0
    assert analysis.video.warnings == ()


def test_a_sound_that_cannot_be_read_is_a_warning_and_no_more(silent: Path, tmp_path: Path) -> None:
    analysis, heard = listened(sounding(silent, tmp_path / "a.mkv", "mp2"))

    assert heard == [None, None]
    assert "sound-unreadable" in analysis.video.warnings
    assert len(analysis.persons) == 2


def test_a_video_without_sound_is_no_odd_one(silent: Path) -> None:
    analysis, heard = listened(silent)

    assert heard == [None, None]
    assert analysis.video.warnings == ()


def test_where_nobody_listens_or_is_seen_no_sound_is_decoded(
    silent: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hear(*arguments: object, **more: object) -> Sound:
        raise AssertionError("the sound was decoded")

    monkeypatch.setattr(analyze_module, "hear", hear)
    bare = write(tmp_path / "bare.mp4", [f.rgb for f in make_frames(lambda n: [], frames=12)])

    unheard = analyze(make_analyzer(Classifier(), follower=make_follower()), silent)
    unseen, _ = listened(bare)

    assert len(unheard.persons) == 2
    assert unseen.persons == ()
    assert unseen.origin is not None


def test_what_the_file_says_of_itself_stands_beside_the_persons(
    silent: Path, tmp_path: Path
) -> None:
    signed = make_newsroom().sign(silent, tmp_path / "signed.mp4")

    plain, told = listened(silent)[0], listened(signed)[0]

    assert plain.origin is not None
    assert told.origin is not None
    assert plain.origin.credentials.state is CredentialState.ABSENT
    assert told.origin.credentials.state is CredentialState.UNTRUSTED
    assert told.origin.credentials.made_with == "Test Camera 1.0"
    assert told.persons == plain.persons


def test_an_origin_that_cannot_be_read_fails_nothing(
    silent: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_origin(*arguments: object, **more: object) -> None:
        raise SandboxUnavailable("no walls here")

    monkeypatch.setattr(analyze_module, "read_origin", read_origin)

    analysis, _ = listened(silent)

    assert analysis.origin is None
    assert len(analysis.persons) == 2
