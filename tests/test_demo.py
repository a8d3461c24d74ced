"""Does the demonstration run the real service, show a verdict, and leave nothing behind?"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil

from demo import clips
from tests.media import make_video


def test_the_demo_judges_a_file_and_leaves_no_process(tmp_path: Path):
    clip = make_video(tmp_path / "mine.mp4", frames=10)
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.getcwd(),  # noqa: PTH109 - what the child is to import
        "HOME": str(tmp_path),
        "DEEPVERDICT_DATA_DIR": str(tmp_path / "data"),
    }

    done = subprocess.run(
        [sys.executable, "-m", "demo", str(clip)],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "mine.mp4" in done.stdout
    assert "INCONCLUSIVE" in done.stdout
    assert "no_face" in done.stdout
    assert [p for p in psutil.process_iter() if _is_of(p, str(tmp_path))] == []


def test_the_mask_of_the_manipulated_clip_is_where_the_two_clips_differ(tmp_path: Path):
    untouched, manipulated = clips.make(tmp_path)
    before, after = (_frames(clip.path, count=30) for clip in (untouched, manipulated))
    change = np.abs(before.astype(int) - after).mean(axis=-1)
    mask = np.stack(manipulated.masks[:30])

    assert untouched.masks == ()
    assert change[mask > 0.9].mean() > 5 * change[mask < 0.01].mean()


def _frames(path: Path, *, count: int) -> np.ndarray:
    import av

    with av.open(str(path)) as video:
        pictures = (f.to_ndarray(format="rgb24") for f in video.decode(video=0))
        return np.stack([picture for picture, _ in zip(pictures, range(count), strict=False)])


def _is_of(process: psutil.Process, home: str) -> bool:
    try:
        return process.environ().get("HOME") == home
    except psutil.Error:
        return False
