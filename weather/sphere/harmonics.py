r"""Spherical-harmonic transform of real fields on a latitude-longitude grid.

.. math::

    f(\theta, \lambda) = \sum_{l=0}^{l_{\max}} \Bigl[ a_{l0} Y_{l0}
        + 2\,\mathrm{Re} \sum_{m=1}^{l} a_{lm} Y_{lm} \Bigr],
    \qquad Y_{lm} = \bar P_{lm}(\sin\theta)\, e^{i m \lambda}.

The harmonics carry the Condon--Shortley sign and have mean square 1 over the sphere, so that
:math:`\overline{f^2} = \sum_l \bigl(a_{l0}^2 + 2 \sum_m |a_{lm}|^2\bigr)`; they are
:math:`\sqrt{4\pi}` times those of quantum mechanics. Coefficients are complex ``[..., L, M]`` with
L = M = lmax + 1, zero where m > l, real where m = 0.

The transform is a fast Fourier transform along longitude and, for every m, a product with a matrix
of Legendre functions along latitude (Schaeffer 2013, arXiv 1202.6522, section 2). Up to
`Grid.band_limit` analysis is the quadrature. Above it, up to `Grid.max_degree`, it is the
least-squares fit under the weights of the quadrature: in both cases a field of harmonics up to
lmax comes back to rounding.
"""

from __future__ import annotations

from functools import lru_cache
from typing import final

import numpy as np
import torch
from torch import Tensor

from sciddiff.errors import InputError
from weather.sphere.grids import Array, Grid

__all__ = ["SphericalHarmonics", "legendre"]


@final
class SphericalHarmonics:
    """The transform of one grid up to one degree; differentiable, on any device.

    Matrices are made in double precision once for every grid and degree, and kept in the type and
    on the device of the fields met so far.

    Args:
        grid: The grid, or its name.
        lmax: Largest degree; default `Grid.max_degree`.

    Raises:
        InputError: The grid cannot tell harmonics of this degree apart.
    """

    def __init__(self, grid: Grid | str, lmax: int | None = None) -> None:
        self.grid = Grid.parse(grid) if isinstance(grid, str) else grid
        self.lmax = self.grid.max_degree if lmax is None else lmax
        if not 0 <= self.lmax <= self.grid.max_degree:
            raise InputError(
                f"lmax: {self.lmax} on {self.grid}; choose from 0 to {self.grid.max_degree}"
            )
        self._ready: dict[tuple[torch.dtype, torch.device], tuple[Tensor, Tensor]] = {}

    def __repr__(self) -> str:
        return f"SphericalHarmonics({str(self.grid)!r}, lmax={self.lmax})"

    def __getstate__(self) -> dict[str, object]:
        return {"grid": self.grid, "lmax": self.lmax, "_ready": {}}

    def __deepcopy__(self, memo: dict[int, object]) -> SphericalHarmonics:
        return self

    def _matrices(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Analysis ``[M, H, L]`` and synthesis ``[M, L, H]`` in the type and place of ``like``."""
        dtype = like.dtype.to_real() if like.is_complex() else like.dtype
        key = (dtype, like.device)
        if key not in self._ready:
            # Made under inference mode they could not serve a gradient later.
            with torch.inference_mode(False):
                analysis, synthesis = (
                    torch.tensor(matrix, dtype=dtype, device=like.device)
                    for matrix in _transforms(self.grid, self.lmax)
                )
            self._ready[key] = analysis, synthesis
        return self._ready[key]

    def analysis(self, field: Tensor) -> Tensor:
        """Transform a field to its coefficients.

        Args:
            field: ``[..., H, W]``, float32 or float64; half precision is made single.

        Returns:
            Complex ``[..., L, M]``.

        Raises:
            InputError: The field is not on the grid.
        """
        if field.shape[-2:] != self.grid.shape:
            raise InputError(f"field: shape {tuple(field.shape)}; {self.grid} was expected")
        field = field.to(torch.promote_types(field.dtype, torch.float32))
        rows = torch.fft.rfft(field, norm="forward")[..., : self.lmax + 1]
        return _along_latitude(rows, self._matrices(field)[0])

    def synthesis(self, coefficients: Tensor) -> Tensor:
        """Transform coefficients to their field.

        Args:
            coefficients: Complex ``[..., L, M]``; entries with m > l and the imaginary part of
                m = 0 have no effect.

        Returns:
            ``[..., H, W]``.

        Raises:
            InputError: The coefficients end at another degree.
        """
        size = self.lmax + 1
        if coefficients.shape[-2:] != (size, size):
            raise InputError(
                f"coefficients: shape {tuple(coefficients.shape)}; [..., {size}, {size}] expected"
            )
        rows = _along_latitude(coefficients, self._matrices(coefficients)[1])
        return torch.fft.irfft(rows, n=self.grid.width, norm="forward")

    def filter(self, field: Tensor, gain: Tensor) -> Tensor:
        """Return the field with degree l multiplied by ``gain[l]``; higher degrees are removed.

        Args:
            field: ``[..., H, W]``.
            gain: ``[L]``.
        """
        return self.synthesis(self.analysis(field) * gain.to(field)[:, None])


def _along_latitude(values: Tensor, matrices: Tensor) -> Tensor:
    """For every m a real matrix times complex columns.

    Args:
        values: Complex ``[..., I, M]``.
        matrices: Real ``[M, I, J]``.

    Returns:
        Complex ``[..., J, M]``.
    """
    lead, (_, size, out) = values.shape[:-2], matrices.shape
    parts = torch.view_as_real(values).reshape(-1, size, matrices.shape[0], 2)
    columns = parts.permute(2, 0, 3, 1).reshape(matrices.shape[0], -1, size)
    # There are no complex numbers of half precision, so autocast must stay out.
    with torch.autocast(values.device.type, enabled=False):
        result = torch.bmm(columns, matrices).reshape(matrices.shape[0], -1, 2, out)
    result = result.permute(1, 3, 0, 2).contiguous()
    return torch.view_as_complex(result).reshape(*lead, out, matrices.shape[0])


def legendre(lmax: int, x: Array) -> Array:
    r"""Compute the associated Legendre functions of mean square 1, with the Condon--Shortley sign.

    :math:`\bar P_{lm}(x) e^{im\lambda}` has mean square 1 over the sphere. Recurrence in l at
    fixed m from the sectoral values (Schaeffer 2013, equations 13-16), stable to any degree; what
    underflows near a pole is zero to double precision.

    Args:
        lmax: Largest degree.
        x: Sines of latitude, ``[H]``.

    Returns:
        ``[M, L, H]``, zero where m > l.
    """
    values = np.zeros((lmax + 1, lmax + 1, len(x)))
    cosine = np.sqrt((1.0 - x) * (1.0 + x))
    values[0, 0] = 1.0
    for m in range(1, lmax + 1):
        values[m, m] = -np.sqrt((2 * m + 1) / (2 * m)) * cosine * values[m - 1, m - 1]
    for l in range(1, lmax + 1):
        m = np.arange(l)[:, None]
        scale = np.sqrt((4 * l**2 - 1) / (l**2 - m**2))
        values[:l, l] = scale * x * values[:l, l - 1]
        if l > 1:
            back = np.sqrt(np.maximum((l - 1) ** 2 - m**2, 0) / (4 * (l - 1) ** 2 - 1))
            values[:l, l] -= scale * back * values[:l, l - 2]
    return values


@lru_cache(maxsize=16)
def _transforms(grid: Grid, lmax: int) -> tuple[Array, Array]:
    """Analysis ``[M, H, L]`` and synthesis ``[M, L, H]`` in double precision."""
    synthesis = legendre(lmax, np.sin(np.radians(grid.lat)))
    if lmax <= grid.band_limit:
        analysis = synthesis * (grid.weights / grid.height)
    else:
        root = np.sqrt(grid.weights)
        analysis = np.zeros_like(synthesis)
        for m in range(lmax + 1):
            # Rows l < m are zero and stay so.
            analysis[m, m:] = np.linalg.pinv((synthesis[m, m:] * root).T) * root
    return np.ascontiguousarray(analysis.swapaxes(1, 2)), synthesis
