"""A ligand that is bonded to a side chain: its geometry, its energy, and its search."""

from dataclasses import replace

import numpy as np
import pytest
import torch

pytest.importorskip("Bio")

from protein.docking.energy import compiled
from protein.docking.energy.side_chains import SideField
from protein.docking.energy.terms import TYPE_PAIRS, VINA, pair_terms
from protein.docking.energy.vina import SearchSpace, VinaEnergy
from protein.docking.molecules.adduct import adducts
from protein.docking.molecules.ligand import ligand_from_smiles
from protein.docking.poses.pose import LigandBatch, Pose, coordinates, retract
from protein.docking.poses.tangent import tangent_gradient
from protein.docking.poses.tether import Tether
from protein.docking.receptors.box import Box
from protein.docking.receptors.covalent import covalent_site
from protein.docking.search.minimize import MinimizeSettings, minimize
from protein.docking.search.monte_carlo import SearchSettings, mutate, random_poses, search
from sciddiff.errors import InputError
from sciddiff.streams import Streams

SMILES = "C=CC(=O)NCc1ccccc1"


def tethers(receptor, name="A:4:SG", flexible=("A:8",), smiles=(SMILES, "C=CC(=O)NC")):
    site = covalent_site(receptor, name, flexible)
    made = [
        adducts(ligand_from_smiles(one, one), site.warheads, site.residue)[0] for one in smiles
    ]
    return site, [Tether.make(one, site) for one in made]


@pytest.fixture(scope="module")
def packed(reactive_peptide):
    """Site, tethers, batch, energy and 12 poses of two ligands, with one more flexible residue."""
    site, two = tethers(reactive_peptide)
    shapes = [one.conformers(1, 3)[0] for one in two]
    batch = LigandBatch.pack([x.tree for x in two], shapes, sides=site.sides, bonded=True)
    field = SideField.make(reactive_peptide, site.sides)
    space = SearchSpace(reactive_peptide, site.box, sides=field)
    energy = space.energy([x.adduct.ligand for x in two], [x.pairs for x in two])
    pose = random_poses(batch, [site.box] * 2, 12, Streams(1, torch.tensor([3, 4])))
    return site, two, batch, energy, pose


def _angle(a, b, c):
    u, w = a - b, c - b
    cosine = (u * w).sum(-1) / np.linalg.norm(u, axis=-1) / np.linalg.norm(w, axis=-1)
    return np.degrees(np.arccos(cosine))


# Lengths and angles of Engh and Huber and of small molecules, Å and degrees: C-S 1.82, C-O 1.43
# (ester 1.35), C-N 1.47, sulfonyl S-O 1.6; C-S-C 100, C-O-C 115, C-N-C 113 (in a ring 126).
@pytest.mark.parametrize(
    ("name", "smiles", "length", "angle"),
    [
        ("A:4:SG", SMILES, 1.82, 100.0),
        ("A:11:OG", "N#CC1CC1", 1.36, 117.0),
        ("A:8:OH", "FS(=O)(=O)c1ccccc1", 1.63, 122.0),
        ("A:3:NZ", "C=CC(=O)NC", 1.46, 113.0),
        ("A:10:NE2", "C=CC(=O)NC", 1.46, 126.0),
        ("A:13:OG1", "OB(O)c1ccccc1", 1.50, 120.0),
    ],
)
def test_the_new_bond_has_its_length_and_angles_however_it_turns(
    reactive_peptide, name, smiles, length, angle
):
    site, (one,) = tethers(reactive_peptide, name, (), (smiles,))
    shapes = one.conformers(3, 1)
    batch = LigandBatch.pack([one.tree] * 3, list(shapes), sides=site.sides, bonded=True)
    pose = random_poses(batch, [site.box] * 3, 8, Streams(1, torch.arange(3)))
    x = coordinates(batch, pose).double().numpy()
    n, bond = len(one.adduct.ligand), one.bond
    atom = x[:, :, n + site.names[bond.atom]]
    react = x[:, :, bond.reacting]
    gaps = np.linalg.norm(atom - react, axis=-1)
    assert np.abs(gaps - length).max() < 0.06
    # Each conformer keeps its own length and angles in every pose.
    assert np.ptp(gaps, axis=1).max() < 1e-3
    for other in bond.beside:
        found = _angle(react, atom, x[:, :, n + site.names[other]])
        assert np.ptp(found, axis=1).max() < 0.1
        assert np.abs(found - angle).max() < 8.0
    made = one.adduct
    for beyond in made.beside(made.reacting, made.place(bond.atom)):
        found = _angle(atom, react, x[:, :, beyond])
        assert np.ptp(found, axis=1).max() < 0.1 and 95.0 < found.min() < found.max() < 130.0
    # The side chain turns as in the file: its bonds stay, and the backbone rests.
    sides = x[:, :, n:]
    rest = slice(site.sides.moving, None)
    assert np.abs(sides[:, :, rest] - site.sides.coords[rest]).max() < 1e-3
    for a, b in made.whole.mol.GetSubstructMatches(_bonds()):
        if min(a, b) >= n:
            i, j = (site.names[made.residue.names[k - n]] for k in (a, b))
            home = np.linalg.norm(site.sides.coords[i] - site.sides.coords[j])
            found = np.linalg.norm(sides[:, :, i] - sides[:, :, j], axis=-1)
            assert np.abs(found - home).max() < 2e-3


def _bonds():
    from rdkit.Chem import MolFromSmarts

    return MolFromSmarts("*~*")


def test_turns_of_zero_leave_the_side_chains_of_the_file(packed):
    site, two, batch, _, _ = packed
    x = coordinates(batch, batch.identity(1)).double().numpy()
    for k, one in enumerate(two):
        n = len(one.adduct.ligand)
        own = x[k, 0, n : n + len(site.sides)]
        assert np.abs(own - site.sides.coords).max() < 1e-3


def test_a_bonded_ligand_feels_no_translation_and_every_torsion_moves_atoms(packed):
    _, _, batch, _, pose = packed
    x, real = coordinates(batch, pose), (batch.atom_mask | batch.anchored)[:, None, :, None]
    step = torch.zeros(2, 12, batch.dofs)
    step[..., :6] = 0.5
    assert torch.equal(x * real, coordinates(batch, retract(pose, step)) * real)
    for k in range(batch.dofs - 6):
        turn = torch.zeros(2, 12, batch.dofs)
        turn[..., 6 + k] = 0.5
        moved = (coordinates(batch, retract(pose, turn)) - x).norm(dim=-1).amax((1, 2)) > 0.05
        assert torch.equal(moved, batch.torsion_mask[:, k])
    # Those that begin as in the file: chi of the cysteine, and both of the tyrosine.
    assert batch.rotamers.sum(-1).tolist() == [3, 3]
    assert batch.swings.equal(batch.torsion_mask)


def test_gradient_is_that_of_finite_differences(packed):
    _, _, batch, energy, pose = packed
    wide = replace(batch, **{k: getattr(batch, k).double() for k in ("reference", "moved")})
    at = Pose(*(x[:, :6].double() for x in pose))
    for field in (replace(energy, grids=None), energy):

        def value(pose, field=field):
            return field.evaluate(coordinates(wide, pose), 5.0)[0]

        x = coordinates(wide, at)
        slope = tangent_gradient(wide, at, x, field.evaluate(x, 5.0)[1])
        assert (slope[..., :6] == 0).all()
        step = 1e-5 * torch.eye(wide.dofs, dtype=torch.float64)
        for k in range(6, wide.dofs):
            ahead, behind = (value(retract(at, s * step[k])) for s in (1.0, -1.0))
            error = (slope[..., k] - (ahead - behind) / 2e-5).abs() / (1 + slope[..., k].abs())
            real = wide.torsion_mask[:, k - 6]
            assert error[real].flatten().quantile(0.8) < 2e-3, k


def test_every_pair_beyond_three_bonds_counts_once(packed, reactive_peptide):
    site, two, batch, energy, pose = packed
    x = coordinates(batch, pose)
    score = energy.score(x)
    sides, peptide = site.sides, reactive_peptide
    label = np.asarray(peptide.residues)
    listed = np.isin(np.arange(len(peptide)), sides.rows) & (label == "A:4")
    from rdkit.Chem import GetDistanceMatrix

    for i, one in enumerate(two):
        made, n = one.adduct, len(one.adduct.ligand)
        hops = np.asarray(GetDistanceMatrix(made.whole.mol))
        for k in range(4):
            moved = sides.placed(peptide, x[i, k, n : n + sides.moving].numpy())
            own = x[i : i + 1, k : k + 1, :n].contiguous()
            # With all but the residue that it is bonded to it is any ligand ...
            alone = VinaEnergy.build([made.ligand], [moved.select(~listed)]).score(own)
            assert torch.allclose(score.interaction[i, k], alone.interaction[0, 0], atol=2e-3)
            within = alone.intramolecular[0, 0]
            assert torch.allclose(score.intramolecular[i, k], within, atol=1e-4)
            # ... and with that residue it has the pairs of a molecule.
            total = 0.0
            for a in range(n):
                for name in made.residue.names:
                    b = made.place(name)
                    if hops[a, b] < 3.5:
                        continue
                    row = sides.rows[site.names[name]]
                    gap = np.linalg.norm(own[0, 0, a].numpy() - moved.coords[row])
                    kinds = made.ligand.types[a], sides.types[site.names[name]]
                    radius, greasy, polar = (t[kinds] for t in TYPE_PAIRS)
                    terms = pair_terms(torch.tensor(gap), radius, greasy, polar)
                    total += float(terms @ VINA.pair().double())
            found = energy.sides.bonded.evaluate(x)[0][i, k]
            rigid = len(one.pairs) - sum(
                hops[a, b] > 3.5 for a in range(n) for b in range(n, len(made.whole))
            )
            assert rigid == 0  # no pair of these two has a distance that never changes
            assert float(found) == pytest.approx(total, rel=1e-3, abs=0.02)
            free = replace(energy.sides, bonded=None).energy(x)[i, k]
            assert torch.allclose(energy.sides.energy(x)[i, k], free + found, atol=1e-3)


def test_the_search_minimises_what_is_scored(packed):
    _, two, batch, energy, pose = packed
    x = coordinates(batch, pose)
    score, searched = energy.score(x), replace(energy, grids=None).evaluate(x)[0]
    calm = score.total < 5.0  # grids and tables are coarse in clashes
    assert calm.sum() > 3
    assert torch.allclose(searched[calm], score.total[calm], atol=5e-2)


def test_compiled_loops_do_what_tensors_do(packed, monkeypatch):
    pytest.importorskip("numba")
    _, _, batch, energy, pose = packed
    x = coordinates(batch, pose)
    real = (batch.atom_mask | batch.anchored)[:, None, :, None]

    def everything():
        return energy.evaluate(x, 5.0), minimize(batch, energy, pose, MinimizeSettings(4, 5.0))

    (value, slope), found = everything()
    monkeypatch.setenv(compiled.SWITCH, "0")
    (reference, gradient), expected = everything()
    torch.testing.assert_close(value, reference, rtol=2e-5, atol=2e-3)
    assert ((slope - gradient).abs() * real / (1 + gradient.abs())).max() < 2e-3
    close = ((found.coords - expected.coords).abs() * real).amax((-1, -2)) < 1e-2
    assert close.double().mean() > 0.8
    assert (found.energy <= value + 1e-3).all() and (found.energy < value - 0.1).any()


def test_every_change_of_a_bonded_ligand_turns_one_torsion(packed):
    _, _, batch, _, pose = packed
    changed = mutate(batch, pose, Streams(2, torch.tensor([3, 4])).purpose("search"))
    turned = (changed.torsions - pose.torsions).abs() > 1e-6
    assert (turned.sum(-1) == 1).all()
    assert turned.any(1).sum() > 8  # any of them


def test_a_search_finds_low_poses_and_does_not_feel_its_batch(packed, reactive_peptide):
    site, two, batch, energy, pose = packed
    quick = SearchSettings(chains=16, rounds=6, archive=4, final=20)
    both = search(batch, energy, [site.box] * 2, Streams(5, torch.tensor([3, 4])), quick)
    n = len(two[1].adduct.ligand)
    shape = batch.reference[1, :n].numpy()
    one = LigandBatch.pack([two[1].tree], [shape], sides=site.sides, bonded=True)
    space = SearchSpace(
        reactive_peptide, site.box, sides=SideField.make(reactive_peptide, site.sides)
    )
    own = space.energy([two[1].adduct.ligand], [two[1].pairs])
    alone = search(one, own, [site.box], Streams(5, torch.tensor([4])), quick)
    assert np.allclose(both.energy[1], alone.energy[0], atol=1e-4)
    start = energy.score(coordinates(batch, pose)).total
    assert (both.energy[:, 0] < start.amin(1)).all()


@pytest.mark.parametrize(
    ("name", "flexible", "words"),
    [
        ("A:4", (), "not chain:number:atom"),
        ("SG", (), "not chain:number:atom"),
        ("A:40:SG", (), "A:40 is not in helix"),
        ("A:1:N", (), "is GLY, whose side chain binds no ligand"),
        ("A:4:CB", (), r"A:4 \(CYS\) binds ligands with SG, not with CB"),
        ("A:10:ND2", (), "NE2 or ND1"),
        ("A:4:SG", ("A:4",), "turns already"),
    ],
)
def test_what_cannot_bind_is_refused_by_name(reactive_peptide, name, flexible, words):
    with pytest.raises(InputError, match=words):
        covalent_site(reactive_peptide, name, flexible)


def test_atoms_that_are_missing_or_bonded_are_refused(reactive_peptide, odd_peptide):
    whole = reactive_peptide
    bare = whole.select(~(np.asarray(whole.atoms) == "SG"))
    with pytest.raises(InputError, match="lacks its atom SG"):
        covalent_site(bare, "A:4:SG")
    with pytest.raises(InputError, match="bonded to B:1"):
        covalent_site(odd_peptide, "A:14:SG")


def test_a_box_that_the_atom_is_far_from_is_refused(reactive_peptide):
    site = covalent_site(reactive_peptide, "A:4:SG")
    site.check([site.box])
    away = Box((300.0, 0.0, 0.0), (20.0, 20.0, 20.0))
    with pytest.raises(InputError, match="A:4:SG is .* Å from the box"):
        site.check([away])
    with pytest.raises(InputError, match="one box"):
        site.check([site.box, away])
