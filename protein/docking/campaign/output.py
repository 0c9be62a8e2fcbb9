"""Files of docked ligands: ranked SDF, complexes, and the table of all inputs."""

import csv
import io
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import zip_longest
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from protein.docking.molecules.adduct import Bond
from protein.docking.molecules.conformers import same_stereo
from protein.docking.molecules.ligand import Ligand
from protein.docking.pipeline.result import Result
from protein.docking.poses.files import sdf_record
from protein.docking.poses.metrics import Verdict
from protein.docking.receptors.receptor import Receptor
from protein.structures.pdb_records import (
    atom_record,
    conect_records,
    fit_residues,
    link_record,
)
from sciddiff.files import replacing
from sciddiff.names import cell, escape, stem_of

RESULTS = "results.csv"
"""Table with one row per input."""

BEST = "best.sdf"
"""First poses of all ligands of a screen."""


@dataclass(frozen=True)
class Row:
    """One row of ``results.csv``; fields that do not apply are empty.

    Attributes:
        index: place in the input, from 1.
        name: unique name.
        status: ``ok`` or ``failed``.
        reason: why it failed, in one sentence.
        smiles: canonical SMILES of the ligand; that of the first pose if the input leaves
            stereocentres open.
        heavy_atoms: number of heavy atoms.
        torsions: number of rotatable bonds that the search turns.
        poses: number of poses written.
        confidence: P(RMSD < 2 Å) of the first pose, which a ranker put first.
        affinity: Vina score of the first pose, by which ligands are ordered, kcal/mol.
        energy: interaction plus intramolecular of the first pose, kcal/mol.
        strain: intramolecular energy above the best fresh conformer, kcal/mol.
        side_chains: energy of flexible side chains with each other and with the rest of the
            receptor, of the first pose, kcal/mol; empty for a rigid receptor.
        valid: verdict of PoseBusters on the first pose: yes, no, or empty if it was not run.
        failed_checks: names of the checks that the pose fails.
        stereo_kept: whether the first pose has the input's stereochemistry.
        seconds: computing time.
        file: file of the poses, relative to the output folder.
        site: number of the site of the first pose, if several were searched.
        title: name in the input, with control characters written out.
        note: what a user should know about the poses.
        parent: name of the input that the ligand is a state of; empty without states.
        receptor: folder of the structure that it was docked to, of several.
        displaced_waters: waters that the first pose displaces, where some may be.
        covalent: atom of the receptor that the ligand is bonded to; empty if there is none.
        warhead: the warhead that bound it.
    """

    index: int
    name: str
    status: str
    reason: str = ""
    smiles: str = ""
    heavy_atoms: str = ""
    torsions: str = ""
    poses: str = ""
    confidence: str = ""
    affinity: str = ""
    energy: str = ""
    strain: str = ""
    side_chains: str = ""
    valid: str = ""
    failed_checks: str = ""
    stereo_kept: str = ""
    seconds: str = ""
    file: str = ""
    site: str = ""
    title: str = ""
    note: str = ""
    parent: str = ""
    receptor: str = ""
    displaced_waters: str = ""
    covalent: str = ""
    warhead: str = ""

    def as_dict(self) -> dict[str, str | int]:
        """Columns to values."""
        return {f.name: getattr(self, f.name) for f in fields(self)}


def failed_row(index: int, name: str, reason: str, title: str = "") -> Row:
    """Return the row of a ligand that was not docked.

    Args:
        index: place in the input, from 0.
        name: unique name.
        reason: why, one sentence.
        title: name in the input.
    """
    return Row(index + 1, name, "failed", " ".join(reason.split()), title=escape(title))


def docked_row(
    index: int,
    name: str,
    ligand: Ligand,
    result: Result,
    file: str,
    verdict: Verdict | None = None,
    title: str = "",
) -> Row:
    """Return the row of a docked ligand.

    Args:
        index: place in the input, from 0.
        name: unique name.
        ligand: the molecule.
        result: result with its poses.
        file: file of the poses.
        verdict: verdict of PoseBusters on the first pose.
        title: name in the input.
    """
    docked = result.docked
    if docked is None:
        return failed_row(index, name, result.error, title)
    return Row(
        index + 1,
        name,
        "ok",
        smiles=result.isomers[0] if result.isomers else ligand.smiles,
        heavy_atoms=str(len(ligand)),
        torsions=str(len(ligand.tree)),
        poses=str(len(docked.coords)),
        confidence="" if docked.confidence is None else f"{docked.confidence[0]:.3f}",
        affinity=f"{docked.affinity[0]:.3f}",
        energy=f"{docked.energy[0]:.3f}",
        strain=f"{result.strain[0]:.3f}",
        side_chains="" if docked.side_energy is None else f"{docked.side_energy[0]:.3f}",
        valid="" if verdict is None else "yes" if verdict.valid else "no",
        failed_checks="" if verdict is None else " ".join(verdict.failed),
        stereo_kept="yes" if same_stereo(ligand, docked.coords[0]) else "no",
        seconds=f"{result.seconds:.2f}",
        file=file,
        site=str(result.sites[0]) if len(result.sites) else "",
        title=escape(title),
        note="; ".join(result.notes),
        displaced_waters=" ".join(result.displaced(0)),
        covalent="" if result.bond is None else f"{result.bond.residue}:{result.bond.atom}",
        warhead="" if result.bond is None else result.bond.warhead,
    )


def write_docked(
    directory: Path,
    index: int,
    name: str,
    ligand: Ligand,
    receptor: Receptor,
    result: Result,
    verdicts: Sequence[Verdict] = (),
    complexes: bool = True,
    title: str = "",
    hydrogens: bool = False,
) -> Row:
    """Write the files of a docked ligand, below ``poses/``.

    Args:
        directory: output folder of the run.
        index: place in the input, from 0.
        name: unique name.
        ligand: the molecule.
        receptor: the receptor that the ligand was docked to.
        result: result with its poses.
        verdicts: verdicts of PoseBusters on the first poses.
        complexes: whether to write the first pose with its receptor as well.
        title: name in the input.
        hydrogens: whether poses are written with their hydrogens.

    Returns:
        The row of the ligand.
    """
    docked = result.docked
    if docked is None or len(docked.coords) == 0:
        return failed_row(index, name, result.error or "no pose was found", title)
    file = directory / "poses" / f"{stem_of(name)}.sdf"
    ligand = result.molecule(ligand)
    write_sdf(file, name, ligand, result, verdicts, hydrogens)
    if complexes:
        whole = file.with_name(f"{file.stem}_complex.pdb")
        placed = result.receptor(receptor, 0)
        write_complex(whole, placed, ligand, docked.coords[0], result.bond)
    if result.sides is not None:
        write_side_chains(file.with_name(f"{file.stem}_flex.pdb"), receptor, result)
    where = file.relative_to(directory).as_posix()
    first = verdicts[0] if verdicts else None
    return docked_row(index, name, ligand, result, where, first, title)


def by_affinity(rows: Sequence[Row]) -> list[Row]:
    """Rows of a screen in the order of all tables, files and pages: the best affinity first.

    A confidence compares the poses of one ligand with each other and therefore cannot order
    ligands. Ligands that failed come last, in the order of the input.

    Args:
        rows: one row for every input.
    """
    return sorted(
        rows,
        key=lambda row: (row.status != "ok", float(row.affinity or "inf"), row.index),
    )


def write_best(directory: Path, rows: Sequence[Row]) -> None:
    """Write ``best.sdf``: the first pose of every docked ligand, in the order of the rows.

    Args:
        directory: folder that holds the poses and gets the file.
        rows: one row for every input.
    """
    with replacing(directory / BEST) as out:
        for row in rows:
            if row.status == "ok":
                poses = (directory / row.file).read_text(encoding="utf-8")
                out.write((poses.partition("$$$$\n")[0] + "$$$$\n").encode("utf-8"))


def write_sdf(
    path: Path,
    name: str,
    ligand: Ligand,
    result: Result,
    verdicts: Sequence[Verdict] = (),
    hydrogens: bool = False,
) -> None:
    """Write the ranked poses with tags: rank, energies, terms, strain and verdict.

    Args:
        path: file to write.
        name: title of every record.
        ligand: the molecule.
        result: result with its poses.
        verdicts: verdicts of PoseBusters on the first poses.
        hydrogens: whether to write the hydrogens.
    """
    poses = () if result.docked is None else result.docked.coords
    with replacing(path) as out:
        for k, (coords, verdict) in enumerate(zip_longest(poses, verdicts)):
            tags = result.tags(ligand, k, verdict)
            out.write(sdf_record(ligand, coords, name, tags, hydrogens).encode())


def write_pdbqt(path: Path, ligand: Ligand, result: Result) -> None:
    """Write the ranked poses as models of a PDBQT file, by Meeko.

    Args:
        path: file to write.
        ligand: the molecule.
        result: result with its poses.

    Raises:
        InputError: Meeko is not installed, or cannot write the molecule.
    """
    from protein.docking.poses.pdbqt import pdbqt_text

    texts = []
    for k, coords in enumerate(() if result.docked is None else result.docked.coords):
        affinity = result.tags(ligand, k)["affinity"]
        remark = f"REMARK VINA RESULT: {float(affinity):9.3f}      0.000      0.000\n"
        texts.append(f"MODEL {k + 1}\n{remark}{pdbqt_text(ligand, coords)}ENDMDL\n")
    with replacing(path) as out:
        out.write("".join(texts).encode())


def write_complex(
    path: Path,
    receptor: Receptor,
    ligand: Ligand,
    coords: NDArray[np.floating],
    bond: Bond | None = None,
) -> None:
    """Write the receptor and one pose as PDB; the ligand is residue LIG of chain ``z``.

    A bond between them is written as LINK and CONECT.

    Args:
        path: file to write.
        receptor: the receptor that the ligand was docked to.
        ligand: the molecule.
        coords: `[N, 3]`, Å.
        bond: the bond of the ligand to the receptor; None for none.
    """
    lines = receptor_lines(receptor)
    for k, (atom, xyz) in enumerate(zip(ligand.mol.GetAtoms(), coords.tolist(), strict=True), 1):
        symbol, place = atom.GetSymbol(), ("z", 1, "")
        name = f"{symbol}{k}"[:4]
        lines.append(atom_record("HETATM", len(lines) + 1, name, symbol, "LIG", place, xyz))
    if bond is not None:
        mine = zip(receptor.residues, receptor.atoms, strict=True)
        row = list(mine).index((bond.residue, bond.atom))
        gap = float(np.linalg.norm(receptor.coords[row] - coords[bond.reacting]))
        ends = lines[row], lines[len(receptor) + bond.reacting]
        lines = [link_record(*ends, gap), *lines, *conect_records(*ends)]
    with replacing(path) as out:
        out.write(("\n".join([*lines, "END"]) + "\n").encode())


def write_side_chains(path: Path, receptor: Receptor, result: Result) -> None:
    """Write the flexible residues of a receptor as PDB, one model for each pose.

    Args:
        path: file to write.
        receptor: the receptor that was docked to.
        result: result with its poses.
    """
    sides, docked = result.sides, result.docked
    if sides is None or docked is None:
        return
    shown = np.isin(receptor.residues, sides.residues)
    lines = []
    for k in range(len(docked.coords)):
        atoms = receptor_lines(result.receptor(receptor, k))
        own = [line for line, mine in zip(atoms, shown, strict=True) if mine]
        lines += [f"MODEL     {k + 1:4d}", *own, "ENDMDL"]
    with replacing(path) as out:
        out.write(("\n".join([*lines, "END"]) + "\n").encode())


def receptor_lines(receptor: Receptor) -> list[str]:
    """PDB lines of the atoms of a receptor, in order; no residue is in chain ``z``.

    Args:
        receptor: M atoms.
    """
    residues = [_residue(label) for label in receptor.residues]
    written = fit_residues(residues, reserved="z")
    rows = zip(
        receptor.elements, receptor.atoms, receptor.resnames, residues,
        receptor.coords.tolist(), strict=True,
    )  # fmt: skip
    return [
        atom_record("ATOM", serial, atom, element, resname, written[residue], xyz)
        for serial, (element, atom, resname, residue, xyz) in enumerate(rows, 1)
    ]


def write_results(path: Path, rows: Sequence[Mapping[str, str | int]]) -> None:
    """Write ``results.csv``.

    Args:
        path: file to write.
        rows: one row for every input, in the order of the table.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, [f.name for f in fields(Row)], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: cell(value) for key, value in row.items()})
    made = text.getvalue().encode("utf-8")
    if path.is_file() and path.read_bytes() == made:
        return
    with replacing(path) as out:
        out.write(made)


def _residue(label: str) -> tuple[str, int, str]:
    """Chain, number and insertion code of a label such as ``A:52B``."""
    chain, _, number = label.rpartition(":")
    digits = number.rstrip(string.ascii_letters)
    return chain, int(digits), number[len(digits) :]
