"""ProductPath: one path per leaf of a state, and every method of a path on whole states."""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

import torch
from torch import Tensor

from sciddiff.errors import InputError
from sciddiff.leaf_times import LeafTime, Time, per_sample, time_of
from sciddiff.paths.base import Path, PathSample
from sciddiff.prediction import Prediction, Predictions
from sciddiff.state import Layout, State
from sciddiff.streams import Generator

__all__ = ["ProductPath"]

Layouts = Mapping[str, Layout] | None
Times = Tensor | Mapping[str, Tensor]
"""Times ``[B]``, for all leaves or for each."""


@final
class ProductPath:
    """Independent paths, one per leaf, that share the time or keep a time each.

    Times are ``[B]``, or a mapping of such by leaf. Random draws are made in the order of
    ``paths``, so that order is part of what a seed means.

    Args:
        paths: One path per leaf.

    Raises:
        InputError: There are none.

    >>> from sciddiff import SO3, GaussianPath, GeodesicPath
    >>> path = ProductPath({"place": GaussianPath(), "turn": GeodesicPath(SO3())})
    >>> state = {"place": torch.zeros(4, 3), "turn": torch.eye(3).expand(4, 3, 3)}
    >>> noise = path.prior(state, torch.Generator().manual_seed(0))
    >>> {name: tuple(leaf.shape) for name, leaf in noise.items()}
    {'place': (4, 3), 'turn': (4, 3, 3)}
    """

    def __init__(self, paths: Mapping[str, Path]) -> None:
        if not paths:
            raise InputError("ProductPath: no leaves; give at least one path")
        self.paths: dict[str, Path] = dict(paths)

    def __getitem__(self, name: str) -> Path:
        return self.paths[name]

    def __repr__(self) -> str:
        inside = ", ".join(f"{name}={path!r}" for name, path in self.paths.items())
        return f"ProductPath({inside})"

    def _check(self, given: Mapping[str, object], what: str) -> None:
        missing = [name for name in self.paths if name not in given]
        if missing:
            raise InputError(
                f"{what}: no leaf {missing[0]!r}; it has {', '.join(sorted(given)) or 'none'}"
            )

    def prior(self, like: State, generator: Generator | None, layouts: Layouts = None) -> State:
        """Draw noise for every leaf, in the shapes of ``like``."""
        self._check(like, "like")
        return {
            name: path.prior(like[name], generator, _of(layouts, name))
            for name, path in self.paths.items()
        }

    def sample(
        self,
        x1: State,
        t: Times,
        generator: Generator | None,
        x0: State | None = None,
        layouts: Layouts = None,
    ) -> dict[str, PathSample]:
        """Corrupt every leaf to time ``t [B]``; see `Path.sample`."""
        self._check(x1, "x1")
        return {
            name: path.sample(
                x1[name], _at(t, name), generator, None if x0 is None else x0[name],
                _of(layouts, name),
            )  # fmt: skip
            for name, path in self.paths.items()
        }

    def net_input(self, x_t: State, t: Time, layouts: Layouts = None) -> State:
        """What the network should see of every leaf; other entries pass unchanged."""
        seen = {
            name: path.net_input(x_t[name], *_seen(path, name, x_t, t, layouts))
            for name, path in self.paths.items()
        }
        return {**x_t, **seen}

    def predict(
        self,
        raw: Mapping[str, Tensor],
        x_t: State,
        t: Time,
        layouts: Layouts = None,
    ) -> Predictions:
        """Interpret the network's outputs; those of no leaf become `Predictions.extras`."""
        self._check(raw, "network output")
        predictions = {
            name: path.predict(raw[name], x_t[name], *_seen(path, name, x_t, t, layouts))
            for name, path in self.paths.items()
        }
        extras = {name: value for name, value in raw.items() if name not in self.paths}
        return Predictions(predictions, extras)

    def loss(
        self,
        predictions: Mapping[str, Prediction],
        samples: Mapping[str, PathSample],
        layouts: Layouts = None,
    ) -> dict[str, Tensor]:
        """Unreduced loss of every leaf; see `Path.loss`."""
        return {
            name: path.loss(predictions[name], samples[name], _of(layouts, name))
            for name, path in self.paths.items()
        }

    def match(
        self,
        predictions: Mapping[str, Prediction],
        targets: Mapping[str, Prediction],
        layouts: Layouts = None,
    ) -> dict[str, Tensor]:
        """Unreduced loss of every leaf against other predictions; see `Path.match`."""
        return {
            name: path.match(predictions[name], targets[name], _of(layouts, name))
            for name, path in self.paths.items()
        }

    @property
    def sampling_path(self) -> ProductPath:
        """The path on which samplers move; see `Path.sampling_path`."""
        return ProductPath({name: path.sampling_path for name, path in self.paths.items()})

    def log_prior(self, x: State, layouts: Layouts = None) -> Tensor:
        """Log-density in nats of the state at t = 0, ``[B]``: the sum over leaves."""
        terms = [path.log_prior(x[name], _of(layouts, name)) for name, path in self.paths.items()]
        return sum(terms[1:], terms[0])


def _at(t: Times, name: str) -> Tensor:
    """The times of one leaf as a tensor."""
    return torch.as_tensor(time_of(t, name))


def _seen(
    path: Path, name: str, x_t: State, t: Time, layouts: Layouts
) -> tuple[LeafTime, Layout | None]:
    """The time and the layout that a path is given: a number only where it takes numbers."""
    own, layout = time_of(t, name), _of(layouts, name)
    if isinstance(own, Tensor) or path.numeric_times:
        return own, layout
    return per_sample(own, x_t, len(x_t[name]) if layout is None else layout.size), layout


def _of(layouts: Layouts, name: str) -> Layout | None:
    return None if layouts is None else layouts.get(name)
