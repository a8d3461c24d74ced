"""Decoders that were taken over, each in its own way. Run as programs in the decoder's place."""

import math
import os
import time
from collections.abc import Iterable
from dataclasses import replace

from workers.detection import wire
from workers.detection.wire import Done, Jailed, Opened, Order, Picture

SIZE = 64
OPENED = Opened(
    container="mp4",
    codec="h264",
    decoder="none",
    width=SIZE,
    height=SIZE,
    work_width=SIZE,
    work_height=SIZE,
    turn=(1, 0, 0, 1),
    rate_hz=25.0,
    duration_s=None,
    frames_expected=None,
    keep_every=1,
)
PICTURE = Picture(slot=0, row_bytes=SIZE * wire.RGB, index=0, pts_s=0.0, is_keyframe=True)
DONE = Done(frames_decoded=1, duration_s=0.04, rate_hz=25.0, warnings=())


def _say(*messages: wire.Message) -> int:
    wire.read_line(0)
    for message in (Jailed(is_network_removed=True, words="no network"), *messages):
        wire.send(1, message)
    return 0


def _pictures(pictures: Iterable[Picture]) -> int:
    return _say(OPENED, *pictures, DONE)


def honest() -> int:
    """Lie about pixels only: nobody can tell."""
    return _pictures([PICTURE])


def networked() -> int:
    """Have the network."""
    wire.read_line(0)
    wire.send(1, Jailed(is_network_removed=False, words="WITH network"))
    return 0


def stillborn() -> int:
    """Die before the video was seen."""
    return 1


def babbling() -> int:
    """Say what is no message."""
    wire.read_line(0)
    os.write(1, b"\x80\x04\x95 pickled\n")
    return 0


def endless() -> int:
    """Say one line without an end."""
    wire.read_line(0)
    while True:
        os.write(1, b"x" * 4096)


def silent() -> int:
    """Keep the pipe open and say nothing."""
    wire.read_line(0)
    time.sleep(60)
    return 0


def aloof() -> int:
    """Close the pipe and live on."""
    wire.read_line(0)
    os.close(1)
    time.sleep(60)
    return 0


def huge() -> int:
    """Claim pictures that would fill the memory."""
    return _say(replace(OPENED, width=10**6, height=10**6, work_width=10**6, work_height=10**6))


def crooked() -> int:
    """Claim a turn that is none of the eight."""
    return _say(replace(OPENED, turn=(5, 0, 0, 5)))


def hasty() -> int:
    """Say it is done before it has begun."""
    return _say(DONE)


def overreaching() -> int:
    """Point outside the shared memory."""
    return _pictures([replace(PICTURE, slot=99)])


def sprawling() -> int:
    """Claim rows that reach into the next slots."""
    return _pictures([replace(PICTURE, row_bytes=10**6)])


def backward() -> int:
    """Count down."""
    return _pictures([replace(PICTURE, index=5), replace(PICTURE, slot=1, index=4, pts_s=1.0)])


def timeless() -> int:
    """Give a time that is no number."""
    return _pictures([replace(PICTURE, pts_s=math.nan)])


def flooding() -> int:
    """Send pictures without end, and never wait for a free slot."""
    return _pictures(replace(PICTURE, slot=n % 4, index=n, pts_s=n / 1000) for n in range(100_000))


def boasting() -> int:
    """Claim fewer frames than it sent."""
    return _say(OPENED, replace(PICTURE, index=7), replace(DONE, frames_decoded=3))


def shrinking() -> int:
    """Take the shared memory away from under the parent."""
    order: Order = wire.read_order(wire.read_line(0))
    wire.send(1, Jailed(is_network_removed=True, words="no network"))
    wire.send(1, OPENED)
    os.read(0, 1)
    try:
        os.ftruncate(order.shared_memory, 0)
    except PermissionError:
        wire.send(1, PICTURE)
        wire.send(1, DONE)
    return 0
