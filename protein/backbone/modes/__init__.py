"""What a run of the generator makes: new folds, scaffolds of a motif, variants of a structure,
symmetric assemblies, binders.

A mode turns design indices into templates, says through which network they are sampled, and puts
the finishing touch on a design. All share the core's one sampling loop.
"""

from protein.backbone.modes.base import Item, Mode
from protein.backbone.modes.options import mode_of

__all__ = ["Item", "Mode", "mode_of"]
