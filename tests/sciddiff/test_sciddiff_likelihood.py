"""log_prob against analytic densities, on flat leaves, the torus, SO(3) and products of them."""

import math

import pytest
import torch

from sciddiff.denoiser import Denoiser
from sciddiff.errors import InputError
from sciddiff.likelihood import log_prob
from sciddiff.manifolds import SO3, Sphere, Torus, ZeroCenterOfMass, igso3
from sciddiff.noise import Correlated
from sciddiff.paths import GaussianPath, GeodesicPath, ProductPath
from sciddiff.prediction import TangentPrediction
from sciddiff.samplers import Ancestral
from sciddiff.sampling import sample
from sciddiff.schedules import VE, VP, Cosine, Linear
from sciddiff.state import Batch, Layout
from sciddiff.streams import Streams, normal
from sciddiff.testing import AnalyticDenoiser, GaussianMixture, TorusMixture

F64 = torch.float64


def gaussian_denoiser(schedule, law=None, **path):
    law = law or GaussianMixture.standard()
    return AnalyticDenoiser({"x": GaussianPath(schedule, **path)}, {"x": law}), law


def points(law, count=5, dimension=2):
    return law.sample(torch.empty(count, dimension, dtype=F64), Streams.first(1, count))


@pytest.mark.parametrize("schedule", [Linear(), Cosine()], ids=str)
def test_mixture_density_at_t_end(schedule):
    denoiser, law = gaussian_denoiser(schedule)
    x = points(law)
    t_end = 0.9
    found = log_prob(denoiser, Batch({"x": x}), steps=50, t_end=t_end)
    alpha, sigma = (float(v) for v in schedule.values(torch.tensor(t_end, dtype=F64)))
    exact = law.log_prob_at(alpha * x, alpha, sigma) + 2 * math.log(alpha)
    torch.testing.assert_close(found, exact, atol=1e-6, rtol=0)


def test_mixture_density_of_the_data():
    denoiser, law = gaussian_denoiser(Linear())
    x = points(law)
    found = log_prob(denoiser, Batch({"x": x}), steps=100, t_end=1 - 1e-4)
    torch.testing.assert_close(found, law.log_prob(x), atol=1e-6, rtol=0)


def test_variance_preserving_and_exploding():
    # The prior neglects the data that are left at t = 0: alpha(0) = 7e-3 and 1 / 100 of it.
    for schedule in (VP(), VE(sigma_max=100.0)):
        denoiser, law = gaussian_denoiser(schedule)
        x = points(law)
        found = log_prob(denoiser, Batch({"x": x}), steps=40)
        torch.testing.assert_close(found, law.log_prob(x), atol=0.03, rtol=0)


def test_correlated_data_and_correlated_noise():
    generator = torch.Generator().manual_seed(0)
    root = torch.randn(3, 3, generator=generator, dtype=F64)
    covariance = root @ root.T + 0.2 * torch.eye(3, dtype=F64)
    # Data that are colored as the noise is: whitening makes them a standard problem.
    factor = torch.linalg.cholesky(covariance)
    law = GaussianMixture(torch.zeros(1, 3, dtype=F64), 0.25 * covariance[None])

    class Exact:
        path = ProductPath({"x": GaussianPath(Linear(), noise=Correlated(factor))})

        def __call__(self, x_t, t, batch):
            t = t[:, None]
            data = 0.25 * t / (0.25 * t**2 + (1 - t) ** 2) * x_t["x"]
            return {"x": self.path["x"].predict(data, x_t["x"], t[:, 0])}

    x = points(law, dimension=3)
    found = log_prob(Exact(), Batch({"x": x}), steps=64, t_end=1 - 1e-5)
    exact = torch.distributions.MultivariateNormal(
        torch.zeros(3, dtype=F64), 0.25 * covariance
    ).log_prob(x)
    torch.testing.assert_close(found, exact, atol=1e-6, rtol=0)


@pytest.mark.parametrize("ragged", [False, True])
def test_zero_centre_of_mass_has_fewer_dimensions(ragged):
    spread = 0.5
    rows = 4
    law = GaussianMixture(torch.zeros(1, 2, dtype=F64), spread**2 * torch.eye(2, dtype=F64)[None])
    path = GaussianPath(Linear(), manifold=ZeroCenterOfMass())
    denoiser = AnalyticDenoiser({"x": path}, {"x": law})
    cloud = normal(torch.empty(2, rows, 2, dtype=F64), Streams.first(0, 2))
    cloud = spread * (cloud - cloud.mean(1, keepdim=True))
    batch = Batch({"x": cloud})
    if ragged:
        layout = Layout(2, index=torch.arange(2).repeat_interleave(rows))
        batch = Batch({"x": cloud.flatten(0, 1)}, layouts={"x": layout})
    found = log_prob(denoiser, batch, steps=48, t_end=1 - 1e-5)
    freedom = 2 * (rows - 1)
    square = cloud.square().sum((1, 2)) / spread**2
    exact = -0.5 * square - freedom * math.log(spread * math.sqrt(2 * math.pi))
    torch.testing.assert_close(found, exact, atol=1e-6, rtol=0)


def test_padding_adds_nothing():
    law = GaussianMixture.standard()
    denoiser = AnalyticDenoiser({"x": GaussianPath()}, {"x": law})
    x = law.sample(torch.empty(2, 3, 2, dtype=F64), Streams.first(1, 2))
    mask = torch.tensor([[True, True, True], [True, True, False]])
    found = log_prob(denoiser, Batch({"x": x}, layouts={"x": Layout(2, mask)}), steps=40)
    short = log_prob(denoiser, Batch({"x": x[1:, :2]}), steps=40)
    torch.testing.assert_close(found[1:], short, atol=1e-9, rtol=0)
    exact = (law.log_prob(x) * mask).sum(1)
    torch.testing.assert_close(found, exact, atol=1e-4, rtol=0)


def test_wrapped_normal_on_the_torus():
    law = TorusMixture(torch.tensor([0.5, -2.0]), torch.tensor([0.6, 0.9]))
    denoiser = AnalyticDenoiser({"a": GeodesicPath(Torus())}, {"a": law})
    x = torch.tensor([[0.3, 3.0], [-2.5, 1.0], [-3.1, -0.5]], dtype=F64)
    found = log_prob(denoiser, Batch({"a": x}), steps=200, t_end=1 - 1e-4)
    torch.testing.assert_close(found, law.log_prob(x).sum(1), atol=1e-5, rtol=0)


class HeatFlow:
    """The exact probability flow of the heat equation on SO(3), from uniform to IGSO(3)."""

    path = ProductPath({"r": GeodesicPath(SO3())})

    def __init__(self, centre, widest=5.0, narrowest=0.5):
        self.centre, self.widest, self.narrowest = centre, widest, narrowest

    def sigma(self, t):
        return self.widest * (self.narrowest / self.widest) ** t

    def __call__(self, x_t, t, batch):
        r = x_t["r"]
        variance_rate = 2 * math.log(self.narrowest / self.widest) * self.sigma(t) ** 2
        v = SO3().log(self.centre.expand_as(r), r)
        score = igso3.score_vector(v, self.sigma(t)[:, None])
        velocity = -0.5 * variance_rate[:, None, None] * score
        kappa = self.path["r"].kappa
        return {"r": TangentPrediction("velocity", velocity, r, t, SO3(), kappa)}


@pytest.mark.parametrize("exact", [True, False])
def test_igso3_on_rotations(exact):
    centre = SO3().exp(torch.eye(3, dtype=F64), torch.tensor([0.4, -1.0, 0.8], dtype=F64))
    noise = normal(torch.empty(3, 1, 3, dtype=F64), Streams.first(3, 3))
    rotations = SO3().exp(centre.expand(3, 1, 3, 3), 0.7 * noise)
    denoiser = HeatFlow(centre)
    steps = 64 if exact else 16
    found = log_prob(
        denoiser, Batch({"r": rotations}), exact=exact, probes=64, steps=steps, t_end=1.0
    )
    wanted = igso3.log_density(SO3().dist(centre, rotations), denoiser.narrowest).sum(1)
    tolerance = 1e-5 if exact else 0.35
    torch.testing.assert_close(found, wanted, atol=tolerance, rtol=0)


def test_product_of_leaves_adds_up():
    flat = GaussianMixture.standard()
    turns = TorusMixture(torch.tensor([0.5]), torch.tensor([0.7]))
    paths = {"x": GaussianPath(Linear()), "a": GeodesicPath(Torus())}
    denoiser = AnalyticDenoiser(paths, {"x": flat, "a": turns})
    x = points(flat, 3)
    a = torch.tensor([[0.1], [2.0], [-1.0]], dtype=F64)
    found = log_prob(denoiser, Batch({"x": x, "a": a}), steps=80)
    exact = flat.log_prob(x) + turns.log_prob(a).sum(1)
    torch.testing.assert_close(found, exact, atol=2e-4, rtol=0)


def test_hutchinson_is_unbiased_and_reproducible():
    denoiser, law = gaussian_denoiser(Linear())
    x = points(law, 1).expand(512, 2)
    estimate = log_prob(denoiser, Batch({"x": x}), exact=False, steps=24, seed=3)
    exact = log_prob(denoiser, Batch({"x": x[:1]}), steps=24)
    error = estimate.std() / math.sqrt(len(x))
    assert float((estimate.mean() - exact[0]).abs()) < 4 * float(error) + 1e-9
    again = log_prob(
        denoiser, Batch({"x": x[7:9]}), exact=False, steps=24, seed=3, indices=torch.tensor([7, 8])
    )
    torch.testing.assert_close(again, estimate[7:9], atol=1e-10, rtol=0)


def test_order_four():
    denoiser, law = gaussian_denoiser(Linear())
    batch = Batch({"x": points(law)})
    fine = log_prob(denoiser, batch, steps=80, t_end=0.8)
    errors = [
        (log_prob(denoiser, batch, steps=n, t_end=0.8) - fine).abs().max() for n in (10, 20)
    ]
    assert math.log2(errors[0] / errors[1]) > 3.6


def test_says_what_it_cannot_do():
    law = TorusMixture(torch.tensor([0.5]), torch.tensor([0.7]))
    sphere = AnalyticDenoiser({"s": GeodesicPath(Sphere(3))}, {"s": law})
    with pytest.raises(InputError, match="no likelihood on Sphere"):
        log_prob(sphere, Batch({"s": torch.tensor([[[1.0, 0.0, 0.0]]])}))
    denoiser, _ = gaussian_denoiser(Linear())
    fixed = Layout(1, fixed=torch.tensor([[True, False]]))
    with pytest.raises(InputError, match="fixed rows"):
        log_prob(denoiser, Batch({"x": torch.zeros(1, 2, 2)}, layouts={"x": fixed}))


def test_brownian_path_on_the_torus():
    """The exact score of a diffused wrapped normal gives its density back."""
    from sciddiff.manifolds import wrapped_normal
    from sciddiff.paths import BrownianPath, BrownianPrediction
    from sciddiff.schedules import VE

    path = BrownianPath(Torus(), VE(sigma_min=0.05, sigma_max=6.0))
    mean, scale = 0.4, 0.7

    class Exact:
        def __init__(self):
            self.path = ProductPath({"a": path})

        def __call__(self, x_t, t, batch):
            total = torch.sqrt(path.schedule.sigma(t) ** 2 + scale**2)[:, None]
            score = wrapped_normal.score(Torus().log(torch.tensor(mean), x_t["a"]), total)
            return {"a": BrownianPrediction("score", score, x_t["a"], t, path)}

    a = torch.tensor([[0.1], [2.5], [-1.0]], dtype=F64)
    widest = math.sqrt(scale**2 + 0.05**2)
    exact = wrapped_normal.log_density(Torus().log(torch.tensor(mean), a), widest)[:, 0]
    errors = [
        (log_prob(Exact(), Batch({"a": a}), steps=n, t_end=1.0) - exact - math.log(2 * math.pi))
        for n in (20, 60)
    ]
    assert float(errors[1].abs().max()) < 5e-5
    assert float(errors[0].abs().max() / errors[1].abs().max()) > 3**3.3  # order four: 3^4


def test_probes_are_not_the_noise_of_the_samples():
    """One's own samples at one's own seed: the estimate is unbiased there too."""
    law = GaussianMixture.standard()
    model = AnalyticDenoiser({"x": GaussianPath()}, {"x": law})
    count = 1500
    like = Batch({"x": torch.zeros(count, 2, dtype=torch.float64)})
    x = sample(model, like, Ancestral(0.0), torch.linspace(0, 1, 33), 0).x
    options = {"steps": 12, "t_end": 0.98}
    exact = log_prob(model, Batch(x), **options)
    estimate = log_prob(model, Batch(x), exact=False, probes=1, seed=0, **options)
    error = estimate - exact
    assert abs(float(error.mean())) < 4.0 * float(error.std()) / count**0.5


def test_dropout_is_off_and_no_global_number_is_drawn():
    class Drops(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.drop = torch.nn.Dropout(0.5)

        def forward(self, x_t, t, batch):
            return {"x": self.drop(x_t["x"])}

    model = Denoiser(Drops(), {"x": GaussianPath()})
    batch = Batch({"x": torch.ones(2, 3)})
    torch.manual_seed(3)
    before = torch.get_rng_state()
    one, two = (log_prob(model, batch, steps=4) for _ in range(2))
    assert torch.equal(one, two) and torch.equal(torch.get_rng_state(), before) and model.training


def test_a_mask_of_no_fixed_rows_is_no_fixed_row():
    law = GaussianMixture.standard()
    model = AnalyticDenoiser({"x": GaussianPath()}, {"x": law})
    x = {"x": torch.zeros(2, 3, 2, dtype=torch.float64)}
    free = Layout(2, fixed=torch.zeros(2, 3, dtype=torch.bool))
    torch.testing.assert_close(
        log_prob(model, Batch(x, layouts={"x": free}), steps=4), log_prob(model, Batch(x), steps=4)
    )
    held = Layout(2, fixed=torch.ones(2, 3, dtype=torch.bool))
    with pytest.raises(InputError, match="leaf 'x': has fixed rows"):
        log_prob(model, Batch(x, layouts={"x": held}), steps=4)
