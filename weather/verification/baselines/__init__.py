"""Forecasts that every useful model must beat, built from the training states alone."""

from weather.verification.baselines.base import Baseline as Baseline
from weather.verification.baselines.base import BaselineEnsemble as BaselineEnsemble
from weather.verification.baselines.base import analyses_of as analyses_of
from weather.verification.baselines.choice import BASELINES as BASELINES
from weather.verification.baselines.choice import choose_baselines as choose_baselines
from weather.verification.baselines.climate import Climate as Climate
from weather.verification.baselines.dressed import DressedForecast as DressedForecast
from weather.verification.baselines.history import History as History
