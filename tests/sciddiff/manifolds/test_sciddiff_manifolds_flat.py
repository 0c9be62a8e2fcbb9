"""Euclidean spaces, the torus, the sphere and products: the laws every manifold obeys."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sciddiff.errors import InputError
from sciddiff.manifolds import SO3, Euclidean, Manifold, Sphere, Torus, ZeroCenterOfMass
from sciddiff.manifolds.torus import wrap
from sciddiff.state import Layout
from sciddiff.streams import Streams

LIKE = {
    "euclidean": (Euclidean(), (5, 7, 3)),
    "centred": (ZeroCenterOfMass(), (5, 7, 3)),
    "so3": (SO3(), (5, 7, 3, 3)),
    "torus": (Torus(), (5, 7)),
    "circle": (Sphere(2), (5, 7, 2)),
    "sphere": (Sphere(3), (5, 7, 3)),
}
MANIFOLDS = pytest.mark.parametrize(("manifold", "shape"), LIKE.values(), ids=LIKE.keys())
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@MANIFOLDS
@DTYPES
def test_laws_of_every_manifold(manifold: Manifold, shape: tuple, dtype: torch.dtype) -> None:
    like = torch.empty(shape, dtype=dtype)
    x, y = manifold.prior(like, generator(1)), manifold.prior(like, generator(2))
    close = {"rtol": 0.0, "atol": 30 * torch.finfo(dtype).eps}
    assert x.shape == shape
    assert x.dtype == dtype
    torch.testing.assert_close(manifold.project(x), x, **close)
    v = manifold.log(x, y)
    torch.testing.assert_close(manifold.project_tangent(x, v), v, **close)
    torch.testing.assert_close(manifold.exp(x, v), y, **close)
    torch.testing.assert_close(manifold.exp(x, torch.zeros_like(v)), x, **close)
    distance = manifold.dist(x, y)
    torch.testing.assert_close(distance, manifold.norm(v), rtol=1e-5, atol=close["atol"])
    torch.testing.assert_close(distance, manifold.dist(y, x), rtol=1e-5, atol=close["atol"])
    part = manifold.geodesic(x, y, 0.25)
    torch.testing.assert_close(manifold.project(part), part, **close)
    torch.testing.assert_close(manifold.dist(x, part), 0.25 * distance, rtol=1e-4, atol=1e-6)
    assert distance.shape == shape[: len(shape) - manifold.event_ndim]


@MANIFOLDS
def test_gradients_are_finite_where_two_points_meet(manifold: Manifold, shape: tuple) -> None:
    x = manifold.prior(torch.empty(shape, dtype=torch.float64), generator(1))
    a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
    v = manifold.log(a, b)
    total = manifold.exp(a, v).sum() + v.sum() + manifold.dist(a, b).sum()
    for gradient in torch.autograd.grad(total, (a, b)):
        assert gradient.isfinite().all()


@MANIFOLDS
def test_tangent_noise_is_tangent_and_has_unit_variance(manifold: Manifold, shape: tuple) -> None:
    x = manifold.prior(torch.empty((4000, *shape[1:]), dtype=torch.float64), generator(1))
    v = manifold.randn_tangent(x, generator(2))
    torch.testing.assert_close(manifold.project_tangent(x, v), v, rtol=0, atol=1e-13)
    freedom = manifold.tangent_dim * (6 / 7 if isinstance(manifold, ZeroCenterOfMass) else 1)
    torch.testing.assert_close(
        manifold.inner(v, v).mean(), torch.tensor(freedom).double(), rtol=0.03, atol=0
    )


@MANIFOLDS
def test_noise_of_a_sample_does_not_depend_on_its_batch(manifold: Manifold, shape: tuple) -> None:
    like = torch.empty(shape)
    all_of_them = manifold.prior(like, Streams(7, torch.arange(5)))
    alone = manifold.prior(like[3:4], Streams(7, torch.tensor([3])))
    if isinstance(manifold, ZeroCenterOfMass):  # sums in another order
        torch.testing.assert_close(alone, all_of_them[3:4])
    else:
        assert torch.equal(alone, all_of_them[3:4])


@pytest.mark.parametrize("manifold", [Euclidean(), ZeroCenterOfMass()])
def test_flat_spaces_have_no_uniform_law(manifold: Manifold) -> None:
    with pytest.raises(TypeError, match="prior"):
        manifold.uniform(torch.empty(2, 3, 3), generator())


def test_centring_respects_masks_and_ragged_rows() -> None:
    manifold = ZeroCenterOfMass()
    mask = torch.tensor([[True, True, True, False], [True, True, False, False]])
    dense = manifold.prior(torch.empty(2, 4, 3), Streams(3, torch.arange(2)), Layout(2, mask=mask))
    torch.testing.assert_close(dense.sum(1), torch.zeros(2, 3), rtol=0, atol=1e-6)
    assert (dense[~mask] == 0).all()
    index = torch.tensor([0, 0, 0, 1, 1])
    layout = Layout(2, index=index)
    ragged = manifold.prior(torch.empty(5, 3), Streams(3, torch.arange(2)), layout)
    torch.testing.assert_close(ragged, dense[mask])
    moved = ragged + torch.tensor([[1.0], [5.0]])[index]
    torch.testing.assert_close(manifold.project(moved, layout), ragged, rtol=0, atol=1e-6)


@settings(max_examples=100, deadline=None)
@given(st.floats(-60, 60), st.sampled_from([torch.float32, torch.float64]))
def test_wrap_lands_in_the_half_open_interval(value: float, dtype: torch.dtype) -> None:
    x = torch.tensor(value, dtype=dtype)
    wrapped = wrap(x)
    assert wrapped >= -math.pi - 1e-7
    assert wrapped < math.pi
    turns = float(wrapped - x) / (2 * math.pi)
    assert abs(turns - round(turns)) < 1e-5
    assert torch.equal(wrap(wrapped), wrapped)


@DTYPES
def test_wrap_is_the_identity_inside_and_sends_pi_to_minus_pi(dtype: torch.dtype) -> None:
    x = torch.cat([torch.logspace(-30, 0.49, 50), -torch.logspace(-30, 0.49, 50)]).to(dtype)
    assert torch.equal(wrap(x), x)
    pi = torch.tensor(math.pi, dtype=dtype)
    torch.testing.assert_close(wrap(pi), -pi)
    (slope,) = torch.autograd.grad(wrap(pi.requires_grad_()), pi)
    assert slope == 1


def test_torus_uniform_is_uniform() -> None:
    x = Torus().uniform(torch.empty(100_000, dtype=torch.float64), generator(1))
    counts = torch.histc(x, 50, -math.pi, math.pi)
    assert counts.sum() == 100_000
    assert ((counts - 2000) ** 2 / 2000).sum() < 50 + 5 * 10


@DTYPES
@pytest.mark.parametrize("theta", [0.0, 1e-9, 1e-4, 0.03, 0.1, 1.5, 3.0, math.pi - 0.01, math.pi])
def test_sphere_maps_at_every_angle(theta: float, dtype: torch.dtype) -> None:
    sphere, eps = Sphere(3), torch.finfo(dtype).eps
    x = sphere.uniform(torch.empty(50, 3, dtype=torch.float64), generator(1))
    d = sphere.randn_tangent(x, generator(2))
    v = (theta * d / d.norm(dim=-1, keepdim=True)).to(dtype).requires_grad_()
    x = x.to(dtype).requires_grad_()
    y = sphere.exp(x, v)
    torch.testing.assert_close(y.norm(dim=-1), torch.ones_like(y[:, 0]))
    expected = torch.full_like(y[:, 0], theta)
    torch.testing.assert_close(sphere.dist(x, y), expected, rtol=0, atol=6 * eps)
    back = sphere.log(x, y)
    torch.testing.assert_close(sphere.exp(x, back), y, rtol=0, atol=8 * eps)
    if theta < 3.1:
        torch.testing.assert_close(back, v, rtol=0, atol=300 * eps)
    for gradient in torch.autograd.grad(back.sum() + y.sum(), (x, v)):
        assert gradient.isfinite().all()


def test_sphere_log_of_the_exact_antipode_has_length_pi() -> None:
    x = torch.eye(3, dtype=torch.float64)
    v = Sphere(3).log(x, -x)
    torch.testing.assert_close(v.norm(dim=-1), torch.full((3,), math.pi).double())
    torch.testing.assert_close((v * x).sum(-1), torch.zeros(3).double())


def test_sphere_uniform_has_uniform_height() -> None:
    x = Sphere(3).uniform(torch.empty(100_000, 3, dtype=torch.float64), generator(1))
    for k in range(3):  # Archimedes
        counts = torch.histc(x[:, k], 50, -1, 1)
        assert ((counts - 2000) ** 2 / 2000).sum() < 50 + 5 * 10


def test_sphere_needs_two_dimensions() -> None:
    with pytest.raises(InputError, match="ambient_dim"):
        Sphere(1)
