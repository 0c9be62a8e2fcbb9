"""The axis of copies in a file: recovered exactly, refused where the copies are no turn."""

import numpy as np
import pytest
import torch

from protein.structures.axes import cyclic_axis
from protein.structures.chain import Backbone
from protein.structures.torsions import backbone_from_torsions
from sciddiff.manifolds.so3 import exp_map


def turn(direction: np.ndarray, degrees: float) -> np.ndarray:
    vector = torch.from_numpy(np.radians(degrees) * direction / np.linalg.norm(direction))
    return exp_map(vector).numpy()


def copies(order: int, direction, point, slide: float = 0.0, step: int = 1) -> list[Backbone]:
    """A helix and its images about a line."""
    torsions = np.tile(np.radians([-62.0, -43.0, 180.0]), (14, 1))
    unit = backbone_from_torsions(torsions) + np.array([4.0, 9.0, 3.0])
    direction, point = np.asarray(direction, float), np.asarray(point, float)
    chains = []
    for k in range(order):
        rotation = turn(direction, step * k * 360.0 / order)
        shift = point - rotation @ point + k * slide * direction / np.linalg.norm(direction)
        chains.append(Backbone(unit @ rotation.T + shift, "L" * 14, "ABCDEFG"[k]))
    return chains


@pytest.mark.parametrize("order", [2, 3, 5])
@pytest.mark.parametrize("step", [1, -1])
def test_the_axis_is_found_and_put_on_z(order, step):
    direction, point = np.array([1.0, -2.0, 0.5]), np.array([20.0, -7.0, 31.0])
    chains = copies(order, direction, point, step=step)
    axis = cyclic_axis(chains[0], chains, order)
    assert axis is not None and axis.chains == tuple("ABCDEFG"[:order])
    unit = direction / np.linalg.norm(direction)
    assert abs(abs(axis.direction @ unit) - 1.0) < 1e-5
    away = axis.point - point
    assert np.linalg.norm(away - (away @ unit) * unit) < 1e-3, "the point lies on the line"
    assert axis.deviation < 1e-3
    # On z, one third of a turn about z maps the chain on one of its copies.
    moved = [chain.transformed(*axis.motion) for chain in chains]
    about_z = turn(np.array([0.0, 0.0, 1.0]), 360.0 / order)
    image = moved[0].ca @ about_z.T
    assert min(np.abs(image - other.ca).max() for other in moved[1:]) < 1e-3
    back = moved[0].transformed(*axis.inverse)
    assert np.abs(back.coords - chains[0].coords).max() < 1e-4


@pytest.mark.parametrize(
    ("order", "chains"),
    [
        (3, copies(2, [0, 0, 1], [0, 0, 0])),  # two chains are no trimer
        (2, copies(3, [0, 0, 1], [0, 0, 0])),  # a third of a turn is no half
        (2, copies(2, [0, 0, 1], [0, 0, 0], slide=6.0)),  # a screw
        (2, copies(1, [0, 0, 1], [0, 0, 0])),
    ],
)
def test_what_is_no_turn_of_the_group_has_no_axis(order, chains):
    assert cyclic_axis(chains[0], chains, order) is None


def test_a_chain_moves_with_its_side_chains():
    from protein.structures.chain import SideAtom

    chain = copies(1, [0, 0, 1], [0, 0, 0])[0]
    sides = tuple((SideAtom("CB", "C", (float(i), 2.0, 3.0)),) * (i % 3) for i in range(14))
    chain = Backbone(chain.coords, chain.sequence, side_chains=sides)
    rotation, shift = turn(np.array([1.0, 1.0, 0.0]), 70.0), np.array([1.0, 2.0, 3.0])
    moved = chain.transformed(rotation, shift)
    assert [len(side) for side in moved.side_chains] == [len(side) for side in sides]
    expected = rotation @ np.array([5.0, 2.0, 3.0]) + shift
    assert np.abs(np.array(moved.side_chains[5][0].position) - expected).max() < 1e-9
    assert np.abs(moved.coords[3] - (chain.coords[3] @ rotation.T + shift)).max() < 1e-4
