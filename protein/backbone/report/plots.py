"""The plots of the report, each returning an SVG element; natives always beside designs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from protein.backbone.metrics import distribution as dist
from protein.backbone.metrics.evaluation import Evaluation
from protein.backbone.metrics.natives import ALLOWED, FAVOURED, sum_torsions
from protein.backbone.metrics.shape import distance_map
from protein.backbone.metrics.table import COLUMNS
from protein.backbone.report.style import (
    COIL_COLOUR,
    DESIGN_COLOUR,
    GRID,
    HELIX_COLOUR,
    INK,
    NATIVE_COLOUR,
    STRAND_COLOUR,
    new_figure,
    svg_text,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_BARS = 60
_MAPS = 6


def ramachandran(evaluation: Evaluation) -> str:
    """Density of φ, ψ of designs and of natives, with the regions of natives outlined."""
    natives = dist.smooth_density(evaluation.reference.torsions)
    designs = dist.smooth_density(sum_torsions(evaluation.measured), width=0.6)
    levels = sorted(dist.density_level(natives, mass) for mass in (FAVOURED, ALLOWED))
    with new_figure(9.0, 4.2) as figure:
        left, right = figure.subplots(1, 2, sharey=True)
        for axis, density, title in (
            (left, designs, "Designs"),
            (right, natives, "Natives"),
        ):
            _torsion_map(axis, density, title)
            centres = np.linspace(-180, 180, dist.TORSION_BINS, endpoint=False) + 5
            axis.contour(
                centres, centres, natives.T, levels=levels, colors=NATIVE_COLOUR,
                linewidths=[0.8, 1.3],
            )  # fmt: skip
        left.set_ylabel("ψ (°)")
        text = (
            "Ramachandran plots of designs and natives; the lines hold "
            f"{FAVOURED:.0%} and {ALLOWED:.1%} of natives"
        )
        return svg_text(figure, "rama", text)


def _torsion_map(axis: Axes, density: NDArray[np.float64], title: str) -> None:
    from matplotlib.colors import LinearSegmentedColormap, PowerNorm

    clear = LinearSegmentedColormap.from_list(
        "ink",
        np.array([(0.25, 0.55, 0.95, 0.0), (0.25, 0.55, 0.95, 0.85), (0.86, 0.28, 0.52, 1.0)]),
    )
    # The helical peak is a hundred times the rest: a square root keeps strands visible.
    axis.imshow(
        density.T, origin="lower", extent=(-180, 180, -180, 180), cmap=clear,
        norm=PowerNorm(0.4), interpolation="bilinear", aspect="equal",
    )  # fmt: skip
    axis.set_title(title)
    axis.set_xlabel("φ (°)")
    axis.set_xticks([-180, -90, 0, 90, 180])
    axis.set_yticks([-180, -90, 0, 90, 180])
    axis.grid(True)


def radius(evaluation: Evaluation) -> str:
    """Radius of gyration against length, with the band that holds 90 % of natives."""
    rows, points = evaluation.rows, evaluation.reference.points
    lengths = np.array([row["length"] for row in rows])
    low, high = min(lengths.min(), 60) - 4, max(lengths.max(), 128) + 4
    grid = np.linspace(max(low, 10), high, 60)
    with new_figure(5.2, 3.8) as figure:
        axis = figure.subplots()
        band = evaluation.reference.rg_band(grid)
        axis.fill_between(
            grid, *band, color=NATIVE_COLOUR, alpha=0.18, linewidth=0, label="90 % of natives"
        )
        axis.plot(
            points["length"], points["rg"], ".", color=NATIVE_COLOUR, ms=4, alpha=0.55,
            label="natives",
        )  # fmt: skip
        axis.plot(
            lengths, [row["rg"] for row in rows], "o", color=DESIGN_COLOUR, ms=5, alpha=0.9,
            mec="none", label="designs",
        )  # fmt: skip
        axis.set(xlabel="residues", ylabel="Rg (Å)", title="Radius of gyration")
        axis.legend(loc="upper left", fontsize=8)
        axis.grid(True)
        return svg_text(figure, "rg", "Radius of gyration of designs and natives by length")


def refolded(evaluation: Evaluation) -> str | None:
    """Confidence against distance of the best refolded structure of every design."""
    rows = [row for row in evaluation.rows if np.isfinite(row.get("plddt", np.nan))]
    if not rows:
        return None
    with new_figure(5.2, 3.8) as figure:
        axis = figure.subplots()
        for passes, colour, label in (
            (True, NATIVE_COLOUR, "passes"),
            (False, DESIGN_COLOUR, "does not"),
        ):
            chosen = [row for row in rows if row["refold_passes"] == passes]
            axis.plot(
                [row["sc_rmsd"] for row in chosen], [row["plddt"] for row in chosen], "o",
                color=colour, ms=5, alpha=0.9, mec="none", label=label,
            )  # fmt: skip
        axis.set(xlabel="scRMSD (Å)", ylabel="mean pLDDT", title="Refolded structures")
        axis.set(xlim=(0, None), ylim=(0, 102))
        axis.legend(loc="upper right", fontsize=8)
        axis.grid(True)
        return svg_text(
            figure, "refolded", "Confidence of refolded structures by their distance to the design"
        )


def structure_cloud(evaluation: Evaluation) -> str:
    """Helix against strand fraction of every design and native."""
    rows, points = evaluation.rows, evaluation.reference.points
    with new_figure(5.2, 3.8) as figure:
        axis = figure.subplots()
        axis.plot(
            100 * points["helix"], 100 * points["strand"], ".", color=NATIVE_COLOUR, ms=4,
            alpha=0.55, label="natives",
        )  # fmt: skip
        axis.plot(
            [100 * row["helix"] for row in rows], [100 * row["strand"] for row in rows], "o",
            color=DESIGN_COLOUR, ms=5, alpha=0.9, mec="none", label="designs",
        )  # fmt: skip
        axis.set(xlabel="helix (%)", ylabel="strand (%)", title="Fold classes")
        axis.set(xlim=(-3, 103), ylim=(-3, 83))
        axis.legend(loc="upper right", fontsize=8)
        axis.grid(True)
        return svg_text(figure, "folds", "Helix and strand fractions of designs and natives")


def structure_bars(evaluation: Evaluation) -> str:
    """Secondary structure of each design, sorted, with the mean of natives first."""
    rows = sorted(evaluation.rows, key=lambda row: (-row["helix"], row["strand"]))[:]
    if len(rows) > _MOST_BARS:
        keep = np.linspace(0, len(rows) - 1, _MOST_BARS).astype(int)
        rows = [rows[i] for i in keep]
    native = evaluation.natives
    at = np.arange(len(rows)) + 2.0
    with new_figure(9.5, 3.0) as figure:
        axis = figure.subplots()
        bottom = np.zeros(len(rows) + 1)
        for key, colour in (
            ("helix", HELIX_COLOUR),
            ("strand", STRAND_COLOUR),
            ("coil", COIL_COLOUR),
        ):
            mean = float(native[key]["value"] or 0.0) if key in native else 0.0
            height = 100 * np.array([mean, *(row[key] for row in rows)])
            axis.bar([0.0, *at], height, 0.86, bottom=bottom, color=colour, label=key)
            bottom += height
        axis.set(ylabel="residues (%)", title="Secondary structure", ylim=(0, 100))
        axis.set_xlim(-0.7, at[-1] + 0.7)
        shown = len(rows) <= 30
        axis.set_xticks([0.0, *at] if shown else [0.0])
        names = ["natives", *(shortened(row["name"]) for row in rows)] if shown else ["natives"]
        # Names come from files: a dollar sign must not start a formula.
        labels = axis.set_xticklabels(names, rotation=90 if shown else 0, fontsize=8)
        for label in labels:
            label.set_parse_math(False)
        axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8)
        return svg_text(figure, "ss", "Helix, strand and coil of each design, natives first")


def shortened(name: str, most: int = 16) -> str:
    """A name that fits beside a plot."""
    return name if len(name) <= most else name[: most - 1] + "…"


def contact_maps(designs: Sequence[tuple[str, NDArray[np.floating]]]) -> str:
    """CA distance maps of the first six designs.

    Args:
        designs: name and coordinates `[L, 4, 3]`, Å.
    """
    shown = list(designs[:_MAPS])
    columns = min(3, len(shown))
    down = -(-len(shown) // columns)
    with new_figure(3.1 * columns, 2.7 * down) as figure:
        axes = np.atleast_1d(np.asarray(figure.subplots(down, columns))).ravel()
        for axis in axes[len(shown) :]:
            axis.axis("off")
        for axis, (name, coords) in zip(axes, shown, strict=False):
            image = axis.imshow(
                distance_map(np.asarray(coords, np.float64)), cmap="magma_r", vmin=3, vmax=25,
                origin="lower", interpolation="nearest",
            )  # fmt: skip
            axis.set_title(shortened(name, 26), fontsize=9).set_parse_math(False)
            axis.tick_params(labelsize=7)
        bar = figure.colorbar(image, ax=list(axes), shrink=0.7, pad=0.02)
        bar.set_label("CA–CA distance (Å)", fontsize=8)
        bar.ax.tick_params(labelsize=7)
        bar.outline.set_visible(False)
        return svg_text(figure, "maps", "CA distance maps of designs")


def similarity_map(evaluation: Evaluation) -> str | None:
    """TM-scores between designs, ordered by cluster; None when they were not compared."""
    similarity = evaluation.similarity
    if similarity is None:
        return None
    labels = np.array([row["cluster"] for row in evaluation.rows[: len(similarity)]])
    order = np.argsort(labels, kind="stable")
    with new_figure(5.2, 4.2) as figure:
        axis = figure.subplots()
        image = axis.imshow(
            similarity[np.ix_(order, order)], vmin=0.2, vmax=1, cmap="cividis",
            interpolation="nearest",
        )  # fmt: skip
        sizes = np.bincount(labels)[1:]
        for size, edge in zip(sizes, np.cumsum(sizes) - sizes, strict=True):
            if size > 1:
                box = (edge - 0.5, edge - 0.5)
                axis.add_patch(_square(box, float(size)))
        count = len(sizes)
        axis.set_title(f"{len(labels)} designs in {count} cluster{'s' * (count > 1)} (TM > 0.6)")
        axis.set(xlabel="designs, by cluster", xticks=[], yticks=[])
        bar = figure.colorbar(image, ax=axis, shrink=0.85)
        bar.set_label("TM-score")
        bar.outline.set_visible(False)
        return svg_text(figure, "tm", "TM-scores between designs, ordered by cluster")


def _square(corner: tuple[float, float], size: float) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle(corner, size, size, fill=False, edgecolor=DESIGN_COLOUR, linewidth=1.4)


def novelty_histogram(evaluation: Evaluation) -> str | None:
    """Largest TM-scores to the training set; None when novelty was not measured."""
    values = [row["novelty_tm"] for row in evaluation.rows if row.get("novelty_tm") is not None]
    if not values:
        return None
    with new_figure(5.2, 3.8) as figure:
        axis = figure.subplots()
        axis.hist(values, bins=list(np.linspace(0.3, 1.0, 29)), color=DESIGN_COLOUR, alpha=0.9)
        native = evaluation.natives.get("novelty_median")
        if native and native["value"] is not None:
            axis.axvline(
                native["value"], color=NATIVE_COLOUR, linewidth=1.6, label="median of natives"
            )
            axis.legend(loc="upper left", fontsize=8)
        axis.set(xlabel="largest TM-score to the training set", ylabel="designs", title="Novelty")
        axis.grid(True, axis="y")
        return svg_text(figure, "novelty", "Largest TM-scores of designs to the training set")


def steps_figure(study: Sequence[Mapping[str, Any]]) -> str:
    """Quality against the number of sampling steps.

    Args:
        study: one mapping per number of steps: ``steps`` and figures by their keys.
    """
    ordered = sorted(study, key=lambda row: row["steps"])
    keys = [key for key in ordered[0] if key in COLUMNS]
    steps = [row["steps"] for row in ordered]
    columns = min(3, max(len(keys), 1))
    down = -(-len(keys) // columns)
    with new_figure(3.2 * columns, 2.2 * down) as figure:
        axes = np.atleast_1d(np.asarray(figure.subplots(down, columns, sharex=True))).ravel()
        for axis in axes[len(keys) :]:
            axis.axis("off")
        for axis, key in zip(axes, keys, strict=False):
            scale = 100 if COLUMNS[key].unit == "%" else 1
            axis.plot(
                steps, [scale * row[key] for row in ordered], "o-", color=DESIGN_COLOUR, ms=4
            )
            unit = f" ({COLUMNS[key].unit})" if COLUMNS[key].unit else ""
            axis.set_title(COLUMNS[key].label + unit, fontsize=9)
            axis.set_xscale("log")
            axis.grid(True, color=GRID)
            axis.set_xlabel("steps", color=INK, fontsize=8)
        return svg_text(figure, "steps", "Quality of designs by number of sampling steps")
