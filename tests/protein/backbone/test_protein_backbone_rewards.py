"""Rewards of designs: exact on ideal helices and strands, and refused by name."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from protein.backbone.data import NM
from protein.backbone.generate import GenerateSettings, generate
from protein.backbone.network import TRANSLATIONS
from protein.backbone.request import GenerationRequest, templates
from protein.backbone.rewards import TERMS, apart, compact, contacts, helix, strand
from protein.pretrained import find_model
from protein.structures.torsions import backbone_from_torsions
from sciddiff.errors import InputError
from sciddiff.state import Batch
from sciddiff.trust import trusting


def chain(*parts: tuple[int, float, float]) -> torch.Tensor:
    """CA atoms `[1, N, 3]` of stretches with given torsions."""
    rows = [np.tile(np.radians([phi, psi, 180.0]), (count, 1)) for count, phi, psi in parts]
    return torch.from_numpy(backbone_from_torsions(np.concatenate(rows))[:, 1])[None].float()


HELIX, STRAND = (20, -62.0, -43.0), (20, -120.0, 125.0)


def test_helices_and_strands_are_told_apart():
    one, other = chain(HELIX), chain(STRAND)
    real = torch.ones(1, 20, dtype=torch.bool)
    assert float(helix(one, real)) == 1.0 and float(strand(one, real)) == 0.0
    assert float(strand(other, real)) == 1.0 and float(helix(other, real)) == 0.0
    both = chain(HELIX, (4, -80.0, 60.0), STRAND)
    real = torch.ones(1, 44, dtype=torch.bool)
    assert 0.4 < float(helix(both, real)) < 0.56 and 0.4 < float(strand(both, real)) < 0.56


def test_padding_counts_for_nothing():
    ca = chain(HELIX, (4, -80.0, 60.0), STRAND)
    real = torch.ones(1, 44, dtype=torch.bool)
    padded = torch.cat([ca, ca.new_zeros(1, 9, 3)], 1)
    mask = torch.cat([real, torch.zeros(1, 9, dtype=torch.bool)], 1)
    for reward in (helix, strand, compact, contacts, apart):
        assert torch.allclose(reward(padded, mask), reward(ca, real), atol=1e-5)


def test_compactness_contacts_and_overlaps_have_their_values():
    corner = torch.tensor([[[0.0, 0, 0], [6.0, 0, 0], [6.0, 8.0, 0], [0.0, 8.0, 0]]])
    real = torch.ones(1, 4, dtype=torch.bool)
    assert float(compact(corner, real)) == pytest.approx(-5.0 / (2.2 * 4**0.38))
    line = torch.zeros(1, 14, 3)
    line[0, :, 0] = 5.0 * torch.arange(14)
    line[0, 13] = torch.tensor([0.0, 3.0, 0.0])  # near the first, and nothing else
    real = torch.ones(1, 14, dtype=torch.bool)
    assert float(contacts(line, real)) == pytest.approx(4 / 14)  # with residues 0 and 1, twice
    assert float(apart(line, real)) == pytest.approx(-2 / 14)


def test_a_wish_is_the_weighted_sum():
    ca = chain(HELIX, (4, -80.0, 60.0), STRAND)
    real = torch.ones(1, 44, dtype=torch.bool)
    state = {TRANSLATIONS: NM * ca}
    batch = Batch(state)
    found = float(TERMS.reward("strand=20, compact=-3,helix")(state, batch))
    wanted = 20 * strand(ca, real) - 3 * compact(ca, real) + 10 * helix(ca, real)
    assert found == pytest.approx(float(wanted), abs=1e-4)


def test_steered_designs_have_more_of_what_is_wanted():
    denoiser = find_model("lite").denoiser
    request = GenerationRequest((44, 44), 10, "none", 0)

    def shares(wish: str) -> list[float]:
        reward = TERMS.reward(wish) if wish else None
        settings = GenerateSettings(steps=20, steer=wish, particles=6, reward=reward)
        found = []
        for batch in templates(request, range(10)):
            for design in generate(denoiser, batch, settings):
                ca = torch.from_numpy(design.chains[0].ca)[None]
                found.append(float(strand(ca, torch.ones(ca.shape[:2], dtype=torch.bool))))
        return found

    more, less = shares("strand=40"), shares("strand=-40")
    assert np.mean(less) + 0.1 < np.mean(shares("")) < np.mean(more)
    assert np.mean(less) + 0.2 < np.mean(more)
    assert shares("strand=40") == more, "the same seed gives the same designs"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "names nothing"),
        ("beauty=3", "'beauty' is unknown; choose strand"),
        ("strand=much", "'much' of strand is not a number"),
        ("strand=nan", "not a number"),
        ("strand=1e9", "not a number from -1000 to 1000"),
        ("strand=1,strand=2", "given twice"),
        ("mine:score", "not trusted"),
        ("protein:score", "is no function"),
    ],
)
def test_wishes_that_mean_nothing_are_refused(text, said):
    with pytest.raises(InputError, match=said) as caught:
        TERMS.reward(text)
    assert "\n" not in str(caught.value)


def test_a_function_of_the_user_is_called_if_its_package_is_trusted(tmp_path: Path, monkeypatch):
    (tmp_path / "my_rewards.py").write_text("def first(ca, real):\n    return ca[:, 0, 0]\n")
    monkeypatch.syspath_prepend(tmp_path)
    ca = chain(HELIX)
    batch = Batch({TRANSLATIONS: NM * ca})
    with trusting(["my_rewards"]):
        reward = TERMS.reward("my_rewards:first=2")
        assert float(reward(batch.x, batch)) == pytest.approx(2 * float(ca[0, 0, 0]), abs=1e-5)
        with pytest.raises(InputError, match="cannot be imported"):
            TERMS.reward("my_rewards.absent:first")
    sys.modules.pop("my_rewards", None)
