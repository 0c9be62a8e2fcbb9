"""Tensors as NumPy arrays, where nobody asks for derivatives.

A step of a sampler is a few dozen operations on a few hundred numbers, and costs what calling them
costs: on the processor NumPy takes a fifth of the time of a tensor operation. Manifolds that a
sampler steps on every time use arrays where `shared` allows it, and tensor operations elsewhere:
on other devices, under automatic differentiation, in function transforms.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd import forward_ad

__all__ = ["FloatArray", "differentiated", "shared"]

FloatArray = NDArray[np.floating[Any]]

_TYPES = (torch.float32, torch.float64)


def shared(*tensors: Tensor) -> tuple[FloatArray, ...] | None:
    """Arrays that share the memory of tensors; None where that would lose something.

    Args:
        tensors: Any; all of one floating type of NumPy and on the processor, or the answer is
            None. So it is if a derivative with respect to one of them is being recorded.
    """
    kind = tensors[0].dtype
    if kind not in _TYPES:
        return None
    recording = torch.is_grad_enabled()
    for x in tensors:
        if x.dtype != kind or not x.is_cpu or (recording and x.requires_grad) or _dual(x):
            return None
    try:
        return tuple((x.detach() if x.requires_grad else x).numpy() for x in tensors)
    except (RuntimeError, TypeError):  # function transforms and fake tensors have no memory
        return None


def differentiated(*tensors: Tensor) -> bool:
    """Whether a derivative with respect to some tensor is being taken, backward or forward."""
    grad = torch.is_grad_enabled()
    return any((grad and x.requires_grad) or _dual(x) for x in tensors)


def _dual(x: Tensor) -> bool:
    """Whether forward-mode differentiation follows a tensor."""
    # Asking the level first saves half the time of `shared`; an unknown level asks the tensor.
    level = getattr(forward_ad, "_current_level", 0)
    return level >= 0 and forward_ad.unpack_dual(x).tangent is not None
