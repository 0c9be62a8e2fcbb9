"""Predictions: what a network said about a leaf, kept as it was said."""

from sciddiff.prediction.base import Prediction as Prediction
from sciddiff.prediction.base import Predictions as Predictions
from sciddiff.prediction.categorical import CategoricalPrediction as CategoricalPrediction
from sciddiff.prediction.gaussian import GaussianPrediction as GaussianPrediction
from sciddiff.prediction.gaussian import Parametrization as Parametrization
from sciddiff.prediction.tangent import TangentPrediction as TangentPrediction
