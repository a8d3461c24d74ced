"""
How do the published ClassNSeg weights become an ONNX that marks pixels?

Nguyen, Fang, Yamagishi & Echizen, "Multi-task Learning for Detecting and Segmenting Manipulated
Facial Images and Videos", BTAS 2019. A Y-shaped autoencoder, trained on Face2Face:

- the encoder turns a picture into 128 channels of 16 x 16, read as two halves of 64. Training
  drives the mean absolute activation of one half to 1 and that of the other to 0: the first half
  is active for altered faces, the second for originals;
- the half that is less active is set to zero, and the decoder makes of what is left a mask (a
  softmax over *untouched* and *altered* at each pixel) and a reconstruction, which is not kept.

Every convolution but the last is followed by batch normalisation (epsilon 1e-5) and a ReLU.
Pictures are `RGB / 255`, then normalised by the mean and deviation of ImageNet.

The authors report softmax(first, second) as the score, which, on activations near 0 and 1, stays
between 0.27 and 0.73. The ONNX gives the share of the first half instead: it crosses one half at
the same place and uses the whole range.
"""

import numpy as np
from numpy.typing import NDArray

from models.convert.graph import Graph
from models.convert.legacy_torch import read_state_dict

SIDE_PX = 256
BATCH_NORM_EPSILON = 1e-5
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)
HALF = 64

ENCODER = ((3, 8, 1), (8, 8, 2), (8, 16, 1), (16, 16, 2), (16, 32, 1), (32, 32, 2),
           (32, 64, 1), (64, 64, 2), (64, 128, 1))  # fmt: skip
"""Channels in, channels out, stride of each 3 x 3 convolution."""
SHARED = ((128, 64, 1), (64, 64, 2), (64, 32, 1), (32, 32, 2))
"""The same of the transposed convolutions that mask and reconstruction share."""
SEGMENTER = ((32, 16, 1), (16, 16, 2), (16, 8, 1), (8, 8, 2), (8, 2, 1))

State = dict[str, NDArray[np.generic]]


def convert_classnseg(encoder: bytes, decoder: bytes) -> bytes:
    """Convert the two checkpoints into one network; raises ValueError where a shape differs."""
    coding, decoding = read_state_dict(encoder), read_state_dict(decoder)
    graph = Graph()
    x = graph.add("Div", graph.faces("faces"), graph.numbers(255.0))
    x = graph.add("Sub", x, graph.tensor(_per_channel(IMAGENET_MEAN)))
    x = graph.add("Div", x, graph.tensor(_per_channel(IMAGENET_DEVIATION)))
    for i, (inside, outside, stride) in enumerate(ENCODER):
        kernel = _tensor(coding, f"encoder.{3 * i}.weight", (outside, inside, 3, 3))
        bias = _tensor(coding, f"encoder.{3 * i}.bias", (outside,))
        x = graph.conv(x, kernel, bias, stride=stride)
        x = _norm_relu(graph, x, coding, f"encoder.{3 * i + 1}", outside)
    x = _keep_more_active_half(graph, x)
    for prefix, stack in (("shared", SHARED), ("segmenter", SEGMENTER)):
        for i, (inside, outside, stride) in enumerate(stack):
            kernel = _tensor(decoding, f"{prefix}.{3 * i}.weight", (inside, outside, 3, 3))
            bias = _tensor(decoding, f"{prefix}.{3 * i}.bias", (outside,))
            x = graph.conv_transpose(x, kernel, bias, stride=stride)
            if outside != SEGMENTER[-1][1]:  # the last one ends in the softmax below
                x = _norm_relu(graph, x, decoding, f"{prefix}.{3 * i + 1}", outside)
    x = graph.add("Softmax", x, ints={"axis": 1})
    graph.add("Gather", x, graph.tensor(np.array(1, dtype=np.int64)), output="mask",
              ints={"axis": 1})  # fmt: skip
    return graph.to_bytes(
        name="classnseg",
        input_name="faces",
        side_px=SIDE_PX,
        outputs={"fake_probability": ("N",), "mask": ("N", SIDE_PX, SIDE_PX)},
    )


def _keep_more_active_half(graph: Graph, latent: str) -> str:
    """Give the score as output `fake_probability`; set the less active half to zero."""
    halves = graph.add("Reshape", latent, graph.integers(0, 2, HALF, 16, 16))
    activity = graph.add(
        "ReduceMean", graph.add("Abs", halves), ints={"axes": [2, 3, 4], "keepdims": 0}
    )  # [N, 2]
    altered = graph.add("Gather", activity, graph.tensor(np.array(0, dtype=np.int64)),
                        ints={"axis": 1})  # fmt: skip
    original = graph.add("Gather", activity, graph.tensor(np.array(1, dtype=np.int64)),
                         ints={"axis": 1})  # fmt: skip
    both = graph.add("Add", graph.add("Add", altered, original), graph.numbers(1e-12))
    graph.add("Div", altered, both, output="fake_probability")
    # As published: a draw counts as original.
    is_altered = graph.add("Greater", altered, original)
    column = graph.add("Unsqueeze", is_altered, graph.integers(1))
    row = graph.tensor(np.array([[1.0, 0.0]], dtype=np.float32))
    other = graph.tensor(np.array([[0.0, 1.0]], dtype=np.float32))
    chosen = graph.add("Where", column, row, other)  # [N, 2]
    gate = graph.add("Unsqueeze", chosen, graph.integers(2, 3, 4))
    return graph.add("Reshape", graph.add("Mul", halves, gate), graph.integers(0, 2 * HALF, 16, 16))


def _norm_relu(graph: Graph, x: str, state: State, prefix: str, channels: int) -> str:
    scale, shift, mean, variance = (
        _tensor(state, f"{prefix}.{part}", (channels,))
        for part in ("weight", "bias", "running_mean", "running_var")
    )
    normed = graph.batch_norm(
        x, scale=scale, shift=shift, mean=mean, variance=variance, epsilon=BATCH_NORM_EPSILON
    )
    return graph.add("Relu", normed)


def _tensor(state: State, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    if name not in state:
        raise ValueError(f"the checkpoint has no {name}")
    found = state[name]
    if found.shape != shape or found.dtype != np.float32:
        raise ValueError(
            f"want {name} as float32 {list(shape)}, got {found.dtype} {list(found.shape)}"
        )
    return found.astype(np.float32, copy=False)


def _per_channel(values: tuple[float, float, float]) -> NDArray[np.float32]:
    return np.array(values, dtype=np.float32).reshape(1, 3, 1, 1)
