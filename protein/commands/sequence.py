"""``sciddiff sequence``: protein sequences without a structure, new ones or completed ones."""

from __future__ import annotations

import csv
import io
import time
from argparse import ArgumentParser, Namespace
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from protein.language import NEEDS
from sciddiff.cli.campaign import Campaign, machine_facts
from sciddiff.cli.command import Command
from sciddiff.cli.fingerprint import Inputs
from sciddiff.cli.options import (
    add_device,
    add_json,
    add_output,
    add_seed,
    count,
    number,
    pick_device,
)
from sciddiff.cli.output import as_table, emit
from sciddiff.cli.parts import do_all
from sciddiff.cli.progress import progress
from sciddiff.cli.sample_parts import SampleParts
from sciddiff.errors import InputError
from sciddiff.files import replacing

if TYPE_CHECKING:
    from sciddiff.checkpoint import Model
    from sciddiff.drawing import Drawing

_ORDERS = ("random", "sequence", "confidence", "entropy", "margin")


def configure(parser: ArgumentParser) -> None:
    """Add the options of ``sciddiff sequence``."""
    add = parser.add_argument
    add(
        "--model", default="sequence_lite", metavar="NAME_OR_DIR",
        help="shipped weights or a model's folder (default sequence_lite)",
    )  # fmt: skip
    add(
        "-n", "--number", type=count(), default=8, metavar="N",
        help="number of sequences; a larger one adds to those that are there (default 8)",
    )  # fmt: skip
    what = parser.add_argument_group("what to draw")
    what.add_argument("--length", metavar="A-B", help="residues, such as 80 or 60-128 (default)")
    what.add_argument(
        "--infill", metavar="SEQUENCE",
        help="complete this sequence, which has _ for every residue that is to be drawn",
    )  # fmt: skip
    what.add_argument(
        "--fold", choices=("none", "alpha", "beta", "mixed"), default="none",
        help="the class of the fold that the sequence is for (default none)",
    )  # fmt: skip
    how = parser.add_argument_group("how to draw")
    how.add_argument(
        "--steps", type=count(), default=64, metavar="N",
        help="calls of the network for each sequence; as many as residues are exact (default 64)",
    )  # fmt: skip
    how.add_argument(
        "--temperature", type=number(0.0), default=1.0, metavar="X",
        help="below 1, sequences are likelier and less varied (default 1)",
    )  # fmt: skip
    how.add_argument(
        "--order", choices=_ORDERS, default="random",
        help="which residues are drawn first; orders by confidence do not follow the model "
        "(default random)",
    )  # fmt: skip
    add_output(parser, default="sequences")
    add_seed(parser)
    add_device(parser)
    add_json(parser)


def run(args: Namespace) -> None:
    """Draw the sequences and write the FASTA file, the table and the page."""
    from protein.language.domain import SequenceDomain
    from protein.language.report import write_page
    from protein.sequence.measure import sequence_rows
    from sciddiff.checkpoint import load
    from sciddiff.shipped import find_model

    model = load(find_model(args.model), pick_device(args.device))
    if not isinstance(model.domain, SequenceDomain):
        raise InputError(f"--model {args.model}: draws no sequences; give a model of sequences")
    request = _request(args)
    options = {name: getattr(args, name) for name in ("seed", "steps", "temperature", "order")}
    templates = list(model.domain.templates(args.number, args.seed, request))
    drawing = _drawing(args, model)
    parts = SampleParts(args.out / "fasta", model, templates, drawing, args.seed)
    inputs = Inputs().add_model("--model", model.meta, args.model)
    campaign = Campaign.open(
        args.out, {**request, **options}, args.command_line, inputs, parts.begun
    )
    (args.out / "fasta").mkdir(exist_ok=True)
    made, start = 0, time.monotonic()
    sizes = [batch.size for batch in templates]
    with progress("sequences", args.number, show=not args.json) as bar:

        def count_sequences(n: int) -> None:
            nonlocal made
            made += n

        parts.on_samples = count_sequences
        do_all(parts, lambda part: bar.advance(sizes[part]))
    rows = sequence_rows(parts.files())
    _write(args.out, rows)
    campaign.ran(made, time.monotonic() - start, args.command_line, **machine_facts())
    page = write_page(args.out, rows, campaign.record)
    _tell(args, rows, made, page)


def _request(args: Namespace) -> dict[str, Any]:
    """The fields of the request that were given."""
    found = {"length": args.length, "infill": args.infill, "fold": args.fold}
    return {name: value for name, value in found.items() if value is not None}


def _drawing(args: Namespace, model: Model) -> Drawing:
    from sciddiff.grids import uniform
    from sciddiff.samplers import ConfidenceUnmask

    sampler = ConfidenceUnmask(args.order, args.temperature)
    return replace(model.drawing, sampler=sampler, grid=uniform(args.steps))


def _write(out: Path, rows: list[dict[str, Any]]) -> None:
    with replacing(out / "sequences.fasta") as file:
        file.write("".join(f">{row['name']}\n{row['sequence']}\n" for row in rows).encode())
    with replacing(out / "sequences.csv") as file:
        text = io.StringIO(newline="")
        table = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
        file.write(text.getvalue().encode())


def _tell(args: Namespace, rows: list[dict[str, Any]], made: int, page: Path) -> None:
    from protein.sequence.measure import measure

    measured = measure([row["sequence"] for row in rows])
    shown = [
        (row["name"], row["length"], row["longest_run"],
         f"{row['commonest']} {100 * row['commonest_share']:.0f} %", row["cysteines"])
        for row in rows[:10]
    ]  # fmt: skip
    text = as_table(("name", "residues", "longest run", "commonest", "Cys"), shown)
    more = f"\n… and {len(rows) - 10} more" if len(rows) > 10 else ""
    kept = len(rows) - made
    note = f" ({kept} were there already)" if kept > 0 else ""
    data = {"directory": args.out, "sequences": len(rows), "kept": max(kept, 0), **measured}
    emit(
        args, data,
        f"{text}{more}\n\n{len(rows)} sequences{note}, {100 * measured['distinct']:.0f} % "
        f"distinct, entropy of the composition {measured['entropy']:.2f} nats\n"
        f"sequences  {args.out / 'sequences.fasta'}\nreport     {page}",
    )  # fmt: skip


command = Command(
    name="sequence",
    help="draw protein sequences without a structure, or complete given ones",
    configure=configure,
    run=run,
    example="sciddiff sequence --model models/sequences --length 60-128 -n 20 -o sequences\n"
    "sciddiff sequence --model models/sequences --infill MKT____LVENG______ -n 10 -o completed",
    needs=NEEDS,
)
