r"""Muon: momentum whose matrices are made orthogonal before they are applied.

For a matrix of weights with gradient :math:`g_t` (Jordan et al. 2024, "Muon: an optimizer for
hidden layers in neural networks"; scaled as in Liu et al. 2025, arXiv 2502.16982, eq. 4)

.. math::

    m_t = \mu m_{t-1} + (1 - \mu) g_t, \qquad
    W_t = (1 - \eta \lambda) W_{t-1}
        - 0.2\, \eta \sqrt{\max(r, c)}\; \mathrm{orth}(\mu m_t + (1 - \mu) g_t),

where orth(G) is near :math:`U V^T` of the singular value decomposition :math:`G = U S V^T`, found
by five Newton--Schulz steps. All directions of a matrix move alike, not those of the largest
gradients most. The factor gives the entries of a step the mean square of Adam's, so that Adam's
rates and decays suit; what is no matrix moves by Adam, with the same rate.
"""

# pyright: reportPrivateImportUsage=false
from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

__all__ = ["Muon", "orthogonalise"]

#: Coefficients of the quintic step, chosen for a steep slope at 0: singular values end between
#: about 0.7 and 1.2, which serves as well as 1 and takes half the steps (Jordan et al. 2024).
QUINTIC = (3.4445, -4.7750, 2.0315)


def orthogonalise(matrices: Tensor, steps: int = 5) -> Tensor:
    """Matrices with the same singular vectors and singular values near 1.

    Args:
        matrices: ``[..., R, C]``.
        steps: Newton--Schulz steps; five lift singular values above 1e-3 of the norm.

    Returns:
        ``[..., R, C]``; zero where a matrix is zero.
    """
    a, b, c = QUINTIC
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp_min(torch.finfo(x.dtype).tiny)
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x


@final
class Muon(Optimizer):
    """Muon for matrices, Adam with decoupled decay for the rest.

    Weights with more than two dimensions (convolutions) count as matrices of their first dimension
    and all others.

    Args:
        matrices: Parameters to move by orthogonal steps.
        others: Parameters to move by Adam, which do not decay.
        lr: Rate of both.
        betas: Decay of Adam's moments.
        momentum: Decay of the momentum of matrices.
        weight_decay: Decoupled decay of matrices.
    """

    def __init__(
        self,
        matrices: Iterable[nn.Parameter],
        others: Iterable[nn.Parameter],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.99),
        momentum: float = 0.95,
        weight_decay: float = 0.0,
    ) -> None:
        groups = [
            {"params": list(matrices), "orthogonal": True, "weight_decay": weight_decay},
            {"params": list(others), "orthogonal": False, "weight_decay": 0.0},
        ]
        kept = [group for group in groups if group["params"]]
        super().__init__(kept, {"lr": lr, "betas": betas, "momentum": momentum, "eps": 1e-8})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Move every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            moved = [p for p in group["params"] if p.grad is not None]
            if group["orthogonal"]:
                self._orthogonal(moved, group)
            else:
                self._adam(moved, group)
        return loss

    def _orthogonal(self, moved: list[nn.Parameter], group: dict[str, Any]) -> None:
        momentum, lr = group["momentum"], group["lr"]
        alike: dict[tuple[int, int], list[tuple[nn.Parameter, Tensor]]] = {}
        for p in moved:
            state, grad = self.state[p], _gradient(p)
            if not state:
                state["momentum"] = torch.zeros_like(p)
            state["momentum"].lerp_(grad, 1.0 - momentum)
            ahead = grad.lerp(state["momentum"], momentum).flatten(1)
            alike.setdefault((ahead.shape[0], ahead.shape[1]), []).append((p, ahead))
        for (rows, columns), pairs in alike.items():  # one product for all matrices of a shape
            steps = orthogonalise(torch.stack([ahead for _, ahead in pairs]))
            size = 0.2 * math.sqrt(max(rows, columns))
            for (p, _), step in zip(pairs, steps, strict=True):
                p.mul_(1.0 - lr * group["weight_decay"])
                p.add_(step.reshape(p.shape), alpha=-lr * size)

    def _adam(self, moved: list[nn.Parameter], group: dict[str, Any]) -> None:
        (first, second), lr = group["betas"], group["lr"]
        together: dict[int, list[Tensor]] = {}
        for p in moved:
            state = self.state[p]
            if not state:
                state["step"] = 0
                state["mean"], state["square"] = torch.zeros_like(p), torch.zeros_like(p)
            state["step"] += 1
            together.setdefault(state["step"], []).append(p)
        for step, parameters in together.items():  # of one age: their corrections are the same
            grads = [_gradient(p) for p in parameters]
            means = [self.state[p]["mean"] for p in parameters]
            squares = [self.state[p]["square"] for p in parameters]
            torch._foreach_lerp_(means, grads, 1.0 - first)
            torch._foreach_mul_(squares, second)
            torch._foreach_addcmul_(squares, grads, grads, 1.0 - second)
            scale = torch._foreach_sqrt(squares)
            torch._foreach_div_(scale, math.sqrt(1.0 - second**step))
            torch._foreach_add_(scale, group["eps"])
            torch._foreach_addcdiv_(parameters, means, scale, -lr / (1.0 - first**step))


def _gradient(p: Tensor) -> Tensor:
    assert p.grad is not None
    return p.grad
