r"""Member-by-member calibration of an ensemble.

Every member of a channel at a lead becomes

.. math:: x'_m = \alpha + \beta\,\bar x + \tau\,(x_m - \bar x),

with three numbers for the whole area: a bias, a factor on the ensemble mean and one on the
deviations from it. At every point the members keep their order, so that their patterns in space
and the way they hang together between channels and leads stay those of the model.

References:
    Van Schaeybroeck & Vannitsem, *Ensemble post-processing using member-by-member approaches:
    theoretical aspects*, QJRMS 141 (2015), 807.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from sciddiff.cli.fingerprint import digest
from sciddiff.errors import InputError, nearest
from sciddiff.files import read_json

__all__ = [
    "META_ENTRY",
    "Calibration",
    "Coefficients",
    "attached",
    "calibration_of",
    "differing",
]

META_ENTRY = "calibration"
"""Entry of a model's `meta.json`: its calibration, or several, for different ways to forecast."""

_FORMAT = 1
_NONE = "none"
Floats = NDArray[np.float64]


@final
@dataclass(frozen=True)
class Coefficients:
    """What is done to one channel.

    Attributes:
        leads: Seconds, ascending and positive, L of them.
        alpha: In the units of the channel, L numbers.
        beta: L numbers.
        tau: L positive numbers.
    """

    leads: tuple[int, ...]
    alpha: tuple[float, ...]
    beta: tuple[float, ...]
    tau: tuple[float, ...]

    def __post_init__(self) -> None:
        rows = (self.alpha, self.beta, self.tau)
        if not self.leads or any(len(row) != len(self.leads) for row in rows):
            raise InputError("alpha, beta and tau are not one number for each lead")
        if self.leads[0] <= 0 or (np.diff(self.leads) <= 0).any():
            raise InputError("leads are not positive and ascending")
        if not all(math.isfinite(x) for row in rows for x in row) or min(self.tau) <= 0:
            raise InputError("a coefficient is not finite, or tau is not above 0")

    def at(self, leads: Sequence[int]) -> tuple[Floats, Floats, Floats]:
        """Alpha, beta and tau at some leads, each `[L]`.

        Between the leads of the fit they are interpolated, from no change at lead 0. Of later
        ones nothing was fitted: the correction fades, and from twice the last lead there is none.

        Args:
            leads: Seconds.
        """
        known = np.asarray([0, *self.leads, 2 * self.leads[-1]], dtype=np.float64)
        rows = (0.0, *self.alpha, 0.0), (1.0, *self.beta, 1.0), (1.0, *self.tau, 1.0)
        alpha, beta, tau = (np.interp(np.asarray(leads, np.float64), known, row) for row in rows)
        return alpha, beta, tau


@final
@dataclass(frozen=True)
class Calibration:
    """The coefficients of all channels, and what they were fitted to.

    Attributes:
        channels: By canonical name.
        made: What made the forecasts of the fit: ``weights`` (sha256 by file), ``head``,
            ``perturb`` and the like; empty where nobody knows.
        fitted: Facts of the fit, for people.
    """

    channels: Mapping[str, Coefficients]
    made: Mapping[str, Any] = field(default_factory=dict)
    fitted: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Calibration:
        """Read the file that ``sciddiff calibrate`` wrote.

        Raises:
            InputError: It cannot be read, or is no calibration.
        """
        return cls.from_plain(read_json(path, "fit it again"), str(path))

    @classmethod
    def from_plain(cls, plain: Any, where: str) -> Calibration:
        """Read plain values.

        Args:
            plain: As `to_plain` gives them; further entries are of no concern.
            where: They came from, for messages.

        Raises:
            InputError: They are not a calibration.
        """
        remedy = "give a file that sciddiff calibrate wrote, or fit it again"
        try:
            if plain["format"] != _FORMAT:
                raise InputError(f"format {plain['format']} is unknown, this is {_FORMAT}")
            channels = {
                str(name): Coefficients(
                    tuple(round(3600 * float(hours)) for hours in one["leads_h"]),
                    *(tuple(float(x) for x in one[key]) for key in ("alpha", "beta", "tau")),
                )
                for name, one in plain["channels"].items()
            }
            if not channels:
                raise InputError("has no channel")
            return cls(channels, dict(plain.get("made", {})), dict(plain.get("fitted", {})))
        except InputError as error:
            raise InputError(f"{where}: no calibration ({error}); {remedy}") from error
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise InputError(
                f"{where}: no calibration ({type(error).__name__}: {error}); {remedy}"
            ) from error

    def to_plain(self) -> dict[str, Any]:
        """Return plain values, which `from_plain` reads."""
        channels = {
            name: {
                "leads_h": [lead / 3600 for lead in one.leads],
                "alpha": list(one.alpha), "beta": list(one.beta), "tau": list(one.tau),
            }
            for name, one in self.channels.items()
        }  # fmt: skip
        return {
            "format": _FORMAT, "channels": channels, "made": dict(self.made),
            "fitted": dict(self.fitted),
        }  # fmt: skip

    @property
    def identity(self) -> str:
        """SHA-256 of the coefficients, in hexadecimal."""
        return digest(self.to_plain()["channels"])

    def apply(
        self, channel: str, leads: Sequence[int], members: NDArray[Any], mean: Floats | None = None
    ) -> NDArray[np.float32]:
        """Calibrate fields of one channel; those of a channel without coefficients stay.

        Args:
            channel: Its canonical name.
            leads: Seconds, L of them.
            members: `[M, L, ...]`, some or all members of one initial time.
            mean: Of all members, `[L, ...]`; default of those given.

        Returns:
            `[M, L, ...]`.
        """
        one = self.channels.get(channel)
        if one is None:
            return np.asarray(members, dtype=np.float32)
        shape = (-1, *(1,) * (members.ndim - 2))
        alpha, beta, tau = (row.reshape(shape) for row in one.at(leads))
        middle = members.mean(0, dtype=np.float64) if mean is None else mean
        return (alpha + beta * middle + tau * (members - middle)).astype(np.float32)


def calibration_of(
    meta: Mapping[str, Any], given: str | Path | None, made: Mapping[str, Any]
) -> tuple[Calibration | None, str]:
    """Choose the calibration of a forecast.

    Args:
        meta: `meta.json` of the model.
        given: What the user asked for: a file, ``none``, or None for the model's own, which
            serves only forecasts that are made as those it was fitted to.
        made: How the forecast is made, as in `Calibration.made`.

    Returns:
        The calibration, or None for members as the model makes them; and why the model's own is
        not used, or an empty text.

    Raises:
        InputError: A file that is no calibration, has none of the model's channels, or was fitted
            to other forecasts than those that are made.
    """
    if given is not None and str(given) == _NONE:
        return None, ""
    if given is None:
        each = attached(meta)
        differ = [differing(own.made, made) for own in each]
        if "" in differ:
            return each[differ.index("")], ""
        if not each:
            return None, ""
        return None, f"not calibrated: its calibration was fitted with {', or with '.join(differ)}"
    found = Calibration.read(Path(given))
    if differ := differing(found.made, made):
        raise InputError(
            f"--calibration {given}: was fitted with {differ}; fit it to forecasts that are made "
            "alike, or give --calibration none"
        )
    names = [str(one["name"]) for one in meta["data"]["channels"]]
    if not any(name in found.channels for name in names):
        first = next(iter(found.channels))
        raise InputError(
            f"--calibration {given}: has no channel of the model, but {first}; "
            f"{nearest(first, names)}"
        )
    return found, ""


def attached(meta: Mapping[str, Any]) -> list[Calibration]:
    """The calibrations of a model, by its ``meta.json``; none where it has none.

    Raises:
        InputError: What is there is no calibration.
    """
    plain = meta.get(META_ENTRY, [])
    each = plain if isinstance(plain, list) else [plain]
    return [Calibration.from_plain(one, "calibration of the model") for one in each]


def differing(fitted: Mapping[str, Any], made: Mapping[str, Any]) -> str:
    """The first thing in which the forecasts of a fit were made otherwise, in words, or nothing.

    Args:
        fitted: How those of the fit were made; see `Calibration.made`.
        made: How others are made. What either does not tell is not compared.
    """
    for name in sorted(fitted.keys() & made.keys()):
        if fitted[name] != made[name]:
            short = isinstance(fitted[name], str | int | float)
            return f"{name} {fitted[name]}" if short else f"other {name} of the model"
    return ""
