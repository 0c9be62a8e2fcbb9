"""`sciddiff codesign`: draw protein structures together with their sequences."""

from __future__ import annotations

import argparse

from protein.codesign import NEEDS
from protein.commands.backbone import STEPS, add_making, add_sampling, deliver
from sciddiff.cli.command import Command
from sciddiff.cli.options import add_output, count, number, pick_steps

_LENGTHS = "60-128"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    add = parser.add_argument
    add_output(parser, "proteins")
    add("-n", "--number", type=count(), default=1, metavar="N", help="number (default 1)")
    add("--length", default=_LENGTHS, metavar="L", help='residues, "100" or "60-128" (default)')
    add(
        "--fold",
        choices=("any", "alpha", "beta", "mixed", "none"),
        default="any",
        help="fold class; with any, every protein draws one as natives have them (default any)",
    )
    add(
        "--fold-weight",
        type=number(0.0, 20.0),
        default=1.0,
        metavar="W",
        help="how strongly the fold class steers; above 1 it is strengthened by guidance, which "
        "takes more network calls (default 1)",
    )
    how = add_sampling(parser)
    add_model(how)
    how.add_argument(
        "--sequence-temperature",
        type=number(0.0, 2.0),
        default=0.5,
        metavar="T",
        help="temperature of the residues; lower gives more probable and less varied sequences "
        "(default 0.5)",
    )
    add_making(parser)


def add_model(group: argparse._ArgumentGroup) -> None:
    """Add the option that names a model of frames and residues."""
    group.add_argument(
        "--model",
        default="codesign_lite",
        help="shipped weights or a model's folder (default codesign_lite)",
    )


def run(args: argparse.Namespace) -> int:
    """Draw the proteins, measure them, and write the report.

    Returns:
        The exit status: 1 if some proteins failed, 2 if all did.

    Raises:
        InputError: an option that cannot be used.
    """
    from protein.backbone.modes.folds import NewFolds
    from protein.backbone.request import GenerationRequest, parse_lengths
    from protein.codesign.generate import CodesignSettings
    from protein.codesign.request import codesign_templates

    settings = CodesignSettings(
        steps=pick_steps(args.steps, None if args.plan else args.model, STEPS),
        sampler=args.sampler or "sde",
        temperature=args.temperature,
        fold_weight=args.fold_weight,
        seed=args.seed,
        sequence_temperature=args.sequence_temperature,
    )
    request = GenerationRequest(parse_lengths(args.length), args.number, args.fold, args.seed)
    mode = NewFolds(request, "codesign", codesign_templates)
    return deliver(args, mode, settings, "codesign", "Designed proteins")


command = Command(
    "codesign",
    "design protein structures together with their sequences",
    configure,
    run,
    example="sciddiff codesign --length 60-128 -n 20 -o proteins/",
    needs=NEEDS,
)
