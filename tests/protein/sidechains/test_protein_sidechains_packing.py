"""Contacts, the choice between draws, confidence, and comparison with known side chains."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from protein.sequence.alphabet import LETTERS
from protein.sidechains.assembly import assembled
from protein.sidechains.contacts import Contacts, Overlaps
from protein.sidechains.domain import SideChainDomain
from protein.sidechains.geometry import ELEMENTS, build, tables
from protein.sidechains.internal import side_atoms
from protein.sidechains.losses import log_density, probability_within
from protein.sidechains.measure import compare, figures
from protein.sidechains.network import BINS, SideChainNetwork
from protein.sidechains.packer import PackSettings, pack
from protein.sidechains.relief import FARTHEST, relieved
from sciddiff.denoiser import Denoiser

RADII = {"C": 1.70, "N": 1.55, "O": 1.52, "S": 1.80}


def sides_of(template, chi):
    return build(
        torch.from_numpy(template.atoms[:, :4]).double(),
        torch.from_numpy(template.tokens),
        torch.from_numpy(chi),
    )


def counted(template, sides):
    """Pairs of atoms too close, one after the other, by the rule in words."""
    names = [("N", "CA", "C", "O", *side_atoms()[LETTERS[k]]) for k in template.tokens]
    atoms = np.concatenate([template.atoms[:, :4], sides], axis=1)
    rows = range(len(template))
    found = 0
    for i, j in itertools.permutations(rows, 2):
        for a, b in itertools.product(range(4, len(names[i])), range(len(names[j]))):
            if b >= 4 and j < i:
                continue  # two side chains count once
            one, two = names[i][a], names[j][b]
            if j == i + 1 and (one, two) == ("CB", "N"):
                continue
            if j == i - 1 and (one, two) == ("CB", "C"):
                continue
            if j == i - 1 and LETTERS[template.tokens[i]] == "P" and b < 4:
                continue
            if one == two == "SG":
                continue
            polar = one[0] in "NO" and two[0] in "NO"
            limit = 2.4 if polar else RADII[one[0]] + RADII[two[0]] - 0.4
            found += np.linalg.norm(atoms[i, a] - atoms[j, b]) < limit
    for a, place in itertools.product(rows, range(len(template.around))):
        if template.around_elements[place] >= len(ELEMENTS):
            continue
        two = ELEMENTS[template.around_elements[place]]
        for k in range(4, len(names[a])):
            one = names[a][k][0]
            limit = 2.4 if one in "NO" and two in "NO" else RADII[one] + RADII[two] - 0.4
            found += np.linalg.norm(atoms[a, k] - template.around[place]) < limit
    return found


def test_overlaps_are_those_that_are_counted_atom_by_atom(made):
    template = made(40, 4, around=12)
    sides = sides_of(template, np.random.default_rng(1).uniform(-3.1, 3.1, (40, 4)))
    overlaps = Contacts(template).overlaps(sides[:, None])
    first = torch.zeros(40, dtype=torch.int64)
    total = overlaps.total(first)
    assert total == counted(template, sides.numpy()) > 5
    by_residue = overlaps.count(first)
    own, between = int(overlaps.own_count.sum()), int(overlaps.between_count.sum())
    assert int(by_residue.sum()) == own + 2 * between and total == own + between


def test_every_residue_reaches_as_far_as_contacts_are_looked_for():
    from protein.sidechains.contacts import _REACH

    rng = np.random.default_rng(0)
    backbone = torch.tensor([[-0.52, 1.36, 0.0], [0.0, 0.0, 0.0], [1.52, 0.0, 0.0]]).double()
    for token, letter in enumerate(LETTERS):
        chi = torch.from_numpy(rng.uniform(-math.pi, math.pi, (20000, 4)))
        tokens = torch.full((20000,), token)
        far = build(backbone.expand(20000, 3, 3), tokens, chi).norm(dim=-1).max()
        assert float(far) <= _REACH[letter] and float(far) > _REACH[letter] - 0.6, letter


def test_the_choice_is_the_best_combination_of_a_small_chain():
    generator = torch.manual_seed(0)
    rows, n = 6, 3
    pairs = torch.tensor([[i, i + 1] for i in range(rows - 1)] + [[0, 3], [2, 5]])
    hits = 0
    for _ in range(20):
        scores = torch.randn(rows, n, generator=generator)
        own = torch.rand(rows, n, generator=generator) * 0.2
        between = torch.rand(len(pairs), n, n, generator=generator).pow(4)
        overlaps = Overlaps(own, pairs, between, own.long(), between.long())

        def energy(choice, scores=scores, own=own, between=between):
            index = torch.tensor(choice)
            total = -scores[torch.arange(rows), index] + 5.0 * own[torch.arange(rows), index]
            i, j = pairs.unbind(-1)
            return float(
                total.sum() + 5.0 * between[torch.arange(len(pairs)), index[i], index[j]].sum()
            )

        every = {c: energy(c) for c in itertools.product(range(n), repeat=rows)}
        found = assembled(scores, overlaps, 5.0, torch.ones(rows, dtype=torch.bool))
        best = min(every.values())
        assert every[tuple(found.tolist())] < np.percentile(list(every.values()), 1)
        hits += every[tuple(found.tolist())] < best + 1e-6
    assert hits >= 15


def test_a_held_residue_keeps_its_candidate_and_others_give_way():
    pairs = torch.tensor([[0, 1]])
    between = torch.tensor([[[1.0, 0.0], [0.0, 0.0]]])
    own = torch.zeros(2, 2)
    overlaps = Overlaps(own, pairs, between, own.long(), between.long())
    scores = torch.tensor([[0.0, 5.0], [1.0, 0.0]])
    free = torch.tensor([False, True])
    assert assembled(scores, overlaps, 10.0, free).tolist() == [0, 1]
    assert assembled(scores, overlaps, 0.1, free).tolist() == [0, 0]


def test_the_probability_within_a_distance_is_the_integral_of_the_density():
    generator = torch.manual_seed(1)
    logits = torch.randn(50, BINS, generator=generator).double() * 2.0
    centre = (torch.rand(50, generator=generator).double() * 2.0 - 1.0) * math.pi
    width = 0.05 + torch.rand(50, generator=generator).double() * 2.5
    steps = 40001
    line = torch.linspace(-1.0, 1.0, steps, dtype=torch.float64)
    angles = centre[:, None] + width[:, None] * line
    angles = (angles + math.pi) % (2 * math.pi) - math.pi
    density = log_density(logits[:, None].expand(50, steps, BINS), angles).exp()
    integral = torch.trapezoid(density, dx=1.0) * 2.0 * width / (steps - 1)
    assert torch.allclose(probability_within(logits, centre, width), integral, atol=1e-5)
    whole = probability_within(logits, centre, torch.tensor(math.pi).double())
    assert torch.allclose(whole, torch.ones_like(whole))


@pytest.fixture(scope="module")
def denoiser():
    torch.manual_seed(5)
    net = SideChainNetwork(16, 8, 1, 1, dropout=0.0)
    return Denoiser(net, SideChainDomain().path())


def test_packing_depends_on_the_seed_and_not_on_how_many_are_drawn_at_once(
    denoiser, made, monkeypatch
):
    template = made()
    settings = PackSettings(draws=5, steps=3, seed=7)
    one = pack(denoiser, template, None, settings)
    monkeypatch.setattr("protein.sidechains.packer.ROWS", 2 * len(template))
    two = pack(denoiser, template, None, settings)
    assert np.allclose(one.draws, two.draws, atol=1e-4)
    assert np.array_equal(one.chi, two.chi) or np.allclose(one.chi, two.chi, atol=1e-4)
    other = pack(denoiser, template, None, replace(settings, seed=8))
    assert not np.allclose(one.draws, other.draws, atol=0.1)
    assert one.total <= one.draw_clashes.min()


def test_packing_follows_a_rigid_motion(denoiser, made):
    template = made()
    turn = np.linalg.qr(np.random.default_rng(2).normal(size=(3, 3)))[0]
    turn = (turn * np.sign(np.linalg.det(turn))).astype(np.float32)
    moved = replace(template, atoms=template.atoms @ turn.T, around=template.around @ turn.T)
    settings = PackSettings(draws=3, steps=3)
    one, two = (pack(denoiser, t, None, settings) for t in (template, moved))
    turned = np.abs((one.chi - two.chi + math.pi) % (2 * math.pi) - math.pi)
    # An angle may lie at the end of the circle, where its symmetric image begins.
    period = tables().periods.numpy()[template.tokens]
    turned = np.minimum(turned, np.abs(turned - 2 * math.pi / period))
    assert turned.max() < 1e-2
    assert np.allclose(one.confidence, two.confidence, atol=1e-3)
    assert np.allclose(one.sides @ turn.T, two.sides, atol=0.05) or turned.max() < 1e-2


def test_one_draw_alone_is_given_as_it_is(denoiser, made):
    found = pack(denoiser, made(), None, PackSettings(draws=1, steps=3, assemble=False))
    assert np.array_equal(found.chi, found.draws[0]) and found.total == found.draw_clashes[0]
    assert (found.spread == 0.0).all()


def test_a_structure_beside_itself_has_no_errors_and_a_turned_one_its_turn(made):
    template = made(sequence="AFYDEKRWLIVMTSQNHC")
    own = np.nan_to_num(template.atoms[:, 4:])
    said = figures([compare(template, own)])
    assert said["residues"] == 17 and said["rmsd"] < 1e-5
    assert said["chi1_20"] == said["chi12_20"] == 1.0
    from protein.sidechains.geometry import torsions

    atoms = torch.from_numpy(np.nan_to_num(template.atoms)).double()
    chi = torsions(atoms, torch.from_numpy(template.tokens)).numpy()
    for turn, right in ((19.0, 1.0), (21.0, 0.0)):
        shifted = chi.copy()
        shifted[:, 0] += math.radians(turn)
        part = compare(template, sides_of(template, shifted).numpy())
        assert np.allclose(part.errors[:, 0], turn, atol=1e-2)
        assert part.right(20.0, 1).mean() == right
    flipped = chi + math.pi * (tables().periods.numpy()[template.tokens] == 2.0)
    part = compare(template, sides_of(template, flipped).numpy())
    assert np.nanmax(part.errors) < 1e-2 and part.squares.max() < 1e-4
    half = chi.copy()
    half[:, 1] += math.radians(30.0)
    part = compare(template, sides_of(template, half).numpy())
    two = tables().chi.numpy()[part.tokens, 1]
    assert part.right(20.0, 1).all() and not part.right(20.0, 2)[two].any()
    assert part.right(20.0, 2)[~two].all() and part.right(40.0, 2).all()


def test_relief_takes_overlaps_away_and_keeps_rotamers_and_held_side_chains(made):
    template = made(40, 4, around=12)
    rng = np.random.default_rng(1)
    chi = rng.uniform(-3.1, 3.1, (40, 4))
    sides = sides_of(template, chi)
    contacts, tokens = Contacts(template), torch.from_numpy(template.tokens)
    free = tables().chi[tokens].clone()
    free[::8] = False
    backbone = torch.from_numpy(template.atoms[:, :4]).double()
    found = relieved(contacts, backbone, tokens, torch.from_numpy(chi), sides, free, 10.0)
    turned = (found - torch.from_numpy(chi)).abs()
    assert float(turned[~free].max()) == 0.0
    assert 0.05 < float(turned.max()) <= FARTHEST + 1e-9
    after = torch.where(free.any(-1)[:, None, None], build(backbone, tokens, found), sides)
    depths = [
        float(o.own.sum() + o.between.sum())
        for o in (contacts.overlaps(s[:, None]) for s in (sides, after))
    ]
    assert depths[1] < 0.8 * depths[0]
    # Alone in the dark nothing moves.
    far = made(1, sequence="K", around=0)
    alone = relieved(
        Contacts(far), torch.from_numpy(far.atoms[:, :4]).double(), torch.from_numpy(far.tokens),
        torch.zeros(1, 4).double() + math.pi, sides_of(far, np.full((1, 4), math.pi)),
        tables().chi[torch.from_numpy(far.tokens)], 10.0,
    )  # fmt: skip
    assert torch.equal(alone, torch.zeros(1, 4).double() + math.pi)
