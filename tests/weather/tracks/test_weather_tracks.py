"""Lows, tracks and strike probabilities of pressure fields whose minima are known."""

import numpy as np
import pytest

from weather.sphere.grids import great_circle
from weather.tracks.linking import Tracks, link
from weather.tracks.lows import Lows, LowSettings, find_lows
from weather.tracks.strike import strike_probability

LAT, LON = np.arange(30.0, 70.1, 2.0), np.arange(-60.0, 20.1, 2.0)
KM = 111.195  # of a degree


def paraboloid(lat, lon, pressure=980.0, reach=20.0):
    """Pressure that is exactly quadratic near a centre, and flat far away."""
    y, x = LAT[:, None] - lat, LON[None, :] - lon
    return np.minimum(pressure + 0.3 * y**2 + 0.1 * x**2, pressure + reach)


def test_the_centre_of_a_quadratic_low_is_exact():
    centres = [(50.6, -21.3), (41.0, -40.9)]
    fields = np.stack([paraboloid(*centre) for centre in centres])
    found = find_lows(fields, LAT, LON, around=False)
    assert found.member.tolist() == [0, 1]
    np.testing.assert_allclose(found.lat, [50.6, 41.0], atol=1e-9)
    np.testing.assert_allclose(found.lon, [-21.3, -40.9], atol=1e-9)
    np.testing.assert_allclose(found.pressure, 980.0, atol=1e-9)


def test_small_dents_and_edges_are_no_lows():
    field = np.full((1, len(LAT), len(LON)), 1000.0)
    field[0, 10, 20] = 999.5  # its depth is 0.5 below the mean around
    field[0, 0, 5] = 900.0
    assert len(find_lows(field, LAT, LON, False).member) == 0
    assert len(find_lows(field, LAT, LON, False, LowSettings(depth=0.1)).member) == 1
    deep = paraboloid(50, -20)[None]
    assert len(find_lows(deep, LAT, LON, False, LowSettings(below=979)).member) == 0
    assert len(find_lows(deep, LAT, LON, False, LowSettings(below=981)).member) == 1


def test_the_deeper_of_two_lows_within_the_radius_counts():
    two = np.minimum(paraboloid(50, -20, 980), paraboloid(50, -4, 990))
    apart = great_circle(50, -20, 50, -4) * KM
    near = find_lows(two[None], LAT, LON, False, LowSettings(radius_km=apart + 1, depth=0))
    assert np.round(near.lon).tolist() == [-20]
    both = find_lows(two[None], LAT, LON, False, LowSettings(radius_km=250, depth=0))
    assert np.round(both.lon).tolist() == [-20, -4]


def test_a_low_on_the_seam_of_the_globe_is_found():
    lat, lon = np.linspace(-87, 87, 30), np.arange(36) * 10.0
    east = (lon[None, :] - 357.0 + 180) % 360 - 180
    field = np.minimum(980 + 0.3 * (lat[:, None] - 45) ** 2 + 0.01 * east**2, 1000)
    found = find_lows(field[None], lat, lon, around=True)
    assert len(found.member) == 1
    assert found.lat[0] == pytest.approx(45.0, abs=1e-9)
    assert found.lon[0] % 360 == pytest.approx(357.0, abs=1e-9)


def test_missing_values_are_never_near_a_low():
    field = paraboloid(50, -20)[None]
    field[0, 10, 22] = np.nan
    assert len(find_lows(field, LAT, LON, False).member) == 0


def _moving():
    """Two members with two lows each; those of member 1 go the other way round."""
    leads = []
    for n in range(4):
        fields = [
            np.minimum(paraboloid(45 + n, -50 + 6 * n), paraboloid(62, 0 + 3 * n, 970)),
            np.minimum(paraboloid(45 - n, -50 + 6 * n), paraboloid(62, 6 - 3 * n, 970)),
        ]
        leads.append(find_lows(np.stack(fields), LAT, LON, False))
    return leads


def test_moving_lows_are_followed():
    tracks = link(_moving(), [700.0] * 3)
    assert tracks.member.tolist() == [0] * 8 + [1] * 8
    for member, sign in ((0, 1), (1, -1)):
        for number in (0, 1):
            one = (tracks.member == member) & (tracks.track == number)
            assert tracks.lead[one].tolist() == [0, 1, 2, 3]
            n = np.arange(4)
            if tracks.pressure[one][0] > 975:
                np.testing.assert_allclose(tracks.lat[one], 45 + sign * n, atol=1e-9)
                np.testing.assert_allclose(tracks.lon[one], -50 + 6 * n, atol=1e-9)
            else:
                lon = 3 * n if member == 0 else 6 - 3 * n
                np.testing.assert_allclose(tracks.lon[one], lon, atol=1e-9)


def test_what_moves_too_far_is_another_low():
    tracks = link(_moving(), [400.0] * 3)
    # The quick lows have one position each, and are left out.
    assert set(np.round(tracks.pressure)) == {970.0}
    alone = link(_moving(), [400.0] * 3, shortest=1)
    assert (np.round(alone.pressure) == 980).sum() == 8


def _lows(lons, member=0):
    count = len(lons)
    return Lows(np.full(count, member), np.zeros(count), np.asarray(lons, float), np.ones(count))


def test_the_nearest_pair_is_linked_first():
    # The second low of the first time is nearer to the only one of the next.
    tracks = link([_lows([0.0, 2.0]), _lows([2.5, 9.0])], [500.0])
    assert tracks.lon.tolist() == [2.0, 2.5]
    chain = link([_lows([0.0, 2.0]), _lows([2.5, 3.9])], [500.0])
    assert chain.lon.tolist() == [0.0, 3.9, 2.0, 2.5]


def test_no_lows_give_no_tracks():
    tracks = link([_lows([]), _lows([]), _lows([3.0])], [500.0, 500.0])
    assert len(tracks.track) == 0
    assert strike_probability(tracks, 3, np.zeros((2, 2)), np.zeros((2, 2))).tolist() == [
        [0, 0], [0, 0]]  # fmt: skip


def test_strikes_are_counted_by_members_that_pass():
    """Tracks along the equator; places north of it are at known distances."""
    lon = np.array([0.0, 10.0, 0.0, 10.0, 0.0, 10.0, 20.0, 30.0])
    tracks = Tracks(
        np.array([0, 0, 1, 1, 0, 0, 1, 1]), np.array([0, 0, 0, 0, 2, 2, 2, 2]),
        np.array([0, 1] * 4), np.zeros(8), lon, np.ones(8),
    )  # fmt: skip
    lat = np.array([119.0, 121.0]) / KM
    found = strike_probability(tracks, 4, lat, np.array([5.0, 5.0]))
    assert found.tolist() == [0.5, 0.0]
    # Beyond an end its distance counts: 1 degree is 111 km, 1.1 are 122 km.
    ends = strike_probability(tracks, 4, np.zeros(4), np.array([-1.0, -1.1, 11.0, 15.0]))
    assert ends.tolist() == [0.5, 0.0, 0.5, 0.0]
    assert strike_probability(tracks, 4, np.zeros(1), np.array([25.0])).tolist() == [0.25]
    # A wider reach strikes more.
    assert strike_probability(tracks, 4, lat, np.array([5.0, 5.0]), 122.0).tolist() == [0.5, 0.5]


def test_a_low_that_stays_strikes_around_it():
    tracks = Tracks(
        np.zeros(2, int), np.zeros(2, int), np.arange(2), np.full(2, 50.0), np.full(2, 8.0),
        np.ones(2),
    )  # fmt: skip
    lat = 50 + np.array([0.0, 1.0, 1.1])
    assert strike_probability(tracks, 1, lat, np.full(3, 8.0)).tolist() == [1.0, 1.0, 0.0]
