"""Learning: power-law averages, optimiser, batching and the loop.

`PowerEMA` and the bucket helpers need torch alone; `train` and the Lightning module import
Lightning when they are asked for, and not before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sciddiff.training.buckets import Buckets as Buckets
from sciddiff.training.ema import PowerEMA as PowerEMA
from sciddiff.training.ema import reconstruct as reconstruct

if TYPE_CHECKING:
    from sciddiff.training.loop import TrainResult as TrainResult
    from sciddiff.training.loop import train as train
    from sciddiff.training.module import DenoisingModule as DenoisingModule

__all__ = ["Buckets", "DenoisingModule", "PowerEMA", "TrainResult", "reconstruct", "train"]

_LAZY = {
    "train": "sciddiff.training.loop",
    "TrainResult": "sciddiff.training.loop",
    "DenoisingModule": "sciddiff.training.module",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        import importlib

        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
