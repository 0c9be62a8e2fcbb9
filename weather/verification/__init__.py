"""How good forecasts are: scores against what happened, with intervals, beside baselines.

`verify` scores any `Ensemble` against a `Truth`, the part they share found by `align`; figures
come out of the `Verification` it returns, and `write_scores` writes them all.
"""

from weather.verification.ensembles import ArrayEnsemble as ArrayEnsemble
from weather.verification.ensembles import Ensemble as Ensemble
from weather.verification.ensembles import FileEnsemble as FileEnsemble
from weather.verification.figures import FIGURES as FIGURES
from weather.verification.figures import Verification as Verification
from weather.verification.instants import Instants as Instants
from weather.verification.regions import STANDARD_REGIONS as STANDARD_REGIONS
from weather.verification.regions import Region as Region
from weather.verification.truths import EnsembleTruth as EnsembleTruth
from weather.verification.truths import SeriesTruth as SeriesTruth
from weather.verification.truths import Truth as Truth
from weather.verification.verify import Plan as Plan
from weather.verification.verify import VerifySettings as VerifySettings
from weather.verification.verify import align as align
from weather.verification.verify import verify as verify
