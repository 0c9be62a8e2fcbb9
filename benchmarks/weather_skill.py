"""Skill of a forecast model on the perfect-model planet, beside baselines and the limit.

    python benchmarks/weather_skill.py MODEL --planet FOLDER -o OUT [--members 50]

`FOLDER` holds `plasim_train.nc`, `plasim_verify_control.nc` (the analyses) and
`plasim_truth_ensembles.nc`. From every start of the truth ensembles an ensemble is made whose
initial states are perturbed by the truth's own law (the analysis plus 0.05 times the difference
of two states of the season over the root of 2), and scored against each truth in turn. Baselines
are built from the training states alone; the dressed deterministic forecast is the mean of
`--average` draws at every step, or the network named by `--deterministic`, plus its own errors on
training days. Nothing is fitted to the truth ensembles.

Prints the table of targets, with 95 % jackknife intervals over the starts, and writes
`OUT/skill.json`, `OUT/skill.md` and all scores and plots of `sciddiff verify` beside it.
`--stand-in lim` scores a linear inverse model in place of a network. A rerun goes on where the
last one stopped.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from sciddiff.errors import InputError
from weather.data.prepare import prepare_forecast
from weather.data.reading import ReaderSettings
from weather.data.store import Store
from weather.verification import (
    EnsembleTruth,
    FileEnsemble,
    Verification,
    VerifySettings,
    align,
    verify,
)
from weather.verification.baselines import (
    BASELINES,
    BaselineEnsemble,
    Climate,
    DressedForecast,
    History,
    analyses_of,
    choose_baselines,
)
from weather.verification.instants import DAY, Instants
from weather.verification.output import write_scores

HEADLINE = ("z500", "t850", "u850", "mslp")
ATTAINABLE = {1: (0.85, 0.95), 3: (0.65, 0.85), 5: (0.45, 0.71), 10: (0.15, 0.31)}
LEADS_BEATEN = range(1, 8)
TOP_DEGREE = 20


def main() -> None:
    """Forecast, score, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", help="shipped weights or a model directory")
    parser.add_argument("--stand-in", choices=BASELINES, help="score a baseline in its place")
    parser.add_argument("--planet", type=Path, required=True)
    parser.add_argument("--truth", type=Path, help="default: plasim_truth_ensembles.nc there")
    parser.add_argument("--control", type=Path, help="default: plasim_verify_control.nc there")
    parser.add_argument("--members", type=int, default=50)
    parser.add_argument("--baseline-members", type=int, default=50)
    parser.add_argument("--baselines", nargs="*", default=list(BASELINES))
    parser.add_argument("--deterministic", help="network of the dressed forecast")
    parser.add_argument("--average", type=int, default=8, help="draws averaged at a step; 0: none")
    parser.add_argument("--archive", type=int, default=100, help="past days of the dressing")
    parser.add_argument("--head", choices=("crps", "diffusion"))
    parser.add_argument("--steps", type=int, default=10, help="network calls of the diffusion")
    parser.add_argument("--batch", type=int)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--out", type=Path, required=True)
    args = parser.parse_args()
    if (args.model is None) == (args.stand_in is None):
        parser.error("give a model, or --stand-in")
    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    result = _score(args)
    write_scores(result, args.out)
    rows = targets(result, result.forecasts[0])
    record = {
        "model": args.model or args.stand_in, "members": result.sizes[result.forecasts[0]],
        "starts": len(result.times), "truths": result.truths, "seed": args.seed,
        "seconds": round(time.perf_counter() - began, 1), "targets": rows,
        "baselines": {name: attainable(result, name) for name in result.forecasts},
    }  # fmt: skip
    (args.out / "skill.json").write_text(json.dumps(record, indent=2, default=float))
    text = as_markdown(rows, record["baselines"])
    (args.out / "skill.md").write_text(text)
    print(text)


def _score(args: argparse.Namespace) -> Verification:
    """All forecasts against the truth ensembles."""
    train = _prepared(args.planet / "plasim_train.nc", args.out / "train.zarr")
    control = _prepared(
        args.control or args.planet / "plasim_verify_control.nc", args.out / "control.zarr"
    )
    truth = EnsembleTruth(FileEnsemble(_truth_path(args)))
    climate = Climate(History(train))
    analyses = History(control, resident=0)
    baselines = choose_baselines(args.baselines, climate)
    if args.stand_in:
        baselines += [b for b in choose_baselines([args.stand_in], climate)]
        baselines[-1].name = f"stand-in: {args.stand_in}"
    if args.deterministic or (args.model and args.average):
        baselines.append(_dressed(args, climate.history, analyses, truth))
    states = analyses_of(analyses, climate.history.channels, "control")
    first = None if args.stand_in else FileEnsemble(_forecast(args, truth), "model")
    plan = align(first or FileEnsemble(_truth_path(args)), truth)
    made = [
        BaselineEnsemble(
            baseline, states, plan.times, plan.leads,
            args.members if baseline.name.startswith("stand-in") else args.baseline_members,
            plan.channels, args.seed,
        )
        for baseline in baselines
    ]  # fmt: skip
    if first is None:
        first = next(e for e in made if e.name.startswith("stand-in"))
    forecasts = [first, *(e for e in made if e is not first)]
    scales = [climate.scale[climate.history.channels.index(name)] for name in plan.channels]
    return verify(forecasts, truth, plan, VerifySettings(), None, scales, _tell)


def _truth_path(args: argparse.Namespace) -> Path:
    return args.truth or args.planet / "plasim_truth_ensembles.nc"


def _prepared(path: Path, store: Path) -> Store:
    """The prepared store of a file, made once."""
    if not (store / ".zattrs").exists():
        prepare_forecast([path], store, ReaderSettings())
    return Store(store)


def _forecast(args: argparse.Namespace, truth: EnsembleTruth) -> Path:
    """The model's ensemble from every start, by the same command a user types."""
    from sciddiff.cli.main import main as sciddiff

    out = args.out / "forecast.zarr"
    starts = [truth.times.text(i)[:10] for i in range(len(truth.times))]
    words = [
        "forecast", str(args.out / "control.zarr"), "-o", str(out), "--model", args.model,
        "--members", str(args.members), "--days", f"{truth.leads[-1] / DAY:g}",
        "--perturb", "lagged-difference", "--amplitude", "0.05",
        "--archive", str(args.out / "train.zarr"), "--seed", str(args.seed),
        "--steps", str(args.steps), "--device", args.device, "--threads", str(args.threads),
        "--start", *starts,
    ]  # fmt: skip
    words += ["--head", args.head] if args.head else []
    words += ["--batch", str(args.batch)] if args.batch else []
    if status := sciddiff(words):
        raise SystemExit(status)
    return out


def _dressed(
    args: argparse.Namespace, history: History, analyses: History, truth: EnsembleTruth
) -> DressedForecast:
    """The deterministic network, or the mean of the model's draws, dressed with past errors."""
    from sciddiff.cli.options import pick_device
    from weather.forecast.forecaster import Forecaster, forecast_streams

    device = pick_device(args.device)
    forecaster = Forecaster(args.deterministic or args.model, device)
    spec = forecaster.spec
    order = [history.channels.index(name) for name in spec.names]
    back = [spec.names.index(name) for name in history.channels if name in spec.names]
    if len(back) < len(history.channels):
        raise InputError("dressed forecast: the network lacks channels of the training store")
    draws = 1 if args.deterministic else args.average

    def rollout(previous, initial, seconds, steps) -> Iterator[np.ndarray]:
        start = Instants(np.array([seconds]), history.times.calendar).dates()[0]
        frames = np.stack([previous, initial])[-spec.frames :, order]
        now = torch.from_numpy(np.ascontiguousarray(frames))[None].to(forecaster.device)
        for step in range(1, steps + 1):
            streams = forecast_streams(args.seed, start, range(draws), step)
            many = now.expand(draws, *now.shape[1:])
            mean = forecaster.step(many, spec.after(start, step), streams).mean(0, keepdim=True)
            now = torch.cat([now[:, 1:], mean[:, None]], 1)
            yield mean[0, back].cpu().numpy()

    before = analyses_of(analyses, history.channels, "control")
    steps = int(truth.leads[-1] // history.step)
    return DressedForecast(rollout, history, before, steps, args.archive)


def _tell(done: int, total: int) -> None:
    print(f"start {done} of {total}", flush=True)


def _mean_channels(channels: tuple[str, ...], day: np.ndarray, at: int):
    """Takes [B, L, V, R] to the mean over the headline channels at a day, globe."""
    lead = int(np.flatnonzero(day == at)[0])
    chosen = [channels.index(name) for name in HEADLINE if name in channels]
    return lambda x: x[:, lead][:, chosen, 0].mean(-1)


def attainable(result: Verification, forecast: str) -> dict[str, dict[str, float]]:
    """Fraction of attainable skill of one forecast, by channel and day."""
    if not result.has("attainable", forecast):
        return {}
    days = result.leads / DAY
    value = result.figure("attainable", forecast)[0, :, :, 0]
    table = {
        name: {f"{day:g}": round(float(v), 4) for day, v in zip(days, value[:, c], strict=True)}
        for c, name in enumerate(result.channels)
    }
    chosen = [result.channels.index(name) for name in HEADLINE if name in result.channels]
    mean = value[:, chosen].mean(1)
    energy = result.figure("energy_attainable", forecast)[0, :, 0]
    for name, row in (("mean", mean), ("energy", energy)):
        table[name] = {f"{d:g}": round(float(v), 4) for d, v in zip(days, row, strict=True)}
    return table


def targets(result: Verification, name: str) -> list[dict]:
    """The table of targets: figure, value, interval, target, whether reached."""
    days = result.leads / DAY
    rows = []
    for day, (goal, moon) in ATTAINABLE.items():
        if day in days:
            reduce = _mean_channels(result.channels, days, day)
            value, low, high = result.jackknifed("attainable", name, reduce)
            rows.append(_row(f"attainable skill, day {day}", value, low, high,
                             f">= {goal} (moonshot {moon})", value >= goal))  # fmt: skip
    lowest = result.figure("attainable", name)[0, :, :, 0]
    rows.append(_row("lowest attainable skill of any channel and day", lowest.min(), None, None,
                     ">= 0", lowest.min() >= 0))  # fmt: skip
    rows += [_beaten(result, name, other) for other in result.forecasts
             if other not in (name, "perfect", "climatology")]  # fmt: skip
    within = days <= 10
    ratio = result.figure("ssr", name)[0, within, :, 0]
    rows.append(_row("spread-skill ratio, days 1 to 10, smallest", ratio.min(), None, None,
                     ">= 0.9", ratio.min() >= 0.9))  # fmt: skip
    rows.append(_row("spread-skill ratio, days 1 to 10, largest", ratio.max(), None, None,
                     "<= 1.1", ratio.max() <= 1.1))  # fmt: skip
    for day in (1, 10):
        if day in days:
            rows.append(_spectra(result, name, day))
    return rows


def _beaten(result: Verification, name: str, other: str) -> dict:
    """Smallest gain over a baseline, in percent of its score, at days 1 to 7."""
    days = result.leads / DAY
    chosen = np.isin(days, list(LEADS_BEATEN))
    columns = [result.channels.index(c) for c in HEADLINE if c in result.channels]

    def gain(weights: np.ndarray) -> np.ndarray:
        own, its = (result.figure("crps", f, weights)[:, chosen][:, :, columns, 0]
                    for f in (name, other))  # fmt: skip
        energy, theirs = (result.figure("energy", f, weights)[:, chosen, 0] for f in (name, other))
        crps = (1 - own / its).reshape(len(weights), -1)
        return 100 * np.concatenate([crps, 1 - energy / theirs], 1)

    from weather.verification.bootstrap import jackknife

    value, low, high = jackknife(gain, len(result.times))
    worst = int(value.argmin())
    return _row(f"gain over {other}, days 1 to 7, smallest of CRPS and energy score (%)",
                value[worst], low[worst], high[worst], "> 0", value[worst] > 0)  # fmt: skip


def _spectra(result: Verification, name: str, day: int) -> dict:
    """Power over the truth's at the wavenumber where it is farthest off."""
    lead = int(np.flatnonzero(result.leads == day * DAY)[0])

    def flat(x: np.ndarray) -> np.ndarray:
        return x[:, lead, :, : TOP_DEGREE + 1].reshape(len(x), -1)

    value, low, high = result.jackknifed("spectrum_ratio", name, flat)
    off = np.abs(value - 1)
    worst = int(off.argmax())
    channel, degree = divmod(worst, TOP_DEGREE + 1)
    outside = int((off > 0.15).sum())
    place = f"{result.channels[channel]}, wavenumber {degree}; {outside} of {off.size} outside"
    title = f"power over the truth's to T{TOP_DEGREE}, day {day}, farthest off ({place})"
    return _row(title, value[worst], low[worst], high[worst], "0.85 to 1.15", outside == 0)


def _row(title, value, low, high, goal, reached) -> dict:
    bounds = [None if x is None else float(x) for x in (low, high)]
    return {"figure": title, "value": float(value), "interval": bounds, "target": goal,
            "reached": bool(reached)}  # fmt: skip


def as_markdown(rows: list[dict], baselines: dict) -> str:
    """Both tables for people."""
    lines = ["| figure | value | 95 % | target | reached |", "|---|---|---|---|---|"]
    for row in rows:
        low, high = row["interval"]
        interval = "" if low is None else f"{low:.3g} to {high:.3g}"
        mark = "yes" if row["reached"] else "no"
        lines.append(
            f"| {row['figure']} | {row['value']:.3g} | {interval} | {row['target']} | {mark} |"
        )
    days = ("1", "3", "5", "7", "10")
    lines += ["", "Fraction of attainable skill:", ""]
    lines += [f"| forecast | channel | {' | '.join(f'day {d}' for d in days)} |"]
    lines += ["|---" * (len(days) + 2) + "|"]
    for forecast, table in baselines.items():
        for channel, values in table.items():
            cells = " | ".join(f"{values[d]:.3f}" if d in values else "" for d in days)
            lines.append(f"| {forecast} | {channel} | {cells} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
