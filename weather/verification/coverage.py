"""Where a field is scored: at the points at which truth and every forecast have values.

Sea-surface temperature has none on land. The points of a channel that a forecast lacks are found
in its first field and belong to no region from then on; a value that is missing elsewhere later
on, or in some members only, is a fault of the forecast and is refused. Truths may lack other
points at other times, as observations do.
"""

from __future__ import annotations

from typing import final

import numpy as np
from numpy.typing import NDArray

from sciddiff.errors import InputError

__all__ = ["Coverage"]

Fields = NDArray[np.float32]
Mask = NDArray[np.bool_]


@final
class Coverage:
    """The points at which each channel is scored.

    Args:
        weights: Area of the points of all regions together, `[P]`.
    """

    def __init__(self, weights: NDArray[np.float64]) -> None:
        self._weights = weights / weights.sum()
        self._lacking: dict[tuple[str, str], Mask] = {}
        self._least: dict[str, float] = {}
        self._by_truth: set[str] = set()

    def lacking(
        self, forecast: str, channel: str, members: Fields, truths: Fields, lead: int
    ) -> Mask:
        """Points that a forecast has no values for, `[P]`.

        Args:
            forecast: Its name.
            channel: Of the fields.
            members: `[M, P]`.
            truths: `[K, P]`; where one is missing nothing is asked of the forecast.
            lead: In seconds, for the message.

        Raises:
            InputError: Values are missing where there were some before, in some members only,
                or everywhere.
        """
        known = np.isfinite(truths).all(0)
        bad = ~np.isfinite(members)
        fixed = np.zeros_like(known) if bad.all() else np.all(bad, axis=0)
        first = self._lacking.setdefault((forecast, channel), fixed)
        faults = bad & known & ~first
        if faults.any():
            member = int(np.flatnonzero(faults.any(1))[0])
            raise InputError(
                f"{forecast}: {channel} is not finite at lead {lead / 3600:g} h, member {member}; "
                "finish the forecast with the command that began it, or make it again"
            )
        return first

    def note(self, channel: str, truths: Fields, scored: Fields) -> None:
        """Remember the area on which one field of a channel is scored.

        Args:
            channel: Of the field.
            truths: As they are `[K, P]`.
            scored: The same, NaN also where a forecast has no values.
        """
        if not np.isfinite(truths).all():
            self._by_truth.add(channel)
        share = float(self._weights[np.isfinite(scored).all(0)].sum())
        self._least[channel] = min(share, self._least.get(channel, 1.0))

    def merge(self, other: Coverage) -> None:
        """Take over what another process has remembered of other fields.

        Raises:
            InputError: A forecast lacks other points there than here.
        """
        for (forecast, channel), mask in other._lacking.items():
            if not np.array_equal(self._lacking.setdefault((forecast, channel), mask), mask):
                raise InputError(
                    f"{forecast}: {channel} lacks values at other points from one initial time "
                    "than from another; finish the forecast, or make it again"
                )
        for channel, share in other._least.items():
            self._least[channel] = min(share, self._least.get(channel, 1.0))
        self._by_truth |= other._by_truth

    def notes(self) -> tuple[str, ...]:
        """One line for every channel that is not scored everywhere."""
        lines = []
        for channel, share in self._least.items():
            if share > 1.0 - 1e-9:
                continue
            who = ["the truth"] if channel in self._by_truth else []
            who += [f for (f, c), mask in self._lacking.items() if c == channel and mask.any()]
            lines.append(
                f"{channel}: scored on {100 * share:.3g} % of the area at least; elsewhere "
                f"{' and '.join(who)} {'have' if len(who) > 1 else 'has'} no values"
            )
        return tuple(lines)
