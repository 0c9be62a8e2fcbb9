r"""IGSO(3): the heat kernel of the rotation group, exact and without tables.

Brownian motion with generator one half the Laplacian, run for :math:`\sigma^2 = \int g^2 dt` from
the identity, has with respect to the normalised Haar measure the density

.. math::
    f(\omega; \sigma) = \sum_{l \ge 0} (2l+1)\, e^{-l(l+1)\sigma^2/2}
                        \frac{\sin((l+\frac12)\omega)}{\sin(\omega/2)}

of the rotation angle :math:`\omega \in [0, \pi]` alone. (Nikolayev & Savyolov 1997 and Leach et
al. 2022 write :math:`\epsilon = \sigma/\sqrt2`.) The angle itself has density
:math:`f(\omega)(1-\cos\omega)/\pi`. Summed by Poisson's formula it is

.. math::
    f = \frac{\sqrt{2\pi}\,e^{\sigma^2/8}}{\sigma^3 \sin(\omega/2)} \sum_{k \in \mathbb Z}
        (-1)^k (\omega - 2\pi k)\, e^{-(\omega - 2\pi k)^2 / 2\sigma^2},

where three images (:math:`k = -1, 0, 1`) are exact to rounding for :math:`\sigma \le 1`; above,
ten characters are. In the bracket the image :math:`k = 0` is factored out and the exponents of the
other two are folded into it, so that nothing overflows and the tails lose no digits::

    f = prefactor * omega / sin(omega / 2) * exp(-omega^2 / 2 sigma^2) * (1 + r)
    r = near * ((2 pi - omega) - (2 pi + omega) * ratio) / omega
    near = exp(-2 pi (pi - omega) / sigma^2),  ratio = exp(-4 pi omega / sigma^2)

Angles are in radians. ``sigma`` broadcasts against ``omega``. Results have the type of ``omega``:
float64 is exact to about 1e-12; lower types are computed in float64 and rounded, but for `score`
on the processor without gradients, whose float32 form is made for speed (`igso3_fast`).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sciddiff import streams
from sciddiff.manifolds.derivatives import differentiated
from sciddiff.manifolds.igso3_fast import score_float32
from sciddiff.manifolds.quadrature import gauss_legendre

if TYPE_CHECKING:
    from sciddiff.state import Layout
    from sciddiff.streams import Generator

__all__ = [
    "angle_cdf",
    "angle_pdf",
    "density",
    "log_density",
    "sample",
    "sample_angle",
    "score",
    "score_norm",
    "score_vector",
]

_SWITCH = 1.0  # images below this sigma, characters above
_FAR = 2.0  # beyond this angle the score is expanded about pi, where it vanishes
_CHARACTERS = 10
_PI_LOW = 1.2246467991473532e-16  # pi minus its float64
_TAIL = 10.0  # angles beyond this many sigma have probability below 1e-20
_CELLS = 80
_NEWTON = 2  # steps to the root of a cubic in a cell
_ROWS = 256  # standard deviations whose grids are built at once

# 1 / w^2 - cot(w / 2) / 2w = 2 / (4 pi^2 - w^2) + polynomial in w^2; from zeta(2n) - 1.
_ZETA = (
    0.6449340668482264, 0.08232323371113819, 0.01734306198444914, 0.00407735619794434,
    0.0009945751278180853, 0.0002460865533080483, 6.12481350587048e-05, 1.5282259408651872e-05,
    3.81729326499984e-06, 9.53962033872796e-07, 2.3845050272773300e-07, 5.960818905125948e-08,
)  # fmt: skip
_COTANGENT = tuple(2.0 * z / (2.0 * math.pi) ** (2 * n) for n, z in enumerate(_ZETA, start=1))


def _double(omega: Tensor, sigma: Tensor | float) -> tuple[Tensor, Tensor]:
    return omega.double(), torch.as_tensor(sigma, dtype=torch.float64, device=omega.device)


def _images(omega: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """``near``, ``ratio - 1`` and ``r`` of the module docstring; ``omega`` above zero."""
    a = 2.0 * math.pi / sigma**2
    # At small sigma a is in the thousands: an error of pi in its last digit would be seen at pi.
    near = torch.exp(-a * ((math.pi - omega) + _PI_LOW))
    m = torch.expm1(-2.0 * a * omega)
    return near, m, -near * (2.0 * math.pi * m / omega + 2.0 + m)


def _log_density_images(omega: Tensor, sigma: Tensor) -> Tensor:
    omega = omega.clamp(min=1e-8)
    _, _, r = _images(omega, sigma)
    constant = 0.5 * math.log(2.0 * math.pi) + math.log(2.0)
    exponent = sigma**2 / 8.0 - 0.5 * (omega / sigma) ** 2 - 3.0 * torch.log(sigma)
    return constant + exponent + torch.log1p(r) - torch.log(torch.sinc(omega / (2.0 * math.pi)))


def _score_near(omega: Tensor, sigma: Tensor) -> Tensor:
    """Images, ``omega`` up to about 2: every part is ``omega`` times an even function."""
    a = 2.0 * math.pi / sigma**2
    w = omega.clamp(min=1e-5)  # the even function is flat below; above it loses no digits
    near, m, r = _images(w, sigma)
    slope = near * (a * (2.0 * math.pi * (2.0 + m) + w * m) + 2.0 * math.pi * m / w)
    square = omega * omega
    series = torch.full_like(square, _COTANGENT[-1])
    for coefficient in _COTANGENT[-2::-1]:
        series = series * square + coefficient
    series = series + 2.0 / (4.0 * math.pi**2 - square)
    return omega * (series + slope / (w * w * (1.0 + r)) - 1.0 / sigma**2)


def _score_far(u: Tensor, sigma: Tensor) -> Tensor:
    """Images 0 and 1, about pi: ``u = pi - omega``, every part is odd in ``u``."""
    b = math.pi / sigma**2
    t = torch.tanh(b * u)
    slope = ((math.pi * b - 1.0) * t - b * u) / (math.pi - u * t)
    return u / sigma**2 - slope - 0.5 * torch.tan(0.5 * u)


def _tails(sigma: Tensor) -> list[Tensor]:
    """``C_j``, the sums of ``(2l+1) exp(-l(l+1) sigma^2/2)`` over ``l >= j``, from ``j = 1``."""
    half = 0.5 * sigma**2
    tails = [torch.zeros_like(sigma)]
    for j in range(_CHARACTERS, 0, -1):
        tails.append(tails[-1] + (2 * j + 1) * torch.exp(-j * (j + 1) * half))
    return tails[:0:-1]


def _characters(omega: Tensor, tails: list[Tensor]) -> Tensor:
    """``f - 1`` by the series in the form ``C_1 + 2 sum_j C_j cos(j omega)``: no division."""
    waves = sum(tail * torch.cos(j * omega) for j, tail in enumerate(tails, start=1))
    return tails[0] + 2.0 * waves


def _characters_slope(omega: Tensor, u: Tensor, tails: list[Tensor]) -> Tensor:
    """``f'`` by the same; sines of angles beyond `_FAR` are taken of ``u = pi - omega``."""
    far = omega > _FAR
    arc = torch.where(far, u, omega)
    sign = torch.where(far, -1.0, 1.0).to(omega)
    slope = torch.zeros_like(omega)
    for j, tail in enumerate(tails, start=1):
        sine = torch.sin(j * arc)
        slope = slope + j * tail * (sign * sine if j % 2 == 0 else sine)
    return -2.0 * slope


def _log_density(omega: Tensor, sigma: Tensor) -> Tensor:
    images = _log_density_images(omega, sigma.clamp(max=_SWITCH))
    series = torch.log1p(_characters(omega, _tails(sigma.clamp(min=_SWITCH))))
    return torch.where(sigma <= _SWITCH, images, series)


def _score(omega: Tensor, sigma: Tensor) -> Tensor:
    u = (math.pi - omega) + _PI_LOW
    # Every form is computed everywhere, clamped to where it is finite, so that the gradients of
    # those that `where` does not choose are finite too.
    small = sigma.clamp(max=_SWITCH)
    near = _score_near(omega.clamp(max=_FAR), small)
    far = _score_far(u.clamp(max=math.pi - _FAR), small)
    images = torch.where(omega <= _FAR, near, far)
    tails = _tails(sigma.clamp(min=_SWITCH))
    series = _characters_slope(omega, u, tails) / (1.0 + _characters(omega, tails))
    return torch.where(sigma <= _SWITCH, images, series)


def log_density(omega: Tensor, sigma: Tensor | float) -> Tensor:
    """Log-density of rotations by ``omega`` with respect to the normalised Haar measure.

    Args:
        omega: Rotation angles in ``[0, pi]``, ``[...]``.
        sigma: Standard deviation in radians, broadcastable against ``omega``.

    Returns:
        ``[...]`` in nats; subtract ``log(8 pi^2)`` for the unnormalised Haar measure.
    """
    return _log_density(*_double(omega, sigma)).to(omega.dtype)


def density(omega: Tensor, sigma: Tensor | float) -> Tensor:
    """Density with respect to the normalised Haar measure, ``[...]``; see `log_density`."""
    return torch.exp(_log_density(*_double(omega, sigma))).to(omega.dtype)


def score(omega: Tensor, sigma: Tensor | float) -> Tensor:
    """Derivative of `log_density` in the angle, ``[...]``: zero at 0 and pi, negative between.

    Args:
        omega: Rotation angles in ``[0, pi]``, ``[...]``.
        sigma: Standard deviation in radians, broadcastable against ``omega``.
    """
    sigma = torch.as_tensor(sigma, dtype=omega.dtype, device=omega.device)
    if omega.dtype != torch.float64 and omega.device.type == "cpu":
        if not differentiated(omega, sigma):
            return score_float32(omega.float(), sigma.float()).to(omega.dtype)
    return _score(*_double(omega, sigma)).to(omega.dtype)


def score_vector(v: Tensor, sigma: Tensor | float) -> Tensor:
    """Gradient of the log-density of ``R Exp(v)`` about ``R``, in the body frame.

    It points along the axis: ``score(|v|) v / |v|``.

    Args:
        v: Rotation vectors of length at most pi, ``[..., 3]``.
        sigma: Standard deviation in radians, broadcastable against ``v[..., 0]``.

    Returns:
        ``[..., 3]``.
    """
    omega = (v * v).sum(-1).clamp(min=1e-12).sqrt()
    return (score(omega, sigma) / omega).unsqueeze(-1) * v


def _haar(omega: Tensor) -> Tensor:
    """Density of the angle of a uniform rotation, ``(1 - cos omega) / pi``."""
    return 2.0 * torch.sin(0.5 * omega) ** 2 / math.pi


def _angle_pdf(omega: Tensor, sigma: Tensor) -> Tensor:
    return torch.exp(_log_density(omega, sigma)) * _haar(omega)


def angle_pdf(omega: Tensor, sigma: Tensor | float) -> Tensor:
    """Density of the angle, ``f(omega) (1 - cos omega) / pi``, ``[...]`` per radian."""
    return _angle_pdf(*_double(omega, sigma)).to(omega.dtype)


def angle_cdf(omega: Tensor, sigma: Tensor | float) -> Tensor:
    """Probability of an angle below ``omega``, ``[...]``, by Gauss-Legendre quadrature.

    Args:
        omega: Rotation angles in ``[0, pi]``, ``[...]``.
        sigma: Standard deviation in radians, broadcastable against ``omega``.
    """
    upper, scale = _double(omega, sigma)
    upper = torch.minimum(upper, _TAIL * scale)
    nodes, weights = gauss_legendre(96, omega.device)
    values = _angle_pdf(upper.unsqueeze(-1) * nodes, scale.unsqueeze(-1))
    return (upper * (values @ weights)).to(omega.dtype)


def score_norm(sigma: Tensor) -> Tensor:
    """Expected squared norm of the score, ``E |grad log f|^2``; near ``3 / sigma^2`` if small.

    Args:
        sigma: Standard deviations in radians, ``[...]``.

    Returns:
        ``[...]``; divide a loss by it, so that all noise levels weigh the same.
    """
    scale = sigma.double()
    upper = (_TAIL * scale).clamp(max=math.pi)
    nodes, weights = gauss_legendre(128, sigma.device)
    omega, wide = upper.unsqueeze(-1) * nodes, scale.unsqueeze(-1)
    values = _angle_pdf(omega, wide) * _score(omega, wide) ** 2
    return (upper * (values @ weights)).to(sigma.dtype)


def _cdf_grid(sigma: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """A grid of n cells made for each sigma ``[S]``.

    ``sigma`` ascends, so that one cut tells images from characters.

    Returns:
        Spacing ``[S]``, pdf at the edges and middles ``[S, 2 n + 1]``, cdf at the edges
        ``[S, n + 1]``.
    """
    step = (_TAIL * sigma).clamp(max=math.pi) / _CELLS
    fine = torch.arange(2 * _CELLS + 1, dtype=torch.float64, device=sigma.device)
    omega = 0.5 * step.unsqueeze(-1) * fine
    cut = int((sigma <= _SWITCH).sum())
    images = torch.exp(_log_density_images(omega[:cut], sigma[:cut, None]))
    series = 1.0 + _characters(omega[cut:], _tails(sigma[cut:, None]))
    pdf = torch.cat([images, series]) * _haar(omega)
    mass = (pdf[:, 0:-2:2] + 4.0 * pdf[:, 1::2] + pdf[:, 2::2]) / 6.0  # Simpson
    cdf = torch.nn.functional.pad(mass.cumsum(-1), (1, 0))
    total = cdf[:, -1:]
    return step, pdf / total, cdf / total


def _invert(u: Tensor, row: Tensor, sigma: Tensor) -> Tensor:
    """Angles ``[n]`` whose cdf at ``sigma[row]`` is ``u [n]``; the pdf is quadratic in a cell."""
    step, pdf, cdf = _cdf_grid(sigma)
    # Rows are told apart by adding their number: one search serves them all.
    offset = torch.arange(len(sigma), dtype=torch.float64, device=u.device)
    edges = (cdf[:, 1:-1] + offset.unsqueeze(-1)).flatten()
    cell = torch.searchsorted(edges, u + offset[row], right=True) - row * (_CELLS - 1)
    cell = cell.clamp(0, _CELLS - 1)
    low, mass = cdf[row, cell], cdf[row, cell + 1] - cdf[row, cell]
    part = ((u - low) / mass.clamp(min=1e-300)).clamp(0.0, 1.0)
    # The pdf in a cell is p + b s + a s^2 for s in [0, 1], whose integral over it is `mass`.
    p, m, q = (pdf[row, 2 * cell + k] for k in range(3))
    a, b, goal = 2.0 * (p + q) - 4.0 * m, 4.0 * m - 3.0 * p - q, part * mass
    # Newton's steps start from the root for a linear pdf; in the first cell, where the pdf rises
    # as s^2, from the root for that.
    twice = part * (p + q)
    linear = twice / (p + (p * p + (q - p) * twice).clamp(min=0.0).sqrt()).clamp(min=1e-300)
    s = torch.where(cell == 0, part ** (1.0 / 3.0), linear)
    for _ in range(_NEWTON):
        error = s * (p + s * (b / 2.0 + s * (a / 3.0))) - goal
        s = (s - error / (p + s * (b + s * a)).clamp(min=1e-300)).clamp(0.0, 1.0)
    return step[row] * (cell + s)


def sample_angle(
    sigma: Tensor | float,
    like: Tensor,
    generator: Generator | None = None,
    layout: Layout | None = None,
) -> Tensor:
    """Draw rotation angles by inverting the cdf on a grid built for each distinct ``sigma``.

    The grid has 80 cells between 0 and ``min(pi, 10 sigma)``; the density is quadratic in a cell.

    Args:
        sigma: Standard deviation in radians, broadcastable against ``like``.
        like: Gives shape, dtype and device, ``[...]``.
        generator: Random source.
        layout: How the rows are grouped in samples.

    Returns:
        Angles in ``[0, pi]``, ``[...]``.
    """
    # In float64: a float32 number has no digits for the tail, where angles are largest.
    u = streams.uniform(like.to(torch.float64), generator, layout)
    sigma = torch.as_tensor(sigma, dtype=torch.float64, device=like.device).detach()
    distinct, inverse = torch.unique(sigma, return_inverse=True)
    row, u = inverse.expand(u.shape).flatten(), u.flatten()
    omega = torch.empty_like(u)
    for start in range(0, len(distinct), _ROWS):
        here = slice(None)
        if len(distinct) > _ROWS:
            here = ((row >= start) & (row < start + _ROWS)).nonzero().squeeze(-1)
        omega[here] = _invert(u[here], row[here] - start, distinct[start : start + _ROWS])
    return omega.reshape(like.shape).to(like.dtype)


def sample(
    sigma: Tensor | float,
    like: Tensor,
    generator: Generator | None = None,
    layout: Layout | None = None,
) -> Tensor:
    """Draw rotation vectors: a uniform axis times `sample_angle`.

    Args:
        sigma: Standard deviation in radians, broadcastable against ``like[..., 0]``.
        like: Gives shape, dtype and device, ``[..., 3]``.
        generator: Random source.
        layout: How the rows are grouped in samples.

    Returns:
        ``[..., 3]`` in radians: ``R Exp(v)`` is ``R`` after Brownian motion.
    """
    axis = streams.normal(like, generator, layout)
    axis = axis / torch.linalg.vector_norm(axis, dim=-1, keepdim=True).clamp(min=1e-30)
    return sample_angle(sigma, like[..., 0], generator, layout).unsqueeze(-1) * axis
