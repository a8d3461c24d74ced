"""A task that trains in a moment: tell bright pictures from dark ones."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.utils.data import Dataset

from workers.detection.stage import Image
from workers.training.recipe import Recipe
from workers.training.task import Batch, Example, Served

SIDE_PX = 8


def make_recipe(**changes: dict[str, object]) -> Recipe:
    sections: dict[str, dict[str, object]] = {
        "run": {
            "seed": 3,
            "steps": 12,
            "batch": 4,
            "loader_workers": 0,
            "threads": 1,
            "pictures_every": 0,
            "validate_every": 0,
            "log_every": 1,
        },
        "optimiser": {"rate": 0.05, "warmup_steps": 2, "ema": 0.9},
        "data": {"manifest": Path("manifest.csv"), "bank": Path("bank")},
    }
    for name, change in changes.items():
        sections[name] |= change
    return Recipe.model_validate({"task": "tiny", **sections})


class Pictures(Dataset[Example]):
    """Noise about a brightness; example `i` is a pure function of (seed, i)."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def __len__(self) -> int:
        return 2**31 - 1

    def __getitem__(self, i: int) -> Example:
        random = np.random.default_rng((self._seed, i))
        is_bright = int(random.integers(2))
        picture = random.integers(0, 128, (SIDE_PX, SIDE_PX, 3)) + 127 * is_bright
        return {"picture": picture.astype(np.uint8), "is_bright": is_bright, "number": i}


class TinyNet(nn.Module):
    """`[N, H, W, 3]` uint8 -> `[N]` logit; drops out, so that random states matter."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.drop = nn.Dropout(0.3)
        self.head = nn.Linear(8, 1)

    def forward(self, picture: Tensor) -> Tensor:
        x = picture.permute(0, 3, 1, 2).float() / 255
        x = F.relu(self.norm(self.convolution(x)))
        logit: Tensor = self.head(self.drop(x.mean((2, 3))))
        return logit[:, 0]


class TinyTask:
    """Trains `TinyNet`; `spoilt_at` is the number of an example whose loss is no number."""

    def __init__(self, recipe: Recipe | None = None, *, spoilt_at: int = -1) -> None:
        self.recipe = recipe or make_recipe()
        self.seen: list[list[int]] = []
        self._spoilt_at = spoilt_at

    def network(self) -> nn.Module:
        return TinyNet()

    def examples(self) -> Dataset[Example]:
        return Pictures(self.recipe.run.seed)

    def losses(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        self.seen.append(batch["number"].tolist())
        logit = network(batch["picture"])
        entropy = F.binary_cross_entropy_with_logits(logit, batch["is_bright"].float())
        spoilt = torch.where((batch["number"] == self._spoilt_at).any(), torch.nan, 0.0)
        return {"loss": entropy + spoilt, "entropy": entropy}

    def validate(self, network: nn.Module) -> dict[str, float]:
        dataset = Pictures(self.recipe.run.seed + 1)
        shown = torch.from_numpy(np.stack([dataset[i]["picture"] for i in range(32)]))
        wanted = torch.tensor([dataset[i]["is_bright"] for i in range(32)])
        return {"accuracy": float(((network(shown) > 0) == wanted).float().mean())}

    def pictures(self, network: nn.Module, batch: Batch) -> Image:
        return np.concatenate(list(batch["picture"].cpu().numpy()), axis=1)

    def served(self, network: nn.Module) -> Served:
        example = torch.zeros(2, SIDE_PX, SIDE_PX, 3, dtype=torch.uint8)
        return Served(
            module=network.eval(),
            example={"picture": example},
            outputs=("logit",),
            dynamic={"picture": {0: torch.export.Dim("batch", min=1)}},
        )
