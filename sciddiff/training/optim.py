"""Optimiser and learning rate.

The rate is a function of the step alone, so that a resumed run needs no scheduler's state.
Inverse square root after a linear ramp: Karras et al. 2024 (EDM2), arXiv 2312.02696, eq. 67.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from torch import nn
from torch.optim import Adam, AdamW, Optimizer

from sciddiff.config import OptimSettings
from sciddiff.errors import InputError
from sciddiff.training.muon import Muon

__all__ = ["make_optimizer", "rate"]

_T_REF = 10_000  # where nothing says when the rate falls
_FUSED = ("cpu", "cuda", "xpu", "mps")  # devices with a fused Adam


def rate(step: int, settings: OptimSettings, max_steps: int = -1) -> float:
    """Return the learning rate of optimiser step `step`, counted from 1.

    Args:
        step: Which step is about to be taken.
        settings: Peak, ramp and decay.
        max_steps: Length of the run, where `cosine` and `linear` end if `t_ref` is 0; -1 for none.
    """
    ramp = min(step / settings.warmup, 1.0) if settings.warmup > 0 else 1.0
    ends = settings.decay in ("cosine", "linear") and max_steps > 0
    default = max_steps if ends else _T_REF
    end = settings.t_ref if settings.t_ref > 0 else default
    if settings.decay == "constant":
        return settings.lr * ramp
    if settings.decay == "inverse_sqrt":
        return settings.lr * ramp / math.sqrt(max(step / end, 1.0))
    past = min(max(step - settings.warmup, 0) / max(end - settings.warmup, 1), 1.0)
    fall = 0.5 * (1.0 + math.cos(math.pi * past)) if settings.decay == "cosine" else 1.0 - past
    return settings.lr * ramp * fall


def make_optimizer(
    parameters: Iterable[tuple[str, nn.Parameter]], settings: OptimSettings
) -> Optimizer:
    """Return AdamW, Adam where nothing decays, or Muon.

    Matrices decay; vectors (gains, biases) do not.

    Args:
        parameters: Named parameters.
        settings: Rate, moments and decay.

    Raises:
        InputError: `by_adam` names nothing.
    """
    named = [(name, p) for name, p in parameters if p.requires_grad]
    if settings.name == "muon":
        for start in settings.by_adam:
            if not any(name.startswith(start) for name, _ in named):
                parts = ", ".join(dict.fromkeys(name.split(".")[0] for name, _ in named))
                raise InputError(f"optim.by_adam: no parameter begins with {start!r}; use {parts}")
        wide = {
            name
            for name, p in named
            if _is_wide(p) and not name.startswith(tuple(settings.by_adam))
        }
        return Muon(
            [p for name, p in named if name in wide],
            [p for name, p in named if name not in wide],
            lr=settings.lr,
            betas=settings.betas,
            momentum=settings.momentum,
            weight_decay=settings.weight_decay,
        )
    trained = [p for _, p in named]
    # One kernel for all parameters, where there is one, takes a quarter of the time.
    fused = all(p.is_floating_point() and p.device.type in _FUSED for p in trained)
    if settings.weight_decay == 0.0:
        return Adam(trained, lr=settings.lr, betas=settings.betas, fused=fused)
    groups = [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": settings.weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    kept = [group for group in groups if group["params"]]
    return AdamW(kept, lr=settings.lr, betas=settings.betas, fused=fused)


def _is_wide(p: nn.Parameter) -> bool:
    """Whether a parameter is a matrix for Muon: no vector, and not of a few rows or columns."""
    return p.ndim >= 2 and min(p.shape[0], p[0].numel()) >= 32
