"""Options of AutoDock Vina, smina and GNINA in `sciddiff dock`.

Most are other spellings of options of `dock`; what differs is said in their help. Options that
change nothing here are taken and named in a note, and those of which there is no like end with a
line that says what to use instead.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from protein.commands.dock_config import add_file
from sciddiff.cli.options import count, number
from sciddiff.cli.output import remark
from sciddiff.errors import InputError

__all__ = ["IGNORED", "INSTEAD", "SYNONYMS", "add_spellings", "resolve"]

SYNONYMS: dict[str, str] = {
    "--num_modes": "--poses",
    "--cpu": "--threads",
    "--autobox_ligand": "--autobox-ligand",
    "--autobox_add": "--autobox-add",
    "--energy_range": "--energy-range",
    "--min_rmsd": "--min-rmsd",
    "--min_rmsd_filter": "--min-rmsd",
    "--flexres": "--flex",
    "--flexdist": "--flex-auto",
    "--flexdist_ligand": "--flex-ligand",
    "--covalent_rec_atom": "--covalent",
    "--custom_scoring": "--scoring",
}
"""Spellings of other programs, and the options that they are."""

IGNORED: dict[str, int] = {
    "log": 1, "verbosity": 1, "out": 1, "spacing": 1, "quiet": 0, "no_refine": 0,
    "force_even_voxels": 0, "no_lig": 0, "max_evals": 1, "num_mc_steps": 1, "max_mc_steps": 1,
    "num_mc_saved": 1, "minimize_iters": 1, "approximation": 1, "factor": 1, "addH": 1,
    "stripH": 1,
}  # fmt: skip
"""Options of other programs that change nothing here, with their number of values."""

_SCORE = "`sciddiff score` gives energies of poses as they are"
_MINIMIZE = "`sciddiff score --minimize` and `sciddiff refine` do so for poses that are there"
_CNN = "--ranker orders poses"
_MAPS = "grids are made from -r"
INSTEAD: dict[str, str] = {
    "--score_only": _SCORE,
    "--local_only": _MINIMIZE,
    "--minimize": _MINIMIZE,
    "--randomize_only": "no verb here makes random poses",
    "--cnn": _CNN,
    "--cnn_model": _CNN,
    "--cnn_scoring": _CNN,
    "--cnn_rotation": _CNN,
    "--pose_sort_order": "--ranker none orders poses by energy, and --ranker by confidence",
    "--maps": _MAPS,
    "--write_maps": _MAPS,
    "--autobox": "give --autobox-ligand FILE",
    "--autobox_extend": "give a larger --autobox-add",
    "--dir": "-o is the folder to write to",
    "--out_flex": "poses/*_flex.pdb in the folder -o holds the flexible residues",
    "--full_flex_output": "*_complex.pdb holds the receptor with those of the first pose",
    "--flex_limit": "--flex names the residues, at most ten",
    "--flex_max": "--flex-auto takes at most the ten nearest",
    "--atom_terms": "`sciddiff score --per-atom FILE` writes them",
    "--atom_term_data": "`sciddiff score --per-atom FILE` writes them",
    "--custom_atoms": "--scoring FILE takes weights; radii are those of Vina or Vinardo",
    "--covalent_lig_atom_pattern": "give the atom that binds as map number 1 of --warhead, as in "
    "[CH2:1]=[CH:2]C=O",
}
"""Options of other programs that `dock` refuses, and what there is instead."""

_AXES = ("x", "y", "z")


def add_spellings(parser: argparse.ArgumentParser) -> None:
    """Add the spellings of Vina and GNINA, after the options that they stand for."""
    own: dict[str, Any] = parser._option_string_actions
    group = parser.add_argument_group("spellings of AutoDock Vina, smina and GNINA")
    for spelling, option in SYNONYMS.items():
        action = own[option]
        group.add_argument(
            spelling, dest=action.dest, type=action.type, metavar=action.metavar,
            default=argparse.SUPPRESS, help=f"the same as {option}",
        )  # fmt: skip
    for axis in _AXES:
        group.add_argument(f"--center_{axis}", type=number(-1e5, 1e5), metavar="A",
                           help=f"{axis} of --center, Å; give all three")  # fmt: skip
    for axis in _AXES:
        group.add_argument(f"--size_{axis}", type=number(1.0, 500.0), metavar="A",
                           help=f"{axis} of --size, Å; give all three")  # fmt: skip
    group.add_argument(
        "--exhaustiveness", type=count(), metavar="N",
        help="chooses --effort, which is another search: up to 4 is fast, up to 15 is normal "
        "(Vina's default is 8), from 16 is thorough",
    )  # fmt: skip
    group.add_argument("--no_gpu", action="store_true", help="the same as --device cpu")
    group.add_argument("--config", type=Path, metavar="FILE",
                       help="options in Vina's format, one key = value a line; what the command "
                       "line says counts more")  # fmt: skip
    for name, values in IGNORED.items():
        if name != "out":
            group.add_argument(
                f"--{name}", action=_Ignored, nargs=values or 0, help=argparse.SUPPRESS
            )
    for option in INSTEAD:
        group.add_argument(option, action=_Instead, nargs="*", help=argparse.SUPPRESS)


class _Ignored(argparse.Action):
    """Says that an option of another program changes nothing here."""

    def __init__(self, option_strings: list[str], dest: str, **settings: Any) -> None:
        settings["default"] = argparse.SUPPRESS
        super().__init__(option_strings, argparse.SUPPRESS, **settings)

    def __call__(
        self, parser: Any, namespace: Any, values: Any, option: str | None = None
    ) -> None:
        remark(option, ["is an option of another program, which changes nothing here"])


class _Instead(_Ignored):
    """Refuses an option of another program, and says what there is instead."""

    def __call__(
        self, parser: Any, namespace: Any, values: Any, option: str | None = None
    ) -> None:
        raise InputError(f"{option}: is no option of dock; {INSTEAD[str(option)]}")


def resolve(
    args: argparse.Namespace, configure: Callable[[argparse.ArgumentParser], None]
) -> None:
    """Put what was given in other spellings, or in a file, where the options of `dock` are.

    Args:
        args: parsed options, as `sciddiff.cli.parsing.parse` gives them; changed.
        configure: adds the options of the verb to a parser.

    Raises:
        InputError: the file cannot be used, or two options contradict each other.
    """
    if args.config is not None:
        add_file(args, configure)
    for name in ("center", "size"):
        values = [getattr(args, f"{name}_{axis}") for axis in _AXES]
        if all(value is None for value in values):
            continue
        if any(value is None for value in values) or getattr(args, name) is not None:
            raise InputError(f"--{name}_x, --{name}_y, --{name}_z: give all three, or --{name}")
        setattr(args, name, values)
    if args.exhaustiveness is not None:
        if args.effort != "normal":
            raise InputError("--exhaustiveness: --effort is given, too; leave one out")
        n = args.exhaustiveness
        args.effort = "fast" if n <= 4 else "normal" if n <= 15 else "thorough"
    if args.no_gpu:
        args.device = "cpu"
