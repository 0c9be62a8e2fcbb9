"""A forecast as GRIB: every field comes back, from cfgrib and through our own readers."""

import numpy as np
import pytest

from sciddiff.cli.main import main
from sciddiff.errors import InputError
from weather.data.channels import parse_channel
from weather.forecast.ensemble import EnsembleStore, Plan
from weather.forecast.grib import check_grib_output, members_of_grib, write_grib
from weather.forecast.spec import ForecastSpec
from weather.verification.ensembles import FileEnsemble

NAMES = ("z500", "z850", "t850", "u10", "u100m", "mslp", "tcc", "tp")
STARTS = (np.datetime64("2020-02-27T06", "s"), np.datetime64("2020-03-01T06", "s"))

eccodes = pytest.importorskip("eccodes", reason="ecCodes is not installed (extra grib)")


def _spec(grid, **changes):
    channels = tuple(parse_channel(name) for name in NAMES)
    ones = (1.0,) * len(NAMES)
    return ForecastSpec(channels, ones, ones, ones, grid, 6.0, **changes)


@pytest.fixture(
    scope="module",
    params=["gaussian-8x16", "regular-7x12", "regional-5x6:30:70:-20:30"],
    ids=["gaussian", "poles", "area"],
)
def made(request, tmp_path_factory):
    """Random fields of three members, two leads and two starts, and their file."""
    folder, spec = tmp_path_factory.mktemp("grib"), _spec(request.param)
    store = EnsembleStore.open(folder / "fc.zarr", Plan(STARTS, 3, 2, 2), spec, {"seed": 0}, {})
    rng = np.random.default_rng(0)
    fields = rng.random((2, 3, 2, len(NAMES), *spec.shape)).astype(np.float32)
    for block in store.plan.blocks():
        chosen = fields[block.start, block.members.start : block.members.stop]
        store.write(block, 0, chosen.swapaxes(0, 1))
        store.finish(block)
    write_grib(store, folder / "fc.grib")
    return folder / "fc.grib", spec, fields


def test_verify_reads_the_same_fields(made):
    path, spec, fields = made
    found = FileEnsemble(path)
    assert set(found.channels) == set(NAMES) and found.members == 3
    assert found.leads.tolist() == [6 * 3600, 12 * 3600]
    assert [found.times.text(i) for i in (0, 1)] == ["2020-02-27T06:00", "2020-03-01T06:00"]
    np.testing.assert_allclose(found.lat, spec.area.lat, atol=1e-5)
    np.testing.assert_allclose((found.lon - spec.area.lon) % 360, 0, atol=1e-5)
    for c, name in enumerate(NAMES):
        for case, lead in ((0, 1), (1, 0)):
            wanted = fields[case, :, lead, c]
            read = found.open(case, [lead])(lead, name)
            np.testing.assert_allclose(read, wanted, atol=3e-7, rtol=3e-7)


def test_keys_are_those_of_an_ensemble(made):
    path, spec, _ = made
    assert members_of_grib(path) == 3
    seen = {}
    with path.open("rb") as file:
        while (message := eccodes.codes_grib_new_from_file(file)) is not None:
            keys = ("shortName", "perturbationNumber", "stepRange", "level", "units")
            row = [str(eccodes.codes_get(message, key)) for key in keys]
            seen.setdefault(row[0], []).append(row[1:])
            assert eccodes.codes_get(message, "numberOfForecastsInEnsemble") == 3
            eccodes.codes_release(message)
    assert {name: len(rows) for name, rows in seen.items()} == {
        "gh": 24, "t": 12, "10u": 12, "100u": 12, "msl": 12, "tcc": 12, "tp": 12,
    }  # fmt: skip
    assert {row[1] for row in seen["tp"]} == {"0-6", "6-12"}
    assert {row[2] for row in seen["gh"]} == {"500", "850"}
    assert seen["gh"][0][3] == "gpm" and seen["tcc"][0][3] == "%"


def test_report_shows_it(made, tmp_path):
    from weather.report.reading import open_ensemble

    path, _, fields = made
    found = open_ensemble(path)
    assert set(found.channels) >= {"z500", "t850", "mslp"} and found.members == 3
    shown = found.read("mslp", 1, 0)
    order = np.argsort((found.lon + 1e-6) % 360)
    assert shown.shape == fields[1, :, 0, 5].shape
    if len(found.lon) == 16:
        np.testing.assert_allclose(shown[..., order], fields[1, :, 0, 5] / 100, atol=1e-7)


@pytest.mark.parametrize(
    ("spec", "starts", "message"),
    [
        (lambda: _spec("gaussian-8x16", calendar="noleap"), None, "standard calendar only"),
        (lambda: ForecastSpec((parse_channel("rlut"),), (1.0,), (1.0,), (1.0,), "gaussian-8x16",
                              6.0), STARTS, "no parameter here for rlut"),
        (lambda: ForecastSpec((parse_channel("tas"),), (1.0,), (1.0,), (1.0,), "gaussian-8x16",
                              0.5), STARTS, "not whole hours"),
    ],
    ids=["calendar", "parameter", "step"],
)  # fmt: skip
def test_what_grib_cannot_hold_is_refused_first(spec, starts, message):
    if starts is None:
        import cftime

        starts = (cftime.DatetimeNoLeap(2001, 1, 1),)
    with pytest.raises(InputError, match=message):
        check_grib_output(spec(), starts)


def test_the_command_says_so(small_models, small_store, tmp_path, capsys):
    words = ["forecast", small_store, "--model", small_models["crps"], "-o", tmp_path / "fc.grib"]
    assert main([str(word) for word in words]) == 2
    assert "GRIB knows the standard calendar only" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
