"""Refolding: do sequences that were designed for a backbone fold into it?

The structures come from elsewhere (ColabFold, ESMFold, Boltz, Chai, AlphaFold), as files. They are
matched with designs by name (`names`) and residue by residue (`pairing`), their confidence is read
(`confidence`), and what the field asks of a design is judged (`judged`): the distance after
superposition, the TM-score and the confidence.
"""

from protein.backbone.refolding.folder import read_refolded as read_refolded
from protein.backbone.refolding.judged import Refold as Refold
from protein.backbone.refolding.judged import Refolding as Refolding
from protein.backbone.refolding.judged import Thresholds as Thresholds
from protein.backbone.refolding.options import RefoldOptions as RefoldOptions
