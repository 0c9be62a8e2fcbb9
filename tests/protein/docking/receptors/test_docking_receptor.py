"""Receptors and boxes: what is kept, which types, which errors."""

from dataclasses import replace

import numpy as np
import pytest

from protein.docking.molecules.atom_types import TYPES
from protein.docking.receptors.box import Box, box_around
from protein.docking.receptors.common_frame import frame_fault
from protein.docking.receptors.receptor import read_receptor
from protein.docking.receptors.residues import box_of_residues
from protein.docking.receptors.waters import refuse_absent
from sciddiff.errors import InputError


def line(record, serial, atom, alt, resname, chain, number, xyz, element, occupancy=1.0):
    x, y, z = xyz
    name = f" {atom:<3s}" if len(atom) < 4 and len(element) == 1 else f"{atom:<4s}"
    return (
        f"{record:<6s}{serial:5d} {name}{alt}{resname:>3s} {chain}{number:4d}    "
        f"{x:8.3f}{y:8.3f}{z:8.3f}{occupancy:6.2f} 20.00          {element:>2s}"
    )


SERINE = [
    ("N", (0.0, 0.0, 0.0), "N"), ("CA", (1.46, 0.0, 0.0), "C"), ("C", (2.0, 1.42, 0.0), "C"),
    ("O", (1.3, 2.42, 0.0), "O"), ("CB", (2.0, -0.8, 1.2), "C"),
]  # fmt: skip


@pytest.fixture
def pdb(tmp_path):
    """Write a PDB of one serine and further lines."""

    def write(*extra, residue=True):
        lines = [
            line("ATOM", i + 1, a, " ", "SER", "A", 7, xyz, e)
            for i, (a, xyz, e) in enumerate(SERINE)
        ]
        path = tmp_path / "p.pdb"
        path.write_text("\n".join([*(lines if residue else []), *extra, "END"]) + "\n")
        return path

    return write


def types(receptor):
    return {(r, a): TYPES[t] for r, a, t in
            zip(receptor.resnames, receptor.atoms, receptor.types, strict=True)}  # fmt: skip


def test_a_file_is_read_once_until_it_changes(pdb):
    path = pdb(line("HETATM", 13, "O", " ", "HOH", "A", 201, (5.0, 5.0, 5.0), "O"))
    first = read_receptor(path)
    assert read_receptor(path) is first
    assert len(read_receptor(path, frozenset({"HOH"}))) == len(first) + 1
    path = pdb(line("HETATM", 14, "ZN", " ", " ZN", "A", 301, (5.0, 5.0, 5.0), "ZN"))
    assert len(read_receptor(path)) == len(first) + 1


def test_rules_of_what_is_kept(pdb):
    far = (20.0, 0.0, 0.0)
    path = pdb(
        line("ATOM", 10, "OG", "A", "SER", "A", 7, (3.4, -0.8, 1.2), "O", 0.3),
        line("ATOM", 11, "OG", "B", "SER", "A", 7, (1.6, -2.1, 1.2), "O", 0.7),
        line("ATOM", 12, "H", " ", "SER", "A", 7, (-0.5, 0.8, 0.0), "H"),
        line("HETATM", 13, "O", " ", "HOH", "A", 201, far, "O"),
        line("HETATM", 14, "ZN", " ", " ZN", "A", 301, (5.0, 5.0, 5.0), "ZN"),
        line("HETATM", 15, "C1", " ", "GOL", "A", 401, far, "C"),
        line("HETATM", 16, "FE", " ", "HEM", "A", 501, (30.0, 0.0, 0.0), "FE"),
        line("HETATM", 17, "NA", " ", "HEM", "A", 501, (32.0, 0.0, 0.0), "N"),
        line("HETATM", 18, "C1", " ", "LIG", "A", 601, far, "C"),
    )
    receptor = read_receptor(path)
    assert set(receptor.resnames) == {"SER", "ZN", "HEM"}
    found = types(receptor)
    assert ("SER", "H") not in found and found["ZN", "ZN"] == found["HEM", "FE"] == "Met_D"
    og = receptor.coords[receptor.atoms.index("OG")]
    assert np.allclose(og, (1.6, -2.1, 1.2)), "the fuller alternate location is used"
    notes = " ".join(receptor.notes)
    for words in ("1 waters dropped", "1 metal ions kept", "1 cofactors kept", "1 GOL, 1 LIG",
                  "1 residues with alternate"):  # fmt: skip
        assert words in notes
    assert "LIG" in read_receptor(path, keep=frozenset({"LIG"})).resnames
    assert "HEM" not in read_receptor(path, drop=frozenset({"HEM"})).resnames


def test_types_of_a_serine(pdb):
    path = pdb(line("ATOM", 10, "OG", " ", "SER", "A", 7, (3.4, -0.8, 1.2), "O"))
    found = types(read_receptor(path))
    assert found == {
        ("SER", "N"): "N_D", ("SER", "CA"): "C_P", ("SER", "C"): "C_P", ("SER", "O"): "O_A",
        ("SER", "CB"): "C_P", ("SER", "OG"): "O_DA",
    }  # fmt: skip


def test_no_protein_is_an_error(pdb):
    path = pdb(line("HETATM", 1, "C1", " ", "LIG", "A", 1, (0, 0, 0), "C"), residue=False)
    with pytest.raises(InputError, match="holds no protein"):
        read_receptor(path)


def test_boxes(pdb):
    receptor = read_receptor(pdb())
    box = box_around(np.asarray([[0.0, 0, 0], [2.0, 4.0, 6.0]]))
    assert box.center == (1.0, 2.0, 3.0) and box.size == (10.0, 12.0, 14.0)
    assert box_around(np.zeros((1, 3)), 4.0, least=18.0).size == (18.0, 18.0, 18.0)
    named = box_of_residues(receptor, "A:7")
    assert (named.distance(receptor.coords) == 0).all()
    assert Box((0, 0, 0), (2, 2, 2)).distance(np.asarray([4.0, 1, 5])) == pytest.approx(5.0)
    for bad, reason in (("A:8", "not in p.pdb"), ("7", "not chain:number"), ("B:7", "chains A")):
        with pytest.raises(InputError, match=reason):
            box_of_residues(receptor, bad)
    with pytest.raises(InputError, match="no atom of p.pdb"):
        receptor.near(Box((90.0, 0, 0), (10, 10, 10)))
    with pytest.raises(InputError, match="must be between"):
        Box((0, 0, 0), (0, 10, 10))


def test_every_receptor_of_the_set_is_typed(complexes):
    for folder in complexes[::14]:
        receptor = read_receptor(folder / "protein.pdb")
        assert len(receptor) > 500 and (receptor.types >= 0).all()
        assert not any("unknown element" in note for note in receptor.notes)


def test_waters_are_kept_by_name_alone(pdb):
    water = line("HETATM", 13, "O", " ", "HOH", "A", 201, (20.0, 0.0, 0.0), "O")
    path = pdb(line("ATOM", 10, "OG", " ", "SER", "A", 7, (3.4, -0.8, 1.2), "O"), water)
    assert types(read_receptor(path, frozenset({"HOH"})))["HOH", "O"] == "O_DA"
    assert "1 waters kept" in read_receptor(path, frozenset({"HOH"})).notes
    assert "1 waters dropped" in read_receptor(path, frozenset({"*"})).notes


def test_a_group_to_keep_that_is_not_there_is_refused(pdb):
    """A typing error would dock without the cofactor, and say nothing."""
    buffer = line("HETATM", 13, "C1", " ", "GOL", "A", 201, (20.0, 0.0, 0.0), "C")
    path = pdb(line("ATOM", 10, "OG", " ", "SER", "A", 7, (3.4, -0.8, 1.2), "O"), buffer)
    with pytest.raises(InputError, match=r"keep: GOI: no such group .*groups dropped: 1 GOL.*"):
        refuse_absent(path, read_receptor(path, frozenset({"GOI"})), frozenset({"GOI"}))
    for there in ("GOL", "HOH", "SER"):  # a structure may be without waters
        refuse_absent(path, read_receptor(path, frozenset({there})), frozenset({there}))


def test_structures_of_one_protein_in_two_frames(complexes):
    receptor = read_receptor(complexes[0] / "protein.pdb")
    box = Box(tuple(receptor.coords.mean(0).tolist()), (20.0, 20.0, 20.0))
    assert frame_fault(receptor, receptor, box) == ""
    near = replace(receptor, coords=receptor.coords + 1.0)  # a difference of two crystals
    assert frame_fault(receptor, near, box) == ""
    moved = replace(receptor, coords=receptor.coords + [0.0, 6.0, 0.0])
    assert "are 6.0 Å from those of the first structure, and 0.0 Å" in frame_fault(
        receptor, moved, box
    )
    other = replace(moved, residues=tuple(f"{name}x" for name in moved.residues))
    assert frame_fault(receptor, other, box) == ""  # no residues in common: nothing is known


def test_a_receptor_that_is_mostly_absent_is_refused(pdb):
    bare = [
        line("ATOM", 4 * n + i, a, " ", "SER", "A", 10 + n, (x + 5.0 * n, y, z), e)
        for n in range(9)
        for i, (a, (x, y, z), e) in enumerate(SERINE[:4])
    ]
    with pytest.raises(InputError, match="10 of 10 residues lack atoms; rebuild their side"):
        read_receptor(pdb(*bare))
    oxygen = line("ATOM", 10, "OG", " ", "SER", "A", 7, (3.4, -0.8, 1.2), "O")
    odd = [
        line("HETATM", 20 + i, f"X{i}", " ", "UNX", "A", 300 + i, (30.0, 3.0 * i, 0.0), "XX")
        for i in range(3)
    ]
    with pytest.raises(InputError, match="3 of 9 atoms are of an element without an energy"):
        read_receptor(pdb(oxygen, *odd), frozenset({"UNX"}))


def test_a_receptor_whose_numbers_start_again_is_whole(pdb):
    oxygen = line("ATOM", 10, "OG", " ", "SER", "A", 7, (3.4, -0.8, 1.2), "O")
    moved = [
        line("ATOM", i + 30, a, " ", "SER", "A", 7, (x + 15.0, y, z), e)
        for i, (a, (x, y, z), e) in enumerate([*SERINE, ("OG", (3.4, -0.8, 1.2), "O")])
    ]
    receptor = read_receptor(pdb(oxygen, "TER", *moved))
    assert len(receptor) == 12 and sorted(set(receptor.residues)) == ["A:7", "B:7"]
    assert any("start again" in note for note in receptor.notes)


def test_a_nucleic_acid_is_a_receptor(tmp_path):
    """Bases have the donors and acceptors of their pairs."""
    from rdkit import Chem
    from rdkit.Chem.rdDistGeom import EmbedMolecule

    mol = Chem.AddHs(Chem.MolFromSequence("AC", flavor=6))
    assert EmbedMolecule(mol, randomSeed=1, useRandomCoords=True) == 0
    file = tmp_path / "dna.pdb"
    file.write_text(Chem.MolToPDBBlock(Chem.RemoveHs(mol)))
    receptor = read_receptor(file)
    kinds = {
        (name, atom): TYPES[kind]
        for name, atom, kind in zip(receptor.resnames, receptor.atoms, receptor.types, strict=True)
    }
    assert receptor.notes == ("2 nucleotides kept",)
    assert [kinds["DA", atom] for atom in ("N1", "N3", "N6", "N7", "N9")] == [
        "N_A", "N_A", "N_D", "N_A", "N_P"
    ]  # fmt: skip
    assert [kinds["DC", atom] for atom in ("O2", "N3", "N4", "OP1", "P")] == [
        "O_A", "N_A", "N_D", "O_A", "P_P"
    ]  # fmt: skip
