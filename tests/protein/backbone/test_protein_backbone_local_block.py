"""The local tensor block: SE(3) laws, permutations, padding, handedness, and its graph."""

import copy

import pytest
import torch
from torch import nn

from sciddiff.manifolds.so3 import exp_map

block_module = pytest.importorskip("protein.backbone.local_block")
LocalTensorBlock = block_module.LocalTensorBlock
neighbour_graph = block_module.neighbour_graph

NODE = 24


def _trained(dtype=torch.float64, rounds=1, **options):
    """A block with no zero layer, as after training."""
    generator = torch.Generator().manual_seed(3)
    block = LocalTensorBlock(NODE, neighbours=8, rounds=rounds, **options)
    for parameter in block.parameters():
        nn.init.normal_(parameter, std=0.3, generator=generator)
    return block.to(dtype)


def _input(b=2, n=23, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    s = normal(b, n, NODE)
    rotations = exp_map(2.0 * normal(b, n, 3))
    positions = torch.cumsum(0.25 * normal(b, n, 3), 1)
    mask = torch.ones(b, n, dtype=torch.bool)
    return s.to(dtype), rotations.to(dtype), positions.to(dtype), mask


def _motion(dtype=torch.float64, seed=5):
    generator = torch.Generator().manual_seed(seed)
    turn = exp_map(2.0 * torch.randn(3, generator=generator, dtype=torch.float64))
    return turn.to(dtype), 3.0 * torch.randn(3, generator=generator, dtype=torch.float64).to(dtype)


@pytest.mark.parametrize(("dtype", "limit"), [(torch.float64, 1e-11), (torch.float32, 3e-5)])
@pytest.mark.parametrize("rounds", [1, 2])
def test_outputs_in_the_frame_are_unchanged_by_rigid_motions(dtype, limit, rounds):
    block, (s, rotations, positions, mask) = _trained(dtype, rounds), _input(dtype=dtype)
    turn, move = _motion(dtype)
    before = block(s, rotations, positions, mask)
    after = block(s, turn @ rotations, positions @ turn.T + move, mask)
    for old, new in zip(before, after, strict=True):
        assert old.abs().max() > 0.01
        assert (new - old).abs().max() <= limit * (1 + old.abs().max())


def test_an_untrained_block_changes_nothing_and_still_learns():
    block, inputs = LocalTensorBlock(NODE, neighbours=8), _input(dtype=torch.float32)
    outputs = block(*inputs)
    assert all(torch.equal(out, torch.zeros_like(out)) for out in outputs)
    sum((out - 1.0).square().sum() for out in outputs).backward()
    assert block.moves.weight.grad.abs().max() > 0
    assert block.out.weight.grad.abs().max() > 0


def test_a_mirror_image_gives_another_answer():
    block, (s, rotations, positions, mask) = _trained(), _input()
    flip = torch.diag(torch.tensor([1.0, 1.0, -1.0], dtype=torch.float64))
    # Mirrored atoms: the frame's first two axes are mirrored, the third is their cross product.
    mirrored = flip @ rotations @ flip
    update, shift, _ = block(s, rotations, positions, mask)
    update_m, shift_m, _ = block(s, mirrored, positions @ flip, mask)
    assert (update_m - update).abs().max() > 0.05 * update.abs().max()
    assert (shift_m - shift @ flip).abs().max() > 0.05 * shift.abs().max()


def test_residues_may_come_in_any_order_with_their_numbers():
    block, (s, rotations, positions, mask) = _trained(), _input()
    index = torch.arange(s.shape[1]).expand(s.shape[:2])
    chain = (index > 12).long()
    order = torch.randperm(s.shape[1], generator=torch.Generator().manual_seed(1))
    before = block(s, rotations, positions, mask, index, chain)
    after = block(
        s[:, order], rotations[:, order], positions[:, order], mask, index[:, order],
        chain[:, order],
    )  # fmt: skip
    for old, new in zip(before, after, strict=True):
        torch.testing.assert_close(new, old[:, order], rtol=0, atol=1e-11)


def test_padding_and_companions_do_not_matter():
    block, (s, rotations, positions, _) = _trained(), _input()
    n = s.shape[1]
    mask = torch.arange(n).expand(2, n) < torch.tensor([n, 9])[:, None]
    together = block(s, rotations, positions, mask)
    alone = block(s[1:, :9], rotations[1:, :9], positions[1:, :9], mask[1:, :9])
    for padded, single in zip(together, alone, strict=True):
        torch.testing.assert_close(padded[1:, :9], single, rtol=0, atol=1e-11)
        assert (padded[1, 9:] == 0).all()


def test_gradients_are_finite_where_residues_coincide():
    block, (s, rotations, positions, mask) = _trained(), _input()
    s, positions = s.requires_grad_(), torch.zeros_like(positions).requires_grad_()
    sum(out.square().sum() for out in block(s, rotations, positions, mask)).backward()
    leaves = [s.grad, positions.grad, *(p.grad for p in block.parameters())]
    assert all(torch.isfinite(leaf).all() for leaf in leaves)


def test_sequence_and_chains_are_seen():
    block, (s, rotations, positions, mask) = _trained(), _input()
    index = torch.arange(s.shape[1]).expand(s.shape[:2])
    plain = block(s, rotations, positions, mask)
    same = block(s, rotations, positions, mask, index, torch.zeros_like(index))
    other = block(s, rotations, positions, mask, index, (index > 10).long())
    assert torch.equal(plain[0], same[0])
    assert (plain[0] - other[0]).abs().max() > 1e-3


def test_low_precision_trunks_keep_the_geometry_in_float32():
    block, (s, rotations, positions, mask) = _trained(torch.float32), _input(dtype=torch.float32)
    _, shift, turn = block(s, rotations, positions, mask)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        _, low_shift, low_turn = block(s, rotations, positions, mask)
    assert torch.equal(shift, low_shift)
    assert torch.equal(turn, low_turn)


def test_copies_and_checkpoints_hold_learned_numbers_only():
    block, inputs = _trained(), _input()
    copied = copy.deepcopy(block)
    assert torch.equal(copied(*inputs)[1], block(*inputs)[1])
    state = block.state_dict()
    assert set(state) == set(copied.state_dict())
    assert not any("w3j" in name or "output_mask" in name for name in state)
    fresh = LocalTensorBlock(NODE, neighbours=8).double()
    fresh.load_state_dict(state)
    assert torch.equal(fresh(*inputs)[1], block(*inputs)[1])


def _edges(graph):
    return set(map(tuple, graph.T.tolist()))


def test_the_tree_finds_the_same_graph_as_all_distances():
    generator = torch.Generator().manual_seed(2)
    positions = torch.randn(3, 60, 3, generator=generator)
    mask = torch.arange(60).expand(3, 60) < torch.tensor([60, 37, 1])[:, None]
    index = torch.stack(
        [torch.randperm(60, generator=generator), torch.arange(60), torch.arange(60)]
    )
    chain = (index > 25).long()
    for neighbours in (6, 100):
        dense = neighbour_graph(positions, mask, index, chain, neighbours)
        tree = neighbour_graph(positions, mask, index, chain, neighbours, dense_limit=10)
        assert _edges(dense) == _edges(tree)


def test_graph_holds_the_chain_and_the_nearest():
    n, k = 40, 7
    positions = torch.randn(1, n, 3, generator=torch.Generator().manual_seed(4))
    mask = torch.ones(1, n, dtype=torch.bool)
    index = torch.arange(n)[None]
    graph = neighbour_graph(positions, mask, index, torch.zeros_like(index), k)
    edges = _edges(graph)
    assert len(edges) == n * k
    assert all((i + d, i) in edges for d in (-2, -1, 1, 2) for i in range(2, n - 2))
    apart = torch.cdist(positions, positions)[0]
    for i in range(2, n - 2):
        far = [j for j in range(n) if abs(i - j) > 2]
        nearest = sorted(far, key=lambda j: float(apart[i, j]))[: k - 4]
        assert {j for j, target in edges if target == i and abs(i - j) > 2} == set(nearest)
