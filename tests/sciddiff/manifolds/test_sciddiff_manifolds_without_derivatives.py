"""The short ways without derivatives are the long ones, and are left where derivatives matter."""

import math

import pytest
import torch
from torch.autograd import forward_ad

from sciddiff.manifolds import SO3, ZeroCenterOfMass
from sciddiff.manifolds import so3_short as short
from sciddiff.manifolds.derivatives import differentiated
from sciddiff.manifolds.so3 import exp_map, from_quaternion, log_map, orthonormalize, to_quaternion
from sciddiff.state import Layout
from sciddiff.streams import Streams

ANGLES = [0.0, 1e-30, 1e-12, 1e-7, 1e-4, 0.1, 1.0, 2.0, 3.1, math.pi - 1e-4, math.pi - 1e-7]


def _long(x: torch.Tensor) -> torch.Tensor:
    """A tensor that asks for derivatives, so that what is computed from it goes the long way."""
    return x.detach().clone().requires_grad_(True)


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
    assert not differentiated(x, y)
    assert (manifold.log(x, y).double().norm(dim=-1) - v.norm(dim=-1)).abs().max() < 2 * error
    wide, v = _long(x.double()), _long(v)
    assert manifold.dist(manifold.exp(x, v.to(dtype)).double(), wide @ exp_map(v)).max() < error
    for fraction in (0.0, 0.3, 1.0):
        reached = manifold.geodesic(x, y, fraction).double()
        there = wide @ exp_map(fraction * log_map(wide.mT @ y.double()))
        assert manifold.dist(reached, there).max() < error
    bent = x + 1e-4 * torch.sin(100.0 * x)
    assert manifold.dist(manifold.project(bent), orthonormalize(_long(bent))).max() < 2 * error
    q = to_quaternion(y)
    assert (q[..., 0] >= 0).all()
    assert torch.allclose(from_quaternion(-3.0 * q), y, rtol=0.0, atol=4 * error)


@pytest.mark.parametrize("by_sample", [False, True])
def test_a_detour_is_its_definition(by_sample: bool) -> None:
    manifold, (x, y, _) = SO3(), _pairs(torch.float64)
    sizes = [1.7, 0.8, 0.4]
    if by_sample:
        sizes = [size + torch.rand(len(x), 1, 1, dtype=x.dtype, generator=_seeded()) / 2
                 for size in sizes]  # fmt: skip
    reached = manifold.detour(x, y, *sizes, Streams.first(3, len(x)))
    definition = manifold.detour(_long(x), _long(y), *sizes, Streams.first(3, len(x)))
    assert torch.allclose(reached, definition, rtol=0.0, atol=1e-13)
    assert torch.equal(manifold.detour(x, y, *sizes, Streams.first(3, len(x))), reached)


def test_several_targets_are_their_definition() -> None:
    manifold, (x, y, _) = SO3(), _pairs(torch.float64)
    targets, weights = (y, y.flip(0), x), (0.7, -0.2, 0.4)
    v = sum(weight * manifold.log(_long(x), y)
            for weight, y in zip(weights, targets, strict=True))  # fmt: skip
    definition = manifold.exp(_long(x), v)
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


def test_what_a_transform_may_differentiate_is_found() -> None:
    told = []

    def square(v: torch.Tensor) -> torch.Tensor:
        told.append(differentiated(v))
        return (v * v).sum()

    v = torch.ones(5, 3)
    torch.func.grad(lambda u: torch.vmap(square)(u).sum())(v)
    torch.func.jvp(lambda u: torch.vmap(square)(u).sum(), (v,), (v,))
    torch.func.jacrev(square)(v)
    with torch.no_grad():
        torch.func.jvp(square, (v,), (v,))
    assert told == [True] * 4
    assert not differentiated(v)
    with torch.no_grad():
        assert not differentiated(v.requires_grad_(True))


def test_derivatives_around_a_vmap_are_finite_at_the_identity() -> None:
    eye = torch.eye(3, dtype=torch.float64).expand(4, 3, 3)

    def length(v: torch.Tensor) -> torch.Tensor:
        return torch.vmap(lambda x, u: SO3().log(x, SO3().exp(x, u)).sum())(eye, v).sum()

    v = torch.zeros(4, 3, dtype=torch.float64)
    assert torch.allclose(torch.func.grad(length)(v), torch.ones_like(v))


def test_low_precision_stays_finite() -> None:
    x = SO3().uniform(torch.empty(50, 3, 3), _seeded())
    for dtype in (torch.bfloat16, torch.float16):
        low = x.to(dtype)
        assert SO3().log(low, low).isfinite().all()
        assert (SO3().geodesic(low, low, 0.5).float() - x).abs().max() < 0.05


def test_no_rotation_depends_on_the_others() -> None:
    manifold, (x, y, v) = SO3(), _pairs(torch.float32)
    v = v.float()
    for some in (slice(0, 1), slice(3, 8)):
        apart = x[some], y[some], v[some]
        assert torch.equal(manifold.geodesic(x, y, 0.3)[some], manifold.geodesic(*apart[:2], 0.3))
        assert torch.equal(manifold.log(x, y)[some], manifold.log(*apart[:2]))
        assert torch.equal(manifold.exp(x, v)[some], manifold.exp(apart[0], apart[2]))
        assert torch.equal(manifold.project(x)[some], manifold.project(apart[0]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_padding_changes_no_bit_of_a_centred_cloud(dtype: torch.dtype) -> None:
    x = Streams.first(0, 2).normal(torch.empty(2, 50, 3, dtype=dtype))
    padded = torch.cat([x, torch.full((2, 13, 3), math.nan, dtype=dtype)], 1)
    mask = torch.arange(63).expand(2, -1) < 50
    manifold = ZeroCenterOfMass()
    centred = manifold.project(padded, Layout(2, mask=mask))
    assert torch.equal(centred[:, :50], manifold.project(x, Layout(2)))
    assert torch.equal(centred[:, 50:], torch.zeros(2, 13, 3, dtype=dtype))
    assert centred.sum(1).abs().max() < 1e-5
    ragged = Layout(2, index=torch.arange(2).repeat_interleave(50))
    assert torch.equal(manifold.project(x.flatten(0, 1), ragged), centred[:, :50].flatten(0, 1))
    with_gradient = manifold.project(padded.requires_grad_(True), Layout(2, mask=mask))
    assert with_gradient.requires_grad
    assert torch.allclose(with_gradient, centred, atol=1e-6)


def test_quaternions_of_any_sign_and_length_mean_their_rotation() -> None:
    x, y, v = _pairs(torch.float64)
    p, q = (short.of_matrix(short.components(r, 2)) for r in (x, y))
    there = short.to_rows(short.to_matrix(short.unit(short.product(-p, 0.2 * q))), x.shape)
    assert torch.allclose(there, x @ y, rtol=0.0, atol=1e-13)
    turn = short.from_vector(short.components(v, 1))
    for same in (turn, -turn, 7.0 * turn):
        third = exp_map(_long(v / 3.0))
        back = short.to_rows(short.to_matrix(short.power(same, 1.0 / 3.0)), third.shape)
        assert torch.allclose(back, third, rtol=0.0, atol=1e-12)
    far = short.to_vector(short.power(turn, 4.0, limit=2.0)).norm(dim=0)
    assert torch.allclose(far, (4.0 * v.norm(dim=-1)).clamp(max=2.0).flatten(), atol=1e-12)


# Operations that only look at memory in another way launch nothing; the last ones are composites,
# and what the processor does with a plain number.
_VIEWS = {
    "view", "select", "slice", "unsqueeze", "squeeze", "expand", "unbind", "unflatten", "flatten",
    "as_strided", "transpose", "reshape", "_reshape_alias", "_unsafe_view", "diagonal", "alias",
    "narrow", "permute", "detach", "empty", "empty_like", "resize_", "result_type", "numpy_T",
    "matmul", "resolve_conj", "to", "_to_copy", "empty_strided", "copy_", "fill_",
    "mT", "contiguous", "as_strided_", "squeeze_", "unsqueeze_",
}  # fmt: skip


def _launches(act) -> int:
    """Operations of tensors that a call makes; composites count with what they are made of."""
    act()  # constants are made once
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as seen:
        act()
    names = [event.key.removeprefix("aten::") for event in seen.key_averages()
             for _ in range(event.count) if event.key.startswith("aten::")]  # fmt: skip
    return sum(name not in _VIEWS for name in names)


def test_a_step_of_rotations_takes_few_launches() -> None:
    manifold, (x, y, _) = SO3(), _pairs(torch.float32)
    generator = _seeded()
    assert _launches(lambda: manifold.geodesic(x, y, 0.3)) <= 30
    assert _launches(lambda: manifold.detour(x, y, 1.5, 0.3, 0.4, generator)) <= 60
    assert _launches(lambda: manifold.project(x)) <= 20
