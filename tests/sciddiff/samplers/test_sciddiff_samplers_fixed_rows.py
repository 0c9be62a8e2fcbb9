"""Fixed rows: they stay, they set the frame, and their neighbours do not feel it."""

import math

import pytest
import torch

from sciddiff.denoiser import Denoiser
from sciddiff.guidance import AutoGuidance, Energy, Posterior
from sciddiff.manifolds import SO3, Euclidean, Sphere, Torus, ZeroCenterOfMass
from sciddiff.paths import BrownianPath, GaussianPath, GeodesicPath
from sciddiff.samplers import Ancestral, DPMSolverPP, EulerMaruyama, Heun, Midpoint
from sciddiff.sampling import sample
from sciddiff.schedules import VE, Linear
from sciddiff.state import Batch, Layout
from sciddiff.streams import Streams

GRID = torch.linspace(0, 1, 7)
SAMPLERS = [
    Ancestral(0.0), Ancestral(1.0), Heun(), Midpoint(), DPMSolverPP("2M"), DPMSolverPP("2S"),
    EulerMaruyama(),
]  # fmt: skip
PATHS = {
    "flat": GaussianPath(Linear(), Euclidean()),
    "centred": GaussianPath(Linear(), ZeroCenterOfMass()),
    "SO3": GeodesicPath(SO3()),
    "torus": GeodesicPath(Torus()),
    "sphere": GeodesicPath(Sphere(3)),
    "SO3 score": BrownianPath(SO3(), parametrization="data"),
    "torus score": BrownianPath(Torus(), VE(0.02, 4.0), parametrization="data"),
}
SHAPES = {"SO3": (3, 3), "SO3 score": (3, 3), "torus": (), "torus score": ()}


class Knows(torch.nn.Module):
    """A network that knows the data of every leaf."""

    def __init__(self, data):
        super().__init__()
        self.data = data

    def forward(self, x_t, t, batch):
        return {name: self.data.expand_as(x) for name, x in x_t.items()}


class Says(torch.nn.Module):
    """A network that says the same tangent vector everywhere."""

    def __init__(self, value):
        super().__init__()
        self.value = value

    def forward(self, x_t, t, batch):
        return {"x": self.value}


def data_of(name):
    path = PATHS[name]
    like = torch.empty(2, 5, *SHAPES.get(name, (3,)), dtype=torch.float64)
    x = path.prior(like, Streams.first(1, 2))
    return x + 10.0 if name == "flat" else x


@pytest.mark.parametrize("held", [False, True], ids=["free", "held"])
@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda s: f"{type(s).__name__}")
@pytest.mark.parametrize("name", PATHS)
def test_free_rows_reach_the_data_of_an_exact_denoiser(name, sampler, held):
    data = data_of(name)
    fixed = torch.tensor([[True, False, False, True, False]] * 2) if held else None
    batch = Batch({"x": data}, layouts={"x": Layout(2, fixed=fixed)})
    model = Denoiser(Knows(data), {"x": PATHS[name]})
    out = sample(model, batch, sampler, GRID, 3).x["x"]
    assert float(PATHS[name].manifold.dist(out, data).max()) < 1e-6


@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda s: f"{type(s).__name__}")
@pytest.mark.parametrize("kind", ["torus", "SO3"])
def test_a_fixed_row_does_not_change_its_neighbours(kind, sampler):
    """Displacements longer than half a turn, whose logarithm would lead the other way round."""
    manifold = PATHS[kind].manifold
    path = GeodesicPath(manifold, parametrization="displacement")
    data = data_of(kind)
    shape = data.shape if kind == "torus" else (*data.shape[:2], 3)
    vector = torch.full(shape, 4.0 / math.sqrt(3.0), dtype=torch.float64)
    model = Denoiser(Says(vector), {"x": path})
    fixed = torch.tensor([[True, False, False, False, False]] * 2)
    free, held = (
        sample(
            model, Batch({"x": data}, layouts={"x": Layout(2, fixed=f)}), sampler, GRID, 3
        ).x["x"]
        for f in (None, fixed)
    )
    assert torch.equal(held[:, 0], data[:, 0])
    torch.testing.assert_close(held[:, 1:], free[:, 1:], atol=1e-9, rtol=0)


def test_guided_rotations_do_not_feel_a_fixed_neighbour():
    data = data_of("SO3")
    strong, weak = (
        Denoiser(Knows(PATHS["SO3"].prior(data, Streams.first(seed, 2))), {"x": PATHS["SO3"]})
        for seed in (5, 6)
    )
    guided = AutoGuidance(weak, 3.0)(strong)
    fixed = torch.tensor([[True, False, False, False, False]] * 2)
    free, held = (
        sample(
            guided, Batch({"x": data}, layouts={"x": Layout(2, fixed=f)}), Ancestral(0.0), GRID, 3
        ).x["x"]
        for f in (None, fixed)
    )
    torch.testing.assert_close(held[:, 1:], free[:, 1:], atol=1e-9, rtol=0)


def scaffold():
    """A centred leaf whose first row is held far from the centre."""
    data = torch.tensor([[[10.0, 0, 0], [11.0, 1, 0], [9.0, 2, 0], [10.0, -3, 1]]]).double()
    fixed = torch.tensor([[True, False, False, False]])
    return data, Batch({"x": data}, layouts={"x": Layout(1, fixed=fixed)})


@pytest.mark.parametrize("steps", [7, 25])
@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda s: f"{type(s).__name__}")
def test_a_scaffold_stays_on_its_motif(sampler, steps):
    data, batch = scaffold()
    path = PATHS["centred"]
    seen = []
    out = sample(
        Denoiser(Knows(data), {"x": path}), batch, sampler, torch.linspace(0, 1, steps), 0,
        callback=lambda progress: seen.append(progress.x["x"].mean(1)),
    )  # fmt: skip
    torch.testing.assert_close(out.x["x"], data, atol=1e-6, rtol=0)
    assert float(seen[-1][0, 0]) == pytest.approx(10.0, abs=1e-6)


@pytest.mark.parametrize("through", [False, True])
def test_an_energy_pulls_a_scaffold_by_its_whole_gradient(through):
    """All free rows are pulled the same way, which centring would take away again."""
    data, batch = scaffold()
    pull = lambda state, _: -5.0 * state["x"][:, :, 1].sum(1)  # noqa: E731
    model = Denoiser(Knows(data), {"x": PATHS["centred"]})
    energy = Energy(pull, variance=lambda t: torch.ones_like(t))
    x, t = {"x": torch.zeros_like(data)}, torch.tensor([0.5]).double()
    if through:

        class Moves(torch.nn.Module):
            def forward(self, x_t, t, batch):
                return {"x": data + x_t["x"]}

        model = Denoiser(Moves(), {"x": PATHS["centred"]})
        energy = Energy(pull, through_network=True)
    before, after = model(x, t, batch)["x"].data, energy(model)(x, t, batch)["x"].data
    expected = 5.0 * (0.5**2 / 0.5 if through else 1.0)
    torch.testing.assert_close(
        (after - before)[0, :, 1], torch.full((4,), expected).double(), atol=1e-9, rtol=0
    )


def test_observations_pull_a_scaffold_in_its_own_frame():
    data, batch = scaffold()

    class Moves(torch.nn.Module):
        def forward(self, x_t, t, batch):
            return {"x": x_t["x"]}

    model = Denoiser(Moves(), {"x": PATHS["centred"]})
    values, errors = torch.full((3,), 5.0), torch.full((3,), 1e-6)
    posterior = Posterior(lambda state, _: state["x"][:, 1:, 1], values, errors, iterations=4)
    x, t = {"x": torch.zeros_like(data)}, torch.tensor([0.5]).double()
    found = posterior(model)(x, t, batch)["x"].data[0, :, 1]
    torch.testing.assert_close(found, torch.tensor([0.0, 5, 5, 5]).double(), atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", PATHS)
def test_fixed_rows_may_be_shown_noised(name):
    data = data_of(name)
    fixed = torch.tensor([[True, False, False, True, False]] * 2)
    batch = Batch({"x": data}, layouts={"x": Layout(2, fixed=fixed)})
    shown = []

    class Watches(Knows):
        def forward(self, x_t, t, batch):
            shown.append((float(t[0]), x_t["x"][:, 0]))
            return super().forward(x_t, t, batch)

    model = Denoiser(Watches(data), {"x": PATHS[name]})
    out = sample(model, batch, Ancestral(0.0), torch.linspace(0, 1, 21), 3, replace="noised")
    assert torch.equal(out.x["x"][:, 0], data[:, 0])
    far = [float(PATHS[name].manifold.dist(x, data[:, 0]).mean()) for _, x in shown]
    assert far[0] > 3.0 * far[-2] > 0.0
