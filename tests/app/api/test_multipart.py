"""Is the video found in a form, however the bytes are cut, and the odd forms turned away?"""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.api.multipart import MAX_FILE_NAME, MAX_OVERHEAD_BYTES, VideoForm, clean_file_name
from app.errors import BadMultipart

CONTENT_TYPE = "multipart/form-data; boundary=edge"
FILE = b'--edge\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\n'
END = b"\r\n--edge--\r\n"


def field(name: str, value: str) -> bytes:
    return f'--edge\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()


def parse(*pieces: bytes, content_type: str = CONTENT_TYPE) -> tuple[VideoForm, bytes]:
    video = bytearray()
    form = VideoForm(content_type, video.extend)
    for piece in pieces:
        form.feed(piece)
    form.finish()
    return form, bytes(video)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    video=st.one_of(
        st.binary(max_size=300),
        st.lists(st.sampled_from([b"\r", b"\n", b"--", b"edge", b"\r\n--edg", b"x"])).map(b"".join),
    ),
    cuts=st.lists(st.integers(0, 600), max_size=8),
)
def test_the_video_is_the_same_wherever_the_body_is_cut(video: bytes, cuts: list[int]) -> None:
    if b"\r\n--edge" in b"\r\n" + video:
        return  # no client may choose such a boundary
    body = field("ref_id", "desk-4711") + FILE + video + END
    places = [0, *sorted(cuts), len(body)]
    pieces = [body[a:b] for a, b in pairwise(places)]

    form, found = parse(*pieces)

    assert video == found
    assert form.fields == [("ref_id", "desk-4711")]
    assert form.file_name == "a.mp4"


@pytest.mark.parametrize(
    "body",
    {
        "nothing": b"",
        "no file": field("ref_id", "x") + b"--edge--\r\n",
        "two files": FILE + b"one\r\n" + FILE + b"two" + END,
        "no end": FILE + b"video",
        "no name": b"--edge\r\nContent-Disposition: form-data\r\n\r\nx" + END,
        "no disposition": b"--edge\r\nContent-Type: video/mp4\r\n\r\nx" + END,
        "another disposition": b'--edge\r\nContent-Disposition: attachment; name="a"\r\n\r\nx'
        + END,
        "text before": b"preamble\r\n" + FILE + b"video" + END,
        "another boundary": FILE.replace(b"edge", b"egde") + b"video" + END,
        "a thousand fields": b"".join(field(f"f{n}", "x") for n in range(1001)) + FILE + b"v" + END,
        "a long field": field("ref_id", "x" * 5000) + FILE + b"video" + END,
        "a long header": b"--edge\r\nX-A: " + b"a" * 10_000_000,
        "a long header name": b"--edge\r\n" + b"a" * 10_000_000,
        "many headers": b"--edge\r\n" + b"X-A: b\r\n" * 100_000,
        "no UTF-8": field("ref_id", "x").replace(b"x", b"\xff") + FILE + b"video" + END,
    }.items(),
    ids=lambda item: item[0],
)
def test_a_form_that_is_not_one_video_is_turned_away(body: tuple[str, bytes]) -> None:
    with pytest.raises(BadMultipart):
        parse(body[1])


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        f"multipart/form-data; boundary={'x' * 5000}",
    ],
)
def test_a_form_without_a_usable_boundary_is_turned_away(content_type: str) -> None:
    with pytest.raises(BadMultipart):
        parse(FILE + b"video" + END, content_type=content_type)


@pytest.mark.parametrize("place", ["before", "after"])
def test_only_so_much_may_surround_the_video(place: str) -> None:
    padding = [b"\r\n" * 8192] * 5  # 80 KiB, over MAX_OVERHEAD_BYTES
    whole = [FILE + b"video" + END]
    pieces = [*padding, *whole] if place == "before" else [*whole, *padding]

    assert sum(map(len, padding)) > MAX_OVERHEAD_BYTES
    with pytest.raises(BadMultipart, match="besides the video"):
        parse(*pieces)


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"clip.mp4", "clip.mp4"),
        (b"../../etc/passwd", "../../etc/passwd"),
        (b"concat:a.mp4", "concat:a.mp4"),
        ("Übertragung 世界.mp4".encode(), "Übertragung 世界.mp4"),
        (b"a\0b\r\nc\x1b[31m.mp4", "abc[31m.mp4"),
        ("gpj.\u202e4pm".encode(), "gpj.4pm"),
        (b"\xff\xfe.mp4", "\ufffd\ufffd.mp4"),
        (b"x" * 4096, "x" * MAX_FILE_NAME),
        (b"", None),
        (b" \r\n", None),
    ],
)
def test_a_file_name_is_made_fit_to_be_shown_and_never_means_a_path(
    raw: bytes, shown: str | None
) -> None:
    assert shown == clean_file_name(raw)


def test_a_name_that_only_newer_syntax_can_spell_still_marks_the_file() -> None:
    part = FILE.replace(b'filename="a.mp4"', b"filename*=utf-8''%C3%BC.mp4")

    form, video = parse(part + b"video" + END)

    assert video == b"video"
    assert form.file_name is None
