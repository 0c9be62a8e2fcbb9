"""What ``sciddiff dock`` says while it works and at its end."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sciddiff.cli.output import emit
from sciddiff.cli.progress import progress
from sciddiff.errors import InputError

if TYPE_CHECKING:
    from protein.docking.campaign.output import Row
    from protein.docking.receptors.receptor import Receptor
    from sciddiff.cli.fingerprint import Inputs

_TOLD = 5  # ligands whose notes or reasons are printed

# What a file of poses is called.
_FILES = (".pdbqt", ".sdf", ".sd", ".mol", ".mol2", ".pdb", ".cif", ".gz", ".csv")

__all__ = ["counting", "networks", "refuse_file_name", "summarise"]


def refuse_file_name(out: Path, verb: str) -> None:
    """Refuse the name of a file of poses where a folder is written, as other programs write one.

    Raises:
        InputError: the name ends as such a file, and no folder is called so.
    """
    if out.suffix.lower() in _FILES and not out.is_dir():
        raise InputError(
            f"-o {out}: is named like a file, and {verb} writes a folder with the poses of all "
            f"ligands (its best.sdf holds the first of each); give -o {out.with_suffix('')}"
        )


@contextmanager
def counting(total: int, show: bool) -> Iterator[Callable[[int, int], None]]:
    """Show how many ligands are done, and how many of them failed."""
    failed = 0
    with progress("docking", total, show=show) as bar:

        def advance(done: int, bad: int) -> None:
            nonlocal failed
            failed += bad
            bar.advance(done, f"docking ({failed} failed)" if failed else None)

        yield advance


def networks(args: argparse.Namespace) -> Inputs:
    """Content of the networks."""
    from protein.docking.confidence.ranker import SHIPPED
    from sciddiff.checkpoint import describe
    from sciddiff.cli.fingerprint import Inputs
    from sciddiff.shipped import find_model, shipped_models

    inputs = Inputs()
    ships = SHIPPED in {model.name for model in shipped_models()}
    ranker = args.ranker or (SHIPPED if ships else "none")
    for option, name in (("--model", args.model), ("--ranker", ranker)):
        if name not in (None, "none"):
            inputs.add_model(option, describe(find_model(name)), name)
    return inputs


def summarise(
    args: argparse.Namespace, rows: list[Row], made: bool, receptor: Receptor | None = None
) -> int:
    """Write the page and print what came of it; the exit status.

    Args:
        args: the command line.
        rows: of every ligand.
        made: whether this call docked any of them; a page that is there stays otherwise.
        receptor: the receptor of all poses; None to look for it, or for each pose's own.
    """
    from protein.docking.campaign.hits import write_hits
    from protein.docking.campaign.output import RESULTS, by_affinity
    from protein.docking.report.write import REPORT, try_report

    page = args.out / REPORT
    if made or not page.exists():
        page = try_report(args.out, receptor)

    good = [row for row in rows if row.status == "ok"]
    hits = write_hits(args.out, rows, args.hits) if args.hits else None
    summary: dict[str, Any] = {
        "ligands": len(rows),
        "docked": len(good),
        "failed": len(rows) - len(good),
        "folder": str(args.out),
        "results": str(args.out / RESULTS),
        "report": None if page is None else str(page),
    }
    lines = [f"{len(good)} of {len(rows)} ligands docked; {args.out / RESULTS}"]
    if good:
        best = by_affinity(good)[0]
        summary["best"] = {"name": best.name, "affinity": float(best.affinity)}
        lines.append(f"best     {best.name}, {best.affinity} kcal/mol, {args.out / best.file}")
    noted = [row for row in good if row.note]
    summary["noted"] = len(noted)
    lines += [f"note     {row.name}: {row.note}" for row in noted[:_TOLD]]
    if len(noted) > _TOLD:
        lines.append(f"note     {len(noted) - _TOLD} more ligands have a note in the table")
    failed = [row for row in rows if row.status == "failed"]
    lines += [f"failed   {row.reason}" for row in failed[:_TOLD]]
    if len(failed) > _TOLD:
        lines.append(f"failed   {len(failed) - _TOLD} more ligands; the table has their reasons")
    if hits is not None:
        summary["hits"] = str(hits)
        lines.append(f"hits     {hits}")
    if page is not None:
        lines.append(f"open     {page}")
    emit(args, summary, "\n".join(lines))
    return 0 if len(good) == len(rows) else 1 if good else 2
