"""The options of `sciddiff dock`."""

from __future__ import annotations

import argparse
from pathlib import Path

from protein.commands.dock_vina import add_spellings
from sciddiff.cli.options import add_device, add_json, add_output, add_seed, count, number

__all__ = ["configure"]

_EXAMPLES = """examples:
  sciddiff dock -r receptor.pdb -l ligands.sdf --autobox-ligand crystal.sdf -o poses/
  sciddiff dock -r receptor.cif -l "CC(=O)Nc1ccc(O)cc1" --center 10 2 -5 --size 22 22 22 -o poses/
  sciddiff dock -r receptor.pdb -l ligands.sdf --blind -o poses/
  sciddiff dock -r receptor.pdb -l ligands.sdf --autobox-ligand crystal.sdf --flex A:45 -o poses/
  sciddiff dock -r receptor.pdb -l acrylamides.smi --covalent A:145:SG -o poses/
  sciddiff dock --dataset complexes/ --autobox-add 8 -o redocked/
  sciddiff dock -r receptor.pdb -l library.smi --pocket-residues A:45,A:48 --effort fast -o poses/
  sciddiff dock -r receptor.pdb -l library.smi --enumerate stereo,protomers --blind -o poses/

exit status: 0 every ligand was docked, 1 some failed (results.csv says why), 2 none was
"""


def _batch(text: str) -> int:
    """A number of ligands; files of ligands, as other programs take them here, go elsewhere."""
    if Path(text).suffix:
        raise argparse.ArgumentTypeError(f"{text!r} is a file; give files of ligands with -l")
    return count()(text)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    parser.epilog = _EXAMPLES
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("-r", "--receptor", type=Path, nargs="+", metavar="FILE",
        help="protein, PDB or mmCIF; of several structures of it in one frame, the best is taken "
        "for each ligand")  # fmt: skip
    add(
        "-l",
        "--ligand",
        nargs="+",
        metavar="FILE",
        help="molecules: .sdf, .mol2, .smi or .csv (also with .gz), folders of such files, or "
        "SMILES; .pdbqt and .pdb whose bonds are known by Meeko's remarks or by all hydrogens",
    )
    add(
        "--dataset",
        type=Path,
        metavar="DIR",
        help="redock complexes instead of -r and -l: a folder with ID/protein.pdb and "
        "ID/ligand.sdf, each docked around its crystal ligand",
    )
    add_output(parser)
    box = parser.add_argument_group("where to search (one of)")
    add = box.add_argument
    add("--autobox-ligand", metavar="FILE",
        help="put the box around this ligand: .sdf, .mol2, .pdb, .cif or .pdbqt; FILE:NAME is the "
        "residue NAME of a complex")  # fmt: skip
    add("--center", type=number(-1e5, 1e5), nargs=3, metavar=("X", "Y", "Z"),
        help="centre of the box, Å")  # fmt: skip
    add("--pocket-residues", metavar="LIST", help="put the box around these residues: A:45,A:48")
    add(
        "--blind",
        action="store_true",
        help="search the pockets of the receptor (see sciddiff pockets), and rank their poses",
    )
    add("--template", type=Path, metavar="FILE",
        help="a known ligand in its place, .sdf or .mol2, or .pdbqt or .pdb whose bonds are "
        "known: what a ligand shares with it stays near there; also says where to search, unless "
        "one of the others does")  # fmt: skip
    add("--template-rmsd", type=number(0.1, 100.0), default=2.0, metavar="A",
        help="largest RMSD of the shared part from its place, Å (default 2)")  # fmt: skip
    add("--flex", metavar="LIST",
        help="let the side chains of these residues turn with the ligand: A:45,A:48")  # fmt: skip
    add("--flex-auto", type=number(1.0, 8.0), metavar="A",
        help="let side chains with an atom within this distance of the ligand of --autobox-ligand "
        "(or of a complex of --dataset) turn, Å; at most the ten nearest")  # fmt: skip
    add("--flex-ligand", metavar="FILE",
        help="the ligand of --flex-auto, if it is not that of --autobox-ligand")  # fmt: skip
    add("--covalent", metavar="ATOM",
        help="bond every ligand to this atom of a side chain, as A:145:SG; also says where to "
        "search, unless another option does")  # fmt: skip
    add("--warhead", metavar="SMARTS",
        help="what reacts with it, as [CH2:1]=[CH:2]C=O: atom 1 binds, its bond to 2 loses one "
        "order, 3 leaves (default: the usual warheads)")  # fmt: skip
    add("--sites", type=count(), metavar="N",
        help="number of pockets that --blind searches (default 5)")  # fmt: skip
    add("--size", type=number(1.0, 500.0), nargs=3, metavar=("X", "Y", "Z"),
        help="edges of the box, Å (default 22 22 22)")  # fmt: skip
    add("--autobox-add", type=number(0.0, 100.0), default=4.0, metavar="A",
        help="margin on each side, Å (default 4)")  # fmt: skip
    states = parser.add_argument_group("states of each molecule, all of which are docked")
    add = states.add_argument
    add("--enumerate", default="", metavar="LIST",
        help="what to enumerate, some of stereo (centres that the input leaves open), tautomers "
        "and protomers (needs dimorphite-dl), as in stereo,protomers (default: none)")  # fmt: skip
    add("--max-states", type=count(most=1000), default=8, metavar="N",
        help="states of one molecule at most (default 8)")  # fmt: skip
    add("--ph", type=number(0.0, 14.0), default=7.4, metavar="PH",
        help="pH of the protomers (default 7.4)")  # fmt: skip
    add("--strip-salts", action="store_true",
        help="dock the largest part of a salt or mixture")  # fmt: skip
    how = parser.add_argument_group("how")
    add = how.add_argument
    add("--poses", type=count(), default=9, metavar="N", help="poses per ligand (default 9)")
    add("--energy-range", type=number(0.0, 1000.0), metavar="E",
        help="report no pose whose energy is more than this above the best, kcal/mol (default: no "
        "limit)")  # fmt: skip
    add("--min-rmsd", type=number(0.0, 100.0), metavar="A",
        help="report no two poses closer than this, Å (default: poses 1.75 Å apart are preferred, "
        "and closer ones fill up)")  # fmt: skip
    add("--scoring", default="vina", metavar="NAME",
        help="scoring function: vina, vinardo, or a file of weights; other than vina, poses are "
        "ordered by energy (default vina)")  # fmt: skip
    add("--samples", type=count(0), default=32, metavar="N",
        help="poses that the network draws (default 32)")  # fmt: skip
    add("--steps", type=count(), metavar="N",
        help="steps of the sampler (default 10, or as the model is best drawn)")  # fmt: skip
    add("--guidance", type=number(0.0, 100.0), default=1.0, metavar="W",
        help="weight of the guidance by energy (default 1)")  # fmt: skip
    add(
        "--effort",
        choices=("none", "fast", "normal", "thorough"),
        default="normal",
        help="effort of the search (default normal); none uses the network's draws alone",
    )
    add("--no-minimize", dest="minimize", action="store_false",
        help="do not minimise the poses that the network draws")  # fmt: skip
    add("--model", metavar="NAME", help="network whose poses join those of the search: "
        "dock_lite, which ships, or a model folder (default: none)")  # fmt: skip
    add(
        "--ranker",
        metavar="NAME",
        help="ranker that orders poses by confidence: shipped weights, a model folder, or none to "
        "order them by energy (default: the weights that ship)",
    )
    add("--keep", default="", metavar="LIST",
        help="HETATM groups to keep besides metals and cofactors: by name (GDP,HOH), single ones "
        "(A:301), or waters within a distance of the box, Å (HOH:3.5)")  # fmt: skip
    add("--water-price", type=number(0.0, 1000.0), metavar="E",
        help="let poses displace waters that are kept, for this energy each, kcal/mol (default: "
        "waters stay)")  # fmt: skip
    add(
        "--batch",
        type=_batch,
        default=8,
        metavar="N",
        help="number of ligands docked at once (default 8)",
    )
    add("--check", type=count(0), default=1, metavar="N",
        help="number of poses that PoseBusters checks (default 1)")  # fmt: skip
    add("--combine", choices=("best", "boltzmann"), default="best",
        help="affinity of a ligand over several structures of -r: the best of them, or the free "
        "energy of an even mixture of them (default best)")  # fmt: skip
    add("--hits", type=count(), metavar="N",
        help="write hits.csv: one row for each molecule, by its best state, and N diverse ones "
        "among the best")  # fmt: skip
    add("--hydrogens", action="store_true", help="write poses with their hydrogens")
    add("--pdbqt", action="store_true", help="write poses as PDBQT, too (needs meeko)")
    add("--no-complex", action="store_true", help="do not write the best pose with its receptor")
    add_seed(parser)
    add_device(parser)
    add("--threads", type=count(), metavar="T", help="CPU threads (default: torch's choice)")
    add(
        "--workers",
        type=count(),
        default=1,
        metavar="N",
        help="processes that share a library (default 1; torchrun and srun start their own); "
        "the poses are the same for any number",
    )
    add_json(parser)
    add_spellings(parser)
