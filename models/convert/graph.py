"""
How is a network written down as ONNX, so that the same weights always give the same bytes?

Everything that could differ between two runs or two versions of the `onnx` package is fixed here:
operator set, IR version, producer, names by position, raw tensor data, no doc strings. Numbers are
copied, never computed, so no arithmetic of this machine gets into the file.
"""

from collections.abc import Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

OPSET = 17
IR_VERSION = 8
PRODUCER = "deepverdict.models.convert"

Array = NDArray[np.float32] | NDArray[np.int64]


class Graph:
    """A network under construction: each method adds one layer and returns its output's name."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._tensors: list[onnx.TensorProto] = []

    def tensor(self, values: Array) -> str:
        """Store an array."""
        name = f"w{len(self._tensors)}"
        kind = {"float32": TensorProto.FLOAT, "int64": TensorProto.INT64}[values.dtype.name]
        little = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))
        self._tensors.append(
            helper.make_tensor(name, kind, values.shape, little.tobytes(), raw=True)
        )
        return name

    def numbers(self, *values: float) -> str:
        """Store a list of float32."""
        return self.tensor(np.array(values, dtype=np.float32))

    def integers(self, *values: int) -> str:
        """Store a list of int64."""
        return self.tensor(np.array(values, dtype=np.int64))

    def add(
        self,
        op: str,
        *inputs: str,
        output: str | None = None,
        ints: dict[str, int | Sequence[int]] | None = None,
        floats: dict[str, float] | None = None,
    ) -> str:
        """Add one operator with a single output, named `output` or by position."""
        name = output or f"x{len(self._nodes)}"
        node = helper.make_node(op, list(inputs), [name])
        # Sorted, so that the order does not depend on how a caller wrote them.
        for key, value in sorted({**(ints or {}), **(floats or {})}.items()):
            node.attribute.append(helper.make_attribute(key, value))
        self._nodes.append(node)
        return name

    def conv(
        self, x: str, kernel: NDArray[np.float32], bias: NDArray[np.float32], *, stride: int = 1,
        dilation: int = 1,
    ) -> str:  # fmt: skip
        """Convolve; `kernel` is `[out, in, k, k]`, padded so that stride 1 keeps the size."""
        side = kernel.shape[-1]
        pad = dilation * (side - 1) // 2
        return self.add(
            "Conv", x, self.tensor(kernel), self.tensor(bias),
            ints={
                "dilations": [dilation] * 2, "kernel_shape": [side] * 2, "pads": [pad] * 4,
                "strides": [stride] * 2,
            },
        )  # fmt: skip

    def conv_transpose(
        self, x: str, kernel: NDArray[np.float32], bias: NDArray[np.float32], *, stride: int
    ) -> str:
        """Convolve transposed; `kernel` is `[in, out, k, k]`; the size grows by `stride`."""
        side = kernel.shape[-1]
        return self.add(
            "ConvTranspose", x, self.tensor(kernel), self.tensor(bias),
            ints={
                "kernel_shape": [side] * 2, "output_padding": [stride - 1] * 2,
                "pads": [(side - 1) // 2] * 4, "strides": [stride] * 2,
            },
        )  # fmt: skip

    def batch_norm(
        self,
        x: str,
        *,
        scale: NDArray[np.float32],
        shift: NDArray[np.float32],
        mean: NDArray[np.float32],
        variance: NDArray[np.float32],
        epsilon: float,
    ) -> str:
        """Normalise each channel by stored statistics."""
        stored = [self.tensor(a) for a in (scale, shift, mean, variance)]
        return self.add("BatchNormalization", x, *stored, floats={"epsilon": epsilon})

    def max_pool(self, x: str, side: int) -> str:
        """Keep the largest of each `side x side` block."""
        return self.add("MaxPool", x, ints={"kernel_shape": [side] * 2, "strides": [side] * 2})

    def faces(self, name: str) -> str:
        """Turn the input, `uint8 [N, H, W, 3]`, into `float32 [N, 3, H, W]` in 0-255."""
        floats = self.add("Cast", name, ints={"to": TensorProto.FLOAT})
        return self.add("Transpose", floats, ints={"perm": [0, 3, 1, 2]})

    def to_bytes(
        self,
        *,
        name: str,
        input_name: str,
        side_px: int,
        outputs: dict[str, tuple[int | str, ...]],
    ) -> bytes:
        """
        Check and serialise the network.

        Args:
            name: of the graph.
            input_name: its one input, `uint8 [N, side_px, side_px, 3]` RGB.
            side_px: of the pictures it takes.
            outputs: name of each output, in order, with its shape; all are float32.
        """
        faces = helper.make_tensor_value_info(
            input_name, TensorProto.UINT8, ["N", side_px, side_px, 3]
        )
        results = [
            helper.make_tensor_value_info(n, TensorProto.FLOAT, list(shape))
            for n, shape in outputs.items()
        ]
        model = onnx.ModelProto()
        model.ir_version = IR_VERSION
        model.producer_name = PRODUCER
        model.producer_version = "1"
        opset = model.opset_import.add()
        opset.domain = ""
        opset.version = OPSET
        model.graph.CopyFrom(helper.make_graph(self._nodes, name, [faces], results, self._tensors))
        onnx.checker.check_model(model, full_check=True)
        return bytes(model.SerializeToString(deterministic=True))
