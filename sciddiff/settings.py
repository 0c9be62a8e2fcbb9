"""Settings of a training run that are plain values: optimiser, averages and trainer.

They are apart from `sciddiff.config`, which needs torch, so that the command line can show them
at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["EMASettings", "OptimSettings", "TrainerSettings"]

Precision = Literal["32", "bf16-mixed", "64"]
Matmul = Literal["highest", "high", "medium"]


@dataclass(frozen=True)
class OptimSettings:
    """How parameters move: AdamW (Adam if `weight_decay` is 0) or Muon, with ramp and decay.

    The rate at step t is `lr * min(t / warmup, 1) / sqrt(max(t / t_ref, 1))` (Karras et al. 2024,
    arXiv 2312.02696, eq. 67) under `decay="inverse_sqrt"`.

    Attributes:
        name: `adam`, or `muon`: orthogonal steps for matrices (`sciddiff.training.muon`).
        lr: Peak learning rate.
        betas: Decay of Adam's first and second moments.
        weight_decay: Decoupled weight decay, on parameters with two dimensions or more.
        warmup: Steps of the linear ramp from 0.
        decay: Shape of the rate after the ramp.
        t_ref: Step after which `inverse_sqrt` falls (0: 10,000); for `cosine` and `linear` the
            step at which the rate reaches 0 (0: `max_steps` of the trainer, or 10,000 if the
            run has no such limit).
        grad_clip: Largest norm of the gradient over all parameters; 0 turns clipping off.
        bad_steps: Steps with a non-finite loss or gradient that are skipped before the run stops.
        momentum: Decay of the momentum of matrices, `muon`.
        by_adam: Beginnings of the names of matrices that `muon` leaves to Adam, as is usual for
            the first layer and for embeddings; those with a side below 32 are left to it always.
    """

    name: Literal["adam", "muon"] = "adam"
    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.0
    warmup: int = 500
    decay: Literal["inverse_sqrt", "cosine", "linear", "constant"] = "inverse_sqrt"
    t_ref: int = 0
    grad_clip: float = 1.0
    bad_steps: int = 3
    momentum: float = 0.95
    by_adam: tuple[str, ...] = ()


@dataclass(frozen=True)
class EMASettings:
    """Power-law averages of the parameters (see `sciddiff.training.ema`).

    Attributes:
        widths: Relative widths sigma_rel tracked during training, each in (0, 0.28).
        snapshot_every: Steps between snapshots for post-hoc widths; 0 keeps none.
    """

    widths: tuple[float, ...] = (0.05, 0.10)
    snapshot_every: int = 0


@dataclass(frozen=True)
class TrainerSettings:
    """How long, where and how precisely to train.

    Attributes:
        max_steps: Optimiser steps; -1 for no limit (then give `max_time`).
        max_time: Wall-clock limit as `DD:HH:MM:SS`, or None.
        precision: `32`, `bf16-mixed` (networks keep their geometry in float32) or `64`.
        matmul: How products of float32 matrices may be rounded inside, as
            `torch.set_float32_matmul_precision` names it; `medium` takes bfloat16 where the
            processor or the device has units for it.
        accelerator: `auto`, `cpu`, `gpu`.
        strategy: How processes share the work, as Lightning names it (`auto`, `ddp`).
        devices: Number of devices a node, or `auto`.
        nodes: Number of nodes.
        accumulate: Batches whose gradients are averaged into one step.
        checkpoint_every_minutes: Minutes between checkpoints to resume from.
        val_every: Steps between validations; 0 for none.
        val_seed: Seed of the times and noise of validation, the same at every validation.
        log_every: Steps between log lines.
        workers: Processes that prepare batches beside the one that trains; 0 for none.
        threads: Threads of torch on the CPU; 0 leaves torch's own choice.
        compile: Compile the network (`torch.compile`).
        progress: Show a progress bar.
    """

    max_steps: int = 1000
    max_time: str | None = None
    precision: Precision = "32"
    matmul: Matmul = "highest"
    accelerator: str = "auto"
    strategy: str = "auto"
    devices: int | Literal["auto"] = 1
    nodes: int = 1
    accumulate: int = 1
    checkpoint_every_minutes: float = 5.0
    val_every: int = 0
    val_seed: int = 0
    log_every: int = 50
    workers: int = 0
    threads: int = 0
    compile: bool = False
    progress: bool = True
