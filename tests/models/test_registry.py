"""Are only pinned networks run: those bytes, nothing beside them, and where we were told to?"""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from app.errors import ModelUnavailable
from models.registry import Presence, Registry, verify
from tests.conftest import ROOT
from tests.make_models import (
    install,
    make_broken_classifier_onnx,
    make_canary,
    make_classifier_onnx,
    make_entry,
    make_onnx,
    make_registry,
    make_training,
)

TINY = make_classifier_onnx()
ENTRY = make_entry(TINY)
BLACK = np.zeros((1, 256, 256, 3), np.uint8)


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return make_registry(tmp_path, ENTRY)


def test_a_network_in_place_runs(registry):
    install(registry, ENTRY, TINY)
    model = registry.load("tiny")

    (logit,) = model.run({"faces": BLACK})

    assert ("tiny", "1.0", ENTRY.sha256) == (model.name, model.version, model.sha256)
    assert (model.input_names, model.output_names) == (("faces",), ("fake_logit",))
    np.testing.assert_allclose(logit, [-8.0])


def test_a_shipped_network_is_found_too(registry):
    registry.shipped_dir.mkdir()
    (registry.shipped_dir / ENTRY.file).write_bytes(TINY)

    assert registry.read("tiny") == TINY


def test_a_spoilt_shipped_file_does_not_hide_a_good_pulled_one(registry):
    registry.shipped_dir.mkdir()
    (registry.shipped_dir / ENTRY.file).write_bytes(b"spoilt")
    install(registry, ENTRY, TINY)

    assert Presence.VERIFIED is registry.status("tiny").word


def test_a_network_that_is_not_there_is_missing_and_says_what_to_do(registry):
    assert Presence.MISSING is registry.status("tiny").word
    with pytest.raises(ModelUnavailable, match="deepverdict models pull tiny"):
        registry.load("tiny")


def test_a_shipped_network_that_is_not_there_is_to_be_put_back_not_pulled(tmp_path):
    registry = make_registry(tmp_path, make_entry(TINY, training=make_training()))

    with pytest.raises(ModelUnavailable, match=r"put .*shipped/tiny\.onnx back"):
        registry.load("tiny")

    registry.shipped_dir.mkdir()
    (registry.shipped_dir / "tiny.onnx").write_bytes(b"spoilt")
    assert "put" in registry.status("tiny").detail
    assert "pull" not in registry.status("tiny").detail


def test_a_name_that_the_manifest_does_not_have_is_refused_with_those_it_has(registry):
    with pytest.raises(ModelUnavailable, match=r"no model 'other'.*\['tiny'\]"):
        registry.status("other")


@pytest.mark.parametrize("at", [0, len(TINY) // 2, len(TINY) - 1])
def test_one_flipped_bit_is_refused_with_both_digests(registry, at):
    spoilt = bytearray(TINY)
    spoilt[at] ^= 1
    path = install(registry, ENTRY, bytes(spoilt))

    with pytest.raises(ModelUnavailable) as refusal:
        registry.load("tiny")

    digests = re.findall(r"sha256:([0-9a-f]{64})", str(refusal.value))
    assert len(set(digests)) == 2
    assert ENTRY.sha256 == digests[1]
    assert str(path) in str(refusal.value)


@pytest.mark.parametrize("content", [b"", TINY[:-1], TINY + b"\0"])
def test_a_file_that_is_cut_or_grown_is_refused(registry, content):
    install(registry, ENTRY, content)

    assert Presence.MISMATCH is registry.status("tiny").word


def test_a_pickle_under_the_networks_name_is_refused_and_not_opened(registry, tmp_path):
    mark = tmp_path / "mark"
    install(registry, ENTRY, f"cposix\nsystem\n(Vtouch {mark}\ntR.".encode())

    with pytest.raises(ModelUnavailable, match="mismatch"):
        registry.load("tiny")

    assert not mark.exists()


def test_a_link_is_as_good_as_what_it_leads_to(registry, tmp_path):
    good, bad = tmp_path / "good", tmp_path / "bad"
    good.write_bytes(TINY)
    bad.write_bytes(b"other")
    path = registry.pulled_dir / ENTRY.file
    path.parent.mkdir()

    path.symlink_to(bad)
    assert Presence.MISMATCH is registry.status("tiny").word
    path.unlink()
    path.hardlink_to(bad)
    assert Presence.MISMATCH is registry.status("tiny").word
    path.unlink()
    path.symlink_to(good)
    assert registry.read("tiny") == TINY


def test_a_pipe_or_a_device_under_the_name_does_not_hang_the_worker(registry):
    path = registry.pulled_dir / ENTRY.file
    path.parent.mkdir()
    os.mkfifo(path)
    assert Presence.MISSING is registry.status("tiny").word
    path.unlink()
    path.symlink_to("/dev/zero")

    assert Presence.MISSING is registry.status("tiny").word


def test_a_file_swapped_between_check_and_use_changes_nothing(tmp_path):
    # Every read of a file that is replaced without pause gives the pinned bytes, or refuses.
    registry = make_registry(tmp_path, ENTRY)
    path = install(registry, ENTRY, TINY)
    other = tmp_path / "other"
    swapper = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import os, sys, pathlib\n"
            "path, other = map(pathlib.Path, sys.argv[1:])\n"
            "good = path.read_bytes()\n"
            "print('ready', flush=True)\n"
            "while True:\n"
            "    for content in (good[:-1] + b'x', good):\n"
            "        other.write_bytes(content)\n"
            "        os.replace(other, path)\n",
            str(path),
            str(other),
        ],
        stdout=subprocess.PIPE,
    )
    try:
        assert swapper.stdout is not None
        assert swapper.stdout.readline() == b"ready\n"
        taken = refused = 0
        until = time.monotonic() + 30
        # At least a thousand times, and until both outcomes were seen, else nothing was raced.
        while taken + refused < 1000 or not (taken and refused):
            assert time.monotonic() < until, (taken, refused)
            try:
                assert registry.read("tiny") == TINY
                taken += 1
            except ModelUnavailable:
                refused += 1
    finally:
        swapper.kill()
        swapper.communicate()


def make_external_onnx(location: str) -> bytes:
    weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1])
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value=location)
    content = make_onnx(
        [
            helper.make_node("Cast", ["faces"], ["floats"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMean", ["floats"], ["mean"], axes=[1, 2, 3], keepdims=0),
            helper.make_node("Add", ["mean", "w"], ["fake_logit"]),
        ],
        outputs={"fake_logit": ["N"]},
    )
    model = onnx.ModelProto.FromString(content)
    model.graph.initializer.append(weight)
    written: bytes = model.SerializeToString()
    return written


def test_onnx_runtime_itself_would_follow_external_data_from_the_working_directory(
    tmp_path, monkeypatch
):
    # The reason for models.onnx_wire. Should this fail one day, the runtime has become safer.
    (tmp_path / "secret").write_bytes(np.float32([-8.0]).tobytes())
    monkeypatch.chdir(tmp_path)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        make_external_onnx("secret"), options, providers=["CPUExecutionProvider"]
    )

    assert session.run(None, {"faces": BLACK})[0].tolist() == [-8.0]


@pytest.mark.parametrize("location", ["secret", "./junk/../secret", "../here/secret", "ABSOLUTE"])
def test_external_data_is_refused_and_not_a_byte_of_it_read(tmp_path, monkeypatch, location):
    here = tmp_path / "here"
    here.mkdir()
    # A reader of this pipe would block for ever: nobody writes. That is how we know of none.
    os.mkfifo(here / "secret")
    monkeypatch.chdir(here)
    content = make_external_onnx(location.replace("ABSOLUTE", str(here / "secret")))
    entry = make_entry(content)
    registry = make_registry(tmp_path, entry)
    install(registry, entry, content)

    with pytest.raises(ModelUnavailable, match="outside of the file"):
        registry.load("tiny")


def test_a_pinned_file_that_is_no_network_is_refused(tmp_path):
    for content in (b"\x80\x04N.", bytes(64), TINY[: len(TINY) // 2]):
        entry = make_entry(content)
        registry = make_registry(tmp_path, entry)
        install(registry, entry, content)

        with pytest.raises(ModelUnavailable, match=entry.sha256):
            registry.load("tiny")


def test_an_operator_that_the_runtime_does_not_have_is_refused(tmp_path):
    content = make_onnx(
        [helper.make_node("Steal", ["faces"], ["fake_logit"], domain="evil")],
        outputs={"fake_logit": ["N"]},
    )
    entry = make_entry(content)
    registry = make_registry(tmp_path, entry)
    install(registry, entry, content)

    with pytest.raises(ModelUnavailable, match="cannot be opened"):
        registry.load("tiny")


def test_a_network_that_answers_its_canary_otherwise_is_refused(tmp_path):
    entry = make_entry(TINY, canary=make_canary("fake_logit", mean=-7.9))
    registry = make_registry(tmp_path, entry)
    install(registry, entry, TINY)

    with pytest.raises(ModelUnavailable, match=r"want mean -7\.9.*got -8"):
        registry.load("tiny")


def test_a_network_that_answers_no_number_is_refused(tmp_path):
    content = make_broken_classifier_onnx()
    entry = make_entry(content)
    registry = make_registry(tmp_path, entry)
    install(registry, entry, content)

    with pytest.raises(ModelUnavailable, match="got nan"):
        registry.load("tiny")


@pytest.mark.skipif(
    "CUDAExecutionProvider" in onnxruntime.get_available_providers(),
    reason="this machine has the CUDA runtime",
)
def test_a_gpu_that_is_not_there_is_an_error_and_never_the_cpu_instead(tmp_path):
    install(make_registry(tmp_path, ENTRY), ENTRY, TINY)
    registry = Registry(
        shipped_dir=tmp_path / "shipped",
        pulled_dir=tmp_path / "pulled",
        device="cuda",
        manifest={"tiny": ENTRY},
    )

    with pytest.raises(ModelUnavailable, match="wanted to run on cuda"):
        registry.load("tiny")


def test_every_network_is_listed_with_how_it_stands(tmp_path):
    missing = make_entry(TINY, name="missing")
    spoilt = make_entry(TINY, name="spoilt")
    fine = make_entry(TINY, name="fine")
    registry = make_registry(tmp_path, missing, spoilt, fine)
    install(registry, spoilt, b"spoilt")
    install(registry, fine, TINY)

    found = {s.name: s.detail.split(":")[0] for s in verify(registry)}

    assert found == {"fine": "sha256", "missing": "missing", "spoilt": "mismatch"}


def test_asking_how_networks_stand_loads_no_runtime_and_no_arrays():
    script = (
        "import sys; from pathlib import Path; from models.registry import Registry, verify; "
        "verify(Registry(shipped_dir=Path('/nonexistent'), pulled_dir=Path('/nonexistent'))); "
        "print([m for m in ('numpy', 'onnxruntime', 'onnx', 'h5py', 'torch') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert done.stdout == "[]\n"
