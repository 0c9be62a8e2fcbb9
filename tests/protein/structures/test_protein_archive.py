"""Archives: exact to half a step, mapped, subset without copies, refused when damaged."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protein.structures.archive import ChainArchive, write_archive
from sciddiff.errors import InputError


def columns(lengths) -> dict[str, np.ndarray]:
    """Columns of a small archive."""
    n = len(lengths)
    return {
        "length": np.asarray(lengths),
        "id": np.asarray([f"c{i}" for i in range(n)]),
        "sequence": np.asarray([b"A" * k for k in lengths]),
        "ss3": np.asarray([b"h" * k for k in lengths]),
        "cluster_c30": np.arange(n, dtype=np.int32),
        "split": np.asarray([("train", "val", "test")[i % 3] for i in range(n)]),
    }


def chains(lengths, seed: int = 0) -> list[np.ndarray]:
    """Random coordinates, far from the origin."""
    rng = np.random.default_rng(seed)
    return [20 * rng.standard_normal((k, 4, 3)) + 500 for k in lengths]


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=8), st.integers(0, 99))
def test_round_trip_is_exact_to_half_a_step(tmp_path_factory, lengths, seed) -> None:
    path = tmp_path_factory.mktemp("a") / "x.npz"
    given_chains = chains(lengths, seed)
    write_archive(path, iter(given_chains), columns(lengths))
    archive = ChainArchive.open(path)
    assert archive.lengths.tolist() == lengths
    for wanted, found in zip(given_chains, archive, strict=True):
        assert found.dtype == np.float32
        assert np.abs(wanted - wanted.mean((0, 1)) - found).max() <= 0.005 + 1e-5


def test_coordinates_are_mapped_and_numpy_reads_them_too(tmp_path) -> None:
    path = tmp_path / "x.npz"
    write_archive(path, chains([5, 9]), columns([5, 9]))
    archive = ChainArchive.open(path)
    assert isinstance(archive._packed(), np.memmap)
    with np.load(path) as data:
        np.testing.assert_array_equal(data["coords"], archive._packed())
        np.savez_compressed(tmp_path / "z.npz", **data)
    for one, two in zip(archive, ChainArchive.open(tmp_path / "z.npz"), strict=True):
        np.testing.assert_array_equal(one, two)


def test_subset_is_a_view_that_travels_light(tmp_path) -> None:
    lengths = [5, 9, 12, 7, 9, 30]
    write_archive(tmp_path / "x.npz", chains(lengths), columns(lengths))
    archive = ChainArchive.open(tmp_path / "x.npz")
    archive[0]
    view = archive.subset("val", min_length=8, max_length=9)
    assert view.ids == ["c1", "c4"] and view.rows.tolist() == [1, 4]
    np.testing.assert_array_equal(view[1], archive[4])
    assert view.backbone(1).sequence == "A" * 9 and view.cluster().tolist() == [1, 4]
    copy = pickle.loads(pickle.dumps(view))
    np.testing.assert_array_equal(copy[0], view[0])
    assert len(pickle.dumps(view)) < 20_000
    with pytest.raises(InputError, match="no chain with.*9-9 residues"):
        view.subset(max_length=3)
    with pytest.raises(InputError, match="unknown; choose from train, val, test"):
        archive.subset("training")
    with pytest.raises(InputError, match="no column 'cluster_c40'; it has"):
        archive.cluster(40)


def test_bad_archives_are_refused(tmp_path) -> None:
    path = tmp_path / "x.npz"
    with pytest.raises(InputError, match="no such file"):
        ChainArchive.open(path)
    path.write_bytes(b"not a zip")
    with pytest.raises(InputError, match="not a readable"):
        ChainArchive.open(path)
    np.savez(path, coords=np.zeros(3))
    with pytest.raises(InputError, match="lacks coord_scale"):
        ChainArchive.open(path)
    write_archive(path, chains([5]), columns([5]))
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError, match="not a readable"):
        ChainArchive.open(path)


def test_bad_rows_leave_no_file(tmp_path) -> None:
    path = tmp_path / "x.npz"
    for bad in (chains([5]), chains([5, 8]), [np.full((5, 4, 3), np.nan)] * 2, chains([5, 9, 1])):
        with pytest.raises(InputError):
            write_archive(path, bad, columns([5, 9]))
    wide = chains([5, 9])
    wide[0][0] += 900
    with pytest.raises(InputError, match="wider than 327"):
        write_archive(path, wide, columns([5, 9]))
    assert list(tmp_path.iterdir()) == []


def test_opens_the_native_chains(natives) -> None:
    assert len(natives) > 10_000
    val = natives.subset("val", 60, 128)
    assert ((val.lengths >= 60) & (val.lengths <= 128)).all() and set(val.splits) == {"val"}
    assert all(len(s) == k for s, k in zip(val.sequences, val.lengths, strict=True))
    assert val.backbone(0).bonded[:-1].all()
    train = natives.subset("train")
    assert not set(train.cluster(30)) & set(val.cluster(30))
