"""``sciddiff prepare dock`` on folders of several layouts, good and bad."""

import csv
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("rdkit")
pytest.importorskip("Bio")

from protein.docking.complexes.archive import DockArchive
from protein.docking.complexes.components import ligands_of_structure, read_components
from protein.docking.complexes.prepare import (
    DockPrepareSettings,
    prepare_docking,
    relatives,
)
from protein.docking.complexes.sources import ReadSettings, find_sources
from protein.docking.molecules.conformers import fresh_conformers
from protein.docking.molecules.ligand import ligand_from_smiles
from sciddiff.cli.main import main
from sciddiff.errors import InputError

SMILES = {"a": "CC(=O)Nc1ccccc1", "b": "NCCc1ccc(O)cc1", "c": "OC(=O)CCc1ccccc1"}
FAST = DockPrepareSettings(ReadSettings(conformers=2), val=0.34, test=0.0)


def _protein(coords, seed=0, letters="ACDEFGHIKLMNPQRSTVWY"):
    """A shell of residues around a molecule, their side chains pointing away, as PDB text."""
    from protein.docking.receptors.receptor import SIDE_ATOMS
    from protein.structures.residues import ONE_TO_THREE

    rng = np.random.default_rng(seed)
    lines, number = [], 1
    placed: list[np.ndarray] = []
    for point in rng.uniform(coords.min(0) - 9, coords.max(0) + 9, size=(4000, 3)):
        gap = np.linalg.norm(coords - point, axis=-1).min()
        if not 4.8 < gap < 8.5:
            continue
        if placed and np.linalg.norm(np.stack(placed) - point, axis=-1).min() < 4.0:
            continue
        placed.append(point)
        letter = letters[int(rng.integers(len(letters)))]
        name = ONE_TO_THREE[letter]
        away = (point - coords.mean(0)) / np.linalg.norm(point - coords.mean(0))
        spine = (("N", (-1.2, 0.4, 0)), ("CA", (0, 0, 0)), ("C", (0.7, 1.3, 0)),
                 ("O", (0.1, 2.4, 0)))  # fmt: skip
        side = [(f"C{k}", away * 1.7 * k) for k in range(1, SIDE_ATOMS[letter] + 1)]
        for k, (atom, shift) in enumerate((*spine, *side)):
            x, y, z = point + np.asarray(shift) * 0.9
            lines.append(
                f"ATOM  {16 * number + k:5d}  {atom:<3s} {name} A{number:4d}    "
                f"{x:8.3f}{y:8.3f}{z:8.3f}  1.00  0.00           {atom[0]}"
            )
        number += 1
    return "\n".join(lines) + "\nEND\n"


def _sdf(ligand, coords):
    from rdkit.Chem import MolToMolBlock

    return MolToMolBlock(ligand.with_coords(coords)) + "$$$$\n"


@pytest.fixture(scope="module")
def molecules():
    """Name to ligand and coordinates."""
    made = {}
    for i, (name, smiles) in enumerate(SMILES.items()):
        ligand = ligand_from_smiles(smiles, name)
        made[name] = ligand, fresh_conformers(ligand, 1, seed=20 + i)[0]
    return made


@pytest.fixture
def pdbbind(tmp_path, molecules):
    """Three complexes in PDBbind's layout, and one whose ligand is broken."""
    root = tmp_path / "pdbbind"
    for i, (name, (ligand, coords)) in enumerate(molecules.items()):
        place = root / name
        place.mkdir(parents=True)
        (place / f"{name}_protein.pdb").write_text(_protein(coords, i))
        (place / f"{name}_pocket.pdb").write_text("not read")
        (place / f"{name}_ligand.sdf").write_text(_sdf(ligand, coords))
    bad = root / "bad"
    bad.mkdir()
    (bad / "bad_protein.pdb").write_text(_protein(molecules["a"][1]))
    (bad / "bad_ligand.sdf").write_text("this is no molecule\n$$$$\n")
    return root


def test_pdbbind_folder_to_archive(tmp_path, pdbbind):
    out = tmp_path / "set.npz"
    report = prepare_docking(pdbbind, out, FAST)
    assert (report.sources, report.complexes) == (4, 3)
    assert sum(report.dropped.values()) == 1
    archive = DockArchive.open(out)
    assert set(archive.column("id")) == {"a", "b", "c"}
    for i in range(3):
        item = archive[i]
        gap = np.linalg.norm(item.conformers - item.crystal, axis=-1)
        assert np.sqrt(np.square(gap).mean(-1)).min() < 0.8
        assert len(item.pocket) > 30
    rows = list(csv.DictReader(out.with_suffix(".dropped.csv").open()))
    assert [row["complex"] for row in rows] == ["bad"] and rows[0]["detail"]
    assert json.loads(out.with_suffix(".json").read_text())["complexes"] == 3
    assert not out.with_name("set.npz.parts").exists()
    # The same again leaves it as it is; other settings are refused.
    before = out.read_bytes()
    assert prepare_docking(pdbbind, out, FAST).complexes == 3 and out.read_bytes() == before
    with pytest.raises(InputError, match="overwrite"):
        prepare_docking(pdbbind, out, replace(FAST, val=0.5))


def test_complexes_of_one_name_get_names_of_their_own(tmp_path, pdbbind):
    (pdbbind / "more").mkdir()
    shutil.copytree(pdbbind / "b", pdbbind / "more" / "b")
    shutil.copytree(pdbbind / "c", pdbbind / "more" / "C")
    out = tmp_path / "set.npz"
    assert prepare_docking(pdbbind, out, FAST).complexes == 5
    names = DockArchive.open(out).column("id").tolist()
    assert {"a", "b", "b_2"} <= set(names)
    # Upper and lower case do not tell two names apart, since they may become names of files.
    assert len({name.casefold() for name in names}) == 5


def test_a_killed_run_goes_on(tmp_path, pdbbind):
    whole = tmp_path / "whole.npz"
    prepare_docking(pdbbind, whole, FAST)
    out = tmp_path / "set.npz"

    def kill(name, done, total):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare_docking(pdbbind, out, FAST, on_progress=kill)
    assert not out.exists()
    report = prepare_docking(pdbbind, out, FAST)
    assert report.resumed == 2
    one, two = DockArchive.open(whole), DockArchive.open(out)
    for i in range(3):
        assert np.array_equal(one[i].conformers, two[i].conformers)
    assert np.array_equal(one.column("split"), two.column("split"))


def test_folders_name_the_split(tmp_path, molecules):
    root = tmp_path / "set"
    for split, name in (("train", "a"), ("train_backbone", "b"), ("val", "c")):
        ligand, coords = molecules[name]
        place = root / split / name
        place.mkdir(parents=True)
        kind = "backbone" if split == "train_backbone" else "protein"
        (place / f"{kind}.pdb").write_text(_protein(coords))
        (place / "ligand.sdf").write_text(_sdf(ligand, coords))
    sources = find_sources(root)
    assert [(s.id, s.split, s.backbone) for s in sources] == [
        ("a", "train", False), ("b", "train", True), ("c", "val", False)
    ]  # fmt: skip
    out = tmp_path / "set.npz"
    report = prepare_docking(root, out, FAST)
    assert report.splits == {"train": 2, "val": 1, "test": 0}
    assert DockArchive.open(out).column("backbone").tolist() == [0, 1, 0]


def test_ligands_inside_structure_files(tmp_path, molecules):
    ligand, coords = molecules["b"]
    lines = _protein(coords).splitlines()[:-1]
    for i, (atom, xyz) in enumerate(zip(ligand.mol.GetAtoms(), coords, strict=True)):
        symbol = atom.GetSymbol()
        x, y, z = xyz
        lines.append(
            f"HETATM{9000 + i:5d} {symbol + str(i):>4s} TYR B 900    "
            f"{x:8.3f}{y:8.3f}{z:8.3f}  1.00  0.00          {symbol:>2s}".replace("TYR", "LG1")
        )
    root = tmp_path / "files"
    root.mkdir()
    file = root / "1abc.pdb"
    file.write_text("\n".join([*lines, "END"]) + "\n")
    table = tmp_path / "table.csv"
    table.write_text(f"id,smiles\nLG1,{SMILES['b']}\n")
    components = read_components(table)
    ((name, found, receptor),), refused = ligands_of_structure(file, components)
    assert name == "1abc_B900_LG1" and not refused
    assert found.smiles == ligand.smiles and "LG1" not in receptor.resnames
    _, refused = ligands_of_structure(file, {"OTHER": "C"})
    assert refused == [("1abc_B900_LG1", "component LG1 is not in the table")]
    _, refused = ligands_of_structure(file, {"LG1": "CCO"})
    assert "13" not in refused[0][1] and "heavy atoms" in refused[0][1]
    report = prepare_docking(root, tmp_path / "set.npz", FAST, components)
    assert report.complexes == 1


def test_components_in_cif(tmp_path):
    file = tmp_path / "components.cif"
    file.write_text(
        "data_LG1\n#\nloop_\n_pdbx_chem_comp_descriptor.comp_id\n"
        'LG1 SMILES           ACDLabs              12.01 "O=C"\n'
        'LG1 SMILES_CANONICAL CACTVS               3.385 "NCCc1ccc(O)cc1"\n'
        'LG1 SMILES_CANONICAL "OpenEye OEToolkits" 1.7.6 "c1cc"\n'
        "data_HOH\nHOH SMILES ACDLabs 12.01 O\n"
    )
    assert read_components(file)["HOH"] == "O"
    assert read_components(file)["LG1"] in ("NCCc1ccc(O)cc1", "c1cc")
    with pytest.raises(InputError, match="no component"):
        empty = tmp_path / "empty.smi"
        empty.write_text("\n")
        read_components(empty)
    with pytest.raises(InputError, match="columns id and smiles"):
        wrong = tmp_path / "wrong.csv"
        wrong.write_text("a,b\n1,2\n")
        read_components(wrong)


def test_relatives_are_joined_through_either():
    # 0 and 1 share a pocket, 1 and 2 a scaffold, 3 nothing.
    groups = relatives(np.asarray([0, 0, 1, 2]), ["x", "y", "y", "z"])
    assert groups.tolist() == [0, 0, 0, 1]


def test_bad_folders(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        find_sources(tmp_path / "no")
    with pytest.raises(InputError, match="no complex"):
        find_sources(tmp_path)
    with pytest.raises(InputError, match="suffix"):
        prepare_docking(tmp_path, tmp_path / "set.h5")


def test_command_line(tmp_path, pdbbind, capsys):
    out = str(tmp_path / "set.npz")
    assert main(["prepare", "dock", str(pdbbind), "--conformers", "2", "-o", out, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["complexes"] == 3
    assert main(["prepare", "dock", str(tmp_path / "no"), "-o", out, "--overwrite"]) == 2
    assert "no such folder" in capsys.readouterr().err
