"""What do the first bytes of things look like that somebody may send? No real video among them."""

VIDEO_BYTES = 200_000


def isom(size: int = VIDEO_BYTES, *, brand: bytes = b"isom") -> bytes:
    """Make what begins like an MP4."""
    return filled(b"\0\0\0\x18ftyp" + brand + b"\0\0\2\0isommp41", size)


def matroska(document_type: bytes = b"webm") -> bytes:
    """Make what begins like a Matroska file."""
    named = b"\x42\x82" + bytes([0x80 | len(document_type)]) + document_type
    return filled(b"\x1a\x45\xdf\xa3\xa3\x42\x86\x81\x01" + named, 5000)


def avi() -> bytes:
    """Make what begins like an AVI."""
    return filled(b"RIFF\x10\x27\0\0AVI LIST", 5000)


def mpegts(packet: int = 188, offset: int = 0, packets: int = 20) -> bytes:
    """Make what begins like an MPEG transport stream."""
    return (bytes(offset) + b"\x47" + bytes(packet - offset - 1)) * packets


def filled(head: bytes, size: int) -> bytes:
    """Follow `head` by a pattern, up to `size` bytes."""
    pattern = bytes(range(251))  # a prime length, so that no two megabytes are the same
    return (head + pattern * (size // len(pattern) + 1))[:size]


JUNK = {
    "one byte": b"\0",
    "63 bytes": bytes(63),
    "text": b"This is not a video.\n" * 400,
    "jpeg": filled(b"\xff\xd8\xff\xe0\0\x10JFIF\0", 5000),
    "png": filled(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", 5000),
    "gif": filled(b"GIF89a", 5000),
    "wav": filled(b"RIFF\x10\x27\0\0WAVEfmt ", 5000),
    "heic": isom(5000, brand=b"heic"),
    "zip": filled(b"PK\x03\x04\x14\0", 5000),
    "elf": filled(b"\x7fELF\x02\x01\x01", 5000),
    "html": b"<!doctype html><script>alert(1)</script>" * 50,
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg"/>' * 50,
    "pdf": filled(b"%PDF-1.7\n", 5000),
    "shell": b"#!/bin/sh\ncat /etc/passwd\n" * 50,
    "hls": b"#EXTM3U\n#EXTINF:10,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n" * 20,
    "ffconcat": b"ffconcat version 1.0\nfile '../other/tenant.mp4'\n" * 20,
    "dash": b'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"/>' * 20,
    "sdp": b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nm=video 5004 RTP/AVP 96\r\n" * 20,
    "ebml of another kind": filled(b"\x1a\x45\xdf\xa3\xa3\x42\x82\x84abcd", 5000),
    "one sync byte": b"G" + bytes(5000),
}
"""Sent as `.mp4`, with `Content-Type: video/mp4`."""

VIDEOS = {
    "mp4": isom(),
    "mov": isom(5000, brand=b"qt  "),
    "3gp": isom(5000, brand=b"3gp5"),
    "old mov": filled(b"\0\0\0\x08wide\0\0\x10\0mdat", 5000),
    "webm": matroska(),
    "mkv": matroska(b"matroska"),
    "avi": avi(),
    "ts": mpegts(),
    "m2ts": mpegts(192, 4),
}
