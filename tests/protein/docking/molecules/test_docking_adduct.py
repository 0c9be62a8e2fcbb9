"""Warheads and what becomes of them."""

import numpy as np
import pytest

from protein.docking.molecules.adduct import MOST_ADDUCTS, adducts, nucleophile
from protein.docking.molecules.atom_types import INDEX
from protein.docking.molecules.ligand import ligand_from_smiles
from protein.docking.molecules.warheads import BUILT_IN, read_warhead
from sciddiff.errors import InputError

CASES = [
    ("C=CC(=O)Nc1ccccc1", "C:SG", "acrylamide", "CCC(=O)Nc1ccccc1"),
    ("C=CC(=O)c1ccccc1", "C:SG", "Michael acceptor", "CCC(=O)c1ccccc1"),
    ("C=CS(=O)(=O)c1ccccc1", "H:NE2", "vinyl sulfone", "CCS(=O)(=O)c1ccccc1"),
    ("C=C(C)[N+](=O)[O-]", "C:SG", "nitroalkene", "CC(C)[N+](=O)[O-]"),
    ("CC#CC(=O)N1CCC1", "C:SG", "alkynamide", "CC=CC(=O)N1CCC1"),
    ("ClCC(=O)N[C@@H](C)c1ccccc1", "C:SG", "haloacetyl", "CC(=O)N[C@@H](C)c1ccccc1"),
    ("N#CC1(NC(=O)c2ccccc2)CC1", "C:SG", "nitrile", "N=CC1(NC(=O)c2ccccc2)CC1"),
    ("O=Cc1ccccc1O", "K:NZ", "aldehyde (imine)", "Cc1ccccc1O"),
    ("O=Cc1ccccc1O", "S:OG", "aldehyde", "OCc1ccccc1O"),
    ("O=C(C(F)(F)F)c1ccccc1", "S:OG", "activated ketone", "OC(c1ccccc1)C(F)(F)F"),
    ("CC1OC1C", "D:OD2", "epoxide", "CCC(C)O"),
    ("C1NC1", "E:OE1", "aziridine", "CCN"),
    ("OB(O)c1ccccc1", "T:OG1", "boronic acid", "O[BH-](O)c1ccccc1"),
    ("FS(=O)(=O)c1ccccc1", "Y:OH", "sulfonyl fluoride", "O=[SH](=O)c1ccccc1"),
    ("CP(=O)(F)OC(C)C", "S:OG", "fluorophosphonate", "CC(C)O[PH](C)=O"),
    ("O=C1CCN1C", "S:OG", "beta-lactam", "CNCCC=O"),
    ("S=C=NCc1ccccc1", "K:NZ", "isothiocyanate", "S=CNCc1ccccc1"),
    ("O=C(Oc1ccccc1)NC1CCCCC1", "S:OG", "active ester", "O=CNC1CCCCC1"),
    ("CSSC", "C:SG", "disulfide", "CS"),
]


def _made(smiles, where, warheads=BUILT_IN):
    residue = nucleophile(*where.split(":"))
    assert residue is not None
    return adducts(ligand_from_smiles(smiles, "x"), warheads, residue)


@pytest.mark.parametrize(("smiles", "where", "name", "bound"), CASES)
def test_a_warhead_becomes_what_chemistry_says(smiles, where, name, bound):
    (made,) = _made(smiles, where)
    assert (made.warhead.name, made.ligand.smiles) == (name, bound)
    n = len(made.ligand)
    assert len(made.whole) == n + len(made.residue.names)
    bond = made.whole.mol.GetBondBetweenAtoms(made.reacting, made.place(where.split(":")[1]))
    assert bond.GetBondTypeAsDouble() == made.warhead.order
    joined = [b for b in made.whole.mol.GetBonds()
              if (b.GetBeginAtomIdx() < n) != (b.GetEndAtomIdx() < n)]  # fmt: skip
    assert len(joined) == 1
    # Atoms are named by the residue's own elements, and the ends lead from the bond to CA.
    for atom in made.residue.names:
        assert made.whole.mol.GetAtomWithIdx(made.place(atom)).GetSymbol() == atom[0]
    near, middle, far = made.ends()
    assert near == made.place(made.residue.atom)
    assert middle in made.beside(near) and far in made.beside(middle)


def test_the_atom_that_binds_is_polar_and_the_rest_keeps_its_place():
    (made,) = _made("C=CC(=O)Nc1ccccc1", "C:SG")
    assert made.reacting == made.given == 0
    assert made.ligand.types[0] == INDEX["C_P"]  # beside sulfur; that of the free molecule is not
    (cut,) = _made("ClCC(=O)NC", "C:SG")
    assert (cut.given, cut.reacting) == (1, 0)
    assert [a.GetSymbol() for a in cut.ligand.mol.GetAtoms()] == list("CCONC")


def test_stereocentres_away_from_the_bond_stay():
    made = _made("C=CC(=O)N[C@@H](C)c1ccccc1", "C:SG")[0]
    assert made.ligand.smiles == "CCC(=O)N[C@@H](C)c1ccccc1"


def test_several_warheads_are_several_adducts_and_like_ones_are_one():
    names = [x.warhead.name for x in _made("N#C/C=C/C(=O)N1CCC1", "C:SG")]
    assert names == ["acrylamide", "acrylonitrile", "nitrile"]
    assert len(_made("N#CCC#N", "C:SG")) == 1
    many = "C(" + ")(".join(["CC#N", "CCC#N", "CCCC#N"]) + ")C(CCCCC#N)(CCCCCC#N)C(CCCCCCC#N)CC#N"
    assert len(_made(many, "C:SG")) == MOST_ADDUCTS


def test_ones_own_warhead():
    plain = _made("CCC(=O)NC", "C:SG", (read_warhead("[CH3:1]CC=O"),))  # a product: H is replaced
    assert plain[0].ligand.smiles == "CCC(=O)NC" and plain[0].reacting == 0
    leaves = _made("Clc1ncccn1", "C:SG", (read_warhead("[c:1]([Cl:3])n"),))
    assert leaves[0].ligand.smiles == "c1cncnc1"


@pytest.mark.parametrize(
    ("smarts", "words"),
    [
        ("[CH2", "not a valid SMARTS"),
        ("", "not a valid SMARTS"),
        ("C=CC=O", "which atom binds"),
        ("[C:1]=[C:2][C:2]", "may come once"),
        ("[C:1]=[C:4]", "may come once"),
        ("[C:1]C[C:2]", "have no bond"),
    ],
)
def test_patterns_that_say_nothing_are_refused(smarts, words):
    with pytest.raises(InputError, match=words):
        read_warhead(smarts)


def test_a_ligand_without_a_warhead_is_refused():
    with pytest.raises(InputError, match="x: has no warhead that binds SG"):
        _made("CCO", "C:SG")
    with pytest.raises(InputError, match="binds OG"):  # thiols and amines alone add to these
        _made("C=CC(=O)NC", "S:OG")
    with pytest.raises(InputError, match="cannot react"):
        _made("CC(C)(C)C", "C:SG", (read_warhead("[CX4H0:1](C)(C)(C)C"),))


def test_pairs_of_a_ligand_are_those_of_its_adduct():
    (made,) = _made("C=CC(=O)NCc1ccccc1", "C:SG")
    n = len(made.ligand)
    own = made.whole.interacting_pairs
    assert np.array_equal(made.ligand.interacting_pairs, own[(own < n).all(axis=1)])
    assert len(own) > len(made.ligand.interacting_pairs) > 0
