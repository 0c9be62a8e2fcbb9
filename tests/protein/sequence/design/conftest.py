"""A small untrained model, and structures of ideal chains."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from protein.sequence.network import GraphNetwork
from protein.structures.chain import Backbone
from protein.structures.torsions import backbone_from_torsions
from protein.structures.write import write_pdb
from sciddiff import checkpoint, config

NET = {"node": 16, "neighbours": 8, "encoder": 1, "decoder": 1}
NATIVE = "MKTAYIAKQRQISFVKSHFSRQLEERLG"


def _helix(length: int, chain_id: str, shift: float = 0.0, sequence: str = NATIVE) -> Backbone:
    """An ideal helix `shift` Å beside the first, of residues numbered from 11."""
    torsions = np.radians(np.tile([-60.0, -45.0, 180.0], (length, 1)))
    coords = backbone_from_torsions(torsions) + [shift, 0.0, 0.0]
    text = (sequence * length)[:length]
    return Backbone(coords, text, chain_id, np.arange(11, 11 + length), name=chain_id)


@pytest.fixture(scope="session")
def helix() -> Callable[..., Backbone]:
    """Makes an ideal helix of a length and a chain, numbered from 11."""
    return _helix


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported model of random weights, whose laws are far from even."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = GraphNetwork(**NET)
        with torch.no_grad():
            net.out[1].weight.mul_(3.0)
    plain = config.read(
        {
            "domain": {"class_path": "protein.sequence.domain.InverseFoldingDomain"},
            "net": {"class_path": "protein.sequence.network.GraphNetwork", "init_args": NET},
        }
    )
    folder = tmp_path_factory.mktemp("model") / "small"
    checkpoint.save(folder, net.state_dict(), plain)
    return folder


@pytest.fixture(scope="session")
def dimer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Chains A and B of equal sequence, residues 11 to 34."""
    file = tmp_path_factory.mktemp("dimer") / "dimer.pdb"
    write_pdb(file, [_helix(24, "A"), _helix(24, "B", 9.0)])
    return file


@pytest.fixture(scope="session")
def single(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One chain, residues 11 to 30."""
    file = tmp_path_factory.mktemp("single") / "single.pdb"
    write_pdb(file, _helix(20, "A"))
    return file
