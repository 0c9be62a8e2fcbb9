"""Poses that stay near what they share with a known ligand."""

import csv
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

pytest.importorskip("Bio")
from rdkit import Chem
from rdkit.Chem.AllChem import EmbedMolecule

from protein.docking.campaign.output import receptor_lines
from protein.docking.molecules.common_core import CommonCore, common_core, core_conformers
from protein.docking.molecules.conformers import fresh_conformers
from protein.docking.molecules.ligand import Ligand, ligand_from_mol, ligand_from_smiles
from protein.docking.pipeline.dock import dock as dock_molecules
from protein.docking.pipeline.dock import read_template
from protein.docking.pipeline.docker import Docker
from protein.docking.pipeline.settings import EFFORTS, DockSettings
from protein.docking.poses.files import sdf_record
from protein.docking.poses.pose import LigandBatch
from protein.docking.receptors.box import Box, box_around
from protein.docking.report.collect import read_poses
from protein.docking.search import monte_carlo
from protein.docking.search.minimize import Minimum
from protein.docking.search.monte_carlo import SearchSettings
from sciddiff.cli.main import main
from sciddiff.errors import InputError
from sciddiff.streams import Streams

COUSIN = "CC(=O)Nc1ccc(OCCN)cc1"
TINY = SearchSettings(chains=16, rounds=4, evaluations=8, archive=8, final=20)


@pytest.fixture(scope="module")
def template(drug, conformer) -> Ligand:
    """The ligand of the mould, in its place."""
    mol = Chem.Mol(drug.with_coords(conformer))
    return ligand_from_mol(mol, "template")


def dock(template, imprint, conformer, limit, seed=0, count=2):
    settings = DockSettings(poses=5, conformers=count, effort=TINY, seed=seed, template_rmsd=limit)
    box = box_around(conformer, 6.0)
    docker = Docker(imprint, box, settings, template=template)
    cousin = ligand_from_smiles(COUSIN, "cousin")
    return cousin, docker.dock([cousin, ligand_from_smiles("CCO", "none")], [4, 5])


def test_a_template_may_be_a_file_of_atoms(tmp_path):
    """Places of a PDB or PDBQT file are kept, and not only the SMILES that it stands for."""
    mol = Chem.AddHs(Chem.MolFromSmiles("c1ccccc1CO"))
    EmbedMolecule(mol, randomSeed=1)
    Chem.MolToPDBFile(mol, str(tmp_path / "known.pdb"))
    template = read_template(tmp_path / "known.pdb")
    assert template.smiles == "OCc1ccccc1"
    place = mol.GetConformer().GetPositions()[:8]
    assert np.abs(np.sort(template.require_coords(), 0) - np.sort(place, 0)).max() < 2e-3
    (tmp_path / "flat.smi").write_text("CCO\n")
    with pytest.raises(InputError, match="holds no coordinates"):
        read_template(tmp_path / "flat.smi")


def test_the_common_core_is_that_of_the_molecules(template, conformer):
    cousin = ligand_from_smiles(COUSIN, "cousin")
    core = common_core(cousin, template)
    # N-phenyl acetamide with its ether shares the benzene ring and the whole chain OCCN.
    assert core.ways.shape[1] == len(core.places) == 10
    symbols = [cousin.mol.GetAtomWithIdx(int(a)).GetSymbol() for a in core.ways[0]]
    assert sorted(symbols) == sorted("CCCCCCOCCN")
    assert {tuple(xyz) for xyz in core.places.tolist()} <= {tuple(x) for x in conformer.tolist()}
    assert len(core.ways) == 2  # the ring matches in two ways
    itself = common_core(template, template)
    assert itself.rmsd(conformer) == pytest.approx(0.0)
    assert itself.rmsd(conformer + [3.0, 0.0, 4.0]) == pytest.approx(5.0, abs=1e-9)


def test_rmsd_is_that_of_the_closest_way():
    core = CommonCore(np.asarray([[0, 1], [1, 0]]), np.asarray([[0.0, 0, 0], [2.0, 0, 0]]))
    coords = np.asarray([[2.0, 0, 0], [0.0, 0, 0], [9.0, 9, 9]])
    assert core.rmsd(coords) == pytest.approx(0.0)
    assert core.rmsd(coords + [0.0, 0.0, 1.5]) == pytest.approx(1.5)


def test_torsions_of_the_core_are_held_and_no_others(template):
    cousin = ligand_from_smiles(COUSIN, "cousin")
    core = common_core(cousin, template)
    inside = set(core.ways[0].tolist())
    for held, (a, b), mask in zip(
        core.held(cousin, 0), cousin.tree.bonds.tolist(), cousin.tree.masks, strict=True
    ):
        moved = inside & set(np.flatnonzero(mask).tolist()) - {a, b}
        assert held == bool(moved and inside - moved - {a, b})
    assert core.held(cousin, 0).sum() == 3  # aryl-O, O-C and C-C; the amide lies outside


def test_conformers_have_the_core_at_its_place(template):
    cousin = ligand_from_smiles(COUSIN, "cousin")
    core = common_core(cousin, template)
    made = core_conformers(cousin, core, 3, seed=1)
    assert made.shape == (3, len(cousin), 3)
    assert core.rmsd(made).max() < 0.5
    assert np.array_equal(made, core_conformers(cousin, core, 3, seed=1))


def test_poses_stay_near_the_template_and_strangers_are_told(template, imprint, conformer):
    cousin, (result, stranger) = dock(template, imprint, conformer, 1.5)
    assert result.docked is not None and len(result.docked.coords)
    core = common_core(cousin, template)
    assert core.rmsd(result.docked.coords).max() <= 1.5
    assert stranger.docked is None and "shares 3 heavy atoms" in stranger.error
    _, (free, _) = dock(template, imprint, conformer, 100.0)
    assert free.docked is not None
    assert core.rmsd(free.docked.coords).max() > 1.5
    _, (again, _) = dock(template, imprint, conformer, 1.5)
    assert again.docked is not None
    assert np.array_equal(again.docked.coords, result.docked.coords)


def test_a_limit_that_no_pose_keeps(template, imprint, conformer):
    _, (result, _) = dock(template, imprint, conformer, 1e-3)
    assert result.docked is None
    assert "no pose has its common part within 0.001 Å of the template" in result.error


@pytest.fixture
def files(tmp_path, peptide) -> tuple[Path, Path]:
    """The helix, and a known ligand beside its third residue."""
    receptor, known = tmp_path / "helix.pdb", tmp_path / "known.sdf"
    receptor.write_text("\n".join([*receptor_lines(peptide), "END", ""]))
    molecule = ligand_from_smiles("OCc1ccccc1", "known")
    tip = peptide.coords[[r == "A:3" and a == "NZ" for r, a in
                          zip(peptide.residues, peptide.atoms, strict=True)]]  # fmt: skip
    coords = fresh_conformers(molecule, 1, seed=1)[0]
    known.write_text(
        sdf_record(molecule, coords + tip - coords.mean(0) + [0, 0, 4.5], "known", {})
    )
    return receptor, known


def test_the_command(files, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(EFFORTS, "fast", TINY)
    receptor, known = files
    arguments = ["dock", "-r", str(receptor), "-l", "OCc1ccc(C)cc1", "--template", str(known),
                 "--effort", "fast", "--ranker", "none", "--check", "0"]  # fmt: skip
    out = tmp_path / "out"
    assert main([*arguments, "-o", str(out)]) == 0
    (row,) = csv.DictReader((out / "results.csv").open())
    poses = read_poses(out / row["file"])
    assert poses is not None
    reference = next(iter(Chem.SDMolSupplier(str(known))))
    core = common_core(ligand_from_mol(poses.mol, "pose"), ligand_from_mol(reference, "known"))
    assert core.rmsd(poses.coords).max() <= 2.0 + 1e-3
    assert main([*arguments, "--blind", "-o", str(tmp_path / "b")]) == 2
    assert "--template: says where to search" in capsys.readouterr().err
    known.write_text(known.read_text().replace("known", "other", 1))
    assert main([*arguments, "-o", str(out)]) == 2  # the template is another
    assert "--template" in capsys.readouterr().err


class Scripted:
    """A search whose poses are near the template (A) or too far from it (R), as a script says.

    The far ones have an energy of -100 kcal/mol, and the others one of 0. The x of a pose's
    translation is 1 for the far ones.
    """

    def __init__(self, *chains: str, given: int) -> None:
        self.chains, self.step = chains, -given

    def minimize(self, batch, energy, pose, settings) -> Minimum:
        count = pose.translation.shape[1]
        step, self.step = max(0, self.step), self.step + 1
        far = torch.tensor([[float(chain[step] == "R") for chain in self.chains]])[:, :count]
        place = torch.zeros_like(pose.translation)
        place[..., 0] = far
        coords = torch.zeros(*pose.translation.shape[:2], batch.reference.shape[1], 3)
        coords[..., 0] = far[..., None]
        return Minimum(pose._replace(translation=place), coords, -100.0 * far)

    def evaluate(self, coords, cap):
        return (-100.0 * coords[:, :, 0, 0],)

    def score(self, coords):
        return SimpleNamespace(total=-100.0 * coords[:, :, 0, 0])

    def refused(self, coords):
        return coords[:, :, 0, 0] > 0.5

    def start(self, batch, pose, generator):
        return pose


@pytest.mark.parametrize(
    ("chains", "rounds", "renewal"),
    [
        (["RA"], 1, 5),  # a chain that begins too far goes wherever it is near
        (["RRA"], 2, 5),  # and also where the soft core has changed meanwhile
        (["AR"], 1, 5),  # a chain that is near goes nowhere else
        (["RR", "AA"], 1, 5),  # only what is near is kept
        (["RRRRA"], 4, 1),  # copies of kept poses are no nearer than these
    ],
)
def test_every_round_refuses_poses_too_far_from_the_template(chains, rounds, renewal, monkeypatch):
    script, handed = Scripted(*chains, given=1), []
    ethanol = ligand_from_smiles("CCO", "ethanol")
    batch = LigandBatch.pack([ethanol.tree], fresh_conformers(ethanol, 1, seed=0))
    settings = SearchSettings(
        chains=len(chains), rounds=rounds, renewal=renewal, renewed=1.0, screened=1, archive=1
    )
    monkeypatch.setattr(monte_carlo, "minimize", script.minimize)
    monkeypatch.setattr(monte_carlo, "finish", lambda *given: handed.append(given[2]))
    box = Box((0.0, 0.0, 0.0), (10.0, 10.0, 10.0))
    monte_carlo.search(batch, script, [box], Streams(0, torch.tensor([0])), settings, script)
    assert handed[0].translation[0, :, 0].tolist() == [0.0]


def test_the_last_minimisation_refuses_them_too(monkeypatch):
    script = Scripted("R", "A", given=0)
    ethanol = ligand_from_smiles("CCO", "ethanol")
    batch = LigandBatch.pack([ethanol.tree], fresh_conformers(ethanol, 1, seed=0))
    monkeypatch.setattr(monte_carlo, "minimize", script.minimize)
    box = Box((0.0, 0.0, 0.0), (10.0, 10.0, 10.0))
    pose = monte_carlo.random_poses(batch, [box], 2, Streams(0, torch.tensor([0])))
    found = monte_carlo.finish(batch, script, pose, TINY, script)
    assert found.energy.tolist() == [[0.0, float("inf")]]
    assert found.pose.translation[0, 0, 0] == 0.0


def test_from_python_a_template_is_a_ligand_or_a_file(
    template, drug, imprint, conformer, tmp_path
):
    file = tmp_path / "known.sdf"
    file.write_text(Chem.MolToMolBlock(drug.with_coords(conformer)) + "$$$$\n")
    settings = DockSettings(poses=2, conformers=2, effort=TINY)
    given = {"box": box_around(conformer, 6.0), "settings": settings, "ranker": "none"}
    (named,), (held,), (free,) = (
        dock_molecules(imprint, [COUSIN], **given, template=one)
        for one in (file, read_template(file), None)
    )
    core = common_core(ligand_from_smiles(COUSIN), template)
    at = [pose.GetConformer().GetPositions() for pose in (named[0], held[0], free[0])]
    np.testing.assert_allclose(at[0], at[1], atol=2e-3)
    assert core.rmsd(at[0]) < settings.template_rmsd and np.abs(at[0] - at[2]).max() > 0.1
    with pytest.raises(InputError, match=r"absent\.sdf"):
        dock_molecules(imprint, [COUSIN], **given, template=tmp_path / "absent.sdf")
