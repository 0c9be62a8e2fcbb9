"""Contacts on geometries made by hand: every kind exactly, its limits, and groups."""

import numpy as np
import pytest

pytest.importorskip("Bio")

from protein.docking.molecules.atom_types import INDEX
from protein.docking.molecules.ligand import ligand_from_smiles
from protein.docking.poses.contacts import (
    HBOND,
    HYDROPHOBIC,
    KINDS,
    METAL,
    SALT,
    ContactSites,
    find_contacts,
)
from protein.docking.receptors.receptor import Receptor


def receptor(*atoms):
    """Of (type, resname, atom, residue, xyz)."""
    types, resnames, names, residues, xyz = zip(*atoms, strict=True)
    elements = tuple(name[0] for name in names)
    where = np.asarray(xyz, float)
    return Receptor(where, np.asarray([INDEX[t] for t in types]), elements, names, resnames,
                    residues)  # fmt: skip


def listed(found):
    """Pose, kind, both atoms, distance."""
    rows = zip(found.pose, found.kind, found.ligand, found.receptor, found.distance, strict=True)
    return [(int(p), int(k), int(i), int(j), round(float(r), 3)) for p, k, i, j, r in rows]


def sites(*types, charge=None, group=None):
    n = len(types)
    return ContactSites(
        np.asarray([INDEX[t] for t in types]),
        np.asarray(charge or [0] * n),
        np.asarray(group or [-1] * n),
    )


def test_every_kind_at_its_distance_and_none_beyond():
    around = receptor(
        ("O_A", "GLY", "O", "A:1", (2.9, 0, 0)),
        ("N_D", "GLY", "N", "A:2", (0, 3.6, 0)),  # N–O bonds end at 3.5
        ("C_H", "LEU", "CD1", "A:3", (10, 3.7, 0)),
        ("C_H", "LEU", "CD2", "A:3", (10, 0, 3.5)),  # of one residue the closest
        ("C_P", "ALA", "C", "A:4", (10, -3.2, 0)),  # polar: none
        ("Met_D", "ZN", "ZN", "A:5", (20, 2.1, 0)),
        ("Met_D", "ZN", "ZN", "A:6", (20, 0, 3.0)),  # beyond 1.2 + 1.7
        ("C_H", "VAL", "CB", "A:7", (10, 0, -4.01)),
    )
    ligand = sites("O_DA", "C_H", "O_A")
    coords = np.asarray([[(0, 0, 0), (10, 0, 0), (20, 0, 0)]], float)
    # A donor and acceptor binds the acceptor; the amide is too far.
    assert listed(find_contacts(coords, ligand, around)) == [
        (0, HBOND, 0, 0, 2.9),
        (0, METAL, 2, 5, 2.1),
        (0, HYDROPHOBIC, 1, 3, 3.5),
    ]
    assert KINDS[HBOND] == "hydrogen bond"


def test_two_acceptors_and_two_donors_do_not_bind():
    around = receptor(("O_A", "GLY", "O", "A:1", (2.9, 0, 0)))
    assert len(find_contacts(np.zeros((1, 1, 3)), sites("O_A"), around)) == 0
    around = receptor(("N_D", "LYS", "NZ", "A:1", (2.9, 0, 0)))
    assert len(find_contacts(np.zeros((1, 1, 3)), sites("N_D"), around)) == 0


def test_a_salt_bridge_is_one_contact_and_takes_its_hydrogen_bonds():
    around = receptor(
        ("N_D", "ARG", "NH1", "A:1", (0, 2.8, 0)),
        ("N_D", "ARG", "NH2", "A:1", (2.2, 2.9, 0)),
        ("O_A", "GLU", "OE1", "A:2", (0, 0, 3.9)),  # charged alike
        ("N_D", "LYS", "NZ", "A:3", (0, -3.9, 0)),  # too far for a hydrogen bond
        ("N_D", "GLY", "N", "A:4", (-2.9, 0, 0)),
    )
    ligand = sites("O_A", "O_A", charge=[-1, -1], group=[7, 7])
    coords = np.asarray([[(0, 0, 0), (2.2, 0, 0)]], float)
    assert listed(find_contacts(coords, ligand, around)) == [
        (0, HBOND, 0, 4, 2.9),
        (0, SALT, 0, 0, 2.8),
        (0, SALT, 0, 3, 3.9),
    ]


def test_poses_are_found_together_as_alone(imprint, drug, conformer, monkeypatch):
    poses = np.stack([conformer + shift for shift in (0.0, 0.6, -0.4, 30.0)])
    where = ContactSites.of(drug.mol)
    together = listed(find_contacts(poses, where, imprint))
    assert together
    alone = [
        (k, *row[1:])
        for k in range(len(poses))
        for row in listed(find_contacts(poses[k : k + 1], where, imprint))
    ]
    assert together == alone
    monkeypatch.setattr("protein.docking.poses.contacts._MOST_PAIRS", 1)
    assert listed(find_contacts(poses, where, imprint)) == together
    # As a double loop would find them.
    gap = np.linalg.norm(poses[0][:, None] - imprint.coords, axis=-1)
    assert all(abs(gap[i, j] - r) < 1e-3 for p, _, i, j, r in together if p == 0)
    assert 3 not in {row[0] for row in together}


def test_no_atom_near_is_no_contact():
    around = receptor(("O_A", "GLY", "O", "A:1", (50, 0, 0)))
    assert len(find_contacts(np.zeros((2, 1, 3)), sites("O_DA"), around)) == 0


@pytest.mark.parametrize(
    ("smiles", "charges"),
    [
        ("CCN", [0, 0, 1]),
        ("CC(=O)N", [0, 0, 0, 0]),
        ("Nc1ccccc1", [0] * 7),
        ("NS(C)(=O)=O", [0] * 5),
        ("CC(N)=N", [0, 0, 1, 1]),
        ("CC(=O)O", [0, 0, -1, -1]),
        ("CC(=O)OC", [0] * 5),
        ("CS(=O)(=O)O", [0, 0, -1, -1, -1]),
        ("CP(=O)([O-])[O-]", [0, 0, -1, -1, -1]),
        ("C[N+](=O)[O-]", [0] * 4),
        ("C[N+](C)(C)C", [0, 1, 0, 0, 0]),
        ("c1nnn[nH]1", [0, 0, 0, 0, -1]),
    ],
)
def test_groups_are_charged_as_in_water(smiles, charges):
    found = ContactSites.of(ligand_from_smiles(smiles).mol)
    assert found.charge.tolist() == charges
    assert ((found.group >= 0) == (found.charge != 0)).all()
