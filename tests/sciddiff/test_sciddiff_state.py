"""Layouts: dense and ragged leaves obey the same laws."""

import pytest
import torch

from sciddiff.errors import InputError
from sciddiff.state import Batch, Layout

LENGTHS = torch.tensor([3, 5, 1])


def _twins():
    """One leaf, dense with padding full of nonsense and ragged, and their layouts."""
    generator = torch.Generator().manual_seed(0)
    dense = torch.randn(3, 6, 3, generator=generator, dtype=torch.float64)
    mask = torch.arange(6) < LENGTHS[:, None]
    dense = torch.where(mask[..., None], dense, torch.full_like(dense, float("nan")))
    index = torch.repeat_interleave(torch.arange(3), LENGTHS)
    fixed = torch.zeros(3, 6, dtype=torch.bool)
    fixed[1, 2:4] = True
    return (
        (dense, Layout(3, mask=mask, fixed=fixed & mask)),
        (dense[mask], Layout(3, index=index, fixed=fixed[mask])),
        mask,
    )


def test_dense_and_ragged_agree_and_padding_is_never_read():
    (dense, padded), (ragged, packed), mask = _twins()
    per_sample = torch.stack([rows.sum() for rows in ragged.split(LENGTHS.tolist())])
    for x, layout in ((dense, padded), (ragged, packed)):
        torch.testing.assert_close(layout.sum_per_sample(x), per_sample)
        torch.testing.assert_close(layout.count(x), 3.0 * LENGTHS.double())
        torch.testing.assert_close(layout.rows_per_sample(x), LENGTHS.double())
    free = padded.free_mean_per_sample(dense)
    torch.testing.assert_close(free, packed.free_mean_per_sample(ragged))
    torch.testing.assert_close(free[1], dense[1, [0, 1, 4]].mean())
    mean = padded.mean(dense).expand(3, 6, 3)[mask]
    torch.testing.assert_close(mean, packed.mean(ragged))
    assert padded.any_fixed.tolist() == packed.any_fixed.tolist() == [False, True, False]


def test_spread_gives_every_row_its_sample():
    (dense, padded), (ragged, packed), mask = _twins()
    t = torch.tensor([0.1, 0.2, 0.3])
    assert padded.spread(t, dense).shape == (3, 1, 1)
    assert torch.equal(
        padded.spread(t, dense).expand(3, 6, 1)[mask], packed.spread(t, ragged).reshape(-1, 1)
    )


def test_hold_keeps_fixed_rows_only():
    (dense, padded), (ragged, packed), mask = _twins()
    data = torch.zeros_like(dense)
    held = padded.hold(dense, data)
    assert (held[1, 2:4] == 0).all()
    assert torch.equal(held[mask], packed.hold(ragged, data[mask]))
    assert torch.equal(held[0, :3], dense[0, :3])


def test_positions_count_within_samples_in_any_order():
    layout = Layout(3, index=torch.tensor([2, 0, 1, 0, 2, 2]))
    assert layout.positions.tolist() == [0, 0, 0, 1, 1, 2]


def test_all_fixed_samples_have_no_loss_and_no_nan():
    layout = Layout(2, fixed=torch.tensor([[True, True], [False, True]]))
    mean = layout.free_mean_per_sample(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    assert mean.tolist() == [0.0, 3.0]


@pytest.mark.parametrize("ragged", [False, True])
def test_select_keeps_samples_whole(ragged):
    (dense, padded), (packed_x, packed), _ = _twins()
    x, layout = (packed_x, packed) if ragged else (dense, padded)
    batch = Batch({"x": x}, {"label": torch.arange(3), "nest": {"c": torch.arange(3)}, "k": 1},
                  {"x": layout}, ids=("a", "b", "c"))  # fmt: skip
    picked = batch.select(torch.tensor([2, 1]))
    assert picked.ids == ("c", "b")
    assert picked.cond["label"].tolist() == picked.cond["nest"]["c"].tolist() == [2, 1]
    assert picked.cond["k"] == 1
    sums = batch.layouts["x"].sum_per_sample(x)
    torch.testing.assert_close(picked.layouts["x"].sum_per_sample(picked.x["x"]), sums[[2, 1]])
    torch.testing.assert_close(
        picked.layouts["x"].free_mean_per_sample(picked.x["x"]),
        layout.free_mean_per_sample(x)[[2, 1]],
    )


def test_batch_moves_everything():
    (dense, padded), _, _ = _twins()
    moved = Batch({"x": dense}, {"c": {"d": torch.ones(3)}}, {"x": padded}).to("meta")
    assert moved.x["x"].device.type == moved.cond["c"]["d"].device.type == "meta"
    assert moved.layouts["x"].mask.device.type == moved.layouts["x"].fixed.device.type == "meta"


def test_wrong_shapes_are_named():
    with pytest.raises(InputError, match="dense or ragged"):
        Layout(2, mask=torch.ones(2, 3, dtype=torch.bool), index=torch.zeros(3).long())
    with pytest.raises(InputError, match=r"Layout.mask: shape \(3, 3\)"):
        Layout(2, mask=torch.ones(3, 3, dtype=torch.bool))
    with pytest.raises(InputError, match=r"Batch.x\['x'\]: shape \(2, 4\)"):
        Batch({"x": torch.ones(2, 4)}, layouts={"x": Layout(2, torch.ones(2, 3) > 0)})
    with pytest.raises(InputError, match="5 rows; its index has 4"):
        Batch({"x": torch.ones(5, 3)}, layouts={"x": Layout(2, index=torch.zeros(4).long())})
    with pytest.raises(InputError, match="1 names for 2 samples"):
        Batch({"x": torch.ones(2, 3)}, ids=("a",))


def test_a_sample_without_rows_has_mean_zero():
    layout = Layout(2, index=torch.tensor([0, 0, 0]))
    mean = layout.free_mean_per_sample(torch.tensor([1.0, 2.0, 6.0]))
    assert torch.equal(mean, torch.tensor([3.0, 0.0]))


@pytest.mark.parametrize(
    ("shape", "layout"),
    [((2, 0), Layout(2)), ((0,), Layout(2, index=torch.zeros(0, dtype=torch.int64))),
     ((0, 3), Layout(2, index=torch.zeros(0, dtype=torch.int64)))],
)  # fmt: skip
def test_a_leaf_without_entries_sums_to_nothing(shape, layout):
    """The torsions of a batch of rigid ligands, for example."""
    assert torch.equal(layout.sum_per_sample(torch.zeros(shape)), torch.zeros(2))
    assert torch.equal(layout.free_mean_per_sample(torch.zeros(shape)), torch.zeros(2))
