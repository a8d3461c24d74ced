"""
Is it told what a file says of where it comes from, and only that?

Credentials are signed for real, by a newsroom that is made for the test; everything is read through
the jail.
"""

import struct
from collections.abc import Callable, Mapping
from pathlib import Path

import av
import pytest

from app.domain.media import CredentialState, Origin
from app.errors import RejectedMedia, SandboxUnavailable
from app.settings import AnalysisSettings, MediaLimits
from tests.conftest import ROOT
from tests.make_credentials import Newsroom, make_newsroom
from tests.media import make_video
from tests.workers.detection import lying_readers
from workers.detection import wire
from workers.detection.origin import SIGNS, SYNTHETIC_MARK, read_origin, signs

C2PA_BOX = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")
"""What a `uuid` box begins with that holds a manifest; C2PA 2.2, A.5."""


def origin_of(path: Path, *, trust_list: Path | None = None, **more: str) -> Origin:
    origin = read_origin(
        path,
        limits=MediaLimits(),
        sampling=AnalysisSettings(trust_list=trust_list),
        allow_unsandboxed=True,
        **more,
    )
    assert origin is not None
    return origin


def tagged(path: Path, target: Path, tags: Mapping[str, str]) -> Path:
    """Write a copy whose container has so many tags more."""
    with (
        av.open(str(path)) as source,
        av.open(str(target), "w", options={"movflags": "use_metadata_tags"}) as container,
    ):
        container.metadata.update(tags)
        stream = container.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                container.mux(packet)
    return target


def program(reader: Callable[[], int]) -> str:
    """Name a reader as a program to start in the place of ours."""
    return f"{reader.__module__}:{reader.__name__}"


@pytest.fixture(scope="module")
def newsroom() -> Newsroom:
    return make_newsroom()


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_video(tmp_path_factory.mktemp("plain") / "plain.mp4", frames=2)


@pytest.fixture(scope="module")
def signed(newsroom: Newsroom, plain: Path) -> Path:
    return newsroom.sign(
        plain, plain.with_name("signed.mp4"), actions=("c2pa.created", "c2pa.edited")
    )


def test_credentials_of_an_unknown_signer_are_whole_and_untrusted(signed: Path) -> None:
    credentials = origin_of(signed).credentials

    assert credentials.state is CredentialState.UNTRUSTED
    assert "no list of trusted signers" in credentials.detail
    assert credentials.signer == "Test Signer, Test Newsroom"
    assert credentials.made_with == "Test Camera 1.0"
    assert credentials.actions == ("c2pa.created", "c2pa.edited")
    assert not credentials.is_generated


def test_a_signer_on_the_list_that_is_given_is_trusted_and_on_another_is_not(
    signed: Path, newsroom: Newsroom, tmp_path: Path
) -> None:
    listed, other = tmp_path / "listed.pem", tmp_path / "other.pem"
    listed.write_bytes(newsroom.authority_pem)
    other.write_bytes(make_newsroom().authority_pem)

    assert origin_of(signed, trust_list=listed).credentials.state is CredentialState.VALID
    unlisted = origin_of(signed, trust_list=other).credentials
    assert unlisted.state is CredentialState.UNTRUSTED
    assert "not on the list" in unlisted.detail


def test_a_file_that_was_changed_after_it_was_signed_is_found_out(
    signed: Path, tmp_path: Path
) -> None:
    data = bytearray(signed.read_bytes())
    data[data.rindex(b"mdat") + 100] ^= 1  # one bit of one picture
    changed = tmp_path / "changed.mp4"
    changed.write_bytes(data)

    credentials = origin_of(changed).credentials

    assert credentials.state is CredentialState.INVALID
    assert "changed after" in credentials.detail


def test_a_video_that_says_a_model_made_it_is_told_so(
    newsroom: Newsroom, plain: Path, tmp_path: Path
) -> None:
    made = newsroom.sign(plain, tmp_path / "made.mp4", source_type="trainedAlgorithmicMedia")

    assert origin_of(made).credentials.is_generated


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi"])
def test_a_video_without_credentials_has_none(suffix: str, tmp_path: Path) -> None:
    video = make_video(tmp_path / f"a.{suffix}", frames=1)

    assert origin_of(video).credentials.state is CredentialState.ABSENT


@pytest.mark.parametrize(
    "content",
    [
        bytes(range(256)) * 4,
        bytes(4) + b"manifest\0" + bytes(8) + struct.pack(">I", 2**31) + b"jumb" + bytes(64),
        bytes(4) + b"manifest\0" + bytes(8) + struct.pack(">I4s", 16, b"jumb") * 8,
    ],
    ids=["noise", "a box longer than the file", "boxes in boxes"],
)
def test_what_claims_to_be_credentials_and_is_none_is_unreadable(
    content: bytes, plain: Path, tmp_path: Path
) -> None:
    box = struct.pack(">I4s", 8 + 16 + len(content), b"uuid") + C2PA_BOX + content
    odd = tmp_path / "odd.mp4"
    odd.write_bytes(plain.read_bytes() + box)

    origin = origin_of(odd)

    assert origin.credentials.state is CredentialState.UNREADABLE
    assert origin.tags["encoder"].startswith("Lavf")


def test_credentials_that_were_garbled_do_not_pass(signed: Path, tmp_path: Path) -> None:
    data = bytearray(signed.read_bytes())
    at = data.index(b"jumb") + 40
    data[at : at + 400] = bytes(b * 7 + 13 & 255 for b in data[at : at + 400])
    garbled = tmp_path / "garbled.mp4"
    garbled.write_bytes(data)

    assert origin_of(garbled).credentials.state in {
        CredentialState.UNREADABLE,
        CredentialState.INVALID,
    }


def test_a_camera_an_editor_and_a_place_are_told_and_the_place_is_not(
    plain: Path, tmp_path: Path
) -> None:
    tags = {
        "com.apple.quicktime.make": "Apple",
        "com.apple.quicktime.software": "Adobe Premiere Pro 2026",
        "com.apple.quicktime.location.ISO6709": "+52.5200+013.4050/",
        "creation_time": "2026-11-21T09:00:00Z",
    }

    origin = origin_of(tagged(plain, tmp_path / "a.mp4", tags))

    assert origin.signs == ("camera-tag", "editor-tag", "location-tag", "re-encoded")
    assert origin.tags["com.apple.quicktime.software"] == "Adobe Premiere Pro 2026"
    assert origin.tags["creation_time"].startswith("2026-11-21T09:00:00")
    assert "52.52" not in repr(origin)


def test_the_mark_of_our_own_fakes_is_seen(plain: Path, tmp_path: Path) -> None:
    from workers.training.swapping import marks

    marked = tagged(plain, tmp_path / "a.mkv", marks.metadata("a face was replaced"))

    assert "synthetic-mark" in origin_of(marked).signs
    assert marks.MARK == SYNTHETIC_MARK


def test_the_encoder_that_wrote_itself_into_the_pictures_is_named(tmp_path: Path) -> None:
    video = make_video(tmp_path / "a.mkv", frames=2, codec="libx264")

    assert origin_of(video).tags["video.encoder_mark"].startswith("x264 - core ")


@pytest.mark.parametrize(
    ("tags", "sign"),
    [
        ({"encoder": "Lavf58.29.100"}, "re-encoded"),
        ({"encoder": "HandBrake 1.8.1 2024062200"}, "re-encoded"),
        ({"encoder": "https://clipchamp.com"}, "editor-tag"),
        ({"comment": "Cropped with ezgif.com GIF maker"}, "editor-tag"),
        ({"model": "Pixel 9"}, "camera-tag"),
        ({"com.android.manufacturer": "samsung"}, "camera-tag"),
        ({"video.handler_name": "GoPro AVC"}, "camera-tag"),
        ({"encoder": "obs-output module (libobs version 30.0.2)"}, "screen-recording"),
        ({"com.apple.quicktime.author": "ReplayKitRecording"}, "screen-recording"),
        ({"video.handler_name": "Twitter-vork muxer"}, "messenger"),
        ({"comment": "vid:v09044g40000cabcdefghij"}, "messenger"),
        (
            {"sound.handler_name": "ISO Media file produced by Google Inc. Created on: 12/28/2017"},
            "messenger",
        ),
        ({"software": "ComfyUI"}, "synthetic-mark"),
        ({"prompt": '{"3": {"class_type": "KSampler"}}'}, "synthetic-mark"),
        ({"aigc_info": '{"aigc_label_type": 1}'}, "synthetic-mark"),
        ({"comment": "AI-generated"}, "synthetic-mark"),
        ({"major_brand": "isom", "video.handler_name": "VideoHandler"}, "no-metadata"),
        ({}, "no-metadata"),
        ({}, "creation-time-missing"),
        ({"com.apple.quicktime.location.iso6709": "+52.5+013.4/"}, "location-tag"),
    ],
)
def test_a_tag_is_a_sign_of_what_it_names(tags: dict[str, str], sign: str) -> None:
    assert sign in signs(tags)


@pytest.mark.parametrize(
    "tags",
    [
        {"title": "Sora on tour"},
        {"comment": "a talk with the makers of Sora and OpenAI"},
        {"aigc_info": '{"aigc_label_type": 0}'},
        {"artist": "Blender"},
        {"encoder": "Avidemux"},
    ],
)
def test_what_only_sounds_like_a_tool_is_no_sign(tags: dict[str, str]) -> None:
    assert set(signs(tags)) <= {"creation-time-missing"}


def test_every_sign_and_every_state_is_explained_to_who_reads_it() -> None:
    page = (ROOT / "docs" / "api.md").read_text()

    assert [code for code in (*SIGNS, *wire.CREDENTIAL_STATES) if f"| `{code}` |" not in page] == []
    assert list(wire.CREDENTIAL_STATES) == [str(state) for state in CredentialState]


def test_tags_without_end_are_cut_and_cleaned(plain: Path, tmp_path: Path) -> None:
    tags = {"comment": "long " * 200_000, "title": "\x1b[31mred\x00\r\n\u202egnp.exe"}
    tags |= {f"key-{n}": "x" for n in range(5000)}

    origin = origin_of(tagged(plain, tmp_path / "a.mkv", tags))

    assert len(origin.tags) <= wire.MAX_TAGS
    assert max(map(len, origin.tags.values())) <= wire.MAX_METADATA_CHARS
    assert all(text.isprintable() for tag in origin.tags.items() for text in tag)


@pytest.mark.parametrize(
    "liar",
    [
        lying_readers.dies_over_the_credentials,
        lying_readers.says_an_unknown_state,
        lying_readers.says_tags_without_end,
        lying_readers.says_another_message,
    ],
    ids=lambda liar: liar.__name__,
)
def test_a_reader_that_fails_leaves_the_tags_and_fails_nothing(liar, plain: Path) -> None:
    origin = origin_of(plain, decoder=program(liar))

    assert origin.credentials.state is CredentialState.UNREADABLE
    assert origin.tags["encoder"] == "Lavf"


def test_whatever_a_reader_says_is_cut_and_cleaned(plain: Path) -> None:
    origin = origin_of(plain, decoder=program(lying_readers.says_what_is_no_print))

    credentials = origin.credentials
    texts = [credentials.detail, credentials.signer, *credentials.actions, *origin.tags.values()]
    assert all(text.isprintable() and len(text) <= 400 for text in texts)
    assert len(credentials.actions) <= wire.MAX_ACTIONS


def test_without_a_jail_nothing_is_read(plain: Path) -> None:
    with pytest.raises(SandboxUnavailable):
        read_origin(
            plain,
            limits=MediaLimits(),
            sampling=AnalysisSettings(),
            allow_unsandboxed=False,
            decoder=program(lying_readers.keeps_the_network),
        )


def test_where_the_reader_does_not_start_nobody_looked(plain: Path) -> None:
    nothing = read_origin(
        plain,
        limits=MediaLimits(),
        sampling=AnalysisSettings(),
        allow_unsandboxed=True,
        decoder=program(lying_readers.dies_before_it_is_jailed),
    )

    assert nothing is None


def test_with_a_trust_list_that_is_not_there_nobody_looked(plain: Path, tmp_path: Path) -> None:
    sampling = AnalysisSettings(trust_list=tmp_path / "none.pem")

    nothing = read_origin(plain, limits=MediaLimits(), sampling=sampling, allow_unsandboxed=True)

    assert nothing is None


def test_what_is_no_video_is_no_file_to_ask(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"no video")

    with pytest.raises(RejectedMedia):
        origin_of(tmp_path / "a.mp4")
