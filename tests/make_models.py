"""
Networks for tests: a few ONNX operators with the inputs and outputs of the real ones.

Not random: the same arguments, the same bytes.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import onnx
from onnx import TensorProto, helper

from models.manifest import (
    Calibration,
    Canary,
    Expected,
    Licence,
    ManifestEntry,
    Original,
    Training,
)
from models.registry import OnnxModel, Registry

FACES = ("faces", TensorProto.UINT8, ["N", 256, 256, 3])


def make_onnx(
    nodes: list[onnx.NodeProto],
    *,
    outputs: Mapping[str, list[int | str]],
    tensors: list[onnx.TensorProto] | None = None,
) -> bytes:
    """Serialise a network that takes `faces`."""
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info(*FACES)],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in outputs.items()],
        tensors or [],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def _constant(name: str, *values: float) -> onnx.TensorProto:
    return helper.make_tensor(name, TensorProto.FLOAT, [len(values)], list(values))


def _brightness() -> list[onnx.NodeProto]:
    """Give `bright [N]`: the mean of each picture, from 0 to 1."""
    return [
        helper.make_node("Cast", ["faces"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["floats"], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Div", ["mean", "most"], ["bright"]),
    ]


def make_classifier_onnx(*, slope: float = 16) -> bytes:
    """Make a classifier by brightness: `fake_logit` is slope * (mean / 255) - 8."""
    return make_onnx(
        [
            *_brightness(),
            helper.make_node("Mul", ["bright", "slope"], ["scaled"]),
            helper.make_node("Sub", ["scaled", "offset"], ["fake_logit"]),
        ],
        outputs={"fake_logit": ["N"]},
        tensors=[_constant("most", 255), _constant("slope", slope), _constant("offset", 8)],
    )


def make_broken_classifier_onnx() -> bytes:
    """Make a classifier that answers NaN."""
    return make_onnx(
        [*_brightness(), helper.make_node("Mul", ["bright", "nan"], ["fake_logit"])],
        outputs={"fake_logit": ["N"]},
        tensors=[_constant("most", 255), _constant("nan", float("nan"))],
    )


def make_segmenter_onnx() -> bytes:
    """Make a segmenter: the mask is the red channel over 255, the probability its mean."""
    index = helper.make_tensor("zero", TensorProto.INT64, [], [0])
    return make_onnx(
        [
            helper.make_node("Cast", ["faces"], ["floats"], to=TensorProto.FLOAT),
            helper.make_node("Gather", ["floats", "zero"], ["red"], axis=3),
            helper.make_node("Div", ["red", "most"], ["mask"]),
            helper.make_node("ReduceMean", ["mask"], ["fake_probability"], axes=[1, 2], keepdims=0),
        ],
        outputs={"fake_probability": ["N"], "mask": ["N", 256, 256]},
        tensors=[index, _constant("most", 255)],
    )


def make_canary(output: str, *, mean: float, deviation: float = 0.0) -> Canary:
    """Ask for one output of one black picture."""
    return Canary(
        input="faces",
        shape=(1, 256, 256, 3),
        dtype="uint8",
        steps=(0, 0, 0, 0),
        tolerance=1e-3,
        expected=(Expected(output=output, shape=(1,), mean=mean, deviation=deviation),),
    )


def make_entry(
    content: bytes,
    *,
    name: str = "tiny",
    canary: Canary | None = None,
    converter: str | None = None,
    originals: tuple[Original, ...] | None = None,
    training: Training | None = None,
    calibration: Calibration | None = None,
    caveat: str | None = None,
) -> ManifestEntry:
    """Describe a network; one served as published, as `tiny.bin` in a mirror, unless trained."""
    digest = hashlib.sha256(content).hexdigest()
    published = Original(
        url="https://example.org/tiny.onnx",
        mirror="tiny.bin",
        sha256=digest,
        size_bytes=len(content),
    )
    return ManifestEntry(
        name=name,
        version="1.0",
        file=f"{name}.onnx",
        sha256=digest,
        size_bytes=len(content),
        what="a network for tests",
        input="faces",
        output="one number",
        trained_on="nothing",
        caveat=caveat,
        converter=converter,
        originals=() if training else originals or (published,),
        training=training,
        calibration=calibration,
        licence=Licence(name="CC0-1.0", commercial_use=True, words="do as you like"),
        canary=canary or make_canary("fake_logit", mean=-8.0),
    )


def make_training() -> Training:
    """Tell of a run that made a network of our own."""
    return Training(
        recipe="classifier",
        recipe_sha256="1" * 64,
        code="0.1.0+abc1234",
        data_manifest_sha256="2" * 64,
        seeds=(0,),
        seconds=60.0,
        machine="a machine",
        card="docs/models/tiny.md",
    )


def make_calibration(*, slope: float = 1.0, intercept: float = 0.0) -> Calibration:
    """Turn log odds into probabilities along this line."""
    return Calibration(
        slope=slope,
        intercept=intercept,
        clips=60,
        groups=20,
        manipulated_from=0.9,
        clear_below=0.2,
        false_positives=1,
        real_clips=30,
        ece=0.05,
        words="60 clips of 20 groups",
    )


def make_registry(folder: Path, *entries: ManifestEntry) -> Registry:
    """Build a registry of these entries over `folder/shipped` and `folder/pulled`."""
    return Registry(
        shipped_dir=folder / "shipped",
        pulled_dir=folder / "pulled",
        threads=1,
        manifest={e.name: e for e in entries},
    )


def install(registry: Registry, entry: ManifestEntry, content: bytes) -> Path:
    """Lay a weight where `models pull` would put it."""
    path = registry.pulled_dir / entry.file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def make_model(
    folder: Path,
    content: bytes,
    *,
    name: str,
    canary: Canary,
    calibration: Calibration | None = None,
    caveat: str | None = None,
) -> OnnxModel:
    """Load a network by way of a registry of its own."""
    entry = make_entry(content, name=name, canary=canary, calibration=calibration, caveat=caveat)
    registry = make_registry(folder / name, entry)
    install(registry, entry, content)
    return registry.load(name)
