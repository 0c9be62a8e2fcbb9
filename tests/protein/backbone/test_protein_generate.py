"""Generation with an untrained network: the laws that hold whatever the weights are."""

import numpy as np
import pytest
import torch

from protein.backbone.data import backbone_batch
from protein.backbone.designs import Numbering, designs_from_state
from protein.backbone.domain import BackboneDomain, backbone_path
from protein.backbone.generate import GenerateSettings, Start, generate
from protein.backbone.network import BackboneNetwork
from protein.backbone.polish import PolishSettings
from protein.backbone.request import GenerationRequest, templates
from protein.structures.secondary import FOLDS
from sciddiff.denoiser import Denoiser
from sciddiff.errors import InputError
from sciddiff.weights import fill

FAST = GenerateSettings(steps=3, polish=PolishSettings(steps=3))


@pytest.fixture(scope="module")
def denoiser() -> Denoiser:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = BackboneNetwork(node=32, pair=8, blocks=2, heads=2)
        for parameter in net.parameters():
            parameter.data += 0.05 * torch.randn_like(parameter)
    return Denoiser(net, backbone_path()).eval()


def _all(
    denoiser: Denoiser, request: GenerationRequest, indices: list[int]
) -> dict[int, np.ndarray]:
    made = [d for batch in templates(request, indices) for d in generate(denoiser, batch, FAST)]
    return {design.index: design.coords for design in made}


def test_a_design_does_not_depend_on_the_batch_it_is_made_in(denoiser: Denoiser) -> None:
    request = GenerationRequest(lengths=(24, 32), n=5, seed=7)
    together = _all(denoiser, request, [0, 1, 2, 3, 4])
    for index in (0, 3):
        alone = _all(denoiser, request, [index])[index]
        assert alone.shape == together[index].shape
        # Padding changes the order of sums, and nothing else.
        assert np.abs(alone - together[index]).max() < 5e-3
    assert not np.allclose(together[0][:20], together[1][:20], atol=0.5)


def test_seeds_differ_and_repeat(denoiser: Denoiser) -> None:
    def first(seed: int) -> np.ndarray:
        request = GenerationRequest(lengths=(24, 24), n=1, seed=0)
        batch = next(iter(templates(request)))
        settings = GenerateSettings(steps=2, seed=seed, polish=PolishSettings(steps=0))
        return generate(denoiser, batch, settings)[0].coords

    assert np.array_equal(first(1), first(1))
    assert not np.allclose(first(1), first(2), atol=0.1)


def test_the_global_random_state_is_untouched(denoiser: Denoiser) -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    _all(denoiser, GenerationRequest(lengths=(24, 24), n=1), [0])
    assert torch.equal(before, torch.random.get_rng_state())


def test_fixed_residues_come_out_as_they_went_in(denoiser: Denoiser) -> None:
    source = next(iter(templates(GenerationRequest(lengths=(30, 30), n=1, seed=2))))
    coords = torch.from_numpy(generate(denoiser, source, FAST)[0].coords)[None]
    fixed = torch.zeros(1, 30, dtype=torch.bool)
    fixed[:, 10:18] = True
    batch = backbone_batch(coords, [30], torch.tensor([0]), fixed, ("motif",))
    batch = batch.with_cond(index=torch.tensor([0]))
    settings = GenerateSettings(steps=3, polish=PolishSettings(steps=5))
    design = generate(denoiser, batch, settings, Numbering.plain(30))[0]
    motif, held = coords[0, 10:18, 1].numpy(), design.coords[10:18, 1]
    assert np.abs((motif - motif.mean(0)) - (held - held.mean(0))).max() < 1e-3
    assert np.abs(held.mean(0)).max() < 1e-3, "a motif is held at the origin"
    assert not np.allclose(design.coords[:10, 1], coords[0, :10, 1].numpy(), atol=0.5)


def test_partial_diffusion_moves_less_for_less_noise(denoiser: Denoiser) -> None:
    source = next(iter(templates(GenerationRequest(lengths=(30, 30), n=1, seed=3))))
    coords = torch.from_numpy(generate(denoiser, source, FAST)[0].coords)[None]
    batch = backbone_batch(coords, [30], torch.tensor([0]), ids=("variant",))
    batch = batch.with_cond(index=torch.tensor([0]))
    path = backbone_path()
    noised = []
    for noise in (0.02, 0.3, 0.9):
        x = path.sample(batch.x, torch.tensor([1 - noise]), torch.Generator().manual_seed(0))
        noised.append(float((x["translations"].x_t - batch.x["translations"]).norm()))
    assert noised == sorted(noised)
    design = generate(denoiser, batch, FAST, start=Start(dict(batch.x), 0.5))[0]
    assert np.isfinite(design.coords).all()


def test_a_sample_that_is_not_finite_is_named() -> None:
    batch = next(iter(templates(GenerationRequest(lengths=(24, 24), n=1))))
    broken = {name: torch.full_like(leaf, float("nan")) for name, leaf in batch.x.items()}
    with pytest.raises(InputError, match="design_0001"):
        designs_from_state(batch, broken)


def test_fold_labels_reach_the_network_and_guidance_needs_none(denoiser: Denoiser) -> None:
    plain = GenerationRequest(lengths=(24, 24), n=1, seed=1, fold="none")
    alpha = GenerationRequest(lengths=(24, 24), n=1, seed=1, fold="alpha")
    assert not np.allclose(_all(denoiser, plain, [0])[0], _all(denoiser, alpha, [0])[0], atol=1e-2)
    assert BackboneDomain().null_labels() == {"fold": FOLDS.index("none")}


@pytest.mark.parametrize(
    ("field", "value"), [("steps", 0), ("sampler", "magic"), ("temperature", -1.0)]
)
def test_settings_that_cannot_be_met_are_refused(field: str, value: object) -> None:
    with pytest.raises(InputError, match=field):
        GenerateSettings(**{field: value})


def test_a_flow_map_jumps_from_where_a_denoiser_stood(denoiser: Denoiser) -> None:
    """With the weights of a denoiser it says the same of every jump, until it has learned more."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        net = BackboneNetwork(node=32, pair=8, blocks=2, heads=2, flow_map=True)
    other = fill(net, denoiser.net.state_dict(), strict=False)
    assert other and all(name.startswith("span") for name in other)
    jumps = Denoiser(net, backbone_path()).eval()
    batch = next(iter(templates(GenerationRequest(lengths=(24, 24), n=2))))
    noise = backbone_path().prior(batch.x, torch.Generator().manual_seed(0), batch.layouts)
    t, s = torch.tensor([0.2, 0.6]), torch.tensor([0.5, 1.0])
    with torch.no_grad():
        plain, jump = denoiser(noise, t, batch), jumps(noise, t, batch, until=s)
    for name, said in plain.items():
        assert torch.equal(said.data, jump[name].data)
    settings = GenerateSettings(steps=2, sampler="map", polish=PolishSettings(steps=3))
    assert np.isfinite(generate(jumps, batch, settings)[0].coords).all()
    with torch.random.fork_rng():
        torch.nn.init.normal_(net.span.layers[-1].weight)
    with torch.no_grad():
        far, near = (jumps(noise, t, batch, until=end) for end in (s, t))
    assert not torch.allclose(far["translations"].data, near["translations"].data, atol=1e-4)
    with pytest.raises(InputError, match="the network is no flow map"):
        generate(denoiser, batch, settings)
