r"""Flow on the sphere from vorticity and divergence, and derivatives along both directions.

In the coefficients of `weather.sphere.harmonics`, with :math:`\varphi` the latitude,

.. math::

    \cos\varphi\,\partial_\varphi Y_{lm} = (l+1)\,\epsilon_{lm} Y_{l-1,m}
        - l\,\epsilon_{l+1,m} Y_{l+1,m}, \qquad
    \epsilon_{lm} = \sqrt{\frac{l^2 - m^2}{4 l^2 - 1}}, \quad
    \partial_\lambda Y_{lm} = i m Y_{lm},

so a derivative along a meridian reaches one degree further than the field. The flow is that of a
streamfunction and a potential, :math:`\nabla^2\psi = \zeta` and :math:`\nabla^2\chi = \delta`,

.. math::

    u \cos\varphi = \frac{1}{a} (\partial_\lambda\chi - \cos\varphi\,\partial_\varphi\psi), \qquad
    v \cos\varphi = \frac{1}{a} (\partial_\lambda\psi + \cos\varphi\,\partial_\varphi\chi)
"""

from __future__ import annotations

import torch
from torch import Tensor

from sciddiff.errors import InputError
from weather.sphere.harmonics import SphericalHarmonics

__all__ = ["EARTH_RADIUS", "along_meridian", "along_parallel", "inverse_laplacian", "wind"]

EARTH_RADIUS = 6.371e6
"""Mean radius, m."""


def along_meridian(coefficients: Tensor) -> Tensor:
    """Return the coefficients of cos(latitude) times the derivative by latitude.

    Args:
        coefficients: Complex ``[..., L, M]``; those of the last degree must be zero, because the
            result would reach beyond.
    """
    degree, order = _numbers(coefficients)
    step = ((degree**2 - order**2).clamp(min=0.0) / (4 * degree**2 - 1)).sqrt()
    out = torch.zeros_like(coefficients)
    out[..., 1:, :] -= ((degree - 1) * step)[1:] * coefficients[..., :-1, :]
    out[..., :-1, :] += ((degree + 1) * step)[1:] * coefficients[..., 1:, :]
    return out


def along_parallel(coefficients: Tensor) -> Tensor:
    """Return the coefficients of the derivative by longitude in radians, of ``[..., L, M]``."""
    return 1j * _numbers(coefficients)[1] * coefficients


def inverse_laplacian(coefficients: Tensor, radius: float = EARTH_RADIUS) -> Tensor:
    """Return the coefficients of the field of mean 0 with this Laplacian, ``[..., L, M]``."""
    degree, _ = _numbers(coefficients)
    scale = -(radius**2) / (degree * (degree + 1)).clamp(min=1.0)
    return coefficients * torch.where(degree > 0, scale, 0.0)


def wind(
    harmonics: SphericalHarmonics,
    vorticity: Tensor,
    divergence: Tensor,
    radius: float = EARTH_RADIUS,
) -> tuple[Tensor, Tensor]:
    """Return the eastward and northward wind of relative vorticity and divergence.

    Args:
        harmonics: Transform of the grid, of one degree more than the coefficients are filled to.
        vorticity: Coefficients in s-1, complex ``[..., L, M]``.
        divergence: The same of the divergence.
        radius: Of the sphere, m.

    Returns:
        u and v in m s-1, ``[..., H, W]`` each.

    Raises:
        InputError: A row of the grid is at a pole, where components have no direction, or the
            last degree is not empty.
    """
    if harmonics.grid.kind == "regular":
        raise InputError(f"grid: {harmonics.grid} has rows at the poles; take one without")
    if bool(vorticity[..., -1, :].any() or divergence[..., -1, :].any()):
        raise InputError(
            f"coefficients: reach to degree {harmonics.lmax}; give a transform of lmax "
            f"{harmonics.lmax + 1}, and coefficients that are zero in its last degree"
        )
    stream, potential = (inverse_laplacian(x, radius) for x in (vorticity, divergence))
    parts = torch.stack(
        [
            along_parallel(potential) - along_meridian(stream),
            along_parallel(stream) + along_meridian(potential),
        ]
    )
    latitude = torch.tensor(harmonics.grid.lat, dtype=torch.float64).deg2rad()
    scale = (radius * latitude.cos())[:, None]
    u, v = harmonics.synthesis(parts).unbind(0)
    scale = scale.to(u)
    return u / scale, v / scale


def _numbers(coefficients: Tensor) -> tuple[Tensor, Tensor]:
    """Degree ``[L, 1]`` and order ``[1, M]`` in the precision and place of coefficients."""
    real = coefficients.real.dtype
    rows, columns = coefficients.shape[-2:]
    degree = torch.arange(rows, dtype=real, device=coefficients.device)
    order = torch.arange(columns, dtype=real, device=coefficients.device)
    return degree[:, None], order[None, :]
