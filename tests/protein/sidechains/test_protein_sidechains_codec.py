"""Residue types and side chains in a few numbers a residue: laws, learning and files."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from protein.sidechains.codec import LATENT, ResidueCodec
from protein.sidechains.geometry import tables
from protein.sidechains.residues import RESIDUES, ResidueDomain
from protein.sidechains.samples import CHI, collate, sample_of
from protein.sidechains.templates import template_of
from protein.structures.read import read_structure
from sciddiff import Denoiser
from sciddiff.encoded import Encoded
from sciddiff.errors import InputError
from sciddiff.manifolds.torus import wrap
from sciddiff.objectives import Reconstruction
from sciddiff.state import Batch


@pytest.fixture
def batch(made, monkeypatch):
    """Two structures of unlike length, as the domain gives them."""
    return _batch([made(24, seed=1, name="a"), made(40, seed=2, name="b")], monkeypatch)


def _batch(templates, monkeypatch) -> Batch:
    domain = ResidueDomain()
    plain = collate([sample_of(one, known=True) for one in templates])
    monkeypatch.setattr(domain._pack, "val_batches", lambda: [plain])
    (batch,) = domain.val_batches()
    return batch


def _codec(**sizes) -> ResidueCodec:
    torch.manual_seed(0)
    return ResidueCodec(**{"width": 32, "heads": 2, **sizes}).eval()


def test_types_and_angles_are_the_state_and_only_known_ones_count(batch, made, monkeypatch):
    assert batch.x[RESIDUES].shape == (2, 40) and batch.x[CHI].shape == (2, 160)
    assert RESIDUES not in batch.cond
    assert batch.layouts[RESIDUES].mask.sum(1).tolist() == [24, 40]
    has = tables().chi[batch.x[RESIDUES]] & batch.layouts[RESIDUES].mask[..., None]
    assert torch.equal(batch.layouts[CHI].mask, has.flatten(1))
    template = made(20)
    unknown = replace(template, unknown=np.arange(20) == 3)
    one = _batch([unknown], monkeypatch)
    assert one.layouts[RESIDUES].mask[0].tolist() == [row != 3 for row in range(20)]


def test_latents_do_not_change_with_rigid_motions_padding_or_neighbours_in_the_batch(batch):
    codec = _codec()
    mean = codec.encode(batch)[LATENT].mean
    turn = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(0)))[0]
    moved = batch.with_cond(atoms=batch.cond["atoms"] @ turn + torch.tensor([5.0, -3.0, 9.0]))
    rows = batch.layouts[RESIDUES].mask
    torch.testing.assert_close(
        codec.encode(moved)[LATENT].mean[rows], mean[rows], atol=1e-4, rtol=1e-4
    )
    alone = codec.encode(batch.select(torch.tensor([0])))[LATENT].mean
    torch.testing.assert_close(alone[0, :24], mean[0, :24], atol=1e-5, rtol=1e-5)
    other = codec.encode(replace(batch, x={**batch.x, RESIDUES: (batch.x[RESIDUES] + 1) % 20}))
    assert (other[LATENT].mean - mean).abs().max() > 0.01


def test_angles_that_a_residue_lacks_are_not_looked_at(batch):
    codec = _codec()
    hidden = torch.where(batch.layouts[CHI].mask, batch.x[CHI], torch.full_like(batch.x[CHI], 2.0))
    changed = replace(batch, x={**batch.x, CHI: hidden})
    assert torch.equal(codec.encode(batch)[LATENT].mean, codec.encode(changed)[LATENT].mean)


def test_error_is_nats_of_types_and_one_minus_the_cosine_of_angles(batch):
    codec, path = _codec(), ResidueDomain().path()
    latents = {LATENT: codec.encode(batch)[LATENT].mean}
    errors, decoded = codec.error(latents, batch, path), codec.decode(latents, batch)
    logits, turns = codec._said(latents, batch)
    rows, angles = batch.layouts[RESIDUES].mask[0], batch.layouts[CHI].mask[0]
    chosen = logits[0][rows].log_softmax(-1).gather(-1, batch.x[RESIDUES][0][rows][:, None])
    torch.testing.assert_close(errors[RESIDUES][0], -chosen.mean())
    said = torch.atan2(turns[..., 1], turns[..., 0]).flatten(1)
    away = 1.0 - (said - batch.x[CHI]).cos()
    torch.testing.assert_close(errors[CHI][0], away[0][angles].mean())
    assert torch.equal(decoded[RESIDUES], logits.argmax(-1))
    own = tables().chi[decoded[RESIDUES]].flatten(1)
    assert torch.equal(decoded[CHI], torch.where(own, said, 0.0))


def test_a_few_steps_learn_types_and_angles_and_files_hold_them(batch, tmp_path):
    """One batch by heart: every type right, and angles near; then through files."""
    codec, domain = _codec(width=64), ResidueDomain()
    denoiser = Denoiser(codec.train(), domain.path())
    optimizer = torch.optim.Adam(codec.parameters(), lr=3e-3)
    generator = torch.Generator().manual_seed(0)
    for _ in range(150):
        optimizer.zero_grad()
        Reconstruction(kl=1e-4)(denoiser, batch, generator).loss.backward()
        optimizer.step()
    encoded = Encoded(domain, codec.eval())
    encoded.latents().measure([batch])
    inside = encoded.latents().encode(batch)
    rows = batch.layouts[RESIDUES].mask
    assert torch.equal(inside.layouts[LATENT].mask, rows)
    assert (inside.x[LATENT][rows].std(0) - 1.0).abs().max() < 0.05
    found = encoded.reconstruction(batch)
    assert torch.equal(found[RESIDUES][rows], batch.x[RESIDUES][rows])
    mask = batch.layouts[CHI].mask
    off = wrap(found[CHI] - batch.x[CHI]).abs()[mask] * (180.0 / math.pi)
    assert off.median() < 15.0  # 90 for angles that say nothing
    template = encoded.latents().template(batch)
    files = encoded.write(template, inside.x, tmp_path)
    read = template_of(read_structure(files[1], side_chains=True))
    assert np.array_equal(read.tokens, batch.x[RESIDUES][1].numpy())
    assert read.complete.all()
    chi = collate([sample_of(read, known=True)])
    again = wrap(chi.x[CHI] - found[CHI][1:]).abs()[chi.layouts[CHI].mask]
    assert again.max() < 0.05  # three decimals of the file
    bare = encoded.bare_prior(batch, seed=0)
    assert (bare[RESIDUES][rows] == batch.x[RESIDUES][rows]).float().mean() < 0.3


def test_a_width_that_heads_do_not_divide_is_refused():
    with pytest.raises(InputError, match="codec.width: 30 is no multiple of codec.heads 4"):
        ResidueCodec(width=30)
