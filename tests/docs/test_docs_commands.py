"""What the documents tell a reader to type is typed: every command runs, or is at least parsed.

Each document has a folder of its own, in which its blocks are worked through from top to bottom,
with small stand-ins for the files that it expects and with options that keep each command short.
A command that is too long even so, or that needs the network or a GPU, is listed in `PARSED`; the
command's own parser then reads it. Nothing is left out silently.
"""

import doctest
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from sciddiff.cli.main import main
from sciddiff.cli.parsing import parse
from sciddiff.cli.registry import core_verbs, load_core, load_preparer, load_user

ROOT = Path(__file__).resolve().parents[2]
PATTERNS = ("*.md", "docs/*.md", "configs/*.md", "examples/**/*.md")
DOCUMENTS = sorted(
    str(path.relative_to(ROOT))
    for pattern in PATTERNS
    for path in ROOT.glob(pattern)
    if "```" in path.read_text(encoding="utf-8")
)

SMALL = {
    "backbone": "-n 1 --steps 2 --no-report",
    "backbone .*--length": "--length 50",
    "(codesign|fold) ": "-n 1 --steps 2 --no-report",
    "codesign .*--length": "--length 50",
    "backbone .*--sequences": "--sequences 1",
    "design ": "-n 1 --no-report",
    "sequence ": "-n 2 --steps 2",
    "prepare sequence": "--val 0.2 --test 0.1 --clusterer builtin",
    "dock": "--effort fast --check 0 --workers 1",
    "train ": "--trainer.max_steps 1 --trainer.val_every 1 --trainer.progress false",
    "train (?!.*natlantic_latent).*weather": "--domain.data.val_days 10 --domain.data.batch 2",
    "train configs/weather": "--net.widths [8,16,16]",
    "train .*natlantic": "--ema.widths [0.1]",
    "train .*autoencoder": "--net.widths [24,64]",  # those of its codec in natlantic_latent.yaml
    "train .*natlantic_latent": (
        "--net.widths [8,16] --domain.domain.data.val_days 10 --domain.domain.data.batch 2"
    ),
    "train .*rollout": "--domain.relax false",
    "prepare backbone": "--val 0.2 --max-rg 0 --min-contacts 0 --max-coil 0",
    "prepare ranker": "--chains 8 --rounds 2 -j 1",
    "sample": "-n 2 --steps 2",
    "distill": "--steps 1 --threads 1",
    "tune": "--steps 1 --templates 1 --group 2 --calls 2 --measure 2 --threads 1",
    "tune lite": "--calls 20 --templates 2 --group 8",  # so that some samples are sound
    "distill .*--reflow": "--own 4",
    "likelihood": "-n 2 --steps 2",
    "forecast": "--members 2 --days 2",
    "verify": "--draws 20 --no-plots",
    "verify .*--train": "--baselines climatology --baseline-members 4",
    "verify .*--reference": "--baselines lim",  # the reference is the document's
    "extremes": "--threshold q0.1 -n 8 --pilot 8 --repeats 4 --batch 8 --no-composites",
    "assimilate": "--members 2 --steps 3 --iterations 1",
}
"""Options that keep a command short, by a pattern at its beginning; they are added at its end."""

SCRIPTS = {"examples/weather/toy_planet.py": "--days 130 --members 2"}
"""Scripts that are run, with the options that keep them short."""

PARSED = {
    "examples/weather/perfect_model.md": "needs years of a simulator that is compiled by hand",
    "examples/weather/weatherbench.md": "reads a public store over the network",
    "pack |prepare pack|train .*pack_lite|design .*--pack": (
        "is tried from end to end by tests/protein/sidechains"
    ),
    "(train .*|export runs/|.*models/)residue_(autoencoder|latent|direct)": (
        "is tried from end to end by tests/protein/sidechains"
    ),
    "prepare (dock|ranker)": "needs complexes whose ligands fit into their pockets",
    "train .*dock_lite.yaml": "uses what prepare dock has made",
    "train-ranker": "needs complexes of several proteins",
    "distill .*--progressive": "learns from a planet; tests/sciddiff/cli tries the option",
    "dock .*--covalent": "is tried from end to end by tests/protein/docking",
    "dock .*--flex": "is tried from end to end by tests/protein/docking",
    "dock .*--ranker models/": "uses what train-ranker has made",
    "dock .*(--enumerate|--hits|--template)": "is tried from end to end by tests/protein/docking",
    "(refine|evaluate .*--actives)": "is tried from end to end by tests/protein/docking",
    ".* --scheduler ": "needs a cluster; is tried by tests/weather/commands",
    r"train .*_base.yaml": "trains a network that is made for a GPU",
}
"""Documents and commands (by a pattern) that are parsed and not run, with the reason."""


@dataclass(frozen=True)
class Block:
    """One fenced block of a document."""

    language: str
    text: str

    @property
    def commands(self) -> Iterator[str]:
        """The lines of a shell block, without comments and with continued lines joined.

        A block that shows a session has its commands after `$`; the rest of it is output.
        """
        lines = self.text.replace("\\\n", " ").splitlines()
        if any(line.startswith("$ ") for line in lines):
            lines = [line[2:] for line in lines if line.startswith("$ ")]
        for line in lines:
            words = shlex.split(line, comments=True)
            if words:
                yield shlex.join(words) if "$" not in line else line


def blocks(document: str) -> list[Block]:
    """The fenced blocks of a document from top to bottom."""
    text = (ROOT / document).read_text(encoding="utf-8")
    return [Block(*found) for found in re.findall(r"^```(\w*)\n(.*?)^```", text, re.S | re.M)]


def is_shell(block: Block) -> bool:
    """Whether a block is for a shell: one that is not marked begins with a command."""
    if block.language:
        return block.language in ("bash", "sh", "console")
    return any(line.startswith(STARTS) for line in block.text.splitlines())


STARTS = ("sciddiff ", "make ", "pip ", "python ", "$ ", "torchrun ", "bash ", "WB2=")


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("document", DOCUMENTS)
def test_document_works_from_top_to_bottom(document, scratch, stand_ins):
    stand_ins.place_all(scratch, named_in=(ROOT / document).read_text(encoding="utf-8"))
    names: dict[str, object] = {"__name__": "document"}
    for block in blocks(document):
        if block.language == "python":
            if document not in PARSED:
                exec(compile(block.text, document, "exec"), names)
        elif block.language == "pycon":
            check_session(block.text, document, names)
        elif is_shell(block):
            for command in block.commands:
                follow(command, block, document)


def check_session(text: str, document: str, names: dict[str, object]) -> None:
    """Run a session of Python, in which every answer must be the one that is shown."""
    session = doctest.DocTestParser().get_doctest(text, names, document, document, 0)
    found = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(session, clear_globs=False)
    assert found.attempted and not found.failed
    names.update(session.globs)


def follow(command: str, block: Block, document: str) -> None:
    """Run one command of a document, or check it as far as it can be checked here."""
    tool, *words = shlex.split(command)
    if tool == "sciddiff":
        if document in PARSED or any(re.match(p, shlex.join(words)) for p in PARSED):
            read(words)
        else:
            run(words)
    elif tool == "torchrun":
        read(words[words.index("sciddiff") + 1 :])
    elif tool == "python":
        call_script(Path(words[0]), words[1:])
    elif tool == "make":
        subprocess.run(["make", "-n", *words], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    elif tool == "pip":
        assert words[0] == "install"
        for target in (word for word in words[1:] if not word.startswith("-")):
            check_requirement(target)
    elif tool == "bash":
        subprocess.run(["bash", "-n", *words], cwd=ROOT, check=True)
    else:  # plain shell around our commands: its syntax is checked
        subprocess.run(["bash", "-n"], input=block.text, text=True, check=True)


def run(words: list[str]) -> None:
    """Run a verb with the options that keep it short."""
    command = shlex.join(words)
    short = " ".join(more for pattern, more in SMALL.items() if re.match(pattern, command))
    print(f"$ sciddiff {command} {short}")
    assert main([*words, *short.split()]) == 0, command


def read(words: list[str]) -> None:
    """Let the verb's own parser read the words, and run nothing."""
    verb, *rest = words
    if verb == "train":  # the configuration's own keys are checked too
        assert main([*words, "--print_config"]) == 0, shlex.join(words)
        return
    command = load_core(verb) if verb in core_verbs() else load_user(verb)
    if verb == "prepare":
        kind, *rest = rest
        command = replace(load_preparer(kind), name=f"prepare {kind}")
    parse(command, rest)


def call_script(script: Path, words: list[str]) -> None:
    """Run a script that is short; of another one, check that it has the options."""
    assert (ROOT / script).is_file(), script
    short = SCRIPTS.get(str(script))
    if short is not None:
        subprocess.run([sys.executable, script, *words, *short.split()], check=True)
        return
    source = (ROOT / script).read_text(encoding="utf-8")
    if "docking_rows.arguments(" in source:  # options that several scripts share
        source += (ROOT / "benchmarks/docking_rows.py").read_text(encoding="utf-8")
    for option in (word.split("=")[0] for word in words if re.match("--?[a-z]", word)):
        assert f'"{option}"' in source, f"{script}: {option}"


def check_requirement(target: str) -> None:
    """Check that what `pip install` is given exists: the extras of this package, or a folder."""
    where, _, extras = target.partition("[")
    if not where.startswith("."):
        Requirement(target)
        return
    assert (ROOT / where / "pyproject.toml").is_file(), target
    project = tomllib.loads((ROOT / where / "pyproject.toml").read_text(encoding="utf-8"))
    known = project["project"].get("optional-dependencies", {})
    assert not {name for name in extras.rstrip("]").split(",") if name} - set(known), target
