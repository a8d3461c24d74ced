"""Does a weight get into place only whole, only as pinned, and only from where it was asked for?"""

import hashlib
import io
import re
import ssl
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from app.errors import ModelUnavailable
from models.manifest import Original
from models.pull import pull
from models.registry import Presence, Registry
from tests.conftest import ROOT
from tests.make_models import (
    install,
    make_classifier_onnx,
    make_entry,
    make_registry,
    make_training,
)
from tests.models.make_https import Answer, serve

TINY = make_classifier_onnx()
ENTRY = make_entry(TINY)


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return make_registry(tmp_path, ENTRY)


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    folder = tmp_path / "mirror"
    folder.mkdir()
    return folder


def original(url: str, content: bytes = TINY, member: str | None = None) -> Original:
    return Original(
        url=url,
        archive_member=member,
        archive_bytes=100_000 if member else None,
        mirror="tiny.bin",
        sha256=hashlib.sha256(content).hexdigest(),
        size_bytes=len(content),
    )


def test_a_weight_is_taken_from_a_mirror_under_its_mirror_name(registry, mirror):
    (mirror / "tiny.bin").write_bytes(TINY)
    told: list[tuple[str, int, int]] = []

    path = pull("tiny", registry=registry, mirror=mirror, progress=lambda *step: told.append(step))

    assert path == registry.pulled_dir / "tiny.onnx"
    assert Presence.VERIFIED is registry.status("tiny").word
    assert [("tiny.bin", len(TINY), len(TINY))] == told


def test_a_mirror_may_keep_its_files_in_folders(registry, mirror):
    (mirror / "a" / "b").mkdir(parents=True)
    (mirror / "a" / "b" / "tiny.bin").write_bytes(TINY)

    pull("tiny", registry=registry, mirror=mirror)

    assert registry.status("tiny").word is Presence.VERIFIED


def test_what_is_already_in_place_is_not_fetched_again(registry, mirror):
    path = install(registry, ENTRY, TINY)

    assert pull("tiny", registry=registry, mirror=mirror) == path  # the mirror is empty


def test_a_spoilt_file_in_place_is_replaced(registry, mirror):
    install(registry, ENTRY, b"spoilt")
    (mirror / "tiny.bin").write_bytes(TINY)

    assert pull("tiny", registry=registry, mirror=mirror).read_bytes() == TINY


@pytest.mark.parametrize("content", [b"other", TINY[:-1], TINY + b"\0", b""])
def test_an_original_that_is_not_the_pinned_one_is_refused_with_both_digests(
    registry, mirror, content
):
    (mirror / "tiny.bin").write_bytes(content)

    with pytest.raises(ModelUnavailable, match="do not use it") as refusal:
        pull("tiny", registry=registry, mirror=mirror)

    digests = re.findall(r"sha256:([0-9a-f]{64})", str(refusal.value))
    assert len(set(digests)) == 2
    assert ENTRY.sha256 == digests[1]
    assert not registry.pulled_dir.exists()


def test_a_mirror_without_the_file_or_without_itself_is_told(registry, mirror):
    with pytest.raises(ModelUnavailable, match=r"has no tiny\.bin"):
        pull("tiny", registry=registry, mirror=mirror)
    with pytest.raises(ModelUnavailable, match="is not a folder"):
        pull("tiny", registry=registry, mirror=mirror / "nowhere")


def test_a_conversion_that_gives_other_bytes_is_refused_and_put_nowhere(
    tmp_path, mirror, shared_weights
):
    content = (shared_weights / "meso4_f2f.h5").read_bytes()
    (mirror / "tiny.bin").write_bytes(content)
    entry = make_entry(
        TINY,
        converter="meso4",
        originals=(original("https://example.org/x.h5", content),),
    )
    registry = make_registry(tmp_path, entry)

    with pytest.raises(ModelUnavailable, match=r"made by the converter 'meso4' is sha256:3287f7"):
        pull("tiny", registry=registry, mirror=mirror)

    assert not registry.pulled_dir.exists()


def test_an_original_that_its_converter_does_not_know_is_refused(tmp_path, mirror):
    (mirror / "tiny.bin").write_bytes(b"not hdf5")
    entry = make_entry(
        TINY, converter="meso4", originals=(original("https://example.org/x.h5", b"not hdf5"),)
    )

    with pytest.raises(ModelUnavailable, match="not the files it converts"):
        pull("tiny", registry=make_registry(tmp_path, entry), mirror=mirror)


def test_without_the_packages_for_converting_the_operator_is_told_which_to_install():
    script = (
        "import sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name in ('onnx', 'h5py'):\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        "from app.errors import OperatorMustAct\n"
        "from models.convert import convert\n"
        "try:\n"
        "    convert('meso4', [b''])\n"
        "except OperatorMustAct as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert "pip install 'deepverdict[convert]'" in done.stdout


def pull_from(tmp_path: Path, answers: dict[str, Answer], *, member: str | None = None) -> Registry:
    """Pull `tiny` from a server with these answers; gives the registry it went into."""
    with serve(answers, tmp_path) as (url, trusted):
        entry = make_entry(TINY, originals=(original(f"{url}/tiny", member=member),))
        registry = make_registry(tmp_path, entry)
        pull("tiny", registry=registry, mirror=None, tls=trusted)
    return registry


def test_a_weight_is_downloaded_from_upstream(tmp_path):
    moved = Answer(status=302, location="/elsewhere")

    registry = pull_from(tmp_path, {"/tiny": moved, "/elsewhere": Answer(body=TINY)})

    assert Presence.VERIFIED is registry.status("tiny").word


def zipped(**members: bytes) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name.replace("__", "/"), content)
    return archive.getvalue()


def test_a_weight_is_taken_out_of_the_zip_that_upstream_has_it_in(tmp_path):
    body = zipped(folder__wanted=TINY, other=b"other")

    registry = pull_from(tmp_path, {"/tiny": Answer(body=body)}, member="wanted")

    assert registry.read("tiny") == TINY


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"not a zip", "not a zip"),
        (zipped(other=TINY), "want one wanted"),
        (zipped(a__wanted=TINY, b__wanted=TINY), "want one wanted"),
        (zipped(wanted=bytes(50_000_000)), "is sha256:"),  # a bomb: read no further than the size
    ],
    ids=["no zip", "not in it", "twice in it", "bomb"],
)
def test_a_zip_that_does_not_hold_the_weight_is_refused(tmp_path, body, words):
    with pytest.raises(ModelUnavailable, match=words):
        pull_from(tmp_path, {"/tiny": Answer(body=body)}, member="wanted")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer(status=404), "404"),
        (Answer(status=302, location="http://127.0.0.1:9/tiny"), "not https"),
        (Answer(status=302, location="file:///etc/passwd"), "is not allowed"),
        (Answer(body=TINY + bytes(1_000_000)), f"more than the {len(TINY)} bytes"),
        (Answer(body=TINY[:-1]), "fetch it again"),
    ],
    ids=["missing", "redirect to http", "redirect to file", "too long", "too short"],
)
def test_an_upstream_that_answers_amiss_is_refused(tmp_path, answer, words):
    with pytest.raises(ModelUnavailable, match=words):
        pull_from(tmp_path, {"/tiny": answer})


def test_an_upstream_that_nobody_vouches_for_is_refused(tmp_path):
    with serve({"/tiny": Answer(body=TINY)}, tmp_path) as (url, _trusted):
        entry = make_entry(TINY, originals=(original(f"{url}/tiny"),))
        stranger = ssl.create_default_context()

        with pytest.raises(ModelUnavailable, match=r"CERTIFICATE_VERIFY_FAILED.*__MIRROR"):
            pull("tiny", registry=make_registry(tmp_path, entry), mirror=None, tls=stranger)


def test_a_network_of_our_own_is_nowhere_to_be_pulled_from(tmp_path, mirror):
    entry = make_entry(TINY, training=make_training())
    registry = make_registry(tmp_path, entry)
    (mirror / "tiny.bin").write_bytes(TINY)

    with pytest.raises(ModelUnavailable, match="comes with this program"):
        pull("tiny", registry=registry, mirror=mirror)

    registry.shipped_dir.mkdir()
    (registry.shipped_dir / entry.file).write_bytes(TINY)
    assert pull("tiny", registry=registry, mirror=None) == registry.shipped_dir / entry.file


@pytest.mark.parametrize(
    "name",
    ["yunet", "face_mesh_468", "mobilefacenet", "meso4_f2f", "classnseg", "insightface_scrfd"],
)
def test_every_third_party_s_network_can_be_pulled_from_the_mirror_and_answers(
    tmp_path, shared_weights, name
):
    registry = Registry(shipped_dir=tmp_path / "none", pulled_dir=tmp_path / "pulled", threads=1)

    pull(name, registry=registry, mirror=shared_weights)

    assert registry.entry(name).sha256 == registry.load(name).sha256
