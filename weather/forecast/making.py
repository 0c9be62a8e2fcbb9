"""Make an ensemble: blocks of members from initial states to the store, on one process or several.

Several processes (`torchrun --nproc-per-node 2 --no-python sciddiff forecast ...`) share out the
blocks; a member does not depend on who makes it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from weather.forecast.boundaries import Boundaries
from weather.forecast.ensemble import ONE_FILE, Block, Plan
from weather.forecast.forecaster import Forecaster
from weather.forecast.initial import InitialState
from weather.forecast.perturb import Perturbation

__all__ = ["Sink", "Team", "block_size", "make_ensemble", "staging"]

_CPU_BYTES = 512 * 2**20
_LARGEST = {"cpu": 8, "cuda": 256}


class Sink(Protocol):
    """Where the members go: a store on disk, or arrays in memory."""

    plan: Plan

    @property
    def span(self) -> int:
        """Leads that are written at once."""
        ...

    def write(self, block: Block, lead: int, values: NDArray[np.float32]) -> None:
        """Take some leads of a block, physical, `[leads, members, C, H, W]`."""
        ...

    def finish(self, block: Block) -> None:
        """Take note that a block is complete."""
        ...


@final
@dataclass(frozen=True)
class Team:
    """The processes that make one ensemble.

    Attributes:
        rank: Number of this process.
        world: Number of processes.
        local: Number of this process on its machine, which chooses its device.
    """

    rank: int = 0
    world: int = 1
    local: int = 0

    @classmethod
    def join(cls) -> Team:
        """Meet the other processes of the launcher, if there are any."""
        world = int(os.environ.get("WORLD_SIZE", "1"))
        if world == 1:
            return cls()
        from torch import distributed

        if not distributed.is_initialized():
            distributed.init_process_group("gloo")
        return cls(
            distributed.get_rank(),
            distributed.get_world_size(),
            int(os.environ.get("LOCAL_RANK", "0")),
        )

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self.world > 1:
            from torch import distributed

            distributed.barrier()

    def leave(self) -> None:
        """End the exchange with the other processes."""
        if self.world > 1:
            from torch import distributed

            distributed.destroy_process_group()

    def share(self, blocks: Sequence[Block]) -> list[Block]:
        """Return the blocks of this process."""
        return list(blocks[self.rank :: self.world])


def block_size(
    forecaster: Forecaster, members: int, memory: int | None = None, parts: int = 1
) -> int:
    """Return the number of members to make together within a memory budget.

    Args:
        forecaster: The model, on its device.
        members: Members wanted.
        memory: Bytes to use; default 512 MiB on the CPU and half of what is free on a GPU.
        parts: Into how many blocks the members should be divisible at least.
    """
    device = forecaster.device
    if memory is None and device.type == "cuda":
        memory = int(torch.cuda.mem_get_info(device)[0]) // 2
    memory = memory or _CPU_BYTES
    fits = max(1, memory // forecaster.member_bytes())
    return max(1, min(fits, _LARGEST.get(device.type, 64), -(-members // parts)))


def make_ensemble(
    forecaster: Forecaster,
    initials: Sequence[InitialState],
    store: Sink,
    blocks: Sequence[Block],
    seed: int,
    perturbation: Perturbation | None = None,
    on_step: Callable[[int], None] | None = None,
    boundaries: Boundaries | None = None,
) -> int:
    """Make some blocks of members and hand them to a sink.

    Args:
        forecaster: The model.
        initials: One initial state per initial time of the store.
        store: Where to write.
        blocks: Which; see `EnsembleStore.missing` and `Team.share`.
        seed: Seed of all draws.
        perturbation: Of the initial states; None for none.
        on_step: Called with the number of member-steps just done.
        boundaries: The future along the edges of a limited area; None where they are open.

    Returns:
        Member-steps made.

    Raises:
        InputError: A field is not finite.
    """
    made = 0
    for block in blocks:
        initial = initials[block.start]
        states: Tensor = initial.frames
        if perturbation is not None:
            states = perturbation(initial, block.members, seed)
        waiting: list[np.ndarray] = []
        first = 0
        edge = None if boundaries is None else partial(boundaries, initial.time, block.members)
        steps = forecaster.rollout(
            states, initial.time, store.plan.leads, block.members, seed, boundary=edge
        )
        for lead, state in enumerate(steps, start=1):
            waiting.append(forecaster.spec.clip(state).cpu().numpy())
            if len(waiting) == store.span or lead == store.plan.leads:
                store.write(block, first, np.stack(waiting))
                waiting, first = [], lead
            made += len(block.members)
            if on_step is not None:
                on_step(len(block.members))
        store.finish(block)
    return made


def staging(out: Path, calibrated: bool = False) -> Path:
    """Where the members of an output are collected: there, or beside it until it is whole.

    Args:
        out: What is written.
        calibrated: Whether the members have to wait for each other, since they are calibrated
            about the mean of all.
    """
    apart = calibrated or out.suffix in ONE_FILE
    return out.with_name(f".{out.name}.zarr") if apart else out
