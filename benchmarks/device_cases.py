"""What a device must do: samplers on paths under guidance, objectives, densities, shipped models.

Each case is a function of a device and a number of steps that returns a tensor on the processor.
`benchmarks/gpu.py` runs them on a real device; the tests run them on a logical one.
"""

from collections.abc import Callable, Iterator

import torch

from sciddiff.denoiser import Denoiser
from sciddiff.guidance import AutoGuidance, ClassifierFree, Energy, Posterior
from sciddiff.likelihood import log_prob
from sciddiff.manifolds import SO3, Torus, ZeroCenterOfMass
from sciddiff.objectives import Denoising, ProperScore
from sciddiff.paths import BrownianPath, GaussianPath, GeodesicPath
from sciddiff.samplers import Ancestral, DPMSolverPP, EulerMaruyama, Heun, Midpoint
from sciddiff.sampling import sample
from sciddiff.schedules import VP, Cosine, Linear
from sciddiff.state import Batch, Layout
from sciddiff.streams import Streams

SAMPLERS = {
    "ddim": Ancestral(0.0), "ancestral": Ancestral(1.0), "heun": Heun(), "midpoint": Midpoint(),
    "dpm 2m": DPMSolverPP("2M"), "dpm 2s": DPMSolverPP("2S"), "euler": EulerMaruyama(),
}  # fmt: skip
PATHS = {
    "flat": GaussianPath(Linear(), parametrization="velocity"),
    "vp noise": GaussianPath(VP(), parametrization="noise"),
    "edm": GaussianPath(Cosine(), parametrization="edm", sigma_data=0.5),
    "centred": GaussianPath(Linear(), ZeroCenterOfMass()),
    "rotations": GeodesicPath(SO3()),
    "turns": GeodesicPath(SO3(), parametrization="displacement"),
    "torus": GeodesicPath(Torus(), parametrization="velocity"),
    "torus score": BrownianPath(Torus()),
    "rotations score": BrownianPath(SO3()),
}
SHAPES = {"rotations": (3, 3), "turns": (3, 3), "rotations score": (3, 3)}
TANGENTS = {"turns", "rotations score"}
SIZE, ROWS = 3, 5


class Net(torch.nn.Module):
    def __init__(self, name):
        super().__init__()
        self.name = name
        self.gain = torch.nn.Parameter(torch.tensor(0.7))
        quarter = [[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
        self.register_buffer("turn", torch.tensor(quarter))

    def forward(self, x_t, t, batch):
        x = x_t["x"]
        wave = t.reshape(-1, *(1,) * (x.ndim - 1)).to(x.dtype) + 1.0
        if "label" in batch.cond:
            wave = wave + batch.cond["label"].reshape(wave.shape)
        if self.name in TANGENTS:
            return {"x": self.gain * torch.sin(x.sum(-1)) * wave[..., 0]}
        if self.name == "rotations":
            return {"x": x @ self.turn}
        return {"x": self.gain * torch.sin(x) * wave}


def template(name, device):
    shape = SHAPES.get(name, () if "torus" in name else (2,))
    path = PATHS[name]
    x = path.prior(torch.empty(SIZE, ROWS, *shape), Streams.first(5, SIZE))
    mask = torch.ones(SIZE, ROWS, dtype=torch.bool)
    mask[0, 3:] = False
    fixed = torch.zeros(SIZE, ROWS, dtype=torch.bool)
    fixed[1, 0] = True
    batch = Batch({"x": x}, {"label": torch.ones(SIZE)}, {"x": Layout(SIZE, mask, fixed=fixed)})
    return batch.to(device)


def energy(state, batch):
    x = state["x"]
    return x.reshape(len(x), -1).square().sum(-1)


def guided(kind, model, batch):
    if kind == "plain":
        return model
    if kind == "free":
        return ClassifierFree(2.0, {"label": 0.0}, (0.2, 0.8))(model)
    if kind == "auto":
        return AutoGuidance(model, 1.5)(model)
    if kind == "energy":
        return Energy(energy, 0.1)(model)
    if kind == "posterior":
        values = torch.ones(2, device=batch.device)
        return Posterior(lambda state, _: state["x"][:, 1, :2], values, values)(model)
    return Energy(energy, 0.1, through_network=True)(model)


def draw(name, sampler, kind, device, steps):
    batch, model = template(name, device), Denoiser(Net(name), {"x": PATHS[name]}).to(device)
    grid = torch.linspace(0, 1, steps + 1)
    return sample(guided(kind, model, batch), batch, sampler, grid, 1).x["x"].cpu()


def train(name, objective, device, _):
    torch.manual_seed(0)
    batch, model = template(name, device), Denoiser(Net(name), {"x": PATHS[name]}).to(device)
    batch = Batch(batch.x, batch.cond, {"x": Layout(SIZE)})
    optimiser = torch.optim.SGD(model.parameters(), 0.01)
    for _ in range(2):
        optimiser.zero_grad()
        generator = Streams(3, torch.arange(SIZE, device=device))
        objective(model, batch, generator).loss.backward()
        optimiser.step()
    return torch.stack([p.detach() for p in model.parameters()]).cpu()


def density(name, device, steps):
    batch, model = template(name, device), Denoiser(Net(name), {"x": PATHS[name]}).to(device)
    batch = Batch(batch.x, batch.cond, {"x": Layout(SIZE)})
    return log_prob(model, batch, steps=steps).detach().cpu()


Case = Callable[[torch.device, int], torch.Tensor]
"""``(device, steps) -> result on the processor``."""


def sampling_cases() -> Iterator[tuple[str, Case]]:
    """Every sampler on every path, and guidance where a sampler of each kind meets it."""
    for name in PATHS:
        for label, sampler in SAMPLERS.items():
            kinds = ("plain", "free", "energy") if label in ("ddim", "euler") else ("plain",)
            if label == "ddim":
                kinds = (*kinds, "auto", "through", *(("posterior",) if name == "flat" else ()))
            for kind in kinds:
                yield (
                    f"{name} | {label} | {kind}",
                    lambda d, n, a=name, s=sampler, k=kind: draw(a, s, k, d, n),
                )


def learning_cases() -> Iterator[tuple[str, Case]]:
    """Two steps of training for every path and objective."""
    for name in PATHS:
        if name == "rotations":  # its network has nothing to learn
            continue
        yield f"{name} | learns", lambda d, n, a=name: train(a, Denoising(), d, n)
    for name in ("flat", "centred"):
        yield f"{name} | scores", lambda d, n, a=name: train(a, ProperScore(), d, n)


def density_cases() -> Iterator[tuple[str, Case]]:
    """Exact log-likelihoods."""
    for name in ("flat", "rotations", "torus"):
        yield f"{name} | density", lambda d, n, a=name: density(a, d, n)
