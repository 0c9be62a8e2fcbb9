"""Run the command as a user does: in a folder of their own, with plug-ins beside it.

Most commands run inside this process, which saves importing torch for each; what is about the
process itself (signals, pipes, what is imported) starts another one.
"""

import contextlib
import importlib
import io
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from sciddiff.cli.main import main

ROOT = Path(__file__).resolve().parents[3]


@dataclass
class Shell:
    """A working folder with its own plug-ins."""

    folder: Path

    @property
    def plugins(self) -> Path:
        """Folder on the import path of every command."""
        return self.folder / "plugins"

    def install(self, name: str, entry_points: str, module: str = "") -> None:
        """Put a distribution on the import path, as pip would."""
        info = self.plugins / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(entry_points)
        if module:
            (self.plugins / f"{name}.py").write_text(module)

    @property
    def paths(self) -> list[str]:
        """What the commands import from, before everything else."""
        return [str(self.plugins), str(ROOT / "examples" / "new_domain"), str(ROOT)]

    def environment(self) -> dict[str, str]:
        """The environment of commands in another process."""
        return {**os.environ, "PYTHONPATH": os.pathsep.join(self.paths)}

    def __call__(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run `sciddiff WORDS` in the folder."""
        out, err = io.StringIO(), io.StringIO()
        before = list(sys.path)
        sys.path[:0] = self.paths
        importlib.invalidate_caches()
        try:
            with (
                contextlib.chdir(self.folder),
                contextlib.redirect_stdout(out),
                contextlib.redirect_stderr(err),
            ):
                status = main(words)
        finally:
            sys.path[:] = before
        return subprocess.CompletedProcess(words, status, out.getvalue(), err.getvalue())


@pytest.fixture
def shell(tmp_path):
    return Shell(tmp_path)


@pytest.fixture(scope="session")
def new_shell(tmp_path_factory):
    """Make a shell that outlives a test."""
    return lambda name: Shell(tmp_path_factory.mktemp(name))


@pytest.fixture(scope="session")
def fails():
    """Check the house rule of failures: status 2, one line on stderr, nothing on stdout."""

    def check(done, *parts):
        assert done.returncode == 2, (done.stdout, done.stderr)
        lines = done.stderr.splitlines()
        assert len(lines) == 1, done.stderr
        assert lines[0].startswith("sciddiff: error: ")
        assert "Traceback" not in done.stderr
        assert done.stdout == ""
        for part in parts:
            assert part in lines[0], lines[0]

    return check
