"""
Which video container are these first bytes of?

A cheap gate, at the gateway's door and again before a file is decoded: text, pictures, archives
and playlists go no further. What the bytes truly hold is for the jailed decoder to say. Names and
extensions are not asked.
"""

from enum import StrEnum

SNIFF_BYTES = 64 * 1024
"""First bytes of a file that are looked at."""

BOXES = frozenset(
    {b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"free", b"skip", b"wide", b"pnot", b"uuid"}
)
"""What an ISO base media or QuickTime file may begin with; old cameras write no `ftyp`."""
BOX_HEADER_BYTES = 8
FTYP_BYTES = 16
"""Least size of an `ftyp` box: header, major brand, its version."""
STILL_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"mif1", b"avif", b"crx "})
"""Major brands of photographs in the same boxes: HEIF, AVIF, Canon raw."""
EBML = b"\x1a\x45\xdf\xa3"
DOCUMENT_TYPES = (b"\x42\x82\x84webm", b"\x42\x82\x88matroska")
EBML_HEADER_BYTES = 4096
TS_SYNC = 0x47
TS_PACKETS = 5
"""So many packets in a row begin with the sync byte; one in a million files does by chance."""
TS_LAYOUTS = ((188, 0), (192, 4))
"""Packet size and offset of its sync byte: broadcast, and cameras that prepend a time code."""


class Container(StrEnum):
    """A family of containers that is let in."""

    ISO_BMFF = "mp4"  # also mov, m4v, 3gp
    MATROSKA = "matroska"  # also webm
    AVI = "avi"
    MPEG_TS = "mpegts"


def sniff(head: bytes) -> Container | None:
    """Tell the container by its first bytes; None for anything that is not let in."""
    if head[4:8] in BOXES:
        return Container.ISO_BMFF if _is_plausible_box(head) else None
    if head.startswith(EBML):
        header = head[:EBML_HEADER_BYTES]
        return Container.MATROSKA if any(t in header for t in DOCUMENT_TYPES) else None
    if head.startswith(b"RIFF") and head[8:12] == b"AVI ":
        return Container.AVI
    for size, offset in TS_LAYOUTS:
        syncs = head[offset : size * TS_PACKETS : size]
        if len(syncs) == TS_PACKETS and set(syncs) == {TS_SYNC}:
            return Container.MPEG_TS
    return None


def _is_plausible_box(head: bytes) -> bool:
    size = int.from_bytes(head[:4], "big")
    if 1 < size < BOX_HEADER_BYTES:  # 0 runs to the end of the file, 1 has its size behind the name
        return False
    return head[4:8] != b"ftyp" or (size >= FTYP_BYTES and head[8:12] not in STILL_BRANDS)
