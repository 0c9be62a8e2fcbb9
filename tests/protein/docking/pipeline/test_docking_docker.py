"""Docking of libraries: proposals, packing, one bad molecule, resuming, the command line."""

import csv
import json

import numpy as np
import pytest
import torch

pytest.importorskip("e3nn")
pytest.importorskip("torch_geometric")
pytest.importorskip("Bio")

from protein.docking.campaign.output import write_complex
from protein.docking.confidence.ranker import find_ranker
from protein.docking.diffusion.network import DockNetwork
from protein.docking.diffusion.propose import find_proposer, propose
from protein.docking.diffusion.settings import ProposeSettings
from protein.docking.diffusion.templates import Site
from protein.docking.domain import docking_path
from protein.docking.energy.grid import make_grid
from protein.docking.energy.vina import VinaEnergy
from protein.docking.molecules.conformers import fresh_conformers
from protein.docking.molecules.files import read_place
from protein.docking.molecules.ligand import ligand_from_smiles
from protein.docking.pipeline.docker import Docker
from protein.docking.pipeline.settings import EFFORTS, DockSettings
from protein.docking.poses.pose import LigandBatch, coordinates
from protein.docking.receptors.box import box_around
from protein.docking.receptors.receptor import read_receptor
from protein.docking.search.monte_carlo import SearchSettings
from sciddiff.cli.main import main
from sciddiff.denoiser import Denoiser
from sciddiff.errors import InputError


@pytest.fixture(scope="module")
def denoiser() -> Denoiser:
    """An untrained network: proposals are random, laws hold all the same."""
    torch.manual_seed(0)
    net = DockNetwork("16x0e+8x1o+8x1e+4x0o", layers=1, hidden=16, cross=8, around=6)
    return Denoiser(net, docking_path())


@pytest.fixture(scope="module")
def place(conformer, imprint):
    """The mould of the drug and the box about it."""
    return imprint, box_around(conformer, 4.0)


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setitem(EFFORTS, "fast", SearchSettings(chains=16, rounds=2, final=20))


def _conformers(ligand, seed=1):
    return fresh_conformers(ligand, 2, seed)


def test_proposals_depend_on_seed_and_number_alone(denoiser, drug, place):
    receptor, box = place
    other = ligand_from_smiles("Oc1ccccc1", "phenol")
    settings = ProposeSettings(samples=4, steps=3)
    sites = [Site(ligand, np.asarray(box.center)) for ligand in (drug, other)]
    shapes = [_conformers(drug), _conformers(other)]
    both = propose(denoiser, sites, receptor, shapes, None, settings, 5, [7, 8])
    alone = propose(denoiser, sites[1:], receptor, shapes[1:], None, settings, 5, [8])
    assert both.translation.shape == (4, 2, 3)
    torch.testing.assert_close(both.translation[2:], alone.translation, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(both.rotation[2:], alone.rotation, rtol=1e-4, atol=1e-4)
    again = propose(denoiser, sites[1:], receptor, shapes[1:], None, settings, 5, [9])
    assert (again.translation - alone.translation).abs().max() > 0.1
    assert (both.translation - torch.tensor(box.center)).norm(dim=-1).max() < 25.0


def test_energy_guides_proposals(denoiser, drug, place):
    receptor, box = place
    shapes = _conformers(drug)
    batch = LigandBatch.pack([drug.tree] * 2, list(shapes))
    grid = make_grid(receptor, box, drug.types)
    energy = VinaEnergy.build([drug] * 2, [receptor], grids=[grid])
    sites = [Site(drug, np.asarray(box.center))]
    found = []
    for weight in (0.0, 2.0):
        settings = ProposeSettings(samples=32, steps=8, guidance=weight)
        pose = propose(denoiser, sites, receptor, [shapes], energy, settings, 0, [0])
        found.append(energy.evaluate(coordinates(batch, pose), 2.0)[0].mean())
    assert found[1] < found[0] - 3.0


def test_one_bad_ligand_takes_nobody_along(drug, place, monkeypatch):
    receptor, box = place
    docker = Docker(receptor, box, DockSettings(poses=3, conformers=2, effort="fast"))
    small = ligand_from_smiles("Oc1ccccc1", "phenol")
    together = docker.dock_together

    def explode(ligands, numbers):
        if any(ligand.name == "phenol" for ligand in ligands):
            raise RuntimeError("boom")
        return together(ligands, numbers)

    monkeypatch.setattr(docker, "dock_together", explode)
    good, bad = docker.dock([drug, small], [0, 1])
    assert good.docked is not None and len(good.docked.coords) >= 1 and not good.error
    assert bad.docked is None and "boom" in bad.error


def test_a_pose_is_the_same_whatever_it_is_docked_with(drug, place):
    texts = ("CCOC(=O)c1ccc(N)cc1", "OCC(O)COc1ccccc1", "CCCCCCNC(=O)CCc1ccccc1")
    first, second, larger = (ligand_from_smiles(text, f"n{k}") for k, text in enumerate(texts))
    docker = Docker(*place, DockSettings(conformers=2, effort="fast", seed=3))
    for ligand, number in ((drug, 4), (first, 7), (second, 8)):
        # The other one has more atoms and torsions, so that more is padded.
        alone = docker.dock_together([ligand], [number])[0].docked
        beside = docker.dock_together([larger, ligand], [9, number])[1].docked
        assert alone is not None and beside is not None
        np.testing.assert_allclose(alone.energy, beside.energy, atol=1e-5)
        np.testing.assert_allclose(alone.coords, beside.coords, atol=1e-4)


def test_no_bit_of_a_search_depends_on_padding():
    # A search is chaotic: a difference in the last bit of its metric leads to other poses.
    texts = ["CCOC(=O)c1ccc(N)cc1", "OCC(O)COc1ccccc1", "CCCCCCNC(=O)CCc1ccccc1", "CC(C)Cc1ccccc1",
             "NCCCCC(=O)NCc1ccncc1", "COc1ccc(CCN)cc1OC", "O=C(O)CCC(=O)NCCO"]  # fmt: skip
    ligands = [ligand_from_smiles(text, f"n{k}") for k, text in enumerate(texts)]
    larger = ligand_from_smiles("CCCCCCCCCCOC(=O)CCCCCCc1ccc(OCCCCCCCC)cc1", "larger")
    shapes = [fresh_conformers(ligand, 1, 0) for ligand in [*ligands, larger]]
    wide = LigandBatch.pack([x.tree for x in [*ligands, larger]], [x[0] for x in shapes])
    for k, ligand in enumerate(ligands):
        alone = LigandBatch.pack([ligand.tree], [shapes[k][0]])
        size = alone.metric.shape[1]
        assert torch.equal(alone.metric[0], wide.metric[k, :size])


def test_a_macrocycle_is_docked_by_ring_shapes_that_compete(place):
    ring = ligand_from_smiles("O=C1CCCCCCCCCCCCN1", "ring")
    small = ligand_from_smiles("CCO", "small")
    assert ring.macrocycle and not small.macrocycle
    docker = Docker(*place, DockSettings(conformers=2, effort="fast"))
    (alone,) = docker.dock([ring], [5])
    first, beside = docker.dock([small, ring], [4, 5])
    assert first.docked is not None and beside.docked is not None and alone.docked is not None
    assert first.docked.coords.shape[1] == 3 and beside.docked.coords.shape[1] == 15
    np.testing.assert_allclose(alone.docked.energy, beside.docked.energy, atol=1e-5)
    # The poses differ in the distances within the ring, which no bond of a pose turns.
    shapes = [np.linalg.norm(x[:, None] - x[None], axis=-1) for x in alone.docked.coords]
    assert max(np.abs(shape - shapes[0]).max() for shape in shapes) > 0.3


def test_settings_are_checked(place, denoiser):
    with pytest.raises(InputError, match="effort"):
        DockSettings(effort="huge")
    with pytest.raises(InputError, match="model"):
        Docker(*place, DockSettings(effort="none"))
    with pytest.raises(InputError, match="guidance"):
        ProposeSettings(guidance=-1.0)


def test_proposals_alone_are_minimised(denoiser, drug, place):
    settings = DockSettings(
        conformers=2, effort="none", propose=ProposeSettings(samples=8, steps=2), poses=4
    )
    (result,) = Docker(*place, settings, denoiser).dock([drug], [0])
    assert result.docked is not None
    energy = result.docked.energy
    assert (np.diff(energy) >= 0).all() and energy[0] < 0.0
    assert (result.strain > -0.5).all()


def test_command_line(tmp_path, files, capsys):
    out = tmp_path / "poses"
    arguments = [
        "dock", "-r", str(files / "receptor.pdb"), "-l", str(files / "lib.smi"),
        "--autobox-ligand", str(files / "ref.sdf"), "-o", str(out), "--effort", "fast",
        "--poses", "3", "--json",
    ]  # fmt: skip
    assert main(arguments) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["ligands"], told["docked"], told["failed"]) == (4, 2, 2)
    table = list(csv.DictReader((out / "results.csv").open()))
    # Ordered by affinity, those that failed last.
    affinities = [float(row["affinity"]) for row in table[:2]]
    assert affinities == sorted(affinities)
    assert [row["name"] for row in table[2:]] == ["bad", "salt"]
    best = (out / "best.sdf").read_text().split("$$$$\n")
    assert [text.partition("\n")[0] for text in best[:-1]] == [row["name"] for row in table[:2]]
    rows = sorted(table, key=lambda row: int(row["index"]))
    assert [row["name"] for row in rows] == ["phenol", "bad", "salt", "phenol_2"]
    assert [row["status"] for row in rows] == ["ok", "failed", "failed", "ok"]
    assert "SMILES" in rows[1]["reason"] and "salt" in rows[2]["reason"]
    assert rows[0]["stereo_kept"] == "yes" and float(rows[0]["strain"]) > -1.0
    text = (out / rows[0]["file"]).read_text()
    assert text.count("$$$$") == int(rows[0]["poses"]) and ">  <affinity>" in text
    record = json.loads((out / "run.json").read_text())
    assert record["request"]["effort"] == "fast" and record["runs"][0]["made"] == 4
    stamp = (out / rows[0]["file"]).stat().st_mtime_ns
    # Again: nothing is done twice. A lost row file: that part alone, to the same poses.
    assert main(arguments) == 1
    assert (out / rows[0]["file"]).stat().st_mtime_ns == stamp
    (out / "results.csv").unlink()
    (out / "rows" / "000000.json").unlink()
    assert main(arguments) == 1
    assert (out / rows[0]["file"]).read_text() == text
    capsys.readouterr()
    assert main([*arguments, "--seed", "3"]) == 2
    assert "another command" in capsys.readouterr().err


def test_command_line_refuses(tmp_path, files, capsys):
    base = ["dock", "-r", str(files / "receptor.pdb"), "-l", "CCO.CCN", "-o", str(tmp_path / "o")]
    assert main(base) == 2
    assert "give one of" in capsys.readouterr().err
    place = ["--autobox-ligand", str(files / "ref.sdf")]
    assert main([*base, *place, "--pocket-residues", "A:1"]) == 2
    one = ["CCO" if word == "CCO.CCN" else word for word in base]
    assert main([*one, "--center", "900", "900", "900"]) == 2
    assert "no atom" in capsys.readouterr().err
    assert main([*base, *place, "--effort", "none"]) == 2
    capsys.readouterr()
    assert main([*base, *place]) == 2
    assert "salt" in capsys.readouterr().err or not (tmp_path / "o" / "results.csv").exists()


def test_complex_is_read_back(tmp_path, drug, conformer, files):
    receptor = read_receptor(files / "receptor.pdb")
    write_complex(tmp_path / "c.pdb", receptor, drug, conformer)
    back = read_receptor(tmp_path / "c.pdb", keep=frozenset({"LIG"}))
    assert len(back) == len(receptor) + len(drug)
    np.testing.assert_allclose(back.coords[-len(drug) :], conformer, atol=1e-3)
    assert back.residues[:3] == receptor.residues[:3]


def test_the_network_is_found_by_name():
    cpu = torch.device("cpu")
    assert find_proposer(None, cpu) is None
    with pytest.raises(InputError, match="not a docking network"):
        find_proposer("dock_ranker", cpu)
    with pytest.raises(InputError, match="neither shipped"):
        find_proposer("dock_lit", cpu)
    found = find_proposer("dock_lite", cpu)
    assert found is not None and isinstance(found.net, DockNetwork)


def test_a_search_imports_nothing_of_the_network():
    """What the flow network needs takes seconds to import; a plain `dock` does without."""
    import subprocess
    import sys

    code = (
        "import sys\n"
        "from protein.docking.campaign.library import dock_parts\n"
        "from protein.docking.pipeline.docker import Docker\n"
        "from protein.docking.confidence.ranker import find_ranker\n"
        "assert find_ranker() is not None\n"
        "heavy = {'torch_geometric', 'e3nn', 'torch._dynamo', 'pandas', 'pytorch_lightning'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_from_python_poses_are_rdkit_molecules_with_tags(files, imprint):
    from rdkit import Chem

    from protein.docking.pipeline.dock import dock

    settings = DockSettings(poses=2, conformers=1, effort="fast")
    mol = Chem.MolFromSmiles("Oc1ccccc1")
    mol.SetProp("_Name", "phenol")
    found = dock(imprint, ["CCO", mol], files / "ref.sdf", settings)
    assert [len(poses) for poses in found] == [2, 2]
    best = found[1][0]
    assert best.GetProp("_Name") == "phenol" and best.GetProp("rank") == "1"
    assert best.GetConformer().Is3D() and float(best.GetProp("affinity")) < 5.0
    assert {"confidence", "energy", "strain", "term_hbond", "smiles"} <= set(best.GetPropNames())
    # The same poses as from a file, and from the command's own pipeline.
    box = box_around(read_place(files / "ref.sdf"))
    (result,) = Docker(imprint, box, settings, ranker=find_ranker()).dock(
        [ligand_from_smiles("Oc1ccccc1")], [1]
    )
    assert result.docked is not None
    np.testing.assert_allclose(
        best.GetConformer().GetPositions(), result.docked.coords[0], atol=2e-3
    )
    with pytest.raises(InputError, match="salt"):
        dock(imprint, ["CCO.CCN"], box, settings)
