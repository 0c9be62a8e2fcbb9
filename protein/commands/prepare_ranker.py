"""``sciddiff prepare ranker``: complexes docked, as examples for the ranker of poses."""

from __future__ import annotations

import argparse
from pathlib import Path

from protein.docking import NEEDS
from sciddiff.cli.command import Command
from sciddiff.cli.options import add_json, add_seed, count, number
from sciddiff.cli.output import emit
from sciddiff.cli.progress import progress


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``sciddiff prepare ranker``."""
    add = parser.add_argument
    add("folder", type=Path, metavar="DIR", help="complexes, as for `sciddiff prepare dock`")
    add("-o", "--out", type=Path, required=True, metavar="DIR", help="folder of examples")
    add(
        "--chains",
        type=count(),
        default=512,
        metavar="N",
        help="chains of the search, which the conformers share as in `dock` (default 512)",
    )
    add(
        "--rounds", type=count(), default=60, metavar="N", help="rounds of the search (default 60)"
    )
    add("--max-atoms", type=count(), default=50, metavar="N", help="most heavy atoms (default 50)")
    add(
        "--max-torsions", type=count(0), default=14, metavar="N", help="most torsions (default 14)"
    )
    add(
        "-j",
        "--jobs",
        type=count(),
        default=1,
        metavar="N",
        help="number of processes (default 1)",
    )
    add(
        "--cross",
        action="store_true",
        help="dock each ligand into the receptor of another complex of its protein",
    )
    add(
        "--jitter",
        type=number(0.0, 4.0),
        default=0.0,
        metavar="Å",
        help="move each face of the box by up to this, in or out (default 0)",
    )
    add_seed(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Dock what is not there yet.

    Raises:
        InputError: a folder that cannot be used, or that holds examples of other settings.
    """
    import time
    from dataclasses import asdict

    from protein.docking.campaign.examples import ExampleSettings, begun, make_examples
    from protein.docking.search.monte_carlo import SearchSettings
    from sciddiff.cli.campaign import RECORD, Campaign, machine_facts
    from sciddiff.errors import InputError

    settings = ExampleSettings(
        SearchSettings(chains=args.chains, rounds=args.rounds),
        max_atoms=args.max_atoms,
        max_torsions=args.max_torsions,
        seed=args.seed,
        cross=args.cross,
        jitter=args.jitter,
    )
    there = begun(args.out)
    if there and not (args.out / RECORD).exists():
        raise InputError(f"{args.out}: does not say how its examples were made; choose another -o")
    campaign = Campaign.open(args.out, asdict(settings), args.command_line, begun=there)
    start = time.perf_counter()
    with progress("docking", None, show=not args.json) as bar:
        seen = 0

        def tell(done: int, total: int) -> None:
            nonlocal seen
            bar.advance(done - seen, f"{done} of {total}")
            seen = done

        counts = make_examples(args.folder, args.out, settings, args.jobs, tell)
    seconds = time.perf_counter() - start
    campaign.ran(counts["made"], seconds, args.command_line, **machine_facts())
    text = (
        f"{counts['made']} made, {counts['there']} there already, {counts['refused']} refused "
        f"(reasons beside them); {args.out}"
    )
    emit(args, {**counts, "folder": str(args.out)}, text)
    return 0


command = Command(
    name="ranker",
    help="dock complexes whose answer is known, as examples for the ranker of poses",
    configure=configure,
    run=run,
    example="sciddiff prepare ranker complexes/ -o data/ranker/",
    needs=NEEDS,
)
