"""Names: unique, harmless, and led back to what they were."""

import doctest

from hypothesis import given
from hypothesis import strategies as st

from sciddiff import names as module
from sciddiff.names import Names, cell, clean, escape, stem_of, text_of


def test_the_examples_hold():
    failed, tried = doctest.testmod(module)
    assert tried >= 8 and not failed


@given(st.lists(st.text(alphabet="aAb_2/ \n.:$", max_size=6), max_size=12))
def test_names_and_stems_are_unique_in_any_case(wanted):
    names = Names()
    given_out = [names.unique(text, f"x_{i}") for i, text in enumerate(wanted)]
    assert len({name.casefold() for name in given_out}) == len(wanted)
    assert len({stem_of(name).casefold() for name in given_out}) == len(wanted)


@given(st.lists(st.sampled_from(["a", "A", "a_2", "a/b", "a_b", ""]), max_size=8))
def test_what_follows_changes_no_earlier_name(wanted):
    one, two = Names(), Names()
    first = [one.unique(text, f"x_{i}") for i, text in enumerate(wanted[:4])]
    assert [two.unique(text, f"x_{i}") for i, text in enumerate(wanted)][:4] == first


@given(st.text(max_size=200))
def test_a_name_is_one_line_and_a_stem_is_one_file(text):
    name = clean(text)
    assert len(name) <= 80 and name.isprintable() and "$$$$" not in name
    stem = stem_of(name)
    assert stem and "/" not in stem and "\\" not in stem and stem[0] not in ".-"
    assert stem_of(stem) == stem


@given(st.text(alphabet=st.sampled_from("=+-@'\t\r\n＝1.eE x"), max_size=8))
def test_no_cell_is_a_formula_and_all_are_led_back(text):
    made = cell(text)
    assert text_of(made) == text
    try:
        float(made)
    except ValueError:
        risky = ("=", "+", "-", "@", "\t", "\r", "\n", "＝")
        assert not made.lstrip(" ").startswith(risky)


@given(st.text(max_size=30))
def test_escaped_text_is_printable_and_reversible(text):
    made = escape(text)
    assert not any(ord(c) < 32 for c in made)
    assert made.count("\\") % 2 == 0 or any(ord(c) < 32 or 126 < ord(c) < 160 for c in text)
