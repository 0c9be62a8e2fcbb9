"""Scoring functions: Vinardo's published values of single pairs, files of weights, atom terms."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from protein.docking.energy.pairwise import atom_terms, interaction
from protein.docking.energy.scoring_file import find_scoring
from protein.docking.energy.terms import VINA, VINARDO, type_table
from protein.docking.molecules.atom_types import INDEX
from sciddiff.errors import InputError

# Weighted terms by hand: gauss exp(-(d/0.8)²), repulsion d², hydrophobic from 0 to 2.5 Å, hydrogen
# bond from -0.6 to 0 Å. AutoDock Vina 1.2.7 (sf_name="vinardo") prints the last column.
PAIRS = [
    ("C_H", "C_H", 3.9, -0.045 * np.exp(-((0.1 / 0.8) ** 2)) + 0.8 * 0.01 - 0.035, -0.071),
    ("C_H", "C_H", 4.4, -0.045 * np.exp(-0.25) - 0.035 * (2.1 / 2.5), -0.064),
    ("O_A", "O_A", 3.0, -0.045 * np.exp(-0.0625) + 0.8 * 0.04, -0.011),
    ("N_DA", "O_A", 2.9, -0.045 * np.exp(-0.25) + 0.8 * 0.16 - 0.6 * (0.4 / 0.6), -0.306),
    ("Cl_H", "C_H", 5.0, -0.045 * np.exp(-2.25) - 0.035 * (1.3 / 2.5), -0.023),
    ("C_H", "C_H", 8.0, 0.0, 0.0),
]


@pytest.mark.parametrize(("first", "second", "distance", "energy", "printed"), PAIRS)
def test_vinardo_of_a_pair(first, second, distance, energy, printed):
    coords = torch.zeros(1, 1, 1, 3)
    found = interaction(
        coords, torch.tensor([[INDEX[first]]]), torch.tensor([[distance, 0.0, 0.0]]),
        torch.tensor([INDEX[second]]), VINARDO,
    )  # fmt: skip
    assert float(found.atoms) == pytest.approx(energy, abs=1e-6)
    assert energy == pytest.approx(printed, abs=1.5e-3)
    table = type_table(VINARDO, 32, [INDEX[first]], [INDEX[second]])
    assert float(table[0, 0, round(32 * distance**2)]) == pytest.approx(energy, abs=2e-3)


SMINA = """\
-0.035579    gauss(o=0,_w=0.5,_c=8)   # smina --print_terms and its default
-0.005156    gauss(o=3,_w=2,_c=8)
0.840245     repulsion(o=0,_c=8)
-0.035069    hydrophobic(g=0.5,_b=1.5,_c=8)
-0.587439    non_dir_h_bond(g=-0.7,_b=0,_c=8)
1.923        num_tors_div
"""


def test_a_file_of_smina_is_that_scoring_function(tmp_path):
    file = tmp_path / "smina.txt"
    file.write_text(SMINA)
    made = find_scoring(str(file))
    assert made.vina_shapes and replace(made, rotors=VINA.rotors) == VINA
    assert made.rotors == pytest.approx(VINA.rotors, abs=1e-9)
    file.write_text("# none but\n0.8 repulsion(o=0,_c=8)\n-0.04 gauss(o=0,_w=0.8)\n")
    other = find_scoring(str(file))
    assert (other.repulsion, other.gauss1, other.width, other.hbond) == (0.8, -0.04, 0.8, 0.0)
    for text, reason in (
        ("0.1 vdw(i=4,_j=10,_s=0,_^=100,_c=8)", "is not NAME=NUMBER|has no like here"),
        ("0.1 electrostatic(i=1,_c=8)", "line 1: .*has no like here"),
        ("0.1 gauss(o=1,_w=0.5)", "has no like here"),
        ("0.8 repulsion(o=0,_c=6)", "the cut-off is 8"),
        ("0.8 repulsion(o=0)\n0.9 repulsion(o=0)", "line 2: .* gives the term of line 1 again"),
        ("0.8 repulsion(o=x)", "is not NAME=NUMBER"),
        ("0.8 repulsion(o=0)\ngauss1 = 1", "line 2: .*not a weight and a term"),
    ):
        file.write_text(text)
        with pytest.raises(InputError, match=reason):
            find_scoring(str(file))


def test_terms_of_atoms_add_up():
    rng = np.random.default_rng(0)
    coords = torch.tensor(rng.normal(size=(2, 5, 3)), dtype=torch.float64)
    around = torch.tensor(4 * rng.normal(size=(30, 3)), dtype=torch.float64)
    mine, theirs = torch.arange(5), torch.arange(30) % 18
    for weights in (VINA, VINARDO):
        terms = atom_terms(coords, mine, around, theirs, weights)
        whole = interaction(coords[None], mine[None], around, theirs, weights)
        torch.testing.assert_close(terms.sum(1), whole.terms[0], rtol=1e-4, atol=1e-5)
        energy = terms @ weights.pair().double()
        torch.testing.assert_close(energy, whole.atoms[0], rtol=1e-4, atol=1e-5)


def test_weights_from_a_file(tmp_path):
    assert find_scoring("vina") is VINA and find_scoring("vinardo") is VINARDO
    file = tmp_path / "weights.txt"
    file.write_text("# mine\nbase = vinardo\nweight_gauss1 = -0.05  # deeper\nweight_rot = 0.02\n")
    made = find_scoring(str(file))
    assert (made.gauss1, made.rotors, made.radii) == (-0.05, 0.02, VINARDO.radii)
    for text, reason in (
        ("gaus1 = 1", "line 1: 'gaus1 = 1' sets no weight; did you mean gauss1"),
        ("gauss1 = nan", "'nan' is not a number"), ("width = 0", "width must be above 0"),
        ("rotors = -1", "rotors must not be below 0"), ("gauss1", "sets no weight"),
    ):  # fmt: skip
        file.write_text(text + "\n")
        with pytest.raises(InputError, match=reason):
            find_scoring(str(file))
    with pytest.raises(InputError, match="scoring ad4: is none of vina, vinardo"):
        find_scoring("ad4")
