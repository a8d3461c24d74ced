"""
What does the jail cost? Frames a second of a bare PyAV loop beside ours, in one run.

    python -m bench.decode [CLIP] [--repeats 3]

Three readers take turns: decoding alone, decoding and converting every frame to RGB in this
process (what a script would do), and ours: jailed, converted, and handed over to this process.
Without a clip, a noisy 1280 x 720 H.264 one of 300 frames is made.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import av

from app.settings import AnalysisSettings, MediaLimits
from tests import media
from workers.detection.decode import open_video


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("clip", type=Path, nargs="?")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        clip = arguments.clip or media.make_video(
            Path(folder, "clip.mp4"),
            codec="libx264",
            size=(1280, 720),
            frames=300,
            rate_hz=30,
            noise=12,
        )
        readers: dict[str, Callable[[Path], int]] = {
            "PyAV, decode only": decode_only,
            "PyAV, decode and to RGB": decode_and_convert,
            "ours, jailed, to RGB": ours,
        }
        rates: dict[str, list[float]] = {name: [] for name in readers}
        costs: dict[str, list[float]] = {name: [] for name in readers}
        for _ in range(arguments.repeats):  # in turns, so that a busy machine is busy for all
            for name, read in readers.items():
                started, cpu_started = time.perf_counter(), cpu_s()
                frames = read(clip)
                rates[name].append(frames / (time.perf_counter() - started))
                costs[name].append((cpu_s() - cpu_started) / frames)
        alone, *_ = (statistics.median(r) for r in rates.values())
        for name in readers:
            rate, cost = statistics.median(rates[name]), statistics.median(costs[name])
            print(
                f"{name:26} {rate:8.1f} frames/s   {rate / alone:5.2f} of decode only   "
                f"{cost * 1000:6.2f} ms of CPU a frame"
            )


def cpu_s() -> float:
    """Return the processor time of this process and of its children that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def decode_only(clip: Path) -> int:
    """Decode every frame and drop it."""
    with av.open(str(clip)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        return sum(1 for _ in container.decode(stream))


def decode_and_convert(clip: Path) -> int:
    """Decode every frame and make an RGB array of it."""
    with av.open(str(clip)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        return sum(1 for f in container.decode(stream) if f.to_ndarray(format="rgb24").size)


def ours(clip: Path) -> int:
    """Take every frame from the jail."""
    everything = AnalysisSettings(max_kept_frames=500_000, max_kept_rate_hz=1000)
    with open_video(
        clip, limits=MediaLimits(), sampling=everything, allow_unsandboxed=True
    ) as video:
        return sum(1 for _ in video)


if __name__ == "__main__":
    main()
