"""What is wished of residues, resolved to rows; or refused in one line."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from protein.sequence.alphabet import LETTERS
from protein.sequence.design.colouring import colour_classes
from protein.sequence.design.plan import Template, plan_of
from protein.sequence.design.proteinmpnn import read_dictionary, wishes_of
from protein.sequence.design.quality import quality_of
from protein.sequence.design.residues import Residues
from protein.sequence.design.wishes import Wishes, read_biases
from protein.structures.chain import Backbone
from protein.structures.read import read_structure
from sciddiff.errors import InputError


@pytest.fixture(scope="module")
def template(dimer: Path) -> Template:
    """The dimer."""
    return Template("dimer", "dimer.pdb", read_structure(dimer).chains)


def _rows(template: Template, text: str) -> list[int]:
    return template.residues.rows(text, "--fix")


def test_residues_are_named_as_in_the_file(template):
    assert _rows(template, "A11-13,B34,A20") == [0, 1, 2, 47, 9]
    assert _rows(template, "B") == list(range(24, 48))
    assert template.residues.words([0, 1, 2, 47]) == "A11-13,B34"
    assert template.residues.words(list(range(48))) == "A,B"


def test_insertion_codes_gaps_and_chains_with_digits():
    coords = np.random.default_rng(0).normal(size=(5, 4, 3))
    numbers = np.array([1, 2, 2, 2, 9])
    chain = Backbone(coords, "ACDEF", "1", numbers, ("", "", "A", "B", ""))
    other = replace(chain, chain_id="11", residue_numbers=np.array([0, 1, 2, 3, 4]),
                    insertion_codes=("",) * 5)  # fmt: skip
    residues = Residues([chain, other], "x.pdb")
    assert residues.rows("1:2A-9", "--fix") == [2, 3, 4]
    assert residues.rows("11:2,1:2", "--fix") == [7, 1]
    assert residues.words([1, 2]) == "1:2-2A"
    assert residues.rows(residues.words([1, 2, 7]), "--fix") == [1, 2, 7]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A10", "residue A10 is not in dimer.pdb, or lacks N, CA or C; the nearest is A11"),
        ("A11-40", "residue A40 is not in dimer.pdb, or lacks N, CA or C; the nearest is A34"),
        ("C11", "no protein chain C; it has A, B"),
        ("11-20", "names no chain; write it as in A11"),
        ("A20-B30", "spans two chains"),
    ],
)
def test_residues_that_are_not_there(template, text, words):
    with pytest.raises(InputError, match=words):
        plan_of(template, Wishes(fix=text))


def test_what_is_fixed_designed_omitted_and_biased(template):
    plan = plan_of(
        template,
        Wishes(chains="B", fix="B11-12", omit_aa="c", omit_at="B20,B22:PG", only_at="B30:DE",
               bias_aa="A:-0.5,W:0.3"),
    )  # fmt: skip
    assert np.flatnonzero(plan.designed).tolist() == list(range(26, 48))
    assert plan.held.sum() == 26 and plan.designed_chains == (1,)
    assert plan.omitted[:, LETTERS.index("C")].all()
    places = {row for row, letter in np.argwhere(plan.omitted) if LETTERS[letter] == "P"}
    assert places == {33, 35, 43}
    allowed = [LETTERS[k] for k in np.flatnonzero(~plan.omitted[43])]
    assert allowed == ["D", "E"]
    assert plan.bias[0, LETTERS.index("W")] == np.float32(0.3)
    text = plan.describe()
    assert "B13-34" in text and "A,B11-12" in text and "C everywhere" in text


def test_a_motif_is_kept_whatever_is_wished(template):
    kept = replace(template, kept="A11-20", why="motif")
    plan = plan_of(kept, Wishes())
    assert not plan.designed[:10].any() and plan.designed[10:].all()
    assert plan.summary()["kept"] == "motif: A11-20"


def test_ties_by_hand_and_by_symmetry_are_the_same(template):
    hand = plan_of(template, Wishes(tie="A11-34=B11-34"))
    equal = plan_of(template, Wishes(symmetric=True))
    assert (hand.group[:24] == hand.group[24:]).all()
    assert len(np.unique(hand.group)) == 24 and (hand.group >= 0).all()
    np.testing.assert_array_equal(hand.group, equal.group)


def test_ties_reach_over_residues(template):
    plan = plan_of(template, Wishes(tie="A11=A13,A13=B20"))
    assert plan.group[0] == plan.group[2] == plan.group[33] >= 0
    assert (plan.group >= 0).sum() == 3


def test_what_is_tied_to_a_fixed_residue_has_its_amino_acid(template):
    plan = plan_of(template, Wishes(fix="A11-12", tie="A11-12=B14-15"))
    assert plan.tokens[[27, 28]].tolist() == plan.native[[0, 1]].tolist()
    assert not plan.designed[[27, 28]].any() and plan.held[[27, 28]].all()
    assert "B14-15 is fixed to what it is tied to" in plan.describe()


@pytest.mark.parametrize(
    ("wishes", "words"),
    [
        (Wishes(fix="A11,B12", tie="A11=B12"), r"A11 \(M\) and B12 \(K\) are tied, and fixed"),
        (Wishes(fix="A11", tie="A11=B11", omit_at="B11:M"), "B11 is tied to a fixed M"),
        (Wishes(tie="A11-12=B11-13"), "A11-12 has 2 residues in dimer.pdb and B11-13 has 3"),
        (Wishes(tie="A11=A11"), "tied to itself"),
        (Wishes(tie="A11"), "ties nothing"),
        (Wishes(only_at="A11:C", omit_aa="C"), "every amino acid is omitted at A11;"),
        (
            Wishes(only_at="A11:C,B11:D", tie="A11=B11"),
            "every amino acid is omitted at A11 and what it is tied to",
        ),
        (Wishes(fix="A,B"), "every residue is fixed"),
        (Wishes(omit_aa="CZ"), "Z is no amino acid"),
        (Wishes(omit_at="A11"), "A11 has no amino acids behind it"),
        (Wishes(bias_aa="A:x"), "A:x is not understood"),
        (Wishes(bias_aa="A:1,A:2"), "A is given twice"),
        (Wishes(bias_aa="A:nan"), "is not understood"),
        (Wishes(bias_aa="A:1e9"), "a bias is a number from -50 to 50"),
        (Wishes(symmetric=True, chains="A"), "no two equal chains"),
        (Wishes(tie_weight="A99:1"), "residue A99 is not in"),
    ],
)
def test_wishes_that_cannot_be_met(template, wishes, words):
    with pytest.raises(InputError, match=words) as error:
        plan_of(template, wishes)
    assert "\n" not in str(error.value)


def test_biases_from_tables_of_both_forms(template, tmp_path):
    long, wide = tmp_path / "long.csv", tmp_path / "wide.csv"
    long.write_text("residue,aa,bias\nA12,W,2.5\nA13-14,G,-1\n")
    wide.write_text("residue,G,W\nA12,,2.5\nA13,-1,\nA14,-1,\n")
    found = [plan_of(template, Wishes(bias_at=read_biases(file))).bias for file in (long, wide)]
    np.testing.assert_array_equal(found[0], found[1])
    assert found[0][1, LETTERS.index("W")] == 2.5 and found[0][2, LETTERS.index("G")] == -1.0
    wide.write_text("residue,Z\nA12,1\n")
    with pytest.raises(InputError, match="its columns are residue, Z"):
        read_biases(wide)
    long.write_text("residue,aa,bias\nA12,W,much\n")
    with pytest.raises(InputError, match=r"row 2, W: 'much' is not a number"):
        read_biases(long)


def test_dictionaries_of_proteinmpnn_in_our_words(template, tmp_path):
    table = np.zeros((24, 21))
    table[4, LETTERS.index("W")], table[5, 0] = 1.5, -1e6
    said = {
        "chain_id": {"dimer": [["A"], ["B"]]},
        "fixed": {"dimer": {"A": [1, 2, 3], "B": []}},
        "tied": {"dimer": [{"A": [10], "B": [10]}, {"A": [[11], [1.0]], "B": [[11], [-0.5]]}]},
        "omit": {"dimer": {"A": [[[20, 21], "PG"], [[22], "CX"]], "B": []}},
        "bias": {"dimer": {"A": table.tolist()}},
        "bias_AA": {"A": -1.1, "X": 0.0},
    }
    entries = []
    for name, value in said.items():
        file = tmp_path / f"{name}.jsonl"
        file.write_text(json.dumps(value) + "\n")
        entries += read_dictionary(file)
    found = wishes_of(entries, "dimer", template.residues)
    assert found.words() == [
        '--chains "A"',
        '--fix "A11-13"',
        '--bias-aa "A:-1.1"',
        '--omit-at "A30-31:PG,A32:C,A16:A"',
        '--tie "A20=B20,A21=B21"',
        '--tie-weight "B21:-0.5"',
        "--bias-at with the table\n  residue,aa,bias\n  A15,W,1.5",
    ]
    plan = plan_of(template, found)
    assert plan.weight[34] == np.float32(-0.5)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"other": {"A": [1]}}, "says nothing of dimer"),
        ({"dimer": {"C": [1]}}, "no chain C"),
        ({"dimer": {"A": [25]}}, "no residue at position 25; its positions are 1 to 24"),
        ({"dimer": {"A": [["x"]]}}, "no dictionary of ProteinMPNN"),
        ([1], "is no object"),
    ],
)
def test_dictionaries_that_do_not_fit(template, tmp_path, said, words):
    file = tmp_path / "said.jsonl"
    file.write_text(json.dumps(said))
    with pytest.raises(InputError, match=words):
        wishes_of(read_dictionary(file), "dimer", template.residues)


def test_no_class_holds_two_rows_that_touch():
    rng = np.random.default_rng(3)
    for length in (1, 40, 150):
        wide = rng.random((length, length)) < 6.0 / length
        pairs = np.argwhere(wide | wide.T)
        pairs = pairs[pairs[:, 0] != pairs[:, 1]]
        rows = rng.random(length) < 0.8
        group = np.where(
            rng.random(length) < 0.4, rng.integers(0, max(length // 4, 1), length), -1
        )
        for ties in (None, group):
            found = colour_classes(pairs, rows, ties)
            a, b = pairs.T
            same = (
                np.zeros(len(pairs), bool)
                if ties is None
                else (ties[a] == ties[b]) & (ties[a] >= 0)
            )
            both = rows[a] & rows[b] & ~same
            assert not (found[a] == found[b])[both].any()
            if ties is not None:
                for number in np.unique(ties[ties >= 0]):
                    assert len(np.unique(found[(ties == number) & rows])) <= 1
            assert found[rows].max(initial=0) < 20


def test_the_colouring_is_the_greedy_one():
    rng = np.random.default_rng(5)
    wide = np.triu(rng.random((60, 60)) < 0.15, 1)
    wide |= wide.T
    degree, expected = wide.sum(1), np.full(60, -1)
    for row in np.lexsort((np.arange(60), -degree)):
        taken = set(expected[wide[row]])
        expected[row] = next(c for c in range(60) if c not in taken)
    found = colour_classes(np.argwhere(wide), np.ones(60, bool))
    np.testing.assert_array_equal(found, expected)


def test_runs_shares_and_entropies_are_noticed():
    every = np.ones(60, dtype=bool)
    assert quality_of([LETTERS * 3], every).warnings == ()
    poor = quality_of(["AL" * 20 + "K" * 6 + LETTERS[:14]], every)
    assert poor.warnings[0] == "6 K in a row" and poor.longest_run == 6
    assert poor.warnings[1] == "35 % A" and poor.warnings[2].startswith("entropy 1.74")
    # Runs do not reach over the ends of chains, nor count where nothing was designed.
    assert quality_of(["KKK", "KKK"], np.ones(6, dtype=bool)).longest_run == 3
    held = np.array([False] * 8 + [True] * 2)
    assert quality_of(["KKKKKKKKAC"], held).longest_run == 1
