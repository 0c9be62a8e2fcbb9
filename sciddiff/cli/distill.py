"""``sciddiff distill MODEL -o DIR``: a student of a model that needs fewer network calls."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING, Any

from sciddiff.cli.campaign import Campaign, machine_facts
from sciddiff.cli.command import Command
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
from sciddiff.cli.output import emit, remark
from sciddiff.cli.progress import progress
from sciddiff.errors import InputError

if TYPE_CHECKING:
    from sciddiff.checkpoint import Model
    from sciddiff.config import Experiment
    from sciddiff.distillation import Plan
    from sciddiff.domains import Domain
    from sciddiff.state import Batch
    from sciddiff.training import TrainResult

__all__ = ["command"]

_RUN, _OWN, _CARD = "run", "own", "README.md"
_WIDTH = 0.10  # of the average that is exported


def _configure(parser: ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="the teacher: a shipped name or a folder")
    how = parser.add_argument_group("what the student learns").add_mutually_exclusive_group(
        required=True
    )
    how.add_argument(
        "--guidance",
        dest="kind",
        action="store_const",
        const="guidance",
        help="to say in one call what the teacher says under guidance, which takes it two",
    )
    how.add_argument(
        "--reflow",
        dest="kind",
        action="store_const",
        const="reflow",
        help="to go straight from the noise of the teacher's own samples to these samples",
    )
    how.add_argument(
        "--shortcut",
        dest="kind",
        action="store_const",
        const="shortcut",
        help="to jump: its network is told where a step ends, and long steps agree with short",
    )
    how.add_argument(
        "--progressive",
        dest="kind",
        action="store_const",
        const="progressive",
        help="to jump too, but over the --calls equal spans of time alone: each jump ends where a "
        "solver leads that follows the teacher in four calls",
    )
    add_output(parser)
    add = parser.add_argument
    add(
        "--weight",
        type=number(0.0, 100.0),
        metavar="W",
        help="strength of the guidance that is learned, 1 for none (default 2.5 with --guidance, "
        "1 with --shortcut and --progressive)",
    )
    add(
        "--calls",
        type=count(),
        metavar="K",
        help="steps that the student is drawn with by default (default: as its teacher; 8 with "
        "--shortcut and --progressive)",
    )
    add(
        "--steps",
        type=count(),
        default=2000,
        metavar="N",
        help="training steps in all; a larger number continues a finished student (default 2000)",
    )
    add(
        "--own",
        type=count(),
        metavar="N",
        help="train on so many samples of the teacher (default: on the data of its domain where "
        "these are given, else 512)",
    )
    add(
        "--request",
        nargs="+",
        action="extend",
        default=[],
        metavar="K=V",
        help="what the teacher draws for that, in the words of the domain, as in sciddiff sample",
    )
    add("--threads", type=count(), metavar="T", help="CPU threads (default: torch's choice)")
    add_seed(parser)
    add_device(parser)
    add_trust(parser)
    add_json(parser)


def _run(args: Namespace) -> None:
    import torch

    from sciddiff.checkpoint import load
    from sciddiff.distillation import Plan, student_of
    from sciddiff.training import train

    usual = 2.5 if args.kind == "guidance" else 1.0
    plan = Plan(args.kind, usual if args.weight is None else args.weight, args.calls)
    device = pick_device(args.device)
    teacher = load(args.model, device, args.trust)
    plan.check(teacher)
    request = key_values(args.request, "--request")
    experiment = student_of(
        teacher,
        args.model,
        plan.network(teacher),
        plan.objective(teacher, args.trust),
        args.out / _RUN,
        trainer_settings(args, device.type),
        args.seed,
        args.rest,
        args.trust,
    )
    own = _own_number(args, plan, experiment.domain)
    campaign = Campaign.open(
        args.out,
        {"kind": plan.kind, "weight": plan.weight, "own": own, "request": request,
         "settings": args.rest, "seed": args.seed},
        args.command_line,
        inputs_of(args, teacher.meta, request),
        begun=(args.out / _RUN).exists() or (args.out / _OWN).exists(),
    )  # fmt: skip
    if args.threads:
        torch.set_num_threads(args.threads)
    if own:
        experiment = _on_own(args, teacher, plan, request, own, experiment)
    result = train(experiment)
    before = sum(int(run["made"]) for run in campaign.runs)
    made = max(0, result.step - before)
    campaign.ran(made, result.seconds, args.command_line, **machine_facts())
    if result.interrupted:
        raise InputError(
            f"distillation was interrupted at step {result.step} and saved in {args.out}; run the "
            "same command again to continue it"
        )
    _export(args, plan, teacher, own, result)
    _say(args, result, made)


def _own_number(args: Namespace, plan: Plan, domain: Domain) -> int:
    """How many samples of the teacher are needed; 0 where the data of the domain are used."""
    if args.own is not None or plan.pairs:
        return args.own or 512
    if args.request:
        raise InputError("--request: says what the teacher draws; give --own N with it")
    try:
        next(iter(domain.train_batches(0, args.seed, 0, 1)))
    except (InputError, StopIteration) as error:
        given = [word for word in args.rest if word.startswith("--domain")]
        if given:
            raise
        said = str(error) or "it has no training batch"
        remark(args.model, [f"trains on 512 samples of the teacher, as {said}"])
        return 512
    return 0


def _on_own(
    args: Namespace,
    teacher: Model,
    plan: Plan,
    request: dict[str, Any],
    own: int,
    experiment: Experiment,
) -> Experiment:
    """The experiment on samples of the teacher, which are drawn if they are not there."""
    from dataclasses import replace

    from sciddiff.distillation import OwnSamples, draw_own

    templates: list[Batch] = list(teacher.domain.templates(own, args.seed, request))
    folder, drawing = args.out / _OWN, plan.drawing(teacher)
    total = sum(batch.size for batch in templates)
    with progress("drawing from the teacher", total, show=not args.json) as bar:
        sound = draw_own(
            teacher, templates, drawing, args.seed, folder, pairs=plan.pairs,
            on_samples=bar.advance,
        )  # fmt: skip
    if sound < total:
        remark(folder, [f"{sound} of {total} samples are sound and are learned from"])
    return replace(experiment, domain=OwnSamples(experiment.domain, templates, folder))


def _export(args: Namespace, plan: Plan, teacher: Model, own: int, result: TrainResult) -> None:
    """Put the student's files into the folder, the one that makes it a model last."""
    from sciddiff.checkpoint import META, describe, export
    from sciddiff.weights import identity

    if result.seconds == 0.0 and (args.out / META).exists():
        describe(args.out)
        return
    told: dict[str, Any] = {
        "kind": plan.kind,
        "teacher": args.model,
        "teacher_identity": identity(teacher.meta),
        "learned_from": f"{own} samples of the teacher" if own else "data of the domain",
    }
    if plan.weight != 1.0:
        told["weight"] = plan.weight
    made = export(
        args.out / _RUN, args.out / ".student", _WIDTH, command=args.command_line,
        trust=args.trust, extra={"distilled": told, "drawing": plan.recommended(teacher)},
    )  # fmt: skip
    put_in_place(made, args.out)
    (args.out / _CARD).write_text(_card(args, plan, told, result), encoding="utf-8")


def _card(args: Namespace, plan: Plan, told: dict[str, Any], result: TrainResult) -> str:
    """What people should know of the student."""
    what = {
        "guidance": "It learned to say in one call what the teacher says under guidance.",
        "reflow": "It learned pairs of noise and sample of the teacher (reflow).",
        "shortcut": "It is a flow map: its jumps agree with each other, and short ones with the "
        "teacher.",
        "progressive": "It is a flow map of few jumps, each of which ends where a solver leads "
        "that follows the teacher in four calls.",
    }[plan.kind]
    if plan.weight != 1.0:
        what += f" The guidance had strength {plan.weight:g}; the student is drawn without any."
    loss = result.metrics.get("loss")
    rate = f" Its last loss was {loss:.4g}." if loss is not None else ""
    return (
        f"# A student of {args.model}\n\n"
        f"{what} It started from the teacher's weights and saw {result.samples:,} samples in "
        f"{result.step:,} steps, from {told['learned_from']}.{rate} The teacher is the model with "
        f"identity `{told['teacher_identity']}`.\n\n```\n{args.command_line}\n```\n"
    )


def _say(args: Namespace, result: TrainResult, made: int) -> None:
    from sciddiff.checkpoint import describe

    meta = describe(args.out)
    seconds = round(result.seconds, 3)
    data = {
        "directory": args.out,
        "step": result.step,
        "steps_made": made,
        "samples": result.samples,
        "seconds": seconds,
        "metrics": dict(result.metrics),
        "drawing": meta["drawing"],
        "distilled": meta["distilled"],
    }
    cost = f", {1000 * seconds / made:.0f} ms a step" if made else ""
    emit(args, data, f"{args.out}: step {result.step}{cost}; a model, to be used with --model")


command = Command(
    name="distill",
    help="Make a student of a model that needs fewer network calls.",
    configure=_configure,
    run=_run,
    example="sciddiff distill lite --guidance --weight 2.5 -o models/lite_guided",
    open_ended=True,
)
