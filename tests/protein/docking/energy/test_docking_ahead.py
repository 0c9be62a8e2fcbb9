"""Loops that are compiled ahead: for the arrays of docking, beside the command, and once."""

import os
import subprocess
import sys
import types
from pathlib import Path

import pytest

pytest.importorskip("numba")

from protein.docking.energy import ahead, kernels, leaf_kernels
from protein.docking.pipeline.docker import Docker
from protein.docking.pipeline.settings import DockSettings
from protein.docking.receptors.box import box_around
from protein.docking.search.monte_carlo import SearchSettings


@pytest.mark.parametrize("count", [1, 2])
def test_docking_compiles_nothing_else_than_what_is_compiled_ahead(
    count, drug, conformer, imprint
):
    tiny = SearchSettings(chains=8, rounds=1, evaluations=4, archive=8, final=10)
    settings = DockSettings(poses=2, conformers=count, effort=tiny)
    docker = Docker(imprint, box_around(conformer, 4.0), settings)
    known = [(loop, set(loop.signatures)) for loop, _ in ahead.loops()]
    assert docker.dock([drug], [0])[0].docked is not None
    for (loop, before), (same, arguments) in zip(known, ahead.loops(), strict=True):
        assert loop is same
        assert set(loop.signatures) - before <= {arguments}
        assert arguments in loop.signatures
    assert [loop.py_func.__name__ for loop, _ in known] == ["minimize", "evaluate", "interaction"]
    assert {kernels.minimize, kernels.evaluate} <= {loop for loop, _ in known}
    assert leaf_kernels.interaction in {loop for loop, _ in known}


def test_what_compiles_ahead_brings_no_torch():
    text = (
        "import protein.docking.energy.ahead as a, sys; a.loops(); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.fixture
def started(monkeypatch):
    """Processes that would have been started; each says when it was waited for."""
    made = []

    def start(words, **_):
        made.append([words])
        return types.SimpleNamespace(wait=lambda: made[0].append("waited"))

    monkeypatch.setattr(ahead, "_beside", [])
    monkeypatch.setattr(subprocess, "Popen", start)
    return made


def test_it_begins_once_where_no_code_is_kept(started, monkeypatch):
    monkeypatch.setattr(ahead, "_is_kept", lambda _: False)
    monkeypatch.setenv(ahead.SWITCH, "0")
    ahead.begin()
    assert not started
    monkeypatch.delenv(ahead.SWITCH)
    ahead.begin()
    ahead.begin()
    assert started == [[[sys.executable, "-m", "protein.docking.energy.ahead"]]]
    ahead.wait()
    ahead.wait()
    assert started[0][1:] == ["waited"]


def test_a_loop_whose_code_is_there_is_not_waited_for(monkeypatch):
    kept, ended, slept = set(), [], []

    def sleep(_):
        slept.append(1)
        kept.add("first" if len(slept) < 3 else "second")

    process = types.SimpleNamespace(
        poll=lambda: 0 if len(slept) > 5 else None, wait=lambda: ended.append(len(slept))
    )
    monkeypatch.setattr(ahead, "_beside", [process])
    monkeypatch.setattr(ahead, "_is_kept", lambda loop: loop in kept)
    monkeypatch.setattr(ahead.time, "sleep", sleep)
    ahead.wait("first")
    assert len(slept) == 1 and not ended
    ahead.wait("first")
    ahead.wait("second")
    assert len(slept) == 3 and not ended
    ahead.wait("third")  # never kept: it compiles itself once the process has ended
    assert ended == [6] and ahead._beside == []
    ahead.wait("third")


def test_it_does_not_begin_where_code_is_kept(started, monkeypatch):
    monkeypatch.setattr(ahead, "_is_kept", lambda _: True)
    ahead.begin()
    assert not started


def test_code_older_than_its_source_is_not_kept(tmp_path):
    source = Path(leaf_kernels.__file__)
    code = leaf_kernels.interaction.py_func.__code__
    loop = types.SimpleNamespace(
        py_func=leaf_kernels.interaction.py_func, stats=types.SimpleNamespace(cache_path=tmp_path)
    )
    assert not ahead._is_kept(loop)
    version = f"py{sys.version_info.major}{sys.version_info.minor}"
    (tmp_path / f"leaf_kernels.interaction-{code.co_firstlineno}.{version}.nbi").write_bytes(b"")
    assert not ahead._is_kept(loop)  # Numba writes the code after its index
    file = tmp_path / f"leaf_kernels.interaction-{code.co_firstlineno}.{version}.1.nbc"
    file.write_bytes(b"")
    assert ahead._is_kept(loop)
    before = source.stat().st_mtime - 60
    os.utime(file, (before, before))
    assert not ahead._is_kept(loop)
    loop.stats.cache_path = None  # nowhere to keep it
    assert ahead._is_kept(loop)
