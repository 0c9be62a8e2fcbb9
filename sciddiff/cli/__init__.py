"""The command line: one verb a file, found by table (core) or by entry point (everyone else).

Nothing under this package is needed to use the library, and nothing heavy is imported until a
verb runs: ``sciddiff --help`` loads neither torch nor any plug-in's dependencies.
"""

from __future__ import annotations

from sciddiff.cli.command import Command
from sciddiff.cli.progress import Progress, progress

__all__ = ["Command", "Progress", "progress"]
