"""Bodies turned and moved to meet over an area: the slope, the minimum, what may not change."""

import numpy as np
import pytest
import torch
from torch import Tensor

from protein.backbone import interface_fit
from protein.backbone.contact import CLASH
from protein.backbone.data import NM
from protein.backbone.interface_fit import NATIVE, Placement, fitted, interface_energy
from protein.backbone.modes.binders import fit_to_target
from protein.backbone.point_groups import PointGroup
from protein.backbone.symmetry import fit_copies
from protein.structures.torsions import backbone_from_torsions
from sciddiff.manifolds.so3 import exp_map


def helix(residues: int) -> Tensor:
    """CA atoms of a helix, nm `[N, 3]`, its middle at the origin."""
    torsions = np.tile(np.radians([-62.0, -43.0, 180.0]), (residues, 1))
    ca = torch.from_numpy(NM * backbone_from_torsions(torsions)[:, 1]).double()
    return ca - ca.mean(0)


def crossed(gap: float) -> tuple[Tensor, Tensor]:
    """Two helices at right angles whose axes are `gap` nm apart: `[1, N, 3]` and `[M, 3]`."""
    body = helix(24)
    along = body @ torch.linalg.svd(body)[2].T
    if torch.linalg.det(torch.linalg.svd(body)[2]) < 0:
        along = along * torch.tensor([1.0, 1.0, -1.0])
    across = along[:, [1, 0, 2]] * torch.tensor([-1.0, 1.0, 1.0])
    return (across + torch.tensor([0.0, 0.0, gap]))[None], along


def energy_of(target: Tensor, body: Tensor, share: float = NATIVE):
    """The energy of a body beside a target, of positions `[B, N, 3]`."""
    pairs = torch.ones(1, body.shape[1], len(target), dtype=torch.bool)
    wanted = torch.tensor([share * body.shape[1]]).double()
    return lambda x: interface_energy(torch.cdist(x, target[None]), pairs, wanted)


def test_the_energy_is_the_formula() -> None:
    gaps = torch.tensor([[0.4, 0.7, 0.77, 1.0]]).double()
    pairs = torch.tensor([[True, True, True, False]])
    contacts = sum(1 / (1 + np.exp((d - 0.77) / 0.04)) for d in (0.4, 0.7, 0.77))
    deep = 40.0 / 5.0 * (0.1 / 0.5) ** 2
    few = interface_energy(gaps, pairs, torch.tensor([5.0]).double())
    assert float(few) == pytest.approx((1 - contacts / 5.0) ** 2 + deep, rel=1e-6)
    many = interface_energy(gaps, pairs, torch.tensor([1.0]).double())
    assert float(many) == pytest.approx((contacts - 1.25) ** 2 + 5.0 * deep, rel=1e-6)


def test_the_slope_by_turns_and_shifts_is_that_of_finite_differences() -> None:
    body, target = crossed(0.75)
    energy, radius = energy_of(target, body), torch.full((1, 1, 1), 0.9).double()
    middle = body.mean(1, keepdim=True)
    here = Placement(torch.eye(3).double()[None], middle, torch.zeros(1, 1, 3).double())
    _, slope = interface_fit._slope(body, radius, here, energy)
    for k in range(6):
        moved = []
        for sign in (1e-5, -1e-5):
            step = torch.zeros(6).double()
            step[k] = sign
            turn = exp_map(step[:3] / 0.9)[None]
            moved.append(float(energy(Placement(turn, middle, step[None, None, 3:])(body))))
        assert float(slope[0, 0, k]) == pytest.approx((moved[0] - moved[1]) / 2e-5, abs=1e-6)


def test_helices_that_touch_at_one_point_come_to_lie_along_each_other() -> None:
    body, target = crossed(1.0)
    free = torch.ones(1, 24, dtype=torch.bool)
    energy = energy_of(target, body, 0.8)
    before = float((torch.cdist(body, target[None]) < 0.8).sum())
    placed = fitted(body, free, energy, 200)
    after = torch.cdist(placed(body), target[None])
    assert before < 7 < 15 < float((after < 0.8).sum()) < 25
    assert float(after.min()) > NM * CLASH
    assert float(energy(placed(body))) < 0.2 * float(energy(body))


def test_a_body_keeps_its_shape_and_hand() -> None:
    body, target = crossed(0.6)
    placed = fitted(body, torch.ones(1, 24, dtype=torch.bool), energy_of(target, body), 30)
    assert float(torch.linalg.det(placed.turn)) == pytest.approx(1.0, abs=1e-6)
    moved = placed(body)
    assert float((moved - body).abs().max()) > 0.05
    assert torch.allclose(torch.cdist(moved, moved), torch.cdist(body, body), atol=1e-6)


def test_what_turns_with_the_surroundings_is_placed_alike() -> None:
    body, target = crossed(0.8)
    free = torch.ones(1, 24, dtype=torch.bool)
    turn = exp_map(torch.tensor([0.4, -1.1, 0.7]).double())
    one = fit_to_target(body, free, target, torch.tensor([11, 12]), 40)(body)
    other = fit_to_target(body @ turn.T, free, target @ turn.T, torch.tensor([11, 12]), 40)
    assert torch.allclose(other(body @ turn.T), one @ turn.T, atol=1e-6)


def test_samples_of_a_batch_and_their_padding_do_not_disturb_each_other() -> None:
    body, target = crossed(0.8)
    short = torch.cat([body[:, :20], torch.full((1, 4, 3), 7.0).double()], 1)
    free = torch.ones(2, 24, dtype=torch.bool)
    free[1, 20:] = False
    both = torch.cat([body, short])
    together = fit_to_target(both, free, target, torch.tensor([12]), 25)(both)
    for row, length in ((0, 24), (1, 20)):
        part, real = both[row : row + 1, :length], torch.ones(1, length, dtype=torch.bool)
        alone = fit_to_target(part, real, target, torch.tensor([12]), 25)(part)
        assert torch.allclose(together[row : row + 1, :length], alone, atol=1e-9)


def test_hotspots_are_met() -> None:
    body, target = crossed(1.0)
    free = torch.ones(1, 24, dtype=torch.bool)
    for spot in (6, 17):
        placed = fit_to_target(body, free, target, torch.tensor([spot]), 200)
        assert float((placed(body)[0] - target[spot]).norm(dim=-1).min()) < 0.8


@pytest.mark.parametrize("name", ["C2", "C3", "D2"])
def test_copies_of_a_unit_meet_as_natives_do(name: str) -> None:
    group = PointGroup.parse(name)
    unit = helix(40)[None] + 0.9 * group.roomiest
    placed = fit_copies(group, unit, rounds=200)
    moved = placed(unit)[0]
    whole = (group.rotations @ moved.T).transpose(1, 2)
    gaps = torch.cdist(moved[None], whole[1:])
    assert NATIVE * 40 * 0.7 < float((gaps < 0.8).sum()) < NATIVE * 40 * 1.6
    assert float(gaps.min()) > NM * CLASH
