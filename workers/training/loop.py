"""
How is any network trained? One loop for a CPU, a GPU and several.

A run is a function of its recipe and its data: step `s` of process `r` of `n` sees the examples
`(s * n + r) * batch` and on, each a pure function of the seed and its number, and torch is seeded
before every step from the seed, the step and the process. So a run that was stopped goes on as if
it had not been.

A step has one turn, in which all weights learn, or several, in which the parts of a network learn
one after another, such as a forger and its critics. Each part has an optimiser of its own.

The weights that come out are a running mean over the steps, in fp32.
"""

import math
import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from ctypes import c_bool
from functools import partial
from multiprocessing.sharedctypes import RawValue
from pathlib import Path
from types import FrameType

import cv2
import torch
from rich.console import Console
from torch import Tensor, nn
from torch.optim import AdamW
from torch.optim.swa_utils import get_ema_multi_avg_fn
from torch.utils.data import DataLoader, Sampler

from workers.training import checkpoints
from workers.training.checkpoints import Checkpoint
from workers.training.errors import Interrupted, NonFiniteLoss
from workers.training.history import History
from workers.training.processes import Place, joined
from workers.training.progress import TrainingProgress
from workers.training.recipe import OptimiserOptions, RunOptions
from workers.training.task import Batch, Game, Part, PlainTask, Turn

LOSS = "loss"
RECIPE_FILE = "recipe.json"
HISTORY_FILE = "metrics.csv"
VALIDATION_FILE = "validation.csv"
PICTURES = "pictures"

AHEAD = 4
"""Batches that each loader process makes before they are asked for."""


def train(
    task: PlainTask | Game,
    folder: Path,
    *,
    console: Console,
    stop_after_steps: int | None = None,
) -> nn.Module:
    """
    Train a network, from the checkpoint in `folder` where there is one.

    Args:
        folder: of this run; made where it is not there. Gets `recipe.json`, `checkpoint.pt`,
            `metrics.csv`, `validation.csv`, `pictures/` and at the end `network.pt`.
        stop_after_steps: stop after so many steps of this sitting, with a checkpoint.

    Returns:
        The running mean of the network, on the CPU and at rest.

    Raises:
        BadCheckpoint: the checkpoint in `folder` is damaged, or of another recipe.
        NonFiniteLoss: before the step that would have spoilt the weights.
        Interrupted: SIGINT or SIGTERM came; a checkpoint was written.
        InsufficientStorage: a checkpoint cannot be written; the last one is whole.
    """
    with joined() as place, _stop_signals() as stop:
        sitting = _Sitting(task, folder, place, console)
        last = task.recipe.run.steps
        if stop_after_steps is not None:
            last = min(last, sitting.step + stop_after_steps)
        if sitting.step < last:
            sitting.run(last, stop)
        return sitting.finished()


def learning_rate(step: int, steps: int, options: OptimiserOptions) -> float:
    """Return the rate of one step, the first being 0: a linear warm-up, then half a cosine."""
    if step < options.warmup_steps:
        return options.rate * (step + 1) / options.warmup_steps
    way = (step - options.warmup_steps) / max(1, steps - options.warmup_steps)
    least = options.final_rate_share
    return options.rate * (least + (1 - least) * (1 + math.cos(math.pi * way)) / 2)


class RunningMean:
    """
    The mean of a network's weights over its last steps, in fp32, in a network of its own.

    The mean of early steps is over few, as in TensorFlow's ExponentialMovingAverage: of step `n` it
    keeps (1 + n) / (10 + n) of what it was, and `keep` at most.
    """

    def __init__(self, network: nn.Module, *, keep: float) -> None:
        self.network = deepcopy(network).float().requires_grad_(requires_grad=False).eval()
        self._keep = keep
        # Walking through the modules at every step would take longer than the means do.
        self._means, self._weights = (list(n.parameters()) for n in (self.network, network))
        self._kept, self._buffers = (list(n.buffers()) for n in (self.network, network))

    @torch.no_grad()
    def update(self, *, step: int) -> None:
        """Take in the weights as they are after `step` steps; other state is copied."""
        keep = min(self._keep, (1 + step) / (10 + step))
        get_ema_multi_avg_fn(keep)(self._means, self._weights, step)  # type: ignore[no-untyped-call]
        for kept, buffer in zip(self._kept, self._buffers, strict=True):
            kept.copy_(buffer)


class _Losses(nn.Module):
    """The network and what is wanted of it as one module, so that one forward serves them all.

    Several processes share gradients after exactly one forward of what they wrap; a task may ask
    its network as often as it likes, and by any of its methods.
    """

    def __init__(self, task: PlainTask, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self._task = task

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        return self._task.losses(self.network, batch)


class _OneTurn:
    """A plain task as a game: one part, whose turn it always is."""

    def __init__(self, task: PlainTask, network: nn.Module, place: Place) -> None:
        self._whole = Part(name="network", module=network)
        self._losses = place.together(_Losses(task, network))

    def parts(self, _network: nn.Module) -> Sequence[Part]:
        return (self._whole,)

    def turns(self, _network: nn.Module, batch: Batch, *, done: float) -> Iterator[Turn]:  # noqa: ARG002
        yield Turn(self._whole.name, self._losses(batch))

    def rate_share(self, _done: float) -> float:
        return 1.0

    def before_step(self, network: nn.Module, step: int) -> None:
        """Nothing is planned."""


class _Learner:
    """
    One part of a network, and what moves its weights.

    Args:
        logged_as: stands before the names of what is logged.
        place: whose other processes' gradients are to be waited for; None where that is seen to.
    """

    def __init__(
        self, part: Part, options: OptimiserOptions, *, logged_as: str, place: Place | None
    ) -> None:
        self.optimiser = _optimiser(part.module, options)
        self.rate = 0.0  # of the last step
        self._weights = [w for w in part.module.parameters() if w.requires_grad]
        self._rate_share, self._clip_norm = part.rate_share, options.clip_norm
        self._logged_as, self._place = logged_as, place

    def look(self, losses: dict[str, Tensor]) -> dict[str, float]:
        """Find the way down; return every loss, and the norm of the gradient before clipping."""
        self.optimiser.zero_grad(set_to_none=True)
        loss = losses[LOSS]
        norm = loss.new_zeros(())
        if loss.requires_grad:
            # Its loss may pass through other parts, which then need no gradients.
            torch.autograd.backward(loss, inputs=self._weights if self._place else None)
            if self._place is not None:
                self._place.share_gradients(self._weights)
            norm = nn.utils.clip_grad_norm_(self._weights, self._clip_norm)
        # One transfer for all of them: on a GPU, each would wait for the step to end.
        scalars = torch.stack([v.detach().float() for v in (*losses.values(), norm)]).tolist()
        names = (f"{self._logged_as}{name}" for name in (*losses, "gradient_norm"))
        return dict(zip(names, scalars, strict=True))

    def go(self, *, rate: float) -> None:
        """Take the step, where there is one to be taken."""
        self.rate = rate * self._rate_share
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate
        self.optimiser.step()


class _Batches(Sampler[list[int]]):
    """The numbers of the examples of each step, from one step to another."""

    def __init__(self, run: RunOptions, place: Place, *, first: int, end: int) -> None:
        self._run = run
        self._place = place
        self._steps = range(first, end)

    def of_step(self, step: int) -> range:
        """Return the numbers that this process takes at a step."""
        start = (step * self._place.processes + self._place.rank) * self._run.batch
        return range(start, start + self._run.batch)

    def __iter__(self) -> Iterator[list[int]]:
        return (list(self.of_step(step)) for step in self._steps)

    def __len__(self) -> int:
        return len(self._steps)


class _Sitting:
    """One stretch of a run, from where the last one ended."""

    def __init__(
        self, task: PlainTask | Game, folder: Path, place: Place, console: Console
    ) -> None:
        self._task, self._folder, self._place, self._console = task, folder, place, console
        self._run, self._options = task.recipe.run, task.recipe.optimiser
        if self._run.threads:
            torch.set_num_threads(self._run.threads)
        recipe = task.recipe.canonical()
        found = checkpoints.load(folder)
        if found is not None:
            checkpoints.check_same_run(found, recipe, processes=place.processes, folder=folder)
        torch.manual_seed(self._run.seed)
        network = _laid_out(task.network().to(place.device), torch.channels_last)
        self._network = network
        self._game = task if isinstance(task, Game) else _OneTurn(task, network, place)
        *others, main = self._game.parts(network)
        self._learners = {
            part.name: _Learner(
                part,
                self._options,
                logged_as="" if part is main else f"{part.name}_",
                place=place if self._game is task else None,
            )
            for part in (*others, main)
        }
        self._main = self._learners[main.name]
        self._average = RunningMean(network, keep=self._options.ema)
        self._window: dict[str, float] = {}
        self.step = 0
        self._seconds = self._waiting_s = 0.0
        if found is not None:
            self._restore(found)
        if place.writes:
            folder.mkdir(parents=True, exist_ok=True)
            checkpoints.replace_file(folder / RECIPE_FILE, recipe.encode())
            self._history = History(folder / HISTORY_FILE, step=self.step)
            self._validation = History(folder / VALIDATION_FILE, step=self.step)

    def run(self, last: int, stop: "_Stop") -> None:
        """Train until `last` steps are done, or until told to stop."""
        numbers = _Batches(self._run, self._place, first=self.step, end=self._run.steps)
        progress = TrainingProgress(
            self._console if self._place.writes else Console(quiet=True),
            what=self._task.recipe.task,
            done=self.step,
            steps=self._run.steps,
        )
        if self.step:
            progress.say(f"going on from step {self.step} of {self._run.steps}")
        saved_s = time.monotonic()
        self._network.train()
        # The loaders are forked before the bar has a thread, whose locks they would keep for ever.
        with self._batches(numbers) as batches, progress:
            while self.step < last:
                started_s = time.monotonic()
                batch = next(batches)
                waited_s = time.monotonic() - started_s
                batch = {k: v.to(self._place.device, non_blocking=True) for k, v in batch.items()}
                values = self._one_step(batch, numbers)
                if self._place.writes:
                    seconds = time.monotonic() - started_s
                    self._count(values, batch, seconds=seconds, waited_s=waited_s)
                    self._write(batch, progress)
                is_stopped = self._place.any(stop.is_asked)
                is_due = time.monotonic() - saved_s >= self._run.checkpoint_every_s
                if is_stopped or is_due or self.step == last:
                    self._save()
                    saved_s = time.monotonic()
                if is_stopped and self.step < last:
                    raise Interrupted(
                        f"stopped at step {self.step} of {self._run.steps}, with a checkpoint in "
                        f"{self._folder}; run the same command again to go on"
                    )

    def finished(self) -> nn.Module:
        """Return the running mean; write it too, where the run is at its end."""
        network = _laid_out(self._average.network.cpu(), torch.contiguous_format)
        if self._place.writes and self.step == self._run.steps:
            checkpoints.save_network(self._folder, network.state_dict())
        return network

    @contextmanager
    def _batches(self, numbers: _Batches) -> Iterator[Iterator[Batch]]:
        """Make batches, in processes beside this one where the recipe asks for that."""
        workers = self._run.loader_workers
        is_over = RawValue(c_bool, False)
        loader: DataLoader[Batch] = DataLoader(
            self._task.examples(),  # type: ignore[arg-type]  # collation makes batches of them
            batch_sampler=numbers,
            num_workers=workers,
            prefetch_factor=AHEAD if workers else None,
            worker_init_fn=partial(_start_loader, is_over) if workers else None,
            pin_memory=self._place.device.type == "cuda",
        )
        try:
            yield iter(loader)
        finally:
            is_over.value = True

    def _one_step(self, batch: Batch, numbers: _Batches) -> dict[str, float]:
        """Learn from a batch, turn by turn; return what is to be logged."""
        torch.manual_seed(_seed_of(self._run.seed, self.step, self._place.rank))
        for network in (self._network, self._average.network):
            self._game.before_step(network, self.step)
        done = self.step / self._run.steps
        rate = learning_rate(self.step, self._run.steps, self._options)
        rate *= self._game.rate_share(done)
        turns = self._game.turns(self._network, batch, done=done)
        values: dict[str, float] = {}
        while (turn := self._next(turns)) is not None:
            learner = self._learners[turn.part]
            found = learner.look(turn.losses)
            if not all(map(math.isfinite, found.values())):
                raise self._non_finite(found, numbers.of_step(self.step))
            learner.go(rate=rate)
            values |= found
        self.step += 1
        self._average.update(step=self.step)
        return values

    def _next(self, turns: Iterator[Turn]) -> Turn | None:
        with self._autocast():
            return next(turns, None)

    def _non_finite(self, values: dict[str, float], numbers: range) -> NonFiniteLoss:
        found = checkpoints.load(self._folder)
        last = "there is no checkpoint yet"
        if found is not None:
            last = f"the last checkpoint, of step {found.step}, is whole: {self._folder}"
        said = ", ".join(f"{name} {value:g}" for name, value in values.items())
        return NonFiniteLoss(
            f"step {self.step + 1}: {said}; stopped before that was learnt, and nothing of this "
            f"step is kept. Made by the examples {numbers.start} to {numbers.stop - 1} of seed "
            f"{self._run.seed}; {last}. Look at those examples; if they are sound, try a lower "
            "optimiser.rate"
        )

    def _count(
        self, values: dict[str, float], batch: Batch, *, seconds: float, waited_s: float
    ) -> None:
        sums = {**values, "steps": 1.0, "images": _images(batch) * self._place.processes}
        for name, value in (sums | {"seconds": seconds, "waiting_s": waited_s}).items():
            self._window[name] = self._window.get(name, 0.0) + value
        self._seconds += seconds
        self._waiting_s += waited_s

    def _write(self, batch: Batch, progress: TrainingProgress) -> None:
        """Show and log what is due after this step."""
        is_last = self.step == self._run.steps
        sums = self._window
        images_per_s = sums["images"] / sums["seconds"]
        progress.show(
            self.step,
            loss=sums[LOSS] / sums["steps"],
            images_per_s=images_per_s,
            waiting_share=sums["waiting_s"] / sums["seconds"],
        )
        if self.step % self._run.log_every == 0 or is_last:
            no_means = {"steps", "images", "seconds", "waiting_s"}
            means = {k: v / sums["steps"] for k, v in sums.items() if k not in no_means}
            means["rate"] = self._main.rate
            means["images_per_s"] = images_per_s
            means["waiting_share"] = sums["waiting_s"] / sums["seconds"]
            means["seconds"] = self._seconds
            self._history.add(self.step, means)
            self._window = {}
        if _is_due(self.step, self._run.pictures_every) or (
            self.step == 1 and self._run.pictures_every
        ):
            self._draw(batch)
        if _is_due(self.step, self._run.validate_every) or (is_last and self._run.validate_every):
            with torch.no_grad(), self._autocast():
                found = self._task.validate(self._average.network)
            self._validation.add(self.step, found)
            said = "  ".join(f"{name} {value:.4g}" for name, value in found.items())
            progress.say(f"step {self.step}, validated: {said}")

    def _draw(self, batch: Batch) -> None:
        with torch.no_grad(), self._autocast():
            sheet = self._task.pictures(self._average.network, batch)
        _, png = cv2.imencode(".png", cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
        pictures = self._folder / PICTURES
        pictures.mkdir(exist_ok=True)
        checkpoints.replace_file(pictures / f"step-{self.step:06}.png", png.tobytes())

    def _autocast(self) -> torch.autocast:
        device = self._place.device.type
        return torch.autocast(device, torch.bfloat16, enabled=device == "cuda")

    def _save(self) -> None:
        if not self._place.writes:
            return
        checkpoints.save(
            self._folder,
            Checkpoint(
                step=self.step,
                recipe=self._task.recipe.canonical(),
                processes=self._place.processes,
                network=self._network.state_dict(),
                average=self._average.network.state_dict(),
                optimisers={k: v.optimiser.state_dict() for k, v in self._learners.items()},
                window=self._window,
                seconds=self._seconds,
                waiting_s=self._waiting_s,
            ),
        )

    def _restore(self, found: Checkpoint) -> None:
        self._network.load_state_dict(found.network)
        self._average.network.load_state_dict(found.average)
        for name, learner in self._learners.items():
            learner.optimiser.load_state_dict(found.optimisers[name])
        self._window = dict(found.window)
        self._seconds, self._waiting_s = found.seconds, found.waiting_s
        self.step = found.step


class _Stop:
    """Whether somebody asked training to stop."""

    is_asked = False

    def ask(self, number: int, _frame: FrameType | None) -> None:
        """Remember; a second request by the same signal is not waited for."""
        self.is_asked = True
        signal.signal(number, signal.default_int_handler)


@contextmanager
def _stop_signals() -> Iterator[_Stop]:
    """Turn SIGINT and SIGTERM into a request that is looked at between steps."""
    stop = _Stop()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, stop.ask)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _start_loader(is_over: c_bool, _worker: int) -> None:
    """
    Prepare a process that makes examples.

    Args:
        is_over: whether the one that trains needs no more of them.
    """

    # A terminal and a service manager send their signals to all processes at once. Those that make
    # examples go on until the last step is done, and then end when they are told to.
    def end(_number: int, _frame: FrameType | None) -> None:
        if is_over.value:
            os._exit(0)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, end)
    cv2.setNumThreads(0)  # there are as many loaders as cores to spare


def _laid_out(network: nn.Module, layout: torch.memory_format) -> nn.Module:
    """Order the weights of convolutions as this layout wants; torch's types leave that out."""
    laid_out: nn.Module = network.to(memory_format=layout)  # type: ignore[call-overload]
    return laid_out


def _optimiser(network: nn.Module, options: OptimiserOptions) -> AdamW:
    """AdamW; what scales or shifts, in norms and biases, is not drawn to zero."""
    trained = [p for p in network.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": options.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return AdamW(
        [g for g in groups if g["params"]], lr=options.rate, betas=options.betas, fused=True
    )


def _seed_of(seed: int, step: int, rank: int) -> int:
    """Mix into one number of 63 bits, far apart for neighbours; after Steele et al., "Fast
    Splittable Pseudorandom Number Generators", OOPSLA 2014."""
    mixed = (seed << 44) ^ (rank << 32) ^ step
    mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EB % 2**64
    return (mixed ^ (mixed >> 31)) % 2**63


def _images(batch: Batch) -> int:
    """Count the pictures in a batch, `[B, H, W, 3]` each; its examples where there are none."""
    pictures = [v for v in batch.values() if v.ndim == 4 and v.shape[-1] == 3]  # noqa: PLR2004
    return sum(len(v) for v in pictures) or len(next(iter(batch.values())))


def _is_due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0
