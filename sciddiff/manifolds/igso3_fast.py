r"""The IGSO(3) score in float32 on the processor, made to be cheaper than reading a table.

Same equations as `sciddiff.manifolds.igso3`. Relative to the image :math:`k = 0`, and times
:math:`2\pi`, the images :math:`k = 1, -1` are
:math:`E_\mp = 2\pi e^{-2\pi(\pi \mp \omega)/\sigma^2}`; of these let :math:`P = E_- + E_+` and
:math:`\Delta = E_- - E_+`. Then

.. math::
    \frac{d}{d\omega} \log f = \omega \Bigl( H(\omega^2) - \frac{1}{\sigma^2} +
      \frac{(2\pi\omega P - \omega^2 \Delta)/\sigma^2 - \Delta}
           {\omega^2 (\omega + \Delta - \omega P / 2\pi)} \Bigr),

where :math:`H = 1/\omega^2 - \cot(\omega/2) / 2\omega` belongs to the factor
:math:`\omega / \sin(\omega/2)`. The bracket is even in :math:`\omega` and smooth, so it is held
constant below `_FLOOR`, where the quotient would lose digits.

In float32 :math:`E_+` counts from :math:`\sigma = 0.85`, three images hold up to 1.65, and three
characters do above. Rows of samples are sorted in these three classes. What costs time is not the
two ``exp2`` but fresh memory, so all steps write into one scratch that stays in the cache; for
that reason there are no gradients here. Batches of up to two thousand are computed by NumPy: there
the calls cost more than the arithmetic, and NumPy's cost a fraction of a tensor operation.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["score_float32"]

_TWO_IMAGES = 0.85
_THREE_IMAGES = 1.65
_FLOOR = 0.05
_CHUNK = 65536  # elements whose scratch stays in the cache
_FEW = 2048  # elements up to which calls cost more than arithmetic
_NARROW = 16  # rows shorter than this are not worth sorting
_LOG2E = math.log2(math.e)
_PI = 3.1415927410125732  # the float32 nearest to pi
_PI_LOW = math.pi - _PI
_TURN = 2.0 * math.pi
_LOG2_TURN = math.log2(_TURN)
# H(s) = 2 / (4 pi^2 - s) + _H[0] + _H[1] (s - 4 pi^2) to 8e-6 on [0, pi^2].
_H = (0.03706756711317066, 0.00011150689869667385)


def _terms(sigma: Tensor, out: Tensor) -> Tensor:
    """What the images need of ``sigma [R, 1]`` (or ``[n]``), written to ``out [5, R, 1]``."""
    rate, shift, mirror, minus, level = out
    torch.mul(sigma, sigma, out=minus).reciprocal_().neg_()
    torch.mul(minus, -_TURN * _LOG2E, out=rate)
    torch.mul(rate, _PI_LOW, out=shift).sub_(_LOG2_TURN)
    torch.mul(rate, _TURN, out=mirror).sub_(2.0 * _LOG2_TURN)
    torch.add(minus, _H[0], out=level)
    return out


def _images(omega: Tensor, terms: Tensor, out: Tensor, scratch: Tensor, two: bool) -> None:
    """Write the score by the images ``k = -1, 0, 1``, or by ``k = 0, 1`` only, to ``out``.

    ``omega`` and ``out`` are ``[R, C]``, ``terms [5, R, 1]``, ``scratch [6, R, C]``.
    """
    w, square, near, far, total, quotient = scratch
    rate, shift, mirror, minus, level = terms
    torch.clamp(omega, min=_FLOOR, out=w)
    torch.mul(w, w, out=square)
    torch.sub(w, _PI, out=near)
    near.mul_(rate).sub_(shift)
    if two:  # far = 0: P = Delta = near
        near.exp2_()
        torch.sub(square, w, alpha=_TURN, out=quotient)
        quotient.mul_(near)
        torch.addcmul(near, near, w, value=-1.0 / _TURN, out=far)
    else:
        torch.add(near, mirror, out=far).exp2_().reciprocal_()
        near.exp2_()
        torch.add(near, far, out=total).mul_(w)
        near.sub_(far)
        torch.mul(square, near, out=quotient).sub_(total, alpha=_TURN)
        torch.sub(near, total, alpha=1.0 / _TURN, out=far)
    quotient.mul_(minus).sub_(near)
    quotient.div_(far.add_(w).mul_(square)).add_(level)
    square.sub_(_TURN**2)
    quotient.add_(square, alpha=_H[1]).add_(square.reciprocal_(), alpha=-2.0)
    torch.mul(omega, quotient, out=out)


def _characters(omega: Tensor, sigma: Tensor, out: Tensor, scratch: Tensor) -> None:
    """Write the score by characters up to ``l = 2``, polynomials in ``cos(omega)``, to ``out``."""
    c, value, slope = scratch[:3]
    first = torch.exp(-(sigma * sigma))
    second = 20.0 * (first * first * first)
    first = torch.add(6.0 * first, second, alpha=0.5)
    torch.cos(omega, out=c)
    torch.mul(c, second, out=value)
    torch.add(value, value, out=slope).add_(first)
    value.add_(first).mul_(c).add_(first, alpha=0.5).sub_(second, alpha=0.5).add_(1.0)
    torch.sin(omega, out=c).neg_()
    torch.mul(c, slope.div_(value), out=out)


def _wide_class(kind: int, omega: Tensor, sigma: Tensor, out: Tensor, scratch: Tensor) -> None:
    """All rows ``omega [R, C]`` of one class, in pieces as large as ``scratch [6, r, c]``."""
    _, step, columns = scratch.shape
    terms = _terms(sigma, sigma.new_empty(5, *sigma.shape))
    for top in range(0, len(omega), step):
        rows = slice(top, top + step)
        for left in range(0, omega.shape[1], columns):
            here = slice(left, left + columns)
            x = omega[rows, here]
            area = scratch[:, : x.shape[0], : x.shape[1]]
            if kind == 2:
                _characters(x, sigma[rows], out[rows, here], area)
            else:
                _images(x, terms[:, rows], out[rows, here], area, two=kind == 0)


def _wide(omega: Tensor, sigma: Tensor, out: Tensor) -> None:
    """Rows ``omega [R, C]`` with one ``sigma [R, 1]`` each: one class of rows at a time."""
    columns = min(omega.shape[1], _CHUNK)
    scratch = omega.new_empty(6, min(len(omega), max(1, _CHUNK // columns)), columns)
    limits = sigma.new_tensor([_TWO_IMAGES, _THREE_IMAGES])
    kinds = torch.bucketize(sigma.squeeze(1), limits)
    for kind in range(3):
        rows = (kinds == kind).nonzero().squeeze(1)
        if len(rows) == len(omega):
            _wide_class(kind, omega, sigma, out, scratch)
        elif len(rows):
            part = omega.index_select(0, rows)
            _wide_class(kind, part, sigma[rows], part, scratch)
            out.index_copy_(0, rows, part)


def _narrow(omega: Tensor, sigma: Tensor, out: Tensor) -> None:
    """``omega [n]`` with a ``sigma [n]`` each: no sorting, at most two forms for each."""
    scratch = omega.new_empty(13, min(_CHUNK, len(omega)))
    for start in range(0, len(omega), _CHUNK):
        part = slice(start, start + _CHUNK)
        x, s, value = omega[part], sigma[part], out[part]
        area = scratch[:, : len(x)]
        terms = _terms(torch.clamp(s, max=_THREE_IMAGES, out=area[11]), area[6:11])
        _images(x, terms, value, area[:6], two=False)
        if bool((s > _THREE_IMAGES).any()):
            large = torch.clamp(s, min=_THREE_IMAGES, out=area[11])
            _characters(x, large, area[12], area[:3])
            chosen = torch.sub(s, _THREE_IMAGES, out=area[11]).sign_().clamp_(min=0.0)
            torch.lerp(value, area[12], chosen, out=value)


def _few(omega: NDArray[Any], sigma: NDArray[Any]) -> NDArray[Any]:
    """The score of a few angles, as the docstring of the module has it."""
    narrow = np.minimum(sigma, _THREE_IMAGES)
    rate = 1.0 / (narrow * narrow)
    w = np.maximum(omega, _FLOOR)
    near = _TURN * np.exp(-_TURN * rate * ((_PI - w) + _PI_LOW))
    far = _TURN * np.exp(-_TURN * rate * (_PI + w))
    square, total, gap = w * w, (near + far) * w, near - far
    slope = ((_TURN * total - square * gap) * rate - gap) / (square * (w + gap - total / _TURN))
    beyond = square - _TURN**2
    score = omega * (slope - rate + _H[0] + _H[1] * beyond - 2.0 / beyond)
    large = sigma > _THREE_IMAGES
    if not large.any():
        return score
    wide = np.maximum(sigma, _THREE_IMAGES)
    first, c = np.exp(-wide * wide), np.cos(omega)
    second = 20.0 * first * first * first
    first = 6.0 * first + 0.5 * second
    value = 1.0 + 0.5 * (first - second) + c * (first + c * second)
    return np.where(large, -np.sin(omega) * (first + 2.0 * c * second) / value, score)


@torch.no_grad()
def score_float32(omega: Tensor, sigma: Tensor) -> Tensor:
    """Derivative of the log-density of IGSO(3) in the angle, without gradients.

    Args:
        omega: Rotation angles in ``[0, pi]`` radians, float32 ``[...]``.
        sigma: Standard deviations in radians, float32, broadcastable against ``omega``.

    Returns:
        ``[...]`` in float32; error times ``sigma`` below 1e-4 for ``sigma`` above 0.02.
    """
    if omega.numel() <= _FEW:
        angles, widths = omega.detach().numpy(), sigma.detach().numpy()
        if np.broadcast(angles, widths).size <= _FEW:
            return torch.from_numpy(np.asarray(_few(angles, widths), np.float32))
    shape = torch.broadcast_shapes(omega.shape, sigma.shape)
    omega = omega.expand(shape).contiguous()
    output = torch.empty_like(omega)
    leading = (1,) * (len(shape) - sigma.ndim)
    rows = (sigma.shape or (1,))[0] if not leading else 1
    width = omega.numel() // max(1, rows)
    if sigma.numel() == rows and width >= _NARROW:
        _wide(omega.view(rows, width), sigma.reshape(rows, 1), output.view(rows, width))
    else:
        _narrow(omega.view(-1), sigma.expand(shape).reshape(-1), output.view(-1))
    return output
