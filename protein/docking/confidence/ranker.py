"""A trained ranker: several networks whose judgements are averaged, and their calibration."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple, final

import numpy as np
import torch
from numpy.typing import NDArray

from protein.docking.confidence.network import Committee
from protein.docking.confidence.pose_set import PoseBatch, PoseSet, pack
from sciddiff import weights
from sciddiff.errors import InputError, reading

if TYPE_CHECKING:
    from pathlib import Path

KIND = "dock-ranker"
SHIPPED = "dock_ranker"
"""Name of the ranker that ships."""

_NET = "protein.docking.confidence.network.Committee"
_DOMAIN = "protein.docking.domain.DockingDomain"


class Platt(NamedTuple):
    """A logistic regression.

    Attributes:
        weights: of the columns.
        shift: its constant.
    """

    weights: tuple[float, ...] = (1.0, 0.0, 0.0, 0.0)
    shift: float = 0.0


@dataclass(frozen=True)
class Calibration:
    """What turns the judgement of a ligand's poses into probabilities.

    Attributes:
        trust: decrease of the mean logit per unit below the best linear score of the ligand.
        searched: regression on ``columns`` where the poses are all that a search found.
        given: the same where a user gives poses, be it a single one.
    """

    trust: float
    searched: Platt = Platt()
    given: Platt = Platt()

    def columns(
        self, logit: NDArray[np.float64], above: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """What the probability depends on `[K, 4]`.

        The first column orders the poses. The others are the same for all poses of a ligand and
        tell how sure that order is: how many poses compete with the first, the logarithm of the
        number of poses, and the mean logit.

        Args:
            logit: mean logit of the networks `[K]`.
            above: mean distance from the best linear score `[K]`.
        """
        order = logit - self.trust * above
        rivals = 0.5 * np.log(np.exp(2.0 * (order - order.max())).sum())
        whole = [rivals, np.log(len(order)), logit.mean()]
        return np.column_stack([order, np.tile(whole, (len(order), 1))])

    def logits(
        self, logit: NDArray[np.float64], above: NDArray[np.float64], given: bool = False
    ) -> NDArray[np.float64]:
        """Logit of the probability `[K]`; the first arguments are those of ``columns``."""
        law = self.given if given else self.searched
        return self.columns(logit, above) @ np.asarray(law.weights) + law.shift


@final
@dataclass(frozen=True, eq=False)
class Ranker:
    """Gives the probability that a pose of a ligand is within 2 Å of the truth.

    Attributes:
        net: the networks.
        calibration: what turns their judgement into a probability.
        meta: record of how it was made.
    """

    net: Committee
    calibration: Calibration
    meta: Mapping[str, Any]

    @torch.no_grad()
    def probabilities(self, poses: PoseSet, given: bool = False) -> NDArray[np.float64]:
        """P(RMSD < 2 Å) of the poses of a ligand `[K]`; 0 of a pose that touches nothing.

        Args:
            poses: all that the search found, since each is judged beside the others.
            given: whether they come from elsewhere, so that others may not have been tried.
        """
        if len(poses) == 0:
            return np.zeros(0)
        device = next(self.net.parameters()).device
        batch = PoseBatch(*(x.to(device) for x in pack([poses])))
        judged, _, above = self.net(batch)
        found = (x.double().cpu().numpy() for x in (judged, above))
        logit = self.calibration.logits(*found, given=given)
        # The networks have never seen a pose away from the receptor.
        touching = poses.touching.cpu().numpy()
        return np.where(touching, 1.0 / (1.0 + np.exp(-logit.clip(-500.0, 500.0))), 0.0)


def save_ranker(
    directory: str | os.PathLike[str],
    ranker: Ranker,
    settings: Mapping[str, Any],
    seed: int = 0,
    **facts: Any,  # noqa: ANN401
) -> Path:
    """Write a ranker as a model directory.

    Args:
        directory: model folder to make.
        ranker: ranker to write.
        settings: arguments of the networks (``width``, ``hidden``, ``rounds``).
        seed: seed that it was trained with.
        facts: ``data``, ``command``, ``metrics`` of ``sciddiff.checkpoint.save``.
    """
    from sciddiff.checkpoint import save

    plain = {
        "domain": {"class_path": _DOMAIN},
        "net": {"class_path": _NET, "init_args": {"members": len(ranker.net), **settings}},
        "seed": seed,
    }
    extra = {
        "kind": KIND,
        "calibration": asdict(ranker.calibration),
    }
    return save(directory, ranker.net.state_dict(), plain, extra=extra, **facts)


def load_ranker(directory: str | os.PathLike[str]) -> Ranker:
    """Read a ranker.

    Args:
        directory: model folder; ``sciddiff.shipped.find_model`` gives that of a shipped model.

    Raises:
        InputError: there is no such model, or it is damaged or of another kind.
    """
    from sciddiff.checkpoint import load

    meta = weights.describe(directory)
    if meta.get("kind") != KIND:
        raise InputError(
            f"{directory}: is not a ranker of poses; make one with sciddiff train-ranker"
        )
    net = load(directory).denoiser.net
    if not isinstance(net, Committee):
        raise InputError(f"{directory}: its network is not a Committee; copy the model again")
    with reading(f"{directory}/{weights.META}", "of a ranker", "copy the model again"):
        scale = meta["calibration"]
        laws = (
            Platt(tuple(float(x) for x in weights), float(shift))
            for weights, shift in (scale["searched"], scale["given"])
        )
        found = Calibration(float(scale["trust"]), *laws)
    return Ranker(net, found, meta)


def find_ranker(name: str | None = None, device: torch.device | str = "cpu") -> Ranker | None:
    """Find a ranker by its name.

    Args:
        name: name of shipped weights, a model folder, ``none``, or None for the ranker that ships.
        device: device that holds its networks.

    Returns:
        The ranker; None for ``none``, and if no ranker ships.

    Raises:
        InputError: there is no such model, or it is of another kind.
    """
    from sciddiff.shipped import find_model, shipped_models

    if name == "none":
        return None
    if name is None and SHIPPED not in {model.name for model in shipped_models()}:
        return None
    ranker = load_ranker(find_model(name or SHIPPED))
    return replace(ranker, net=ranker.net.to(device))
