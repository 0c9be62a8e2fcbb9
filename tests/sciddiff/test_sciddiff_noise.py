"""Noise laws: exact whitening, densities against torch.distributions."""

import pytest
import torch

from sciddiff.errors import InputError
from sciddiff.noise import Correlated, White
from sciddiff.streams import Streams


def _covariance(n):
    place = torch.arange(n, dtype=torch.float64)
    return 1.5 * torch.exp(-(place[:, None] - place).abs() / 2)


@pytest.mark.parametrize("dim", [1, -1])
def test_correlated_noise_is_exactly_whitened(dim):
    n = {1: 5, -1: 3}[dim]
    law = Correlated.from_covariance(_covariance(n), dim)
    z = Streams.first(0, 4).normal(torch.empty(4, 5, 3, dtype=torch.float64))
    x = law.color(z)
    torch.testing.assert_close(law.whiten(x), z, rtol=0, atol=1e-13)
    torch.testing.assert_close(law.precision(law.covariance(z)), z, rtol=0, atol=1e-12)
    equation = "ij,bjc->bic" if dim == 1 else "ij,bcj->bci"
    expected = torch.einsum(equation, _covariance(n), z)
    torch.testing.assert_close(law.covariance(z), expected, rtol=0, atol=1e-12)


def test_densities():
    x = Streams.first(1, 4).normal(torch.empty(4, 5, 3, dtype=torch.float64))
    law = Correlated.from_covariance(_covariance(5), 1)
    reference = torch.distributions.MultivariateNormal(
        torch.zeros(5, dtype=torch.float64), _covariance(5)
    )
    expected = reference.log_prob(x.mT).sum(-1)
    torch.testing.assert_close(law.log_prob(x), expected, rtol=1e-12, atol=1e-10)
    white = torch.distributions.Normal(0.0, 1.0).log_prob(x).sum((1, 2))
    torch.testing.assert_close(White().log_prob(x), white, rtol=1e-12, atol=1e-10)


def test_sample_covariance():
    law = Correlated.from_covariance(_covariance(4))
    x = law.sample(torch.empty(50_000, 4, dtype=torch.float64), Streams.first(2, 50_000))
    torch.testing.assert_close(torch.cov(x.T), _covariance(4), rtol=0, atol=0.04)


def test_bad_factors_are_named():
    with pytest.raises(InputError, match="not lower triangular"):
        Correlated(torch.ones(3, 3))
    with pytest.raises(InputError, match="size 3; dimension -1 of the leaf has 4"):
        Correlated(torch.eye(3)).color(torch.ones(2, 4))
