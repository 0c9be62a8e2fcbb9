"""The short ways without derivatives are the long ones, and are left where derivatives matter."""

import math

import pytest
import torch
from torch.autograd import forward_ad

from sciddiff.manifolds import SO3, ZeroCenterOfMass, so3
from sciddiff.manifolds import so3_short as short
from sciddiff.manifolds.arrays import shared
from sciddiff.manifolds.base import Manifold
from sciddiff.manifolds.so3 import exp_map, log_map, orthonormalize
from sciddiff.state import Layout
from sciddiff.streams import Streams

ANGLES = [0.0, 1e-30, 1e-12, 1e-7, 1e-4, 0.1, 1.0, 2.0, 3.1, math.pi - 1e-4, math.pi - 1e-7]


def _pairs(dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Rotations, others at every one of the angles from them, and the vectors in between."""
    start = SO3().uniform(torch.empty(len(ANGLES), 40, 3, 3, dtype=torch.float64), Streams.first(
        0, len(ANGLES)
    ))  # fmt: skip
    axis = Streams.first(1, len(ANGLES)).normal(torch.empty(*start.shape[:-1], dtype=dtype))
    axis = axis.double() / axis.double().norm(dim=-1, keepdim=True)
    v = torch.tensor(ANGLES, dtype=torch.float64)[:, None, None] * axis
    return start.to(dtype), (start @ exp_map(v)).to(dtype), v


@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 1e-6), (torch.float64, 1e-13)])
def test_rotations_are_right_at_every_angle(dtype: torch.dtype, error: float) -> None:
    manifold, (x, y, v) = SO3(), _pairs(dtype)
    assert shared(x, y) is not None
    assert (manifold.log(x, y).double().norm(dim=-1) - v.norm(dim=-1)).abs().max() < 2 * error
    wide = x.double()
    assert manifold.dist(manifold.exp(x, v.to(dtype)).double(), wide @ exp_map(v)).max() < error
    for fraction in (0.0, 0.3, 1.0):
        reached = manifold.geodesic(x, y, fraction).double()
        there = wide @ exp_map(fraction * log_map(wide.mT @ y.double()))
        assert manifold.dist(reached, there).max() < error
    bent = x + 1e-4 * torch.sin(100.0 * x)
    assert manifold.dist(manifold.project(bent), orthonormalize(bent)).max() < error


@pytest.mark.parametrize("by_sample", [False, True])
def test_a_detour_is_its_definition(by_sample: bool) -> None:
    manifold, (x, y, _) = SO3(), _pairs(torch.float64)
    sizes = [1.7, 0.8, 0.4]
    if by_sample:
        sizes = [size + torch.rand(len(x), 1, 1, dtype=x.dtype, generator=_seeded()) / 2
                 for size in sizes]  # fmt: skip
    short = manifold.detour(x, y, *sizes, Streams.first(3, len(x)))
    definition = Manifold.detour(manifold, x, y, *sizes, Streams.first(3, len(x)))
    assert torch.allclose(short, definition, rtol=0.0, atol=1e-13)


def test_several_targets_are_their_definition() -> None:
    manifold, (x, y, _) = SO3(), _pairs(torch.float64)
    targets, weights = (y, y.flip(0), x), (0.7, -0.2, 0.4)
    definition = Manifold.toward(manifold, x, targets, weights)
    assert torch.allclose(manifold.toward(x, targets, weights), definition, rtol=0.0, atol=1e-13)


def _seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_derivatives_are_not_lost() -> None:
    manifold, (x, y, _) = SO3(), _pairs(torch.float64)
    x, y = x[6], y[6]
    v = torch.zeros(len(x), 3, dtype=x.dtype)
    tangent = torch.ones_like(v)

    def walk(v: torch.Tensor) -> torch.Tensor:
        return manifold.log(y, manifold.exp(x, v))

    wanted = torch.func.jvp(walk, (v,), (tangent,))[1]
    step = 1e-6
    assert torch.allclose((walk(v + step) - walk(v - step)) / (2 * step), wanted, atol=1e-7)
    with forward_ad.dual_level():
        dual = forward_ad.unpack_dual(walk(forward_ad.make_dual(v, tangent))).tangent
    assert dual is not None and torch.allclose(dual, wanted)
    leaf = v.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(walk(leaf).sum(), leaf)
    assert torch.allclose(gradient.sum(-1), wanted.sum(-1))
    with torch.no_grad():
        assert torch.allclose(torch.vmap(walk)(v[:, None].expand(-1, 40, -1))[0], walk(v))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.int64])
def test_types_without_arrays_are_left_alone(dtype: torch.dtype) -> None:
    assert shared(torch.zeros(3, dtype=dtype)) is None
    assert shared(torch.zeros(3), torch.zeros(3, dtype=torch.float64)) is None


def test_padding_changes_no_bit_of_a_centred_cloud() -> None:
    x = Streams.first(0, 2).normal(torch.empty(2, 50, 3))
    padded = torch.cat([x, torch.full((2, 13, 3), math.nan)], 1)
    mask = torch.arange(63).expand(2, -1) < 50
    manifold = ZeroCenterOfMass()
    centred = manifold.project(padded, Layout(2, mask=mask))
    assert torch.equal(centred[:, :50], manifold.project(x, Layout(2)))
    assert torch.equal(centred[:, 50:], torch.zeros(2, 13, 3))
    assert centred.sum(1).abs().max() < 1e-5
    with_gradient = manifold.project(padded.requires_grad_(True), Layout(2, mask=mask))
    assert with_gradient.requires_grad
    assert torch.allclose(with_gradient, centred, atol=1e-6)


@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 1e-6), (torch.float64, 1e-14)])
def test_short_ways_of_devices_are_right_at_every_angle(dtype: torch.dtype, error: float) -> None:
    x, y, v = _pairs(dtype)
    matrix = short.to_matrix(short.from_vector(v.to(dtype)))
    assert SO3().dist(matrix.double(), exp_map(v.to(dtype).double())).max() < error
    q = short.of_matrix(y)
    assert (q[..., 0] >= 0).all()
    assert SO3().dist(short.to_matrix(q).double(), y.double()).max() < error
    said, meant = short.to_vector(short.of_matrix(matrix)), v.to(dtype).double()
    assert (said.double().norm(dim=-1) - meant.norm(dim=-1)).abs().max() < 2 * error
    there = short.to_matrix(short.product(short.of_matrix(x), q)).double()
    assert SO3().dist(there, x.double() @ y.double()).max() < 2 * error
    assert torch.equal(short.unit(4 * q), short.unit(q))


def test_a_short_detour_is_its_definition() -> None:
    manifold, (x, y, _) = SO3(), _pairs(torch.float64)
    far, size, part = (value + torch.rand(len(x), 1, 1, dtype=x.dtype, generator=_seeded()) / 2
                       for value in (1.7, 0.8, 0.4))  # fmt: skip
    definition = Manifold.detour(manifold, x, y, far, size, part, Streams.first(3, len(x)))
    step = size * manifold.randn_tangent(x, Streams.first(3, len(x)))
    reached = short.detour(x, y, far, manifold.reach, step, part)
    assert torch.allclose(reached, definition, rtol=0.0, atol=1e-13)


# Operations that only look at memory in another way launch nothing; the last ones are composites,
# and what the processor does with a plain number.
_VIEWS = {
    "view", "select", "slice", "unsqueeze", "squeeze", "expand", "unbind", "unflatten", "flatten",
    "as_strided", "transpose", "reshape", "_reshape_alias", "_unsafe_view", "diagonal", "alias",
    "narrow", "permute", "detach", "empty", "empty_like", "resize_", "result_type", "numpy_T",
    "matmul", "resolve_conj", "to", "_to_copy", "empty_strided", "copy_", "fill_",
}  # fmt: skip


def _launches(act) -> int:
    """Operations of tensors that a call makes; composites count with what they are made of."""
    act()  # constants are made once
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as seen:
        act()
    names = [event.key.removeprefix("aten::") for event in seen.key_averages()
             for _ in range(event.count) if event.key.startswith("aten::")]  # fmt: skip
    return sum(name not in _VIEWS for name in names)


def test_a_step_of_rotations_takes_few_launches(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a device: the shared memory of arrays does not exist there."""
    monkeypatch.setattr(so3, "shared", lambda *tensors: None)
    monkeypatch.setattr(so3, "_launched", lambda *tensors: True)
    manifold, (x, y, _) = SO3(), _pairs(torch.float32)
    generator = _seeded()
    assert _launches(lambda: manifold.geodesic(x, y, 0.3)) <= 35
    assert _launches(lambda: manifold.detour(x, y, 1.5, 0.3, 0.4, generator)) <= 75
    assert _launches(lambda: manifold.project(x)) <= 20
