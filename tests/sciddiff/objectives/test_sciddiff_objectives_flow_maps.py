"""Flow maps: their laws, the exact one of normal data, and what objectives make of it."""

import itertools
import math

import pytest
import torch

from sciddiff import SO3, Batch, Denoiser, Layout, Sphere, Torus, sample
from sciddiff.errors import InputError
from sciddiff.objectives import Consistency, Denoising, Instant, MeanFlow, Shortcut
from sciddiff.objectives.mean_flow import Way, changes
from sciddiff.paths import BrownianPath, GaussianPath, GeodesicPath, MaskPath, ProductPath
from sciddiff.samplers import Ancestral, FlowMap
from sciddiff.schedules import VP, Cosine, ExponentialKappa, Linear
from sciddiff.state import State

G = torch.Generator
MEAN, SPREAD = 0.8, 0.6


class NormalMap(torch.nn.Module):
    """The exact flow map of normal data: a line through the means, as wide as the law is.

    It says the data that the path's own jump needs; at s = t that is what a denoiser says.
    """

    def __init__(self, path, names=("x",)):
        super().__init__()
        self.path, self.names = path, names
        self.shift = torch.nn.Parameter(torch.zeros((), dtype=torch.float64))

    def _law(self, t):
        alpha, sigma = self.path.schedule.values(t)
        return alpha, sigma, alpha * MEAN, ((alpha * SPREAD) ** 2 + sigma**2).sqrt()

    def move(self, x, t, s):
        _, _, mean, width = self._law(t)
        _, _, mean_s, width_s = self._law(s)
        return mean_s[:, None] + (width_s / width)[:, None] * (x - mean[:, None])

    def data(self, x, t, s):
        alpha, sigma, mean, width = self._law(t)
        alpha_s, sigma_s, _, _ = self._law(s)
        kept = sigma_s / sigma
        jumped = (self.move(x, t, s) - kept[:, None] * x) / (alpha_s - kept * alpha)[:, None]
        gain = (SPREAD**2 * alpha / width**2)[:, None]
        still = MEAN + gain * (x - mean[:, None])
        return torch.where((s - t)[:, None].abs() < 1e-9, still, jumped)

    def forward(self, x_t, t, batch, until=None):
        until = t if until is None else until
        return {name: self.data(x_t[name], t, until) + self.shift for name in self.names}


def _normal(schedule=None, size=64):
    path = GaussianPath(schedule or Linear())
    denoiser = Denoiser(NormalMap(path), {"x": path})
    g = G().manual_seed(0)
    data = MEAN + SPREAD * torch.randn(size, 3, generator=g, dtype=torch.float64)
    return denoiser, Batch({"x": data})


@pytest.mark.parametrize("schedule", [Linear(), Cosine(), VP()])
def test_jumps_compose_and_follow_the_closed_form(schedule):
    denoiser, batch = _normal(schedule)
    net, path = denoiser.net, denoiser.path.paths["x"]
    t, s, r = (torch.full((64,), value, dtype=torch.float64) for value in (0.2, 0.5, 0.9))
    x_t = path.sample(batch.x["x"], t, G().manual_seed(1)).x_t
    first = path.jump(denoiser({"x": x_t}, t, batch, until=s)["x"], s)
    torch.testing.assert_close(first, net.move(x_t, t, s))
    second = path.jump(denoiser({"x": first}, s, batch, until=r)["x"], r)
    whole = path.jump(denoiser({"x": x_t}, t, batch, until=r)["x"], r)
    torch.testing.assert_close(second, whole)


def test_a_jump_of_no_length_says_the_velocity():
    """u(x, t, t) = v, and short jumps come near it in proportion to their length."""
    denoiser, batch = _normal()
    t = torch.full((64,), 0.4, dtype=torch.float64)
    x_t = {"x": denoiser.path.sample(batch.x, t, G().manual_seed(1))["x"].x_t}
    exact = denoiser(x_t, t, batch)["x"].velocity
    assert torch.equal(denoiser(x_t, t, batch, until=t)["x"].velocity, exact)
    errors = [
        float((denoiser(x_t, t, batch, until=t + h)["x"].velocity - exact).abs().max())
        for h in (1e-2, 1e-3)
    ]
    assert 9.0 < errors[0] / errors[1] < 11.0


def _flows(kind):
    if kind == "flat":
        return GaussianPath(Cosine())
    if kind == "brownian":
        return BrownianPath(SO3(), parametrization="data")
    manifold = {"so3": SO3(), "torus": Torus(), "sphere": Sphere()}[kind.split("-")[0]]
    kappa = ExponentialKappa(5.0) if kind.endswith("sampled") else None
    return GeodesicPath(manifold, sampling_kappa=kappa)


def _points(path, seed, size=32):
    like = torch.zeros(size, 3, 3) if isinstance(path.manifold, SO3) else torch.zeros(size, 3)
    g = G().manual_seed(seed)
    if isinstance(path, GaussianPath):
        return torch.randn(like.shape, generator=g, dtype=torch.float64)
    return path.manifold.uniform(like.double(), g)


KINDS = ("flat", "so3", "torus", "sphere", "so3-sampled", "brownian")


@pytest.mark.parametrize("kind", KINDS)
def test_jumps_towards_one_point_compose_along_the_geodesic(kind):
    """Of data that are a point, the flow is the geodesic to it; fractions of it add up."""
    path = _flows(kind)
    data, x = _points(path, 1), _points(path, 2)
    t, s, r = (torch.full((32,), value, dtype=torch.float64) for value in (0.3, 0.55, 0.8))

    def said(x, t):
        return path.predict(data, x, t)

    through = path.jump(said(path.jump(said(x, t), s), s), r)
    if kind != "brownian":  # where what is said of a state is its score, which is no geodesic
        torch.testing.assert_close(through, path.jump(said(x, t), r), rtol=1e-7, atol=1e-7)
    # As samplers step, whose times are numbers.
    step = path.transition(x, path.predict(data, x, 0.3), 0.3, 0.8, 0.0, None)
    torch.testing.assert_close(path.jump(said(x, t), r), step, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_what_arrives_is_where_the_jump_ends(kind):
    path = _flows(kind)
    data, x, end = _points(path, 1), _points(path, 2), _points(path, 3)
    t, s = (torch.full((32,), value, dtype=torch.float64) for value in (0.3, 0.7))
    said = path.predict(data, x, t)
    if kind != "flat":  # near enough that the whole way stays short of the cut locus
        end = path.manifold.geodesic(x, end, 0.3)
    arrived = path.jump(path.arriving(said, end, s), s)
    torch.testing.assert_close(arrived, end, rtol=1e-6, atol=1e-6)
    back = path.arriving(said, path.jump(said, s), s)
    torch.testing.assert_close(back.coordinates, said.coordinates, rtol=1e-5, atol=1e-5)


def test_points_that_a_network_says_end_short_of_the_cut_locus():
    path = GeodesicPath(Torus())
    x, data = torch.zeros(1, 1, dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64)
    t, s = torch.tensor([0.1]), torch.tensor([0.2])
    target = path.arriving(path.predict(data, x, t), torch.full_like(x, 0.5), s)  # 4.5 in all
    assert 0.99 * math.pi < float(target.displacement) < math.pi


def test_leaves_that_do_not_flow_say_so():
    path = MaskPath(3)
    said = path.predict(torch.zeros(1, 2, 3), torch.full((1, 2), 3), 0.5)
    with pytest.raises(InputError, match="MaskPath: does not flow"):
        path.jump(said, 0.7)
    with pytest.raises(InputError, match="MaskPath: does not flow"):
        path.arriving(said, torch.zeros(1, 2), 0.7)


@pytest.mark.parametrize("steps", [1, 3])
def test_one_jump_draws_what_many_steps_draw(steps):
    denoiser, batch = _normal()
    grid = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    found = sample(denoiser, batch, FlowMap(), grid, 0)
    fine = sample(Denoiser(Instant(denoiser.net), denoiser.path), batch, Ancestral(0.0),
                  torch.linspace(0, 1, 2001, dtype=torch.float64), 0)  # fmt: skip
    assert found.nfe == steps
    torch.testing.assert_close(found.x["x"], fine.x["x"], rtol=0, atol=2e-3)


def test_renoised_jumps_keep_the_law():
    path = GaussianPath()
    denoiser = Denoiser(NormalMap(path), {"x": path})
    like = Batch({"x": torch.zeros(20_000, 1, dtype=torch.float64)})
    for gamma, start in itertools.product((0.5, 1.0), (0, 1)):
        found = sample(denoiser, like, FlowMap(gamma), torch.linspace(0, 1, 5), start).x["x"]
        assert abs(float(found.mean()) - MEAN) < 0.02
        assert abs(float(found.std()) - SPREAD) < 0.015
    alone = sample(denoiser, like, FlowMap(), torch.linspace(0, 1, 5), 0).x["x"]
    noise = path.prior(like.x["x"], G().manual_seed(0))
    assert noise.shape == alone.shape
    one = sample(denoiser, like, FlowMap(), torch.tensor([0.0, 1.0]), 0).x["x"]
    torch.testing.assert_close(alone, one)  # without noise the sample is the same, but
    assert float((found - one).abs().mean()) > 0.3  # with it another
    with pytest.raises(InputError, match="renoise"):
        FlowMap(1.5)


def _loss(objective, denoiser, batch, seed=0):
    teacher = denoiser if objective.needs_teacher else None
    return objective(denoiser, batch, G().manual_seed(seed), teacher)


def test_the_exact_map_is_a_fixed_point_of_shortcuts():
    """Long jumps agree with their halves but for the finest, which is taken for no jump."""
    denoiser, batch = _normal(size=512)
    losses = []
    for finest in (16, 64):
        out = _loss(Shortcut(share=1.0, finest=finest), denoiser, batch)
        losses.append(float(out.metrics["loss/x/long"]))
    assert losses[0] < 3e-4 and losses[1] < losses[0] / 8.0
    # Half jumps of a right teacher, said by a student that is off by 0.5.
    wrong = Denoiser(NormalMap(denoiser.path.paths["x"]), denoiser.path)
    with torch.no_grad():
        wrong.net.shift += 0.5
    out = Shortcut(share=1.0)(wrong, batch, G().manual_seed(0), denoiser)
    assert float(out.metrics["loss/x/long"]) == pytest.approx(0.25, abs=0.01)


def test_long_and_short_parts_share_the_batch():
    denoiser, batch = _normal(size=400)
    seen = []

    class Count(torch.nn.Module):
        def forward(self, x_t, t, batch, until):
            seen.append((len(t), float((until - t).max())))
            return {"x": x_t["x"]}

    student = Denoiser(Count(), denoiser.path)
    Shortcut(share=0.25)(student, batch, G().manual_seed(0), denoiser)
    assert sorted(seen) == [(100, pytest.approx(1.0)), (300, 0.0)]
    counts = []
    for seed in range(200):  # of a batch of 2, half a sample on average
        seen.clear()
        Shortcut(share=0.25)(student, batch.select(torch.tensor([0, 1])), G().manual_seed(seed),
                             denoiser)  # fmt: skip
        counts.append(sum(n for n, span in seen if span > 0))
    assert 0.35 < sum(counts) / 200 < 0.65


def test_shortcuts_hold_fixed_rows_and_need_a_teacher():
    path = GaussianPath()
    fixed = torch.zeros(8, 3, dtype=torch.bool)
    fixed[:, 0] = True
    data = torch.full((8, 3, 2), 5.0)
    batch = Batch({"x": data}, layouts={"x": Layout(8, fixed=fixed)})

    class Zero(torch.nn.Module):
        def forward(self, x_t, t, batch, until):
            self.seen = x_t["x"]
            return {"x": 0.0 * x_t["x"]}

    student, teacher = Denoiser(Zero(), {"x": path}), Denoiser(Zero(), {"x": path})
    Shortcut(share=1.0)(student, batch, G().manual_seed(0), teacher)
    assert torch.equal(student.net.seen[:, 0], data[:, 0])
    assert torch.equal(teacher.net.seen[:, 0], data[:, 0])  # after the first half, too
    with pytest.raises(InputError, match="needs an averaged copy"):
        Shortcut()(student, batch, G().manual_seed(0))


def test_tokens_rest_while_frames_jump():
    """Each leaf has its own time; a state with tokens and one time for all is refused."""
    path = {"x": GaussianPath(), "word": MaskPath(3)}
    data = {"x": torch.zeros(64, 2), "word": torch.zeros(64, 4, dtype=torch.int64)}
    told = []

    class Both(torch.nn.Module):
        def forward(self, x_t, t, batch, until):
            told.append((t, until, x_t["word"]))
            logits = torch.zeros(64, 4, 3) + 0.0 * x_t["x"].sum()
            return {"x": 0.5 * x_t["x"], "word": logits}

    denoiser = Denoiser(Both(), path)
    batch = Batch(data)
    with pytest.raises(InputError, match="leaf 'word' does not flow and rests"):
        Shortcut(share=1.0)(denoiser, batch, G().manual_seed(0), denoiser)
    times = {"x": _uniform(), "word": _uniform()}
    out = Shortcut(Denoising(times=times), share=1.0)(
        denoiser, batch, G().manual_seed(0), denoiser
    )
    assert set(out.metrics) == {"loss", "loss/long", "loss/x/long"}
    t, until, words = zip(*told, strict=True)
    assert all(torch.equal(one["word"], t[0]["word"]) for one in (*t, *until))
    assert all(torch.equal(one, words[0]) for one in words)
    assert bool((until[2]["x"] > t[2]["x"]).all())
    told.clear()
    out = Shortcut(Denoising(times=times), share=0.0)(
        denoiser, batch, G().manual_seed(0), denoiser
    )
    assert float(out.metrics["loss/word"]) > 0.0
    like = Batch({"x": torch.zeros(64, 2), "word": torch.zeros(64, 4, dtype=torch.int64)})
    grid = {"x": torch.linspace(0, 1, 3), "word": torch.linspace(0, 1, 3)}
    drawn = sample(denoiser, like, FlowMap(), grid, 0)
    assert drawn.nfe == 2 and int(drawn.x["word"].max()) < 3


def _uniform():
    from sciddiff.times import Uniform

    return Uniform()


class Smooth(torch.nn.Module):
    """Any smooth function of state, time and end."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body = torch.nn.Sequential(
            torch.nn.Linear(5, 16), torch.nn.Tanh(), torch.nn.Linear(16, 3)
        ).double()

    def forward(self, x_t, t, batch, until):
        seen = torch.cat([x_t["x"], t[:, None], until[:, None]], -1)
        return {"x": self.body(seen)}


@pytest.mark.parametrize("schedule", [Linear(), Cosine()])
@pytest.mark.parametrize("kind", ["data", "velocity"])
def test_the_change_of_a_jump_agrees_with_differences(schedule, kind):
    """dX/dt along the flow, against X a little later from where the flow leads."""
    path = GaussianPath(schedule, parametrization=kind)
    denoiser = Denoiser(Smooth(), {"x": path})
    batch = Batch({"x": torch.randn(8, 3, generator=G().manual_seed(0), dtype=torch.float64)})
    t = torch.linspace(0.1, 0.6, 8, dtype=torch.float64)
    s = t + 0.3
    on = Way.of(Denoising(), denoiser, batch, t, G().manual_seed(1))
    found = changes(denoiser, on, on.velocity, t, s)
    ends = []
    for h in (1e-5, -1e-5):
        x = {"x": on.x_t["x"] + h * on.velocity["x"]}
        ends.append(path.jump(denoiser(x, t + h, batch, until=s)["x"], s))
    torch.testing.assert_close(found.change["x"], (ends[0] - ends[1]) / 2e-5, rtol=1e-6, atol=1e-6)
    if isinstance(schedule, Linear):  # r = v - u + (s - t) du/dt
        u = [
            denoiser({"x": on.x_t["x"] + h * on.velocity["x"]}, t + h, batch, until=s)[
                "x"
            ].velocity
            for h in (1e-5, -1e-5)
        ]
        identity = on.velocity["x"] - found.mean["x"] + (s - t)[:, None] * (u[0] - u[1]) / 2e-5
        torch.testing.assert_close(found.change["x"], identity, rtol=1e-6, atol=1e-6)


def test_the_velocity_between_noise_and_data():
    denoiser, batch = _normal(Cosine())
    t = torch.full((64,), 0.3, dtype=torch.float64)
    on = Way.of(Denoising(), denoiser, batch, t, G().manual_seed(1))
    said = denoiser(on.x_t, t, batch)["x"].with_data(batch.x["x"])
    torch.testing.assert_close(on.velocity["x"], said.velocity)


@pytest.mark.parametrize("objective", [
    MeanFlow(share=1.0, power=0.0), Consistency(warmup=0),
])  # fmt: skip
def test_the_exact_map_does_not_change_along_the_flow(objective):
    """With the velocity of the flow itself the loss is zero; the student's gradient too."""
    denoiser, batch = _normal(Linear())
    still = Denoiser(Instant(denoiser.net), denoiser.path)
    if isinstance(objective, Consistency):
        objective = Consistency(source=still, warmup=0)
    else:
        objective = MeanFlow(share=1.0, power=0.0, source=still)
    out = objective(denoiser, batch, G().manual_seed(0))
    assert float(out.loss.detach()) < 1e-20
    with torch.no_grad():
        denoiser.net.shift += 0.3
    assert float(objective(denoiser, batch, G().manual_seed(0)).loss.detach()) > 1e-4


def test_mean_flow_weighs_by_its_own_error():
    denoiser, batch = _normal()
    plain = MeanFlow(share=1.0, power=0.0)(denoiser, batch, G().manual_seed(0))
    each = plain.per_sample
    found = MeanFlow(share=1.0, power=1.0)(denoiser, batch, G().manual_seed(0))
    torch.testing.assert_close(found.per_sample, each / (each + 1e-2))


def test_guidance_inside_the_target():
    """omega v + kappa u_c + (1 - omega - kappa) u_0, followed along the flow."""
    path = GaussianPath(parametrization="velocity")

    class Labelled(torch.nn.Module):
        def forward(self, x_t, t, batch, until):
            return {"x": batch.cond["label"][:, None] + 0.0 * x_t["x"]}

    denoiser = Denoiser(Labelled(), {"x": path})
    data = torch.zeros(16, 2)
    batch = Batch({"x": data}, {"label": torch.full((16,), 3.0)})
    objective = MeanFlow(share=1.0, power=0.0, omega=0.5, kappa=0.25, null={"label": -1.0})
    out = objective(denoiser, batch, G().manual_seed(0))
    # A constant u = 3 changes by v_g - u, with u_c = 3 and u_0 = -1.
    on = Way.of(Denoising(), denoiser, batch, torch.full((16,), 0.5), G().manual_seed(9))
    assert on.velocity["x"].shape == (16, 2)
    g = G().manual_seed(0)
    from sciddiff.objectives.flow_maps import split
    from sciddiff.objectives.mean_flow import _draw

    split(batch, 1.0, g)
    for _ in range(2):
        _draw(objective.times, batch, g)
    v = Way.of(Denoising(), denoiser, batch, torch.full((16,), 0.5), g).velocity["x"]
    expected = ((0.5 * v + 0.25 * 3.0 + 0.25 * -1.0 - 3.0) ** 2).mean()
    assert float(out.loss) == pytest.approx(float(expected), rel=1e-4)
    with pytest.raises(InputError, match="guidance needs the conditions to leave out"):
        MeanFlow(omega=0.5)


def test_consistency_warms_up_and_calms_its_steps():
    denoiser, batch = _normal()
    with torch.no_grad():
        denoiser.net.shift += 0.3
    still = Denoiser(Instant(denoiser.net), denoiser.path)
    objective = Consistency(source=still, warmup=4, calm=0.1)
    losses = [
        float(objective(denoiser, batch, G().manual_seed(0)).loss.detach()) for _ in range(6)
    ]
    assert int(objective.seen) == 6 and losses[4] == losses[5] and losses[0] != losses[4]
    # The step has a root mean square just below 1, whatever the size of the change.
    out = Consistency(source=still, warmup=0, calm=1e-6)(denoiser, batch, G().manual_seed(0))
    torch.testing.assert_close(out.per_sample, torch.ones_like(out.per_sample), rtol=1e-3, atol=0)
    assert set(objective.state_dict()) == {"seen"}  # neither teacher nor student


def test_curved_leaves_are_refused_by_name():
    denoiser = Denoiser(Smooth(), {"x": GeodesicPath(SO3())})
    batch = Batch({"x": torch.eye(3).expand(4, 3, 3)})
    for objective in (MeanFlow(), Consistency()):
        with pytest.raises(InputError, match="leaf 'x' is on a GeodesicPath.*use Shortcut"):
            objective(denoiser, batch, G().manual_seed(0))


def test_one_step_on_tokens_costs_the_total_correlation():
    """The best law that draws all rows at once is the product of the marginals."""
    g = torch.Generator().manual_seed(0)
    joint = torch.softmax(
        1.5 * torch.randn(3, 3, 3, generator=g, dtype=torch.float64).flatten(), 0
    )
    joint = joint.reshape(3, 3, 3)
    marginals = [joint.sum(tuple(j for j in range(3) if j != i)) for i in range(3)]

    class Marginals(torch.nn.Module):
        """The exact posterior where everything is hidden."""

        def forward(self, x_t, t, batch, until=None):
            logits = torch.stack([m.log() for m in marginals])
            return {"word": logits.expand(len(x_t["word"]), 3, 3)}

    def entropy(p):
        return -float((p * p.log()).sum())

    total = sum(map(entropy, marginals)) - entropy(joint)
    assert total > 0.2
    denoiser = Denoiser(Marginals(), {"word": MaskPath(3)})
    like = Batch({"word": torch.zeros(50_000, 3, dtype=torch.int64)})
    drawn = sample(denoiser, like, FlowMap(), torch.tensor([0.0, 1.0]), 0)
    words = drawn.x["word"]
    shares = torch.bincount((words * torch.tensor([9, 3, 1])).sum(-1), minlength=27) / len(words)
    divergence = float((joint.flatten() * (joint.flatten() / shares.double()).log()).sum())
    assert drawn.nfe == 1 and divergence == pytest.approx(total, abs=0.01)
    for seed in range(20):  # no other product comes as near
        g = torch.Generator().manual_seed(seed)
        laws = [
            torch.softmax(m.log() + 0.3 * torch.randn(3, generator=g, dtype=torch.float64), 0)
            for m in marginals
        ]
        product = torch.einsum("i,j,k->ijk", *laws)
        assert float((joint * (joint / product).log()).sum()) > total


def test_mixed_states_jump_leaf_by_leaf():
    path = ProductPath({"x": GaussianPath(), "turn": GeodesicPath(Torus())})
    state: State = {"x": torch.zeros(4, 2), "turn": torch.zeros(4, 2)}

    class Towards(torch.nn.Module):
        def forward(self, x_t, t, batch, until=None):
            return {name: torch.full_like(leaf, 0.7) for name, leaf in x_t.items()}

    found = sample(Denoiser(Towards(), path), Batch(state), FlowMap(), torch.linspace(0, 1, 3), 0)
    for leaf in found.x.values():
        torch.testing.assert_close(leaf, torch.full_like(leaf, 0.7))
