"""The docking domain: data, batches, symmetry, learning, and what comes out as files."""

from dataclasses import replace

import numpy as np
import pytest
import torch

pytest.importorskip("e3nn")
pytest.importorskip("torch_geometric")

from rdkit.Chem import SDMolSupplier

from protein.docking.complexes.archive import (
    DockArchive,
    complex_arrays,
    complex_from_arrays,
    write_archive,
)
from protein.docking.complexes.complex import Complex, LigandGraph, make_complex, match
from protein.docking.diffusion.data import DockData, DockDataSettings, complex_batch
from protein.docking.diffusion.leaves import ROTATION, TORSIONS, TRANSLATION
from protein.docking.diffusion.network import DockNetwork
from protein.docking.diffusion.symmetry import NearestImage, motions
from protein.docking.diffusion.templates import batch_coordinates, templates
from protein.docking.domain import DockingDomain
from protein.docking.molecules.conformers import fresh_conformers
from protein.docking.molecules.ligand import ligand_from_smiles
from protein.docking.poses.pose import LigandBatch, coordinates
from protein.docking.receptors.receptor import Receptor
from sciddiff.domains import get_domain
from sciddiff.errors import InputError
from sciddiff.streams import Streams

SMILES = [
    "Oc1ccccc1", "CC(=O)Nc1ccccc1", "OC(=O)CCc1ccccc1", "NCCc1ccc(O)cc1", "CCOC(=O)c1ccccc1",
    "Cc1ccc(CCN)cc1", "OCc1cccnc1", "O=C(O)Cc1ccc(Cl)cc1",
]  # fmt: skip


@pytest.fixture(scope="module")
def items(mould) -> list[Complex]:
    """Eight small molecules, each in a mould of itself."""
    made = []
    for i, smiles in enumerate(SMILES):
        ligand = ligand_from_smiles(smiles, f"m{i}")
        crystal = fresh_conformers(ligand, 1, seed=50 + i)[0] + [5.0 * i, 0.0, 0.0]
        receptor: Receptor = mould(crystal, i)
        matched, rmsd = match(ligand.tree, fresh_conformers(ligand, 2, seed=9), crystal)
        assert rmsd[0] < 0.6
        made.append(make_complex(f"m{i}", replace(ligand, coords=crystal), receptor, matched))
    return made


@pytest.fixture(scope="module")
def archive(items, tmp_path_factory):
    """They as an archive, six to train on."""
    path = tmp_path_factory.mktemp("dock") / "complexes.npz"
    columns = {
        "id": np.asarray([item.id for item in items]),
        "split": np.asarray(["train"] * 6 + ["val"] * 2),
        "cluster": np.arange(8, dtype=np.int32) // 2,
        "smiles": np.asarray(SMILES),
        "source": np.asarray([""] * 8),
        "rmsd": np.zeros(8, dtype=np.float32),
    }
    write_archive(path, [complex_arrays(item) for item in items], columns)
    return path


def test_archive_gives_complexes_back(items, archive):
    view = DockArchive.open(archive)
    for i, item in enumerate(items):
        back = view[i]
        assert back.id == item.id
        for name in ("masks", "bonds", "parents", "fragments", "quads"):
            assert np.array_equal(getattr(back.ligand.tree, name), getattr(item.ligand.tree, name))
        assert np.array_equal(back.ligand.symmetries, item.ligand.symmetries)
        assert np.array_equal(back.conformers, item.conformers)
        np.testing.assert_allclose(back.pocket.coords, item.pocket.coords, atol=0.006)
        assert np.array_equal(back.pocket.features, item.pocket.features)
    arrays = complex_arrays(items[3])
    assert complex_from_arrays("x", arrays).ligand.tree.rotors == items[3].ligand.tree.rotors


def test_archive_refuses_other_files(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        DockArchive.open(tmp_path / "no.npz")
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    with pytest.raises(InputError, match="not a dock archive"):
        DockArchive.open(tmp_path / "other.npz")
    (tmp_path / "text.npz").write_text("no")
    with pytest.raises(InputError, match="not a readable"):
        DockArchive.open(tmp_path / "text.npz")


def test_matching_finds_torsions(drug, conformer):
    """A conformer whose torsions were turned at random is brought back exactly."""
    batch = LigandBatch.pack([drug.tree], [conformer], torch.float64)
    g = torch.Generator().manual_seed(0)
    twist = 2.0 * torch.randn(1, 1, len(drug.tree), generator=g, dtype=torch.float64)
    turned = coordinates(batch, batch.identity(1)._replace(torsions=twist))[0, 0].numpy()
    matched, rmsd = match(drug.tree, turned[None], conformer)
    assert rmsd[0] < 1e-3
    np.testing.assert_allclose(matched[0], conformer, atol=5e-3)


def test_data_of_a_batch_are_the_crystal_poses(items):
    settings = DockDataSettings(poses=3, jitter=1.0)
    draws = [np.random.default_rng(i) for i in range(len(items))]
    batch = complex_batch(items, draws, settings)
    coords = batch_coordinates(batch, batch.x).numpy()
    systems = batch.cond["systems"]
    for b in range(batch.size):
        item = items[int(batch.cond["complex"][b])]
        n = len(item.ligand)
        # Same distances within the ligand and to the pocket: one rigid motion moved all.
        pocket = systems.pocket_coords[batch.cond["complex"][b]][: 40].numpy()
        ball = item.pocket.coords
        own = [item.conformers[k] for k in range(len(item.conformers))]
        gaps = [
            np.abs(_gaps(coords[b, :n], coords[b, :n]) - _gaps(c, c)).max() for c in own
        ]
        conformer = own[int(np.argmin(gaps))]
        assert min(gaps) < 1e-3
        nearest = _gaps(coords[b, :n], pocket).min(axis=1)
        allowed = _gaps(conformer, ball).min(axis=1)
        assert (nearest >= allowed - 1e-2).all()
    same = complex_batch(items, [np.random.default_rng(i) for i in range(len(items))], settings)
    assert torch.equal(same.x[TRANSLATION], batch.x[TRANSLATION])


def _rmsd(a, b, images):
    return np.sqrt(np.square(a - b[images]).sum(-1).mean(-1)).min()


def _gaps(a, b):
    return np.linalg.norm(a[:, None] - b[None], axis=-1)


def test_pocket_of_a_batch_does_not_depend_on_the_pose(items):
    """The ball is about the jittered center, with a radius from bonds alone."""
    item = items[2]
    settings = DockDataSettings(poses=1, jitter=0.0)
    moved = replace(item, conformers=item.conformers + np.float32(0.5))
    one = complex_batch([item], [np.random.default_rng(0)], settings)
    two = complex_batch([moved], [np.random.default_rng(0)], settings)
    assert torch.equal(
        one.cond["systems"].pocket_coords, two.cond["systems"].pocket_coords
    )


def test_epochs_are_functions_of_seed_and_epoch(archive):
    settings = DockDataSettings(archive=str(archive), complexes=2, poses=2, per_cluster=1)
    data = DockData(settings, "train")
    names = [batch.ids for batch in data.batches(0, 5)]
    assert names == [batch.ids for batch in DockData(settings, "train").batches(0, 5)]
    assert sum(map(len, names)) == 3 * 2
    other = {name for batch in data.batches(1, 5) for name in batch.ids}
    third = {name for batch in data.batches(2, 5) for name in batch.ids}
    assert {name for ids in names for name in ids} | other | third > other & third
    shares = [list(data.batches(0, 5, rank, 2)) for rank in range(2)]
    assert len(shares[0]) == len(shares[1])
    with pytest.raises(InputError, match="no usable complex"):
        DockData(replace(settings, only=("nobody",)), "train").archive.column("id")


def test_symmetry_of_a_phenyl_is_half_a_turn():
    ligand = ligand_from_smiles("CC(N)Cc1ccccc1", "amine")
    conformer = fresh_conformers(ligand, 1, seed=4)[0]
    turns, twists = motions(LigandGraph.of(ligand), conformer)
    assert len(turns) == 2
    flat = np.abs(twists[1])
    # Either the ring hangs on a torsion that goes half round, or it is the root and turns itself.
    if flat.max() > 3.0:
        assert np.isclose(flat.max(), np.pi, atol=0.05)
        batch = LigandBatch.pack([ligand.tree], [conformer], torch.float64)
        pose = batch.identity(1)
        image = pose._replace(
            torsions=pose.torsions + torch.as_tensor(twists[1]).double(),
            rotation=pose.rotation @ torch.as_tensor(turns[1]).double(),
        )
        moved = coordinates(batch, image)[0, 0].numpy()
        assert _rmsd(moved, conformer - conformer.mean(0), ligand.symmetries) < 0.15


def test_noise_goes_to_the_nearest_image(items):
    """Shorter ways, same noise up to the ligand's symmetry, and a ring's law stays uniform."""
    domain = DockingDomain()
    settings = DockDataSettings(poses=64, jitter=0.0)
    item = items[0]  # phenol: the ring is the whole molecule
    batch = complex_batch([item], [np.random.default_rng(0)], settings)
    path = domain.path()
    plain = path.prior(batch.x, Streams(1, torch.arange(64)), batch.layouts)
    near = NearestImage()(path, batch, Streams(1, torch.arange(64)))
    so3 = path[ROTATION].manifold
    before = so3.dist(plain[ROTATION], batch.x[ROTATION])
    after = so3.dist(near[ROTATION], batch.x[ROTATION])
    assert (after <= before + 1e-4).all() and (after < before - 0.1).sum() > 10
    one, two = batch_coordinates(batch, plain).numpy(), batch_coordinates(batch, near).numpy()
    for a, b in zip(one, two, strict=True):
        assert _rmsd(a, b, item.ligand.symmetries) < 0.1


def test_it_learns(items, archive):
    """The loss of two complexes falls within seconds."""
    settings = DockDataSettings(
        archive=str(archive), complexes=2, poses=16, jitter=0.0, only=("m2", "m3")
    )
    domain = DockingDomain(settings)
    torch.manual_seed(0)
    net = DockNetwork("16x0e+8x1o+8x1e+4x0o", layers=2, hidden=16, cross=8, around=6)
    from sciddiff.denoiser import Denoiser

    denoiser, objective = Denoiser(net, domain.path()), domain.objective()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    losses = []
    for step in range(40):
        batch = next(iter(domain.train_batches(step, 0, 0, 1)))
        loss = objective(denoiser, batch, Streams(step, torch.arange(batch.size))).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    assert np.mean(losses[-10:]) < 0.7 * np.mean(losses[:5])


def test_domain_is_registered_and_writes_poses(tmp_path, items, archive):
    domain = get_domain("dock")()
    with pytest.raises(InputError, match="receptor"):
        list(domain.like({"ligand": "CCO"}))
    with pytest.raises(InputError, match="not a field"):
        list(templates({"ligands": "x"}))
    batch = complex_batch(items[:1], [np.random.default_rng(0)], DockDataSettings(poses=1))
    with pytest.raises(InputError, match="training data"):
        domain.write(batch, batch.x, tmp_path)


def test_request_to_files(tmp_path, complexes):
    """From a receptor and a ligand file to SDF poses, and their distances."""
    folder = complexes[0]
    domain = DockingDomain()
    request = {
        "receptor": str(folder / "protein.pdb"),
        "ligand": str(folder / "ligand.sdf"),
        "autobox_ligand": str(folder / "ligand.sdf"),
        "n": 3,
    }
    (batch,) = domain.like(request)
    x = domain.path().prior(batch.x, Streams(0, torch.arange(3)), batch.layouts)
    files = domain.write(batch, x, tmp_path)
    assert len(files) == 3
    for mol, file in zip(domain.results(batch, x), files, strict=True):
        (read,) = SDMolSupplier(str(file))
        assert mol.GetProp("_Name") == read.GetProp("_Name") == file.stem
        places = [m.GetConformer().GetPositions() for m in (mol, read)]
        assert np.abs(places[0] - places[1]).max() < 1e-3
    assert len(domain.drawing().grid) == 11
    figures = domain.evaluate(tmp_path, folder / "ligand.sdf")
    assert figures["poses"] == 3 and figures["median"]["rmsd_best_of_3"] > 0.5
    assert TORSIONS in batch.x
