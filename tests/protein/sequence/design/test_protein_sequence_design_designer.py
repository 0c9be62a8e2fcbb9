"""Draws and scores: what is never drawn, and what a score is."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from protein.sequence.alphabet import LETTERS
from protein.sequence.design.balance import composition_bias, limited
from protein.sequence.design.designer import Designer
from protein.sequence.design.plan import Plan, Template, plan_of
from protein.sequence.design.quality import composition_entropy, quality_of
from protein.sequence.design.redraw import TRIES, draw_native_like
from protein.sequence.design.settings import DrawSettings
from protein.sequence.design.wishes import Wishes
from protein.sequence.rewards import TERMS
from protein.sequence.samples import SEQUENCE, collate, sample_of
from protein.structures.read import read_structure
from sciddiff.checkpoint import load
from sciddiff.errors import InputError
from sciddiff.guidance.base import ask
from sciddiff.guidance.bias import FORBIDDEN
from sciddiff.paths import MaskPath


@pytest.fixture(scope="module")
def denoiser(model):
    """The untrained network."""
    return load(model, domain="design").denoiser


@pytest.fixture(scope="module")
def plan(dimer: Path):
    """A plan of the dimer from wishes."""
    template = Template("dimer", "dimer.pdb", read_structure(dimer).chains)

    def make(**wishes: object) -> Plan:
        return plan_of(template, Wishes(**wishes))

    return make


def _designer(denoiser, plan: Plan, **settings: object) -> Designer:
    return Designer(denoiser, plan, DrawSettings(**settings))


@pytest.mark.parametrize("order", ["colour", "random"])
def test_fixed_omitted_and_tied_residues_are_never_violated(denoiser, plan, order):
    """A thousand draws, so hot that only what is ruled out exactly never comes."""
    wishes = {"fix": "A11-14", "omit_aa": "HY", "only_at": "B20:DE", "tie": "A20-30=B20-30",
              "bias_aa": "H:40"}  # fmt: skip
    number = 1000 if order == "colour" else 50
    made = plan(**wishes)
    found = _designer(denoiser, made, order=order).draw(range(number), 10.0)
    assert (found[:, :4] == made.native[:4]).all()
    assert not np.isin(found[:, made.designed], [LETTERS.index("H"), LETTERS.index("Y")]).any()
    assert set(found[:, 33].tolist()) == {LETTERS.index("D"), LETTERS.index("E")}
    np.testing.assert_array_equal(found[:, 9:20], found[:, 33:44])
    assert len(np.unique(found, axis=0)) == number


def test_a_draw_depends_on_its_number_alone(denoiser, plan):
    designer = _designer(denoiser, plan())
    together = designer.draw(range(6), 0.5)
    np.testing.assert_array_equal(designer.draw([4], 0.5)[0], together[4])
    other = _designer(denoiser, plan(), seed=1).draw(range(6), 0.5)
    assert (other != together).any(1).all()


def test_temperature_zero_draws_one_sequence_and_bias_moves_it(denoiser, plan):
    cold = _designer(denoiser, plan()).draw(range(3), 0.0)
    pulled = _designer(denoiser, plan(bias_aa="W:45")).draw(range(2), 0.0)
    assert (pulled == LETTERS.index("W")).all() and (cold != LETTERS.index("W")).any()


def _asked(denoiser, plan: Plan, tokens: np.ndarray) -> np.ndarray:
    """Log-probabilities `[L, 20]` without the designer: one sample, its structure encoded anew."""
    given = sample_of(plan.template.chains, ~plan.designed)
    batch = collate([replace(given, tokens=plan.tokens)])
    with torch.no_grad():
        said = ask(denoiser, {SEQUENCE: torch.from_numpy(tokens)[None]}, torch.zeros(1), batch)
    return said[SEQUENCE].symbol_log_probs()[0].double().numpy()


@pytest.mark.parametrize("kind", ["colour", "random"])
def test_a_score_is_the_mean_over_orders_of_one_class_after_the_other(denoiser, plan, kind):
    made = plan(fix="A11-16")
    designer = _designer(denoiser, made, orders=4, order=kind)
    sequence = designer.draw(range(1), 1.0)[0]
    scores = designer.score(sequence[None])
    orders = designer._orders(designer._plain)[:, 0].numpy()
    assert len({tuple(order) for order in orders}) == 4
    for ahead, back in zip(orders[::2], orders[1::2], strict=True):
        opposite = (ahead + back)[made.designed]
        assert (opposite == ahead.max()).all() and (back[~made.designed] == -1).all()
    expected = []
    for order in orders:
        total, hidden = 0.0, made.designed.copy()
        for step in range(order.max() + 1):
            law = _asked(denoiser, made, np.where(hidden, MaskPath(20).size, sequence))
            now = order == step
            total -= law[now, sequence[now]].sum()
            hidden &= ~now
        assert not hidden.any()
        expected.append(total / made.designed.sum())
    np.testing.assert_allclose(scores.score[0], np.mean(expected), atol=1e-5)
    pairs = np.reshape(expected, (2, 2)).mean(1)
    np.testing.assert_allclose(scores.error[0], abs(pairs[0] - pairs[1]) / 2.0, atol=1e-5)
    np.testing.assert_array_equal(scores.laws, designer.conditional(sequence[None]))
    nats, count = scores.fixed
    assert count == 6
    whole = (nats + scores.score[0] * made.designed.sum()) / len(made)
    np.testing.assert_allclose(scores.total[0], whole, atol=1e-9)


def test_opposite_orders_scatter_less_than_others(denoiser, plan):
    designer = _designer(denoiser, plan(), orders=40)
    scores = designer.score(designer.draw(range(2), 1.0))
    each = scores.rows.sum(-1) / len(plan())
    singles, pairs = each[::2].std(0, ddof=1), (each[::2] + each[1::2]).std(0, ddof=1) / 2.0
    assert (pairs < 0.6 * singles / np.sqrt(2.0)).all()


def test_orders_come_in_pairs():
    with pytest.raises(InputError, match="--orders 3: orders come in pairs"):
        DrawSettings(orders=3)


def test_fixed_residues_are_scored_before_those_that_are_designed(denoiser, plan):
    """What they cost is what it costs to draw them with all others hidden."""
    made = plan(fix="A11")
    nats, count = _designer(denoiser, made, orders=2)._fixed
    law = _asked(denoiser, made, np.full(len(made), 20))
    # The fixed residue is shown to `_asked`; hide it through a plan that designs it.
    law = _asked(denoiser, plan(), np.full(len(made), 20))
    np.testing.assert_allclose(nats, -law[0, made.native[0]], atol=1e-5)
    assert count == 1


def test_a_score_is_that_of_the_sequence_whatever_the_seed_and_the_company(denoiser, plan):
    found = _designer(denoiser, plan()).draw(range(4), 1.0)
    one = _designer(denoiser, plan(), seed=1).score(found)
    other = _designer(denoiser, plan(omit_aa="C", symmetric=True), seed=2).score(found[2:3])
    np.testing.assert_allclose(one.score[2], other.score[0], atol=1e-6)


def test_unknown_residues_are_not_scored(denoiser, plan):
    made = plan()
    designer = _designer(denoiser, made)
    known = np.ones((1, len(made)), dtype=bool)
    known[0, 5] = False
    first, second = made.native[None].copy(), made.native[None].copy()
    second[0, 5] = (first[0, 5] + 1) % 20
    one, other = designer.score(first, known), designer.score(second, known)
    np.testing.assert_allclose(one.score, other.score, atol=1e-9)
    assert (one.rows[:, 0, 5] == 0.0).all() and one.counted.sum() == len(made) - 1


def test_mutants_hide_one_residue_at_a_time(denoiser, plan):
    made = plan()
    found = _designer(denoiser, made).mutants(made.native)
    for row in (0, 20):
        tokens = made.native.copy()
        tokens[row] = 20
        np.testing.assert_allclose(found[row], _asked(denoiser, made, tokens)[row], atol=1e-5)
    np.testing.assert_allclose(np.exp(found).sum(-1), 1.0, atol=1e-6)


def test_profiles_hide_all_or_one_class(denoiser, plan):
    made = plan(fix="A11-14")
    designer = _designer(denoiser, made)
    tokens = np.where(made.designed, 20, made.native)
    alone = designer.alone()
    law = _asked(denoiser, made, tokens)
    np.testing.assert_allclose(alone[made.designed], law[made.designed], atol=1e-5)
    assert (alone[:4] == 0.0).all()
    given = designer.conditional(made.native[None])[0]
    colours = designer._plain.cond["colours"][0].numpy()
    hidden = (colours == 1) & made.designed
    law = _asked(denoiser, made, np.where(hidden, 20, made.native))
    np.testing.assert_allclose(given[hidden], law[hidden], atol=1e-5)


def test_tied_rows_pool_what_they_say(denoiser, plan):
    """One call at temperature 0 from all hidden: the weighted mean of both log-probabilities."""
    made = plan(tie="A11=B30", tie_weight="A11:1,B30:-0.5", fix="A12-34,B11-29,B31-34")
    found = _designer(denoiser, made).draw(range(1), 0.0)[0]
    law = _asked(denoiser, made, np.where(made.designed, 20, made.native))
    assert found[0] == found[43] == (law[0] - 0.5 * law[43]).argmax()
    # Weights are divided by the number of residues: this bias decides, by a quarter of the gap.
    gap = (law[0] - 0.5 * law[43]).max() - (law[0] - 0.5 * law[43])[LETTERS.index("W")]
    biased = plan(tie="A11=B30", tie_weight="A11:1,B30:-0.5", fix="A12-34,B11-29,B31-34",
                  bias_aa=f"W:{0.75 * gap}")  # fmt: skip
    assert gap > 0.0
    assert _designer(denoiser, biased).draw(range(1), 0.0)[0][0] == LETTERS.index("W")
    # A bias of all residues counts once, however many are tied.
    weak = plan(tie="A11=B30", fix="A12-34,B11-29,B31-34", bias_aa="W:2.0")
    pooled = 0.5 * (law[0] + law[43])
    pooled[LETTERS.index("W")] += 2.0
    assert _designer(denoiser, weak).draw(range(1), 0.0)[0][0] == pooled.argmax()


def _mean_law(laws: np.ndarray, temperature: float) -> np.ndarray:
    sharp = np.exp((laws - laws.max(1, keepdims=True)) / temperature)
    return (sharp / sharp.sum(1, keepdims=True)).mean(0)


@pytest.mark.parametrize("temperature", [0.1, 0.5, 1.0])
def test_a_balanced_bias_keeps_the_mean_law_at_any_temperature(temperature):
    laws = np.log(np.random.default_rng(0).dirichlet(np.full(20, 0.5), 80))
    laws[:, 3] = FORBIDDEN
    bias = composition_bias(laws, temperature)
    wanted, found = _mean_law(laws, 1.0), _mean_law(laws + bias, temperature)
    np.testing.assert_allclose(found, wanted, atol=1e-4)
    assert found[3] == 0.0 and bias[3] == 0.0
    assert np.abs(_mean_law(laws, 0.1) - wanted).max() > 0.01
    if temperature == 1.0:
        np.testing.assert_allclose(bias, 0.0, atol=1e-4)


def test_no_share_is_above_its_limit_and_others_keep_their_ratios():
    found = limited(np.array([0.5, 0.2, 0.16, 0.1, 0.04]), 0.3)
    np.testing.assert_allclose(found, [0.3, 0.28, 0.224, 0.14, 0.056])
    # What the first leaves takes the second over the limit, too.
    twice = limited(np.array([0.5, 0.28, 0.12, 0.1]), 0.3)
    np.testing.assert_allclose(twice, [0.3, 0.3, 0.4 * 12 / 22, 0.4 * 10 / 22])
    np.testing.assert_allclose(limited(np.array([0.9, 0.1]), 0.3), [0.5, 0.5])
    laws = np.log(np.random.default_rng(0).dirichlet([*[0.3] * 19, 6.0], 80))
    bias = composition_bias(laws, 0.2, 0.16)
    np.testing.assert_allclose(_mean_law(laws + bias, 0.2)[19], 0.16, atol=1e-3)
    assert _mean_law(laws, 1.0)[19] > 0.4


def test_what_is_unlike_natives_is_drawn_again(denoiser, plan):
    """Draws keep their numbers, and a draw is replaced only by one that comes closer."""
    made = replace(plan(bias_aa="K:3"), balanced=True)
    designer = _designer(denoiser, made)
    first = designer.draw(range(6), 0.3)
    found, tries = draw_native_like(designer, range(6), 0.3)

    def excess(one):
        return quality_of(made.pieces(one, whole=True), made.designed).excess

    before, after = ([excess(one) for one in x] for x in (first, found))
    assert 0 < (tries > 0).sum() and sum(after) < sum(before)
    for k in range(6):
        assert after[k] <= before[k] and (tries[k] == 0) == (before[k] == 0.0)
        assert tries[k] == TRIES or after[k] == 0.0
    alone, again = draw_native_like(designer, [4], 0.3)
    np.testing.assert_array_equal(alone[0], found[4])
    assert again[0] == tries[4]
    plain, never = draw_native_like(_designer(denoiser, plan(bias_aa="K:3")), range(6), 0.3)
    assert not never.any() and sum(excess(one) for one in plain) > 0.0


def test_balanced_draws_are_less_narrow_and_rules_stand(denoiser, plan):
    template = replace(plan().template, generated=True)
    wishes = Wishes(omit_aa="H", fix="A11", tie="A20-25=B20-25")
    balanced = plan_of(template, wishes)
    assert balanced.balanced and not plan_of(template, wishes, balance=False).balanced
    assert not plan_of(template, Wishes(chains="A")).balanced  # too few residues
    found = _designer(denoiser, balanced).draw(range(20), 0.1)
    plain = _designer(denoiser, plan_of(template, wishes, balance=False)).draw(range(20), 0.1)
    assert not (found[:, 1:] == LETTERS.index("H")).any() and (found[:, 0] == plain[:, 0]).all()
    np.testing.assert_array_equal(found[:, 9:15], found[:, 33:39])
    designed = balanced.designed
    spread = [np.mean([composition_entropy(one[designed]) for one in x]) for x in (found, plain)]
    assert spread[0] > spread[1] + 0.1


def test_the_order_of_the_chains_does_not_matter(denoiser, plan):
    made = plan()
    turned = Template("dimer", "dimer.pdb", made.template.chains[::-1])
    other = plan_of(turned, Wishes())
    swap = np.concatenate([np.arange(24, 48), np.arange(24)])
    one = _designer(denoiser, made).alone()
    two = _designer(denoiser, other).alone()
    np.testing.assert_allclose(one, two[swap], atol=1e-4)


def test_steered_sequences_have_more_of_what_is_wanted(denoiser, plan):
    """Also where residues are fixed; without a reward the sequences are as they were."""
    made = plan(fix="A11-14")

    def drawn(wish: str, number: int = 8) -> np.ndarray:
        reward = TERMS.reward(wish) if wish else None
        settings = DrawSettings(seed=3, steer=wish, particles=6, reward=reward)
        designer = Designer(denoiser, made, settings)
        found = designer.draw(range(number), 1.0)
        rewards = designer.rewards(found)
        assert (rewards is None) == (not wish)
        return found

    def charge(found: np.ndarray) -> float:
        count = {letter: (found == LETTERS.index(letter)).sum(1) for letter in "KRDE"}
        return float((count["K"] + count["R"] - count["D"] - count["E"]).mean())

    plain, more, less = drawn(""), drawn("charge=2"), drawn("charge=-2")
    assert charge(less) + 1.5 < charge(plain) < charge(more) - 1.5
    assert (more[:, :4] == made.native[:4]).all()
    np.testing.assert_array_equal(more[:2], drawn("charge=2", 2))
    np.testing.assert_array_equal(plain, _designer(denoiser, made, seed=3).draw(range(8), 1.0))
    assert set(DrawSettings().record()) == {"order", "calls", "orders", "seed"}
    assert DrawSettings(steer="charge", reward=TERMS.reward("charge")).record()["particles"] == 8
