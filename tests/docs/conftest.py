"""Small files that stand in for the ones the documents name, each made when first asked for."""

import importlib
import os
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from protein.sequence.alphabet import LETTERS
from sciddiff.cli.main import main

ROOT = Path(__file__).resolve().parents[2]
RESIDUES = "ALA ARG ASN ASP GLN GLU GLY HIS ILE LEU LYS MET PHE SER THR TRP TYR VAL".split()
ENTRY_POINTS = (
    "[sciddiff.domains]\nmixture = mixture_domain:MixtureDomain\n"
    "policy = policy_domain:PolicyDomain\nworld = world_domain:WorldDomain\n"
)


class StandIns:
    """A folder of stand-ins, filled on demand."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def place_all(self, where: Path, named_in: str) -> None:
        """Put every stand-in that a text names, and does not make itself, into a folder."""
        for name in MAKERS:
            made = re.search(rf"-o {re.escape(name)}\b", named_in)
            if not made and re.search(rf"(?<![\w./-]){re.escape(name)}\b", named_in):
                self.place(name, where)

    def place(self, name: str, where: Path) -> None:
        """Put the stand-in of that name, made once in a session, into a folder."""
        made = self.folder / name
        if not made.exists():
            made.parent.mkdir(parents=True, exist_ok=True)
            MAKERS[name](self, made)
        target = where / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if made.is_dir():
            shutil.copytree(made, target)
        else:
            shutil.copy(made, target)

    def get(self, name: str) -> Path:
        """Where a stand-in is that another one is made from."""
        made = self.folder / name
        if not made.exists():
            made.parent.mkdir(parents=True, exist_ok=True)
            MAKERS[name](self, made)
        return made


def _run(*words: object) -> None:
    assert main([str(word) for word in words]) == 0


def _structures(files: StandIns, made: Path) -> None:
    """Six designed backbones of 60 residues, with sequences that have nothing in common."""
    _run("backbone", "--length", 60, "-n", 6, "--steps", 10, "--no-report", "-o", made)
    for path in [*made.glob("*.cif"), *made.glob("*.json")]:
        path.unlink()
    for number, path in enumerate(sorted(made.glob("*.pdb"))):
        names = np.random.default_rng(number).choice(RESIDUES, 61)
        path.write_text("".join(_renamed(line, names) for line in path.open()))


def _renamed(line: str, names: Sequence[str]) -> str:
    """A line of a PDB file with the residue name that its number asks for."""
    if not line.startswith(("ATOM", "TER")) or not line[22:26].strip():
        return line
    return line[:17] + names[int(line[22:26])] + line[20:]


def _structure(files: StandIns, made: Path) -> None:
    shutil.copy(min(files.get("structures").glob("*.pdb")), made)


def _refolds(files: StandIns, made: Path) -> None:
    """The first fifty residues of that structure, named as the prediction of a sequence."""
    made.mkdir()
    lines = files.get("file.pdb").read_text().splitlines(keepends=True)
    kept = [line for line in lines if line.startswith("ATOM") and int(line[22:26]) <= 50]
    (made / "design_0001_s1_model_0.pdb").write_text("".join(kept))


def _moved(files: StandIns) -> np.ndarray:
    """What brings the middle of that structure to (10, 2, -5), where a document has its box."""
    lines = files.get("file.pdb").read_text().splitlines()
    atoms = [line for line in lines if line.startswith("ATOM")]
    middle = np.mean([[float(a[30:38]), float(a[38:46]), float(a[46:54])] for a in atoms], axis=0)
    return np.asarray([10.0, 2.0, -5.0]) - middle


def _sequences(files: StandIns, made: Path) -> None:
    made.write_text(">first\nMKTAYIAKQRQISFVKSHFSRQ\n>second\nGSHMWYNDPEEKLATTRVIAKQRF\n")


def _text(text: str) -> Callable[[StandIns, Path], None]:
    """Maker of a file of that text."""
    return lambda files, made: made.write_text(text) and None


def _two_chains(files: StandIns, made: Path) -> None:
    """That structure twice, as chains A and B that lie side by side."""
    from protein.structures.read import read_structure
    from protein.structures.write import write_mmcif, write_pdb

    [chain] = read_structure(files.get("file.pdb")).chains
    beside = replace(chain, coords=chain.coords + [40.0, 0.0, 0.0], chain_id="B")
    write = write_mmcif if made.suffix == ".cif" else write_pdb
    write(made, [chain, beside])


def _candidates(files: StandIns, made: Path) -> None:
    """Two sequences for that structure."""
    made.write_text(f">one\n{'MKTAYIAKQR' * 6}\n>two\n{'GSHMWYNDPE' * 6}\n")


def _proteins(files: StandIns, made: Path) -> None:
    """Forty sequences that have nothing in common, from 60 to 90 residues."""
    rng = np.random.default_rng(0)
    drawn = ("".join(rng.choice(list(LETTERS), rng.integers(60, 91))) for _ in range(40))
    made.write_text("".join(f">protein_{k}\n{text}\n" for k, text in enumerate(drawn)))


def _receptor(files: StandIns, made: Path) -> None:
    """That structure as polyglycine, which lacks no atoms."""
    shift, lines = _moved(files), []
    for line in files.get("file.pdb").read_text().splitlines():
        if line.startswith("ATOM"):
            place = [float(line[i : i + 8]) for i in (30, 38, 46)] + shift
            line = line[:30] + _columns(place) + line[54:]
        lines.append(_renamed(line, ["GLY"] * 61))
    made.write_text("\n".join(lines) + "\n")


def _columns(place: np.ndarray) -> str:
    return "".join(f"{x:8.3f}" for x in place)


def _receptor_cif(files: StandIns, made: Path) -> None:
    from Bio.PDB.mmcifio import MMCIFIO
    from Bio.PDB.PDBParser import PDBParser

    writer = MMCIFIO()
    writer.set_structure(PDBParser(QUIET=True).get_structure("r", files.get("receptor.pdb")))
    writer.save(str(made))


def _ligand(smiles: str) -> Callable[[StandIns, Path], None]:
    """Maker of a molecule with coordinates at (10, 2, -5)."""

    def make(files: StandIns, made: Path) -> None:
        from rdkit import Chem
        from rdkit.Chem import rdDistGeom
        from rdkit.Geometry import Point3D

        molecule = Chem.AddHs(Chem.MolFromSmiles(smiles))
        rdDistGeom.EmbedMolecule(molecule, randomSeed=1)
        shape = molecule.GetConformer()
        middle = shape.GetPositions().mean(axis=0)
        for i, place in enumerate(shape.GetPositions() - middle + (10.0, 2.0, -5.0)):
            shape.SetAtomPosition(i, Point3D(*place))
        molecule.SetProp("_Name", made.stem)
        with Chem.SDWriter(str(made)) as writer:
            writer.write(molecule)

    return make


def _library(files: StandIns, made: Path) -> None:
    made.write_text("Oc1ccccc1 phenol\n")


def _complexes(files: StandIns, made: Path) -> None:
    """Two complexes of each split: `train/ID/protein.pdb`, `train/ID/ligand.sdf`, and so on."""
    for number, split in enumerate(("train", "train", "val", "val")):
        folder = made / split / f"{number}abc"
        folder.mkdir(parents=True)
        shutil.copy(files.get("receptor.pdb"), folder / "protein.pdb")
        ligand = files.get(("ligands.sdf", "crystal.sdf")[number % 2])
        shutil.copy(ligand, folder / "ligand.sdf")


def _chains(files: StandIns, made: Path) -> None:
    loose = "--val 0.2 --max-rg 0 --min-contacts 0 --max-coil 0".split()
    _run("prepare", "backbone", files.get("structures"), "-o", made, *loose)


def _mixture(files: StandIns, made: Path) -> None:
    text = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    made.write_text(text.split("```yaml\n")[1].split("```")[0])


ATLANTIC = SimpleNamespace(lat=np.arange(25.0, 76.0, 2.5), lon=np.arange(-75.0, 16.0, 2.5))
CHANNELS = {
    "z500": (5500.0, 100.0, "m"), "t850": (275.0, 8.0, "K"),
    "u850": (0.0, 8.0, "m s-1"), "v850": (0.0, 5.0, "m s-1"),
    "u250": (10.0, 15.0, "m s-1"), "v250": (0.0, 9.0, "m s-1"),
    "q700": (4e-3, 1e-3, "kg kg-1"), "mslp": (101300.0, 800.0, "Pa"),
    "tas": (280.0, 10.0, "K"), "tp": (3.0, 1.0, "kg m-2"),
}  # fmt: skip
"""What the weights that ship forecast: mean, deviation and units of each channel."""

OTHERS = {"sst": (285.0, 8.0, "K")}
"""Other channels, alike."""


def _weather(
    first: str,
    times: int,
    grid: str = "gaussian-32x64",
    names: Sequence[str] = tuple(CHANNELS),
    step: float = 1.0,
) -> Callable[[StandIns, Path], None]:
    """Maker of a file of fields: waves that travel east, on a 365-day calendar.

    Args:
        first: Date of the first of them.
        times: How many there are.
        grid: Where; ``atlantic`` is a part of a regular grid of 2.5 degrees.
        names: Channels.
        step: Days from one to the next.
    """

    def make(files: StandIns, made: Path) -> None:
        import cftime
        import xarray as xr

        from weather.sphere.grids import Grid

        where = ATLANTIC if grid == "atlantic" else Grid.parse(grid)
        year, month, day = map(int, first.split("-"))
        start = cftime.datetime(year, month, day, calendar="noleap")
        since = cftime.date2num(start, "days since 0001-01-01", calendar="noleap")
        lon, lat = np.meshgrid(np.radians(where.lon), np.radians(where.lat))
        time = since + step * np.arange(times)
        fields = {}
        for c, name in enumerate(names):
            mean, deviation, units = (CHANNELS | OTHERS)[name]
            wave = sum(
                np.cos(lat) ** 2 * np.cos(m * lon - 0.3 * m * time[:, None, None] + 2.4 * c * m)
                for m in range(1, 5)
            )
            values = (mean + 0.5 * deviation * wave).astype(np.float32)
            fields[name] = (("time", "lat", "lon"), values, {"units": units})
        dates = cftime.num2date(time, "days since 0001-01-01", calendar="noleap")
        axes = {"time": dates, "lat": where.lat, "lon": where.lon}
        xr.Dataset(fields, axes).to_netcdf(made)

    return make


def _folder(make: Callable[[StandIns, Path], None]) -> Callable[[StandIns, Path], None]:
    def made_in(files: StandIns, made: Path) -> None:
        made.mkdir()
        make(files, made / "fields.nc")

    return made_in


def _store(first: str, days: int) -> Callable[[StandIns, Path], None]:
    """Maker of a prepared store."""

    def make(files: StandIns, made: Path) -> None:
        source = made.with_name(f"{made.stem}_source.nc")
        _weather(first, days)(files, source)
        _run("prepare", "forecast", source, "-o", made)

    return make


def _ensemble(starts: Sequence[str]) -> Callable[[StandIns, Path], None]:
    """Maker of a file of three members for each start, two days ahead."""

    def make(files: StandIns, made: Path) -> None:
        import xarray as xr

        parts = []
        for number, start in enumerate(starts):
            source = made.with_name(f"{made.stem}_{number}.nc")
            _weather(start, 3, names=("z500", "t850", "mslp"))(files, source)
            with xr.open_dataset(source) as read:
                data, date = read.load(), read.time.values[0]
            leads = ("prediction_timedelta", [1, 2], {"units": "days"})
            ahead = data.isel(time=slice(1, None)).rename(time="prediction_timedelta")
            ahead = ahead.assign_coords(prediction_timedelta=leads, time=date)
            members = [ahead + 0.01 * k * ahead.std() for k in range(3)]
            parts.append(xr.concat(members, xr.Variable("number", range(3))))
            for name in parts[-1].data_vars:
                parts[-1][name].attrs = data[name].attrs
        whole = xr.concat(parts, "time")
        whole.to_zarr(made) if made.suffix == ".zarr" else whole.to_netcdf(made)

    return make


def _forecasts(files: StandIns, made: Path) -> None:
    """A forecast from each of two days, in files of their own."""
    made.mkdir()
    for day in (11, 13):
        _ensemble((f"0002-01-{day}",))(files, made / f"{day}.zarr")
        for source in made.glob("*.nc"):
            source.unlink()


def _observations(files: StandIns, made: Path) -> None:
    made.write_text("variable,lat,lon,value,error\nt850,60.4,5.3,276,1\nmslp,48,11,101000,100\n")


MAKERS: dict[str, Callable[[StandIns, Path], None]] = {
    "structures": _structures,
    "file.pdb": _structure,
    "backbone.pdb": _structure,
    "complex.cif": _two_chains,
    "dimer.pdb": _two_chains,
    "states.pdb": _two_chains,
    "bias.csv": _text("residue,aa,bias\nA5,W,1.5\nA7-9,P,-2\n"),
    "fixed.jsonl": _text('{"file": {"A": [1, 2, 3]}}\n'),
    "tied.jsonl": _text('{"file": [{"A": [10]}, {"A": [20, 21]}]}\n'),
    "candidates.fa": _candidates,
    "proteins.fasta": _proteins,
    "sequences.fa": _sequences,
    "refolds": _refolds,
    "receptor.pdb": _receptor,
    "receptor.cif": _receptor_cif,
    "ligands.sdf": _ligand("CC(=O)Nc1ccc(O)cc1"),
    "crystal.sdf": _ligand("Oc1ccccc1"),
    "vina_out.sdf": _ligand("CC(=O)Nc1ccc(O)cc1"),
    "glide_out.sdf": _ligand("CC(=O)Nc1ccc(O)cc1"),
    "library.smi": _library,
    "complexes": _complexes,
    "mixture.yaml": _mixture,
    "data/chains.npz": _chains,
    "era5": _folder(_weather("0003-01-01", 40, "gaussian-16x32")),
    "daily.nc": _weather("0008-07-15", 215),
    "later.nc": _weather("0009-02-15", 3),
    "z.nc": _weather("0003-01-01", 4, names=["z500"]),
    "t.nc": _weather("0003-01-01", 4, names=["t850"]),
    "slp.nc": _weather("0003-01-01", 4, names=["mslp"]),
    "init.nc": _weather("0002-01-10", 3),
    "before.nc": _weather("0002-01-10", 3),
    "control.nc": _weather("0001-10-06", 60),
    "truth.zarr": _store("0002-01-10", 16),
    "hourly": _folder(_weather("0003-01-01", 96, "gaussian-16x32", ("t850", "tas", "tp"), 1 / 24)),
    "truth_ensembles.nc": _ensemble(("0001-10-08", "0001-11-20")),
    "daily_forecasts": _forecasts,
    "era5_members.nc": _ensemble(("0003-01-01",)),
    "ocean.nc": _weather("0003-01-01", 40, "gaussian-16x32", ["tas", "mslp", "sst"]),
    "ncep.nc": _weather("2008-07-01", 875, "atlantic", ["mslp"]),
    "global_forecast.zarr": _ensemble(("2010-02-25",)),
    "obs.csv": _observations,
}


@pytest.fixture(scope="session")
def stand_ins(tmp_path_factory) -> StandIns:
    """The stand-ins of this session."""
    return StandIns(tmp_path_factory.mktemp("stand_ins"))


@pytest.fixture
def scratch(tmp_path, monkeypatch) -> Path:
    """An empty working folder from which a checkout's files can be named, as from its root.

    The example domains are installed beside it, as `pip install ./examples/new_domain` would do.
    """
    for name in ("configs", "examples", "benchmarks", "docs"):
        (tmp_path / name).symlink_to(ROOT / name)
    plugins = tmp_path / "plugins"
    information = plugins / "mixture-1.0.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: mixture\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(ENTRY_POINTS)
    examples = [str(ROOT / "examples" / name) for name in ("new_domain", "policy", "world")]
    paths = [str(plugins), *examples, str(ROOT)]
    for path in reversed(paths):
        monkeypatch.syspath_prepend(path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    importlib.invalidate_caches()
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name in ("mixture_domain", "policy_domain", "world_domain"):
        sys.modules.pop(name, None)
