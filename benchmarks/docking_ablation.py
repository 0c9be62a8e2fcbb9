"""What each part of docking adds: search, network, guidance, minimisation, confidence.

    python benchmarks/docking_ablation.py run --model dock_lite --data DIR --index index.csv -o OUT
    python benchmarks/docking_ablation.py table OUT

Every arm docks the same complexes of a split into the same box (the crystal ligand and 4 Å on each
side) from the same fresh conformers. `random` minimises as many random poses as the network draws;
`network` takes draws as they are; `+ energy` guides and minimises them; `+ confidence` orders them
by the ranker. `search` is the default without a network, `all` joins the network's draws to it.
`fifty_steps` is `network_energy` at 50 steps. Rows go to one CSV for each arm; what is there is
not done again. The table gives success and CPU seconds on the complexes that all arms share.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.docking_physics import FIELDS, measured, print_table
from protein.docking.confidence.ranker import Ranker, find_ranker
from protein.docking.diffusion.settings import ProposeSettings
from protein.docking.energy.vina import SearchSpace
from protein.docking.molecules.conformers import fresh_conformers
from protein.docking.molecules.files import read_ligand
from protein.docking.molecules.ligand import Ligand
from protein.docking.pipeline.docker import Docker
from protein.docking.pipeline.settings import DockSettings
from protein.docking.poses.pose import LigandBatch
from protein.docking.receptors.box import Box, box_around
from protein.docking.receptors.receptor import Receptor, read_receptor
from protein.docking.search.draws import number_of
from protein.docking.search.monte_carlo import SearchSettings, finish, random_poses
from protein.docking.search.ranking import JUDGED, Docked, diverse, ranked
from protein.pretrained import find_model
from sciddiff.denoiser import Denoiser
from sciddiff.errors import InputError
from sciddiff.streams import Streams

ARMS = ("random", "network", "network_energy", "network_energy_confidence", "fifty_steps",
        "search", "search_confidence", "all")  # fmt: skip


def main() -> None:
    """Dock, or compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("do", choices=("run", "table"))
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--model", default="dock_lite")
    parser.add_argument("--data", type=Path, help="folder with <split>/<id>/")
    parser.add_argument("--index", type=Path)
    parser.add_argument("--split", default="val")
    parser.add_argument("--every", type=int, default=1, help="only every n-th complex")
    parser.add_argument("--samples", type=int, default=ProposeSettings().samples)
    parser.add_argument("--steps", type=int, default=ProposeSettings().steps)
    parser.add_argument("--guidance", type=float, default=ProposeSettings().guidance)
    parser.add_argument("--noise", type=float, default=ProposeSettings().noise)
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=ARMS)
    parser.add_argument("-o", "--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.do == "table":
        print_table([path for arm in ARMS if (path := args.folder / f"{arm}.csv").exists()])
        return
    args.out.mkdir(parents=True, exist_ok=True)
    rows = list(csv.DictReader(args.index.open()))
    ids = [row["id"] for row in rows if row["split"] == args.split][:: args.every]
    denoiser, ranker = find_model(args.model).denoiser, find_ranker()
    for name in ids:
        for arm in args.arms:
            _add(args.out / f"{arm}.csv", name, arm, args, denoiser, ranker)


def _add(file: Path, name: str, arm: str, args: argparse.Namespace, denoiser: Denoiser,
         ranker: Ranker | None) -> None:  # fmt: skip
    """One row of one arm, unless it is there."""
    there = file.exists()
    if there and name in {row["id"] for row in csv.DictReader(file.open())}:
        return
    row = _row(args.data / args.split / name, arm, args, denoiser, ranker)
    with file.open("a", newline="") as handle:
        writer: csv.DictWriter[str] = csv.DictWriter(handle, list[str](FIELDS))
        if not there:
            writer.writeheader()
        writer.writerow({"id": name, **row})


def _row(folder: Path, arm: str, args: argparse.Namespace, denoiser: Denoiser,
         ranker: Ranker | None) -> dict[str, object]:  # fmt: skip
    try:
        ligand = read_ligand(folder / "ligand.sdf")
        receptor = read_receptor(folder / "protein.pdb")
        box = box_around(ligand.require_coords())
        start = time.process_time()
        docked = _dock(ligand, folder.name, receptor, box, arm, args, denoiser, ranker)
        cpu = time.process_time() - start
    except InputError as error:
        return {"status": "failed", "reason": " ".join(str(error).split())}
    return measured(
        ligand, docked.coords, docked.affinity, docked.confidence, cpu, folder / "protein.pdb"
    )


def _dock(ligand: Ligand, name: str, receptor: Receptor, box: Box, arm: str,
          args: argparse.Namespace, denoiser: Denoiser, ranker: Ranker | None
          ) -> Docked:  # fmt: skip
    if arm == "random":
        return _random(ligand, receptor, box, args.samples)
    draws = ProposeSettings(args.samples, args.steps, args.noise, args.guidance)
    if arm == "fifty_steps":
        draws = replace(draws, steps=50)
    elif arm == "network":
        draws = replace(draws, guidance=0.0)
    settings = DockSettings(
        effort="normal" if arm in ("search", "search_confidence", "all") else "none",
        propose=draws,
        minimize=arm != "network",
    )
    judged = arm in ("network_energy_confidence", "search_confidence", "all")
    drawn = not arm.startswith("search")
    docker = Docker(receptor, box, settings, denoiser if drawn else None,
                    ranker if judged else None)  # fmt: skip
    (result,) = docker.dock([ligand], [number_of(name)])
    if result.docked is None:
        raise InputError(result.error)
    return result.docked


def _random(ligand: Ligand, receptor: Receptor, box: Box, samples: int) -> Docked:
    """The best of random poses after minimisation, by energy."""
    conformers = fresh_conformers(ligand, DockSettings().conformers, 1)
    count = len(conformers)
    batch = LigandBatch.pack([ligand.tree] * count, list(conformers))
    energy = SearchSpace(receptor, box).energy([ligand] * count)
    generator = Streams.first(0, count).purpose("search")
    pose = random_poses(batch, [box] * count, -(-samples // count), generator)
    found = finish(batch, energy, pose)
    docked = ranked(ligand, found, JUDGED, SearchSettings().distinct)
    return diverse(ligand, docked, DockSettings().poses)


if __name__ == "__main__":
    main()
