"""Requests, templates, and which designs of a folder are finished."""

from pathlib import Path

import pytest

from protein.backbone.campaign import missing
from protein.backbone.request import (
    CLASS_SHARES,
    GenerationRequest,
    design_name,
    parse_fold,
    parse_lengths,
    templates,
)
from sciddiff.errors import InputError


def test_lengths_are_read_and_bounded() -> None:
    assert parse_lengths("100") == (100, 100)
    assert parse_lengths("60-128") == (60, 128)
    for bad in ("", "abc", "60-", "-60", "128-60", "5", "60-9999", "60-70-80", "1e2"):
        with pytest.raises(InputError, match="length"):
            parse_lengths(bad)


def test_unknown_fold_and_field_name_the_choices() -> None:
    with pytest.raises(InputError, match="alpha, beta, mixed"):
        parse_fold("barrel")
    with pytest.raises(InputError, match="unknown; use"):
        GenerationRequest.parse({"lenght": "60"})
    with pytest.raises(InputError, match="n 'many'"):
        GenerationRequest.parse({"n": "many"})


def test_a_design_has_the_same_length_whatever_the_run() -> None:
    many = GenerationRequest(n=50, seed=4)
    few = GenerationRequest(n=3, seed=4)
    assert [many.length(i) for i in range(3)] == [few.length(i) for i in range(3)]
    assert len({many.length(i) for i in range(50)}) > 10
    assert all(60 <= many.length(i) <= 128 for i in range(50))


def test_any_fold_is_drawn_as_natives_are_shared_out() -> None:
    request = GenerationRequest(n=2000, seed=3)
    drawn = [request.fold_of(i) for i in range(2000)]
    for fold, share in CLASS_SHARES.items():
        assert abs(drawn.count(fold) / 2000 - share) < 0.002
        # A run of any size comes near the shares, wherever it begins.
        for first in range(0, 2000, 50):
            assert abs(drawn[first : first + 50].count(fold) / 50 - share) < 0.05
    others = [GenerationRequest(n=9, seed=4).fold_of(i) for i in range(9)]
    assert drawn[:9] != others, "another seed begins elsewhere"
    assert drawn[:5] == [GenerationRequest(n=5, seed=3).fold_of(i) for i in range(5)]
    assert GenerationRequest(fold="beta").fold_of(9) == "beta"


def test_templates_cover_every_index_once_within_the_budget() -> None:
    request = GenerationRequest(n=40, seed=1)
    seen: list[int] = []
    for batch in templates(request):
        mask = batch.layouts["translations"].mask
        assert mask is not None
        for row, index in enumerate(batch.cond["index"].tolist()):
            assert int(mask[row].sum()) == request.length(index)
            assert batch.ids[row] == design_name(index)
            seen.append(index)
        assert batch.size == 1 or batch.size * mask.shape[1] ** 2 <= 8 * 128**2
    assert sorted(seen) == list(range(40))


def test_finished_designs_are_not_made_again(tmp_path: Path) -> None:
    assert missing(tmp_path, 3) == [0, 1, 2]
    for suffix in (".pdb", ".cif"):
        (tmp_path / f"{design_name(1)}{suffix}").touch()
    (tmp_path / f"{design_name(2)}.pdb").touch()
    assert missing(tmp_path, 3) == [0, 2], "a design with one of its two files is not finished"
