"""Where does this process compute, and with how many others? One answer for one and for many."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A process that trains, alone or with others."""

    device: torch.device
    rank: int  # 0 writes; the others only compute
    processes: int

    @property
    def writes(self) -> bool:
        """Whether this process is the one that writes and speaks."""
        return self.rank == 0

    def together(self, module: nn.Module) -> nn.Module:
        """Wrap a module so that its gradients are the mean over all processes."""
        if self.processes == 1:
            return module
        devices = [self.device] if self.device.type == "cuda" else None
        return DistributedDataParallel(module, device_ids=devices)

    def share_gradients(self, weights: Iterable[nn.Parameter]) -> None:
        """
        Put the mean over all processes in the place of every gradient.

        For parts that learn in turns: what `together` wraps may be asked once a step only.
        """
        if self.processes == 1:
            return
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(flat)
        flat /= self.processes
        means = torch.split(flat, [gradient.numel() for gradient in gradients])
        for gradient, mean in zip(gradients, means, strict=True):
            gradient.copy_(mean.view_as(gradient))

    def any(self, is_so: bool) -> bool:
        """Tell whether something is so in any of the processes; every one must ask."""
        if self.processes == 1:
            return is_so
        said = torch.tensor(float(is_so), device=self.device)
        dist.all_reduce(said, dist.ReduceOp.MAX)
        return bool(said.item())


@contextmanager
def joined() -> Iterator[Place]:
    """
    Find this process's device and its companions, which `torchrun` started.

    May be entered again inside; the processes part where the outermost ends.
    """
    has_gpu = torch.cuda.is_available()
    is_first = dist.is_available() and dist.is_torchelastic_launched() and not dist.is_initialized()
    if is_first:
        dist.init_process_group("nccl" if has_gpu else "gloo")
    is_many = dist.is_available() and dist.is_initialized()
    device = torch.device("cuda", dist.get_node_local_rank(0) if is_many else 0)
    try:
        yield Place(
            device=device if has_gpu else torch.device("cpu"),
            rank=dist.get_rank() if is_many else 0,
            processes=dist.get_world_size() if is_many else 1,
        )
    finally:
        if is_first:
            dist.destroy_process_group()
