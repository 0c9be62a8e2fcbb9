"""Random numbers of docking: no two draws share a stream."""

import pytest
import torch

from protein.docking.search.draws import draw_indices, number_of
from sciddiff.errors import InputError
from sciddiff.streams import Streams


def test_no_purpose_ligand_or_draw_shares_numbers():
    """Ligand 0 with 100 draws beside ligand 1: packed by 64, as they once were, they met."""
    draws = Streams(0, draw_indices([0, 1, 64], [100, 64, 3]))
    like = torch.zeros(167, 4)
    rows = torch.cat([draws.uniform(like), draws.purpose("search").uniform(like)])
    assert len(rows.unique(dim=0)) == len(rows)


def test_a_draw_depends_on_its_ligand_alone():
    both = Streams(3, draw_indices([5, 9], [4, 2])).uniform(torch.zeros(6, 3))
    alone = Streams(3, draw_indices([9], [2])).uniform(torch.zeros(2, 3))
    assert torch.equal(both[4:], alone)


def test_numbers_out_of_range_are_refused():
    with pytest.raises(InputError, match="2\\^32"):
        draw_indices([2**32], [1])
    assert 0 <= number_of("1abc") < 2**32 and number_of("1abc") != number_of("1abd")
