"""How does a trained network become the ONNX file that is served, and does it compute alike?"""

import copy
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import onnx
import onnxruntime
import torch
from torch import Tensor, nn

from workers.training.task import Served

OPSET = 20
SIZES = ((1, 1.0), (2, 0.75), (5, 1.25))
"""What is compared: pictures in a batch, and the other free axes as a share of the example's."""
QUIET = 4  # ONNX Runtime's "fatal"; everything else it says comes back as an exception


def export_onnx(served: Served) -> bytes:
    """
    Return the network as one self-contained ONNX file, fp32 on the CPU.

    The exporter writes the source lines of every node into the file, with the paths of the machine
    that it ran on; they are left out, so that the same network gives the same bytes anywhere.
    """
    module = _at_rest(served.module)
    with warnings.catch_warnings(), _quiet("torch.onnx"), torch.no_grad():
        # The exporter warns of its own workings, and of what its next release will change.
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module,
            kwargs=dict(served.example),
            input_names=list(served.example),
            output_names=list(served.outputs),
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            dynamic_shapes=dict(served.dynamic),
            verbose=False,
        )
    if program is None:
        raise RuntimeError("the exporter gave no program")
    model = program.model_proto
    _strip(model)
    onnx.checker.check_model(model, full_check=True)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def check_same(served: Served, onnx_bytes: bytes) -> float:
    """
    Compare the network with its ONNX file.

    Both are run on noise, in batches of 1, 2 and 5 and, where height and width are free, in other
    sizes than the example's.

    Returns:
        The greatest absolute difference over all outputs, in their units.

    Raises:
        ValueError: names or shapes differ, or a value is not a number in one of the two.
    """
    module = _at_rest(served.module)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = QUIET
    session = onnxruntime.InferenceSession(onnx_bytes, options, providers=["CPUExecutionProvider"])
    names = tuple(o.name for o in session.get_outputs())
    if names != served.outputs:
        raise ValueError(f"want the outputs {served.outputs}, the file has {names}")
    greatest = 0.0
    for inputs in _inputs(served):
        with torch.no_grad():
            answer = module(**inputs)
        wanted = (answer,) if isinstance(answer, Tensor) else tuple(answer)
        found = session.run(None, {name: tensor.numpy() for name, tensor in inputs.items()})
        for name, want, got in zip(names, wanted, found, strict=True):
            difference = _difference(name, want, torch.from_numpy(got))
            greatest = max(greatest, difference)
    return greatest


def _at_rest(module: nn.Module) -> nn.Module:
    """Copy a network to the CPU as it answers, not as it learns."""
    return copy.deepcopy(module).eval().float().cpu()


def _inputs(served: Served) -> Iterator[dict[str, Tensor]]:
    for batch, share in SIZES:
        dice = torch.Generator().manual_seed(batch)
        yield {
            name: _noise(
                example,
                _size(example, served.dynamic.get(name) or {}, batch=batch, share=share),
                dice,
            )
            for name, example in served.example.items()
        }


def _noise(example: Tensor, size: tuple[int, ...], dice: torch.Generator) -> Tensor:
    """Draw pictures, or numbers near 0 where the input is none."""
    if example.is_floating_point():
        return torch.randn(size, generator=dice)
    return torch.randint(0, 256, size, generator=dice, dtype=torch.uint8)


def _size(
    example: Tensor, dynamic: Mapping[int, object], *, batch: int, share: float
) -> tuple[int, ...]:
    """Give the free axes of an input another length; axis 0 is the batch."""
    return tuple(
        size if axis not in dynamic else batch if axis == 0 else round(size * share)
        for axis, size in enumerate(example.shape)
    )


def _difference(name: str, want: Tensor, got: Tensor) -> float:
    if want.shape != got.shape:
        raise ValueError(f"{name}: torch gives {list(want.shape)}, ONNX {list(got.shape)}")
    if not (torch.isfinite(want).all() and torch.isfinite(got).all()):
        raise ValueError(f"{name}: not a number in torch or in ONNX")
    return float((want.double() - got.double()).abs().max()) if want.numel() else 0.0


def _strip(model: onnx.ModelProto) -> None:
    """Leave out what says how and where the file was made."""
    parts = [model, model.graph, *model.graph.node, *model.graph.initializer]
    parts += [*model.graph.input, *model.graph.output, *model.functions]
    parts += [node for function in model.functions for node in function.node]
    for part in parts:
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    model.graph.ClearField("value_info")


@contextmanager
def _quiet(name: str) -> Iterator[None]:
    """Keep a logger from speaking of anything less than an error."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
