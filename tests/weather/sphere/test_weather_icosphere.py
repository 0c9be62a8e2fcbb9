"""The icosahedral mesh: counts, symmetry, evenness; geometry of its ties to a grid."""

import numpy as np
import pytest

from sciddiff.errors import InputError
from weather.sphere.grids import Grid, great_circle, unit_vectors
from weather.sphere.icosphere import Icosphere, Ties


@pytest.mark.parametrize("refinement", range(5))
def test_euler_and_areas(refinement):
    mesh = Icosphere.build(refinement)
    v, e, f = len(mesh.vertices), len(mesh.edges), len(mesh.faces)
    assert (v, f) == (10 * 4**refinement + 2, 20 * 4**refinement)
    assert v - e + f == 2
    np.testing.assert_allclose(np.linalg.norm(mesh.vertices, axis=-1), 1.0, atol=1e-15)
    a, b, c = (mesh.vertices[mesh.faces[:, i]] for i in range(3))
    # Oosterom and Strackee: solid angles; positive if anticlockwise, 4 pi in all
    volume = (a * np.cross(b, c)).sum(-1)
    scale = 1 + (a * b).sum(-1) + (b * c).sum(-1) + (c * a).sum(-1)
    area = 2 * np.arctan2(volume, scale)
    assert area.min() > 0
    assert area.sum() == pytest.approx(4 * np.pi)
    assert area.max() / area.min() < 2.0


def test_a_third_of_a_turn_is_a_symmetry_and_no_vertex_is_a_pole():
    mesh = Icosphere.build(3)
    lat, lon = mesh.lat_lon
    assert abs(lat).max() < 89.0
    turn = np.radians(120.0)
    c, s = np.cos(turn), np.sin(turn)
    turned = mesh.vertices @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])
    distance = np.linalg.norm(turned[:, None] - mesh.vertices, axis=-1)
    assert distance.min(1).max() < 1e-13
    np.testing.assert_allclose(unit_vectors(lat, lon), mesh.vertices, atol=1e-14)


def test_neighbours_and_hops():
    mesh = Icosphere.build(2)
    degree = np.bincount(mesh.edges.ravel())
    assert sorted(np.unique(degree)) == [5, 6]
    assert (degree == 5).sum() == 12
    np.testing.assert_array_equal(mesh.within_hops(1).sum(1), degree + 1)
    two, three = mesh.within_hops(2), mesh.within_hops(3)
    assert (two <= three).all()
    assert (two == two.T).all()
    assert two.sum(1).max() == 19
    assert mesh.within_hops(20).all()


def _ties(angle=20.0):
    grid, mesh = Grid.parse("gaussian-12x24"), Icosphere.build(1)
    points = tuple(a.ravel() for a in np.meshgrid(grid.lat, grid.lon, indexing="ij"))
    return points, mesh.lat_lon, Ties.within(points, mesh.lat_lon, angle)


def test_ties_are_all_pairs_within_the_angle_with_their_displacement():
    (lat, lon), (to_lat, to_lon), ties = _ties()
    distance = great_circle(lat[None], lon[None], to_lat[:, None], to_lon[:, None])
    near = np.argwhere(distance < 20.0)
    np.testing.assert_array_equal(np.stack([ties.receiver, ties.sender], 1), near)
    east, north, angle, cos, sin = ties.features.T
    np.testing.assert_allclose(20.0 * angle, distance[distance < 20.0], atol=1e-9)
    np.testing.assert_allclose(np.hypot(east, north), angle, atol=1e-12)
    np.testing.assert_allclose(np.hypot(cos, sin), 1.0, atol=1e-12)
    # along a meridian: due north or south, frames not turned
    i, j = ties.sender, ties.receiver
    dlon = (lon[i] - to_lon[j] + 180) % 360 - 180
    small = (abs(dlon) < 1e-9) & (angle > 0)
    assert small.any()
    np.testing.assert_allclose(20.0 * north[small], (lat[i] - to_lat[j])[small], atol=1e-9)
    np.testing.assert_allclose(cos[small], 1.0, atol=1e-12)
    # senders with larger longitude lie to the east, unless the pole is near
    low = (abs(to_lat[j]) < 50) & (abs(dlon) > 1)
    np.testing.assert_array_equal(np.sign(east[low]), np.sign(dlon[low]))


def test_the_turn_of_frames_is_the_convergence_of_meridians():
    """For close points frames differ by sin(latitude) times the difference of longitude."""
    lat = np.array([60.0, 60.3, 59.8])
    lon = np.array([0.0, 0.4, -0.3])
    ties = Ties.within((lat, lon), (lat[:1], lon[:1]), 2.0)
    expected = np.radians(lon) * np.sin(np.radians(60.0))
    turn = np.arctan2(ties.features[:, 4], ties.features[:, 3])
    np.testing.assert_allclose(turn, expected, rtol=0.01, atol=1e-12)
    # over the pole: half a turn
    over = Ties.within((np.array([88.0]), np.array([180.0])), (np.array([88.0]), np.zeros(1)), 9.0)
    np.testing.assert_allclose(over.features[0, 3:], [-1.0, 0.0], atol=1e-12)
    np.testing.assert_allclose(over.features[0, :3], [0.0, 4 / 9, 4 / 9], atol=1e-12)


def test_bad_meshes_are_named():
    with pytest.raises(InputError, match="refinement: 9; choose from 0 to 7"):
        Icosphere.build(9)
    with pytest.raises(InputError, match="points have no partner within 3 degrees"):
        _ties(3.0)
