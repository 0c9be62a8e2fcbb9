"""Residue types and side chains in a few numbers a residue: laws, learning and files."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from protein.sequence.alphabet import LETTERS
from protein.sidechains.archive import write_side_chains
from protein.sidechains.codec import LATENT, ResidueCodec
from protein.sidechains.geometry import tables
from protein.sidechains.residues import RESIDUES, ResidueDomain
from protein.sidechains.samples import CHI, collate, sample_of
from protein.sidechains.templates import template_of
from protein.structures.read import read_structure
from sciddiff import Denoiser, load
from sciddiff.cli.main import main
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


def test_latents_are_the_same_far_from_the_origin(batch):
    codec, rows = _codec(), batch.layouts[RESIDUES].mask
    far = batch.with_cond(atoms=batch.cond["atoms"] + 400.0)
    near = codec.encode(batch)[LATENT].mean[rows]
    # Coordinates there have steps of 3e-5 Å.
    torch.testing.assert_close(codec.encode(far)[LATENT].mean[rows], near, atol=1e-4, rtol=1e-4)


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
    read = template_of(read_structure(files[2], side_chains=True))
    assert np.array_equal(read.tokens, batch.x[RESIDUES][1].numpy())
    assert read.complete.all()
    chi = collate([sample_of(read, known=True)])
    again = wrap(chi.x[CHI] - found[CHI][1:]).abs()[chi.layouts[CHI].mask]
    assert again.max() < 0.05  # three decimals of the file
    bare = encoded.bare_prior(batch, seed=0)
    assert (bare[RESIDUES][rows] == batch.x[RESIDUES][rows]).float().mean() < 0.3


def test_from_an_archive_to_a_model_by_the_configuration_that_ships(made, tmp_path):
    templates = [made(20 + k, seed=k, name=f"s{k}") for k in range(6)]
    columns = {
        "id": np.array([one.name for one in templates]),
        "source": np.array(["made"] * 6),
        "sequence": np.array(["".join(LETTERS[k] for k in t.tokens) for t in templates], "S"),
        "cluster": np.arange(6, dtype=np.int32),
        "split": np.array(["train"] * 4 + ["val"] * 2),
    }
    write_side_chains(tmp_path / "side.npz", templates, columns)
    words = ["--domain.data.archive", str(tmp_path / "side.npz"), "--net.width", "32"]
    words += ["--trainer.max_steps", "2", "--trainer.val_every", "2", "--ema.widths", "[0.1]"]
    config = Path(__file__).parents[3] / "configs" / "protein" / "residue_autoencoder.yaml"
    assert main(["train", str(config), *words, "-o", str(tmp_path / "run")]) == 0
    assert main(["export", str(tmp_path / "run"), "-o", str(tmp_path / "model")]) == 0
    model = load(tmp_path / "model")
    assert isinstance(model.denoiser.net, ResidueCodec)
    (batch, *_) = model.domain.val_batches()
    errors = model.denoiser.net.error(
        {LATENT: model.denoiser.net.encode(batch)[LATENT].mean}, batch, model.denoiser.path
    )
    assert all(bool(error.isfinite().all()) for error in errors.values())


def test_a_width_that_heads_do_not_divide_is_refused():
    with pytest.raises(InputError, match="codec.width: 30 is no multiple of codec.heads 4"):
        ResidueCodec(width=30)
