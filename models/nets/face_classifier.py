"""Was the face in this picture manipulated? A small network over features of several depths."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.nets.meso4 import SERVED_PX, Meso4
from models.nets.mobilenet_v1 import MobileNetV1, Normalise


class FaceClassifier(nn.Module):
    """
    One number a face: log odds of manipulated.

    Traces of a forgery are small and lie anywhere in the face, so features are averaged over the
    picture at every depth from stride 8 on; deep ones alone have forgotten fine detail.

    Args:
        view_px: side of the middle of the served crop that is looked at; the face fills 197 px.
        side_px: to which the view is scaled before the network; equal to `view_px` leaves every
            pixel as it was.
        dropout: share of the averaged features that is left out in training.
        depths: how many of the last stages are averaged; 1 is the usual head.
        frozen_stages: how many of the first stages stay as they are, their statistics too.

    Source of the backbone: Howard et al., "MobileNets", 2017.
    """

    def __init__(
        self,
        *,
        view_px: int = 224,
        side_px: int = 224,
        dropout: float = 0.2,
        depths: int = 3,
        frozen_stages: int = 0,
    ) -> None:
        super().__init__()
        self.normalise = Normalise()
        self.backbone = MobileNetV1()
        self.depths = depths
        self.view_px = view_px
        self.side_px = side_px
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(sum(self.backbone.channels[-depths:]), 1)
        nn.init.zeros_(self.head.bias)
        self._frozen = list(self.backbone.stages)[:frozen_stages]
        for stage in self._frozen:
            stage.requires_grad_(requires_grad=False)

    def train(self, mode: bool = True) -> "FaceClassifier":
        """Switch between learning and judging; what is frozen goes on judging."""
        super().train(mode)
        for stage in self._frozen:
            stage.eval()
        return self

    def forward(self, views: Tensor) -> Tensor:
        """
        Judge views that are cut and scaled already.

        Args:
            views: uint8 `[N, side_px, side_px, 3]` RGB.

        Returns:
            `[N]` log odds of manipulated.
        """
        features = self.backbone.features(self.normalise(views))[-self.depths :]
        averaged = torch.cat([f.mean(dim=(2, 3)) for f in features], dim=1)
        logits: Tensor = self.head(self.dropout(averaged))
        return logits.squeeze(1)


class ServedClassifier(nn.Module):
    """The classifier as it is served: `faces` uint8 `[N, 256, 256, 3]` -> `fake_logit` `[N]`."""

    def __init__(self, classifier: FaceClassifier | Meso4) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, faces: Tensor) -> Tensor:
        """Cut the view out of served crops and judge it."""
        low = (SERVED_PX - self.classifier.view_px) // 2
        high = low + self.classifier.view_px
        view = faces[:, low:high, low:high, :]
        if self.classifier.side_px != self.classifier.view_px:
            side_px = self.classifier.side_px
            view = functional.interpolate(
                view.permute(0, 3, 1, 2).float(),
                size=(side_px, side_px),
                mode="bilinear",
                antialias=True,
            ).permute(0, 2, 3, 1)
        logits: Tensor = self.classifier(view)
        return logits


class Committee(nn.Module):
    """
    Classifiers that judge together: `faces` uint8 `[N, 256, 256, 3]` -> `fake_logit` `[N]`.

    Args:
        members: as each is served.
        weights: of the log odds of each in the sum.
    """

    def __init__(self, members: Sequence[ServedClassifier], weights: Sequence[float]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self._weights = tuple(weights)

    def forward(self, faces: Tensor) -> Tensor:
        """Judge served crops."""
        logits = [
            weight * member(faces)
            for weight, member in zip(self._weights, self.members, strict=True)
        ]
        return torch.stack(logits).sum(dim=0)
