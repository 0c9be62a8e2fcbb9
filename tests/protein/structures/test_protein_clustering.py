"""Clusters find relatives and not strangers, levels nest, splits never cut a cluster."""

import stat
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protein.structures.clustering import cluster_sequences
from protein.structures.splits import split_by_cluster
from sciddiff.errors import InputError

LETTERS = np.asarray(list("ACDEFGHIKLMNPQRSTVWY"))


def strangers(count: int, seed: int = 0) -> list[str]:
    """Random sequences."""
    rng = np.random.default_rng(seed)
    return ["".join(rng.choice(LETTERS, int(rng.integers(60, 140)))) for _ in range(count)]


def mutant(sequence: str, identity: float, rng: np.random.Generator) -> str:
    """A relative with a share of positions changed and a short deletion."""
    letters = np.asarray(list(sequence))
    places = rng.choice(len(letters), round((1 - identity) * len(letters)), replace=False)
    letters[places] = rng.choice(LETTERS, len(places))
    cut = int(rng.integers(5, len(letters) - 5))
    return "".join(letters[:cut]) + "".join(letters[cut + 2 :])


def test_relatives_together_strangers_apart() -> None:
    rng = np.random.default_rng(1)
    founders = strangers(25)
    family = [mutant(s, 0.6, rng) for s in founders]
    fine, coarse, tool = cluster_sequences(founders + family, "builtin")
    assert tool == "builtin"
    assert (fine[:25] == fine[25:]).mean() >= 0.95
    assert len(set(fine[:25].tolist())) == 25 == len(set(coarse[:25].tolist()))


def test_copies_and_fragments_share_a_cluster() -> None:
    base = strangers(6, seed=3)
    sequences = [*base, *base, *(s[10:-10] for s in base), "AC", "AC", ""]
    fine, _, _ = cluster_sequences(sequences, "builtin")
    assert (fine[:6] == fine[6:12]).all() and (fine[:6] == fine[12:18]).all()
    assert fine[18] == fine[19] != fine[20]


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 1000))
def test_levels_nest_and_order_only_names(seed: int) -> None:
    rng = np.random.default_rng(seed)
    base = strangers(8, seed)
    sequences = base + [mutant(s, float(rng.uniform(0.3, 0.9)), rng) for s in base]
    fine, coarse, _ = cluster_sequences(sequences, "builtin")
    assert len(set(zip(fine.tolist(), coarse.tolist(), strict=True))) == len(set(fine.tolist()))
    order = rng.permutation(16)
    shuffled, _, _ = cluster_sequences([sequences[i] for i in order], "builtin")
    same = fine[order][:, None] == fine[order][None]
    np.testing.assert_array_equal(same, shuffled[:, None] == shuffled[None])


def test_mmseqs_is_used_where_it_is(tmp_path, monkeypatch) -> None:
    program = tmp_path / "mmseqs"
    program.write_text(
        f"#!{sys.executable}\n"
        "import sys\n"
        "names = [l[1:].strip() for l in open(sys.argv[2]) if l[0] == '>']\n"
        "coarse = sys.argv[sys.argv.index('--min-seq-id') + 1] == '0.3'\n"
        "head = lambda n: '0' if coarse and n in '01' else n\n"
        "open(sys.argv[3] + '_cluster.tsv', 'w').write(\n"
        "    ''.join(f'{head(n)}\\t{n}\\n' for n in names))\n"
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path))
    fine, coarse, tool = cluster_sequences(["ACD", "WWW", "ACD", "KKK"], "auto")
    assert tool == "mmseqs" and fine.tolist() == [0, 1, 0, 2] and coarse.tolist() == [0, 0, 0, 1]
    program.write_text("#!/bin/sh\necho out of memory >&2\nexit 1\n")
    with pytest.raises(InputError, match="out of memory"):
        cluster_sequences(["ACD"], "mmseqs")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(InputError, match="not on the PATH"):
        cluster_sequences(["ACD"], "mmseqs")


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.integers(0, 30), min_size=3, max_size=200),
    st.floats(0, 0.4),
    st.floats(0, 0.4),
    st.integers(0, 9),
)
def test_splits_never_cut_a_cluster(labels, val, test, seed) -> None:
    clusters = np.asarray(labels)
    split = split_by_cluster(clusters, val, test, seed)
    assert all(len(set(split[clusters == c])) == 1 for c in set(labels))
    np.testing.assert_array_equal(split, split_by_cluster(clusters, val, test, seed))
    assert (split == "train").any()
    if val > 0 and test > 0 and len(set(labels)) >= 3:
        assert set(split) == {"train", "val", "test"}
    if len(set(labels)) == len(labels) and round(val * len(labels)) > 0:
        assert (split == "val").sum() == round(val * len(labels))


def test_impossible_shares() -> None:
    with pytest.raises(InputError, match="sum below 1"):
        split_by_cluster(np.arange(5), 0.5, 0.5, 0)
