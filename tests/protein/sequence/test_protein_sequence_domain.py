"""The inverse folding domain: learning, drawing and writing with the core."""

import pytest
import torch

from protein.sequence.alphabet import LETTERS, MASK
from protein.sequence.data import SequenceDataSettings
from protein.sequence.domain import InverseFoldingDomain
from protein.sequence.fasta import read_fasta
from protein.sequence.network import GraphNetwork
from protein.sequence.samples import SEQUENCE, collate
from protein.structures.chain import Backbone
from protein.structures.write import write_structure
from sciddiff import Denoiser, order_log_prob, sample
from sciddiff.errors import InputError
from sciddiff.samplers import ConfidenceUnmask


@pytest.fixture
def domain(archive):
    return InverseFoldingDomain(SequenceDataSettings(archive=str(archive), budget=400))


def test_it_learns(domain):
    """A small network remembers the letters of four chains: the loss on the same draws falls."""
    torch.manual_seed(0)
    net = GraphNetwork(node=24, neighbours=6, encoder=1, decoder=1, dropout=0.0)
    denoiser, objective = Denoiser(net, domain.path()), domain.objective()
    batch = next(iter(domain.val_batches()))
    optimiser = torch.optim.Adam(net.parameters(), 1e-2)
    losses = []
    for _ in range(60):
        loss = objective(denoiser, batch, torch.Generator().manual_seed(0)).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]


def test_draws_keep_what_is_held_and_cost_one_encoding(domain, ball, monkeypatch):
    torch.manual_seed(0)
    net = GraphNetwork(node=16, neighbours=6, encoder=1, decoder=1)
    denoiser = Denoiser(net.eval(), domain.path())
    batch = collate([ball(30), ball(14)])
    layout = batch.layouts[SEQUENCE]
    layout.fixed[:, :5] = True
    cached = batch.with_cond(encoded=net.encode(batch))
    grid = torch.linspace(0, 1, 9)
    plain = sample(denoiser, batch, ConfidenceUnmask("random"), grid, 3).x[SEQUENCE]
    monkeypatch.setattr(net, "encode", None)
    found = sample(denoiser, cached, ConfidenceUnmask("random"), grid, 3).x[SEQUENCE]
    assert torch.equal(found, plain)
    assert torch.equal(found[:, :5], batch.x[SEQUENCE][:, :5])
    assert int(found[layout.mask].max()) < MASK
    scores = order_log_prob(denoiser, cached, orders=2)
    assert bool((scores.rows[..., :5] == 0).all()) and bool((scores.mean < 0).all())


def test_files_are_templates_and_results_are_files(domain, ball, tmp_path):
    chains = [
        Backbone(ball(12, seed).atoms, "".join(LETTERS[k] for k in ball(12, seed).tokens), name)
        for seed, name in enumerate("AB")
    ]
    file = tmp_path / "two.pdb"
    write_structure(file, chains)
    request = {"structures": [str(file)], "n": 3, "noise": 0.1}
    (batch,) = domain.like(request)
    assert batch.ids == ("two_1", "two_2", "two_3")
    assert torch.allclose(batch.cond["noise"], torch.tensor(0.1))
    assert batch.cond["chain_index"].sum(1).tolist() == [12] * 3
    text = chains[0].sequence + "/" + chains[1].sequence
    assert domain.results(batch, batch.x) == [text] * 3
    written = domain.write(batch, batch.x, tmp_path)
    assert read_fasta(written[1]) == [("two_2", text.replace("/", ""))]
    measured = domain.evaluate(tmp_path, None)["sequences"]
    assert measured["count"] == 3 and measured["residues"] == 72
    assert sum(measured["shares"].values()) == pytest.approx(1.0)
    for wrong, words in (
        ({"structure": "a"}, "unknown field structure"),
        ({"n": 3}, "no structures"),
    ):
        with pytest.raises(InputError, match=words):
            list(domain.like(wrong))
    with pytest.raises(InputError, match="no sequences"):
        domain.evaluate(tmp_path / "none", None)
