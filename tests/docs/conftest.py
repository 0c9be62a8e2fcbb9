"""Small files that stand in for the ones the documents name, each made when first asked for."""

import importlib
import os
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sciddiff.cli.main import main

ROOT = Path(__file__).resolve().parents[2]
ENTRY_POINTS = "[sciddiff.domains]\nmixture = mixture_domain:MixtureDomain\n"


class StandIns:
    """A folder of stand-ins, filled on demand."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def place_all(self, where: Path, named_in: str) -> None:
        """Put every stand-in whose name stands in a text into a folder."""
        for name in MAKERS:
            if re.search(rf"(?<![\w./-]){re.escape(name)}\b", named_in):
                self.place(name, where)

    def place(self, name: str, where: Path) -> None:
        """Put the stand-in of that name, made once in a session, into a folder."""
        made = self.folder / name
        if not made.exists():
            made.parent.mkdir(parents=True, exist_ok=True)
            MAKERS[name](self, made)
        target = where / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if made.is_dir():
            shutil.copytree(made, target)
        else:
            shutil.copy(made, target)

    def get(self, name: str) -> Path:
        """Where a stand-in is that another one is made from."""
        made = self.folder / name
        if not made.exists():
            made.parent.mkdir(parents=True, exist_ok=True)
            MAKERS[name](self, made)
        return made


def _run(*words: object) -> None:
    assert main([str(word) for word in words]) == 0


def _structures(files: StandIns, made: Path) -> None:
    """Four designed backbones of 60 residues."""
    _run("backbone", "--length", 60, "-n", 4, "--steps", 10, "--no-report", "-o", made)
    for path in [*made.glob("*.cif"), *made.glob("*.json")]:
        path.unlink()


def _structure(files: StandIns, made: Path) -> None:
    shutil.copy(min(files.get("structures").glob("*.pdb")), made)


def _moved(files: StandIns) -> np.ndarray:
    """What brings the middle of that structure to (10, 2, -5), where a document has its box."""
    lines = files.get("file.pdb").read_text().splitlines()
    atoms = [line for line in lines if line.startswith("ATOM")]
    middle = np.mean([[float(a[30:38]), float(a[38:46]), float(a[46:54])] for a in atoms], axis=0)
    return np.asarray([10.0, 2.0, -5.0]) - middle


def _receptor(files: StandIns, made: Path) -> None:
    shift, lines = _moved(files), []
    for line in files.get("file.pdb").read_text().splitlines():
        if line.startswith("ATOM"):
            place = [float(line[i : i + 8]) for i in (30, 38, 46)] + shift
            line = line[:30] + "".join(f"{x:8.3f}" for x in place) + line[54:]
        lines.append(line)
    made.write_text("\n".join(lines) + "\n")


def _receptor_cif(files: StandIns, made: Path) -> None:
    from Bio.PDB.mmcifio import MMCIFIO
    from Bio.PDB.PDBParser import PDBParser

    writer = MMCIFIO()
    writer.set_structure(PDBParser(QUIET=True).get_structure("r", files.get("receptor.pdb")))
    writer.save(str(made))


def _ligand(smiles: str) -> Callable[[StandIns, Path], None]:
    """Maker of a molecule with coordinates at (10, 2, -5)."""

    def make(files: StandIns, made: Path) -> None:
        from rdkit import Chem
        from rdkit.Chem import rdDistGeom
        from rdkit.Geometry import Point3D

        molecule = Chem.AddHs(Chem.MolFromSmiles(smiles))
        rdDistGeom.EmbedMolecule(molecule, randomSeed=1)
        shape = molecule.GetConformer()
        middle = shape.GetPositions().mean(axis=0)
        for i, place in enumerate(shape.GetPositions() - middle + (10.0, 2.0, -5.0)):
            shape.SetAtomPosition(i, Point3D(*place))
        molecule.SetProp("_Name", made.stem)
        with Chem.SDWriter(str(made)) as writer:
            writer.write(molecule)

    return make


def _library(files: StandIns, made: Path) -> None:
    made.write_text("Oc1ccccc1 phenol\n")


def _complexes(files: StandIns, made: Path) -> None:
    for name, ligand in (("1abc", "ligands.sdf"), ("2xyz", "crystal.sdf")):
        (made / name).mkdir(parents=True)
        shutil.copy(files.get("receptor.pdb"), made / name / "protein.pdb")
        shutil.copy(files.get(ligand), made / name / "ligand.sdf")


def _mixture(files: StandIns, made: Path) -> None:
    text = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    made.write_text(text.split("```yaml\n")[1].split("```")[0])


MAKERS: dict[str, Callable[[StandIns, Path], None]] = {
    "structures": _structures,
    "file.pdb": _structure,
    "receptor.pdb": _receptor,
    "receptor.cif": _receptor_cif,
    "ligands.sdf": _ligand("CC(=O)Nc1ccc(O)cc1"),
    "crystal.sdf": _ligand("Oc1ccccc1"),
    "vina_out.sdf": _ligand("CC(=O)Nc1ccc(O)cc1"),
    "glide_out.sdf": _ligand("CC(=O)Nc1ccc(O)cc1"),
    "library.smi": _library,
    "complexes": _complexes,
    "mixture.yaml": _mixture,
}


@pytest.fixture(scope="session")
def stand_ins(tmp_path_factory) -> StandIns:
    """The stand-ins of this session."""
    return StandIns(tmp_path_factory.mktemp("stand_ins"))


@pytest.fixture
def scratch(tmp_path, monkeypatch) -> Path:
    """An empty working folder from which a checkout's files can be named, as from its root.

    The example domain is installed beside it, as `pip install ./examples/new_domain` would do.
    """
    for name in ("configs", "examples", "benchmarks", "docs"):
        (tmp_path / name).symlink_to(ROOT / name)
    plugins = tmp_path / "plugins"
    information = plugins / "mixture-1.0.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: mixture\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(ENTRY_POINTS)
    paths = [str(plugins), str(ROOT / "examples" / "new_domain"), str(ROOT)]
    for path in reversed(paths):
        monkeypatch.syspath_prepend(path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    importlib.invalidate_caches()
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("mixture_domain", None)
