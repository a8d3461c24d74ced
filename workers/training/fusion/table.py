"""
Which numbers does a fit see? A row for each person, a column for each feature; NaN is missing.

Features are read by `app.domain.fusion.measured`, as a verdict reads them. The label is the clip's,
and is taken to be that of the person who is longest on screen among those who can be judged: a
manifest says of a clip whether it was manipulated, not who in it was. A video is as suspect as the
most suspect person in it, as in a verdict.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.domain.evidence import DetectorName, Person
from app.domain.fusion import FEATURES, measured
from workers.training.errors import BadDataset
from workers.training.evaluate.metrics import Array, Bools
from workers.training.fusion.evidence import ClipEvidence

Ints = NDArray[np.int64]

LEAST_CLIPS = 10
"""Fewer real clips, or fakes, and nothing is worth fitting; as in `workers.training.calibrate`."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Table:
    """N clips with P persons in them, F features."""

    clips: tuple[ClipEvidence, ...]
    names: tuple[str, ...]  # of the features
    values: Array  # [P, F], NaN where missing
    clip_of: Ints  # [P]
    main: Ints  # [N] row of the person who has the clip's label
    is_judged: Bools  # [P] whether a verdict may be spoken on the person

    @property
    def is_fake(self) -> Bools:
        """`[N]`."""
        return np.array([clip.is_fake for clip in self.clips], dtype=bool)

    @property
    def groups(self) -> list[str]:
        """Of each clip."""
        return [clip.group for clip in self.clips]

    @property
    def of_main(self) -> Array:
        """The features of each clip's person, `[N, F]`."""
        return np.asarray(self.values[self.main])

    def column(self, name: str) -> Array:
        """Return one feature of each clip's person, `[N]`."""
        return np.asarray(self.values[self.main, self.names.index(name)])

    def places(self, names: Sequence[str]) -> Ints:
        """Return where features stand."""
        return np.array([self.names.index(name) for name in names], dtype=np.int64)

    def of_videos(self, scores: Array) -> Array:
        """Return the greatest score `[N]` of scores `[P]` among those in each clip who count."""
        counts = self.is_judged.copy()
        nobody = np.ones(len(self.clips), dtype=bool)
        nobody[self.clip_of[counts]] = False
        counts |= nobody[self.clip_of]
        found = np.full(len(self.clips), -np.inf)
        np.maximum.at(found, self.clip_of[counts], scores[counts])
        return found

    def only(self, chosen: Bools) -> "Table":
        """Return the table of some clips `[N]`."""
        kept = np.flatnonzero(chosen)
        new_place = np.full(len(self.clips), -1)
        new_place[kept] = np.arange(len(kept))
        rows = np.flatnonzero(new_place[self.clip_of] >= 0)
        new_row = np.full(len(self.values), -1)
        new_row[rows] = np.arange(len(rows))
        return Table(
            clips=tuple(self.clips[place] for place in kept),
            names=self.names,
            values=self.values[rows],
            clip_of=new_place[self.clip_of[rows]],
            main=new_row[self.main[kept]],
            is_judged=self.is_judged[rows],
        )

    def judged(self) -> "Table":
        """Return the table of the clips in which somebody can be judged."""
        return self.only(np.asarray(self.is_judged[self.main]))


def make_table(
    clips: Sequence[ClipEvidence], *, required: frozenset[DetectorName], min_frames: int
) -> Table:
    """
    Lay out the labelled clips in which somebody was examined.

    Args:
        required: detectors without whose finding there is no verdict on a person.
        min_frames: fewest frames a person must be seen for.

    Raises:
        BadDataset: there are too few clips of either label.
    """
    names = tuple(FEATURES)
    shown = [clip for clip in clips if clip.label != "no_face" and clip.persons]
    fakes = sum(clip.is_fake for clip in shown)
    if min(fakes, len(shown) - fakes) < LEAST_CLIPS:
        raise BadDataset(
            f"{fakes} fakes and {len(shown) - fakes} real clips with a face are too few to fit "
            f"with; give {LEAST_CLIPS} of each or more"
        )
    values: list[list[float]] = []
    clip_of: list[int] = []
    main: list[int] = []
    is_judged: list[bool] = []
    for place, clip in enumerate(shown):
        first = len(values)
        for person in clip.persons:
            features = measured(person.evidence)
            values.append([features.get(name, np.nan) for name in names])
            clip_of.append(place)
            is_judged.append(_can_be_judged(person, features, required, min_frames))
        judged = [row for row in range(first, len(values)) if is_judged[row]]
        main.append(judged[0] if judged else first)
    return Table(
        clips=tuple(shown),
        names=names,
        values=np.array(values, dtype=np.float64),
        clip_of=np.array(clip_of, dtype=np.int64),
        main=np.array(main, dtype=np.int64),
        is_judged=np.array(is_judged, dtype=bool),
    )


def _can_be_judged(
    person: Person,
    features: Mapping[str, float],
    required: frozenset[DetectorName],
    min_frames: int,
) -> bool:
    found = {FEATURES[name].detector for name in features}
    return person.frames >= min_frames and required <= found
