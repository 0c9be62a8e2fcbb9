"""Random numbers of docking: no two draws share a stream."""

import pytest
import torch

from protein.docking.search.draws import embedding_seed, number_of, streams
from sciddiff.errors import InputError


def test_no_purpose_ligand_or_draw_shares_numbers():
    """Ligand 0 with 100 draws, ligand 1 with 64: packing by 64, as once was, made them meet."""
    drawn = [
        streams(0, purpose, [0, 1, 64], [100, 64, 3]).uniform(torch.zeros(167, 4))
        for purpose in ("search", "proposals")
    ]
    rows = torch.cat(drawn)
    assert len(rows.unique(dim=0)) == len(rows)


def test_a_draw_depends_on_seed_purpose_and_number_alone():
    both = streams(3, "search", [5, 9], [4, 2]).uniform(torch.zeros(6, 3))
    alone = streams(3, "search", [9], [2]).uniform(torch.zeros(2, 3))
    assert torch.equal(both[4:], alone)
    other = streams(4, "search", [9], [2]).uniform(torch.zeros(2, 3))
    assert not torch.equal(other, alone)


def test_numbers_that_would_meet_are_refused():
    with pytest.raises(InputError, match="at most"):
        streams(0, "search", [0], [2**20 + 1])
    with pytest.raises(InputError, match="2\\^42"):
        streams(0, "search", [2**42], [1])
    assert 0 <= number_of("1abc") < 2**42 and number_of("1abc") != number_of("1abd")
    assert len({embedding_seed(seed, n) for seed in (0, 1) for n in range(200)}) == 400
