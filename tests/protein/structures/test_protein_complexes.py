"""Two chains for training: crops of bound complexes, domains cut in two, and their batches."""

from pathlib import Path

import numpy as np
import pytest
import torch

from protein.backbone.data import BackboneData, BackboneDataSettings
from protein.backbone.domain import backbone_path, weighted_geometry_losses
from protein.backbone.network import ROTATIONS, TRANSLATIONS, BackboneNetwork
from protein.structures.archive import write_archive
from protein.structures.complexes import (
    CHAIN_JUMP,
    CONTACT,
    LEAST_CONTACTS,
    SHORTEST,
    PairArchive,
    cut,
)
from sciddiff.denoiser import Denoiser
from sciddiff.errors import InputError
from sciddiff.state import Batch

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data" / "protein" / "pairs.npz"


def _strand(length: int, y: float, z: float = 0.0, turned: bool = False) -> np.ndarray:
    """An extended strand along x at (y, z), Å: `[L, 4, 3]`."""
    x = 3.3 * (np.arange(length) - (length - 1) / 2.0) * (-1.0 if turned else 1.0)
    ca = np.stack([x, np.full(length, y), z + 0.9 * (-1.0) ** np.arange(length)], -1)
    offsets = np.array([[-1.2, 0.5, 0.3], [0, 0, 0], [1.2, 0.6, -0.2], [1.4, 1.7, -0.3]])
    return (ca[:, None] + offsets * (-1.0 if turned else 1.0)).astype(np.float32)


def _hairpin(length: int) -> tuple[np.ndarray, str]:
    """Two strands side by side, joined by a loop: a chain whose halves touch."""
    half = (length - 6) // 2
    back = length - 6 - half
    loop = _strand(6, 2.4) * 0.3 + np.array([3.3 * half / 2 + 4.0, 0.0, 0.0], np.float32)
    coords = np.concatenate([_strand(half, 0.0), loop, _strand(back, 4.8, turned=True)])
    return coords.astype(np.float32), "e" * half + "c" * 6 + "e" * back


def _pairs(path: Path, apart: float = 5.0) -> Path:
    """Three complexes of two strands each; the first partner has a chain break."""
    coords, partner, segment, lengths = [], [], [], []
    for i in range(3):
        one, two = _strand(60 + i, 0.0), _strand(50, apart)
        coords += [one, two]
        partner += [0] * len(one) + [1] * 50
        segment += [0] * 30 + [1] * (len(one) - 30) + [2] * 50
        lengths.append(len(one) + 50)
    packed = np.rint(np.concatenate(coords) / 0.01).astype(np.int16)
    np.savez(
        path,
        coords=packed,
        coord_scale=0.01,
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        id=np.array(["one", "two", "three"]),
        partner=np.array(partner, np.uint8),
        segment=np.array(segment, np.int16),
    )
    return path


def _contacts(coords: np.ndarray, chain: np.ndarray) -> int:
    a, b = coords[chain == 0, 1], coords[chain == 1, 1]
    return int((np.linalg.norm(a[:, None] - b[None], axis=-1) < CONTACT).sum())


def test_a_crop_is_one_unbroken_piece_of_either_partner_in_contact(tmp_path: Path) -> None:
    archive = PairArchive(_pairs(tmp_path / "pairs.npz"))
    assert archive.ids == ["one", "two", "three"]
    sizes = set()
    for seed in range(40):
        pair = archive.crop(seed % 3, 60, np.random.default_rng(seed))
        assert pair is not None
        pieces = [int((pair.chain == c).sum()) for c in (0, 1)]
        assert sum(pieces) == len(pair.coords) <= 60 and min(pieces) >= SHORTEST
        assert _contacts(pair.coords, pair.chain) >= LEAST_CONTACTS
        for c in (0, 1):
            steps = np.diff(pair.coords[pair.chain == c, 1], axis=0)
            assert np.linalg.norm(steps, axis=-1).max() < 4.2
        # The break after residue 30 of the first partner is never inside a piece.
        assert pieces[0] <= 32
        index = pair.residue_index
        assert (np.diff(index)[np.diff(pair.chain) == 0] == 1).all()
        assert np.diff(index)[pieces[0] - 1] == CHAIN_JUMP + 1
        sizes.add(tuple(pieces))
    assert len(sizes) > 10, "sizes vary"
    again = [archive.crop(0, 60, np.random.default_rng(7)) for _ in range(2)]
    assert again[0] is not None and again[1] is not None
    assert np.array_equal(again[0].coords, again[1].coords)


def test_partners_that_do_not_touch_give_no_crop(tmp_path: Path) -> None:
    archive = PairArchive(_pairs(tmp_path / "pairs.npz", apart=30.0))
    assert archive.crop(0, 60, np.random.default_rng(0)) is None


def test_a_bad_archive_of_complexes_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.npz: no such file; data\.pairs"):
        PairArchive(tmp_path / "none.npz")
    np.savez(tmp_path / "other.npz", coords=np.zeros(3))
    with pytest.raises(InputError, match=r"other\.npz: lacks .*partner"):
        PairArchive(tmp_path / "other.npz")
    (tmp_path / "text.npz").write_text("no archive")
    with pytest.raises(InputError, match=r"text\.npz: .*archive of complexes"):
        PairArchive(tmp_path / "text.npz")


def test_a_domain_is_cut_in_its_loop_into_two_chains_that_touch() -> None:
    coords, ss3 = _hairpin(70)
    orders, gaps = set(), set()
    for seed in range(30):
        pair = cut(coords, ss3, np.random.default_rng(seed))
        assert pair is not None
        first = pair.coords[pair.chain == 0]
        orders.add(bool(np.allclose(first[0], coords[0])))
        gaps.add(len(coords) - len(pair.coords))
        assert min((pair.chain == 0).sum(), (pair.chain == 1).sum()) >= 32, "strands stay whole"
        assert _contacts(pair.coords, pair.chain) >= LEAST_CONTACTS
    assert orders == {True, False}
    assert min(gaps) < 2 and 2 < max(gaps) <= 6


def test_a_chain_without_a_loop_or_without_contacts_is_not_cut() -> None:
    coords, _ = _hairpin(70)
    assert cut(coords, "e" * 70, np.random.default_rng(0)) is None
    straight = _strand(70, 0.0)
    assert cut(straight, "e" * 32 + "c" * 6 + "e" * 32, np.random.default_rng(0)) is None


def _data(tmp_path: Path, **changes: float | str) -> BackboneData:
    chains = [_hairpin(60 + i % 7) for i in range(24)]
    write_archive(
        tmp_path / "chains.npz",
        [coords for coords, _ in chains],
        {
            "length": np.array([len(c) for c, _ in chains], np.int32),
            "id": np.array([f"chain{i}" for i in range(24)]),
            "sequence": np.array(["A" * len(c) for c, _ in chains], dtype="S"),
            "ss3": np.array([ss3 for _, ss3 in chains], dtype="S"),
            "cluster_c30": np.arange(24, dtype=np.int32),
            "cluster_c40": np.arange(24, dtype=np.int32),
            "split": np.array(["train"] * 20 + ["val"] * 4),
        },
    )
    given = {"motif_fraction": 0.0, "max_rg_ratio": 9.0, "budget": 20000.0, **changes}
    archive = str(tmp_path / "chains.npz")
    settings = BackboneDataSettings(archive, **given)  # type: ignore[arg-type]
    return BackboneData(settings, "train")


def _two(batch: Batch) -> torch.Tensor:
    """Which samples have two chains `[B]`."""
    chain = batch.cond.get("chain_index")
    return torch.zeros(batch.size, dtype=torch.bool) if chain is None else (chain > 0).any(1)


def test_batches_mix_chains_halves_and_complexes_and_repeat_themselves(tmp_path: Path) -> None:
    pairs = str(_pairs(tmp_path / "pairs.npz"))
    data = _data(tmp_path, cut_share=0.5, pairs=pairs, pair_crops=5, target_share=0.5)
    first, again = list(data.batches(0, 1)), list(data.batches(0, 1))
    assert [b.ids for b in first] == [b.ids for b in again]
    for one, two in zip(first, again, strict=True):
        assert torch.equal(one.x[TRANSLATIONS], two.x[TRANSLATIONS])
    names = [name for b in first for name in b.ids]
    assert sum(not name.startswith("chain") for name in names) == 15
    cut_ones = sum(int(_two(b).sum()) for b in first) - 15
    assert 4 <= cut_ones <= 16, "about half of the twenty chains"
    held = 0
    for batch in first:
        layout = batch.layouts[TRANSLATIONS]
        assert layout.mask is not None and layout.fixed is not None
        for row in range(batch.size):
            fixed, mask = layout.fixed[row], layout.mask[row]
            if not fixed.any():
                assert batch.x[TRANSLATIONS][row][mask].mean(0).abs().max() < 1e-5
                continue
            held += 1
            chain = batch.cond["chain_index"][row]
            assert len({int(c) for c in chain[fixed & mask]}) == 1, "one whole chain"
            other = mask & ~fixed
            assert len({int(c) for c in chain[other]}) == 1
            # Noise is centred about where the free chain belongs, in nm.
            assert batch.x[TRANSLATIONS][row][other].mean(0).norm() < 2.0
    assert 8 <= held <= 24


def test_shares_of_nothing_leave_the_batches_as_they_are(tmp_path: Path) -> None:
    plain = list(_data(tmp_path).batches(0, 1))
    assert all("chain_index" not in batch.cond for batch in plain)
    for name in ("cut_share", "target_share"):
        with pytest.raises(InputError, match=name):
            BackboneDataSettings(**{name: 1.5})
    with pytest.raises(InputError, match="max_length"):
        BackboneDataSettings(pairs="pairs.npz", max_length=30)


def test_no_loss_joins_the_two_chains(tmp_path: Path) -> None:
    """Moving one chain as a whole changes no term of the bonds within chains."""
    batch = next(b for b in _data(tmp_path, cut_share=1.0).batches(0, 1) if _two(b).all())
    path = backbone_path()
    samples = path.sample(
        batch.x, torch.full((batch.size,), 0.9), torch.Generator().manual_seed(0), None,
        batch.layouts,
    )  # fmt: skip
    away = (batch.cond["chain_index"] > 0)[..., None] * torch.tensor([0.0, 9.0, 0.0])

    class Exact(torch.nn.Module):
        def __init__(self, shift: torch.Tensor) -> None:
            super().__init__()
            self.shift = shift

        def forward(self, x_t, t, batch):  # noqa: ANN001, ANN202
            x1 = {name: sample.x1 for name, sample in samples.items()}
            return {**x1, TRANSLATIONS: x1[TRANSLATIONS] + self.shift}

    terms = []
    for shift in (torch.zeros(1), away):
        denoiser = Denoiser(Exact(shift), path)
        x_t = {name: sample.x_t for name, sample in samples.items()}
        predictions = denoiser(x_t, samples[TRANSLATIONS].t, batch)
        terms.append(weighted_geometry_losses(predictions, samples, batch))
    for name in ("junctions", "torsions"):
        assert torch.allclose(terms[0][name], terms[1][name], atol=1e-4)
    assert (terms[1]["neighbours"] > terms[0]["neighbours"] + 0.01).all()


def test_the_network_tells_another_chain_from_a_distant_residue(tmp_path: Path) -> None:
    batch = next(b for b in _data(tmp_path, cut_share=1.0).batches(0, 1) if _two(b).all())
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = BackboneNetwork(node=32, pair=8, blocks=2, heads=2)
        for parameter in net.parameters():
            torch.nn.init.normal_(parameter, std=0.1)
    t = torch.full((batch.size,), 0.5)
    told = net(batch.x, t, batch)[ROTATIONS]
    cond = {k: v for k, v in batch.cond.items() if k != "chain_index"}
    untold = net(batch.x, t, Batch(batch.x, cond, batch.layouts, batch.size))[ROTATIONS]
    assert (told - untold).abs().max() > 1e-3


@pytest.mark.skipif(not SHARED.exists(), reason=f"needs {SHARED.name} of the shared data")
def test_real_complexes_are_cropped_about_their_interfaces() -> None:
    archive = PairArchive(SHARED)
    rng = np.random.default_rng(0)
    found = [archive.crop(i, 128, rng) for i in range(0, len(archive), 6)]
    crops = [pair for pair in found if pair is not None]
    assert len(crops) >= 0.75 * len(found), "but for those of short peptides"
    for pair in crops:
        assert len(pair.coords) <= 128
        assert _contacts(pair.coords, pair.chain) >= LEAST_CONTACTS
