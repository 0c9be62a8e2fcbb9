"""Guidance: denoiser in, denoiser out; sampler, grid and guidance are independent choices."""

from sciddiff.guidance.auto import AutoGuidance as AutoGuidance
from sciddiff.guidance.base import DenoiserLike as DenoiserLike
from sciddiff.guidance.base import Guidance as Guidance
from sciddiff.guidance.base import Guided as Guided
from sciddiff.guidance.bias import Bias as Bias
from sciddiff.guidance.classifier_free import ClassifierFree as ClassifierFree
from sciddiff.guidance.compose import Compose as Compose
from sciddiff.guidance.energy import Energy as Energy
from sciddiff.guidance.posterior import Posterior as Posterior
