"""The recipe for ERA5 (examples/weather/weatherbench.md) on small real files of ERA5."""

import os
import re
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from sciddiff.cli.main import main
from weather.data.store import Store

ROOT = Path(__file__).resolve().parents[3]
RECIPE = ROOT / "examples" / "weather" / "weatherbench.md"


@pytest.fixture(scope="module")
def real() -> Path:
    """Folder of the real files."""
    folder = Path(os.environ.get("SCIDDIFF_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "weather" / "real").is_dir():
        pytest.skip("real weather files absent: set SCIDDIFF_DATA to a folder with weather/real/")
    return folder / "weather" / "real"


def _options() -> list[str]:
    """Variables and levels as the document names them."""
    text = RECIPE.read_text(encoding="utf-8")
    return re.findall(r"--variables \S+ --levels [\d,]+", text)[0].split()


def _prepare(*words: object) -> int:
    return main(["prepare", "forecast", *(str(word) for word in words)])


def test_names_of_weatherbench_on_the_coarse_grid(real, tmp_path, capsys):
    """The full state of one time, 64 x 32, in the names of WeatherBench; two fields are absent."""
    file = real / "era5_tl31_1959-01-02T00_37levels.nc"
    words = _options()
    names = words[1].split(",")
    assert names == ["z", "t", "u", "v", "q", "2m_temperature", "mean_sea_level_pressure"]
    words[1] = ",".join(names[:5])  # the file holds no field near the surface
    words += ["--grid", "equiangular-32x64", "--nan", "all=fill", "--chunk", "1"]
    assert _prepare(file, "-o", tmp_path / "a.zarr", *words) == 0
    store = Store(tmp_path / "a.zarr")
    assert len(store.names) == 15
    assert store.names[6:12] == ("u500", "u700", "u850", "v500", "v700", "v850")
    height = store.statistics.mean[store.names.index("z500")]
    assert 5300 < height < 5900  # m, no longer m2 s-2
    assert [store.names.index(f"u{p}") for p in (500, 700, 850)] == [6, 7, 8]


def test_the_finer_grid_and_later_months(real, tmp_path):
    """Ten members at 3 degrees to 1.5, one of them, in two runs; the second extends the store."""
    ds = xr.open_dataset(real / "era5_eda_10members_3deg_20170101.nc")
    ds.isel(time=slice(0, 2)).to_netcdf(tmp_path / "first.nc")
    ds.isel(time=slice(2, None)).to_netcdf(tmp_path / "later.nc")
    words = ["-o", tmp_path / "b.zarr", "--member", "3", "--variables", "z,t"]
    words += ["--levels", "500,850", "--grid", "regular-121x240"]
    assert _prepare(tmp_path / "first.nc", *words) == 0
    assert _prepare(tmp_path / "later.nc", *words[:4], "--append") == 0
    store = Store(tmp_path / "b.zarr")
    assert store.grid.shape == (121, 240) and len(store) == 4 and store.step_hours == 12
    rows = np.cos(np.radians(ds.lat.values))
    rows[[0, -1]] = np.tan(np.radians(0.75)) / 2  # half cells at the poles
    columns = ds.t.sel(number=3, level=850).values.mean(-1)
    wanted = (columns * rows).sum(-1) / rows.sum()
    found = (store.read(0, 4)[:, store.names.index("t850")] * store.grid.weights[:, None]).mean(
        (1, 2)
    )
    np.testing.assert_allclose(found, wanted, atol=0.05)
