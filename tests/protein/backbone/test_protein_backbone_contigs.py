"""Contigs: the language, the motif, the lengths, the numbers that are written, and bad input."""

from collections import Counter

import numpy as np
import pytest

from protein.backbone.contigs import arranged, parse_contig, resolve
from protein.structures.chain import Backbone, Structure
from sciddiff.errors import InputError


def _chain(chain_id="A", numbers=range(1, 81), codes=(), origin=(0.0, 0.0, 0.0), breaks=()):
    """An extended chain along x, 3.6 Å per residue; `breaks` are rows 30 Å further on."""
    numbers = np.asarray(list(numbers))
    at = np.arange(len(numbers)) * 3.6
    for row in breaks:
        at[row:] += 30.0
    atoms = np.array([[-1.3, 0.4, 0], [0, 0, 0], [1.2, 0.6, 0], [1.3, 1.8, 0]])
    coords = atoms[None] + np.array([1.0, 0, 0]) * at[:, None, None] + np.asarray(origin)
    letters = "".join("GAVLIMFWYC"[n % 10] for n in numbers)
    return Backbone(
        coords.astype(np.float32), letters, chain_id, numbers, codes, name="motif.pdb"
    )  # fmt: skip


def _structure(*chains):
    return Structure(
        chains or (_chain(), _chain("B", range(5, 30), origin=(0, 40, 0))), source="motif.pdb"
    )


def _resolve(text, structure=None, seed=0, length=None):
    rng = np.random.default_rng(seed)
    return resolve(parse_contig(text), structure or _structure(), rng, length)


def _fails(text, *words, structure=None, length=None):
    with pytest.raises(InputError) as caught:
        _resolve(text, structure, length=length)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message


def test_a_motif_sits_between_designed_stretches_of_allowed_length():
    structure = _structure()
    for seed in range(20):
        contig = _resolve("10-40,A25-45,10-40", structure, seed)
        rows = np.flatnonzero(contig.fixed)
        before, after = rows[0], len(contig) - 1 - rows[-1]
        assert 10 <= before <= 40
        assert 10 <= after <= 40
        assert np.array_equal(rows, np.arange(before, before + 21))
        motif = structure.chain("A").select(slice(24, 45))
        assert np.array_equal(contig.coords[rows], motif.coords)
        assert not contig.coords[~contig.fixed].any()
        assert "".join(contig.sequence[i] for i in rows) == motif.sequence
        assert set(contig.sequence[:before]) == {"A"}
        assert contig.source_numbers[rows].tolist() == list(range(25, 46))
        assert np.array_equal(contig.residue_index, np.arange(len(contig)))


@pytest.mark.parametrize(
    "text",
    [
        "5,A10-12,7",
        "5/A10-12/7",
        " 5 , A10-A12 ,7",
        "['5,A10-12,7']",
        "5-5/A10-12/7-7",
        "5,A10-12,7/0",
    ],
)
def test_spellings_of_one_contig(text):
    contig = _resolve(text)
    assert len(contig) == 15
    assert contig.source_chains == ("",) * 5 + ("A",) * 3 + ("",) * 7


def test_single_residues_and_chain_breaks():
    contig = _resolve("3,A25,4/0 B5-10/0 6")
    assert len(contig) == 8 + 6 + 6
    assert Counter(contig.chain_index.tolist()) == {0: 8, 1: 6, 2: 6}
    steps = np.diff(contig.residue_index)
    assert (steps[np.diff(contig.chain_index) == 0] == 1).all()
    assert (steps[np.diff(contig.chain_index) == 1] > 64).all()
    chains, _, _ = contig.output_numbering()
    assert "".join(dict.fromkeys(chains)) == "ABC"


def test_insertion_codes_and_negative_numbers():
    chain = _chain("H", [-2, -1, 0, 52, 52, 52, 53], ("", "", "", "", "A", "B", ""))
    contig = _resolve("2,H-2-0,1,H52A-53,2", _structure(chain))
    numbers = contig.source_numbers[contig.fixed].tolist()
    assert numbers == [-2, -1, 0, 52, 52, 53]
    written = list(zip(contig.output_numbering()[1], contig.output_insertion_codes(), strict=True))
    kept = [label for label, fixed in zip(written, contig.fixed, strict=True) if fixed]
    assert kept == [(-2, ""), (-1, ""), (0, ""), (52, "A"), (52, "B"), (53, "")]
    assert len(set(written)) == len(written)


def test_numbers_skipped_along_an_unbroken_chain_are_no_gap():
    skipping = _structure(_chain(numbers=[*range(1, 11), *range(15, 25)]))
    assert len(_resolve("A8-17", skipping)) == 6


def test_lengths_are_uniform_and_deterministic():
    plan = parse_contig("1-3,A10-12,0-1")
    draws = [resolve(plan, _structure(), np.random.default_rng([1, i])) for i in range(1200)]
    seen = Counter(
        (s[0].stop - s[0].start, s[2].stop - s[2].start) for s in (d.segments for d in draws)
    )
    assert len(seen) == 6
    # Six cells of 200: the 0.9999 quantile of chi square with 5 degrees of freedom is 26.
    assert sum((count - 200) ** 2 / 200 for count in seen.values()) < 26
    again = resolve(plan, _structure(), np.random.default_rng([1, 7]))
    assert again.describe() == draws[7].describe()


def test_a_total_is_met_with_all_choices_equally_likely():
    plan = parse_contig("0-4,A10-12,0-4,A20-22,0-2")
    structure = _structure(_chain(numbers=[*range(10, 13), *range(20, 23)], breaks=()))
    seen = Counter()
    for i in range(1500):
        contig = resolve(plan, structure, np.random.default_rng([2, i]), (9, 10))
        assert 9 <= len(contig) <= 10
        seen[tuple(s.stop - s.start for s in contig.segments if not s.motif)] += 1
    allowed = [
        (a, b, c) for a in range(5) for b in range(5) for c in range(3) if a + b + c in (3, 4)
    ]
    assert set(seen) == set(allowed)
    expected = 1500 / len(allowed)
    # 24 cells: the 0.9999 quantile of chi square with 23 degrees of freedom is 57.
    assert len(allowed) <= 24
    assert sum((seen[c] - expected) ** 2 / expected for c in allowed) < 57


def test_a_linker_is_never_too_short_to_reach():
    structure = _structure()
    apart = np.linalg.norm(structure.chain("A").ca[29] - structure.chain("A").ca[9])
    for seed in range(30):
        contig = _resolve("A1-10,0-40,A30-40", structure, seed)
        linker = contig.segments[1]
        assert (linker.stop - linker.start + 1) * 3.9 >= apart
    assert "needs at least" in contig.describe()
    _fails("A1-10,5-8,A30-40", "A10", "A30", "5-8", "at least")


def test_written_numbers_of_motif_residues_are_theirs():
    contig = _resolve("10,A25-45,12")
    chains, numbers, _ = contig.output_numbering()
    assert set(chains) == {"A"}
    assert list(numbers) == list(range(15, 58))


@pytest.mark.parametrize(
    "text",
    [
        "40,A25-45,40",  # would count below 1
        "5,A25-45,60,A50-60,5",  # does not fit between the motifs
        "5,A50-60,35,A25-45,60",  # motifs in the opposite order
        "10,A25-45,10/0 10,A50-60,10",  # one source chain in two chains of the design
        "10,A25-45,45,B5-9,10",  # two source chains in one chain of the design
        "10/0 B6-9,20/0 A1",
        "30,A/0 30",
    ],
)
def test_written_labels_are_unique_and_motifs_keep_their_numbers(text):
    contig = _resolve(text)
    chains, numbers, sequence = contig.output_numbering()
    assert len(chains) == len(numbers) == len(sequence) == len(contig)
    assert len(set(zip(chains, numbers, strict=True))) == len(contig)
    rows = np.flatnonzero(contig.fixed)
    assert min(numbers) > 0
    assert [numbers[i] for i in rows] == contig.source_numbers[rows].tolist()
    pairs = set(zip(chains, contig.chain_index.tolist(), strict=True))
    assert len(pairs) == len(set(chains)) == len(set(contig.chain_index.tolist()))


def test_numbers_rise_along_the_chain_where_there_is_room():
    for text in ("24,A25-45,40", "5,A25-45,4,A50-60,5", "10/0 5,B6-9,20"):
        contig = _resolve(text, _structure(_chain(breaks=()), _chain("B", range(5, 30))))
        chains, numbers, _ = contig.output_numbering()
        for name in set(chains):
            own = [n for n, c in zip(numbers, chains, strict=True) if c == name]
            assert own == sorted(own)


def test_a_grafted_residue_gives_way_only_where_its_number_is_taken():
    contig = _resolve("A8-12,25,B10-13,5")
    _, numbers, _ = contig.output_numbering()
    rows = [i for i, c in enumerate(contig.source_chains) if c == "B"]
    # B10-12 meet A10-12, which come from the chain's own source; B13 keeps its number.
    assert numbers[rows[-1]] == 13
    assert {numbers[i] for i in rows[:-1]}.isdisjoint({10, 11, 12})
    assert numbers[:5] == (8, 9, 10, 11, 12)


def test_the_plan_shows_every_stretch():
    text = _resolve("10,A25-45,12/0 B5-10").describe()
    lines = text.splitlines()
    assert lines[0] == "10,A25-45,12/0 B5-10: 49 residues, 27 kept of motif.pdb"
    assert lines[1].split() == ["residues", "length", "chain", "written", "from"]
    assert lines[2].split() == ["1-10", "10", "A", "15-24", "designed", "(10)"]
    assert lines[3].split() == ["11-31", "21", "A", "25-45", "motif", "A25-45"]
    assert lines[4].split() == ["32-43", "12", "A", "46-57", "designed", "(12)"]
    assert lines[5].split() == ["44-49", "6", "B", "5-10", "motif", "B5-10"]


def test_a_contig_without_motif_needs_no_structure():
    contig = resolve(parse_contig("10-20/0 15"), None, np.random.default_rng(0))
    assert not contig.fixed.any()
    with pytest.raises(InputError, match="give the motif file"):
        resolve(parse_contig("5,A25"), None, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["empty", "10-40,A25-45,10-40"]),
        ("10-40,A25_45,10", ["item 2", "'A25_45'", "not understood", "A25-45"]),
        ("10,,A25", ["item 2", "empty"]),
        ("10,A25,", ["item 3", "empty"]),
        ("10 A25", ["item 1", "'10'", "comma"]),
        ("40-10,A25", ["item 1", "reversed", "10-40"]),
        ("10,A45-25", ["item 2", "reversed", "A25-45"]),
        ("A25-B45", ["item 1", "two chains"]),
        ("10,25A", ["item 2", "'25A'"]),
        ("A25/0 /0 10", ["item 3", "without residues"]),
        ("0,A1-5/0 0", ["without residues"]),
        ("A1-5,-3", ["item 2", "'-3'"]),
        ("5,A75-90,5", ["motif.pdb", "A81-90", "A75-90", "1-80"]),
        ("5,A100,5", ["A100", "1-80"]),
        ("5,C1-5", ["chain 'C'", "A, B"]),
        ("5,a1-5", ["chain 'a'", "A, B"]),
        ("5,A52B-60", ["A52B", "absent"]),
        ("A1-10,5,A8-12", ["A8", "A9", "A10", "twice"]),
        ("A1-10,A30-40", ["A10", "A30", "not bonded"]),
        ("A1-5,10-100000", ["100005", "512"]),
        ("A1-999999999", ["A81-10001", "1-80"]),
        ("30", ["keeps nothing of motif.pdb", "A, B", "A1-10", "--length"]),
        ("5,1:8-22", ["chain '1'", "A, B"]),
        ("5,1:", ["chain '1'", "A, B"]),
        ("5,2:8-22x9", ["item 2", "not understood"]),
        ("9" * 30, ["item 1", "more than 1000000"]),
        ("A1," * 5000, ["15000 characters", "10000 is the most"]),
    ],
)
def test_bad_contigs_say_in_one_line_what_is_wrong(text, words):
    _fails(text, *words)


def test_impossible_lengths_name_what_is_possible():
    _fails("10-40,A25-45,10-40", "41-101", "200-300", length=(200, 300))
    assert len(_resolve("10-40,A25-45,10-40", length=(101, 300))) == 101


def test_residues_that_are_missing_or_incomplete_are_named():
    numbers = [*range(1, 30), *range(34, 81)]
    _fails(
        "5,A25-45,5",
        "A30-33",
        "1-29,34-80",
        structure=_structure(_chain(numbers=numbers, breaks=[29])),
    )
    hidden = _chain()
    hidden.mask[26] = False
    _fails("5,A25-45,5", "A27", "backbone", structure=_structure(hidden))


def test_one_chain_can_be_the_motif():
    chain = _chain("B")
    contig = resolve(parse_contig("4,B10-12,4"), chain, np.random.default_rng(0))
    assert contig.fixed.sum() == 3
    with pytest.raises(InputError, match="chain 'A'; it has B"):
        resolve(parse_contig("4,A10-12,4"), chain, np.random.default_rng(0))


def test_a_whole_chain_and_chains_of_any_name():
    structure = _structure(_chain("1", range(5, 30)), _chain("AB", range(1, 9), origin=(0, 40, 0)))
    whole = _resolve("4,1:,4/0 AB", structure)
    assert whole.source_chains[4:29] == ("1",) * 25 and whole.source_chains[33:] == ("AB",) * 8
    part = _resolve("4,1:8-22,4", structure)
    assert part.fixed.sum() == 15 and part.motif_map()[0] == ("18", "18")
    assert _resolve("4,1:8-1:22,4", structure).fixed.sum() == 15
    assert _resolve("4,AB:2-5,4", structure).fixed.sum() == 4
    doubt = _resolve("18-22,AB2-5", structure).notes
    assert doubt == ("18-22 designs that many residues; residues of chain 1 would be 1:5-14",)


def test_a_break_inside_a_kept_stretch_is_refused_whatever_its_numbers():
    broken = _structure(_chain(breaks=[30]))
    _fails("5,A25-45,5", "broken between A30 and A31", "C-N 31", structure=broken)
    assert _resolve("5,A25-30,9-20,A31-45,5", broken).fixed.sum() == 21
    _fails("A", "broken between A30 and A31", structure=broken)
    codes = ["" if n != 30 else "A" for n in range(1, 81)]
    inserted = _structure(_chain(codes=codes, breaks=[30]))
    _fails("5,A25-45,5", "A30A and A31", structure=inserted)


def test_what_is_no_residue_is_told_as_what_it_is():
    structure = Structure(
        (_chain(),), source="motif.pdb",
        others={"A301": "a ligand or ion (HEM)", "W5": "a water (HOH)"},
    )  # fmt: skip
    _fails("5,A301,5", "A301", "is a ligand or ion (HEM)", structure=structure)
    _fails("5,W5,5", "no protein chain 'W'", "chain W holds a water (HOH)", structure=structure)


def test_the_map_of_the_motif_names_both_sides():
    contig = _resolve("40,A25-27,20,B10-11,5", _structure(_chain(), _chain("B", origin=(0, 3, 0))))
    chains, numbers, _ = contig.output_numbering()
    written = [f"{chains[i]}{numbers[i]}" for i in np.flatnonzero(contig.fixed)]
    assert contig.motif_map() == list(
        zip(["A25", "A26", "A27", "B10", "B11"], written, strict=True)
    )
    assert contig.drawn() == "40/A25-27/20/B10-11/5"


def test_pieces_without_an_index_are_put_in_every_order_and_reached():
    structure, plan = _structure(), parse_contig("A25-27,A33,A40-41")
    orders, firsts = Counter(), []
    for seed in range(300):
        contig = arranged(plan, structure, np.random.default_rng(seed), (70, 75))
        assert 70 <= len(contig) <= 75
        rows = np.flatnonzero(contig.fixed)
        assert len(rows) == 6
        names = [source for source, _ in contig.motif_map()]
        orders[tuple(name for name in names if name in ("A25", "A33", "A40"))] += 1
        firsts.append(rows[0])
        ca = contig.coords[rows, 1]
        steps, gaps = np.diff(rows), np.linalg.norm(np.diff(ca, axis=0), axis=-1)
        assert (gaps <= 3.9 * steps + 1e-3).all(), "no stretch is too short to reach"
        written = [label for _, label in contig.motif_map()]
        assert len(set(written)) == 6
    assert len(orders) == 6
    assert min(orders.values()) > 300 / 6 - 4 * (300 * 5 / 36) ** 0.5
    assert min(firsts) < 4 < 25 < max(firsts)


def test_one_order_remains_where_the_length_allows_no_other():
    far = _structure(_chain(), _chain("B", range(5, 30), origin=(0, 40, 0)))
    plan = parse_contig("A1-2,A78-79")
    contig = arranged(plan, far, np.random.default_rng(0), (80, 82))
    assert [a for a, _ in contig.motif_map()] in (
        ["A1", "A2", "A78", "A79"],
        ["A78", "A79", "A1", "A2"],
    )


@pytest.mark.parametrize(
    ("text", "length", "word"),
    [
        ("A25-27,10,A60", (80, 90), "pieces alone"),
        ("A25-27/0 A60", (80, 90), "pieces alone"),
        ("A25-27,A60", None, "--length"),
        ("A25-27,A26", (80, 90), "named twice"),
        ("A1,A79", (20, 30), "no order of its pieces fits 20-30"),
        ("A25-27,A99", (80, 90), "A99"),
    ],
)
def test_unindexed_motifs_that_cannot_be_placed_are_refused(text, length, word):
    with pytest.raises(InputError) as caught:
        arranged(parse_contig(text), _structure(), np.random.default_rng(0), length)
    assert word in str(caught.value) and "\n" not in str(caught.value)
