r"""Log-likelihood of data under a denoiser, by the instantaneous change of variables.

Along the probability-flow ODE :math:`\dot x = u(x, t)` from data back to noise,

.. math:: \log p_{t_1}(x_{t_1}) = \log p_0(x_0) - \int_0^{t_1} \nabla\!\cdot u\,(x_t, t)\,dt

(Chen et al., *Neural ODE*, 2018; Song et al., 2021, eq. 39). The divergence is exact, or the
unbiased estimate :math:`z^\top (\partial u/\partial x)\,z` with random signs z held over the whole
trajectory (Hutchinson; Grathwohl et al., *FFJORD*, 2019).

Every leaf is treated alike: u has tangent components, and the divergence is
:math:`\sum_i \partial_\varepsilon u_i(\exp_x(\varepsilon e_i))`. On a compact Lie group with
body-frame components this is the Riemannian divergence without a metric term, because such groups
are unimodular; on a subspace (zero centre of mass) basis vectors are projected. The integrator is
the commutator-free method of order four of Celledoni, Marthinsen & Owren (2003), which needs only
``exp`` and on flat leaves is the classical Runge--Kutta method.

Densities are in nats, with respect to the Lebesgue measure on flat leaves and to the invariant
measure of total mass one on compact ones.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Literal, TypeVar, final

import torch
from torch import Tensor

from sciddiff import streams
from sciddiff.errors import InputError
from sciddiff.guidance.base import DenoiserLike, ask, evaluation_mode
from sciddiff.manifolds import SO3, Euclidean, Manifold, Torus, ZeroCenterOfMass
from sciddiff.state import Batch, Layout, State
from sciddiff.streams import Streams

__all__ = ["log_prob"]

_SUPPORTED = (Euclidean, ZeroCenterOfMass, SO3, Torus)

Field = Callable[[State, float], tuple[State, Tensor]]
"""``(x, t) -> (velocity, divergence [B])``."""


def log_prob(
    denoiser: DenoiserLike,
    batch: Batch,
    *,
    exact: bool = True,
    probes: int = 1,
    steps: int = 64,
    solver: Literal["rk4", "euler"] = "rk4",
    t_end: float = 1.0 - 1e-3,
    grid: Tensor | None = None,
    seed: int = 0,
    indices: Tensor | None = None,
    chunk: int = 32,
) -> Tensor:
    """Log-density of each sample of a batch under the flow of a denoiser.

    The flow is stopped at ``t_end``, short of the singular end of the schedule: what is returned
    is the density of ``x_t / alpha(t)`` there, which differs from that of the data by the noise
    that is left.

    Args:
        denoiser: The denoiser.
        batch: The data, with layouts and conditions.
        exact: Exact divergence, one backward pass for each degree of freedom of the largest
            sample; False: estimate it.
        probes: Random probes that an estimate averages over.
        steps: Steps of the integrator, four evaluations each with ``"rk4"``.
        solver: ``"rk4"`` (order four) or ``"euler"``.
        t_end: Time at which the data enter, below 1 (the data) for schedules that end clean.
        grid: Increasing times from 0, ``[n + 1]``, instead of ``steps`` and ``t_end``.
        seed: Seed of the probes.
        indices: Global number of each sample for its probes, int64 ``[B]``; default 0 to B - 1.
        chunk: Backward passes done at once.

    Returns:
        Log-density in nats, ``[B]``.

    Raises:
        InputError: A leaf lives on a space without body-frame components, or has fixed rows.

    >>> from sciddiff import GaussianPath
    >>> from sciddiff.testing import AnalyticDenoiser, GaussianMixture
    >>> law, x = GaussianMixture.standard(), torch.zeros(1, 2, dtype=torch.float64)
    >>> denoiser = AnalyticDenoiser({"x": GaussianPath()}, {"x": law})
    >>> bool((log_prob(denoiser, Batch({"x": x})) - law.log_prob(x)).abs() < 0.05)
    True
    """
    manifolds = _manifolds(denoiser, batch)
    first = max(path.first_time for path in denoiser.path.paths.values())
    times = torch.linspace(first, t_end, steps + 1, dtype=torch.float64) if grid is None else grid
    indices = torch.arange(batch.size) if indices is None else indices
    streams = Streams(seed, indices.to(batch.device)).purpose("probes")
    trace: _Trace = _Exact(chunk) if exact else _Hutchinson(probes, streams, chunk)
    x, volume = _enter(denoiser, batch, float(times[-1]))
    field = _field(denoiser, manifolds, batch, trace)
    advance = _rk4 if solver == "rk4" else _euler
    change = torch.zeros_like(volume)
    late_to_early = times.detach().to("cpu", torch.float64).clamp(min=first).flip(0).tolist()
    with evaluation_mode(denoiser):
        for t, s in zip(late_to_early, late_to_early[1:], strict=False):
            x, integral = advance(field, manifolds, x, t, s - t)
            change = change + integral  # the integral of the divergence from t down to s
    return denoiser.path.log_prior(x, batch.layouts) + change + volume


T = TypeVar("T")

Project = Callable[[str, Tensor], Tensor]
"""``(leaf, tangent components) -> what the leaf may do of them``."""


class _Trace(ABC):
    """A way to take the divergence of a velocity that was computed from shifted points."""

    @abstractmethod
    def __call__(
        self, velocity: State, shifts: State, project: Project, batch: Batch
    ) -> Tensor:
        """The divergence, ``[B]``.

        Args:
            velocity: Tangent components, a differentiable function of ``shifts``.
            shifts: Tangent components of the displacement of every point.
            project: Projects a leaf's tangent components on what the leaf may do.
            batch: Gives the layouts.
        """


@final
class _Exact(_Trace):
    def __init__(self, chunk: int) -> None:
        self._chunk = chunk

    def __call__(
        self, velocity: State, shifts: State, project: Project, batch: Batch
    ) -> Tensor:
        total = next(iter(velocity.values())).new_zeros(batch.size)
        for name, u in velocity.items():
            layout = batch.layouts[name]
            for basis in _chunks(_basis(u, layout), self._chunk):
                directions = torch.stack([project(name, vector) for vector in basis])
                (rows,) = torch.autograd.grad(
                    u, shifts[name], directions, retain_graph=True, is_grads_batched=True
                )
                total = total + layout.sum_per_sample((rows * directions).sum(0))
        return total


@final
class _Hutchinson(_Trace):
    """Rademacher probes, drawn at the first call and kept."""

    def __init__(self, probes: int, generator: Streams, chunk: int) -> None:
        if probes < 1:
            raise InputError(f"probes: {probes}; at least one is needed")
        self._count = probes
        self._chunk = chunk
        self._generator = generator
        self._probes: list[State] = []

    def __call__(
        self, velocity: State, shifts: State, project: Project, batch: Batch
    ) -> Tensor:
        if not self._probes:
            self._probes = [self._draw(velocity, batch) for _ in range(self._count)]
        total = next(iter(velocity.values())).new_zeros(batch.size)
        names = list(velocity)
        for chunk in _chunks(iter(self._probes), self._chunk):
            z = [torch.stack([project(name, probe[name]) for probe in chunk]) for name in names]
            rows = torch.autograd.grad(
                [velocity[name] for name in names], [shifts[name] for name in names], z,
                retain_graph=True, is_grads_batched=True,
            )  # fmt: skip
            for name, row, signs in zip(names, rows, z, strict=True):
                total = total + batch.layouts[name].sum_per_sample((row * signs).sum(0))
        return total / self._count

    def _draw(self, velocity: State, batch: Batch) -> State:
        signs = {}
        for name, u in velocity.items():
            uniform = streams.uniform(u, self._generator, batch.layouts[name])
            signs[name] = torch.where(uniform < 0.5, -1.0, 1.0).to(u)
        return signs


def _basis(like: Tensor, layout: Layout) -> Iterator[Tensor]:
    """For each degree of freedom of a sample, its unit vector in all samples at once."""
    if layout.index is None:
        one = like.new_zeros(like.shape).flatten(1)
        for i in range(one.shape[1]):
            vector = one.clone()
            vector[:, i] = 1.0
            yield vector.reshape(like.shape)
        return
    flat = like.new_zeros(like.shape).flatten(1)
    for position in range(int(layout.positions.max()) + 1):
        for i in range(flat.shape[1]):
            vector = flat.clone()
            vector[:, i] = (layout.positions == position).to(like.dtype)
            yield vector.reshape(like.shape)


def _chunks(vectors: Iterator[T], size: int) -> Iterator[list[T]]:
    while chunk := list(islice(vectors, size)):
        yield chunk


def _field(
    denoiser: DenoiserLike, manifolds: Mapping[str, Manifold], batch: Batch, trace: _Trace
) -> Field:
    """Velocity and divergence as functions of state and time."""
    paths = denoiser.path.paths

    def field(x: State, t: float) -> tuple[State, Tensor]:
        def project(name: str, v: Tensor) -> Tensor:
            layout = batch.layouts[name]
            return layout.zero_padding(paths[name].project_tangent(x[name], v, layout))

        with torch.enable_grad():
            shifts = {
                name: manifolds[name].zero_tangent(leaf).requires_grad_()
                for name, leaf in x.items()
            }
            moved = {
                name: manifolds[name].exp(leaf, project(name, shifts[name]))
                for name, leaf in x.items()
            }
            predictions = ask(denoiser, moved, t, batch)
            velocity = {name: predictions[name].velocity for name in x}
            divergence = trace(velocity, shifts, project, batch)
        return {name: project(name, u.detach()) for name, u in velocity.items()}, divergence

    return field


def _walk(manifolds: Mapping[str, Manifold], x: State, *terms: tuple[float, State]) -> State:
    """``exp`` of a weighted sum of velocities."""
    moved = {}
    for name, leaf in x.items():
        step = sum((weight * u[name] for weight, u in terms[1:]), terms[0][0] * terms[0][1][name])
        moved[name] = manifolds[name].exp(leaf, step)
    return moved


def _euler(
    field: Field, manifolds: Mapping[str, Manifold], x: State, t: float, h: float
) -> tuple[State, Tensor]:
    u, divergence = field(x, t)
    return _walk(manifolds, x, (h, u)), h * divergence


def _rk4(
    field: Field, manifolds: Mapping[str, Manifold], x: State, t: float, h: float
) -> tuple[State, Tensor]:
    """One step of CF4 (Celledoni, Marthinsen & Owren 2003, section 3)."""
    k1, d1 = field(x, t)
    y2 = _walk(manifolds, x, (h / 2, k1))
    k2, d2 = field(y2, t + h / 2)
    y3 = _walk(manifolds, x, (h / 2, k2))
    k3, d3 = field(y3, t + h / 2)
    k4, d4 = field(_walk(manifolds, y2, (h, k3), (-h / 2, k1)), t + h)
    w = h / 12
    x = _walk(manifolds, x, (3 * w, k1), (2 * w, k2), (2 * w, k3), (-w, k4))
    x = _walk(manifolds, x, (-w, k1), (2 * w, k2), (2 * w, k3), (3 * w, k4))
    return x, h / 6 * (d1 + 2 * d2 + 2 * d3 + d4)


def _manifolds(denoiser: DenoiserLike, batch: Batch) -> dict[str, Manifold]:
    """The manifold of every leaf.

    Raises:
        InputError: A leaf lives on a space without body-frame components, or has fixed rows.
    """
    found: dict[str, Manifold] = {}
    for name, path in denoiser.path.paths.items():
        if not isinstance(path.manifold, _SUPPORTED):
            if path.manifold is None:
                raise InputError(
                    f"leaf {name!r}: has no density, since its values jump; sciddiff.elbo "
                    "estimates a bound of its log-probability"
                )
            raise InputError(
                f"leaf {name!r}: no likelihood on {type(path.manifold).__name__}; "
                "flat spaces, SO(3) and the torus have one"
            )
        fixed = batch.layouts[name].fixed
        if fixed is not None and bool(fixed.any()):
            raise InputError(f"leaf {name!r}: has fixed rows; give a batch with all rows free")
        found[name] = path.manifold
    return found


def _enter(denoiser: DenoiserLike, batch: Batch, t: float) -> tuple[State, Tensor]:
    """The data as the state of the flow at ``t``, and the change of log-volume ``[B]``."""
    x, volume = dict(batch.x), None
    for name, path in denoiser.path.paths.items():
        x[name], change = path.enter(batch.x[name], t, batch.layouts[name])
        volume = change if volume is None else volume + change
    if volume is None:
        raise InputError("log_prob: the path has no leaves")
    return x, volume
