"""
How fast does the forger learn, beside a plain textbook version of the same network?

    python -m bench.forger [--side 64] [--width 16] [--latent 256] [--batch 8] [--repeats 5]

Both take the same weights, pictures and losses, and are checked to give the same loss before either
is timed. The plain one is written as a book would: each person passes the encoder alone, the forger
draws once for its critics and once more for itself, a critic is asked for each kind of picture, the
pictures lie plane by plane in memory, losses are worked out person by person, and the optimiser
walks over the weights.

Then 50,000 steps of 16 faces of each person are projected to GPUs, from the operations that a step
was counted to have.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from models.nets.critic import Critic
from models.nets.forger import IDENTITIES, Forger, ForgerShape, SelfAttention
from workers.training.forging.losses import ForgerLosses, Look, LossOptions, faces_of
from workers.training.forging.schedule import Moment
from workers.training.task import Batch

NOW = Moment(rate_share=1, is_adversarial=True, is_perceptual=False, mask_hinge=0.5)
OPTIONS = LossOptions(
    mixup=False
)  # which draws dice, and so would keep the two from being compared
RATE = 1e-4
PROJECTED_STEPS, PROJECTED_BATCH = 50_000, 16
SHARE_OF_PEAK = 0.25
LAUNCH_S = 10e-6
BYTES_PER_WEIGHT = 28  # weight, gradient, two moments read; weight and two moments written; fp32


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """What its maker states, fp32 without tensor cores."""

    name: str
    flop_s: float
    bytes_s: float


GPUS = (
    Gpu(name="V100", flop_s=15.7e12, bytes_s=0.9e12),
    Gpu(name="H200", flop_s=67e12, bytes_s=4.8e12),
)
SHAPES = (
    ("as timed on a CPU", ForgerShape(width=16, latent=256)),
    ("default", ForgerShape()),
    ("the literature's", ForgerShape(width=64, latent=1024)),
    ("default, 128 px", ForgerShape(side_px=128)),
)


class PlainForger(nn.Module):
    """The same layers in the same order, as one would write them down."""

    def __init__(self, side_px: int, width: int, latent: int) -> None:
        super().__init__()
        strides = [1, 2, 2, 2, 2] if side_px == 64 else [2, 2, 2, 2, 2]
        layers: list[nn.Module] = []
        into, channels = 3, width
        for i, stride in enumerate(strides):
            layers += [nn.Conv2d(into, channels, 5, stride, 2), nn.LeakyReLU(0.2)]
            if i in (2, 3):
                layers.append(PlainAttention(channels))
            into, channels = channels, 2 * channels
        dense = [nn.Linear(into * 16, latent), nn.Linear(latent, into * 16)]
        self.encoder = nn.Sequential(
            *layers, nn.Flatten(), *dense, nn.Unflatten(1, (into, 4, 4)), *upscale(into)
        )
        self.decoders = nn.ModuleDict({name: plain_decoder(side_px, into // 2) for name in "ab"})

    def forward(self, distorted: Tensor, to: str) -> tuple[Tensor, Tensor, Tensor]:
        """Return face, mask and picture."""
        drawn = torch.sigmoid(self.decoders[to](self.encoder(distorted)))
        face, mask = drawn[:, :3], drawn[:, 3:]
        return face, mask, mask * face + (1 - mask) * distorted


class PlainAttention(nn.Module):
    """Self-attention, formula by formula."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(()))
        self.query = nn.Conv2d(channels, channels // 8, 1, bias=False)
        self.key_value = nn.Conv2d(channels, channels // 8 + channels // 2, 1, bias=False)
        self.out = nn.Conv2d(channels // 2, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return features of the same shape."""
        count, channels, height, width = x.shape
        query = self.query(x).view(count, -1, height * width)
        key_value = functional.max_pool2d(self.key_value(x), height // 8)
        key, value = torch.split(key_value.flatten(2), [channels // 8, channels // 2], 1)
        energy = torch.bmm(query.permute(0, 2, 1), key)
        attention = torch.softmax(energy, dim=-1)
        looked = torch.bmm(value, attention.permute(0, 2, 1))
        y: Tensor = x + self.gamma * self.out(looked.view(count, -1, height, width))
        return y


def upscale(into: int) -> list[nn.Module]:
    """Halve the channels and double the side."""
    return [nn.Conv2d(into, 2 * into, 3, padding=1), nn.LeakyReLU(0.2), nn.PixelShuffle(2)]


def plain_decoder(side_px: int, channels: int) -> nn.Sequential:
    """Write down one decoder."""
    layers: list[nn.Module] = []
    for i in range(3 if side_px == 64 else 4):
        layers += upscale(channels)
        channels //= 2
        if i == 1:
            layers.append(PlainAttention(channels))
    return nn.Sequential(*layers, nn.Conv2d(channels, 4, 5, padding=2))


class Ours:
    """One step as `workers.training.loop` takes it."""

    def __init__(self, shape: ForgerShape) -> None:
        torch.manual_seed(0)
        self.forger = Forger(shape)
        for module in self.forger.modules():
            if isinstance(module, SelfAttention):
                nn.init.constant_(module.gamma, 0.1)  # at nought, attention could not be compared
        self.critics = nn.ModuleDict({n: Critic(shape.side_px, shape.width) for n in IDENTITIES})
        for part in (self.forger, self.critics):
            part.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._losses = ForgerLosses(OPTIONS)
        self._optimisers: dict[nn.Module, torch.optim.Optimizer] = {
            part: torch.optim.AdamW(part.parameters(), RATE, fused=True)
            for part in (self.critics, self.forger)
        }

    def step(self, batch: Batch) -> float:
        """Let the critics learn, then the forger; return its loss."""
        look = self._losses.look(self.forger, batch)
        self._go(self.critics, self._losses.for_critics(self.critics, look, NOW)["loss"])
        loss = self.loss(look)
        self._go(self.forger, loss)
        return loss.item()

    def loss(self, look: Look) -> Tensor:
        """Return the forger's loss."""
        return self._losses.for_forger(self.forger, self.critics, look, NOW)["loss"]

    def look(self, batch: Batch) -> Look:
        """Draw."""
        return self._losses.look(self.forger, batch)

    def _go(self, part: nn.Module, loss: Tensor) -> None:
        optimiser = self._optimisers[part]
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss, inputs=list(part.parameters()))
        optimiser.step()


class Plain:
    """One step as a textbook has it: Goodfellow et al., 2014, algorithm 1, for each person."""

    def __init__(self, shape: ForgerShape, like: Ours) -> None:
        self.forger = PlainForger(shape.side_px, shape.width, shape.latent)
        own = self.forger.state_dict()
        given = like.forger.state_dict().values()  # the same layers in the same order
        self.forger.load_state_dict(dict(zip(own, given, strict=True)))
        self.critics = nn.ModuleDict({n: Critic(shape.side_px, shape.width) for n in IDENTITIES})
        self.critics.load_state_dict(like.critics.state_dict())
        self._forgers = torch.optim.AdamW(self.forger.parameters(), RATE)
        self._critics = torch.optim.AdamW(self.critics.parameters(), RATE)

    def step(self, batch: Batch) -> float:
        """Let the critics learn, then the forger; return its loss."""
        self._critics.zero_grad()
        critics = torch.zeros(())
        for name in IDENTITIES:
            distorted, target, _ = plain_faces(batch, name)
            with torch.no_grad():
                face, _, picture = self.forger(distorted, name)
            critic = self.critics[name]
            real = (critic(target, distorted) - 1).square().mean() / 2
            for fake in (picture, face):
                critics = critics + critic(fake, distorted).square().mean() / 4
            critics = critics + real
        torch.autograd.backward(critics / 2)
        self._critics.step()
        self._forgers.zero_grad()
        loss = self.loss(batch)
        torch.autograd.backward(loss)
        self._forgers.step()
        return loss.item()

    def loss(self, batch: Batch) -> Tensor:
        """Return the forger's loss."""
        total = torch.zeros(())
        for name in IDENTITIES:
            distorted, target, weight = plain_faces(batch, name)
            face, mask, picture = self.forger(distorted, name)
            for drawn in (picture, face):
                total = (
                    total + OPTIONS.reconstruction / 2 * (weight * (drawn - target).abs()).mean()
                )
                for axis in (2, 3):
                    slopes = drawn.diff(dim=axis) - target.diff(dim=axis)
                    counts = weight.narrow(axis, 1, weight.shape[axis] - 1)
                    total = total + OPTIONS.edge / 2 * (counts * slopes.abs()).mean()
                said = self.critics[name](drawn, distorted)
                total = total + OPTIONS.adversarial / 2 * (said - 1).square().mean() / 2
            total = total + OPTIONS.mask_hinge * functional.relu(NOW.mask_hinge - mask).mean()
            for axis in (2, 3):
                total = total + OPTIONS.mask_variation * mask.diff(dim=axis).abs().mean()
        return total / 2


def plain_faces(batch: Batch, name: Literal["a", "b"]) -> tuple[Tensor, Tensor, Tensor]:
    """Return distorted, target and weight, plane by plane."""
    faces = faces_of(batch, name)
    weight = 1 + OPTIONS.eyes * faces.eyes + OPTIONS.mouth * faces.mouth
    return faces.distorted.contiguous(), faces.target.contiguous(), weight


class Launches(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts what would be sent to a GPU one by one."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count = 0

    def __torch_dispatch__(
        self,
        func: OpOverload,
        types: object,
        args: tuple[object, ...] = (),
        kwargs: dict[str, object] | None = None,
    ) -> object:
        """Count one operator; those that only look at memory differently are free."""
        self.count += not func.is_view
        return func(*args, **(kwargs or {}))


def make_batch(count: int, side_px: int) -> Batch:
    """Noise, of the shapes that faces have."""
    dice = torch.Generator().manual_seed(0)
    batch: Batch = {}
    size = (count, side_px, side_px, 3)
    for name in IDENTITIES:
        for kind in ("distorted", "target"):
            batch[f"{name}_{kind}"] = torch.randint(0, 256, size, generator=dice, dtype=torch.uint8)
        for kind in ("eyes", "mouth"):
            region = torch.randint(0, 256, size[:-1], generator=dice, dtype=torch.uint8)
            batch[f"{name}_{kind}"] = region
    return batch


def main() -> None:
    """Compare, measure, project and print."""
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument("--side", type=int, default=64, choices=(64, 128))
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--latent", type=int, default=256)
    parser.add_argument("--batch", type=int, default=8, help="faces of each person in a step")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    shape = ForgerShape(side_px=arguments.side, width=arguments.width, latent=arguments.latent)
    compare(shape, arguments.batch, arguments.repeats)
    for words, projected in SHAPES:
        project(words, projected)


def compare(shape: ForgerShape, count: int, repeats: int) -> None:
    """Print steps a second of both, in turns, so that a busy machine is busy for both."""
    batch = make_batch(count, shape.side_px)
    ours = Ours(shape)
    plain = Plain(shape, ours)
    difference = abs(float((ours.loss(ours.look(batch)) - plain.loss(batch)).detach()))
    assert difference < 1e-5, f"the two are not the same network: losses differ by {difference}"
    steps: dict[str, Callable[[Batch], float]] = {"textbook": plain.step, "ours": ours.step}
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    costs: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(repeats):
        for name, step in steps.items():
            started, cpu_started = time.perf_counter(), time.process_time()
            step(batch)
            seconds[name].append(time.perf_counter() - started)
            costs[name].append(time.process_time() - cpu_started)
    print(
        f"{shape.side_px} px, width {shape.width}, latent {shape.latent}, {count} + {count} faces, "
        f"{torch.get_num_threads()} thread(s); losses alike to {difference:.1e}"
    )
    median_s, cpu_s = ({n: statistics.median(s) for n, s in d.items()} for d in (seconds, costs))
    for name in steps:
        print(
            f"{name:10} {1 / median_s[name]:6.2f} steps/s, "
            f"{median_s['textbook'] / median_s[name]:5.2f} of textbook   "
            f"{1000 * cpu_s[name]:6.0f} ms of CPU a step, "
            f"{cpu_s['textbook'] / cpu_s[name]:5.2f} of textbook"
        )


def project(words: str, shape: ForgerShape) -> None:
    """Print how long a long training would take on GPUs that are not here."""
    ours = Ours(shape)
    batch = make_batch(1, shape.side_px)
    ours.step(batch)  # optimisers make their moments at the first
    with FlopCounterMode(display=False) as flops, Launches() as launches:
        ours.step(batch)
    flop = flops.get_total_flops() * PROJECTED_BATCH
    weights = sum(p.numel() for part in (ours.forger, ours.critics) for p in part.parameters())
    print(
        f"{words}: {shape.side_px} px, width {shape.width}, latent {shape.latent}; "
        f"{weights / 1e6:.1f} million weights, {flop / 2e9:.0f} billion multiply-adds and "
        f"{launches.count} operators a step of {PROJECTED_BATCH} + {PROJECTED_BATCH} faces"
    )
    for gpu in GPUS:
        computing_s = flop / (SHARE_OF_PEAK * gpu.flop_s) + weights * BYTES_PER_WEIGHT / gpu.bytes_s
        waiting_s = launches.count * LAUNCH_S
        hours = max(computing_s, waiting_s) * PROJECTED_STEPS / 3600
        bound = "computing" if computing_s > waiting_s else "launching"
        print(
            f"    {gpu.name}: {hours:4.1f} h for {PROJECTED_STEPS:,} steps, if a step reaches "
            f"{SHARE_OF_PEAK:.0%} of {gpu.flop_s / 1e12:.1f} TFLOP/s in fp32 and an operator takes "
            f"{LAUNCH_S * 1e6:.0f} us to launch; bound by {bound}"
        )


if __name__ == "__main__":
    main()
