"""How do decoded samples reach the parent? As blocks in shared memory, a few ahead of it."""

from workers.detection import wire
from workers.detection.feed import Slots
from workers.detection.sound_codec import SoundTrack, look
from workers.detection.wire import NoSound, Order, Samples, SoundDone, SoundOpened


def deliver(order: Order, *, orders: int, answers: int) -> None:
    """
    Decode the sound and send it; `orders` and `answers` are descriptors.

    Raises:
        RejectedMedia: the sound cannot be decoded.
        MemoryError: it takes more memory than there is.
        BrokenPipeError: the parent has gone.
    """
    header = look(order)
    if header is None:
        wire.send(answers, NoSound())
        return
    track = SoundTrack(order, header)
    opened = SoundOpened(
        codec=track.codec,
        decoder=track.decoder,
        rate_hz=track.rate_hz,
        channels=track.channels,
        start_s=track.start_s,
    )
    wire.send(answers, opened)
    slots = Slots(order.shared_memory, wire.SOUND_SLOT_BYTES, orders)
    left = order.max_sound_bytes
    is_cut = False
    for block in track.blocks():
        data = memoryview(block)
        while data and left > 0:
            part = data[: min(wire.SOUND_SLOT_BYTES, left)]
            wire.send(answers, Samples(slot=slots.fill(part), size_bytes=part.nbytes))
            data = data[part.nbytes :]
            left -= part.nbytes
        if data:
            is_cut = True
            break
    wire.send(answers, SoundDone(is_cut=is_cut, is_damaged=track.is_damaged))
