"""``python -m sciddiff``: the command line, where the script ``sciddiff`` is not on the path."""

from __future__ import annotations

import sys

from sciddiff.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
