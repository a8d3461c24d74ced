"""What is heard while a stretch of a video is shown?"""

from dataclasses import dataclass, replace
from pathlib import Path

from app.errors import RejectedMedia
from workers.detection.sound import open_sound
from workers.detection.stage import Sound


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Heard:
    """The sound of a stretch; None where there is none, and in words why."""

    sound: Sound | None
    words: str


def of_stretch(source: Path, *, begin_s: float, end_s: float) -> Heard:
    """
    Take the sound between two times of the pictures; times then count from `begin_s`.

    A sound that cannot be decoded is left out, and `Heard.words` says so: the pictures are what is
    wanted.
    """
    try:
        sound = open_sound(source, until_s=end_s)
    except RejectedMedia as why:
        return Heard(sound=None, words=f"left out: {why}")
    if sound is None:
        return Heard(sound=None, words="none in the source")
    first = max(0, round((begin_s - sound.start_s) * sound.rate_hz))
    end = max(first, round((end_s - sound.start_s) * sound.rate_hz))
    samples = sound.samples[first:end]
    if not len(samples):
        return Heard(sound=None, words="none at this time of the source")
    return Heard(
        sound=replace(
            sound,
            samples=samples,
            start_s=sound.start_s + first / sound.rate_hz - begin_s,
        ),
        words=f"kept, was {sound.codec}, {sound.channels} x {sound.rate_hz} Hz",
    )
