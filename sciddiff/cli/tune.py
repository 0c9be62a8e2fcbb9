"""``sciddiff tune MODEL --reward R -o DIR``: a model of what is wanted, from a model of data."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sciddiff.cli.campaign import Campaign, machine_facts
from sciddiff.cli.command import Command
from sciddiff.cli.fingerprint import Inputs
from sciddiff.cli.from_model import inputs_of, put_in_place, trainer_settings
from sciddiff.cli.options import (
    add_device,
    add_json,
    add_output,
    add_seed,
    add_trust,
    count,
    key_values,
    number,
    pick_device,
)
from sciddiff.cli.output import as_table, emit, remark
from sciddiff.cli.progress import progress
from sciddiff.errors import InputError

if TYPE_CHECKING:
    from sciddiff.checkpoint import Model
    from sciddiff.config import Experiment
    from sciddiff.state import Batch
    from sciddiff.steering import Reward
    from sciddiff.training import TrainResult
    from sciddiff.tuning import Row, Tuned, TuningPlan

__all__ = ["command"]

_RUN, _OWN, _CARD = "run", "own", "README.md"
_WIDTH = 0.10  # of the average that is exported
_METHODS = ("reward-weighted", "policy-gradient", "reward-gradient")


def _configure(parser: ArgumentParser) -> None:
    add = parser.add_argument
    add("model", metavar="MODEL", help="the reference: a shipped name or a folder")
    add(
        "--reward",
        required=True,
        metavar="WISHES",
        help="rewards with weights, in the words of the domain (charge=0.5,count(C)=-2), or a "
        "function of yours, package.module:function, with --trust package",
    )
    add(
        "--judge",
        metavar="WISHES",
        help="another reward, which nothing is tuned on; what it says of the samples is told",
    )
    add(
        "--method",
        choices=_METHODS,
        default="policy-gradient",
        help="reward-weighted learns from samples of the reference by their weights; "
        "policy-gradient from its own samples and the probabilities of their steps; "
        "reward-gradient from the gradient of a reward that has one (default policy-gradient)",
    )
    add(
        "--beta",
        type=number(1e-6, 1e6),
        default=1.0,
        metavar="B",
        help="temperature, in units of the reward: the aim is the law of the reference times e to "
        "the power of reward over B; small ones raise the reward more and cost more (default 1)",
    )
    add_output(parser)
    _add_learning(parser)
    add = parser.add_argument
    add("--threads", type=count(), metavar="T", help="CPU threads (default: torch's choice)")
    add_seed(parser)
    add_device(parser)
    add_trust(parser)
    add_json(parser)


def _add_learning(parser: ArgumentParser) -> None:
    """Add the options that say what is drawn, and how it is learned from."""
    add = parser.add_argument_group("what is drawn, and how it is learned from").add_argument
    add(
        "--steps",
        type=count(),
        default=300,
        metavar="N",
        help="training steps in all; a larger number continues a finished model (default 300)",
    )
    add(
        "--request",
        nargs="+",
        action="extend",
        default=[],
        metavar="K=V",
        help="what is drawn, in the words of the domain, as in sciddiff sample",
    )
    add("--templates", type=count(), default=64, metavar="N",
        help="templates that are drawn for, as -n of sciddiff sample (default 64)")  # fmt: skip
    add("--group", type=count(2, 1024), default=8, metavar="G",
        help="samples of each template, which are compared (default 8)")  # fmt: skip
    add("--together", type=count(), default=4, metavar="T",
        help="templates of one training step (default 4)")  # fmt: skip
    add("--updates", type=count(1, 16), default=1, metavar="U",
        help="training steps of policy-gradient that trajectories serve (default 1)")  # fmt: skip
    add("--clip", type=number(1e-3, 10.0), default=0.2, metavar="C",
        help="how far from 1 the ratio of their probabilities may push (default 0.2)")  # fmt: skip
    add("--chosen", type=count(0), default=0, metavar="K",
        help="steps of a trajectory, drawn evenly, that one training step looks at; 0 for all "
        "(default 0)")  # fmt: skip
    add("--calls", type=count(), metavar="K",
        help="steps that samples are drawn with (default: as the model's are)")  # fmt: skip
    add("--measure", type=count(2), default=64, metavar="N",
        help="templates of the table at the end, each drawn for once (default 64)")  # fmt: skip


def _run(args: Namespace) -> None:
    import torch

    from sciddiff.checkpoint import load
    from sciddiff.distillation import student_of
    from sciddiff.training import train
    from sciddiff.tuning import TuningPlan

    plan = TuningPlan(
        args.method, args.beta, args.group, args.together, args.updates, args.clip, args.chosen,
        args.calls,
    )  # fmt: skip
    device = pick_device(args.device)
    model = load(args.model, device, args.trust)
    terms = model.domain.rewards()
    tuned = plan.tuned(model, terms.reward(args.reward, "--reward"))
    judge = None if args.judge is None else terms.reward(args.judge, "--judge")
    request = key_values(args.request, "--request")
    templates = list(model.domain.templates(args.templates, args.seed, request))
    plan.check(tuned, templates)
    objective = plan.objective(model, tuned, args.trust)
    experiment = student_of(
        model, args.model, model.config["net"], objective, args.out / _RUN,
        trainer_settings(args, device.type), args.seed, args.rest, args.trust,
    )  # fmt: skip
    campaign = Campaign.open(
        args.out,
        _request(args, request),
        args.command_line,
        _inputs(args, model, request),
        begun=(args.out / _RUN).exists() or (args.out / _OWN).exists(),
    )
    if args.threads:
        torch.set_num_threads(args.threads)
    experiment = _with_data(args, plan, model, tuned, templates, experiment)
    result = train(experiment)
    before = sum(int(run["made"]) for run in campaign.runs)
    made = max(0, result.step - before)
    campaign.ran(made, result.seconds, args.command_line, **machine_facts())
    if result.interrupted:
        raise InputError(
            f"tuning was interrupted at step {result.step} and saved in {args.out}; run the "
            "same command again to continue it"
        )
    _finish(args, tuned, judge, model, request, result)
    _say(args, result, made)


def _request(args: Namespace, request: dict[str, Any]) -> dict[str, Any]:
    """What decides the model, but for its number of steps."""
    names = ("reward", "method", "beta", "templates", "group", "together", "updates", "clip",
             "chosen", "calls", "seed")  # fmt: skip
    return {
        **{name: getattr(args, name) for name in names},
        "request": request,
        "settings": args.rest,
    }


def _inputs(args: Namespace, model: Model, request: dict[str, Any]) -> Inputs:
    """Content of the model, of the user's rewards, and of what the request names as a file."""
    inputs = inputs_of(args, model.meta, request)
    for file in model.domain.rewards().files(args.reward, "--reward"):
        inputs.add("--reward", file)
    return inputs


def _with_data(
    args: Namespace,
    plan: TuningPlan,
    model: Model,
    tuned: Tuned,
    templates: Sequence[Batch],
    experiment: Experiment,
) -> Experiment:
    """The experiment on templates, or on samples of the reference, which are drawn first."""
    from sciddiff.distillation import OwnSamples, draw_own
    from sciddiff.tuning import in_groups

    if not plan.weighted:
        return replace(experiment, domain=plan.data(experiment.domain, templates))
    grouped = in_groups(templates, plan.group, plan.together)
    folder = args.out / _OWN
    total = sum(batch.size for batch in grouped)
    with progress("drawing from the reference", total, show=not args.json) as bar:
        sound = draw_own(
            model, grouped, tuned.drawing, args.seed, folder, on_samples=bar.advance
        )
    if sound < total:
        remark(folder, [f"{sound} of {total} samples are sound and are learned from"])
    data = plan.rewarded(OwnSamples(experiment.domain, grouped, folder), tuned)
    remark(
        folder,
        [f"{data.effective:.1f} of the {plan.group} samples of a template carry the weight; by "
         f"their weights the reward is {data.wanted:.3f}"],
    )  # fmt: skip
    return replace(experiment, domain=data)


def _finish(
    args: Namespace,
    tuned: Tuned,
    judge: Reward | None,
    model: Model,
    request: dict[str, Any],
    result: TrainResult,
) -> None:
    """Put the model's files into the folder with its table and card, the one that makes it a
    model last."""
    from sciddiff.checkpoint import META, describe, export
    from sciddiff.weights import identity

    if result.seconds == 0.0 and (args.out / META).exists():
        describe(args.out)
        return
    staged = args.out / ".tuned"
    told: dict[str, Any] = {
        "reward": args.reward, "method": args.method, "beta": args.beta,
        "reference": args.model, "reference_identity": identity(model.meta),
        **({"judge": args.judge} if args.judge else {}),
    }  # fmt: skip
    common: dict[str, Any] = {"command": args.command_line, "trust": args.trust}
    drawing = {"steps": len(tuned.drawing.grid) - 1}
    export(args.out / _RUN, staged, _WIDTH, extra={"tuned": told, "drawing": drawing}, **common)
    rows = _measured(args, tuned, judge, model, request, staged)
    told["table"] = [row.plain() for row in rows]
    made = export(
        args.out / _RUN, staged, _WIDTH, extra={"tuned": told, "drawing": drawing}, **common
    )
    put_in_place(made, args.out)
    (args.out / _CARD).write_text(_card(args, told, rows, result), encoding="utf-8")


def _measured(
    args: Namespace,
    tuned: Tuned,
    judge: Reward | None,
    model: Model,
    request: dict[str, Any],
    staged: Path,
) -> list[Row]:
    """What the reference, the best of its samples and the tuned model are like."""
    from sciddiff.checkpoint import load
    from sciddiff.tuning import measure, measure_best_of, measured_seed

    seed = measured_seed(args.seed)
    batches = list(model.domain.templates(args.measure, seed, request))
    total = 2 * sum(batch.size for batch in batches)
    device = next(model.denoiser.parameters()).device
    own = load(staged, device, args.trust).denoiser
    moved = [batch.to(device) for batch in batches]
    with progress("measuring", total, show=not args.json) as bar:

        def row(name: str, denoiser: Any) -> Row:
            found = measure(name, denoiser, tuned, moved, judge, seed)
            bar.advance(found.samples)
            return found

        rows = [row("reference", tuned.reference)]
        rows.append(measure_best_of(tuned, moved, judge, seed))
        rows.append(row("tuned", own))
    return rows


def _card(args: Namespace, told: dict[str, Any], rows: list[Row], result: TrainResult) -> str:
    """What people should know of the model."""
    table = _table(rows, markdown=True)
    judge = f" The judge is `{args.judge}`, which nothing was tuned on." if args.judge else ""
    return (
        f"# {args.model}, tuned towards `{args.reward}`\n\n"
        f"It started from the weights of {args.model}, its reference (the model with identity "
        f"`{told['reference_identity']}`), and learned by the method {args.method} at a "
        f"temperature beta of {args.beta:g} in {result.step:,} steps. A reward is not a truth: "
        f"look at what it cost.{judge}\n\n{table}\n\nSamples of {rows[0].samples} templates that "
        "nothing was tuned on; means with standard errors. The divergence of trajectories is in "
        "nats of a sample, the entropy in nats of a residue or other row by the model's own "
        f"probabilities.\n\n```\n{args.command_line}\n```\n"
    )


def _table(rows: list[Row], markdown: bool = False) -> str:
    from sciddiff.tuning import Row

    cells = [row.cells() for row in rows]
    if not markdown:
        return as_table(Row.HEADER, cells)
    lines = [Row.HEADER, ("---",) * len(Row.HEADER), *cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _say(args: Namespace, result: TrainResult, made: int) -> None:
    from sciddiff.checkpoint import describe

    tuned = describe(args.out)["tuned"]
    seconds = round(result.seconds, 3)
    data = {
        "directory": args.out, "step": result.step, "steps_made": made, "seconds": seconds,
        "metrics": dict(result.metrics), "tuned": tuned,
    }  # fmt: skip
    card = (args.out / _CARD).read_text(encoding="utf-8")
    table = "\n".join(line for line in card.splitlines() if line.startswith("|"))
    cost = f", {1000 * seconds / made:.0f} ms a step" if made else ""
    end = f"{args.out}: step {result.step}{cost}; a model, to be used with --model"
    emit(args, data, f"{table}\n{end}")


command = Command(
    name="tune",
    help="Tune a model towards a reward, and tell what it costs.",
    configure=_configure,
    run=_run,
    example="sciddiff tune design_lite --reward 'count(C)=-2' --request structures=a.pdb -o tuned",
    open_ended=True,
)
