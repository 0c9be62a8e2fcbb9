"""Fresh noise on curved leaves forgets as much as it should: the slowest mode tells."""

import math

import pytest
import torch

from sciddiff.denoiser import Denoiser
from sciddiff.manifolds import SO3, Manifold, Sphere, Torus
from sciddiff.paths import GeodesicPath
from sciddiff.samplers import Ancestral
from sciddiff.state import Batch
from sciddiff.streams import Streams

COUNT = 40_000
LIKES = {
    "SO3": (SO3(), torch.empty(COUNT, 3, 3, dtype=torch.float64)),
    "torus": (Torus(), torch.empty(COUNT, dtype=torch.float64)),
    "sphere": (Sphere(3), torch.empty(COUNT, 3, dtype=torch.float64)),
    "hypersphere": (Sphere(5), torch.empty(COUNT, 5, dtype=torch.float64)),
}


def mode(manifold: Manifold, x: torch.Tensor, y: torch.Tensor) -> float:
    """Mean over pairs of the slowest zonal mode, 1 where x is y."""
    angle = manifold.dist(x, y)
    value = (1 + 2 * torch.cos(angle)) / 3 if isinstance(manifold, SO3) else torch.cos(angle)
    return float(value.mean())


@pytest.mark.parametrize("name", LIKES)
def test_brownian_motion_decays_at_the_rate_of_the_slowest_mode(name):
    manifold, like = LIKES[name]
    generator = Streams.first(0, COUNT)
    start = x = manifold.uniform(like, generator)
    steps, variance = 20, 0.6
    for _ in range(steps):
        x = manifold.exp(x, math.sqrt(variance / steps) * manifold.randn_tangent(x, generator))
    decay = math.exp(-manifold.slowest_eigenvalue * variance / 2)
    assert mode(manifold, start, x) == pytest.approx(decay, abs=0.015)


@pytest.mark.parametrize("name", LIKES)
def test_an_ancestral_step_forgets_its_share_of_the_noise(name):
    """With the data known exactly, the noise before and after a step can be read off."""
    manifold, like = LIKES[name]
    path, generator = GeodesicPath(manifold), Streams.first(1, COUNT)
    data = manifold.uniform(like, generator)
    noise = manifold.exp(data, 0.5 * manifold.randn_tangent(data, generator))

    class Known(torch.nn.Module):
        def forward(self, x_t, t, batch):
            return {"leaf": data}

    t, s = 0.5, 0.55
    denoiser, batch = Denoiser(Known(), {"leaf": path}), Batch({"leaf": data})
    there = {"leaf": manifold.geodesic(data, noise, 1.0 - t)}
    grid = torch.tensor([t, s], dtype=torch.float64)
    reached = Ancestral(1.0)(
        lambda x, time: denoiser(x, time, batch), denoiser.path, there, grid, generator
    ).x["leaf"]
    after = manifold.exp(data, manifold.log(data, reached) / (1.0 - s))
    share = 1.0 - (t * (1.0 - s) / (s * (1.0 - t))) ** 2
    near = manifold.dist(data, noise) < 1.5  # farther ones meet the cut locus
    kept = mode(manifold, noise[near], after[near])
    assert kept == pytest.approx(math.sqrt(1.0 - share), abs=0.02)
