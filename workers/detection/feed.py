"""How do decoded frames reach the parent? As pictures in shared memory, a few ahead of it."""

import mmap
import os
from collections.abc import Callable
from itertools import chain

from workers.detection import wire
from workers.detection.codec import Geometry, Video
from workers.detection.sampling import Sampler, keep_every
from workers.detection.wire import Opened, Order, Picture

READ_BYTES = 64


def deliver(
    order: Order, *, orders: int, answers: int, memory_left_bytes: Callable[[], int]
) -> None:
    """
    Decode the video and send its kept frames; `orders` and `answers` are descriptors.

    Raises:
        RejectedMedia: the video is not what it must be.
        MemoryError: it takes more memory than there is.
        BrokenPipeError: the parent has gone, or wants no more.
    """
    video = Video(order, memory_left_bytes)
    frames = video.frames()
    first = next(frames)
    geometry = video.geometry(first.frame)
    opened = _opened(video, geometry, order)
    wire.send(answers, opened)
    slots = Slots(
        order.shared_memory, wire.slot_bytes(geometry.work_width, geometry.work_height), orders
    )
    sampler = Sampler(
        keep_every=opened.keep_every,
        frames_expected=opened.frames_expected,
        max_frames=order.max_kept_frames,
    )
    for decoded in chain([first], frames):
        if sampler.wants(decoded.index):
            plane = video.draw(decoded.frame, geometry)
            slot = slots.fill(memoryview(plane))
            picture = Picture(
                slot=slot,
                row_bytes=plane.line_size,
                index=decoded.index,
                pts_s=decoded.pts_s,
                is_keyframe=decoded.frame.key_frame,
            )
            wire.send(answers, picture)
    wire.send(answers, video.outcome())


def _opened(video: Video, geometry: Geometry, order: Order) -> Opened:
    header = video.header
    return Opened(
        container=header.container,
        codec=header.codec,
        decoder=video.decoder,
        width=geometry.width,
        height=geometry.height,
        work_width=geometry.work_width,
        work_height=geometry.work_height,
        turn=geometry.turn,
        rate_hz=header.rate_hz,
        duration_s=header.duration_s,
        frames_expected=header.frames_expected,
        keep_every=keep_every(
            rate_hz=header.rate_hz,
            frames_expected=header.frames_expected,
            max_rate_hz=order.max_kept_rate_hz,
            max_frames=order.max_kept_frames,
        ),
        metadata=header.metadata,
    )


class Slots:
    """Places to put data, taken in turn; the parent sends a byte for each that is free again."""

    def __init__(self, shared_memory: int, slot_bytes: int, orders: int) -> None:
        self._orders = orders
        self._slot_bytes = slot_bytes
        self._free = self._wait()  # when the first bytes come, the memory has its size
        try:
            self._memory = mmap.mmap(shared_memory, os.fstat(shared_memory).st_size)
        except OSError as refused:  # there is but one reason
            raise MemoryError from refused
        self._filled = 0

    def fill(self, data: memoryview) -> int:
        """Copy data to the next slot, once it is free, and return its number."""
        if not self._free:
            self._free = self._wait()
        slot = self._filled % (len(self._memory) // self._slot_bytes)
        begin = slot * self._slot_bytes
        self._memory[begin : begin + data.nbytes] = data
        self._free -= 1
        self._filled += 1
        return slot

    def _wait(self) -> int:
        count = len(os.read(self._orders, READ_BYTES))
        if not count:
            raise BrokenPipeError("the parent closed its end")
        return count
