r"""A planet small enough to make in seconds: weather of one layer of air, stirred at random.

The barotropic vorticity equation on the sphere, truncated at degree 10 on a grid of 16 by 32,

.. math:: \frac{\partial\zeta}{\partial t} = -\mathbf{v} \cdot \nabla(\zeta + f)
          - \frac{\zeta - \zeta_0}{\tau} + s,

with a relaxation to two jets and a stirring s that remembers two days (Vallis et al. 2004,
J. Atmos. Sci. 61, 264). A perfect model has no errors: whoever forecasts this planet can be
measured against the planet itself. Three files are written,

* `train.nc`: a free run, daily;
* `control.nc`: a second one that training must not see, the analyses to start from;
* `truth.nc`: from some days of it, futures that are all as likely.

    python examples/weather/toy_planet.py toy
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cftime
import numpy as np
import torch
import xarray as xr
from torch import Tensor

from weather.sphere.flow import (
    EARTH_RADIUS,
    along_meridian,
    along_parallel,
    inverse_laplacian,
    wind,
)
from weather.sphere.grids import Grid
from weather.sphere.harmonics import SphericalHarmonics

ROTATION, GRAVITY = 7.292e-5, 9.80665
DEGREE, STEPS_A_DAY = 10, 16
SPIN_UP = 20
DRAG_DAYS, MEMORY_DAYS, STIRRING = 6.0, 2.0, 8e-12
CALENDAR = "noleap"


class Planet:
    """One layer of air; states are coefficients of vorticity, complex `[B, L, M]`."""

    def __init__(self, grid: str = "gaussian-16x32") -> None:
        self.grid = Grid.parse(grid)
        # One degree more than the state has: a derivative along a meridian needs it.
        self.harmonics = SphericalHarmonics(self.grid, DEGREE + 1)
        degree, order = np.ogrid[: DEGREE + 2, : DEGREE + 2]
        self.keep = torch.from_numpy((degree <= DEGREE) & (order <= degree)).double()
        stirred = (degree >= 4) & (degree <= 8) & (order >= 1)
        self.stirred = torch.from_numpy(stirred).double() * self.keep
        self.sine = torch.from_numpy(np.sin(np.radians(self.grid.lat)))[:, None]
        self.cosine2 = 1.0 - self.sine**2
        self.planetary = self.analysis(2 * ROTATION * self.sine)
        jets = 120.0 * self.sine**2 * self.cosine2 ** 1.5  # m/s
        curl = jets * self.sine - self.harmonics.synthesis(along_meridian(self.analysis(jets)))
        self.jets = self.analysis(curl / (EARTH_RADIUS * self.cosine2.sqrt()))

    def analysis(self, field: Tensor) -> Tensor:
        """Coefficients of a field, as far as the state reaches."""
        full = field.expand(*field.shape[:-2], *self.grid.shape)
        return self.harmonics.analysis(full.contiguous()) * self.keep

    def tendency(self, vorticity: Tensor, stirring: Tensor) -> Tensor:
        """Change of vorticity in a second, `[B, L, M]`."""
        absolute, flow = vorticity + self.planetary, inverse_laplacian(vorticity)
        parts = [along_meridian(flow), along_parallel(flow),
                 along_meridian(absolute), along_parallel(absolute)]  # fmt: skip
        flow_y, flow_x, q_y, q_x = self.harmonics.synthesis(torch.stack(parts)).unbind(0)
        carried = (flow_y * q_x - flow_x * q_y) / (EARTH_RADIUS**2 * self.cosine2)
        return self.analysis(carried) - (vorticity - self.jets) / (DRAG_DAYS * 86400) + stirring

    def run(self, state: Tensor, stirring: Tensor, days: int, seed: int) -> tuple[Tensor, Tensor]:
        """Daily states after day 1, 2, ... and the stirring then, `[days, B, L, M]` each.

        Args:
            state: Vorticity at the start, `[B, L, M]`.
            stirring: Stirring at the start, `[B, L, M]`.
            days: How long.
            seed: Of the stirring.
        """
        random = torch.Generator().manual_seed(seed)
        dt, before = 86400.0 / STEPS_A_DAY, None
        fade = float(np.exp(-1.0 / (MEMORY_DAYS * STEPS_A_DAY)))
        states, stirrings = [], []
        for step in range(days * STEPS_A_DAY):
            kick = torch.randn(*state.shape, 2, dtype=torch.float64, generator=random)
            kick = torch.view_as_complex(kick) * STIRRING * self.stirred
            stirring = fade * stirring + (1 - fade**2) ** 0.5 * kick
            now = self.tendency(state, stirring)
            state = state + dt * (now if before is None else 1.5 * now - 0.5 * before)
            before = now
            if (step + 1) % STEPS_A_DAY == 0:
                states.append(state)
                stirrings.append(stirring)
        return torch.stack(states), torch.stack(stirrings)

    def fields(self, vorticity: Tensor) -> dict[str, np.ndarray]:
        """Height (m) and wind (m/s) of states `[..., L, M]`, as `[..., H, W]`."""
        zonal, meridional = wind(self.harmonics, vorticity, torch.zeros_like(vorticity))
        flow = self.harmonics.synthesis(inverse_laplacian(vorticity))
        height = 6000 + 2 * ROTATION * self.sine * flow / GRAVITY
        found = {"z500": height, "u500": zonal, "v500": meridional}
        return {name: field.numpy().astype(np.float32) for name, field in found.items()}


ATTRIBUTES = {
    "z500": {"standard_name": "geopotential_height", "units": "m"},
    "u500": {"standard_name": "eastward_wind", "units": "m s-1"},
    "v500": {"standard_name": "northward_wind", "units": "m s-1"},
}


def dates(first: int, days: int) -> np.ndarray:
    """Days of a 365-day year, counted from the first of January of year 1."""
    units = "days since 0001-01-01"
    return np.asarray(cftime.num2date(first + np.arange(days), units, CALENDAR))


def save(path: Path, planet: Planet, states: Tensor, dims: tuple[str, ...], coords: dict) -> None:
    """Write a CF NetCDF file of states `[*dims, L, M]`."""
    place = ("latitude", "longitude")
    data = {
        name: ((*dims, *place), field, ATTRIBUTES[name])
        for name, field in planet.fields(states).items()
    }
    where = {
        "latitude": ("latitude", planet.grid.lat, {"units": "degrees_north"}),
        "longitude": ("longitude", planet.grid.lon, {"units": "degrees_east"}),
    }
    attributes = {
        "Conventions": "CF-1.10",
        "source": "barotropic vorticity equation, T10",
        "planet": "toy",
    }
    made = xr.Dataset(data, {**coords, **where}, attributes)
    made.to_netcdf(path, engine="netcdf4")


def main() -> None:
    """Run the planet, write three files."""
    parser = argparse.ArgumentParser(description="A planet small enough to make in seconds.")
    parser.add_argument("out", type=Path, help="folder to write")
    parser.add_argument("--days", type=int, default=730, help="of the training run")
    parser.add_argument("--control-days", type=int, default=120)
    parser.add_argument("--starts", type=int, default=6, help="of the truth ensembles")
    parser.add_argument("--members", type=int, default=8, help="of the truth ensembles")
    parser.add_argument("--leads", type=int, default=6, help="days of the truth ensembles")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    planet = Planet()
    rest = planet.jets[None]
    days = SPIN_UP + args.days
    run, _ = planet.run(rest, torch.zeros_like(rest), days, args.seed)
    save(args.out / "train.nc", planet, run[SPIN_UP:, 0], ("time",),
         {"time": dates(10 * 365, args.days)})  # fmt: skip
    days = SPIN_UP + args.control_days
    run, stirring = planet.run(rest, torch.zeros_like(rest), days, args.seed + 1)
    save(args.out / "control.nc", planet, run[SPIN_UP:, 0], ("time",),
         {"time": dates(0, args.control_days)})  # fmt: skip

    starts = np.linspace(1, args.control_days - args.leads - 1, args.starts).round().astype(int)
    shape = (args.starts, args.members)
    begin, push = (
        x[SPIN_UP + starts].expand(*shape, *x.shape[2:]).flatten(0, 1) for x in (run, stirring)
    )
    futures, _ = planet.run(begin, push, args.leads, args.seed + 2)
    futures = futures.unflatten(1, shape).permute(1, 2, 0, 3, 4)
    leads = ("prediction_timedelta", np.arange(1, args.leads + 1), {"units": "days"})
    save(args.out / "truth.nc", planet, futures, ("time", "number", "prediction_timedelta"),
         {"time": dates(0, args.control_days)[starts], "number": np.arange(args.members),
          "prediction_timedelta": leads})  # fmt: skip
    for name in ("train.nc", "control.nc", "truth.nc"):
        print(args.out / name)


if __name__ == "__main__":
    main()
