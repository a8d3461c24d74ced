"""Does a synthetic video say that it is one?"""

from pathlib import Path

import numpy as np
import pytest

from app.errors import RejectedMedia
from tests.workers.training.swapping.make_swap import make_scene, write_clip
from workers.encode import ClipWriter, PictureShape
from workers.training.swapping import marks


def test_the_mark_is_read_back_and_others_are_not_taken_for_it(tmp_path: Path) -> None:
    frame = make_scene(0, size=(64, 64))
    for name, said in (
        ("ours", marks.metadata("a swap")),
        ("theirs", {"comment": "holiday, no synthetic media"}),
    ):
        shape = PictureShape(size=(64, 64), rate_hz=25)
        path = tmp_path / f"{name}.mp4"
        with ClipWriter(path, shape, crf=20, preset="ultrafast", metadata=said) as clip:
            clip.write(frame, 0.0)
    write_clip(tmp_path / "plain.mkv", [frame], [0.0])

    assert marks.is_marked(tmp_path / "ours.mp4")
    assert not marks.is_marked(tmp_path / "theirs.mp4")
    assert not marks.is_marked(tmp_path / "plain.mkv")


def test_what_is_no_video_has_no_mark_to_be_read(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"deepverdict synthetic media")

    with pytest.raises(RejectedMedia):
        marks.is_marked(tmp_path / "a.mp4")


@pytest.mark.parametrize("size", [(64, 48), (640, 360), (360, 640), (1920, 1080)])
def test_the_visible_mark_stands_in_its_corner_and_touches_nothing_else(
    size: tuple[int, int],
) -> None:
    frame = np.full((size[1], size[0], 3), 120, np.uint8)

    out = marks.put_in_sight(frame)

    y, x = np.nonzero((out != frame).any(axis=2))
    assert out.max() > 200
    assert y.min() > 0.6 * size[1]
    assert y.max() == size[1] - 1
    assert x.min() == 0
    assert (frame == 120).all()
