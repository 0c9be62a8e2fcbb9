"""What a user may ask of refolding, in plain values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from protein.backbone.refolding.judged import USUAL, Thresholds
from sciddiff.errors import InputError, nearest

_THRESHOLDS = {"max_rmsd": "rmsd", "min_tm": "tm", "min_plddt": "plddt"}


@final
@dataclass(frozen=True)
class RefoldOptions:
    """Where the predicted structures are, and what is asked of them.

    Attributes:
        folder: the predicted structures, in any depth; None for none.
        thresholds: what a prediction has to reach.
    """

    folder: Path | None = None
    thresholds: Thresholds = USUAL

    @classmethod
    def read(cls, options: Mapping[str, Any]) -> RefoldOptions:
        """Options of plain values: ``refolded``, ``max_rmsd``, ``min_tm``, ``min_plddt``.

        Raises:
            InputError: an unknown name, a bad value, or thresholds for nothing.
        """
        known = ("refolded", *_THRESHOLDS)
        strange = next((name for name in options if name not in known), None)
        if strange is not None:
            raise InputError(
                f"--set {strange}: not an option of backbone; {nearest(strange, known)}"
            )
        given = {
            field: _number(name, options[name])
            for name, field in _THRESHOLDS.items()
            if name in options
        }
        if options.get("refolded") is None:
            if given:
                name = next(name for name in _THRESHOLDS if name in options)
                raise InputError(
                    f"--{name.replace('_', '-')}: judges refolded structures; "
                    "add --refolded FOLDER or leave it out"
                )
            return cls()
        return cls(Path(str(options["refolded"])), Thresholds(**given))


def _number(name: str, value: Any) -> float:
    most = {"min_tm": 1.0, "min_plddt": 100.0}.get(name, math.inf)
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if isinstance(value, bool) or not 0.0 <= number <= most or math.isinf(number):
        bounds = f"from 0 to {most:g}" if math.isfinite(most) else "of at least 0"
        raise InputError(f"--{name.replace('_', '-')}: {value!r} is not a number {bounds}")
    return number
