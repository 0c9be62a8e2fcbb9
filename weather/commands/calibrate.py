"""``sciddiff calibrate``: fit a calibration of ensembles to past forecasts."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sciddiff.cli.command import Command
from sciddiff.cli.options import add_json, number
from sciddiff.cli.output import as_table, emit
from sciddiff.cli.progress import progress
from sciddiff.errors import InputError
from weather.commands.options import add_regrid
from weather.forecast import NEEDS

if TYPE_CHECKING:
    from sciddiff.cli.fingerprint import Inputs
    from weather.calibration.fitting import Fit
    from weather.calibration.members import Calibration
    from weather.verification.ensembles import FileEnsemble, JoinedEnsemble
    from weather.verification.verify import Plan

_EXAMPLES = """examples:
  sciddiff forecast past.zarr --start all --calibration none --members 20 -o past_forecasts.zarr
  sciddiff calibrate past_forecasts.zarr past.zarr -o calibration.json
  sciddiff forecast init.nc --calibration calibration.json --members 50 -o fc.zarr
  sciddiff calibrate past_forecasts.zarr past.zarr --attach models/mine -o calibration.json
  sciddiff calibrate other_centre.nc --apply calibration.json -o calibrated.nc

Every member x of a channel at a lead becomes alpha + beta * mean + tau * (x - mean). Fit it to
forecasts of a period that is neither trained on nor verified.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    parser.epilog = _EXAMPLES
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("forecast", type=Path, help="past forecasts, members as the model makes them: one file, "
        "or a folder of forecasts from several initial times")  # fmt: skip
    add(
        "reference",
        type=Path,
        nargs="?",
        help="what happened: prepared store or file of fields along time",
    )
    add("-o", "--out", type=Path, default=Path("calibration.json"), metavar="FILE",
        help="file to write (default calibration.json); with --apply a forecast, .zarr or "
        ".nc")  # fmt: skip
    add("--apply", type=Path, metavar="FILE",
        help="calibrate the forecast, which may be of any centre, with what was fitted "
        "before")  # fmt: skip
    add("--attach", type=Path, metavar="MODEL",
        help="folder of the model that made the forecasts; what it makes from then on is "
        "calibrated")  # fmt: skip
    add("--channels", nargs="+", metavar="C",
        help="channels to calibrate (default: all that both share)")  # fmt: skip
    add("--leads", nargs="+", type=number(0.0), metavar="D",
        help="leads to calibrate, in days (default: all)")  # fmt: skip
    add_regrid(parser, "the reference to the forecast's grid")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Fit, write, and say what it does.

    Raises:
        InputError: A file that cannot be used, or too few forecasts.
    """
    from sciddiff.cli.campaign import made_before
    from sciddiff.files import write_json

    if args.apply is not None:
        return _apply(args)
    if args.reference is None:
        raise InputError(
            "reference: not given; name what happened, to fit a calibration, or --apply one"
        )
    request, inputs = _request(args)
    if args.out.exists():
        told = made_before(args.out, args.out, request, inputs, "choose another -o, or remove it")
        _attach(args, _read(args.out))
        emit(args, *_said(args, told["table"], told["notes"]))
        return 0
    table, notes, plain = _fitted(args)
    write_json(args.out, {"request": request, "inputs": inputs.entries, **plain,
                          "table": table, "notes": notes})  # fmt: skip
    _attach(args, _read(args.out))
    if notes and not args.json:
        sys.stderr.write("".join(f"note: {note}\n" for note in notes))
    emit(args, *_said(args, table, notes))
    return 0


def _apply(args: argparse.Namespace) -> int:
    """Calibrate a forecast that is there."""
    from sciddiff.cli.campaign import made_before
    from sciddiff.cli.fingerprint import Inputs
    from weather.calibration.applying import calibrate_file, record_beside
    from weather.calibration.members import META_ENTRY, differing
    from weather.calibration.origin import origin_of
    from weather.forecast.calibrated import told

    given = [name for name in ("reference", "attach", "channels", "leads", "regrid")
             if getattr(args, name)]  # fmt: skip
    if given:
        raise InputError(f"--apply: fits nothing; leave out {', '.join(given)}")
    if args.out.suffix not in (".zarr", ".nc"):
        raise InputError(f"-o {args.out}: not a forecast; name it with .zarr or .nc")
    found = _read(args.apply)
    if differ := differing(found.made, origin_of([args.forecast])):
        raise InputError(
            f"--apply {args.apply}: was fitted with {differ}; fit one to forecasts like "
            f"{args.forecast}"
        )
    request, inputs = {META_ENTRY: found.identity}, Inputs().add("forecast", args.forecast)
    if args.out.exists():
        made_before(
            args.out, record_beside(args.out), request, inputs, "choose another -o, or remove it"
        )
        emit(args, {"forecast": str(args.out)}, str(args.out))
        return 0
    record = {
        "request": request, "inputs": inputs.entries, "command": args.command_line,
        META_ENTRY: found.to_plain(),
    }  # fmt: skip
    changed, kept = calibrate_file(args.forecast, args.out, found, told(found), record)
    copied = f"; copied as they are: {', '.join(kept)}" if kept else ""
    text = f"{args.out}: calibrated {', '.join(changed)}{copied}"
    emit(args, {"forecast": str(args.out), "calibrated": changed, "copied": kept}, text)
    return 0


def _request(args: argparse.Namespace) -> tuple[dict[str, Any], Inputs]:
    from sciddiff.cli.fingerprint import Inputs
    from sciddiff.files import read_json

    inputs = Inputs()
    try:
        known = dict(read_json(args.out)["inputs"])
    except (ValueError, KeyError, TypeError):
        known = {}
    for name in ("forecast", "reference"):
        inputs.add(name, getattr(args, name), known.get(name))
    return {name: getattr(args, name) for name in ("channels", "leads", "regrid")}, inputs


def _fitted(args: argparse.Namespace) -> tuple[list[dict[str, Any]], list[str], dict[str, Any]]:
    """Rows of the table, notes, and plain values of the calibration."""
    import numpy as np

    from weather.calibration.fitting import fit
    from weather.calibration.members import Calibration
    from weather.calibration.origin import origin_of
    from weather.verification.ensembles import open_forecast
    from weather.verification.sources import open_truth
    from weather.verification.verify import align, detect_grid

    forecast = open_forecast(args.forecast)
    made = origin_of(forecast.files)
    if args.attach is not None:
        _check_model(args.attach, made)
    grid = detect_grid(forecast.lat, forecast.lon)
    truth = open_truth(
        args.reference, str(grid or "") if args.regrid else "", args.regrid or "conservative"
    )
    leads = None if args.leads is None else [round(day * 86400) for day in args.leads]
    plan = align(forecast, truth, args.channels, leads)
    rows = grid.weights if grid is not None else np.cos(np.radians(forecast.lat))
    area = np.repeat(np.asarray(rows, dtype=np.float64), len(forecast.lon))
    total = 2 * len(plan.times)
    with progress("calibrating (initial times)", total, show=not args.json) as bar:
        found, coverage = fit(forecast, truth, plan, area, bar.advance)
    channels = {name: one.coefficients for name, one in found.items()}
    fitted = _facts(forecast, plan, found)
    plain = Calibration(channels, made, fitted).to_plain()
    notes = [*getattr(forecast, "notes", ()), *plan.left_out, *coverage.notes()]
    return _rows(found), notes, plain


def _facts(
    forecast: FileEnsemble | JoinedEnsemble, plan: Plan, found: dict[str, Fit]
) -> dict[str, Any]:
    """What the fit saw, for the record and for the card of a model."""
    times = plan.times  # in the order of the file
    return {
        "starts": len(times), "first": times.text(int(times.seconds.argmin())),
        "last": times.text(int(times.seconds.argmax())), "members": forecast.members,
        "forms": {name: list(one.forms) for name, one in found.items()},
    }  # fmt: skip


def _rows(found: dict[str, Fit]) -> list[dict[str, Any]]:
    rows = []
    for name, one in found.items():
        each = one.coefficients
        for n, lead in enumerate(each.leads):
            gain = 1.0 - one.after[n] / one.before[n] if one.before[n] > 0 else 0.0
            rows.append(
                {
                    "channel": name, "day": lead / 86400, "form": one.forms[n],
                    "alpha": each.alpha[n], "beta": each.beta[n], "tau": each.tau[n],
                    "crps_before": float(one.before[n]), "crps_after": float(one.after[n]),
                    "gain_percent": 100.0 * float(gain), "starts": int(one.starts[n]),
                }
            )  # fmt: skip
    return rows


def _said(
    args: argparse.Namespace, rows: list[dict[str, Any]], notes: list[str]
) -> tuple[dict[str, Any], str]:
    """The result for programs and for people."""
    cells = [
        (
            row["channel"], f"{row['day']:g}", row["form"], f"{row['alpha']:.4g}",
            f"{row['beta']:.3f}", f"{row['tau']:.3f}", f"{row['crps_before']:.4g}",
            f"{row['crps_after']:.4g}", f"{row['gain_percent']:.1f} %", str(row["starts"]),
        )
        for row in rows
    ]  # fmt: skip
    head = ("channel", "day", "form", "alpha", "beta", "tau", "CRPS", "calibrated", "gain",
            "starts")  # fmt: skip
    use = f"forecasts of {args.attach} made alike are calibrated now" if args.attach else (
        f"next: sciddiff forecast INIT --calibration {args.out}"
    )  # fmt: skip
    text = (
        f"{as_table(head, cells)}\nCRPS on initial times kept aside, of very many members\n"
        f"{args.out}\n{use}"
    )
    facts = {"calibration": str(args.out), "table": rows, "notes": notes}
    return facts | ({"attached": str(args.attach)} if args.attach else {}), text


def _read(path: Path) -> Calibration:
    from weather.calibration.members import Calibration

    return Calibration.read(path)


def _attach(args: argparse.Namespace, calibration: Calibration) -> None:
    """Put a calibration into the model that it is of, in place of the one fitted alike."""
    if args.attach is None:
        return
    from sciddiff import weights
    from sciddiff.files import write_json
    from weather.calibration.members import META_ENTRY, attached

    meta = _check_model(args.attach, calibration.made)
    others = [one for one in attached(meta) if one.made != calibration.made]
    each = [one.to_plain() for one in (*others, calibration)]
    plain = {**meta, META_ENTRY: each if others else each[0]}
    write_json(args.attach / weights.META, weights.sealed(plain))


def _check_model(folder: Path, made: Mapping[str, Any]) -> dict[str, Any]:
    """The `meta.json` of the model that made the forecasts.

    Raises:
        InputError: It is another model.
    """
    from sciddiff.weights import describe
    from weather.calibration.origin import weights_of

    meta, fitted = describe(folder), made.get("weights")
    if fitted != weights_of(meta):
        who = "by nobody knows which model" if fitted is None else "by another model"
        raise InputError(
            f"--attach {folder}: the forecasts were made {who}; give the folder of the model "
            "that made them"
        )
    return meta


command = Command(
    "calibrate",
    "fit a calibration of ensembles to past forecasts and what happened",
    configure,
    run,
    needs=NEEDS,
)
