r"""Fitting a member-by-member calibration to past forecasts and what happened.

All moments are means over initial times and, by area, over points. The members are thought of as
:math:`x_m = \mu + \varepsilon_m` and the truth as :math:`y = \alpha + \beta\mu + e`. The mean of M
members has an error of variance :math:`s^2/M`, where :math:`s^2` is the variance of the members,
so that

.. math::

    \beta = \frac{\mathrm{cov}(y, \bar x)}{\mathrm{var}(\bar x) - s^2/M},
    \qquad
    \tau^2 = \frac{\overline{(y - \alpha - \beta\bar x)^2} - \beta^2 s^2/M}{s^2} .

These are the coefficients of an ensemble of any size: those of 10 members serve 50. Lowest fair
CRPS is not what is sought, because it is fair only to members that do not know of each other, and
calibrated ones share their mean: of 20 members that are perfect already it would widen the spread
by 11 %. Whether a calibration helps is judged by a CRPS that leaves a member out of the mean that
it is moved about, see `lone_crps`.

Each channel and lead has one of three forms, judged on initial times kept aside: no change; the
spread alone (alpha 0, beta 1), where that does not make the CRPS worse; all three coefficients,
where they gain more over it than the standard error of that gain over the blocks of initial times.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from sciddiff.errors import InputError
from weather.calibration.members import Coefficients
from weather.verification.coverage import Coverage
from weather.verification.ensembles import Ensemble
from weather.verification.truths import Truth
from weather.verification.verify import Plan

__all__ = ["BLOCKS", "FEWEST", "FORMS", "Fit", "fit", "lone_crps", "solve"]

FORMS = ("none", "spread", "full")
"""Forms of a calibration, the simplest first."""

FEWEST = 20
"""Initial times that a fit needs at every lead."""

BLOCKS = 8
"""Stretches of initial times, each of which is kept aside once."""

Floats = NDArray[np.float64]
_MOMENTS = 6
_SAME = (0.0, 1.0, 1.0)


@final
@dataclass(frozen=True)
class Fit:
    """What was found for one channel.

    Attributes:
        coefficients: Of the chosen forms, at all leads.
        forms: Chosen at each lead, L of `FORMS`.
        before: CRPS of the members as they were, `[L]`.
        after: CRPS of the calibrated members, with coefficients from the other blocks, `[L]`.
        starts: Initial times at each lead, `[L]`.
    """

    coefficients: Coefficients
    forms: tuple[str, ...]
    before: Floats
    after: Floats
    starts: NDArray[np.int64]


def solve(moments: Floats, members: int, form: str) -> tuple[float, float, float] | None:
    """Alpha, beta and tau from moments.

    Args:
        moments: Means of the ensemble mean, the truth, the square of the mean, its product with
            the truth, the square of the truth, and the variance of the members (about their mean,
            unbiased), `[6]`.
        members: M, at least 2.
        form: One of `FORMS`.

    Returns:
        The coefficients; None where the moments allow none, such as a forecast that is nearer to
        the truth than its few members can tell.
    """
    if form == "none":
        return _SAME
    mean, truth, square, product, power, spread = moments.tolist()
    noise = spread / members
    if form == "full":
        varied = square - mean**2 - noise
        beta = (product - mean * truth) / varied if varied > 0 else -1.0
        alpha = truth - beta * mean
    else:
        beta, alpha = 1.0, 0.0
    error = (
        power - 2 * (alpha * truth + beta * product)
        + alpha**2 + 2 * alpha * beta * mean + beta**2 * square
    )  # fmt: skip
    rest = error - beta**2 * noise
    if not (beta > 0 and rest > 0 and spread > 0):
        return None
    return alpha, beta, float(np.sqrt(rest / spread))


def lone_crps(members: Floats, truth: Floats, coefficients: Sequence[float]) -> Floats:
    r"""CRPS of calibrated members, as that of many of them, at every point.

    Member m is compared with the truth as it comes out about the mean of all *other* members, and
    the spread is tau times that of the members: no member knows of another. Without a change
    (0, 1, 1) it is the fair CRPS.

    Args:
        members: As they were, `[M, P]`, M at least 2.
        truth: `[P]`.
        coefficients: Alpha, beta, tau.

    Returns:
        `[P]`.
    """
    gaps = members - members.mean(0)
    return _lone(gaps, _apart(gaps), members.mean(0) - truth, truth, coefficients)


def _apart(gaps: Floats) -> Floats:
    """Half the mean distance of two members, `[P]`, of deviations `[M, P]`."""
    size = len(gaps)
    weights = (2.0 * np.arange(1, size + 1) - size - 1.0) / (size * (size - 1.0))
    return weights @ np.sort(gaps, axis=0)


def _lone(
    gaps: Floats, apart: Floats, error: Floats, truth: Floats, coefficients: Sequence[float]
) -> Floats:
    """The same from deviations `[M, P]` and their distance, error of the mean, and truth."""
    alpha, beta, tau = coefficients
    # The mean of the others is that of all, less a share of the member's own deviation.
    wider = tau + (tau - beta) / (len(gaps) - 1.0)
    middle = alpha + beta * error + (beta - 1.0) * truth
    return np.abs(middle + wider * gaps).mean(0) - tau * apart


def fit(
    forecast: Ensemble, truth: Truth, plan: Plan, weights: Floats,
    tell: Callable[[int], None] | None = None,
) -> tuple[dict[str, Fit], Coverage]:  # fmt: skip
    """Fit a calibration to every channel and lead of a plan.

    The forecasts are read twice, a field at a time.

    Args:
        forecast: Past forecasts.
        truth: What happened: one for every time.
        plan: What both have in common, from `weather.verification.verify.align`.
        weights: Area of the points, `[P]`.
        tell: Called with the number of initial times just read.

    Returns:
        By channel; and at which points it was fitted.

    Raises:
        InputError: One member, several truths, too few initial times at a lead, values that only
            some members lack, or members that do not differ.
    """
    if forecast.members < 2:
        raise InputError(f"{forecast.name}: has one member; a calibration needs at least 2")
    if truth.members != 1:
        raise InputError(
            f"reference: is an ensemble of {truth.members} truths; give what happened, one field "
            "for every time"
        )
    order = np.argsort(plan.times.seconds, kind="stable")
    times = plan.times.seconds[order]
    coverage = Coverage(weights)
    shape = (len(times), len(plan.leads), len(plan.channels))
    origins: dict[int, float] = {}
    moments = np.full((*shape, _MOMENTS), np.nan)
    for i, (lead, c, members, actual, area) in _fields(
        forecast, truth, times, plan, weights, coverage, tell
    ):
        # Counted from about the mean, so that squares of pressures lose nothing.
        origin = origins.setdefault(c, float(area @ actual))
        mean = members.mean(0)
        x, y = mean - origin, actual - origin
        rows = np.stack([x, y, x * x, x * y, y * y, members.var(0, ddof=1)])
        moments[i, lead, c] = rows @ area
    known = np.isfinite(moments[..., 0])
    _check(known, moments, forecast, plan)
    blocks = _blocks(known)
    tables = {
        place: _table(moments[:, place[0], place[1]], blocks[:, place[0], place[1]], forecast)
        for place in np.ndindex(*shape[1:])
    }
    scores = np.full((*shape, len(FORMS)), np.nan)
    for i, (lead, c, members, actual, area) in _fields(
        forecast, truth, times, plan, weights, coverage, tell
    ):
        mean, shifted = members.mean(0), actual - origins[c]
        gaps, error = members - mean, mean - actual
        apart = _apart(gaps)
        for form, name in enumerate(FORMS):
            found = tables[lead, c][name, int(blocks[i, lead, c])]
            if found is not None:
                scores[i, lead, c, form] = area @ _lone(gaps, apart, error, shifted, found)
    return {
        name: _chosen(c, moments, blocks, scores, plan, forecast, origins[c])
        for c, name in enumerate(plan.channels)
    }, coverage


def _fields(
    forecast: Ensemble, truth: Truth, times: NDArray[np.int64], plan: Plan, weights: Floats,
    coverage: Coverage, tell: Callable[[int], None] | None,
) -> Iterator[tuple[int, tuple[int, int, Floats, Floats, Floats]]]:  # fmt: skip
    """Every field that is known, at the points that are known: initial time, and lead, channel,
    members `[M, P]`, truth `[P]`, area `[P]` summing to 1."""
    own = {int(lead): i for i, lead in enumerate(forecast.leads)}
    cases = {int(second): i for i, second in enumerate(forecast.times.seconds)}
    for i, time in enumerate(times.tolist()):
        covered = [n for n, lead in enumerate(plan.leads) if truth.covers(time, int(lead))]
        leads = [int(plan.leads[n]) for n in covered]
        actual = truth.open(time, leads)
        read = forecast.open(cases[time], [own[lead] for lead in leads])
        for position, n in enumerate(covered):
            for c, channel in enumerate(plan.channels):
                fact = actual(position, channel).reshape(1, -1)
                members = read(own[leads[position]], channel).reshape(forecast.members, -1)
                lacking = coverage.lacking(forecast.name, channel, members, fact, leads[position])
                scored = np.where(lacking, np.float32(np.nan), fact)
                coverage.note(channel, fact, scored)
                known = np.isfinite(scored[0])
                area = weights[known]
                if area.sum() > 0:
                    fields = members[:, known].astype(np.float64), fact[0, known].astype(float)
                    yield i, (n, c, *fields, area / area.sum())
        if tell is not None:
            tell(1)


def _check(known: NDArray[np.bool_], moments: Floats, forecast: Ensemble, plan: Plan) -> None:
    """Refuse what no calibration can be fitted to."""
    for n, c in np.ndindex(known.shape[1:]):
        count, day = int(known[:, n, c].sum()), f"{plan.leads[n] / 86400:g}"
        if count < FEWEST:
            raise InputError(
                f"{forecast.name}: {plan.channels[c]} on day {day} has {count} initial times with "
                f"a reference, and a calibration needs {FEWEST}; give more forecasts, or leave "
                "out leads with --leads or the channel with --channels"
            )
        if not np.nanmax(moments[:, n, c, 5]) > 0:
            raise InputError(
                f"{forecast.name}: the members of {plan.channels[c]} do not differ on day {day}; "
                "a calibration needs an ensemble with spread"
            )


def _blocks(known: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Number of the block of every field, `[N, L, C]`: alike many known ones in a row; else -1."""
    rank = np.cumsum(known, 0) - 1
    return np.where(known, rank * BLOCKS // known.sum(0), -1)


def _table(
    moments: Floats, blocks: NDArray[np.int64], forecast: Ensemble
) -> dict[tuple[str, int], tuple[float, float, float] | None]:
    """Coefficients of every form from the initial times outside of each block."""
    rows = {b: moments[(blocks >= 0) & (blocks != b)].mean(0) for b in range(BLOCKS)}
    return {
        (form, b): solve(row, forecast.members, form) for form in FORMS for b, row in rows.items()
    }


def _chosen(
    c: int, moments: Floats, blocks: NDArray[np.int64], scores: Floats, plan: Plan,
    forecast: Ensemble, origin: float,
) -> Fit:  # fmt: skip
    rows, forms, before, after = [], [], [], []
    known = blocks[..., c] >= 0
    for n in range(len(plan.leads)):
        table = scores[known[:, n], n, c]
        block = blocks[known[:, n], n, c]
        whole = moments[known[:, n], n, c].mean(0)
        best, found = 0, _SAME
        for form in range(1, len(FORMS)):
            offered = solve(whole, forecast.members, FORMS[form])
            error = 0.0 if FORMS[form] == "spread" else 1.0
            if offered is not None and _better(table[:, best], table[:, form], block, error):
                best, found = form, offered
        alpha, beta, tau = found
        rows.append((alpha + origin * (1.0 - beta) if best == 2 else 0.0, beta, tau))
        forms.append(FORMS[best])
        before.append(table[:, 0].mean())
        after.append(table[:, best].mean())
    alpha, beta, tau = zip(*rows, strict=True)
    leads = tuple(int(lead) for lead in plan.leads)
    return Fit(
        Coefficients(leads, alpha, beta, tau), tuple(forms), np.array(before), np.array(after),
        known.sum(0),
    )  # fmt: skip


def _better(simple: Floats, rich: Floats, blocks: NDArray[np.int64], errors: float) -> bool:
    """Whether a richer form gains more than so many standard errors over the blocks."""
    gain = np.array([np.mean((simple - rich)[blocks == b]) for b in range(BLOCKS)])
    return bool(gain.mean() > errors * gain.std(ddof=1) / np.sqrt(BLOCKS))  # never if one is NaN
