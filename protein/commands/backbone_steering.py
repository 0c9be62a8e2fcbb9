"""Options of `sciddiff backbone` that steer designs by rewards."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sciddiff.cli.options import count
from sciddiff.errors import InputError

if TYPE_CHECKING:
    from sciddiff.steering import Reward


def add_steering(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what designs are steered towards."""
    group = parser.add_argument_group("what designs are steered towards")
    add = group.add_argument
    add(
        "--steer",
        metavar="WISHES",
        help="rewards with weights, strand=20,contacts=2: strand, helix, compact, contacts, "
        "apart, or a function of yours, package.module:function, with --trust package",
    )
    add(
        "--particles",
        type=count(2),
        metavar="P",
        help="designs that compete for each one; the time grows as they do (default 8)",
    )


def steering(args: argparse.Namespace) -> dict[str, Any]:
    """What the settings of designs say of steering.

    Args:
        args: the parsed command line.

    Raises:
        InputError: a wish that means nothing, or options that do not go with it.
    """
    if args.steer is None:
        if args.particles is not None:
            raise InputError("--particles: is for --steer; give that too, or leave it out")
        return {}
    from protein.backbone.rewards import backbone_reward

    if args.trajectory:
        raise InputError("--trajectory: has the steps of one design; leave it out with --steer")
    if args.partial is not None:
        raise InputError("--steer: a variant starts from its structure; leave one of them out")
    reward = backbone_reward(args.steer)
    return {"steer": args.steer, "particles": args.particles or 8, "reward": reward}


def steering_files(args: argparse.Namespace) -> list[Path]:
    """Files of the user's own rewards: their content decides the designs too."""
    if not getattr(args, "steer", None):
        return []
    from protein.backbone.rewards import reward_files

    return reward_files(args.steer)


def rewarded(
    named: Mapping[str, dict[str, Any]], reward: Reward | None, folder: Path
) -> dict[str, dict[str, Any]]:
    """What is known of designs, with the reward that each reached.

    Args:
        named: facts of every design by its name.
        reward: what they were steered towards; None for nothing.
        folder: where the designs are.
    """
    if reward is None:
        return dict(named)
    from protein.backbone.rewards import reward_of

    values = {name: reward_of(reward, folder / f"{name}.cif") for name in named}
    return {name: {**facts, "reward": round(values[name], 3)} for name, facts in named.items()}
