"""``sciddiff train``: an experiment in YAML with overrides; it resumes itself."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from dataclasses import fields

from sciddiff.cli.command import Command
from sciddiff.cli.options import add_device, add_json, count, pick_device
from sciddiff.cli.output import emit
from sciddiff.errors import InputError
from sciddiff.settings import EMASettings, OptimSettings, TrainerSettings

__all__ = ["EXPERIMENT", "command"]

EXPERIMENT = {
    "domain": "Domain",
    "net": "torch.nn.Module",
    "objective": "Objective | None",
    "seed": "int",
    "out": "str",
    "init_from": "str | None",
    "init_strict": "bool",
}
"""Keys of `sciddiff.config.Experiment` beside its groups: importing it would import torch."""


def _configure(parser: ArgumentParser) -> None:
    parser.add_argument("config", nargs="?", help="YAML file that describes the experiment")
    parser.add_argument(
        "--config", dest="file", metavar="FILE", help="the same file, given as an option"
    )
    parser.add_argument("-o", "--out", metavar="DIR", help="folder of the run")
    parser.add_argument("--seed", type=count(0), metavar="S", help="seed of the run")
    parser.add_argument(
        "--resume",
        default="auto",
        metavar="HOW",
        help="auto continues a run that is there, never refuses if there is one, and the path of "
        "a checkpoint continues from it (default auto)",
    )
    parser.add_argument(
        "--print_config",
        action="store_true",
        help="print every setting of the experiment and stop",
    )
    add_device(parser)
    add_json(parser)
    title = "settings of an experiment, in its file or as --key value:"
    parser.epilog = "\n".join([f"{parser.epilog}\n", title, *(f"  {line}" for line in _keys())])


def _keys() -> list[str]:
    groups = {"optim": OptimSettings, "ema": EMASettings, "trainer": TrainerSettings}
    lines = [f"{name}: {kind}" for name, kind in EXPERIMENT.items()]
    for name, group in groups.items():
        lines += [f"{name}.{f.name} = {f.default}" for f in fields(group)]
    return lines


def _check_packages(file: str | None) -> None:
    """Name every missing package of the experiment's domain before anything is imported.

    A file that cannot be read, or names no domain, is left to the reader of experiments.
    """
    import yaml

    from sciddiff.domains import check_needs

    try:
        with open(file or "", encoding="utf-8") as stream:
            class_path = yaml.safe_load(stream)["domain"]["class_path"]
    except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError):
        return
    check_needs(str(class_path))


def _overrides(args: Namespace) -> list[str]:
    """Options of this verb that stand for keys of the experiment, then the user's own."""
    words = []
    if args.out is not None:
        words += ["--out", args.out]
    if args.seed is not None:
        words += ["--seed", str(args.seed)]
    if args.device != "auto":
        device = pick_device(args.device)
        words += ["--trainer.accelerator", "gpu" if device.type == "cuda" else device.type]
    return words + args.rest


def _run(args: Namespace) -> None:
    import yaml

    from sciddiff.config import build, read

    if args.config is not None and args.file is not None:
        raise InputError(
            f"{args.config}: --config names an experiment too; write values as --key value"
        )
    if args.config is None and args.file is None and not args.rest:
        raise InputError("train: no experiment is given; give a YAML file: sciddiff train CONFIG")
    _check_packages(args.config or args.file)
    plain = read(args.config or args.file, _overrides(args))
    if args.print_config:
        sys.stdout.write(yaml.safe_dump(plain, sort_keys=False))
        return
    if args.json:
        plain["trainer"]["progress"] = False
    from sciddiff.training import train

    result = train(build(plain), args.resume)
    if result.interrupted:
        raise InputError(
            f"training was interrupted at step {result.step} and saved in {result.checkpoint}; "
            "run the same command again to continue it"
        )
    data = {
        "directory": result.directory,
        "step": result.step,
        "samples": result.samples,
        "seconds": round(result.seconds, 3),
        "metrics": dict(result.metrics),
        "checkpoint": result.checkpoint,
    }
    text = f"{result.directory}: step {result.step}, {result.seconds:.0f} s; to use it: "
    emit(args, data, f"{text}sciddiff export {result.directory} -o MODEL")


command = Command(
    name="train",
    help="Train a model as an experiment describes; the same command continues a stopped run.",
    configure=_configure,
    run=_run,
    example="sciddiff train configs/protein/backbone_lite.yaml --optim.lr 5e-4 -o runs/lite",
    open_ended=True,
)
