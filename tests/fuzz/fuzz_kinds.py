"""Every kind of file that a user gives: how a small one is made, and what reads it.

A reader returns what it read, as text, so that it can be told whether damage was accepted.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

FIELDS = ("z", "z500", "z850", "time", "level", "lat", "lon", "grid")
SEEDS = Path(__file__).parent / "seeds"


@dataclass(frozen=True)
class Kind:
    """A kind of file or folder.

    Attributes:
        name: Name, and with its suffix that of the file.
        make: Writes a good one at a path.
        read: Reads one.
        checked: Whether checksums protect it: damage is then refused, or makes no difference.
        fields: Fields that a message may begin with instead of the file.
        needs: Packages that read or write it.
    """

    name: str
    make: Callable[[Path], object]
    read: Callable[[Path], object]
    checked: bool = False
    fields: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()


def told(value: Any) -> str:
    """A checksum of numbers, text and containers of them."""
    seen = hashlib.sha256()

    def see(one: Any) -> None:
        if isinstance(one, dict):
            for key in one:
                see(key)
                see(one[key])
        elif isinstance(one, (list, tuple)):
            for item in one:
                see(item)
        elif isinstance(one, np.ndarray) or hasattr(one, "__array__"):
            seen.update(np.ascontiguousarray(np.asarray(one)).tobytes())
        else:
            seen.update(repr(one).encode())

    see(value)
    return seen.hexdigest()


def copied(name: str) -> Callable[[Path], object]:
    return lambda path: shutil.copyfile(SEEDS / name, path)


def packed(name: str) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(gzip.compress((SEEDS / name).read_bytes(), mtime=0))


def structure(path: Path) -> object:
    from protein.structures.read import read_structure

    return [chain.coords for chain in read_structure(path, side_chains=True).chains]


def receptor(path: Path) -> object:
    from protein.docking.receptors.receptor import read_receptor

    return read_receptor(path).coords


def ligands(path: Path) -> object:
    from protein.docking.molecules.files import read_ligands

    rows = list(read_ligands(path))
    for row in rows:
        assert row.ligand is not None or ("\n" not in row.error and row.error), row
        assert "internal" not in (row.error or ""), row.error
    return [row.name for row in rows]


def whole_ligands(path: Path) -> object:
    """All of them, where a record that cannot be read is damage that was told."""
    from protein.docking.molecules.files import read_ligands
    from sciddiff.errors import InputError

    rows = list(read_ligands(path))
    if told := [row.error for row in rows if row.ligand is None]:
        raise InputError(f"{path}: {told[0]}")
    return [[row.name, row.ligand.coords] for row in rows]


def poses(path: Path) -> object:
    from protein.docking.poses.files import read_poses

    return [pose.name for pose in read_poses(path)]


def chains_made(path: Path) -> None:
    from protein.structures.archive import write_archive

    coords = [np.cumsum(np.ones((n, 4, 3)), axis=0) for n in (5, 7)]
    text = {"id": ["a", "b"], "split": ["train", "val"], "sequence": ["AAAAA", "GGGGGGG"]}
    columns = {"length": np.array([5, 7]), "ss3": np.array(["HHHHH", "CCCCCCC"])}
    columns |= {name: np.array(values) for name, values in text.items()}
    write_archive(path, coords, columns)


def chains(path: Path) -> object:
    from protein.structures.archive import ChainArchive

    opened = ChainArchive.open(path)
    return [*opened, list(opened.lengths), list(opened.ids), list(opened.sequences)]


def complexes_made(path: Path) -> None:
    from protein.docking.complexes.archive import COLUMNS, complex_arrays, write_archive
    from protein.docking.complexes.complex import make_complex
    from protein.docking.molecules.files import read_ligands
    from protein.docking.receptors.receptor import read_receptor

    (_, row, *_) = read_ligands(SEEDS / "ligands.sdf")
    ligand, receptor = row.ligand, read_receptor(SEEDS / "peptide.pdb")
    assert ligand is not None
    crystal = ligand.require_coords()
    made = [make_complex(name, ligand, receptor, np.stack([crystal, crystal])) for name in "ab"]
    columns = {name: np.array(["train", "val"]) for name in COLUMNS}
    write_archive(path, [complex_arrays(one) for one in made], columns)


def complexes(path: Path) -> object:
    from protein.docking.complexes.archive import COLUMNS, DockArchive

    archive = DockArchive.open(path)
    items = [archive[i] for i in range(len(archive))]
    told = [[c.conformers, c.crystal, c.pocket.coords, c.ligand.features] for c in items]
    return [told, [list(archive.column(name)) for name in COLUMNS]]


def model_made(path: Path) -> None:
    from sciddiff import checkpoint, config

    plain = {
        "domain": {"class_path": "protein.backbone.domain.BackboneDomain"},
        "net": {
            "class_path": "weather.nets.unet.SphericalUNet",
            "init_args": {"channels": 1, "widths": [8], "blocks": [1], "embedding": 8},
        },
        "seed": 0,
    }
    domain, net = config.build_parts(plain)
    checkpoint.save(path, net.state_dict(), plain, path=domain.path())


def model(path: Path) -> object:
    from sciddiff.checkpoint import load
    from sciddiff.weights import shapes

    shapes(path)
    found = load(path)
    weights = {k: v.numpy() for k, v in found.denoiser.net.state_dict().items()}
    return [dict(found.config), dict(found.meta), weights]


def resealed(path: Path) -> object:
    """A model whose files were damaged before their checksums were taken."""
    from sciddiff.weights import META, sealed, sha256

    try:
        meta = json.loads((path / META).read_text())
        meta["sha256"] = {name: sha256(path / name) for name in meta["sha256"]}
        (path / META).write_text(json.dumps(sealed(meta)))
    except (ValueError, TypeError, KeyError, AttributeError, OSError):
        pass  # its facts are what was damaged
    return model(path)


def record_made(path: Path) -> None:
    from sciddiff.cli.campaign import Campaign

    path.mkdir()
    campaign = Campaign.open(path, {"n": 2, "seed": 0}, "sciddiff sample")
    campaign.ran(1, 0.5, "sciddiff sample")


def record(path: Path) -> object:
    from sciddiff.cli.campaign import Campaign, read_record

    read_record(path)
    campaign = Campaign.open(path, {"n": 2, "seed": 0}, "sciddiff sample")
    campaign.ran(1, 0.5, "sciddiff sample")
    return campaign.request


def experiment(path: Path) -> object:
    from sciddiff import config

    return config.read(path)


def run_made(path: Path) -> None:
    import torch

    from sciddiff.training.runs import LAST, METRICS, STATE_KEY

    (path / LAST).parent.mkdir(parents=True)
    state = {
        "format": 1, "plain": json.dumps({"seed": 0}), "samples": 4, "origin": None,
        "ema": {"step": 2, "widths": [0.1], "averages": [{"a": torch.ones(3)}]},
    }  # fmt: skip
    saved = {STATE_KEY: state, "state_dict": {"net.a": torch.ones(3)}, "global_step": 2}
    torch.save(saved, path / LAST)
    (path / METRICS).write_text("step,loss\n1,0.5\n2,0.25\n")


def run(path: Path) -> object:
    from sciddiff.training.runs import harvest

    found = harvest(path, 0.1)
    return [found.step, dict(found.metrics), {k: v.numpy() for k, v in found.weights.items()}]


def fields_made(path: Path) -> None:
    import xarray as xr

    lat, lon = np.linspace(-75, 75, 6), np.arange(12) * 30.0
    shape = (2, 2, 6, 12)
    values = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    values += np.array([5500, 1400], dtype=np.float32)[:, None, None]
    data = xr.Dataset(
        {"z": (("time", "level", "lat", "lon"), values, {"units": "m"})},
        {
            "time": np.array(["2020-01-01", "2020-01-02"], dtype="datetime64[ns]"),
            "level": ("level", [500.0, 850.0], {"units": "hPa"}),
            "lat": ("lat", lat, {"units": "degrees_north"}),
            "lon": ("lon", lon, {"units": "degrees_east"}),
        },
    )
    data["z"].attrs["standard_name"] = "geopotential_height"
    if path.suffix == ".zarr":
        data.to_zarr(path, zarr_format=3)
    else:
        data.to_netcdf(path, encoding={"z": {"zlib": True, "fletcher32": True}})


def fields(path: Path) -> object:
    from weather.data.reading import ReaderSettings, read_fields

    times, values = read_fields([path], ReaderSettings(variables=("z500", "z850")))
    return [[str(time) for time in times], values]


def prepared_made(path: Path) -> None:
    import cftime

    from weather.data.channels import parse_channel
    from weather.data.times import find_step
    from weather.data.writer import Plan, StoreWriter
    from weather.sphere.grids import Grid

    days = cftime.num2date(np.arange(6), "days since 0003-03-01", calendar="noleap")
    times = np.asarray(days)
    grid = Grid.parse("gaussian-8x16")
    values = np.random.default_rng(0).normal(280, 5, (6, 1, 8, 16)).astype(np.float32)
    writer = StoreWriter(path, Plan((parse_channel("tas"),), grid, times, find_step(times)))
    while not writer.finished:
        writer.write(values[slice(*writer.next_block())])
    writer.finish()


def prepared(path: Path) -> object:
    from weather.data.store import Store

    store = Store(path)
    return [store.read(0, len(store)), [str(time) for time in store.times], store.names]


def spec() -> Any:
    from weather.data.channels import parse_channel
    from weather.forecast.spec import ForecastSpec

    names = ("z500", "tas")
    return ForecastSpec(
        tuple(parse_channel(name) for name in names),
        (5500.0, 280.0), (100.0, 10.0), (50.0, 3.0), "gaussian-8x16", 24.0,
    )  # fmt: skip


def forecast_begun(path: Path) -> None:
    """A forecast of which one of two blocks is made."""
    from weather.forecast.ensemble import EnsembleStore

    store = EnsembleStore.open(path, plan(), spec(), {"seed": 0}, {}, "sciddiff forecast")
    _write_block(store)


def _write_block(store: Any) -> None:
    block = store.missing()[0]
    values = np.random.default_rng(block.number).normal(280, 5, (2, 2, 2, 8, 16))
    values[:, :, 0] += 5200
    store.write(block, 0, values.astype(np.float32))
    store.finish(block)


def plan() -> Any:
    import cftime

    from weather.forecast.ensemble import Plan

    return Plan((cftime.datetime(3, 3, 1, calendar="noleap"),), 4, 2, 2)


def forecast_continued(path: Path) -> object:
    from weather.forecast.ensemble import EnsembleStore

    store = EnsembleStore.open(path, plan(), spec(), {"seed": 0}, {}, "sciddiff forecast")
    while store.missing():
        _write_block(store)
    store.close()
    return [values for _, _, values in store.read()]


def forecast_made(path: Path) -> None:
    forecast_begun(path)
    forecast_continued(path)


def forecast(path: Path) -> object:
    from weather.report.reading import open_ensemble
    from weather.verification.ensembles import FileEnsemble

    open_ensemble(path)
    made = FileEnsemble(path)
    read = made.open(0, range(len(made.leads)))
    shown = [read(k, name) for k in range(len(made.leads)) for name in made.channels]
    return [list(made.channels), made.leads, made.lat, shown]


def grib_made(path: Path) -> None:
    import eccodes

    with path.open("wb") as file:
        for level in (500, 850):
            message = eccodes.codes_grib_new_from_samples("regular_ll_pl_grib1")
            about = {
                "Ni": 12, "Nj": 7, "iDirectionIncrementInDegrees": 30.0,
                "jDirectionIncrementInDegrees": 30.0, "latitudeOfFirstGridPointInDegrees": 90.0,
                "latitudeOfLastGridPointInDegrees": -90.0, "longitudeOfFirstGridPointInDegrees": 0,
                "longitudeOfLastGridPointInDegrees": 330.0, "dataDate": 20010101, "dataTime": 0,
                "level": level, "shortName": "z",
            }  # fmt: skip
            for key, value in about.items():
                eccodes.codes_set(message, key, value)
            height = {500: 55000.0, 850: 14500.0}[level]
            values = height + np.random.default_rng(level).normal(0, 500, 84)
            eccodes.codes_set_values(message, values)
            eccodes.codes_write(message, file)
            eccodes.codes_release(message)


def observations(path: Path) -> object:
    from weather.assimilation.observations import read_observations

    return read_observations(path, spec())


PROTEINS = "MKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQ", "GSHMWYNDPEEKLATTRVIAKQRFCCDE"


def text_made(text: str) -> Callable[[Path], object]:
    return lambda path: path.write_text(text)


def proteins(path: Path) -> object:
    """As `prepare sequence` and `fold` read them."""
    from protein.codesign.records import fold_records
    from protein.sequence.fasta import check_protein, fasta_records

    for record in fasta_records(path):
        check_protein(record, "ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    return [(one.name, one.chains) for one in fold_records(path)[0]]


def sequences_made(path: Path) -> None:
    from protein.language.archive import write_sequences

    clusters = np.arange(2, dtype=np.int32)
    write_sequences(path, ["a", "b"], list(PROTEINS), (clusters, clusters), np.array(["val"] * 2))


def sequences(path: Path) -> object:
    from protein.language.archive import SequenceArchive

    found = SequenceArchive.open(path, "val")
    return [found.ids, found.sequences, found.clusters]


def biases(path: Path) -> object:
    from protein.sequence.design.wishes import read_biases

    return read_biases(path)


def dictionary(path: Path) -> object:
    """As `design --proteinmpnn` reads it."""
    from protein.sequence.design.proteinmpnn import read_dictionary, wishes_of
    from protein.sequence.design.residues import Residues
    from protein.structures.chain import Backbone

    chains = [Backbone.from_coords(np.zeros((9, 4, 3)), chain_id=name) for name in "AB"]
    return wishes_of(read_dictionary(path), "x", Residues(chains, "x.pdb")).words()


def design_made(path: Path) -> None:
    from protein.sequence.design.records import Record

    Record("MKT", 0.1, 1, 2.0, 0.1, 2.1, 0.3, 1.0, (0.5, 1.0, 0.2), (1.0, 0.0, 2.0)).write(path)


def design(path: Path) -> object:
    from protein.sequence.design.records import Record

    return Record.read(path, 3).tokens()


DICTIONARY = """\
{"x": {"A": [1, 2, 3], "B": []}}
{"x": [{"A": [4], "B": [5]}, {"A": [[6], [1.0]], "B": [[7], [-0.5]]}]}
{"x": {"A": [[[8, 9], "PG"]]}}
{"A": -1.1, "F": 0.7}
"""

KINDS = (
    Kind("proteins.fasta", text_made(f">a b\n{PROTEINS[0]}\n>b\n{PROTEINS[1]}\n"), proteins),
    Kind("sequences.npz", sequences_made, sequences, checked=True),
    Kind("bias.csv", text_made("residue,aa,bias\nA5,W,1.5\nA7-9,P,-2\n"), biases),
    Kind("fixed.jsonl", text_made(DICTIONARY), dictionary),
    Kind("design.json", design_made, design),
    Kind("peptide.pdb", copied("peptide.pdb"), structure),
    Kind("receptor.pdb", copied("peptide.pdb"), receptor),
    Kind("peptide.cif", copied("peptide.cif"), structure),
    Kind("peptide.pdb.gz", packed("peptide.pdb"), structure, checked=True),
    Kind("ligands.sdf", copied("ligands.sdf"), ligands),
    Kind("ligands.sdf.gz", packed("ligands.sdf"), whole_ligands, checked=True),
    Kind("poses.sdf", copied("ligands.sdf"), poses),
    Kind("ligand.mol2", copied("ligand.mol2"), ligands),
    Kind("poses.pdbqt", copied("poses.pdbqt"), poses, needs=("meeko",)),
    Kind("complexes.npz", complexes_made, complexes, checked=True),
    Kind("ligands.smi", copied("ligands.smi"), ligands),
    Kind("ligands.csv", copied("ligands.csv"), ligands),
    Kind("chains.npz", chains_made, chains, checked=True),
    Kind("model", model_made, model, checked=True),
    Kind("resealed", model_made, resealed),
    Kind("samples", record_made, record),
    Kind("experiment.yaml", copied("experiment.yaml"), experiment),
    Kind("run", run_made, run),
    Kind("fields.nc", fields_made, fields, fields=FIELDS),
    Kind("fields.zarr", fields_made, fields, fields=FIELDS),
    Kind("prepared.zarr", prepared_made, prepared, checked=True),
    Kind("fields.grib", grib_made, fields, fields=FIELDS, needs=("eccodes", "cfgrib")),
    Kind("begun.zarr", forecast_begun, forecast_continued),
    Kind("forecast.zarr", forecast_made, forecast),
    Kind("observations.csv", copied("observations.csv"), observations),
)
