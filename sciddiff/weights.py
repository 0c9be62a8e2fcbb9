"""The weights of a model directory: read, verified, and put into a network.

A model is a directory with `config.yaml`, `model.safetensors` (or shards) and `meta.json`, which
holds the sha256 of every other file (see `sciddiff.checkpoint`, which writes it). Weights alone
may also be one `.safetensors` file.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from sciddiff.errors import InputError

__all__ = ["CONFIG", "FORMAT", "META", "clean_name", "describe", "fill", "read", "sha256"]

FORMAT = 1
"""Number of the layout of a model directory; any other is refused."""

CONFIG, META = "config.yaml", "meta.json"


def describe(directory: str | os.PathLike[str]) -> dict[str, Any]:
    """Return `meta.json` of a model directory, its format checked and its files verified.

    Raises:
        InputError: No model, an unknown format, or a damaged file.
    """
    path = Path(directory)
    meta = _read_meta(path)
    for name, expected in meta["sha256"].items():
        file = path / name
        if not file.exists():
            raise InputError(f"{file}: missing; copy the whole model directory again")
        if sha256(file) != expected:
            raise InputError(
                f"{file}: damaged, its sha256 is not the one in {META}; copy the model again"
            )
    return meta


def read(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read weights from a model directory, its files verified, or from a `.safetensors` file.

    Args:
        path: Either of them.

    Returns:
        The tensors by name, and the sha256 of the files they came from.

    Raises:
        InputError: There is neither, or a file is damaged.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        meta = describe(path)
        hashes = {name: meta["sha256"][name] for name in meta["weights"]}
        return _read_files([path / name for name in meta["weights"]]), hashes
    if not path.is_file():
        raise InputError(f"{path}: no such file; check the path")
    return _read_files([path]), {path.name: sha256(path)}


def fill(net: nn.Module, weights: Mapping[str, Tensor], strict: bool = True) -> list[str]:
    """Copy weights into a network, in the network's own types.

    Args:
        net: The network; left as it was if the weights do not fit.
        weights: By the names of the network's state dict.
        strict: Refuse weights that lack some of those names or have others. Otherwise what is
            lacking stays as it is, and what is unknown is left out. Shapes must agree always.

    Returns:
        The names that were lacking or unknown, sorted.

    Raises:
        InputError: They do not fit; the message names the first parameter, and no remedy.
    """
    own, given = net.state_dict(), {clean_name(name): value for name, value in weights.items()}
    names = {clean_name(name): name for name in own}
    for name, value in given.items():
        if name in names and value.shape != own[names[name]].shape:
            raise InputError(
                f"{name} has shape {list(value.shape)}, that of the network "
                f"{list(own[names[name]].shape)}"
            )
    for what, these in (("lacks", names.keys() - given), ("has an unknown", given.keys() - names)):
        if these and (strict or not names.keys() & given):
            first, *others = sorted(these)
            more = f" and {len(others)} more" if others else ""
            raise InputError(f"{what} {first}{more}")
    fitting = {names[name]: value for name, value in given.items() if name in names}
    net.load_state_dict(fitting, strict=False)
    return sorted(names.keys() ^ given.keys())


def _read_files(files: Sequence[Path]) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    weights: dict[str, Tensor] = {}
    for file in files:
        try:
            weights |= load_file(file)
        except (OSError, SafetensorError) as error:
            text = " ".join(str(error).split())
            raise InputError(f"{file}: damaged or not of safetensors ({text})") from error
    return weights


def _read_meta(path: Path) -> dict[str, Any]:
    if path.suffix in (".ckpt", ".pt", ".pth") and path.is_file():
        raise InputError(
            f"{path}: is a checkpoint to resume, not a model; make one with: "
            "sciddiff export RUN -o MODEL"
        )
    file = path / META
    if not file.exists():
        what = "no such directory" if not path.exists() else f"no {META} in it"
        raise InputError(f"{path}: {what}; give a model directory (list them: sciddiff models)")
    try:
        meta = json.loads(file.read_text(encoding="utf-8"))
        number = meta["format"]
        if number == FORMAT:
            meta |= {"sha256": dict(meta["sha256"]), "weights": list(meta["weights"])}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{file}: damaged; copy the model directory again") from error
    if number != FORMAT:
        wrote = (meta.get("versions") or {}).get("sciddiff", "an unknown version")
        raise InputError(
            f"{path}: model format {number} is unknown, this sciddiff reads format {FORMAT}; "
            f"it was written by sciddiff {wrote}: pip install --upgrade sciddiff"
        )
    return meta


def sha256(path: Path) -> str:
    """The checksum of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def clean_name(name: str) -> str:
    """The name of a parameter without the prefixes of `torch.compile`."""
    return name.replace("_orig_mod.", "")
