"""The baselines by their names on the command line."""

from __future__ import annotations

from collections.abc import Sequence

from sciddiff.errors import InputError
from weather.verification.baselines.analogues import Analogues
from weather.verification.baselines.base import Baseline
from weather.verification.baselines.climate import Climate
from weather.verification.baselines.climatology import Climatology
from weather.verification.baselines.inverse_model import InverseModel
from weather.verification.baselines.patterns import Patterns
from weather.verification.baselines.persistence import DampedPersistence

__all__ = ["BASELINES", "TITLES", "choose_baselines"]

TITLES: dict[str, str] = {
    "climatology": Climatology.name,
    "persistence": DampedPersistence.name,
    "lim": InverseModel.name,
    "analogues": Analogues.name,
}
"""Names in the tables, by the names on the command line."""

BASELINES = tuple(TITLES)
"""In the order of the tables."""

# Chosen by CRPS on the last year and a half of a seven-year archive, fitted to the years before.
_PATTERNS_LIM = 60
_PATTERNS_ANALOGUES = 100


def choose_baselines(names: Sequence[str], climate: Climate) -> list[Baseline]:
    """Fit the named baselines.

    Args:
        names: Of `BASELINES`.
        climate: Of the training states.

    Raises:
        InputError: A name is unknown.
    """
    unknown = [name for name in names if name not in BASELINES]
    if unknown:
        raise InputError(f"--baselines {', '.join(unknown)}: unknown; use {', '.join(BASELINES)}")
    persistence = DampedPersistence(climate)
    made: list[Baseline] = []
    for name in BASELINES:
        if name not in names:
            continue
        if name == "climatology":
            made.append(Climatology(climate.history))
        elif name == "persistence":
            made.append(persistence)
        elif name == "lim":
            made.append(InverseModel(Patterns(climate, _PATTERNS_LIM)))
        else:
            made.append(Analogues(Patterns(climate, _PATTERNS_ANALOGUES), persistence))
    return made
