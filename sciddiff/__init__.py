"""sciddiff: diffusion and flow models for science.

A state is a dict of tensors; each leaf has a path, which says how it travels from noise (t = 0) to
data (t = 1). One `Denoiser`, one training objective and one sampling loop then serve every state.

Names are imported when first used, so that ``import sciddiff`` costs little more than torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sciddiff.checkpoint import Model as Model
    from sciddiff.checkpoint import load as load
    from sciddiff.denoiser import Denoiser as Denoiser
    from sciddiff.domains import Domain as Domain
    from sciddiff.drawing import Drawing as Drawing
    from sciddiff.errors import InputError as InputError
    from sciddiff.errors import MissingExtra as MissingExtra
    from sciddiff.likelihood import elbo as elbo
    from sciddiff.likelihood import log_prob as log_prob
    from sciddiff.likelihood import order_log_prob as order_log_prob
    from sciddiff.manifolds import SO3 as SO3
    from sciddiff.manifolds import Euclidean as Euclidean
    from sciddiff.manifolds import Manifold as Manifold
    from sciddiff.manifolds import Sphere as Sphere
    from sciddiff.manifolds import Torus as Torus
    from sciddiff.manifolds import ZeroCenterOfMass as ZeroCenterOfMass
    from sciddiff.objectives import Denoising as Denoising
    from sciddiff.objectives import LossOutput as LossOutput
    from sciddiff.objectives import Objective as Objective
    from sciddiff.paths import BrownianPath as BrownianPath
    from sciddiff.paths import GaussianPath as GaussianPath
    from sciddiff.paths import GeodesicPath as GeodesicPath
    from sciddiff.paths import MaskPath as MaskPath
    from sciddiff.paths import Path as Path
    from sciddiff.paths import PathSample as PathSample
    from sciddiff.paths import ProductPath as ProductPath
    from sciddiff.paths import UniformDiscretePath as UniformDiscretePath
    from sciddiff.prediction import Prediction as Prediction
    from sciddiff.sampling import sample as sample
    from sciddiff.state import Batch as Batch
    from sciddiff.state import Layout as Layout
    from sciddiff.state import State as State
    from sciddiff.streams import Streams as Streams
    from sciddiff.ties import Ties as Ties

_HOMES = {
    "Batch": "sciddiff.state",
    "BrownianPath": "sciddiff.paths",
    "Denoiser": "sciddiff.denoiser",
    "Denoising": "sciddiff.objectives",
    "Domain": "sciddiff.domains",
    "Drawing": "sciddiff.drawing",
    "Euclidean": "sciddiff.manifolds",
    "GaussianPath": "sciddiff.paths",
    "GeodesicPath": "sciddiff.paths",
    "InputError": "sciddiff.errors",
    "Layout": "sciddiff.state",
    "LossOutput": "sciddiff.objectives",
    "Manifold": "sciddiff.manifolds",
    "MaskPath": "sciddiff.paths",
    "MissingExtra": "sciddiff.errors",
    "Model": "sciddiff.checkpoint",
    "Objective": "sciddiff.objectives",
    "Path": "sciddiff.paths",
    "PathSample": "sciddiff.paths",
    "Prediction": "sciddiff.prediction",
    "ProductPath": "sciddiff.paths",
    "SO3": "sciddiff.manifolds",
    "Sphere": "sciddiff.manifolds",
    "State": "sciddiff.state",
    "Streams": "sciddiff.streams",
    "Ties": "sciddiff.ties",
    "Torus": "sciddiff.manifolds",
    "UniformDiscretePath": "sciddiff.paths",
    "elbo": "sciddiff.likelihood",
    "load": "sciddiff.checkpoint",
    "log_prob": "sciddiff.likelihood",
    "order_log_prob": "sciddiff.likelihood",
    "ZeroCenterOfMass": "sciddiff.manifolds",
    "sample": "sciddiff.sampling",
}

__all__ = sorted([*_HOMES, "__version__"])  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("sciddiff")
        except PackageNotFoundError:
            return "0+unknown"
    if name not in _HOMES:
        raise AttributeError(f"module 'sciddiff' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
