"""SO(3): Exp and Log at every angle, their gradients, the metric, and the Haar measure."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sciddiff.manifolds import SO3
from sciddiff.manifolds.so3 import (
    angle,
    exp_map,
    from_quaternion,
    hat,
    log_map,
    orthonormalize,
    to_quaternion,
    vee,
)

AXES = torch.tensor(
    [
        [1, 0, 0],
        [0, 1, 0],
        [0, 0, 1],
        [0, 0, -1],
        [1, 1, 0],
        [-1, 1, 1],
        [3, -2, 0.1],
        [1e-9, 1, 0],
    ],
    dtype=torch.float64,
)
AXES = AXES / AXES.norm(dim=-1, keepdim=True)
ANGLES = torch.cat(
    [
        torch.tensor([0.0, math.pi]),
        torch.logspace(-12, -1, 60),
        torch.linspace(0, math.pi, 200),
        math.pi - torch.logspace(-12, -1, 60, dtype=torch.float64),
    ]
).double()


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def many_rotation_vectors() -> torch.Tensor:
    """Every angle of ANGLES about 64 random axes and those of AXES, float64 [n, 3]."""
    axes = torch.randn(64, 3, generator=generator(), dtype=torch.float64)
    axes = torch.cat([axes / axes.norm(dim=-1, keepdim=True), AXES])
    return (ANGLES[:, None, None] * axes).reshape(-1, 3)


def turn_back(v: torch.Tensor) -> torch.Tensor:
    """The other rotation vector of the same rotation."""
    length = v.norm(dim=-1, keepdim=True).clamp(min=1e-300)
    return v * (1 - 2 * math.pi / length)


def rotation_vector_error(v: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    """Distance of rotation vectors where v and v - 2 pi v / |v| are the same rotation."""
    direct = (v - w).norm(dim=-1)
    return torch.minimum(direct, (v - turn_back(w)).norm(dim=-1))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-14)])
def test_exp_is_the_matrix_exponential_at_every_angle(
    dtype: torch.dtype, tolerance: float
) -> None:
    v = many_rotation_vectors().to(dtype)
    exact = torch.matrix_exp(hat(v.double()))
    error = vee(exact.transpose(-1, -2) @ exp_map(v).double()).norm(dim=-1)  # sine of the error
    assert error.max() <= tolerance


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 2e-15)])
def test_log_is_exact_at_every_angle(dtype: torch.dtype, tolerance: float) -> None:
    v = many_rotation_vectors()
    log = log_map(torch.matrix_exp(hat(v)).to(dtype)).double()
    assert rotation_vector_error(log, v).max() <= tolerance * 4
    if dtype == torch.float32:
        assert rotation_vector_error(log, v).max() <= 1e-6


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_log_inverts_exp_to_rounding(dtype: torch.dtype) -> None:
    v = many_rotation_vectors().to(dtype)
    error = rotation_vector_error(log_map(exp_map(v)).double(), v.double())
    assert error.max() <= (1e-6 if dtype == torch.float32 else 1e-14)


def test_small_angles_keep_all_their_digits() -> None:
    v = 1e-20 * AXES
    torch.testing.assert_close(log_map(exp_map(v)), v, rtol=1e-14, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "theta", [0.0, 1e-30, 1e-8, 1e-3, 0.4999999, 0.5000001, 2.0, 3.1, math.pi]
)
def test_gradients_are_finite_at_every_angle(theta: float, dtype: torch.dtype) -> None:
    v = (theta * AXES).to(dtype).requires_grad_()
    jacobian = torch.autograd.functional.jacobian(lambda v: exp_map(v).sum(0), v)
    assert jacobian.isfinite().all()
    r = exp_map(v.detach()).requires_grad_()
    jacobian = torch.autograd.functional.jacobian(lambda r: log_map(r).sum(0), r)
    assert jacobian.isfinite().all()
    (gradient,) = torch.autograd.grad(angle(r).sum(), r)
    assert gradient.isfinite().all()


def exact_half_turns() -> torch.Tensor:
    """Half turns with no rounding error: 2 n n^T - I about the coordinate axes and diagonals."""
    n = torch.tensor([[1, 0, 0], [0, 1, 0], [0, 0, 1]], dtype=torch.float64)
    swaps = torch.tensor(
        [[[0, 1, 0], [1, 0, 0], [0, 0, -1]], [[0, 0, -1], [0, -1, 0], [-1, 0, 0]]]
    )
    return torch.cat([2 * n[:, :, None] * n[:, None, :] - torch.eye(3), swaps.double()])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_exact_identity_and_exact_half_turns(dtype: torch.dtype) -> None:
    rotations = torch.cat([torch.eye(3, dtype=dtype)[None], exact_half_turns().to(dtype)])
    rotations.requires_grad_()
    v = log_map(rotations)
    torch.testing.assert_close(exp_map(v), rotations, rtol=0, atol=1e-6)
    angles = v.norm(dim=-1)
    assert angles[0] == 0
    torch.testing.assert_close(angles[1:], torch.full_like(angles[1:], math.pi))
    for component in range(3):
        (gradient,) = torch.autograd.grad(v[:, component].sum(), rotations, retain_graph=True)
        assert gradient.isfinite().all()
        assert gradient[0].abs().max() > 0.4  # the identity is no flat spot


@pytest.mark.parametrize("theta", [0.0, 1e-7, 1e-2, 0.06, 1.0, 3.0, math.pi - 1e-6])
def test_derivative_of_log_after_exp_is_the_identity(theta: float) -> None:
    for axis in AXES:
        jacobian = torch.autograd.functional.jacobian(lambda v: log_map(exp_map(v)), theta * axis)
        torch.testing.assert_close(jacobian, torch.eye(3).double(), rtol=0, atol=1e-8)


def test_second_derivatives_are_finite_and_right_at_the_identity() -> None:
    # exp_map(v) = I + hat(v) + hat(v)^2 / 2: the Hessian of the trace is -2 I.
    hessian = torch.autograd.functional.hessian(
        lambda v: exp_map(v).diagonal().sum(), torch.zeros(3, dtype=torch.float64)
    )
    torch.testing.assert_close(hessian, -2 * torch.eye(3).double())


vectors = st.tuples(*[st.floats(-1.8, 1.8)] * 3).map(lambda v: torch.tensor(v).double())


@settings(max_examples=60, deadline=None)
@given(vectors, vectors, vectors)
def test_laws_of_the_metric(a: torch.Tensor, b: torch.Tensor, c: torch.Tensor) -> None:
    m = SO3()
    x, y, z = exp_map(a), exp_map(b), exp_map(c)
    torch.testing.assert_close(m.exp(x, m.log(x, y)), y, rtol=0, atol=1e-13)
    torch.testing.assert_close(m.dist(x, y), m.norm(m.log(x, y)), rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(m.dist(x, y), m.dist(y, x), rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(m.dist(z @ x, z @ y), m.dist(x, y), rtol=1e-7, atol=1e-13)
    torch.testing.assert_close(m.dist(x @ z, y @ z), m.dist(x, y), rtol=1e-7, atol=1e-13)
    assert m.dist(x, z) <= m.dist(x, y) + m.dist(y, z) + 1e-12
    middle = m.geodesic(x, y, 0.3)
    torch.testing.assert_close(m.dist(x, middle), 0.3 * m.dist(x, y), rtol=1e-9, atol=1e-13)


@settings(max_examples=60, deadline=None)
@given(vectors)
def test_quaternions_round_trip(v: torch.Tensor) -> None:
    r = exp_map(v)
    q = to_quaternion(r)
    assert q[0] >= 0
    torch.testing.assert_close(q.norm(), torch.tensor(1.0).double())
    torch.testing.assert_close(from_quaternion(q), r, rtol=0, atol=1e-14)
    torch.testing.assert_close(from_quaternion(-3.7 * q), r, rtol=0, atol=1e-14)


@settings(max_examples=30, deadline=None)
@given(vectors, vectors)
def test_hat_is_the_cross_product_and_vee_its_inverse(a: torch.Tensor, b: torch.Tensor) -> None:
    torch.testing.assert_close(hat(a) @ b, torch.linalg.cross(a, b), rtol=0, atol=1e-14)
    torch.testing.assert_close(vee(hat(a)), a)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_orthonormalize_stops_drift(dtype: torch.dtype) -> None:
    step = exp_map(torch.tensor([0.3, -0.2, 0.5], dtype=dtype))
    r = torch.eye(3, dtype=dtype)
    for k in range(2000):
        r = r @ step
        if k % 10 == 9:
            r = orthonormalize(r)
    identity = torch.eye(3, dtype=dtype)
    eps = torch.finfo(dtype).eps
    assert (r.T @ r - identity).abs().max() < 30 * eps
    assert abs(float(torch.linalg.det(r)) - 1) < 30 * eps
    torch.testing.assert_close(orthonormalize(r), r, rtol=0, atol=10 * eps)


def test_orthonormalize_keeps_the_rotation_of_a_scaled_matrix_close() -> None:
    r = exp_map(many_rotation_vectors())
    noise = 1e-5 * torch.randn(r.shape, generator=generator(), dtype=torch.float64)
    fixed = orthonormalize(r + noise)
    torch.testing.assert_close(
        fixed.transpose(-1, -2) @ fixed, torch.eye(3).double().expand_as(r), rtol=0, atol=1e-14
    )
    assert SO3().dist(r, fixed).max() < 1e-4


def test_uniform_is_haar() -> None:
    n = 100_000
    r = SO3().uniform(torch.empty(n, 3, 3, dtype=torch.float64), generator(1))
    torch.testing.assert_close(r @ r.mT, torch.eye(3).double().expand_as(r), rtol=0, atol=1e-13)
    torch.testing.assert_close(torch.linalg.det(r), torch.ones(n).double())
    # P(angle < w) = (w - sin w) / pi
    edges = torch.linspace(0, math.pi, 41, dtype=torch.float64)
    expected = n * ((edges - edges.sin()) / math.pi).diff()
    counts = torch.histogram(angle(r), bins=edges).hist
    chi_square = ((counts - expected) ** 2 / expected).sum()
    assert chi_square < 40 + 5 * math.sqrt(80)
    # Moments of the Haar measure: E R = 0, E R_ij R_kl = delta_ik delta_jl / 3.
    flat = r.flatten(1)
    assert flat.mean(0).abs().max() < 5 / math.sqrt(3 * n)
    second = flat.T @ flat / n
    torch.testing.assert_close(
        second, torch.eye(9).double() / 3, rtol=0, atol=5 / math.sqrt(5 * n)
    )


def test_tangent_noise_is_standard_normal_in_the_body_frame() -> None:
    x = torch.eye(3).expand(20_000, 3, 3)
    v = SO3().randn_tangent(x, generator(2))
    assert v.shape == (20_000, 3)
    torch.testing.assert_close(v.T @ v / len(v), torch.eye(3), rtol=0, atol=0.05)
