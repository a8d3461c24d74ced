"""What does one command make of a forger and a video? A swapped one, marked, with its mask."""

from pathlib import Path

from rich.console import Console

from app.settings import Settings
from models.nets.forger import Identity
from workers.training.errors import BadDataset
from workers.training.forging.command import FACES
from workers.training.forging.face_sets import open_face_set
from workers.training.forging.identity import load_embedder
from workers.training.forging.runs import load_forger
from workers.training.swapping.choices import Compositing, draw
from workers.training.swapping.places import Whose, largest, other_than
from workers.training.swapping.video import SwapRecord, swap_video


def swap(
    forger: Path,
    video: Path,
    to: Identity,
    out: Path,
    *,
    seed: int | None = None,
    max_frames: int | None = None,
    has_visible_mark: bool = True,
    console: Console,
) -> SwapRecord:
    """
    Swap the face in a video by a finished forger.

    Args:
        forger: folder of its run.
        video: of the person that `to` is not.
        to: whose face is given.
        out: an MP4 that is not there yet.
        seed: draws every choice; without it `Compositing`'s own are taken.
        max_frames: frames that are written at most.
        has_visible_mark: write SYNTHETIC into the picture.

    Raises:
        BadCheckpoint: there is no finished forger.
        ServiceError: whatever `swap_video` raises.
    """
    choices = Compositing() if seed is None else draw(seed)
    return swap_video(
        video,
        load_forger(forger),
        to,
        out,
        choices.model_copy(update={"visible_mark": has_visible_mark}),
        seed=seed,
        max_frames=max_frames,
        whose=_whose(forger, to),
        console=console,
    )


def _whose(forger: Path, to: Identity) -> Whose:
    """Tell people apart where the network for it is there, and the faces that were learnt from."""
    embedder = load_embedder(Settings())
    try:
        of = {person: open_face_set(forger / FACES / person).embedding for person in ("a", "b")}
    except BadDataset:  # a forger can be handed on without the faces
        return largest
    given, wanted = of[to], of["b" if to == "a" else "a"]
    if embedder is None or given is None or wanted is None:
        return largest
    return other_than(embedder, given, wanted)
