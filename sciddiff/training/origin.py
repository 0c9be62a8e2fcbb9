"""The weights a run starts from, when they are not those of its seed."""

from __future__ import annotations

import logging
from typing import Any

from sciddiff.config import Experiment
from sciddiff.errors import InputError
from sciddiff.shipped import find_model
from sciddiff.weights import fill, read, split

__all__ = ["start_weights"]

_log = logging.getLogger(__name__)


def start_weights(experiment: Experiment) -> dict[str, Any] | None:
    """Put the weights of `init_from` into the network of an experiment.

    Returns:
        What was taken, as plain values: `weights` as named, `sha256` of its files, and as `other`
        the parameters that start afresh or were left out, if any; None if nothing was asked for.

    Raises:
        InputError: There are no such weights, or they do not fit the network.
    """
    if experiment.init_from is None:
        return None
    weights, hashes = read(find_model(experiment.init_from))
    weights, codec = split(weights)
    latents = experiment.domain.latents()
    if codec and latents is not None:  # the network knows these, and no others
        latents.restore(codec, f"init_from: {experiment.init_from}")
    try:
        other = fill(experiment.net, weights, experiment.init_strict)
    except InputError as error:
        remedy = "give the net the settings of those weights"
        if experiment.init_strict and "shape" not in str(error):
            remedy += ", or init_strict: false to take what fits"
        raise InputError(
            f"init_from: {experiment.init_from} does not fit {type(experiment.net).__name__} "
            f"({error}); {remedy}"
        ) from error
    for name in other:
        _log.warning("init_from: %s starts afresh or is left out", name)
    _log.info("starting from the weights of %s", experiment.init_from)
    origin: dict[str, Any] = {"weights": experiment.init_from, "sha256": hashes}
    return {**origin, "other": other} if other else origin
