"""Networks of residue types and side chains: laws, training by command, files, and bad inputs."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from protein.sequence.alphabet import LETTERS, MASK
from protein.sidechains.archive import write_side_chains
from protein.sidechains.codec import LATENT, ResidueCodec
from protein.sidechains.files import drawn_folders
from protein.sidechains.geometry import build, tables, torsions
from protein.sidechains.records import side_chain_atoms
from protein.sidechains.recovery import Recovery
from protein.sidechains.residue_network import ResidueLatentNetwork, ResidueNetwork
from protein.sidechains.residues import RESIDUES, ResidueDomain, with_types
from protein.sidechains.samples import CHI, collate, sample_of
from protein.sidechains.templates import template_of
from protein.structures.chain import Backbone
from protein.structures.read import read_structure
from protein.structures.write import write_pdb
from sciddiff import Denoiser, load, sample
from sciddiff.cli.main import main
from sciddiff.encoded import Encoded
from sciddiff.errors import InputError
from sciddiff.state import Batch, Layout

CONFIGS = Path(__file__).parents[3] / "configs" / "protein"
SMALL = {"node": 16, "neighbours": 6, "encoder": 1, "decoder": 2, "dropout": 0.0}


@pytest.fixture
def batch(made) -> Batch:
    """Two structures of unlike length with known types and torsions."""
    pair = [made(24, seed=1, name="a"), made(40, seed=2, name="b")]
    return with_types(collate([sample_of(one, known=True) for one in pair]))


@pytest.fixture
def latents(batch) -> Batch:
    """Noise of latents for the same structures."""
    layout = Layout(batch.size, mask=batch.layouts[RESIDUES].mask)
    noise = torch.randn(2, 40, 4, generator=torch.Generator().manual_seed(0))
    return replace(batch, x={LATENT: noise}, layouts={LATENT: layout})


def _moved(batch: Batch) -> Batch:
    turn = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(0)))[0]
    turn = turn * torch.linalg.det(turn)  # a rotation: mirror images are others
    places = {name: batch.cond[name] @ turn + 7.0 for name in ("atoms", "around")}
    return batch.with_cond(**places)


def _latent_network() -> ResidueLatentNetwork:
    torch.manual_seed(0)
    return ResidueLatentNetwork(latents=4, **SMALL).eval()


def _network() -> ResidueNetwork:
    torch.manual_seed(0)
    return ResidueNetwork(**SMALL).eval()


def test_rigid_motions_padding_and_neighbours_in_the_batch_change_no_velocity(latents):
    net, t = _latent_network(), torch.tensor([0.3, 0.7])
    said = net(latents.x, t, latents)[LATENT]
    moved = net(latents.x, t, _moved(latents))[LATENT]
    torch.testing.assert_close(moved, said, atol=2e-4, rtol=1e-3)
    alone = latents.select(torch.tensor([0]))
    torch.testing.assert_close(net(alone.x, t[:1], alone)[LATENT][0, :24], said[0, :24])
    other = {LATENT: torch.where(latents.layouts[LATENT].mask[..., None], latents.x[LATENT], 9.0)}
    assert torch.equal(net(other, t, latents)[LATENT], said)
    assert (net(latents.x, 1.0 - t, latents)[LATENT] - said).abs().max() > 1e-3


def test_a_mirror_image_is_another_backbone(latents):
    net, t = _latent_network(), torch.tensor([0.3, 0.7])
    mirrored = latents.with_cond(atoms=latents.cond["atoms"] * torch.tensor([1.0, 1.0, -1.0]))
    said, other = (net(latents.x, t, one)[LATENT] for one in (latents, mirrored))
    assert (said - other).abs().max() > 1e-3


def test_rigid_motions_change_neither_types_nor_torsions(batch):
    net, t = _network(), torch.tensor([0.3, 0.7])
    said, moved = (net(batch.x, t, one) for one in (batch, _moved(batch)))
    for leaf in (RESIDUES, CHI):
        torch.testing.assert_close(moved[leaf], said[leaf], atol=2e-4, rtol=1e-3)


def test_torsions_are_seen_only_where_the_type_is_known_and_time_has_begun(batch):
    net, t = _network(), torch.tensor([0.5, 0.5])
    turned = {**batch.x, CHI: batch.x[CHI] + 1.0}
    hidden = torch.full_like(batch.x[RESIDUES], MASK)

    def apart(times, **state):
        one, two = (net({**x, **state}, times, batch)[RESIDUES] for x in (batch.x, turned))
        return (one - two).abs().max()

    assert apart(t) > 1e-3
    assert apart(t, residues=hidden) == 0.0
    assert apart({RESIDUES: t, CHI: torch.zeros(2)}) == 0.0


def test_a_sample_learns_types_or_torsions_and_a_codec_takes_both(batch, monkeypatch):
    domain = ResidueDomain(types_known=0.5)
    raw = replace(
        batch, x={CHI: batch.x[CHI]}, layouts={CHI: batch.layouts[CHI]},
        cond={**batch.cond, RESIDUES: batch.x[RESIDUES]},
    )  # fmt: skip
    many = raw.select(torch.arange(2).repeat(50))
    monkeypatch.setattr(domain._pack, "train_batches", lambda *_: [many])
    (found,) = domain.train_batches(0, 0, 0, 1)
    held = found.layouts[RESIDUES].fixed.any(1)
    assert 30 < int(held.sum()) < 70
    assert torch.equal(held, found.layouts[CHI].mask.any(1))
    assert torch.equal(found.layouts[RESIDUES].fixed[held], found.layouts[RESIDUES].mask[held])
    with pytest.raises(InputError, match="held fixed"):
        Encoded(domain, _codec()).latents()._entered(found, {}, {})
    with pytest.raises(InputError, match="domain.types_known: 1.5 is not in"):
        ResidueDomain(types_known=1.5)


def _codec() -> ResidueCodec:
    return ResidueCodec(latents=4, width=32, heads=2)


def test_nothing_of_the_residues_of_a_file_is_told(made, tmp_path):
    """A backbone of glycine and unknown residues gives the template of the native one."""
    chains = _chains(made(30, around=0))
    write_pdb(tmp_path / "own.pdb", chains)
    write_pdb(tmp_path / "bare.pdb", [replace(chains[0], sequence="GX" * 15, side_chains=())])
    templates = [
        next(iter(ResidueDomain().like({"structures": str(tmp_path / name)})))
        for name in ("own.pdb", "bare.pdb")
    ]
    for name in (RESIDUES, CHI):
        assert torch.equal(*(one.x[name] for one in templates))
        assert torch.equal(*(one.layouts[name].mask for one in templates))
        assert bool(templates[0].layouts[name].mask.all())
    assert not any(RESIDUES in one.cond or one.cond["unknown"].any() for one in templates)


def _chains(template):
    """The chains of a made template, with its side chains, as a file holds them."""
    text = "".join(LETTERS[k] for k in template.tokens)
    sides = tuple(
        side_chain_atoms(letter, side)
        for letter, side in zip(text, template.atoms[:, 4:], strict=True)
    )
    return [Backbone(template.atoms[:, :4], text, residue_numbers=template.index + 1,
                     side_chains=sides)]  # fmt: skip


@pytest.fixture
def archive(made, tmp_path) -> Path:
    templates = [made(20 + k, seed=k, name=f"s{k}") for k in range(6)]
    columns = {
        "id": np.array([one.name for one in templates]),
        "source": np.array(["made"] * 6),
        "sequence": np.array(["".join(LETTERS[k] for k in t.tokens) for t in templates], "S"),
        "cluster": np.arange(6, dtype=np.int32),
        "split": np.array(["train"] * 4 + ["val"] * 2),
    }
    write_side_chains(tmp_path / "side.npz", templates, columns)
    return tmp_path / "side.npz"


def _words(archive: Path, domain: str, steps: int) -> list[str]:
    net = [word for k, v in SMALL.items() for word in (f"--net.{k}", str(v))]
    return [f"--{domain}data.archive", str(archive), *net, "--ema.widths", "[0.1]",
            "--trainer.max_steps", str(steps), "--trainer.val_every", "2",
            "--optim.warmup", "1"]  # fmt: skip


def _trained_codec(archive: Path, folder: Path) -> Path:
    words = ["--domain.data.archive", str(archive), "--net.width", "32", "--net.heads", "2",
             "--trainer.max_steps", "2", "--trainer.val_every", "2", "--ema.widths", "[0.1]"]
    config = str(CONFIGS / "residue_autoencoder.yaml")  # fmt: skip
    assert main(["train", config, *words, "-o", str(folder / "codec_run")]) == 0
    assert main(["export", str(folder / "codec_run"), "-o", str(folder / "codec")]) == 0
    return folder / "codec"


def _latent(archive: Path, codec: Path, steps: int) -> list[str]:
    return ["train", str(CONFIGS / "residue_latent.yaml"),
            *_words(archive, "domain.domain.init_args.", steps),
            "--domain.codec.init_args.width", "32", "--domain.codec.init_args.heads", "2",
            "--domain.codec_from", str(codec), "--optim.t_ref", "4"]  # fmt: skip


def test_latents_from_an_archive_to_files_by_the_configurations_that_ship(
    made, archive, tmp_path, capsys
):
    codec = _trained_codec(archive, tmp_path)
    # Two steps, and two more, are four, if the rate falls over as many in both.
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert main([*_latent(archive, codec, 4), "-o", str(whole)]) == 0
    assert main([*_latent(archive, codec, 2), "-o", str(parts)]) == 0
    assert main([*_latent(archive, codec, 4), "-o", str(parts)]) == 0
    models = [tmp_path / name for name in ("model", "again")]
    for run, model in zip((whole, parts), models, strict=True):
        assert main(["export", str(run), "-o", str(model)]) == 0
    nets = [load(model).denoiser.net.state_dict() for model in models]
    assert all(torch.equal(nets[0][name], nets[1][name]) for name in nets[0])
    # A backbone with a gap, and two chains.
    one, after = _chains(made(20, around=0))[0], np.arange(20) >= 8
    numbers = np.arange(1, 21) + 5 * after
    one = replace(one, coords=one.coords + 10.0 * after[:, None, None], side_chains=())
    far = replace(one, coords=one.coords + 40.0, chain_id="B", side_chains=())
    native = [replace(one, residue_numbers=numbers), far]
    (tmp_path / "in").mkdir()
    write_pdb(tmp_path / "in" / "gap.pdb", native)
    words = ["sample", "--model", str(models[0]), "--request",
             f"structures={tmp_path / 'in' / 'gap.pdb'}", "--steps", "3"]  # fmt: skip
    assert main([*words, "-n", "2", "-o", str(tmp_path / "drawn")]) == 0
    drawn = read_structure(tmp_path / "drawn" / "gap_1.pdb", side_chains=True)
    assert [len(chain) for chain in drawn.chains] == [20, 20]
    assert drawn.chains[0].residue_numbers.tolist() == numbers.tolist()
    assert template_of(drawn).complete.all()
    np.testing.assert_allclose(drawn.chains[0].coords, native[0].coords, atol=2e-3)
    text = (tmp_path / "drawn" / "gap_1.fasta").read_text().split("\n")
    assert text[:2] == [">gap_1", "/".join(chain.sequence for chain in drawn.chains)]
    # The same sample, alone and with another beside it.
    assert main([*words, "-n", "1", "-o", str(tmp_path / "one")]) == 0
    first = tmp_path / "drawn" / "gap_1.cif"
    assert first.read_bytes() == (tmp_path / "one" / "gap_1.cif").read_bytes()
    capsys.readouterr()
    told = ["evaluate", str(tmp_path / "drawn"), "--model", str(models[0])]
    assert main([*told, "--reference", str(tmp_path / "in"), "--json"]) == 0
    assert '"recovery"' in capsys.readouterr().out
    assert main(told) == 2
    assert "--reference: residues are measured beside known ones" in capsys.readouterr().err


def test_types_and_torsions_without_latents_from_an_archive_to_files(made, archive, tmp_path):
    words = ["train", str(CONFIGS / "residue_direct.yaml"), *_words(archive, "domain.", 2)]
    assert main([*words, "-o", str(tmp_path / "run")]) == 0
    assert main(["export", str(tmp_path / "run"), "-o", str(tmp_path / "model")]) == 0
    write_pdb(tmp_path / "a.pdb", _chains(made(20, around=0)))
    words = ["sample", "--model", str(tmp_path / "model"), "--request",
             f"structures={tmp_path / 'a.pdb'}", "-o", str(tmp_path / "drawn")]  # fmt: skip
    assert main([*words, "--steps", "6"]) == 0
    (pair,) = drawn_folders(tmp_path / "drawn", tmp_path / "a.pdb")
    assert pair[1].complete.all()
    found = Recovery.of([pair]).figures()
    assert found["residues"] == 20 and 0.0 <= found["recovery"] <= 1.0


def test_types_are_drawn_before_torsions(batch):
    """Rows stay hidden for the first half, and torsions do not move before they are all shown."""
    domain = ResidueDomain()
    seen = []
    net = _network()
    net.register_forward_hook(lambda _, told, __: seen.append(told))
    drawing = domain.drawing()
    denoiser = Denoiser(net, domain.path())
    sample(denoiser, batch, drawing.sampler, drawing.clocks(drawing.grid[::4], batch), seed=0)
    rows = batch.layouts[RESIDUES].mask
    hidden = [int((x[RESIDUES][rows] == MASK).sum()) for x, _, _ in seen]
    half = len(seen) // 2
    assert hidden[0] == int(rows.sum()) and hidden[half:] == [0] * (len(seen) - half)
    assert all(torch.equal(x[CHI], seen[0][0][CHI]) for x, _, _ in seen[: half + 1])
    assert not torch.equal(seen[half + 1][0][CHI], seen[0][0][CHI])


def test_a_codec_of_other_sizes_is_refused_in_one_line(archive, tmp_path, capsys):
    codec = _trained_codec(archive, tmp_path)
    capsys.readouterr()
    words = _latent(archive, codec, 2)
    assert main([*words, "--domain.codec.init_args.latents", "4", "-o", str(tmp_path / "x")]) == 2
    said = capsys.readouterr().err
    assert f"domain.codec_from: {codec} is no codec for this experiment" in said
    assert "name an exported autoencoder with the settings of domain.codec" in said
    assert main([*words, "--net.latents", "4", "-o", str(tmp_path / "y")]) == 2
    assert "net.latents: 4, and the codec has 8 numbers a residue" in capsys.readouterr().err


def test_recovery_counts_what_was_changed(made):
    native = made(40, seed=3)
    itself = Recovery.of([(native, native)]).figures()
    assert itself["recovery"] == itself["chi1_20"] == itself["chi12_20"] == 1.0
    assert itself["composition"] == pytest.approx(0.0, abs=1e-6)
    # Alanine in the place of everything: only alanines are right, and nothing has a torsion.
    bare = made(40, seed=3, sequence="A" * 40)
    alanine = replace(bare, atoms=np.where(np.arange(14)[:, None] < 4, native.atoms, bare.atoms))
    found = Recovery.of([(native, alanine)]).figures()
    assert found["recovery"] == pytest.approx(2 / 40)
    assert np.isnan(found["chi1_20"])
    assert found["composition"] == pytest.approx(np.log(20.0), abs=1e-6)
    # Unknown natives do not count.
    half = replace(native, unknown=np.arange(40) < 20)
    assert Recovery.of([(half, native)]).figures()["residues"] == 20
    pair = Recovery.of([(native, native), (native, alanine)])
    assert pair.figures()["recovery"] == pytest.approx(42 / 80)
    assert pair.select(np.array([1, 1])).figures()["recovery"] == pytest.approx(2 / 40)


def test_torsions_of_right_types_are_judged_by_the_nearer_name(made):
    native = made(40, seed=3)
    turned = made(40, seed=3)
    tokens = torch.from_numpy(native.tokens)
    chi = torsions(torch.from_numpy(np.nan_to_num(native.atoms)), tokens)
    side = build(torch.from_numpy(native.atoms[:, :4]), tokens, chi + 0.6)  # 34 degrees
    away = replace(turned, atoms=np.concatenate([native.atoms[:, :4], side.numpy()], axis=1))
    away = replace(
        away,
        atoms=np.where(tables().present.numpy()[native.tokens][..., None], away.atoms, np.nan),
    )
    found = Recovery.of([(native, away)]).figures()
    assert found["recovery"] == 1.0 and found["chi1_20"] == 0.0


def test_other_structures_are_no_reference(made, tmp_path):
    write_pdb(tmp_path / "a.pdb", _chains(made(20, around=0)))
    folder = tmp_path / "drawn"
    folder.mkdir()
    write_pdb(folder / "b_1.pdb", _chains(made(20, around=0)))
    with pytest.raises(InputError, match="no file is named after one in"):
        drawn_folders(folder, tmp_path / "a.pdb")
    write_pdb(folder / "a_1.pdb", _chains(made(24, around=0)))
    with pytest.raises(InputError, match=r"a_1.pdb: has 24 residues, and .*a.pdb 20"):
        drawn_folders(folder, tmp_path / "a.pdb")
