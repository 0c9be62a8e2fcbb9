"""What can be wrong with files, each told in one line with its remedy.

Times: out of order (sorted, and said), repeated, with gaps. Missing values: a policy for every
channel, by default a refusal. Values that cannot be are the business of `weather.data.plausible`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from sciddiff.errors import InputError
from weather.data.aggregate import Windows
from weather.data.channels import Channel
from weather.data.rectangles import position
from weather.data.times import Period, Step, TimeAxis, find_step, label, labels

__all__ = [
    "NanPolicy",
    "TimeSelection",
    "choose_times",
    "mask_fills",
    "parse_nan",
    "parse_step",
]

_FILL: Final = 1e30
"""Larger magnitudes are fill values that lack their attribute."""


@final
@dataclass(frozen=True, eq=False)
class TimeSelection:
    """Which times of the files go into a store.

    Attributes:
        index: Their place in the files, in the order of time `[T]`.
        times: Themselves `[T]`.
        step: Their distance.
        notes: What was done, for people.
        own_hours: Usual distance of the times in the files; 0 for a single one.
        windows: Times of the files in the period up to each time, where periods are wanted.
    """

    index: NDArray[np.int64]
    times: NDArray[Any]
    step: Step
    notes: tuple[str, ...]
    own_hours: float = 0.0
    windows: Windows | None = None


def choose_times(
    times: NDArray[Any],
    period: Period | None = None,
    every_hours: float = 0.0,
    gaps: str = "refuse",
    duplicates: str = "refuse",
    periods: bool = False,
) -> TimeSelection:
    """Sort, select and check the times of files.

    Args:
        times: As in the files `[T]`.
        period: Keep those within.
        every_hours: Keep every so many hours from the first on; 0 keeps all.
        gaps: ``refuse``, or ``keep``: windows will not cross them.
        duplicates: ``refuse``, or keep the ``first`` or ``last`` of equal times.
        periods: Also find the times within `every_hours` up to each, for sums and means.

    Raises:
        InputError: Nothing is left, or gaps or duplicates are refused.
    """
    texts, notes = labels(times), []
    index = np.argsort(texts, kind="stable")
    if not np.array_equal(index, np.arange(len(index))):
        notes.append("times were out of order and have been sorted")
    index, note = _without_copies(index, texts, duplicates)
    notes += note
    if period is not None:
        inside = period.mask(times)[index]
        if not inside.any():
            raise InputError(
                f"--period {period}: the files hold {texts[index[0]]} to {texts[index[-1]]} only"
            )
        index = index[inside]
    own, windows = find_step(times[index]).hours, None
    if periods:
        every = every_hours or own
        windows, index = Windows.ending_at(index, times, every)
        if windows.lost and gaps != "keep":
            raise InputError(
                f"time: {windows.lost}; add the missing files, choose a --period without gaps, or "
                "say --gaps keep"
            )
        notes += [f"{windows.lost}; they are left out"] if windows.lost else []
    elif every_hours:
        index = _thin(index, times, every_hours)
    chosen = times[index]
    step = find_step(chosen)
    follows = step.follows(chosen) if len(chosen) > 1 else np.ones(0, dtype=bool)
    if not follows.all():
        message = _gap(chosen, follows, step)
        if gaps != "keep":
            raise InputError(message)
        notes.append(f"{_count(follows)}; windows will not cross them")
    return TimeSelection(index.astype(np.int64), chosen, step, tuple(notes), own, windows)


def _without_copies(
    index: NDArray[np.int64], texts: NDArray[np.str_], duplicates: str
) -> tuple[NDArray[np.int64], list[str]]:
    ordered = texts[index]
    again = np.concatenate([[False], ordered[1:] == ordered[:-1]])
    if not again.any():
        return index, []
    number, first = int(again.sum()), ordered[again.argmax()]
    if duplicates == "refuse":
        raise InputError(
            f"time: {number} repeated, first {first}; keep one of each with --duplicates first "
            "or last"
        )
    if duplicates == "last":
        again = np.concatenate([ordered[1:] == ordered[:-1], [False]])
    return index[~again], [f"{number} repeated times: the {duplicates} of each kept"]


def _thin(index: NDArray[np.int64], times: NDArray[Any], every: float) -> NDArray[np.int64]:
    hours = TimeAxis.encode(times[index]).hours
    on = np.isclose((hours + 1e-6) % every, 1e-6, atol=1e-3)
    if len(hours) > 1 and np.diff(hours).min() > every * 1.001:
        raise InputError(
            f"--step {every:g}h: the files have a field every {np.diff(hours).min():g} h only; "
            "leave it out or ask for a multiple"
        )
    if len(hours) > 1 and on.sum() < 2 and hours[-1] >= every:
        raise InputError(
            f"--step {every:g}h: no field falls on it, they are {np.diff(hours).min():g} h "
            "apart; ask for a multiple"
        )
    return index[on]


def _gap(times: NDArray[Any], follows: NDArray[np.bool_], step: Step) -> str:
    i = int((~follows).argmax())
    return (
        f"time: {_count(follows)} in steps of {step}, first between {label(times[i])} and "
        f"{label(times[i + 1])}; add the missing files, choose a --period without gaps, or say "
        "--gaps keep"
    )


def _count(follows: NDArray[np.bool_]) -> str:
    number = int((~follows).sum())
    return "a gap" if number == 1 else f"{number} gaps"


def parse_step(text: str) -> float:
    """Hours of ``24h`` or ``1d``.

    Raises:
        InputError: Not of that form.
    """
    number, unit = text[:-1], text[-1:]
    try:
        hours = float(number) * {"h": 1.0, "d": 24.0}[unit.lower()]
    except (KeyError, ValueError) as error:
        raise InputError(f"--step {text}: not a time; write --step 24h") from error
    if hours <= 0:
        raise InputError(f"--step {text}: not positive; write --step 24h")
    return hours


@final
@dataclass(frozen=True)
class NanPolicy:
    """What to do about missing values, by channel.

    Attributes:
        rules: ``refuse``, ``fill`` (mean over the area that is there), ``min`` (its smallest
            value), ``drop`` (leave the channel out) or a number, by channel or variable name;
            ``all`` stands for the rest. ``keep`` leaves them missing: for fields that are only
            compared with others.
    """

    rules: Mapping[str, str]

    def of(self, c: Channel) -> str:
        """The rule of a channel."""
        for name in (c.name, c.variable, "all"):
            if name in self.rules:
                return self.rules[name]
        return "refuse"

    def apply(
        self,
        c: Channel,
        fields: NDArray[np.float32],
        weights: NDArray[np.float64],
        times: NDArray[Any],
        lat: NDArray[np.float64],
        lon: NDArray[np.float64],
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Fill the missing values of one channel.

        Args:
            c: The channel.
            fields: `[n, H, W]`.
            weights: Area of the rows `[H]`.
            times: Of the fields, for the message.
            lat: Of the rows, for the message.
            lon: Of the columns, for the message.

        Returns:
            The fields without NaN (but with it under the rule ``keep``), and where values were
            filled.

        Raises:
            InputError: The rule is to refuse, or a field has no value to fill from.
        """
        missing = np.isnan(fields)
        if not missing.any():
            return fields, missing
        rule = self.of(c)
        if rule == "keep":
            return fields, np.zeros_like(missing)
        if rule == "refuse":
            raise InputError(_missing_line(c, missing, times, lat, lon))
        empty = missing.all((1, 2))
        if empty.any() and rule in ("fill", "min"):
            when = label(times[int(empty.argmax())])
            raise InputError(
                f"{c.name}: missing everywhere at {when}; choose a --period without, or say "
                f"--nan {c.name}=VALUE"
            )
        if rule == "fill":
            w = np.where(missing, 0.0, weights[:, None])
            value = (np.where(missing, 0.0, fields) * w).sum((1, 2)) / w.sum((1, 2))
        elif rule == "min":
            value = np.nanmin(fields, (1, 2))
        else:
            value = np.full(len(fields), float(rule))
        return np.where(missing, value[:, None, None], fields).astype(np.float32), missing


def _missing_line(
    c: Channel,
    missing: NDArray[np.bool_],
    times: NDArray[Any],
    lat: NDArray[np.float64],
    lon: NDArray[np.float64],
) -> str:
    n, i, j = (int(k) for k in np.unravel_index(int(missing.argmax()), missing.shape))
    share = missing[n].mean()
    where = "everywhere" if missing[n].all() else f"first at {position(lat[i], lon[j])}"
    return (
        f"{c.name}: {share:.2%} of the field is missing (NaN) at {label(times[n])}, "
        f"{where}; say what to do: --nan {c.name}=fill (mean of the rest), min, a value, or drop"
    )


def parse_nan(words: Sequence[str]) -> NanPolicy:
    """Read ``sst=fill`` and the like.

    Raises:
        InputError: Not of that form.
    """
    rules: dict[str, str] = {}
    for word in words:
        name, equals, rule = word.partition("=")
        try:
            known = rule in ("refuse", "fill", "min", "drop") or np.isfinite(float(rule))
        except ValueError:
            known = False
        if not (name and equals and known):
            raise InputError(
                f"--nan {word}: write NAME=refuse, fill, min, drop or a value, such as "
                "--nan sst=fill"
            )
        rules[name] = rule
    return NanPolicy(rules)


def mask_fills(
    values: NDArray[Any],
    valid: tuple[float, float] | None = None,
    missing: float | None = None,
) -> NDArray[Any]:
    """Turn infinities and fill values without their attribute into NaN.

    Args:
        values: Of one variable.
        valid: Smallest and largest valid value that the file states.
        missing: A value that the user says stands for missing ones.
    """
    bad = ~(np.abs(values) < _FILL)
    if valid is not None:
        bad |= (values < valid[0]) | (values > valid[1])
    if missing is not None:
        bad |= np.isclose(values, missing, rtol=1e-6)
    return np.where(bad, np.nan, values) if bad.any() else values
