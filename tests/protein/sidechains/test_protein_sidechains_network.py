"""The laws of the network, of its path and of its density."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from protein.sequence.alphabet import LETTERS
from protein.sidechains.domain import SideChainDomain
from protein.sidechains.geometry import tables
from protein.sidechains.losses import log_density
from protein.sidechains.network import BINS, LOGITS, SideChainNetwork
from protein.sidechains.samples import CHI, angles_of, collate, sample_of
from protein.sidechains.structure import ENCODED
from sciddiff.denoiser import Denoiser
from sciddiff.grids import uniform
from sciddiff.likelihood import log_prob
from sciddiff.samplers import Ancestral
from sciddiff.sampling import sample
from sciddiff.state import Batch


@pytest.fixture(scope="module")
def denoiser():
    torch.manual_seed(3)
    net = SideChainNetwork(16, 8, 1, 2, dropout=0.0)
    return Denoiser(net, SideChainDomain().path()).double().eval()


def doubled(batch):
    cond = {
        k: v.double() if torch.is_tensor(v) and v.is_floating_point() else v
        for k, v in batch.cond.items()
    }
    return Batch({CHI: batch.x[CHI].double()}, cond, batch.layouts, batch.size, batch.ids)


def batch_of(*templates, known=True, fixed=None):
    return doubled(collate([sample_of(one, fixed, known=known) for one in templates]))


def said(denoiser, batch, t=0.5):
    with torch.no_grad():
        return denoiser.net(batch.x, torch.full((batch.size,), t).double(), batch)


def moved(template, seed=0):
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
    turn = turn * np.sign(np.linalg.det(turn))
    shift = np.asarray([3.0, -2.0, 5.0])
    return replace(
        template,
        atoms=(template.atoms.astype(float) @ turn.T + shift),
        around=(template.around.astype(float) @ turn.T + shift),
    )


def test_velocities_do_not_change_under_a_rigid_motion(denoiser, made):
    one = made()
    one = replace(one, atoms=one.atoms.astype(float), around=one.around.astype(float))
    before, after = (said(denoiser, batch_of(t)) for t in (one, moved(one)))
    assert torch.allclose(before[CHI], after[CHI], atol=1e-5)
    assert torch.allclose(before[LOGITS], after[LOGITS], atol=1e-5)


def test_a_mirror_image_is_told_apart(denoiser, made):
    one = made(around=0)
    mirrored = replace(one, atoms=one.atoms * np.asarray([-1.0, 1.0, 1.0], np.float32))
    before, after = batch_of(one), batch_of(mirrored)
    after = Batch(before.x, after.cond, before.layouts, 1, before.ids)
    assert not torch.allclose(said(denoiser, before)[CHI], said(denoiser, after)[CHI], atol=1e-3)


def flipped(template):
    """The same structure with the other names of the atoms of every symmetric end."""
    swaps = tables().swaps.numpy()[template.tokens]
    atoms = np.take_along_axis(template.atoms, swaps[..., None], axis=1)
    return replace(template, atoms=atoms)


def test_names_of_symmetric_atoms_change_neither_state_nor_loss_nor_density(denoiser, made):
    one = made(sequence="AFGYDEKWFAYDLEVF")
    two = flipped(one)
    assert np.nanmax(np.abs(one.atoms - two.atoms)) > 1.0
    first, second = batch_of(one), batch_of(two)
    turned = (first.x[CHI] - second.x[CHI] + math.pi) % (2 * math.pi) - math.pi
    assert float(turned.abs().max()) < 1e-5
    objective = SideChainDomain().objective()
    losses = [
        objective(denoiser, batch, torch.Generator().manual_seed(1)).loss
        for batch in (first, second)
    ]
    assert torch.allclose(*losses, atol=1e-4)
    densities = [log_prob(denoiser, b, exact=False, steps=2) for b in (first, second)]
    assert torch.allclose(*densities, atol=1e-3)


def test_the_network_is_smooth_where_names_of_symmetric_atoms_change(denoiser, made):
    batch = batch_of(made(sequence="AFGYDEKWFAYDLEVF"))
    double = tables().periods[batch.cond["residues"]] == 2.0
    # Just before and just after the angle at which the torsion jumps by half a turn.
    below, above = (
        torch.where(double.flatten(1), side * (math.pi - 1e-7), batch.x[CHI])
        for side in (1.0, -1.0)
    )
    outputs = [
        said(denoiser, Batch({CHI: x}, batch.cond, batch.layouts, 1, batch.ids))
        for x in (below, above)
    ]
    assert torch.allclose(outputs[0][CHI], outputs[1][CHI], atol=1e-5)


def test_a_neighbour_that_turns_is_seen_and_a_far_one_is_not(denoiser, made):
    batch = batch_of(made(60))
    angles = angles_of(batch.x[CHI]).clone()
    encoded = denoiser.net.encode(batch)
    turned = 30
    assert bool(tables().chi[batch.cond["residues"][0, turned], 0])
    angles[0, turned, 0] += 2.0
    other = Batch({CHI: angles.flatten(1)}, batch.cond, batch.layouts, 1, batch.ids)
    change = (said(denoiser, other)[CHI] - said(denoiser, batch)[CHI]).abs()
    change = angles_of(change)[0].amax(-1)
    direct = (encoded.neighbours[0] == turned).any(-1)
    assert float(change[direct].min()) > 1e-6
    # Two layers of the decoder reach neighbours of neighbours and no further.
    near = direct | (torch.arange(60) == turned)
    reach = near[encoded.neighbours[0]].any(-1) | near
    assert bool((~reach).any()) and float(change[~reach].max()) == 0.0


def test_atoms_around_are_seen_by_residues_near_them(denoiser, made):
    one = made()
    bare = replace(one, around=one.around[:0], around_elements=one.around_elements[:0])
    far = replace(one, around=one.around + 500.0)
    outputs = [said(denoiser, batch_of(t))[CHI] for t in (one, bare, far)]
    assert float((outputs[0] - outputs[1]).abs().max()) > 1e-6
    assert torch.equal(outputs[1], outputs[2])


def test_padding_and_other_samples_change_nothing(denoiser, made):
    short, long = made(30, 1), made(44, 2, around=20)
    alone, together = batch_of(short), batch_of(short, long)
    one, two = said(denoiser, alone), said(denoiser, together)
    rows = alone.x[CHI].shape[1]
    assert torch.allclose(one[CHI][0], two[CHI][0, :rows], atol=1e-10)
    assert torch.allclose(one[LOGITS][0], two[LOGITS][0, :rows], atol=1e-10)


def test_encoded_templates_give_the_same(denoiser, made):
    batch = batch_of(made())
    encoded = batch.with_cond(**{ENCODED: denoiser.net.encode(batch)})
    assert torch.equal(said(denoiser, batch)[CHI], said(denoiser, encoded)[CHI])
    chosen = encoded.select(torch.tensor([0, 0]))
    assert torch.allclose(
        said(denoiser, chosen)[CHI][1], said(denoiser, batch)[CHI][0], atol=1e-12
    )


def test_draws_depend_on_seed_and_index_alone_and_held_ones_stay(denoiser, made):
    fixed = np.zeros(40, dtype=bool)
    fixed[[0, 5, 8, 20]] = True
    batch = batch_of(made(), known=False, fixed=fixed)

    def drawn(size, indices, seed=0):
        many = batch.select(torch.zeros(size, dtype=torch.int64))
        return sample(
            denoiser, many, Ancestral(0.0), uniform(4), seed, indices=torch.tensor(indices)
        ).x[CHI]

    three = drawn(3, [4, 5, 6])
    assert torch.allclose(drawn(1, [5])[0], three[1], atol=1e-10)
    assert not torch.allclose(three[0], three[1], atol=1e-2)
    assert not torch.allclose(drawn(1, [5], seed=1)[0], three[1], atol=1e-2)
    held = batch.layouts[CHI].fixed[0]
    assert int(held.sum()) == int(tables().chi[batch.cond["residues"][0]][fixed].sum())
    assert torch.equal(three[1][held], batch.x[CHI][0][held])


def test_residues_without_known_torsions_show_no_side_chain(denoiser, made):
    one = made()
    row = int(np.flatnonzero(one.tokens == LETTERS.index("W"))[0])
    broken = one.atoms.copy()
    broken[row, 8:] = np.nan
    batch = batch_of(replace(one, atoms=broken))
    mask = angles_of(batch.layouts[CHI].mask)[0]
    assert not mask[row].any() and mask.any(-1).sum() == tables().chi[one.tokens].any(-1).sum() - 1
    turned = batch.x[CHI].clone()
    turned[0, 4 * row] += 1.0
    other = Batch({CHI: turned}, batch.cond, batch.layouts, 1, batch.ids)
    assert torch.equal(said(denoiser, batch)[CHI], said(denoiser, other)[CHI])


def test_the_density_of_an_angle_integrates_to_one_and_joins_at_the_ends():
    logits = torch.randn(BINS, generator=torch.manual_seed(0)).double() * 2.0
    angles = torch.linspace(-math.pi, math.pi, 36 * 400 + 1, dtype=torch.float64)[:-1]
    density = log_density(logits.expand(len(angles), BINS), angles).exp()
    assert float(density.mean() * 2.0 * math.pi) == pytest.approx(1.0, abs=1e-9)
    ends = log_density(
        logits.expand(2, BINS), torch.tensor([-math.pi, math.pi], dtype=torch.float64)
    )
    assert float(ends[0] - ends[1]) == pytest.approx(0.0, abs=1e-9)
    # At a spaced angle only its own probability counts.
    at = log_density(logits, torch.tensor(-math.pi + 5 * 2 * math.pi / BINS, dtype=torch.float64))
    assert float(at) == pytest.approx(
        float(logits.log_softmax(-1)[5]) + math.log(BINS / (2 * math.pi)), abs=1e-6
    )
