"""Latents: their law, their scale, their way through runs and folders, and what is refused."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from sciddiff import (
    Batch,
    Denoiser,
    GaussianPath,
    Layout,
    ProductPath,
    Streams,
    config,
    sample,
)  # fmt: skip
from sciddiff.analytic import AnalyticDenoiser, GaussianMixture
from sciddiff.checkpoint import describe, export, load, save
from sciddiff.cli.main import main
from sciddiff.codecs import ENCODED, Codec, Encoding, Latents
from sciddiff.encoded import Encoded
from sciddiff.errors import InputError
from sciddiff.grids import uniform
from sciddiff.objectives import ProperScore, Reconstruction
from sciddiff.rewards import RewardTerms
from sciddiff.samplers import Heun
from sciddiff.training import train
from sciddiff.training.runs import LAST, STATE_KEY, read_checkpoint
from sciddiff.weights import LATENTS, read

HERE = Path(__file__).parent


@pytest.fixture(scope="module", autouse=True)
def plug_in():
    """The domain of this folder, on the import path and trusted."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(HERE))
        patch.setenv("SCIDDIFF_TRUST", "gaussian_domain")
        yield


def autoencoder(out: Path, steps: int = 800, **changed: object) -> dict:
    return {
        "domain": {"class_path": "gaussian_domain.GaussianDomain"},
        "net": {"class_path": "gaussian_domain.LinearCodec"},
        "objective": {"class_path": "sciddiff.objectives.Reconstruction"},
        "optim": {"lr": 0.02, "warmup": 20, "decay": "cosine", "t_ref": 800},
        "trainer": {"max_steps": steps, "val_every": steps, "progress": False, "threads": 1},
        "ema": {"widths": [0.1]},
        "out": str(out),
        **changed,
    }


def encoded(out: Path, codec_from: Path | None, steps: int = 1000, **changed: object) -> dict:
    inner = {"class_path": "gaussian_domain.GaussianDomain"}
    arguments = {
        "domain": inner,
        "codec": {"class_path": "gaussian_domain.LinearCodec"},
        "codec_from": None if codec_from is None else str(codec_from),
        **changed,
    }
    return {
        "domain": {"class_path": "sciddiff.encoded.Encoded", "init_args": arguments},
        "net": {"class_path": "gaussian_domain.Net"},
        "optim": {"lr": 0.01, "warmup": 20, "decay": "cosine", "t_ref": 1000},
        "trainer": {"max_steps": steps, "val_every": steps, "progress": False, "threads": 1},
        "ema": {"widths": [0.1]},
        "out": str(out),
    }


@pytest.fixture(scope="module")
def codec_folder(tmp_path_factory) -> Path:
    """A linear autoencoder, trained by its own objective and exported."""
    place = tmp_path_factory.mktemp("codec")
    train(config.build(autoencoder(place / "run")))
    return export(place / "run", place / "model")


@pytest.fixture(scope="module")
def latent_folder(codec_folder, tmp_path_factory) -> Path:
    """A model of its latents, whose folder is all that is left: the codec's is moved away."""
    place = tmp_path_factory.mktemp("latent")
    moved = shutil.copytree(codec_folder, place / "codec")
    train(config.build(encoded(place / "run", moved)))
    shutil.rmtree(moved)
    return export(place / "run", place / "model")


def exact_codec() -> Codec:
    """A linear codec that loses nothing, whose latents are neither scaled nor independent."""
    from gaussian_domain import FACTOR, MEAN, LinearCodec

    codec = LinearCodec(noisy=False)
    mixing = torch.tensor([[5.0, 1.0, 0.0], [0.0, 0.3, 0.1], [2.0, 0.0, 1.0]]).double()
    up = FACTOR @ mixing
    down = torch.linalg.pinv(up)
    with torch.no_grad():
        for layer, weight, bias in (
            (codec.down, down, torch.ones(3) - down @ MEAN),
            (codec.up, up, MEAN - up @ torch.ones(3).double()),
        ):
            layer.weight.copy_(weight)
            layer.bias.copy_(bias)
    return codec


def test_decoded_samples_have_the_covariance_of_the_data():
    """The law of the latents is known, and so its exact denoiser: only the codec can err."""
    from gaussian_domain import MEAN, SIZE, GaussianDomain, covariance

    domain = Encoded(GaussianDomain(batches=64), exact_codec())
    latents = domain.latents()
    latents.measure(domain.domain.train_batches(0, 0, 0, 1))
    scale, shift = latents.deviation_z.double(), latents.mean_z.double()
    down = latents.codec.down.weight.double()
    spread = down @ covariance() @ down.T / torch.outer(scale, scale)
    assert torch.allclose(spread.diagonal(), torch.ones(3).double(), atol=0.04)  # as measured
    assert spread[0, 1].abs() > 0.1  # not independent: decoding the bare prior is not enough
    centre = (torch.ones(3).double() - shift) / scale
    law = GaussianMixture(centre[None], spread[None])
    n = 20_000
    like = Batch({"x": torch.zeros(n, SIZE, dtype=torch.float64)})
    latents.double()
    template = latents.template(like)
    denoiser = AnalyticDenoiser(dict(domain.path().paths), {"z": law})
    drawn = sample(denoiser, template, Heun(), uniform(40), seed=0).x
    x = domain.decoded(template, drawn)["x"]
    wanted = covariance()
    size = wanted.diagonal().sqrt()
    tolerance = 4.0 * (2.0 / n) ** 0.5 + 0.005
    assert ((x.T.cov() - wanted) / torch.outer(size, size)).abs().max() < tolerance
    assert ((x.mean(0) - MEAN) / size).abs().max() < tolerance


def test_bare_prior_is_noise_scaled_as_measured_and_decoded():
    from gaussian_domain import SIZE, GaussianDomain

    domain = Encoded(GaussianDomain(), exact_codec())
    latents = domain.latents()
    latents.measure(domain.domain.train_batches(0, 0, 0, 1))
    like = Batch({"x": torch.zeros(8000, SIZE)})
    x = domain.bare_prior(like, seed=3)["x"]
    factor = latents.codec.up.weight * latents.deviation_z
    wanted = factor @ factor.T
    size = wanted.diagonal().sqrt()
    assert ((x.T.cov() - wanted) / torch.outer(size, size)).abs().max() < 0.06
    alone = domain.bare_prior(like.select(torch.tensor([41])), 3, torch.tensor([41]))["x"]
    assert torch.allclose(alone[0], x[41], atol=1e-5)
    # A codec that loses nothing gives data back as they were.
    (batch,) = domain.domain.val_batches()
    assert torch.allclose(domain.reconstruction(batch)["x"], batch.x["x"], atol=1e-4)


def test_from_a_configuration_to_samples_by_the_folder_alone(latent_folder, tmp_path):
    from gaussian_domain import MEAN, covariance

    main(["sample", "--model", str(latent_folder), "-n", "6000", "-o", str(tmp_path / "drawn")])
    measured = load(latent_folder).domain.evaluate(tmp_path / "drawn", None)
    wanted = covariance().numpy()
    size = np.sqrt(np.diag(wanted))
    # Of 6000 samples of the data themselves these differ by 0.03 and 0.02.
    assert np.abs((np.array(measured["covariance"]) - wanted) / np.outer(size, size)).max() < 0.12
    assert np.abs((np.array(measured["mean"]) - MEAN.numpy()) / size).max() < 0.1
    # Rank three: no decoded sample leaves the subspace that the codec found.
    assert np.linalg.eigvalsh(np.array(measured["covariance"]))[:3].max() < 0.01


def test_model_samples_in_python_are_data_not_latents(latent_folder):
    drawn = load(latent_folder).sample(3, seed=1)
    assert [sample["x"].shape for sample in drawn] == [(6,)] * 3


def test_the_folder_carries_the_codec_and_the_measured_deviation(latent_folder, codec_folder):
    weights, theirs = read(latent_folder)[0], read(codec_folder)[0]
    for name, value in theirs.items():
        assert torch.equal(weights[f"{LATENTS}codec.{name}"], value)
    domain = load(latent_folder).domain
    data = torch.cat([b.x["x"] for b in domain.domain.train_batches(0, 0, 0, 1)])[:2048]
    code = data @ theirs["down.weight"].T + theirs["down.bias"]
    torch.testing.assert_close(
        weights[f"{LATENTS}deviation_z"], code.std(0, correction=0), rtol=1e-4, atol=0.0
    )
    torch.testing.assert_close(weights[f"{LATENTS}mean_z"], code.mean(0), rtol=1e-3, atol=1e-4)
    (batch,) = domain.val_batches()
    assert (batch.x["z"].std(0) - 1.0).abs().max() < 0.15
    assert describe(latent_folder)["data"]["codec"] == "gaussian_domain.LinearCodec"


def test_a_resumed_run_needs_no_codec_folder_and_ends_to_the_bit_the_same(codec_folder, tmp_path):
    whole = encoded(tmp_path / "whole", codec_folder, steps=40)
    moved = shutil.copytree(codec_folder, tmp_path / "codec")
    parts = encoded(tmp_path / "parts", moved, steps=25)
    train(config.build(whole))
    train(config.build(parts))
    shutil.rmtree(moved)
    parts["trainer"]["max_steps"] = 40
    train(config.build(parts))
    one, other = (read_checkpoint(tmp_path / n / LAST) for n in ("whole", "parts"))
    for name, value in one["state_dict"].items():
        assert torch.equal(value, other["state_dict"][name])
    assert one[STATE_KEY]["latents"].keys() == other[STATE_KEY]["latents"].keys()


def test_init_from_a_model_of_latents_takes_its_latents_too(codec_folder, latent_folder, tmp_path):
    plain = encoded(tmp_path / "run", codec_folder, steps=1, measured=300)
    plain["init_from"] = str(latent_folder)
    experiment = config.build(plain)
    train(experiment)
    theirs = read(latent_folder)[0][f"{LATENTS}deviation_z"]
    assert torch.equal(experiment.domain.latents().deviation_z, theirs)


def test_loss_is_the_mean_square_and_the_divergence_in_nats():
    from gaussian_domain import SIZE, LinearCodec

    codec = LinearCodec(noisy=False)
    x = torch.randn(5, SIZE, generator=torch.Generator().manual_seed(0))
    batch, path = Batch({"x": x}), ProductPath({"x": GaussianPath(loss_weight=2.0)})
    lost = Reconstruction(kl=0.5)(Denoiser(codec, path), batch, None)
    square = 2.0 * ((codec.up(codec.down(x)) - x) ** 2).mean(1)
    torch.testing.assert_close(lost.per_sample, square.detach())
    assert float(lost.metrics["kl"]) == 0.0  # without noise there is no law to compare

    codec = LinearCodec()
    lost = Reconstruction(kl=0.5)(Denoiser(codec, path), batch, Streams.first(0, 5))
    mean = codec.down(x)
    normal = torch.distributions.Normal(mean, torch.tensor(-2.0).exp())
    unit = torch.distributions.Normal(torch.zeros(()), torch.ones(()))
    nats = torch.distributions.kl_divergence(normal, unit).mean(1).mean()
    torch.testing.assert_close(lost.metrics["kl"], nats.detach())
    torch.testing.assert_close(
        lost.loss, lost.metrics["error/x"] + 0.5 * lost.metrics["kl"], rtol=1e-5, atol=1e-6
    )


def test_rewards_see_decoded_samples_and_their_gradient_goes_through_the_decoder():
    from gaussian_domain import SIZE, GaussianDomain

    def first(x):
        return x[:, 0]

    first.differentiable = True

    class Wished(GaussianDomain):
        def rewards(self):
            return RewardTerms(lambda state, batch: (state["x"],), {"first": first})

    domain = Encoded(Wished(), exact_codec())
    latents = domain.latents()
    latents.measure(domain.domain.train_batches(0, 0, 0, 1))
    template = latents.template(Batch({"x": torch.zeros(4, SIZE)}))
    z = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    reward = domain.rewards().reward("first=2")
    value = reward({"z": z}, template)
    torch.testing.assert_close(
        value, 2.0 * domain.decoded(template, {"z": z})["x"][:, 0], check_dtype=False
    )
    (gradient,) = torch.autograd.grad(reward.of({"z": z}, template).sum(), z)
    exact = 2.0 * latents.codec.up.weight[0] * latents.deviation_z
    torch.testing.assert_close(gradient, exact.expand(4, -1), rtol=1e-5, atol=1e-6)


class Rows(Codec):
    """Keeps the rows of a padded leaf, `[B, N, 2]`, and scales their two channels."""

    channel_dim = -1
    latents = {"z": 2}

    def encode(self, batch: Batch) -> dict[str, Encoding]:
        return {"z": Encoding(batch.x["x"], layout=batch.layouts["x"])}

    def decode(self, latents, batch):
        return {"x": latents["z"]}


def test_padding_counts_in_no_deviation_and_layouts_go_along():
    x = torch.tensor([[[1.0, 10.0], [3.0, 30.0]], [[5.0, 20.0], [1e9, torch.nan]]])
    mask = torch.tensor([[True, True], [True, False]])
    batch = Batch({"x": x}, layouts={"x": Layout(2, mask=mask)})
    latents = Latents(Rows())
    assert latents.measure([batch]) == 2
    real = torch.tensor([[1.0, 10.0], [3.0, 30.0], [5.0, 20.0]])
    torch.testing.assert_close(latents.mean_z, real.mean(0))
    torch.testing.assert_close(latents.deviation_z, real.std(0, correction=0))
    inside = latents.encode(batch)
    assert torch.equal(inside.layouts["z"].mask, mask) and ENCODED not in inside.cond
    back = latents.decode(inside.x, batch)["x"]
    torch.testing.assert_close(back[mask], x[mask])
    fixed = Batch({"x": x}, layouts={"x": Layout(2, fixed=mask)})
    with pytest.raises(InputError, match="held fixed"):
        latents.encode(fixed)


def one_line(error: pytest.ExceptionInfo) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


def test_no_codec_and_a_missing_one_are_told(tmp_path):
    with pytest.raises(InputError, match="domain.codec_from: not given; name the model") as error:
        train(config.build(encoded(tmp_path / "run", None)))
    one_line(error)
    with pytest.raises(InputError, match="codec_from: .*nowhere.*neither shipped nor") as error:
        train(config.build(encoded(tmp_path / "run", tmp_path / "nowhere")))
    one_line(error)
    assert not (tmp_path / "run").exists()


def test_a_codec_of_another_size_or_of_other_data_is_refused(codec_folder, tmp_path):
    other = {"class_path": "gaussian_domain.LinearCodec", "init_args": {"latents": 2}}
    with pytest.raises(
        InputError, match="down.bias has shape .3., that of the network .2."
    ) as error:
        train(config.build(encoded(tmp_path / "run", codec_folder, codec=other)))
    one_line(error)
    data = {"class_path": "gaussian_domain.GaussianDomain", "init_args": {"scale": 2.0}}
    with pytest.raises(InputError, match="its unit is 1.0, that of the data 2.0") as error:
        train(config.build(encoded(tmp_path / "run", codec_folder, domain=data)))
    one_line(error)


def rewritten(folder: Path, out: Path, **changed: torch.Tensor | None) -> Path:
    """The same model with some weights replaced or, by None, left out."""
    model = load(folder)
    weights = {n: v for n, v in {**read(folder)[0], **changed}.items() if v is not None}
    return save(out, weights, model.config, path=model.denoiser.path)


def test_a_folder_without_codec_or_with_a_damaged_deviation_is_refused(latent_folder, tmp_path):
    missing = rewritten(latent_folder, tmp_path / "a", **{f"{LATENTS}codec.up.bias": None})
    with pytest.raises(InputError, match="do not fit the codec LinearCodec .*lacks codec.up.bias"):
        load(missing)
    damaged = torch.tensor([1.0, torch.nan, 1.0])
    broken = rewritten(latent_folder, tmp_path / "b", **{f"{LATENTS}deviation_z": damaged})
    with pytest.raises(
        InputError, match="channel 1 of the latents 'z' has the deviation nan"
    ) as e:
        load(broken)
    one_line(e)


def test_a_codec_of_a_package_that_is_not_trusted_is_not_imported(latent_folder, tmp_path):
    model = load(latent_folder)
    plain = copy.deepcopy(dict(model.config))
    plain["domain"]["init_args"]["codec"] = {"class_path": "evil_package.Codec"}
    with pytest.raises(InputError, match="codec: evil_package.Codec belongs .* not trusted") as e:
        load(save(tmp_path / "evil", read(latent_folder)[0], plain, path=model.denoiser.path))
    one_line(e)
    plain["domain"]["init_args"]["codec"] = {"class_path": "gaussian_domain.Net"}
    with pytest.raises(InputError, match="codec: gaussian_domain.Net is no Codec"):
        load(save(tmp_path / "net", read(latent_folder)[0], plain, path=model.denoiser.path))


def test_latents_that_do_not_vary_or_were_never_measured_are_refused():
    from gaussian_domain import SIZE

    latents, batch = Latents(exact_codec()), Batch({"x": torch.ones(4, SIZE)})
    with pytest.raises(InputError, match="channel 0 of the latents 'z' has the deviation nan"):
        latents.encode(batch)
    with pytest.raises(InputError, match="the training data: channel 0 .* has the deviation 0"):
        latents.measure([batch])
    with pytest.raises(InputError, match="the training data: channel 0 .* the deviation nan"):
        Latents(exact_codec()).measure([])


def test_what_is_no_codec_learns_nothing_and_a_codec_draws_nothing(codec_folder, tmp_path, capsys):
    net = {"class_path": "gaussian_domain.Net", "init_args": {"leaf": "x", "size": 6}}
    with pytest.raises(InputError, match="the net Net is no Codec"):
        train(config.build(autoencoder(tmp_path / "run", net=net)))
    status = main(["sample", "--model", str(codec_folder), "-n", "2", "-o", str(tmp_path / "x")])
    assert status == 2 and "is an autoencoder and draws nothing" in capsys.readouterr().err


def test_verbs_that_know_only_data_refuse_latents(latent_folder, capsys):
    with pytest.raises(InputError, match="draws latents, and a model that draws gaussian data"):
        load(latent_folder, domain="gaussian")
    assert load(latent_folder, domain="gaussian", latents=True).domain.name == "gaussian"
    assert main(["likelihood", "--model", str(latent_folder), "-n", "4"]) == 2
    assert "draws latents, whose probability is not that of the data" in capsys.readouterr().err


def test_a_score_of_transforms_of_the_data_is_refused():
    from gaussian_domain import GaussianDomain

    from sciddiff.objectives import ScoreTerm

    class Scored(GaussianDomain):
        terms = ()

        def objective(self):
            return ProperScore(terms=self.terms)

    domain = Scored()
    assert isinstance(Encoded(domain, exact_codec()).objective(), ProperScore)
    domain.terms = (ScoreTerm(torch.abs),)
    with pytest.raises(InputError, match="scores transforms or several steps of its data"):
        Encoded(domain, exact_codec()).objective()
