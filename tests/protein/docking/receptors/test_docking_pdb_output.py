"""PDB files of receptors that the format has no names for: nothing merges, nothing is refused."""

import numpy as np
import pytest

from protein.docking.campaign.output import write_complex
from protein.docking.poses.metrics import pdb_file
from protein.docking.receptors.receptor import read_receptor
from protein.structures.chain import Backbone, SideAtom
from protein.structures.parse import read_atoms
from protein.structures.torsions import backbone_from_torsions
from protein.structures.write import write_mmcif


@pytest.fixture
def wide(tmp_path):
    """Two chains whose names begin with one letter, numbers above 9,999, far from the origin."""
    helix = backbone_from_torsions(np.tile(np.radians([-62.0, -43.0, 180.0]), (8, 1)))
    chains = []
    for number, name in enumerate(("AB", "AC")):
        coords = (helix + [1200.0, -1500.0, 12.0 * number]).astype(np.float32)
        cb = [(SideAtom("CB", "C", tuple(map(float, x[1] + [0.9, 0.9, 0.9]))),) for x in coords]
        chains.append(
            Backbone(coords, "A" * 8, name, np.arange(12001, 12009), side_chains=tuple(cb))
        )
    path = tmp_path / "wide.cif"
    write_mmcif(path, chains)
    return path


def test_a_complex_keeps_its_chains_apart(wide, drug, conformer, tmp_path):
    receptor = read_receptor(wide)
    assert set(receptor.residues) == {
        f"{c}:{n}" for c in ("AB", "AC") for n in range(12001, 12009)
    }
    write_complex(tmp_path / "c.pdb", receptor, drug, conformer)
    table, _ = read_atoms(tmp_path / "c.pdb")
    protein = [i for i in range(len(table)) if table.chains[i] != "z"]
    assert len(protein) == len(receptor) == 80
    assert set(table.chains) == {"A", "B", "z"}
    assert np.abs(table.coords[protein] - receptor.coords).max() < 6e-3
    assert {int(n) for n in table.numbers[protein]} == set(range(1, 9))
    assert table.notes == ()


def test_posebusters_reads_a_receptor_that_pdb_cannot_name(wide):
    whole, _ = read_atoms(wide)
    with pdb_file(wide) as copy:
        table, _ = read_atoms(copy)
        lines = copy.read_text().splitlines()
    assert len(table) == len(whole) and set(table.chains) == {"A", "B"}
    assert np.abs(table.coords - whole.coords).max() < 6e-3
    assert max(map(len, lines)) <= 80 and table.notes == ()


def test_labels_with_insertion_codes_and_more_chains_than_letters():
    from protein.structures.pdb_records import fit_residues

    residues = [(f"C{i}", n, code) for i in range(70) for n, code in ((52, ""), (52, "A"))]
    fitted = fit_residues(residues, reserved="z")
    assert len(set(fitted.values())) == 140 and "z" not in {c for c, _, _ in fitted.values()}
    assert fitted["C0", 52, "A"] == ("A", 52, "A")
