"""Which first bytes are let in?"""

import pytest

from app.domain.container import Container, sniff
from tests.app.api.videos import JUNK, VIDEOS, isom, mpegts

EXPECTED = {
    "mp4": Container.ISO_BMFF,
    "mov": Container.ISO_BMFF,
    "3gp": Container.ISO_BMFF,
    "old mov": Container.ISO_BMFF,
    "webm": Container.MATROSKA,
    "mkv": Container.MATROSKA,
    "avi": Container.AVI,
    "ts": Container.MPEG_TS,
    "m2ts": Container.MPEG_TS,
}


@pytest.mark.parametrize("name", VIDEOS)
def test_a_video_container_is_told_by_its_first_bytes(name: str) -> None:
    assert EXPECTED[name] == sniff(VIDEOS[name])


@pytest.mark.parametrize("name", JUNK)
def test_what_is_no_video_container_is_not_let_in(name: str) -> None:
    assert sniff(JUNK[name]) is None


@pytest.mark.parametrize("name", VIDEOS)
def test_a_beginning_that_is_cut_anywhere_is_told_or_turned_away_without_error(name: str) -> None:
    whole = EXPECTED[name]

    assert {sniff(VIDEOS[name][:n]) for n in range(1200)} <= {None, whole}


@pytest.mark.parametrize("brand", [b"heic", b"heix", b"mif1", b"avif", b"crx "])
def test_a_photograph_in_the_boxes_of_a_video_is_not_let_in(brand: bytes) -> None:
    assert sniff(isom(brand=brand)) is None


def test_a_box_that_is_shorter_than_its_own_header_is_not_let_in() -> None:
    assert sniff(b"\0\0\0\x07moov" + bytes(100)) is None
    assert sniff(b"\0\0\0\x0cftypisom" + bytes(100)) is None


def test_fewer_packets_than_chance_may_bring_are_not_a_transport_stream() -> None:
    assert sniff(mpegts(packets=4)) is None
    assert sniff(mpegts(packets=5)) == Container.MPEG_TS
