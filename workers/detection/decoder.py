"""
What runs in the decoder process? It jails itself, and only then loads what decodes.

Started by `decode.py` as a fresh interpreter with an empty environment, one thread, and no open
file but three pipes and the shared memory.
"""

import ctypes
import os
from pathlib import Path

from app.errors import RejectCode, RejectedMedia
from workers.detection import jail, wire
from workers.detection.wire import Jailed, Refused

ALLOCATOR = {  # malloc.h
    -8: 2,  # M_ARENA_MAX: an arena for each thread would reserve 64 MiB of address space each
    -3: 32 * 2**20,  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD: frames of a few MiB come and go, and
    -1: 512 * 2**20,  # giving each back to the kernel costs 500 page faults a frame at 720p
}


def main() -> int:
    """Serve the one order that is read from standard input; return the exit status."""
    orders, answers = os.dup(0), os.dup(1)
    os.dup2(2, 1)  # a library that prints must not garble the answers
    order = wire.read_order(wire.read_line(orders))
    walls = jail.enter(
        parent_pid=order.parent_pid,
        readable=(
            Path(order.path),
            *([Path(order.trust_list)] if order.trust_list else []),
            *jail.interpreter_folders(),
        ),
        cpu_s=order.cpu_s,
    )
    for parameter, value in ALLOCATOR.items():
        ctypes.CDLL(None).mallopt(parameter, value)
    from workers.detection import feed, sound_feed  # noqa: PLC0415 - native code, behind the walls

    if order.wants_origin:  # a large library that nothing else needs
        from workers.detection import origin_feed  # noqa: PLC0415
    walls.limit_memory(order.memory_bytes)
    wire.send(answers, Jailed(is_network_removed=walls.is_network_removed, words=walls.words))
    if not (walls.is_network_removed or order.allow_unsandboxed):
        return 1
    try:
        if order.wants_origin:
            origin_feed.deliver(order, answers=answers)
        elif order.wants_sound:
            sound_feed.deliver(order, orders=orders, answers=answers)
        else:
            feed.deliver(
                order, orders=orders, answers=answers, memory_left_bytes=walls.memory_left_bytes
            )
    except RejectedMedia as why:
        wire.send(answers, Refused(code=why.code, detail=str(why)))
    except MemoryError:
        detail = f"Decoding takes more than {order.memory_bytes // 2**20} MiB of memory."
        wire.send(answers, Refused(code=RejectCode.DECODE_MEMORY, detail=detail))
    except BrokenPipeError:
        pass  # the parent has seen enough
    return 0
