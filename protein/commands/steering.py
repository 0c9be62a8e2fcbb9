"""Options that steer designs by rewards, of every verb that has them."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sciddiff.cli.options import count
from sciddiff.errors import InputError

if TYPE_CHECKING:
    from sciddiff.rewards import RewardTerms
    from sciddiff.steering import Reward


def add_steering(parser: argparse.ArgumentParser, designs: str, names: str) -> None:
    """Add the options that say what designs are steered towards.

    Args:
        parser: of the verb.
        designs: what it makes, such as ``designs``.
        names: an example of a wish, and what may be wished for.
    """
    group = parser.add_argument_group(f"what {designs} are steered towards")
    add = group.add_argument
    add(
        "--steer",
        metavar="WISHES",
        help=f"rewards with weights, {names}, or a function of yours, package.module:function, "
        "with --trust package",
    )
    add(
        "--particles",
        type=count(2),
        metavar="P",
        help=f"{designs} that compete for each one; the time grows as they do (default 8)",
    )


def steering(args: argparse.Namespace, terms: RewardTerms) -> dict[str, Any]:
    """What the settings of designs say of steering: `steer`, `particles` and `reward`.

    Args:
        args: the parsed command line.
        terms: what may be wished for.

    Raises:
        InputError: a wish that means nothing, or options that do not go with it.
    """
    if args.steer is None:
        if args.particles is not None:
            raise InputError("--particles: is for --steer; give that too, or leave it out")
        return {}
    reward = terms.reward(args.steer)
    return {"steer": args.steer, "particles": args.particles or 8, "reward": reward}


def steering_files(args: argparse.Namespace, terms: RewardTerms) -> list[Path]:
    """Files of the user's own rewards: their content decides the designs too."""
    return terms.files(args.steer) if getattr(args, "steer", None) else []


def add_backbone_steering(parser: argparse.ArgumentParser) -> None:
    """Add `add_steering` for backbones."""
    names = "strand=20,contacts=2: strand, helix, compact, contacts, apart"
    add_steering(parser, "designs", names)


def backbone_steering(args: argparse.Namespace) -> dict[str, Any]:
    """`steering` of backbones.

    Raises:
        InputError: as `steering`.
    """
    from protein.backbone.rewards import TERMS

    if args.steer is not None and args.trajectory:
        raise InputError("--trajectory: has the steps of one design; leave it out with --steer")
    if args.steer is not None and args.partial is not None:
        raise InputError("--steer: a variant starts from its structure; leave one of them out")
    return steering(args, TERMS)


def backbone_steering_files(args: argparse.Namespace) -> list[Path]:
    """`steering_files` of backbones."""
    from protein.backbone.rewards import TERMS

    return steering_files(args, TERMS)


def rewarded(
    named: Mapping[str, dict[str, Any]], reward: Reward | None, folder: Path
) -> dict[str, dict[str, Any]]:
    """What is known of backbones, with the reward that each reached.

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
