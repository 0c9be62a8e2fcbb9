"""Throughput and memory of docking a library.

    python benchmarks/docking_library.py --data DIR --index index.csv -n 200 --alone 5

Ligands of an index are docked into the pocket of the first complex of a split: the same library as
one campaign and, the first `--alone` of them, by one call of the command each, as a script without
a library would. In one process, batches are compared with one ligand at a time, with compiled
loops and with tensors (`SCIDDIFF_COMPILED=0`). Peak memory is read after a quarter of the library
and at its end.
"""

from __future__ import annotations

import argparse
import csv
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from protein.docking.campaign.library import CampaignSettings, dock_library
from protein.docking.confidence.ranker import find_ranker
from protein.docking.energy.compiled import SWITCH
from protein.docking.molecules.files import read_ligand
from protein.docking.molecules.ligand import Ligand, ligand_from_smiles
from protein.docking.pipeline.docker import Docker
from protein.docking.pipeline.settings import DockSettings
from protein.docking.receptors.box import box_around
from protein.docking.receptors.receptor import read_receptor
from sciddiff.cli.campaign import Campaign
from sciddiff.errors import InputError


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with <split>/<id>/")
    parser.add_argument("--index", type=Path, required=True)
    parser.add_argument("--split", default="val")
    parser.add_argument("-n", type=int, default=200, help="ligands of the library")
    parser.add_argument("--alone", type=int, default=5, help="docked by a command each")
    parser.add_argument("--batched", type=int, default=16, help="docked in batches of 1 and 8")
    parser.add_argument("--effort", default="normal")
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = list(csv.DictReader(args.index.open()))
    first = next(row["id"] for row in rows if row["split"] == args.split)
    receptor_file = args.data / args.split / first / "protein.pdb"
    crystal = args.data / args.split / first / "ligand.sdf"
    smiles = list(dict.fromkeys(row["smiles"] for row in rows if int(row["heavy_atoms"]) <= 50))
    smiles = [smiles[i % len(smiles)] for i in range(args.n)]
    receptor = read_receptor(receptor_file)
    box = box_around(read_ligand(crystal).require_coords())
    docker = Docker(receptor, box, DockSettings(effort=args.effort), ranker=find_ranker())
    docker.dock(*_some(smiles, 2))  # compiles, where nothing is kept yet
    for name, switch in (("compiled", "1"), ("tensors", "0")):
        os.environ[SWITCH] = switch
        ligands, numbers = _some(smiles, args.batched)
        one = _seconds(docker, ligands, numbers, 1)
        eight = _seconds(docker, ligands, numbers, 8)
        print(f"{name:9s} one at a time {one:.2f} s a ligand, batches of 8 {eight:.2f} s: "
              f"{one / eight:.2f} x", flush=True)  # fmt: skip
    os.environ[SWITCH] = "1"
    with tempfile.TemporaryDirectory() as folder:
        alone = _commands(args, smiles[: args.alone], receptor_file, crystal, Path(folder))
        each = _library(smiles, docker, receptor_file, Path(folder))
    ratio = alone / each
    print(f"a command each {alone:.2f} s a ligand, one campaign {each:.2f} s: {ratio:.2f} x")


def _some(smiles: list[str], count: int) -> tuple[list[Ligand], list[int]]:
    ligands: list[Ligand] = []
    for text in smiles:
        try:
            ligands.append(ligand_from_smiles(text, f"ligand {len(ligands)}"))
        except InputError:
            continue
        if len(ligands) == count:
            break
    return ligands, list(range(len(ligands)))


def _seconds(docker: Docker, ligands: list[Ligand], numbers: list[int], size: int) -> float:
    start = time.process_time()
    for k in range(0, len(ligands), size):
        docker.dock(ligands[k : k + size], numbers[k : k + size])
    return (time.process_time() - start) / len(ligands)


def _commands(
    args: argparse.Namespace, smiles: list[str], receptor: Path, crystal: Path, folder: Path
) -> float:
    """CPU seconds of one call of the command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    for k, text in enumerate(smiles):
        subprocess.run(
            [str(Path(sys.executable).with_name("sciddiff")), "dock", "-r", str(receptor),
             "-l", text, "--autobox-ligand", str(crystal), "-o", str(folder / f"alone{k}"),
             "--check", "0", "--effort", args.effort, "--threads", "1", "--json"],
            check=False, stdout=subprocess.DEVNULL,
        )  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return used / max(1, len(smiles))


def _library(smiles: list[str], docker: Docker, receptor: Path, folder: Path) -> float:
    """CPU seconds a ligand of one campaign; prints its memory."""
    source = folder / "library.smi"
    source.write_text("".join(f"{text} m{k}\n" for k, text in enumerate(smiles)))
    campaign = Campaign.open(folder / "library", {"library": len(smiles)})
    peaks: list[float] = []
    finished = 0

    def tell(done: int, bad: int) -> None:
        nonlocal finished
        del bad
        finished += done
        if not peaks and finished >= len(smiles) // 4:
            peaks.append(_peak())

    start = time.process_time()
    settings = CampaignSettings()
    rows = dock_library(str(source), docker, campaign, receptor, settings, on_ligand=tell)
    used = time.process_time() - start
    failed = sum(row.status != "ok" for row in rows)
    print(f"{len(rows)} rows, {failed} failed; peak memory {peaks[0]:.0f} MB after a quarter, "
          f"{_peak():.0f} MB at the end")  # fmt: skip
    return used / len(rows)


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
