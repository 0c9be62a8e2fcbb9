"""Training batches, and learning from them with the core's objective."""

from pathlib import Path

import numpy as np
import pytest
import torch

from protein.backbone.data import (
    NM,
    BackboneData,
    BackboneDataSettings,
    backbone_batch,
)
from protein.backbone.domain import BackboneDomain
from protein.backbone.network import ROTATIONS, TRANSLATIONS, BackboneNetwork
from protein.structures.archive import write_archive
from protein.structures.frames import backbone_from_frames
from protein.structures.secondary import FOLDS, fold_class
from sciddiff.denoiser import Denoiser
from sciddiff.errors import InputError
from sciddiff.manifolds.so3 import exp_map
from sciddiff.state import Batch


def _chain(length: int, rng: np.random.Generator) -> np.ndarray:
    """A compact random chain: CA on a confined walk, frames at random."""
    steps = rng.normal(size=(length, 3))
    ca = np.cumsum(3.8 * steps / np.linalg.norm(steps, axis=1, keepdims=True), axis=0)
    ca *= 0.9 * 2.2 * length**0.38 / np.sqrt(((ca - ca.mean(0)) ** 2).sum(1).mean())
    frames = exp_map(torch.from_numpy(rng.normal(size=(length, 3))))
    return backbone_from_frames(frames, torch.from_numpy(ca)).numpy()


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    lengths = rng.integers(40, 100, 30)
    chains = [_chain(int(n), rng) for n in lengths]
    path = tmp_path_factory.mktemp("data") / "chains.npz"
    write_archive(
        path,
        chains,
        {
            "length": lengths.astype(np.int32),
            "id": np.array([f"chain{i}" for i in range(30)]),
            "sequence": np.array(["A" * int(n) for n in lengths], dtype="S"),
            "ss3": np.array(["h" * int(n) for n in lengths], dtype="S"),
            "cluster_c30": np.arange(30, dtype=np.int32) // 2,
            "cluster_c40": np.arange(30, dtype=np.int32),
            "split": np.array(["train"] * 24 + ["val"] * 6),
        },
    )
    return path


def _data(archive: Path, split: str = "train", **settings: float) -> BackboneData:
    chosen = {"budget": 20000.0, "max_length": 72, **settings}
    return BackboneData(BackboneDataSettings(str(archive), **chosen), split)  # type: ignore[arg-type]


def _names(batches: list[Batch]) -> list[str]:
    return [name for batch in batches for name in batch.ids]


def test_an_epoch_takes_one_chain_of_every_cluster_and_repeats_itself(archive: Path) -> None:
    data = _data(archive)
    first, again = list(data.batches(0, seed=1)), list(data.batches(0, seed=1))
    names = _names(first)
    assert names == _names(again)
    for one, two in zip(first, again, strict=True):
        assert torch.equal(one.x[TRANSLATIONS], two.x[TRANSLATIONS])
    clusters = [int(name.removeprefix("chain")) // 2 for name in names]
    assert len(set(clusters)) == len(clusters) and set(clusters) <= set(range(12))
    assert _names(list(data.batches(1, seed=1))) != names
    assert all(
        int(name.removeprefix("chain")) >= 24
        for name in _names(list(_data(archive, "val").batches(0, 0)))
    )


def test_ranks_share_an_epoch(archive: Path) -> None:
    data = _data(archive)
    shards = [_names(list(data.batches(0, 3, rank, 2))) for rank in (0, 1)]
    whole = _names(list(data.batches(0, 3)))
    assert set(shards[0]) | set(shards[1]) == set(whole)


def test_batches_keep_budget_lengths_and_origin(archive: Path) -> None:
    for batch in _data(archive, motif_fraction=0.5).batches(0, 5):
        layout = batch.layouts[TRANSLATIONS]
        assert layout.mask is not None and layout.fixed is not None
        sizes = layout.mask.sum(1)
        assert batch.size * layout.mask.shape[1] ** 2 <= 20000 or batch.size == 1
        assert 40 <= int(sizes.min()) and int(sizes.max()) <= 72
        anchored = torch.where(layout.fixed.any(1, keepdim=True), layout.fixed, layout.mask)
        for b in range(batch.size):
            assert batch.x[TRANSLATIONS][b][anchored[b]].mean(0).abs().max() < 1e-5
        eye = torch.eye(3).expand_as(batch.x[ROTATIONS])
        assert torch.allclose(batch.x[ROTATIONS].mT @ batch.x[ROTATIONS], eye, atol=1e-5)


def test_frames_in_nm_lead_back_to_the_atoms() -> None:
    coords = torch.from_numpy(_chain(20, np.random.default_rng(1))).float()
    batch = backbone_batch(coords[None], [20], torch.tensor([0]))
    atoms = backbone_from_frames(batch.x[ROTATIONS], batch.x[TRANSLATIONS] / NM)[0, :, :3]
    there = coords[:, :3] - coords[:, 1].mean(0)
    assert (atoms - there).abs().max() < 1e-3


@pytest.mark.parametrize(
    ("ss3", "fold"),
    [
        ("h" * 30 + "c" * 30, "alpha"),
        ("e" * 30 + "c" * 30, "beta"),
        ("h" * 20 + "e" * 20, "mixed"),
    ],
)
def test_fold_classes(ss3: str, fold: str) -> None:
    assert FOLDS[fold_class(ss3)] == fold


def test_the_objective_learns() -> None:
    """A few steps on one batch lower its loss: the path, the losses and the network fit
    together.
    """
    domain = BackboneDomain()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        denoiser = Denoiser(BackboneNetwork(node=32, pair=8, blocks=2, heads=2), domain.path())
    objective = domain.objective()
    turn = exp_map(torch.tensor([0.0, 0.0, 1.745]))
    frames = torch.stack([torch.linalg.matrix_power(turn, i) for i in range(40)])
    ca = (
        frames @ torch.tensor([2.3, 0.0, 0.0])
        + 1.5 * torch.arange(40.0)[:, None] * torch.eye(3)[2]
    )
    helix = backbone_from_frames(frames, ca)[None]
    batch = backbone_batch(helix.expand(4, -1, -1, -1), [40] * 4, torch.ones(4, dtype=torch.long))
    optimiser = torch.optim.Adam(denoiser.parameters(), lr=1e-2)
    losses = []
    for _ in range(40):
        output = objective(denoiser, batch, torch.Generator().manual_seed(0))
        optimiser.zero_grad()
        output.loss.backward()
        optimiser.step()
        losses.append(float(output.loss.detach()))
    assert losses[-1] < 0.8 * losses[0]
    expected = {"translations", "rotations", "neighbours", "junctions", "distances", "overlaps"}
    assert expected <= {name.removeprefix("loss/") for name in output.metrics}


def test_an_epoch_keeps_a_share_of_the_all_alpha_chains(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    ss3 = ["h" * 40 if i % 2 else "e" * 40 for i in range(400)]
    facts = {
        "length": np.full(400, 40, dtype=np.int32),
        "id": np.array([f"chain{i}" for i in range(400)]),
        "sequence": np.array(["A" * 40] * 400, dtype="S"),
        "ss3": np.array(ss3, dtype="S"),
        "cluster_c30": np.arange(400, dtype=np.int32),
        "cluster_c40": np.arange(400, dtype=np.int32),
        "split": np.array(["train"] * 400),
    }
    write_archive(tmp_path / "chains.npz", [_chain(40, rng)] * 400, facts)
    taken = {}
    for share in (1.0, 0.5, 0.0):
        data = _data(tmp_path / "chains.npz", alpha_share=share)
        names = [int(n.removeprefix("chain")) for n in _names(list(data.batches(0, seed=1)))]
        assert sum(i % 2 == 0 for i in names) == 200, "all others stay"
        taken[share] = {i for i in names if i % 2}
    assert len(taken[1.0]) == 200 and not taken[0.0]
    assert abs(len(taken[0.5]) - 100) < 30
    data = _data(tmp_path / "chains.npz", alpha_share=0.5)
    later = {int(n.removeprefix("chain")) for n in _names(list(data.batches(1, seed=1)))}
    assert {i for i in later if i % 2} != taken[0.5], "drawn anew each epoch"
    with pytest.raises(InputError, match="alpha_share"):
        BackboneDataSettings(alpha_share=2.0)


def test_the_first_epochs_are_crops(archive: Path) -> None:
    data = _data(archive, crop_epochs=2, crop_lengths=(24, 32), max_length=200)
    plain = _data(archive, max_length=200)
    for epoch in (0, 1, 2):
        sizes = [n for b in data.batches(epoch, seed=3) for n in _sizes(b)]
        usual = [n for b in plain.batches(epoch, seed=3) for n in _sizes(b)]
        assert len(sizes) == len(usual), "no chain is lost"
        if epoch < 2:
            assert 24 <= min(sizes) < max(sizes) <= 32
        else:
            assert sizes == usual
    domain = BackboneDomain(data.settings)
    assert min(n for b in domain.val_batches() for n in _sizes(b)) >= 40
    with pytest.raises(InputError, match="crop_lengths"):
        BackboneDataSettings(crop_lengths=(64, 24))


def _sizes(batch: Batch) -> list[int]:
    mask = batch.layouts[TRANSLATIONS].mask
    assert mask is not None
    return mask.sum(1).tolist()
