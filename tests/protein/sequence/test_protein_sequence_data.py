"""Tokens, templates of structures, and training batches of chains with their sequences."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from protein.sequence.alphabet import LETTERS, MASK, letters, tokens
from protein.sequence.data import SequenceData, SequenceDataSettings
from protein.sequence.fasta import read_fasta
from protein.sequence.samples import SEQUENCE, collate, jittered, sample_of
from protein.structures.chain import Backbone
from sciddiff.errors import InputError


def test_tokens_and_letters_are_inverse():
    found, unknown = tokens(LETTERS)
    assert found.tolist() == list(range(20)) and not unknown.any()
    assert letters(found) == LETTERS
    found, unknown = tokens("AXcé-W")
    assert unknown.tolist() == [False, True, True, True, True, False]
    assert found.tolist() == [0, 0, 0, 0, 0, 18]
    assert letters([MASK, 0]) == "XA"


def _chain(length, start=1, letter="A", jump=None):
    coords = np.zeros((length, 4, 3), dtype=np.float32)
    coords[:, :, 0] = 3.8 * np.arange(length)[:, None] + np.array([-1.2, 0.0, 1.3, 1.5])
    numbers = np.arange(start, start + length)
    if jump is not None:
        coords[jump:, :, 0] += 20.0
        numbers[jump:] += 5
    return Backbone(coords, letter * length, residue_numbers=numbers)


def test_a_template_keeps_chains_gaps_and_what_is_held():
    held = np.arange(14) < 3
    chains = [_chain(8, jump=5), _chain(6, letter="X")]
    sample = sample_of(chains, np.r_[held[:8], [True] + [False] * 5], 0.2, "two")
    assert sample.chain.tolist() == [0] * 8 + [1] * 6
    assert sample.index.tolist() == [0, 1, 2, 3, 4, 10, 11, 12, 0, 1, 2, 3, 4, 5]
    assert np.flatnonzero(sample.fixed).tolist() == [0, 1, 2, 8]
    # An unknown residue that is free is designed; one that is held stays unknown.
    assert np.flatnonzero(sample.unknown).tolist() == [8]
    batch = collate([sample, sample_of([_chain(3)])])
    assert batch.ids == ("two", "")
    assert batch.layouts[SEQUENCE].mask.sum(1).tolist() == [14, 3]
    assert torch.allclose(batch.cond["noise"], torch.tensor([0.2, 0.0]))
    with pytest.raises(InputError, match="fixed has 2 entries for 3 residues"):
        sample_of([_chain(3)], np.zeros(2, dtype=bool))
    with pytest.raises(InputError, match="no chains"):
        sample_of([])


def test_residues_that_are_not_joined_are_apart_even_without_numbers():
    chain = _chain(8, jump=5)
    chain = replace(chain, residue_numbers=np.arange(1, 9))
    assert np.diff(sample_of([chain]).index).tolist() == [1, 1, 1, 1, 2, 1, 1]


def test_noise_adds_up_and_is_told(ball):
    sample = ball(200)
    noisy = jittered(sample, 0.3, np.random.default_rng(0))
    assert np.isclose(noisy.noise, np.hypot(0.1, 0.3))
    assert np.isclose((noisy.atoms - sample.atoms).std(), 0.3, rtol=0.05)
    assert np.array_equal(jittered(sample, 0.0, np.random.default_rng(0)).atoms, sample.atoms)


def _rows(batch):
    """Letters and what is known of them, for every residue of a batch."""
    layout = batch.layouts[SEQUENCE]
    columns = batch.x[SEQUENCE], batch.cond["unknown"], layout.fixed
    return tuple(column[layout.mask] for column in columns)


def _expected(batch):
    """What the letters must be, by the places of the atoms."""
    x = batch.cond["atoms"][batch.layouts[SEQUENCE].mask][:, 1, 0].double()
    return torch.round(100.0 * x).long() % len(LETTERS)


def test_letters_stay_with_their_atoms(archive):
    settings = SequenceDataSettings(
        archive=str(archive), max_length=50, budget=200, noise=0.0, cut_share=0.8
    )
    data = SequenceData(settings, "train")
    found = [batch for epoch in range(4) for batch in data.batches(epoch, 0)]
    chains = [len(set(b.cond["chain_index"][k].tolist())) for b in found for k in range(b.size)]
    assert max(chains) == 2
    for batch in found:
        letter, unknown, fixed = _rows(batch)
        assert torch.equal(unknown, fixed)
        assert torch.equal(letter[~unknown], _expected(batch)[~unknown])
        assert batch.layouts[SEQUENCE].mask.shape[1] <= 50
        assert batch.layouts[SEQUENCE].mask.numel() <= 200
    assert any(bool(_rows(b)[1].any()) for b in found)


def test_an_epoch_takes_one_chain_a_cluster_and_is_drawn_anew(archive):
    settings = SequenceDataSettings(archive=str(archive), budget=300)
    data = SequenceData(settings, "train")

    def names(epoch, seed=0):
        return [b.ids for b in data.batches(epoch, seed)]

    first = [int(name[5:]) // 2 for ids in names(0) for name in ids]
    assert sorted(first) == list(range(8))
    assert names(0) == names(0) and names(0) != names(1) and names(0) != names(0, 1)
    one, again = (next(iter(data.batches(3, 1))) for _ in range(2))
    assert torch.equal(one.cond["atoms"], again.cond["atoms"])
    shared = [ids for rank in range(2) for ids in (b.ids for b in data.batches(0, 0, rank, 2))]
    assert sorted(shared)[0] in names(0)


def test_noise_of_samples_is_even_up_to_its_largest(archive):
    settings = SequenceDataSettings(archive=str(archive), noise=0.4, exact_share=0.5)
    data = SequenceData(settings, "train")
    told = torch.cat([b.cond["noise"] for e in range(12) for b in data.batches(e, 0)])
    assert 0.35 < float((told == 0).float().mean()) < 0.65
    assert 0.3 < float(told.max()) < 0.4 and abs(float(told[told > 0].mean()) - 0.2) < 0.05


def test_whole_chains_for_validation_are_always_the_same(archive):
    data = SequenceData(SequenceDataSettings(archive=str(archive), max_length=40), "val")
    one, again = list(data.whole()), list(data.whole())
    assert sum(b.size for b in one) == 4
    assert all(b.layouts[SEQUENCE].mask.sum(1).min() >= 60 for b in one)
    for first, second in zip(one, again, strict=True):
        assert torch.equal(first.cond["atoms"], second.cond["atoms"])


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"exact_share": 1.5}, "data.exact_share: 1.5 is not in"),
        ({"noise": -0.1}, "data.noise: -0.1 Å is negative"),
        ({"pairs": "p.npz", "max_length": 30}, "data.max_length: 30 has no room for two chains"),
    ],
)
def test_settings_that_cannot_be(changed, words):
    with pytest.raises(InputError, match=words):
        SequenceDataSettings(**changed)


def test_fasta_is_read_without_its_separators(tmp_path):
    file = tmp_path / "a.fasta"
    file.write_text(">one, T=0.1\nACD/\nef:G*\n\n>two\nWW\n")
    assert read_fasta(file) == [("one, T=0.1", "ACDEFG"), ("two", "WW")]
    file.write_text("ACD\n>one\nA\n")
    with pytest.raises(InputError, match="line 1 stands before the first header"):
        read_fasta(file)
    file.write_text(">one\n>two\nA\n")
    with pytest.raises(InputError, match=r"record 1 \(one\) has no residues"):
        read_fasta(file)
    with pytest.raises(InputError, match="no such file"):
        read_fasta(tmp_path / "b.fasta")
