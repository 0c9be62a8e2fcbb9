"""Laws of the docking network: motions, mirror images, names of atoms, batches."""

import numpy as np
import pytest
import torch

pytest.importorskip("e3nn")
pytest.importorskip("torch_geometric")

from dataclasses import replace

from protein.docking.complexes.complex import LigandGraph, Pocket
from protein.docking.complexes.features import pocket_features
from protein.docking.diffusion.data import pose_batch
from protein.docking.diffusion.heads import axes, rigid_part
from protein.docking.diffusion.leaves import ROTATION, TORSIONS, TRANSLATION
from protein.docking.diffusion.network import DockNetwork
from protein.docking.diffusion.systems import Systems
from protein.docking.diffusion.tensor_product import (
    Channels,
    Pack,
    Widths,
    depthwise_product,
    e3nn_product,
)
from protein.docking.poses.pose import LigandBatch, coordinates, recover
from sciddiff.errors import InputError
from sciddiff.manifolds import so3
from sciddiff.weights import fill


@pytest.fixture(scope="module")
def net() -> DockNetwork:
    torch.manual_seed(0)
    return DockNetwork("16x0e+8x1o+8x1e+4x0o", layers=2, hidden=16, cross=8, around=6).double()


@pytest.fixture(scope="module")
def scene(drug, conformer, imprint):
    """A ligand graph, its conformer, and the pocket centred on the conformer."""
    center = conformer.mean(axis=0)
    return (
        LigandGraph.of(drug),
        conformer - center,
        Pocket.of(imprint, center, 14.0).ball(center, 14.0),
    )


def _batch(graph, pocket, references):
    """One pose of each reference; double precision."""
    systems = Systems.pack([graph], [pocket])
    systems = replace(systems, pocket_coords=torch.as_tensor(pocket.coords).double()[None])
    batch = pose_batch(systems, np.zeros(len(references), int), np.asarray(references))
    return batch.with_cond(reference=torch.as_tensor(np.asarray(references)).double())


def _state(size, torsions, seed=0):
    g = torch.Generator().manual_seed(seed)
    return {
        TRANSLATION: torch.randn(size, 3, generator=g, dtype=torch.float64),
        ROTATION: so3.exp_map(2 * torch.randn(size, 3, generator=g, dtype=torch.float64)),
        TORSIONS: torch.randn(size * torsions, generator=g, dtype=torch.float64),
    }


def _moved(pocket, matrix):
    return Pocket(pocket.coords @ matrix.T.astype(np.float64), pocket.features, pocket.backbone)


T = torch.tensor([0.3, 0.8], dtype=torch.float64)


def test_rigid_motion_turns_predictions(net, scene):
    graph, reference, pocket = scene
    pocket = Pocket(pocket.coords.astype(np.float64), pocket.features)
    x = _state(2, len(graph.tree))
    matrix = so3.exp_map(torch.tensor([0.4, -1.1, 2.0], dtype=torch.float64))
    turned = {**x, TRANSLATION: x[TRANSLATION] @ matrix.T, ROTATION: matrix @ x[ROTATION]}
    one = net(x, T, _batch(graph, pocket, [reference] * 2))
    two = net(turned, T, _batch(graph, _moved(pocket, matrix.numpy()), [reference] * 2))
    # Predicted places turn; rotations are told in the ligand's frame and torsions in none.
    torch.testing.assert_close(two[TRANSLATION], one[TRANSLATION] @ matrix.T)
    torch.testing.assert_close(two[ROTATION], one[ROTATION])
    torch.testing.assert_close(two[TORSIONS], one[TORSIONS])
    assert one[TORSIONS].abs().max() > 1e-3 and one[ROTATION].abs().max() > 1e-3


def test_reference_frame_of_the_conformer_does_not_matter(net, scene):
    """The same coordinates from a conformer turned in space and in its torsions."""
    graph, reference, pocket = scene
    x = _state(2, len(graph.tree), seed=1)
    other = so3.exp_map(torch.tensor([1.0, 0.5, -0.7], dtype=torch.float64))
    rotated = reference @ other.numpy().T
    one = net(x, T, _batch(graph, pocket, [reference] * 2))
    two = net({**x, ROTATION: x[ROTATION] @ other.T}, T, _batch(graph, pocket, [rotated] * 2))
    torch.testing.assert_close(two[TRANSLATION], one[TRANSLATION])
    torch.testing.assert_close(two[ROTATION], one[ROTATION] @ other.T)
    torch.testing.assert_close(two[TORSIONS], one[TORSIONS])


def test_mirror_image_flips_torsions_and_rotations(net, scene):
    graph, reference, pocket = scene
    mirror = np.diag([1.0, 1.0, -1.0])
    m = torch.as_tensor(mirror)
    pocket = Pocket(pocket.coords.astype(np.float64), pocket.features)
    x = _state(2, len(graph.tree), seed=2)
    image = {
        TRANSLATION: x[TRANSLATION] @ m,
        ROTATION: m @ x[ROTATION] @ m,
        TORSIONS: -x[TORSIONS],
    }
    one = net(x, T, _batch(graph, pocket, [reference] * 2))
    two = net(image, T, _batch(graph, _moved(pocket, mirror), [reference @ mirror] * 2))
    torch.testing.assert_close(two[TRANSLATION], one[TRANSLATION] @ m)
    torch.testing.assert_close(two[ROTATION], -one[ROTATION] @ m)
    torch.testing.assert_close(two[TORSIONS], -one[TORSIONS])


def test_mirrored_ligand_in_the_same_pocket_is_told_apart(net, scene):
    graph, reference, pocket = scene
    x = _state(2, len(graph.tree), seed=3)
    one = net(x, T, _batch(graph, pocket, [reference] * 2))
    two = net(x, T, _batch(graph, pocket, [reference * [1, 1, -1]] * 2))
    assert (two[TRANSLATION] - one[TRANSLATION]).abs().max() > 1e-3


def test_names_of_atoms_do_not_matter(net, drug, scene):
    from rdkit.Chem import RenumberAtoms

    from protein.docking.molecules.ligand import ligand_from_mol

    graph, reference, pocket = scene
    order = np.random.default_rng(0).permutation(len(graph))
    mol = RenumberAtoms(drug.mol, order.tolist())
    other = LigandGraph.of(ligand_from_mol(mol, "renamed"))
    x = _state(2, len(graph.tree), seed=4)
    batch = _batch(graph, pocket, [reference] * 2)
    coords = _coordinates(batch, x)[:, order]
    again = _batch(other, pocket, [reference[order]] * 2)
    # The same coordinates as poses of the renamed ligand, whose root may be another fragment.
    ligands = again.cond["systems"].posed(again.cond["complex"], again.cond["reference"])
    pose = recover(ligands, coords.unsqueeze(1))
    y = {
        TRANSLATION: pose.translation[:, 0],
        ROTATION: pose.rotation[:, 0],
        TORSIONS: pose.torsions[:, 0].flatten(),
    }
    torch.testing.assert_close(_coordinates(again, y), coords)
    one, two = net(x, T, batch), net(y, T, again)
    torch.testing.assert_close(two[TRANSLATION], one[TRANSLATION])
    # Velocities of the atoms are the same, whichever fragment is called the root.
    torch.testing.assert_close(_flow(again, y, two), _flow(batch, x, one)[:, order])


def _coordinates(batch, x):
    from protein.docking.diffusion.templates import batch_coordinates

    return batch_coordinates(batch, x)


def _flow(batch, x, raw):
    """Velocities of atoms by rotation and torsions."""

    def shape(h):
        turned = {
            TRANSLATION: x[TRANSLATION],
            ROTATION: x[ROTATION] @ so3.exp_map(h * raw[ROTATION]),
            TORSIONS: x[TORSIONS] + h * raw[TORSIONS],
        }
        return _coordinates(batch, turned)

    h = 1e-5
    return (shape(h) - shape(-h)) / (2 * h)


def test_batch_equals_one_by_one(net, scene, mould, conformer):
    from protein.docking.molecules.conformers import fresh_conformers
    from protein.docking.molecules.ligand import ligand_from_smiles

    graph, reference, pocket = scene
    small = ligand_from_smiles("Oc1ccccc1", "phenol")
    place = fresh_conformers(small, 1, seed=5)[0]
    place = place - place.mean(axis=0)
    hole = Pocket.of(mould(place, 1), np.zeros(3), 14.0)
    other = LigandGraph.of(small)
    both = Systems.pack([graph, other], [pocket, hole])
    both = replace(both, pocket_coords=both.pocket_coords.double())
    padded = np.zeros_like(reference)
    padded[: len(place)] = place
    batch = pose_batch(both, np.array([1, 0]), np.stack([padded, reference]))
    batch = batch.with_cond(reference=torch.as_tensor(np.stack([padded, reference])).double())
    x = _state(2, 0, seed=6)
    x[TORSIONS] = _state(1, len(graph.tree), seed=7)[TORSIONS]
    together = net(x, T, batch)
    first = {**{k: v[:1] for k, v in x.items()}, TORSIONS: x[TORSIONS][:0]}
    second = {**{k: v[1:] for k, v in x.items()}, TORSIONS: x[TORSIONS]}
    alone = net(first, T[:1], _batch(other, hole, [place]))
    torch.testing.assert_close(together[TRANSLATION][:1], alone[TRANSLATION])
    torch.testing.assert_close(together[ROTATION][:1], alone[ROTATION])
    alone = net(second, T[1:], _batch(graph, pocket, [reference]))
    torch.testing.assert_close(together[TRANSLATION][1:], alone[TRANSLATION])
    torch.testing.assert_close(together[ROTATION][1:], alone[ROTATION])
    torch.testing.assert_close(together[TORSIONS], alone[TORSIONS])


def test_pocket_read_once_gives_the_same(net, scene):
    graph, reference, pocket = scene
    x = _state(2, len(graph.tree), seed=8)
    batch = _batch(graph, pocket, [reference] * 2)
    encoded = net.encode(batch.cond["systems"])
    one, two = net(x, T, batch), net(x, T, batch.with_cond(encoded=encoded))
    for name in one:
        torch.testing.assert_close(one[name], two[name], rtol=0, atol=0)


def test_product_is_that_of_e3nn():
    """Every path of the written-out product against e3nn, up to its constant for the path."""
    widths = Widths(6, 4, 3)
    g = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(*shape, generator=g, dtype=torch.float64)

    edges = 20
    nodes = Channels(draw(edges, 6), draw(edges, 3, 8), draw(edges, 3))
    pack = Pack(widths).double()
    packed = pack(nodes)
    u = torch.nn.functional.normalize(draw(edges, 3), dim=-1)
    weights = draw(edges, widths.paths)
    found = depthwise_product(packed, u, weights, widths)

    mixes = pack.scalars(nodes.scalars), pack.pseudo(nodes.pseudo)
    polar, axial = (v.transpose(1, 2).flatten(1) for v in nodes.vectors.chunk(2, dim=-1))
    left = torch.cat([nodes.scalars, mixes[0], polar, axial, nodes.pseudo, mixes[1]], dim=-1)
    # e3nn orders the components of degree one y, z, x; any cyclic order gives the same products.
    right = torch.cat([torch.ones(edges, 1, dtype=torch.float64), u], dim=-1)
    counts = [6, 3, 4, 4, 4, 4, 4, 4, 4, 4]
    # e3nn's coupling coefficients have unit norm: 1/sqrt(3) for dots, 1/sqrt(6) for crosses.
    scale = [1.0, 1.0, *[3**0.5] * 4, *[6**0.5] * 2, *[3**0.5] * 2]
    gains = torch.repeat_interleave(torch.tensor(scale, dtype=torch.float64), torch.tensor(counts))
    product = e3nn_product(widths).double()
    out = product(left, right, weights * gains)
    s, dot_even, p, a, q, dot_odd = out.split([6, 4, 12, 12, 3, 4], dim=-1)
    vectors = torch.cat([x.unflatten(-1, (4, 3)).transpose(1, 2) for x in (p, a)], dim=-1)
    expected = torch.cat([s, q, dot_even, dot_odd, vectors.flatten(1)], dim=-1)
    ratio = (expected / found)[:, : 6 + 3]
    torch.testing.assert_close(ratio, torch.ones_like(ratio))
    torch.testing.assert_close(found, expected)


def test_rigid_part_is_what_a_superposition_undoes(drug, conformer):
    batch = LigandBatch.pack([drug.tree], [conformer], torch.float64)
    g = torch.Generator().manual_seed(1)
    twist = torch.randn(1, len(drug.tree), generator=g, dtype=torch.float64)
    arm = batch.reference
    h = 1e-4
    turned = coordinates(batch, batch.identity(1)._replace(torsions=h * twist.unsqueeze(1)))[:, 0]
    from protein.structures.superposition import kabsch

    # Rotation by which the turned ligand is brought back on the old one.
    back = so3.log_map(kabsch(turned, arm)) / h
    found = rigid_part(batch, arm, twist)
    # The floor under the inertia is one part in a hundred.
    torch.testing.assert_close(found, -back, rtol=0.05, atol=0.02)
    assert found.norm() > 0.05
    assert axes(batch, arm)[1].norm(dim=-1).sub(1).abs().max() < 1e-9


def test_irreps_are_checked():
    with pytest.raises(InputError, match="as many 1e as 1o"):
        DockNetwork("16x0e+8x1o+4x1e+4x0o")
    with pytest.raises(InputError, match="irreps"):
        DockNetwork("nonsense")


def test_unknown_receptor_names_are_other(imprint):
    assert set(pocket_features(imprint)[:, 1]) == {20}


def test_a_flow_map_is_told_where_a_jump_ends(net, scene):
    graph, reference, pocket = scene
    torch.manual_seed(0)
    settings = {"layers": 2, "hidden": 16, "cross": 8, "around": 6}
    jumps = DockNetwork("16x0e+8x1o+8x1e+4x0o", **settings, flow_map=True).double()
    other = fill(jumps, net.state_dict(), strict=False)
    assert other and all(name.startswith("span") for name in other)
    x, batch = _state(2, len(graph.tree)), _batch(graph, pocket, [reference, reference])
    with torch.no_grad():
        said, jump = net(x, T, batch), jumps(x, T, batch, until=torch.ones_like(T))
        assert all(torch.equal(said[name], jump[name]) for name in said)
        torch.nn.init.normal_(jumps.span.layers[-1].weight)
        jump = jumps(x, T, batch, until=torch.ones_like(T))
    assert not torch.allclose(said[ROTATION], jump[ROTATION])
    with pytest.raises(InputError, match="the network is no flow map"):
        net(x, T, batch, until=T)
