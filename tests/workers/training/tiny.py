"""Tasks that train in a moment: tell bright pictures from dark ones, and draw like them."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.utils.data import Dataset

from workers.detection.stage import Image
from workers.training.recipe import Recipe
from workers.training.task import Batch, Example, Part, Served, Turn

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


class TinyGame:
    """
    A drawer of brightnesses against a judge of them, who has two turns at every step.

    Args:
        judged_from: share of the run that the judge sits out.
        exchange_at: step before which the drawer is changed, as planned.
        spoilt_at: the number of an example with which the drawer's loss is no number.
    """

    def __init__(
        self,
        recipe: Recipe | None = None,
        *,
        judged_from: float = 0.0,
        exchange_at: int = -1,
        spoilt_at: int = -1,
    ) -> None:
        self.recipe = recipe or make_recipe()
        self.played: list[str] = []
        self._judged_from, self._exchange_at = judged_from, exchange_at
        self._spoilt_at = spoilt_at

    def network(self) -> nn.Module:
        return nn.ModuleDict({"judge": nn.Linear(1, 1), "drawer": nn.Linear(1, 1)})

    def parts(self, network: nn.Module) -> list[Part]:
        assert isinstance(network, nn.ModuleDict)
        return [
            Part(name="judge", module=network["judge"], rate_share=2.0),
            Part(name="drawer", module=network["drawer"]),
        ]

    def examples(self) -> Dataset[Example]:
        return Pictures(self.recipe.run.seed)

    def turns(self, network: nn.Module, batch: Batch, *, done: float) -> Iterator[Turn]:
        assert isinstance(network, nn.ModuleDict)
        real = batch["picture"].float().mean((1, 2, 3))[:, None] / 255
        drawn = network["drawer"](torch.randn_like(real))
        is_on = done >= self._judged_from
        for _ in range(2):
            self.played.append("judge")
            judged = network["judge"](drawn.detach()).mean() - network["judge"](real).mean()
            yield Turn("judge", {"loss": judged.abs() if is_on else torch.zeros(())})
        self.played.append("drawer")
        spoilt = torch.where((batch["number"] == self._spoilt_at).any(), torch.nan, 0.0)
        distance = (drawn - real).square().mean()
        fooled = -network["judge"](drawn).mean() if is_on else torch.zeros(())
        yield Turn("drawer", {"loss": distance + 0.01 * fooled + spoilt, "fooled": fooled})

    def rate_share(self, done: float) -> float:
        return 0.5 if done >= 0.5 else 1.0

    def before_step(self, network: nn.Module, step: int) -> None:
        if step == self._exchange_at:
            assert isinstance(network, nn.ModuleDict)
            network["drawer"].bias.data.add_(100.0)

    def validate(self, network: nn.Module) -> dict[str, float]:
        assert isinstance(network, nn.ModuleDict)
        return {"drawn": float(network["drawer"](torch.zeros(1, 1)))}

    def pictures(self, _network: nn.Module, batch: Batch) -> Image:
        return batch["picture"][0].cpu().numpy()
