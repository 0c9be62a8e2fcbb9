"""Paths: how the leaves of a state travel from noise to data."""

from sciddiff.paths.base import Path, PathSample
from sciddiff.paths.brownian import BrownianPath, BrownianPrediction
from sciddiff.paths.gaussian import GaussianPath
from sciddiff.paths.geodesic import GeodesicPath
from sciddiff.paths.move import FreshNoise, LeafStage, Move
from sciddiff.paths.product import ProductPath
from sciddiff.paths.tokens import MaskPath, TokenPath, UniformDiscretePath
from sciddiff.paths.unit import unit_path

__all__ = [
    "BrownianPath",
    "BrownianPrediction",
    "FreshNoise",
    "GaussianPath",
    "GeodesicPath",
    "LeafStage",
    "MaskPath",
    "Move",
    "Path",
    "PathSample",
    "ProductPath",
    "TokenPath",
    "UniformDiscretePath",
    "unit_path",
]
