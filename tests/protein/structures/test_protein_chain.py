"""The chain type: its promises, selection, names."""

import numpy as np
import pytest

from protein.structures.chain import Backbone
from sciddiff.errors import InputError


def test_promises_are_checked(chain) -> None:
    broken = chain.coords.copy()
    broken[3, 2, 1] = np.nan
    with pytest.raises(InputError, match="not finite"):
        Backbone.from_coords(broken)
    with pytest.raises(InputError, match=r"shape \(20, 3, 3\)"):
        Backbone.from_coords(chain.coords[:, :3])
    with pytest.raises(InputError, match="sequence has 3 entries for 20"):
        Backbone.from_coords(chain.coords, "ACD")


def test_defaults(chain) -> None:
    plain = Backbone.from_coords(chain.coords.astype(np.float64))
    assert plain.sequence == "A" * 20 and plain.coords.dtype == np.float32
    assert plain.labels[0] == "A1" and plain.mask.all() and not plain.built_o.any()


def test_selection_keeps_numbers_and_sees_the_gap(chain) -> None:
    part = chain.select([0, 1, 2, 7, 8])
    assert part.labels == ("A1", "A2", "A3", "A8", "A9")
    assert part.sequence == "ACDIK"
    assert part.bonded.tolist() == [True, True, False, True, False]
    assert part.number_ranges() == "1-3,8-9"
    assert chain.select(chain.residue_numbers > 18).labels == ("A19", "A20")
