"""Figures and tables of docs/learning.md: schedules, targets of a network, steps of a sampler.

    python benchmarks/learning.py schedules --figure docs/figures/learning_schedules.png
    python benchmarks/learning.py targets --figure docs/figures/learning_targets.png
    python benchmarks/learning.py steps --figure docs/figures/learning_steps.png
    python benchmarks/learning.py weather --data SLP.nc

The law of the toy is a mixture of three Gaussians in the plane (`GaussianMixture.standard`), whose
exact denoiser is known. Samples are compared with draws of the law by the squared energy distance;
the row `exact draws` is what independent draws of the law itself give, which is the floor. For
`weather`, `SLP.nc` holds daily sea-level pressure of the North Atlantic (NCEP/NCAR Reanalysis 1):
the leaf is the next day's amplitudes of the leading patterns of its anomalies, the condition those
of today; 2001-2008 are learned, 2009 is scored. Rows are printed as JSON.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sciddiff import Batch, Denoiser, Denoising, GaussianPath, Streams, sample
from sciddiff.grids import uniform
from sciddiff.nn import MLP
from sciddiff.samplers import Ancestral, DPMSolverPP, EulerMaruyama, Heun
from sciddiff.schedules import EDM, VP, Cosine, Linear
from sciddiff.state import State
from sciddiff.testing import AnalyticDenoiser, GaussianMixture

LAW = GaussianMixture.standard()
TARGETS = ("data", "noise", "velocity", "score", "v", "edm")
SAMPLERS = {"DDIM": Ancestral(0.0), "Heun": Heun(), "DPM-Solver++": DPMSolverPP(),
            "Euler-Maruyama": EulerMaruyama()}  # fmt: skip
STEPS = (1, 2, 4, 8, 16, 32, 100, 1000)


class Net(nn.Module):
    """A perceptron of the state, the time, and the condition ``seen`` where there is one."""

    def __init__(self, size: int, seen: int = 0, width: int = 96) -> None:
        super().__init__()
        self.body = MLP(size + seen + 3, width, size, hidden_layers=3)

    def forward(self, x_t: State, t: Tensor, batch: Batch) -> State:
        clock = torch.stack([t, torch.cos(3 * t), torch.sin(3 * t)], -1)
        seen = [batch.cond["seen"]] if "seen" in batch.cond else []
        return {"x": self.body(torch.cat([x_t["x"], clock, *seen], -1))}


def learn(
    net: nn.Module,
    path: GaussianPath,
    data: Callable[[torch.Generator], Batch],
    steps: int,
    seed: int,
) -> Denoiser:
    """Train by `Denoising`, with Adam and a rate of 2e-3 that falls to 0 as a cosine."""
    denoiser = Denoiser(net, {"x": path})
    optimiser = torch.optim.Adam(net.parameters(), 2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    g = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        optimiser.zero_grad()
        Denoising()(denoiser, data(g), g).loss.backward()
        optimiser.step()
        schedule.step()
    return denoiser.eval()


def distance(x: Tensor, y: Tensor) -> float:
    """Squared energy distance of two samples ``[N, d]``, without bias: it may fall below 0."""
    n, m = len(x), len(y)
    within = torch.cdist(x, x).sum() / (n * (n - 1)) + torch.cdist(y, y).sum() / (m * (m - 1))
    return float(2 * torch.cdist(x, y).mean() - within)


def drawn(seed: int, count: int) -> Tensor:
    """Exact draws of the toy."""
    return LAW.sample(torch.zeros(count, 2, dtype=torch.float64), Streams.first(seed, count))


def spread(values: list[float]) -> dict[str, float]:
    """Mean and 95 % interval of repeats, by Student's t."""
    from scipy.stats import t

    half = t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values))
    return {"mean": float(np.mean(values)), "half": float(half)}


def schedules(args: argparse.Namespace) -> None:
    """Data and noise of every schedule by time, and the law of the toy on its way."""
    pyplot = _pyplot()
    shown = {"Linear": Linear(), "Cosine": Cosine(), "VP": VP(), "EDM": EDM()}
    t = torch.linspace(0.0, 1.0, 201, dtype=torch.float64)
    figure, axes = pyplot.subplots(1, 3, figsize=(10, 3), layout="constrained")
    for name, schedule in shown.items():
        alpha, sigma = schedule.values(t)
        share = alpha / (alpha**2 + sigma**2).sqrt()
        axes[0].plot(t, share, label=name)
        axes[1].plot(t[1:-1], schedule.log_snr(t)[1:-1])
    axes[0].set(xlabel="time", ylabel="share of data, α / √(α² + σ²)")
    axes[1].set(xlabel="time", ylabel="log(α / σ)", ylim=(-7, 7))
    axes[0].legend(fontsize=8)
    exact = AnalyticDenoiser({"x": GaussianPath()}, {"x": LAW})
    like = Batch({"x": torch.zeros(40, 2, dtype=torch.float64)})
    out = sample(exact, like, Heun(), uniform(50), seed=0, keep_trajectory=True)
    ways = torch.stack([state["x"][:, 0] for state in out.trajectory])
    axes[2].plot(torch.linspace(0.0, 1.0, len(ways)), ways, color="C0", lw=0.6)
    axes[2].set(xlabel="time", ylabel="first coordinate of 40 samples")
    _save(figure, args.figure)


def targets(args: argparse.Namespace) -> None:
    """The same network learns each target in turn, seeds apart."""
    curves = {}
    times = np.linspace(0.02, 0.98, 25)
    for name in TARGETS:
        found, errors = [], []
        for seed in range(args.seeds):
            torch.manual_seed(seed)
            path = GaussianPath(parametrization=name)
            denoiser = learn(Net(2), path, lambda g: _toy(g, 256), args.steps, seed)
            like = Batch({"x": torch.zeros(args.count, 2)})
            x = sample(denoiser, like, Ancestral(0.0), uniform(50), seed=seed).x["x"]
            found.append(distance(x.double(), drawn(seed + 100, args.count)))
            errors.append(_velocity_errors(denoiser, times))
        curves[name] = np.mean(errors, 0)
        error = float(np.sqrt((curves[name] ** 2).mean()))
        print(json.dumps({"target": name, **spread(found), "velocity_error": error}), flush=True)
    floor = [distance(drawn(s, args.count), drawn(s + 100, args.count)) for s in range(args.seeds)]
    print(json.dumps({"target": "exact draws", **spread(floor)}), flush=True)
    if args.figure is None:
        return
    pyplot = _pyplot()
    figure, axes = pyplot.subplots(1, 2, figsize=(8, 3.2), layout="constrained")
    named = ("data", "noise", "velocity", "score")
    exact = {name: [_sizes(t)[name] for t in times] for name in named}
    for name, sizes in exact.items():
        axes[0].semilogy(times, sizes, label=name)
    for name in exact:
        axes[1].semilogy(times, curves[name], label=name)
    axes[0].set(xlabel="time", ylabel="size of the best answer (r.m.s.)")
    axes[1].set(xlabel="time", ylabel="error of the velocity (r.m.s.)")
    axes[0].legend(fontsize=8)
    _save(figure, args.figure)


def _toy(g: torch.Generator, count: int) -> Batch:
    return Batch({"x": LAW.sample(torch.zeros(count, 2), g)})


def _on_the_way(t: float, count: int = 2000) -> tuple[Batch, Tensor, Any]:
    """States at a time, and what the exact denoiser says of them."""
    x1, g = drawn(7, count), torch.Generator().manual_seed(8)
    x_t = t * x1 + (1 - t) * torch.randn(x1.shape, generator=g, dtype=torch.float64)
    batch = Batch({"x": x_t})
    exact = AnalyticDenoiser({"x": GaussianPath()}, {"x": LAW})
    return batch, x_t, exact({"x": x_t}, torch.full((count,), t, dtype=torch.float64), batch)["x"]


def _sizes(t: float) -> dict[str, float]:
    """Root mean square of the best answer to each question."""
    _, _, best = _on_the_way(t)
    return {name: float(getattr(best, name).square().mean().sqrt())
            for name in ("data", "noise", "velocity", "score")}  # fmt: skip


@torch.no_grad()
def _velocity_errors(denoiser: Denoiser, times: np.ndarray) -> list[float]:
    errors = []
    for t in times:
        batch, x_t, best = _on_the_way(float(t))
        said = denoiser({"x": x_t.float()}, torch.full((len(x_t),), float(t)), batch)["x"]
        errors.append(float((said.velocity - best.velocity).square().mean().sqrt()))
    return errors


def steps(args: argparse.Namespace) -> None:
    """The exact denoiser of the toy under every sampler, by calls of the network."""
    denoiser = AnalyticDenoiser({"x": GaussianPath()}, {"x": LAW})
    curves: dict[str, list[tuple[int, float, float]]] = {}
    for name, sampler in SAMPLERS.items():
        for count in args.at:
            found, calls = [], 0
            for seed in range(args.seeds):
                like = Batch({"x": torch.zeros(args.count, 2, dtype=torch.float64)})
                out = sample(denoiser, like, sampler, uniform(count), seed=seed)
                found.append(distance(out.x["x"], drawn(seed + 100, args.count)))
                calls = out.nfe
            row = {"sampler": name, "steps": count, "calls": calls, **spread(found)}
            curves.setdefault(name, []).append((calls, row["mean"], row["half"]))
            print(json.dumps(row), flush=True)
    floor = [distance(drawn(s, args.count), drawn(s + 100, args.count)) for s in range(args.seeds)]
    end = spread(floor)
    print(json.dumps({"sampler": "exact draws", **end}), flush=True)
    if args.figure is None:
        return
    figure, axis = _pyplot().subplots(figsize=(6, 3.5), layout="constrained")
    for name, points in curves.items():
        calls, mean, half = np.array(points).T
        axis.errorbar(calls, mean, half, fmt="o-", ms=3, capsize=2, label=name)
    low, high = end["mean"] - end["half"], end["mean"] + end["half"]
    axis.axhspan(low, high, color="0.85", label="exact draws")
    axis.set_xscale("log")
    axis.set_yscale("symlog", linthresh=1e-3)  # linear about 0, which unbiased distances cross
    axis.set(xlabel="calls of the network", ylabel="squared energy distance")
    axis.legend(fontsize=7)
    _save(figure, args.figure)


def weather(args: argparse.Namespace) -> None:
    """The next day's leading patterns of real sea-level pressure, by each target."""
    today, tomorrow, learned = _patterns(args.data, args.patterns)
    seen, wanted = (torch.from_numpy(a).float() for a in (today, tomorrow))
    held = ~torch.from_numpy(learned)
    pairs = seen[~held], wanted[~held]

    def batch(g: torch.Generator) -> Batch:
        pick = torch.randint(0, len(pairs[0]), (256,), generator=g)
        return Batch({"x": pairs[1][pick]}, {"seen": pairs[0][pick]})

    for name in TARGETS:
        found = []
        for seed in range(args.seeds):
            torch.manual_seed(seed)
            net = Net(args.patterns, args.patterns)
            denoiser = learn(net, GaussianPath(parametrization=name), batch, args.steps, seed)
            found.append(_score(denoiser, seen[held], wanted[held], args.members, seed))
        print(json.dumps({"target": name, "energy_score": spread(found)}), flush=True)
    for name, members in _controls(pairs, seen[held], args.members):
        print(json.dumps({"target": name, "energy_score": float(_energy(members, wanted[held]))}))


def _score(denoiser: Denoiser, seen: Tensor, wanted: Tensor, members: int, seed: int) -> float:
    like = Batch({"x": torch.zeros(len(seen) * members, wanted.shape[1])},
                 {"seen": seen.repeat_interleave(members, 0)})  # fmt: skip
    x = sample(denoiser, like, Ancestral(0.0), uniform(50), seed=seed).x["x"]
    return float(_energy(x.unflatten(0, (-1, members)), wanted))


def _energy(members: Tensor, wanted: Tensor) -> Tensor:
    """Mean fair energy score of ensembles ``[B, M, d]``."""
    count = members.shape[1]
    apart = torch.cdist(members, members).sum((1, 2)) / (count * (count - 1))
    return ((members - wanted[:, None]).norm(dim=-1).mean(1) - 0.5 * apart).mean()


def _controls(
    pairs: tuple[Tensor, Tensor], seen: Tensor, members: int
) -> Iterator[tuple[str, Tensor]]:
    """Climatology, and a linear regression with draws of its own errors."""
    g = torch.Generator().manual_seed(0)
    pick = torch.randint(0, len(pairs[0]), (len(seen), members), generator=g)
    yield "climatology", pairs[1][pick]
    fit = torch.linalg.lstsq(pairs[0], pairs[1]).solution
    errors = pairs[1] - pairs[0] @ fit
    yield "linear regression", (seen @ fit)[:, None] + errors[pick]


def _patterns(path: Path, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Amplitudes of today and tomorrow ``[days, count]``, unit variance, and which are learned."""
    import xarray as xr

    from weather.data.seasons import annual_waves

    with xr.open_dataset(path) as data:
        field = data[next(iter(data.data_vars))].sel(time=slice("2001", "2009")).load()
    year, day = (field.time.dt.year.values, field.time.dt.dayofyear.values)
    weight = np.sqrt(np.cos(np.radians(field[field.dims[1]].values)))[:, None]
    values = (field.values * weight).reshape(len(year), -1)
    learned = year < 2009
    season = annual_waves(day, 2)
    anomaly = values - season @ np.linalg.lstsq(season[learned], values[learned], rcond=None)[0]
    axes = np.linalg.svd(anomaly[learned], full_matrices=False)[2][:count]
    amplitude = anomaly @ axes.T
    amplitude /= amplitude[learned].std(0)
    return amplitude[:-1], amplitude[1:], learned[1:]


def _pyplot() -> Any:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def _save(figure: Any, path: Path | None) -> None:
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=("schedules", "targets", "steps", "weather"))
    parser.add_argument("--figure", type=Path, help="file to draw")
    parser.add_argument("--data", type=Path, help="daily sea-level pressure, for weather")
    parser.add_argument("--steps", type=int, default=1500, help="steps of training")
    parser.add_argument("--at", type=int, nargs="+", default=STEPS, help="steps of samplers")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--count", type=int, default=2000, help="samples that are compared")
    parser.add_argument("--patterns", type=int, default=10)
    parser.add_argument("--members", type=int, default=20)
    args = parser.parse_args()
    torch.set_num_threads(1)
    globals()[args.part](args)


if __name__ == "__main__":
    main()
