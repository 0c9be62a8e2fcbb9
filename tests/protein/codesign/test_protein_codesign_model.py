"""The network of frames and residues, and the three questions that one sampling loop answers."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from protein.backbone.generate import GenerateSettings, generate
from protein.backbone.network import ROTATIONS, TRANSLATIONS, BackboneNetwork
from protein.backbone.request import GenerationRequest
from protein.codesign.domain import CodesignDomain
from protein.codesign.generate import CodesignSettings, Tempered
from protein.codesign.network import CodesignNetwork
from protein.codesign.poses import clocks, held
from protein.codesign.records import FoldRecord
from protein.codesign.request import codesign_templates, fold_templates, inverse_template
from protein.sequence.alphabet import MASK, letters
from protein.sequence.samples import SEQUENCE
from protein.structures.chain import Backbone
from protein.structures.frames import backbone_from_frames
from sciddiff.denoiser import Denoiser
from sciddiff.drawing import draw
from sciddiff.grids import uniform
from sciddiff.manifolds.so3 import exp_map, log_map
from sciddiff.weights import fill

SIZES = {"node": 16, "pair": 8, "blocks": 2, "heads": 2, "pair_every": 1}
RECORDS = [
    FoldRecord("one", ("MKTAYIAKQRQISFVKSHFSRQ",)),
    FoldRecord("two", ("MKTAYIAKQRQX", "GGSFVKSHFSWR")),
]


def _randomised(net, std=0.15):
    generator = torch.Generator().manual_seed(1)
    for parameter in net.parameters():
        parameter.data += std * torch.randn(parameter.shape, generator=generator)
    return net.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def denoiser():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = CodesignNetwork(**SIZES)
    return Denoiser(_randomised(net), CodesignDomain().path())


def _chain(length=24, seed=0):
    rng = np.random.default_rng(seed)
    places = torch.from_numpy(np.cumsum(rng.normal(0.0, 2.2, (length, 3)), 0))
    turned = exp_map(torch.from_numpy(2.0 * rng.normal(size=(length, 3))))
    return Backbone.from_coords(backbone_from_frames(turned, places).numpy(), name="chain")


def _templates():
    """A template of each question, two samples each."""
    return {
        "codesign": next(codesign_templates(GenerationRequest((24, 24), 2))),
        "inverse": inverse_template([_chain()], 2, "chain"),
        "fold": next(fold_templates(RECORDS, range(2))),
    }


def _noisy(batch):
    """A state with the residues of a batch and frames anywhere."""
    generator, shape = torch.Generator().manual_seed(2), batch.x[TRANSLATIONS].shape
    places = torch.randn(shape, generator=generator)
    turned = exp_map(2.0 * torch.randn(shape, generator=generator))
    return {**batch.x, TRANSLATIONS: places, ROTATIONS: turned}


def _drawn(denoiser, batch, steps=4, **options):
    drawing = replace(CodesignSettings(seed=3).drawing(), grid=uniform(steps))
    return draw(denoiser, batch, drawing, 3, **options)


def test_with_backbone_weights_the_frames_are_those_of_the_backbone_model():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        backbone, net = BackboneNetwork(**SIZES), CodesignNetwork(**SIZES)
    new = fill(net, _randomised(backbone).state_dict(), strict=False)
    assert {name.split(".")[0] for name in new} == {"residue", "residue_head", "residue_out"}
    batch, t = _templates()["inverse"], torch.tensor([0.3, 0.8])
    free = held(batch)
    free = replace(free, layouts={n: replace(v, fixed=None) for n, v in free.layouts.items()})
    tokens = torch.randint(0, MASK + 1, free.x[SEQUENCE].shape, generator=torch.Generator())
    with torch.no_grad():
        plain = backbone.eval()(free.x, t, free)
        said = net.eval()({**free.x, SEQUENCE: tokens}, {TRANSLATIONS: t, SEQUENCE: t}, free)
    for name in (TRANSLATIONS, ROTATIONS):
        assert torch.equal(plain[name], said[name])


def test_rigid_motions_move_the_frames_and_leave_the_residues(denoiser):
    batch, t = _templates()["fold"], torch.tensor([0.3, 0.8])
    x = _noisy(batch)
    turn = exp_map(torch.tensor([0.3, -1.0, 0.7]))
    moved = {
        TRANSLATIONS: x[TRANSLATIONS] @ turn.T + 1.5,
        ROTATIONS: turn @ x[ROTATIONS],
        SEQUENCE: x[SEQUENCE],
    }
    one, two = denoiser.net(x, t, batch), denoiser.net(moved, t, batch)
    assert torch.allclose(one[TRANSLATIONS] @ turn.T + 1.5, two[TRANSLATIONS], atol=1e-4)
    apart = log_map((turn @ one[ROTATIONS]).mT @ two[ROTATIONS]).norm(dim=-1)
    assert apart.max() < 1e-3
    assert torch.allclose(one[SEQUENCE], two[SEQUENCE], atol=1e-4)
    assert one[SEQUENCE].std() > 0.01


def test_residues_change_the_frames_and_unknown_ones_do_not(denoiser):
    batch, t = _templates()["fold"], torch.tensor([0.5, 0.5])
    x, other = _noisy(batch), batch.x[SEQUENCE].clone()
    other[1, 11] = 7  # the X of the second record
    assert bool(batch.cond["unknown"][1, 11])
    one = denoiser.net(x, t, batch)
    two = denoiser.net({**x, SEQUENCE: other}, t, batch)
    assert all(torch.equal(one[name], two[name]) for name in one)
    other[1, 3] = (other[1, 3] + 1) % 20
    two = denoiser.net({**x, SEQUENCE: other}, t, batch)
    assert not torch.equal(one[TRANSLATIONS][1], two[TRANSLATIONS][1])
    assert torch.equal(one[TRANSLATIONS][0], two[TRANSLATIONS][0])


@pytest.mark.parametrize("question", ["codesign", "inverse", "fold"])
def test_what_is_held_never_changes_and_what_is_free_does(denoiser, question):
    batch, seen = _templates()[question], []
    x = _drawn(denoiser, batch, callback=lambda done: seen.append(done.x))
    kept = {"codesign": (), "inverse": (TRANSLATIONS, ROTATIONS), "fold": (SEQUENCE,)}[question]
    assert len(seen) == 4
    for name in batch.x:
        rows = batch.layouts[name].mask
        for state in (*seen, x):
            assert torch.equal(state[name][rows], batch.x[name][rows]) == (name in kept)
    assert int(x[SEQUENCE][batch.layouts[SEQUENCE].mask].max()) < MASK


def test_the_times_follow_from_what_is_held(denoiser):
    """The three questions differ in layouts alone; the times are read off these."""
    grid, asked = uniform(4), {}
    for question, batch in _templates().items():
        net, times = denoiser.net, []

        class Spy(torch.nn.Module):
            def forward(self, x_t, t, batch, net=net, times=times):
                one = t if isinstance(t, dict) else dict.fromkeys(x_t, t)
                times.append({name: float(own[0]) for name, own in one.items()})
                return net(x_t, t, batch)

        spy = Denoiser(Spy(), denoiser.path)
        spy.register_parameter("where", torch.nn.Parameter(torch.zeros(1)))
        _drawn(spy, batch)
        asked[question] = times
    plain = [0.0, 0.25, 0.5, 0.75]
    for question, free in (
        ("codesign", {TRANSLATIONS, ROTATIONS, SEQUENCE}),
        ("inverse", {SEQUENCE}),
        ("fold", {TRANSLATIONS, ROTATIONS}),
    ):
        for name in (TRANSLATIONS, ROTATIONS, SEQUENCE):
            found = [one[name] for one in asked[question]]
            assert found == (plain if name in free else [1.0] * 4), (question, name)
    everything = held(_templates()["codesign"], frames=True, residues=True)
    assert clocks(grid, everything) is grid


@pytest.mark.parametrize("question", ["codesign", "fold"])
def test_a_protein_does_not_depend_on_what_it_is_drawn_with(denoiser, question):
    if question == "fold":
        together = next(fold_templates(RECORDS, [0, 1]))
        alone = [next(fold_templates(RECORDS, [k])) for k in (0, 1)]
    else:
        request = GenerationRequest((20, 26), 2, seed=4)
        together = next(codesign_templates(request))
        alone = [next(codesign_templates(request, [k])) for k in together.cond["index"].tolist()]
        assert len(set(together.layouts[SEQUENCE].mask.sum(1).tolist())) == 2
    both = _drawn(denoiser, together)
    for row, batch in enumerate(alone):
        x, length = _drawn(denoiser, batch), int(batch.layouts[SEQUENCE].mask.sum())
        assert torch.allclose(x[TRANSLATIONS][0], both[TRANSLATIONS][row, :length], atol=1e-4)
        assert torch.equal(x[SEQUENCE][0], both[SEQUENCE][row, :length])


def test_temperature_is_that_of_the_residues(denoiser):
    batch = _templates()["inverse"]
    x = {**batch.x, SEQUENCE: torch.full_like(batch.x[SEQUENCE], MASK)}
    t = torch.zeros(2)
    plain = denoiser(x, t, batch)
    for temperature in (0.5, 2.0):
        said = Tempered(temperature)(denoiser)(x, t, batch)
        expected = (plain[SEQUENCE].posterior / temperature).log_softmax(-1)
        assert torch.allclose(said[SEQUENCE].posterior, expected, atol=1e-5)
        assert torch.equal(said[TRANSLATIONS].data, plain[TRANSLATIONS].data)
    cold = Tempered(0.0)(denoiser)(x, t, batch)[SEQUENCE]
    u = torch.rand(x[SEQUENCE].shape, generator=torch.Generator().manual_seed(0))
    assert torch.equal(cold.draw(u), plain[SEQUENCE].data)


def test_designs_carry_their_residues(denoiser):
    batch = next(fold_templates(RECORDS, range(2)))
    settings = CodesignSettings(steps=2, polish=replace(GenerateSettings().polish, steps=0))
    designs = {one.name: one for one in generate(denoiser, batch, settings)}
    assert designs["design_0001"].chains[0].sequence == RECORDS[0].sequence
    assert designs["design_0002"].chains[0].sequence == RECORDS[1].sequence
    fresh = next(codesign_templates(GenerationRequest((24, 24), 1)))
    (made,) = generate(denoiser, fresh, settings)
    drawn = draw(denoiser, fresh, settings.drawing(), settings.seed)
    assert made.chains[0].sequence == letters(drawn[SEQUENCE][0])
    assert len(set(made.chains[0].sequence)) > 1
