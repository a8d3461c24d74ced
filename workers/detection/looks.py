"""
Which pictures of a face are kept, when nobody knows yet how long it will be there?

Every one at first. Whenever twice as many as wanted are held, every other is let go, and from
then on half as many are taken. So what is held is spread evenly over the time so far, and takes
the room of a few seconds however long the video is.
"""

from collections.abc import Sequence

import numpy as np

from workers.detection.stage import FaceSample


class Looks:
    """
    The pictures held of one track.

    Args:
        wanted: how many there should be in the end; one fewer than twice as many are held.
    """

    def __init__(self, wanted: int) -> None:
        self._wanted = wanted
        self._every = 1
        self._held: list[tuple[int, FaceSample]] = []

    def wants(self, turn: int) -> bool:
        """Whether a picture of this frame is wanted; `turn` counts the frames of the video."""
        return turn % self._every == 0

    def add(self, turn: int, look: FaceSample) -> None:
        """Hold a picture that was wanted."""
        self._held.append((turn, look))
        if len(self._held) >= 2 * self._wanted:
            self._every *= 2
            self._held = [h for h in self._held if self.wants(h[0])]

    def forget_after(self, turn: int) -> None:
        """Let go of pictures of later frames."""
        self._held = [h for h in self._held if h[0] <= turn]

    def thin(self, step: int) -> None:
        """Let go of pictures, so that only those of every so many frames are held."""
        if step > self._every:
            self._every = step
            self._held = [h for h in self._held if self.wants(h[0])]

    def every(self, step: int) -> tuple[FaceSample, ...]:
        """Return those of every so many frames, by time."""
        return tuple(look for turn, look in self._held if turn % step == 0)

    @property
    def step(self) -> int:
        """In how many frames one picture is held."""
        return self._every


def spread(held: Sequence[Looks], *, wanted: int) -> list[tuple[FaceSample, ...]]:
    """Choose at most `wanted` pictures over all tracks of a person, evenly by time on screen."""
    step = max(looks.step for looks in held)
    by_track = [looks.every(step) for looks in held]
    places = [(t, i) for t, looks in enumerate(by_track) for i in range(len(looks))]
    if len(places) > wanted:
        chosen = np.linspace(0, len(places) - 1, wanted).round().astype(int)
        places = [places[i] for i in chosen]
    return [
        tuple(look for i, look in enumerate(looks) if (t, i) in places)
        for t, looks in enumerate(by_track)
    ]
