"""Do pictures and sound come back from a written video, and is it whole or not there at all?"""

import resource
from pathlib import Path

import numpy as np
import pytest

from app.errors import InsufficientStorage
from tests.workers.training.swapping.make_swap import make_scene
from workers.detection.sound import open_sound
from workers.detection.stage import Sound
from workers.encode import ClipWriter, PictureShape
from workers.training.clips import open_clip
from workers.training.errors import BadOutput
from workers.training.swapping.writer import MaskWriter, whole_file

PTS_S = [0.0, 0.04, 0.1, 0.11, 0.25, 0.5, 0.533]
"""Of a phone, whose rate varies."""


@pytest.mark.parametrize("size", [(128, 96), (127, 93)])
def test_frames_come_back_at_their_times(tmp_path: Path, size: tuple[int, int]) -> None:
    frames = [make_scene(n, size=size)[: size[1], : size[0]] for n in range(len(PTS_S))]
    size = (frames[0].shape[1], frames[0].shape[0])
    shape = PictureShape(size=size, rate_hz=13.0)
    with ClipWriter(tmp_path / "a.mp4", shape, crf=4, preset="ultrafast", metadata={}) as clip:
        for frame, pts_s in zip(frames, PTS_S, strict=True):
            clip.write(frame, pts_s)

    with open_clip(tmp_path / "a.mp4") as stream:
        back = list(stream)

    assert [f.pts_s for f in back] == pytest.approx(PTS_S, abs=1e-4)
    assert back[0].rgb.shape == frames[0].shape
    assert max(np.abs(b.rgb.astype(int) - f).mean() for b, f in zip(back, frames, strict=True)) < 7
    means = [[p.reshape(-1, 3).mean(axis=0) for p in ps] for ps in (frames, [b.rgb for b in back])]
    np.testing.assert_allclose(*means, atol=2.0)


@pytest.mark.parametrize("size", [(128, 96), (129, 97)])
def test_every_level_of_a_mask_comes_back(tmp_path: Path, size: tuple[int, int]) -> None:
    width, height = size
    random = np.random.default_rng(0)
    masks = [random.integers(0, 256, (height, width), dtype=np.uint8) for _ in PTS_S]
    shape = PictureShape(size=size, rate_hz=13.0)
    with MaskWriter(tmp_path / "m.mp4", shape, metadata={"comment": "so it is"}) as writer:
        for mask, pts_s in zip(masks, PTS_S, strict=True):
            writer.write(mask, pts_s)

    with open_clip(tmp_path / "m.mp4") as stream:
        back = list(stream)

    assert stream.probe.metadata["comment"] == "so it is"
    assert [f.pts_s for f in back] == pytest.approx(PTS_S, abs=1e-4)
    most = 0 if width % 2 == 0 else 3  # odd ones go by way of 4:2:0 when they are read
    for frame, mask in zip(back, masks, strict=True):
        assert np.abs(frame.rgb.astype(int) - mask[..., None]).max() <= most


@pytest.mark.parametrize(("rate_hz", "channels"), [(16000, 2), (10000, 1)])
def test_sound_comes_back_in_time(tmp_path: Path, rate_hz: int, channels: int) -> None:
    # A click at 0.4 s of the pictures, in a sound that begins at 0.1 s.
    samples = np.zeros((rate_hz, channels), np.int16)
    click = round(0.3 * rate_hz)
    samples[click : click + rate_hz // 50] = 20000
    sound = Sound(samples=samples, rate_hz=rate_hz, start_s=0.1)
    shape = PictureShape(size=(64, 64), rate_hz=10.0)
    with ClipWriter(
        tmp_path / "a.mp4", shape, crf=30, preset="ultrafast", sound=sound, metadata={}
    ) as clip:
        for n in range(8):
            clip.write(make_scene(n, size=(64, 64)), n / 10)

    back = open_sound(tmp_path / "a.mp4")

    assert back is not None
    assert back.channels == channels
    heard = np.abs(back.samples[:, 0].astype(float)) > 8000
    assert back.start_s + np.nonzero(heard)[0][0] / back.rate_hz == pytest.approx(0.4, abs=0.01)


def test_a_file_is_there_once_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.bin"
    with whole_file(path) as partial:
        partial.write_bytes(b"whole")
        assert not path.exists()

    assert path.read_bytes() == b"whole"
    assert list(path.parent.iterdir()) == [path]


def test_a_failure_leaves_nothing_behind(tmp_path: Path) -> None:
    def break_off() -> None:
        with whole_file(tmp_path / "a.bin") as partial:
            partial.write_bytes(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        break_off()

    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"old")

    with pytest.raises(BadOutput, match="there already"), whole_file(tmp_path / "a.bin"):
        pass

    assert (tmp_path / "a.bin").read_bytes() == b"old"


def test_a_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(BadOutput, match="cannot be written"), whole_file(tmp_path / "file" / "a"):
        pass


def test_a_full_disk_is_told_and_leaves_nothing_behind(tmp_path: Path) -> None:
    def write_noise() -> None:
        shape = PictureShape(size=(256, 256), rate_hz=25.0)
        random = np.random.default_rng(0)
        with (
            whole_file(tmp_path / "a.mp4") as partial,
            ClipWriter(partial, shape, crf=5, preset="ultrafast", metadata={}) as clip,
        ):
            for n in range(20):
                clip.write(random.integers(0, 256, (256, 256, 3), dtype=np.uint8), n / 25)

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # A file that may grow no more fails as one on a full disk does, under another number.
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(InsufficientStorage, match="free some space"):
            write_noise()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert list(tmp_path.iterdir()) == []
