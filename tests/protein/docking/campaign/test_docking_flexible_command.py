"""`sciddiff dock --flex`: what is written, judged and reported, and what is refused."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("Bio")

from protein.docking.campaign import verdicts
from protein.docking.campaign.output import receptor_lines
from protein.docking.confidence.pose_set import pack, pose_set
from protein.docking.molecules.conformers import fresh_conformers
from protein.docking.molecules.ligand import ligand_from_smiles
from protein.docking.pipeline.docker import Docker
from protein.docking.pipeline.settings import EFFORTS, DockSettings
from protein.docking.poses.files import sdf_record
from protein.docking.poses.metrics import Verdict
from protein.docking.receptors.box import Box
from protein.docking.receptors.receptor import read_receptor
from protein.docking.receptors.side_chains import side_chains
from protein.docking.report import collect, write
from protein.docking.search.monte_carlo import SearchSettings
from sciddiff.cli.main import main
from sciddiff.errors import InputError

SMILES = "OCc1ccccc1"


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setitem(EFFORTS, "fast", SearchSettings(chains=16, rounds=2, final=20))


@pytest.fixture
def files(tmp_path, peptide) -> tuple[Path, Path]:
    """The helix, and a ligand beside its third residue."""
    receptor, ligand = tmp_path / "helix.pdb", tmp_path / "crystal.sdf"
    receptor.write_text("\n".join([*receptor_lines(peptide), "END", ""]))
    molecule = ligand_from_smiles(SMILES, "alcohol")
    tip = peptide.coords[[r == "A:3" and a == "NZ" for r, a in
                          zip(peptide.residues, peptide.atoms, strict=True)]]  # fmt: skip
    coords = fresh_conformers(molecule, 1, seed=1)[0]
    coords += tip - coords.mean(axis=0) + [0.0, 0.0, 4.5]
    ligand.write_text(sdf_record(molecule, coords, "alcohol", {}))
    return receptor, ligand


@pytest.fixture
def arguments(files, tmp_path):
    receptor, ligand = files
    return [
        "dock", "-r", str(receptor), "-l", SMILES, "--autobox-ligand", str(ligand),
        "--effort", "fast", "--poses", "3", "--ranker", "none", "-o", str(tmp_path / "out"),
    ]  # fmt: skip


def _models(file: Path) -> list[np.ndarray]:
    """Coordinates of each model."""
    parts = file.read_text().split("MODEL")[1:]
    return [np.asarray([[float(line[a : a + 8]) for a in (30, 38, 46)]
                        for line in part.splitlines() if line.startswith("ATOM")])
            for part in parts]  # fmt: skip


def _shown_where_each_pose_has_them(out: Path, models: list[np.ndarray], peptide) -> None:
    """The page moves the side chains of its pocket to those of the pose that it shows."""
    record, rows = collect.read_record(out), collect.read_rows(out)
    shown = list(collect.all_poses(out, rows, collect.Receptors(out, record)))
    data = json.loads(write._payload(shown))
    (pocket,), (ligand,) = data["pockets"], data["ligands"]
    flexible = np.isin(peptide.residues, record["request"]["flex"])
    names = list(zip(np.asarray(peptide.residues)[flexible], np.asarray(peptide.atoms)[flexible],
                     strict=True))  # fmt: skip
    assert len(ligand["moved"]["xyz"]) == len(models) > 1
    for xyz, model in zip(ligand["moved"]["xyz"], models, strict=True):
        for atom, place in zip(ligand["moved"]["atoms"], np.reshape(xyz, (-1, 3)), strict=True):
            chain, number = pocket["residues"][pocket["residue"][atom]][:2]
            k = names.index((f"{chain}:{number}", pocket["name"][atom]))
            assert np.abs(place - model[k]).max() < 6e-3
    apart = np.ptp(np.asarray(ligand["moved"]["xyz"]), axis=0)
    assert len(ligand["moved"]["atoms"]) > 3 and apart.max() > 0.5


def test_moved_side_chains_are_written_judged_and_reported(
    arguments, tmp_path, peptide, monkeypatch, capsys
):
    judged = []

    def bust(ligand, coords, file):
        judged.append(read_receptor(file))
        return [Verdict(True, (), {})] * len(coords)

    monkeypatch.setattr(verdicts, "bust", bust)
    assert main([*arguments, "--flex", "A:3, A:9", "--check", "2", "--json"]) == 0
    out = tmp_path / "out"
    (row,) = csv.DictReader((out / "results.csv").open())
    assert row["valid"] == "yes" and float(row["side_chains"])
    sdf = (out / row["file"]).read_text()
    assert f">  <side_chains>\n{row['side_chains']}\n" in sdf
    # One model for each pose, of the flexible residues alone.
    models = _models(out / row["file"].replace(".sdf", "_flex.pdb"))
    shown = np.isin(peptide.residues, ["A:3", "A:9"])
    count = int(row["poses"])
    assert [len(m) for m in models] == [shown.sum()] * count and count > 1
    assert max(np.abs(m - peptide.coords[shown]).max() for m in models) > 0.5
    # The complex is the helix with the side chains of the first pose.
    whole = read_receptor(out / row["file"].replace(".sdf", "_complex.pdb"))
    own = whole.coords[: len(peptide)]
    assert np.abs(own[shown] - models[0]).max() < 1e-3
    assert np.abs(own[~shown] - peptide.coords[~shown]).max() < 1e-3
    # Every pose was judged beside its own side chains.
    assert len(judged) == 2
    for receptor, model in zip(judged, models, strict=False):
        assert np.abs(receptor.coords[shown] - model).max() < 1e-3
    record = json.loads((out / "run.json").read_text())
    assert record["request"]["flex"] == ["A:3", "A:9"]
    assert "A:3, A:9" in (out / "report.html").read_text()
    assert (out / "contacts.csv").stat().st_size > 0
    # The same command does nothing again; other residues are another request.
    stamp = (out / row["file"]).stat().st_mtime_ns
    assert main([*arguments, "--flex", "A:3,A:9", "--check", "2", "--json"]) == 0
    assert (out / row["file"]).stat().st_mtime_ns == stamp
    capsys.readouterr()
    assert main([*arguments, "--flex", "A:3"]) == 2
    assert "flex" in capsys.readouterr().err


def test_contacts_of_a_pose_are_with_its_own_side_chains(arguments, tmp_path, peptide, capsys):
    assert main([*arguments, "--flex-auto", "8", "--check", "0", "--json"]) == 0
    said = capsys.readouterr().err
    out = tmp_path / "out"
    (row,) = csv.DictReader((out / "results.csv").open())
    models = _models(out / row["file"].replace(".sdf", "_flex.pdb"))
    _shown_where_each_pose_has_them(out, models, peptide)
    flexible = json.loads((out / "run.json").read_text())["request"]["flex"]
    assert "A:3" in flexible and f"side chains that turn: {', '.join(flexible)}\n" in said
    shown = np.flatnonzero(np.isin(peptide.residues, flexible))
    named = {(peptide.residues[i], peptide.atoms[i]): k for k, i in enumerate(shown)}
    from rdkit.Chem import SDMolSupplier

    poses = [mol.GetConformer().GetPositions() for mol in SDMolSupplier(str(out / row["file"]))]
    checked = 0
    for contact in csv.DictReader((out / "contacts.csv").open()):
        place = named.get((contact["residue"], contact["atom"]))
        if place is None:
            continue
        rank = int(contact["rank"]) - 1
        gaps = np.linalg.norm(poses[rank] - models[rank][place], axis=-1)
        assert np.abs(gaps - float(contact["distance"])).min() < 0.01
        checked += 1
    assert checked


def test_a_set_of_complexes_is_redocked_with_flexible_side_chains(files, tmp_path):
    receptor, ligand = files
    place = tmp_path / "set" / "1abc"
    place.mkdir(parents=True)
    (place / "protein.pdb").write_text(receptor.read_text())
    (place / "ligand.sdf").write_text(ligand.read_text())
    out = tmp_path / "redocked"
    given = ["dock", "--dataset", str(tmp_path / "set"), "--effort", "fast", "--ranker", "none",
             "--check", "0", "--flex-auto", "6", "-o", str(out), "--json"]  # fmt: skip
    assert main(given) == 0
    (row,) = csv.DictReader((out / "results.csv").open())
    assert row["side_chains"] and (out / "poses" / "1abc_flex.pdb").exists()
    assert json.loads((out / "run.json").read_text())["request"]["flex_auto"] == 6.0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--flex", "A:77"], "--flex: A:77 is not in helix.pdb"),
        (["--flex", "K3"], "write A:45,A:48"),
        (["--flex", "A:1"], "no torsion that turns"),
        (["--flex", "A:3", "--flex-auto", "3"], "give one of them"),
        (["--flex-auto", "1"], "no side chain within 1 Å"),
        (["--flex", "A:3", "--model", "dock_lite"], "leave --model out"),
    ],
)
def test_bad_requests_are_refused_in_one_line(arguments, options, words, capsys):
    assert main([*arguments, *options]) == 2
    told = capsys.readouterr().err.strip().splitlines()
    assert words in told[-1] and "Traceback" not in "".join(told)


def test_a_distance_needs_a_ligand(files, tmp_path, capsys):
    given = ["dock", "-r", str(files[0]), "-l", SMILES, "--center", "0", "0", "0",
             "--flex-auto", "3", "-o", str(tmp_path / "out")]  # fmt: skip
    assert main(given) == 2
    assert "--autobox-ligand" in capsys.readouterr().err
    assert main(["dock", "--dataset", str(tmp_path), "--flex", "A:3", "-o", str(tmp_path)]) == 2
    assert "--flex: --dataset" in capsys.readouterr().err


def test_a_network_is_refused(peptide):
    x, y, z = peptide.coords.mean(axis=0).tolist()
    box = Box((x, y, z), (16.0, 16.0, 16.0))
    sides = side_chains(peptide, ["A:3"])
    denoiser = object()
    with pytest.raises(InputError, match="takes the receptor as rigid"):
        Docker(peptide, box, DockSettings(effort="fast"), denoiser, sides=sides)


def test_the_ranker_sees_of_each_pose_its_own_pocket(peptide):
    ligand = ligand_from_smiles(SMILES)
    x, y, z = peptide.coords.mean(axis=0).tolist()
    box = Box((x, y, z + 6.0), (16.0, 16.0, 16.0))
    sides = side_chains(peptide, ["A:3", "A:6"])
    docker = Docker(peptide, box, DockSettings(effort="fast", conformers=1), sides=sides)
    (result,) = docker.dock([ligand], [0])
    receptors = [result.receptor(peptide, k) for k in range(len(result.docked.coords))]
    together = pack([pose_set(ligand, receptors, result.docked)])
    n = len(ligand)
    for k, receptor in enumerate(receptors):
        alone = pack([pose_set(ligand, receptor, result.docked.taken([k]))])
        mine = together.contact[0] // n == k
        assert mine.sum() == alone.contact.shape[1] > 0
        # Pocket atoms come in another order or number, but their contacts are these.
        shape = together.contact_shape[mine]
        assert torch.allclose(shape.sort(0).values, alone.contact_shape.sort(0).values, atol=1e-5)
        assert torch.allclose(together.features[k, :13], alone.features[0, :13], atol=1e-5)
