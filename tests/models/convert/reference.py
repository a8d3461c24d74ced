"""
What does a layer compute? Plain numpy, written from the definitions, to hold converted networks to.

Pictures are `[C, H, W]` in float64.
"""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def conv(x: Array, kernel: Array, bias: Array, *, stride: int = 1, dilation: int = 1) -> Array:
    """Correlate with `kernel [out, in, k, k]`, zeros around so that stride 1 keeps the size."""
    side = kernel.shape[-1]
    pad = dilation * (side - 1) // 2
    padded = np.pad(x, ((0, 0), (pad, pad), (pad, pad)))
    height, width = x.shape[1:]
    out = np.zeros((kernel.shape[0], height, width))
    for dy in range(side):
        for dx in range(side):
            shifted = padded[
                :, dy * dilation : dy * dilation + height, dx * dilation : dx * dilation + width
            ]
            out += np.tensordot(kernel[:, :, dy, dx], shifted, axes=1)
    return (out + bias[:, None, None])[:, ::stride, ::stride]


def conv_transpose(x: Array, kernel: Array, bias: Array, *, stride: int) -> Array:
    """Spread each pixel over `kernel [in, out, 3, 3]`; the size grows by `stride`."""
    channels, height, width = x.shape
    spread = np.zeros((channels, height * stride, width * stride))
    spread[:, ::stride, ::stride] = x
    turned = kernel.transpose(1, 0, 2, 3)[:, :, ::-1, ::-1]
    return conv(spread, turned, bias)


def batch_norm(
    x: Array, scale: Array, shift: Array, mean: Array, variance: Array, *, epsilon: float
) -> Array:
    """Normalise each channel by stored statistics."""
    by_channel = [a[:, None, None] for a in (scale, shift, mean, variance)]
    return (x - by_channel[2]) / np.sqrt(by_channel[3] + epsilon) * by_channel[0] + by_channel[1]


def relu(x: Array) -> Array:
    """Cut off what is negative."""
    return np.maximum(x, 0)


def max_pool(x: Array, side: int) -> Array:
    """Keep the largest of each block."""
    channels, height, width = x.shape
    blocks = x.reshape(channels, height // side, side, width // side, side)
    return blocks.max(axis=(2, 4))
