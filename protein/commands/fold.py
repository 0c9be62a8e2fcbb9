"""`sciddiff fold`: structures for sequences, as a demonstration."""

from __future__ import annotations

import argparse
from pathlib import Path

from protein.codesign import NEEDS
from protein.commands.backbone import STEPS, add_making, add_sampling, deliver
from protein.commands.codesign import add_model
from sciddiff.cli.command import Command
from sciddiff.cli.options import add_output, count, pick_steps

_NOTE = """\
This is a demonstration of one model that answers three questions, not a structure predictor: it
learned from some thousand domains without alignments or a language model of proteins. For
structures to rely on use AlphaFold, ColabFold, ESMFold, Boltz or Chai.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    parser.description = _NOTE
    add = parser.add_argument
    add("fasta", type=Path, metavar="FASTA", help="sequences; chains are separated by : or /")
    add_output(parser, "folds")
    said = "structures of each sequence (default 1)"
    add("-n", "--each", type=count(), default=1, metavar="N", help=said)
    add_model(add_sampling(parser))
    add_making(parser)


def run(args: argparse.Namespace) -> int:
    """Draw the structures, measure them, and write the report.

    Returns:
        The exit status: 1 if some structures failed, 2 if all did.

    Raises:
        InputError: an option or a sequence that cannot be used.
    """
    from protein.codesign.generate import CodesignSettings
    from protein.codesign.modes import Folding

    settings = CodesignSettings(
        steps=pick_steps(args.steps, None if args.plan else args.model, STEPS),
        sampler=args.sampler or "sde",
        temperature=args.temperature,
        seed=args.seed,
    )
    mode = Folding(args.fasta, args.each)
    args.number = mode.number
    return deliver(args, mode, settings, "codesign", "Folded sequences (a demonstration)")


command = Command(
    "fold",
    "draw structures for protein sequences (a demonstration, no structure predictor)",
    configure,
    run,
    example="sciddiff fold sequences.fa -n 5 -o folds/",
    needs=NEEDS,
)
