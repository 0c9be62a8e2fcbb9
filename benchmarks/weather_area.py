"""Skill of a forecast model of a limited area on real weather, beside baselines.

    python benchmarks/weather_area.py natlantic_slp --data SLP.nc -o OUT [--members 50]

`SLP.nc` holds daily sea-level pressure of the North Atlantic from 2001 to 2010 (NCEP/NCAR
Reanalysis 1). Baselines are fitted to `--train` (2001:2008) alone and everything is scored on
`--verify` (2010:2010), from every day whose forecast ends within it:

* climatology: states of the season drawn from the training years;
* persistence: the last state; damped persistence: its fading anomaly with its past errors;
* the linear inverse model of `sciddiff verify`;
* the two-lag linear model: amplitudes of the 40 leading patterns of anomalies foretold from those
  of the last two days, step by step. Its members add at every step the whole field of an error
  that the model made on a training day of the season.

Prints the error of the ensemble mean, the fair CRPS with paired differences from every baseline
(block bootstrap over initial times), the spread-skill ratio and the shape of the rank histogram,
writes them to `OUT/area.json` and `OUT/area.md`, and all scores and plots of `sciddiff verify`
beside them. Without a model it scores the baselines. A rerun goes on where the last one stopped.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from weather_scores import as_ensemble, cells, figures, gain, prepared

from weather.data.times import Period
from weather.verification import (
    Ensemble,
    FileEnsemble,
    Instants,
    Region,
    SeriesTruth,
    Verification,
    VerifySettings,
    align,
    verify,
)
from weather.verification.baselines import (
    BaselineEnsemble,
    Climate,
    History,
    analyses_of,
    choose_baselines,
)
from weather.verification.baselines.patterns import Patterns
from weather.verification.instants import DAY, days_apart
from weather.verification.output import write_scores

AREA = "30:70,-70:10"
DAYS = (1, 2, 3, 5, 7)
LINEAR = "two-lag linear"
FIGURES = {
    "rmse": 100.0, "crps": 100.0, "bias": 100.0, "ssr": 1.0, "rank_chi2": 1.0,
    "rank_outliers": 1.0, "acc": 1.0,
}  # fmt: skip
"""Figures of the tables and their units; pressures in hPa."""


def main() -> None:
    """Forecast, score, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", help="shipped weights or a model directory")
    parser.add_argument("--data", type=Path, required=True, help="daily fields of ten years")
    parser.add_argument("--area", default=AREA)
    parser.add_argument("--train", default="2001:2008")
    parser.add_argument("--verify", default="2010:2010")
    parser.add_argument("--members", type=int, default=50)
    parser.add_argument("--calibration", help="as of sciddiff forecast; none for raw members")
    parser.add_argument("--patterns", type=int, default=40)
    parser.add_argument("--every", type=int, default=1, help="days between initial times")
    parser.add_argument("--batch", type=int)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--out", type=Path, required=True)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    result = _score(args)
    write_scores(result, args.out)
    tables = {name: figures(result, name, DAYS, FIGURES) for name in result.forecasts}
    first, *others = (name for name in result.forecasts if result.sizes[name] > 1)
    gains = {other: gain(result, first, other, DAYS) for other in others}
    record = {
        "model": args.model, "calibration": args.calibration, "members": args.members,
        "initial_times": len(result.times),
        "train": args.train, "verify": args.verify, "seed": args.seed,
        "seconds": round(time.perf_counter() - began, 1), "forecasts": tables,
        "crps_difference_percent": {name: row for name, row in gains.items() if row},
    }  # fmt: skip
    (args.out / "area.json").write_text(json.dumps(record, indent=2))
    text = as_markdown(record)
    (args.out / "area.md").write_text(text)
    print(text)


def _score(args: argparse.Namespace) -> Verification:
    """The model and all baselines against the analyses of the year."""
    train = prepared(args.data, args.out / "train.zarr", args.area, args.train)
    whole = prepared(args.data, args.out / "analyses.zarr", args.area)
    history, analyses = History(train), History(whole)
    climate = Climate(history)
    inside = np.flatnonzero(Period.parse(args.verify).mask(whole.times))
    cases = inside[2 : len(inside) - max(DAYS) : args.every]
    times = Instants(analyses.times.seconds[cases], analyses.times.calendar)
    leads = np.array(DAYS) * DAY
    states = analyses_of(analyses, history.channels, "analyses")
    named = choose_baselines(["climatology", "persistence", "lim"], climate)
    forecasts: list[Ensemble] = [
        BaselineEnsemble(one, states, times, leads, args.members, history.channels, args.seed)
        for one in named
    ]
    shape = {"times": times, "leads": leads, "lat": history.lat, "lon": history.lon}
    last = np.stack([analyses.read(int(i), int(i) + 1)[0] for i in cases])
    still = np.broadcast_to(last[:, None, None], (len(cases), 1, len(DAYS), *last.shape[1:]))
    forecasts.append(as_ensemble("persistence", still, history.channels, shape))
    members = TwoLag(climate, args.patterns).forecast(analyses, cases, args.members, args.seed)
    forecasts.append(as_ensemble(LINEAR, members, history.channels, shape))
    if args.model:
        forecasts.insert(0, FileEnsemble(_forecast(args, times), "model"))
    truth = SeriesTruth(whole)
    plan = align(forecasts[0], truth, leads=[int(lead) for lead in leads], others=forecasts[1:])
    settings = VerifySettings((Region("area"),), seed=args.seed)
    scales = [float(x) for x in climate.scale]
    return verify(forecasts, truth, plan, settings, None, scales, climate=climate)


class TwoLag:
    """Amplitudes of patterns, foretold from the last two days, with the errors of the past.

    Args:
        climate: Of the training states.
        count: Patterns.
        ridge: Added to the variance of each predictor, relative to it.
        window: Days of the year on either side from which errors are drawn.
    """

    def __init__(
        self, climate: Climate, count: int, ridge: float = 0.02, window: float = 45.0
    ) -> None:
        self.climate, self.patterns, self._window = climate, Patterns(climate, count), window
        history, a = climate.history, self.patterns.amplitudes
        now = np.flatnonzero(history.continues(2)) + 1  # a day before and a day after are known
        predictors = np.concatenate([a[now], a[now - 1]], 1)
        square = predictors.T @ predictors
        square += ridge * np.diag(np.diag(square))
        self._dynamics = np.linalg.solve(square, predictors.T @ a[now + 1])
        self._errors = climate.anomalies_of(now + 1) - self.patterns.compose(
            predictors @ self._dynamics
        )
        self._days = history.days[now]

    def forecast(
        self, analyses: History, cases: np.ndarray, members: int, seed: int
    ) -> np.ndarray:
        """Members from some initial times, `[T, M, L, C, H, W]`.

        Args:
            analyses: States, a day apart.
            cases: Positions of the initial times among them, `[T]`.
            members: M.
            seed: Of the draws of errors.
        """
        made = []
        for case in cases.tolist():
            seconds = int(analyses.times.seconds[case])
            generator = np.random.default_rng([seed, 2, seconds])
            near = np.flatnonzero(
                days_apart(self._days, float(analyses.days[case])) <= self._window
            )
            fields = analyses.read(case - 1, case + 1)
            anomalies = self.climate.anomalies(fields, analyses.days[case - 1 : case + 1])
            before, now = (
                np.repeat(x[None], members, 0) for x in self.patterns.project(anomalies)
            )
            steps = self._members(now, before, near, seconds, generator)
            kept = [next(steps) for _ in range(max(DAYS))]
            made.append(np.stack([kept[day - 1] for day in DAYS], 1))
        return np.stack(made)

    def _members(
        self, now: np.ndarray, before: np.ndarray, near: np.ndarray, seconds: int,
        generator: np.random.Generator,
    ) -> Iterator[np.ndarray]:  # fmt: skip
        while True:
            mean = np.concatenate([now, before], 1) @ self._dynamics
            errors = self._errors[generator.choice(near, len(now))]
            seconds += DAY
            yield self.climate.mean_at(seconds) + self.patterns.compose(mean) + errors
            now, before = mean + self.patterns.project(errors), now


def _forecast(args: argparse.Namespace, times: Instants) -> Path:
    """The model's ensemble from every initial time, by the same command a user types."""
    from sciddiff.cli.main import main as sciddiff

    out = args.out / "forecast.zarr"
    words = [
        "forecast", str(args.out / "analyses.zarr"), "-o", str(out), "--model", args.model,
        "--members", str(args.members), "--days", str(max(DAYS)), "--seed", str(args.seed),
        "--threads", str(args.threads),
        "--start", *(times.text(i)[:10] for i in range(len(times))),
    ]  # fmt: skip
    words += ["--batch", str(args.batch)] if args.batch else []
    words += ["--calibration", args.calibration] if args.calibration else []
    if status := sciddiff(words):
        raise SystemExit(status)
    return out


def as_markdown(record: dict) -> str:
    """The tables for people."""
    days = [f"{day}" for day in DAYS]
    head = f"| forecast | {' | '.join(f'day {d}' for d in days)} |"
    rule = "|---" * (len(days) + 1) + "|"
    titles = {
        "rmse": "RMSE of the ensemble mean (hPa)", "crps": "fair CRPS (hPa)",
        "ssr": "spread-skill ratio", "acc": "anomaly correlation",
        "rank_outliers": "truths outside the ensemble over what is expected",
    }  # fmt: skip
    lines: list[str] = [f"{record['initial_times']} initial times, {record['members']} members"]
    for figure, title in titles.items():
        lines += ["", f"{title}, 95 % in brackets:", "", head, rule]
        for name, table in record["forecasts"].items():
            if figure in table:
                lines.append(f"| {name} | {cells(table[figure])} |")
    lines += [
        "",
        "CRPS better than (%), paired block bootstrap, 95 % in brackets:",
        "",
        head,
        rule,
    ]
    for name, row in record["crps_difference_percent"].items():
        lines.append(f"| {name} | {cells(row)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
