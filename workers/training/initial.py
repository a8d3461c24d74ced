"""Which published weights do networks start from? Read as their authors made the files."""

import math
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from models.convert.mesonet import KerasLayers
from models.nets.meso4 import LAYERS, Meso4
from workers.training.errors import BadRecipe


def load_meso4(network: Meso4, path: Path) -> None:
    """
    Take over the published weights of Meso-4, Keras HDF5, which say *real*; ours say *fake*.

    Raises:
        BadRecipe: there is no such file, or it holds another network.
    """
    try:
        layers = KerasLayers(path.read_bytes())
        with torch.no_grad():
            for layer in network.features:
                if isinstance(layer, nn.Conv2d):
                    weights = layers.next("conv2d")
                    _set(layer.weight, weights["kernel"].transpose(3, 2, 0, 1))
                    _set(layer.bias, weights["bias"])
                elif isinstance(layer, nn.BatchNorm2d):
                    weights = layers.next("batch_normalization")
                    _set(layer.weight, weights["gamma"])
                    _set(layer.bias, weights["beta"])
                    _set(layer.running_mean, weights["moving_mean"])
                    _set(layer.running_var, weights["moving_variance"])
            first, last = (layer for layer in network.head if isinstance(layer, nn.Linear))
            weights = layers.next("dense")
            # Keras flattens with the channels last.
            channels = LAYERS[-1][1]
            side = math.isqrt(first.in_features // channels)
            kernel = weights["kernel"].reshape(side, side, channels, first.out_features)
            _set(first.weight, kernel.transpose(3, 2, 0, 1).reshape(first.out_features, -1))
            _set(first.bias, weights["bias"])
            weights = layers.next("dense")
            _set(last.weight, -weights["kernel"].T)
            _set(last.bias, -weights["bias"])
        layers.check_empty()
    except (OSError, ValueError, KeyError) as wrong:
        raise BadRecipe(f"{path} does not hold the published Meso-4 ({wrong})") from wrong


def _set(place: torch.Tensor | None, value: NDArray[np.float32]) -> None:
    if place is None or tuple(place.shape) != value.shape:
        raise ValueError(f"a weight has shape {value.shape}")
    place.copy_(torch.from_numpy(np.ascontiguousarray(value)))
