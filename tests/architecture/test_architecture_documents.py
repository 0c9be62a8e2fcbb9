"""What the documents name exists: links, files, verbs and options; `tests/docs` runs them."""

import re
import shlex
from dataclasses import replace
from importlib.metadata import entry_points

import pytest

from sciddiff.cli.command import COMMANDS
from sciddiff.cli.parsing import parse
from sciddiff.cli.registry import core_verbs, load_core, load_preparer, load_user


def _documents(repository):
    patterns = ("*.md", "docs/*.md", "configs/*.md", "examples/**/*.md")
    return [path for pattern in patterns for path in repository.glob(pattern)]


def test_links_lead_somewhere(repository):
    lost = []
    for path in _documents(repository):
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", path.read_text(encoding="utf-8")):
            if "://" not in target and not (path.parent / target).exists():
                lost.append(f"{path.name}: {target}")
    assert not lost, "\n".join(lost)


def test_files_in_code_quotes_exist(repository):
    """Paths of the repository that a document names in backquotes."""
    lost = []
    roots = ("tests/", "docs/", "configs/", "examples/", "protein/", "sciddiff/", "weather/")
    roots += ("benchmarks/",)
    for path in _documents(repository):
        for target in re.findall(r"`([\w./-]+)`", path.read_text(encoding="utf-8")):
            found = (repository / target).exists() or (path.parent / target).exists()
            if target.startswith(roots) and not found:
                lost.append(f"{path.name}: {target}")
    assert not lost, "\n".join(lost)


def test_the_source_distribution_holds_what_documents_run(repository):
    import tomllib

    project = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))
    included = project["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    lost = set()
    for path in _documents(repository):
        text = path.read_text(encoding="utf-8")
        for target in re.findall(r"(?:python|bash|sh|make -C) ((?:\.ci|\w+)/[\w./-]+)", text):
            if not any(f"/{target}".startswith(f"{root}") for root in included):
                lost.add(f"{path.name}: {target}")
    assert not lost, "\n".join(sorted(lost))


def test_verbs_in_documents_exist(repository):
    verbs = {*core_verbs(), *(entry.name for entry in entry_points(group=COMMANDS))}
    if "backbone" not in verbs:
        pytest.skip("the package is not installed, so its entry points are not known")
    unknown = set()
    for path in _documents(repository):
        for verb, *_ in _commands(path.read_text(encoding="utf-8")):
            unknown |= {f"{path.name}: {verb}"} if verb not in verbs else set()
    assert not unknown, unknown


def _commands(text):
    """Words after `sciddiff` of every command in a block of code; alternatives are left out."""
    for block in re.findall(r"```(?:bash)?\n(.*?)```", text, flags=re.S):
        for line in block.replace("\\\n", " ").splitlines():
            found = re.match(r"(?:torchrun .* )?sciddiff (\w.*)", line.strip())
            if found and " | " not in found[1]:
                yield shlex.split(found[1], comments=True)


def test_commands_in_documents_are_understood(repository, capsys):
    """Every option of every command that a document shows exists and takes what it is given."""
    if "backbone" not in {entry.name for entry in entry_points(group=COMMANDS)}:
        pytest.skip("the package is not installed, so its entry points are not known")
    wrong, count = [], 0
    for path in _documents(repository):
        for verb, *words in _commands(path.read_text(encoding="utf-8")):
            command = load_core(verb) if verb in core_verbs() else load_user(verb)
            if verb == "prepare" and words:
                kind, *words = words
                command = replace(load_preparer(kind), name=f"prepare {kind}")
            count += 1
            try:
                parse(command, words)
            except SystemExit:
                said = capsys.readouterr().err
                wrong.append(f"{path.name}: {shlex.join([verb, *words])}\n{said}")
    assert count > 40
    assert not wrong, "\n".join(wrong)
