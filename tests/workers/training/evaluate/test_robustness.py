import numpy as np
import pytest

from tests.media import make_video, read_number
from tests.workers.training.evaluate.banks import make_bank, make_face, make_score
from workers.training.bank import BORDER_PX
from workers.training.evaluate.robustness import (
    CONDITIONS,
    UNTOUCHED,
    distorted,
    figures,
    grid,
    through_h264,
)
from workers.training.evaluate.scores import Network
from workers.training.evaluate.videos import frames_between, look_at

SIDE_PX = 320  # of the frames: a bank crop is the whole frame
AT = (14, 20, 26)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A bank of three looks at a numbered video."""
    folder = tmp_path_factory.mktemp("robustness")
    path = make_video(
        folder / "a.mp4", frames=30, size=(SIDE_PX, SIDE_PX), codec="libx264", noise=60
    )
    frames = {frame.index: frame.rgb for frame in frames_between(path, 0, max(AT))}
    rows = [make_face(row, frame_index=at, pts_s=at / 25) for row, at in enumerate(AT)]
    return make_bank(folder / "bank", rows, lambda face: frames[face.frame_index]), folder


def _number(served):
    """Read the middle bits; those at the edges are cut off."""
    return read_number(np.pad(served, ((BORDER_PX,) * 2, (BORDER_PX,) * 2, (0, 0))))


def test_the_same_looks_are_cut_out_under_every_condition(clip):
    bank, root = clip

    looks = distorted(bank, [0, 1, 2], root)

    assert set(looks) == {UNTOUCHED, *CONDITIONS}
    for name, pictures in looks.items():
        assert [_number(picture) for picture in pictures] == list(AT), name
        assert pictures.shape == (3, 256, 256, 3)


def test_stronger_compression_takes_more_away(clip):
    bank, root = clip

    looks = distorted(bank, [0, 1, 2], root)

    def off(name):
        return np.abs(looks[name].astype(int) - looks[UNTOUCHED]).mean()

    assert 0 < off("H.264 CRF 23") < off("H.264 CRF 28") < off("H.264 CRF 35")
    assert off("H.264 CRF 35") < off("H.264 CRF 40") < 25
    assert off("noise 10") == pytest.approx(8, abs=1)  # the mean of a normal's size
    assert off("half size") < 25
    np.testing.assert_array_equal(
        looks["crop 20 %"][:, 8:-8, 8:-8], looks[UNTOUCHED][:, 8:-8, 8:-8]
    )


def test_a_clip_that_cannot_be_decoded_is_left_out(clip, tmp_path):
    bank, _ = clip
    (tmp_path / "a.mp4").write_bytes(b"no video at all, to be sure")

    assert distorted(bank, [0, 1, 2], tmp_path) is None


def test_only_looks_of_one_stretch_are_compared_and_pictures_are_not(tmp_path):
    path = make_video(tmp_path / "a.mp4", frames=12, size=(SIDE_PX, SIDE_PX), codec="libx264")
    frames = {frame.index: frame.rgb for frame in frames_between(path, 0, 11)}
    rows = [
        make_face(row, frame_index=at, pts_s=pts_s)
        for row, (at, pts_s) in enumerate([(2, 0.0), (5, 10.0), (8, 11.0)])
    ]
    rows.append(make_face(3, kind="picture", clip="c", path="c.jpg"))
    bank = make_bank(tmp_path / "bank", rows, lambda face: frames[min(face.frame_index, 11)])

    class Counting(Network):
        def __init__(self):
            self.name, self.asked = "counting", 0

        def logits(self, faces):
            self.asked += len(faces)
            return np.zeros(len(faces))

    network = Counting()
    found = grid(bank, [network], [0, 1, 2, 3], tmp_path, conditions=["blur 2"])

    assert network.asked == 4  # two looks, untouched and blurred
    assert [s.clip for s in found["counting"]["blur 2"]] == ["a.mp4"]


def test_changes_are_told_at_the_threshold_of_the_untouched():
    untouched = [
        make_score(f"c{i}", logit=float(i), label="fake" if i >= 40 else "real") for i in range(80)
    ]
    changed = [make_score(s.clip, logit=s.logit + 5, label=s.label) for s in untouched]

    found = figures({UNTOUCHED: untouched, "shifted": changed})

    assert found["conditions"]["shifted"]["change"]["value"] == 0.0
    assert found["conditions"][UNTOUCHED]["false_positives"]["k"] == 2
    assert found["conditions"]["shifted"]["false_positives"]["k"] == 7


def test_encoding_gives_back_as_many_pictures(clip):
    bank, _ = clip
    pictures = [bank.served(row) for row in range(3)]

    assert [p.shape for p in through_h264(pictures, crf=23)] == [(256, 256, 3)] * 3


def test_headers_are_read_and_broken_files_passed_over(clip, tmp_path):
    _, root = clip
    file = look_at(root / "a.mp4")

    assert (file.width, file.height, file.rate_hz, file.codec) == (320, 320, 25.0, "h264")
    assert file.duration_s == pytest.approx(1.2, abs=0.05)
    assert file.bits_per_s == pytest.approx(8 * (root / "a.mp4").stat().st_size / file.duration_s)
    (tmp_path / "b.mp4").write_bytes(b"no video")
    assert look_at(tmp_path / "b.mp4") is None
