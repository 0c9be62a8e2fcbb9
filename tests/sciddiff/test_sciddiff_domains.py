"""The registry: a stranger's package is found, a broken one is listed and harms no other."""

from __future__ import annotations

import importlib
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from sciddiff.domains import GROUP, Domain, DomainEntry, domain_names, domains, get_domain
from sciddiff.errors import InputError

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "new_domain"


def register(site: Path, package: str, entries: dict[str, str]) -> None:
    """Lay out what an installer leaves of a package's entry points."""
    info = site / f"{package.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    lines = [f"{name} = {value}" for name, value in entries.items()]
    (info / "entry_points.txt").write_text("\n".join([f"[{GROUP}]", *lines]) + "\n")


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A directory of installed packages: the example and four faulty ones."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    register(tmp_path, project["name"], project["entry-points"][GROUP])
    shutil.copy(EXAMPLE / "mixture_domain.py", tmp_path)
    (tmp_path / "faulty_domain.py").write_text("raise RuntimeError('two\\nlines')\n")
    (tmp_path / "wrong_domain.py").write_text("class NotOne: pass\n")
    register(tmp_path, "faulty", {"faulty": "faulty_domain:Domain"})
    register(tmp_path, "absent", {"absent": "no_such_module:Domain"})
    register(tmp_path, "wrong", {"wrong": "wrong_domain:NotOne"})
    register(tmp_path, "rival", {"mixture": "wrong_domain:NotOne"})
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    yield tmp_path
    for name in ("mixture_domain", "faulty_domain", "wrong_domain"):
        sys.modules.pop(name, None)


def test_names_are_listed_without_importing_anything(site, monkeypatch):
    monkeypatch.setattr(EntryPoint, "load", lambda self: pytest.fail(f"{self.value} imported"))
    assert {"absent", "faulty", "mixture", "wrong"} <= set(domain_names())
    assert domain_names() == sorted(domain_names())


def test_broken_plug_ins_are_listed_with_their_error(site):
    listed = [entry for entry in domains() if entry.package != "sciddiff"]
    found = {(entry.name, entry.package): entry.error for entry in listed}
    assert found["mixture", "mixture-domain"] is None
    assert found["faulty", "faulty"] == "RuntimeError: two lines"
    assert found["absent", "absent"] == "ModuleNotFoundError: No module named 'no_such_module'"
    assert "not a subclass" in found["wrong", "wrong"]
    assert "already taken by package mixture-domain" in found["mixture", "rival"]
    assert isinstance(listed[0], DomainEntry)


def test_a_domain_is_found_by_name(site):
    found = get_domain("mixture")
    assert issubclass(found, Domain) and found.name == "mixture"
    assert found.__module__ == "mixture_domain"


def test_unknown_and_broken_names_answer_with_a_remedy(site):
    with pytest.raises(InputError, match="did you mean mixture[?] .*installed domains: .*faulty"):
        get_domain("mixtur")
    with pytest.raises(InputError, match="package faulty cannot be loaded .RuntimeError: two l"):
        get_domain("faulty")


def test_example_domain_meets_its_contract(site):
    domain = get_domain("mixture")()
    whole = [batch.ids for batch in domain.train_batches(1, 2, 0, 1)]
    assert whole == [batch.ids for batch in domain.train_batches(1, 2, 0, 1)]
    shares = [[b.ids for b in domain.train_batches(1, 2, rank, 2)] for rank in range(2)]
    assert [ids for pair in zip(*shares, strict=True) for ids in pair] == whole
    one, two = (next(iter(domain.train_batches(epoch, 2, 0, 1))).x["point"] for epoch in (0, 1))
    assert not one.equal(two)
    with pytest.raises(InputError, match="not positive"):
        domain.like({"n": 0})
    assert domain.null_labels() == {} and domain.provenance() == {}
    assert type(domain.objective()).__name__ == "Denoising"


def test_example_is_about_sixty_lines():
    code = (EXAMPLE / "mixture_domain.py").read_text().split("class Net")[0]
    assert len([line for line in code.splitlines() if line.strip()]) <= 75


@pytest.mark.slow
def test_example_installs_and_is_discovered(tmp_path):
    pytest.importorskip("hatchling", reason="building the example needs hatchling")
    shutil.copytree(EXAMPLE, tmp_path / "source", ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    command += ["--no-build-isolation", "--target", str(tmp_path / "site"), tmp_path / "source"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    code = (
        f"import sys; sys.path[:0] = [{str(ROOT)!r}, {str(tmp_path / 'site')!r}]\n"
        "from sciddiff.domains import domains, get_domain\n"
        "assert [e.error for e in domains() if e.name == 'mixture'] == [None]\n"
        "print(get_domain('mixture')().name)"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "mixture", done.stderr
