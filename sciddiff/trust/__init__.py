"""What a model that somebody else made may run here: classes of trusted packages, and no more.

A model's `config.yaml` names its domain and network by `class_path`.  Reading it imports and calls
what it names, so a folder of weights could run any code if nothing stood between.  Here stands

* `Trust`: the packages whose classes a model may name, checked before anything is imported;
  `trusting` adds to them for the length of one command;
* `construct`: the object that a plain value and a type describe, made of such classes alone;
  `parameters` are the arguments of a class with their types.

A training configuration is another thing: it is its author's own program, and
`sciddiff.config.build` runs what it names.
"""

from sciddiff.trust.building import allows_none, construct, parameters
from sciddiff.trust.packages import VARIABLE, Trust, trusting

__all__ = ["VARIABLE", "Trust", "allows_none", "construct", "parameters", "trusting"]
