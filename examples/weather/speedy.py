"""SPEEDY weather by `jcm`, day after day, as CF NetCDF on pressure levels.

    pip install jcm==3.0.0          # JAX; Apache-2.0
    python examples/weather/speedy.py --days 3650 -o speedy/

T31 with eight layers on its Gaussian grid of 48 by 96, boundary conditions of the package. The
run is done in pieces; nothing is fetched. The package called `pyspeedy` on the Python index is
not this model, nor any model of the atmosphere: do not install it.
"""

from __future__ import annotations

import argparse
from importlib.resources import files
from pathlib import Path

import numpy as np
import xarray as xr
from pressure import heights, interpolate, sea_level_pressure

REFERENCE_PRESSURE = 1e5
PIECE_DAYS = 30
STATE = (
    "temperature", "specific_humidity", "u_wind", "v_wind", "normalized_surface_pressure",
)  # fmt: skip
NAMES = {
    "z500": ("geopotential_height", "m"),
    "t850": ("air_temperature", "K"),
    "u850": ("eastward_wind", "m s-1"),
    "v850": ("northward_wind", "m s-1"),
    "u250": ("eastward_wind", "m s-1"),
    "v250": ("northward_wind", "m s-1"),
    "q700": ("specific_humidity", "kg kg-1"),
    "mslp": ("air_pressure_at_mean_sea_level", "Pa"),
}


def convert(raw: xr.Dataset, edges: np.ndarray, orography: np.ndarray) -> xr.Dataset:
    """Fields on pressure levels of output on sigma levels.

    Args:
        raw: With `temperature`, `specific_humidity`, `u_wind`, `v_wind` on levels and
            `normalized_surface_pressure`; latitudes and levels in any order.
        edges: Sigma between the layers from the top down, without the 0, `[K]`.
        orography: Height of the ground, m, `[lat, lon]`, latitudes as in `raw`.
    """
    raw = raw[[*STATE]].transpose("time", "level", "lat", "lon")
    if float(raw["level"][0]) > float(raw["level"][-1]):
        raw = raw.isel(level=slice(None, None, -1))

    def get(name: str) -> np.ndarray:
        return np.asarray(raw[name].values, dtype=np.float64)

    t, q, u, v = (get(n) for n in ("temperature", "specific_humidity", "u_wind", "v_wind"))
    if q.max() > 0.1:
        q = q / 1000.0  # g/kg
    ground = get("normalized_surface_pressure").reshape(t.shape[0], *t.shape[2:])
    ground = ground * REFERENCE_PRESSURE
    middles = 0.5 * (edges + np.concatenate([[0.0], edges[:-1]]))
    pressure = middles[None, :, None, None] * ground[:, None]
    column = (t, q, ground, np.broadcast_to(orography, ground.shape), edges)
    fields = {
        "z500": heights(*column, 5e4),
        "t850": interpolate(t, pressure, 8.5e4),
        "u850": interpolate(u, pressure, 8.5e4),
        "v850": interpolate(v, pressure, 8.5e4),
        "u250": interpolate(u, pressure, 2.5e4),
        "v250": interpolate(v, pressure, 2.5e4),
        "q700": interpolate(q.clip(0.0), pressure, 7e4),
        "mslp": sea_level_pressure(*column),
    }
    data = {
        name: (("time", "lat", "lon"), fields[name].astype(np.float32),
               {"standard_name": standard, "units": units})
        for name, (standard, units) in NAMES.items()
    }  # fmt: skip
    coords = {
        "time": raw["time"].values.astype("datetime64[s]").astype("datetime64[ns]"),
        "lat": ("lat", raw["lat"].values.astype(np.float64), {"units": "degrees_north"}),
        "lon": ("lon", raw["lon"].values.astype(np.float64), {"units": "degrees_east"}),
    }
    about = {"Conventions": "CF-1.10", "source": "SPEEDY physics T31L8 (jcm)"}
    return xr.Dataset(data, coords, about)


def simulate(days: int, spin_up: int, start: str):
    """Run the model; yields pieces of the run."""
    from jcm.forcing import ForcingData
    from jcm.model import Model
    from jcm.physics.speedy.speedy_coords import get_speedy_coords
    from jcm.physics.speedy.speedy_terms import speedy_physics
    from jcm.terrain import TerrainData

    boundary = files("jcm") / "data" / "bc" / "t30" / "clim"
    coords = get_speedy_coords(layers=8, spectral_truncation=31)
    terrain = TerrainData.from_file(str(boundary / "terrain.nc"), coords)
    forcing = ForcingData.from_file(str(boundary / "forcing.nc"), coords, align_mode="wrap_year")
    model = Model(
        coords=coords, terrain=terrain, physics=speedy_physics(), time_step=30, start_time=start
    )
    edges = np.asarray(coords.vertical.boundaries)[1:]
    orography = np.asarray(terrain.orog).T
    done = -spin_up
    while done < days:
        piece = min(PIECE_DAYS, -done if done < 0 else days - done)
        step = model.run if done == -spin_up else model.resume
        made = step(forcing=forcing, save_interval=1.0, total_time=float(piece))
        if done >= 0:
            yield convert(made.to_xarray(), edges, orography)
        done += piece


def main() -> None:
    """Run, convert, write."""
    parser = argparse.ArgumentParser(description="SPEEDY weather as CF NetCDF.")
    parser.add_argument("--days", type=int, default=3650)
    parser.add_argument("--spin-up", type=int, default=360, help="days left out (360)")
    parser.add_argument("--start", default="2000-01-01", help="first day of the spin-up")
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder of NetCDF files")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for number, piece in enumerate(simulate(args.days, args.spin_up, args.start)):
        path = args.out / f"piece_{number:05d}.nc"
        piece.to_netcdf(path, engine="netcdf4")
        print(path, flush=True)


if __name__ == "__main__":
    main()
