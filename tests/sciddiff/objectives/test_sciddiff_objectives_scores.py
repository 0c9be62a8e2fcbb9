"""Scores: definitions, exact expectations, and what they must be blind or not blind to."""

import math

import pytest
import torch

from sciddiff.errors import InputError
from sciddiff.objectives import energy_score, euclidean, fair_crps


def _normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def gaussian_crps(mean, deviation, truth):
    """Closed form (Gneiting et al., 2005)."""
    z = (truth - mean) / deviation
    law = torch.distributions.Normal(torch.zeros_like(z), 1.0)
    density = law.log_prob(z).exp()
    return deviation * (z * (2 * law.cdf(z) - 1) + 2 * density - 1 / math.sqrt(math.pi))


@pytest.mark.parametrize("count", [2, 3, 8])
def test_the_fair_score_has_the_expectation_of_the_law_itself(count):
    n, mean, deviation = 400_000, 0.3, 0.8
    members = mean + deviation * _normal(count, n)
    for truth in (-1.0, 0.3, 2.5):
        score = fair_crps(members, torch.full((n,), truth, dtype=torch.float64), alpha=1.0)
        exact = float(gaussian_crps(mean, deviation, torch.tensor(truth, dtype=torch.float64)))
        assert abs(float(score.mean()) - exact) < 4 * float(score.std()) / math.sqrt(n)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 0.95, 1.0])
def test_between_the_biased_and_the_fair_definition(alpha):
    members, truth = _normal(5, 7, 3), _normal(7, 3, seed=1)
    error = (members - truth).abs().mean(0)
    spread = (members[:, None] - members[None]).abs().sum((0, 1))
    fair, biased = error - spread / (2 * 5 * 4), error - spread / (2 * 5**2)
    expected = alpha * fair + (1 - alpha) * biased
    torch.testing.assert_close(fair_crps(members, truth, alpha), expected)
    torch.testing.assert_close(fair_crps(members.movedim(0, 1), truth, alpha, dim=1), expected)


def test_the_biased_score_is_the_integral_over_thresholds():
    members, truth = _normal(6), torch.tensor(0.2, dtype=torch.float64)
    z = torch.linspace(-8, 8, 400_001, dtype=torch.float64)
    empirical = (members[:, None] <= z).double().mean(0)
    integral = torch.trapezoid((empirical - (truth <= z).double()) ** 2, z)
    assert float(fair_crps(members, truth, alpha=0.0)) == pytest.approx(float(integral), abs=1e-4)


def test_the_energy_score_of_one_dimension_is_the_crps():
    members, truth = _normal(4, 9, 1), _normal(9, 1, seed=1)
    torch.testing.assert_close(
        energy_score(members, truth, alpha=0.7), fair_crps(members, truth, 0.7)[:, 0]
    )
    plane, point = torch.view_as_complex(_normal(4, 9, 2)), torch.view_as_complex(_normal(9, 2))
    torch.testing.assert_close(
        fair_crps(plane, point, 0.7),
        energy_score(torch.view_as_real(plane), torch.view_as_real(point), euclidean, 0.7),
    )


def test_the_energy_score_sees_dependence_that_the_crps_does_not():
    """Members with the right marginals and the wrong correlation score worse."""
    n, count = 100_000, 4
    a, b = _normal(count + 1, n, 1), _normal(count + 1, n, 1, seed=1)
    together, alone = torch.cat([a, a], -1), torch.cat([a, b], -1)
    truth = together[0]
    right, wrong = together[1:], alone[1:]
    by_entry = [float(fair_crps(m, truth, 1.0).mean()) for m in (right, wrong)]
    assert by_entry[0] == pytest.approx(by_entry[1], abs=0.01)
    whole = [float(energy_score(m, truth).mean()) for m in (right, wrong)]
    assert whole[1] - whole[0] > 0.02


def test_equal_members_and_truths_have_finite_gradients():
    for score in (fair_crps, energy_score):
        members = torch.zeros(3, 5, 2, requires_grad=True)
        score(members, torch.zeros(5, 2), alpha=0.95).sum().backward()
        assert members.grad is not None and bool(members.grad.isfinite().all())


def test_short_floats_are_scored_in_single_precision():
    members, truth = _normal(4, 100).bfloat16(), _normal(100, seed=1).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        score = fair_crps(members, truth)
        whole = energy_score(members[..., None], truth[..., None])
    assert score.dtype == whole.dtype == torch.float32
    exact = fair_crps(members.double(), truth.double())
    torch.testing.assert_close(score.double(), exact, rtol=1e-5, atol=1e-6)


def test_what_cannot_be_scored_is_said():
    with pytest.raises(InputError, match="two or more"):
        fair_crps(torch.zeros(1, 3), torch.zeros(3))
    with pytest.raises(InputError, match="make them alike"):
        fair_crps(torch.zeros(2, 3), torch.zeros(1))
    with pytest.raises(InputError, match="alpha"):
        fair_crps(torch.zeros(2, 3), torch.zeros(3), alpha=1.1)
