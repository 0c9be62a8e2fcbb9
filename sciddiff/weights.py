"""The weights of a model directory: read, verified, and put into a network.

A model is a directory with `config.yaml`, `model.safetensors` (or shards) and `meta.json`, which
holds the sha256 of every other file and of its own entries; `sciddiff.checkpoint` writes it.
Weights alone may also be one `.safetensors` file.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from sciddiff.errors import InputError, reading
from sciddiff.files import read_json, regular, write_json

__all__ = [
    "CONFIG",
    "FORMAT",
    "LATENTS",
    "META",
    "Recommended",
    "clean_name",
    "describe",
    "fill",
    "identity",
    "read",
    "seal",
    "sealed",
    "sha256",
    "shapes",
    "sized_like",
    "split",
    "write_tensors",
]

FORMAT = 1
"""Number of the layout of a model directory; any other is refused."""

CONFIG, META = "config.yaml", "meta.json"

LATENTS = "latents/"
"""What names of weights begin with that belong to the codec of the domain (`Domain.latents`)."""

_OWN = "own_sha256"
_CARD = {
    *("versions", "created", "parameters", "dtype", "seed", "command", "metrics", "step"),
    *("samples", "ema", "init_from", "sha256", "weights", _OWN),
}
"""Entries of `meta.json` that no result depends on, beside those that tell the files."""

_KIND = "a file of safetensors"
_AGAIN = "copy the whole model directory again"


@dataclass(frozen=True)
class Recommended:
    """How a model is best drawn, where its `meta.json` says so under ``drawing``.

    Attributes:
        steps: Number of steps; None leaves it to the verb.
        flow_map: Whether its network predicts up to a later time, so that a step is a jump.
    """

    steps: int | None = None
    flow_map: bool = False

    @classmethod
    def of(cls, meta: Mapping[str, Any]) -> Recommended:
        """Read it off `meta.json`.

        Raises:
            InputError: The entry is damaged.
        """
        said = meta.get("drawing", {})
        known = isinstance(said, Mapping)
        steps = said.get("steps") if known else None
        flow_map = said.get("flow_map", False) if known else None
        if not isinstance(flow_map, bool) or not (
            steps is None or (type(steps) is int and 1 <= steps <= 10_000)
        ):
            raise InputError(f"{META}: drawing: {said!r} is not a number of steps; {_AGAIN}")
        return cls(steps, flow_map)


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


def identity(meta: Mapping[str, Any]) -> str:
    """The sha256 of everything of a model that results depend on, by its `meta.json`.

    That is its files and the entries that are no part of its card, such as the statistics of
    fields (``data``) or the calibration of a confidence.
    """
    return _digest([meta["sha256"], {k: v for k, v in meta.items() if k not in _CARD}])


def sealed(meta: Mapping[str, Any]) -> dict[str, Any]:
    """`meta.json` with the checksum of its own entries.

    >>> list(sealed({"format": 1}))
    ['format', 'own_sha256']
    """
    entries = {name: value for name, value in meta.items() if name != _OWN}
    return {**entries, _OWN: _digest(entries)}


def seal(directory: str | os.PathLike[str]) -> None:
    """Take the checksum of a `meta.json` again, after its card was edited by hand.

    Raises:
        InputError: It cannot be read.
    """
    file = Path(directory) / META
    meta = sealed(read_json(file, _AGAIN))
    write_json(file, meta)


def _digest(plain: Any) -> str:
    """The sha256 of plain values as JSON that leaves no choice."""
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def shapes(directory: str | os.PathLike[str]) -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor of a model, by name; only headers are read.

    Raises:
        InputError: As `read`.
    """
    from safetensors import safe_open

    path, found = Path(directory), {}
    for name in describe(path)["weights"]:
        with (
            reading(path / name, _KIND, _AGAIN),
            safe_open(str(path / name), framework="pt") as tensors,
        ):
            found |= {key: tuple(tensors.get_slice(key).get_shape()) for key in tensors.keys()}
    return found


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
    return _read_files([path]), {path.name: sha256(path)}


def split(weights: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The weights of the network of a model, and those of the codec of its domain."""
    codec = {n.removeprefix(LATENTS): v for n, v in weights.items() if n.startswith(LATENTS)}
    return {n: v for n, v in weights.items() if not n.startswith(LATENTS)}, codec


def write_tensors(
    tensors: Mapping[str, Tensor], file: Path, metadata: Mapping[str, str] | None = None
) -> None:
    """Write a `.safetensors` file that those may read who may read its folder's other files.

    The library writes files that only their owner may read, whatever the umask says.
    """
    from safetensors.torch import save_file

    file.touch()
    mode = file.stat().st_mode
    save_file(dict(tensors), file, metadata=dict(metadata or {}))
    file.chmod(mode)


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


@contextmanager
def sized_like(
    weights: Mapping[str, Tensor], arguments: object = None, where: str = "net"
) -> Iterator[None]:
    """Refuse a network that grows far beyond its weights, while it is built in this block.

    The sizes of a network are numbers of a text file. A wrong one would take all memory, or for
    ever, before its weights turn out not to fit; parameters are counted as modules take them, and
    none of them is filled before.

    Args:
        weights: What the network is built for.
        arguments: Plain values that it is built from.
        where: What they were read from, for messages.

    Raises:
        InputError: An argument is larger than any size of it can be, or it has far more
            parameters, or parts, than that.
    """
    from torch.nn.modules import module as hooks

    numbers = sum(value.numel() for value in weights.values())
    fault = (
        f"a network far larger than its weights, which hold {numbers:,} numbers; restore its "
        "sizes, or copy the model again"
    )
    if _largest(arguments) > 10**8 + numbers:  # where even a list of that length is too long
        raise InputError(f"{where}: {fault}")
    # Modules may be made and thrown away, and may tie or replace what they have registered.
    room = {"numbers": 3 * numbers + 10**6, "parts": 20 * len(weights) + 10_000}

    def count(owner: nn.Module, name: str, added: Tensor | nn.Module | None) -> None:
        room["parts"] -= 1
        room["numbers"] -= added.numel() if isinstance(added, Tensor) else 0
        if min(room.values()) < 0:
            raise InputError(fault)

    handles = [
        hooks.register_module_parameter_registration_hook(count),
        hooks.register_module_module_registration_hook(count),
        hooks.register_module_buffer_registration_hook(count),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _largest(plain: object) -> int:
    """The largest whole number of plain values."""
    if isinstance(plain, int):
        return abs(plain)
    if isinstance(plain, Mapping):
        plain = list(plain.values())
    return max(map(_largest, plain), default=0) if isinstance(plain, list) else 0


def _read_files(files: Sequence[Path]) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    weights: dict[str, Tensor] = {}
    for file in files:
        with reading(regular(file), _KIND, _AGAIN):
            weights |= load_file(file)
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
    meta = read_json(file, _AGAIN)
    if not isinstance(meta, dict) or "format" not in meta:
        raise InputError(f"{file}: damaged, holds no format number; {_AGAIN}")
    if meta["format"] != FORMAT:
        versions = meta.get("versions")
        wrote = versions.get("sciddiff") if isinstance(versions, dict) else None
        raise InputError(
            f"{path}: model format {meta['format']} is unknown, this sciddiff reads format "
            f"{FORMAT}; it was written by sciddiff {wrote or 'of an unknown version'}: "
            "pip install --upgrade sciddiff"
        )
    # Those that were written before version 0.1 have no such checksum.
    if _OWN in meta and meta[_OWN] != sealed(meta)[_OWN]:
        raise InputError(
            f"{file}: damaged, {_OWN} is not the checksum of its entries; {_AGAIN}, or if you "
            f"edited it: python -c \"import sciddiff.weights as w; w.seal('{path}')\""
        )
    _check_files(file, meta)
    return meta


def _check_files(file: Path, meta: Mapping[str, Any]) -> None:
    """Refuse a `meta.json` that does not tell the checksum of every file that is read."""
    hashes, weights = meta.get("sha256"), meta.get("weights")
    if not isinstance(hashes, dict) or not isinstance(weights, list) or not weights:
        raise InputError(f"{file}: damaged, sha256 and weights are not there; {_AGAIN}")
    for name in (*hashes, *weights):
        # A name with a folder in it would read, or tell the checksum of, files elsewhere.
        if not isinstance(name, str) or Path(name).name != name:
            raise InputError(f"{file}: names {name!r}, which is no file of the model; {_AGAIN}")
    for name in (CONFIG, *weights):
        if not isinstance(hashes.get(name), str):
            raise InputError(f"{file}: sha256 of {name} is missing; {_AGAIN}")


def sha256(path: Path) -> str:
    """The checksum of a file, in hexadecimal.

    Raises:
        InputError: It cannot be read, or is not a regular file.
    """
    with reading(path), regular(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def clean_name(name: str) -> str:
    """The name of a parameter without the prefixes of `torch.compile`."""
    return name.replace("_orig_mod.", "")
