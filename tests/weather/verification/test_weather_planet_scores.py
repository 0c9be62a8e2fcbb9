"""The reference scores of the perfect-model planet come out."""

import numpy as np
import pytest

from weather.verification import EnsembleTruth, FileEnsemble
from weather.verification.baselines.climatology import Climatology
from weather.verification.baselines.history import History
from weather.verification.kernels import leave_one_out, score_field
from weather.verification.sources import open_states

# z500 and t850 at days 1, 5 and 10: the truths by each other, and 60 training states.
PERFECT = {"z500": (1.634, 3.072, 8.324), "t850": (0.092, 0.197, 0.508)}
CLIMATE = {"z500": (27.576, 26.95, 27.698), "t850": (1.486, 1.495, 1.505)}
DAYS = (1, 5, 10)


@pytest.fixture(scope="module")
def truth(planet_folder):
    return EnsembleTruth(FileEnsemble(planet_folder / "plasim_truth_ensembles.nc"))


def cosine(truth):
    """The references weigh rows by the cosine of latitude."""
    rows = np.repeat(np.cos(np.radians(truth.lat)), len(truth.lon))
    return (rows / rows.sum())[None]


@pytest.mark.parametrize("channel", PERFECT)
def test_the_limit_is_reached_to_the_printed_digits(truth, channel):
    weights = cosine(truth)
    for day, reference in zip(DAYS, PERFECT[channel], strict=True):
        each = []
        for start in truth.times.seconds:
            fields = truth.open(int(start), [day * 86400])(0, channel)
            each.append(leave_one_out(fields.reshape(10, -1), weights)["crps"][0])
        assert np.mean(each) == pytest.approx(reference, abs=6e-4)


@pytest.mark.slow
def test_climatology_is_reached_within_the_draw(truth, planet_folder):
    history = History(open_states(planet_folder / "plasim_train.nc"))
    climate, weights = Climatology(history), cosine(truth)
    found = {channel: np.zeros(len(DAYS)) for channel in CLIMATE}
    for start in truth.times.seconds:
        drawn = climate.rollout(
            history.read(0, 1)[0], int(start), 10, 60, np.random.default_rng(int(start))
        )
        actual = truth.open(int(start), [day * 86400 for day in DAYS])
        for day, members in enumerate(drawn, 1):
            if day in DAYS:
                for channel in CLIMATE:
                    place = DAYS.index(day)
                    one = members[:, history.channels.index(channel)].reshape(60, -1)
                    y = actual(place, channel).reshape(10, -1)
                    found[channel][place] += score_field(one, y, weights)["crps"][0] / 9
    for channel, reference in CLIMATE.items():
        np.testing.assert_allclose(found[channel], reference, rtol=0.02)
