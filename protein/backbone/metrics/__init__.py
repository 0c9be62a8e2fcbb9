"""How good designed backbones are: geometry, secondary structure, shape, diversity, novelty.

`evaluate_designs` measures a set beside natives; `measure` one chain; `write_designs_csv` and
`comparison_text` write what came out. Every figure is explained in `COLUMNS`.
"""

from protein.backbone.metrics.evaluation import Evaluation as Evaluation
from protein.backbone.metrics.evaluation import evaluate_designs as evaluate_designs
from protein.backbone.metrics.measure import Measured as Measured
from protein.backbone.metrics.measure import measure as measure
from protein.backbone.metrics.natives import Reference as Reference
from protein.backbone.metrics.novelty import FoldLibrary as FoldLibrary
from protein.backbone.metrics.table import COLUMNS as COLUMNS
from protein.backbone.metrics.table import column_dictionary as column_dictionary
from protein.backbone.metrics.table import comparison_text as comparison_text
from protein.backbone.metrics.table import write_designs_csv as write_designs_csv
