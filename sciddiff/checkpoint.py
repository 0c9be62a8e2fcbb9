"""Trained models as directories: written by `save` and `export`, read by `load`.

A model is a directory that needs nothing but torch and safetensors to be read, and runs no code
that came with it::

    config.yaml         the experiment; domain and network are built from it
    model.safetensors   weights (or shards `model-00001-of-00003.safetensors`)
    meta.json           format number, versions, data, command, seed, metrics, sha256 of the files

`load` verifies every checksum.  Weights may be stored in bfloat16 (half the size); they are
computed with in the network's own type.  Checkpoints to *resume* are another thing: see
`sciddiff.training.control`.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, final

import torch
from torch import Tensor

from sciddiff.errors import InputError

if TYPE_CHECKING:
    from sciddiff.denoiser import Denoiser
    from sciddiff.domains import Domain

__all__ = ["FORMAT", "Model", "describe", "export", "load", "save"]

FORMAT = 1
"""Number of the layout written; `load` refuses any other."""

CONFIG, META = "config.yaml", "meta.json"
_SHARD_BYTES = 15 * 2**20
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "bf16": torch.bfloat16}

Dtype = Literal["float32", "bfloat16", "bf16"]


@final
@dataclass(frozen=True)
class Model:
    """A trained model, ready to sample.

    Attributes:
        denoiser: Network and path, in evaluation mode.
        domain: Requests, writer and evaluator.
        config: Plain form of the experiment it was trained by.
        meta: Content of `meta.json`.
    """

    denoiser: Denoiser
    domain: Domain
    config: Mapping[str, Any]
    meta: Mapping[str, Any]


def save(
    directory: str | os.PathLike[str],
    weights: Mapping[str, Tensor],
    plain: Mapping[str, Any],
    *,
    dtype: Dtype | None = None,
    shard_bytes: int = _SHARD_BYTES,
    data: Mapping[str, Any] | None = None,
    command: str = "",
    metrics: Mapping[str, Any] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Path:
    """Write a model directory.

    The directory appears whole or not at all: it is written beside and then renamed.

    Args:
        directory: Directory to make; an older model there is replaced.
        weights: State dict of the network; prefixes of `torch.compile` are taken off.
        plain: Plain form of the experiment (`sciddiff.config.read`).
        dtype: Type to store floating weights in; None keeps theirs.
        shard_bytes: Largest file of weights; a single tensor above it has its own file.
        data: What it was trained on.
        command: Command that trained it.
        metrics: Numbers worth keeping with it.
        extra: Further entries of `meta.json`.

    Raises:
        InputError: The directory cannot be written, or holds something else than a model.
    """
    from sciddiff import config as configs

    target = Path(directory)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        if not (target / META).exists():
            raise InputError(f"{target}: exists and is not a model; choose another directory")
    partial = target.with_name(f".{target.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        configs.to_yaml(plain, partial / CONFIG)
        files = _write_weights(partial, _stored(weights, dtype), shard_bytes)
        meta = {
            "format": FORMAT,
            "versions": _versions(),
            "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "domain": plain["domain"]["class_path"],
            "net": plain["net"]["class_path"],
            "parameters": sum(v.numel() for v in weights.values()),
            "dtype": dtype or "as trained",
            "seed": plain.get("seed"),
            "command": command,
            "data": dict(data or {}),
            "metrics": dict(metrics or {}),
            **(extra or {}),
            "weights": files,
            "sha256": {name: _sha256(partial / name) for name in (CONFIG, *files)},
        }
        (partial / META).write_text(json.dumps(meta, indent=2) + "\n", encoding="utf-8")
        if target.exists():
            shutil.rmtree(target)
        os.replace(partial, target)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise InputError(
            f"{target}: cannot be written ({error.strerror or error}); free some space or choose "
            "another directory"
        ) from error
    return target


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
        if _sha256(file) != expected:
            raise InputError(
                f"{file}: damaged, its sha256 is not the one in {META}; copy the model again"
            )
    return meta


def load(directory: str | os.PathLike[str], device: str | torch.device = "cpu") -> Model:
    """Read a model directory; Lightning is not needed.

    Args:
        directory: Written by `save` or `export`.
        device: Where to put the network.

    Returns:
        The model, in evaluation mode, its parameters frozen.

    Raises:
        InputError: No model there, an unknown format, a damaged file, a domain or network that
            cannot be imported, or weights that do not fit the network.
    """
    from sciddiff import config as configs
    from sciddiff.denoiser import Denoiser

    path = Path(directory)
    meta = describe(path)
    plain = configs.from_yaml(path / CONFIG)
    domain, net = configs.build_parts(plain)
    weights = _read_weights(path, meta["weights"])
    try:
        net.load_state_dict(weights)  # copies into the network's own type
    except RuntimeError as error:
        text = " ".join(str(error).split())
        raise InputError(
            f"{path}: the weights do not fit {meta.get('net')} ({text}); install the version of "
            f"its package that wrote them: {meta.get('versions')}"
        ) from error
    net.eval().requires_grad_(False).to(device)
    return Model(Denoiser(net, domain.path()).eval(), domain, plain, meta)


def export(
    run: str | os.PathLike[str],
    out: str | os.PathLike[str],
    ema: float | None = 0.10,
    *,
    dtype: Dtype | None = None,
    shard_bytes: int = _SHARD_BYTES,
    metrics: Mapping[str, Any] | None = None,
    command: str = "",
) -> Path:
    """Turn a training run into a model directory.

    Args:
        run: Directory of the run.
        out: Directory of the model.
        ema: Width sigma_rel of the average to take: one that was tracked, or any other if the run
            kept snapshots; None for the weights as they stand.
        dtype: Type to store weights in.
        shard_bytes: Largest file of weights.
        metrics: Numbers to keep; None takes the last row of the run's own.
        command: Command that trained it.

    Raises:
        InputError: The run holds no checkpoint, or the width cannot be had.
    """
    from sciddiff import config as configs
    from sciddiff.training.runs import harvest

    found = harvest(Path(run), ema)
    domain, _ = configs.build_parts(found.plain)
    return save(
        out,
        found.weights,
        found.plain,
        dtype=dtype,
        shard_bytes=shard_bytes,
        data=domain.provenance(),
        command=command,
        metrics=found.metrics if metrics is None else metrics,
        extra={"step": found.step, "samples": found.samples, "ema": ema},
    )


def _stored(weights: Mapping[str, Tensor], dtype: Dtype | None) -> dict[str, Tensor]:
    """Contiguous copies on the CPU, floating ones in the type asked for."""
    if dtype is not None and dtype not in _DTYPES:
        raise InputError(f"dtype: {dtype!r} is unknown; choose float32 or bfloat16")
    kind = None if dtype is None else _DTYPES[dtype]
    result = {}
    for name, value in weights.items():
        value = value.detach().to("cpu", kind if value.is_floating_point() else None)
        # Cloned: tensors that share memory (tied weights) cannot be written.
        result[_clean(name)] = value.clone(memory_format=torch.contiguous_format)
    return result


def _write_weights(directory: Path, weights: dict[str, Tensor], limit: int) -> list[str]:
    """Write one file, or shards of at most `limit` bytes; return their names."""
    from safetensors.torch import save_file

    shards: list[dict[str, Tensor]] = [{}]
    room = limit
    for name, value in weights.items():
        if shards[-1] and value.nbytes > room:
            shards.append({})
            room = limit
        shards[-1][name] = value
        room -= value.nbytes
    count = len(shards)
    names = (
        ["model.safetensors"]
        if count == 1
        else [f"model-{i + 1:05d}-of-{count:05d}.safetensors" for i in range(count)]
    )
    for name, shard in zip(names, shards, strict=True):
        save_file(shard, directory / name, metadata={"format": "pt"})
    return names


def _read_weights(directory: Path, names: Sequence[str]) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    weights: dict[str, Tensor] = {}
    for name in names:
        weights |= load_file(directory / name)
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


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "torch": torch.__version__}
    try:
        found["sciddiff"] = version("sciddiff")
    except PackageNotFoundError:  # run from a source tree that is not installed
        found["sciddiff"] = "source"
    return found


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _clean(name: str) -> str:
    return name.replace("_orig_mod.", "")
