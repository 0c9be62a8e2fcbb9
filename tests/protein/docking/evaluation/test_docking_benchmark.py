"""The table of the redocking benchmark."""

import csv
import importlib.util

import pytest

pytest.importorskip("rdkit")


@pytest.fixture
def physics(repository):
    path = repository / "benchmarks" / "docking_physics.py"
    spec = importlib.util.spec_from_file_location("docking_physics", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_refused_molecule_fails_to_dock_but_has_no_invalid_pose(physics, tmp_path, capsys):
    """Of five complexes one is refused, one pose is right but invalid, and three are right."""
    ok = {"status": "ok", "top1": "1.0", "best9": "0.5", "valid": "1", "cpu": "2.0"}
    rows = [{"id": str(i), **ok} for i in range(4)] + [{"id": "4", "status": "failed"}]
    rows[3]["valid"] = "0"
    with (tmp_path / "ours.csv").open("w", newline="") as handle:
        writer = csv.DictWriter(handle, physics.FIELDS)
        writer.writeheader()
        writer.writerows(rows)
    physics.print_table([tmp_path / "ours.csv"])
    table = capsys.readouterr().out
    assert "top-1 4/5 = 80 %" in table
    assert "top-1 and valid 3/5 = 60 %" in table
    assert "best of 9 4/5 = 80 %" in table
    assert "  valid 3/4 = 75 %" in table
