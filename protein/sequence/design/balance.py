r"""A composition that a low temperature does not narrow.

Sharpened laws :math:`\mathrm{softmax}(l_i / T)` favour whatever is somewhat likely everywhere, so
that cold sequences of generated backbones are made of few amino acids. A bias b of amino acids,
the same at every residue, undoes this and nothing else: with it, the mean law is as before,

.. math:: \sum_i \mathrm{softmax}\bigl((l_i + b) / T\bigr) = \sum_i \mathrm{softmax}(l_i) .

This is the assignment of a given number of each amino acid to residues at temperature T, whose
bias is found by scaling (Sinkhorn, 1967; Cuturi, 2013).

The mean law itself may have too much of one amino acid, as glycine for backbones with many turns.
Its share is then limited, the rest goes to the others in proportion, and the bias takes it from
where it is least certain.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["COLDEST", "MOST", "composition_bias", "limited"]

COLDEST = 0.05
"""Temperature below which the bias is that of this one: scaling then needs too many rounds."""

MOST = 0.16
"""Largest share of one amino acid: draws scatter about it, and natives have up to 0.19."""

_ROUNDS, _CLOSE = 3000, 1e-5


def composition_bias(
    laws: NDArray[np.float64], temperature: float, most: float = 1.0
) -> NDArray[np.float64]:
    """The bias that keeps the mean law of some residues at a temperature.

    Args:
        laws: log-probabilities `[n, 20]`; very low where an amino acid is ruled out.
        temperature: of the draws.
        most: share to which that of every amino acid is limited.

    Returns:
        Nats `[20]`, of mean 0; 0 for what is ruled out everywhere.

    >>> laws = np.log([[0.6, 0.4], [0.7, 0.3]])
    >>> bias = composition_bias(laws, 0.2)
    >>> sharp = np.exp((laws + bias) / 0.2)
    >>> np.round((sharp / sharp.sum(1, keepdims=True)).mean(0), 3).tolist()
    [0.65, 0.35]
    """
    cold = max(temperature, COLDEST)
    laws = laws - np.logaddexp.reduce(laws, axis=1, keepdims=True)
    wanted = np.exp(laws).mean(0)
    there = wanted > 1e-12
    wanted[there] = limited(wanted[there], most)
    bias = np.zeros(laws.shape[1])
    for _ in range(_ROUNDS):
        sharp = (laws + bias) / cold
        sharp = np.exp(sharp - sharp.max(1, keepdims=True))
        found = (sharp / sharp.sum(1, keepdims=True)).mean(0)
        step = np.log(wanted[there]) - np.log(np.maximum(found[there], 1e-30))
        bias[there] += cold * step
        if np.abs(step).max() < _CLOSE:
            break
    bias[there] -= bias[there].mean()
    return bias


def limited(shares: NDArray[np.float64], most: float) -> NDArray[np.float64]:
    """Shares of which none is above a limit; what is cut off goes to the others in proportion.

    Args:
        shares: positive, of sum 1 `[n]`.
        most: the limit; at least 1 / n is taken.

    >>> limited(np.array([0.6, 0.3, 0.1]), 0.5).round(3).tolist()
    [0.5, 0.375, 0.125]
    """
    most = max(most, 1.0 / len(shares))
    found, full = shares / shares.sum(), np.zeros(len(shares), dtype=bool)
    while (over := ~full & (found > most * (1.0 + 1e-9))).any():
        full |= over
        found[full] = most
        rest = 1.0 - most * full.sum()
        if not full.all():
            found[~full] *= rest / found[~full].sum()
    return found
