"""Trained models as directories: written by `save` and `export`, read by `load`.

A model is a directory that needs nothing but torch and safetensors to be read, and runs no code
that came with it::

    config.yaml         the experiment, from which domain and network are built, and the path
    model.safetensors   weights (or shards `model-00001-of-00003.safetensors`)
    meta.json           format number, versions, data, command, seed, metrics, sha256 of the files
                        and of its own entries

`load` verifies every checksum.  Weights may be stored in bfloat16 (half the size); they are
computed with in the network's own type.  Checkpoints to *resume* are another thing: see
`sciddiff.training.control`.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, final

import torch
from torch import Tensor

from sciddiff.errors import InputError
from sciddiff.grids import uniform
from sciddiff.path_record import check_path, describe_path
from sciddiff.samplers import FlowMap
from sciddiff.shipped import find_model
from sciddiff.trust import Trust
from sciddiff.weights import (
    CONFIG,
    FORMAT,
    META,
    Recommended,
    clean_name,
    describe,
    fill,
    read,
    sealed,
    sha256,
    sized_like,
    split,
    write_tensors,
)

if TYPE_CHECKING:
    from sciddiff.denoiser import Denoiser
    from sciddiff.domains import Domain
    from sciddiff.drawing import Drawing
    from sciddiff.paths import ProductPath
    from sciddiff.samplers import Sampler

__all__ = ["FORMAT", "META", "Model", "describe", "export", "load", "save"]

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

    @property
    def drawing(self) -> Drawing:
        """How samples are drawn by default: as the domain says, and as the network was trained."""
        drawing = self.domain.drawing()
        best = Recommended.of(self.meta)
        steps = best.steps
        if steps is not None and steps != len(drawing.grid) - 1:
            drawing = replace(drawing, grid=uniform(steps))
        if best.flow_map:
            # Its jumps did not learn to see what an earlier one predicted.
            return replace(drawing, sampler=FlowMap(), self_condition=False)
        if drawing.self_condition is not None:
            return drawing
        learned: Any = self.config.get("objective")
        for key in ("init_args", "self_conditioning"):
            learned = learned.get(key) if isinstance(learned, Mapping) else None
        if not isinstance(learned, (int, float)):
            learned = getattr(self.domain.objective(), "self_conditioning", 0.0)
        return replace(drawing, self_condition=learned > 0)

    def sample(
        self,
        n: int = 1,
        *,
        seed: int = 0,
        sampler: Sampler | None = None,
        grid: Tensor | None = None,
        **request: Any,
    ) -> list[Any]:
        """Draw samples, as ``sciddiff sample`` and the domain's own verb do.

        Args:
            n: Number of samples.
            seed: Seed of every draw; the same seed gives the same samples.
            sampler: How to step; None takes the default of `drawing`.
            grid: Times from 0 to 1, see `sciddiff.grids`; None takes the default.
            request: What to draw, in the words of the domain, such as ``length="60-80"``.

        Returns:
            The samples in the order of the templates, as `Domain.results` makes them: what people
            of the field work with, or states.

        Raises:
            InputError: The domain cannot meet the request.
        """
        from sciddiff.drawing import draw

        drawing = self.drawing
        drawing = replace(
            drawing,
            sampler=drawing.sampler if sampler is None else sampler,
            grid=drawing.grid if grid is None else grid,
        )
        results: list[Any] = []
        for batch in self.domain.templates(n, seed, request):
            drawn = draw(self.denoiser, batch, drawing, seed, first=len(results))
            x = {name: leaf.cpu() for name, leaf in drawn.items()}
            results += self.domain.results(batch, x)
        return results


def save(
    directory: str | os.PathLike[str],
    weights: Mapping[str, Tensor],
    plain: Mapping[str, Any],
    *,
    path: ProductPath | None = None,
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
        path: Path that the network was trained for: `config.yaml` records it, and `load` refuses
            another. None for a network whose outputs no path interprets.
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
        record = {} if path is None else {configs.PATH: describe_path(path)}
        configs.to_yaml({**plain, **record}, partial / CONFIG)
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
            "sha256": {name: sha256(partial / name) for name in (CONFIG, *files)},
        }
        text = json.dumps(sealed(meta), indent=2) + "\n"
        (partial / META).write_text(text, encoding="utf-8")
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


def load(
    directory: str | os.PathLike[str],
    device: str | torch.device = "cpu",
    trust: Iterable[str] = (),
    domain: str | None = None,
    latents: bool = False,
) -> Model:
    """Read a model; Lightning is not needed.

    A model names the classes of its domain and its network. They are taken from this package, from
    packages that registered a plug-in, and from those in `trust`; nothing else is imported.

    Args:
        directory: A directory written by `save` or `export`, or the name of weights that ship, as
            ``sciddiff models`` lists them.
        device: Where to put the network.
        trust: Names of further packages whose classes the model may run.
        domain: Name of the only domain whose models will do; None takes any.
        latents: Whether models of that domain that draw latents will do, too.

    Returns:
        The model, in evaluation mode, its parameters frozen.

    Raises:
        InputError: No model there, an unknown format, a damaged file, a domain or network that is
            not trusted or cannot be imported, weights that do not fit the network, a path that is
            not the one they were trained for, or a model of another domain.

    >>> import sciddiff
    >>> sciddiff.load("somewhere/else")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    sciddiff.errors.InputError: model somewhere/else: neither shipped nor a folder; ...
    """
    from sciddiff import config as configs
    from sciddiff.denoiser import Denoiser

    path = find_model(os.fspath(directory))
    meta = describe(path)
    plain = configs.from_yaml(path / CONFIG)
    weights, _ = read(path)
    with sized_like(weights, plain.get("net"), f"{path / CONFIG}: net"):
        made, net = configs.build_parts(plain, Trust.of(trust), str(path / CONFIG))
    if domain is not None and made.name != domain:
        raise InputError(
            f"{directory}: is a model of the domain {made.name}, and one of {domain} is needed; "
            "list models with: sciddiff models"
        )
    carrier = made.latents()
    if domain is not None and carrier is not None and not latents:
        raise InputError(
            f"{directory}: draws latents, and a model that draws {domain} data itself is needed; "
            "draw from it with: sciddiff sample"
        )
    if carrier is not None:
        weights, codec = split(weights)
        carrier.restore(codec, str(path))
    try:
        fill(net, weights)
    except InputError as error:
        raise InputError(
            f"{path}: the weights do not fit {meta.get('net')} ({error}); install the version of "
            f"its package that wrote them: {meta.get('versions')}"
        ) from error
    travel = made.path()
    if configs.PATH in plain:
        check_path(plain[configs.PATH], travel, str(path / CONFIG))
    net.eval().requires_grad_(False).to(device)
    return Model(Denoiser(net, travel).eval(), made, plain, meta)


def export(
    run: str | os.PathLike[str],
    out: str | os.PathLike[str],
    ema: float | None = 0.10,
    *,
    dtype: Dtype | None = None,
    shard_bytes: int = _SHARD_BYTES,
    metrics: Mapping[str, Any] | None = None,
    command: str = "",
    trust: Iterable[str] = (),
    extra: Mapping[str, Any] | None = None,
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
        trust: Names of further packages whose classes the run may use; see `load`.
        extra: Further entries of `meta.json`.

    Raises:
        InputError: The run holds no checkpoint, or one of an untrusted package, or the width
            cannot be had.
    """
    from sciddiff import config as configs
    from sciddiff.training.runs import LAST, harvest

    found = harvest(Path(run), ema)
    last = str(Path(run) / LAST)
    with sized_like(found.weights, found.plain.get("net"), f"{last}: net"):
        domain, _ = configs.build_parts(found.plain, Trust.of(trust), last)
    return save(
        out,
        found.weights,
        found.plain,
        path=domain.path(),
        dtype=dtype,
        shard_bytes=shard_bytes,
        data=domain.provenance(),
        command=command,
        metrics=found.metrics if metrics is None else metrics,
        extra={"step": found.step, "samples": found.samples, "ema": ema}
        | ({} if found.origin is None else {"init_from": found.origin})
        | dict(extra or {}),
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
        result[clean_name(name)] = value.clone(memory_format=torch.contiguous_format)
    return result


def _write_weights(directory: Path, weights: dict[str, Tensor], limit: int) -> list[str]:
    """Write one file, or shards of at most `limit` bytes; return their names."""
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
        write_tensors(shard, directory / name, {"format": "pt"})
    return names


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "torch": torch.__version__}
    try:
        found["sciddiff"] = version("sciddiff")
    except PackageNotFoundError:  # run from a source tree that is not installed
        found["sciddiff"] = "source"
    return found
