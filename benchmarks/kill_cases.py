"""What `benchmarks/kill_campaign.py` kills: small requests of every long verb, and their inputs.

The inputs are made by the verbs themselves and by formulas, so that nothing has to be downloaded.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

__all__ = ["CASES", "Case", "make_inputs", "sciddiff"]

ROOT = Path(__file__).resolve().parents[1]
INPUTS = "inputs"


@dataclass(frozen=True)
class Case:
    """One command, run in an empty folder beside the inputs.

    Attributes:
        name: Its name in the table.
        words: The command line after ``sciddiff``; files of `make_inputs` are in ``../inputs``.
        fast: Whether a call takes a few seconds only.
    """

    name: str
    words: str
    fast: bool = False


CASES = (
    Case("sample", "sample --model lite --request length=50 -n 6 --steps 3 -o out", fast=True),
    Case("backbone", "backbone --length 40-50 -n 4 --steps 4 -o out"),
    Case("train", "train ../inputs/train.yaml -o out"),
    Case("dock", "dock -r ../inputs/receptor.pdb -l ../inputs/library.smi "
         "--autobox-ligand ../inputs/crystal.sdf --effort fast --check 1 --workers 1 -o out"),
    Case("score", "score -r ../inputs/receptor.pdb -l ../inputs/poses.sdf --minimize "
         "-o scores.csv --write minimized.sdf"),
    Case("prepare backbone", "prepare backbone ../inputs/structures --val 0.2 --max-rg 0 "
         "--min-contacts 0 --max-coil 0 -o chains.npz", fast=True),
    Case("prepare dock", "prepare dock ../inputs/complexes -o complexes.npz"),
    Case("design", "design ../inputs/structures -n 3 -o out"),
    Case("backbone with sequences", "backbone --length 40-50 -n 3 --steps 4 --sequences 2 -o out"),
    Case("codesign", "codesign --length 40-50 -n 4 --steps 4 -o out"),
    Case("fold", "fold ../inputs/fold.fasta -n 2 --steps 4 -o out"),
    Case("pack", "pack ../inputs/receptor.pdb ../inputs/structures -n 2 --steps 2 -o out"),
    Case("evaluate", "evaluate ../inputs/structures --domain backbone "
         "--reference ../inputs/chains.npz -o figures.json --report out"),
    Case("prepare sequence", "prepare sequence ../inputs/proteins.fasta --length 20-100 "
         "--val 0.2 --test 0.2 -o sequences.npz", fast=True),
    Case("prepare ranker", "prepare ranker ../inputs/complexes --chains 8 --rounds 2 -o out"),
    Case("train-ranker", "train-ranker ../inputs/ranker --epochs 2 --folds 2 --width 8 -o out"),
    Case("prepare forecast", "prepare forecast ../inputs/years --grid gaussian-16x32 -o out.zarr"),
    Case("forecast", "forecast ../inputs/init.nc --members 6 --days 3 --batch 2 -o out.zarr"),
    Case("forecast to NetCDF", "forecast ../inputs/init.nc --members 6 --days 3 --batch 2 "
         "-o out.nc"),
    Case("extremes", "extremes ../inputs/init.nc --index 'mean(tas, europe, 1..2)' "
         "--threshold q0.5 -n 16 --pilot 8 --batch 8 -o out"),
    Case("assimilate", "assimilate ../inputs/init.nc --observations ../inputs/obs.csv "
         "--members 2 --steps 4 --iterations 1 --cycles 2 -o out.zarr"),
    Case("verify", "verify ../inputs/fc.zarr ../inputs/truth.zarr --draws 100 -o out"),
)  # fmt: skip

LIBRARY = "Oc1ccccc1 phenol\nCCO ethanol\nCC(=O)O acetic\nc1ccncc1 pyridine\nCCN amine\n"
OBSERVATIONS = "variable,lat,lon,value,error,time\n" + "".join(
    f"{name},{lat},{lon},{value},{error},0002-01-{day}T00:00\n"
    for day in (13, 14)
    for name, lat, lon, value, error in (("t850", 60, 5, 276, 1), ("mslp", 48, 11, 101000, 100))
)
TRAIN = """\
domain:
  class_path: weather.forecast.domain.ForecastDomain
  init_args: {head: crps, members: 2, data: {store: ../inputs/train.zarr, batch: 2, val_days: 8}}
net:
  class_path: weather.nets.unet.SphericalUNet
  init_args: {channels: 2, widths: [8, 16], blocks: [1, 1], embedding: 16}
optim: {lr: 0.001}
ema: {widths: [0.1], snapshot_every: 10}
trainer: {max_steps: 60, checkpoint_every_minutes: 0.005, val_every: 20, log_every: 5,
          threads: 1, progress: false}
seed: 1
"""
CHANNELS = {
    "z500": (5500.0, 100.0, "m"), "t850": (275.0, 8.0, "K"),
    "u850": (0.0, 8.0, "m s-1"), "v850": (0.0, 5.0, "m s-1"),
    "u250": (10.0, 15.0, "m s-1"), "v250": (0.0, 9.0, "m s-1"),
    "q700": (4e-3, 1e-3, "kg kg-1"), "mslp": (101300.0, 800.0, "Pa"),
    "tas": (280.0, 10.0, "K"), "tp": (3.0, 1.0, "kg m-2"),
}  # fmt: skip
"""Channels of the weights that ship: mean, size of the waves, units."""


def sciddiff(words: str, folder: Path, **options: object) -> subprocess.Popen[bytes]:
    """Start a verb in a folder, as the leader of a process group of its own."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "sciddiff", *shlex.split(words)], cwd=folder, env=environment,
        start_new_session=True, **options,  # type: ignore[call-overload]
    )  # fmt: skip


def make_inputs(folder: Path) -> None:
    """Make every file that the cases read, unless they are all there."""
    if (folder / "whole").exists():
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    _make_weather(folder)
    _make_proteins(folder)
    (folder / "whole").touch()


def _do(words: str, folder: Path) -> None:
    if sciddiff(words, folder, stdout=subprocess.DEVNULL).wait():
        raise SystemExit(f"could not make the inputs: sciddiff {words}")


def _make_weather(folder: Path) -> None:
    (folder / "years").mkdir()
    for year in (3, 4, 5):
        _write_waves(folder / "years" / f"{year}.nc", f"000{year}-01-01", 365, CHANNELS)
    _write_waves(folder / "init.nc", "0002-01-10", 3, CHANNELS)
    _write_waves(folder / "truth.nc", "0002-01-10", 8, CHANNELS)
    _write_waves(folder / "train.nc", "0003-01-01", 60, ("z500", "t850"), "gaussian-8x16")
    _do("prepare forecast truth.nc -o truth.zarr", folder)
    _do("prepare forecast train.nc -o train.zarr", folder)
    _do("forecast init.nc --members 4 --days 3 -o fc.zarr", folder)
    (folder / "obs.csv").write_text(OBSERVATIONS)
    (folder / "train.yaml").write_text(TRAIN)


def _write_waves(
    file: Path, first: str, days: int, names: object, grid: str = "gaussian-32x64"
) -> None:
    """Waves that travel east, on a calendar without leap years."""
    import cftime
    import xarray as xr

    from weather.sphere.grids import Grid

    where = Grid.parse(grid)
    start = cftime.datetime(*map(int, first.split("-")), calendar="noleap")
    since = cftime.date2num(start, "days since 0001-01-01", calendar="noleap")
    lon, lat = np.meshgrid(np.radians(where.lon), np.radians(where.lat))
    time, fields = since + np.arange(days), {}
    for c, (name, (mean, size, units)) in enumerate(CHANNELS.items()):
        if name in names:  # type: ignore[operator]
            waves = [
                np.cos(lat) ** 2 * np.cos(m * lon - 0.3 * m * time[:, None, None] + 2.4 * c * m)
                for m in range(1, 5)
            ]
            values = np.float32(mean + 0.5 * size * np.sum(waves, axis=0))
            fields[name] = (("time", "lat", "lon"), values, {"units": units})
    dates = cftime.num2date(time, "days since 0001-01-01", calendar="noleap")
    axes = {"time": dates, "lat": where.lat, "lon": where.lon}
    xr.Dataset(fields, axes).to_netcdf(file)


def _make_proteins(folder: Path) -> None:
    """Designs as structures, and polyglycine with ligands docked into it as complexes."""
    _do("backbone --length 60 -n 6 --steps 10 --no-report -o structures", folder)
    structures = folder / "structures"
    for file in structures.iterdir():
        if file.suffix != ".pdb":
            file.unlink() if file.is_file() else shutil.rmtree(file)
    for number, file in enumerate(sorted(structures.glob("*.pdb"))):
        receptor = _renamed(file.read_text(), number)
        file.write_text(receptor)
    _do("prepare backbone structures --val 0.2 --max-rg 0 --min-contacts 0 --max-coil 0 "
        "-o chains.npz", folder)  # fmt: skip
    _write_fasta(folder / "proteins.fasta")
    lines = (folder / "proteins.fasta").read_text().splitlines(keepends=True)
    (folder / "fold.fasta").write_text("".join(lines[:4]))
    _write_receptor(sorted(structures.glob("*.pdb"))[0], folder / "receptor.pdb")
    (folder / "library.smi").write_text(LIBRARY)
    _do("dock -r receptor.pdb -l library.smi --blind --sites 1 --effort fast --check 0 "
        "--workers 1 -o poses", folder)  # fmt: skip
    firsts = _records((folder / "poses" / "best.sdf").read_text())
    (folder / "crystal.sdf").write_text(firsts[0])
    every = [file.read_text() for file in sorted((folder / "poses" / "poses").glob("*.sdf"))]
    (folder / "poses.sdf").write_text("".join(every))
    for number, split in enumerate(("train", "train", "val", "val")):
        complex_ = folder / "complexes" / split / f"{number}abc"
        complex_.mkdir(parents=True)
        receptor = (folder / "receptor.pdb").read_text()
        # Two proteins, for a ranker that is trained on one and judged by the other.
        (complex_ / "protein.pdb").write_text(_alanine(receptor) if number % 2 else receptor)
        (complex_ / "ligand.sdf").write_text(firsts[number])
    _do("prepare ranker complexes --chains 8 --rounds 2 -o ranker", folder)


def _write_fasta(file: Path) -> None:
    """Sequences in families of three, as relatives have to share a split."""
    draw = np.random.default_rng(0)
    letters = np.array(list("ACDEFGHIKLMNPQRSTVWY"))
    for family in range(60):
        parent = draw.choice(letters, 80)
        with file.open("a") as out:
            for member in range(3):
                child = np.where(draw.random(80) < 0.1, draw.choice(letters, 80), parent)
                out.write(f">family{family}_{member}\n{''.join(child)}\n")


def _records(text: str) -> list[str]:
    """The records of an SDF file."""
    return [f"{record}$$$$\n" for record in text.split("$$$$\n") if record.strip()]


def _renamed(text: str, seed: int) -> str:
    """A structure with a sequence of its own."""
    kinds = "ALA ARG ASN ASP GLN GLU GLY HIS ILE LEU LYS MET PHE SER THR TRP TYR VAL".split()
    names = np.random.default_rng(seed).choice(kinds, 10_000)
    lines = text.splitlines(keepends=True)
    return "".join(
        line[:17] + names[int(line[22:26])] + line[20:]
        if line.startswith(("ATOM", "TER")) and line[22:26].strip()
        else line
        for line in lines
    )


def _write_receptor(structure: Path, file: Path) -> None:
    """The structure as polyglycine, which lacks no side chain."""
    lines = [
        line[:17] + "GLY" + line[20:]
        for line in structure.read_text().splitlines(keepends=True)
        if line.startswith(("ATOM", "TER"))
    ]
    file.write_text("".join(lines) + "END\n")


def _alanine(polyglycine: str) -> str:
    """The same chain of alanine, with its CB atoms."""
    lines, atoms = [], {}
    for line in polyglycine.splitlines(keepends=True):
        lines.append(line.replace("GLY", "ALA"))
        if line.startswith("ATOM"):
            name = line[12:16].strip()
            atoms[name] = np.array([float(line[k : k + 8]) for k in (30, 38, 46)])
            if name == "O":  # the last atom of a residue
                b, c = atoms["CA"] - atoms["N"], atoms["C"] - atoms["CA"]
                x, y, z = -0.583 * np.cross(b, c) + 0.568 * b - 0.541 * c + atoms["CA"]
                place = f"{x:8.3f}{y:8.3f}{z:8.3f}"
                lines.append(f"{line[:12]} CB  ALA{line[20:30]}{place}{line[54:76]} C\n")
    return "".join(lines)
