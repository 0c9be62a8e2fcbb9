"""Single steps as samples of the core's own verbs: templates, files and a first score."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sciddiff.errors import InputError
from sciddiff.objectives import fair_crps
from sciddiff.state import Batch, State
from weather.data.forcings import Forcings
from weather.data.store import Store
from weather.data.times import label
from weather.forecast.advance import FIELDS
from weather.forecast.initial import InitialState
from weather.forecast.spec import ForecastSpec

__all__ = ["evaluate_states", "templates", "write_states"]

_BATCH = 16


def templates(spec: ForecastSpec, states: Sequence[InitialState], members: int) -> Iterator[Batch]:
    """Yield batches that say which steps to draw.

    Args:
        spec: Of the model.
        states: Initial states.
        members: Draws from each.

    Raises:
        InputError: The model is told a part of the future.
    """
    if spec.boundary or spec.prescribed:
        raise InputError(
            "model: is told a part of the next state at every step, which single draws lack; use "
            "sciddiff forecast with --boundary or --prescribed"
        )
    forcings = Forcings(spec.area)
    for state in states:
        valid = spec.after(state.time, 1)
        history = spec.standardise(state.frames.float())
        forcing = torch.from_numpy(forcings.at([valid])[0])
        for first in range(0, members, _BATCH):
            numbers = range(first, min(first + _BATCH, members))
            n = len(numbers)
            cond: dict[str, Any] = {
                "history": history.expand(n, *history.shape),
                "forcing": forcing.expand(n, *forcing.shape),
                "now": state.frames[-1].float().expand(n, *history.shape[1:]),
                "index": torch.tensor(list(numbers)),
                "spec": json.dumps(spec.to_plain()),
            }
            ids = tuple(f"{label(valid).replace(':', '')}_{k:04d}" for k in numbers)
            like = torch.zeros(n, *history.shape[1:])
            yield Batch({FIELDS: like}, cond, size=n, ids=ids)


def write_states(batch: Batch, x: State, directory: Path) -> list[Path]:
    """Write the states that samples lead to, one NumPy archive each.

    Args:
        batch: A template of `templates`.
        x: Samples, `{"fields": [B, C, H, W]}`.
        directory: Existing directory.

    Returns:
        Files with one array `[H, W]` per channel, and `lat`, `lon`, `time`.
    """
    spec = ForecastSpec.from_meta(json.loads(batch.cond["spec"]))
    grid = spec.area
    states = spec.clip(spec.advance(batch.cond["now"], x[FIELDS])).cpu().numpy()
    written = []
    for name, state in zip(batch.ids, states, strict=True):
        path = directory / f"{name}.npz"
        fields = dict(zip(spec.names, state, strict=True))
        np.savez_compressed(path, lat=grid.lat, lon=grid.lon, time=name.split("_")[0], **fields)
        written.append(path)
    return written


def evaluate_states(directory: Path, reference: Path | None) -> dict[str, Any]:
    """Compute the fair CRPS and the error of the mean of a folder of samples of one time.

    Args:
        directory: Written by `write_states`.
        reference: Prepared store that holds the true state.

    Raises:
        InputError: No reference, fewer than two samples, or samples of several times.
    """
    files = sorted(directory.glob("*.npz"))
    if reference is None:
        raise InputError("evaluate: a prepared store with the true states is needed as reference")
    if len(files) < 2:
        raise InputError(f"{directory}: holds {len(files)} samples; two or more are needed")
    loaded = [dict(np.load(file)) for file in files]
    times = sorted({str(one["time"]) for one in loaded})
    if len(times) > 1:
        raise InputError(f"{directory}: samples of {len(times)} times; score them one by one")
    store = Store(reference)
    text = f"{times[0][:13]}:{times[0][13:15]}:{times[0][15:17]}"
    at = store.nearest(text)
    truth = store.read(at, at + 1)[0]
    area = torch.from_numpy(np.array(store.grid.weights)).float()[:, None]
    scores: dict[str, Any] = {"time": text, "members": len(files)}
    for row, name in enumerate(store.names):
        if name not in loaded[0]:
            continue
        members = torch.from_numpy(np.stack([one[name] for one in loaded])).float()
        there = torch.from_numpy(truth[row])
        crps = (fair_crps(members, there, alpha=1.0) * area).mean()
        error = (((members.mean(0) - there) ** 2) * area).mean().sqrt()
        scores[name] = {"fair_crps": float(crps), "rmse_of_mean": float(error)}
    return scores
