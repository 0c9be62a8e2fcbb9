r"""Power of fields on the sphere by total wavenumber.

With harmonics of mean square 1, :math:`S_l = a_{l0} b_{l0} + 2\,\mathrm{Re} \sum_{m>0} a_{lm}
\bar b_{lm}` is the contribution of total wavenumber l to the area mean of f g, so that the
spectrum of a field sums to its mean square. Wavelengths are about 40 000 km / l.
"""

from __future__ import annotations

import torch
from torch import Tensor

from weather.sphere.harmonics import SphericalHarmonics

__all__ = ["coefficient_power", "coherence", "cross_spectrum", "power_spectrum"]


def coefficient_power(a: Tensor, b: Tensor | None = None) -> Tensor:
    """Sum the product of coefficients over m.

    Args:
        a: Complex ``[..., L, M]``.
        b: Complex ``[..., L, M]``; default ``a``.

    Returns:
        ``[..., L]``.
    """
    product = torch.view_as_real(a) * torch.view_as_real(a if b is None else b)
    zonal = product[..., 0, 0]
    return zonal + 2.0 * product[..., 1:, :].sum((-2, -1))


def power_spectrum(field: Tensor, harmonics: SphericalHarmonics) -> Tensor:
    """Compute the power of each total wavenumber, in the units of the field squared.

    Args:
        field: ``[..., H, W]``.
        harmonics: The transform of its grid.

    Returns:
        ``[..., L]``; sums to the area mean of ``field**2`` if the field holds no higher degrees.
    """
    return coefficient_power(harmonics.analysis(field))


def cross_spectrum(first: Tensor, second: Tensor, harmonics: SphericalHarmonics) -> Tensor:
    """Compute what each total wavenumber adds to the mean of ``first * second``, ``[..., L]``.

    Args:
        first: ``[..., H, W]``.
        second: ``[..., H, W]``.
        harmonics: The transform of their grid.
    """
    return coefficient_power(harmonics.analysis(first), harmonics.analysis(second))


def coherence(first: Tensor, second: Tensor, harmonics: SphericalHarmonics) -> Tensor:
    """Compute the correlation of two fields at each total wavenumber, in [-1, 1], ``[..., L]``.

    0 where either field has no power.
    """
    a, b = harmonics.analysis(first), harmonics.analysis(second)
    scale = (coefficient_power(a) * coefficient_power(b)).sqrt()
    tiny = torch.finfo(scale.dtype).tiny
    return torch.where(scale > tiny, coefficient_power(a, b) / scale.clamp(min=tiny), 0.0)
