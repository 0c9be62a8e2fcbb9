"""``sciddiff likelihood``: log-density of a domain's held-out data under a model."""

from __future__ import annotations

import csv
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
from sciddiff.names import cell

if TYPE_CHECKING:
    from sciddiff.checkpoint import Model
    from sciddiff.domains import Domain
    from sciddiff.state import Batch

__all__ = ["command"]


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
    return build_parts(plain)[0]


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
    from sciddiff.likelihood import log_prob
    from sciddiff.shipped import find_model

    device = pick_device(args.device)
    model = load(find_model(args.model), device)
    rows: list[tuple[str, float]] = []
    with progress("samples", args.number, show=not args.json) as bar:
        for batch in _first(_held_out(model, args.set), args.number):
            batch = batch.to(device)
            indices = torch.arange(len(rows), len(rows) + batch.size)
            values = log_prob(
                model.denoiser,
                batch,
                exact=args.exact,
                probes=args.probes,
                steps=args.steps,
                seed=args.seed,
                indices=indices,
            )
            ids = batch.ids or tuple(str(i) for i in indices.tolist())
            rows += zip(ids, values.tolist(), strict=True)
            bar.advance(batch.size)
    if not rows:
        raise InputError("the domain found no held-out data; say where they are with --set")
    if args.out is not None:
        with args.out.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("id", "log_prob"), *((cell(i), v) for i, v in rows)])
    mean = sum(value for _, value in rows) / len(rows)
    data = {"samples": len(rows), "mean_log_prob": mean, "unit": "nats", "log_prob": dict(rows)}
    emit(args, data, f"{len(rows)} samples, mean log-density {mean:.4f} nats")


command = Command(
    name="likelihood",
    help="Compute the log-density of a domain's held-out data under a model, in nats.",
    configure=_configure,
    run=_run,
    example="sciddiff likelihood --model models/mixture -n 64 --exact",
)
