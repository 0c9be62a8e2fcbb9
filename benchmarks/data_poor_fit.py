"""Tables, half-lives and the figure of `benchmarks/data_poor.py`."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Record = dict[str, Any]

LONGEST_LIFE, SCALE = 4096.0, 4096.0
"""Epochs beyond which a half-life is not told; data that B is the loss of."""

WARMED = 16
"""Share of the longest run, as a divisor, before which evaluations tell of the start alone."""

LABELS = {
    "ar": "AR", "ar_dropout": "AR, dropout", "ar_input_masking": "AR, input masking",
    "ar_random_order": "AR, random order", "masked": "masked", "masked_elbo": "masked, ELBO",
    "uniform": "uniform", "block8": "blocks of 8", "flow": "flow",
}  # fmt: skip
TITLES = {
    "hmm": "hidden Markov source", "brackets": "brackets", "torsions": "torsions of chains",
    "sequences": "plain sequences", "structures": "residues given structure",
    "backbone": "backbone flow", "weather": "weather flow",
}  # fmt: skip


@dataclass(frozen=True)
class Law:
    """Loss = E + B (D' / 4096)^-b with D' = U + U R (1 - exp(-(e - 1) / R)).

    Attributes:
        floor: E.
        scale: B.
        power: b.
        life: R, epochs.
    """

    floor: float
    scale: float
    power: float
    life: float

    def __call__(
        self, unique: NDArray[np.float64] | float, epoch: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Loss after some epochs over unique data."""
        repeated = self.life * (1.0 - np.exp(-(epoch - 1.0) / self.life))
        return self.floor + self.scale * (unique * (1.0 + repeated) / SCALE) ** -self.power


def fit(out: Path, draws: int, figure: Path | None = None) -> None:
    """Print the tables of the records of a folder, and draw the figure."""
    records = [json.loads(path.read_text()) for path in sorted(out.glob("*.json"))]
    if not records:
        raise SystemExit(f"{out}: there are no records; begin with the verb run")
    groups = _grouped(records, "corpus", "size", "unique", "arm")
    _print_table(groups)
    _print_bounds(groups)
    laws = _print_laws(_grouped(records, "corpus", "size", "arm"), draws)
    total = sum(record["cpu_s"] for record in records)
    print(f"\n{len(records)} runs, {total:.0f} CPU-s")
    if figure is not None:
        _draw(groups, laws, figure)


def _grouped(records: Sequence[Record], *keys: str) -> dict[tuple[Any, ...], list[Record]]:
    found = defaultdict(list)
    for record in records:
        found[tuple(record[key] for key in keys)].append(record)
    arms = list(LABELS)
    return dict(sorted(found.items(), key=lambda item: (*item[0][:-1], arms.index(item[0][-1]))))


def _print_table(groups: dict[tuple[Any, ...], list[Record]]) -> None:
    """Best and last checkpoints, means and ranges over the seeds."""
    print("| corpus | size | unique | arm | seeds | best | at epoch | less AR's, same seed | last "
          "| of epochs | CPU-s |\n" + "|---" * 11 + "|")  # fmt: skip
    for (corpus, size, unique, arm), runs in groups.items():
        rivals = {r["seed"]: r for r in groups.get((corpus, size, unique, "ar"), [])}
        apart = [r["best"]["nats"] - rivals[r["seed"]]["best"]["nats"]
                 for r in runs if r["seed"] in rivals]  # fmt: skip
        at = sorted(int(r["best"]["epoch"]) for r in runs)
        cells = [
            corpus, size, f"{unique:,}", LABELS[arm], len(runs),
            _range([r["best"]["nats"] for r in runs]), at[len(at) // 2],
            "" if arm == "ar" else _range(apart, "+.3f"),
            _range([r["last"]["nats"] for r in runs]), runs[0]["epochs"],
            f"{np.mean([r['cpu_s'] for r in runs]):.0f}",
        ]  # fmt: skip
        print("| " + " | ".join(str(cell) for cell in cells) + " |")
    errors = defaultdict(list)
    for (corpus, *_), runs in groups.items():
        errors[corpus].extend(r["best"]["error"] for r in runs)
    for corpus, found in errors.items():
        known = next(
            r["entropy"] for key, runs in groups.items() for r in runs if key[0] == corpus
        )
        floor = "" if known is None else f"; the source's own nats on them {known:.4f}"
        print(f"{corpus}: standard error over the held-out samples {np.mean(found):.3f}{floor}")


def _range(values: Sequence[float], style: str = ".3f") -> str:
    """Mean, and the smallest and the largest."""
    if len(values) == 0:
        return ""
    middle = f"{np.mean(values):{style}}"
    if len(values) == 1:
        return middle
    return f"{middle} ({min(values):{style}} to {max(values):{style}})"


def _print_bounds(groups: dict[tuple[Any, ...], list[Record]]) -> None:
    """How far the bound by the mean of orders is from that by their mean probability."""
    for key, runs in groups.items():
        for best in (r["best"] for r in runs if "orders_mean" in r["best"]):
            mean, tight = best["orders_mean"], best["orders_log_mean_exp"]
            print(f"{' '.join(map(str, key))}: {mean:.4f} by the mean of 8 orders, {tight:.4f} by "
                  f"their mean probability, {mean - tight:.4f} less")  # fmt: skip


def _print_laws(
    groups: dict[tuple[Any, ...], list[Record]], draws: int
) -> dict[tuple[Any, ...], Law]:
    """Half-lives with bootstrap intervals, from the best checkpoints and from the last."""
    laws = {}
    for key, runs in groups.items():
        if len({r["unique"] for r in runs}) < 2:
            continue
        for name, choose in (("best", best_so_far), ("last", list[float])):
            life, law, off = half_life(runs, choose, draws, np.random.default_rng(0))
            if name == "best":
                laws[key] = law
            said = " to ".join(f"{v:.0f}" if v < 0.99 * LONGEST_LIFE else "more" for v in life)
            middle = f"{law.life:.0f}" if law.life < 0.99 * LONGEST_LIFE else "more than 4000"
            print(f"{' '.join(key)}, {name} checkpoints: R = "
                  f"{middle} epochs, 80 % interval {said}; E = {law.floor:.3f}, b = "
                  f"{law.power:.2f}; the law is off by {off:.3f}")  # fmt: skip
    return laws


def best_so_far(values: Sequence[float]) -> list[float]:
    """Best checkpoint of runs that end at each evaluation."""
    return np.minimum.accumulate(values).tolist()


def half_life(
    runs: Sequence[Record],
    choose: Callable[[Sequence[float]], list[float]],
    draws: int,
    rng: np.random.Generator,
) -> tuple[list[float], Law, float]:
    """R in epochs: 10 % and 90 % of bootstrap draws, the law, and its root mean square error.

    Args:
        runs: Records of one arm, with two amounts of unique data at least.
        choose: From the losses of a run to those that count.
        draws: Bootstrap draws: the law with the residuals of all runs and seeds, drawn anew.
        rng: Their source.
    """
    longest = max(r["unique"] * r["epochs"] for r in runs)
    points = np.array([
        (run["unique"], row["epoch"], loss)
        for run in runs
        for row, loss in zip(
            run["rows"], choose([row["nats"] for row in run["rows"]]), strict=True
        )
        if run["unique"] * row["epoch"] >= longest / WARMED
    ], dtype=float)  # fmt: skip
    (law,) = fit_laws(points[:, 0], points[:, 1], points[None, :, 2])
    said = law(points[:, 0], points[:, 1])
    off = points[:, 2] - said
    again = said + rng.choice(off, size=(draws, len(off)))
    lives = [one.life for one in fit_laws(points[:, 0], points[:, 1], again)]
    low, high = np.percentile(lives or [law.life], [10, 90]).tolist()
    return [low, high], law, float((off**2).mean() ** 0.5)


def fit_laws(
    unique: NDArray[np.float64], epoch: NDArray[np.float64], losses: NDArray[np.float64]
) -> list[Law]:
    """The law of least squares of each row of losses ``[rows, n]``; E and B are not negative.

    E and B are solved for, b and R are searched on a grid of 3 and 5 % steps, so that the
    minimum is the lowest one.
    """
    lives = np.geomspace(0.25, LONGEST_LIFE, 200)[:, None, None]
    powers = np.geomspace(0.05, 2.0, 120)[None, :, None]
    seen = unique * (1.0 + lives * (1.0 - np.exp(-(epoch - 1.0) / lives)))
    shape = ((seen / SCALE) ** -powers).reshape(-1, len(unique))
    middle = shape.mean(1)
    apart = shape - middle[:, None]
    square = np.maximum((apart**2).sum(1), 1e-12)
    found = []
    for loss in losses:
        along = apart @ (loss - loss.mean())
        scale = along / square
        floor = loss.mean() - scale * middle
        gain = np.where((scale > 0) & (floor > 0), along**2 / square, -1.0)
        k = int(gain.argmax())
        life, power = np.unravel_index(k, (lives.size, powers.size))
        found.append(
            Law(
                float(floor[k]), float(scale[k]), float(powers.flat[power]),
                float(lives.flat[life]),
            )
        )  # fmt: skip
    return found


COLOURS = {
    "ar": "tab:red", "ar_dropout": "tab:orange", "ar_input_masking": "tab:brown",
    "ar_random_order": "tab:pink", "masked": "tab:blue", "masked_elbo": "tab:cyan",
    "uniform": "tab:green", "block8": "tab:purple", "flow": "tab:blue",
}  # fmt: skip


def _draw(
    groups: dict[tuple[Any, ...], list[Record]], laws: dict[tuple[Any, ...], Law], path: Path
) -> None:
    """Held-out loss by epochs: measured points solid, the law beyond them dotted."""
    from matplotlib.figure import Figure

    panels = list(dict.fromkeys(
        (corpus, size, unique) for corpus in TITLES
        for (found, size, unique, _) in groups if found == corpus
    ))  # fmt: skip
    columns = min(4, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(3.1 * columns, 2.7 * rows + 0.4), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    named = {}
    for axis, (corpus, size, unique) in zip(axes, panels, strict=False):
        least, most = np.inf, -np.inf
        for arm, label in LABELS.items():
            runs = groups.get((corpus, size, unique, arm))
            if runs is None:
                continue
            curves = [{row["epoch"]: row["nats"] for row in run["rows"]} for run in runs]
            epochs = np.array(sorted(set.intersection(*(set(curve) for curve in curves))))
            losses = np.array([[curve[epoch] for epoch in epochs] for curve in curves])
            middle, colour = losses.mean(0), COLOURS[arm]
            (line,) = axis.plot(epochs, middle, "-o", color=colour, markersize=2.5, linewidth=1.2)
            axis.fill_between(epochs, losses.min(0), losses.max(0), color=colour, alpha=0.15,
                              linewidth=0)  # fmt: skip
            named[label] = line
            least, most = min(least, middle.min()), max(most, np.sort(middle)[len(middle) // 2])
            law = laws.get((corpus, size, arm))
            if law is not None:
                beyond = epochs[-1] * 2.0 ** np.linspace(0.0, 3.0, 20)
                axis.plot(beyond, law(unique, beyond), ":", color=colour, linewidth=1.2)
        known = next(r["entropy"] for k, runs in groups.items() for r in runs if k[0] == corpus)
        if known is not None:
            axis.axhline(known, color="0.5", linestyle="--", linewidth=1)
            least = min(least, known)
        if np.isfinite(least):
            axis.set_ylim(least - 0.05 * (most - least), most + 0.6 * (most - least))
        unit = groups_unit(groups, corpus)
        axis.set_title(f"{TITLES[corpus]}\n{unique:,} unique {unit}, {size}", fontsize=8)
        axis.set_xscale("log", base=2)
        axis.tick_params(labelsize=7)
        axis.set_xlabel("epochs", fontsize=8)
        axis.set_ylabel("held-out loss", fontsize=8)
    for axis in axes[len(panels) :]:
        axis.set_axis_off()
    figure.legend(named.values(), named.keys(), loc="outside lower center", ncols=5, fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def groups_unit(groups: dict[tuple[Any, ...], list[Record]], corpus: str) -> str:
    """What the unique data of a corpus are counted in."""
    return next(runs[0]["unit"] for key, runs in groups.items() if key[0] == corpus)
