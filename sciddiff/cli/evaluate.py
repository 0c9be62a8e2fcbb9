"""``sciddiff evaluate DIR``: hand a folder of samples to its domain's evaluator."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sciddiff.cli.command import Command
from sciddiff.cli.options import add_json, key_values
from sciddiff.cli.output import as_table, emit, remark_left_out
from sciddiff.errors import InputError

if TYPE_CHECKING:
    from sciddiff.domains import Domain

__all__ = ["command"]

_OWN = "own:"


def _configure(parser: ArgumentParser) -> None:
    parser.add_argument(
        "directory",
        type=Path,
        help="folder of samples to measure, or a table of them if the domain reads tables",
    )
    whose = parser.add_mutually_exclusive_group()
    whose.add_argument("--domain", metavar="NAME", help="the domain that measures them")
    whose.add_argument(
        "--model", metavar="NAME_OR_DIR", help="measure by the domain of this model"
    )
    parser.add_argument("--reference", type=Path, help="set of references to measure them beside")
    parser.add_argument(
        "-o",
        "--out",
        type=Path,
        metavar="FILE",
        help="also write the figures to this file, as JSON, with what they are of",
    )
    parser.add_argument(
        "--report",
        type=Path,
        metavar="DIR",
        help="write tables and plots to this folder, if the domain makes them",
    )
    parser.add_argument(
        "--set",
        dest="options",
        nargs="+",
        action="extend",
        default=[],
        metavar="K=V",
        help="choose what is measured, in the words of the domain",
    )
    _add_own_options(parser)
    add_json(parser)


def _add_own_options(parser: ArgumentParser) -> None:
    """Add what domains declare; two domains may share an option."""
    from sciddiff.domains import domain_options

    seen: set[str] = set()
    for domain, options in domain_options().items():
        group = parser.add_argument_group(f"options of the domain {domain}")
        for option in options:
            if option.name not in seen:
                group.add_argument(
                    f"--{option.name}", dest=_OWN + option.name, metavar=option.metavar,
                    help=option.help,
                )  # fmt: skip
            seen.add(option.name)


def _own_options(args: Namespace) -> dict[str, str]:
    """Options of domains that were given, by their names without dashes at the beginning."""
    return {
        name.removeprefix(_OWN): value
        for name, value in vars(args).items()
        if name.startswith(_OWN) and value is not None
    }


def _domain(args: Namespace, own: Mapping[str, str]) -> Domain:
    from sciddiff.domains import domain_names, domain_options, get_domain

    if args.model is not None:
        from sciddiff.checkpoint import load
        from sciddiff.shipped import find_model

        return load(find_model(args.model)).domain
    names = domain_names()
    if args.domain is None and own:
        # The options say whose they are.
        known = {name: {o.name for o in options} for name, options in domain_options().items()}
        names = [name for name in names if own.keys() <= known.get(name, set())] or names
    if args.domain is None and len(names) != 1:
        known = ", ".join(names) or "(none installed)"
        raise InputError(f"--domain: it is not given; name the domain that measures: {known}")
    return get_domain(args.domain or names[0])()


def _flat(data: Mapping[str, Any], head: str = "") -> Iterator[tuple[str, str]]:
    for key, value in data.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{head}{key}.")
        else:
            yield f"{head}{key}", f"{value:.4g}" if isinstance(value, float) else str(value)


def _record(args: Namespace, options: Mapping[str, Any], domain: str) -> dict[str, Any]:
    """What the figures are of, as `run.json` tells it of other results.

    Figures are measured anew by every call, so that a file of them replaces the one before.
    """
    from sciddiff.cli.campaign import machine_facts
    from sciddiff.cli.fingerprint import Inputs
    from sciddiff.domains import domain_options

    inputs = Inputs().add("directory", args.directory)
    if args.reference is not None:
        inputs.add("--reference", args.reference)
    for option in domain_options().get(domain, ()):
        given = options.get(option.name.replace("-", "_"))
        if option.reads and given is not None:
            inputs.add(f"--{option.name}", Path(str(given)))
    named = domain if args.model is None else args.domain
    request = {"domain": named, "model": args.model, **options}
    told = {"request": request, "inputs": inputs.entries, "command": args.command_line}
    return {**told, **machine_facts()}


def _run(args: Namespace) -> None:
    for path in (args.directory, args.reference):
        if path is not None and not path.exists():
            raise InputError(f"{path}: no such file or folder; check the path")
    options, own = key_values(args.options, "--set"), _own_options(args)
    for name, value in own.items():
        if options.setdefault(name.replace("-", "_"), value) is not value:
            raise InputError(f"--{name}: given by --set too; keep one")
    domain = _domain(args, own)
    measured = domain.assess(args.directory, args.reference, args.report, options)
    remark_left_out(args.directory, measured.get("left_out", {}))
    if args.out is not None:
        written = {**measured, "record": _record(args, options, domain.name)}
        args.out.write_text(json.dumps(written, indent=2, default=str) + "\n", encoding="utf-8")
    text = domain.describe(measured)
    if text is None:
        text = as_table(("measure", "value"), list(_flat(measured)))
    emit(args, measured, text)


command = Command(
    name="evaluate",
    help="Measure a folder of samples, and show the figures beside those of references.",
    configure=_configure,
    run=_run,
    example="sciddiff evaluate designs/ --domain backbone\n"
    "  sciddiff evaluate designs/ --domain backbone --reference data/chains.npz -o figures.json\n"
    "  sciddiff evaluate designs/ --refolded colabfold/\n"
    "  sciddiff evaluate poses/ --domain dock --reference complexes/ --report evaluation/\n"
    "  sciddiff evaluate poses/ --domain dock --reference complexes/ --set check=0\n"
    "  sciddiff evaluate states/ --domain forecast --reference data/era5.zarr",
)
