"""Training batches and objectives of the forecast domain."""

import numpy as np
import pytest
import torch

from sciddiff.denoiser import Denoiser
from sciddiff.domains import get_domain
from sciddiff.errors import InputError
from sciddiff.objectives import Denoising, ProperScore, fair_crps
from sciddiff.objectives.rollout import TARGETS
from weather.data.store import Store
from weather.data.times import label
from weather.forecast.advance import FIELDS, LATER, SCALE, advance
from weather.forecast.domain import ForecastDomain
from weather.forecast.spec import ForecastSpec
from weather.forecast.training import ForecastDataSettings
from weather.nets.unet import SphericalUNet

NET = {"channels": 5, "vectors": [1, 2], "widths": [8, 16], "blocks": [1, 1], "embedding": 16}


def _domain(store, **options) -> ForecastDomain:
    data = ForecastDataSettings(store=str(store), batch=4, val_days=20)
    return ForecastDomain(data, **options)


def _net() -> SphericalUNet:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        net = SphericalUNet(**NET)
        torch.nn.init.normal_(net.leave.weight, std=0.05)
    return net


def test_a_residual_leads_from_the_last_state_to_the_next(small_store):
    domain, store = _domain(small_store), Store(small_store)
    batch = next(iter(domain.train_batches(0, 3, 0, 1)))
    spec = domain.spec
    now = spec.restore(batch.cond["history"][:, -1])
    after = spec.advance(now, batch.x[FIELDS])
    for row, name in enumerate(batch.ids):
        at = store.nearest(name)
        std = np.array(spec.std)[:, None, None]
        assert np.abs((store.read(at, at + 1)[0] - now[row].numpy()) / std).max() < 1e-4
        assert np.abs((store.read(at + 1, at + 2)[0] - after[row].numpy()) / std).max() < 1e-4


def test_training_and_validation_do_not_meet(small_store):
    domain = _domain(small_store, rollout={1: 0.5, 3: 0.5}, head="crps")
    train = {name for batch in domain.train_batches(0, 0, 0, 1) for name in batch.ids}
    val = {name for batch in domain.val_batches() for name in batch.ids}
    times = [label(time) for time in Store(small_store).times]
    assert max(times.index(name) for name in train) + 3 < 100 <= min(map(times.index, val))
    assert [b.ids for b in domain.val_batches()] == [b.ids for b in domain.val_batches()]


def test_processes_share_an_epoch(small_store):
    domain = _domain(small_store)
    whole = [batch.ids for batch in domain.train_batches(2, 5, 0, 1)]
    halves = [[b.ids for b in domain.train_batches(2, 5, rank, 2)] for rank in (0, 1)]
    assert len(halves[0]) == len(halves[1])
    assert whole[: 2 * len(halves[0])] == [
        ids for pair in zip(*halves, strict=True) for ids in pair
    ]
    assert whole != [batch.ids for batch in domain.train_batches(3, 5, 0, 1)]


def test_the_loss_is_weighted_by_area_and_channel(small_store):
    domain = _domain(small_store, weights={"tas": 3.0})
    weight = domain.loss_weight()
    assert weight.shape == (5, 16, 1) and float(weight.mean()) == pytest.approx(1.0)
    area = np.array(Store(small_store).grid.weights)
    assert np.allclose(weight[0, :, 0] / weight[0].mean(), area, atol=1e-6)
    by_channel = weight.mean((1, 2))
    ratios = by_channel / by_channel[1]
    assert torch.allclose(ratios, torch.tensor([1.2, 1.0, 1.0, 0.6, 3.0]))


def test_one_draw_of_the_score_is_the_bootstrap_formula(small_store):
    """crps: r = F(noise, t = 0); score of x(n) + scale r over scale against the truth."""
    domain = _domain(small_store, head="crps", members=3)
    denoiser = Denoiser(_net(), domain.training_path())
    batch = next(iter(domain.train_batches(0, 0, 0, 1)))
    objective = domain.objective()
    assert isinstance(objective, ProperScore)
    loss = objective(denoiser, batch, torch.Generator().manual_seed(7)).loss.detach()
    generator = torch.Generator().manual_seed(7)
    members = []
    for _ in range(3):
        noise = torch.randn(batch.x[FIELDS].shape, generator=generator)
        with torch.no_grad():
            members.append(denoiser.net({FIELDS: noise}, torch.zeros(4), batch)[FIELDS])
    score = fair_crps(torch.stack(members), batch.x[FIELDS], 0.95)
    assert float(loss) == pytest.approx(float((score * domain.loss_weight()).mean()), rel=1e-5)


def test_denoising_loss_is_that_of_the_preconditioned_network(small_store):
    domain = _domain(small_store, sigma_data=[1.0, 0.8, 0.9, 1.0, 1.1])
    denoiser = Denoiser(_net(), domain.training_path())
    batch = next(iter(domain.train_batches(0, 0, 0, 1)))
    assert isinstance(domain.objective(), Denoising)
    x1 = batch.x[FIELDS]
    x0 = torch.randn(x1.shape, generator=torch.Generator().manual_seed(1))
    t = torch.full((4,), 0.4)
    d = torch.tensor([1.0, 0.8, 0.9, 1.0, 1.1]).view(-1, 1, 1)
    q = ((0.4 * d) ** 2 + 0.6**2).sqrt()
    x_t = 0.4 * x1 + 0.6 * x0
    with torch.no_grad():
        raw = denoiser.net({FIELDS: x_t / q}, t, batch)[FIELDS]
        predictions = denoiser({FIELDS: x_t}, t, batch)
    expected = 0.4 * d**2 / q**2 * x_t + 0.6 * d / q * raw
    assert torch.allclose(predictions[FIELDS].data, expected, atol=1e-5)


def test_roll_out_sees_its_own_states(small_store):
    """After a perfect first step the second target is the truth; errors are carried on."""
    domain = _domain(small_store, head="crps", rollout={3: 1.0})
    batch = next(iter(domain.train_batches(0, 0, 0, 1)))
    assert batch.cond[TARGETS].shape[1] == 2 and batch.cond[LATER].shape[1] == 2
    perfect = advance(batch, batch.x)
    truth = (batch.cond[TARGETS][:, 0] - perfect.cond["history"][:, -1]) / batch.cond[SCALE]
    assert torch.allclose(perfect.x[FIELDS], truth)
    assert torch.equal(perfect.cond["history"][:, 0], batch.cond["history"][:, 1])
    assert torch.equal(perfect.cond["forcing"], batch.cond[LATER][:, 0])
    wrong = advance(batch, {FIELDS: batch.x[FIELDS] + 0.5})
    assert torch.allclose(wrong.x[FIELDS], perfect.x[FIELDS] - 0.5, atol=1e-4)
    denoiser = Denoiser(_net(), domain.training_path())
    output = domain.objective()(denoiser, batch, torch.Generator().manual_seed(0))
    output.loss.backward()
    assert torch.isfinite(output.loss)
    assert all(p.grad is not None for n, p in denoiser.named_parameters() if "film" not in n)


def test_spectral_term_scores_coefficients(small_store):
    domain = _domain(small_store, head="crps", spectral=0.1)
    denoiser = Denoiser(_net(), domain.training_path())
    batch = next(iter(domain.train_batches(0, 0, 0, 1)))
    plain = _domain(small_store, head="crps").objective()
    with_term = domain.objective()(denoiser, batch, torch.Generator().manual_seed(0))
    without = plain(denoiser, batch, torch.Generator().manual_seed(0))
    extra = float((with_term.loss - without.loss).detach())
    assert extra == pytest.approx(0.1 * float(with_term.metrics["loss/spectrum"]), rel=1e-3)


def test_provenance_is_the_spec(small_store):
    domain = _domain(small_store, head="crps")
    spec = ForecastSpec.from_meta({"data": domain.provenance()})
    store = Store(small_store)
    assert spec.names == store.names and spec.grid == str(store.grid)
    assert spec.fingerprint == store.fingerprint and spec.calendar == "noleap"
    assert np.allclose(spec.tendency_std, store.statistics.tendency_std)
    assert spec.head == "crps" and spec.step_hours == 24.0
    assert ForecastSpec.from_meta(spec.to_plain()) == spec


def test_a_store_of_a_year_tells_its_seasons(small_store, seasonal_store):
    assert _domain(small_store).spec.seasons == ()
    with pytest.raises(InputError, match="domain.relax: .* less than a year"):
        _domain(small_store, head="crps", relax=True).objective()
    spec = _domain(seasonal_store).spec
    seasons = np.array(spec.seasons)
    assert seasons.shape == (5, 6)
    np.testing.assert_allclose(seasons[:, 1], 3.0, atol=0.1)
    assert ForecastSpec.from_meta(spec.to_plain()) == spec


def test_fine_tuning_keeps_the_statistics_of_a_model(small_store, small_models, small_spec):
    data = ForecastDataSettings(
        store=str(small_store), val_days=20, statistics=small_models["crps"]
    )
    assert ForecastDomain(data).spec.mean == small_spec.mean
    other = ForecastDataSettings(
        store=str(small_store), channels=("tas",), val_days=20, statistics=small_models["crps"]
    )
    with pytest.raises(InputError, match="leave data.statistics empty"):
        _ = ForecastDomain(other).spec


def test_registered_and_cheap_to_build():
    assert get_domain("forecast") is ForecastDomain
    domain = ForecastDomain()
    assert domain.path().paths[FIELDS].loss_weight is not None
    with pytest.raises(InputError, match="data.store"):
        domain.provenance()
    with pytest.raises(InputError, match="head"):
        ForecastDomain(head="oracle")
    with pytest.raises(InputError, match="flow matching"):
        ForecastDomain(parametrization="noise")


def test_flow_matching_compares_velocities(small_store):
    """The loss of an untrained network, whose velocity is zero, is that of x1 - x0."""
    domain = _domain(small_store, parametrization="velocity")
    batch = next(iter(domain.train_batches(0, 3, 0, 1)))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        denoiser = Denoiser(SphericalUNet(**NET), domain.training_path())
    x0 = torch.randn(batch.x[FIELDS].shape, generator=torch.Generator().manual_seed(1))
    t = torch.full((batch.size,), 0.3)
    seen = domain.training_path().sample(batch.x, t, None, {FIELDS: x0}, batch.layouts)
    prediction = denoiser({FIELDS: seen[FIELDS].x_t}, t, batch)[FIELDS]
    assert torch.count_nonzero(prediction.velocity) == 0
    found = denoiser.path[FIELDS].loss(prediction, seen[FIELDS])
    expected = domain.loss_weight() * (batch.x[FIELDS] - x0) ** 2
    assert torch.allclose(found.mean(), expected.mean(), rtol=1e-5)
    assert isinstance(domain.objective(), Denoising)


def test_single_steps_through_the_core(small_store, small_models, tmp_path):
    """like, sample, write, evaluate: the verbs of the core work on forecasts too."""
    from sciddiff import checkpoint, grids
    from sciddiff.samplers import Ancestral
    from sciddiff.sampling import sample

    model = checkpoint.load(small_models["diffusion"])
    request = {"init": small_store, "model": small_models["diffusion"], "n": 3, "start": "3-4-1"}
    for batch in model.domain.like(request):
        made = sample(model.denoiser, batch, Ancestral(), grids.uniform(2), 0)
        files = model.domain.write(batch, made.x, tmp_path)
    assert len(files) == 3
    scores = model.domain.evaluate(tmp_path, small_store)
    assert scores["time"] == "0003-04-02T00:00:00" and scores["tas"]["rmse_of_mean"] > 0
    with pytest.raises(InputError, match="unknown"):
        model.domain.like({"initial": "x"})


def test_single_steps_are_drawn_as_the_head_was_trained(small_store, small_models):
    """One call from noise of the spread where a network does it in one; a grid of six else."""
    from sciddiff import checkpoint
    from sciddiff.streams import Streams

    assert len(checkpoint.load(small_models["diffusion"]).drawing.grid) == 7
    model = checkpoint.load(small_models["crps"])
    request = {"init": small_store, "model": small_models["crps"], "start": "3-4-1"}
    model.domain.spread = 1.5
    assert model.drawing.prior_scale == 1.5
    drawn = model.sample(2, seed=3, **request)
    (batch,) = model.domain.like({**request, "n": 2})
    path = model.denoiser.path.paths[FIELDS]
    noise = 1.5 * path.prior(batch.x[FIELDS], Streams(3, torch.arange(2)), batch.layouts[FIELDS])
    with torch.no_grad():
        x = {FIELDS: path.first_state(noise)}
        data = model.denoiser(x, torch.zeros(2), batch)[FIELDS].data
    found = torch.stack([state[FIELDS] for state in drawn])
    assert torch.allclose(found, data, atol=1e-5)


def test_a_model_does_not_look_for_the_data_it_was_trained_on(tmp_path, monkeypatch):
    """Another store of the same name in the working folder changes and breaks nothing."""
    import sciddiff

    monkeypatch.chdir(tmp_path)
    (tmp_path / "data" / "planet.zarr").mkdir(parents=True)
    model = sciddiff.load("planet_crps")
    assert model.domain.data.store == "data/planet.zarr"
    assert model.denoiser.path[FIELDS].loss_weight.numel() == 1
