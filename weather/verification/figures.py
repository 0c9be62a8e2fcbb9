r"""From averages over initial times to the figures of the tables.

* root mean square error of the ensemble mean, spread (root of the mean variance) and their ratio
  :math:`\sqrt{\tfrac{M+1}{M}}\,\text{spread}/\text{RMSE}`, which is 1 for a reliable ensemble of
  any size M (Fortin et al. 2014);
* skill :math:`1-\text{CRPS}/\text{CRPS}_\text{clim}`;
* fraction of attainable skill
  :math:`(\text{CRPS}_\text{clim}-\text{CRPS})/(\text{CRPS}_\text{clim}-\text{CRPS}_\text{perfect})`:
  1 at the limit of the physics, 0 at climatology;
* :math:`\chi^2=n\sum_i(f_i-1/n)^2` of the frequencies of n ranks, 0 where flat, and the frequency
  of the outermost two in units of 2/n, above 1 where the ensemble is too narrow;
* ratio of the power at each total wavenumber to that of the truth;
* anomaly correlation of the ensemble mean, of every initial time, averaged over them;
* area under the relative operating characteristic of an event: the chance that the ensemble gives
  a higher probability where the event happened than where it did not, 1 if it always does and 0.5
  without skill (Mason & Graham 2002);
* parts of the CRPS (`weather.verification.decomposition`) and SEEPS of precipitation
  (`weather.verification.seeps`).

References:
    Fortin et al., *Why should ensemble spread match the RMSE of the ensemble mean?*,
    J. Hydrometeor. 15 (2014), 1708.
    Mason & Graham, *Areas beneath the relative operating characteristics (ROC) and levels (ROL)
    curves*, Q. J. R. Meteorol. Soc. 128 (2002), 2145.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import final

import numpy as np
from numpy.typing import NDArray

from weather.verification.bootstrap import draw_weights, interval, jackknife
from weather.verification.decomposition import crps_potential, crps_reliability
from weather.verification.instants import DAY, Instants
from weather.verification.tally import Tally

__all__ = ["CLIMATOLOGY", "FIGURES", "PERFECT", "Verification"]

Floats = NDArray[np.float64]

CLIMATOLOGY = "climatology"
"""Name of the forecast that skill is measured against."""

PERFECT = "perfect"
"""Name of the truths scored by each other."""


@final
@dataclass(frozen=True)
class Verification:
    """All scores of all forecasts.

    Attributes:
        tallies: Scores by forecast, in the order of the tables.
        sizes: Number of members by forecast.
        times: Initial times, T of them.
        leads: Seconds, `[L]`.
        channels: Verified channels, V.
        regions: Names, R.
        events: Names, Q.
        truths: Number of equally valid truths, K.
        block_days: Initial times this near are resampled together.
        draws: Resamples.
        level: Of the intervals.
        seed: Of the resamples.
        notes: What people should know of it.
    """

    tallies: Mapping[str, Tally]
    sizes: Mapping[str, int]
    times: Instants
    leads: NDArray[np.int64]
    channels: tuple[str, ...]
    regions: tuple[str, ...]
    events: tuple[str, ...]
    truths: int
    block_days: float = 10.0
    draws: int = 1000
    level: float = 0.95
    seed: int = 0
    notes: tuple[str, ...] = ()
    _known: dict[tuple[str, str], tuple[Floats, Floats, Floats]] = field(
        default_factory=dict, repr=False, compare=False
    )

    @property
    def forecasts(self) -> tuple[str, ...]:
        """Names, in the order of the tables."""
        return tuple(self.tallies)

    @property
    def block(self) -> int:
        """Initial times in one block of the bootstrap."""
        if len(self.times) < 2:
            return 1
        gap = float(np.median(np.diff(self.times.seconds))) / DAY
        return max(1, min(int(np.ceil(self.block_days / max(gap, 1e-9))), len(self.times)))

    @property
    def blocks(self) -> float:
        """Blocks that the initial times fill."""
        return len(self.times) / self.block

    @property
    def resampled(self) -> bool:
        """Whether there are intervals: a single block would be drawn again and again."""
        return len(self.times) >= 3 and self.blocks >= 2.0

    def why_no_intervals(self) -> tuple[str, ...]:
        """A note where figures of several initial times have no intervals."""
        if self.resampled or len(self.times) < 3:
            return ()
        return (
            f"no intervals: the {len(self.times)} initial times are fewer than two blocks of "
            f"--block-days {self.block_days:g}, within which forecasts share their weather",
        )

    def has(self, name: str, forecast: str) -> bool:
        """Whether a figure can be computed of a forecast."""
        known = self.tallies[forecast]
        figure = FIGURES[name]
        others = [self.tallies[other] for other in figure.others if other in self.tallies]
        if len(others) < len(figure.others) or forecast in figure.not_of:
            return False
        return all(part in tally for part in figure.parts for tally in (known, *others))

    def figure(self, name: str, forecast: str, weights: Floats | None = None) -> Floats:
        """Compute a figure, once or for every draw of initial times.

        Args:
            name: Key of `FIGURES`.
            forecast: Name of the forecast.
            weights: `[B, T]`; default all initial times, B = 1.

        Returns:
            `[B, L, V, R]`, `[B, L, R]` for the energy score, with one more axis for events
            (Q), ranks (M + 1) or wavenumbers.
        """
        if weights is None:
            weights = np.ones((1, len(self.times)))
        with np.errstate(divide="ignore", invalid="ignore"):
            return FIGURES[name].compute(self, forecast, weights)

    def estimate(
        self, name: str, forecast: str, reduce: Callable[[Floats], Floats] | None = None
    ) -> tuple[Floats, Floats, Floats]:  # fmt: skip
        """Estimate a figure with its interval from the block bootstrap.

        Args:
            name: Key of `FIGURES`.
            forecast: Name of the forecast.
            reduce: Taken of every draw of the figure, `[B, ...]` to `[B, ...]`, for example the
                mean over channels.

        Returns:
            Value, lower and upper bound, without the axis of draws; bounds are NaN with fewer
            than three initial times, or two blocks of them.
        """
        if reduce is None:
            # Tables, files and plots ask for the same; histograms and spectra are resampled lead
            # by lead, because the draws of all leads together are many.
            if (name, forecast) not in self._known:
                leads = [self._at(lead) for lead in range(len(self.leads))]
                each = [one._resample(name, forecast, None) for one in leads]
                value, low, high = (np.concatenate(parts) for parts in zip(*each, strict=True))
                self._known[name, forecast] = value, low, high
            return self._known[name, forecast]
        return self._resample(name, forecast, reduce)

    def _resample(
        self, name: str, forecast: str, reduce: Callable[[Floats], Floats] | None
    ) -> tuple[Floats, Floats, Floats]:  # fmt: skip
        reduce = reduce or (lambda x: x)
        value = reduce(self.figure(name, forecast))[0]
        if not self.resampled:
            return value, np.full_like(value, np.nan), np.full_like(value, np.nan)
        weights = draw_weights(len(self.times), self.block, self.draws, self.seed)
        low, high = interval(reduce(self.figure(name, forecast, weights)), self.level)
        return value, low, high

    def jackknifed(
        self, name: str, forecast: str, reduce: Callable[[Floats], Floats] | None = None
    ) -> tuple[Floats, Floats, Floats]:  # fmt: skip
        """As `estimate`, leaving out one initial time after the other: for few of them."""
        reduce = reduce or (lambda x: x)
        return jackknife(
            lambda w: reduce(self.figure(name, forecast, w)), len(self.times), self.level
        )

    def _at(self, lead: int) -> Verification:
        """The same of one lead."""
        tallies = {name: tally.at(lead) for name, tally in self.tallies.items()}
        return replace(self, tallies=tallies, leads=self.leads[lead : lead + 1], _known={})

    def mean(self, part: str, forecast: str, weights: Floats) -> Floats:
        """Mean of a raw score over initial times, `[B, ...]`."""
        return self.tallies[forecast].mean(part, weights)


@final
@dataclass(frozen=True)
class Figure:
    """How a figure comes from means.

    Attributes:
        compute: From verification, forecast and weights `[B, T]`.
        parts: Raw scores it needs.
        text: One line for people.
        others: Forecasts it needs beside its own.
        not_of: Forecasts it says nothing about.
        axes: Of the result after the draws.
    """

    compute: Callable[[Verification, str, Floats], Floats]
    parts: tuple[str, ...]
    text: str
    others: tuple[str, ...] = ()
    not_of: tuple[str, ...] = ()
    axes: tuple[str, ...] = ("lead", "channel", "region")


def _plain(part: str) -> Callable[[Verification, str, Floats], Floats]:
    return lambda v, forecast, w: v.mean(part, forecast, w)


def _root(part: str) -> Callable[[Verification, str, Floats], Floats]:
    return lambda v, forecast, w: np.sqrt(v.mean(part, forecast, w))


def _ratio(v: Verification, forecast: str, w: Floats) -> Floats:
    size = v.sizes[forecast]
    quotient = v.mean("variance", forecast, w) / v.mean("mse", forecast, w)
    return np.sqrt((size + 1) / size * quotient)


def _skill(part: str) -> Callable[[Verification, str, Floats], Floats]:
    return lambda v, f, w: 1.0 - v.mean(part, f, w) / v.mean(part, CLIMATOLOGY, w)


def _attainable(part: str) -> Callable[[Verification, str, Floats], Floats]:
    def compute(v: Verification, forecast: str, w: Floats) -> Floats:
        climate = v.mean(part, CLIMATOLOGY, w)
        return (climate - v.mean(part, forecast, w)) / (climate - v.mean(part, PERFECT, w))

    return compute


def _frequencies(v: Verification, forecast: str, w: Floats) -> Floats:
    ranks = v.mean("ranks", forecast, w)
    return ranks / ranks.sum(-1, keepdims=True)


def _flatness(v: Verification, forecast: str, w: Floats) -> Floats:
    frequency = _frequencies(v, forecast, w)
    count = frequency.shape[-1]
    return count * np.square(frequency - 1.0 / count).sum(-1)


def _outliers(v: Verification, forecast: str, w: Floats) -> Floats:
    frequency = _frequencies(v, forecast, w)
    return (frequency[..., 0] + frequency[..., -1]) * frequency.shape[-1] / 2.0


def _spectrum_ratio(v: Verification, forecast: str, w: Floats) -> Floats:
    return v.mean("spectrum", forecast, w) / v.mean("spectrum_truth", forecast, w)


def _roc_area(v: Verification, forecast: str, w: Floats) -> Floats:
    table = v.mean("reliability", forecast, w)
    event, other = table[..., 1], table[..., 0] - table[..., 1]
    # Pairs in which the event has more hits than the other, and half of those with as many.
    fewer = np.cumsum(other, -1) - other / 2.0
    return (event * fewer).sum(-1) / (event.sum(-1) * other.sum(-1))


def _of_bins(part: Callable[[Floats], Floats]) -> Callable[[Verification, str, Floats], Floats]:
    return lambda v, forecast, w: part(v.mean("bins", forecast, w))


def _uncertainty(v: Verification, forecast: str, w: Floats) -> Floats:
    bins = v.mean("bins", CLIMATOLOGY, w)
    return crps_reliability(bins) + crps_potential(bins)


def _resolution(v: Verification, forecast: str, w: Floats) -> Floats:
    return _uncertainty(v, forecast, w) - crps_potential(v.mean("bins", forecast, w))


_ENERGY = ("lead", "region")
_FIELD = ("lead", "channel", "region")

FIGURES: dict[str, Figure] = {
    "crps": Figure(_plain("crps"), ("crps",), "fair continuous ranked probability score"),
    "rmse": Figure(_root("mse"), ("mse",), "root mean square error of the ensemble mean"),
    "bias": Figure(_plain("bias"), ("bias",), "mean of ensemble mean minus truth"),
    "spread": Figure(_root("variance"), ("variance",), "root of the mean ensemble variance"),
    "ssr": Figure(_ratio, ("variance", "mse"), "spread-skill ratio, 1 if reliable"),
    "skill": Figure(
        _skill("crps"), ("crps",), "CRPS skill over climatology", (CLIMATOLOGY,), (CLIMATOLOGY,)
    ),
    "attainable": Figure(
        _attainable("crps"), ("crps",), "fraction of attainable CRPS skill",
        (CLIMATOLOGY, PERFECT), (CLIMATOLOGY, PERFECT),
    ),
    "energy": Figure(
        _plain("energy"), ("energy",), "fair energy score of all standardised channels",
        axes=_ENERGY,
    ),
    "energy_skill": Figure(
        _skill("energy"), ("energy",), "energy-score skill over climatology", (CLIMATOLOGY,),
        (CLIMATOLOGY,), _ENERGY,
    ),
    "energy_attainable": Figure(
        _attainable("energy"), ("energy",), "fraction of attainable energy-score skill",
        (CLIMATOLOGY, PERFECT), (CLIMATOLOGY, PERFECT), _ENERGY,
    ),
    "brier": Figure(
        _plain("brier"), ("brier",), "fair Brier score of the event", axes=(*_FIELD, "event")
    ),
    "brier_skill": Figure(
        _skill("brier"), ("brier",), "Brier skill over climatology", (CLIMATOLOGY,),
        (CLIMATOLOGY,), (*_FIELD, "event"),
    ),
    "roc_area": Figure(
        _roc_area, ("reliability",), "area under the ROC of the event, 0.5 without skill",
        axes=(*_FIELD, "event"),
    ),
    "crps_reliability": Figure(
        _of_bins(crps_reliability), ("bins",), "part of the CRPS that calibration would remove"
    ),
    "crps_potential": Figure(
        _of_bins(crps_potential), ("bins",), "CRPS of the ensemble if it were calibrated"
    ),
    "crps_uncertainty": Figure(
        _uncertainty, ("bins",), "CRPS of the climate", (CLIMATOLOGY,), (CLIMATOLOGY,)
    ),
    "crps_resolution": Figure(
        _resolution, ("bins",), "CRPS of the climate minus the potential one", (CLIMATOLOGY,),
        (CLIMATOLOGY,),
    ),
    "seeps": Figure(
        _plain("seeps"), ("seeps",), "error of dry, light and heavy, 1 for a climate, 0 if perfect"
    ),
    "acc": Figure(_plain("acc"), ("acc",), "anomaly correlation of the ensemble mean"),
    "rank_chi2": Figure(_flatness, ("ranks",), "chi-square distance of the ranks from flat"),
    "rank_outliers": Figure(
        _outliers, ("ranks",), "truths outside the ensemble, 1 if reliable, above 1 if too narrow"
    ),
    "rank_frequency": Figure(
        _frequencies, ("ranks",), "frequency of each rank of the truth", axes=(*_FIELD, "rank")
    ),
    "spectrum_ratio": Figure(
        _spectrum_ratio, ("spectrum", "spectrum_truth"), "power over that of the truth",
        axes=("lead", "channel", "wavenumber"),
    ),
}  # fmt: skip
"""Every figure of the tables."""
