"""Training batches of frames and residues, and sequences to fold as people write them."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from protein.backbone.data import BackboneDataSettings
from protein.backbone.network import ROTATIONS, TRANSLATIONS
from protein.codesign.domain import CodesignDomain
from protein.codesign.network import CodesignNetwork
from protein.codesign.records import fold_records
from protein.codesign.request import answer_templates
from protein.sequence.alphabet import LETTERS
from protein.sequence.samples import SEQUENCE
from protein.structures.archive import write_archive
from sciddiff.denoiser import Denoiser
from sciddiff.errors import InputError

CHAINS = 40


def _letter(ca):
    """The letter of a residue by its distance from the next, which moving does not change."""
    return np.rint(np.linalg.norm(np.diff(ca, axis=0), axis=-1) * 10).astype(int) % len(LETTERS)


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    """Chains of two strands; letters follow from where residues are, one of each is X."""
    rng = np.random.default_rng(0)
    coords, words = [], []
    for _ in range(CHAINS):
        ca = np.zeros((60, 3))
        ca[:, 0] = 3.4 * np.minimum(np.arange(60), 59 - np.arange(60))
        ca[30:, 1] = 5.0
        ca += rng.uniform(-0.5, 0.5, ca.shape)
        atoms = ca[:, None] + np.array([[-1.2, 0.5, 0.3], [0, 0, 0], [1.2, 0.6, -0.2], [1, 2, 0]])
        atoms = np.rint((atoms - atoms.mean((0, 1))) * 100.0) / 100.0
        word = "".join(LETTERS[k] for k in _letter(atoms[:, 1])) + "A"
        coords.append(atoms)
        words.append(word[:20] + "X" + word[21:])
    path = tmp_path_factory.mktemp("data") / "chains.npz"
    columns = {
        "length": np.full(CHAINS, 60, dtype=np.int32),
        "id": np.array([f"c{i}" for i in range(CHAINS)]),
        "sequence": np.array(words, dtype="S"),
        "ss3": np.array(["e" * 26 + "c" * 8 + "e" * 26] * CHAINS, dtype="S"),
        "cluster_c30": np.arange(CHAINS, dtype=np.int32),
        "split": np.array(["train"] * (CHAINS - 4) + ["val"] * 4),
    }
    write_archive(path, coords, columns)
    return BackboneDataSettings(
        str(path), max_length=50, motif_fraction=0.2, cut_share=0.5, max_rg_ratio=10.0
    )


def test_residues_go_with_their_frames(settings):
    """Crops, cuts and padding keep letters and coordinates together."""
    checked, chains = 0, 0
    for batch in CodesignDomain(settings).train_batches(0, 1, 0, 1):
        ca = 10.0 * batch.x[TRANSLATIONS].double()
        apart = torch.round(ca.diff(dim=1).norm(dim=-1) * 10).long() % len(LETTERS)
        index = batch.cond["residue_index"]
        follows = index.diff(dim=1) == 1
        mask, unknown = batch.layouts[SEQUENCE].mask, batch.cond["unknown"]
        sure = follows & mask[:, 1:] & ~unknown[:, :-1]
        # A distance at the border of two letters may be rounded either way.
        wrong = sure & (apart != batch.x[SEQUENCE][:, :-1])
        assert wrong.sum() <= 0.02 * sure.sum()
        checked += int(sure.sum())
        chains += int((batch.cond.get("chain_index", index * 0).amax(1) > 0).sum())
    assert checked > 500 and chains > 3


def test_unknown_residues_are_held_and_teach_nothing(settings):
    domain = CodesignDomain(settings, structure_known=0.0, sequence_known=0.0)
    batch = next(iter(domain.train_batches(0, 1, 0, 1)))
    unknown, layout = batch.cond["unknown"], batch.layouts[SEQUENCE]
    assert bool(unknown.any()) and bool((layout.fixed | ~unknown).all())
    frames = batch.layouts[TRANSLATIONS].fixed
    assert torch.equal(layout.fixed, (frames | unknown) & layout.mask)


def test_validation_is_always_the_same_and_holds_nothing_that_is_known(settings):
    domain = CodesignDomain(settings)
    one, two = (list(domain.val_batches()) for _ in range(2))
    assert sum(batch.size for batch in one) == 4
    for first, second in zip(one, two, strict=True):
        assert torch.equal(first.x[SEQUENCE], second.x[SEQUENCE]) and first.ids == second.ids
        assert torch.equal(first.layouts[SEQUENCE].fixed, first.cond["unknown"])
        assert not bool(first.layouts[TRANSLATIONS].fixed.any())


@pytest.mark.parametrize(("structure", "sequence"), [(1.0, 0.0), (0.0, 1.0), (0.3, 0.3)])
def test_the_shares_of_the_three_questions(settings, structure, sequence):
    domain, found = CodesignDomain(replace(settings, motif_fraction=0.0), structure, sequence), []
    for epoch in range(4):
        for batch in domain.train_batches(epoch, 0, 0, 1):
            for k in range(batch.size):
                mask = batch.layouts[SEQUENCE].mask[k]
                held = [bool(batch.layouts[n].fixed[k][mask].all()) for n in batch.layouts]
                assert held[0] == held[1]
                found.append((held[0], held[2]))
    assert (True, True) not in found
    shares = np.mean(found, axis=0)
    assert np.abs(shares - [structure, sequence]).max() < (1e-9 if structure != 0.3 else 0.13)


def test_one_loss_teaches_all_three(settings):
    """What is held has no loss of its own; frames share one time, residues have another."""
    domain = CodesignDomain(settings)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = CodesignNetwork(node=16, pair=8, blocks=1, heads=2)
    domain.fit(net)
    said = net.residue_out.bias.detach().exp()
    assert abs(float(said.sum()) - 1.0) < 1e-5 and float(said.max()) > 1.5 / len(LETTERS)
    denoiser, seen = Denoiser(net, domain.path()), []
    net.register_forward_pre_hook(lambda module, args: seen.append(args[1]))
    for name, known in (("structure", (1.0, 0.0)), ("sequence", (0.0, 1.0))):
        batch = next(iter(CodesignDomain(settings, *known).train_batches(0, 0, 0, 1)))
        out = domain.objective()(denoiser, batch, torch.Generator().manual_seed(1))
        assert (float(out.metrics[f"loss/{SEQUENCE}"]) == 0.0) == (name == "sequence")
        for leaf in (TRANSLATIONS, ROTATIONS):
            assert (float(out.metrics[f"loss/{leaf}"]) == 0.0) == (name == "structure")
        assert bool(out.loss.isfinite())
    assert all(torch.equal(t[TRANSLATIONS], t[ROTATIONS]) for t in seen)
    assert not any(torch.equal(t[TRANSLATIONS], t[SEQUENCE]) for t in seen)


PROTEIN = "MKTAYIAKQRQISFVKSHFSRQ"


def _file(folder, text):
    path = folder / "seqs.fa"
    path.write_text(text)
    return path


def test_sequences_to_fold(tmp_path):
    text = f">one first\n{PROTEIN[:10].lower()}\n{PROTEIN[10:]}*\n>two\n{PROTEIN}:{PROTEIN}\n"
    records, notes = fold_records(_file(tmp_path, text))
    assert [record.name for record in records] == ["one first", "two"]
    assert records[0].chains == (PROTEIN,) and records[1].chains == (PROTEIN, PROTEIN)
    assert notes == []
    records, notes = fold_records(_file(tmp_path, f">one\n{PROTEIN}XUB\n"))
    assert records[0].sequence == PROTEIN + "XXX"
    assert len(notes) == 1 and "3 of 25 residues are none of the twenty" in notes[0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f">dna\n{'ACGT' * 8}\n", r"seqs\.fa: record 1 \(dna\) looks like DNA or RNA"),
        (f">a\n{PROTEIN}\n>rna\n{'ACGU' * 6}\n", r"record 2 \(rna\) looks like DNA or RNA"),
        ("", r"seqs\.fa: .*>"),
        (">a\n\n>b\nMKT\n", r"record 1 \(a\) has no residues"),
        (f">a\n{PROTEIN}\n>a\n{PROTEIN}\n", r"record 2 \(a\) has the header of record 1"),
        (f">a\n{PROTEIN}-K\n", r"holds '-', which is no amino acid"),
        (">a\nMKT\n", r"record 1 \(a\) has 3 residues; 20 to 512"),
        (f">a\n{'X' * 30}\n", "has no known residue"),
        (f"{PROTEIN}\n", "line 1 stands before the first header"),
    ],
)
def test_sequences_that_cannot_be_folded_are_named(tmp_path, text, said):
    with pytest.raises(InputError, match=said):
        fold_records(_file(tmp_path, text))


def test_requests_of_the_generic_verb(tmp_path):
    file = _file(tmp_path, f">a\n{PROTEIN}\n")
    (batch,) = answer_templates({"fasta": file, "n": 3, "seed": 1})
    assert batch.size == 3 and bool(batch.layouts[SEQUENCE].fixed.all())
    with pytest.raises(InputError, match="request field length: does not go with fasta"):
        list(answer_templates({"fasta": file, "length": 60}))
    (batch,) = answer_templates({"length": "30", "n": 2})
    assert not bool(batch.layouts[SEQUENCE].fixed.any())
