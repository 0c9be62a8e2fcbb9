"""Whether a derivative is being taken, so that shorter ways without one may be used."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd import forward_ad

__all__ = ["differentiated"]


def differentiated(*tensors: Tensor) -> bool:
    """Whether a derivative with respect to some tensor may be being taken, backward or forward.

    A tensor inside a function transform counts as one: what ``vmap`` batches may be differentiated
    by a transform around it, which the tensor does not tell.

    >>> differentiated(torch.ones(2)), differentiated(torch.ones(2, requires_grad=True))
    (False, True)
    """
    grad = torch.is_grad_enabled()
    return any((grad and x.requires_grad) or _transformed(x) or _dual(x) for x in tensors)


def _transformed(x: Tensor) -> bool:
    """Whether a transform of ``torch.func`` holds the tensor."""
    return torch.func.debug_unwrap(x, recurse=False) is not x


def _dual(x: Tensor) -> bool:
    """Whether forward-mode differentiation follows a tensor."""
    # Asking for the level first costs half of asking the tensor; an unknown level asks the tensor.
    level = getattr(forward_ad, "_current_level", 0)
    return level >= 0 and forward_ad.unpack_dual(x).tangent is not None
