r"""Power-law averages of parameters, and averages of any width after training.

A power-law average weights the parameters of step tau by `tau^gamma`:

    theta_hat(t) = (gamma + 1) / t^(gamma + 1) * integral_0^t tau^gamma theta(tau) d tau,
    theta_hat(t) = beta(t) theta_hat(t - 1) + (1 - beta(t)) theta(t),
    beta(t) = (1 - 1/t)^(gamma + 1)

Its memory is a fixed fraction of the run, the *width* sigma_rel: the standard deviation of the
profile divided by t.  A width is better than a half-life since one value suits every run length,
and since averages of two widths, kept as snapshots, span every other one by least squares.

Reference: Karras et al., "Analyzing and Improving the Training Dynamics of Diffusion Models"
(EDM2), arXiv 2312.02696, section 3 and appendix C.

Parameters alone are averaged; buffers are statistics or constants of the network, so they are
copied.  Names never carry the prefixes that `torch.compile` and DDP add, hence averages of a
compiled network load into a plain one.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sciddiff.errors import InputError
from sciddiff.weights import clean_name

__all__ = ["PowerEMA", "Snapshot", "exponent", "mixture", "reconstruct", "width_of"]

_WIDEST = 12.0**-0.5  # gamma = 0, the plain mean: sigma_rel = 1/sqrt(12) = 0.2887


def exponent(width: float) -> float:
    """Return gamma of the width sigma_rel: the real root of EDM2's cubic (eq. 126).

    Args:
        width: sigma_rel in (0, 1/sqrt(12)]; the bound is the plain mean, gamma = 0.

    Raises:
        InputError: The width is out of range.
    """
    if not 0.0 < width <= _WIDEST + 1e-12:
        raise InputError(
            f"ema width: {width} is not in (0, {_WIDEST:.3f}]; 0.05 to 0.15 is the usual range"
        )
    inverse = width**-2
    roots = np.roots([1.0, 7.0, 16.0 - inverse, 12.0 - inverse])
    return max(float(roots.real.max()), 0.0)


def width_of(gamma: float) -> float:
    """Return sigma_rel of the exponent gamma: `sqrt(gamma+1) / ((gamma+2) sqrt(gamma+3))`."""
    return (gamma + 1.0) ** 0.5 / ((gamma + 2.0) * (gamma + 3.0) ** 0.5)


@dataclass(frozen=True)
class Snapshot:
    """An average as it stood at one step.

    Attributes:
        step: Step t at which it was taken.
        width: sigma_rel of its profile.
        weights: Averaged parameters by clean name.
    """

    step: int
    width: float
    weights: Mapping[str, Tensor]


class PowerEMA:
    """Power-law averages of one module's parameters, for several widths at once.

    Usable in any loop::

        ema = PowerEMA(net, widths=(0.05, 0.10))
        for step in range(1, n + 1):
            ...  # optimiser step
            ema.update(step)
        net.load_state_dict(ema.weights(0.10), strict=False)

    Averages are float32 at least, since `1 - beta` falls like 1/t and bfloat16 would lose it.

    Args:
        module: Module whose parameters are followed (compiled or wrapped modules too).
        widths: sigma_rel of each average.
    """

    def __init__(self, module: nn.Module, widths: Sequence[float] = (0.05, 0.10)) -> None:
        if not widths:
            raise InputError("ema widths: none given; give at least one, for example 0.10")
        self.widths = tuple(float(w) for w in widths)
        self._gammas = {w: exponent(w) for w in self.widths}
        # DDP's own prefix cannot be told by name from an attribute called `module`: unwrap it.
        wrapped = isinstance(module, nn.parallel.DistributedDataParallel)
        self._module = module.module if wrapped else module
        self.step = 0
        self._averages = {
            w: {n: _accumulator(p) for n, p in _parameters(self._module)} for w in self.widths
        }
        # Training changes parameters in place: looked up once, not at every step.
        self._live = dict(_parameters(self._module))

    @torch.no_grad()
    def update(self, step: int | None = None) -> None:
        """Take the parameters as they stand after optimiser step `step` into every average.

        Args:
            step: Number of optimiser steps done, from 1; None counts calls.

        Raises:
            ValueError: Steps went backward, which would weight the average wrongly.
        """
        step = self.step + 1 if step is None else int(step)
        if step <= self.step:
            raise ValueError(f"PowerEMA.update: step {step} comes after {self.step}")
        for width, averages in self._averages.items():
            # A gap of several steps counts as their profile mass given to the last of them.
            beta = (self.step / step) ** (self._gammas[width] + 1.0)
            stored = list(averages.values())
            new = [
                live if live.dtype == a.dtype and live.device == a.device else live.to(a)
                for live, a in ((self._live[n].detach(), a) for n, a in averages.items())
            ]
            torch._foreach_lerp_(stored, new, 1.0 - beta)  # pyright: ignore[reportPrivateImportUsage]
        self.step = step

    def weights(self, width: float) -> dict[str, Tensor]:
        """Return a full state dict: averaged parameters and the module's current buffers.

        Args:
            width: One of `widths`.

        Raises:
            InputError: The width is not tracked.
        """
        averages = self._averages[self._tracked(width)]
        state = self._module.state_dict()
        live = {clean_name(n): v for n, v in state.items()}
        return {
            n: (averages[n].to(v.dtype) if n in averages else v.detach()).clone()
            for n, v in live.items()
        }

    def network(self, width: float) -> nn.Module:
        """Return a copy of the module whose parameters are an average, now and after every update.

        Parameters share memory with the average, and buffers with the module. The copy is in
        evaluation mode and takes no gradient. Move the averages and load their state before.

        Args:
            width: One of `widths`.

        Raises:
            InputError: The width is not tracked.
        """
        averages = self._averages[self._tracked(width)]
        buffers = {id(b): b for b in self._module.buffers()}
        # Buffers are shared, and parameters need no copy: the memo hands both over as they are.
        memo: dict[int, Any] = dict(buffers)
        memo |= {
            id(p): nn.Parameter(averages[n], requires_grad=False) for n, p in self._live.items()
        }
        return copy.deepcopy(self._module, memo).eval()

    def snapshot(self) -> list[Snapshot]:
        """Return a copy of every average as it stands, for widths chosen after training."""
        return [
            Snapshot(self.step, w, {n: a.clone() for n, a in averages.items()})
            for w, averages in self._averages.items()
        ]

    def state_dict(self) -> dict[str, Any]:
        """Return plain dicts and tensors, loadable with `torch.load(weights_only=True)`."""
        return {
            "step": self.step,
            "widths": list(self.widths),
            "averages": [
                {n: a.clone() for n, a in self._averages[w].items()} for w in self.widths
            ],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`; bit-exact.

        Raises:
            InputError: Widths or parameters differ from those of this object.
        """
        saved = tuple(float(w) for w in state["widths"])
        if saved != self.widths:
            raise InputError(
                f"ema widths: the checkpoint tracks {saved}, the run asks for {self.widths}; "
                "resume with the widths of the checkpoint"
            )
        for width, averages in zip(self.widths, state["averages"], strict=True):
            mine = self._averages[width]
            if mine.keys() != averages.keys():
                odd = sorted(mine.keys() ^ averages.keys())[0]
                raise InputError(
                    f"ema: parameter {odd} is in the checkpoint or in the network but not in "
                    "both; resume with the network the run was started with"
                )
            for name, value in averages.items():
                mine[name].copy_(value)  # in place: a network may share the memory
        self.step = int(state["step"])

    def to(self, device: torch.device | str) -> PowerEMA:
        """Move the averages to a device, in place."""
        for averages in self._averages.values():
            for name in averages:
                averages[name] = averages[name].to(device)
        return self

    def _tracked(self, width: float) -> float:
        for known in self.widths:
            if abs(known - width) < 1e-9:
                return known
        known = ", ".join(str(w) for w in self.widths)
        raise InputError(
            f"ema width: {width} is not tracked; choose one of {known}, or reconstruct it "
            "from snapshots"
        )


def mixture(steps: Sequence[int], widths: Sequence[float], step: int, width: float) -> np.ndarray:
    """Return the weights with which snapshots best add up to the average wanted.

    Least squares in the profiles `p(tau) = (gamma+1) tau^gamma / t^(gamma+1)` on `[0, t]`, whose
    inner products are closed forms (EDM2, eq. 131 and algorithm 3).

    Args:
        steps: Step of each snapshot, `[n]`.
        widths: Width of each snapshot, `[n]`.
        step: Step t of the average wanted.
        width: sigma_rel of the average wanted.

    Returns:
        Coefficients `[n]`, of sum 1.
    """
    t = np.asarray(steps, dtype=np.float64)
    gamma = np.array([exponent(w) for w in widths], dtype=np.float64)
    target_t, target_gamma = np.array([float(step)]), np.array([exponent(width)])
    gram = _inner(t[:, None], gamma[:, None], t[None, :], gamma[None, :])
    right = _inner(t, gamma, target_t, target_gamma)
    scale = 1.0 / np.sqrt(np.diag(gram))
    # Normal equations with a Lagrange multiplier for the sum.  Neighbouring snapshots are nearly
    # parallel: lstsq rather than solve keeps coefficients small.
    border = np.append(scale, 0.0)
    system = np.block([[gram * scale[:, None] * scale, border[:-1, None]], [border]])
    solution = np.linalg.lstsq(system, np.append(right * scale, 1.0), rcond=1e-12)[0]
    return solution[:-1] * scale


def reconstruct(
    snapshots: Sequence[Snapshot], width: float, step: int | None = None
) -> dict[str, Tensor]:
    """Return the parameters averaged with a width that was not tracked, from snapshots.

    Args:
        snapshots: Averages of one or more widths at several steps.
        width: sigma_rel wanted.
        step: Step wanted; None for the last snapshot's.

    Returns:
        Averaged parameters by clean name, in the dtype of the snapshots.

    Raises:
        InputError: No snapshot lies at or before the step.
    """
    last = max((s.step for s in snapshots), default=0) if step is None else step
    used = [s for s in snapshots if s.step <= last]
    if not used:
        raise InputError(
            f"ema snapshots: none at or before step {last}; train with ema.snapshot_every > 0"
        )
    weights = mixture([s.step for s in used], [s.width for s in used], last, width)
    result: dict[str, Tensor] = {}
    for name, first in used[0].weights.items():
        total = torch.zeros_like(first, dtype=torch.float64)
        for coefficient, snapshot in zip(weights.tolist(), used, strict=True):
            total += coefficient * snapshot.weights[name].double()
        result[name] = total.to(first.dtype)
    return result


def _inner(t: np.ndarray, g: np.ndarray, t2: np.ndarray, g2: np.ndarray) -> np.ndarray:
    """Inner product of two profiles: `(g+1)(g2+1)/(g+g2+1) * s^(g+g2+1) / (t^(g+1) t2^(g2+1))`.

    `s` is the lesser of the two steps; powers are taken of ratios, which neither over- nor
    underflow at 1e6 steps.
    """
    s = np.minimum(t, t2)
    ratio = (s / t) ** (g + 1.0) * (s / t2) ** (g2 + 1.0) / s
    return (g + 1.0) * (g2 + 1.0) / (g + g2 + 1.0) * ratio


def _parameters(module: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    # Tied parameters appear under every name they have in a state dict.
    for name, parameter in module.named_parameters(remove_duplicate=False):
        yield clean_name(name), parameter


def _accumulator(parameter: Tensor) -> Tensor:
    dtype = torch.promote_types(parameter.dtype, torch.float32)
    return parameter.detach().clone().to(dtype)
