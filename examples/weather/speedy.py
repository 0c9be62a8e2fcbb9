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
from pressure import GAS, GRAVITY, as_dataset, on_pressure_levels

REFERENCE_PRESSURE = 1e5
PIECE_DAYS = 30
STATE = (
    "temperature", "specific_humidity", "u_wind", "v_wind", "geopotential",
    "normalized_surface_pressure",
)  # fmt: skip
def convert(raw: xr.Dataset, edges: np.ndarray) -> xr.Dataset:
    """Fields on pressure levels of output on sigma levels.

    Args:
        raw: With the variables of `STATE`, dimensions and levels in any order.
        edges: Sigma between the layers from the top down, without the 0, `[K]`.
    """
    raw = raw[[*STATE]].transpose("time", "level", "lat", "lon", missing_dims="ignore")
    if float(raw["level"][0]) > float(raw["level"][-1]):
        raw = raw.isel(level=slice(None, None, -1))

    def get(name: str) -> np.ndarray:
        return np.asarray(raw[name].values, dtype=np.float64)

    t, q, u, v, geopotential, ground = (get(name) for name in STATE)
    ground = ground * REFERENCE_PRESSURE
    middles = 0.5 * (edges + np.concatenate([[0.0], edges[:-1]]))
    pressure = middles[None, :, None, None] * ground[:, None]
    # The ground as the model has it, which is smoother than the file of its orography.
    below = GAS * t[:, -1] * (1.0 + 0.608 * q[:, -1]) * np.log(1.0 / middles[-1])
    orography = (geopotential[:, -1] - below) / GRAVITY
    column = (t, q, ground, orography, edges)
    times = raw["time"].values.astype("datetime64[s]").astype("datetime64[ns]")
    where = (raw[name].values.astype(np.float64) for name in ("lat", "lon"))
    fields = on_pressure_levels(column, u, v, pressure)
    return as_dataset(fields, times, *where, "SPEEDY physics T31L8 (jcm)")


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
    done = -spin_up
    while done < days:
        piece = min(PIECE_DAYS, -done if done < 0 else days - done)
        step = model.run if done == -spin_up else model.resume
        made = step(forcing=forcing, save_interval=1.0, total_time=float(piece))
        if done >= 0:
            yield convert(made.to_xarray(), edges)
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
