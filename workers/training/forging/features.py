"""How alike do two faces look to a network that knows faces? Features of our own classifier."""

from collections.abc import Mapping

import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn
from torch.nn import functional

from app.settings import Settings
from models.nets.mobilenet_v1 import IMAGENET_DEVIATION, IMAGENET_MEAN, MobileNetV1
from workers.kit import build_registry
from workers.training.errors import BadRecipe

NETWORK = "frame_classifier"
SIDE_PX = 144
"""To which faces are scaled; what the shipped classifier's MobileNet learnt at."""
STAGE_WEIGHTS = {0: 0.1, 1: 0.3, 2: 0.1, 4: 0.01}
"""Of the features at strides 2, 4, 8 and 32: those of shaoanlu/faceswap-GAN v2.2 at the same."""
_FIRST = "backbone.stages.0.0.0.weight"


class FrozenFeatures(nn.Module):
    """
    What a MobileNetV1 that tells forged faces from real ones sees; never trained.

    Batch norms were folded into the convolutions when the classifier was exported, so that each
    here has a bias and no norm.

    Args:
        onnx_bytes: a classifier or segmenter of ours, as served: anything with one MobileNetV1.

    Raises:
        BadRecipe: another network.
    """

    def __init__(self, onnx_bytes: bytes) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1))
        self.register_buffer("deviation", torch.tensor(IMAGENET_DEVIATION).view(1, 3, 1, 1))
        self.mean: Tensor
        self.deviation: Tensor
        self.backbone = MobileNetV1()
        _fill(self.backbone, _initialisers(onnx_bytes))
        self.requires_grad_(requires_grad=False).eval()

    def train(self, mode: bool = True) -> "FrozenFeatures":  # noqa: ARG002
        """Stay as it is, whatever is asked."""
        return super().train(mode=False)

    def forward(self, pictures: Tensor) -> list[Tensor]:
        """
        Return the features of each stage, at strides 2 to 32.

        Args:
            pictures: `[N, 3, S, S]` RGB in [0, 1]; scaled to `SIDE_PX`.
        """
        if pictures.shape[-1] != SIDE_PX:
            pictures = functional.interpolate(
                pictures, size=(SIDE_PX, SIDE_PX), mode="bilinear", antialias=True
            )
        return self.backbone.features((pictures - self.mean) / self.deviation)

    def distance(self, drawn: Tensor, target: Tensor) -> Tensor:
        """
        Return how differently two batches of pictures `[N, 3, S, S]` look, a scalar.

        `sum_s w_s mean|IN(f_s(drawn)) - IN(f_s(target))|`, IN making each map of features one of
        mean 0 and variance 1: what matters is where a feature is, not how bright the light was.

        Source: Johnson, Alahi & Fei-Fei, "Perceptual Losses for Real-Time Style Transfer and
        Super-Resolution", ECCV 2016; norm and weights of shaoanlu/faceswap-GAN v2.2.
        """
        with torch.no_grad():
            wanted = self(target)
        found = self(drawn)
        apart = [
            weight
            * functional.l1_loss(
                functional.instance_norm(found[stage]), functional.instance_norm(wanted[stage])
            )
            for stage, weight in STAGE_WEIGHTS.items()
        ]
        return torch.stack(apart).sum()


def load_features(settings: Settings) -> FrozenFeatures:
    """
    Load the features of the classifier that is served.

    Raises:
        ModelUnavailable: it is not there, or other bytes than the manifest pins.
        BadRecipe: it has no MobileNetV1.
    """
    return FrozenFeatures(build_registry(settings).read(NETWORK))


def _initialisers(onnx_bytes: bytes) -> dict[str, Tensor]:
    graph = onnx.load_from_string(onnx_bytes).graph
    return {i.name: torch.from_numpy(numpy_helper.to_array(i).copy()) for i in graph.initializer}


def _fill(backbone: MobileNetV1, known: Mapping[str, Tensor]) -> None:
    """Put exported weights in place, each convolution with what its batch norm did to it."""
    prefix = next((n.removesuffix(_FIRST) for n in known if n.endswith(_FIRST)), None)
    if prefix is None:
        raise BadRecipe(
            f"perceptual features want a network with a MobileNetV1, as {NETWORK} is shipped; set "
            "losses.perceptual to 0 to train without"
        )
    for name, block in list(backbone.named_modules()):
        if not isinstance(block, nn.Sequential):
            continue
        for i, layer in enumerate(block):
            if isinstance(layer, nn.Conv2d):
                weight = f"{prefix}backbone.{name}.{i}.weight"
                _take(layer, known.get(weight), known.get(f"{weight}_bias"))
                block[i + 1] = nn.Identity()


def _take(layer: nn.Conv2d, weight: Tensor | None, bias: Tensor | None) -> None:
    if weight is None or bias is None or weight.shape != layer.weight.shape:
        raise BadRecipe(
            f"perceptual features want a MobileNetV1 of width 0.25 with its norms folded in, as "
            f"{NETWORK} is shipped; set losses.perceptual to 0 to train without"
        )
    layer.weight = nn.Parameter(weight)
    layer.bias = nn.Parameter(bias)
