"""GeodesicPath: transport, and steps that keep the marginals on every manifold."""

import math

import pytest
import torch

from sciddiff.errors import InputError
from sciddiff.manifolds import SO3, Euclidean
from sciddiff.manifolds.sphere import Sphere
from sciddiff.manifolds.torus import Torus
from sciddiff.paths import GeodesicPath
from sciddiff.schedules import ExponentialKappa, LinearKappa
from sciddiff.state import Layout
from sciddiff.streams import Streams

MANIFOLDS = {"SO3": (SO3(), (3, 3)), "Torus": (Torus(), ()), "Sphere": (Sphere(3), (3,))}


def _points(name, *lead):
    manifold, event = MANIFOLDS[name]
    like = torch.empty(*lead, *event, dtype=torch.float64)
    return manifold, manifold.uniform(like, Streams.first(9, lead[0]))


def _ks(a, b):
    """Two-sample Kolmogorov-Smirnov statistic times sqrt(n / 2)."""
    both = torch.cat([a, b]).sort().values
    cdf = [torch.searchsorted(x.sort().values, both, right=True) / len(x) for x in (a, b)]
    return float((cdf[0] - cdf[1]).abs().max()) * math.sqrt(len(a) / 2)


@pytest.mark.parametrize("name", MANIFOLDS)
@pytest.mark.parametrize("kappa", [LinearKappa(), ExponentialKappa(3.0)], ids=repr)
def test_the_path_is_the_geodesic_and_the_velocity_its_derivative(name, kappa):
    manifold, x1 = _points(name, 6, 5)
    path = GeodesicPath(manifold, kappa)
    t = torch.linspace(0.1, 0.9, 6, dtype=torch.float64)
    sample = path.sample(x1, t, Streams.first(0, 6))
    share = kappa(t).view(-1, 1).expand(6, 5)
    whole = manifold.dist(sample.x0, x1)
    torch.testing.assert_close(manifold.dist(sample.x0, sample.x_t), share * whole)
    torch.testing.assert_close(manifold.dist(sample.x_t, x1), (1 - share) * whole)
    truth = path.predict(x1, sample.x_t, t)
    h = 1e-5
    ahead = path.sample(x1, t + h, None, sample.x0).x_t
    step = manifold.log(sample.x_t, ahead) / h
    torch.testing.assert_close(truth.velocity, step, rtol=1e-3, atol=1e-3)
    assert float(path.loss(truth, sample).max()) < 1e-18


@pytest.mark.parametrize("name", MANIFOLDS)
def test_ends(name):
    manifold, x1 = _points(name, 4, 5)
    path = GeodesicPath(manifold)
    start = path.sample(x1, torch.zeros(4), Streams.first(0, 4))
    torch.testing.assert_close(start.x_t, start.x0, rtol=0, atol=1e-12)
    end = path.sample(x1, torch.ones(4), Streams.first(0, 4))
    assert float(manifold.dist(end.x_t, x1).max()) < 1e-7


@pytest.mark.parametrize("name", MANIFOLDS)
def test_deterministic_steps_follow_the_path(name):
    manifold, x1 = _points(name, 4, 5)
    path = GeodesicPath(manifold, sampling_kappa=None)
    t, s = (torch.full((4,), time, dtype=torch.float64) for time in (0.2, 0.7))
    sample = path.sample(x1, t, Streams.first(0, 4))
    prediction = path.predict(x1, sample.x_t, t)
    moved = path.transition(sample.x_t, prediction, float(t[0]), float(s[0]), 0.0, None)
    expected = path.sample(x1, s, None, sample.x0).x_t
    assert float(manifold.dist(moved, expected).max()) < 1e-7


@pytest.mark.parametrize("name", MANIFOLDS)
@pytest.mark.parametrize("eta", [0.3, 1.0])
@pytest.mark.parametrize(("now", "then"), [(0.0, 0.5), (0.3, 0.6), (0.6, 0.65)])
def test_stochastic_steps_keep_the_marginals_exactly(name, eta, now, then):
    """With the data known, the distance to them has the law of the path at the later time."""
    n = 10_000
    manifold, x1 = _points(name, 1)
    x1 = x1.expand(n, *x1.shape[1:])
    path = GeodesicPath(manifold)
    t, s = (torch.full((n,), time, dtype=torch.float64) for time in (now, then))
    x = path.sample(x1, t, Streams.first(1, n)).x_t
    prediction = path.predict(x1, x, t)
    moved = path.transition(x, prediction, now, then, eta, Streams.first(2, n))
    expected = path.sample(x1, s, Streams.first(3, n)).x_t
    assert _ks(manifold.dist(moved, x1), manifold.dist(expected, x1)) < 1.95  # p = 0.001
    far = x1[:1] if name == "Torus" else manifold.uniform(x1[:1], Streams.first(5, 1))
    far = manifold.exp(far, torch.ones(1).double()) if name == "Torus" else far
    assert _ks(manifold.dist(moved, far), manifold.dist(expected, far)) < 1.95
    calm = path.transition(x, path.predict(x1, x, t), float(t[0]), float(s[0]), 0.0, None)
    assert float(manifold.dist(moved, calm).mean()) > 0.05 * eta * (then - now)


@pytest.mark.parametrize("name", MANIFOLDS)
def test_vanishing_eta_is_deterministic(name):
    manifold, x1 = _points(name, 50)
    path = GeodesicPath(manifold)
    t, s = (torch.full((50,), time, dtype=torch.float64) for time in (0.4, 0.6))
    x = path.sample(x1, t, Streams.first(1, 50)).x_t
    prediction = path.predict(x1, x, t)
    small = path.transition(x, prediction, float(t[0]), float(s[0]), 1e-10, Streams.first(2, 50))
    none = path.transition(x, prediction, float(t[0]), float(s[0]), 0.0, None)
    # But for noise ends that were cut to stay off the cut locus, at most 0.1 % of pi.
    assert float(manifold.dist(small, none).max()) < 0.001 * math.pi + 1e-4


def test_sampling_kappa_changes_steps_only():
    manifold, x1 = _points("SO3", 4, 5)
    path = GeodesicPath(manifold, sampling_kappa=ExponentialKappa(10.0))
    t, s = (torch.full((4,), time, dtype=torch.float64) for time in (0.0, 0.1))
    sample = path.sample(x1, t, Streams.first(0, 4))
    prediction = path.predict(x1, sample.x_t, t)
    moved = path.transition(sample.x_t, prediction, float(t[0]), float(s[0]), 0.0, None)
    left = manifold.dist(moved, x1) / manifold.dist(sample.x_t, x1)
    torch.testing.assert_close(left, torch.full_like(left, math.exp(-1)), rtol=1e-3, atol=0)


def test_loss_is_the_squared_velocity_error_away_from_the_data():
    manifold, x1 = _points("SO3", 4, 5)
    path = GeodesicPath(manifold)
    t = torch.tensor([0.1, 0.5, 0.8, 0.99], dtype=torch.float64)
    sample = path.sample(x1, t, Streams.first(0, 4))
    guess = manifold.uniform(x1, Streams.first(3, 4))
    prediction = path.predict(guess, sample.x_t, t)
    truth = path.predict(x1, sample.x_t, t)
    error = (prediction.velocity - truth.velocity) ** 2
    loss = path.loss(prediction, sample)
    torch.testing.assert_close(loss[:3], error[:3])
    torch.testing.assert_close(loss[3] * (0.1 / 0.01) ** 2, error[3])


def test_fixed_rows_stay_and_ragged_rows_take_their_own_time():
    manifold, x1 = _points("SO3", 6)
    index = torch.tensor([0, 0, 1, 1, 1, 1])
    fixed = torch.tensor([False, True, False, False, True, False])
    layout = Layout(2, index=index, fixed=fixed)
    t = torch.tensor([0.25, 0.75], dtype=torch.float64)
    sample = GeodesicPath(manifold).sample(x1, t, Streams.first(0, 2), layout=layout)
    assert torch.equal(sample.x_t[fixed], x1[fixed])
    share = manifold.dist(sample.x0, sample.x_t) / manifold.dist(sample.x0, x1)
    torch.testing.assert_close(share[~fixed], t[index][~fixed])


def test_gradients_are_finite_at_perfect_and_opposite_predictions():
    manifold, x1 = SO3(), torch.eye(3).expand(2, 3, 3).clone()
    path, t = GeodesicPath(manifold), torch.tensor([0.5, 1.0])
    flip = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    for x0 in (x1, flip.expand(2, 3, 3)):
        sample = path.sample(x1, t, None, x0)
        guess = x1.clone().requires_grad_()
        path.loss(path.predict(guess, sample.x_t, t), sample).sum().backward()
        assert guess.grad.isfinite().all()


def test_flat_manifolds_are_refused():
    with pytest.raises(InputError, match="Euclidean has no uniform law; use GaussianPath"):
        GeodesicPath(Euclidean())


def test_a_displacement_longer_than_half_a_turn_is_followed_as_it_is():
    """Half of it leads elsewhere than half of the logarithm of where it ends."""
    path = GeodesicPath(Torus(), parametrization="displacement")
    x = torch.zeros(1, 1, dtype=torch.float64)
    prediction = path.predict(torch.full_like(x, 4.0), x, torch.zeros(1))
    half = path.transition(x, prediction, 0.0, 0.5, 0.0, None)
    assert float(half) == pytest.approx(2.0)


@pytest.mark.parametrize("name", MANIFOLDS)
def test_a_stochastic_step_from_its_middle_forgets_its_part(name):
    """With the data known a step that ends from a later stage keeps the marginals too."""
    from sciddiff.paths.move import FreshNoise, LeafStage, Move, natural_share

    n, (now, middle, then) = 10_000, (0.2, 0.5, 0.7)
    manifold, x1 = _points(name, 1)
    x1 = x1.expand(n, *x1.shape[1:])
    path = GeodesicPath(manifold)
    stages = []
    x = path.sample(x1, torch.full((n,), now), Streams.first(1, n)).x_t
    for time in (now, middle):
        if time == middle:
            x = path.transition(x, stages[0].prediction, now, middle, 0.0, None)
        prediction = path.predict(x1, x, torch.full((n,), time))
        stages.append(LeafStage(x, prediction, time, (time, 1.0 - time)))
    share = 0.5 * natural_share(stages[0].levels, (then, 1.0 - then))
    move = Move(tuple(stages), then, (0.5, 0.5), FreshNoise.replacing(share), (then, 1.0 - then))
    found = path.step(move, Streams.first(2, n))
    # Half of what can be forgotten on the way from the middle, as one step from there does.
    alone = path.transition(x, stages[1].prediction, middle, then, 0.5, Streams.first(2, n))
    torch.testing.assert_close(found, alone, atol=1e-9, rtol=0)
