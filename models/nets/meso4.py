"""Was the face in this picture manipulated? Meso-4: few, large kernels on every pixel served."""

import torch
from torch import Tensor, nn

SERVED_PX = 256
BATCH_NORM_EPSILON = 1e-3
LEAK = 0.1
# Kernel, channels and pooling of each convolution.
LAYERS = ((3, 8, 2), (5, 8, 2), (5, 16, 2), (5, 16, 4))
DENSE = 16


class Meso4(nn.Module):
    """
    One number a face: log odds of manipulated. 28,000 weights.

    Args:
        dropout: share of the features that is left out in training, before each dense layer.

    Source: Afchar, Nozick, Yamagishi & Echizen, "MesoNet: a Compact Facial Video Forgery Detection
    Network", WIFS 2018.
    """

    view_px = side_px = SERVED_PX

    def __init__(self, *, dropout: float = 0.5) -> None:
        super().__init__()
        into = 3
        layers: list[nn.Module] = []
        for kernel, channels, pool in LAYERS:
            layers += [
                nn.Conv2d(into, channels, kernel, padding=kernel // 2),
                nn.ReLU(inplace=True),
                nn.BatchNorm2d(channels, eps=BATCH_NORM_EPSILON),
                nn.MaxPool2d(pool),
            ]
            into = channels
        self.features = nn.Sequential(*layers)
        left_px = SERVED_PX
        for _, _, pool in LAYERS:
            left_px //= pool
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Dropout(dropout),
            nn.Linear(into * left_px**2, DENSE),
            nn.LeakyReLU(LEAK),
            nn.Dropout(dropout),
            nn.Linear(DENSE, 1),
        )

    def forward(self, views: Tensor) -> Tensor:
        """
        Judge served crops.

        Args:
            views: uint8 `[N, 256, 256, 3]` RGB.

        Returns:
            `[N]` log odds of manipulated.
        """
        pictures = views.permute(0, 3, 1, 2).to(torch.float32) / 255
        logits: Tensor = self.head(self.features(pictures))
        return logits.squeeze(1)
