"""What a model tells of its data is refused in one line where it is damaged."""

from __future__ import annotations

import pytest

from sciddiff.errors import InputError
from weather.data.channels import parse_channel
from weather.forecast.spec import ForecastSpec

SPEC = ForecastSpec((parse_channel("tas"),), (280.0,), (10.0,), (3.0,), "gaussian-8x16", 24.0)


def test_plain_values_read_back():
    assert ForecastSpec.from_meta({"data": SPEC.to_plain()}) == SPEC


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"std": ["wide"]}, "not of a forecast model .*'wide'"),
        ({"std": None}, "not of a forecast model"),
        ({"seasons": ["spring"]}, "not of a forecast model"),
        ({"std": [0.0]}, "std: not finite or not positive"),
        ({"mean": [1.0, 2.0]}, "mean: 2 numbers for 1 channels"),
        ({"channels": [{"nme": "tas"}]}, "not of a forecast model"),
    ],
)
def test_damaged_statistics_are_told(change, text):
    with pytest.raises(InputError, match=text):
        ForecastSpec.from_meta({"data": {**SPEC.to_plain(), **change}})
