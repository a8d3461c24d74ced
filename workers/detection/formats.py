"""
Which containers and codecs are let in?

The demuxer is told by a file's first bytes, never by its name and never by FFmpeg's own probing,
which would find playlists and pictures too.
"""

DEMUXERS = {
    "mp4": "mov,mp4,m4a,3gp,3g2,mj2",
    "matroska": "matroska,webm",
    "avi": "avi",
    "mpegts": "mpegts",
}
"""Families of containers that may be opened, and FFmpeg's whole name of the demuxer of each."""
DECODERS = {
    "h264": "h264",
    "hevc": "hevc",
    "vp8": "vp8",
    "vp9": "vp9",
    "av1": "libdav1d",
    "mpeg4": "mpeg4",
    "mpeg2video": "mpeg2video",
    "mjpeg": "mjpeg",
}
"""The decoder of each codec that is let in. Rare ones are where the holes are found."""

HEAD_BYTES = 4096
BOXES = frozenset(
    {b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"free", b"skip", b"wide", b"pnot", b"uuid"}
)
"""What an ISO base media or QuickTime file may begin with."""
EBML = b"\x1a\x45\xdf\xa3"
TS_SYNC = 0x47
TS_LAYOUTS = ((188, 0), (192, 4))
"""Packet size and offset of its sync byte: broadcast, and cameras that prepend a time code."""
TS_PACKETS = 5


def container_of(head: bytes) -> str | None:
    """Return the key of `DEMUXERS` for a file that begins with `head`; None for all others."""
    if head[4:8] in BOXES:
        return "mp4"
    if head.startswith(EBML):
        return "matroska"
    if head.startswith(b"RIFF") and head[8:12] == b"AVI ":
        return "avi"
    for size, offset in TS_LAYOUTS:
        syncs = head[offset : size * TS_PACKETS : size]
        if len(syncs) == TS_PACKETS and set(syncs) == {TS_SYNC}:
            return "mpegts"
    return None
