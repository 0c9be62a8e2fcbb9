"""``sciddiff prepare ranker``: complexes docked, as examples for the ranker of poses."""

from __future__ import annotations

import argparse
from pathlib import Path

from protein.docking import NEEDS
from sciddiff.cli.command import Command
from sciddiff.cli.options import add_json, add_seed, count
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
    add_seed(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Dock what is not there yet.

    Raises:
        InputError: a folder that cannot be used.
    """
    from protein.docking.campaign.examples import ExampleSettings, make_examples
    from protein.docking.search.monte_carlo import SearchSettings

    settings = ExampleSettings(
        SearchSettings(chains=args.chains, rounds=args.rounds),
        max_atoms=args.max_atoms,
        max_torsions=args.max_torsions,
        seed=args.seed,
    )
    with progress("docking", None, show=not args.json) as bar:
        seen = 0

        def tell(done: int, total: int) -> None:
            nonlocal seen
            bar.advance(done - seen, f"{done} of {total}")
            seen = done

        counts = make_examples(args.folder, args.out, settings, args.jobs, tell)
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
