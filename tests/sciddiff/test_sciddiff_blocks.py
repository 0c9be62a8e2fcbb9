"""Blocks of tokens: attention by ranks, the cache of keys, block and autoregressive objectives."""

import math

import pytest
import torch

from sciddiff import Batch, Denoiser, Denoising, Layout, MaskPath, order_log_prob, sample
from sciddiff.errors import InputError
from sciddiff.grids import uniform
from sciddiff.nn import TokenTransformer
from sciddiff.objectives import Autoregressive, BlockMasked
from sciddiff.samplers import Blockwise, ConfidenceUnmask
from sciddiff.testing import EnumeratedDenoiser, markov_chain

V = 5


def transformer(attention="block", block=3, **settings):
    torch.manual_seed(0)
    net = TokenTransformer(V, 16, 2, 2, "word", attention, block, **settings).double().eval()
    for parameter in net.parameters():  # zeros hide mistakes
        torch.nn.init.normal_(parameter, std=0.3)
    return net


def ragged_batch(lengths=(8, 5, 7), seed=0):
    g = torch.Generator().manual_seed(seed)
    longest = max(lengths)
    x = torch.randint(0, V, (len(lengths), longest), generator=g)
    mask = torch.arange(longest) < torch.tensor(lengths)[:, None]
    return Batch({"word": x}, layouts={"word": Layout(len(lengths), mask=mask)})


def reference(net, x, seen, valid):
    """The attention of the network by nested loops, for one sample without padding rows."""
    places = torch.arange(x.shape[0], dtype=torch.float64)
    h = net.embed(x) + net.length(torch.tensor([valid], dtype=torch.float64).log1p() / 10.0)
    for layer in net.layers:
        q, k, v = layer.qkv(layer.norm_in(h)).unflatten(-1, (3, layer.heads, -1)).unbind(1)
        mixed = torch.zeros_like(q)
        half = q.shape[-1] // 2

        def turned(row, place, half=half):
            angle = place * 1000.0 ** (-torch.arange(half, dtype=torch.float64) / half)
            a, b = row[:half], row[half:]
            cos, sin = angle.cos(), angle.sin()
            return torch.cat([a * cos - b * sin, a * sin + b * cos])

        for head in range(layer.heads):
            for i in range(len(x)):
                others = [j for j in range(len(x)) if seen[i][j]]
                logits = torch.stack([
                    turned(q[i, head], places[i]) @ turned(k[j, head], places[j]) for j in others
                ]) / math.sqrt(q.shape[-1])
                for weight, j in zip(logits.softmax(0), others, strict=True):
                    mixed[i, head] += weight * v[j, head]
        h = h + layer.out(mixed.flatten(1))
        h = h + layer.down(torch.nn.functional.gelu(layer.up(layer.norm_out(h))))
    return net.head(net.norm(h))


@pytest.mark.parametrize(("attention", "block"), [("full", 8), ("block", 3), ("causal", 8)])
def test_attention_equals_nested_loops(attention, block):
    net = transformer(attention, block)
    x = torch.tensor([0, 5, 2, 5, 4, 1, 5])
    size = {"full": len(x), "block": 3, "causal": 1}[attention]
    seen = [[j // size <= i // size for j in range(len(x))] for i in range(len(x))]
    found = net({"word": x[None]}, torch.zeros(1), Batch({"word": x[None]}))["word"][0]
    assert torch.allclose(found, reference(net, x, seen, len(x)), atol=1e-12)


@pytest.mark.parametrize("attention", ["full", "block", "causal"])
def test_padding_changes_nothing(attention):
    net, batch = transformer(attention), ragged_batch()
    wide = net(batch.x, torch.zeros(3), batch)["word"]
    for k, length in enumerate((8, 5, 7)):
        x = batch.x["word"][k : k + 1, :length]
        alone = net({"word": x}, torch.zeros(1), Batch({"word": x}))["word"]
        assert torch.allclose(wide[k : k + 1, :length], alone, atol=1e-12)


@pytest.mark.parametrize("block", [1, 2, 3, 8])
def test_all_blocks_at_once_are_the_blocks_one_by_one(block):
    """The doubled pass of training gives what calls of sampling give."""
    net, batch = transformer("block", block), ragged_batch()
    clean, path = batch.x["word"], MaskPath(V)
    hidden = torch.rand(clean.shape, generator=torch.Generator().manual_seed(1)) < 0.6
    noisy, ranks = path.hide(clean, hidden), net.ranks(clean, batch)
    at_once = net.ranked(noisy, clean, ranks, 0.0, batch)
    for number in range(int(ranks.max()) + 1):
        x = torch.where(ranks == number, noisy, clean)
        # Later blocks hold anything: they are not seen.
        x = torch.where(ranks > number, torch.full_like(x, V), x)
        one = net({"word": x}, torch.zeros(3), batch)["word"]
        here = (ranks == number) & batch.layouts["word"].mask
        assert torch.allclose(one[here], at_once[here], atol=1e-12)


@pytest.mark.parametrize("block", [1, 3, 8])
def test_cached_logits_are_the_uncached_ones(block):
    net, batch = transformer("block", block), ragged_batch()
    cached = batch.with_cond(keys=net.keys(batch))
    clean, rows = batch.x["word"], batch.layouts["word"].mask
    g = torch.Generator().manual_seed(3)
    ranks = net.ranks(clean, batch)
    for number in range(int(ranks.max()) + 1):
        for _ in range(3):  # rows of the block are revealed and hidden again
            hidden = (torch.rand(clean.shape, generator=g) < 0.5) & (ranks == number)
            hidden |= (ranks == number) & (torch.arange(clean.shape[1]) % block == 0)
            x = MaskPath(V).hide(clean, hidden | (ranks > number))
            plain = net({"word": x}, torch.zeros(3), batch)["word"]
            quick = net({"word": x}, torch.zeros(3), cached)["word"]
            here = (ranks == number) & rows
            assert torch.allclose(plain[here], quick[here], atol=1e-10, rtol=0.0)
    assert cached.cond["keys"].calls == int(ranks.max())


def test_a_cache_is_never_stale():
    net, batch = transformer("block", 2), ragged_batch((8,))
    cached = batch.with_cond(keys=net.keys(batch))
    x = batch.x["word"].clone()
    x[:, 6:] = V
    net({"word": x}, torch.zeros(1), cached)
    changed = x.clone()
    changed[:, 3] = (changed[:, 3] + 1) % V
    quick = net({"word": changed}, torch.zeros(1), cached)["word"]
    plain = net({"word": changed}, torch.zeros(1), batch)["word"]
    assert torch.allclose(quick[:, 6:], plain[:, 6:], atol=1e-12)
    assert not torch.allclose(net({"word": x}, torch.zeros(1), batch)["word"][:, 6:], plain[:, 6:])


def test_draws_with_and_without_the_cache_are_the_same():
    net, batch = transformer("block", 3), ragged_batch()
    denoiser = Denoiser(net, {"word": MaskPath(V)})
    sampler = Blockwise(3, 3, ConfidenceUnmask("random"))
    drawn = sample(denoiser, batch, sampler, uniform(1), seed=1)
    plain = sample(denoiser, batch, Blockwise(3, 3, sampler.inner, cache=False), uniform(1), 1)
    assert torch.equal(drawn.x["word"], plain.x["word"]) and drawn.nfe == 9
    rows = batch.layouts["word"].mask
    assert not bool((drawn.x["word"][rows] == V).any())


def test_blocks_are_drawn_in_sequence():
    net, batch = transformer("block", 3), ragged_batch((8,))
    denoiser = Denoiser(net, {"word": MaskPath(V)})
    out = sample(denoiser, batch, Blockwise(3, 2), uniform(1), seed=1, keep_trajectory=True)
    for state in out.trajectory:
        hidden = (state["word"][0] == V).tolist()
        begun = [any(not h for h in hidden[i : i + 3]) for i in (0, 3, 6)]
        done = [all(not h for h in hidden[i : i + 3]) for i in (0, 3, 6)]
        assert all(done[i] for i in range(2) if begun[i + 1])


class Ranked(torch.nn.Module):
    """A network that knows a law, and says it by ranks."""

    def __init__(self, words, log_p):
        super().__init__()
        self.known = EnumeratedDenoiser(MaskPath(3), words, log_p)

    def ranked(self, noisy, clean, ranks, t, batch):
        logits = torch.zeros(*noisy.shape, 3, dtype=torch.float64)
        for number in range(int(ranks.max()) + 1):
            x = torch.where(ranks == number, noisy, torch.where(ranks < number, clean, 3))
            said = self.known({"word": x}, 0.0, Batch({"word": x}))["word"].value
            logits = torch.where((ranks == number)[..., None], said, logits)
        return logits


@pytest.mark.parametrize(
    ("objective", "tight"),
    [
        (Autoregressive(), True), (Autoregressive("random"), True),
        (BlockMasked(1, (0.0, 1.0), "elbo"), True), (BlockMasked(2, (1.0, 1.0)), False),
    ],
)  # fmt: skip
def test_the_loss_of_the_exact_law_is_its_entropy(objective, tight):
    """With one row a block for every order; two rows at once lose their dependence."""
    words, log_p = markov_chain(3, 4)
    entropy = -float((log_p.exp() * log_p).sum())
    g = torch.Generator().manual_seed(0)
    drawn = words[torch.multinomial(log_p.exp(), 4000, replacement=True, generator=g)]
    denoiser = Denoiser(Ranked(words, log_p), {"word": MaskPath(3)})
    found = objective(denoiser, Batch({"word": drawn}), g).per_sample * 4
    error = float(found.std()) / math.sqrt(len(drawn))
    if tight:
        assert abs(float(found.mean()) - entropy) < 4 * error
    else:
        assert float(found.mean()) > entropy + 0.05 + 4 * error


@pytest.mark.parametrize("block", [1, 2, 4])
def test_the_bound_telescopes_over_blocks_of_any_size(block):
    words, log_p = markov_chain(3, 4)
    within = torch.rand(len(words), 4, generator=torch.Generator().manual_seed(0)).argsort(1)
    order = (torch.arange(4) // block * 10 + within).argsort(1).argsort(1)
    known = EnumeratedDenoiser(MaskPath(3), words, log_p)
    scores = order_log_prob(known, Batch({"word": words}), order=order)
    assert torch.allclose(scores.mean, log_p, atol=1e-10)


def test_one_pass_of_autoregression_is_the_loop():
    """Block size 1 equals one row a call in sequence order, and in a random order by ranks."""
    net, batch = transformer("causal"), ragged_batch()
    denoiser = Denoiser(net, {"word": MaskPath(V)})
    loss = Autoregressive()(denoiser, batch, torch.Generator().manual_seed(0)).per_sample
    rows = batch.layouts["word"].mask
    order = torch.arange(rows.shape[1]).expand(rows.shape)
    looped = order_log_prob(denoiser, batch, order=order).mean
    assert torch.allclose(-loss * rows.sum(1), looped, atol=1e-9)


def test_the_share_of_hidden_rows_is_drawn_for_each_block():
    seen = {}

    class Net(torch.nn.Module):
        def ranked(self, noisy, clean, ranks, t, batch):
            seen["hidden"] = (noisy == V).double()
            return torch.zeros(*noisy.shape, V)

    batch = Batch({"word": torch.zeros(4000, 16, dtype=torch.int64)})
    objective = BlockMasked(8, (0.5, 0.5))
    g = torch.Generator().manual_seed(0)
    loss = objective(Denoiser(Net(), {"word": MaskPath(V)}), batch, g)
    assert abs(float(seen["hidden"].mean()) - 0.5) < 0.01
    assert math.isclose(float(loss.loss), math.log(V), rel_tol=1e-6)
    BlockMasked(8, (0.0, 1e-9))(
        Denoiser(Net(), {"word": MaskPath(V)}), batch, torch.Generator().manual_seed(0)
    )
    assert bool((seen["hidden"].unflatten(1, (2, 8)).sum(-1) == 1).all())


@pytest.mark.slow
def test_masks_blocks_and_autoregression_learn_one_law():
    """One network class learns a chain to its entropy by each objective."""
    every, log_p = markov_chain(3, 4)
    entropy = -float((log_p.exp() * log_p).sum())
    for attention, block, objective in (
        ("full", 1, Denoising()), ("block", 2, BlockMasked(2, (0.0, 1.0))),
        ("causal", 1, Autoregressive()),
    ):  # fmt: skip
        torch.manual_seed(0)
        net = TokenTransformer(3, 32, 2, 2, "word", attention, block)
        denoiser = Denoiser(net, {"word": MaskPath(3)})
        optimiser = torch.optim.Adam(net.parameters(), 3e-3)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 500)
        g = torch.Generator().manual_seed(1)
        for _ in range(500):
            drawn = every[torch.multinomial(log_p.exp(), 256, replacement=True, generator=g)]
            optimiser.zero_grad()
            objective(denoiser, Batch({"word": drawn}), g).loss.backward()
            optimiser.step()
            schedule.step()
        order = torch.arange(4).expand(len(every), 4)
        scores = order_log_prob(denoiser, Batch({"word": every}), order=order)
        nats = -float((log_p.exp() * scores.mean).sum())
        assert entropy - 1e-6 < nats < entropy + 0.05, (attention, nats, entropy)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: TokenTransformer(5, 18, 1, 4), "multiple of twice heads"),
        (lambda: transformer("full").keys(ragged_batch()), "keys are kept"),
        (lambda: BlockMasked(0), "at least one row"),
        (lambda: BlockMasked(4, (0.8, 0.3)), "no shares"),
        (lambda: Autoregressive("backwards"), "sequence or random"),
        (lambda: Blockwise(inner=ConfidenceUnmask("colour")), "goes across blocks"),
        (
            lambda: BlockMasked()(
                Denoiser(torch.nn.Linear(1, 1), {"word": MaskPath(V)}), ragged_batch(), None
            ),
            "no method `ranked`",
        ),
    ],
)
def test_what_is_wrong_is_said(call, message):
    with pytest.raises(InputError, match=message):
        call()
