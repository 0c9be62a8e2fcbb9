"""The graph network: symmetries, what it may and may not see, and its cache."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from protein.sequence.alphabet import MASK
from protein.sequence.features import geometry
from protein.sequence.network import GraphNetwork
from protein.sequence.samples import SEQUENCE, collate
from sciddiff.errors import InputError
from sciddiff.manifolds.so3 import exp_map


@pytest.fixture
def net():
    torch.manual_seed(0)
    return GraphNetwork(node=32, neighbours=8, dropout=0.5).double().eval()


def templates(samples):
    """A batch with atoms in float64."""
    batch = collate(samples)
    return batch.with_cond(atoms=batch.cond["atoms"].double())


def logits(net, samples, tokens=None):
    """Logits with every third residue shown, or with the tokens given."""
    batch = templates(samples)
    if tokens is None:
        shown = torch.arange(batch.x[SEQUENCE].shape[1]) % 3 == 0
        tokens = torch.where(shown, batch.x[SEQUENCE], MASK)
    with torch.no_grad():
        return net({SEQUENCE: tokens}, torch.zeros(batch.size), batch)[SEQUENCE]


def moved(sample, turn, shift):
    """The template turned and shifted, in the type of its atoms."""
    return replace(sample, atoms=(sample.atoms.astype(np.float64) @ turn.T + shift))


def test_rigid_motions_change_nothing_and_a_mirror_does(net, ball):
    sample = ball(40, chains=2)
    plain = logits(net, [sample])
    assert plain.shape == (1, 40, 20)
    assert plain.std() > 0.05
    turn = exp_map(torch.tensor([[0.3, -2.0, 1.1]], dtype=torch.float64))[0].numpy()
    assert torch.allclose(logits(net, [moved(sample, turn, [40.0, -7.0, 3.0])]), plain, atol=1e-8)
    mirror = logits(net, [moved(sample, np.diag([1.0, 1.0, -1.0]), 0.0)])
    assert (mirror - plain).abs().max() > 0.05


def test_order_and_numbers_of_chains_do_not_matter(net, ball):
    sample = ball(40, chains=2)
    plain = logits(net, [sample])
    assert torch.equal(logits(net, [replace(sample, chain=5 - 3 * sample.chain)]), plain)
    second = int(np.flatnonzero(sample.chain)[0])
    order = np.r_[second:40, :second]
    names = ("atoms", "tokens", "chain", "index", "fixed", "unknown")
    turned = replace(sample, **{name: getattr(sample, name)[order] for name in names})
    shown = torch.where(torch.arange(40) % 3 == 0, torch.from_numpy(sample.tokens), MASK)
    found = logits(net, [turned], shown[order][None])
    assert torch.allclose(found, plain[:, order], atol=1e-10)


def test_one_chain_is_not_two(net, ball):
    sample = ball(40)
    split = replace(sample, chain=(np.arange(40) >= 20).astype(np.int64))
    assert (logits(net, [split]) - logits(net, [sample])).abs().max() > 1e-3
    gap = replace(sample, index=np.arange(40) + 3 * (np.arange(40) >= 20))
    assert (logits(net, [gap]) - logits(net, [sample])).abs().max() > 1e-3


@pytest.mark.parametrize("length", [1, 2, 5, 8, 9, 30])
def test_a_sample_does_not_depend_on_its_batch(net, ball, length):
    sample = ball(length)
    alone = logits(net, [sample])
    together = logits(net, [ball(50, 1), sample, ball(12, 2)])[1:2, :length]
    assert torch.allclose(together, alone, atol=1e-10)


def test_padding_is_not_read(net, ball):
    batch = templates([ball(30), ball(12)])
    x = {SEQUENCE: torch.full((2, 30), MASK)}
    plain = net(x, None, batch)[SEQUENCE]
    atoms = batch.cond["atoms"].clone()
    atoms[1, 12:] = torch.randn(18, 4, 3, dtype=torch.float64)
    tokens = x[SEQUENCE].clone()
    tokens[1, 12:] = 3
    other = net({SEQUENCE: tokens}, None, batch.with_cond(atoms=atoms))[SEQUENCE]
    assert torch.equal(other[0], plain[0]) and torch.equal(other[1, :12], plain[1, :12])


def test_the_structure_is_encoded_once(net, ball):
    batch = templates([ball(30), ball(12)])
    cached = batch.with_cond(encoded=net.encode(batch))
    for tokens in (torch.full((2, 30), MASK), batch.x[SEQUENCE]):
        plain = net({SEQUENCE: tokens}, None, batch)[SEQUENCE]
        assert torch.equal(net({SEQUENCE: tokens}, None, cached)[SEQUENCE], plain)
    order = torch.tensor([1, 0, 1])
    some, hidden = cached.select(order), torch.full((3, 30), MASK)
    found = net({SEQUENCE: hidden}, None, replace(some, cond={"encoded": some.cond["encoded"]}))
    plain = net({SEQUENCE: hidden[:2]}, None, batch)[SEQUENCE]
    assert torch.allclose(found[SEQUENCE], plain[order], atol=1e-12)


def test_what_is_not_asked_is_left_out(net, ball):
    """The logits that are wanted are those of a whole call, and others are 0."""
    batch = templates([ball(30), ball(12)])
    tokens = {SEQUENCE: torch.where(torch.arange(30) % 3 == 0, batch.x[SEQUENCE], MASK)}
    with torch.no_grad():
        whole = net(tokens, None, batch)[SEQUENCE]
        wanted = torch.rand(2, 30, generator=torch.Generator().manual_seed(0)) < 0.3
        some = net(tokens, None, batch.with_cond(asked=wanted))[SEQUENCE]
    assert torch.allclose(some[wanted], whole[wanted], atol=1e-12)
    assert not bool(some[~wanted].any()) and bool(wanted.any(1).all())


def test_residues_hear_what_their_neighbours_are(net, ball):
    sample = ball(60)
    tokens = torch.full((1, 60), MASK)
    plain = logits(net, [sample], tokens)
    changed = tokens.clone()
    changed[0, 20] = 7
    heard = (logits(net, [sample], changed) - plain).abs().amax(-1)[0]
    seen = net.encode(templates([sample]))
    listening = (seen.neighbours[0] == 20).any(-1)
    listening[20] = True
    assert bool((heard[listening] > 1e-6).all()) and int((heard == 0).sum()) > 0


def test_unknown_residues_look_hidden_whatever_they_hold(net, ball):
    sample = ball(20)
    held = np.arange(20) == 4
    sample = replace(sample, unknown=held, fixed=held)
    tokens = torch.from_numpy(sample.tokens)[None]
    other = torch.where(torch.from_numpy(held), (tokens + 1) % 20, tokens)
    assert torch.equal(logits(net, [sample], tokens), logits(net, [sample], other))


def test_missing_atoms_are_rebuilt_or_left_out(net, ball):
    sample = ball(30)
    atoms = sample.atoms.copy()
    atoms[:, 3] = np.nan
    without = logits(net, [replace(sample, atoms=atoms)])
    assert bool(without.isfinite().all())
    atoms = sample.atoms.copy()
    atoms[7, 1] = np.nan
    gone = logits(net, [replace(sample, atoms=atoms)])
    assert bool(gone.isfinite().all())
    atoms[7] = np.nan
    assert torch.equal(logits(net, [replace(sample, atoms=atoms)]), gone)
    batch = templates([replace(sample, atoms=atoms)])
    seen = net.encode(batch)
    assert not bool(seen.linked[0, 7].any())
    assert not bool(((seen.neighbours == 7) & seen.linked).any())


def test_the_noise_is_heard(net, ball):
    sample = ball(20)
    exact = logits(net, [replace(sample, noise=0.0)])
    assert (exact - logits(net, [replace(sample, noise=0.3)])).abs().max() > 1e-3
    assert torch.equal(exact, logits(net, [sample, replace(sample, noise=0.0)])[1:])


def test_features_by_hand(ball):
    sample = ball(12)
    batch = collate([sample])
    seen = geometry(
        batch.cond["atoms"].double(),
        batch.layouts[SEQUENCE].mask,
        batch.cond["chain_index"],
        batch.cond["residue_index"],
        4,
    )
    alpha = torch.from_numpy(sample.atoms[:, 1]).double()
    apart = torch.cdist(alpha, alpha).fill_diagonal_(torch.inf)
    assert torch.equal(seen.neighbours[0, :, 0], apart.argmin(-1))
    assert bool((seen.neighbours[0] != torch.arange(12)[:, None]).all())
    edge = seen.edges[0, 3, 0]
    near = int(apart[3].argmin())
    centres = torch.linspace(2.0, 20.0, 16).double()
    assert torch.allclose(edge[:16], torch.exp(-0.5 * ((apart[3, near] - centres) / 1.2) ** 2))
    # The CA of the neighbour is as far in the own frame as it is in space, and so is the way back.
    assert torch.isclose(10.0 * edge[35:38].norm(), apart[3, near])
    turned = edge[50:].view(3, 3)
    assert torch.allclose(turned.T @ edge[35:38], -edge[47:50], atol=1e-6)
    assert torch.allclose(turned @ turned.T, torch.eye(3).double(), atol=1e-5)
    assert torch.isclose(turned.det(), torch.ones(()).double(), atol=1e-6)
    assert int(seen.offsets[0, 3, 0]) == near - 3 + 32


def test_what_is_wrong_is_said(ball):
    with pytest.raises(InputError, match="net.neighbours: 0 is below 1"):
        GraphNetwork(neighbours=0)
    batch = collate([ball(5)])
    with pytest.raises(InputError, match="no condition 'atoms'"):
        GraphNetwork(node=8).encode(replace(batch, cond={}))
