"""Does a network that was just loaded answer as it did when it was added?"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from models.manifest import Canary, Expected

Array = NDArray[np.generic]
Run = Callable[[Mapping[str, Array]], Sequence[Array]]


def canary_input(canary: Canary) -> Array:
    """
    Make the input: a ramp along each axis, wrapped at 256.

    The element at index `i, j, k, ...` is `(i * steps[0] + j * steps[1] + ...) % 256`, divided by
    `divide_by` where the input is not uint8. Integers only, so it is the same on every machine.
    """
    if len(canary.steps) != len(canary.shape):
        raise ValueError(f"want {len(canary.shape)} steps, got {len(canary.steps)}")
    total = np.zeros(canary.shape, dtype=np.int64)
    for axis, (size, step) in enumerate(zip(canary.shape, canary.steps, strict=True)):
        ramp = np.arange(size, dtype=np.int64) * step
        total += ramp.reshape([-1 if a == axis else 1 for a in range(len(canary.shape))])
    pixels = total % 256
    if canary.dtype == "uint8":
        return pixels.astype(np.uint8)
    return (pixels / canary.divide_by).astype(np.float32)


def differences(canary: Canary, output_names: Sequence[str], run: Run) -> list[str]:
    """Run the canary; say in words what is not as expected, nothing if all is well."""
    found = dict(zip(output_names, run({canary.input: canary_input(canary)}), strict=True))
    return [words for e in canary.expected if (words := _difference(canary, e, found))]


def _difference(canary: Canary, expected: Expected, found: Mapping[str, Array]) -> str | None:
    if expected.output not in found:
        return f"no output {expected.output}; it has {sorted(found)}"
    array = found[expected.output].astype(np.float64)
    if array.shape != expected.shape:
        return f"{expected.output}: want shape {expected.shape}, got {array.shape}"
    for what, want, got in (
        ("mean", expected.mean, float(array.mean())),
        ("deviation", expected.deviation, float(array.std())),
    ):
        # Written so that NaN fails.
        if not abs(got - want) <= canary.tolerance:
            return (
                f"{expected.output}: want {what} {want:.6g} +- {canary.tolerance:g}, got {got:.6g}"
            )
    return None
