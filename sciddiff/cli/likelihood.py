"""``sciddiff likelihood``: log-density, or a bound, of held-out data under a model."""

from __future__ import annotations

import csv
import io
import math
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sciddiff.cli.command import Command
from sciddiff.cli.options import add_device, add_json, add_seed, count, key_values, pick_device
from sciddiff.cli.output import emit
from sciddiff.cli.progress import progress
from sciddiff.errors import InputError
from sciddiff.files import replacing
from sciddiff.names import cell

if TYPE_CHECKING:
    from torch import Tensor

    from sciddiff.checkpoint import Model
    from sciddiff.domains import Domain
    from sciddiff.state import Batch

__all__ = ["command"]

_EXPORT = "; export the model again"  # no remedy for what the user has set


def _configure(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--model", required=True, metavar="NAME_OR_DIR", help="the model whose density is computed"
    )
    parser.add_argument(
        "-n", "--number", type=count(), default=16, help="number of samples (default 16)"
    )
    parser.add_argument(
        "--steps", type=count(), default=64, help="steps of the integrator (default 64)"
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--exact",
        action="store_true",
        help="compute the exact divergence, which takes long for large states",
    )
    how.add_argument(
        "--probes",
        type=count(),
        default=1,
        help="number of random probes that estimate the divergence (default 1)",
    )
    parser.add_argument(
        "--draws",
        type=count(),
        metavar="N",
        help="number of draws of the bound, for models of tokens (default 64)",
    )
    parser.add_argument(
        "--estimator",
        choices=["time", "count", "rotated"],
        help="how the bound is estimated, for models of tokens (default: rotated for one masked "
        "leaf, otherwise time)",
    )
    parser.add_argument(
        "--orders",
        type=count(),
        metavar="K",
        help="for models of masked tokens, average exact log-probabilities in K random orders "
        "instead of estimating the bound",
    )
    parser.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="K=V",
        help="set arguments of the domain, such as the place of the data on this machine",
    )
    parser.add_argument(
        "-o",
        "--out",
        type=Path,
        metavar="FILE",
        help="also write the log-density of every sample to this CSV file",
    )
    add_seed(parser)
    add_device(parser)
    add_json(parser)


def _held_out(model: Model, changes: list[str]) -> Domain:
    """The model's domain, with some of its arguments changed (dotted keys reach inside)."""
    from sciddiff.config import build_parts

    if not changes:
        return model.domain
    plain: dict[str, Any] = deepcopy(dict(model.config))
    for key, value in key_values(changes, "--set").items():
        place = plain["domain"].setdefault("init_args", {})
        *inner, last = key.split(".")
        for name in inner:
            place = place.setdefault(name, {})
        place[last] = value
    try:
        return build_parts(plain)[0]
    except InputError as error:
        said = str(error).removesuffix(_EXPORT).removeprefix("config.yaml: domain.init_args.")
        raise InputError(f"--set {said}") from error


def _first(domain: Domain, number: int) -> Iterator[Batch]:
    """Held-out batches, cut so that they hold `number` samples in all."""
    import torch

    for batch in domain.val_batches():
        if number <= 0:
            return
        yield batch if batch.size <= number else batch.select(torch.arange(number))
        number -= batch.size


def _run(args: Namespace) -> None:
    import torch

    from sciddiff.checkpoint import load
    from sciddiff.shipped import find_model

    device = pick_device(args.device)
    model = load(find_model(args.model), device)
    if model.domain.latents() is not None:
        raise InputError(
            f"{args.model}: draws latents, whose probability is not that of the data; use a model "
            "of the data themselves"
        )
    jumps = any(path.manifold is None for path in model.denoiser.path.paths.values())
    _check(args, jumps)
    if args.out is not None and args.out.is_dir():
        raise InputError(f"--out {args.out}: is a folder; give a file")
    rows: list[tuple[str, float, float]] = []
    with progress("samples", args.number, show=not args.json) as bar:
        for batch in _first(_held_out(model, args.set), args.number):
            batch = batch.to(device)
            indices = torch.arange(len(rows), len(rows) + batch.size)
            values, errors = (_bound if jumps else _density)(args, model, batch, indices)
            ids = batch.ids or tuple(str(i) for i in indices.tolist())
            rows += zip(ids, values.tolist(), errors.tolist(), strict=True)
            bar.advance(batch.size)
    if not rows:
        raise InputError("the domain found no held-out data; say where they are with --set")
    columns = ("id", "log_prob", "standard_error") if jumps else ("id", "log_prob")
    if args.out is not None:
        table = [(cell(name), *numbers)[: len(columns)] for name, *numbers in rows]
        text = io.StringIO(newline="")
        csv.writer(text).writerows([columns, *table])
        with replacing(args.out) as file:
            file.write(text.getvalue().encode())
    mean = sum(value for _, value, _ in rows) / len(rows)
    data: dict[str, Any] = {
        "samples": len(rows), "mean_log_prob": mean, "unit": "nats",
        "log_prob": {name: value for name, value, _ in rows},
    }  # fmt: skip
    if not jumps:
        emit(args, data, f"{len(rows)} samples, mean log-density {mean:.4f} nats")
        return
    error = math.sqrt(sum(error**2 for *_, error in rows)) / len(rows)
    kind = "exact in an order" if args.orders else "bound"
    data |= {"kind": kind, "standard_error": error}
    emit(
        args, data,
        f"{len(rows)} samples, mean log-probability ({kind}) {mean:.4f} +- {error:.4f} nats",
    )  # fmt: skip


def _check(args: Namespace, jumps: bool) -> None:
    """Refuse options that a kind of model has no use for.

    Raises:
        InputError: The option, and what to do.
    """
    if jumps and args.exact:
        raise InputError("--exact: tokens have no density; use --orders for exact values")
    named = [name for name in ("draws", "estimator", "orders") if getattr(args, name) is not None]
    if named and not jumps:
        raise InputError(f"--{named[0]}: the model has a density, not a bound; leave it out")
    if args.orders is not None and (args.draws is not None or args.estimator is not None):
        raise InputError("--orders: takes the place of the bound; leave out --draws, --estimator")


def _density(
    args: Namespace, model: Model, batch: Batch, indices: Tensor
) -> tuple[Tensor, Tensor]:
    """Log-density of each sample, ``[B]``, and no error."""
    from sciddiff.likelihood import log_prob

    values = log_prob(
        model.denoiser, batch, exact=args.exact, probes=args.probes, steps=args.steps,
        seed=args.seed, indices=indices,
    )  # fmt: skip
    return values, values.new_zeros(len(values))


def _bound(args: Namespace, model: Model, batch: Batch, indices: Tensor) -> tuple[Tensor, Tensor]:
    """A bound of the log-probability of each sample or its mean over orders, and the error."""
    from sciddiff.likelihood import elbo, order_log_prob

    if args.orders is not None:
        scores = order_log_prob(
            model.denoiser, batch, orders=args.orders, seed=args.seed, indices=indices
        )
        return scores.mean, scores.error.nan_to_num(0.0)
    paths = model.denoiser.path.paths
    masked = len(paths) == 1 and all(one.hidden(batch.x[name]) is not None
                                     for name, one in paths.items())  # fmt: skip
    estimator = args.estimator or ("rotated" if masked else "time")
    return elbo(
        model.denoiser, batch, draws=args.draws or 64, estimator=estimator, seed=args.seed,
        indices=indices,
    )  # fmt: skip


command = Command(
    name="likelihood",
    help="Compute the log-density of held-out data under a model, or a bound of it, in nats.",
    configure=_configure,
    run=_run,
    example="sciddiff likelihood --model models/mixture -n 64 --exact",
)
