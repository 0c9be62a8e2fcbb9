"""``sciddiff pockets``: where a ligand may bind, from the receptor alone."""

from __future__ import annotations

import argparse
from pathlib import Path

from protein.docking import NEEDS
from sciddiff.cli.command import Command
from sciddiff.cli.options import add_json, count
from sciddiff.cli.output import as_table, emit, remark

_EXAMPLES = """examples:
  sciddiff pockets receptor.pdb
  sciddiff pockets receptor.cif --sites 10 --json

To dock into one site, give its centre and size:
  sciddiff dock -r receptor.pdb -l ligands.sdf --center X Y Z --size X Y Z -o poses/
To dock into all of them and rank the poses together, use sciddiff dock --blind.
"""
_SHOWN = 8


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    parser.epilog = _EXAMPLES
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("receptor", type=Path, metavar="FILE", help="protein, PDB or mmCIF")
    add(
        "--sites", type=count(), default=5, metavar="N", help="largest number of sites (default 5)"
    )
    add(
        "--keep", default="", metavar="LIST", help="further HETATM groups to keep: GDP,HOH,A:301"
    )
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Find the pockets of a receptor and print them.

    Raises:
        InputError: the file cannot be used, or has no pocket.
    """
    from protein.docking.receptors.pockets import find_pockets
    from protein.docking.receptors.receptor import read_receptor
    from protein.docking.receptors.waters import kept_groups, refuse_absent

    keep = kept_groups(args.keep).names
    receptor = read_receptor(args.receptor, keep)
    refuse_absent(args.receptor, receptor, keep)
    remark(args.receptor, receptor.notes)
    sites = find_pockets(receptor, args.sites)
    rows = []
    for site in sites:
        more = len(site.residues) - _SHOWN
        lining = " ".join(site.residues[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
        place, size = (" ".join(f"{x:.1f}" for x in v) for v in (site.box.center, site.box.size))
        told = (f"{site.score:.2f}", f"{site.volume:.0f}", f"{site.buried:.2f}")
        rows.append((site.rank, *told, place, size, lining))
    header = ("site", "score", "volume", "buried", "center", "size", "residues")
    data = {
        "receptor": str(args.receptor),
        "notes": list(receptor.notes),
        "sites": [site.as_dict() for site in sites],
    }
    emit(args, data, as_table(header, rows))
    return 0


command = Command(
    name="pockets",
    help="where a ligand may bind in a protein: centres, boxes, lining residues",
    configure=configure,
    run=run,
    example="sciddiff pockets receptor.pdb",
    needs=NEEDS,
)
