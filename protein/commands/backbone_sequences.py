"""Sequences for the designs of `sciddiff backbone`, in the same run."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sciddiff.cli.options import count, pick_device
from sciddiff.cli.progress import progress
from sciddiff.errors import InputError

if TYPE_CHECKING:
    from protein.sequence.design.plan import Plan

__all__ = ["SEQUENCES", "add_sequence_options", "check_later", "design_sequences"]

SEQUENCES = "sequences"
"""Folder, inside that of the designs, of what `sciddiff design` would write."""

_TEMPERATURE = 0.1


def add_sequence_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that ask for sequences."""
    group = parser.add_argument_group("sequences for the designs")
    add = group.add_argument
    add("--sequences", type=count(0), default=0, metavar="N",
        help="sequences for each design, as sciddiff design makes them; motifs and targets are "
        "kept, copies of a symmetric unit are equal (default 0)")  # fmt: skip
    add("--sequence-model", default="design_lite", metavar="MODEL",
        help="weights of the sequences, or proteinmpnn, if its package is installed (default "
        "design_lite)")  # fmt: skip


def check_later(args: argparse.Namespace) -> None:
    """See that designs can be measured and completed by sequences, before they are sampled.

    Args:
        args: parsed options.

    Raises:
        InputError: no archive of references, or one for nothing; no model of sequences of that
            name, or one of another domain.
    """
    from protein.sequence.design.engine import engine_of
    from protein.sequence.design.settings import DrawSettings
    from protein.structures.archive import ChainArchive

    if args.reference is not None:
        if args.no_report:
            raise InputError("--reference: nothing is measured with --no-report; leave one out")
        ChainArchive.open(args.reference)
    if args.sequences:
        engine_of(args.sequence_model, DrawSettings()).read()


def design_sequences(
    args: argparse.Namespace, designs: Mapping[str, Mapping[str, Any]], request: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """Design sequences for the designs of a folder, into its folder `SEQUENCES`.

    Args:
        args: parsed options.
        designs: what is known of every design, by its name: its motif, or which chain is the
            binder.
        request: what was asked for.

    Returns:
        The best sequence of every design with its score, and how many there are.

    Raises:
        InputError: the model is not there, or the folder holds sequences of another.
    """
    from protein.sequence.design.campaign import SequenceParts
    from protein.sequence.design.engine import engine_of
    from protein.sequence.design.report import write_report
    from protein.sequence.design.settings import DrawSettings
    from protein.sequence.design.tables import collect, write_tables
    from sciddiff.cli.campaign import Campaign, machine_facts
    from sciddiff.cli.fingerprint import Inputs
    from sciddiff.cli.parts import do_all

    engine = engine_of(args.sequence_model, DrawSettings(seed=args.seed), pick_device(args.device))
    meta = engine.meta
    folder = args.out / SEQUENCES
    parts = SequenceParts(
        folder,
        _plans(args, designs, request),
        [_TEMPERATURE],
        args.sequences,
        engine.settings,
        engine.designer,
    )
    inputs = Inputs().add_model("--sequence-model", meta, args.sequence_model)
    asked = {"mode": "sequences of designs", "seed": args.seed}
    campaign = Campaign.open(folder, asked, args.command_line, inputs, parts.begun)
    with progress("designing sequences", parts.left(), show=not args.json) as bar:
        parts.on_done = bar.advance
        do_all(parts)
    campaign.ran(parts.made, 0.0, args.command_line, model_card=meta, **machine_facts())
    tables = collect(parts)
    write_tables(parts, tables, args.sequence_model, meta)
    if not args.no_report:
        write_report(folder, tables, campaign.record)
    found = {}
    for one in tables:
        best = min(one.designs, key=lambda design: design.record.score)
        found[one.plan.name] = {
            "sequences": one.distinct,
            "sequence_score": best.record.score,
            "sequence_warnings": "; ".join(best.quality.warnings),
            "sequence": "/".join(one.plan.pieces(best.record.tokens(), whole=True)),
        }
    return found


def _plans(
    args: argparse.Namespace, designs: Mapping[str, Mapping[str, Any]], request: Mapping[str, Any]
) -> Sequence[Plan]:
    from protein.commands.design_templates import backbone_template
    from protein.sequence.design.engine import PROTEINMPNN
    from protein.sequence.design.plan import plan_of
    from protein.sequence.design.wishes import Wishes
    from protein.structures.read import read_structure

    plans = []
    for name, facts in designs.items():
        file = args.out / f"{name}.cif"
        chains = read_structure(file).chains
        template = backbone_template(name, str(file), chains, facts, request)
        balance = False if args.sequence_model == PROTEINMPNN else None
        plans.append(plan_of(template, Wishes(), balance=balance))
    return plans
