"""The backbone network: rigid motions, permutations, padding, handedness, fixed residues.

Output layers start at zero, so every law is tested with random weights in all layers.
"""

import pytest
import torch
from torch import nn

from protein.backbone.attention import InvariantPointAttention, PairUpdate, attention_mask
from protein.backbone.network import ROTATIONS, TRANSLATIONS, BackboneNetwork
from sciddiff.manifolds.so3 import exp_map, log_map
from sciddiff.state import Batch, Layout

B, N = 2, 24
MIRROR = torch.diag(torch.tensor([1.0, 1.0, -1.0]))


def _randomise(module, std=0.1, seed=1):
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        parameter.data += std * torch.randn(parameter.shape, generator=generator)
    return module


def _network(local):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = BackboneNetwork(node=32, pair=16, blocks=3, heads=4, local=local)
    return _randomise(net).eval()


@pytest.fixture(scope="module", params=[False, True], ids=["attention", "local"])
def net(request):
    if request.param:
        pytest.importorskip("torch_geometric", reason="the local block needs torch-geometric")
        pytest.importorskip("e3nn", reason="the local block needs e3nn")
    return _network(request.param)


def _state(seed=0, n=N):
    generator = torch.Generator().manual_seed(seed)
    positions = torch.cumsum(0.25 * torch.randn(B, n, 3, generator=generator), 1)
    rotations = exp_map(2.0 * torch.randn(B, n, 3, generator=generator, dtype=torch.float64))
    return {TRANSLATIONS: positions, ROTATIONS: rotations.float()}


def _batch(x, mask=None, fixed=None, **cond):
    size = x[TRANSLATIONS].shape[0]
    layout = Layout(size, mask=mask, fixed=fixed)
    return Batch(x, cond, {TRANSLATIONS: layout, ROTATIONS: layout}, size)


def _run(net, x, t=(0.2, 0.7), **options):
    with torch.no_grad():
        return net(x, torch.tensor(t), _batch(x, **options))


def _move(x, turn, shift):
    return {TRANSLATIONS: x[TRANSLATIONS] @ turn.T + shift, ROTATIONS: turn @ x[ROTATIONS]}


def _mirrored(x):
    """Frames of the mirror image: two axes are mirrored, the third is their cross product."""
    return {TRANSLATIONS: x[TRANSLATIONS] @ MIRROR, ROTATIONS: MIRROR @ x[ROTATIONS] @ MIRROR}


def _apart(x, y):
    """Largest difference of positions (nm) and of rotations (rad)."""
    turn = log_map(x[ROTATIONS].double().mT @ y[ROTATIONS].double()).norm(dim=-1).max()
    return float((x[TRANSLATIONS] - y[TRANSLATIONS]).abs().max()), float(turn)


def _motions():
    generator = torch.Generator().manual_seed(7)
    for _ in range(3):
        turn = exp_map(2.0 * torch.randn(3, generator=generator, dtype=torch.float64)).float()
        yield turn, 2.0 * torch.randn(3, generator=generator)


def test_untrained_it_returns_almost_what_it_is_given_and_it_moves_when_trained(net):
    x = _state()
    out = _run(net, x)
    position, rotation = _apart(out, x)
    assert position > 0.05
    assert rotation > 0.05
    with torch.random.fork_rng():
        torch.manual_seed(0)
        fresh = _run(BackboneNetwork(node=32, pair=16, blocks=2, heads=4), x)
    assert max(_apart(fresh, x)) < 0.1


@pytest.mark.parametrize("condition", ["plain", "seen", "fixed", "chains"])
def test_rigid_motions_carry_through(net, condition):
    x, seen = _state(), _state(1)
    fixed = torch.zeros(B, N, dtype=torch.bool)
    fixed[0, 4:9] = True
    chain = (torch.arange(N) > 10).long().expand(B, N)
    options = {"fixed": {"fixed": fixed}, "chains": {"chain_index": chain}}.get(condition, {})
    if condition == "seen":
        options = {"self_condition": seen}
    before = _run(net, x, **options)
    for turn, shift in _motions():
        if condition == "seen":
            options = {"self_condition": _move(seen, turn, shift)}
        after = _run(net, _move(x, turn, shift), **options)
        position, rotation = _apart(after, _move(before, turn, shift))
        assert position < 1e-4
        assert rotation < 3e-4


def test_self_conditioning_may_sit_elsewhere(net):
    """The previous prediction is read through invariants of its own."""
    x, seen = _state(), _state(1)
    turn, shift = next(iter(_motions()))
    first = _run(net, x, self_condition=seen)
    second = _run(net, x, self_condition=_move(seen, turn, shift))
    assert max(_apart(first, second)) < 3e-4
    assert _apart(first, _run(net, x))[0] > 1e-3


def test_a_mirror_image_does_not_give_the_mirrored_answer(net):
    x = _state()
    out, other = _run(net, x), _run(net, _mirrored(x))
    moved = _apart(out, x)[0]
    assert _apart(other, _mirrored(out))[0] > 0.05 * moved


def _permuted(net, x, index, chain, order):
    before = _run(net, x, residue_index=index, chain_index=chain)
    shuffled = {name: leaf[:, order] for name, leaf in x.items()}
    after = _run(net, shuffled, residue_index=index[:, order], chain_index=chain[:, order])
    return _apart(after, {name: leaf[:, order] for name, leaf in before.items()})


def test_residues_may_come_in_any_order_with_their_numbers(net):
    order = torch.randperm(N, generator=torch.Generator().manual_seed(3))
    index = torch.arange(N).expand(B, N)
    position, rotation = _permuted(net, _state(), index, (index > 15).long(), order)
    assert position < 1e-4
    assert rotation < 3e-4


def test_padding_and_companions_do_not_matter(net):
    x = _state()
    lengths = torch.tensor([N, 17])
    mask = torch.arange(N) < lengths[:, None]
    together = _run(net, x, mask=mask)
    for b, length in enumerate(lengths.tolist()):
        alone = {name: leaf[b : b + 1, :length] for name, leaf in x.items()}
        out = _run(net, alone, t=(0.2, 0.7)[b : b + 1])
        padded = {name: leaf[b : b + 1, :length] for name, leaf in together.items()}
        position, rotation = _apart(out, padded)
        assert position < 1e-5
        assert rotation < 1e-4


def test_what_padding_holds_does_not_matter(net):
    x, junk = _state(), _state(5)
    mask = (torch.arange(N) < 17).expand(B, N)
    dirty = {
        TRANSLATIONS: torch.where(mask[..., None], x[TRANSLATIONS], 3 * junk[TRANSLATIONS]),
        ROTATIONS: torch.where(mask[..., None, None], x[ROTATIONS], junk[ROTATIONS]),
    }
    clean, other = (_run(net, y, mask=mask) for y in (x, dirty))
    real = [{name: leaf[:, :17] for name, leaf in y.items()} for y in (clean, other)]
    assert max(_apart(*real)) < 1e-5


def test_chains_numbers_folds_and_times_are_seen(net):
    x = _state()
    index = torch.arange(N).expand(B, N)
    plain = _run(net, x, residue_index=index)
    assert max(_apart(plain, _run(net, x))) == 0.0, "rows in order are the default"
    one = _run(net, x, residue_index=index, chain_index=torch.zeros_like(index))
    assert max(_apart(plain, one)) == 0.0, "one chain is the default"
    others = {
        "chain": _run(net, x, chain_index=(index > 10).long()),
        "numbers": _run(net, x, residue_index=index + 40 * (index > 10)),
        "fold": _run(net, x, fold=torch.tensor([1, 2])),
        "time": _run(net, x, t=(0.5, 0.9)),
    }
    for name, out in others.items():
        assert _apart(plain, out)[0] > 1e-4, name
    # Which chain comes first has no meaning, only which residues share one.
    swapped = _run(net, x, chain_index=(index <= 10).long())
    assert max(_apart(others["chain"], swapped)) < 1e-6


def test_fixed_residues_stay_exactly_and_are_felt(net):
    x = _state()
    fixed = torch.zeros(B, N, dtype=torch.bool)
    fixed[:, 5:12] = True
    out, free = _run(net, x, fixed=fixed), _run(net, x)
    for name, leaf in x.items():
        assert torch.equal(out[name][fixed], leaf[fixed])
    assert (out[TRANSLATIONS] - x[TRANSLATIONS])[~fixed].norm(dim=-1).min() > 0
    assert (out[TRANSLATIONS] - free[TRANSLATIONS])[~fixed].abs().max() > 1e-3


def test_predicted_rotations_are_rotations(net):
    r = _run(net, _state())[ROTATIONS].double()
    assert (r.mT @ r - torch.eye(3).double()).abs().max() < 1e-5
    assert (torch.linalg.det(r) - 1).abs().max() < 1e-5


@pytest.mark.parametrize("collapsed", [False, True])
def test_gradients_are_finite(net, collapsed):
    x = _state()
    if collapsed:
        x = {name: leaf[:, :1].expand_as(leaf).clone() for name, leaf in x.items()}
    x = {name: leaf.requires_grad_() for name, leaf in x.items()}
    fixed = torch.zeros(B, N, dtype=torch.bool)
    fixed[0, :4] = True
    mask = torch.arange(N) < torch.tensor([N, 17])[:, None]
    seen = {name: leaf.detach() for name, leaf in x.items()}
    net.zero_grad()
    out = net(x, torch.tensor([0.0, 1.0]), _batch(x, mask, fixed, self_condition=seen))
    sum(leaf.square().sum() for leaf in out.values()).backward()
    leaves = [*(leaf.grad for leaf in x.values()), *(p.grad for p in net.parameters())]
    assert all(torch.isfinite(leaf).all() for leaf in leaves if leaf is not None)
    unused = [name for name, p in net.named_parameters() if p.grad is None]
    assert not unused


def _attention_input(dtype):
    generator = torch.Generator().manual_seed(2)
    s = torch.randn(B, N, 24, generator=generator, dtype=torch.float64)
    z = torch.randn(B, N, N, 12, generator=generator, dtype=torch.float64)
    x = _state()
    x = {name: leaf.to(dtype) for name, leaf in x.items()}
    return s.to(dtype), z.to(dtype), x


@pytest.mark.parametrize(("dtype", "limit"), [(torch.float64, 1e-6), (torch.float32, 1e-3)])
def test_attention_is_unchanged_by_rigid_motions(dtype, limit):
    attention = _randomise(InvariantPointAttention(24, 12, heads=3), 0.2).to(dtype)
    s, z, x = _attention_input(dtype)
    hidden = attention_mask(torch.ones(B, N, dtype=torch.bool))
    before = attention(s, z, x[ROTATIONS], x[TRANSLATIONS], hidden)
    for turn, shift in _motions():
        moved = _move(x, turn.to(dtype), shift.to(dtype))
        after = attention(s, z, moved[ROTATIONS], moved[TRANSLATIONS], hidden)
        # The motion itself is a rotation to single precision only.
        assert (after - before).abs().max() < limit * before.abs().max()


def _attention_by_the_book(attention, s, z, rotations, positions, mask):
    """Algorithm 22 of Jumper et al. 2021, one head and one pair of residues at a time."""
    b, n, _ = s.shape
    h, c, pq, pv = (
        attention.heads, attention.channels, attention.query_points, attention.value_points
    )  # fmt: skip
    scalars = attention.scalars(s).view(b, n, 3, h, c)
    points = attention.points(s).view(b, n, h, 2 * pq + pv, 3)
    bias = attention.bias(z)
    gamma = nn.functional.softplus(attention.point_weight)
    w_l, w_c = (1 / 3) ** 0.5, (2 / (9 * pq)) ** 0.5
    world = torch.einsum("bnij,bnhpj->bnhpi", rotations, points) + positions[:, :, None, None]
    out = []
    for k in range(h):
        q, key, value = scalars[:, :, :, k].unbind(2)
        logits = torch.einsum("bic,bjc->bij", q, key) / c**0.5 + bias[..., k]
        q_points, k_points = world[:, :, k, :pq], world[:, :, k, pq : 2 * pq]
        square = (q_points[:, :, None] - k_points[:, None]).square().sum((-1, -2))
        logits = w_l * (logits - gamma[k] * w_c / 2 * square)
        weights = logits.masked_fill(~mask[:, None], -torch.inf).softmax(-1)
        v_points = torch.einsum("bij,bjpx->bipx", weights, world[:, :, k, 2 * pq :])
        local = torch.einsum("biyx,bipy->bipx", rotations, v_points - positions[:, :, None])
        out.append((weights @ value, local, torch.einsum("bij,bijc->bic", weights, z)))
    local = torch.stack([part[1] for part in out], 2)
    features = [
        torch.stack([part[0] for part in out], 2).flatten(2),
        local.flatten(2),
        (local.square().sum(-1) + 1e-8).sqrt().flatten(2),
        torch.stack([part[2] for part in out], 2).flatten(2),
    ]
    return attention.out(torch.cat(features, -1))


def test_attention_is_that_of_the_paper_and_hides_padding():
    attention = _randomise(InvariantPointAttention(24, 12, heads=3), 0.2).double()
    s, z, x = _attention_input(torch.float64)
    mask = torch.arange(N) < torch.tensor([N, 15])[:, None]
    got = attention(s, z, x[ROTATIONS], x[TRANSLATIONS], attention_mask(mask))
    wanted = _attention_by_the_book(attention, s, z, x[ROTATIONS], x[TRANSLATIONS], mask)
    torch.testing.assert_close(got, wanted, rtol=1e-9, atol=1e-9)


def test_attention_mask_hides_padding_and_nothing_else():
    mask = torch.tensor([[True, True, False]])
    hidden = attention_mask(mask)
    assert hidden.shape == (1, 1, 1, 3)
    assert hidden[0, 0, 0, :2].tolist() == [0.0, 0.0]
    weights = torch.softmax(torch.tensor([5.0, -5.0, 500.0]) + hidden[0, 0, 0], -1)
    assert weights[2] == 0.0
    assert weights.sum() == 1.0


def test_pair_update_starts_as_the_identity_and_permutes():
    update = PairUpdate(24, 12, 5)
    s, z, _ = _attention_input(torch.float32)
    bins = torch.randint(5, (B, N, N), generator=torch.Generator().manual_seed(0))
    assert torch.equal(update(s, z, bins), z)
    _randomise(update, 0.3)
    order = torch.randperm(N, generator=torch.Generator().manual_seed(4))
    both = (slice(None), order[:, None], order[None])
    permuted = update(s[:, order], z[both], bins[both])
    torch.testing.assert_close(permuted, update(s, z, bins)[both], rtol=1e-5, atol=1e-5)
