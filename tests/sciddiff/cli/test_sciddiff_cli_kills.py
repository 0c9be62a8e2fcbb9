"""Verbs that are killed again and again end as if nothing had happened; the short version."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL and process groups")
def test_killed_verbs_end_as_unbroken_ones(tmp_path):
    script = str(ROOT / "benchmarks" / "kill_campaign.py")
    words = [sys.executable, script, "-o", str(tmp_path), "--kills", "2", "--fast"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("| 2 times |") == 3, done.stdout
