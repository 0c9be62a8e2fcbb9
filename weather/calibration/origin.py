"""What made a forecast, as its record tells: the weights, and how they were used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sciddiff.cli.campaign import RECORD
from sciddiff.errors import InputError
from sciddiff.files import read_json
from weather.calibration.members import META_ENTRY
from weather.forecast import PERSISTENCE

__all__ = ["made_by", "origin_of", "weights_of"]

_USED = ("head", "perturb", "amplitude", "steps", "sampler")


def weights_of(meta: Mapping[str, Any]) -> dict[str, str]:
    """Content of the files of a model, by its ``meta.json``: sha256 by name."""
    return {str(name): str(value) for name, value in meta.get("sha256", {}).items()}


def made_by(meta: Mapping[str, Any], request: Mapping[str, Any]) -> dict[str, Any]:
    """What decides how a model's ensemble is spread.

    Args:
        meta: ``meta.json`` of the model.
        request: Of the forecast, as its record tells.
    """
    used = {name: request[name] for name in _USED if name in request}
    prescribed = {"boundary": "prescribed" if "boundary" in request else "open"}
    if "prescribed" in request:
        kept = request["prescribed"] == PERSISTENCE
        prescribed["prescribed"] = PERSISTENCE if kept else "given"
    return {"weights": weights_of(meta), **used, **prescribed}


def origin_of(files: Sequence[Path]) -> dict[str, Any]:
    """What made some forecasts; empty where a record is missing, as for those of other centres.

    Args:
        files: Zarr stores or single files.

    Raises:
        InputError: They were made in different ways, or are calibrated already.
    """
    found: list[dict[str, Any]] = []
    for file in files:
        record = file / RECORD if file.is_dir() else file.with_name(f"{file.name}.{RECORD}")
        try:
            plain = dict(read_json(record))
            request = dict(plain["request"])
        except (ValueError, KeyError, TypeError):
            return {}
        if META_ENTRY in request:
            raise InputError(
                f"{file}: is calibrated already; make past forecasts with --calibration none"
            )
        if "model_card" not in plain:
            return {}
        found.append(made_by(dict(plain["model_card"]), request))
        if found[-1] != found[0]:
            raise InputError(
                f"{file}: was not made as {files[0].name}, by the same weights in the same way; "
                "fit a calibration to forecasts of one kind"
            )
    return found[0] if found else {}
