"""
How many seconds does a clip take by stage, and how far is that from decoding alone?

    python -m bench.pipeline [CLIP ...] [--repeats 3]

Without a clip one is made: 10 s of 1280x720 at 30 fps, the public-domain portrait under a moving
camera. Decoding alone is a plain loop of the codec library in this process, the same threads, no
conversion: nothing that reads every frame can be faster. Both are timed in turn, in one run.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import av
from rich.console import Console
from rich.table import Table

from app import log
from app.settings import Settings
from demo.clips import make_portrait_clip
from workers.scan import Scanner


def main() -> None:
    """Print a table for each clip."""
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument("clips", nargs="*", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    log.configure(fmt="console", level="WARNING")
    scanner = Scanner(Settings(), console=None)
    with tempfile.TemporaryDirectory() as folder:
        clips = arguments.clips or [
            make_portrait_clip(
                Path(folder) / "720p.mp4", size_px=(1280, 720), rate_hz=30, seconds=10
            )
        ]
        for clip in clips:
            _measure(scanner, clip, arguments.repeats)


def _measure(scanner: Scanner, clip: Path, repeats: int) -> None:
    stages: dict[str, list[float]] = {}
    alone = []
    for _ in range(repeats + 1):  # the first round warms caches and is not counted
        begun = time.perf_counter()
        frames = decode_only(clip)
        alone.append(time.perf_counter() - begun)
        view = scanner.scan(clip, None).view
        if view.timings is None:
            raise SystemExit(f"{clip.name} was {view.state.value}: {view.error}")
        for stage, seconds in view.timings.items():
            stages.setdefault(stage, []).append(seconds)
    floor = statistics.median(alone[1:])
    table = Table("stage", "median s", "least", "most", "x decoding alone", title=clip.name)
    table.add_row("decoding alone", *_spread(alone[1:]), "1.0")
    for stage, values in stages.items():
        ratio = statistics.median(values[1:]) / floor
        table.add_row(stage.removesuffix("_s"), *_spread(values[1:]), f"{ratio:.1f}")
    out = Console()
    out.print(table)
    out.print(
        f"{frames} frames; {repeats} counted runs after a warm-up. `decode` is the time that the "
        "other stages waited for frames; decoding goes on beside them.",
        highlight=False,
    )


def _spread(seconds: list[float]) -> tuple[str, str, str]:
    return (
        f"{statistics.median(seconds):.3f}",
        f"{min(seconds):.3f}",
        f"{max(seconds):.3f}",
    )


def decode_only(clip: Path) -> int:
    """Decode every frame of the first video stream and do nothing with it; return how many."""
    with av.open(str(clip)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        return sum(1 for _ in container.decode(stream))


if __name__ == "__main__":
    main()
