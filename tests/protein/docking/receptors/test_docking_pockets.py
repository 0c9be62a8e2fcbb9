"""The pocket finder: carved cavities, ranking, invariance, bad input; docking into its sites."""

import csv
import json

import numpy as np
import pytest

pytest.importorskip("Bio")

from protein.docking.diffusion.settings import ProposeSettings
from protein.docking.molecules.atom_types import INDEX
from protein.docking.pipeline.docker import Docker
from protein.docking.pipeline.settings import EFFORTS, DockSettings
from protein.docking.receptors.alpha_spheres import DESCRIPTORS, WEIGHTS, alpha_spheres, describe
from protein.docking.receptors.box import Box, box_around
from protein.docking.receptors.pockets import FinderSettings, find_pockets
from protein.docking.receptors.receptor import Receptor
from protein.docking.search.monte_carlo import SearchSettings
from sciddiff.cli.main import main
from sciddiff.errors import InputError

LARGE, SMALL = np.asarray([-7.0, 1.0, 0.5]), np.asarray([9.0, -1.0, 0.0])


def block(*holes, size=(40.0, 30.0, 30.0), jitter=0.15, step=2.9, seed=0):
    """A solid of carbons, almost a lattice, with round holes (centre, radius in Å)."""
    axes = [np.arange(-edge / 2, edge / 2 + 0.1, step) for edge in size]
    coords = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    coords = coords + jitter * np.random.default_rng(seed).uniform(-1, 1, coords.shape)
    for center, radius in holes:
        coords = coords[np.linalg.norm(coords - center, axis=1) > radius]
    return receptor(coords)


def receptor(coords):
    m = len(coords)
    return Receptor(
        coords, np.full(m, INDEX["C_H"]), ("C",) * m, ("CD1",) * m, ("LEU",) * m,
        tuple(f"A:{i + 1}" for i in range(m)), "block",
    )  # fmt: skip


@pytest.fixture(scope="module")
def carved():
    return block((LARGE, 6.5), (SMALL, 4.6))


@pytest.fixture(scope="module")
def sites(carved):
    return find_pockets(carved)


def test_cavities_are_found_largest_first(carved, sites):
    assert np.linalg.norm(np.asarray(sites[0].center) - LARGE) < 1.0
    assert np.linalg.norm(np.asarray(sites[1].center) - SMALL) < 1.0
    assert [site.rank for site in sites] == list(range(1, len(sites) + 1))
    assert all(a.score >= b.score for a, b in zip(sites, sites[1:], strict=False))
    assert sites[0].volume > sites[1].volume
    # What is free of atoms of 1.7 Å: at least a ball of 6.5 - 1.7 Å, less than one of 6.5 Å.
    assert 460.0 < sites[0].volume < 1150.0
    assert sites[0].buried > 0.85 and sites[0].apolar == 1.0
    lining = {int(label.partition(":")[2]) - 1 for label in sites[0].residues}
    away = np.linalg.norm(carved.coords[sorted(lining)] - LARGE, axis=1)
    assert len(lining) > 20 and away.max() < 12.0


def test_boxes_hold_the_cavity_and_keep_to_the_limits(sites):
    settings = FinderSettings()
    hole = LARGE + 4.5 * np.concatenate([np.eye(3), -np.eye(3)])
    assert (sites[0].box.distance(hole) == 0.0).all()
    edges = np.asarray([site.box.size for site in sites])
    assert (edges >= settings.shortest).all() and (edges <= settings.longest).all()


def test_turning_and_shifting_changes_nothing_but_the_frame(carved, sites):
    q, _ = np.linalg.qr(np.random.default_rng(4).normal(size=(3, 3)))
    turn = q * np.sign(np.linalg.det(q))
    shift = np.asarray([800.0, -500.0, 90.0])
    again = find_pockets(receptor(carved.coords @ turn.T + shift))
    assert len(again) == len(sites)
    for before, after in zip(sites[:2], again[:2], strict=True):
        expected = np.asarray(before.center) @ turn.T + shift
        np.testing.assert_allclose(after.center, expected, atol=3e-3)
        assert after.score == pytest.approx(before.score, rel=1e-4)
        assert after.residues == before.residues and after.spheres == before.spheres
        assert after.volume == pytest.approx(before.volume, rel=0.05)


def test_order_of_atoms_does_not_matter(carved, sites):
    order = np.random.default_rng(5).permutation(len(carved))
    again = find_pockets(receptor(carved.coords[order]), most=1)
    np.testing.assert_allclose(again[0].center, sites[0].center, atol=2e-3)


def test_spheres_are_empty_and_touch_four_atoms(carved):
    spheres = alpha_spheres(carved)
    reach = np.linalg.norm(spheres.centers[:, None] - carved.coords[spheres.atoms], axis=-1)
    np.testing.assert_allclose(reach, np.tile(spheres.radii[:, None], 4), atol=1e-6)
    gap = np.linalg.norm(spheres.centers[:200, None] - carved.coords, axis=-1).min(axis=1)
    np.testing.assert_allclose(gap, spheres.radii[:200], atol=1e-6)
    assert 3.0 <= spheres.radii.min() and spheres.radii.max() <= 6.2
    told = describe(carved, spheres)
    assert told.shape == (len(spheres), len(DESCRIPTORS)) == (len(spheres), len(WEIGHTS))
    assert np.isfinite(told).all()
    column = DESCRIPTORS.index("residues_VLIA")
    np.testing.assert_allclose(told[:, column], 1.0)
    # In the middle of a small cavity atoms are on all sides, at the surface on one.
    middle = np.linalg.norm(spheres.centers - SMALL, axis=1).argmin()
    rim = np.abs(spheres.centers[:, 0]).argmax()
    one_sided = told[:, DESCRIPTORS.index("one_sided")]
    assert one_sided[middle] < 0.3 and one_sided[rim] > 0.5


def test_fewer_sites_on_request(carved, sites):
    assert find_pockets(carved, 1) == sites[:1]
    with pytest.raises(InputError, match="at least 1"):
        find_pockets(carved, 0)


def test_receptors_without_a_pocket_are_refused():
    with pytest.raises(InputError, match="no pocket.*--center"):
        find_pockets(block(size=(20.0, 20.0, 20.0), jitter=0.0))
    with pytest.raises(InputError, match="too few.*--center"):
        find_pockets(block(size=(5.0, 5.0, 5.0)))
    flat = np.random.default_rng(0).uniform(0, 40, (200, 3)) * [1, 1, 0]
    with pytest.raises(InputError, match="three dimensions"):
        find_pockets(receptor(flat))


@pytest.fixture
def quick(monkeypatch):
    pytest.importorskip("rdkit")
    pytest.importorskip("e3nn")
    pytest.importorskip("torch_geometric")
    monkeypatch.setitem(EFFORTS, "fast", SearchSettings(chains=16, rounds=2, final=20))


SETTINGS = DockSettings(poses=4, conformers=2, effort="fast")


def test_the_mould_of_a_ligand_is_found(imprint, conformer):
    site = find_pockets(imprint, 1)[0]
    assert np.linalg.norm(np.asarray(site.center) - conformer.mean(axis=0)) < 3.0


def test_poses_of_several_boxes_are_ranked_together(quick, drug, conformer, imprint):
    right = box_around(conformer, 3.0)
    away = Box((right.center[0] + 9.0, *right.center[1:]), (8.0, 8.0, 8.0))
    alone = Docker(imprint, right, SETTINGS).dock([drug], [3])[0]
    listed = Docker(imprint, [right], SETTINGS).dock([drug], [3])[0]
    other = Docker(imprint, [away], SETTINGS).dock([drug], [3])[0]
    both = Docker(imprint, [away, right], SETTINGS).dock([drug], [3])[0]
    for result in (alone, listed, other, both):
        assert result.docked is not None and not result.error
    np.testing.assert_array_equal(alone.docked.coords, listed.docked.coords)
    assert len(alone.sites) == 0 and len(both.sites) == len(both.docked.coords)
    # Two boxes share twice the effort of one, so the best of both is the best of each.
    best = min(alone.docked.energy[0], other.docked.energy[0])
    assert both.docked.energy[0] == pytest.approx(best, abs=1e-4)
    assert (np.diff(both.docked.energy) >= 0).all()
    middles = np.asarray([away.center, right.center])
    gap = np.linalg.norm(both.docked.coords.mean(1)[:, None] - middles, axis=-1)
    np.testing.assert_array_equal(both.sites, gap.argmin(1) + 1)
    with pytest.raises(InputError, match="at least one"):
        Docker(imprint, [])


def test_effort_is_shared_among_boxes(imprint, conformer):
    box = box_around(conformer)
    settings = DockSettings(
        conformers=1, effort=SearchSettings(chains=128), propose=ProposeSettings(samples=128)
    )
    dockers = [Docker(imprint, [box] * n, settings) for n in (1, 2, 3, 5)]
    assert [docker.effort.chains for docker in dockers] == [128, 128, 86, 52]
    assert [docker.draws.samples for docker in dockers] == [128, 128, 86, 52]


@pytest.fixture(scope="module")
def protein_file(tmp_path_factory, carved):
    """The carved block as a file; three atoms to a residue, so that it is read as protein."""
    lines = []
    for i, (x, y, z) in enumerate(carved.coords):
        atom = ("N", "CA", "C")[i % 3]
        lines.append(
            f"ATOM  {i + 1:5d}  {atom:<3s} UNK A{i // 3 + 1:4d}    {x:8.3f}{y:8.3f}{z:8.3f}"
            f"  1.00  0.00           {atom[0]}"
        )
    path = tmp_path_factory.mktemp("blind") / "receptor.pdb"
    path.write_text("\n".join([*lines, "END"]) + "\n")
    return path


def test_blind_docking_from_the_command_line(quick, tmp_path, protein_file, capsys):
    (tmp_path / "lib.smi").write_text("Oc1ccccc1 phenol\nnot_a_smiles bad\nCCO ethanol\n")
    out = tmp_path / "poses"
    arguments = [
        "dock", "-r", str(protein_file), "-l", str(tmp_path / "lib.smi"), "--blind",
        "--sites", "2", "-o", str(out), "--effort", "fast", "--poses", "3", "--json",
    ]  # fmt: skip
    assert main(arguments) == 1
    capsys.readouterr()
    record = json.loads((out / "run.json").read_text())
    found = record["sites"]
    assert [site["site"] for site in found] == [1, 2]
    assert np.linalg.norm(np.asarray(found[0]["center"]) - LARGE) < 1.5
    assert {"center", "size", "score", "residues"} <= found[0].keys() and found[0]["residues"]
    rows = list(csv.DictReader((out / "results.csv").open()))
    assert [row["status"] for row in rows] == ["ok", "ok", "failed"]
    assert rows[0]["site"] in ("1", "2") and rows[2]["site"] == ""
    text = (out / rows[0]["file"]).read_text()
    assert f">  <site>\n{rows[0]['site']}\n" in text
    # A lost part is done again, to the same poses; another number of sites is another request.
    (out / "rows" / "000000.json").unlink()
    assert main(arguments) == 1
    assert (out / rows[0]["file"]).read_text() == text
    capsys.readouterr()
    assert main([*arguments, "--sites", "1"]) == 2
    assert "another command" in capsys.readouterr().err


def test_blind_docking_refuses_what_contradicts_it(tmp_path, protein_file, capsys):
    pytest.importorskip("rdkit")
    base = ["dock", "-r", str(protein_file), "-l", "CCO", "-o", str(tmp_path / "o")]
    for words, told in (
        ([], "--blind"),
        (["--blind", "--center", "0", "0", "0"], "give one of"),
        (["--center", "0", "0", "0", "--sites", "3"], "--sites"),
    ):
        assert main([*base, *words]) == 2
        assert told in capsys.readouterr().err
    assert not (tmp_path / "o").exists()


def test_sites_are_shown(protein_file, capsys):
    from protein.commands.pockets import command
    from sciddiff.cli.parsing import parse

    assert command.run(parse(command, [str(protein_file), "--sites", "2"])) == 0
    table = capsys.readouterr().out.splitlines()
    assert table[0].split()[:4] == ["site", "score", "volume", "buried"] and len(table) == 3
    assert command.run(parse(command, [str(protein_file), "--json"])) == 0
    told = json.loads(capsys.readouterr().out)
    assert np.linalg.norm(np.asarray(told["sites"][0]["center"]) - LARGE) < 1.5
