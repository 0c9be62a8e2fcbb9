"""Initial perturbations: their law, and that they depend on (seed, start, member) alone."""

import cftime
import numpy as np
import pytest
import torch

from sciddiff.errors import InputError
from weather.data.channels import parse_channel
from weather.data.store import Store
from weather.data.times import TimeAxis, find_step
from weather.data.writer import Plan, StoreWriter
from weather.forecast.initial import read_initial
from weather.forecast.perturb import LaggedDifference, RandomField, perturbation_of
from weather.sphere.grids import Grid


@pytest.fixture(scope="module")
def years(tmp_path_factory) -> Store:
    """Three years in which every state is the number of its day."""
    first = cftime.datetime(1, 1, 1, calendar="noleap")
    times = cftime.num2date(np.arange(1095), f"days since {first.strftime('%Y-%m-%d')}", "noleap")
    channels = tuple(parse_channel(n) for n in ("z500", "u850", "v850", "q700", "tas"))
    plan = Plan(
        channels, Grid("gaussian", 16, 32), np.asarray(times), find_step(np.asarray(times))
    )
    writer = StoreWriter(tmp_path_factory.mktemp("years") / "years.zarr", plan)
    while not writer.finished:
        start, stop = writer.next_block()
        days = np.arange(start, stop, dtype=np.float32)
        writer.write(np.broadcast_to(days[:, None, None, None], (len(days), 5, 16, 32)).copy())
    return writer.finish()


def test_pairs_follow_the_law(years, small_spec):
    law = LaggedDifference(small_spec, years, 0.05)
    start = cftime.datetime(7, 1, 10, calendar="noleap")
    pairs = np.array(law.pairs(start, range(4000), 3))
    day = TimeAxis.encode(years.times).hours / 24
    first, second = day[pairs[:, 0]], day[pairs[:, 1]]
    centre = np.array([9.0, 9.0 + 365, 9.0 + 730])
    year = np.abs(first[:, None] - centre).argmin(1)
    assert set(year) == {0, 1, 2}
    for t in (first, second):
        assert np.abs(t - centre[year]).max() <= 40
    gap = np.abs(first - second)
    assert gap.min() == 10 and gap.max() == 80
    inside = (first - centre[year])[year == 1]
    assert abs(inside.mean()) < 3 and 20 < inside.std() < 27


def test_frames_move_with_the_states(years, small_spec, small_store):
    (initial,) = read_initial([small_store], small_spec)
    law = LaggedDifference(small_spec, years, 0.05)
    made = law.difference(initial, [4, 9], 3)
    assert made.shape == (2, 2, 5, 16, 32)
    pairs = law.pairs(initial.time, [4, 9], 3)
    for member, (first, second) in enumerate(pairs):
        expected = 0.05 * (first - second) / 2**0.5
        assert torch.allclose(made[member], torch.full_like(made[member], expected))
    alone = law.difference(initial, [9], 3)
    assert torch.equal(alone[0], made[1])
    assert not torch.equal(law.difference(initial, [9], 4), alone)


def test_random_fields_have_the_amplitude(small_spec, small_store):
    (initial,) = read_initial([small_store], small_spec)
    law = RandomField(small_spec, 0.2)
    made = law.difference(initial, range(64), 0)
    scale = torch.tensor(small_spec.tendency_std).view(-1, 1, 1)
    ratio = (made / scale).std((0, 1, 3, 4))
    assert torch.allclose(ratio, torch.full((5,), 0.2), rtol=0.1)
    assert torch.equal(made[:, 0], made[:, 1])
    assert torch.allclose(law.difference(initial, [5], 0)[0], made[5], rtol=1e-4, atol=1e-5)
    assert float(law(initial, range(64), 0)[:, :, 3].min()) >= 0.0


def test_what_does_not_fit_is_refused(years, small_spec, small_store):
    short = Store(small_store)
    with pytest.raises(InputError, match="give a longer archive"):
        law = LaggedDifference(small_spec, short)
        law.pairs(cftime.datetime(7, 10, 1, calendar="noleap"), [0], 0)
    with pytest.raises(InputError, match="unknown"):
        perturbation_of("sideways", small_spec, None, None)
    with pytest.raises(InputError, match="--archive"):
        perturbation_of("lagged-difference", small_spec, None, None)
    assert perturbation_of("none", small_spec, None, None) is None
