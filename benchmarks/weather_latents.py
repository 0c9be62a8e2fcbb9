"""A model of latents beside a plain one, with the reconstruction and the bare prior as controls.

    python benchmarks/weather_latents.py LATENT PLAIN --data SLP.nc -o OUT [--members 20 --every 4]

`LATENT` and `PLAIN` are models of the same limited area (`configs/weather/natlantic_latent.yaml`
and `natlantic_diffusion.yaml`), `SLP.nc` the file of `benchmarks/weather_area.py`. Both are scored
on `--verify` (2010:2010), which neither saw, from every `--every`-th day:

* bare prior: members whose steps are decoded noise, which no network has looked at;
* reconstruction: the true step, encoded and decoded, from the true state of the day before: the
  error that the codec alone makes, once.

Prints RMSE of the ensemble mean, fair CRPS and spread-skill ratio with intervals, the paired
difference of CRPS (block bootstrap over initial times) and the CPU-seconds of a member-step, and
writes them to `OUT/latents.json` and `OUT/latents.md`.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from weather_scores import as_ensemble, cells, figures, gain, prepared

from sciddiff import Batch, Denoiser, State, load
from sciddiff.encoded import Encoded
from weather.data.store import Store
from weather.data.times import Period
from weather.forecast.forecaster import Forecaster
from weather.verification import (
    Instants,
    Region,
    SeriesTruth,
    Verification,
    VerifySettings,
    align,
    verify,
)
from weather.verification.baselines import Climate, History
from weather.verification.instants import DAY

DAYS = (1, 2, 3, 5)
FIGURES = {"rmse": 100.0, "crps": 100.0, "ssr": 1.0}
"""Figures of the table and their units; pressures in hPa."""


class Still(nn.Module):
    """Says that nothing moves: what is drawn with the parametrization velocity is the noise."""

    def forward(self, x: State, t: Tensor, batch: Batch) -> State:
        """A velocity of zero for every leaf."""
        return {name: torch.zeros_like(leaf) for name, leaf in x.items()}


def main() -> None:
    """Forecast, score, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("latent", help="model of latents, drawn with the velocity")
    parser.add_argument("plain", help="model of the fields themselves")
    parser.add_argument("--data", type=Path, required=True, help="daily fields of ten years")
    parser.add_argument("--area", default="30:70,-70:10")
    parser.add_argument("--train", default="2001:2008")
    parser.add_argument("--verify", default="2010:2010")
    parser.add_argument("--members", type=int, default=20)
    parser.add_argument("--every", type=int, default=4, help="days between initial times")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--out", type=Path, required=True)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    result, seconds = _score(args)
    record = {
        "members": args.members, "initial_times": len(result.times), "verify": args.verify,
        "seed": args.seed, "cpu_ms_a_member_step": seconds,
        "forecasts": {name: figures(result, name, DAYS, FIGURES) for name in result.forecasts},
        "crps_of_plain_over_latent": gain(result, "latent", "plain", DAYS),
    }  # fmt: skip
    (args.out / "latents.json").write_text(json.dumps(record, indent=2))
    text = _as_markdown(record)
    (args.out / "latents.md").write_text(text)
    print(text)


def _score(args: argparse.Namespace) -> tuple[Verification, dict[str, float]]:
    """All rows against the analyses of the year, and CPU-milliseconds of a member-step."""
    train = prepared(args.data, args.out / "train.zarr", args.area, args.train)
    whole = prepared(args.data, args.out / "analyses.zarr", args.area)
    analyses, climate = History(whole), Climate(History(train))
    inside = np.flatnonzero(Period.parse(args.verify).mask(whole.times))
    cases = inside[4 : len(inside) - max(DAYS) : args.every]
    times = Instants(analyses.times.seconds[cases], analyses.times.calendar)
    shape = {
        "times": times, "leads": np.array(DAYS) * DAY,
        "lat": analyses.lat, "lon": analyses.lon,
    }  # fmt: skip
    model = load(args.latent)
    still = replace(model, denoiser=Denoiser(Still(), model.denoiser.path))
    forecasters = {
        "latent": Forecaster(args.latent),
        "plain": Forecaster(args.plain),
        "bare prior": Forecaster(still),
    }
    made, seconds = [], {}
    for name, forecaster in forecasters.items():
        began = time.process_time()
        fields = np.stack([_members(args, forecaster, whole, int(case)) for case in cases])
        spent = time.process_time() - began
        seconds[name] = round(1e3 * spent / (len(cases) * args.members * max(DAYS)), 2)
        made.append(as_ensemble(name, fields, analyses.channels, shape))
    exact = np.stack([_reconstructed(forecasters["latent"], whole, int(case)) for case in cases])
    made.append(as_ensemble("reconstruction", exact[:, None], analyses.channels, shape))
    truth = SeriesTruth(whole)
    plan = align(made[0], truth, leads=[day * DAY for day in DAYS], others=made[1:])
    settings = VerifySettings((Region("area"),), seed=args.seed)
    scales = [float(x) for x in climate.scale]
    return verify(made, truth, plan, settings, None, scales, climate=climate), seconds


def _members(args: argparse.Namespace, forecaster: Forecaster, store: Store, case: int):
    """Members from one initial time at the days of the table, `[M, L, C, H, W]`."""
    frames = forecaster.spec.frames
    initial = torch.from_numpy(store.read(case - frames + 1, case + 1))
    start, members = store.times[case], range(args.members)
    steps = list(forecaster.rollout(initial, start, max(DAYS), members, args.seed))
    return torch.stack([steps[day - 1] for day in DAYS], 1).numpy()


def _reconstructed(forecaster: Forecaster, store: Store, case: int):
    """States after true steps that were encoded and decoded once, `[L, C, H, W]`."""
    domain, spec, found = forecaster.model.domain, forecaster.spec, []
    assert isinstance(domain, Encoded)
    for day in DAYS:
        after = case + day
        known = torch.from_numpy(store.read(after - spec.frames, after + 1))
        batch = forecaster.batch(known[None, :-1], store.times[after])
        residual = spec.residual(known[None, -2], known[None, -1])
        batch = replace(batch, x={"fields": residual})
        decoded = domain.reconstruction(batch)["fields"]
        found.append(spec.advance(known[-2], decoded[0]))
    return torch.stack(found).numpy()


def _as_markdown(record: dict) -> str:
    """The table for people."""
    titles = {
        "rmse": "RMSE of the mean (hPa)", "crps": "fair CRPS (hPa)", "ssr": "spread-skill ratio",
    }  # fmt: skip
    lines = [
        f"{record['initial_times']} initial times, {record['members']} members; 95 % in brackets",
        "",
        f"| figure | row | {' | '.join(f'day {d}' for d in DAYS)} |",
        "|---" * (len(DAYS) + 2) + "|",
    ]
    for figure, title in titles.items():
        for name, table in record["forecasts"].items():
            if figure in table:
                lines.append(f"| {title} | {name} | {cells(table[figure])} |")
    better = record["crps_of_plain_over_latent"]
    lines.append(f"| CRPS of latents lower than plain by (%) | | {cells(better)} |")
    spent = ", ".join(f"{k} {v:g}" for k, v in record["cpu_ms_a_member_step"].items())
    return "\n".join([*lines, "", f"CPU-milliseconds a member-step: {spent}"]) + "\n"


if __name__ == "__main__":
    main()
