"""The energy of a relaxation is the written one, and its forces are its derivatives."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from protein.backbone.polish_energy import Energy, Topology
from protein.structures import geometry_constants as ideal
from protein.structures.frames import backbone_from_frames
from protein.structures.torsions import dihedral
from sciddiff.manifolds import SO3
from sciddiff.manifolds.so3 import exp_map
from sciddiff.streams import Streams

CLOSEST = torch.tensor(
    [[3.0, 3.2, 3.2, 2.7], [3.2, 3.85, 3.5, 3.1], [3.2, 3.5, 3.4, 3.1], [2.7, 3.1, 3.1, 3.0]],
    dtype=torch.float64,
)


def _crowd() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Two crowded tangles, one shorter than its row, with broken chains and a lone residue."""
    streams = Streams.first(4, 2)
    like = torch.empty(2, 16, 3, dtype=torch.float64)
    x = 1.6 * streams.normal(like).cumsum(1) / (1 + 0.1 * torch.arange(16)[:, None])
    r = SO3().uniform(torch.empty(2, 16, 3, 3, dtype=torch.float64), streams)
    mask = torch.ones(2, 16, dtype=torch.bool)
    mask[1, 12:] = False
    bonded = mask & torch.roll(mask, -1, 1)
    bonded[:, -1] = False
    bonded[0, [7, 8]] = False
    return x, r, mask, bonded


def _soft(z: Tensor) -> Tensor:
    return 2.0 * ((1.0 + z).sqrt() - 1.0)


def _bend(u: Tensor, v: Tensor, mean: float, deviation: float) -> Tensor:
    angle = torch.atan2(torch.linalg.cross(u, v).norm(dim=-1), (u * v).sum(-1))
    return _soft(((angle - mean) / deviation) ** 2)


def _plain(
    x: Tensor,
    r: Tensor,
    mask: Tensor,
    bonded: Tensor,
    overlap: float,
    bond: float,
    torsion: float = 0.0,
    held: Tensor | None = None,
) -> Tensor:
    """The same energy, one term and one protein after the other."""
    full = backbone_from_frames(r, x, bonded=bonded)
    energy = x.new_zeros(())
    for atoms, real, linked in zip(full, mask, bonded, strict=True):
        n, ca, c, o = atoms.unbind(1)
        i = linked.nonzero()[:, 0]
        peptide, out, into = n[i + 1] - c[i], ca[i] - c[i], ca[i + 1] - n[i + 1]
        energy = energy + _soft(((peptide.norm(dim=-1) - ideal.C_N) / ideal.C_N_SD) ** 2).sum()
        energy = energy + _bend(out, peptide, ideal.CA_C_N, ideal.CA_C_N_SD).sum()
        energy = energy + _bend(-peptide, into, ideal.C_N_CA, ideal.C_N_CA_SD).sum()
        a, b = torch.linalg.cross(-out, peptide), torch.linalg.cross(peptide, into)
        planar = 1.0 - (normalize(a, dim=-1) * normalize(b, dim=-1)).sum(-1).abs()
        energy = energy + _soft(0.5 * planar / (1.0 - math.cos(math.radians(6.0)))).sum()
        length = int(real.sum())
        second = CLOSEST.clone()
        second[2, 0] = 2.95  # C and the N two residues on
        for k in range(length - 2):
            apart = (atoms[k, :, None] - atoms[k + 2]).norm(dim=-1)
            energy = energy + overlap * ((second - apart).clamp(min=0.0) ** 2).sum()
        for i in range(length):
            for j in range(length):
                if abs(i - j) < 3 or (ca[i] - ca[j]).norm() >= 8.0:
                    continue
                if i < j:
                    apart = (atoms[i, :, None] - atoms[j]).norm(dim=-1)
                    energy = energy + overlap * ((CLOSEST - apart).clamp(min=0.0) ** 2).sum()
                if i > 0 and linked[i - 1] and (o[j] - n[i]).norm() < 5.0:
                    away = normalize(n[i] - c[i - 1], dim=-1) + normalize(n[i] - ca[i], dim=-1)
                    h = n[i] + 1.01 * normalize(away, dim=-1)
                    inverse = 1 / (o[j] - n[i]).norm() + 1 / (c[j] - h).norm()
                    inverse = inverse - 1 / (o[j] - h).norm() - 1 / (c[j] - n[i]).norm()
                    energy = energy + bond * (27.9 * inverse).clamp(-2.5, 0.0)
    if held is not None:
        for now, then, linked in zip(_torsions(full), held, bonded, strict=True):
            energy = energy + torsion * 2.0 * (1.0 - (now - then).cos())[linked[:-1]].sum()
    return energy


def _torsions(atoms: Tensor) -> Tensor:
    """psi of every residue but the last and phi of the next `[B, N - 1, 2]`, rad."""
    n, ca, c, _ = atoms.unbind(2)
    psi = dihedral(n[:, :-1], ca[:, :-1], c[:, :-1], n[:, 1:])
    phi = dihedral(c[:, :-1], n[:, 1:], ca[:, 1:], c[:, 1:])
    return torch.stack([psi, phi], -1)


def _components(value: Tensor) -> np.ndarray:
    return value.movedim((0, 1), (-2, -1)).reshape(*value.shape[2:], -1).numpy()


@pytest.mark.parametrize(("overlap", "bond"), [(0.0, 0.0), (20.0, 0.0), (0.0, 4.0), (3.0, 5.0)])
def test_energy_and_forces_are_those_of_the_definition(overlap: float, bond: float) -> None:
    x, r, mask, bonded = _crowd()
    place, turn = x.clone().requires_grad_(True), torch.zeros_like(x).requires_grad_(True)
    expected = _plain(place, exp_map(turn) @ r, mask, bonded, overlap, bond)
    of_place, of_turn = torch.autograd.grad(expected, (place, turn))
    energy = Energy(Topology.of(mask.numpy(), bonded.numpy()), overlap, bond)
    value, shift, twist = energy(_components(x), _components(r))
    assert value == pytest.approx(float(expected.detach()), rel=1e-10)
    for found, wanted in ((shift, of_place), (twist, of_turn)):
        np.testing.assert_allclose(found, _components(wanted), atol=1e-6, rtol=1e-8)


def test_torsions_are_held_where_they_were_found() -> None:
    x, r, mask, bonded = _crowd()
    before = x + 0.3 * Streams.first(5, 2).normal(x)
    held = _torsions(backbone_from_frames(r, before, bonded=bonded))
    energy = Energy(Topology.of(mask.numpy(), bonded.numpy()), 0.0, 0.0, 7.0)
    energy.hold(_components(before), _components(r))
    place, turn = x.clone().requires_grad_(True), torch.zeros_like(x).requires_grad_(True)
    expected = _plain(place, exp_map(turn) @ r, mask, bonded, 0.0, 0.0, 7.0, held)
    of_place, of_turn = torch.autograd.grad(expected, (place, turn))
    value, shift, twist = energy(_components(x), _components(r))
    assert value == pytest.approx(float(expected.detach()), rel=1e-9)
    for found, wanted in ((shift, of_place), (twist, of_turn)):
        np.testing.assert_allclose(found, _components(wanted), atol=1e-6, rtol=1e-6)
    junctions = Energy(Topology.of(mask.numpy(), bonded.numpy()), 0.0, 0.0)
    there = _components(before), _components(r)
    assert energy(*there)[0] == pytest.approx(junctions(*there)[0], rel=1e-9), "nothing has moved"


def test_it_notices_when_atoms_come_near() -> None:
    x, r, mask, bonded = _crowd()
    topology = Topology.of(mask.numpy(), bonded.numpy())
    running = Energy(topology, 20.0, 4.0)
    noise = Streams.first(9, 2)
    place = 3.0 * x
    for _ in range(12):  # the tangles shrink to a third in small and large steps
        place = place + 0.2 * (x - place) + 0.05 * noise.normal(x)
        found = running(_components(place), _components(r))
        fresh = Energy(topology, 20.0, 4.0)(_components(place), _components(r))
        assert found[0] == pytest.approx(fresh[0], rel=1e-12)
        np.testing.assert_allclose(found[1], fresh[1], atol=1e-9)


def test_no_pairs_and_no_bonds_are_nothing() -> None:
    mask = np.ones((1, 2), dtype=bool)
    energy = Energy(Topology.of(mask, np.zeros_like(mask)), 20.0, 4.0)
    value, shift, turn = energy(np.array([[0.0, 9.0]] * 3), np.eye(3)[:, :, None].repeat(2, 2))
    assert value == 0.0 and not shift.any() and not turn.any()
