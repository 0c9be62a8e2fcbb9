"""Rewards of sequences: exact values, motifs as of PROSITE, and words that mean nothing."""

import math
import re

import numpy as np
import pytest
import torch

from protein.sequence.alphabet import MASK, tokens
from protein.sequence.rewards import TERMS, pattern_of
from protein.sequence.samples import SEQUENCE
from sciddiff.errors import InputError
from sciddiff.state import Batch, Layout
from sciddiff.trust import trusting


def batch_of(*texts: str, chain: str | None = None) -> Batch:
    """Sequences padded to the longest."""
    longest = max(map(len, texts))
    x = torch.from_numpy(np.stack([tokens(text.ljust(longest, "A"))[0] for text in texts]))
    mask = torch.tensor([[k < len(text) for k in range(longest)] for text in texts])
    own = {} if chain is None else {"chain_index": torch.tensor([[int(c) for c in chain]])}
    return Batch({SEQUENCE: x}, own, {SEQUENCE: Layout(len(texts), mask=mask)})


def reward(wish: str, *texts: str, chain: str | None = None) -> list[float]:
    batch = batch_of(*texts, chain=chain)
    return TERMS.reward(wish)(batch.x, batch).tolist()


@pytest.mark.parametrize(
    ("wish", "expected"),
    [
        ("charge", [2.0, -1.0]),  # KKRDAH: 3 - 1; CDC: -1
        ("charge(-1)", [-3.0, 0.0]),
        ("count(C)=-2", [0.0, -4.0]),
        ("count(KR)", [3.0, 0.0]),
        ("hydropathy", [(2 * -3.9 - 4.5 - 3.5 + 1.8 - 3.2) / 6, (2 * 2.5 - 3.5) / 3]),
        ("entropy", [math.log(6) - 2 * math.log(2) / 6, math.log(3) - 2 * math.log(2) / 3]),
        ("motif(C-x-C)", [0.0, 1.0]),
        ("charge=0.5, count(C)=-1", [1.0, -2.5]),
    ],
)
def test_terms_are_exact_and_padding_does_not_count(wish, expected):
    assert reward(wish, "KKRDAH", "CDC") == pytest.approx(expected, abs=1e-5)


def test_the_floor_of_entropy_is_0_above_it():
    low, high = reward("entropy(1.5)", "AAAA", "ACDEFG")
    assert low == pytest.approx(-1.5) and high == 0.0


def test_motifs_overlap_and_do_not_cross_chains():
    assert reward("motif(AA)", "AAAA") == [3.0]
    assert reward("motif(N-{P}-[ST]-{P})", "NASANPSANGTPNGT") == [1.0]
    assert reward("motif(CC)", "ACCA", chain="0011") == [0.0]
    assert reward("motif(CC)", "ACCA", chain="0000") == [1.0]
    hidden = batch_of("ACCA")
    hidden.x[SEQUENCE][0, 1] = MASK
    assert TERMS.reward("motif(CC)")(hidden.x, hidden).tolist() == [0.0]


@pytest.mark.parametrize(
    ("text", "pattern"),
    [("N-{P}-[ST]-{P}", "N[^P][ST][^P]"), ("C-x(2,4)-C", "C.{2,4}C"), ("A(3)-x.", "A{3}."),
     ("C.{2}C", "C.{2}C"), ("[KR]{3}", "[KR]{3}")],
)  # fmt: skip
def test_prosite_and_regular_expressions_are_read(text, pattern):
    assert pattern_of(text).pattern == re.compile(pattern).pattern


def test_only_what_can_be_differentiated_has_a_gradient():
    smooth = TERMS.reward("charge=0.5,hydropathy(0.1),entropy(2),count(C)=-1")
    assert smooth.differentiable and not TERMS.reward("charge,motif(CC)").differentiable
    batch = batch_of("KKRDAHC")
    one_hot = torch.nn.functional.one_hot(batch.x[SEQUENCE], 20).double().requires_grad_()
    value = smooth.of({SEQUENCE: one_hot}, batch)
    assert float(value.detach()) == pytest.approx(float(smooth(batch.x, batch)), abs=1e-5)
    assert torch.autograd.grad(value.sum(), one_hot)[0].abs().sum() > 1.0


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ("beauty", "choose charge, hydropathy, entropy, motif"),
        ("motif", r"write motif\(...\)"),
        ("motif(N-8)", "is no element"),
        ("motif([)", "no regular expression"),
        ("count(1)", "letters of amino acids"),
        ("charge(x)", "is not a number"),
        ("charge(", "cannot be read"),
        ("charge=1,charge=2", "given twice"),
        ("mine:score", "not trusted"),
    ],
)
def test_words_that_mean_nothing_are_refused(wish, said):
    with pytest.raises(InputError, match=said) as caught:
        TERMS.reward(wish)
    assert "\n" not in str(caught.value)


def test_a_function_of_the_user_sees_residues_and_chains(tmp_path, monkeypatch):
    text = "def first(residues, real, chain):\n    return residues[:, 0, 0] + chain[:, -1]\n"
    (tmp_path / "my_sequence_rewards.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    with trusting(["my_sequence_rewards"]):
        assert reward("my_sequence_rewards:first=3", "AC", chain="02") == [9.0]
        assert TERMS.files("charge,my_sequence_rewards:first")[0].parent == tmp_path
