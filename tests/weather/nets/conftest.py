"""Small networks of each kind, and random fields for them."""

import pytest
import torch

from sciddiff.state import Batch
from sciddiff.streams import Streams, normal
from weather.nets.mesh import MeshTransformer
from weather.nets.sfno import SphericalFNO
from weather.nets.unet import SphericalUNet

CHANNELS, FRAMES, FORCINGS, VECTORS = 4, 2, 3, (2, 3)


@pytest.fixture
def make_net():
    """Network of a kind in double precision, its zero layers drawn so that they matter."""

    def build(kind, grid="gaussian-12x24", drawn=True, **settings):
        common = {"channels": CHANNELS, "frames": FRAMES, "forcings": FORCINGS}
        common["vectors"] = settings.pop("vectors", VECTORS)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            if kind == "unet":
                settings = {"widths": (8, 12), "blocks": (1, 1), **settings}
                net = SphericalUNet(**common, grid=grid, **settings)
            elif kind == "sfno":
                net = SphericalFNO(**common, grid=grid, **{"width": 8, "blocks": 2, **settings})
            else:
                settings = {"width": 16, "layers": 2, "refinement": 1, "hops": 2, **settings}
                net = MeshTransformer(**common, grid=grid, **settings)
            for parameter in net.parameters():
                if drawn and not parameter.any():
                    torch.nn.init.normal_(parameter, std=0.3)
        return net.double().eval()

    return build


@pytest.fixture
def make_inputs():
    """Random arguments of a network."""

    def build(size=2, shape=(12, 24), seed=0):
        streams = Streams.first(seed, size)

        def draw(*lead):
            return normal(torch.empty(size, *lead, *shape, dtype=torch.float64), streams)

        cond = {"history": draw(FRAMES, CHANNELS), "forcing": draw(FORCINGS)}
        x = {"fields": draw(CHANNELS)}
        return x, torch.linspace(0.2, 0.9, size, dtype=torch.float64), Batch(x, cond)

    return build
